/* The second stage: answers what the cache holds, with aged TTLs, and keeps what the third stage
 * brings. Reads no socket. */
#pragma once

#include "cache/cache.h"
#include "dns/answer.h"
#include "dns/reply.h"
#include "query/query.h"

struct cache_stage;
struct config;
struct metrics;

struct cache_stage *cache_stage_new(const struct config *config, struct metrics *metrics);
void cache_stage_free(struct cache_stage *stage);
void cache_stage_configure(struct cache_stage *stage, const struct config *config);

/* ANSWERED from the cache, or PASS. Never waits. */
enum verdict cache_stage_ask(struct cache_stage *stage, const struct query *query, uint64_t now_ms,
			     struct answer *out);

/*
 * Keeps a reply by RFC 2181/2308 and the configured caps; takes reply->image over in every case and
 * returns it borrowed, valid until cache_stage_release (whether it was kept or not), so that
 * waiting clients can be answered from it.
 */
const struct image *cache_stage_keep(struct cache_stage *stage, const struct question *question,
				     struct reply *reply, uint64_t now_ms);
void cache_stage_release(struct cache_stage *stage);
