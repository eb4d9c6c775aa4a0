/*
 * Whether Nomad is there. While it is not, needs are answered at once without a request, and one
 * probe asks: every second while connections are refused, ever more rarely while it answers with
 * errors. A refused token is no loss: Nomad is there, and what is known stays.
 */
#include "nomad/mirror_health.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "nomad/http.h"
#include "nomad/mirror_alarm.h"
#include "nomad/mirror_ask.h"
#include "nomad/mirror_call.h"
#include "nomad/mirror_live.h"
#include "nomad/mirror_parts.h"
#include "nomad/mirror_pause.h"
#include "nomad/mirror_space.h"
#include "nomad/mirror_watch.h"
#include "nomad/need.h"
#include "nomad/zone.h"
#include "nomad/zone_writer.h"

#define PROBE_MS_MIN 1000
#define PROBE_MS_MAX 30000
#define PROBE_DENIED_MS 5000
#define DENIED_LOG_EVERY_MS 60000
#define STEPS_MAX 5	      /* 1, 2, 4, 8, 16, then PROBE_MS_MAX */
#define STABLE_AFTER_MS 10000 /* lost again before that: the pause goes on growing */

void mirror_health_init(struct mirror *mirror)
{
	mirror->health.state = ZONE_NOMAD_SILENT;
	mirror->health.since_ms = clock_now_ms();
	metrics_set(mirror->doors.metrics, METRIC_NOMAD_CONNECTED, 0);
	snprintf(mirror->health.reason, sizeof(mirror->health.reason), "no word yet");
}

static void change_state(struct mirror *mirror, enum zone_nomad state)
{
	struct health *health = &mirror->health;

	if (health->state == state)
		return;
	health->state = state;
	health->since_ms = clock_now_ms();
	/* Before the first good word there is nothing to lose: readers hear "silent". */
	if (state != ZONE_NOMAD_LOST || health->is_ready)
		zone_set_nomad(mirror->doors.zone, state);
	metrics_set(mirror->doors.metrics, METRIC_NOMAD_CONNECTED,
		    state == ZONE_NOMAD_OK || state == ZONE_NOMAD_DENIED);
	if (mirror->doors.on_state)
		mirror->doors.on_state(mirror->doors.on_state_arg);
}

/* ---- the probe ---- */

static void plan_probe(struct mirror *mirror, uint64_t pause_ms, uint64_t least_ms)
{
	uint64_t wait_ms = mirror_jitter(mirror, pause_ms);

	mirror->health.probe_at_ms = clock_now_ms() + (wait_ms < least_ms ? least_ms : wait_ms);
	mirror_arm(mirror);
}

static uint64_t next_pause(struct health *health, bool is_refused)
{
	uint64_t pause_ms = (uint64_t)PROBE_MS_MIN << health->step;

	if (is_refused)
		return PROBE_MS_MIN;
	if (health->step < STEPS_MAX)
		health->step++;
	return pause_ms < PROBE_MS_MAX ? pause_ms : PROBE_MS_MAX;
}

void mirror_health_probe_now(struct mirror *mirror)
{
	struct health *health = &mirror->health;

	health->probe_at_ms = 0;
	if (health->probe)
		return;
	health->probe = mirror_call_new(mirror, NULL, mirror->home, MIRROR_PROBE_NAME);
	if (health->probe && mirror_call_start(health->probe) == 0)
		return;
	if (health->probe)
		mirror_call_drop(health->probe);
	health->probe = NULL;
	plan_probe(mirror, PROBE_MS_MIN, 0);
}

void mirror_health_look_for_token(struct mirror *mirror)
{
	const struct health *health = &mirror->health;

	if (!http_refresh_token(mirror->doors.http))
		return;
	log_info("nomad", "there is a new token");
	mirror_space_renew(mirror);
	mirror_live_renew(mirror);
	if (health->state != ZONE_NOMAD_OK || health->is_holding)
		mirror_health_probe_now(mirror);
}

void mirror_health_tick(struct mirror *mirror, uint64_t now_ms)
{
	const struct health *health = &mirror->health;

	/* A half-written token may look like a server that is broken. */
	if (health->state == ZONE_NOMAD_DENIED || health->is_holding)
		mirror_health_look_for_token(mirror);
	if (health->probe_at_ms && now_ms >= health->probe_at_ms)
		mirror_health_probe_now(mirror);
}

/* ---- good ---- */

static void say_found(const struct mirror *mirror, const char *address)
{
	const struct health *health = &mirror->health;
	char duration[32];
	uint64_t lost_s = (clock_now_ms() - health->since_ms + 500) / 1000;

	str_format_duration_ms(lost_s * 1000, duration, sizeof(duration));
	if (!health->is_ready)
		log_info("nomad", "%s answers", address);
	else if (health->state == ZONE_NOMAD_DENIED)
		log_info("nomad", "%s takes the token again after %s", address, duration);
	else
		log_info("nomad", "%s answers again after %s", address, duration);
}

static void take_home(struct mirror *mirror, const struct call *call)
{
	if (strcmp(call->namespace, "*") == 0)
		return;
	snprintf(mirror->home, sizeof(mirror->home), "%s", call->namespace);
}

void mirror_health_good(struct mirror *mirror, const struct call *call)
{
	struct health *health = &mirror->health;
	bool is_change = health->state != ZONE_NOMAD_OK || health->is_holding;
	bool has_moved = mirror->address != call->address;

	mirror->address = call->address;
	mirror->heard_ms = clock_now_ms();
	take_home(mirror, call);
	if (call == health->probe)
		health->probe = NULL;
	if (!is_change && has_moved)
		mirror_live_found(mirror); /* streams and held requests move along */
	if (mirror->alarm.state == ALARM_REFUSED)
		mirror_alarm_retry(mirror);
	mirror_watch_compare(mirror, call);
	if (!is_change)
		return;
	say_found(mirror, http_address_text(mirror->doors.http, call->address));
	if (health->state == ZONE_NOMAD_DENIED)
		mirror_space_renew(mirror);
	health->is_ready = true;
	health->is_holding = false;
	health->probe_at_ms = 0;
	health->found_ms = clock_now_ms();
	change_state(mirror, ZONE_NOMAD_OK);
	mirror_live_found(mirror);
}

/* ---- bad ---- */

static void say_lost(const struct mirror *mirror, const struct call *call, enum call_result result)
{
	const char *address = http_address_text(mirror->doors.http, call->address);
	size_t count = http_address_count(mirror->doors.http);
	const char *others = count > 1 ? " (and the others have no answer either)" : "";

	if (result == CALL_STRANGE)
		log_warn("nomad",
			 "%s answers %s%s: is this a Nomad agent? Answering from what is known",
			 address, call->error, others);
	else if (mirror->health.is_ready)
		log_warn("nomad", "%s is lost: %s%s. Answering from what is known", address,
			 call->error, others);
	else
		log_warn("nomad", "%s does not answer yet: %s%s. Trying again", address,
			 call->error, others);
}

/* Lost, or no Nomad at all: nobody is let wait for it, and the probe takes over. */
static void hold(struct mirror *mirror, const struct call *call, enum call_result result)
{
	struct health *health = &mirror->health;
	uint64_t now_ms = clock_now_ms();

	if (!health->is_holding) {
		say_lost(mirror, call, result);
		if (now_ms - health->found_ms >= STABLE_AFTER_MS)
			health->step = 0;
		if (result == CALL_STRANGE)
			health->since_ms = now_ms;
	}
	health->is_holding = true;
	if (result == CALL_LOST)
		change_state(mirror, ZONE_NOMAD_LOST);
	plan_probe(mirror, next_pause(health, call->was_all_refused), call->retry_after_s * 1000);
	mirror_ask_end_all(mirror);
}

static void deny_everywhere(struct mirror *mirror, const struct call *call)
{
	struct health *health = &mirror->health;

	if (health->state != ZONE_NOMAD_DENIED)
		log_error("nomad",
			  "%s refuses the token (%s); it needs read-job in some namespace, or to "
			  "be a workload identity",
			  http_address_text(mirror->doors.http, call->address), call->error);
	health->is_holding = false;
	change_state(mirror, ZONE_NOMAD_DENIED);
	if (!health->probe_at_ms && !health->probe)
		plan_probe(mirror, PROBE_DENIED_MS * 100 / (100 - MIRROR_JITTER_PERCENT), 0);
}

/* The token was refused. Whether for this namespace only or for all is what the probe finds out, in
 * a namespace where it was good before, and then in none: who may read anything may ask there. */
static void deny(struct mirror *mirror, const struct call *call, bool was_probe)
{
	struct health *health = &mirror->health;
	uint64_t now_ms = clock_now_ms(), held;

	if (was_probe && strcmp(call->namespace, "*") == 0) {
		deny_everywhere(mirror, call);
		return;
	}
	if (was_probe || !health->is_ready) {
		snprintf(mirror->home, sizeof(mirror->home), "*");
		mirror_health_probe_now(mirror);
		return;
	}
	if (health->state != ZONE_NOMAD_OK)
		return;
	if (log_brake_take(&mirror->denied_brake, now_ms, DENIED_LOG_EVERY_MS, &held))
		log_warn("nomad",
			 "the token is refused for namespace %s (%s); with --namespace given, "
			 "others are not asked about",
			 call->namespace, call->error);
	if (now_ms - health->probed_home_ms >= PROBE_DENIED_MS) {
		health->probed_home_ms = now_ms;
		mirror_health_probe_now(mirror);
	}
}

void mirror_health_bad(struct mirror *mirror, const struct call *call, enum call_result result)
{
	struct health *health = &mirror->health;
	bool was_probe = call == health->probe;

	if (was_probe)
		health->probe = NULL;
	snprintf(health->reason, sizeof(health->reason), "%s", call->error);
	switch (result) {
	case CALL_GOOD:
		break;
	case CALL_FAILED: /* a probe that failed on its own account is repeated */
		if (was_probe)
			plan_probe(mirror, next_pause(health, false), call->retry_after_s * 1000);
		break;
	case CALL_DENIED:
		deny(mirror, call, was_probe);
		break;
	case CALL_STRANGE:
	case CALL_LOST:
		if (was_probe)
			mirror_pause_forget(mirror);
		hold(mirror, call, result);
		break;
	}
}

enum need_outcome mirror_health_outcome(const struct mirror *mirror)
{
	return mirror->health.is_ready ? NEED_LOST : NEED_NOT_READY;
}
