/*
 * Which namespaces there are: a held request for their list, beside a stream of all of them. Nomad
 * freezes what "all" means when it opens the stream, so a namespace that comes later is not in it,
 * and a change there that another one follows at once is told by nobody. So the stream is opened
 * anew when the list has changed, before anything is registered there. It asks for events from the
 * index of that change on, which are in the server's buffer that soon.
 */
#include "nomad/mirror_census.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "nomad/http.h"
#include "nomad/mirror_live.h"
#include "nomad/mirror_parts.h"
#include "nomad/mirror_sync.h"
#include "nomad/mirror_tier.h"

#define HOLDING_MS 1000
#define ANSWER_TIMEOUT_MS 5000
#define WAIT_S 300     /* Nomad's own ceiling; an idle one costs as good as nothing */
#define GRACE_MS 15000 /* beside the sixteenth that Nomad adds to the wait */
#define MS_PER_S 1000
#define RETRY_MS_MIN 1000
#define STEPS_MAX 9	     /* 1, 2, 4 s … nine minutes: whoever may not ask may some day */
#define UNCHANGED_MS_MAX 100 /* sooner than that, and nothing is new: it is not held */
#define SPREAD_MS 500	     /* thousands of nodes hear of it in the same moment */

static void on_answer(void *arg, const struct http_reply *reply);

static void ask(struct mirror *mirror)
{
	struct census *census = &mirror->sync.census;
	char path[96] = "/v1/namespaces";

	census->ask_at_ms = 0;
	census->asked_ms = clock_now_ms();
	census->address = mirror->address;
	metrics_add(mirror->doors.metrics, METRIC_NOMAD_REQUESTS_HELD, 1);
	if (census->index) {
		snprintf(path, sizeof(path), "/v1/namespaces?index=%" PRIu64 "&wait=%us",
			 census->index, WAIT_S);
		census->id =
			http_get_held(mirror->doors.http, mirror->address, path,
				      WAIT_S * MS_PER_S * 17 / 16 + GRACE_MS, on_answer, mirror);
	} else {
		census->id = http_get(mirror->doors.http, mirror->address, path, ANSWER_TIMEOUT_MS,
				      on_answer, mirror);
	}
	if (!census->id)
		census->ask_at_ms = census->asked_ms + RETRY_MS_MIN;
}

static void ask_later(struct mirror *mirror)
{
	struct census *census = &mirror->sync.census;
	uint64_t pause_ms = (uint64_t)RETRY_MS_MIN << census->step;

	if (census->step < STEPS_MAX)
		census->step++;
	census->ask_at_ms = clock_now_ms() + mirror_jitter(mirror, pause_ms);
}

/* What the list was before is not known any more: it may have grown meanwhile. */
static void fail(struct mirror *mirror)
{
	mirror->sync.census.index = 0;
	ask_later(mirror);
}

/* The first list of all cannot tell what is new. One that was asked for beside the stream, and came
 * at once, is what there was when that was opened; one of later may know a namespace that is
 * younger. */
static bool is_late(const struct mirror *mirror)
{
	const struct sync *sync = &mirror->sync;

	return sync->census.asked_ms > sync->opened_ms ||
	       clock_now_ms() >= sync->opened_ms + UNCHANGED_MS_MAX;
}

static void on_index(struct mirror *mirror, uint64_t index)
{
	struct census *census = &mirror->sync.census;
	bool is_early = clock_now_ms() < census->asked_ms + UNCHANGED_MS_MAX;

	if (index == census->index && is_early) {
		ask_later(mirror);
		return;
	}
	if (!is_early)
		census->step = 0;
	/* One that failed meanwhile cannot tell. */
	if (index != census->index &&
	    (census->known_index ? index != census->known_index : is_late(mirror))) {
		if (!census->grow_at_ms) /* of several the first: events are asked for from it on */
			census->grown_index = index;
		census->grow_at_ms =
			clock_now_ms() + hash_dice_roll(&mirror->dice) % (SPREAD_MS + 1);
		mirror_tier_publish_names(mirror);
	}
	census->index = census->known_index = index;
	ask(mirror);
}

static void on_answer(void *arg, const struct http_reply *reply)
{
	struct mirror *mirror = arg;

	mirror->sync.census.id = 0;
	if (reply->failure == HTTP_OK && reply->status == 200 && reply->has_index &&
	    reply->index > 0)
		on_index(mirror, reply->index);
	else
		fail(mirror);
	mirror_live_arm(mirror);
}

void mirror_census_start(struct mirror *mirror)
{
	struct census *census = &mirror->sync.census;

	/* The one before may have had what is told of it from then on, or not. */
	if (census->grow_at_ms)
		mirror->sync.since_index = census->grown_index;
	census->grow_at_ms = 0;
	if (!mirror->scope.is_all || (census->id && census->address != mirror->address))
		mirror_census_stop(mirror);
	if (mirror->scope.is_all && !census->id && !census->ask_at_ms)
		ask(mirror);
}

void mirror_census_stop(struct mirror *mirror)
{
	http_cancel(mirror->doors.http, mirror->sync.census.id);
	mirror->sync.census = (struct census){ 0 };
}

uint64_t mirror_census_tick(struct mirror *mirror, uint64_t now_ms)
{
	struct census *census = &mirror->sync.census;

	/* Nomad may have said for how long it wants to be left alone. */
	if (census->ask_at_ms && now_ms >= census->ask_at_ms && mirror->health.is_holding)
		census->ask_at_ms = now_ms + HOLDING_MS;
	else if (census->ask_at_ms && now_ms >= census->ask_at_ms)
		ask(mirror);
	if (census->grow_at_ms && now_ms >= census->grow_at_ms) {
		if (mirror->sync.phase == SYNC_LIVE) {
			census->grow_at_ms = 0;
			mirror_sync_grow(mirror, census->grown_index);
		} else { /* a list is under way */
			census->grow_at_ms = now_ms + SPREAD_MS;
		}
	}
	if (census->grow_at_ms && (!census->ask_at_ms || census->grow_at_ms < census->ask_at_ms))
		return census->grow_at_ms;
	return census->ask_at_ms ? census->ask_at_ms : UINT64_MAX;
}
