#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "forward/turns.h"

static struct turns turns;

static int start(void **state)
{
	(void)state;
	turns_init(&turns, 1);
	return 0;
}

static struct addr peer_of(unsigned number)
{
	return (struct addr){ .family = AF_INET,
			      .bytes = { 127, 0, (uint8_t)(number >> 8), (uint8_t)number } };
}

static void begin_many(struct turn *turn, unsigned count, const struct addr *peer)
{
	for (unsigned i = 0; i < count; i++)
		assert_true(turns_begin(&turns, &turn[i], peer, 0));
}

/* Begins as many as the group may. */
static unsigned fill_group(struct turn *turn, unsigned group)
{
	unsigned count = 0;

	for (unsigned client = 0; client < 64; client++) {
		struct addr peer = peer_of(client);

		while (turns_begin(&turns, &turn[count], &peer, group))
			count++;
	}
	return count;
}

static void one_client_begins_256_and_then_waits_for_one_to_end(void **state)
{
	static struct turn running[TURNS_A_CLIENT_MAX];
	struct addr greedy = peer_of(0), modest = peer_of(1);
	struct turn next, other;

	(void)state;
	begin_many(running, TURNS_A_CLIENT_MAX, &greedy);
	assert_false(turns_begin(&turns, &next, &greedy, 0));
	assert_true(turns_wait(&turns, &next));
	assert_true(turns_begin(&turns, &other, &modest, 0));
	assert_null(turns_next(&turns));
	turns_end(&turns, &other);
	assert_null(turns_next(&turns));
	turns_end(&turns, &running[0]);
	assert_ptr_equal(turns_next(&turns), &next);
	assert_null(turns_next(&turns));
}

static void clients_get_their_turns_one_after_the_other(void **state)
{
	static struct turn a_running[TURNS_A_CLIENT_MAX], b_running[TURNS_A_CLIENT_MAX];
	struct addr a = peer_of(0), b = peer_of(1);
	struct turn a_waits[3], b_waits[1];

	(void)state;
	begin_many(a_running, TURNS_A_CLIENT_MAX, &a);
	begin_many(b_running, TURNS_A_CLIENT_MAX, &b);
	for (unsigned i = 0; i < 3; i++) {
		assert_false(turns_begin(&turns, &a_waits[i], &a, 0));
		assert_true(turns_wait(&turns, &a_waits[i]));
	}
	assert_false(turns_begin(&turns, &b_waits[0], &b, 0));
	assert_true(turns_wait(&turns, &b_waits[0]));
	for (unsigned i = 0; i < 3; i++) {
		turns_end(&turns, &a_running[i]);
		turns_end(&turns, &b_running[i]);
	}
	assert_ptr_equal(turns_next(&turns), &a_waits[0]);
	assert_ptr_equal(turns_next(&turns), &b_waits[0]);
	assert_ptr_equal(turns_next(&turns), &a_waits[1]);
	assert_ptr_equal(turns_next(&turns), &a_waits[2]);
	assert_null(turns_next(&turns));
}

static void some_places_are_always_free_for_who_has_none(void **state)
{
	static struct turn running[TURNS_RUNNING_MAX];
	struct addr late = peer_of(1000);
	struct turn next[2];
	unsigned count = 0;

	(void)state;
	for (unsigned group = 0; group < 4; group++) {
		unsigned begun = fill_group(running + count, group);

		assert_true(begun > 0);
		count += begun;
		assert_true(count < TURNS_RUNNING_MAX);
	}
	assert_true(turns_begin(&turns, &next[0], &late, 4));
	assert_false(turns_begin(&turns, &next[1], &late, 0));
	assert_true(turns_wait(&turns, &next[1]));
	assert_null(turns_next(&turns));
	for (unsigned i = 0; i < 2 * TURNS_RUNNING_MAX / 3; i++)
		turns_end(&turns, &running[i]);
	assert_ptr_equal(turns_next(&turns), &next[1]);
}

/* The same client, and a group of upstreams none of which answers. */
static void what_waits_for_a_silent_group_holds_up_no_other(void **state)
{
	static struct turn running[TURNS_A_CLIENT_MAX];
	struct addr peer = peer_of(0);
	struct turn waits, other;

	(void)state;
	begin_many(running, TURNS_A_CLIENT_MAX, &peer);
	assert_false(turns_begin(&turns, &waits, &peer, 0));
	assert_true(turns_wait(&turns, &waits));
	assert_true(turns_begin(&turns, &other, &peer, 1));
	turns_end(&turns, &other);
	assert_null(turns_next(&turns));
}

static void fewer_may_run_where_sockets_are_few(void **state)
{
	static struct turn running[TURNS_A_CLIENT_MAX];
	unsigned count;

	(void)state;
	turns_set_max(&turns, 100);
	count = fill_group(running, 0);
	assert_in_range(count, 50, 90);
	assert_in_range(fill_group(running + count, 1), 5, 50);
}

static void the_line_has_a_share_for_each_and_can_be_emptied(void **state)
{
	static struct turn running[2 * TURNS_A_CLIENT_MAX], waits[TURNS_WAITING_MAX];
	struct addr greedy = peer_of(0), modest = peer_of(1);
	struct turn late;

	(void)state;
	begin_many(running, TURNS_A_CLIENT_MAX, &greedy);
	begin_many(running + TURNS_A_CLIENT_MAX, TURNS_A_CLIENT_MAX, &modest);
	for (unsigned i = 0; i < TURNS_WAITING_MAX / 2; i++) {
		assert_false(turns_begin(&turns, &waits[i], &greedy, 0));
		assert_true(turns_wait(&turns, &waits[i]));
	}
	assert_false(turns_begin(&turns, &late, &greedy, 0));
	assert_false(turns_wait(&turns, &late));
	assert_false(turns_begin(&turns, &late, &modest, 0));
	assert_true(turns_wait(&turns, &late));
	assert_ptr_equal(turns_pop(&turns), &waits[0]);
	assert_ptr_equal(turns_pop(&turns), &late);
	for (unsigned i = 1; i < TURNS_WAITING_MAX / 2; i++)
		assert_ptr_equal(turns_pop(&turns), &waits[i]);
	assert_null(turns_pop(&turns));
	assert_false(turns_begin(&turns, &late, &greedy, 0));
	assert_true(turns_wait(&turns, &late));
}

static void workers_share_what_may_run(void **state)
{
	static struct turn running[TURNS_A_CLIENT_MAX];
	struct addr peer = { .family = AF_INET, .bytes = { 10, 0, 0, 1 } };
	unsigned begun = 0;

	(void)state;
	turns_init(&turns, 3);
	while (turns_begin(&turns, &running[begun], &peer, 0))
		begun++;
	assert_int_equal(begun, 86); /* 256 / 3, rounded up */
	turns_set_max(&turns, TURNS_RUNNING_MAX);
	assert_int_equal(turns.running_max, 1366);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(one_client_begins_256_and_then_waits_for_one_to_end, start),
		cmocka_unit_test_setup(clients_get_their_turns_one_after_the_other, start),
		cmocka_unit_test_setup(some_places_are_always_free_for_who_has_none, start),
		cmocka_unit_test_setup(what_waits_for_a_silent_group_holds_up_no_other, start),
		cmocka_unit_test_setup(fewer_may_run_where_sockets_are_few, start),
		cmocka_unit_test_setup(the_line_has_a_share_for_each_and_can_be_emptied, start),
		cmocka_unit_test(workers_share_what_may_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
