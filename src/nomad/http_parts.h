/*
 * What the door's files share, and nobody else sees. Everything a configuration decides lives in a
 * `pool`; its connections are in two `lanes`, each a multi handle of libcurl with its own timer and
 * sockets. http.c is libcurl's side, http_request.c who has asked for what, http_pool.c the life of
 * pools and of the room.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/buf.h"
#include "base/list.h"
#include "nomad/http.h"
#include "nomad/http_head.h"
#include "nomad/http_lines.h"
#include "nomad/http_settings.h"
#include "nomad/http_socket.h"

/* Nomad allows 100 connections per client address, shared by the whole host. */
#define HTTP_ORDINARY_MAX 8
#define HTTP_HELD_MAX 32
#define HTTP_ERROR_CAPACITY 256 /* CURL_ERROR_SIZE */

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
	bool is_ending;
};

struct curl_slist;

struct http_request {
	struct list link;
	struct http_lane *lane;
	uint64_t id; /* 0: it can be cancelled no more */
	void *easy;  /* CURL */
	struct curl_slist *headers, *connect_to;
	struct buf body;
	struct http_lines lines; /* of a stream, instead */
	struct http_head head;
	bool is_too_large;
	char error[HTTP_ERROR_CAPACITY];
	http_done *done;
	http_line *on_line; /* NULL: no stream */
	bool is_handing_out, is_cancelled, is_unix;
	void *arg;
};

struct http_wanted { /* what a request is to be */
	const char *path;
	uint64_t timeout_ms;
	http_line *on_line;
	http_done *done;
	void *arg;
};

struct http_pool {
	struct http *http;
	struct list link; /* in http->pools */
	struct http_lane lanes[HTTP_LANE_COUNT];
	bool is_retired; /* each lane ends with its last request, the pool with both */
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
bool http_easy_open(struct http_request *request, size_t address, const struct http_wanted *wanted);
void http_easy_close(struct http_request *request); /* what libcurl holds of it */
bool http_library_open(void);
void http_library_close(void);

/* http_request.c */
void http_request_free(struct http_request *request);
void http_lane_hand_out(struct http_lane *lane);   /* the lines of its streams */
void http_lane_cancel_all(struct http_lane *lane); /* with HTTP_CANCELLED */
bool http_lane_cancel(struct http_lane *lane, uint64_t id);

/* http_pool.c */
void http_pool_on_closed(struct http_pool *pool); /* a handle has left the loop */
void http_pool_settle(struct http_pool *pool);	  /* ends what has had its time */
