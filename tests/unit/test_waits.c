#include "unit/support.h"

#include "nomad/waits.h"

static struct waits *waits;

static int set_up(void **state)
{
	(void)state;
	waits = waits_new();
	return waits ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	waits_free(waits);
	return 0;
}

static struct need need_of(enum need_kind kind, const char *namespace, const char *service)
{
	struct need need = { .kind = (uint8_t)kind };

	need.namespace_length = (uint8_t)strlen(namespace);
	need.service_length = (uint8_t)strlen(service);
	memcpy(need.namespace_label, namespace, need.namespace_length);
	memcpy(need.service_label, service, need.service_length);
	return need;
}

static bool add(const struct need *need, struct query *query)
{
	bool is_new = false;

	list_init(&query->by_cause);
	assert_int_equal(waits_add(waits, need, query, 1000, &is_new), 0);
	return is_new;
}

static unsigned take(const struct need *need)
{
	struct list waiting;
	unsigned count = 0;

	waits_take(waits, need, &waiting);
	while (list_pop(&waiting))
		count++;
	return count;
}

static void only_the_first_query_sends_the_need(void **state)
{
	struct need need = need_of(NEED_SERVICE, "default", "redis");
	struct query queries[3];

	(void)state;
	assert_true(add(&need, &queries[0]));
	assert_false(add(&need, &queries[1]));
	assert_false(add(&need, &queries[2]));
	assert_int_equal(take(&need), 3);
}

static void a_word_wakes_only_its_own_need(void **state)
{
	const struct need needs[] = {
		need_of(NEED_SERVICE, "default", "redis"),
		need_of(NEED_SERVICE, "default", "red"),
		need_of(NEED_SERVICE, "redis", "default"),
		need_of(NEED_NAMESPACE, "default", ""),
		need_of(NEED_SERVICE, "defaultr", "edis"),
		need_of(NEED_REFRESH, "default", "redis"),
	};
	struct query queries[COUNT_OF(needs)];

	(void)state;
	for (size_t i = 0; i < COUNT_OF(needs); i++)
		assert_true(add(&needs[i], &queries[i]));
	for (size_t i = 0; i < COUNT_OF(needs); i++) {
		assert_int_equal(take(&needs[i]), 1);
		assert_int_equal(take(&needs[i]), 0);
	}
}

static void after_its_word_a_need_is_new_again(void **state)
{
	struct need need = need_of(NEED_SERVICE, "default", "redis");
	struct query query;

	(void)state;
	assert_true(add(&need, &query));
	assert_int_equal(take(&need), 1);
	assert_true(add(&need, &query));
	assert_int_equal(take(&need), 1);
}

static void they_are_woken_in_the_order_they_came(void **state)
{
	struct need need = need_of(NEED_SERVICE, "default", "redis");
	struct query queries[3];
	struct list waiting;

	(void)state;
	for (int i = 0; i < 3; i++)
		add(&need, &queries[i]);
	waits_take(waits, &need, &waiting);
	for (int i = 0; i < 3; i++)
		assert_ptr_equal(list_pop(&waiting), &queries[i].by_cause);
}

static void a_query_may_vanish_while_it_waits(void **state)
{
	struct need need = need_of(NEED_SERVICE, "default", "redis");
	struct query gone, stays;

	(void)state;
	add(&need, &gone);
	add(&need, &stays);
	list_remove(&gone.by_cause);
	assert_int_equal(take(&need), 1);
}

static void the_need_stays_under_way_when_all_have_vanished(void **state)
{
	struct need need = need_of(NEED_SERVICE, "default", "redis");
	struct query gone, later;

	(void)state;
	add(&need, &gone);
	list_remove(&gone.by_cause);
	assert_false(add(&need, &later));
	assert_int_equal(take(&need), 1);
}

static void a_query_may_vanish_between_taking_and_waking(void **state)
{
	struct need need = need_of(NEED_SERVICE, "default", "redis");
	struct query first, second;
	struct list waiting;

	(void)state;
	add(&need, &first);
	add(&need, &second);
	waits_take(waits, &need, &waiting);
	assert_ptr_equal(list_pop(&waiting), &first.by_cause);
	list_remove(&second.by_cause);
	assert_null(list_pop(&waiting));
}

static void what_was_not_sent_is_undone(void **state)
{
	struct need need = need_of(NEED_SERVICE, "default", "redis");
	struct query query;

	(void)state;
	add(&need, &query);
	waits_undo(waits, &need);
	assert_true(list_is_empty(&query.by_cause));
	assert_int_equal(take(&need), 0);
	assert_true(add(&need, &query));
	waits_undo(waits, &need);
	waits_undo(waits, &need); /* nothing there any more */
}

static void freeing_lets_the_queries_go(void **state)
{
	struct need need = need_of(NEED_SERVICE, "default", "redis");
	struct query queries[2];

	(void)state;
	add(&need, &queries[0]);
	add(&need, &queries[1]);
	waits_free(waits);
	waits = NULL;
	assert_true(list_is_empty(&queries[0].by_cause));
	assert_true(list_is_empty(&queries[1].by_cause));
}

static void thousands_of_needs_are_told_apart(void **state)
{
	enum { COUNT = 5000 };
	static struct query queries[COUNT];
	char service[16];

	(void)state;
	for (int i = 0; i < COUNT; i++) {
		struct need need;

		snprintf(service, sizeof(service), "s%d", i);
		need = need_of(NEED_SERVICE, "default", service);
		assert_true(add(&need, &queries[i]));
	}
	for (int i = COUNT - 1; i >= 0; i--) {
		struct need need;
		struct list waiting;

		snprintf(service, sizeof(service), "s%d", i);
		need = need_of(NEED_SERVICE, "default", service);
		waits_take(waits, &need, &waiting);
		assert_ptr_equal(list_pop(&waiting), &queries[i].by_cause);
		assert_null(list_pop(&waiting));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(only_the_first_query_sends_the_need, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_word_wakes_only_its_own_need, set_up, tear_down),
		cmocka_unit_test_setup_teardown(after_its_word_a_need_is_new_again, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(they_are_woken_in_the_order_they_came, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_query_may_vanish_while_it_waits, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(the_need_stays_under_way_when_all_have_vanished,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_query_may_vanish_between_taking_and_waking,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_was_not_sent_is_undone, set_up, tear_down),
		cmocka_unit_test_setup_teardown(freeing_lets_the_queries_go, set_up, tear_down),
		cmocka_unit_test_setup_teardown(thousands_of_needs_are_told_apart, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
