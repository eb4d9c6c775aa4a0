/*
 * From what was collected to what is held. The drafts are sorted by identity, the last of equal
 * ones counts, and what is usable is packed into one block: the same instances always give the same
 * bytes, so that "did anything change" is one memcmp. Then the block becomes the truth, unless an
 * event knew better.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/metrics.h"
#include "nomad/catalogue_parts.h"

/* ---- packing ---- */

static int compare_drafts(const void *a, const void *b)
{
	const struct draft *x = a, *y = b;

	if (x->instance.id != y->instance.id)
		return x->instance.id < y->instance.id ? -1 : 1;
	return x->sequence < y->sequence ? -1 : 1;
}

/* Sorts the drafts and keeps those that count: the last of each identity. */
static void keep_last(struct catalogue_update *update)
{
	size_t kept = 0;

	if (update->count > 0)
		qsort(update->drafts, update->count, sizeof(*update->drafts), compare_drafts);
	for (size_t i = 0; i < update->count; i++) {
		const struct draft *draft = &update->drafts[i];

		if (i + 1 == update->count || draft[1].instance.id != draft->instance.id)
			update->drafts[kept++] = *draft;
	}
	update->count = kept;
}

/* The bytes of `count` strings that stand one behind the other. */
static size_t strings_length(const char *text, uint32_t count)
{
	size_t length = 0;

	while (count-- > 0)
		length += strlen(text + length) + 1;
	return length;
}

/* Text of an instance; NULL while no instance has brought any. */
static const char *text_of(const struct catalogue_update *update, size_t at)
{
	return update->text.data ? update->text.data + at : NULL;
}

/* Whether two drafts have the same tags in the same order: then the block holds them once. */
static bool has_same_tags(const struct catalogue_update *update, const struct held_instance *a,
			  const struct held_instance *b)
{
	const char *x = text_of(update, a->tags_at), *y = text_of(update, b->tags_at);
	size_t length;

	if (a->tag_count != b->tag_count)
		return false;
	if (a->tag_count == 0)
		return true;
	length = strings_length(x, a->tag_count);
	return length == strings_length(y, b->tag_count) && memcmp(x, y, length) == 0;
}

struct sizes {
	size_t tags, text;
};

static struct sizes measure(const struct catalogue_update *update)
{
	struct sizes sizes = { 0, 0 };

	for (size_t i = 0; i < update->count; i++) {
		const struct held_instance *one = &update->drafts[i].instance;

		if (one->host_at != CATALOGUE_NO_HOST)
			sizes.text += strings_length(text_of(update, one->host_at), 1);
		if (one->tag_count == 0 ||
		    (i > 0 && has_same_tags(update, &update->drafts[i - 1].instance, one)))
			continue;
		sizes.tags += one->tag_count;
		sizes.text += strings_length(text_of(update, one->tags_at), one->tag_count);
	}
	return sizes;
}

static void fill(const struct catalogue_update *update, struct held *held)
{
	uint32_t *offsets = (uint32_t *)(void *)(held->at + held->count);
	char *text = (char *)(offsets + held->tag_count);
	uint32_t tag_at = 0, text_at = 0;

	for (uint32_t i = 0; i < held->count; i++) {
		const struct held_instance *from = &update->drafts[i].instance;
		struct held_instance *to = &held->at[i];
		const char *tags = text_of(update, from->tags_at);

		/* Field by field: padding stays zero, and the block comparable. */
		to->id = from->id;
		to->family = from->family;
		to->is_left_out = from->is_left_out;
		held->usable_count += !from->is_left_out;
		to->port = from->port;
		to->tag_count = from->tag_count;
		memcpy(to->bytes, from->bytes, sizeof(to->bytes));
		to->host_at = CATALOGUE_NO_HOST;
		if (from->host_at != CATALOGUE_NO_HOST) {
			const char *host = text_of(update, from->host_at);
			size_t length = strlen(host) + 1;

			memcpy(text + text_at, host, length);
			to->host_at = text_at;
			text_at += (uint32_t)length;
		}
		if (from->tag_count == 0)
			continue;
		if (i > 0 && has_same_tags(update, &update->drafts[i - 1].instance, from)) {
			to->tags_at = to[-1].tags_at;
			continue;
		}
		to->tags_at = tag_at;
		for (uint16_t t = 0; t < from->tag_count; t++) {
			size_t length = strlen(tags) + 1;

			memcpy(text + text_at, tags, length);
			offsets[tag_at++] = text_at;
			text_at += (uint32_t)length;
			tags += length;
		}
	}
}

static struct held *pack(struct catalogue_update *update)
{
	struct sizes sizes;
	struct held *held;
	size_t byte_count;

	keep_last(update);
	sizes = measure(update);
	byte_count = sizeof(*held) + update->count * sizeof(held->at[0]) +
		     sizes.tags * sizeof(uint32_t) + sizes.text;
	held = calloc(1, byte_count);
	if (!held)
		return NULL;
	held->byte_count = byte_count;
	held->count = (uint32_t)update->count;
	held->tag_count = (uint32_t)sizes.tags;
	fill(update, held);
	return held;
}

/* ---- making it the truth ---- */

static void complain_over_limit(const struct catalogue_update *update)
{
	if (update->over_limit_count == 0)
		return;
	metrics_add(update->catalogue->metrics, METRIC_NOMAD_INSTANCES_LEFT_OUT,
		    update->over_limit_count - 1);
	catalogue_leave_out(update->catalogue, update->namespace, update->service, "",
			    "more than 10,000 instances; the rest is not served");
}

/* Whether events count: else nothing is kept true by them, and replies may come from any server. */
static bool is_live(const struct catalogue *catalogue, const struct zone_times *times)
{
	const struct zone *zone = catalogue->zone;

	return times->fresh_until_ms == ZONE_LIVE ||
	       zone_live_end(zone, zone_term(zone)) == ZONE_LIVE;
}

/* Nomad says that there are none: whether the list was wrong or a filter hides them, the name is
 * absent. */
static int commit_nothing(const struct catalogue_update *update, const struct zone_times *times)
{
	struct catalogue *catalogue = update->catalogue;
	struct service *gone =
		catalogue_find_service(catalogue, update->namespace, update->service);
	char key[CATALOGUE_KEY_MAX];
	size_t length = catalogue_key(update->namespace, update->service, key);
	struct space *space = gone ? gone->space : NULL;
	int rc = gone ? catalogue_remove_service(catalogue, gone) : 0;

	/* Else there may be names that were never asked for. */
	if (space && space->is_shown && update->is_whole)
		catalogue_leave_space(catalogue, space, key, times);
	catalogue_count(catalogue);
	return rc < 0 ? rc : catalogue_publish_absent(catalogue, key, length, 0, times);
}

int catalogue_replace(struct catalogue_update *update, struct service *service, bool *out_is_same)
{
	struct catalogue *catalogue = update->catalogue;
	struct held *held = pack(update), *old = service->held;

	if (!held)
		return -ENOMEM;
	*out_is_same = old && old->byte_count == held->byte_count &&
		       memcmp(old, held, held->byte_count) == 0;
	catalogue->instance_count += held->usable_count;
	catalogue->instance_count -= old ? old->usable_count : 0;
	free(old);
	service->held = held;
	service->is_going = false;
	return 0;
}

static int commit_instances(struct catalogue_update *update, uint64_t index,
			    const struct zone_times *times)
{
	struct catalogue *catalogue = update->catalogue;
	struct service *service =
		catalogue_find_service(catalogue, update->namespace, update->service);
	bool is_new = !service, is_same = false;
	int rc = -ENOMEM;

	if (is_new)
		service = catalogue_make_service(catalogue, update->namespace, update->service);
	if (service)
		rc = catalogue_replace(update, service, &is_same);
	if (rc < 0) {
		if (service && is_new)
			catalogue_remove_service(catalogue, service);
		return rc;
	}
	service->index = index;
	service->event_index = 0; /* it is in there */
	service->is_marked = false;
	service->times = *times;
	service->term = zone_term(catalogue->zone);
	catalogue_count(catalogue);
	return catalogue_publish_name(catalogue, service->name, !is_same);
}

/*
 * A reply that was under way while an event came does not know it. 1: what is held does, so only
 * its times move. -EAGAIN: nothing does. 0: the reply is the newest word.
 */
static int judge_late(const struct catalogue_update *update, uint64_t index,
		      const struct zone_times *times)
{
	struct catalogue *catalogue = update->catalogue;
	struct service *service =
		catalogue_find_service(catalogue, update->namespace, update->service);
	char key[CATALOGUE_KEY_MAX];
	size_t length;

	if (!is_live(catalogue, times))
		return 0;
	if (!service) {
		length = catalogue_key(update->namespace, update->service, key);
		return update->has_seen && catalogue_absent_index(catalogue, key, length) > index
			       ? -EAGAIN
			       : 0;
	}
	if (service->event_index <= index)
		return 0;
	if (!service->held || service->is_marked || service->is_going)
		return -EAGAIN;
	service->times = *times;
	service->term = zone_term(catalogue->zone);
	return 1;
}

int catalogue_commit(struct catalogue_update *update, uint64_t index,
		     const struct zone_times *times)
{
	int rc = update->has_name ? judge_late(update, index, times) : 0;

	if (rc == 1) {
		struct service *service = catalogue_find_service(
			update->catalogue, update->namespace, update->service);

		rc = catalogue_publish_name(update->catalogue, service->name, false);
	} else if (rc == 0 && update->has_name) {
		complain_over_limit(update);
		rc = update->has_seen ? commit_instances(update, index, times)
				      : commit_nothing(update, times);
	}
	catalogue_abandon(update);
	return rc;
}
