/*
 * A name whose last instance went keeps its records for a moment: a restarted task is gone for some
 * milliseconds, and a client would keep the NXDOMAIN for seconds. What was heard before an outage
 * stays in force during it.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/map.h"
#include "nomad/catalogue.h"
#include "nomad/mirror_parts.h"

#define SETTLING_MAX 200000
#define ANSWER_MS_MAX 500 /* for the GET that settles it */

struct settling {
	struct list link;
	uint64_t due_ms;
	bool was_read; /* a GET said so, not an event: another GET shall confirm it */
	bool is_asked; /* that GET is under way */
	size_t key_length;
	const char *service;
	char namespace[]; /* exact; the service's name stands behind it */
};

static struct settling *find(const struct mirror *mirror, const char *namespace,
			     const char *service)
{
	char key[2 * SCOPE_NAME_MAX];
	size_t a = strlen(namespace) + 1, b = strlen(service) + 1;

	if (a + b > sizeof(key))
		return NULL;
	memcpy(key, namespace, a);
	memcpy(key + a, service, b);
	return map_find(mirror->settle.by_key, key, a + b);
}

static void drop(struct mirror *mirror, struct settling *settling)
{
	map_remove(mirror->settle.by_key, settling->namespace, settling->key_length);
	list_remove(&settling->link);
	free(settling);
}

static struct settling *make(struct mirror *mirror, const char *namespace, const char *service)
{
	size_t a = strlen(namespace) + 1, b = strlen(service) + 1;
	struct settling *settling = find(mirror, namespace, service);

	if (settling || a + b > 2 * (size_t)SCOPE_NAME_MAX ||
	    map_count(mirror->settle.by_key) >= SETTLING_MAX)
		return settling;
	settling = calloc(1, sizeof(*settling) + a + b);
	if (!settling)
		return NULL;
	memcpy(settling->namespace, namespace, a);
	memcpy(settling->namespace + a, service, b);
	settling->service = settling->namespace + a;
	settling->key_length = a + b;
	settling->due_ms = clock_now_ms() + mirror->settle.pause_ms;
	if (map_put(mirror->settle.by_key, settling->namespace, settling->key_length, settling) <
	    0) {
		free(settling);
		return NULL;
	}
	list_append(&mirror->settle.list, &settling->link);
	mirror_live_arm(mirror);
	return settling;
}

static void remove_now(struct mirror *mirror, const char *namespace, const char *service)
{
	struct zone_times times = mirror_tier(mirror) == TIER_STREAM
					  ? mirror_live_times(mirror)
					  : mirror_times(mirror, false, false);

	catalogue_remove_now(mirror->doors.catalogue, namespace, service, &times);
}

/* An event, or a list, said that the last instance is gone. */
void mirror_settle_add(struct mirror *mirror, const char *namespace, const char *service)
{
	struct settling *settling =
		mirror->settle.pause_ms ? make(mirror, namespace, service) : NULL;

	if (settling)
		settling->was_read = settling->is_asked = false;
	else
		remove_now(mirror, namespace, service);
}

void mirror_settle_cancel(struct mirror *mirror, const char *namespace, const char *service)
{
	struct settling *settling = find(mirror, namespace, service);

	if (settling)
		drop(mirror, settling);
}

/* A GET said that there is none any more: true if that may be believed now. */
bool mirror_settle_is_over(struct mirror *mirror, const char *namespace, const char *service)
{
	struct settling *settling = find(mirror, namespace, service);
	uint64_t now_ms = clock_now_ms();
	struct zone_times times = mirror_times(mirror, true, false);
	char space[SCOPE_NAME_MAX], name[SCOPE_NAME_MAX];

	mirror_fold(namespace, space);
	mirror_fold(service, name);
	if (settling && now_ms >= settling->due_ms) {
		drop(mirror, settling);
		return true;
	}
	if (!settling && (mirror->settle.pause_ms == 0 ||
			  !catalogue_has_instances(mirror->doors.catalogue, space, name)))
		return true;
	if (!settling)
		settling = make(mirror, namespace, service);
	if (!settling)
		return true;
	settling->was_read = true;
	/* Until then what is held is the answer. */
	times.refresh_from_ms = UINT64_MAX;
	times.fresh_until_ms = settling->due_ms + ANSWER_MS_MAX;
	zone_touch_service(mirror->doors.zone, space, name, &times);
	return false;
}

uint64_t mirror_settle_tick(struct mirror *mirror, uint64_t now_ms)
{
	list_for_each_safe (link, &mirror->settle.list) {
		struct settling *settling = list_entry(link, struct settling, link);

		if (now_ms < settling->due_ms)
			return settling->due_ms;
		if (!settling->was_read) {
			remove_now(mirror, settling->namespace, settling->service);
			drop(mirror, settling);
		} else if (!settling->is_asked) {
			settling->is_asked = true;
			list_remove(&settling->link);
			mirror_watch_refresh(mirror, settling->namespace, settling->service);
			return now_ms; /* the list may be another one by now */
		}
	}
	return UINT64_MAX;
}

void mirror_settle_forget(struct mirror *mirror)
{
	struct settling *settling;
	size_t cursor = 0;

	while (mirror->settle.by_key &&
	       (settling = map_next(mirror->settle.by_key, &cursor, NULL, NULL)))
		free(settling);
	map_free(mirror->settle.by_key);
	mirror->settle.by_key = NULL;
	list_init(&mirror->settle.list);
}
