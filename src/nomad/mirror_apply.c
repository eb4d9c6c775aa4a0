/*
 * Frames of the event stream become changes of the catalogue. What makes no sense is counted and
 * passed over: the index of what was in it shows that something is missing.
 */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "nomad/catalogue.h"
#include "nomad/json.h"
#include "nomad/mirror_parts.h"

#define BAD_LOG_EVERY_MS 60000

void mirror_apply_bad(void *arg, const char *why)
{
	struct mirror *mirror = arg;
	uint64_t held;

	metrics_add(mirror->doors.metrics, METRIC_NOMAD_EVENTS_BAD, 1);
	if (log_brake_take(&mirror->sync.bad_brake, clock_now_ms(), BAD_LOG_EVERY_MS, &held))
		log_warn("nomad", "an event that makes no sense is passed over: %s", why);
}

/* With a filter only Nomad can tell what an event means for us. */
static int take_filtered(struct mirror *mirror, const struct json_event *event)
{
	struct catalogue *catalogue = mirror->doors.catalogue;
	struct zone_times times = mirror_live_times(mirror);
	uint64_t asof = 0;

	if (!catalogue_find_asof(catalogue, event->namespace, event->service.service, &asof))
		return catalogue_event(catalogue, event, false, &times);
	if (event->index <= asof)
		return CATALOGUE_OLD;
	catalogue_mark(catalogue, event->namespace, event->service.service);
	return CATALOGUE_MARKED;
}

int mirror_apply_event(void *arg, const struct json_event *event)
{
	struct mirror *mirror = arg;
	/* Type is what raft did, not what became of it: anything but this one takes away. */
	bool is_removal = strcmp(event->type, "ServiceRegistration") != 0;
	const char *namespace = event->namespace, *service = event->service.service;
	struct zone_times times = mirror_live_times(mirror);
	int effect;

	if (strcmp(event->topic, "Service") != 0)
		return 0;
	metrics_add(mirror->doors.metrics, METRIC_NOMAD_EVENTS, 1);
	if (!event->has_service) {
		mirror_apply_bad(mirror, "it has no registration");
		return 0;
	}
	if (mirror->filter[0])
		effect = take_filtered(mirror, event);
	else
		effect = catalogue_event(mirror->doors.catalogue, event, is_removal, &times);
	if (effect == -ENOMEM) {
		catalogue_mark(mirror->doors.catalogue, namespace, service);
		return 0;
	}
	switch ((enum catalogue_effect)effect) {
	case CATALOGUE_OLD:
		break;
	case CATALOGUE_APPLIED:
		if (!is_removal)
			mirror_settle_cancel(mirror, namespace, service);
		break;
	case CATALOGUE_MARKED:
	case CATALOGUE_NEW_NAMESPACE:
		mirror_watch_refresh(mirror, namespace, service);
		break;
	case CATALOGUE_LAST_GONE:
		mirror_settle_add(mirror, namespace, service);
		break;
	}
	return 0;
}

static void take_index(struct mirror *mirror, uint64_t index)
{
	struct sync *sync = &mirror->sync;

	sync->seen[index % SYNC_SEEN] = index;
	if (index)
		mirror_large_count(mirror);
	if (index > sync->index) {
		sync->index = index;
		mirror_take_index(mirror, index);
	}
	if (sync->behind_ms && mirror_sync_has_seen(mirror, sync->behind_index)) {
		sync->behind_ms = 0;
		mirror_sync_heard(mirror, sync->heard_index);
	}
}

void mirror_sync_apply(struct mirror *mirror, const char *line, size_t length)
{
	char why[128] = "";
	uint64_t index = 0;
	int rc = json_read_frame(line, length, mirror_apply_event, mirror_apply_bad, mirror, &index,
				 why, sizeof(why));

	/* What was in a line that cannot be read shows in the index that others tell. */
	if (rc == -EINVAL)
		mirror_apply_bad(mirror, why);
	else if (rc == 0)
		take_index(mirror, index);
	else
		mirror_sync_again(mirror, true, "out of memory");
}

void mirror_sync_drain(struct mirror *mirror)
{
	struct buf queue = mirror->sync.queue;
	uint32_t length;

	buf_init(&mirror->sync.queue, 0);
	for (size_t at = 0; at < queue.length && mirror->sync.phase == SYNC_LIVE;
	     at += sizeof(length) + length) {
		memcpy(&length, queue.data + at, sizeof(length));
		mirror_sync_apply(mirror, queue.data + at + sizeof(length), length);
	}
	buf_deinit(&queue);
}
