#include "cache/cache_stage.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/metrics.h"
#include "config/config.h"

#define STALE_TTL_S 30		  /* RFC 8767 §4 */
#define RETRY_AFTER_MS 30000	  /* RFC 8767 §5 */
#define PREFETCH_SHARE 10	  /* the last tenth of a life */
#define PREFETCH_TTL_MIN_MS 10000 /* below, a refresh comes no cheaper than a miss */
#define PREFETCH_HITS_MIN 2	  /* the one that finds it due included */

struct cache_stage {
	struct cache *cache;
	struct metrics *metrics;
	uint64_t size_bytes;
	uint32_t max_ttl_s, min_ttl_s;
	uint64_t stale_ms;   /* how long an entry outlives its TTL; 0: not at all */
	struct image *loose; /* the reply just brought, when the cache did not take it */
};

static size_t clamp_size(uint64_t size_bytes)
{
	return size_bytes > SIZE_MAX ? SIZE_MAX : (size_t)size_bytes;
}

static void read_caps(struct cache_stage *stage, const struct config *config)
{
	stage->stale_ms = config->serve_stale_ms;
	stage->max_ttl_s = config->cache_max_ttl_s;
	stage->min_ttl_s = config->cache_min_ttl_s;
}

static void publish_counts(struct cache_stage *stage)
{
	struct cache_counts counts = cache_take_counts(stage->cache);

	metrics_add(stage->metrics, METRIC_CACHE_EVICTIONS, counts.evictions);
	metrics_set(stage->metrics, METRIC_CACHE_ENTRIES_SUCCESS, counts.entries_success);
	metrics_set(stage->metrics, METRIC_CACHE_ENTRIES_DENIAL, counts.entries_denial);
	metrics_set(stage->metrics, METRIC_CACHE_BYTES, counts.bytes);
}

struct cache_stage *cache_stage_new(const struct config *config, struct metrics *metrics)
{
	struct cache_stage *stage = calloc(1, sizeof(*stage));

	if (!stage)
		return NULL;
	stage->metrics = metrics;
	read_caps(stage, config);
	stage->size_bytes = config->cache_size_bytes;
	stage->cache = cache_new(clamp_size(config->cache_size_bytes));
	if (!stage->cache) {
		free(stage);
		return NULL;
	}
	publish_counts(stage);
	return stage;
}

void cache_stage_free(struct cache_stage *stage)
{
	if (!stage)
		return;
	cache_stage_release(stage);
	cache_free(stage->cache);
	free(stage);
}

void cache_stage_configure(struct cache_stage *stage, const struct config *config)
{
	struct cache *resized = NULL;

	if (config->cache_size_bytes != stage->size_bytes)
		resized = cache_new(clamp_size(config->cache_size_bytes));
	read_caps(stage, config);
	if (!resized)
		return;
	cache_free(stage->cache);
	stage->cache = resized;
	stage->size_bytes = config->cache_size_bytes;
	publish_counts(stage);
}

static struct cache_key make_key(const struct question *question)
{
	return (struct cache_key){
		.name = question->folded,
		.name_length = question->name_length,
		.type = question->type,
		.qclass = question->qclass,
		.flags = (uint8_t)((question->has_do ? CACHE_DO : 0) |
				   (question->flags & DNS_FLAG_CD ? CACHE_CD : 0)),
	};
}

static enum verdict answer_with(const struct cache_entry *entry, struct answer *out)
{
	answer_init(out);
	out->stage = METRIC_STAGE_CACHE;
	out->rcode = entry->image->rcode;
	out->ede = entry->image->ede;
	out->ede_text = image_ede_text(entry->image);
	out->image = entry->image;
	out->is_authentic = entry->image->flags & DNS_FLAG_AD;
	return VERDICT_ANSWERED;
}

static enum verdict answer_fresh(const struct cache_entry *entry, uint64_t now_ms,
				 struct answer *out)
{
	answer_with(entry, out);
	out->age_s = (uint32_t)((now_ms - entry->stored_ms) / 1000);
	out->without_additional = out->age_s >= entry->image->additional_ttl_s;
	/* Nothing in the answer outlives the entry, whatever TTL the record next to it had. */
	out->ttl_max_s = (uint32_t)((entry->expires_ms - now_ms + 999) / 1000);
	return VERDICT_ANSWERED;
}

/* What has expired vouches for nothing: AD is gone. */
static enum verdict answer_stale(const struct cache_entry *entry, struct answer *out)
{
	answer_with(entry, out);
	out->is_stale = true;
	out->is_authentic = false;
	out->without_additional = entry->image->additional_ttl_s == 0;
	out->ttl_all_s = STALE_TTL_S;
	out->ede_text = NULL;
	out->ede =
		entry->image->rcode == DNS_NXDOMAIN ? DNS_EDE_STALE_NXDOMAIN : DNS_EDE_STALE_ANSWER;
	return VERDICT_ANSWERED;
}

static bool is_due(const struct cache_entry *entry, uint64_t now_ms)
{
	uint64_t life_ms = entry->expires_ms - entry->stored_ms;

	return !entry->is_refreshing && entry->hit_count >= PREFETCH_HITS_MIN &&
	       life_ms >= PREFETCH_TTL_MIN_MS && now_ms >= entry->retry_ms &&
	       entry->expires_ms - now_ms <= life_ms / PREFETCH_SHARE;
}

enum verdict cache_stage_ask(struct cache_stage *stage, const struct query *query, uint64_t now_ms,
			     struct answer *out, bool *out_is_due)
{
	struct cache_key key = make_key(&query->question);
	struct cache_entry *entry = cache_find(stage->cache, &key, now_ms, stage->stale_ms);

	if (!entry || (now_ms >= entry->expires_ms && now_ms >= entry->retry_ms)) {
		metrics_add(stage->metrics, METRIC_CACHE_MISSES, 1);
		return VERDICT_PASS;
	}
	metrics_add(stage->metrics,
		    entry->is_negative ? METRIC_CACHE_HITS_DENIAL : METRIC_CACHE_HITS_SUCCESS, 1);
	if (now_ms >= entry->expires_ms)
		return answer_stale(entry, out);
	if (is_due(entry, now_ms))
		*out_is_due = entry->is_refreshing = true;
	return answer_fresh(entry, now_ms, out);
}

enum verdict cache_stage_ask_stale(struct cache_stage *stage, const struct query *query,
				   uint64_t now_ms, uint64_t retry_ms, struct answer *out)
{
	struct cache_key key = make_key(&query->question);
	struct cache_entry *entry = cache_peek(stage->cache, &key);

	if (!entry || now_ms >= entry->expires_ms + stage->stale_ms)
		return VERDICT_PASS;
	if (now_ms < entry->expires_ms)
		return answer_fresh(entry, now_ms, out);
	if (entry->retry_ms < retry_ms)
		entry->retry_ms = retry_ms;
	return answer_stale(entry, out);
}

void cache_stage_note_failure(struct cache_stage *stage, const struct question *question,
			      uint64_t now_ms)
{
	struct cache_key key = make_key(question);
	struct cache_entry *entry = cache_peek(stage->cache, &key);

	if (entry)
		entry->retry_ms = now_ms + RETRY_AFTER_MS;
}

void cache_stage_forget_failures(struct cache_stage *stage)
{
	cache_forget_retries(stage->cache);
}

static bool is_answer(const struct image *image)
{
	return image->rcode == DNS_NOERROR || image->rcode == DNS_NXDOMAIN;
}

/* RFC 8914 §4: a validator found the name bogus, or somebody does not want it to be answered. That
 * keys or signatures are missing (9, 10) is also what it says when it cannot fetch them. */
static bool is_verdict(uint16_t ede)
{
	switch (ede) {
	case DNS_EDE_UNSUPPORTED_ALGORITHM:
	case DNS_EDE_UNSUPPORTED_DIGEST:
	case DNS_EDE_BOGUS:
	case DNS_EDE_SIGNATURE_EXPIRED:
	case DNS_EDE_SIGNATURE_NOT_YET_VALID:
	case DNS_EDE_NO_ZONE_KEY:
	case DNS_EDE_NSEC_MISSING:
	case DNS_EDE_BLOCKED:
	case DNS_EDE_CENSORED:
	case DNS_EDE_FILTERED:
		return true;
	default:
		return false;
	}
}

bool cache_stage_is_last_word(const struct image *image)
{
	return is_answer(image) || is_verdict(image->ede);
}

size_t cache_stage_expire(struct cache_stage *stage, const uint8_t *name, size_t length,
			  uint64_t now_ms)
{
	return cache_expire(stage->cache, name, length, now_ms);
}

size_t cache_stage_flush(struct cache_stage *stage, const uint8_t *name, size_t length)
{
	size_t dropped = cache_flush(stage->cache, name, length, true);

	publish_counts(stage);
	return dropped;
}

/* A TTL within the caps; 0 stays 0. */
static uint32_t cap(const struct cache_stage *stage, uint32_t ttl_s)
{
	if (ttl_s > 0 && ttl_s < stage->min_ttl_s)
		ttl_s = stage->min_ttl_s;
	return min_u32(ttl_s, stage->max_ttl_s);
}

/* How long a reply may be kept, 0: not at all. RFC 2181 §8, RFC 2308 §5. */
static uint32_t choose_ttl(const struct cache_stage *stage, const struct reply *reply)
{
	const struct image *image = reply->image;
	uint32_t ttl_s;

	if (reply->is_outdated || !is_answer(image))
		return 0;
	ttl_s = reply->is_negative ? reply->negative_ttl : reply->positive_ttl;
	if (reply->is_negative && image->answer_count > 0)
		ttl_s = min_u32(ttl_s, reply->positive_ttl);
	return cap(stage, ttl_s);
}

const struct image *cache_stage_keep(struct cache_stage *stage, const struct question *question,
				     struct reply *reply, uint64_t now_ms, uint32_t *out_ttl_max_s)
{
	struct cache_key key = make_key(question);
	struct image *image = reply->image;
	uint32_t ttl_s = choose_ttl(stage, reply);

	cache_stage_release(stage);
	reply->image = NULL;
	image->additional_ttl_s = cap(stage, image->additional_ttl_s);
	*out_ttl_max_s = ttl_s;
	if (ttl_s == 0 || cache_put(stage->cache, &key, image, ttl_s, reply->is_negative, now_ms)) {
		stage->loose = image;
		if (!reply->is_outdated && cache_stage_is_last_word(image))
			cache_drop(stage->cache, &key);
	}
	publish_counts(stage);
	return image;
}

bool cache_stage_has_kept(const struct cache_stage *stage)
{
	return !stage->loose;
}

void cache_stage_release(struct cache_stage *stage)
{
	free(stage->loose);
	stage->loose = NULL;
}
