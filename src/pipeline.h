/*
 * The corridor: nomad → cache → forward, then one reply. The page to read first. One pipeline per
 * worker; a packet comes in with who sent it, a reply goes out through `send`, at once or later,
 * once or never (a client that vanished, a reply that would loop).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "nomad/need.h"
#include "query/query.h"

struct config;
struct metrics;
struct pipeline;
struct upstream_list;
struct zone;

struct pipeline_doors { /* all outlive the pipeline */
	uv_loop_t *loop;
	uint8_t worker;
	struct zone *zone;
	struct metrics *metrics;
	int (*send_need)(void *arg,
			 const struct need *need); /* to the control plane; -EAGAIN: box full */
	void *send_need_arg;
	/* A late reply: one that was not returned by pipeline_ask. `client` says where to. */
	void (*send)(void *arg, const struct query_client *client, const uint8_t *reply,
		     size_t length);
	void *send_arg;
};

struct pipeline *pipeline_open(const struct pipeline_doors *doors, struct config *config);

/* Answers what waits with nothing, closes exchanges, then calls `closed`. */
void pipeline_close(struct pipeline *pipeline, void (*closed)(void *), void *arg);

/*
 * One whole message from a client, between zone_read_begin and zone_read_end. Writes the reply to
 * `out` (`capacity` is what the transport takes: at least 1,232 over UDP, 65,535 over TCP) and
 * returns its length; 0: no reply now, perhaps later through `send`.
 */
size_t pipeline_ask(struct pipeline *pipeline, const struct query_client *client,
		    const uint8_t *packet, size_t length, uint64_t now_us, uint8_t *out,
		    size_t capacity);

/* Messages from the control plane. Each takes its own references. pipeline_hear answers queries, so
 * it is called between zone_read_begin and zone_read_end like pipeline_ask. */
void pipeline_hear(struct pipeline *pipeline, const struct need_word *word);
void pipeline_configure(struct pipeline *pipeline, struct config *config);
void pipeline_set_upstreams(struct pipeline *pipeline, struct upstream_list *list);

/* Forgets what upstreams said about a folded name and all below it. How many entries of the cache.
 */
size_t pipeline_flush(struct pipeline *pipeline, const uint8_t *name, size_t length);

/* Queries that wait for something: 0 means a stop loses nobody. */
uint32_t pipeline_waiting_count(const struct pipeline *pipeline);
