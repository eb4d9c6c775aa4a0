#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"

#define DRAWS 2048

static int compare(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(uint64_t));
}

static void no_draw_comes_twice(void **state)
{
	static uint64_t drawn[DRAWS]; /* sixteen times what is fetched at once */
	struct random random = { 0 };

	(void)state;
	for (unsigned i = 0; i < DRAWS; i++)
		random_draw(&random, &drawn[i], sizeof(drawn[i]));
	qsort(drawn, DRAWS, sizeof(drawn[0]), compare);
	for (unsigned i = 1; i < DRAWS; i++)
		assert_memory_not_equal(&drawn[i - 1], &drawn[i], sizeof(drawn[0]));
}

static void what_was_drawn_is_wiped(void **state)
{
	struct random random = { 0 };
	uint8_t zeros[RANDOM_BYTES] = { 0 }, drawn[32];

	(void)state;
	random_draw(&random, drawn, sizeof(drawn));
	assert_memory_not_equal(drawn, zeros, sizeof(drawn));
	assert_memory_equal(random.bytes + random.left_bytes, zeros, sizeof(drawn));
	random_draw(&random, zeros, random.left_bytes);
	memset(zeros, 0, sizeof(zeros));
	assert_memory_equal(random.bytes, zeros, sizeof(random.bytes));
}

/* What is left is thrown away when it does not suffice: no draw is made of two halves. */
static void a_draw_that_is_longer_than_what_is_left_is_whole(void **state)
{
	struct random random = { 0 };
	uint8_t zeros[RANDOM_BYTES] = { 0 }, drawn[RANDOM_BYTES];

	(void)state;
	random_draw(&random, drawn, RANDOM_BYTES - 1);
	memset(drawn, 0, sizeof(drawn));
	random_draw(&random, drawn, RANDOM_BYTES);
	assert_memory_not_equal(drawn, zeros, 16);
	assert_memory_not_equal(drawn + RANDOM_BYTES - 16, zeros, 16);
	assert_int_equal(random.left_bytes, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_draw_comes_twice),
		cmocka_unit_test(what_was_drawn_is_wiped),
		cmocka_unit_test(a_draw_that_is_longer_than_what_is_left_is_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
