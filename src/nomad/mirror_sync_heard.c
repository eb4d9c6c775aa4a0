/*
 * What others tell of the table, held against what the streams told. A reply or an alarm for all
 * says how far the table is, that of one namespace which stream has to get there: another one's
 * proves nothing about it. What a stream has not told soon was missed, as the clock says
 * (mirror_sync_tick).
 */
#include "nomad/mirror_sync_heard.h"

#include <string.h>

#include "base/clock.h"
#include "nomad/catalogue.h"
#include "nomad/mirror_live.h"
#include "nomad/mirror_parts.h"
#include "nomad/mirror_sync.h"
#include "nomad/mirror_tier.h"

size_t mirror_sync_place(const struct mirror *mirror, const char *namespace)
{
	const struct scope *scope = &mirror->scope;
	size_t at = 0;

	while (at < scope->count && strcmp(scope->names[at], namespace) != 0)
		at++;
	return scope->is_all || at == scope->count ? SYNC_ANYWHERE : at;
}

/* A later frame proves nothing: a namespace younger than the stream is not in it, and its changes
 * stand between those of others. */
bool mirror_sync_has_seen(const struct mirror *mirror, uint64_t index)
{
	const struct sync *sync = &mirror->sync;

	if (!mirror->scope.is_all)
		return index <= sync->index;
	return index <= sync->base_index || sync->seen[index % SYNC_SEEN] == index ||
	       (index < sync->index && sync->index - index > SYNC_SEEN &&
		index != sync->owed_index);
}

/* The index that a namespace's alarm tells is the whole table's. So it may be that of another one's
 * change a moment later, which that one's stream tells under this very index. */
static bool has_told(const struct mirror *mirror, size_t at, uint64_t index)
{
	const struct sync *sync = &mirror->sync;

	if (at == SYNC_ANYWHERE)
		return mirror_sync_has_seen(mirror, index);
	return index <= sync->told[at].index || sync->seen[index % SYNC_SEEN] == index;
}

static void hear(struct mirror *mirror, size_t at, uint64_t index)
{
	struct sync *sync = &mirror->sync;

	if (has_told(mirror, at, index))
		return;
	mirror_sync_lapse(mirror);
	if (sync->phase != SYNC_LIVE || sync->behind_ms)
		return;
	sync->behind_at = at;
	sync->behind_index = index;
	sync->behind_ms = clock_now_ms();
	sync->is_doubtful = false;
	mirror_tier_publish_names(mirror);
	mirror_live_arm(mirror);
}

void mirror_sync_heard(struct mirror *mirror, uint64_t index)
{
	if (index > mirror->sync.heard_index)
		mirror->sync.heard_index = index;
	hear(mirror, SYNC_ANYWHERE, index);
}

/* Nomad wakes who watches a namespace that is empty when its neighbours change. */
static bool is_empty(const struct mirror *mirror, const char *namespace)
{
	char label[SCOPE_NAME_MAX];

	mirror_fold(namespace, label);
	return !catalogue_has_namespace(mirror->doors.catalogue, label);
}

void mirror_sync_heard_of(struct mirror *mirror, const char *namespace, uint64_t index)
{
	size_t at = namespace ? mirror_sync_place(mirror, namespace) : SYNC_ANYWHERE;

	if (at == SYNC_ANYWHERE || is_empty(mirror, namespace)) {
		mirror_sync_heard(mirror, index);
		return;
	}
	if (index > mirror->sync.told[at].heard_index)
		mirror->sync.told[at].heard_index = index;
	hear(mirror, at, index);
}

void mirror_sync_hear_again(struct mirror *mirror)
{
	struct sync *sync = &mirror->sync;

	for (size_t at = 0; at < sync->leg_count && !mirror->scope.is_all; at++)
		hear(mirror, at, sync->told[at].heard_index);
	hear(mirror, SYNC_ANYWHERE, sync->heard_index);
}

bool mirror_sync_is_behind(const struct mirror *mirror)
{
	const struct sync *sync = &mirror->sync;

	for (size_t at = 0; at < sync->leg_count && !mirror->scope.is_all; at++) {
		if (!has_told(mirror, at, sync->told[at].heard_index))
			return true;
	}
	return sync->behind_ms || !mirror_sync_has_seen(mirror, sync->heard_index);
}

/* Whether the frame of `index` is what was waited for. Where one stream tells of all, only that
 * very one is: behind SYNC_SEEN others nothing else would tell whether it has come. */
static bool is_it(const struct mirror *mirror, uint64_t index)
{
	const struct sync *sync = &mirror->sync;

	return mirror->scope.is_all ? index == sync->behind_index
				    : has_told(mirror, sync->behind_at, sync->behind_index);
}

void mirror_sync_told(struct mirror *mirror, size_t at, uint64_t index)
{
	struct sync *sync = &mirror->sync;

	sync->seen[index % SYNC_SEEN] = index;
	if (at != SYNC_ANYWHERE && index > sync->told[at].index)
		sync->told[at].index = index;
	if (index > sync->index)
		sync->index = index;
	if (!sync->behind_ms || !is_it(mirror, index))
		return;
	sync->behind_ms = 0;
	sync->vain_doubts += sync->is_doubtful;
	mirror_sync_hear_again(mirror);
	mirror_tier_publish_names(mirror);
}

void mirror_sync_told_all(struct mirror *mirror, uint64_t index)
{
	struct sync *sync = &mirror->sync;

	sync->base_index = sync->index = sync->heard_index = index;
	for (size_t at = 0; at < SCOPE_MAX; at++)
		sync->told[at] = (struct told){ index, index };
	memset(sync->seen, 0, sizeof(sync->seen)); /* beyond it: of before it went back */
	sync->index_hash = sync->owed_index = 0;
}
