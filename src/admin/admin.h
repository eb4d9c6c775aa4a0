/*
 * The operator's window: HTTP on loopback or a unix socket, one request per connection, few at a
 * time. Routes are rows of a table in admin_pages.c. It reads the daemon through `struct
 * admin_doors`; the one thing it changes, on POST and only for this host, is what caches hold.
 * Main thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

struct admin;
struct buf;
struct config;

struct admin_doors { /* all outlive the room */
	uv_loop_t *loop;
	/* Writes the reasons why the daemon is not ready, one a line; true: it is ready (then `out`
	 * may hold remarks). */
	bool (*is_ready)(void *arg, struct buf *out);
	/* Writes the metrics page. */
	void (*metrics)(void *arg, struct buf *out);
	/* Forgets what upstreams said about a folded name and all below it. Entries forgotten, or
	 * -errno. */
	ssize_t (*flush)(void *arg, const uint8_t *name, size_t length);
	void *arg;
};

/* Opens the listener. A taken address is a warning and tried again every 5 s; never fatal. NULL:
 * out of memory or admin=off. `config` is needed during the call only. */
struct admin *admin_open(const struct admin_doors *doors, const struct config *config);

/* Ends the room; `closed` (may be NULL) is called from the loop when its memory is gone, at once
 * for a NULL admin. */
void admin_close(struct admin *admin, void (*closed)(void *), void *arg);
