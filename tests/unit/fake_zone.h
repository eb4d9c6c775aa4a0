/*
 * A zone that only remembers, as text, what it was told last of each name; for tests of its
 * writers. Include it in one file of a test: its definitions take the place of the real zone's.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "nomad/zone_writer.h"

#define FAKE_NAMES_MAX 256

struct fake_name {
	char key[200];	/* "redis.default", "default", "192.0.2.1" */
	char text[600]; /* "LOADED 192.0.2.1:80(v1,http) …" */
	struct zone_times times;
	unsigned term; /* the zone's, when the times were told */
};

struct zone {
	struct fake_name names[FAKE_NAMES_MAX];
	size_t count;
	unsigned publish_count, touch_count;
	enum zone_nomad nomad;
	uint64_t index;
	unsigned term, asked; /* what zone_take_asked says */
	uint64_t term_end[64], names_end;
	int fail; /* what publishing returns instead of 0 */
};

static struct zone fake_zone;

static inline struct fake_name *fake_find(const char *key)
{
	for (size_t i = 0; i < fake_zone.count; i++) {
		if (strcmp(fake_zone.names[i].key, key) == 0)
			return &fake_zone.names[i];
	}
	return NULL;
}

/* The text of a name; "" if the zone does not hold it. */
static inline const char *fake_text(const char *key)
{
	const struct fake_name *name = fake_find(key);

	return name ? name->text : "";
}

static inline struct fake_name *fake_put(const char *key, const struct zone_times *times)
{
	struct fake_name *name = fake_find(key);

	if (!name)
		name = &fake_zone.names[fake_zone.count++ % FAKE_NAMES_MAX];
	if (fake_zone.count > FAKE_NAMES_MAX)
		fake_zone.count = FAKE_NAMES_MAX;
	snprintf(name->key, sizeof(name->key), "%s", key);
	name->text[0] = '\0';
	if (times)
		name->times = *times;
	name->term = fake_zone.term;
	fake_zone.publish_count++;
	return name;
}

static inline void fake_append(struct fake_name *name, const char *text)
{
	size_t length = strlen(name->text);

	snprintf(name->text + length, sizeof(name->text) - length, "%s", text);
}

static inline void fake_key(char *out, size_t capacity, const char *namespace_label,
			    const char *service_label)
{
	snprintf(out, capacity, "%s%s%s", service_label ? service_label : "",
		 service_label ? "." : "", namespace_label);
}

static inline void fake_state(struct fake_name *name, enum zone_state state)
{
	switch (state) {
	case ZONE_ABSENT:
		fake_append(name, "ABSENT");
		break;
	case ZONE_LISTED:
		fake_append(name, "LISTED");
		break;
	case ZONE_LOADED:
		fake_append(name, "LOADED");
		break;
	case ZONE_DENIED:
		fake_append(name, "DENIED");
		break;
	}
}

static inline int fake_compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

int zone_publish_service(struct zone *zone, const char *namespace_label, const char *service_label,
			 enum zone_state state, const struct zone_times *times,
			 const struct zone_instance *instances, size_t instance_count)
{
	char key[200], texts[16][80];
	struct fake_name *name;

	if (zone->fail)
		return zone->fail;
	fake_key(key, sizeof(key), namespace_label, service_label);
	name = fake_put(key, times);
	fake_state(name, state);
	for (size_t i = 0; i < instance_count && i < 16; i++) {
		char addr[ADDR_TEXT_MAX] = "";
		size_t at;

		if (instances[i].addr.family)
			addr_format_ip(&instances[i].addr, addr);
		at = (size_t)snprintf(texts[i], sizeof(texts[i]), " %s:%u",
				      instances[i].addr.family ? addr : instances[i].host,
				      (unsigned)instances[i].port);
		for (size_t t = 0; t < instances[i].tag_count; t++)
			at += (size_t)snprintf(texts[i] + at, sizeof(texts[i]) - at, "%s%s%s",
					       t ? "," : "(", instances[i].tags[t],
					       t + 1 == instances[i].tag_count ? ")" : "");
	}
	qsort(texts, instance_count < 16 ? instance_count : 16, sizeof(texts[0]), fake_compare);
	for (size_t i = 0; i < instance_count && i < 16; i++)
		fake_append(name, texts[i]);
	return 0;
}

int zone_publish_namespace(struct zone *zone, const char *namespace_label, enum zone_state state,
			   const struct zone_times *times, const char *const *tags,
			   size_t tag_count)
{
	struct fake_name *name;

	if (zone->fail)
		return zone->fail;
	name = fake_put(namespace_label, times);
	fake_state(name, state);
	for (size_t i = 0; i < tag_count; i++) {
		fake_append(name, " ");
		fake_append(name, tags[i]);
	}
	return 0;
}

bool zone_touch_service(struct zone *zone, const char *namespace_label, const char *service_label,
			const struct zone_times *times)
{
	char key[200];
	struct fake_name *name;

	fake_key(key, sizeof(key), namespace_label, service_label);
	name = fake_find(key);
	if (!name)
		return false;
	name->times = *times;
	name->term = zone->term;
	zone->touch_count++;
	return true;
}

void zone_withdraw(struct zone *zone, const char *namespace_label, const char *service_label)
{
	char key[200];
	struct fake_name *name;

	fake_key(key, sizeof(key), namespace_label, service_label);
	name = fake_find(key);
	if (name)
		*name = zone->names[--zone->count];
}

int zone_publish_reverse(struct zone *zone, const struct addr *address, const char *const *names,
			 size_t name_count)
{
	char key[ADDR_TEXT_MAX];
	struct fake_name *name;

	addr_format_ip(address, key);
	name = fake_find(key);
	if (name_count == 0) {
		if (name)
			*name = zone->names[--zone->count];
		return 0;
	}
	name = fake_put(key, NULL);
	for (size_t i = 0; i < name_count; i++) {
		fake_append(name, i ? " " : "");
		fake_append(name, names[i]);
	}
	return 0;
}

void zone_set_nomad(struct zone *zone, enum zone_nomad state)
{
	zone->nomad = state;
}

void zone_set_index(struct zone *zone, uint64_t index)
{
	if (index > zone->index)
		zone->index = index;
}

unsigned zone_term(const struct zone *zone)
{
	return zone->term;
}

uint64_t zone_live_end(const struct zone *zone, unsigned term)
{
	return zone->term - term < 64 ? zone->term_end[term % 64] : 0;
}

uint64_t zone_names_end(const struct zone *zone)
{
	return zone->names_end;
}

void zone_set_live(struct zone *zone, enum zone_live live, uint64_t now_ms)
{
	uint64_t *end = &zone->term_end[zone->term % 64];

	if (live == ZONE_LIVE_NAMES)
		zone->names_end = ZONE_LIVE;
	else if (zone->names_end == ZONE_LIVE)
		zone->names_end = now_ms;
	if (live != ZONE_LIVE_NOT)
		*end = ZONE_LIVE;
	else if (*end == ZONE_LIVE)
		*end = now_ms;
}

void zone_expire_live(struct zone *zone, uint64_t now_ms)
{
	uint64_t *end = &zone->term_end[zone->term % 64];
	uint64_t next = *end == ZONE_LIVE ? ZONE_LIVE : 0;

	if (next)
		*end = now_ms;
	zone->term_end[++zone->term % 64] = next;
}

unsigned long zone_take_asked(struct zone *zone, const char *namespace_label,
			      const char *service_label)
{
	const struct fake_name *name;
	char key[200];

	fake_key(key, sizeof(key), namespace_label, service_label);
	name = fake_find(key);
	return name ? zone->asked : 0;
}
