/*
 * Collecting the names of one namespace. Only text is collected; the comparison with what is known
 * is made at the end, in one go: every service carries the number of the last list it stood in, and
 * those with an older number are gone.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/map.h"
#include "base/metrics.h"
#include "dns/name.h"
#include "nomad/catalogue_parts.h"

#define NAMES_MAX 100000 /* of one namespace */
#define TAGS_MAX 65536	 /* different ones of one namespace */

struct catalogue_listing {
	struct catalogue *catalogue;
	struct buf names; /* each with its NUL */
	size_t name_count, over_limit_count;
	struct buf tags; /* folded, distinct, each with its NUL */
	struct map *tags_seen;
	bool has_seen, has_bad;
	bool has_name; /* the namespace is a label, and allowed */
	char namespace[];
};

struct catalogue_listing *catalogue_list_begin(struct catalogue *catalogue, const char *namespace)
{
	size_t length = strlen(namespace);
	struct catalogue_listing *listing = calloc(1, sizeof(*listing) + length + 1);

	if (!listing)
		return NULL;
	listing->catalogue = catalogue;
	buf_init(&listing->names, 0); /* NAMES_MAX is the ceiling */
	buf_init(&listing->tags, 0);  /* TAGS_MAX is */
	listing->tags_seen = map_new();
	memcpy(listing->namespace, namespace, length);
	listing->has_name =
		name_is_label(namespace, length) && catalogue_allows(catalogue, namespace);
	if (listing->tags_seen)
		return listing;
	catalogue_list_abandon(listing);
	return NULL;
}

void catalogue_list_abandon(struct catalogue_listing *listing)
{
	if (!listing)
		return;
	buf_deinit(&listing->names);
	buf_deinit(&listing->tags);
	map_free(listing->tags_seen);
	free(listing);
}

bool catalogue_list_is_empty(const struct catalogue_listing *listing)
{
	return !listing->has_seen;
}

bool catalogue_list_is_unusable(const struct catalogue_listing *listing)
{
	return listing->has_bad;
}

static int add_tag(struct catalogue_listing *listing, const char *tag)
{
	size_t length = strlen(tag);
	uint8_t folded[DNS_LABEL_MAX + 1] = { 0 };
	int rc;

	if (!name_is_label(tag, length) || map_count(listing->tags_seen) >= TAGS_MAX)
		return 0;
	name_fold((const uint8_t *)tag, length, folded);
	if (map_find(listing->tags_seen, folded, length))
		return 0;
	rc = map_put(listing->tags_seen, folded, length, listing);
	return rc < 0 ? rc : buf_append(&listing->tags, folded, length + 1);
}

int catalogue_list_add(void *arg, const struct json_listed *listed)
{
	struct catalogue_listing *listing = arg;
	size_t length = strlen(listed->service);

	if (strcmp(listed->namespace, listing->namespace) != 0)
		return 0; /* not what was asked */
	listing->has_seen = true;
	if (!name_is_label(listed->service, length)) {
		catalogue_leave_out(listing->catalogue, listed->namespace, listed->service, "",
				    "its name is no DNS label");
		return 0;
	}
	if (listing->name_count >= NAMES_MAX) {
		listing->over_limit_count++;
		return 0;
	}
	for (size_t i = 0; i < listed->tag_count; i++) {
		if (add_tag(listing, listed->tags[i]) < 0)
			return -ENOMEM;
	}
	if (buf_append(&listing->names, listed->service, length + 1) < 0)
		return -ENOMEM;
	listing->name_count++;
	return 0;
}

void catalogue_list_add_bad(void *arg, const char *why)
{
	struct catalogue_listing *listing = arg;

	listing->has_seen = listing->has_bad = true;
	catalogue_leave_out(listing->catalogue, listing->namespace, "?", "", why);
}

/* ---- making it the truth ---- */

/* A name that was known stands in the list too. */
static void stay(struct catalogue *catalogue, struct service *service, uint64_t index)
{
	if (!service->held && service->index < index)
		service->index = index;
	if (!service->is_going || catalogue_asof(service) > index)
		return;
	service->is_going = false; /* it has come back, and what it has now was not heard */
	if (service->held)
		catalogue_mark_service(catalogue, service);
}

/* Marks every name of the list, making known what is new. */
static int mark_listed(struct catalogue_listing *listing, uint64_t index,
		       const struct zone_times *times)
{
	struct catalogue *catalogue = listing->catalogue;
	const char *exact = listing->names.data;

	for (size_t i = 0; i < listing->name_count; i++, exact += strlen(exact) + 1) {
		struct service *service =
			catalogue_find_service(catalogue, listing->namespace, exact);
		int rc = 0;

		if (service) {
			stay(catalogue, service, index);
		} else {
			service = catalogue_make_service(catalogue, listing->namespace, exact);
			if (!service)
				return -ENOMEM;
			service->index = index;
			if (!service->name->is_published)
				rc = catalogue_publish_listed(catalogue, service->name, times);
			if (rc < 0) {
				catalogue_remove_service(catalogue, service);
				return rc;
			}
		}
		service->listing = catalogue->listing;
	}
	return 0;
}

static struct space *find_space(const struct catalogue_listing *listing)
{
	return map_find(listing->catalogue->spaces, listing->namespace, strlen(listing->namespace));
}

static bool is_newer(const struct service *service, uint64_t index)
{
	return service->held ? catalogue_asof(service) > index : service->event_index > index;
}

/* Takes note of a service that is going; its records stay until that is settled. That it goes is
 * the newest word of it, whatever was missed before. */
static int note_gone(const struct catalogue *catalogue, struct service *service, uint64_t index,
		     struct buf *gone)
{
	const char *namespace = service->space->exact;

	service->is_going = true;
	service->times.refresh_from_ms = service->times.fresh_until_ms = 0;
	service->term = zone_term(catalogue->zone);
	if (service->index < index)
		service->index = index;
	buf_append(gone, namespace, strlen(namespace) + 1);
	buf_append(gone, service->exact, strlen(service->exact) + 1);
	return gone->failed ? -ENOMEM : 0;
}

/* What the list does not hold is gone, except what was heard of after the list was made. */
static int sweep(struct catalogue_listing *listing, uint64_t index, struct buf *gone)
{
	struct catalogue *catalogue = listing->catalogue;
	struct space *space = find_space(listing);
	int rc = 0;

	if (!space)
		return 0;
	list_for_each_safe (link, &space->services) {
		struct service *service = list_entry(link, struct service, by_space);
		int removed;

		if (service->listing == catalogue->listing || is_newer(service, index))
			continue;
		removed = gone ? note_gone(catalogue, service, index, gone)
			       : catalogue_remove_service(catalogue, service);
		if (removed < 0)
			rc = removed;
	}
	return rc;
}

/* Hands the tags to the space; a space without services goes. */
static void settle_space(struct catalogue_listing *listing, uint64_t index)
{
	struct space *space = find_space(listing);

	if (!space)
		return;
	free(space->tags);
	map_free(space->tags_seen);
	space->tags = listing->tags.data;
	space->tags_length = listing->tags.length;
	space->tag_count = (uint32_t)map_count(listing->tags_seen);
	space->tags_seen = listing->tags_seen;
	space->index = index;
	space->is_shown = true;
	listing->tags.data = NULL;
	listing->tags.length = listing->tags.capacity = 0;
	listing->tags_seen = NULL;
	if (!list_is_empty(&space->services))
		return;
	map_remove(listing->catalogue->spaces, space->exact, strlen(space->exact));
	free(space->tags);
	map_free(space->tags_seen);
	free(space);
}

static void complain_over_limit(const struct catalogue_listing *listing)
{
	if (listing->over_limit_count == 0)
		return;
	metrics_add(listing->catalogue->metrics, METRIC_NOMAD_INSTANCES_LEFT_OUT,
		    listing->over_limit_count - 1);
	catalogue_leave_out(listing->catalogue, listing->namespace, "?", "",
			    "more than 100,000 names; the rest is not served");
}

static int commit(struct catalogue_listing *listing, uint64_t index, const struct zone_times *times,
		  struct buf *gone)
{
	struct catalogue *catalogue = listing->catalogue;
	char label[CATALOGUE_KEY_MAX];
	int rc = 0;

	if (!listing->has_name)
		goto out;
	complain_over_limit(listing);
	catalogue->listing++;
	rc = mark_listed(listing, index, times);
	if (rc == 0)
		rc = sweep(listing, index, gone);
	if (rc == 0)
		settle_space(listing, index);
	catalogue_key(listing->namespace, "", label);
	if (rc == 0)
		rc = catalogue_publish_space(catalogue, label, times);
	catalogue_count(catalogue);
out:
	catalogue_list_abandon(listing);
	return rc;
}

void catalogue_tell_gone(const struct buf *gone, catalogue_gone *on_gone, void *arg)
{
	for (size_t at = 0; at < gone->length;) {
		const char *namespace = gone->data + at;
		const char *service = namespace + strlen(namespace) + 1;

		on_gone(arg, namespace, service);
		at += strlen(namespace) + strlen(service) + 2;
	}
}

int catalogue_list_commit(struct catalogue_listing *listing, uint64_t index,
			  const struct zone_times *times, catalogue_gone *on_gone, void *arg)
{
	struct buf gone;
	int rc;

	buf_init(&gone, 0); /* holds no more than what is known */
	rc = commit(listing, index, times, on_gone ? &gone : NULL);
	catalogue_tell_gone(&gone, on_gone, arg);
	buf_deinit(&gone);
	return rc;
}

int catalogue_list_settle(struct catalogue_listing *listing, uint64_t index,
			  const struct zone_times *times, struct buf *gone)
{
	return commit(listing, index, times, gone);
}

/* ---- between lists ---- */

static bool note_tag(struct space *space, const char *tag)
{
	size_t length = strlen(tag);
	char folded[DNS_LABEL_MAX + 1] = { 0 };
	char *grown;

	if (!name_is_label(tag, length) || map_count(space->tags_seen) >= TAGS_MAX)
		return false;
	name_fold((const uint8_t *)tag, length, (uint8_t *)folded);
	if (map_find(space->tags_seen, folded, length))
		return false;
	grown = realloc(space->tags, space->tags_length + length + 1);
	if (!grown)
		return false;
	space->tags = grown;
	if (map_put(space->tags_seen, folded, length, space) < 0)
		return false;
	memcpy(space->tags + space->tags_length, folded, length + 1);
	space->tags_length += length + 1;
	space->tag_count++;
	return true;
}

bool catalogue_note_tags(struct space *space, const struct json_instance *instance)
{
	bool is_new = false;

	if (!space->tags_seen)
		space->tags_seen = map_new();
	for (size_t i = 0; space->tags_seen && i < instance->tag_count; i++)
		is_new |= note_tag(space, instance->tags[i]);
	return is_new;
}
