#include "nomad/waits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

#define BUCKETS 256 /* entries are as many as needs under way, which the control plane limits */

struct wait {
	struct list link;
	struct list queries;
	struct need need;
	uint64_t since_ms;
};

struct waits {
	struct hash_key key;
	struct list bucket[BUCKETS];
};

struct waits *waits_new(void)
{
	struct waits *waits = calloc(1, sizeof(*waits));

	if (!waits)
		return NULL;
	hash_random(&waits->key, sizeof(waits->key));
	for (size_t i = 0; i < BUCKETS; i++)
		list_init(&waits->bucket[i]);
	return waits;
}

static void forget(struct wait *wait)
{
	while (list_pop(&wait->queries))
		continue;
	list_remove(&wait->link);
	free(wait);
}

void waits_free(struct waits *waits)
{
	if (!waits)
		return;
	for (size_t i = 0; i < BUCKETS; i++) {
		list_for_each_safe (link, &waits->bucket[i])
			forget(list_entry(link, struct wait, link));
	}
	free(waits);
}

static bool same_need(const struct need *a, const struct need *b)
{
	return a->kind == b->kind && a->namespace_length == b->namespace_length &&
	       a->service_length == b->service_length &&
	       memcmp(a->namespace_label, b->namespace_label, a->namespace_length) == 0 &&
	       memcmp(a->service_label, b->service_label, a->service_length) == 0;
}

static struct list *bucket_of(struct waits *waits, const struct need *need)
{
	uint64_t hash = hash_bytes(&waits->key, need->namespace_label, need->namespace_length) ^
			hash_bytes(&waits->key, need->service_label, need->service_length) * 3;

	return &waits->bucket[hash % BUCKETS];
}

static struct wait *find(struct waits *waits, const struct need *need)
{
	list_for_each (link, bucket_of(waits, need)) {
		struct wait *wait = list_entry(link, struct wait, link);

		if (same_need(&wait->need, need))
			return wait;
	}
	return NULL;
}

int waits_add(struct waits *waits, const struct need *need, struct query *query, uint64_t now_ms,
	      bool *out_is_new)
{
	struct wait *wait = find(waits, need);

	*out_is_new = !wait;
	if (!wait) {
		wait = malloc(sizeof(*wait));
		if (!wait)
			return -ENOMEM;
		wait->need = *need;
		wait->since_ms = now_ms;
		list_init(&wait->queries);
		list_append(bucket_of(waits, need), &wait->link);
	}
	list_append(&wait->queries, &query->by_cause);
	return 0;
}

uint64_t waits_age_ms(struct waits *waits, const struct need *need, uint64_t now_ms)
{
	const struct wait *wait = find(waits, need);

	return wait ? now_ms - wait->since_ms : 0;
}

void waits_undo(struct waits *waits, const struct need *need)
{
	struct wait *wait = find(waits, need);

	if (wait)
		forget(wait);
}

void waits_take(struct waits *waits, const struct need *need, struct list *out)
{
	struct wait *wait = find(waits, need);
	struct list *link;

	list_init(out);
	if (!wait)
		return;
	while ((link = list_pop(&wait->queries)))
		list_append(out, link);
	forget(wait);
}
