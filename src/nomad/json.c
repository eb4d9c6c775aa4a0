/*
 * Two readers over one body. The scanner walks the text strictly (RFC 8259) and only finds where
 * values end; cJSON then gets one element at a time, so that its memory is that of one
 * registration, never of the body. What cJSON is lax about (trailing garbage, control characters,
 * leading zeros, "\u0000" that cuts a string) the scanner has judged before.
 */
#include "nomad/json.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "nomad/json_scan.h"

#define INDEX_MAX 9007199254740992.0 /* 2^53: beyond it a double is no index any more */

struct reader {
	struct json_scan scan;
	void (*on_bad)(void *arg, const char *why);
	void *arg;
	const char **tags; /* grows to the largest element */
	size_t tag_capacity;
};

/* ---- from one element to a struct ---- */

static void say_bad(struct reader *reader, const char *why)
{
	if (reader->on_bad)
		reader->on_bad(reader->arg, why);
}

/*
 * cJSON would end a string at "\u0000", and "re\u0000dis" would be "re". A copy says \u0001
 * instead: that is in no label, address or key either, and stays visible as something else.
 */
static char *without_nul(struct json_slice slice)
{
	char *copy = malloc(slice.length);
	size_t at = 0;

	if (!copy)
		return NULL;
	memcpy(copy, slice.at, slice.length);
	while (at + 1 < slice.length) {
		bool is_escape = copy[at] == '\\';

		if (is_escape && slice.length - at >= 6 && memcmp(copy + at + 1, "u0000", 5) == 0)
			copy[at + 5] = '1';
		at += is_escape ? 2 : 1;
	}
	return copy;
}

static cJSON *parse(struct json_slice slice)
{
	const char *end = NULL;
	cJSON *item = cJSON_ParseWithLengthOpts(slice.at, slice.length, &end, 0);

	if (item && end == slice.at + slice.length)
		return item;
	cJSON_Delete(item);
	return NULL;
}

/* The slice as a cJSON tree. The scanner has found it well-formed, so NULL means out of memory. */
static cJSON *parse_slice(struct json_slice slice, bool has_nul)
{
	char *copy;
	cJSON *item;

	if (!has_nul)
		return parse(slice);
	copy = without_nul(slice);
	item = copy ? parse((struct json_slice){ copy, slice.length }) : NULL;
	free(copy);
	return item;
}

static const char *string_of(const cJSON *object, const char *key)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));

	return text ? text : "";
}

static uint64_t index_of(const cJSON *object, const char *key)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

	if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble <= INDEX_MAX))
		return 0;
	return (uint64_t)item->valuedouble;
}

/* The strings of `Tags` as an array, reused by the next element. Their number, or -ENOMEM. */
static int read_tags(struct reader *reader, const cJSON *object)
{
	const cJSON *tags = cJSON_GetObjectItemCaseSensitive(object, "Tags"), *tag;
	size_t count = 0;

	if (!cJSON_IsArray(tags))
		return 0;
	cJSON_ArrayForEach(tag, tags)
	{
		if (!cJSON_IsString(tag))
			continue;
		if (count == reader->tag_capacity) {
			size_t capacity = count ? 2 * count : 16;
			const char **grown = realloc(reader->tags, capacity * sizeof(*grown));

			if (!grown)
				return -ENOMEM;
			reader->tags = grown;
			reader->tag_capacity = capacity;
		}
		reader->tags[count++] = tag->valuestring;
	}
	return (int)count; /* a body of 16 MiB holds no 2^31 tags */
}

/* The fields of a registration, its tags left in the reader. 1, 0 when it is none (that was said),
 * or -ENOMEM. */
static int take_instance(struct reader *reader, const cJSON *object, struct json_instance *out)
{
	const cJSON *port = cJSON_GetObjectItemCaseSensitive(object, "Port");
	const cJSON *address = cJSON_GetObjectItemCaseSensitive(object, "Address");
	int tag_count;

	if (!cJSON_IsObject(object)) {
		say_bad(reader, "a registration that is no object");
		return 0;
	}
	if (!cJSON_IsString(address)) {
		say_bad(reader, "a registration without an Address");
		return 0;
	}
	tag_count = read_tags(reader, object);
	if (tag_count < 0)
		return tag_count;
	*out = (struct json_instance){
		.id = string_of(object, "ID"),
		.service = string_of(object, "ServiceName"),
		.namespace = string_of(object, "Namespace"),
		.node_id = string_of(object, "NodeID"),
		.datacenter = string_of(object, "Datacenter"),
		.job_id = string_of(object, "JobID"),
		.alloc_id = string_of(object, "AllocID"),
		.address = address->valuestring,
		.port = cJSON_IsNumber(port) ? port->valuedouble : (double)NAN,
		.tags = reader->tags,
		.tag_count = (size_t)tag_count,
		.create_index = index_of(object, "CreateIndex"),
		.modify_index = index_of(object, "ModifyIndex"),
	};
	return 1;
}

static int deliver_listed(struct reader *reader, const cJSON *object, const char *namespace,
			  json_on_listed *on_listed)
{
	const cJSON *service = cJSON_GetObjectItemCaseSensitive(object, "ServiceName");
	int tag_count;

	if (!cJSON_IsString(service)) {
		say_bad(reader, "a listed service without a ServiceName");
		return 0;
	}
	tag_count = read_tags(reader, object);
	if (tag_count < 0)
		return tag_count;
	return on_listed(reader->arg, &(struct json_listed){ .namespace = namespace,
							     .service = service->valuestring,
							     .tags = reader->tags,
							     .tag_count = (size_t)tag_count });
}

/* ---- walking arrays ---- */

typedef int on_element(struct reader *reader, struct json_slice element, void *context);

/* Calls `visit` for each element of the array the scan stands before. */
static int walk_array(struct reader *reader, struct json_scan *scan, on_element *visit,
		      void *context)
{
	int more, rc;

	json_scan_space(scan);
	if (!json_scan_take(scan, '['))
		return json_scan_refuse(scan, "an array was expected");
	json_scan_space(scan);
	if (json_scan_take(scan, ']'))
		return 0;
	do {
		struct json_slice element;

		json_scan_space(scan);
		element.at = scan->at;
		scan->has_nul = false;
		if (json_scan_value(scan, 1) < 0)
			return -EINVAL;
		element.length = (size_t)(scan->at - element.at);
		rc = visit(reader, element, context);
		if (rc != 0)
			return rc;
		more = json_scan_separator(scan, ']');
	} while (more > 0);
	return more;
}

static int visit_instance(struct reader *reader, struct json_slice element, void *context)
{
	json_on_instance **on_instance = context;
	struct json_instance instance;
	cJSON *object;
	int rc;

	object = parse_slice(element, reader->scan.has_nul);
	if (!object)
		return -ENOMEM;
	rc = take_instance(reader, object, &instance);
	if (rc > 0)
		rc = (*on_instance)(reader->arg, &instance);
	cJSON_Delete(object);
	return rc;
}

struct namespace_walk {
	struct json_scan *scan; /* of this namespace's Services */
	const char *namespace;
	json_on_listed *on_listed;
};

static int visit_listed(struct reader *reader, struct json_slice element, void *context)
{
	struct namespace_walk *walk = context;
	cJSON *object;
	int rc;

	object = parse_slice(element, walk->scan->has_nul);
	if (!object)
		return -ENOMEM;
	rc = deliver_listed(reader, object, walk->namespace, walk->on_listed);
	cJSON_Delete(object);
	return rc;
}

/* Finds the values of Namespace and Services in one (well-formed) element of the list; the first of
 * a key wins. false: one is missing. */
static bool find_members(struct json_slice element, struct json_slice *out_namespace,
			 struct json_slice *out_services, bool *out_has_nul)
{
	struct json_scan scan = { .at = element.at + 1, .end = element.at + element.length };
	struct json_slice key;

	out_namespace->at = out_services->at = NULL;
	do {
		struct json_slice value;
		struct json_slice *out = NULL;

		if (json_scan_key(&scan, &key) < 0)
			return false;
		value.at = scan.at;
		scan.has_nul = false;
		if (json_scan_value(&scan, 1) < 0)
			return false;
		value.length = (size_t)(scan.at - value.at);
		if (key.length == 9 && memcmp(key.at, "Namespace", 9) == 0)
			out = out_namespace;
		else if (key.length == 8 && memcmp(key.at, "Services", 8) == 0)
			out = out_services;
		if (out == out_namespace && out && !out->at)
			*out_has_nul = scan.has_nul;
		if (out && !out->at)
			*out = value;
	} while (json_scan_separator(&scan, '}') > 0);
	return out_namespace->at && *out_namespace->at == '"' && out_services->at &&
	       *out_services->at == '[';
}

static int visit_namespace(struct reader *reader, struct json_slice element, void *context)
{
	struct json_slice namespace, services;
	bool has_nul = false;
	struct json_scan scan;
	cJSON *name;
	int rc;

	if (*element.at != '{' || !find_members(element, &namespace, &services, &has_nul)) {
		say_bad(reader, "a listed namespace without a usable Namespace and Services");
		return 0;
	}
	name = parse_slice(namespace, has_nul);
	if (!name)
		return -ENOMEM;
	scan = (struct json_scan){ .at = services.at, .end = services.at + services.length };
	rc = walk_array(reader, &scan, visit_listed,
			&(struct namespace_walk){ .scan = &scan,
						  .namespace = name->valuestring,
						  .on_listed = *(json_on_listed **)context });
	cJSON_Delete(name);
	return rc;
}

static int read_body(struct reader *reader, const char *body, size_t length, on_element *visit,
		     void *context, char *why, size_t why_capacity)
{
	struct json_scan *scan = &reader->scan;
	int rc;

	*scan = (struct json_scan){ .begin = body, .at = body, .end = body + length };
	rc = walk_array(reader, scan, visit, context);
	if (rc == 0) {
		json_scan_space(scan);
		if (scan->at != scan->end)
			rc = json_scan_refuse(scan, "something follows the array");
	}
	if (rc == -EINVAL && scan->why && why_capacity > 0)
		snprintf(why, why_capacity, "%s at byte %zu of %zu", scan->why,
			 (size_t)(scan->at - scan->begin), length);
	free(reader->tags);
	return rc;
}

int json_read_service(const char *body, size_t length, json_on_instance *on_instance,
		      void (*on_bad)(void *arg, const char *why), void *arg, char *why,
		      size_t why_capacity)
{
	struct reader reader = { .on_bad = on_bad, .arg = arg };

	return read_body(&reader, length ? body : "", length, visit_instance, &on_instance, why,
			 why_capacity);
}

int json_read_services(const char *body, size_t length, json_on_listed *on_listed,
		       void (*on_bad)(void *arg, const char *why), void *arg, char *why,
		       size_t why_capacity)
{
	struct reader reader = { .on_bad = on_bad, .arg = arg };

	return read_body(&reader, length ? body : "", length, visit_namespace, &on_listed, why,
			 why_capacity);
}

/* ---- the event stream ---- */

struct frame {
	json_on_event *on_event;
	uint64_t index;
};

static int visit_event(struct reader *reader, struct json_slice element, void *context)
{
	struct frame *frame = context;
	struct json_event event = { .index = frame->index };
	struct json_slice index = json_scan_member(element, "Index");
	cJSON *object = parse_slice(element, reader->scan.has_nul);
	const cJSON *service;
	int rc = 0;

	if (!object)
		return -ENOMEM;
	if (!cJSON_IsObject(object) || !json_scan_index(index, &event.index)) {
		say_bad(reader, "an event without an Index");
		goto out;
	}
	event.topic = string_of(object, "Topic");
	event.type = string_of(object, "Type");
	event.key = string_of(object, "Key");
	event.namespace = string_of(object, "Namespace");
	service = cJSON_GetObjectItemCaseSensitive(
		cJSON_GetObjectItemCaseSensitive(object, "Payload"), "Service");
	if (cJSON_IsObject(service)) {
		rc = take_instance(reader, service, &event.service);
		event.has_service = rc == 1;
	}
	if (rc >= 0)
		rc = frame->on_event(reader->arg, &event);
out:
	cJSON_Delete(object);
	return rc;
}

int json_read_frame(const char *line, size_t length, json_on_event *on_event,
		    void (*on_bad)(void *arg, const char *why), void *arg, uint64_t *out_index,
		    char *why, size_t why_capacity)
{
	struct reader reader = { .on_bad = on_bad, .arg = arg };
	struct json_scan *scan = &reader.scan;
	struct frame frame = { .on_event = on_event };
	struct json_slice whole, events = { NULL, 0 }, index;
	uint64_t frame_index = 0;
	int rc;

	*scan = (struct json_scan){ .begin = line, .at = line, .end = line + length };
	json_scan_space(scan);
	whole.at = scan->at;
	rc = json_scan_value(scan, 0);
	whole.length = (size_t)(scan->at - whole.at);
	json_scan_space(scan);
	if (rc == 0 && (scan->at != scan->end || *whole.at != '{'))
		rc = json_scan_refuse(scan, "an object and nothing else was expected");
	if (rc == 0) {
		events = json_scan_member(whole, "Events");
		index = json_scan_member(whole, "Index");
		if (index.at && !json_scan_index(index, &frame_index))
			rc = json_scan_refuse(scan, "the Index is no index");
		else if (events.at && *events.at != '[' && *events.at != 'n')
			rc = json_scan_refuse(scan, "Events is no array");
	}
	if (rc < 0) {
		if (why_capacity > 0)
			snprintf(why, why_capacity, "%s at byte %zu of %zu", scan->why,
				 (size_t)(scan->at - scan->begin), length);
		return rc;
	}
	*out_index = frame.index = frame_index;
	if (events.at && *events.at == '[') {
		*scan = (struct json_scan){ .begin = line,
					    .at = events.at,
					    .end = events.at + events.length };
		rc = walk_array(&reader, scan, visit_event, &frame);
	}
	free(reader.tags);
	return rc;
}

uint64_t json_frame_index(const char *line, size_t length)
{
	uint64_t index = 0;
	struct json_slice value = { NULL, 0 };

	if (length > 0 && *line == '{')
		value = json_scan_member((struct json_slice){ line, length }, "Index");
	return value.at && json_scan_index(value, &index) ? index : 0;
}

const char *json_library_version(void)
{
	return cJSON_Version();
}
