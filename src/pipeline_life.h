/*
 * The inside of a pipeline, shared by its files: pipeline.c is the corridor (how a question gets
 * its answer), pipeline_hosts.c the questions we ask ourselves for a host name, pipeline_stale.c
 * what is said and done when a cached answer grows old, pipeline_life.c everything around it
 * (making, closing, time, news from outside). Nobody else includes this.
 */
#pragma once

#include "cache/cache_stage.h"
#include "config/config.h"
#include "forward/forward_stage.h"
#include "nomad/nomad_stage.h"
#include "pipeline.h"
#include "query/gate.h"

/* stale_after_ms of a query that has nothing stale to be answered with */
#define PIPELINE_STALE_TRIED UINT64_MAX

struct pipeline {
	struct pipeline_doors doors;
	struct config *config; /* a reference of ours */
	struct query_table *table;
	struct gate *gate;
	struct nomad_stage *nomad;
	struct cache_stage *cache;
	struct forward_stage *forward;
	struct upstream_list *upstreams; /* NULL: none yet */
	bool forwards_nothing;
	uv_timer_t tick;
	uv_timer_t pacer;
	struct list woken; /* queries that a word has woken and whose turn has not come yet */
	const struct image *forwarded; /* the reply that waiters are being answered from */
	unsigned answered_at_once;     /* by it */
	uint32_t forwarded_ttl_max_s;
	void (*closed)(void *);
	void *closed_arg;
	unsigned open_handles;		/* while closing: what has not said farewell yet */
	uint8_t reply[DNS_MESSAGE_MAX]; /* for queries that had to wait */
};

/* From its stage on: what the stages say. PENDING: the query has to be parked, or to wait where it
 * is. */
enum verdict pipeline_walk(struct pipeline *p, struct query *query, uint64_t now_ms,
			   struct answer *out);

/* Walks a parked query on. It may be gone when this returns. */
void pipeline_resume(struct pipeline *p, struct query *query);

/* Parks a query that walked up to a stage which has to wait, and makes it wait there. PENDING, or
 * the answer is in `out`. */
enum verdict pipeline_park(struct pipeline *p, struct query *query, uint64_t now_ms,
			   struct answer *out);

/* Ends a parked query with this answer. */
void pipeline_finish(struct pipeline *p, struct query *query, struct answer *answer);

/* Asks for the host names a parked query was told to resolve. It may be gone when this returns. */
void pipeline_begin_hosts(struct pipeline *p, struct query *query);

/* An answer to one of our own questions goes to the query that waits for it. */
void pipeline_bring_to_parent(struct pipeline *p, const struct query *query,
			      const struct answer *answer);

/* A question at the forward stage without an answer: makes FAILED an answer from what has expired,
 * if the cache holds it (RFC 8767). Any other verdict stays. */
enum verdict pipeline_soften(struct pipeline *p, const struct query *query, enum verdict verdict,
			     uint64_t now_ms, struct answer *out);

/* Asks upstream for what this query was answered with, on nobody's behalf: only the cache gets it.
 */
void pipeline_refresh(struct pipeline *p, const struct query *query, uint64_t now_ms);

/* Queries wait now: their deadlines are to be kept. The one who drops the last query stops the
 * clock. */
void pipeline_start_ticking(struct pipeline *p);
