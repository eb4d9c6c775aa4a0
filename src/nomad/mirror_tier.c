/*
 * Nobody sets a tier: a live sync is "stream", an armed alarm "watch", neither "lookup". What was
 * fetched in a better tier stays true in the next one as long as nothing was missed, so that a
 * stream that breaks and comes back costs nothing. The operator hears of a tier that lasts.
 */
#include "nomad/mirror_tier.h"

#include <stdio.h>

#include "base/clock.h"
#include "nomad/catalogue.h"
#include "nomad/mirror_alarm.h"
#include "nomad/mirror_live.h"
#include "nomad/mirror_parts.h"
#include "nomad/mirror_scope.h"
#include "nomad/mirror_space.h"
#include "nomad/mirror_sync.h"
#include "nomad/zone_writer.h"

#define SETTLED_MS 6000 /* a tier that has lasted that long is worth a line */
#define TRIES_MAX 3	/* for some seconds */
#define SAY_BURST 4	/* lines about the tier at once, then … */
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

/* What the table has and the stream has not told yet
 * may be of a namespace that is younger than the stream, or of any once the stream is in doubt. */
bool mirror_tier_knows_all(const struct mirror *mirror, const char *namespace_label)
{
	const struct sync *sync = &mirror->sync;

	if (mirror_tier(mirror) != TIER_STREAM ||
	    !mirror_scope_holds(&mirror->scope, namespace_label))
		return false;
	return (!sync->behind_ms && !sync->census.grow_at_ms) ||
	       (!sync->is_doubtful &&
		catalogue_has_namespace(mirror->doors.catalogue, namespace_label));
}

bool mirror_tier_holds(const struct mirror *mirror, const char *namespace, uint64_t index)
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

bool mirror_tier_is_trying(const struct mirror *mirror)
{
	const struct alarm *alarm = &mirror->alarm;

	return mirror_tier(mirror) == TIER_LOOKUP &&
	       (alarm->state == ALARM_ASKING ||
		(alarm->state == ALARM_WAITING && alarm->step <= TRIES_MAX));
}

bool mirror_tier_is_best(const struct mirror *mirror)
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

const char *mirror_tier_why(const struct mirror *mirror)
{
	if (mirror->is_large)
		return "the cluster changes too often";
	return mirror_tier(mirror) != TIER_STREAM && mirror->ceiling <= CONFIG_MIRROR_STREAM
		       ? mirror->sync.why
		       : "";
}

/* ---- publishing the tier ---- */

static void set_metrics(struct mirror *mirror, enum tier tier)
{
	struct metrics *metrics = mirror->doors.metrics;

	metrics_set(metrics, METRIC_NOMAD_TIER_STREAM, tier == TIER_STREAM);
	metrics_set(metrics, METRIC_NOMAD_TIER_WATCH, tier == TIER_WATCH);
	metrics_set(metrics, METRIC_NOMAD_TIER_LOOKUP, tier == TIER_LOOKUP);
}

void mirror_tier_publish_names(struct mirror *mirror)
{
	bool knows_names =
		mirror->scope.is_all && !mirror->sync.behind_ms && !mirror->sync.census.grow_at_ms;

	if (mirror_tier(mirror) == TIER_STREAM && !mirror->is_closing)
		zone_set_live(mirror->doors.zone, knows_names ? ZONE_LIVE_NAMES : ZONE_LIVE_HELD,
			      clock_now_ms());
}

void mirror_tier_publish(struct mirror *mirror)
{
	struct tier_state *state = &mirror->tier;
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
		mirror_tier_publish_names(mirror);
		break;
	}
	set_metrics(mirror, tier);
	if (tier != state->published) {
		state->since_ms = now_ms;
		state->change_count++;
	}
	state->published = tier;
	mirror_live_arm(mirror);
}

/* ---- telling the operator ---- */

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
	return !is_trying || now_ms >= mirror->tier.since_ms + SETTLED_MS;
}

static void say_tier(struct mirror *mirror)
{
	static const char *const means[] = {
		[TIER_LOOKUP] = "what is asked for is kept for its TTL",
		[TIER_WATCH] = "Nomad tells that something changed",
		[TIER_STREAM] = "Nomad tells every change",
	};
	struct tier_state *state = &mirror->tier;
	enum tier tier = state->published;
	const char *why = mirror_tier_why(mirror);
	char repeats[64] = "";

	if (state->was_held)
		snprintf(repeats, sizeof(repeats), " (after %u changes meanwhile)",
			 state->change_count);
	state->said = tier;
	state->has_said = true;
	state->was_held = false;
	state->change_count = 0;
	log_info("nomad", "following Nomad by %s: %s%s%s%s%s", mirror_tier_text(tier), means[tier],
		 why[0] ? " (no event stream: " : "", why, why[0] ? ")" : "", repeats);
	if (mirror->doors.on_state)
		mirror->doors.on_state(mirror->doors.on_state_arg);
}

/* A tier that changes again and again is told of once a minute. 0: now; else when. */
static uint64_t may_say_ms(struct tier_state *state, uint64_t now_ms)
{
	uint64_t at_ms = state->said_ms + SAY_EVERY_MS;
	uint64_t minutes = (now_ms - state->said_ms) / SAY_EVERY_MS;

	state->said_count -= minutes < state->said_count ? (unsigned)minutes : state->said_count;
	if (state->said_count >= SAY_BURST) {
		state->was_held = true;
		return at_ms;
	}
	state->said_count++;
	state->said_ms = now_ms;
	return 0;
}

uint64_t mirror_tier_tick(struct mirror *mirror, uint64_t now_ms)
{
	const struct tier_state *state = &mirror->tier;
	uint64_t at_ms;

	if (state->published == state->said && state->has_said)
		return UINT64_MAX;
	if (!is_settled(mirror, now_ms))
		return state->since_ms + SETTLED_MS;
	at_ms = may_say_ms(&mirror->tier, now_ms);
	if (at_ms)
		return at_ms;
	say_tier(mirror);
	return UINT64_MAX;
}
