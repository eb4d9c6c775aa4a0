/*
 * A name whose last instance went keeps its records for a moment: a restarted task is gone for some
 * milliseconds, and a client would keep the NXDOMAIN for seconds. What was heard before an outage
 * stays in force during it.
 */
#include "nomad/mirror_settle.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/map.h"
#include "nomad/catalogue.h"
#include "nomad/mirror_ask.h"
#include "nomad/mirror_live.h"
#include "nomad/mirror_parts.h"
#include "nomad/mirror_scope.h"
#include "nomad/mirror_tier.h"
#include "nomad/zone_writer.h"

#define SETTLING_MAX 200000
#define ANSWER_MS_MAX 500 /* for the GET that settles it */
#define ASK_AGAIN_MS 2000 /* it may have failed */
#define ASKS_MAX 512	  /* under way: others need room too */
#define ASKS_PAUSE_MS 100

struct settling {
	struct list link;
	uint64_t due_ms;
	bool was_read;	   /* a GET said so, not an event: another GET shall confirm it */
	bool is_asked;	   /* that GET is under way */
	uint64_t again_ms; /* or has failed by then */
	size_t key_length;
	const char *service;
	char namespace[]; /* exact; the service's name stands behind it */
};

bool mirror_settle_init(struct mirror *mirror)
{
	struct settle *settle = &mirror->settle;

	list_init(&settle->list);
	list_init(&settle->asked);
	settle->by_key = map_new();
	return settle->by_key;
}

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

/* Nobody would tell if it came back: who asks for it next has Nomad asked, and while that is out of
 * reach it is the last word. */
static struct zone_times times_of_hearsay(const struct mirror *mirror)
{
	struct zone_times times = mirror_times(mirror, false, false);

	times.refresh_from_ms = times.fresh_until_ms = clock_now_ms();
	return times;
}

static void remove_now(struct mirror *mirror, const char *namespace, const char *service)
{
	struct zone_times times = mirror_tier(mirror) == TIER_STREAM ? mirror_times_live(mirror)
								     : times_of_hearsay(mirror);

	catalogue_remove_now(mirror->doors.catalogue, namespace, service, &times);
}

void mirror_settle_add(struct mirror *mirror, const char *namespace, const char *service)
{
	struct settling *settling =
		mirror->settle.pause_ms ? make(mirror, namespace, service) : NULL;

	if (!settling) {
		remove_now(mirror, namespace, service);
		return;
	}
	settling->was_read = false;
	if (!settling->is_asked)
		return;
	settling->is_asked = false;
	settling->due_ms = clock_now_ms() + mirror->settle.pause_ms;
	list_remove(&settling->link);
	list_append(&mirror->settle.list, &settling->link);
	mirror_live_arm(mirror);
}

void mirror_settle_listed(void *arg, const char *namespace, const char *service)
{
	const struct settle_word *word = arg;
	struct mirror *mirror = word->mirror;
	char space[SCOPE_NAME_MAX], name[SCOPE_NAME_MAX];
	bool is_new = !find(mirror, namespace, service);
	struct settling *settling = NULL;

	mirror_fold(namespace, space);
	mirror_fold(service, name);
	if (mirror->settle.pause_ms &&
	    catalogue_has_instances(mirror->doors.catalogue, space, name))
		settling = make(mirror, namespace, service);
	if (!settling)
		catalogue_remove_now(mirror->doors.catalogue, namespace, service, &word->times);
	else if (is_new)
		settling->was_read = true;
}

void mirror_settle_cancel(struct mirror *mirror, const char *namespace, const char *service)
{
	struct settling *settling = find(mirror, namespace, service);

	if (settling)
		drop(mirror, settling);
}

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

/* While Nomad is out of reach, nobody confirms anything: what was heard is in force. */
static void believe(struct mirror *mirror, struct settling *settling)
{
	struct zone_times times = times_of_hearsay(mirror);
	struct catalogue_update *update =
		catalogue_begin(mirror->doors.catalogue, settling->namespace, settling->service);

	if (update)
		catalogue_commit(update, mirror->index, &times);
	drop(mirror, settling);
}

static void confirm(struct mirror *mirror, struct settling *settling, uint64_t now_ms)
{
	list_remove(&settling->link);
	settling->is_asked = true;
	settling->again_ms = now_ms + ASK_AGAIN_MS;
	list_append(&mirror->settle.asked, &settling->link);
	mirror_ask_refresh(mirror, settling->namespace, settling->service); /* may free it */
}

/* Ends what is due; a list may be another one after each. → when to look again. */
static uint64_t settle_first(struct mirror *mirror, struct settling *settling, uint64_t due_ms,
			     uint64_t now_ms)
{
	if (now_ms < due_ms)
		return due_ms;
	if (!settling->was_read) {
		remove_now(mirror, settling->namespace, settling->service);
		drop(mirror, settling);
	} else if (!catalogue_allows(mirror->doors.catalogue, settling->namespace)) {
		drop(mirror, settling); /* nothing is asked about it, and nothing held of it */
	} else if (mirror->health.is_holding) {
		believe(mirror, settling);
	} else if (mirror->ask_count >= ASKS_MAX) {
		return now_ms + ASKS_PAUSE_MS;
	} else {
		confirm(mirror, settling, now_ms);
	}
	return now_ms;
}

uint64_t mirror_settle_tick(struct mirror *mirror, uint64_t now_ms)
{
	struct settle *settle = &mirror->settle;
	uint64_t next_ms = now_ms, again_ms = now_ms;

	while (next_ms == now_ms) {
		struct settling *first = list_entry(settle->list.next, struct settling, link);

		next_ms = list_is_empty(&settle->list)
				  ? UINT64_MAX
				  : settle_first(mirror, first, first->due_ms, now_ms);
	}
	while (again_ms == now_ms) {
		struct settling *first = list_entry(settle->asked.next, struct settling, link);

		again_ms = list_is_empty(&settle->asked)
				   ? UINT64_MAX
				   : settle_first(mirror, first, first->again_ms, now_ms);
	}
	return next_ms < again_ms ? next_ms : again_ms;
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
	list_init(&mirror->settle.asked);
}
