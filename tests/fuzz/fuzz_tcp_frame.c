/* Frames of a TCP stream: the same messages come out, in whatever pieces the bytes came in. The
 * first byte of the input says how large the pieces are. */
#include <string.h>

#include "base/bytes.h"
#include "dns/dns.h"
#include "fuzz/fuzz.h"
#include "listen/tcp_frame.h"

/* The truth, read from the whole stream at once: the next message, or NULL when there is none. */
static const uint8_t *next_message(const uint8_t *data, size_t size, size_t *at, size_t *length)
{
	if (size - *at < TCP_FRAME_PREFIX_BYTES)
		return NULL;
	*length = load_be16(data + *at);
	if (*length < DNS_HEADER_BYTES || *length > TCP_FRAME_MESSAGE_MAX ||
	    *length > size - *at - TCP_FRAME_PREFIX_BYTES)
		return NULL;
	const uint8_t *message = data + *at + TCP_FRAME_PREFIX_BYTES;
	*at += TCP_FRAME_PREFIX_BYTES + *length;
	return message;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tcp_frame_stream *stream = malloc(sizeof(*stream));
	size_t fed = 0, truth_at = 0, length, expected_length = 0, space;
	const uint8_t *message;

	if (size < 1 || !stream) {
		free(stream);
		return 0;
	}
	size_t piece = data[0] ? data[0] : 4096;
	data++;
	size--;

	tcp_frame_init(stream);
	for (;;) {
		enum tcp_frame_state state = tcp_frame_next(stream, &message, &length);

		if (state == TCP_FRAME_WHOLE) {
			const uint8_t *expected =
				next_message(data, size, &truth_at, &expected_length);
			PROMISE(expected && length == expected_length && truth_at <= fed);
			PROMISE(memcmp(message, expected, length) == 0);
			continue;
		}
		if (state == TCP_FRAME_SHORT || state == TCP_FRAME_LONG) {
			size_t said = load_be16(data + truth_at);
			PROMISE(fed - truth_at >= TCP_FRAME_PREFIX_BYTES);
			PROMISE(state == TCP_FRAME_SHORT ? said < DNS_HEADER_BYTES
							 : said > TCP_FRAME_MESSAGE_MAX);
			break;
		}
		if (fed == size) {
			PROMISE(!next_message(data, size, &truth_at, &expected_length));
			break;
		}
		uint8_t *place = tcp_frame_space(stream, &space);
		PROMISE(space > 0);
		PROMISE(place >= stream->bytes &&
			place + space <= stream->bytes + sizeof(stream->bytes));
		size_t count = piece < space ? piece : space;
		count = count < size - fed ? count : size - fed;
		memcpy(place, data + fed, count);
		tcp_frame_fill(stream, count);
		fed += count;
	}
	free(stream);
	return 0;
}
