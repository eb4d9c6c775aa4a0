#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/map.h"

#define MANY 5000

static int values[MANY];

static size_t write_key(char *out, size_t capacity, int i)
{
	return (size_t)snprintf(out, capacity, "key-%d", i);
}

static struct map *make_full_map(void)
{
	struct map *map = map_new();
	char key[32];

	assert_non_null(map);
	for (int i = 0; i < MANY; i++) {
		size_t length = write_key(key, sizeof(key), i);

		assert_int_equal(map_put(map, key, length, &values[i]), 0);
	}
	return map;
}

static void every_value_put_is_found(void **state)
{
	struct map *map = make_full_map();
	char key[32];

	(void)state;
	assert_int_equal(map_count(map), MANY);
	for (int i = 0; i < MANY; i++) {
		size_t length = write_key(key, sizeof(key), i);

		assert_ptr_equal(map_find(map, key, length), &values[i]);
	}
	assert_null(map_find(map, "key-x", 5));
	map_free(map);
}

static void put_replaces_the_value(void **state)
{
	struct map *map = map_new();

	(void)state;
	map_put(map, "a", 1, &values[0]);
	map_put(map, "a", 1, &values[1]);
	assert_int_equal(map_count(map), 1);
	assert_ptr_equal(map_find(map, "a", 1), &values[1]);
	map_free(map);
}

static void keys_are_copied_bytes(void **state)
{
	struct map *map = map_new();
	char key[] = { 'a', '\0', 'b' };

	(void)state;
	map_put(map, key, 3, &values[0]);
	map_put(map, "", 0, &values[1]);
	key[2] = 'c';
	assert_null(map_find(map, key, 3));
	assert_ptr_equal(map_find(map, "a\0b", 3), &values[0]);
	assert_null(map_find(map, "a", 1));
	assert_ptr_equal(map_find(map, "", 0), &values[1]);
	map_free(map);
}

static void removed_value_is_returned_once(void **state)
{
	struct map *map = map_new();

	(void)state;
	map_put(map, "a", 1, &values[0]);
	assert_ptr_equal(map_remove(map, "a", 1), &values[0]);
	assert_null(map_remove(map, "a", 1));
	assert_null(map_find(map, "a", 1));
	assert_int_equal(map_count(map), 0);
	map_free(map);
}

static void removal_does_not_hide_others(void **state)
{
	struct map *map = make_full_map();
	char key[32];

	(void)state;
	for (int i = 0; i < MANY; i += 2) {
		size_t length = write_key(key, sizeof(key), i);

		assert_ptr_equal(map_remove(map, key, length), &values[i]);
	}
	for (int i = 1; i < MANY; i += 2) {
		size_t length = write_key(key, sizeof(key), i);

		assert_ptr_equal(map_find(map, key, length), &values[i]);
	}
	assert_int_equal(map_count(map), MANY / 2);
	map_free(map);
}

/* Tombstones must be cleared, or a probe would never end. */
static void coming_and_going_does_not_fill_the_table(void **state)
{
	struct map *map = map_new();
	char key[32];

	(void)state;
	for (int i = 0; i < MANY; i++) {
		size_t length = write_key(key, sizeof(key), i);

		assert_int_equal(map_put(map, key, length, &values[i]), 0);
		assert_ptr_equal(map_remove(map, key, length), &values[i]);
		assert_null(map_find(map, "absent", 6));
	}
	assert_int_equal(map_count(map), 0);
	map_free(map);
}

static void walk_sees_each_entry_once(void **state)
{
	struct map *map = make_full_map();
	unsigned char seen[MANY] = { 0 };
	size_t cursor = 0, length;
	const void *key;
	int *value;

	(void)state;
	while ((value = map_next(map, &cursor, &key, &length)) != NULL) {
		assert_ptr_equal(map_find(map, key, length), value);
		seen[value - values]++;
	}
	for (int i = 0; i < MANY; i++)
		assert_int_equal(seen[i], 1);
	map_free(map);
}

static void entry_just_seen_may_be_removed(void **state)
{
	struct map *map = make_full_map();
	size_t cursor = 0, length, count = 0;
	const void *key;

	(void)state;
	while (map_next(map, &cursor, &key, &length) != NULL) {
		char copy[32];

		memcpy(copy, key, length);
		assert_non_null(map_remove(map, copy, length));
		count++;
	}
	assert_int_equal(count, MANY);
	assert_int_equal(map_count(map), 0);
	map_free(map);
}

static void walk_needs_no_key(void **state)
{
	struct map *map = map_new();
	size_t cursor = 0;

	(void)state;
	assert_null(map_next(map, &cursor, NULL, NULL));
	map_put(map, "a", 1, &values[0]);
	cursor = 0;
	assert_ptr_equal(map_next(map, &cursor, NULL, NULL), &values[0]);
	assert_null(map_next(map, &cursor, NULL, NULL));
	map_free(map);
	map_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_value_put_is_found),
		cmocka_unit_test(put_replaces_the_value),
		cmocka_unit_test(keys_are_copied_bytes),
		cmocka_unit_test(removed_value_is_returned_once),
		cmocka_unit_test(removal_does_not_hide_others),
		cmocka_unit_test(coming_and_going_does_not_fill_the_table),
		cmocka_unit_test(walk_sees_each_entry_once),
		cmocka_unit_test(entry_just_seen_may_be_removed),
		cmocka_unit_test(walk_needs_no_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
