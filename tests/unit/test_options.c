#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "config/options.h"

static void every_row_is_whole(void **state)
{
	(void)state;
	for (size_t i = 0; i < option_row_count; i++) {
		const struct option_row *row = &option_rows[i];

		assert_in_range(strlen(row->name), 1, OPTION_NAME_MAX);
		assert_int_equal(row->name[strspn(row->name, "abcdefghijklmnopqrstuvwxyz-")], '\0');
		assert_non_null(row->allowed);
		assert_non_null(row->help);
		assert_true(row->parse != NULL || strcmp(row->name, "config") == 0);
		assert_true(row->is_repeatable == (row->clear != NULL));
		assert_true(!row->is_repeatable || row->max > 0);
	}
}

static void names_are_unique(void **state)
{
	(void)state;
	for (size_t i = 0; i < option_row_count; i++)
		assert_ptr_equal(option_find(option_rows[i].name), &option_rows[i]);
}

static void option_that_is_not_built_is_unknown(void **state)
{
	static const char *const names[] = { "serve-expired", "dnssec", "block-list" };

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_null(option_find(names[i]));
}

static void near_name_is_suggested(void **state)
{
	(void)state;
	assert_string_equal(option_nearest("tll"), "ttl");
	assert_string_equal(option_nearest("negative_ttl"), "negative-ttl");
	assert_string_equal(option_nearest("nomad-adress"), "nomad-address");
	assert_null(option_nearest("completely-else"));
	assert_null(option_nearest(""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_row_is_whole),
		cmocka_unit_test(names_are_unique),
		cmocka_unit_test(option_that_is_not_built_is_unknown),
		cmocka_unit_test(near_name_is_suggested),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
