#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"

static uint64_t read_us(clockid_t clock)
{
	struct timespec now;

	assert_int_equal(clock_gettime(clock, &now), 0);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* Between two readings of the same clock, whatever the machine is busy with. */
static void lifetimes_run_by_the_clock_that_goes_on_in_sleep(void **state)
{
	uint64_t before_us = read_us(CLOCK_BOOTTIME), now_us = clock_now_us();
	uint64_t now_ms = clock_now_ms(), after_us = read_us(CLOCK_BOOTTIME);

	(void)state;
	assert_in_range(now_us, before_us, after_us);
	assert_in_range(now_ms, before_us / 1000, after_us / 1000);
}

static void systemd_is_told_the_clock_it_asks_for(void **state)
{
	uint64_t before_us = read_us(CLOCK_MONOTONIC), now_us = clock_awake_us();

	(void)state;
	assert_in_range(now_us, before_us, read_us(CLOCK_MONOTONIC));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lifetimes_run_by_the_clock_that_goes_on_in_sleep),
		cmocka_unit_test(systemd_is_told_the_clock_it_asks_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
