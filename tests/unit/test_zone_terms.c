#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>

#include "nomad/zone.h"
#include "nomad/zone_terms.h"

#define TERMS 70000

static struct zone_terms *terms;

static int set_up(void **state)
{
	(void)state;
	terms = calloc(1, sizeof(*terms));
	return terms ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	free(terms);
	return 0;
}

/* The term `n` ends at 1000 + n. */
static void pass_terms(unsigned count)
{
	zone_terms_set_end(terms, ZONE_LIVE);
	for (unsigned i = 0; i < count; i++) {
		zone_terms_set_end(terms, 1000 + zone_terms_now(terms));
		zone_terms_next(terms, true);
	}
}

static void term_that_is_now_is_live_until_it_ends(void **state)
{
	(void)state;
	assert_int_equal(zone_terms_end(terms, 0), 0);
	zone_terms_set_end(terms, ZONE_LIVE);
	assert_true(zone_terms_end(terms, 0) == ZONE_LIVE);
	zone_terms_set_end(terms, 7);
	assert_int_equal(zone_terms_end(terms, 0), 7);
}

static void late_terms_have_their_own_end_and_early_ones_that_of_a_block(void **state)
{
	(void)state;
	pass_terms(TERMS);
	for (unsigned age = 1; age <= TERMS; age++) {
		unsigned term = TERMS - age;
		uint64_t end = zone_terms_end(terms, term), own = 1000 + term;

		assert_true(end >= own); /* never too early */
		assert_true(end <= own + (age < 255 ? 0 : age / 15 + 1));
	}
}

/* Read on another processor, the count of terms may lag behind what was published in the next. */
static void term_that_has_not_come_yet_for_the_reader_is_looked_up_all_the_same(void **state)
{
	(void)state;
	pass_terms(300);
	zone_terms_next(terms, true);
	atomic_store(&terms->now, 300);
	assert_true(zone_terms_end(terms, 301) == ZONE_LIVE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(term_that_is_now_is_live_until_it_ends),
		TEST(late_terms_have_their_own_end_and_early_ones_that_of_a_block),
		TEST(term_that_has_not_come_yet_for_the_reader_is_looked_up_all_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
