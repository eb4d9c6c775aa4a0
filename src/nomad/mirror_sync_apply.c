/*
 * Frames of the event stream become changes of the catalogue. What makes no sense is counted and
 * passed over: the index of what was in it shows that something is missing.
 */
#include "nomad/mirror_sync.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "nomad/catalogue.h"
#include "nomad/json.h"
#include "nomad/mirror_ask.h"
#include "nomad/mirror_large.h"
#include "nomad/mirror_parts.h"
#include "nomad/mirror_queue.h"
#include "nomad/mirror_scope.h"
#include "nomad/mirror_settle.h"
#include "nomad/mirror_tier.h"
#include "nomad/zone_writer.h"

#define BAD_LOG_EVERY_MS 60000

struct frame {
	struct mirror *mirror;
	size_t at; /* of whose namespace it tells: mirror_sync_place */
};

static void on_bad(void *arg, const char *why)
{
	struct mirror *mirror = ((struct frame *)arg)->mirror;
	uint64_t held;

	metrics_add(mirror->doors.metrics, METRIC_NOMAD_EVENTS_BAD, 1);
	if (log_brake_take(&mirror->sync.bad_brake, clock_now_ms(), BAD_LOG_EVERY_MS, &held))
		log_warn("nomad", "an event that makes no sense is passed over: %s", why);
}

/* Only what somebody asks for is worth a request: at a thousand changes a second on every node the
 * servers would answer nothing else. The others are fetched when they are asked for. */
static void refresh_if_asked(struct mirror *mirror, const char *namespace, const char *service)
{
	char space[SCOPE_NAME_MAX], name[SCOPE_NAME_MAX];

	mirror_fold(namespace, space);
	mirror_fold(service, name);
	if (zone_take_asked(mirror->doors.zone, space, name) > 0)
		mirror_ask_refresh(mirror, namespace, service);
}

static int on_event(void *arg, const struct json_event *event)
{
	struct frame *frame = arg;
	struct mirror *mirror = frame->mirror;
	/* Type is what raft did, not what became of it: anything but this one takes away. */
	bool is_removal = strcmp(event->type, "ServiceRegistration") != 0;
	const char *service = event->service.service, *namespace = event->namespace;
	struct zone_times times = mirror_times_live(mirror);
	int effect;

	if (strcmp(event->topic, "Service") != 0)
		return 0;
	metrics_add(mirror->doors.metrics, METRIC_NOMAD_EVENTS, 1);
	frame->at = mirror_sync_place(mirror, namespace);
	if (!event->has_service) {
		on_bad(frame, "it has no registration");
		return 0;
	}
	if (event->service.namespace[0])
	namespace = event->service.namespace;
	effect = catalogue_event(mirror->doors.catalogue, event, is_removal, &times);
	if (effect < 0)
		return effect;
	switch ((enum catalogue_effect)effect) {
	case CATALOGUE_OLD:
		break;
	case CATALOGUE_APPLIED:
		if (!is_removal)
			mirror_settle_cancel(mirror, namespace, service);
		break;
	case CATALOGUE_MARKED:
	case CATALOGUE_NEW_NAMESPACE:
		refresh_if_asked(mirror, namespace, service);
		break;
	case CATALOGUE_LAST_GONE:
		mirror_settle_add(mirror, namespace, service);
		break;
	}
	return 0;
}

static void take_index(const struct frame *frame, uint64_t index, uint64_t hash)
{
	struct mirror *mirror = frame->mirror;

	if (index)
		mirror_large_count(mirror);
	if (index > mirror->sync.index) {
		mirror->sync.index_hash = hash;
		mirror_take_index(mirror, index);
	}
	mirror_sync_told(mirror, frame->at, index);
}

void mirror_sync_apply(struct mirror *mirror, const char *line, size_t length)
{
	char why[128] = "";
	struct frame frame = { mirror, SYNC_ANYWHERE };
	uint64_t index = 0;
	int rc = json_read_frame(line, length, on_event, on_bad, &frame, &index, why, sizeof(why));

	/* What was in a line that cannot be read shows in the index that others tell. */
	if (rc == -EINVAL)
		on_bad(&frame, why);
	else if (rc == 0)
		take_index(&frame, index, mirror_queue_hash(mirror, line, length));
	else
		mirror_sync_again(mirror, true, "out of memory");
}
