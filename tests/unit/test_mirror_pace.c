/* When a cluster counts as busy, and when as calm again. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "nomad/mirror_pace.h"

#define BEGIN_MS 1000000
#define MINUTE_MS 60000

/* A minute with `count` changes, evenly spread; the word at its end. */
static enum pace_word minute(struct pace *pace, uint64_t *now_ms, unsigned count, bool is_large)
{
	uint64_t end_ms = *now_ms + MINUTE_MS;

	for (unsigned i = 0; i < count; i++) {
		*now_ms = end_ms - MINUTE_MS + (uint64_t)MINUTE_MS * i / count;
		pace_count(pace, *now_ms);
		assert_int_equal(pace_look(pace, is_large, *now_ms), PACE_NONE);
	}
	*now_ms = end_ms;
	return pace_look(pace, is_large, *now_ms);
}

static void two_changes_a_second_are_not_busy_and_one_more_is(void **state)
{
	uint64_t now_ms = BEGIN_MS;
	struct pace pace;

	(void)state;
	pace_init(&pace, now_ms);
	assert_int_equal(minute(&pace, &now_ms, 120, false), PACE_NONE);
	assert_int_equal(minute(&pace, &now_ms, 121, false), PACE_BUSY);
}

static void burst_is_no_pace(void **state)
{
	struct pace pace;

	(void)state;
	pace_init(&pace, BEGIN_MS);
	for (int i = 0; i < 1000; i++)
		pace_count(&pace, BEGIN_MS + 5000);
	assert_int_equal(pace_look(&pace, false, BEGIN_MS + MINUTE_MS), PACE_NONE);
}

static void changes_are_counted_by_the_minute(void **state)
{
	uint64_t now_ms = BEGIN_MS;
	struct pace pace;

	(void)state;
	pace_init(&pace, now_ms);
	assert_int_equal(minute(&pace, &now_ms, 100, false), PACE_NONE);
	assert_int_equal(minute(&pace, &now_ms, 100, false), PACE_NONE);
}

static void window_that_was_looked_at_too_late_says_nothing(void **state)
{
	struct pace pace;

	(void)state;
	pace_init(&pace, BEGIN_MS);
	for (uint64_t i = 0; i < 200; i++)
		pace_count(&pace, BEGIN_MS + i * 500);
	assert_int_equal(pace_look(&pace, false, BEGIN_MS + 10 * MINUTE_MS), PACE_NONE);
}

static void it_is_calm_after_five_quiet_minutes_in_a_row(void **state)
{
	uint64_t now_ms = BEGIN_MS;
	struct pace pace;

	(void)state;
	pace_init(&pace, now_ms);
	for (int i = 0; i < 4; i++)
		assert_int_equal(minute(&pace, &now_ms, 29, true), PACE_NONE);
	assert_int_equal(minute(&pace, &now_ms, 30, true), PACE_NONE);
	for (int i = 0; i < 4; i++)
		assert_int_equal(minute(&pace, &now_ms, 0, true), PACE_NONE);
	assert_int_equal(minute(&pace, &now_ms, 0, true), PACE_CALM);
}

static void nobody_looks_while_nothing_changes(void **state)
{
	struct pace pace;

	(void)state;
	pace_init(&pace, BEGIN_MS);
	assert_true(pace_next_ms(&pace, false) == UINT64_MAX);
	assert_true(pace_next_ms(&pace, true) == BEGIN_MS + MINUTE_MS);
	pace_count(&pace, BEGIN_MS);
	assert_true(pace_next_ms(&pace, false) == BEGIN_MS + MINUTE_MS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_changes_a_second_are_not_busy_and_one_more_is),
		cmocka_unit_test(burst_is_no_pace),
		cmocka_unit_test(changes_are_counted_by_the_minute),
		cmocka_unit_test(window_that_was_looked_at_too_late_says_nothing),
		cmocka_unit_test(it_is_calm_after_five_quiet_minutes_in_a_row),
		cmocka_unit_test(nobody_looks_while_nothing_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
