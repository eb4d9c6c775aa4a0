/*
 * From an open stream to a truth that is kept: subscribe, list, apply what came meanwhile, then
 * apply what comes. The stream has no snapshot, no gap marker, and may die without a word; so every
 * index heard from elsewhere is held against the stream's, and one that stays ahead for a second
 * means that something was missed: a new stream, and the list again.
 */
#include "nomad/mirror_sync.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "nomad/catalogue.h"
#include "nomad/mirror_alarm.h"
#include "nomad/mirror_call.h"
#include "nomad/mirror_census.h"
#include "nomad/mirror_doubt.h"
#include "nomad/mirror_health.h"
#include "nomad/mirror_large.h"
#include "nomad/mirror_live.h"
#include "nomad/mirror_parts.h"
#include "nomad/mirror_preload.h"
#include "nomad/mirror_queue.h"
#include "nomad/mirror_scope.h"
#include "nomad/mirror_stream.h"
#include "nomad/mirror_tier.h"
#include "nomad/mirror_watch.h"
#include "nomad/zone.h"

#define DOUBT_MS 500	 /* behind that long, what is held is believed no more … */
#define DOUBT_MS_MAX 800 /* (later each time that what was missing came) */
#define VAIN_MS 100
#define BEHIND_MS_MAX 1000 /* … and the stream neither */
#define RETRY_MS_MIN 1000
#define RETRY_MS_MAX 30000
#define STEPS_MAX 6
#define STABLE_AFTER_MS 10000
#define RELIST_EVERY_MS 10000 /* full lists are rare */
#define REFUSED_MS_MIN 60000
#define REFUSED_MS_MAX 600000
#define AUDIT_AFTER_MS 1000  /* behind the last frame */
#define AUDIT_EVERY_MS 10000 /* while there are changes */
#define AUDIT_IDLE_MS 30000  /* without an alarm, or with one that was wrong */

static void set_phase(struct mirror *mirror, enum sync_phase phase)
{
	mirror->sync.phase = phase;
	mirror_tier_publish(mirror);
}

static void drop_work(struct mirror *mirror)
{
	struct sync *sync = &mirror->sync;

	if (sync->call)
		mirror_call_drop(sync->call);
	sync->call = NULL;
	mirror_sync_drop_list(mirror);
	mirror_queue_forget(mirror);
	mirror_stream_close(mirror);
	if (sync->behind_ms && sync->behind_index > sync->owed_index)
		sync->owed_index = sync->behind_index;
	sync->behind_ms = sync->audit_at_ms = sync->list_at_ms = 0;
	sync->is_relisting = false;
}

/* ---- ends and new beginnings ---- */

static uint64_t next_pause(struct mirror *mirror)
{
	struct sync *sync = &mirror->sync;
	uint64_t pause_ms = sync->step ? (uint64_t)RETRY_MS_MIN << (sync->step - 1) : 50;

	if (sync->step < STEPS_MAX)
		sync->step++;
	return mirror_jitter(mirror, pause_ms < RETRY_MS_MAX ? pause_ms : RETRY_MS_MAX);
}

void mirror_sync_again(struct mirror *mirror, bool must_list, const char *why)
{
	struct sync *sync = &mirror->sync;
	uint64_t now_ms = clock_now_ms();
	bool was_live = sync->phase == SYNC_LIVE || sync->is_relisting;
	bool is_behind = must_list || sync->is_relisting || mirror_sync_is_behind(mirror);

	drop_work(mirror);
	snprintf(sync->why, sizeof(sync->why), "%s", why);
	sync->must_list |= must_list;
	if (was_live) {
		metrics_add(mirror->doors.metrics, METRIC_NOMAD_STREAM_RESTARTS, 1);
		log_debug("nomad", "the event stream starts again: %s", why);
		if (now_ms - sync->live_ms >= STABLE_AFTER_MS)
			sync->step = 0;
		if (is_behind)
			mirror_expire_live(mirror);
	}
	sync->retry_at_ms = now_ms + next_pause(mirror);
	set_phase(mirror, SYNC_WAITING);
	if (was_live && mirror->health.state == ZONE_NOMAD_OK && !mirror->health.is_holding)
		mirror_health_probe_now(mirror);
	mirror_live_arm(mirror);
}

void mirror_sync_refuse(struct mirror *mirror, bool was_denied, const char *why)
{
	struct sync *sync = &mirror->sync;
	uint64_t pause_ms = (uint64_t)REFUSED_MS_MIN << sync->refusals;
	bool was_live = sync->phase == SYNC_LIVE || sync->is_relisting;

	drop_work(mirror);
	mirror_census_stop(mirror);
	snprintf(sync->why, sizeof(sync->why), "%s", why);
	sync->must_list = true;
	sync->was_denied = was_denied;
	if (was_live)
		mirror_expire_live(mirror);
	if (sync->refusals < 4)
		sync->refusals++;
	if (pause_ms > REFUSED_MS_MAX)
		pause_ms = REFUSED_MS_MAX;
	sync->retry_at_ms = clock_now_ms() + mirror_jitter(mirror, pause_ms);
	set_phase(mirror, SYNC_REFUSED);
	mirror_live_arm(mirror);
}

void mirror_sync_start(struct mirror *mirror)
{
	struct sync *sync = &mirror->sync;

	drop_work(mirror);
	sync->why[0] = '\0';
	sync->must_list = true;
	sync->step = sync->refusals = 0;
	sync->retry_at_ms = clock_now_ms();
	set_phase(mirror, SYNC_WAITING);
	mirror_live_arm(mirror);
}

void mirror_sync_retry(struct mirror *mirror)
{
	struct sync *sync = &mirror->sync;

	if (sync->phase == SYNC_REFUSED || sync->phase == SYNC_WAITING)
		sync->retry_at_ms = clock_now_ms();
	mirror_live_arm(mirror);
}

void mirror_sync_stop(struct mirror *mirror)
{
	drop_work(mirror);
	mirror_census_stop(mirror);
	mirror->sync.phase = SYNC_OFF;
	mirror->sync.must_list = true;
}

void mirror_sync_grow(struct mirror *mirror, uint64_t index)
{
	struct sync *sync = &mirror->sync;
	unsigned step = sync->step;

	mirror_sync_again(mirror, false, "there is a new namespace");
	sync->since_index = index;
	sync->step = step;
	sync->retry_at_ms = clock_now_ms();
}

static void open_streams(struct mirror *mirror)
{
	mirror->sync.phase = SYNC_OPENING;
	mirror->sync.opened_ms = clock_now_ms();
	mirror_census_start(mirror);
	if (mirror_stream_open(mirror) < 0)
		mirror_sync_again(mirror, false, "out of memory or connections");
}

void mirror_sync_on_end(struct mirror *mirror, enum stream_end end, const char *why)
{
	if (end == STREAM_BROKE || mirror->sync.phase != SYNC_OPENING)
		mirror_sync_again(mirror, false, why);
	else
		mirror_sync_refuse(mirror, end == STREAM_DENIED, why);
}

void mirror_sync_on_line(struct mirror *mirror, const char *line, size_t length)
{
	struct sync *sync = &mirror->sync;
	uint64_t now_ms = clock_now_ms();

	if (length <= 2) /* a heartbeat */
		return;
	if (sync->phase != SYNC_LIVE) {
		mirror_queue_put(mirror, line, length);
		mirror_sync_lapse(mirror);
		return;
	}
	mirror_sync_apply(mirror, line, length);
	if (!sync->audit_at_ms || sync->audit_at_ms > now_ms + AUDIT_AFTER_MS)
		sync->audit_at_ms = now_ms + AUDIT_AFTER_MS;
	if (sync->audit_at_ms < sync->audited_ms + AUDIT_EVERY_MS)
		sync->audit_at_ms = sync->audited_ms + AUDIT_EVERY_MS;
}

void mirror_sync_go_live(struct mirror *mirror)
{
	struct sync *sync = &mirror->sync;
	bool was_relisting = sync->is_relisting;

	sync->live_ms = clock_now_ms();
	sync->must_list = sync->is_relisting = false;
	sync->refusals = 0;
	sync->behind_ms = 0;
	/* First what came meanwhile, then the readers hear that all of it is the truth. */
	sync->phase = SYNC_LIVE;
	mirror_queue_drain(mirror);
	if (sync->phase != SYNC_LIVE)
		return;
	mirror_tier_publish(mirror);
	sync->audit_at_ms = sync->live_ms + AUDIT_AFTER_MS;
	if (sync->owed_index)
		mirror_sync_heard(mirror, sync->owed_index);
	mirror_sync_hear_again(mirror);
	sync->owed_index = 0;
	if (!was_relisting)
		mirror_preload_start(mirror);
	mirror_live_arm(mirror);
}

/* ---- was anything missed? ---- */

static void on_probed(struct call *call, enum call_result result)
{
	struct mirror *mirror = call->mirror;
	struct sync *sync = &mirror->sync;

	sync->call = NULL;
	if (result != CALL_GOOD) {
		mirror_sync_again(mirror, false, call->error);
	} else if (!sync->must_list &&
		   ((call->index == sync->index && !mirror_queue_is_other(mirror)) ||
		    (call->index > sync->index && mirror_queue_is_replayed(mirror)))) {
		mirror_sync_go_live(mirror);
	} else {
		mirror_expire_live(mirror);
		sync->must_list = true;
		mirror_sync_list(mirror);
	}
}

static void on_audited(struct call *call, enum call_result result)
{
	struct mirror *mirror = call->mirror;

	mirror->sync.call = NULL;
	if (result == CALL_GOOD && call->index < mirror->sync.index && !call->was_stale)
		mirror_sync_back(mirror, call->index);
	else if (result == CALL_GOOD && mirror->scope.is_all)
		mirror_sync_heard(mirror, call->index);
	if (result == CALL_GOOD && !call->was_stale)
		mirror_watch_audited(mirror, call->index);
	if (result == CALL_GOOD && mirror->sync.phase == SYNC_LIVE)
		mirror_doubt_weigh(mirror, mirror->sync.index);
}

static void probe(struct mirror *mirror, void (*on_end)(struct call *, enum call_result))
{
	struct sync *sync = &mirror->sync;
	const char *namespace = mirror->scope.is_all ? mirror->home : mirror->scope.names[0];

	sync->call = mirror_call_new(mirror, NULL, namespace, MIRROR_PROBE_NAME);
	if (sync->call) {
		sync->call->on_end = on_end;
		if (mirror_call_start(sync->call) == 0)
			return;
		mirror_call_drop(sync->call);
		sync->call = NULL;
	}
	if (sync->phase != SYNC_LIVE)
		mirror_sync_again(mirror, true, "out of memory");
}

void mirror_sync_on_open(struct mirror *mirror)
{
	struct sync *sync = &mirror->sync;

	if (sync->phase != SYNC_OPENING || sync->leg_count == 0)
		return;
	if (sync->must_list) {
		mirror_sync_list(mirror);
	} else {
		sync->phase = SYNC_PROBING;
		probe(mirror, on_probed);
	}
}

void mirror_sync_back(struct mirror *mirror, uint64_t index)
{
	struct sync *sync = &mirror->sync;
	uint64_t held;

	if (log_brake_take(&sync->back_brake, clock_now_ms(), RELIST_EVERY_MS, &held)) {
		log_warn("nomad", "Nomad's index went back to %llu: everything is read again",
			 (unsigned long long)index);
		sync->quick_lists = 1;
	}
	mirror->back_index = 0;
	mirror_census_stop(mirror);
	mirror_large_again(mirror);
	catalogue_rewind(mirror->doors.catalogue);
	mirror_expire_live(mirror);
	mirror->index = index;
	sync->heard_index = index;
	sync->index = sync->owed_index = sync->since_index = 0;
	memset(sync->told, 0, sizeof(sync->told));
	mirror_alarm_back(mirror, index);
	if (sync->phase == SYNC_LIVE || sync->phase == SYNC_LISTING || sync->phase == SYNC_PROBING)
		mirror_sync_again(mirror, true, "the index went back");
	else if (sync->phase == SYNC_OPENING)
		mirror_census_start(mirror);
}

/* ---- time ---- */

static void audit(struct mirror *mirror, uint64_t now_ms)
{
	struct sync *sync = &mirror->sync;
	bool is_alone = mirror->alarm.state != ALARM_ARMED || mirror->watch.doubts_alarm;

	sync->audited_ms = now_ms;
	sync->audit_at_ms = is_alone ? now_ms + AUDIT_IDLE_MS : 0;
	if (!sync->call && !mirror->health.is_holding)
		probe(mirror, on_audited);
}

static void notice_behind(struct mirror *mirror)
{
	struct sync *sync = &mirror->sync;

	sync->vain_doubts = 0;
	metrics_add(mirror->doors.metrics, METRIC_NOMAD_MISSED_CHANGES, 1);
	if (mirror->alarm.state == ALARM_ARMED && mirror->alarm.index < sync->behind_index &&
	    mirror->scope.is_all)
		mirror_watch_doubt(mirror,
				   "neither the event stream nor the held request told of a "
				   "change");
	mirror_sync_again(mirror, true, "a change was not in it");
}

/* Nothing is known to be missing; but something may be. */
static void relist(struct mirror *mirror)
{
	struct sync *sync = &mirror->sync;

	sync->doubt.list_at_ms = 0;
	if (mirror->health.is_holding || sync->call) {
		mirror_doubt_note(mirror);
		return;
	}
	sync->is_relisting = true;
	mirror_sync_list(mirror);
}

/* A server that lags, and catches up each time, is given more of its second. */
static uint64_t doubt_ms(const struct sync *sync)
{
	uint64_t patience_ms = DOUBT_MS + (uint64_t)sync->vain_doubts * VAIN_MS;

	return patience_ms < DOUBT_MS_MAX ? patience_ms : DOUBT_MS_MAX;
}

static uint64_t behind_next_ms(const struct sync *sync)
{
	return sync->behind_ms + (sync->is_doubtful ? BEHIND_MS_MAX : doubt_ms(sync));
}

uint64_t mirror_sync_tick(struct mirror *mirror, uint64_t now_ms)
{
	struct sync *sync = &mirror->sync;
	uint64_t next_ms;

	switch (sync->phase) {
	case SYNC_OFF:
		return UINT64_MAX;
	case SYNC_WAITING:
	case SYNC_REFUSED:
		if (mirror->health.is_holding || mirror->health.state == ZONE_NOMAD_DENIED)
			return UINT64_MAX;
		if (now_ms < sync->retry_at_ms)
			return sync->retry_at_ms;
		if (sync->phase == SYNC_REFUSED && mirror_scope_reset(mirror))
			return now_ms;
		open_streams(mirror);
		return now_ms + 1;
	case SYNC_LISTING:
		if (sync->list_at_ms && now_ms >= sync->list_at_ms)
			mirror_sync_list(mirror);
		return sync->list_at_ms ? sync->list_at_ms : mirror_stream_tick(mirror, now_ms);
	case SYNC_OPENING:
	case SYNC_PROBING:
		return mirror_stream_tick(mirror, now_ms);
	case SYNC_LIVE:
		break;
	}
	if (sync->behind_ms && now_ms >= sync->behind_ms + BEHIND_MS_MAX) {
		notice_behind(mirror);
		return now_ms;
	}
	if (sync->behind_ms && now_ms >= sync->behind_ms + doubt_ms(sync) && !sync->is_doubtful) {
		sync->is_doubtful = true;
		mirror_expire_live(mirror);
	}
	if (sync->audit_at_ms && now_ms >= sync->audit_at_ms)
		audit(mirror, now_ms);
	if (sync->doubt.list_at_ms && now_ms >= sync->doubt.list_at_ms) {
		relist(mirror);
		return now_ms + 1;
	}
	next_ms = mirror_stream_tick(mirror, now_ms);
	if (sync->doubt.list_at_ms && sync->doubt.list_at_ms < next_ms)
		next_ms = sync->doubt.list_at_ms;
	if (sync->audit_at_ms && sync->audit_at_ms < next_ms)
		next_ms = sync->audit_at_ms;
	if (sync->behind_ms && behind_next_ms(sync) < next_ms)
		next_ms = behind_next_ms(sync);
	return next_ms;
}
