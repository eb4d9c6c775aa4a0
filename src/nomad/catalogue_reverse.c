/*
 * Address → names, for PTR. Each name remembers the addresses it stands behind; an update compares
 * them with those of its instances now and tells the zone about the addresses that differ.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "nomad/catalogue_parts.h"

/* PTR records of one address. On host networks every service of a node shares its address; a reply
 * with more than this helps nobody. */
#define PTR_MAX 64

struct holder { /* one address */
	struct name **names;
	size_t count, capacity;
};

struct reverse {
	struct zone *zone;
	struct map *holders; /* family and bytes → struct holder */
};

struct reverse *reverse_new(struct zone *zone)
{
	struct reverse *reverse = calloc(1, sizeof(*reverse));

	if (!reverse)
		return NULL;
	reverse->zone = zone;
	reverse->holders = map_new();
	if (reverse->holders)
		return reverse;
	free(reverse);
	return NULL;
}

static void free_holder(struct holder *holder)
{
	free(holder->names);
	free(holder);
}

void reverse_free(struct reverse *reverse)
{
	struct holder *holder;
	size_t cursor = 0;

	if (!reverse)
		return;
	while ((holder = map_next(reverse->holders, &cursor, NULL, NULL)))
		free_holder(holder);
	map_free(reverse->holders);
	free(reverse);
}

/* ---- the key of an address ---- */

struct address_key {
	uint8_t family, bytes[16];
};

static struct address_key key_of(const struct addr *addr)
{
	struct address_key key = { .family = addr->family };

	memcpy(key.bytes, addr->bytes, sizeof(key.bytes));
	return key;
}

static int compare_addresses(const void *a, const void *b)
{
	const struct addr *x = a, *y = b;

	if (x->family != y->family)
		return x->family < y->family ? -1 : 1;
	return memcmp(x->bytes, y->bytes, sizeof(x->bytes));
}

/* ---- one address ---- */

static void publish(struct reverse *reverse, const struct addr *addr, const struct holder *holder)
{
	char text[PTR_MAX][2 * DNS_LABEL_MAX + 2];
	const char *names[PTR_MAX];
	size_t count = 0;

	for (; holder && count < holder->count && count < PTR_MAX; count++) {
		const struct name *name = holder->names[count];

		snprintf(text[count], sizeof(text[count]), "%s.%s", catalogue_name_service(name),
			 name->key);
		names[count] = text[count];
	}
	zone_publish_reverse(reverse->zone, addr, names, count);
}

static void add_holder(struct reverse *reverse, const struct addr *addr, struct name *name)
{
	struct address_key key = key_of(addr);
	struct holder *holder = map_find(reverse->holders, &key, sizeof(key));

	if (!holder) {
		holder = calloc(1, sizeof(*holder));
		if (!holder)
			return;
		if (map_put(reverse->holders, &key, sizeof(key), holder) < 0) {
			free(holder);
			return;
		}
	}
	if (holder->count == holder->capacity) {
		size_t capacity = holder->capacity ? 2 * holder->capacity : 2;
		struct name **names = realloc(holder->names, capacity * sizeof(struct name *));

		if (!names)
			return; /* one PTR less */
		holder->names = names;
		holder->capacity = capacity;
	}
	holder->names[holder->count++] = name;
	publish(reverse, addr, holder);
}

static void remove_holder(struct reverse *reverse, const struct addr *addr, const struct name *name)
{
	struct address_key key = key_of(addr);
	struct holder *holder = map_find(reverse->holders, &key, sizeof(key));

	for (size_t i = 0; holder && i < holder->count; i++) {
		if (holder->names[i] != name)
			continue;
		holder->names[i] = holder->names[--holder->count];
		break;
	}
	if (holder && holder->count == 0) {
		map_remove(reverse->holders, &key, sizeof(key));
		free_holder(holder);
		holder = NULL;
	}
	publish(reverse, addr, holder);
}

/* ---- one name ---- */

/* The distinct addresses of a name's instances, sorted. NULL: none, or out of memory. */
static struct addr *collect(const struct name *name, size_t *out_count)
{
	struct addr *all;
	size_t total = 0, count = 0, kept = 0;

	*out_count = 0;
	list_for_each (link, &name->services) {
		const struct held *held = list_entry(link, struct service, by_name)->held;

		total += held ? held->count : 0;
	}
	all = total ? calloc(total, sizeof(*all)) : NULL;
	if (!all)
		return NULL;
	list_for_each (link, &name->services) {
		const struct held *held = list_entry(link, struct service, by_name)->held;

		for (uint32_t i = 0; held && i < held->count; i++) {
			if (held->at[i].family == 0)
				continue;
			all[count].family = held->at[i].family;
			memcpy(all[count++].bytes, held->at[i].bytes, sizeof(all[0].bytes));
		}
	}
	qsort(all, count, sizeof(*all), compare_addresses);
	for (size_t i = 0; i < count; i++) {
		if (i == 0 || compare_addresses(&all[i], &all[i - 1]) != 0)
			all[kept++] = all[i];
	}
	*out_count = kept;
	return all;
}

/* Walks both sorted lists: what only the old one has goes, what only the new one has comes. */
static void replace(struct reverse *reverse, struct name *name, struct addr *now, size_t now_count)
{
	size_t i = 0, j = 0;

	while (i < name->address_count || j < now_count) {
		int order = i == name->address_count ? 1
			    : j == now_count	     ? -1
					     : compare_addresses(&name->addresses[i], &now[j]);

		if (order < 0)
			remove_holder(reverse, &name->addresses[i], name);
		else if (order > 0)
			add_holder(reverse, &now[j], name);
		i += order <= 0;
		j += order >= 0;
	}
	free(name->addresses);
	name->addresses = now;
	name->address_count = now_count;
}

void reverse_update(struct reverse *reverse, struct name *name)
{
	size_t count;
	struct addr *now = collect(name, &count);

	replace(reverse, name, now, count);
}

void reverse_drop(struct reverse *reverse, struct name *name)
{
	replace(reverse, name, NULL, 0);
}

void reverse_publish_again(struct reverse *reverse)
{
	const struct holder *holder;
	const void *key;
	size_t cursor = 0;

	while ((holder = map_next(reverse->holders, &cursor, &key, NULL))) {
		const struct address_key *from = key;
		struct addr addr = { .family = from->family };

		memcpy(addr.bytes, from->bytes, sizeof(addr.bytes));
		publish(reverse, &addr, holder);
	}
}
