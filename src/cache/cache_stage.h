/*
 * The second stage: answers what the cache holds, with aged TTLs, and keeps what the third stage
 * brings. Reads no socket.
 *
 * What has expired is still good for an answer while nothing fresh is to be had (RFC 8767): the
 * pipeline says when. An NXDOMAIN is no word about the names below it (RFC 8020 §3 leaves that to
 * the resolver): servers that deny empty non-terminals exist, the upstream knows them better, and a
 * flood of random names below one is stopped by eviction, not by guessing.
 */
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

/*
 * ANSWERED from the cache, or PASS. Never waits. An expired entry whose refresh failed lately
 * answers too, stale (RFC 8767 §5: not to be tried again for 30 s). `*out_is_due` becomes true,
 * once in an entry's life, when it is popular and about to expire: worth being asked for again now.
 */
enum verdict cache_stage_ask(struct cache_stage *stage, const struct query *query, uint64_t now_ms,
			     struct answer *out, bool *out_is_due);

/* Nothing fresh is to be had, or not in time: ANSWERED with what has expired, within `serve-stale`,
 * or PASS. Until `retry_ms` everybody else gets it at once. */
enum verdict cache_stage_ask_stale(struct cache_stage *stage, const struct query *query,
				   uint64_t now_ms, uint64_t retry_ms, struct answer *out);

/* Whether a reply is upstream's word about the name: an answer, or a verdict on it (RFC 8914:
 * bogus, blocked, filtered). Anything else is a failure to be bridged by a stale answer (RFC 8767
 * §4). */
bool cache_stage_is_last_word(const struct image *image);

/* The question was asked upstream and got no answer. */
void cache_stage_note_failure(struct cache_stage *stage, const struct question *question,
			      uint64_t now_ms);

/* The upstreams are others now: what could not be refreshed may be asked for again at once. */
void cache_stage_forget_failures(struct cache_stage *stage);

/* Who is asked about a folded name and all below it has changed: what is kept of them was another's
 * word. It answers no more but stale, while nothing fresh is to be had. How many entries. */
size_t cache_stage_expire(struct cache_stage *stage, const uint8_t *name, size_t length,
			  uint64_t now_ms);

/* Forgets a folded name and all below it. How many entries. */
size_t cache_stage_flush(struct cache_stage *stage, const uint8_t *name, size_t length);

/*
 * Keeps a reply by RFC 2181/2308 and the configured caps: as long as the shortest TTL of ANSWER and
 * AUTHORITY says. ADDITIONAL is left out of a hit once its own has run out. Takes reply->image over
 * in every case and returns it borrowed, valid until cache_stage_release (whether it was kept or
 * not), so that waiting clients can be answered from it. An answer that may not be kept (TTL 0,
 * say) replaces an older one all the same, and so does a verdict. `*out_ttl_max_s`: no record of it
 * may be passed on with more, or the next cache would keep it longer than we, or at all (RFC 2181
 * §5.2: the lowest TTL of a set is that of all).
 */
const struct image *cache_stage_keep(struct cache_stage *stage, const struct question *question,
				     struct reply *reply, uint64_t now_ms, uint32_t *out_ttl_max_s);
/* Whether the cache took the reply just brought, and whoever waited for it can be answered later.
 */
bool cache_stage_has_kept(const struct cache_stage *stage);
void cache_stage_release(struct cache_stage *stage);
