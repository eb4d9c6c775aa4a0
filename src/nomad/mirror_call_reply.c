/*
 * What a reply, or that none came, means for its call. What any server would say ends it; what may
 * be one server's own trouble goes on elsewhere.
 */
#include "nomad/mirror_call_parts.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "nomad/http.h"
#include "nomad/mirror_ask.h"
#include "nomad/mirror_live.h"
#include "nomad/mirror_parts.h"
#include "nomad/mirror_read.h"
#include "nomad/mirror_space.h"

#define REPEATS_MAX 8 /* a reply that an event has overtaken */
#define COMPLAIN_EVERY_MS 60000

static void note_error(struct call *call, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void note_error(struct call *call, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(call->error, sizeof(call->error), format, args);
	va_end(args);
}

const char *mirror_call_first_words(const struct http_reply *reply, char out[120])
{
	size_t at = 0;

	for (; at < reply->body_length && at < 119; at++) {
		char c = reply->body[at];

		out[at] = c >= ' ' && c < 0x7f ? c : ' ';
	}
	while (at > 0 && out[at - 1] == ' ')
		at--;
	out[at] = '\0';
	return out;
}

/* A question that Nomad will not answer however often it is put: for the operator, now and then. */
static void complain(struct call *call)
{
	struct mirror *mirror = call->mirror;
	bool is_filter = mirror->filter[0] && call->service && strncmp(call->error, "400", 3) == 0;
	uint64_t held;

	if (call->ask)
		call->ask->was_useless = true;
	if (!log_brake_take(&mirror->complaint_brake, clock_now_ms(), COMPLAIN_EVERY_MS, &held))
		return;
	log_error("nomad", "%s%s: %s", is_filter ? "Nomad refuses the filter, on " : "", call->path,
		  call->error);
}

static void on_no_reply(struct call *call, struct leg *leg, const struct http_reply *reply)
{
	struct metrics *metrics = call->mirror->doors.metrics;

	note_error(call, "%s", reply->error);
	call->was_all_refused &= reply->failure == HTTP_CONNECT;
	switch (reply->failure) {
	case HTTP_OK:
		break;
	case HTTP_CONNECT:
		metrics_add(metrics, METRIC_NOMAD_FAILURES_CONNECT, 1);
		break;
	case HTTP_TIMEOUT:
		metrics_add(metrics, METRIC_NOMAD_FAILURES_TIMEOUT, 1);
		break;
	case HTTP_PROTOCOL:
		metrics_add(metrics, METRIC_NOMAD_FAILURES_BODY, 1);
		break;
	case HTTP_TOO_LARGE:
		/* Nomad is there; only this name is more than we take. */
		metrics_add(metrics, METRIC_NOMAD_FAILURES_BODY, 1);
		complain(call);
		mirror_call_end(call, CALL_FAILED);
		return;
	case HTTP_CANCELLED:
		mirror_call_end(call, CALL_FAILED);
		return;
	}
	call->has_lost = true;
	call->was_beside_silent |= leg == &call->beside;
	mirror_call_fail_leg(call, leg, false);
}

static void on_denied(struct call *call, const struct http_reply *reply)
{
	struct mirror *mirror = call->mirror;
	char words[120];

	metrics_add(mirror->doors.metrics, METRIC_NOMAD_FAILURES_DENIED, 1);
	call->was_hidden = reply->status == 200;
	if (call->was_hidden)
		note_error(call, "an empty list with index 0, which means no access");
	else
		note_error(call, "%ld %s", reply->status, mirror_call_first_words(reply, words));
	if (!call->has_retried_token && http_refresh_token(mirror->doors.http)) {
		call->has_retried_token = true;
		mirror_space_renew(mirror);
		mirror_live_renew(mirror);
		if (mirror_call_ask_again(call) == 0)
			return;
	}
	if (call->was_hidden && call->ask)
		call->ask->was_useless = true;
	mirror_call_end(call, CALL_DENIED);
}

static void note_leader(struct mirror *mirror, bool knows_leader)
{
	bool is_elected = mirror->is_leaderless && knows_leader;

	mirror->is_leaderless = !knows_leader;
	if (is_elected)
		mirror_live_renew(mirror);
}

static void on_good_status(struct call *call, struct leg *leg, const struct http_reply *reply)
{
	struct mirror *mirror = call->mirror;
	int rc = mirror_read(call, reply, leg->is_stale);

	if (rc == -EACCES) {
		on_denied(call, reply);
		return;
	}
	if (rc == -EINVAL) {
		metrics_add(mirror->doors.metrics, METRIC_NOMAD_FAILURES_BODY, 1);
		call->has_lost = true;
		call->was_all_refused = false;
		if (call->ask)
			call->ask->was_useless = true;
		mirror_call_fail_leg(call, leg, false);
		return;
	}
	if (rc == 0 || rc == -EAGAIN)
		call->address = leg->address;
	if (rc == 0 && call->ask)
		call->ask->was_useless = false;
	if (rc == -EAGAIN && call->repeat_count++ < REPEATS_MAX && mirror_call_ask_again(call) == 0)
		return;
	if ((rc == 0 || rc == -EAGAIN) && !leg->is_stale && reply->has_index && reply->index > 0 &&
	    reply->index < call->floor_index && call->kind != CALL_KIND_ALL) {
		mirror->back_index =
			reply->index; /* not from inside a call: it may be ended by it */
		mirror_live_arm(mirror);
	}
	note_leader(mirror, reply->knows_leader);
	call->index = reply->index;
	call->was_stale = leg->is_stale;
	mirror_call_end(call, rc < 0 ? CALL_FAILED : CALL_GOOD);
}

static void on_bad_status(struct call *call, struct leg *leg, const struct http_reply *reply)
{
	bool is_strange = reply->status < 400 || reply->status == 404 || reply->status == 429 ||
			  reply->status == 501;
	char words[120];

	note_error(call, "%ld %s", reply->status, mirror_call_first_words(reply, words));
	call->was_all_refused = false;
	if (reply->retry_after_s > call->retry_after_s)
		call->retry_after_s = reply->retry_after_s;
	if (reply->status >= 500)
		metrics_add(call->mirror->doors.metrics, METRIC_NOMAD_FAILURES_STATUS, 1);
	if (reply->status < 500 && !is_strange) {
		complain(call);
		mirror_call_end(call, CALL_FAILED);
		return;
	}
	call->has_lost |= !is_strange;
	mirror_call_fail_leg(call, leg, !is_strange);
}

/* Whether what came is no answer any more, since it was asked for under another filter. */
static bool is_of_another_filter(const struct call *call)
{
	return call->kind == CALL_KIND_SERVICE && call->filter_turn != call->mirror->filter_turn;
}

void mirror_call_on_reply(void *arg, const struct http_reply *reply)
{
	struct leg *leg = arg;
	struct call *call = leg->call;

	leg->id = 0;
	if (reply->failure == HTTP_OK)
		metrics_observe(call->mirror->doors.metrics, METRIC_NOMAD_DURATION, reply->took_us,
				1);
	if (reply->failure != HTTP_OK) {
		on_no_reply(call, leg, reply);
	} else if (is_of_another_filter(call)) {
		if (mirror_call_ask_again(call) < 0)
			mirror_call_end(call, CALL_FAILED);
	} else if (reply->status == 200) {
		on_good_status(call, leg, reply);
	} else if (reply->status == 401 || reply->status == 403) {
		on_denied(call, reply);
	} else {
		on_bad_status(call, leg, reply);
	}
}
