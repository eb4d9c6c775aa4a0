/*
 * A hash map from byte strings to pointers, for the control plane (one thread, allocates). Keys are
 * copied; values belong to the caller. Keyed SipHash, open addressing, grows by doubling. The data
 * plane has its own structures.
 */
#pragma once

#include <stddef.h>

struct map;

struct map *map_new(void);	/* NULL: out of memory */
void map_free(struct map *map); /* the values are the caller's; NULL is fine */
size_t map_count(const struct map *map);

/* The value, or NULL. */
void *map_find(const struct map *map, const void *key, size_t key_length);

/* Sets or replaces. 0 or -ENOMEM. `value` must not be NULL. */
int map_put(struct map *map, const void *key, size_t key_length, void *value);

/* Removes and returns the value, or NULL if there was none. */
void *map_remove(struct map *map, const void *key, size_t key_length);

/*
 * Walks all entries in no order: start with cursor 0; returns the next value and moves the cursor,
 * NULL at the end. `out_key`/`out_length` may be NULL. The entry just returned may be removed
 * during the walk; nothing may be put.
 */
void *map_next(const struct map *map, size_t *cursor, const void **out_key, size_t *out_length);
