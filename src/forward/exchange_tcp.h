/*
 * Questions over TCP or TLS (RFC 7766, 7858): the pool keeps, for one worker, at most two
 * connections to each upstream of a list, and each carries many questions at once; replies come in
 * any order. A connection that ends hands its open questions back, and each is sent once more at
 * most. It judges no reply beyond id and question and knows no deadline: a question's owner closes
 * it.
 *
 * A question is the caller's storage, in use until its callback or exchange_tcp_close, whichever
 * comes first. No callback comes from within exchange_tcp_open or exchange_tcp_close.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/list.h"
#include "dns/reply.h"

#define EXCHANGE_TCP_CONNECTIONS 2 /* to one upstream */
#define EXCHANGE_TCP_IN_FLIGHT 256 /* on one connection; the others wait */

struct exchange_tcp;
struct exchange_tcp_pool;
struct metrics;
struct upstream_list;

struct exchange_tcp_doors {
	/* The reply with its owner's id. Borrowed. */
	void (*on_message)(struct exchange_tcp *tcp, const uint8_t *message, size_t length);
	void (*on_error)(struct exchange_tcp *tcp, int error); /* -errno or UV_EOF */
};

#define EXCHANGE_TCP_BLOCK 128 /* RFC 8467 §4.1: over TLS, lengths are multiples of it */
#define EXCHANGE_TCP_QUERY_MAX                                                                     \
	((REPLY_QUERY_MAX + 4 + EXCHANGE_TCP_BLOCK - 1) / EXCHANGE_TCP_BLOCK * EXCHANGE_TCP_BLOCK)

struct exchange_tcp {
	struct list by_turn;			/* among those that wait for a connection */
	const struct exchange_tcp_doors *doors; /* NULL: not open */
	struct stream *stream;			/* the upstream's connections */
	struct link *link;			/* the one it went out on; NULL: it waits */
	unsigned slot;				/* there */
	uint64_t sent_ms;
	/* It is not sent again when its connection ends; its owner may say so once it is open. */
	bool is_last_send;
	uint16_t id; /* its owner's; on the connection it has another */
	size_t frame_length;
	uint8_t frame[2 + EXCHANGE_TCP_QUERY_MAX];
};

/* Opens no connection yet. Holds the list. NULL: out of memory. */
struct exchange_tcp_pool *exchange_tcp_pool_open(uv_loop_t *loop, struct metrics *metrics,
						 struct upstream_list *list);

/* No question is open any more. `closed` comes once, from the loop, when all handles are closed and
 * the pool is freed. */
void exchange_tcp_pool_close(struct exchange_tcp_pool *pool, void (*closed)(void *), void *arg);

/* Sends the query, which is copied, to the upstream of that index, now or when there is room. 0, or
 * -errno: then it is not open. */
int exchange_tcp_open(struct exchange_tcp *tcp, struct exchange_tcp_pool *pool,
		      const struct exchange_tcp_doors *doors, int upstream, const uint8_t *query,
		      size_t length);

/* Gives it up; does nothing when it is not open. */
void exchange_tcp_close(struct exchange_tcp *tcp);
