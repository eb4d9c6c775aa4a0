#include "listen/tcp_frame.h"

#include <string.h>

#include "base/bytes.h"
#include "dns/dns.h"

uint8_t *tcp_frame_space(struct tcp_frame_stream *stream, size_t *out_space)
{
	if (stream->begin > 0) {
		stream->end -= stream->begin;
		memmove(stream->bytes, stream->bytes + stream->begin, stream->end);
		stream->begin = 0;
	}
	*out_space = sizeof(stream->bytes) - stream->end;
	return stream->bytes + stream->end;
}

void tcp_frame_fill(struct tcp_frame_stream *stream, size_t count)
{
	stream->end += min_size(count, sizeof(stream->bytes) - stream->end);
}

enum tcp_frame_state tcp_frame_next(struct tcp_frame_stream *stream, const uint8_t **out_message,
				    size_t *out_length)
{
	const uint8_t *frame = stream->bytes + stream->begin;
	size_t held = stream->end - stream->begin, length;

	if (held < TCP_FRAME_PREFIX_BYTES)
		return TCP_FRAME_PARTIAL;
	length = load_be16(frame);
	if (length < DNS_HEADER_BYTES)
		return TCP_FRAME_SHORT;
	if (length > TCP_FRAME_MESSAGE_MAX)
		return TCP_FRAME_LONG;
	if (held - TCP_FRAME_PREFIX_BYTES < length)
		return TCP_FRAME_PARTIAL;
	*out_message = frame + TCP_FRAME_PREFIX_BYTES;
	*out_length = length;
	stream->begin += TCP_FRAME_PREFIX_BYTES + length;
	return TCP_FRAME_WHOLE;
}
