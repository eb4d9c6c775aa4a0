/*
 * One change at a time. What an event says is only the truth of a whole service if what it is added
 * to was: fetched, live, and nothing missed since. Else the event is noted and the name has to be
 * fetched. A service whose last instance went keeps its records until that is settled, because a
 * mere restart makes it vanish for a moment.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "dns/name.h"
#include "nomad/catalogue_parts.h"

struct change {
	const char *namespace, *service;
	const struct json_event *event;
	const struct json_instance *instance;
	const struct zone_times *times;
	bool is_removal;
};

/* Whether what is held is the truth, up to now. */
static bool is_true_now(const struct catalogue *catalogue, const struct service *service)
{
	return service->held && !service->is_marked && service->times.fresh_until_ms == ZONE_LIVE &&
	       service->term == zone_term(catalogue->zone);
}

void catalogue_mark_service(struct catalogue *catalogue, struct service *service)
{
	service->is_marked = true;
	service->times.refresh_from_ms = service->times.fresh_until_ms = 0;
	catalogue_publish_name(catalogue, service->name, false);
}

/* ---- a name that was not known ---- */

static uint64_t asof_of_unknown(const struct catalogue *catalogue, const struct change *change)
{
	const struct space *space =
		map_find(catalogue->spaces, change->namespace, strlen(change->namespace));
	uint64_t asof = space && space->index ? space->index : catalogue->names_index;
	char key[CATALOGUE_KEY_MAX];
	size_t length = catalogue_key(change->namespace, change->service, key);
	uint64_t gone = catalogue_absent_index(catalogue, key, length);

	return asof > gone ? asof : gone;
}

/* The name exists, and the zone has to know it. 0 or -ENOMEM. */
static int show_name(struct catalogue *catalogue, struct name *name, const struct zone_times *times)
{
	struct zone_times old = { .stale_until_ms = times->stale_until_ms };

	if (!name->is_published)
		return catalogue_publish_listed(catalogue, name, times);
	/* Another service behind the same name has records: they are no longer all of them. */
	zone_touch_service(catalogue->zone, name->key, catalogue_name_service(name), &old);
	return 0;
}

/* The namespace as the zone shows it: that it has services, and the tags seen in it. */
static int show_space(struct catalogue *catalogue, struct space *space, const struct change *change,
		      bool *out_is_new)
{
	bool has_new_tag = catalogue_note_tags(space, change->instance);
	char label[CATALOGUE_KEY_MAX];
	int rc;

	*out_is_new = !space->is_shown;
	if (space->is_shown && !has_new_tag)
		return 0;
	catalogue_key(space->exact, "", label);
	rc = catalogue_publish_space(catalogue, label, change->times);
	if (rc == 0)
		space->is_shown = true;
	return rc;
}

static int add_unknown(struct catalogue *catalogue, const struct change *change)
{
	uint64_t asof = asof_of_unknown(catalogue, change);
	bool is_new_space = false;
	struct service *service;
	int rc;

	if (change->is_removal || change->event->index <= asof)
		return CATALOGUE_OLD;
	service = catalogue_make_service(catalogue, change->namespace, change->service);
	if (!service)
		return -ENOMEM;
	service->index = asof;
	service->event_index = change->event->index;
	rc = show_name(catalogue, service->name, change->times);
	if (rc == 0)
		rc = show_space(catalogue, service->space, change, &is_new_space);
	if (rc < 0) {
		catalogue_remove_service(catalogue, service);
		return rc;
	}
	catalogue_count(catalogue);
	return is_new_space ? CATALOGUE_NEW_NAMESPACE : CATALOGUE_MARKED;
}

/* All that was held of a service went, and it may have others by now: only a GET can tell. 0 or
 * -ENOMEM. */
static int unload(struct catalogue *catalogue, struct service *service,
		  const struct zone_times *times)
{
	catalogue->instance_count -= service->held->usable_count;
	free(service->held);
	service->held = NULL;
	service->is_going = service->is_marked = false;
	service->name->is_published = false;
	return catalogue_publish_listed(catalogue, service->name, times);
}

/* ---- one that is ---- */

/* The instances with the change made to them. *out_count: how many there are then. NULL: out of
 * memory. */
static struct catalogue_update *make_change(struct catalogue *catalogue,
					    const struct service *service,
					    const struct change *change, size_t *out_count,
					    bool *out_was_there)
{
	struct catalogue_update *update =
		catalogue_begin(catalogue, change->namespace, change->service);
	int rc = update ? 0 : -ENOMEM;

	if (rc == 0 && !service->is_going)
		rc = catalogue_refill(update, service->held);
	if (rc == 0) {
		*out_was_there = catalogue_take_out(update, change->instance);
		if (!change->is_removal)
			rc = catalogue_add(update, change->instance);
	}
	if (rc < 0) {
		catalogue_abandon(update);
		return NULL;
	}
	*out_count = catalogue_update_count(update);
	return update;
}

/* Makes the change to what is held. CATALOGUE_APPLIED, _OLD, _LAST_GONE, or -ENOMEM. */
static int apply(struct catalogue *catalogue, struct service *service, const struct change *change)
{
	bool was_true = is_true_now(catalogue, service);
	bool was_there = false, is_same = true, is_new_space;
	struct catalogue_update *update;
	size_t count = 0;
	int rc;

	update = make_change(catalogue, service, change, &count, &was_there);
	if (!update)
		return -ENOMEM;
	if (change->is_removal && (!was_there || count == 0)) {
		catalogue_abandon(update);
		service->is_going |= count == 0 && was_there;
		return was_there ? CATALOGUE_LAST_GONE : CATALOGUE_OLD;
	}
	rc = catalogue_replace(update, service, &is_same);
	catalogue_abandon(update);
	if (rc < 0)
		return rc;
	if (was_true) {
		service->times = *change->times;
		service->term = zone_term(catalogue->zone);
	}
	rc = catalogue_publish_name(catalogue, service->name, !is_same);
	if (rc == 0 && !change->is_removal)
		rc = show_space(catalogue, service->space, change, &is_new_space);
	catalogue_count(catalogue);
	return rc < 0 ? rc : CATALOGUE_APPLIED;
}

static int change_known(struct catalogue *catalogue, struct service *service,
			const struct change *change)
{
	uint64_t index = change->event->index;
	bool is_new_space = false, was_true;
	int rc;

	/* The frame of one index may hold several events of one service. */
	if (index <= service->index || index < service->event_index)
		return CATALOGUE_OLD;
	service->event_index = index;
	if (!service->held) {
		service->is_going &= change->is_removal;
		rc = change->is_removal
			     ? 0
			     : show_space(catalogue, service->space, change, &is_new_space);
		if (rc < 0)
			return rc;
		return is_new_space ? CATALOGUE_NEW_NAMESPACE : CATALOGUE_MARKED;
	}
	if (catalogue->has_filter && !change->is_removal) {
		service->is_going = false;
		catalogue_mark_service(catalogue, service);
		return CATALOGUE_MARKED;
	}
	was_true = is_true_now(catalogue, service);
	rc = apply(catalogue, service, change);
	/* Also when nothing of what is held changed: a reply that was on its way before the event
	 * must not take it for the truth. */
	if (rc < 0 || (rc != CATALOGUE_LAST_GONE && !was_true))
		catalogue_mark_service(catalogue, service);
	if (rc < 0 || was_true)
		return rc;
	if (rc == CATALOGUE_LAST_GONE)
		rc = unload(catalogue, service, change->times);
	return rc < 0 ? rc : CATALOGUE_MARKED;
}

int catalogue_event(struct catalogue *catalogue, const struct json_event *event, bool is_removal,
		    const struct zone_times *times)
{
	struct change change = { .event = event,
				 .instance = &event->service,
				 .times = times,
				 .is_removal = is_removal };
	struct service *service;

	if (!event->has_service)
		return CATALOGUE_OLD;
	change.service = event->service.service;
	change.namespace =
		event->service.namespace[0] ? event->service.namespace : event->namespace;
	if (!catalogue_allows(catalogue, change.namespace))
		return CATALOGUE_OLD;
	if (!name_is_label(change.namespace, strlen(change.namespace)) ||
	    !name_is_label(change.service, strlen(change.service))) {
		catalogue_leave_out(catalogue, change.namespace, change.service, event->service.id,
				    "its name is no DNS label");
		return CATALOGUE_OLD;
	}
	service = catalogue_find_service(catalogue, change.namespace, change.service);
	return service ? change_known(catalogue, service, &change)
		       : add_unknown(catalogue, &change);
}

bool catalogue_keep_live(struct catalogue *catalogue, const char *namespace_label,
			 const char *service_label, const struct zone_times *times)
{
	char key[CATALOGUE_KEY_MAX];
	size_t length = catalogue_key(namespace_label, service_label, key);
	struct name *name = map_find(catalogue->names, key, length);
	unsigned term = zone_term(catalogue->zone);

	if (!name)
		return false;
	list_for_each (link, &name->services) {
		const struct service *service = list_entry(link, struct service, by_name);

		if (!service->held || service->is_marked || service->is_going ||
		    service->times.fresh_until_ms != ZONE_LIVE || service->term + 1 != term)
			return false;
	}
	list_for_each (link, &name->services) {
		struct service *service = list_entry(link, struct service, by_name);

		service->times = *times;
		service->term = term;
	}
	catalogue_publish_name(catalogue, name, false);
	return true;
}

/* ---- what is settled ---- */

bool catalogue_remove_now(struct catalogue *catalogue, const char *namespace, const char *service,
			  const struct zone_times *times)
{
	struct service *gone = catalogue_find_service(catalogue, namespace, service);
	char key[CATALOGUE_KEY_MAX];
	struct space *space;
	uint64_t index;
	size_t length;

	if (!gone || !gone->is_going)
		return false;
	if (gone->held && gone->term != zone_term(catalogue->zone)) {
		unload(catalogue, gone, times);
		return false;
	}
	space = gone->space;
	index = catalogue_asof(gone);
	length = catalogue_key(namespace, service, key);
	catalogue_remove_service(catalogue, gone);
	catalogue_publish_absent(catalogue, key, length, index, times);
	catalogue_leave_space(catalogue, space, key, times);
	catalogue_count(catalogue);
	return true;
}

void catalogue_rewind(struct catalogue *catalogue)
{
	size_t cursor = 0;
	struct space *space;

	while ((space = map_next(catalogue->spaces, &cursor, NULL, NULL))) {
		space->index = 0;
		list_for_each (link, &space->services) {
			struct service *service = list_entry(link, struct service, by_space);

			service->index = service->event_index = 0;
		}
	}
	catalogue->names_index = 0;
	catalogue_rewind_absents(catalogue);
}

/* ---- picking ---- */

static int compare_picks(const void *a, const void *b)
{
	unsigned long x = ((const struct catalogue_pick *)a)->asked_count;
	unsigned long y = ((const struct catalogue_pick *)b)->asked_count;

	return x > y ? -1 : x < y;
}

static void pick_name(struct catalogue *catalogue, const struct name *name,
		      enum catalogue_which which, struct catalogue_pick *all, size_t *count)
{
	unsigned long asked =
		zone_take_asked(catalogue->zone, name->key, catalogue_name_service(name));

	list_for_each (link, &name->services) {
		const struct service *service = list_entry(link, struct service, by_name);
		bool is_wanted =
			which == CATALOGUE_ASKED ? asked > 0 : !is_true_now(catalogue, service);

		if (is_wanted)
			all[(*count)++] = (struct catalogue_pick){ service->space->exact,
								   service->exact, asked };
	}
}

size_t catalogue_pick(struct catalogue *catalogue, enum catalogue_which which,
		      struct catalogue_pick *out, size_t capacity)
{
	struct catalogue_pick *all = calloc(catalogue->service_count + 1, sizeof(*all));
	size_t cursor = 0, count = 0;
	const struct name *name;

	if (!all)
		return 0;
	while ((name = map_next(catalogue->names, &cursor, NULL, NULL)))
		pick_name(catalogue, name, which, all, &count);
	qsort(all, count, sizeof(*all), compare_picks);
	if (count > capacity)
		count = capacity;
	memcpy(out, all, count * sizeof(*all));
	free(all);
	return count;
}
