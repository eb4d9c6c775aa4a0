/*
 * The event streams: one for all namespaces, or one for each of some. This file knows whether they
 * are open and alive. A heartbeat every 30 s proves that somebody is there, nothing more; a server
 * that refuses may say so with an empty 200, so only the first line makes a stream open.
 */
#include "nomad/mirror_stream.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "nomad/http.h"
#include "nomad/mirror_call.h"
#include "nomad/mirror_live.h"
#include "nomad/mirror_parts.h"
#include "nomad/mirror_scope.h"
#include "nomad/mirror_sync.h"

#define OPEN_MS_MAX 5000 /* the first line comes within milliseconds, or not at all */
#define SILENT_MS 45000	 /* a heartbeat and a half */
#define ESCAPED_MAX (3 * SCOPE_NAME_MAX)

/* So Nomad refuses from 1.11.3 on: with the head of a good answer, and no word behind it. */
#define NO_LINE                                                                                    \
	"refused without a word: the token lacks read-job in some namespace, or the broker is off"

void mirror_stream_close(struct mirror *mirror)
{
	struct sync *sync = &mirror->sync;

	for (size_t i = 0; i < sync->leg_count; i++) {
		http_cancel(mirror->doors.http, sync->legs[i].id);
		sync->legs[i].id = 0;
	}
	sync->leg_count = sync->open_count = 0;
}

static void on_line(void *arg, const char *line, size_t length)
{
	struct stream_leg *leg = arg;
	struct mirror *mirror = leg->mirror;
	struct sync *sync = &mirror->sync;

	leg->heard_ms = mirror->heard_ms = clock_now_ms();
	if (!leg->is_open) {
		leg->is_open = true;
		sync->open_count++;
		if (length > 2)
			mirror_sync_on_line(mirror, line, length);
		if (sync->open_count == sync->leg_count)
			mirror_sync_on_open(mirror);
	} else {
		mirror_sync_on_line(mirror, line, length);
	}
	mirror_live_arm(mirror);
}

/* Whether a stream that never opened was refused for good, rather than in passing. */
static enum stream_end judge_end(const struct http_reply *reply)
{
	static const char denied[] = "Permission denied";

	if (reply->failure != HTTP_OK) /* Nomad 1.11.2 says HTTP/0.0 */
		return reply->failure == HTTP_PROTOCOL && strstr(reply->error, "0.0")
			       ? STREAM_IMPOSSIBLE
			       : STREAM_BROKE;
	if (reply->status == 401 || reply->status == 403 ||
	    (reply->status == 500 &&
	     memmem(reply->body, reply->body_length, denied, sizeof(denied) - 1)))
		return STREAM_DENIED;
	if (reply->status == 200 || reply->status == 429 ||
	    (reply->status >= 500 && reply->status != 501))
		return STREAM_BROKE;
	return STREAM_IMPOSSIBLE;
}

static void on_end(void *arg, const struct http_reply *reply)
{
	struct stream_leg *leg = arg;
	struct mirror *mirror = leg->mirror;
	bool was_open = leg->is_open;
	char why[160], words[120];

	leg->id = 0;
	if (reply->failure != HTTP_OK)
		snprintf(why, sizeof(why), "%.150s", reply->error);
	else if (reply->status != 200)
		snprintf(why, sizeof(why), "%ld %s", reply->status,
			 mirror_call_first_words(reply, words));
	else
		snprintf(why, sizeof(why), "the server ended it");
	mirror_sync_on_end(mirror, was_open ? STREAM_BROKE : judge_end(reply), why);
	mirror_live_arm(mirror);
}

static int open_leg(struct mirror *mirror, const char *namespace)
{
	struct sync *sync = &mirror->sync;
	struct stream_leg *leg = &sync->legs[sync->leg_count];
	char path[ESCAPED_MAX + 96], name[ESCAPED_MAX] = "*";
	uint64_t index = sync->since_index && sync->since_index < sync->index ? sync->since_index
									      : sync->index;

	*leg = (struct stream_leg){ .mirror = mirror,
				    .address = mirror->address,
				    .namespace = namespace,
				    .heard_ms = clock_now_ms() };
	if (namespace && http_escape(namespace, strlen(namespace), name, sizeof(name)) < 0)
		return -EINVAL;
	snprintf(path, sizeof(path), "/v1/event/stream?topic=Service&namespace=%s&index=%" PRIu64,
		 name, sync->must_list ? 0 : index);
	metrics_add(mirror->doors.metrics, METRIC_NOMAD_REQUESTS_STREAM, 1);
	leg->id = http_stream(mirror->doors.http, mirror->address, path, on_line, on_end, leg);
	if (!leg->id)
		return -ENOMEM;
	sync->leg_count++;
	return 0;
}

int mirror_stream_open(struct mirror *mirror)
{
	const struct scope *scope = &mirror->scope;
	struct sync *sync = &mirror->sync;
	int rc = 0;

	mirror_stream_close(mirror);
	if (scope->is_all)
		rc = open_leg(mirror, NULL);
	for (size_t i = 0; i < scope->count && !scope->is_all && rc == 0; i++)
		rc = open_leg(mirror, scope->names[i]);
	sync->since_index = 0;
	if (rc < 0)
		mirror_stream_close(mirror);
	return rc;
}

bool mirror_stream_is_elsewhere(const struct mirror *mirror)
{
	const struct sync *sync = &mirror->sync;

	for (size_t i = 0; i < sync->leg_count; i++) {
		if (sync->legs[i].id && sync->legs[i].address != mirror->address)
			return true;
	}
	return false;
}

uint64_t mirror_stream_tick(struct mirror *mirror, uint64_t now_ms)
{
	struct sync *sync = &mirror->sync;
	uint64_t next_ms = UINT64_MAX;

	for (size_t i = 0; i < sync->leg_count; i++) {
		struct stream_leg *leg = &sync->legs[i];
		uint64_t until_ms = leg->heard_ms + (leg->is_open ? SILENT_MS : OPEN_MS_MAX);

		if (now_ms >= until_ms) {
			mirror_sync_on_end(mirror, leg->is_open ? STREAM_BROKE : STREAM_DENIED,
					   leg->is_open ? "it was silent for 45 s" : NO_LINE);
			return now_ms;
		}
		if (until_ms < next_ms)
			next_ms = until_ms;
	}
	return next_ms;
}
