/*
 * Which tier there is, and what follows from it. Nobody sets a tier: a live sync is "stream", an
 * armed alarm "watch", neither "lookup". What was fetched in a better tier stays true in the next
 * one as long as nothing was missed, so that a stream that breaks and comes back costs nothing.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/map.h"
#include "nomad/catalogue.h"
#include "nomad/http.h"
#include "nomad/mirror_parts.h"

#define SETTLED_MS 6000 /* a tier that has lasted that long is worth a line */
#define TOKEN_LOOK_MS 2000
#define TRIES_MAX 3 /* for some seconds */
#define SAY_BURST 4 /* lines about the tier at once, then … */
#define SAY_EVERY_MS 60000

enum tier mirror_tier(const struct mirror *mirror)
{
	if (mirror->sync.phase == SYNC_LIVE)
		return TIER_STREAM;
	return mirror->alarm.state == ALARM_ARMED ? TIER_WATCH : TIER_LOOKUP;
}

const char *mirror_tier_text(enum tier tier)
{
	switch (tier) {
	case TIER_LOOKUP:
		return "lookup";
	case TIER_WATCH:
		return "watch";
	case TIER_STREAM:
		return "stream";
	}
	return "";
}

/* Whether every name of a namespace is known. What the table has and the stream has not told yet
 * may be of a namespace that is younger than the stream, or of any once the stream is in doubt. */
bool mirror_live_knows_all(const struct mirror *mirror, const char *namespace_label)
{
	const struct sync *sync = &mirror->sync;

	if (mirror_tier(mirror) != TIER_STREAM ||
	    !mirror_scope_holds(&mirror->scope, namespace_label))
		return false;
	return (!sync->behind_ms && !sync->census.grow_at_ms) ||
	       (!sync->is_doubtful &&
		catalogue_has_namespace(mirror->doors.catalogue, namespace_label));
}

/* Whether what was true at `index` is kept true from there on. */
bool mirror_live_holds(const struct mirror *mirror, const char *namespace, uint64_t index)
{
	if (!mirror_scope_holds(&mirror->scope, namespace))
		return false;
	switch (mirror_tier(mirror)) {
	case TIER_LOOKUP:
		return false;
	case TIER_WATCH:
		return index >= mirror->alarm.index;
	case TIER_STREAM:
		return index >= mirror->sync.base_index;
	}
	return false;
}

/* Of what is kept true from here on; stale only counts once it is not any more. */
struct zone_times mirror_live_times(const struct mirror *mirror)
{
	struct zone_times times = mirror_times(mirror, true, false);

	times.refresh_from_ms = times.fresh_until_ms = ZONE_LIVE;
	return times;
}

/* Whether there will soon be a better tier than this one. */
bool mirror_live_is_trying(const struct mirror *mirror)
{
	const struct alarm *alarm = &mirror->alarm;

	return mirror_tier(mirror) == TIER_LOOKUP &&
	       (alarm->state == ALARM_ASKING ||
		(alarm->state == ALARM_WAITING && alarm->step <= TRIES_MAX));
}

uint64_t mirror_live_jitter(struct mirror *mirror, uint64_t ms)
{
	uint64_t percent = 100 - MIRROR_JITTER_PERCENT +
			   hash_dice_roll(&mirror->dice) % (2 * MIRROR_JITTER_PERCENT + 1);

	return ms * percent / 100;
}

/* Anything may have changed: what is held is fetched again when it is asked for. */
void mirror_live_expire(struct mirror *mirror)
{
	zone_expire_live(mirror->doors.zone, clock_now_ms());
	mirror_space_expire(mirror);
}

/* ---- publishing the tier ---- */

static void set_metrics(struct mirror *mirror, enum tier tier)
{
	struct metrics *metrics = mirror->doors.metrics;

	metrics_set(metrics, METRIC_NOMAD_TIER_STREAM, tier == TIER_STREAM);
	metrics_set(metrics, METRIC_NOMAD_TIER_WATCH, tier == TIER_WATCH);
	metrics_set(metrics, METRIC_NOMAD_TIER_LOOKUP, tier == TIER_LOOKUP);
}

/* While the stream is behind, no name is denied by what it told before. */
void mirror_live_names(struct mirror *mirror)
{
	bool knows_names =
		mirror->scope.is_all && !mirror->sync.behind_ms && !mirror->sync.census.grow_at_ms;

	if (mirror_tier(mirror) == TIER_STREAM && !mirror->is_closing)
		zone_set_live(mirror->doors.zone, knows_names ? ZONE_LIVE_NAMES : ZONE_LIVE_HELD,
			      clock_now_ms());
}

void mirror_live_settle(struct mirror *mirror)
{
	enum tier tier = mirror_tier(mirror);
	uint64_t now_ms = clock_now_ms();

	if (mirror->is_closing)
		return;
	switch (tier) {
	case TIER_LOOKUP:
		zone_set_live(mirror->doors.zone, ZONE_LIVE_NOT, now_ms);
		mirror_space_expire(mirror);
		break;
	case TIER_WATCH:
		zone_set_live(mirror->doors.zone, ZONE_LIVE_HELD, now_ms);
		break;
	case TIER_STREAM:
		mirror_live_names(mirror);
		break;
	}
	set_metrics(mirror, tier);
	if (tier != mirror->tier) {
		mirror->tier_ms = now_ms;
		mirror->tier_changes++;
	}
	mirror->tier = tier;
	mirror_live_arm(mirror);
}

static bool is_settled(const struct mirror *mirror, uint64_t now_ms)
{
	bool is_trying = mirror->alarm.state == ALARM_ASKING || mirror->scout.call ||
			 (mirror->alarm.state == ALARM_ARMED && mirror->alarm.is_unheld) ||
			 mirror->scout.is_early || mirror->scout.more.count;

	switch (mirror->sync.phase) {
	case SYNC_OFF:
	case SYNC_LIVE:
	case SYNC_REFUSED:
		break;
	case SYNC_WAITING:
	case SYNC_OPENING:
	case SYNC_PROBING:
	case SYNC_LISTING:
		is_trying = true;
		break;
	}
	if (mirror->sync.phase == SYNC_LIVE)
		is_trying = false;
	return !is_trying || now_ms >= mirror->tier_ms + SETTLED_MS;
}

/* Why there is no stream, for the operator; "": there is one, or none is wanted. */
const char *mirror_live_why(const struct mirror *mirror)
{
	if (mirror->is_large)
		return "the cluster changes too often";
	return mirror_tier(mirror) != TIER_STREAM && mirror->ceiling <= CONFIG_MIRROR_STREAM
		       ? mirror->sync.why
		       : "";
}

static void say_tier(struct mirror *mirror)
{
	static const char *const means[] = {
		[TIER_LOOKUP] = "what is asked for is kept for its TTL",
		[TIER_WATCH] = "Nomad tells that something changed",
		[TIER_STREAM] = "Nomad tells every change",
	};
	enum tier tier = mirror->tier;
	const char *why = mirror_live_why(mirror);
	char repeats[64] = "";

	if (mirror->was_held)
		snprintf(repeats, sizeof(repeats), " (after %u changes meanwhile)",
			 mirror->tier_changes);
	mirror->said_tier = tier;
	mirror->has_said_tier = true;
	mirror->was_held = false;
	mirror->tier_changes = 0;
	log_info("nomad", "following Nomad by %s: %s%s%s%s%s", mirror_tier_text(tier), means[tier],
		 why[0] ? " (no event stream: " : "", why, why[0] ? ")" : "", repeats);
	if (mirror->doors.on_state)
		mirror->doors.on_state(mirror->doors.on_state_arg);
}

/* A tier that changes again and again is told of once a minute. 0: now; else when. */
static uint64_t may_say_ms(struct mirror *mirror, uint64_t now_ms)
{
	uint64_t at_ms = mirror->said_ms + SAY_EVERY_MS;
	uint64_t minutes = (now_ms - mirror->said_ms) / SAY_EVERY_MS;

	mirror->said_count -= minutes < mirror->said_count ? (unsigned)minutes : mirror->said_count;
	if (mirror->said_count >= SAY_BURST) {
		mirror->was_held = true;
		return at_ms;
	}
	mirror->said_count++;
	mirror->said_ms = now_ms;
	return 0;
}

/* ---- time ---- */

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* What was refused may be granted to another token. */
static uint64_t look_for_token(struct mirror *mirror, uint64_t now_ms)
{
	bool is_refused =
		mirror->sync.phase == SYNC_REFUSED || mirror->alarm.state == ALARM_REFUSED;

	if (!is_refused)
		return UINT64_MAX;
	if (now_ms < mirror->token_at_ms)
		return mirror->token_at_ms;
	mirror->token_at_ms = now_ms + TOKEN_LOOK_MS;
	mirror_health_look_for_token(mirror);
	return mirror->token_at_ms;
}

/* → when to look again. */
static uint64_t tell_tier(struct mirror *mirror, uint64_t now_ms)
{
	uint64_t at_ms;

	if (!is_settled(mirror, now_ms))
		return mirror->tier_ms + SETTLED_MS;
	at_ms = may_say_ms(mirror, now_ms);
	if (at_ms)
		return at_ms;
	say_tier(mirror);
	return UINT64_MAX;
}

uint64_t mirror_live_tick(struct mirror *mirror, uint64_t now_ms)
{
	uint64_t next_ms = UINT64_MAX;

	if (mirror->is_closing)
		return UINT64_MAX;
	next_ms = mirror_pulse_tick(mirror, now_ms);
	if (mirror->ceiling == CONFIG_MIRROR_LOOKUP)
		return earlier(next_ms, mirror_scope_tick(mirror, now_ms));
	if (mirror->back_index)
		mirror_sync_back(mirror, mirror->back_index);
	next_ms = earlier(next_ms, mirror_alarm_tick(mirror, now_ms));
	next_ms = earlier(next_ms, mirror_sync_tick(mirror, now_ms));
	next_ms = earlier(next_ms, mirror_census_tick(mirror, now_ms));
	next_ms = earlier(next_ms, mirror_watch_tick(mirror, now_ms));
	next_ms = earlier(next_ms, mirror_preload_tick(mirror, now_ms));
	next_ms = earlier(next_ms, mirror_large_tick(mirror, now_ms));
	next_ms = earlier(next_ms, look_for_token(mirror, now_ms));
	next_ms = earlier(next_ms, mirror_scope_tick(mirror, now_ms));
	if (mirror->tier != mirror->said_tier || !mirror->has_said_tier)
		next_ms = earlier(next_ms, tell_tier(mirror, now_ms));
	return next_ms;
}

static void on_live_timer(uv_timer_t *timer)
{
	struct mirror *mirror = timer->data;
	uint64_t now_ms = clock_now_ms();
	uint64_t next_ms =
		earlier(mirror_live_tick(mirror, now_ms), mirror_settle_tick(mirror, now_ms));

	now_ms = clock_now_ms();
	if (next_ms == UINT64_MAX || mirror->is_closing)
		return;
	uv_timer_start(timer, on_live_timer, next_ms > now_ms ? next_ms - now_ms : 1, 0);
}

/* Something may be due earlier than was planned: the clock finds out what, at once. */
void mirror_live_arm(struct mirror *mirror)
{
	if (!mirror->is_closing && mirror->open_handles)
		uv_timer_start(&mirror->live_timer, on_live_timer, 0, 0);
}

/* ---- life ---- */

static void start(struct mirror *mirror)
{
	mirror_alarm_start(mirror);
	if (mirror->ceiling <= CONFIG_MIRROR_STREAM && !mirror->is_large)
		mirror_sync_start(mirror);
}

static void take_config(struct mirror *mirror, const struct config *config)
{
	mirror->ceiling = config->mirror;
	mirror->settle.pause_ms = config->settle_ms;
	mirror->preload.limit = config->preload;
	mirror_scope_configure(mirror, config);
}

/* false: out of memory. */
bool mirror_live_open(struct mirror *mirror, const struct config *config)
{
	list_init(&mirror->settle.list);
	list_init(&mirror->settle.asked);
	mirror->settle.by_key = map_new();
	mirror->watch.names = map_new();
	take_config(mirror, config);
	mirror->sync.must_list = true;
	mirror->tier_ms = clock_now_ms();
	pace_init(&mirror->large.pace, mirror->tier_ms);
	return mirror->settle.by_key && mirror->watch.names;
}

void mirror_live_start(struct mirror *mirror)
{
	mirror_live_settle(mirror);
	if (mirror->ceiling != CONFIG_MIRROR_LOOKUP)
		start(mirror);
}

static void stop(struct mirror *mirror)
{
	mirror_alarm_stop(mirror);
	mirror_sync_stop(mirror);
	mirror_large_stop(mirror);
	mirror_watch_stop(mirror);
	mirror_pulse_stop(mirror);
	if (mirror->scout.call)
		mirror_call_drop(mirror->scout.call);
	mirror->scout.call = NULL;
}

void mirror_live_configure(struct mirror *mirror, const struct config *config)
{
	if (config->mirror != mirror->ceiling)
		mirror->has_said_tier = false;
	stop(mirror);
	mirror_live_expire(mirror);
	take_config(mirror, config);
	mirror_live_start(mirror);
}

void mirror_live_close(struct mirror *mirror)
{
	stop(mirror);
}

void mirror_live_free(struct mirror *mirror)
{
	mirror_watch_forget(mirror);
	mirror_settle_forget(mirror);
	mirror_preload_forget(mirror);
}

bool mirror_live_is_best(const struct mirror *mirror)
{
	switch (mirror->ceiling) {
	case CONFIG_MIRROR_LOOKUP:
		return true;
	case CONFIG_MIRROR_WATCH:
		return mirror_tier(mirror) == TIER_WATCH;
	case CONFIG_MIRROR_AUTO:
	case CONFIG_MIRROR_STREAM:
		break;
	}
	return mirror_tier(mirror) == TIER_STREAM || mirror->is_large;
}

void mirror_live_renew(struct mirror *mirror)
{
	if (mirror->ceiling == CONFIG_MIRROR_LOOKUP || mirror->is_closing)
		return;
	if (mirror->sync.phase == SYNC_LIVE && mirror->alarm.state == ALARM_ARMED)
		return;
	mirror_scope_reset(mirror);
	start(mirror);
}

/* Nomad answers again: it may be another version by now. */
void mirror_live_found(struct mirror *mirror)
{
	uint64_t now_ms = clock_now_ms();

	if (mirror->ceiling == CONFIG_MIRROR_LOOKUP || mirror->is_closing)
		return;
	if (mirror->alarm.state == ALARM_REFUSED && !mirror_scope_reset(mirror))
		mirror_alarm_start(mirror);
	if (mirror->alarm.state == ALARM_WAITING)
		mirror_alarm_start(mirror);
	mirror_large_again(mirror);
	if (mirror->sync.phase == SYNC_REFUSED)
		mirror_sync_start(mirror);
	else if (mirror->sync.phase == SYNC_WAITING)
		mirror->sync.retry_at_ms = now_ms;
	mirror_live_arm(mirror);
}
