/*
 * The upstreams of one configuration, and what belongs to them: what was seen of each, connections,
 * the look-out for loops. Lives until the last exchange that began with it has ended.
 */
#pragma once

#include <stdint.h>
#include <uv.h>

struct exchange_tcp_pool;
struct loop_check;
struct metrics;
struct upstream_health;
struct upstream_list;

struct era {
	struct upstream_health *health;
	struct exchange_tcp_pool *pool;
	struct loop_check *loop_check; /* NULL: memory ran out; loops are not found */
	unsigned users, open_parts;
	void (*gone)(void *arg);
	void *arg;
};

/* Has one user. Holds the list. `gone` comes once after the last user has left, from the loop, when
 * all handles are closed and the era is freed. NULL: out of memory. */
struct era *era_open(uv_loop_t *loop, struct metrics *metrics, struct upstream_list *list,
		     uint64_t now_ms, void (*gone)(void *arg), void *arg);
struct era *era_hold(struct era *era);
void era_drop(struct era *era);

/* A question failed, or came in again: perhaps an upstream leads back to us. */
void era_suspect_loop(struct era *era, uint64_t now_ms);
