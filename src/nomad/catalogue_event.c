/*
 * One change at a time: an event of the stream becomes a changed service. See catalogue.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "nomad/catalogue_parts.h"

int catalogue_event(struct catalogue *catalogue, const struct json_event *event, bool is_removal,
		    const struct zone_times *times)
{
	(void)is_removal;
	(void)times;
	if (!event->has_service)
		return CATALOGUE_OLD;
	catalogue_mark(catalogue, event->namespace, event->service.service);
	return CATALOGUE_MARKED;
}

void catalogue_mark(struct catalogue *catalogue, const char *namespace, const char *service)
{
	struct service *marked = catalogue_find_service(catalogue, namespace, service);

	if (!marked)
		return;
	marked->times.refresh_from_ms = marked->times.fresh_until_ms = 0;
	if (marked->name->is_published)
		catalogue_publish_name(catalogue, marked->name, false);
}

bool catalogue_remove_now(struct catalogue *catalogue, const char *namespace, const char *service,
			  const struct zone_times *times)
{
	(void)catalogue;
	(void)namespace;
	(void)service;
	(void)times;
	return false;
}

void catalogue_rewind(struct catalogue *catalogue)
{
	size_t cursor = 0;
	struct name *name;

	while ((name = map_next(catalogue->names, &cursor, NULL, NULL))) {
		list_for_each (link, &name->services)
			list_entry(link, struct service, by_name)->index = 0;
	}
}

bool catalogue_find_asof(const struct catalogue *catalogue, const char *namespace,
			 const char *service, uint64_t *out_asof)
{
	const struct service *found = catalogue_find_service(catalogue, namespace, service);

	if (!found)
		return false;
	*out_asof = found->index;
	return true;
}

size_t catalogue_pick(struct catalogue *catalogue, enum catalogue_which which,
		      struct catalogue_pick *out, size_t capacity)
{
	size_t cursor = 0, count = 0;
	struct name *name;

	while ((name = map_next(catalogue->names, &cursor, NULL, NULL))) {
		list_for_each (link, &name->services) {
			const struct service *one = list_entry(link, struct service, by_name);

			if (count == capacity || (which == CATALOGUE_UNLOADED && one->held))
				continue;
			out[count++] = (struct catalogue_pick){ one->space->exact, one->exact, 0 };
		}
	}
	return count;
}
