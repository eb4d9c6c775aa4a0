/*
 * The alarm: a request for the list of a namespace that cannot be, held by Nomad until anything
 * changes anywhere. Its answer is two bytes, and any workload identity may ask for it. Where only
 * some namespaces may be read, one request per namespace for a service that cannot be does the same
 * for each, and where those are many, the list of `*`, whose answer is all names. It says that
 * something changed, never what; and it is a hint, since it rests on how Nomad's radix tree wakes
 * those who watch a missing prefix.
 */
#include "nomad/mirror_alarm.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "nomad/http.h"
#include "nomad/mirror_doubt.h"
#include "nomad/mirror_health.h"
#include "nomad/mirror_large.h"
#include "nomad/mirror_live.h"
#include "nomad/mirror_parts.h"
#include "nomad/mirror_scope.h"
#include "nomad/mirror_sync.h"
#include "nomad/mirror_tier.h"
#include "nomad/mirror_watch.h"
#include "nomad/zone.h"

#define ANSWER_TIMEOUT_MS 5000
#define WAIT_S 60      /* a request left over from before a restored snapshot ends that soon */
#define WAIT_S_MAX 300 /* Nomad's own ceiling */
#define GRACE_MS 15000 /* beside the sixteenth that Nomad adds to the wait */
#define RETRY_MS_MIN 1000
#define RETRY_MS_MAX 30000
#define STEPS_MAX 5
#define REFUSED_MS_MIN 60000
#define REFUSED_MS_MAX 600000
#define REFUSED_SOON_MS 5000 /* when something else was granted since */
#define REFUSALS_MAX 4
#define WAKES_BURST 5 /* at once … */
#define WAKES_PER_S 10
#define IDLE_STEPS_MAX 3 /* 100, 200, 400 ms: what is answered so soon so often is not held */
#define IDLE_MS_MIN 100
#define HELD_MS_MIN 1000 /* and what lasted that long is */
#define ESCAPED_MAX (3 * SCOPE_NAME_MAX)
#define MILLI 1000
#define COST_BYTES_PER_MS 1024 /* of lists that tell of a change … */
#define COST_MS_MAX 800	       /* … which may be told that much later */
#define EMPTY_LIST_BYTES 2
#define UNSURE_MS 100	      /* a reply that comes sooner was not held */
#define LIST_BYTES_MAX 100000 /* some 2,500 names for each change and node: not worth it */
#define GIVEN_UP_SOON_MS 3000
#define GIVEN_UP_LOG_EVERY_MS 3600000

static void on_answer(void *arg, const struct http_reply *reply);

/* Several requests share the two a minute that idleness may cost. */
static unsigned wait_s(const struct alarm *alarm)
{
	unsigned wait = WAIT_S * (unsigned)((alarm->leg_count + 1) / 2);

	return wait < WAIT_S ? WAIT_S : wait > WAIT_S_MAX ? WAIT_S_MAX : wait;
}

static void set_state(struct mirror *mirror, enum alarm_state state)
{
	mirror->alarm.state = state;
	mirror_tier_publish(mirror);
}

static void drop_legs(struct mirror *mirror)
{
	struct alarm *alarm = &mirror->alarm;

	for (size_t i = 0; i < alarm->leg_count; i++) {
		http_cancel(mirror->doors.http, alarm->legs[i].id);
		alarm->legs[i].id = 0;
	}
	alarm->leg_count = alarm->armed_count = 0;
}

static void fail(struct mirror *mirror)
{
	struct alarm *alarm = &mirror->alarm;
	uint64_t pause_ms = (uint64_t)RETRY_MS_MIN << alarm->step;

	drop_legs(mirror);
	if (alarm->step < STEPS_MAX)
		alarm->step++;
	if (pause_ms > RETRY_MS_MAX)
		pause_ms = RETRY_MS_MAX;
	alarm->retry_at_ms = clock_now_ms() + mirror_jitter(mirror, pause_ms);
	set_state(mirror, ALARM_WAITING);
	/* A held request says nothing about Nomad; one that is not will. */
	if (mirror->health.state == ZONE_NOMAD_OK && !mirror->health.is_holding)
		mirror_health_probe_now(mirror);
}

/* What stands there is no alarm. What is asked for is kept for its TTL until it is tried again:
 * once soon, since it may have been a moment's false index, and then seldom. */
static void give_up(struct mirror *mirror, const char *why)
{
	struct alarm *alarm = &mirror->alarm;
	uint64_t pause_ms = GIVEN_UP_SOON_MS, held;

	drop_legs(mirror);
	if (alarm->is_unheld) {
		pause_ms = (uint64_t)REFUSED_MS_MIN << alarm->refusals;
		if (alarm->refusals < REFUSALS_MAX)
			alarm->refusals++;
	}
	if (pause_ms > REFUSED_MS_MAX)
		pause_ms = REFUSED_MS_MAX;
	alarm->step = STEPS_MAX;
	alarm->is_unheld = true;
	alarm->retry_at_ms = clock_now_ms() + mirror_jitter(mirror, pause_ms);
	if (log_brake_take(&alarm->unheld_brake, clock_now_ms(), GIVEN_UP_LOG_EVERY_MS, &held))
		log_warn("nomad", "%s; now and then it is tried again", why);
	set_state(mirror, ALARM_WAITING);
}

/* ---- asking ---- */

static void ask(struct alarm_leg *leg)
{
	struct mirror *mirror = leg->mirror;
	unsigned wait = wait_s(&mirror->alarm);
	char path[ESCAPED_MAX + 96], name[ESCAPED_MAX];
	int length;

	leg->asked_ms = clock_now_ms();
	leg->address = mirror->address;
	leg->ask_at_ms = 0;
	snprintf(name, sizeof(name), "%s", mirror->scope.by_list ? "*" : "~");
	if (leg->namespace &&
	    http_escape(leg->namespace, strlen(leg->namespace), name, sizeof(name)) < 0)
		return;
	length = snprintf(
		path, sizeof(path),
		leg->namespace ? "/v1/service/~?namespace=%s" : "/v1/services?namespace=%s", name);
	if (!leg->is_armed) {
		leg->id = http_get(mirror->doors.http, mirror->address, path, ANSWER_TIMEOUT_MS,
				   on_answer, leg);
	} else {
		snprintf(path + length, sizeof(path) - (size_t)length,
			 "&index=%" PRIu64 "&wait=%us", leg->index, wait);
		leg->id = http_get_held(mirror->doors.http, mirror->address, path,
					wait * MILLI * 17 / 16 + GRACE_MS, on_answer, leg);
	}
	metrics_add(mirror->doors.metrics, METRIC_NOMAD_REQUESTS_HELD, 1);
	if (!leg->id)
		fail(mirror);
}

/* Whether another wake may be asked for at once. */
static bool take_token(struct alarm *alarm, uint64_t now_ms)
{
	uint64_t gained = (now_ms - alarm->tokens_at_ms) * WAKES_PER_S;

	alarm->tokens_at_ms = now_ms;
	alarm->tokens_milli += gained < WAKES_BURST * MILLI ? gained : WAKES_BURST * MILLI;
	if (alarm->tokens_milli > WAKES_BURST * MILLI)
		alarm->tokens_milli = WAKES_BURST * MILLI;
	if (alarm->tokens_milli < MILLI)
		return false;
	alarm->tokens_milli -= MILLI;
	return true;
}

static void ask_later(struct alarm_leg *leg, uint64_t pause_ms)
{
	leg->ask_at_ms = clock_now_ms() + pause_ms;
	mirror_live_arm(leg->mirror);
}

static void ask_again(struct alarm_leg *leg)
{
	struct mirror *mirror = leg->mirror;
	uint64_t now_ms = clock_now_ms(), slow_ms = mirror_large_pause_ms(mirror);

	if (slow_ms)
		ask_later(leg, slow_ms);
	else if (leg->pause_ms)
		ask_later(leg, leg->pause_ms);
	else if (take_token(&mirror->alarm, now_ms))
		ask(leg);
	else
		ask_later(leg, MILLI / WAKES_PER_S);
}

/* ---- what is answered ---- */

static void on_armed(struct alarm_leg *leg, uint64_t index)
{
	struct mirror *mirror = leg->mirror;
	struct alarm *alarm = &mirror->alarm;
	bool is_news = index != alarm->index;

	leg->is_armed = true;
	leg->index = index;
	alarm->was_missed |= is_news; /* the next leg hears of the same change as of no news */
	if (index > alarm->index)
		alarm->index = index;
	alarm->armed_count++;
	if (alarm->armed_count == alarm->leg_count) {
		/* A held request that broke may mean that the agent is another one by now. */
		if (alarm->step > 0)
			mirror_sync_retry(mirror);
		alarm->step = 0;
		if (alarm->was_missed && mirror->sync.phase != SYNC_LIVE)
			mirror_expire_live(mirror);
		alarm->was_missed = false;
		set_state(mirror, ALARM_ARMED);
	}
	if (is_news)
		mirror_sync_heard(mirror, index);
	ask(leg);
}

/* A request was held: that is an alarm. */
static void note_held(struct alarm_leg *leg, uint64_t spent_ms)
{
	struct alarm *alarm = &leg->mirror->alarm;

	if (spent_ms < HELD_MS_MIN)
		return;
	leg->idle_step = 0;
	alarm->refusals = 0;
	alarm->is_unheld = false;
}

/* Nothing new, and sooner than it may. Something between us may answer for Nomad; between two of
 * its answers nobody would tell of a change. */
static void on_unchanged(struct alarm_leg *leg, uint64_t spent_ms)
{
	leg->has_timed_out = spent_ms >= (uint64_t)wait_s(&leg->mirror->alarm) * MILLI;
	if (leg->has_timed_out)
		ask(leg);
	else if (leg->idle_step >= IDLE_STEPS_MAX)
		give_up(leg->mirror, "requests that Nomad should hold until something changes are "
				     "answered at once: is a proxy between us?");
	else
		ask_later(leg, (uint64_t)IDLE_MS_MIN << leg->idle_step++);
}

static void on_wake(struct alarm_leg *leg, uint64_t index, uint64_t spent_ms)
{
	struct mirror *mirror = leg->mirror;
	struct alarm *alarm = &mirror->alarm;
	bool is_wait_over = spent_ms >= (uint64_t)wait_s(alarm) * MILLI;
	/* The index is that of the whole table, but a wait that ends tells it as it was at first.
	 * So the next reply may come at once because of another namespace, or of this one. */
	bool is_unsure = leg->namespace && leg->has_timed_out && spent_ms < UNSURE_MS;
	bool is_stream = mirror_tier(mirror) == TIER_STREAM;

	if (leg->idle_step > 0)
		leg->idle_step--;
	leg->has_timed_out = is_wait_over;
	leg->index = index;
	if (index > alarm->index)
		alarm->index = index;
	if (!is_stream)
		mirror_watch_wake(mirror);
	if (is_stream && is_unsure) /* its index will not come, if it is another one's */
		mirror_doubt_note(mirror);
	else /* what came at once may be anybody's */
		mirror_sync_heard_of(mirror, spent_ms < UNSURE_MS ? NULL : leg->namespace, index);
	ask_again(leg);
}

/* A policy may be edited for a moment, a new token not be known everywhere, a server be restored:
 * no refusal is for ever. */
static void refuse(struct alarm_leg *leg)
{
	struct mirror *mirror = leg->mirror;
	struct alarm *alarm = &mirror->alarm;
	uint64_t pause_ms = (uint64_t)REFUSED_MS_MIN << alarm->refusals;

	if (leg->namespace && mirror_scope_drop(mirror, leg->namespace))
		return;
	drop_legs(mirror);
	if (alarm->refusals < REFUSALS_MAX)
		alarm->refusals++;
	if (pause_ms > REFUSED_MS_MAX)
		pause_ms = REFUSED_MS_MAX;
	alarm->refused_ms = clock_now_ms();
	alarm->retry_at_ms = alarm->refused_ms + mirror_jitter(mirror, pause_ms);
	set_state(mirror, ALARM_REFUSED);
}

static void on_good(struct alarm_leg *leg, const struct http_reply *reply)
{
	struct mirror *mirror = leg->mirror;
	uint64_t spent_ms = clock_now_ms() - leg->asked_ms;

	if (mirror->scope.by_list) {
		leg->pause_ms = reply->body_length / COST_BYTES_PER_MS;
		if (leg->pause_ms > COST_MS_MAX)
			leg->pause_ms = COST_MS_MAX;
		if (reply->body_length > EMPTY_LIST_BYTES)
			mirror_scope_look(mirror);
	}
	if (leg->is_armed)
		note_held(leg, spent_ms);
	if (mirror->scope.by_list && reply->body_length > LIST_BYTES_MAX) {
		give_up(mirror, "the list of what this token may read is too long to be fetched at "
				"each change: give it read-job everywhere, or --namespace");
	} else if (!reply->has_index) {
		fail(mirror);
	} else if (reply->index == 0) {
		refuse(leg);
	} else if (!leg->is_armed) {
		on_armed(leg, reply->index);
	} else if (reply->index < leg->index) {
		mirror_sync_back(mirror, reply->index);
	} else if (reply->index == leg->index) {
		on_unchanged(leg, spent_ms);
	} else {
		on_wake(leg, reply->index, spent_ms);
	}
}

static void on_answer(void *arg, const struct http_reply *reply)
{
	struct alarm_leg *leg = arg;
	struct mirror *mirror = leg->mirror;

	leg->id = 0;
	if (reply->failure == HTTP_OK)
		mirror->heard_ms = clock_now_ms();
	if (reply->failure != HTTP_OK) {
		fail(mirror);
	} else if (reply->status == 200) {
		on_good(leg, reply);
	} else if (reply->status == 401 || reply->status == 403) {
		refuse(leg);
	} else {
		if (mirror->alarm.step < STEPS_MAX) /* it answers: no hurry */
			mirror->alarm.step++;
		fail(mirror);
	}
	mirror_live_arm(mirror);
}

/* ---- life ---- */

static void add_leg(struct mirror *mirror, const char *namespace)
{
	struct alarm_leg *leg = &mirror->alarm.legs[mirror->alarm.leg_count++];

	*leg = (struct alarm_leg){ .mirror = mirror, .namespace = namespace };
}

void mirror_alarm_start(struct mirror *mirror)
{
	struct alarm *alarm = &mirror->alarm;
	const struct scope *scope = &mirror->scope;

	drop_legs(mirror);
	alarm->retry_at_ms = 0;
	for (size_t i = 0; i < scope->count && !scope->is_all; i++)
		add_leg(mirror, scope->names[i]);
	if (scope->is_all)
		add_leg(mirror, NULL);
	if (alarm->leg_count == 0)
		alarm->retry_at_ms = clock_now_ms() + REFUSED_MS_MAX;
	set_state(mirror, alarm->leg_count ? ALARM_ASKING : ALARM_REFUSED);
	for (size_t i = 0; i < alarm->leg_count && alarm->state == ALARM_ASKING; i++)
		ask(&alarm->legs[i]);
	mirror_live_arm(mirror);
}

void mirror_alarm_stop(struct mirror *mirror)
{
	drop_legs(mirror);
	mirror->alarm.state = ALARM_OFF;
	mirror->alarm.retry_at_ms = 0;
}

void mirror_alarm_back(struct mirror *mirror, uint64_t index)
{
	struct alarm *alarm = &mirror->alarm;

	alarm->index = index;
	for (size_t i = 0; i < alarm->leg_count; i++) {
		struct alarm_leg *leg = &alarm->legs[i];

		if (!leg->is_armed)
			continue;
		http_cancel(mirror->doors.http, leg->id);
		*leg = (struct alarm_leg){ .mirror = mirror,
					   .namespace = leg->namespace,
					   .index = index,
					   .is_armed = true,
					   .pause_ms = leg->pause_ms };
		ask_again(leg);
		if (alarm->leg_count == 0) /* out of memory */
			return;
	}
}

void mirror_alarm_retry(struct mirror *mirror)
{
	struct alarm *alarm = &mirror->alarm;
	uint64_t soon_ms = alarm->refused_ms + ((uint64_t)REFUSED_SOON_MS << alarm->refusals);

	if (alarm->state != ALARM_REFUSED || soon_ms >= alarm->retry_at_ms)
		return;
	alarm->retry_at_ms = soon_ms;
	mirror_live_arm(mirror);
}

bool mirror_alarm_is_elsewhere(const struct mirror *mirror)
{
	const struct alarm *alarm = &mirror->alarm;

	for (size_t i = 0; i < alarm->leg_count; i++) {
		if (alarm->legs[i].id && alarm->legs[i].address != mirror->address)
			return true;
	}
	return false;
}

uint64_t mirror_alarm_tick(struct mirror *mirror, uint64_t now_ms)
{
	struct alarm *alarm = &mirror->alarm;
	uint64_t next_ms = UINT64_MAX;

	if ((alarm->state == ALARM_WAITING ||
	     (alarm->state == ALARM_REFUSED && mirror->health.state == ZONE_NOMAD_OK)) &&
	    !mirror->health.is_holding) {
		if (now_ms < alarm->retry_at_ms)
			return alarm->retry_at_ms;
		mirror_alarm_start(mirror);
	}
	for (size_t i = 0; i < alarm->leg_count; i++) {
		struct alarm_leg *leg = &alarm->legs[i];

		if (leg->ask_at_ms && now_ms >= leg->ask_at_ms)
			ask(leg);
		if (leg->ask_at_ms && leg->ask_at_ms < next_ms)
			next_ms = leg->ask_at_ms;
	}
	return next_ms;
}
