/*
 * One question to one upstream over TCP (RFC 7766): connect, one write of length and message, one
 * message read. It judges nothing and knows no deadline: its owner closes it. Caller's storage, in
 * use until `on_closed`; nothing is called after that.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/addr.h"
#include "dns/reply.h"

struct exchange_tcp;

struct exchange_tcp_doors {
	/* The whole reply, once. Borrowed. */
	void (*on_message)(struct exchange_tcp *tcp, const uint8_t *message, size_t length);
	void (*on_error)(struct exchange_tcp *tcp, int error); /* -errno or UV_EOF; once */
	void (*on_closed)(struct exchange_tcp *tcp);
};

struct exchange_tcp {
	uv_tcp_t tcp;
	uv_connect_t connect;
	uv_write_t write;
	const struct exchange_tcp_doors *doors;
	uint8_t query[2 + REPLY_QUERY_MAX];
	size_t query_length;
	uint8_t prefix[2]; /* length of the reply */
	size_t received;   /* bytes, prefix included */
	uint8_t *message;  /* owned; NULL until the prefix is known */
	size_t message_length;
};

/* Begins to connect; the query is copied. 0, or -errno: then too it has to be closed. */
int exchange_tcp_open(struct exchange_tcp *tcp, uv_loop_t *loop,
		      const struct exchange_tcp_doors *doors, const struct addr *upstream,
		      const uint8_t *query, size_t length);

/* May be called from its own callbacks; once. */
void exchange_tcp_close(struct exchange_tcp *tcp);
