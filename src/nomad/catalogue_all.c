/*
 * The whole cluster's list: one listing per namespace, committed together. See catalogue.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "nomad/catalogue_parts.h"

struct part { /* one namespace */
	struct catalogue_listing *listing;
	uint64_t index;
};

struct catalogue_all {
	struct catalogue *catalogue;
	struct map *parts;
	uint64_t index; /* of what is added now */
	bool has_bad;
};

struct catalogue_all *catalogue_all_begin(struct catalogue *catalogue)
{
	struct catalogue_all *all = calloc(1, sizeof(*all));

	if (!all)
		return NULL;
	all->catalogue = catalogue;
	all->parts = map_new();
	if (all->parts)
		return all;
	free(all);
	return NULL;
}

static struct part *make_part(struct catalogue_all *all, const char *namespace)
{
	size_t length = strlen(namespace);
	struct part *part = map_find(all->parts, namespace, length);

	if (part)
		return part;
	part = calloc(1, sizeof(*part));
	if (!part)
		return NULL;
	part->index = all->index;
	part->listing = catalogue_list_begin(all->catalogue, namespace);
	if (part->listing && map_put(all->parts, namespace, length, part) == 0)
		return part;
	catalogue_list_abandon(part->listing);
	free(part);
	return NULL;
}

int catalogue_all_part(struct catalogue_all *all, const char *namespace, uint64_t index)
{
	all->index = index;
	return !namespace || make_part(all, namespace) ? 0 : -ENOMEM;
}

int catalogue_all_add(void *arg, const struct json_listed *listed)
{
	struct catalogue_all *all = arg;
	struct part *part = make_part(all, listed->namespace);

	return part ? catalogue_list_add(part->listing, listed) : -ENOMEM;
}

void catalogue_all_add_bad(void *arg, const char *why)
{
	struct catalogue_all *all = arg;

	all->has_bad = true;
	catalogue_leave_out(all->catalogue, "?", "?", "", why);
}

bool catalogue_all_is_empty(const struct catalogue_all *all)
{
	const struct part *part;
	size_t cursor = 0;

	while ((part = map_next(all->parts, &cursor, NULL, NULL))) {
		if (!catalogue_list_is_empty(part->listing))
			return false;
	}
	return !all->has_bad;
}

bool catalogue_all_is_unusable(const struct catalogue_all *all)
{
	return all->has_bad;
}

static void free_all(struct catalogue_all *all)
{
	struct part *part;
	size_t cursor = 0;

	while ((part = map_next(all->parts, &cursor, NULL, NULL))) {
		catalogue_list_abandon(part->listing);
		free(part);
	}
	map_free(all->parts);
	free(all);
}

int catalogue_all_commit(struct catalogue_all *all, bool is_whole, const struct zone_times *times,
			 catalogue_gone *on_gone, void *arg)
{
	struct part *part;
	size_t cursor = 0;
	int rc = 0;

	(void)is_whole;
	(void)on_gone;
	(void)arg;
	while ((part = map_next(all->parts, &cursor, NULL, NULL))) {
		int one = catalogue_list_commit(part->listing, part->index, times);

		part->listing = NULL;
		if (one < 0)
			rc = one;
	}
	free_all(all);
	return rc;
}

void catalogue_all_abandon(struct catalogue_all *all)
{
	if (all)
		free_all(all);
}
