/*
 * DNS messages in a TCP stream (RFC 1035 §4.2.2): two bytes of length, then the message. Bytes go
 * in as they come, whole messages come out. Pure; one stream's bytes in the caller's storage.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define TCP_FRAME_PREFIX_BYTES 2
#define TCP_FRAME_MESSAGE_MAX 4096 /* no query is longer */

enum tcp_frame_state {
	TCP_FRAME_PARTIAL, /* more bytes are needed */
	TCP_FRAME_WHOLE,
	TCP_FRAME_SHORT, /* shorter than a header: this is not DNS, the stream is lost */
	TCP_FRAME_LONG,	 /* over the ceiling: likewise */
};

struct tcp_frame_stream {
	size_t begin, end; /* the bytes not yet taken */
	uint8_t bytes[TCP_FRAME_PREFIX_BYTES + TCP_FRAME_MESSAGE_MAX];
};

static inline void tcp_frame_init(struct tcp_frame_stream *stream)
{
	stream->begin = stream->end = 0;
}

/* Where the next bytes go, and how many fit: never 0 after tcp_frame_next said PARTIAL. Messages
 * taken before are moved over. */
uint8_t *tcp_frame_space(struct tcp_frame_stream *stream, size_t *out_space);

/* `count` bytes were put there. */
void tcp_frame_fill(struct tcp_frame_stream *stream, size_t count);

/* Takes the next message. WHOLE: `out_message` is good until the next call of tcp_frame_space. */
enum tcp_frame_state tcp_frame_next(struct tcp_frame_stream *stream, const uint8_t **out_message,
				    size_t *out_length);
