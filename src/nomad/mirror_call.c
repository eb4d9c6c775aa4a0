/*
 * One question to Nomad. It is put to the address that answered last; without an answer after a
 * second it is asked again beside, `stale`, which any server may answer when there is no leader.
 * The first good answer wins. What fails at one address goes to the next, and is lost when none is
 * left. What counts as which, mirror_call_reply.c says.
 */
#include "nomad/mirror_call.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "nomad/http.h"
#include "nomad/mirror_alarm.h"
#include "nomad/mirror_ask.h"
#include "nomad/mirror_call_parts.h"
#include "nomad/mirror_health.h"
#include "nomad/mirror_parts.h"

#define ANSWER_TIMEOUT_MS 5000 /* then an address counts as silent */
#define STALE_AFTER_MS 1000
#define ACTIVE_MAX 6   /* questions put at a time … */
#define LEISURE_MAX 4  /* … with room for those somebody waits for … */
#define REQUESTS_MAX 8 /* … so that of http's connections two are left for stale ones */
#define ESCAPED_MAX (3 * 256 + 1)

/* ---- making and dropping ---- */

static char *make_path(const struct mirror *mirror, const char *namespace, const char *service)
{
	char space[ESCAPED_MAX], name[ESCAPED_MAX] = "";
	char *path;
	int length;

	if (http_escape(namespace, strlen(namespace), space, sizeof(space)) < 0 ||
	    (service && http_escape(service, strlen(service), name, sizeof(name)) < 0))
		return NULL;
	if (strcmp(namespace, "*") == 0) /* any token that is good for something may ask this */
		snprintf(space, sizeof(space), "*");
	if (service)
		length = asprintf(&path, "/v1/service/%s?namespace=%s%s", name, space,
				  mirror->filter);
	else
		length = asprintf(&path, "/v1/services?namespace=%s", space);
	return length < 0 ? NULL : path;
}

/* 0 or -ENOMEM. */
static int take_filter(struct call *call)
{
	char *path;

	if (call->filter_turn == call->mirror->filter_turn)
		return 0;
	path = make_path(call->mirror, call->namespace, call->service);
	if (!path)
		return -ENOMEM;
	free(call->path);
	call->path = path;
	call->filter_turn = call->mirror->filter_turn;
	return 0;
}

static void free_call(struct call *call)
{
	free(call->path);
	free(call->namespace);
	free(call->service);
	free(call);
}

struct call *mirror_call_new(struct mirror *mirror, struct ask *ask, const char *namespace,
			     const char *service)
{
	struct call *call = calloc(1, sizeof(*call));

	if (!call)
		return NULL;
	list_init(&call->link);
	call->mirror = mirror;
	call->ask = ask;
	call->on_end = ask ? mirror_ask_on_call_end : NULL;
	call->kind = !service ? CALL_KIND_LIST : ask ? CALL_KIND_SERVICE : CALL_KIND_PROBE;
	call->namespace = strdup(namespace);
	call->service = service ? strdup(service) : NULL;
	call->path = make_path(mirror, namespace, service);
	call->filter_turn = mirror->filter_turn;
	call->plain = (struct leg){ .call = call };
	call->stale = (struct leg){ .call = call, .is_stale = true };
	call->beside = (struct leg){ .call = call };
	call->was_all_refused = true;
	if (call->path && call->namespace && (call->service || !service))
		return call;
	free_call(call);
	return NULL;
}

static void cancel_leg(struct leg *leg)
{
	http_cancel(leg->call->mirror->doors.http, leg->id);
	leg->id = 0;
}

static void cancel_legs(struct call *call)
{
	cancel_leg(&call->plain);
	cancel_leg(&call->stale);
	cancel_leg(&call->beside);
}

/* Takes the call out of everything; from here on it is only memory. */
static void detach(struct call *call)
{
	cancel_legs(call);
	list_remove(&call->link);
	if (call->is_active)
		call->mirror->active_count--;
	call->is_active = false;
}

void mirror_call_drop(struct call *call)
{
	detach(call);
	free_call(call);
}

/* ---- the queues ---- */

void mirror_call_queue(struct call *call, bool is_urgent)
{
	struct mirror *mirror = call->mirror;

	list_append(is_urgent ? &mirror->urgent : &mirror->leisure, &call->link);
}

void mirror_call_hurry(struct mirror *mirror, const struct ask *ask)
{
	list_for_each_safe (link, &mirror->leisure) {
		struct call *call = list_entry(link, struct call, link);

		if (call->ask != ask)
			continue;
		list_remove(link);
		list_append(&mirror->urgent, link);
	}
}

/* ---- the end ---- */

void mirror_call_end(struct call *call, enum call_result result)
{
	struct mirror *mirror = call->mirror;

	detach(call);
	if (result == CALL_GOOD)
		mirror_health_good(mirror, call);
	if (call->on_end)
		call->on_end(call, result);
	/* Rights to all namespaces are more than most tokens have. */
	if (result != CALL_GOOD &&
	    !(result == CALL_DENIED && strcmp(call->namespace, "*") == 0 && !call->service))
		mirror_health_bad(mirror, call, result);
	free_call(call);
	mirror_call_pump(mirror);
}

/* ---- asking ---- */

static int start_leg(struct leg *leg, size_t address, uint64_t timeout_ms)
{
	struct call *call = leg->call;
	struct mirror *mirror = call->mirror;
	char *stale = NULL;

	if (leg->is_stale) {
		call->has_asked_stale = true;
		if (asprintf(&stale, "%s&stale", call->path) < 0)
			return -ENOMEM;
	}
	metrics_add(mirror->doors.metrics,
		    call->service ? METRIC_NOMAD_REQUESTS_SERVICE : METRIC_NOMAD_REQUESTS_LIST, 1);
	leg->address = address;
	leg->id = http_get(mirror->doors.http, address, stale ? stale : call->path, timeout_ms,
			   mirror_call_on_reply, leg);
	free(stale);
	return leg->id ? 0 : -ENOMEM;
}

/* How far the table is known to be: the alarm may have told of more than was read since. */
static uint64_t table_index(const struct mirror *mirror)
{
	bool is_armed = mirror->alarm.state == ALARM_ARMED;

	return is_armed && mirror->alarm.index > mirror->index ? mirror->alarm.index
							       : mirror->index;
}

/* Asks at call->address; while no leader is known there is no use in asking for it first. */
static int ask_here(struct call *call)
{
	if (take_filter(call) < 0)
		return -ENOMEM;
	call->started_ms = clock_now_ms();
	call->floor_index = table_index(call->mirror);
	call->has_asked_stale = call->was_beside_silent = false;
	call->beside_ms = 0;
	return start_leg(call->mirror->is_leaderless ? &call->stale : &call->plain, call->address,
			 ANSWER_TIMEOUT_MS);
}

int mirror_call_ask_again(struct call *call)
{
	cancel_legs(call);
	return ask_here(call);
}

int mirror_call_start(struct call *call)
{
	struct mirror *mirror = call->mirror;

	list_remove(&call->link);
	call->address = mirror->address;
	call->is_active = true;
	mirror->active_count++;
	list_append(&mirror->active, &call->link);
	mirror_arm(mirror);
	return ask_here(call);
}

void mirror_call_pump(struct mirror *mirror)
{
	while (!mirror->health.is_holding && mirror->active_count < ACTIVE_MAX) {
		struct list *queue =
			list_is_empty(&mirror->urgent) ? &mirror->leisure : &mirror->urgent;
		struct call *call;

		if (list_is_empty(queue) ||
		    (queue == &mirror->leisure && mirror->active_count >= LEISURE_MAX))
			return;
		call = list_entry(queue->next, struct call, link);
		if (mirror_call_start(call) < 0)
			mirror_call_end(call, CALL_FAILED);
	}
}

static void ask_stale(struct call *call, uint64_t now_ms)
{
	uint64_t spent_ms = now_ms - call->started_ms;

	if (spent_ms < ANSWER_TIMEOUT_MS)
		start_leg(&call->stale, call->address, ANSWER_TIMEOUT_MS - spent_ms);
}

/* Whoever waits cannot wait until an address counts as silent: the next one is asked beside it,
 * after another second the one after that. A whole cluster's list is long, not late. */
static void ask_beside(struct call *call, uint64_t now_ms)
{
	size_t count = http_address_count(call->mirror->doors.http);
	size_t next = call->beside_ms ? call->beside.address + 1 : call->address + 1;

	if (count - call->tried_count < 2 || call->kind == CALL_KIND_ALL ||
	    call->kind == CALL_KIND_SCOUT || (call->beside_ms && next % count == call->address) ||
	    now_ms - (call->beside_ms ? call->beside_ms : call->started_ms) < STALE_AFTER_MS)
		return;
	cancel_leg(&call->beside);
	call->beside_ms = now_ms;
	call->was_beside_silent = false;
	start_leg(&call->beside, next % count, ANSWER_TIMEOUT_MS);
}

static bool has_room(const struct mirror *mirror)
{
	return http_in_flight(mirror->doors.http) - http_held_in_flight(mirror->doors.http) <
	       REQUESTS_MAX;
}

void mirror_call_tick(struct call *call, uint64_t now_ms)
{
	struct mirror *mirror = call->mirror;

	if (now_ms - call->started_ms < STALE_AFTER_MS)
		return;
	/* Others have found meanwhile who answers. */
	if (call->address != mirror->address && call->tried_count == 0 && !call->has_moved) {
		call->has_moved = true;
		call->address = mirror->address;
		if (mirror_call_ask_again(call) == 0)
			return;
	}
	if (has_room(mirror))
		ask_beside(call, now_ms);
	if (!call->has_asked_stale && has_room(mirror))
		ask_stale(call, now_ms);
}

/* ---- failing ---- */

static void go_on_elsewhere(struct call *call)
{
	size_t count = http_address_count(call->mirror->doors.http);

	call->mirror->is_leaderless = false; /* a stale word is no better here: ask for any again */
	call->tried_count++;
	if (call->was_beside_silent && call->tried_count < count &&
	    call->beside.address == (call->address + 1) % count) {
		call->tried_count++;
		call->address = call->beside.address;
	}
	if (call->tried_count >= count) {
		mirror_call_end(call, call->has_lost ? CALL_LOST : CALL_STRANGE);
		return;
	}
	call->address = (call->address + 1) % count;
	if (ask_here(call) < 0)
		mirror_call_end(call, CALL_FAILED);
}

void mirror_call_fail_leg(struct call *call, const struct leg *leg, bool is_server_error)
{
	if (call->plain.id || call->stale.id || call->beside.id)
		return;
	if (is_server_error && leg == &call->plain && !call->has_asked_stale) {
		ask_stale(call, clock_now_ms());
		if (call->stale.id)
			return;
	}
	go_on_elsewhere(call);
}
