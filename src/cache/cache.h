/*
 * Answers from upstream, kept for their TTL: a hash table of images bounded in bytes, keyed with a
 * secret (RFC 2181, RFC 2308). One worker owns one cache; nothing is locked. Finding allocates
 * nothing. Eviction is a segmented LRU: an entry is protected once it was asked for a second time,
 * even if it had to go in between, so that a scan of random names neither pushes out the hot ones
 * nor keeps new ones from getting hot. Pure: time is an argument, and no
 * loop is known here.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dns/image.h"

struct cache;

struct cache_key {
	const uint8_t *name; /* folded wire form */
	uint8_t name_length;
	uint16_t type, qclass;
	uint8_t flags; /* CACHE_DO | CACHE_CD: answers differ by them */
};
#define CACHE_DO 1
#define CACHE_CD 2

struct cache_entry {
	const struct image *image;
	uint64_t stored_ms;
	uint64_t expires_ms;
	uint32_t hit_count; /* found since it was stored, this time included */
	bool is_negative;
	/* Two marks for whoever refreshes the entry; they are theirs to set, and gone with it. */
	bool is_refreshing; /* asked for anew already */
	uint64_t retry_ms;  /* not to be asked for anew before that; 0: at any time */
};

struct cache_counts { /* since the last cache_take_counts; entries and bytes are what is held now */
	uint64_t evictions;
	size_t entries_success, entries_denial, bytes;
};

/* A cache of at most `limit_bytes`, all overhead counted. NULL when out of memory. 0 bytes: holds
 * nothing, finds nothing. */
struct cache *cache_new(size_t limit_bytes);
void cache_free(struct cache *cache);

/*
 * The entry of this key if it has not expired, or, with `accept_stale_ms`, one that expired less
 * than that many ms ago (RFC 8767). NULL: a miss. Borrowed until the next cache_put, cache_flush or
 * cache_free; nothing but its marks may be changed.
 */
struct cache_entry *cache_find(struct cache *cache, const struct cache_key *key, uint64_t now_ms,
			       uint64_t accept_stale_ms);

/* The same, however old, without counting as a question for it. */
struct cache_entry *cache_peek(struct cache *cache, const struct cache_key *key);

/* Takes `image` over and keeps it for ttl_s. Replaces an entry of the same key. 0, or
 * -ENOMEM/-EFBIG (then `image` stays the caller's). */
int cache_put(struct cache *cache, const struct cache_key *key, struct image *image, uint32_t ttl_s,
	      bool is_negative, uint64_t now_ms);

/* Every entry may be asked for anew at any time. */
void cache_forget_retries(struct cache *cache);

/* Forgets this one entry, if it is there. */
void cache_drop(struct cache *cache, const struct cache_key *key);

/* A name and everything under it expires now, what has expired already not again. Returns how many
 * entries. */
size_t cache_expire(struct cache *cache, const uint8_t *name, size_t length, uint64_t now_ms);

/* Forgets a name and, with `below`, everything under it. Returns how many entries. */
size_t cache_flush(struct cache *cache, const uint8_t *name, size_t length, bool below);

struct cache_counts cache_take_counts(struct cache *cache);
