/*
 * From what is held to what the zone shows. A name is published whole: all exact services behind it
 * in one set of records, with the times of the one that was heard longest ago.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/map.h"
#include "nomad/catalogue_parts.h"

#define ABSENTS_MAX 4096 /* absent names kept in the zone at a time; the oldest make room */

/* ---- names known to be absent ---- */

struct absent {
	struct list link;
	uint64_t index; /* of the word that it is gone */
	size_t key_length;
	char key[];
};

static const char *service_of(const char *key)
{
	return key + strlen(key) + 1;
}

static void drop_absent(struct catalogue *catalogue, struct absent *absent)
{
	map_remove(catalogue->absents, absent->key, absent->key_length);
	list_remove(&absent->link);
	free(absent);
}

/* The index of the word that a name is gone; 0: it was not said. */
uint64_t catalogue_absent_index(const struct catalogue *catalogue, const char *key,
				size_t key_length)
{
	const struct absent *absent = map_find(catalogue->absents, key, key_length);

	return absent ? absent->index : 0;
}

/* Forgets that a name was published as absent, because the zone now holds something else of it.
 * true: it was. */
bool catalogue_forget_absent(struct catalogue *catalogue, const char *key, size_t key_length)
{
	struct absent *absent = map_find(catalogue->absents, key, key_length);

	if (!absent)
		return false;
	drop_absent(catalogue, absent);
	return true;
}

void catalogue_rewind_absents(struct catalogue *catalogue)
{
	list_for_each (link, &catalogue->absents_oldest_first)
		list_entry(link, struct absent, link)->index = 0;
}

static struct absent *remember_absent(struct catalogue *catalogue, const char *key,
				      size_t key_length)
{
	struct absent *absent = map_find(catalogue->absents, key, key_length);

	if (absent) {
		list_remove(&absent->link);
		list_append(&catalogue->absents_oldest_first, &absent->link);
		return absent;
	}
	absent = calloc(1, sizeof(*absent) + key_length);
	if (!absent)
		return NULL;
	absent->key_length = key_length;
	memcpy(absent->key, key, key_length);
	if (map_put(catalogue->absents, key, key_length, absent) < 0) {
		free(absent);
		return NULL;
	}
	list_append(&catalogue->absents_oldest_first, &absent->link);
	return absent;
}

int catalogue_publish_absent(struct catalogue *catalogue, const char *key, size_t key_length,
			     uint64_t index, const struct zone_times *times)
{
	struct absent *absent;
	int rc;

	if (map_find(catalogue->names, key, key_length))
		return 0; /* another exact name still stands behind it */
	absent = remember_absent(catalogue, key, key_length);
	if (!absent)
		return -ENOMEM;
	if (absent->index < index)
		absent->index = index;
	if (map_count(catalogue->absents) > ABSENTS_MAX) {
		struct absent *oldest =
			list_entry(catalogue->absents_oldest_first.next, struct absent, link);

		zone_withdraw(catalogue->zone, oldest->key, service_of(oldest->key));
		drop_absent(catalogue, oldest);
	}
	rc = zone_publish_service(catalogue->zone, key, service_of(key), ZONE_ABSENT, times, NULL,
				  0);
	return rc;
}

void catalogue_settle_absent(struct catalogue *catalogue, const char *namespace_label,
			     const char *service_label)
{
	char key[CATALOGUE_KEY_MAX];
	size_t length = catalogue_key(namespace_label, service_label, key);

	if (catalogue_forget_absent(catalogue, key, length))
		zone_withdraw(catalogue->zone, key, service_of(key));
}

/* ---- names with instances ---- */

struct gathered {
	struct zone_instance *instances;
	size_t count;
	const char **tags;
};

/* The times of a service as they stand now: live ones of a term that is over are only stale. */
static struct zone_times times_of(const struct catalogue *catalogue, const struct service *service)
{
	struct zone_times times = service->times;
	uint64_t end, stale_until_ms;

	if (times.fresh_until_ms != ZONE_LIVE || service->term == zone_term(catalogue->zone))
		return times;
	end = zone_live_end(catalogue->zone, service->term);
	stale_until_ms = end ? end + catalogue->max_stale_ms : 0;
	times.refresh_from_ms = times.fresh_until_ms = 0;
	if (times.stale_until_ms < stale_until_ms)
		times.stale_until_ms = stale_until_ms;
	return times;
}

/* What is true of the whole name: each time the earliest of its services'. false: a service was not
 * fetched yet. */
static bool sum_up(const struct catalogue *catalogue, const struct name *name,
		   struct zone_times *out, size_t *out_instances, size_t *out_tags)
{
	*out = (struct zone_times){ UINT64_MAX, UINT64_MAX, UINT64_MAX, false };
	*out_instances = *out_tags = 0;
	list_for_each (link, &name->services) {
		const struct service *service = list_entry(link, struct service, by_name);
		struct zone_times times = times_of(catalogue, service);

		if (!service->held)
			return false;
		if (times.refresh_from_ms < out->refresh_from_ms)
			out->refresh_from_ms = times.refresh_from_ms;
		if (times.fresh_until_ms < out->fresh_until_ms)
			out->fresh_until_ms = times.fresh_until_ms;
		if (times.stale_until_ms < out->stale_until_ms)
			out->stale_until_ms = times.stale_until_ms;
		out->is_leaderless |= times.is_leaderless;
		*out_instances += service->held->count;
		*out_tags += service->held->tag_count;
	}
	return true;
}

static void gather_service(const struct held *held, struct gathered *out, const char ***tags)
{
	const uint32_t *offsets = catalogue_tag_offsets(held);
	const char *text = catalogue_text(held);

	for (uint32_t i = 0; i < held->tag_count; i++)
		(*tags)[i] = text + offsets[i];
	for (uint32_t i = 0; i < held->count; i++) {
		const struct held_instance *from = &held->at[i];
		struct zone_instance *to = &out->instances[out->count];

		if (from->is_left_out)
			continue;
		out->count++;
		to->port = from->port;
		to->tags = *tags + from->tags_at;
		to->tag_count = from->tag_count;
		to->addr.family = from->family;
		memcpy(to->addr.bytes, from->bytes, sizeof(to->addr.bytes));
		if (from->host_at != CATALOGUE_NO_HOST)
			to->host = text + from->host_at;
	}
	*tags += held->tag_count;
}

static int publish_loaded(struct catalogue *catalogue, const struct name *name,
			  const struct zone_times *times, size_t instance_count, size_t tag_count)
{
	struct gathered gathered = { 0 };
	const char **tags;
	int rc = -ENOMEM;

	gathered.instances = calloc(instance_count + 1, sizeof(*gathered.instances));
	gathered.tags = calloc(tag_count + 1, sizeof(*gathered.tags));
	if (!gathered.instances || !gathered.tags)
		goto out;
	tags = gathered.tags;
	list_for_each (link, &name->services)
		gather_service(list_entry(link, struct service, by_name)->held, &gathered, &tags);
	rc = zone_publish_service(catalogue->zone, name->key, catalogue_name_service(name),
				  ZONE_LOADED, times, gathered.instances, gathered.count);
out:
	free(gathered.instances);
	free(gathered.tags);
	return rc;
}

/*
 * Shows a name as it is held now. While one of its services was not fetched yet the zone keeps what
 * it has: half a name would be a wrong answer.
 */
int catalogue_publish_name(struct catalogue *catalogue, struct name *name, bool is_changed)
{
	size_t instance_count, tag_count;
	struct zone_times times;
	int rc;

	if (is_changed)
		name->is_published = false;
	if (!sum_up(catalogue, name, &times, &instance_count, &tag_count))
		return 0;
	if (name->is_published &&
	    zone_touch_service(catalogue->zone, name->key, catalogue_name_service(name), &times))
		return 0;
	rc = publish_loaded(catalogue, name, &times, instance_count, tag_count);
	if (rc < 0)
		return rc;
	name->is_published = true;
	catalogue_forget_absent(catalogue, name->key, name->key_length);
	if (catalogue->reverse)
		reverse_update(catalogue->reverse, name);
	return 0;
}

void catalogue_publish_again(struct catalogue *catalogue)
{
	size_t cursor = 0;
	struct name *name;

	while ((name = map_next(catalogue->names, &cursor, NULL, NULL))) {
		if (name->is_published)
			catalogue_publish_name(catalogue, name, true);
	}
	if (catalogue->reverse)
		reverse_publish_again(catalogue->reverse);
}

/* Shows that a name exists, when the zone knows nothing better of it. */
int catalogue_publish_listed(struct catalogue *catalogue, struct name *name,
			     const struct zone_times *times)
{
	int rc = zone_publish_service(catalogue->zone, name->key, catalogue_name_service(name),
				      ZONE_LISTED, times, NULL, 0);

	if (rc == 0)
		catalogue_forget_absent(catalogue, name->key, name->key_length);
	return rc;
}

/* ---- namespaces ---- */

/* The spaces that fold to one label (nearly always one), with their tags one behind the other. */
static size_t list_tags(const struct catalogue *catalogue, const char *label, const char **out,
			bool *out_has_services)
{
	size_t cursor = 0, count = 0;
	const struct space *space;

	while ((space = map_next(catalogue->spaces, &cursor, NULL, NULL))) {
		const char *tag = space->tags;

		if (strcasecmp(space->exact, label) != 0 || list_is_empty(&space->services))
			continue;
		*out_has_services = true;
		for (uint32_t i = 0; out && i < space->tag_count; i++) {
			out[count + i] = tag;
			tag += strlen(tag) + 1;
		}
		count += space->tag_count;
	}
	return count;
}

int catalogue_publish_space(struct catalogue *catalogue, const char *namespace_label,
			    const struct zone_times *times)
{
	bool has_services = false;
	size_t tag_count = list_tags(catalogue, namespace_label, NULL, &has_services);
	const char **tags = calloc(tag_count + 1, sizeof(*tags));
	int rc;

	if (!tags)
		return -ENOMEM;
	list_tags(catalogue, namespace_label, tags, &has_services);
	rc = zone_publish_namespace(catalogue->zone, namespace_label,
				    has_services ? ZONE_LOADED : ZONE_ABSENT, times, tags,
				    tag_count);
	free(tags);
	return rc;
}

void catalogue_leave_space(struct catalogue *catalogue, struct space *space, const char *key,
			   const struct zone_times *times)
{
	if (!list_is_empty(&space->services))
		return;
	catalogue_publish_space(catalogue, key, times); /* the key's first part is the label */
	space->is_shown = false;
}

int catalogue_list_keep(struct catalogue *catalogue, const char *namespace_label,
			const struct zone_times *times)
{
	return catalogue_publish_space(catalogue, namespace_label, times);
}

void catalogue_expire(struct catalogue *catalogue)
{
	size_t cursor = 0;
	struct name *name;

	while ((name = map_next(catalogue->names, &cursor, NULL, NULL))) {
		list_for_each (link, &name->services) {
			struct service *service = list_entry(link, struct service, by_name);

			service->times = times_of(catalogue, service);
			service->times.refresh_from_ms = service->times.fresh_until_ms = 0;
		}
		if (name->is_published)
			catalogue_publish_name(catalogue, name, false);
	}
}
