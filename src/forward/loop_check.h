/*
 * Looks for loops: sends each upstream of a list a name that nobody else can know, and lets go of
 * it. Whoever it comes back to (loop_find) knows what that means; the reply says nothing and is not
 * read. Asked for at the beginning and whenever a question has failed or looks like one of ours, it
 * does so when it is due (loop_is_check_due); while an upstream leads back, every 15 s, so as to
 * see whether it still does.
 */
#pragma once

#include <stdint.h>
#include <uv.h>

struct exchange_tcp_pool;
struct loop_check;
struct upstream_list;

/* Holds the list; the pool, of the same list, is the caller's and outlives it. NULL: out of memory.
 */
struct loop_check *loop_check_open(uv_loop_t *loop, struct upstream_list *list,
				   struct exchange_tcp_pool *pool);

/* The upstreams are new. Those over TLS are left alone until something fails: hardly ever does one
 * lead back, and nothing else wants a connection yet. */
void loop_check_begin(struct loop_check *check, uint64_t now_ms);

/* A question failed, or came in again as it went out. */
void loop_check_suspect(struct loop_check *check, uint64_t now_ms);

/* `closed` comes once, from the loop. The pool is not used any more when this returns. */
void loop_check_close(struct loop_check *check, void (*closed)(void *), void *arg);
