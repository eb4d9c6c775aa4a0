/*
 * The names that were fetched since the last wake. A wake makes all of them old at once; those that
 * somebody asked for are fetched again at once, the others when they are asked for.
 */
#include "nomad/mirror_watch.h"

#include <string.h>

#include "base/clock.h"
#include "base/map.h"
#include "nomad/mirror.h"
#include "nomad/mirror_alarm.h"
#include "nomad/mirror_ask.h"
#include "nomad/mirror_call.h"
#include "nomad/mirror_held.h"
#include "nomad/mirror_large.h"
#include "nomad/mirror_live.h"
#include "nomad/mirror_parts.h"
#include "nomad/mirror_tier.h"
#include "nomad/need.h"
#include "nomad/zone_writer.h"

#define REFRESH_EVERY_MS 100
#define NAMES_MAX 200000
#define AUDIT_AFTER_MS 1000 /* behind a wake, never without one … */
#define AUDIT_EVERY_MS 10000
#define AUDIT_DOUBT_MS 30000 /* … unless the alarm was wrong before */
#define SUSPECT_MS 1000
#define RIGHT_AUDITS 10 /* while it is doubted, one at a change and every 30 s */

void mirror_watch_note(struct mirror *mirror, const char *namespace, const char *service)
{
	struct map *names = mirror->watch.names;
	struct need need;
	char key[MIRROR_KEY_MAX];
	size_t a, b;

	if (mirror_tier(mirror) == TIER_STREAM || !mirror_ask_make_need(namespace, service, &need))
		return;
	mirror_held_note(mirror, &need);
	a = need.namespace_length;
	b = need.service_length;
	memcpy(key, need.namespace_label, a);
	key[a] = '\0';
	memcpy(key + a + 1, need.service_label, b);
	key[a + 1 + b] = '\0';
	/* A name that has no place here is asked for again each time. */
	if (map_count(names) < NAMES_MAX)
		map_put(names, key, a + b + 2, names);
}

/* What is not in use any more is left out, and comes back when it is asked for. */
static void refresh_asked(struct mirror *mirror, uint64_t now_ms)
{
	struct map *names = mirror->watch.names;
	size_t cursor = 0, length;
	const void *key;

	mirror->watch.refreshed_ms = now_ms;
	mirror->watch.refresh_at_ms = 0;
	while (map_next(names, &cursor, &key, &length)) {
		const char *namespace = key, *service = namespace + strlen(namespace) + 1;
		struct need need;

		mirror_ask_make_need(namespace, service, &need);
		if (mirror_held_is_kept(mirror, &need))
			continue;
		if (zone_take_asked(mirror->doors.zone, namespace, service) > 0)
			mirror_need(mirror, &need);
		else
			map_remove(names, key, length);
	}
}

/* ---- is the alarm to be believed? ---- */

void mirror_watch_doubt(struct mirror *mirror, const char *what)
{
	struct watch *watch = &mirror->watch;

	if (!watch->doubts_alarm)
		log_warn("nomad", "%s; Nomad is asked every 30 s from now on", what);
	watch->doubts_alarm = true;
}

void mirror_watch_believe(struct mirror *mirror)
{
	mirror->watch.doubts_alarm = false;
}

void mirror_watch_audited(struct mirror *mirror, uint64_t index)
{
	struct watch *watch = &mirror->watch;
	uint64_t told_index = mirror->alarm.index;

	if (!watch->doubts_alarm || told_index == watch->audited_index)
		return;
	watch->audited_index = told_index;
	watch->right_audits = told_index < index ? 0 : watch->right_audits + 1;
	if (watch->right_audits < RIGHT_AUDITS)
		return;
	watch->right_audits = 0;
	watch->doubts_alarm = false;
	log_info("nomad", "the held request has told of every change for some time: it is "
			  "believed again");
}

static void plan_audit(struct mirror *mirror, uint64_t pause_ms)
{
	struct watch *watch = &mirror->watch;
	uint64_t at_ms = clock_now_ms() + pause_ms;

	if (at_ms < watch->audited_ms + AUDIT_EVERY_MS)
		at_ms = watch->audited_ms + AUDIT_EVERY_MS;
	if (!watch->audit_at_ms)
		watch->audit_at_ms = at_ms;
	mirror_live_arm(mirror);
}

void mirror_watch_compare(struct mirror *mirror, const struct call *call)
{
	struct watch *watch = &mirror->watch;

	if (call->was_stale || !mirror->scope.is_all || mirror->is_large || watch->suspect_ms ||
	    mirror_tier(mirror) != TIER_WATCH || call->index <= mirror->alarm.index)
		return;
	watch->suspect_index = call->index;
	watch->suspect_ms = clock_now_ms();
	mirror_live_arm(mirror);
}

static void on_audited(struct call *call, enum call_result result)
{
	struct mirror *mirror = call->mirror;
	struct watch *watch = &mirror->watch;

	watch->audit = NULL;
	if (result == CALL_GOOD && !call->was_stale)
		mirror_watch_audited(mirror, call->index);
	if (watch->doubts_alarm)
		plan_audit(mirror, AUDIT_DOUBT_MS);
	mirror_live_arm(mirror);
}

static void audit(struct mirror *mirror, uint64_t now_ms)
{
	struct watch *watch = &mirror->watch;

	watch->audit_at_ms = 0;
	watch->audited_ms = now_ms;
	if (watch->audit || mirror->health.is_holding || mirror_tier(mirror) != TIER_WATCH)
		return;
	watch->audit = mirror_call_new(mirror, NULL, mirror->home, MIRROR_PROBE_NAME);
	if (!watch->audit)
		return;
	watch->audit->on_end = on_audited;
	if (mirror_call_start(watch->audit) == 0)
		return;
	mirror_call_drop(watch->audit);
	watch->audit = NULL;
}

/* The alarm had a second to tell what the audit found. */
static void judge_alarm(struct mirror *mirror)
{
	struct watch *watch = &mirror->watch;

	watch->suspect_ms = 0;
	if (mirror->alarm.index >= watch->suspect_index || mirror_tier(mirror) != TIER_WATCH)
		return;
	metrics_add(mirror->doors.metrics, METRIC_NOMAD_MISSED_CHANGES, 1);
	mirror_watch_doubt(mirror, "the held request did not tell of a change");
	mirror_watch_wake(mirror);
	mirror_alarm_start(mirror);
}

void mirror_watch_wake(struct mirror *mirror)
{
	struct watch *watch = &mirror->watch;
	uint64_t now_ms = clock_now_ms();

	plan_audit(mirror, AUDIT_AFTER_MS);

	mirror_expire_live(mirror);
	if (mirror->is_large)
		mirror_held_keep(mirror);
	mirror_large_count(mirror);
	if (now_ms >= watch->refreshed_ms + REFRESH_EVERY_MS)
		refresh_asked(mirror, now_ms);
	else if (!watch->refresh_at_ms)
		watch->refresh_at_ms = watch->refreshed_ms + REFRESH_EVERY_MS;
}

uint64_t mirror_watch_tick(struct mirror *mirror, uint64_t now_ms)
{
	struct watch *watch = &mirror->watch;
	uint64_t next_ms = UINT64_MAX;

	if (watch->refresh_at_ms && now_ms >= watch->refresh_at_ms)
		refresh_asked(mirror, now_ms);
	if (watch->audit_at_ms && now_ms >= watch->audit_at_ms)
		audit(mirror, now_ms);
	if (watch->suspect_ms && now_ms >= watch->suspect_ms + SUSPECT_MS)
		judge_alarm(mirror);
	if (watch->refresh_at_ms)
		next_ms = watch->refresh_at_ms;
	if (watch->audit_at_ms && watch->audit_at_ms < next_ms)
		next_ms = watch->audit_at_ms;
	if (watch->suspect_ms && watch->suspect_ms + SUSPECT_MS < next_ms)
		next_ms = watch->suspect_ms + SUSPECT_MS;
	return next_ms;
}

bool mirror_watch_init(struct mirror *mirror)
{
	mirror->watch.names = map_new();
	return mirror->watch.names;
}

void mirror_watch_stop(struct mirror *mirror)
{
	struct watch *watch = &mirror->watch;

	if (watch->audit)
		mirror_call_drop(watch->audit);
	watch->audit = NULL;
	watch->audit_at_ms = watch->suspect_ms = 0;
}

void mirror_watch_forget(struct mirror *mirror)
{
	map_free(mirror->watch.names);
	mirror->watch.names = NULL;
}
