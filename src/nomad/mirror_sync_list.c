/*
 * The list that the stream rests on: all names, in one request or one for each namespace of the
 * scope. Afterwards every name is known, and what was fetched before counts as old. Full lists are
 * rare: a change that was missed makes what is held old at once, but waits its turn to be listed.
 */
#include "nomad/mirror_sync.h"

#include "base/clock.h"
#include "nomad/catalogue.h"
#include "nomad/mirror_alarm.h"
#include "nomad/mirror_call.h"
#include "nomad/mirror_doubt.h"
#include "nomad/mirror_live.h"
#include "nomad/mirror_parts.h"
#include "nomad/mirror_queue.h"
#include "nomad/mirror_settle.h"
#include "nomad/mirror_tier.h"
#include "nomad/zone_writer.h"

#define RELIST_EVERY_MS 10000

static void on_gone(void *arg, const char *namespace, const char *service)
{
	mirror_settle_add(arg, namespace, service);
}

static void commit_list(struct mirror *mirror)
{
	struct sync *sync = &mirror->sync;
	struct catalogue_all *listing = sync->listing;
	struct zone_times times = mirror_times_live(mirror);
	int rc;

	sync->listing = NULL;
	if (!mirror_queue_is_covered(mirror)) {
		catalogue_all_abandon(listing);
		mirror->index = sync->list_index; /* what was heard beyond it may be false */
		sync->quick_lists++;
		mirror_sync_list(mirror);
		return;
	}
	sync->listed_ms = clock_now_ms();
	metrics_add(mirror->doors.metrics, METRIC_NOMAD_FULL_LISTS, 1);
	mirror_expire_live(mirror);
	catalogue_expire(mirror->doors.catalogue);
	if (sync->list_index < sync->index)
		catalogue_rewind(mirror->doors.catalogue);
	/* The list has the last word: what was heard beyond it may have been false, and what is
	 * true of it the audit finds. */
	mirror->index = sync->heard_index = sync->list_index;
	rc = catalogue_all_commit(listing, mirror->scope.is_all, &times, on_gone, mirror);
	if (rc < 0) {
		mirror_sync_again(mirror, true, "out of memory");
		return;
	}
	mirror_sync_told_all(mirror, sync->list_index);
	mirror_doubt_end(mirror, sync->list_index);
	zone_set_index(mirror->doors.zone, sync->index);
	metrics_set(mirror->doors.metrics, METRIC_NOMAD_INDEX, sync->index);
	mirror_sync_go_live(mirror);
}

static void ask_part(struct mirror *mirror);

static void on_part(struct call *call, enum call_result result)
{
	struct mirror *mirror = call->mirror;
	struct sync *sync = &mirror->sync;
	size_t count = mirror->scope.is_all ? 1 : mirror->scope.count;

	sync->call = NULL;
	if (result == CALL_DENIED) {
		mirror_sync_refuse(mirror, true, call->error);
		return;
	}
	if (result != CALL_GOOD || !sync->listing) {
		mirror_sync_again(mirror, true, call->error);
		return;
	}
	if (call->index < call->floor_index)
		mirror_alarm_back(mirror, call->index);
	if (call->index < sync->list_index)
		sync->list_index = call->index;
	if (++sync->list_at < count)
		ask_part(mirror);
	else
		commit_list(mirror);
}

static void ask_part(struct mirror *mirror)
{
	struct sync *sync = &mirror->sync;
	const struct scope *scope = &mirror->scope;

	sync->call = mirror_call_new(mirror, NULL,
				     scope->is_all ? "*" : scope->names[sync->list_at], NULL);
	if (sync->call) {
		sync->call->kind = CALL_KIND_ALL;
		sync->call->on_end = on_part;
		if (mirror_call_start(sync->call) == 0)
			return;
	}
	mirror_sync_again(mirror, true, "out of memory");
}

void mirror_sync_drop_list(struct mirror *mirror)
{
	catalogue_all_abandon(mirror->sync.listing);
	mirror->sync.listing = NULL;
}

void mirror_sync_lapse(struct mirror *mirror)
{
	if (!mirror->sync.is_relisting || mirror->tier.published != TIER_STREAM)
		return;
	mirror_expire_live(mirror);
	mirror_tier_publish(mirror);
}

void mirror_sync_list(struct mirror *mirror)
{
	struct sync *sync = &mirror->sync;
	uint64_t now_ms = clock_now_ms();

	sync->phase = SYNC_LISTING;
	if (sync->listed_ms && now_ms < sync->listed_ms + RELIST_EVERY_MS &&
	    sync->quick_lists == 0) {
		sync->list_at_ms = sync->listed_ms + RELIST_EVERY_MS;
		mirror_live_arm(mirror);
		return;
	}
	if (sync->quick_lists > 0)
		sync->quick_lists--;
	sync->list_at_ms = 0;
	sync->list_at = 0;
	sync->list_index = UINT64_MAX;
	catalogue_all_abandon(sync->listing);
	mirror_queue_cover(mirror);
	sync->listing = catalogue_all_begin(mirror->doors.catalogue);
	if (sync->listing)
		ask_part(mirror);
	else
		mirror_sync_again(mirror, true, "out of memory");
}
