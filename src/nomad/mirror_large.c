/*
 * A cluster in which so much changes that hearing all of it, on every node, would cost the servers
 * more than it gives. Then only the names in use are listened for, one by one (mirror_held.c), up
 * to a ceiling, and the alarm rings once a second at most: it makes everything else old. Where a
 * stream is permitted and many names are in use, the stream is the cheaper way, and only its alarm
 * is slowed down. No node knows how large the cluster is, but each sees how often it changes.
 */
#include "nomad/mirror_large.h"

#include "base/clock.h"
#include "nomad/catalogue.h"
#include "nomad/mirror_alarm.h"
#include "nomad/mirror_held.h"
#include "nomad/mirror_parts.h"
#include "nomad/mirror_sync.h"
#include "nomad/mirror_tier.h"

#define CHOOSE_MS 5000
#define IDLE_TURNS 12	 /* a minute without a question */
#define LOOK_MS 10000	 /* how many names are in use: those asked for in that time */
#define SLOW_MS 70000	 /* the alarm beside a stream: until the next minute was judged */
#define SLOW_PACE_MS 400 /* of the alarm meanwhile: the stream gets half a second to tell */
/* A held request costs a server 8 µs per change, a stream 90: beyond that many the stream is
 * cheaper. */
#define STREAM_NAMES_MAX 11

/* Takes the names in use, those asked for most first. → how many there are. */
static size_t choose_names(struct mirror *mirror, bool is_taking)
{
	struct catalogue_pick picks[HELD_NAMES_MAX];
	size_t count =
		catalogue_pick(mirror->doors.catalogue, CATALOGUE_ASKED, picks, HELD_NAMES_MAX);

	for (size_t i = 0; i < count && is_taking; i++)
		mirror_held_take(mirror, picks[i].namespace, picks[i].service);
	return count;
}

static bool can_be_large(const struct mirror *mirror)
{
	return mirror->ceiling == CONFIG_MIRROR_AUTO && mirror->alarm.state == ALARM_ARMED;
}

static void enter(struct mirror *mirror, uint64_t now_ms)
{
	log_info("nomad", "Nomad tells of more than two changes a second: from now on only the "
			  "names in use are listened for");
	mirror_sync_stop(mirror);
	mirror->is_large = true;
	mirror->large.decide_ms = 0;
	mirror->large.choose_ms = now_ms;
	mirror_expire_live(mirror);
	mirror_tier_publish(mirror);
}

static void leave(struct mirror *mirror)
{
	log_info("nomad", "Nomad changes rarely again: everything is listened for");
	mirror_large_stop(mirror);
	mirror_sync_start(mirror);
}

void mirror_large_stop(struct mirror *mirror)
{
	mirror_held_drop(mirror);
	mirror->is_large = false;
	mirror->large.decide_ms = mirror->large.slow_until_ms = 0;
	pace_init(&mirror->large.pace, clock_now_ms());
}

void mirror_large_count(struct mirror *mirror)
{
	pace_count(&mirror->large.pace, clock_now_ms());
}

void mirror_large_again(struct mirror *mirror)
{
	mirror_held_drop(mirror);
	mirror->large.choose_ms = clock_now_ms();
}

uint64_t mirror_large_pause_ms(const struct mirror *mirror)
{
	if (mirror->alarm.state != ALARM_ARMED)
		return 0;
	if (mirror->is_large)
		return MIRROR_LARGE_PACE_MS;
	return clock_now_ms() < mirror->large.slow_until_ms && mirror->sync.phase == SYNC_LIVE
		       ? SLOW_PACE_MS
		       : 0;
}

static void on_busy(struct mirror *mirror, uint64_t now_ms)
{
	struct large *large = &mirror->large;

	if (mirror->sync.phase != SYNC_LIVE) {
		enter(mirror, now_ms);
		return;
	}
	large->slow_until_ms = now_ms + SLOW_MS;
	large->decide_ms = now_ms + LOOK_MS;
	choose_names(mirror, false); /* from here on is counted */
}

static void decide(struct mirror *mirror, uint64_t now_ms)
{
	mirror->large.decide_ms = 0;
	if (can_be_large(mirror) && choose_names(mirror, false) <= STREAM_NAMES_MAX)
		enter(mirror, now_ms);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return b && b < a ? b : a;
}

uint64_t mirror_large_tick(struct mirror *mirror, uint64_t now_ms)
{
	struct large *large = &mirror->large;
	enum pace_word word = pace_look(&large->pace, mirror->is_large, now_ms);

	if (word == PACE_BUSY && can_be_large(mirror))
		on_busy(mirror, now_ms);
	if (large->decide_ms && now_ms >= large->decide_ms)
		decide(mirror, now_ms);
	if (mirror->is_large && (word == PACE_CALM || mirror->alarm.state == ALARM_REFUSED))
		leave(mirror);
	if (!mirror->is_large)
		return earlier(pace_next_ms(&large->pace, false), large->decide_ms);
	if (now_ms >= large->choose_ms) {
		large->choose_ms = now_ms + CHOOSE_MS;
		mirror_held_turn(mirror, IDLE_TURNS);
		if (!mirror->health.is_holding)
			choose_names(mirror, true);
	}
	return earlier(large->choose_ms, mirror_held_tick(mirror, now_ms));
}
