/*
 * Which agent is followed, and whether it still lives. One that hangs says nothing: while
 * everything asked for is known, only a held request would show it, after more than a minute. So
 * while there are questions and Nomad has been silent for some time, it is asked a small one. And
 * while another agent than the first is followed, the first one is asked now and then: it is the
 * one beside us.
 */
#include "nomad/mirror_pulse.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "nomad/http.h"
#include "nomad/mirror.h"
#include "nomad/mirror_alarm.h"
#include "nomad/mirror_call.h"
#include "nomad/mirror_health.h"
#include "nomad/mirror_large.h"
#include "nomad/mirror_live.h"
#include "nomad/mirror_parts.h"
#include "nomad/mirror_stream.h"
#include "nomad/mirror_sync.h"
#include "nomad/mirror_watch.h"
#include "nomad/zone.h"

#define LOOK_MS 10000
#define LEADERLESS_LOOK_MS 5000
#define FIRST_MS 60000 /* doubled each time that the first address was lost again … */
#define FIRST_STEPS_MAX 3
#define FIRST_STABLE_MS 600000 /* … until it has stayed that long */
#define ANSWER_TIMEOUT_MS 2000
#define PATH_MAX_BYTES (3 * DNS_LABEL_MAX + 64)

static uint64_t count_questions(const struct mirror *mirror)
{
	const struct mirror_doors *doors = &mirror->doors;

	return doors->count_questions ? doors->count_questions(doors->count_questions_arg) : 0;
}

/* ---- is it still there? ---- */

static bool wants_word(struct mirror *mirror)
{
	struct pulse *pulse = &mirror->pulse;
	uint64_t questions = count_questions(mirror);
	bool was_asked = questions != pulse->questions;

	pulse->questions = questions;
	return mirror->health.state == ZONE_NOMAD_OK && !mirror->health.is_holding &&
	       (was_asked || mirror->is_leaderless);
}

static uint64_t look(struct mirror *mirror, uint64_t now_ms)
{
	struct pulse *pulse = &mirror->pulse;
	uint64_t pause_ms = mirror->is_leaderless ? LEADERLESS_LOOK_MS : LOOK_MS;

	if (now_ms < pulse->look_at_ms)
		return pulse->look_at_ms;
	if (now_ms < mirror->heard_ms + pause_ms) {
		pulse->look_at_ms = mirror->heard_ms + pause_ms;
		return pulse->look_at_ms;
	}
	if (wants_word(mirror))
		mirror_health_probe_now(mirror);
	pulse->look_at_ms = now_ms + pause_ms;
	return pulse->look_at_ms;
}

/* ---- is the first one back? ---- */

static void plan_first(struct mirror *mirror, uint64_t now_ms)
{
	struct pulse *pulse = &mirror->pulse;

	pulse->first_at_ms =
		now_ms + mirror_jitter(mirror, (uint64_t)FIRST_MS << pulse->first_step);
}

static void on_first(void *arg, const struct http_reply *reply)
{
	struct mirror *mirror = arg;
	struct pulse *pulse = &mirror->pulse;

	pulse->first_id = 0;
	if (reply->failure != HTTP_OK || reply->status != 200 || !reply->has_index ||
	    reply->index < mirror->index || !reply->knows_leader || mirror->health.is_holding ||
	    mirror->address == 0)
		return;
	log_info("nomad", "%s answers again, and is followed again",
		 http_address_text(mirror->doors.http, 0));
	mirror->address = 0;
	if (pulse->first_step < FIRST_STEPS_MAX)
		pulse->first_step++;
	pulse->first_at_ms = clock_now_ms() + FIRST_STABLE_MS;
	mirror_live_arm(mirror);
}

static void ask_first(struct mirror *mirror)
{
	char path[PATH_MAX_BYTES], name[3 * DNS_LABEL_MAX + 1];

	if (http_escape(mirror->home, strlen(mirror->home), name, sizeof(name)) < 0)
		return;
	snprintf(path, sizeof(path), "/v1/service/" MIRROR_PROBE_NAME "?namespace=%s", name);
	metrics_add(mirror->doors.metrics, METRIC_NOMAD_REQUESTS_SERVICE, 1);
	mirror->pulse.first_id =
		http_get(mirror->doors.http, 0, path, ANSWER_TIMEOUT_MS, on_first, mirror);
}

static uint64_t look_at_first(struct mirror *mirror, uint64_t now_ms)
{
	struct pulse *pulse = &mirror->pulse;

	if (mirror->address == 0) {
		if (pulse->first_step && now_ms >= pulse->first_at_ms)
			pulse->first_step = 0;
		pulse->is_away = false;
		return UINT64_MAX;
	}
	if (!pulse->is_away)
		plan_first(mirror, now_ms);
	pulse->is_away = true;
	if (now_ms >= pulse->first_at_ms) {
		plan_first(mirror, now_ms);
		if (!pulse->first_id && !mirror->health.is_holding)
			ask_first(mirror);
	}
	return pulse->first_at_ms;
}

/* ---- where we listen ---- */

/* What is held at an agent that is not asked any more moves to the one that is. */
static void follow(struct mirror *mirror)
{
	if (mirror->health.is_holding || mirror->ceiling == CONFIG_MIRROR_LOOKUP)
		return;
	if (mirror_alarm_is_elsewhere(mirror)) {
		mirror_watch_believe(mirror); /* it was the other one that was wrong */
		mirror_large_again(mirror);
		mirror_alarm_start(mirror);
	}
	if (mirror_stream_is_elsewhere(mirror))
		mirror_sync_again(mirror, false, "another agent is followed now");
}

uint64_t mirror_pulse_tick(struct mirror *mirror, uint64_t now_ms)
{
	uint64_t look_at_ms = look(mirror, now_ms);
	uint64_t first_at_ms = look_at_first(mirror, now_ms);

	follow(mirror);
	return look_at_ms < first_at_ms ? look_at_ms : first_at_ms;
}

void mirror_pulse_stop(struct mirror *mirror)
{
	http_cancel(mirror->doors.http, mirror->pulse.first_id);
	mirror->pulse = (struct pulse){ .questions = mirror->pulse.questions };
}
