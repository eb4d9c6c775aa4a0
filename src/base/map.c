/*
 * Linear probing over a power of two of slots. A removed slot becomes a tombstone, so that a walk
 * may remove what it just saw; tombstones go when the table is rebuilt.
 */
#include "base/map.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

#define MAP_SLOTS_MIN 16

struct slot {
	uint64_t hash;
	char *key; /* owned; NULL: never used; TOMBSTONE: removed */
	size_t key_length;
	void *value;
};

struct map {
	struct hash_key hash_key;
	struct slot *slots;
	size_t slot_count;
	size_t count; /* live entries */
	size_t used;  /* live entries and tombstones */
};

static char tombstone;
#define TOMBSTONE (&tombstone)

static bool is_live(const struct slot *slot)
{
	return slot->key != NULL && slot->key != TOMBSTONE;
}

struct map *map_new(void)
{
	struct map *map = calloc(1, sizeof(*map));

	if (map == NULL)
		return NULL;
	map->slots = calloc(MAP_SLOTS_MIN, sizeof(*map->slots));
	if (map->slots == NULL) {
		free(map);
		return NULL;
	}
	map->slot_count = MAP_SLOTS_MIN;
	hash_random(&map->hash_key, sizeof(map->hash_key));
	return map;
}

void map_free(struct map *map)
{
	if (map == NULL)
		return;
	for (size_t i = 0; i < map->slot_count; i++) {
		if (is_live(&map->slots[i]))
			free(map->slots[i].key);
	}
	free(map->slots);
	free(map);
}

size_t map_count(const struct map *map)
{
	return map->count;
}

static struct slot *find_slot(const struct map *map, uint64_t hash, const void *key,
			      size_t key_length)
{
	size_t mask = map->slot_count - 1;

	for (size_t i = hash & mask;; i = (i + 1) & mask) {
		struct slot *slot = &map->slots[i];

		if (slot->key == NULL)
			return NULL;
		if (slot->key != TOMBSTONE && slot->hash == hash &&
		    slot->key_length == key_length && memcmp(slot->key, key, key_length) == 0)
			return slot;
	}
}

static struct slot *find_free_slot(struct slot *slots, size_t slot_count, uint64_t hash)
{
	size_t i = hash & (slot_count - 1);

	while (is_live(&slots[i]))
		i = (i + 1) & (slot_count - 1);
	return &slots[i];
}

/* Keeps at least a quarter of the slots never used, so that every probe ends. */
static int make_room(struct map *map)
{
	size_t slot_count = map->slot_count;
	struct slot *slots;

	if (map->used + 1 <= map->slot_count / 4 * 3)
		return 0;
	if (map->count + 1 > map->slot_count / 2)
		slot_count *= 2;
	slots = calloc(slot_count, sizeof(*slots));
	if (slots == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < map->slot_count; i++) {
		if (is_live(&map->slots[i]))
			*find_free_slot(slots, slot_count, map->slots[i].hash) = map->slots[i];
	}
	free(map->slots);
	map->slots = slots;
	map->slot_count = slot_count;
	map->used = map->count;
	return 0;
}

void *map_find(const struct map *map, const void *key, size_t key_length)
{
	uint64_t hash = hash_bytes(&map->hash_key, key, key_length);
	const struct slot *slot = find_slot(map, hash, key, key_length);

	return slot == NULL ? NULL : slot->value;
}

int map_put(struct map *map, const void *key, size_t key_length, void *value)
{
	uint64_t hash = hash_bytes(&map->hash_key, key, key_length);
	struct slot *slot = find_slot(map, hash, key, key_length);
	char *copy;

	if (slot != NULL) {
		slot->value = value;
		return 0;
	}
	if (make_room(map) < 0)
		return -ENOMEM;
	copy = malloc(key_length + 1);
	if (copy == NULL)
		return -ENOMEM;
	if (key_length > 0)
		memcpy(copy, key, key_length);
	copy[key_length] = '\0';

	slot = find_free_slot(map->slots, map->slot_count, hash);
	if (slot->key == NULL)
		map->used++;
	*slot = (struct slot){
		.hash = hash, .key = copy, .key_length = key_length, .value = value
	};
	map->count++;
	return 0;
}

void *map_remove(struct map *map, const void *key, size_t key_length)
{
	uint64_t hash = hash_bytes(&map->hash_key, key, key_length);
	struct slot *slot = find_slot(map, hash, key, key_length);
	void *value;

	if (slot == NULL)
		return NULL;
	value = slot->value;
	free(slot->key);
	*slot = (struct slot){ .key = TOMBSTONE };
	map->count--;
	return value;
}

void *map_next(const struct map *map, size_t *cursor, const void **out_key, size_t *out_length)
{
	while (*cursor < map->slot_count) {
		const struct slot *slot = &map->slots[(*cursor)++];

		if (!is_live(slot))
			continue;
		if (out_key != NULL)
			*out_key = slot->key;
		if (out_length != NULL)
			*out_length = slot->key_length;
		return slot->value;
	}
	return NULL;
}
