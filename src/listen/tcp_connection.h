/*
 * One TCP client: its bytes in, its answers out, its ceilings. Only tcp.c uses this; it owns the
 * table of connections and decides when one has to go. Every connection ends through
 * tcp_connection_close, by whoever notices first; its memory goes in libuv's close callback.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/list.h"
#include "listen/tcp.h"
#include "listen/tcp_frame.h"
#include "query/query.h"

#define TCP_PENDING_MAX 64	      /* unanswered queries of one client; then we stop reading */
#define TCP_UNSENT_PAUSE_BYTES 262144 /* answers it has not read; likewise */
#define TCP_UNSENT_MAX_BYTES 524288   /* late answers may still come; beyond it is cut off */
#define TCP_UNSENT_ALL_MAX_BYTES 4194304 /* of all clients of a worker together */
#define TCP_SEND_BUFFER_BYTES 65536
/* The kernel's part for each; by itself it would take 4 MiB, and our ceilings begin behind it. */
#define TCP_SCRATCH_BYTES (2 * (2 + 65535)) /* answers of one read, sent in one write */

struct tcp_connection;

struct tcp_common { /* what the connections of a worker share */
	uv_loop_t *loop;
	struct pipeline *pipeline;
	struct metrics *metrics;
	struct tcp_limits limits;
	struct list by_activity; /* longest without a finished exchange first */
	struct list to_resume;	 /* may go on reading; served from resume_timer */
	uv_timer_t resume_timer;
	size_t unsent_bytes;
	size_t handle_count; /* open or not yet closed, listeners and timers included */
	bool is_muted;
	void (*left)(struct tcp_common *common, struct tcp_connection *connection);
	void (*freed)(struct tcp_common *common);
	uint8_t scratch[TCP_SCRATCH_BYTES];
};

struct tcp_connection {
	uv_tcp_t handle;
	struct tcp_common *common;
	struct list by_activity;
	struct list to_resume;
	struct query_client client; /* as the pipeline is told; client.connection is the id */
	uint64_t active_ms;	    /* when an exchange was last finished, or it was accepted */
	uint32_t pending_count;	    /* queries whose answer is to come */
	size_t unsent_bytes;
	bool is_reading;
	bool has_ended; /* the client will send no more; it may still read */
	bool is_closing;
	struct tcp_frame_stream stream;
};

/* Takes an accepted descriptor (closed on failure) and starts reading. NULL: out of memory or
 * descriptors. */
struct tcp_connection *tcp_connection_open(struct tcp_common *common, int fd,
					   const struct query_client *client);

/* The answer to a query that had to wait. */
void tcp_connection_answer(struct tcp_connection *connection, const uint8_t *reply, size_t length);

/* Goes on with those in common->to_resume. The callback of common->resume_timer. */
void tcp_connection_resume_all(uv_timer_t *timer);

/* Reads no more. */
void tcp_connection_mute(struct tcp_connection *connection);

/* When it has to be closed if nothing happens until then. */
uint64_t tcp_connection_deadline_ms(const struct tcp_connection *connection);

/* Ends it: common->left now, common->freed once its memory is gone. Twice is once. */
void tcp_connection_close(struct tcp_connection *connection);
