#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "load_config.h"

static void differences_that_need_a_restart_are_named(void **state)
{
	struct config *now = load_well("--ttl=1s", "", NULL);
	struct config *next = load_well("--ttl=2s --workers=2 --listen=127.0.0.1:9", "", NULL);
	char out[64], small[8];

	(void)state;
	config_restart_differences(now, next, out, sizeof(out));
	assert_string_equal(out, "listen, workers");
	config_restart_differences(now, next, small, sizeof(small));
	assert_string_equal(small, "listen");
	config_restart_differences(now, now, out, sizeof(out));
	assert_string_equal(out, "");
	config_drop(now);
	config_drop(next);
}

static void last_holder_frees(void **state)
{
	struct config *config = load_well("", "", NULL);

	(void)state;
	assert_ptr_equal(config_hold(config), config);
	config_drop(config);
	assert_string_equal(config->metrics_prefix, "nomad_dns");
	config_drop(config);
	config_drop(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(differences_that_need_a_restart_are_named,
						make_directory, remove_directory),
		cmocka_unit_test_setup_teardown(last_holder_frees, make_directory,
						remove_directory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
