/*
 * Collecting the instances of one service. Each becomes a draft in body order; at the end they are
 * sorted by identity, the last of equal ones counts, and what is usable is packed into one block.
 * The same instances always give the same bytes, so that "did anything change" is one memcmp.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/buf.h"
#include "base/log.h"
#include "base/metrics.h"
#include "dns/name.h"
#include "nomad/catalogue_parts.h"

#define INSTANCES_MAX 10000	   /* of one service; a body of 16 MiB could hold 100,000 */
#define TAGS_MAX 1000		   /* of one instance */
#define TEXT_MAX_BYTES (16u << 20) /* of one service: as much as its body may be */

struct draft {
	struct held_instance instance; /* host_at, tags_at: in the update's text */
	uint32_t sequence;
};

struct catalogue_update {
	struct catalogue *catalogue;
	struct draft *drafts;
	size_t count, capacity;
	size_t over_limit_count;
	struct buf text; /* hosts and tags, each with its NUL */
	bool has_seen;	 /* anything at all, usable or not */
	bool has_read;	 /* one that is a registration, usable or not */
	bool has_bad;	 /* one that is none */
	bool has_name;	 /* both names are labels of an allowed namespace */
	const char *service;
	char namespace[]; /* the service's name stands behind it */
};

struct catalogue_update *catalogue_begin(struct catalogue *catalogue, const char *namespace,
					 const char *service)
{
	size_t a = strlen(namespace), b = strlen(service);
	struct catalogue_update *update = calloc(1, sizeof(*update) + a + b + 2);

	if (!update)
		return NULL;
	update->catalogue = catalogue;
	buf_init(&update->text, TEXT_MAX_BYTES);
	memcpy(update->namespace, namespace, a);
	memcpy(update->namespace + a + 1, service, b);
	update->service = update->namespace + a + 1;
	update->has_name = name_is_label(namespace, a) && name_is_label(service, b) &&
			   catalogue_allows(catalogue, namespace);
	return update;
}

void catalogue_abandon(struct catalogue_update *update)
{
	if (!update)
		return;
	buf_deinit(&update->text);
	free(update->drafts);
	free(update);
}

bool catalogue_is_empty(const struct catalogue_update *update)
{
	return !update->has_seen;
}

bool catalogue_is_unusable(const struct catalogue_update *update)
{
	return update->has_seen && !update->has_read;
}

bool catalogue_has_bad(const struct catalogue_update *update)
{
	return update->has_bad;
}

/* ---- judging one ---- */

/* Fills family and bytes, or the host name. NULL, or why it cannot be used. */
static const char *judge_address(const char *text, struct held_instance *out, const char **out_host)
{
	size_t length = strlen(text);
	struct addr addr;

	if (length == 0)
		return "no address";
	/* A zone ("%eth0") only ever belongs to a link-local address, and means nothing to others.
	 */
	if (strchr(text, '%'))
		return "link-local address";
	if (addr_parse_ip(text, &addr) == 0) {
		if (addr_is_any(&addr))
			return "unspecified address";
		if (addr.family == AF_INET6 && addr_is_link_local(&addr))
			return "link-local address";
		out->family = addr.family;
		memcpy(out->bytes, addr.bytes, sizeof(out->bytes));
		return NULL;
	}
	if (!name_is_host(text, length))
		return "neither an IP address nor a host name";
	*out_host = text;
	return NULL;
}

static const char *judge_port(double port, struct held_instance *out)
{
	/* A comparison with NaN is false. */
	if (!(port >= 0 && port <= UINT16_MAX) || floor(port) < port)
		return "port out of range";
	out->port = (uint16_t)port;
	return NULL;
}

/* Nomad's ID is unique in a namespace; without one, address and port tell instances apart. */
static uint64_t identify(const struct catalogue *catalogue, const struct json_instance *instance)
{
	const struct hash_key *key = &catalogue->hash_key;
	struct {
		uint64_t address;
		double port;
	} both;

	if (instance->id[0])
		return hash_bytes(key, instance->id, strlen(instance->id));
	both.address = hash_bytes(key, instance->address, strlen(instance->address));
	both.port = isnan(instance->port) ? -1 : instance->port;
	return hash_bytes(key, &both, sizeof(both));
}

static int put_text(struct catalogue_update *update, const char *text, size_t length)
{
	int rc = buf_append(&update->text, text, length);

	return rc < 0 ? rc : buf_append(&update->text, "", 1);
}

/* A host name without its final dot. */
static int put_host(struct catalogue_update *update, const char *host, struct held_instance *out)
{
	size_t length = strlen(host);

	if (host[length - 1] == '.')
		length--;
	out->host_at = (uint32_t)update->text.length;
	return put_text(update, host, length);
}

/* The tags that have a name in DNS; the others cannot be asked for. */
static int put_tags(struct catalogue_update *update, const struct json_instance *instance,
		    struct held_instance *out)
{
	out->tags_at = (uint32_t)update->text.length;
	for (size_t i = 0; i < instance->tag_count && out->tag_count < TAGS_MAX; i++) {
		size_t length = strlen(instance->tags[i]);
		int rc;

		if (!name_is_label(instance->tags[i], length))
			continue;
		rc = put_text(update, instance->tags[i], length);
		if (rc < 0)
			return rc;
		out->tag_count++;
	}
	return 0;
}

static int grow(struct catalogue_update *update)
{
	size_t capacity = update->capacity ? 2 * update->capacity : 8;
	struct draft *drafts;

	if (update->count < update->capacity)
		return 0;
	drafts = realloc(update->drafts, capacity * sizeof(*drafts));
	if (!drafts)
		return -ENOMEM;
	update->drafts = drafts;
	update->capacity = capacity;
	return 0;
}

int catalogue_add(void *arg, const struct json_instance *instance)
{
	struct catalogue_update *update = arg;
	struct draft draft = { .sequence = (uint32_t)update->count };
	const char *host = NULL, *why;
	int rc;

	if (instance->service[0] && strcmp(instance->service, update->service) != 0) {
		catalogue_add_bad(update, "it is of another service");
		return 0;
	}
	update->has_seen = update->has_read = true;
	if (update->count >= INSTANCES_MAX) {
		update->over_limit_count++;
		return 0;
	}
	draft.instance.id = identify(update->catalogue, instance);
	draft.instance.host_at = CATALOGUE_NO_HOST;
	why = judge_address(instance->address, &draft.instance, &host);
	if (!why)
		why = judge_port(instance->port, &draft.instance);
	if (why) {
		draft.instance = (struct held_instance){ .id = draft.instance.id,
							 .host_at = CATALOGUE_NO_HOST,
							 .is_left_out = true };
		catalogue_leave_out(update->catalogue, update->namespace, update->service,
				    instance->id, why);
	} else {
		rc = host ? put_host(update, host, &draft.instance) : 0;
		if (rc == 0)
			rc = put_tags(update, instance, &draft.instance);
		if (rc < 0)
			return rc == -EMSGSIZE ? -ENOMEM : rc;
	}
	rc = grow(update);
	if (rc < 0)
		return rc;
	update->drafts[update->count++] = draft;
	return 0;
}

void catalogue_add_bad(void *arg, const char *why)
{
	struct catalogue_update *update = arg;

	update->has_seen = update->has_bad = true;
	catalogue_leave_out(update->catalogue, update->namespace, update->service, "", why);
}

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

struct held *catalogue_pack(struct catalogue_update *update)
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

/* Nomad says that there are none: whether the list was wrong or a filter hides them, the name is
 * absent. */
static int commit_nothing(const struct catalogue_update *update, const struct zone_times *times)
{
	struct catalogue *catalogue = update->catalogue;
	struct service *gone =
		catalogue_find_service(catalogue, update->namespace, update->service);
	char key[CATALOGUE_KEY_MAX];
	size_t length = catalogue_key(update->namespace, update->service, key);
	int rc = gone ? catalogue_remove_service(catalogue, gone) : 0;

	catalogue_count(catalogue);
	return rc < 0 ? rc : catalogue_publish_absent(catalogue, key, length, 0, times);
}

int catalogue_replace(struct catalogue_update *update, struct service *service, bool *out_is_same)
{
	struct catalogue *catalogue = update->catalogue;
	struct held *held = catalogue_pack(update), *old = service->held;

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

/* Whether events count: else nothing is kept true by them, and replies may come from any server. */
static bool is_live(const struct catalogue *catalogue, const struct zone_times *times)
{
	const struct zone *zone = catalogue->zone;

	return times->fresh_until_ms == ZONE_LIVE ||
	       zone_live_end(zone, zone_term(zone)) == ZONE_LIVE;
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

/* ---- one change at a time ---- */

int catalogue_refill(struct catalogue_update *update, const struct held *held)
{
	const uint32_t *offsets = catalogue_tag_offsets(held);
	const char *text = catalogue_text(held);

	for (uint32_t i = 0; i < held->count; i++) {
		const struct held_instance *from = &held->at[i];
		struct draft draft = { .instance = *from, .sequence = i };
		int rc = grow(update);

		if (rc == 0 && from->host_at != CATALOGUE_NO_HOST)
			rc = put_host(update, text + from->host_at, &draft.instance);
		draft.instance.tags_at = (uint32_t)update->text.length;
		for (uint16_t t = 0; rc == 0 && t < from->tag_count; t++) {
			const char *tag = text + offsets[from->tags_at + t];

			rc = put_text(update, tag, strlen(tag));
		}
		if (rc < 0)
			return -ENOMEM;
		update->drafts[update->count++] = draft;
	}
	return 0;
}

bool catalogue_take_out(struct catalogue_update *update, const struct json_instance *instance)
{
	uint64_t id = identify(update->catalogue, instance);

	for (size_t i = 0; i < update->count; i++) {
		if (update->drafts[i].instance.id != id)
			continue;
		update->drafts[i] = update->drafts[--update->count];
		return true;
	}
	return false;
}

size_t catalogue_update_count(const struct catalogue_update *update)
{
	return update->count;
}
