/*
 * Fetching instances ahead of questions, while the catalogue is small or the operator wants it:
 * what was asked for most comes first, and slowly, with a beginning of its own on each node, so
 * that a thousand nodes that start together do not hurt the servers.
 */
#include <string.h>

#include "base/clock.h"
#include "nomad/catalogue.h"
#include "nomad/mirror_parts.h"

#define AUTO_NAMES_MAX 2000
#define STEP_MS 100
#define NAMES_PER_STEP 5 /* 50 a second */
#define BATCH_NAMES 256
#define BEGIN_MS_PER_NAME 5 /* the beginning is somewhere in that much time … */
#define BEGIN_MS_MAX 10000  /* … and at most this */
#define ASKS_UNDER_WAY_MAX 32

void mirror_preload_forget(struct mirror *mirror)
{
	buf_deinit(&mirror->preload.batch);
	mirror->preload.batch_at = 0;
	mirror->preload.step_at_ms = 0;
}

void mirror_preload_start(struct mirror *mirror)
{
	struct preload *preload = &mirror->preload;
	size_t count = catalogue_service_count(mirror->doors.catalogue);
	uint64_t spread_ms = count * BEGIN_MS_PER_NAME;

	mirror_preload_forget(mirror);
	if (preload->limit == 0 ||
	    (preload->limit == CONFIG_PRELOAD_AUTO && count > AUTO_NAMES_MAX))
		return;
	if (spread_ms > BEGIN_MS_MAX)
		spread_ms = BEGIN_MS_MAX;
	preload->done = 0;
	preload->total = (uint32_t)count;
	preload->step_at_ms =
		clock_now_ms() + STEP_MS + hash_dice_roll(&mirror->dice) % (spread_ms + 1);
	mirror_live_arm(mirror);
}

/* Copies: what is picked is only borrowed. */
static void pick(struct mirror *mirror)
{
	struct preload *preload = &mirror->preload;
	struct catalogue_pick picks[BATCH_NAMES];
	size_t count =
		catalogue_pick(mirror->doors.catalogue, CATALOGUE_UNLOADED, picks, BATCH_NAMES);

	buf_deinit(&preload->batch);
	preload->batch_at = 0;
	for (size_t i = 0; i < count; i++) {
		if (buf_append(&preload->batch, picks[i].namespace,
			       strlen(picks[i].namespace) + 1) < 0 ||
		    buf_append(&preload->batch, picks[i].service, strlen(picks[i].service) + 1) < 0)
			break;
	}
}

/* false: nothing is left. */
static bool fetch_next(struct mirror *mirror)
{
	struct preload *preload = &mirror->preload;
	const char *namespace, *service;

	if (preload->done >= preload->limit || preload->done >= preload->total)
		return false;
	if (preload->batch_at >= preload->batch.length)
		pick(mirror);
	if (preload->batch.length == 0)
		return false;
	namespace = preload->batch.data + preload->batch_at;
	service = namespace + strlen(namespace) + 1;
	preload->batch_at += strlen(namespace) + strlen(service) + 2;
	preload->done++;
	mirror_watch_refresh(mirror, namespace, service);
	return true;
}

uint64_t mirror_preload_tick(struct mirror *mirror, uint64_t now_ms)
{
	struct preload *preload = &mirror->preload;

	if (!preload->step_at_ms)
		return UINT64_MAX;
	if (now_ms < preload->step_at_ms)
		return preload->step_at_ms;
	if (mirror_tier(mirror) != TIER_STREAM) {
		mirror_preload_forget(mirror);
		return UINT64_MAX;
	}
	preload->step_at_ms = now_ms + STEP_MS;
	for (unsigned i = 0; i < NAMES_PER_STEP; i++) {
		if (mirror->ask_count >= ASKS_UNDER_WAY_MAX)
			break;
		if (!fetch_next(mirror)) {
			mirror_preload_forget(mirror);
			return UINT64_MAX;
		}
	}
	return preload->step_at_ms;
}
