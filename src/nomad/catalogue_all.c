/*
 * The whole cluster's list: one listing per namespace, committed together. See catalogue.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/map.h"
#include "base/metrics.h"
#include "nomad/catalogue_parts.h"

#define NAMES_MAX 200000 /* of all namespaces */

struct part { /* one namespace */
	struct catalogue_listing *listing;
	uint64_t index;
};

struct catalogue_all {
	struct catalogue *catalogue;
	struct map *parts; /* exact namespace → struct part */
	uint64_t index;	   /* of what is added now */
	uint64_t first_index;
	size_t name_count, over_limit_count;
	bool has_bad;
};

struct catalogue_all *catalogue_all_begin(struct catalogue *catalogue)
{
	struct catalogue_all *all = calloc(1, sizeof(*all));

	if (!all)
		return NULL;
	all->catalogue = catalogue;
	all->first_index = UINT64_MAX;
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
	if (index < all->first_index)
		all->first_index = index;
	return !namespace || make_part(all, namespace) ? 0 : -ENOMEM;
}

int catalogue_all_add(void *arg, const struct json_listed *listed)
{
	struct catalogue_all *all = arg;
	struct part *part = make_part(all, listed->namespace);

	if (all->name_count >= NAMES_MAX) {
		all->over_limit_count++;
		return 0;
	}
	all->name_count++;
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

static void complain_over_limit(const struct catalogue_all *all)
{
	if (all->over_limit_count == 0)
		return;
	metrics_add(all->catalogue->metrics, METRIC_NOMAD_INSTANCES_LEFT_OUT,
		    all->over_limit_count - 1);
	catalogue_leave_out(all->catalogue, "?", "?", "",
			    "more than 200,000 names; the rest is not served");
}

/* A whole list knows no namespace that it does not name. */
static int sweep_spaces(struct catalogue_all *all, const struct zone_times *times, struct buf *gone)
{
	struct catalogue *catalogue = all->catalogue;
	const struct space *space;
	size_t cursor = 0;
	int rc = 0;

	while (rc == 0 && (space = map_next(catalogue->spaces, &cursor, NULL, NULL))) {
		struct catalogue_listing *nothing;

		if (map_find(all->parts, space->exact, strlen(space->exact)) ||
		    list_is_empty(&space->services))
			continue;
		nothing = catalogue_list_begin(catalogue, space->exact);
		rc = nothing ? catalogue_list_settle(nothing, all->first_index, times, gone)
			     : -ENOMEM;
	}
	return rc;
}

int catalogue_all_commit(struct catalogue_all *all, bool is_whole, const struct zone_times *times,
			 catalogue_gone *on_gone, void *arg)
{
	struct part *part;
	size_t cursor = 0;
	struct buf gone;
	int rc = 0;

	buf_init(&gone, 0); /* holds no more than what is known */
	complain_over_limit(all);
	while ((part = map_next(all->parts, &cursor, NULL, NULL))) {
		int one = catalogue_list_settle(part->listing, part->index, times, &gone);

		part->listing = NULL;
		if (one < 0)
			rc = one;
	}
	if (is_whole && rc == 0)
		rc = sweep_spaces(all, times, &gone);
	if (is_whole && rc == 0 && all->first_index != UINT64_MAX)
		all->catalogue->names_index = all->first_index;
	free_all(all);
	catalogue_tell_gone(&gone, on_gone, arg);
	buf_deinit(&gone);
	return rc;
}

void catalogue_all_abandon(struct catalogue_all *all)
{
	if (all)
		free_all(all);
}
