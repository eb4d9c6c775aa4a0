/*
 * The inside of questions over streams, shared by its two files: exchange_tcp.c has the pool, and
 * which question goes when; exchange_tcp_link.c one connection, what is open on it, and what its
 * end teaches about the server. Nobody else includes this.
 */
#pragma once

#include "base/list.h"
#include "forward/connection.h"
#include "forward/exchange_tcp.h"
#include "forward/tls.h"
#include "forward/upstream.h"

#define EXCHANGE_TCP_PREFIX 2 /* the length in front of a message */

struct link {
	struct connection connection;
	struct stream *stream;
	bool is_open, is_retired;
	unsigned sent_count, answered_count;
	unsigned open_count, given_up_count;
	uint64_t heard_ms;
	struct slot {
		bool is_taken;
		uint16_t id;
		struct exchange_tcp *tcp; /* NULL: given up */
	} slot[EXCHANGE_TCP_IN_FLIGHT];
};

struct stream {
	struct exchange_tcp_pool *pool;
	struct upstream *upstream;
	struct link *link[EXCHANGE_TCP_CONNECTIONS];
	struct list waiting; /* struct exchange_tcp, by_turn */
	struct tls_ticket ticket;
	unsigned safe_max, tried_max; /* questions on one connection */
	unsigned barren_count;
	uint64_t refused_until_ms;
	int refused_error;
};

struct exchange_tcp_pool {
	uv_loop_t *loop;
	struct metrics *metrics;
	struct upstream_list *list;
	unsigned open_handles; /* links and the anchor */
	uv_idle_t anchor;      /* never started: so that closing always goes through the loop */
	void (*closed)(void *arg);
	void *closed_arg;
	size_t count;
	struct stream stream[]; /* by index of the list */
};

/* Sends what waits on the links that have room, and opens another one for the rest. */
void exchange_tcp_dispatch(struct stream *stream);

/* Gives the questions of a list, which may shrink meanwhile, back to their owners. */
void exchange_tcp_fail_all(struct list *list, int error);

bool exchange_tcp_has_open_link(const struct stream *stream);

/* A handle of the pool has closed; the last one frees it. */
void exchange_tcp_drop_handle(struct exchange_tcp_pool *pool);

/* Opens a link into that place. 0 or -errno. */
int exchange_tcp_link_open(struct stream *stream, unsigned place);

/* The link of a stream that has room for another question, the emptier one; NULL: none has. */
struct link *exchange_tcp_link_find(const struct stream *stream, bool is_last_send);

/* 0 or -ENOMEM. */
int exchange_tcp_link_send(struct link *link, struct exchange_tcp *tcp);

/* The owner of a question that is on a link wants no reply any more. */
void exchange_tcp_link_give_up(struct exchange_tcp *tcp);

static inline void exchange_tcp_move_all(struct list *from, struct list *to)
{
	struct list *node;

	while ((node = list_pop(from)))
		list_append(to, node);
}
