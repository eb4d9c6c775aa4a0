#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache/cache.h"
#include "dns/name.h"

#define LIMIT (1u << 20)
#define SMALL_LIMIT (32u << 10)

struct name {
	uint8_t wire[DNS_NAME_MAX];
	uint8_t length;
};

static struct name named(const char *text)
{
	struct name name;
	int length = name_parse(text, name.wire);

	assert_true(length > 0);
	name.length = (uint8_t)length;
	return name;
}

static struct cache_key key_of(const struct name *name, uint16_t type, uint8_t flags)
{
	return (struct cache_key){
		.name = name->wire,
		.name_length = name->length,
		.type = type,
		.qclass = DNS_CLASS_IN,
		.flags = flags,
	};
}

/* An image without records that is told apart by its rcode and takes `bytes` of memory. */
static struct image *image_of(uint16_t mark, uint32_t bytes)
{
	struct image *image = calloc(1, image_size(0, bytes));

	assert_non_null(image);
	image->rcode = mark;
	image->byte_count = bytes;
	return image;
}

static int put(struct cache *cache, const char *text, uint16_t mark, uint32_t ttl_s,
	       uint64_t now_ms)
{
	struct name name = named(text);
	struct cache_key key = key_of(&name, DNS_TYPE_A, 0);
	struct image *image = image_of(mark, 100);
	int result = cache_put(cache, &key, image, ttl_s, false, now_ms);

	if (result)
		free(image);
	return result;
}

static const struct cache_entry *find(struct cache *cache, const char *text, uint64_t now_ms)
{
	struct name name = named(text);
	struct cache_key key = key_of(&name, DNS_TYPE_A, 0);

	return cache_find(cache, &key, now_ms, 0);
}

static void what_was_put_is_found(void **state)
{
	struct cache *cache = cache_new(LIMIT);
	const struct cache_entry *entry;

	(void)state;
	assert_int_equal(put(cache, "a.example", 7, 10, 1000), 0);
	entry = find(cache, "a.example", 5000);
	assert_non_null(entry);
	assert_int_equal(entry->image->rcode, 7);
	assert_int_equal(entry->stored_ms, 1000);
	assert_int_equal(entry->expires_ms, 11000);
	assert_null(find(cache, "b.example", 5000));
	cache_free(cache);
}

static void expired_entry_is_a_miss(void **state)
{
	struct cache *cache = cache_new(LIMIT);

	(void)state;
	put(cache, "a.example", 7, 10, 1000);
	assert_non_null(find(cache, "a.example", 10999));
	assert_null(find(cache, "a.example", 11000));
	cache_free(cache);
}

static void stale_entry_is_found_when_accepted(void **state)
{
	struct cache *cache = cache_new(LIMIT);
	struct name name = named("a.example");
	struct cache_key key = key_of(&name, DNS_TYPE_A, 0);

	(void)state;
	put(cache, "a.example", 7, 10, 0);
	assert_null(cache_find(cache, &key, 12000, 0));
	assert_non_null(cache_find(cache, &key, 12000, 5000));
	assert_null(cache_find(cache, &key, 15000, 5000));
	cache_free(cache);
}

static void answers_differ_by_type_class_and_flags(void **state)
{
	struct cache *cache = cache_new(LIMIT);
	struct name name = named("a.example");
	struct cache_key key = key_of(&name, DNS_TYPE_A, CACHE_DO);

	(void)state;
	cache_put(cache, &key, image_of(1, 0), 10, false, 0);
	assert_non_null(cache_find(cache, &key, 0, 0));
	key.flags = CACHE_CD;
	assert_null(cache_find(cache, &key, 0, 0));
	key.flags = CACHE_DO;
	key.type = DNS_TYPE_AAAA;
	assert_null(cache_find(cache, &key, 0, 0));
	key.type = DNS_TYPE_A;
	key.qclass = DNS_CLASS_CH;
	assert_null(cache_find(cache, &key, 0, 0));
	cache_free(cache);
}

static void newer_answer_replaces_the_older(void **state)
{
	struct cache *cache = cache_new(LIMIT);

	(void)state;
	put(cache, "a.example", 1, 10, 0);
	put(cache, "a.example", 2, 10, 500);
	assert_int_equal(find(cache, "a.example", 600)->image->rcode, 2);
	assert_int_equal(cache_take_counts(cache).entries_success, 1);
	cache_free(cache);
}

static void memory_stays_within_the_limit(void **state)
{
	struct cache *cache = cache_new(SMALL_LIMIT);
	struct cache_counts counts;
	char text[32];

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(text, sizeof(text), "n%u.example", i);
		assert_int_equal(put(cache, text, 1, 100, 0), 0);
		assert_true(cache_take_counts(cache).bytes <= SMALL_LIMIT);
	}
	counts = cache_take_counts(cache);
	assert_true(counts.entries_success > 20);
	assert_true(counts.entries_success < 1000);
	assert_non_null(find(cache, "n999.example", 0));
	assert_null(find(cache, "n0.example", 0));
	cache_free(cache);
}

static void evictions_are_counted_once(void **state)
{
	struct cache *cache = cache_new(SMALL_LIMIT);
	struct cache_counts counts;
	uint64_t evictions = 0;
	char text[32];

	(void)state;
	for (unsigned i = 0; i < 500; i++) {
		snprintf(text, sizeof(text), "n%u.example", i);
		put(cache, text, 1, 100, 0);
		counts = cache_take_counts(cache);
		evictions += counts.evictions;
	}
	assert_int_equal(evictions + counts.entries_success, 500);
	cache_free(cache);
}

static void scan_of_random_names_leaves_the_hot_ones(void **state)
{
	struct cache *cache = cache_new(SMALL_LIMIT);
	char text[32];

	(void)state;
	for (unsigned i = 0; i < 10; i++) {
		snprintf(text, sizeof(text), "hot%u.example", i);
		put(cache, text, 1, 1000, 0);
		assert_non_null(find(cache, text, 0));
	}
	for (unsigned i = 0; i < 5000; i++) {
		snprintf(text, sizeof(text), "n%u.example", i);
		put(cache, text, 1, 1000, 0);
	}
	for (unsigned i = 0; i < 10; i++) {
		snprintf(text, sizeof(text), "hot%u.example", i);
		assert_non_null(find(cache, text, 0));
	}
	cache_free(cache);
}

static void hot_name_stays_hot_when_refreshed(void **state)
{
	struct cache *cache = cache_new(SMALL_LIMIT);
	char text[32];

	(void)state;
	put(cache, "hot.example", 1, 1, 0);
	assert_non_null(find(cache, "hot.example", 0));
	put(cache, "hot.example", 2, 1000, 2000);
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(text, sizeof(text), "n%u.example", i);
		put(cache, text, 1, 1000, 2000);
	}
	assert_non_null(find(cache, "hot.example", 2000));
	cache_free(cache);
}

static void names_once_hot_make_room_in_the_end(void **state)
{
	struct cache *cache = cache_new(SMALL_LIMIT);
	char text[32];

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(text, sizeof(text), "n%u.example", i);
		assert_int_equal(put(cache, text, 1, 1000, 0), 0);
		assert_non_null(find(cache, text, 0));
		assert_non_null(find(cache, text, 0));
		assert_true(cache_take_counts(cache).bytes <= SMALL_LIMIT);
	}
	assert_null(find(cache, "n0.example", 0));
	assert_non_null(find(cache, "n999.example", 0));
	cache_free(cache);
}

static void entry_too_large_is_refused_and_stays_the_callers(void **state)
{
	struct cache *cache = cache_new(SMALL_LIMIT);
	struct name name = named("a.example");
	struct cache_key key = key_of(&name, DNS_TYPE_A, 0);
	struct image *image = image_of(1, SMALL_LIMIT / 2);

	(void)state;
	assert_int_equal(cache_put(cache, &key, image, 10, false, 0), -EFBIG);
	assert_int_equal(image->rcode, 1);
	free(image);
	cache_free(cache);
}

static void cache_of_0_bytes_holds_nothing(void **state)
{
	struct cache *cache = cache_new(0);

	(void)state;
	assert_int_equal(put(cache, "a.example", 1, 10, 0), -EFBIG);
	assert_null(find(cache, "a.example", 0));
	assert_int_equal(cache_take_counts(cache).bytes, 0);
	cache_free(cache);
}

static void flush_forgets_every_type_of_a_name(void **state)
{
	struct cache *cache = cache_new(LIMIT);
	struct name name = named("a.example");
	struct cache_key key = key_of(&name, DNS_TYPE_AAAA, CACHE_DO);

	(void)state;
	put(cache, "a.example", 1, 10, 0);
	put(cache, "b.a.example", 1, 10, 0);
	cache_put(cache, &key, image_of(1, 0), 10, false, 0);
	assert_int_equal(cache_flush(cache, name.wire, name.length, false), 2);
	assert_null(find(cache, "a.example", 0));
	assert_non_null(find(cache, "b.a.example", 0));
	cache_free(cache);
}

static void flush_below_forgets_the_subtree(void **state)
{
	struct cache *cache = cache_new(LIMIT);
	struct name name = named("a.example");

	(void)state;
	put(cache, "a.example", 1, 10, 0);
	put(cache, "b.a.example", 1, 10, 0);
	put(cache, "xa.example", 1, 10, 0);
	assert_int_equal(cache_flush(cache, name.wire, name.length, true), 2);
	assert_null(find(cache, "b.a.example", 0));
	assert_non_null(find(cache, "xa.example", 0));
	cache_free(cache);
}

static void counts_tell_denials_from_successes(void **state)
{
	struct cache *cache = cache_new(LIMIT);
	struct name name = named("none.example");
	struct cache_key key = key_of(&name, DNS_TYPE_A, 0);
	struct cache_counts counts;
	size_t empty_bytes = cache_take_counts(cache).bytes;

	(void)state;
	put(cache, "a.example", 1, 10, 0);
	put(cache, "b.example", 1, 10, 0);
	cache_put(cache, &key, image_of(3, 0), 10, true, 0);
	counts = cache_take_counts(cache);
	assert_int_equal(counts.entries_success, 2);
	assert_int_equal(counts.entries_denial, 1);
	cache_flush(cache, (const uint8_t *)"", 1, true);
	counts = cache_take_counts(cache);
	assert_int_equal(counts.entries_success + counts.entries_denial, 0);
	assert_int_equal(counts.bytes, empty_bytes);
	cache_free(cache);
}

static void peeking_is_no_question(void **state)
{
	struct cache *cache = cache_new(LIMIT);
	struct name name = named("www.example");
	struct cache_key key = key_of(&name, DNS_TYPE_A, 0);

	(void)state;
	assert_null(cache_peek(cache, &key));
	assert_int_equal(put(cache, "www.example", 1, 1, 0), 0);
	assert_int_equal(cache_peek(cache, &key)->hit_count, 0);
	assert_int_equal(cache_find(cache, &key, 0, 0)->hit_count, 1);
	assert_int_equal(cache_find(cache, &key, 1500, 1000)->hit_count, 2);
	assert_int_equal(cache_peek(cache, &key)->hit_count, 2);
	cache_free(cache);
}

#define HOT_NAMES 1000
#define COLD_NAMES 1000000
#define COLD_PER_HOT 10 /* questions of the flood between two honest ones */
#define HOT_TTL_S 60

/* Asks for a hot name, fetching it if it is not there. Whether it was there. */
static bool ask_hot(struct cache *cache, unsigned number, uint64_t now_ms)
{
	char text[64];
	struct name name;
	struct cache_key key;

	snprintf(text, sizeof(text), "hot-%u.example", number);
	name = named(text);
	key = key_of(&name, DNS_TYPE_A, 0);
	if (cache_find(cache, &key, now_ms, 0))
		return true;
	assert_int_equal(put(cache, text, 1, HOT_TTL_S, now_ms), 0);
	return false;
}

/* Hits in 1,000 of the questions for hot names, with or without a million names asked for once. */
static double hot_hits(bool with_flood, bool is_warm)
{
	struct cache *cache = cache_new(LIMIT);
	unsigned hits = 0, asked = 0;
	char text[64];

	assert_non_null(cache);
	for (unsigned i = 0; is_warm && i < 2 * HOT_NAMES;
	     i++) /* fetched, then asked for once more: hot */
		(void)ask_hot(cache, i % HOT_NAMES, 0);
	for (unsigned i = 0; i < COLD_NAMES; i++) {
		uint64_t now_ms = i;

		if (i % COLD_PER_HOT == 0) {
			hits += ask_hot(cache, asked % HOT_NAMES, now_ms);
			asked++;
		}
		if (!with_flood)
			continue;
		snprintf(text, sizeof(text), "%08x.flood.example", i * 2654435761u);
		assert_int_equal(put(cache, text, 2, 3600, now_ms), 0);
		if (i % 4096 == 0)
			assert_true(cache_take_counts(cache).bytes <= LIMIT);
	}
	assert_true(cache_take_counts(cache).bytes <= LIMIT);
	cache_free(cache);
	return 1000.0 * hits / asked;
}

static void a_million_names_asked_for_once_leave_the_hot_ones_alone(void **state)
{
	double quiet = hot_hits(false, true), flooded = hot_hits(true, true);

	(void)state;
	print_message("hot hits per 1,000: %.1f without the flood, %.1f with it\n", quiet, flooded);
	assert_true(quiet > 500);
	assert_true(flooded > quiet - 10);
}

/* A hot name returns long after the flood has washed it out of so small a cache. */
static void a_name_becomes_hot_in_the_middle_of_a_flood(void **state)
{
	double quiet = hot_hits(false, false), flooded = hot_hits(true, false);

	(void)state;
	print_message("from nothing: %.1f without the flood, %.1f with it\n", quiet, flooded);
	assert_true(flooded > quiet - 100);
}

static void a_name_that_had_to_go_is_shielded_when_it_returns(void **state)
{
	struct cache *cache = cache_new(SMALL_LIMIT);
	struct name name = named("www.example");
	struct cache_key key = key_of(&name, DNS_TYPE_A, 0);
	char text[64];

	(void)state;
	assert_int_equal(put(cache, "www.example", 1, 60, 0), 0);
	for (unsigned i = 0; cache_take_counts(cache).evictions == 0; i++) {
		snprintf(text, sizeof(text), "cold-%u.example", i);
		assert_int_equal(put(cache, text, 2, 60, 0), 0);
	}
	assert_int_equal(put(cache, "www.example", 1, 60, 0), 0);
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(text, sizeof(text), "colder-%u.example", i);
		assert_int_equal(put(cache, text, 2, 60, 0), 0);
	}
	assert_non_null(cache_find(cache, &key, 0, 0));
	cache_free(cache);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_put_is_found),
		cmocka_unit_test(expired_entry_is_a_miss),
		cmocka_unit_test(stale_entry_is_found_when_accepted),
		cmocka_unit_test(peeking_is_no_question),
		cmocka_unit_test(a_million_names_asked_for_once_leave_the_hot_ones_alone),
		cmocka_unit_test(a_name_becomes_hot_in_the_middle_of_a_flood),
		cmocka_unit_test(a_name_that_had_to_go_is_shielded_when_it_returns),
		cmocka_unit_test(answers_differ_by_type_class_and_flags),
		cmocka_unit_test(newer_answer_replaces_the_older),
		cmocka_unit_test(memory_stays_within_the_limit),
		cmocka_unit_test(evictions_are_counted_once),
		cmocka_unit_test(scan_of_random_names_leaves_the_hot_ones),
		cmocka_unit_test(hot_name_stays_hot_when_refreshed),
		cmocka_unit_test(names_once_hot_make_room_in_the_end),
		cmocka_unit_test(entry_too_large_is_refused_and_stays_the_callers),
		cmocka_unit_test(cache_of_0_bytes_holds_nothing),
		cmocka_unit_test(flush_forgets_every_type_of_a_name),
		cmocka_unit_test(flush_below_forgets_the_subtree),
		cmocka_unit_test(counts_tell_denials_from_successes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
