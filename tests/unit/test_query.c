#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>
#include <sys/mman.h>

#include "query/query.h"

#define SMALL_CAPACITY 4

static struct query some_query(uint16_t message_id)
{
	struct query query;

	memset(&query, 0, sizeof(query));
	query.question.id = message_id;
	query.client.source = QUERY_TCP;
	query.client.connection = 77;
	query.client.peer.bytes[3] = (uint8_t)message_id; /* each from another client */
	query.stage = QUERY_AT_FORWARD;
	return query;
}

static struct query *park(struct query_table *table, uint16_t message_id)
{
	struct query query = some_query(message_id);

	return query_park(table, &query);
}

static struct query_table *small_table(void)
{
	struct query_table *table = query_table_new(SMALL_CAPACITY);

	assert_non_null(table);
	return table;
}

static void a_table_without_places_is_refused(void **state)
{
	(void)state;
	assert_null(query_table_new(0));
	query_table_free(NULL);
}

static void a_parked_query_is_a_copy_with_an_id(void **state)
{
	struct query_table *table = small_table();
	struct query original = some_query(0x1234);
	struct query *parked = query_park(table, &original);

	(void)state;
	assert_non_null(parked);
	assert_ptr_not_equal(parked, &original);
	assert_true(parked->id != 0);
	assert_true(original.id == 0);
	assert_int_equal(parked->question.id, 0x1234);
	assert_int_equal(parked->client.connection, 77);
	assert_int_equal(parked->stage, QUERY_AT_FORWARD);
	assert_true(list_is_empty(&parked->by_cause));
	assert_int_equal(query_count(table), 1);
	query_table_free(table);
}

static void a_parked_query_is_found_by_its_id(void **state)
{
	struct query_table *table = small_table();
	struct query *first = park(table, 1), *second = park(table, 2);

	(void)state;
	assert_true(first->id != second->id);
	assert_ptr_equal(query_find(table, first->id), first);
	assert_ptr_equal(query_find(table, second->id), second);
	query_table_free(table);
}

static void unknown_ids_are_not_found(void **state)
{
	struct query_table *table = small_table();
	struct query *parked = park(table, 1);

	(void)state;
	assert_null(query_find(table, 0));
	assert_null(query_find(table, parked->id + 1));
	assert_null(query_find(table, parked->id + ((uint64_t)1 << 32)));
	assert_null(query_find(table, UINT64_MAX));
	query_table_free(table);
}

static void the_id_of_a_dropped_query_never_finds_its_successor(void **state)
{
	struct query_table *table = small_table();
	struct query *parked = park(table, 1);
	uint64_t old_id = parked->id;
	struct query *successor;

	(void)state;
	query_drop(table, parked);
	assert_null(query_find(table, old_id));
	successor = park(table, 2);
	assert_ptr_equal(successor, parked); /* the same place … */
	assert_true(successor->id != old_id);
	assert_null(query_find(table, old_id));
	query_table_free(table);
}

static void a_full_table_takes_no_more_until_one_leaves(void **state)
{
	struct query_table *table = small_table();
	struct query *parked[SMALL_CAPACITY];

	(void)state;
	for (uint16_t i = 0; i < SMALL_CAPACITY; i++) {
		parked[i] = park(table, i);
		assert_non_null(parked[i]);
	}
	assert_null(park(table, 9));
	assert_int_equal(query_count(table), SMALL_CAPACITY);
	query_drop(table, parked[2]);
	assert_int_equal(query_count(table), SMALL_CAPACITY - 1);
	assert_non_null(park(table, 9));
	assert_null(park(table, 10));
	query_table_free(table);
}

static struct query *park_from(struct query_table *table, uint8_t client)
{
	struct query query = some_query(client);

	return query_park(table, &query);
}

/* By the secret hash two clients may share a count: then another is another. */
static void one_client_has_half_of_the_places_and_another_still_gets_in(void **state)
{
	struct query_table *table = query_table_new(64);
	struct query *first = NULL, *parked;
	unsigned count = 0;

	(void)state;
	while ((parked = park_from(table, 1))) {
		first = first ? first : parked;
		count++;
	}
	assert_int_equal(count, 32);
	assert_true(park_from(table, 2) || park_from(table, 3) || park_from(table, 4));
	assert_null(park_from(table, 1));
	query_drop(table, first);
	assert_non_null(park_from(table, 1));
	query_table_free(table);
}

static void dropping_twice_is_dropping_once(void **state)
{
	struct query_table *table = small_table();
	struct query *parked = park(table, 1);

	(void)state;
	query_drop(table, parked);
	query_drop(table, parked);
	assert_int_equal(query_count(table), 0);
	assert_ptr_not_equal(park(table, 2), park(table, 3));
	query_table_free(table);
}

static void waiting_queries_are_walked_oldest_first(void **state)
{
	struct query_table *table = small_table();
	struct query *first = park(table, 1), *second = park(table, 2), *third;

	(void)state;
	query_drop(table, first);
	third = park(table, 3); /* in the first one's place, but younger than the second */
	assert_ptr_equal(query_oldest(table), second);
	assert_ptr_equal(query_next(table, second), third);
	assert_null(query_next(table, third));
	query_drop(table, second);
	query_drop(table, third);
	assert_null(query_oldest(table));
	query_table_free(table);
}

static void a_dropped_query_leaves_the_list_of_its_cause(void **state)
{
	struct query_table *table = small_table();
	struct query *parked = park(table, 1);
	struct list cause;

	(void)state;
	list_init(&cause);
	list_append(&cause, &parked->by_cause);
	query_drop(table, parked);
	assert_true(list_is_empty(&cause));
	query_table_free(table);
}

/* 64 million places are more memory than the test may have; only the touched ones may cost any. */
static void places_never_used_cost_no_memory(void **state)
{
	struct query_table *table = query_table_new(64u << 20);
	struct query *parked;

	(void)state;
	if (!table)
		skip(); /* an address space limit (ulimit -v) stands in the way */
	parked = park(table, 1);
	assert_non_null(parked);
	assert_ptr_equal(query_find(table, parked->id), parked);
	query_table_free(table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_table_without_places_is_refused),
		cmocka_unit_test(a_parked_query_is_a_copy_with_an_id),
		cmocka_unit_test(a_parked_query_is_found_by_its_id),
		cmocka_unit_test(unknown_ids_are_not_found),
		cmocka_unit_test(the_id_of_a_dropped_query_never_finds_its_successor),
		cmocka_unit_test(a_full_table_takes_no_more_until_one_leaves),
		cmocka_unit_test(one_client_has_half_of_the_places_and_another_still_gets_in),
		cmocka_unit_test(dropping_twice_is_dropping_once),
		cmocka_unit_test(waiting_queries_are_walked_oldest_first),
		cmocka_unit_test(a_dropped_query_leaves_the_list_of_its_cause),
		cmocka_unit_test(places_never_used_cost_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
