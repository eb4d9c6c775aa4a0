#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "forward/failures.h"

#define NOW_MS 100000

static struct failures failures;

static int set_up(void **state)
{
	(void)state;
	failures_clear(&failures);
	return 0;
}

static void failure_is_kept_for_a_second(void **state)
{
	(void)state;
	assert_int_equal(failures_find(&failures, 7, NOW_MS), 0);
	failures_note(&failures, 7, 5, true, NOW_MS);
	assert_int_equal(failures_find(&failures, 7, NOW_MS + 999), 5);
	assert_int_equal(failures_find(&failures, 7, NOW_MS + 1000), 0);
	assert_int_equal(failures_find(&failures, 7 + FAILURES, NOW_MS), 0);
}

static void each_failure_is_kept_twice_as_long_up_to_half_a_minute(void **state)
{
	uint64_t now_ms = NOW_MS;

	(void)state;
	for (uint64_t kept_ms = 1000; kept_ms < 30000; kept_ms *= 2) {
		failures_note(&failures, 7, 5, true, now_ms);
		assert_int_equal(failures_find(&failures, 7, now_ms + kept_ms - 1), 5);
		now_ms += kept_ms;
		assert_int_equal(failures_find(&failures, 7, now_ms), 0);
	}
	failures_note(&failures, 7, 5, true, now_ms);
	assert_int_equal(failures_find(&failures, 7, now_ms + 30000), 0);
}

static void while_nothing_is_answered_it_stays_a_second(void **state)
{
	(void)state;
	failures_note(&failures, 7, 5, false, NOW_MS);
	failures_note(&failures, 7, 5, false, NOW_MS + 1000);
	assert_int_equal(failures_find(&failures, 7, NOW_MS + 2000), 0);
}

static void after_a_minute_it_is_the_first_again(void **state)
{
	(void)state;
	failures_note(&failures, 7, 5, true, NOW_MS);
	failures_note(&failures, 7, 5, true, NOW_MS + 61000);
	assert_int_equal(failures_find(&failures, 7, NOW_MS + 62000), 0);
}

static void an_answer_ends_it(void **state)
{
	(void)state;
	failures_note(&failures, 7, 5, true, NOW_MS);
	failures_forget(&failures, 7 + FAILURES); /* the same place, another question */
	assert_int_equal(failures_find(&failures, 7, NOW_MS), 5);
	failures_forget(&failures, 7);
	assert_int_equal(failures_find(&failures, 7, NOW_MS), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(failure_is_kept_for_a_second, set_up),
		cmocka_unit_test_setup(each_failure_is_kept_twice_as_long_up_to_half_a_minute,
				       set_up),
		cmocka_unit_test_setup(while_nothing_is_answered_it_stays_a_second, set_up),
		cmocka_unit_test_setup(after_a_minute_it_is_the_first_again, set_up),
		cmocka_unit_test_setup(an_answer_ends_it, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
