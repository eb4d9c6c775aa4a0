#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "config/option_help.h"
#include "config/options.h"

static void help_names_every_option_and_default(void **state)
{
	struct buf help;

	(void)state;
	buf_init(&help, 0);
	option_help_print(&help);
	assert_false(help.failed);
	for (size_t i = 0; i < option_row_count; i++) {
		char flag[80];

		assert_true(str_format(flag, sizeof(flag), "\n  --%s%s%s ", option_rows[i].name,
				       option_rows[i].argument ? "=" : "",
				       option_rows[i].argument ? option_rows[i].argument : "") > 0);
		assert_non_null(strstr(help.data, flag));
		assert_non_null(strstr(help.data, option_rows[i].help));
	}
	assert_non_null(strstr(help.data, "[127.0.0.1:1053]"));
	buf_deinit(&help);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(help_names_every_option_and_default),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
