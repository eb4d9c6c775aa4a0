/*
 * Collecting the instances of one service: each becomes a draft, in the order of the body, judged
 * by what DNS can make of its address and port. What cannot be used stays as a draft that is left
 * out, since it keeps the service in being. catalogue_update.c makes a block of them.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "dns/name.h"
#include "nomad/catalogue_parts.h"

#define INSTANCES_MAX 10000	   /* of one service; a body of 16 MiB could hold 100,000 */
#define TAGS_MAX 1000		   /* of one instance */
#define TEXT_MAX_BYTES (16u << 20) /* of one service: as much as its body may be */

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

void catalogue_know_names(struct catalogue_update *update)
{
	update->is_whole = true;
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
