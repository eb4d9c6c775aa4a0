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

/* Peers who share no place with each other. */
static struct addr peer_of(unsigned number)
{
	struct addr peer = { .family = AF_INET };
	struct turns scratch;
	struct turn turn;
	uint8_t taken[TURNS_CLIENTS] = { 0 };

	scratch = turns;
	for (uint16_t i = 0;; i++) {
		unsigned place;

		peer.bytes[2] = (uint8_t)(i >> 8);
		peer.bytes[3] = (uint8_t)i;
		turns_begin(&scratch, &turn, &peer);
		place = (unsigned)(turn.client - scratch.client);
		if (taken[place])
			continue;
		taken[place] = 1;
		if (number-- == 0)
			return peer;
	}
}

static void begin_many(struct turn *turn, unsigned count, const struct addr *peer)
{
	for (unsigned i = 0; i < count; i++)
		assert_true(turns_begin(&turns, &turn[i], peer));
}

static void one_client_begins_256_and_then_waits_for_one_to_end(void **state)
{
	static struct turn running[TURNS_A_CLIENT_MAX];
	struct addr greedy = peer_of(0), modest = peer_of(1);
	struct turn next, other;

	(void)state;
	begin_many(running, TURNS_A_CLIENT_MAX, &greedy);
	assert_false(turns_begin(&turns, &next, &greedy));
	assert_true(turns_wait(&turns, &next));
	assert_true(turns_begin(&turns, &other, &modest));
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
		assert_false(turns_begin(&turns, &a_waits[i], &a));
		assert_true(turns_wait(&turns, &a_waits[i]));
	}
	assert_false(turns_begin(&turns, &b_waits[0], &b));
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

static void all_together_run_4096(void **state)
{
	static struct turn running[TURNS_RUNNING_MAX];
	unsigned clients = TURNS_RUNNING_MAX / TURNS_A_CLIENT_MAX;
	struct addr late = peer_of(clients);
	struct turn next;

	(void)state;
	for (unsigned i = 0; i < clients; i++) {
		struct addr peer = peer_of(i);

		begin_many(running + (size_t)i * TURNS_A_CLIENT_MAX, TURNS_A_CLIENT_MAX, &peer);
	}
	assert_false(turns_begin(&turns, &next, &late));
	assert_true(turns_wait(&turns, &next));
	assert_null(turns_next(&turns));
	turns_end(&turns, &running[0]);
	assert_ptr_equal(turns_next(&turns), &next);
}

static void the_line_has_an_end_and_can_be_emptied(void **state)
{
	static struct turn running[TURNS_A_CLIENT_MAX], waits[TURNS_WAITING_MAX];
	struct addr peer = peer_of(0);
	struct turn late;

	(void)state;
	begin_many(running, TURNS_A_CLIENT_MAX, &peer);
	for (unsigned i = 0; i < TURNS_WAITING_MAX; i++) {
		assert_false(turns_begin(&turns, &waits[i], &peer));
		assert_true(turns_wait(&turns, &waits[i]));
	}
	assert_false(turns_begin(&turns, &late, &peer));
	assert_false(turns_wait(&turns, &late));
	for (unsigned i = 0; i < TURNS_WAITING_MAX; i++)
		assert_ptr_equal(turns_pop(&turns), &waits[i]);
	assert_null(turns_pop(&turns));
	assert_true(turns_wait(&turns, &late));
}

static void workers_share_what_may_run(void **state)
{
	static struct turn running[TURNS_A_CLIENT_MAX];
	struct addr peer = { .family = AF_INET, .bytes = { 10, 0, 0, 1 } };
	unsigned begun = 0;

	(void)state;
	turns_init(&turns, 3);
	while (turns_begin(&turns, &running[begun], &peer))
		begun++;
	assert_int_equal(begun, 86); /* 256 / 3, rounded up */
	assert_int_equal(turns.running_max, 1366);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(one_client_begins_256_and_then_waits_for_one_to_end, start),
		cmocka_unit_test_setup(clients_get_their_turns_one_after_the_other, start),
		cmocka_unit_test_setup(all_together_run_4096, start),
		cmocka_unit_test_setup(the_line_has_an_end_and_can_be_emptied, start),
		cmocka_unit_test(workers_share_what_may_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
