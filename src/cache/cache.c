/*
 * Chained hash table over two lists, most recent first: `probation` holds what was asked for once,
 * `shielded` what was asked for again. Room is made at the end of probation; the shielded part
 * stays below a share of the limit by handing its oldest entries back. What had to go leaves a
 * ghost, four bytes of its hash: under a flood of names that nobody asks for twice, a name that
 * comes back too late to be found is known by it, and is shielded at once.
 */
#include "cache/cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/list.h"
#include "dns/dns.h"
#include "dns/name.h"

#define BYTES_PER_BUCKET 256 /* twice as many buckets as small entries: a miss looks at few */
#define BUCKETS_MIN 16
#define GHOSTS_PER_BUCKET 2 /* a name is known for a few times as long as it is kept; 3 % */
#define SHIELDED_PERCENT 80
#define ENTRY_SHARE 4		 /* no entry takes more than this part of the limit */
#define MALLOC_OVERHEAD_BYTES 16 /* of the entry's and the image's block, each */
#define KEY_FIXED_BYTES 5	 /* type, class, flags */

struct node {
	struct cache_entry entry; /* what cache_find lends */
	struct list by_use;
	size_t cost_bytes;
	bool is_shielded;
	struct node **link; /* what points to this one in its bucket: leaving takes no search */
	/* What a search looks at stands together. */
	struct node *next;
	uint64_t hash;
	uint16_t key_length;
	uint8_t key[]; /* type, class, flags, folded name */
};

struct cache {
	struct hash_key secret;
	size_t limit_bytes, used_bytes, shielded_bytes;
	struct list probation, shielded;
	struct node **bucket;
	size_t bucket_count; /* a power of two; 0: the cache is off */
	uint32_t *ghost;     /* GHOSTS_PER_BUCKET for each bucket; 0: none */
	struct cache_counts counts;
};

static size_t write_key(const struct cache_key *key, uint8_t out[KEY_FIXED_BYTES + DNS_NAME_MAX])
{
	store_be16(out, key->type);
	store_be16(out + 2, key->qclass);
	out[4] = key->flags;
	memcpy(out + KEY_FIXED_BYTES, key->name, key->name_length);
	return (size_t)KEY_FIXED_BYTES + key->name_length;
}

struct cache *cache_new(size_t limit_bytes)
{
	struct cache *cache = calloc(1, sizeof(*cache));
	size_t buckets = BUCKETS_MIN, fixed_bytes;

	if (!cache)
		return NULL;
	hash_random(&cache->secret, sizeof(cache->secret));
	list_init(&cache->probation);
	list_init(&cache->shielded);
	cache->limit_bytes = limit_bytes;
	while (buckets < limit_bytes / BYTES_PER_BUCKET)
		buckets *= 2;
	fixed_bytes = sizeof(*cache) + buckets * sizeof(*cache->bucket) +
		      buckets * GHOSTS_PER_BUCKET * sizeof(*cache->ghost);
	if (limit_bytes < fixed_bytes)
		return cache;
	cache->bucket = calloc(buckets, sizeof(*cache->bucket));
	cache->ghost = calloc(buckets * GHOSTS_PER_BUCKET, sizeof(*cache->ghost));
	if (!cache->bucket || !cache->ghost) {
		cache_free(cache);
		return NULL;
	}
	cache->bucket_count = buckets;
	cache->used_bytes = fixed_bytes;
	return cache;
}

static uint32_t *ghost_of(struct cache *cache, uint64_t hash)
{
	return &cache->ghost[hash & (cache->bucket_count * GHOSTS_PER_BUCKET - 1)];
}

/* The half that the place does not come from; never 0. */
static uint32_t ghost_mark(uint64_t hash)
{
	return (uint32_t)(hash >> 32) | 1;
}

/* Whether this name was here lately and had to go. It is no ghost any more. */
static bool take_ghost(struct cache *cache, uint64_t hash)
{
	uint32_t *ghost = ghost_of(cache, hash);

	if (*ghost != ghost_mark(hash))
		return false;
	*ghost = 0;
	return true;
}

static struct node *find_hashed(struct cache *cache, uint64_t hash, const uint8_t *key,
				size_t key_length)
{
	struct node *node = cache->bucket[hash & (cache->bucket_count - 1)];

	while (node && (node->hash != hash || node->key_length != key_length ||
			memcmp(node->key, key, key_length) != 0))
		node = node->next;
	return node;
}

static size_t *entry_counter(struct cache *cache, const struct node *node)
{
	return node->entry.is_negative ? &cache->counts.entries_denial
				       : &cache->counts.entries_success;
}

static void enter_bucket(struct cache *cache, struct node *node)
{
	struct node **link = &cache->bucket[node->hash & (cache->bucket_count - 1)];

	node->next = *link;
	node->link = link;
	if (node->next)
		node->next->link = &node->next;
	*link = node;
}

static void leave_bucket(struct node *node)
{
	*node->link = node->next;
	if (node->next)
		node->next->link = node->link;
}

static void drop_node(struct cache *cache, struct node *node)
{
	leave_bucket(node);
	list_remove(&node->by_use);
	cache->used_bytes -= node->cost_bytes;
	if (node->is_shielded)
		cache->shielded_bytes -= node->cost_bytes;
	(*entry_counter(cache, node))--;
	free((struct image *)node->entry.image);
	free(node);
}

static void make_room(struct cache *cache, size_t needed)
{
	while (cache->used_bytes + needed > cache->limit_bytes) {
		struct list *from =
			list_is_empty(&cache->probation) ? &cache->shielded : &cache->probation;
		struct node *node;

		if (list_is_empty(from))
			return;
		node = list_entry(from->prev, struct node, by_use);
		*ghost_of(cache, node->hash) = ghost_mark(node->hash);
		drop_node(cache, node);
		cache->counts.evictions++;
	}
}

void cache_free(struct cache *cache)
{
	if (!cache)
		return;
	for (size_t i = 0; i < cache->bucket_count; i++) {
		while (cache->bucket[i])
			drop_node(cache, cache->bucket[i]);
	}
	free(cache->bucket);
	free(cache->ghost);
	free(cache);
}

/* A second question, or another: shields the node, and hands back what the shield cannot hold. */
static void touch(struct cache *cache, struct node *node)
{
	size_t shield_bytes = cache->limit_bytes / 100 * SHIELDED_PERCENT;

	list_remove(&node->by_use);
	list_prepend(&cache->shielded, &node->by_use);
	if (node->is_shielded)
		return;
	node->is_shielded = true;
	cache->shielded_bytes += node->cost_bytes;
	while (cache->shielded_bytes > shield_bytes) {
		struct node *oldest = list_entry(cache->shielded.prev, struct node, by_use);

		list_remove(&oldest->by_use);
		list_prepend(&cache->probation, &oldest->by_use);
		oldest->is_shielded = false;
		cache->shielded_bytes -= oldest->cost_bytes;
	}
}

static struct node *find_node(struct cache *cache, const struct cache_key *key)
{
	uint8_t bytes[KEY_FIXED_BYTES + DNS_NAME_MAX];
	size_t length;

	if (cache->bucket_count == 0)
		return NULL;
	length = write_key(key, bytes);
	return find_hashed(cache, hash_bytes(&cache->secret, bytes, length), bytes, length);
}

struct cache_entry *cache_peek(struct cache *cache, const struct cache_key *key)
{
	struct node *node = find_node(cache, key);

	return node ? &node->entry : NULL;
}

struct cache_entry *cache_find(struct cache *cache, const struct cache_key *key, uint64_t now_ms,
			       uint64_t accept_stale_ms)
{
	struct node *node = find_node(cache, key);

	if (!node)
		return NULL;
	if (now_ms >= node->entry.expires_ms && now_ms - node->entry.expires_ms >= accept_stale_ms)
		return NULL;
	if (node->entry.hit_count < UINT32_MAX)
		node->entry.hit_count++;
	touch(cache, node);
	return &node->entry;
}

int cache_put(struct cache *cache, const struct cache_key *key, struct image *image, uint32_t ttl_s,
	      bool is_negative, uint64_t now_ms)
{
	uint8_t bytes[KEY_FIXED_BYTES + DNS_NAME_MAX];
	size_t length = write_key(key, bytes);
	size_t cost_bytes =
		sizeof(struct node) + length + image_total_size(image) + MALLOC_OVERHEAD_BYTES * 2;
	bool is_known;
	struct node *old, *node;
	uint64_t hash;

	if (cache->bucket_count == 0 || cost_bytes > cache->limit_bytes / ENTRY_SHARE)
		return -EFBIG;
	node = malloc(sizeof(*node) + length);
	if (!node)
		return -ENOMEM;
	hash = hash_bytes(&cache->secret, bytes, length);
	old = find_hashed(cache, hash, bytes, length);
	is_known = old ? old->is_shielded : take_ghost(cache, hash);
	if (old)
		drop_node(cache, old);
	make_room(cache, cost_bytes);
	*node = (struct node){ .entry = { .image = image,
					  .stored_ms = now_ms,
					  .expires_ms = now_ms + (uint64_t)ttl_s * 1000,
					  .is_negative = is_negative },
			       .hash = hash,
			       .cost_bytes = cost_bytes,
			       .key_length = (uint16_t)length };
	memcpy(node->key, bytes, length);
	enter_bucket(cache, node);
	cache->used_bytes += cost_bytes;
	(*entry_counter(cache, node))++;
	list_prepend(&cache->probation, &node->by_use);
	if (is_known)
		touch(cache, node);
	return 0;
}

void cache_forget_retries(struct cache *cache)
{
	for (size_t i = 0; i < cache->bucket_count; i++) {
		for (struct node *node = cache->bucket[i]; node; node = node->next)
			node->entry.retry_ms = 0;
	}
}

void cache_drop(struct cache *cache, const struct cache_key *key)
{
	struct node *node = find_node(cache, key);

	if (node)
		drop_node(cache, node);
}

static bool is_at_or_below(const struct node *node, const uint8_t *name, size_t length)
{
	return name_is_in(node->key + KEY_FIXED_BYTES, (size_t)node->key_length - KEY_FIXED_BYTES,
			  name, length);
}

size_t cache_expire(struct cache *cache, const uint8_t *name, size_t length, uint64_t now_ms)
{
	size_t expired = 0;

	for (size_t i = 0; i < cache->bucket_count; i++) {
		for (struct node *node = cache->bucket[i]; node; node = node->next) {
			if (now_ms >= node->entry.expires_ms || !is_at_or_below(node, name, length))
				continue;
			node->entry.expires_ms = now_ms;
			expired++;
		}
	}
	return expired;
}

size_t cache_flush(struct cache *cache, const uint8_t *name, size_t length, bool below)
{
	struct node *node, *next;
	size_t dropped = 0;

	for (size_t i = 0; i < cache->bucket_count; i++) {
		for (node = cache->bucket[i]; node; node = next) {
			next = node->next;
			if (!is_at_or_below(node, name, length) ||
			    (!below && (size_t)node->key_length - KEY_FIXED_BYTES != length))
				continue;
			drop_node(cache, node);
			dropped++;
		}
	}
	return dropped;
}

struct cache_counts cache_take_counts(struct cache *cache)
{
	struct cache_counts counts = cache->counts;

	counts.bytes = cache->used_bytes;
	cache->counts.evictions = 0;
	return counts;
}
