/*
 * Fetching instances ahead of questions, while the catalogue is small or the operator wants it: one
 * pass over the names, what was asked for most first, and slowly, with a beginning of its own on
 * each node, so that a thousand nodes that start together do not hurt the servers. A later pass
 * leaves out what was fetched before and is not in use: it is fetched when somebody asks.
 */
#include "nomad/mirror_preload.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "nomad/catalogue.h"
#include "nomad/mirror_ask.h"
#include "nomad/mirror_live.h"
#include "nomad/mirror_parts.h"
#include "nomad/mirror_scope.h"
#include "nomad/mirror_tier.h"
#include "nomad/zone.h"

#define AUTO_NAMES_MAX 2000
#define STEP_MS 200	      /* by itself one name each, 5 a second: 1,000 nodes that start */
#define NAMES_PER_STEP 10     /* together cost 2 or 3 cores; the operator may want 50 */
#define BEGIN_MS_PER_NAME 20  /* the beginning is somewhere in that much time … */
#define BEGIN_MS_MAX 40000    /* … and at most this */
#define ASKS_UNDER_WAY_MAX 32 /* what is asked for comes first */
#define WAIT_MS 1000	      /* while Nomad has other troubles */

void mirror_preload_forget(struct mirror *mirror)
{
	buf_deinit(&mirror->preload.batch);
	mirror->preload.batch_at = 0;
	mirror->preload.step_at_ms = 0;
	mirror->preload.has_picked = false;
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
	preload->step_at_ms =
		clock_now_ms() + STEP_MS + hash_dice_roll(&mirror->dice) % (spread_ms + 1);
	mirror_live_arm(mirror);
}

static bool is_wanted(const struct mirror *mirror, const struct catalogue_pick *pick)
{
	char space[SCOPE_NAME_MAX], name[SCOPE_NAME_MAX];

	mirror_fold(pick->namespace, space);
	mirror_fold(pick->service, name);
	return pick->asked_count > 0 ||
	       !catalogue_has_instances(mirror->doors.catalogue, space, name);
}

/* The names of this pass. Copies: what is picked is only borrowed. */
static void pick(struct mirror *mirror)
{
	struct preload *preload = &mirror->preload;
	size_t capacity = catalogue_service_count(mirror->doors.catalogue), count;
	struct catalogue_pick *picks = calloc(capacity + 1, sizeof(*picks));

	preload->has_picked = true;
	if (!picks)
		return;
	count = catalogue_pick(mirror->doors.catalogue, CATALOGUE_UNLOADED, picks, capacity);
	for (size_t i = 0; i < count; i++) {
		if (!is_wanted(mirror, &picks[i]))
			continue;
		if (buf_append(&preload->batch, picks[i].namespace,
			       strlen(picks[i].namespace) + 1) < 0 ||
		    buf_append(&preload->batch, picks[i].service, strlen(picks[i].service) + 1) < 0)
			break;
	}
	free(picks);
}

/* false: nothing is left. */
static bool fetch_next(struct mirror *mirror)
{
	struct preload *preload = &mirror->preload;
	const char *namespace, *service;

	if (!preload->has_picked)
		pick(mirror);
	if (preload->done >= preload->limit || preload->batch_at >= preload->batch.length)
		return false;
	namespace = preload->batch.data + preload->batch_at;
	service = namespace + strlen(namespace) + 1;
	preload->batch_at += strlen(namespace) + strlen(service) + 2;
	preload->done++;
	mirror_ask_refresh(mirror, namespace, service);
	return true;
}

uint64_t mirror_preload_tick(struct mirror *mirror, uint64_t now_ms)
{
	struct preload *preload = &mirror->preload;
	unsigned names = preload->limit == CONFIG_PRELOAD_AUTO ? 1 : NAMES_PER_STEP;

	if (!preload->step_at_ms)
		return UINT64_MAX;
	if (now_ms < preload->step_at_ms)
		return preload->step_at_ms;
	if (mirror_tier(mirror) != TIER_STREAM) {
		mirror_preload_forget(mirror);
		return UINT64_MAX;
	}
	preload->step_at_ms = now_ms + STEP_MS;
	if (mirror->health.state != ZONE_NOMAD_OK || mirror->health.is_holding ||
	    mirror->is_leaderless) {
		preload->step_at_ms = now_ms + WAIT_MS;
		return preload->step_at_ms;
	}
	for (unsigned i = 0; i < names; i++) {
		if (mirror->ask_count >= ASKS_UNDER_WAY_MAX)
			break;
		if (!fetch_next(mirror)) {
			mirror_preload_forget(mirror);
			return UINT64_MAX;
		}
	}
	return preload->step_at_ms;
}
