/*
 * The sockets of one libcurl multi handle as libuv sees them. A uv_poll must be stopped before its
 * descriptor is closed, and libcurl does not always say so in time; so every descriptor is known
 * here from its birth, and leaves here before it is closed. Private to http.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "base/list.h"

struct http_sockets {
	uv_loop_t *loop;
	struct list open;
	size_t handle_count; /* open and closing ones */
	void (*on_ready)(void *arg, int fd, bool can_read, bool can_write, bool has_failed);
	void (*on_closed)(void *arg); /* a handle is gone; handle_count is already less */
	void *arg;
};

void http_sockets_init(struct http_sockets *sockets, uv_loop_t *loop);

/* As socket(2), but the descriptor is known here. -1: none. */
int http_sockets_open(struct http_sockets *sockets, int family, int type, int protocol);

/* What to wait for; neither: nothing for now. A descriptor that was not opened here
 * (libcurl's own) is known from its first watch to its last. */
void http_sockets_watch(struct http_sockets *sockets, int fd, bool to_read, bool to_write);

/* As close(2), for any descriptor. */
int http_sockets_close(struct http_sockets *sockets, int fd);

/*
 * Lets go of sockets that libcurl has closed without a word: it does so (7.88) with those whose
 * connect failed or was given up. To be called before anybody else can get such a number.
 */
void http_sockets_sweep(struct http_sockets *sockets);
