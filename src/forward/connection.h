/*
 * A stream to one upstream, in clear or over TLS, that carries messages in both directions (RFC
 * 7766, 7858), each behind its length. It knows no questions: who asked what, and when the stream
 * has had its day, is its owner's business. What is written in one turn of the loop leaves
 * together.
 *
 * Caller's storage, in use until `on_closed`. No callback comes from within a call, except
 * connection_close's own; each of them may close the connection.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/addr.h"
#include "base/buf.h"

struct connection;
struct tls;

struct connection_doors {
	void (*on_open)(struct connection *connection); /* it carries; once */
	/* One whole message; the callee may change it. Borrowed. */
	void (*on_message)(struct connection *connection, uint8_t *message, size_t length);
	/* It is over, and has to be closed: 0 after connection_rest, UV_EOF, or -errno, with the
	 * reason in words in `why`, or NULL. Once. */
	void (*on_end)(struct connection *connection, int error, const char *why);
	void (*on_closed)(struct connection *connection);
};

struct connection {
	uv_poll_t poll;
	uv_timer_t timer;
	const struct connection_doors *doors;
	struct tls *tls; /* owned; NULL: in clear */
	int fd;
	enum {
		CONNECTION_CONNECTING,
		CONNECTION_SHAKING_HANDS,
		CONNECTION_OPEN,
		CONNECTION_ENDED
	} state;
	unsigned open_handles;
	struct buf out;	 /* messages not yet given to the kernel or to TLS */
	size_t out_sent; /* of it */
	uint8_t *in;	 /* what came of the next message, its length included */
	size_t in_length, in_capacity;
};

/* Begins to connect; with `tls`, which it takes over in any case, the handshake follows. 0, or
 * -errno with nothing left to close. */
int connection_open(struct connection *connection, uv_loop_t *loop,
		    const struct connection_doors *doors, const struct addr *upstream,
		    struct tls *tls);

/* Whether it is over TLS with a session resumed; once it is open. */
bool connection_is_resumed(const struct connection *connection);

/* A message with its length in front, to an open connection. 0 or -ENOMEM. */
int connection_write(struct connection *connection, const uint8_t *frame, size_t length);

/* Ends it (on_end, 0) when `after_ms` have passed; connection_work takes that back. */
void connection_rest(struct connection *connection, uint64_t after_ms);
void connection_work(struct connection *connection);

/* Once. */
void connection_close(struct connection *connection);
