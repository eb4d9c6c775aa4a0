/*
 * What the door's files share, and nobody else sees. Everything a configuration decides lives in a
 * `pool`; its connections are in two `lanes`, each a multi handle of libcurl with its own timer and
 * sockets. http.c is libcurl's side (lanes and requests), http_pool.c the life of pools and of the
 * room.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/list.h"
#include "nomad/http.h"
#include "nomad/http_settings.h"
#include "nomad/http_socket.h"

enum http_lane_kind {
	HTTP_LANE_ORDINARY,
	HTTP_LANE_HELD, /* held requests and streams */
	HTTP_LANE_COUNT,
};

struct http_lane {
	struct http_pool *pool;
	void *multi; /* CURLM */
	uv_timer_t timer;
	bool timer_is_open;
	struct http_sockets sockets;
	struct list requests;
	size_t request_count;
	unsigned busy; /* inside a drain: not to be ended under its feet */
};

struct http_pool {
	struct http *http;
	struct list link; /* in http->pools */
	struct http_lane lanes[HTTP_LANE_COUNT];
	bool is_retired; /* ends with its last request */
	bool is_ending;
	struct http_settings settings;
};

struct http {
	uv_loop_t *loop;
	struct http_pool *pool; /* for new requests */
	struct list pools;	/* it and the retired ones */
	uint64_t last_id;
	uint64_t token_looked_ms;
	bool has_new_token; /* one that nobody was told about */
	bool is_closing;
	void (*closed)(void *);
	void *closed_arg;
};

/* http.c. One that was opened is closed, which ends in http_pool_on_closed; else deinit frees it.
 */
int http_lane_init(struct http_lane *lane); /* 0 or -ENOMEM */
void http_lane_deinit(struct http_lane *lane);
void http_lane_open(struct http_lane *lane, struct http_pool *pool, enum http_lane_kind kind);
void http_lane_close(struct http_lane *lane);
void http_lane_cancel_all(struct http_lane *lane); /* with HTTP_CANCELLED */
bool http_lane_cancel(struct http_lane *lane, uint64_t id);
bool http_library_open(void);
void http_library_close(void);

/* http_pool.c */
void http_pool_on_closed(struct http_pool *pool); /* a handle has left the loop */
void http_pool_settle(struct http_pool *pool);	  /* ends it, if it is time */
