#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "load_config.h"

#include "config/options.h"

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

static void only_the_named_options_are_compared(void **state)
{
	static const char *const names[] = { "namespace", "filter", NULL };
	struct config *now = load_well("--ttl=1s --namespace=a", "", NULL);
	struct config *next = load_well("--ttl=2s --namespace=a", "", NULL);
	struct config *other = load_well("--ttl=1s --namespace=a --namespace=b", "", NULL);

	(void)state;
	assert_true(config_same_options(now, next, names));
	assert_false(config_same_options(now, other, names));
	config_drop(now);
	config_drop(next);
	config_drop(other);
}

/* A row that asks for a restart and is forgotten in config_keep_restart shows here. */
static void what_needs_a_restart_stays_as_it_was(void **state)
{
	struct config *now = load_well("--listen=127.0.0.1:7 --zone=a --zone=b --admin=unix:///x "
				       "--workers=3 --reuseport",
				       "", NULL);
	struct config *next = load_well("--ttl=2s", "", NULL);
	char out[64];

	(void)state;
	config_restart_differences(now, next, out, sizeof(out));
	assert_string_equal(out, "listen, zone, workers, reuseport, admin");
	assert_int_equal(config_keep_restart(next, now), 0);
	config_restart_differences(now, next, out, sizeof(out));
	assert_string_equal(out, "");
	assert_int_equal(next->listen_count, 1);
	assert_int_equal(next->listen[0].port, 7);
	assert_int_equal(next->zone_count, 2);
	assert_memory_equal(next->zone[1].name, "\1b", 3);
	assert_int_equal(next->workers, 3);
	assert_true(next->reuseport);
	assert_string_equal(next->admin, "unix:///x");
	assert_string_equal(next->admin_path, "/x");
	assert_int_equal(next->admin_addr.family, 0);
	assert_int_equal(next->ttl_s, 2);
	for (size_t i = 0; i < option_row_count; i++) {
		if (option_rows[i].needs_restart)
			assert_non_null(
				strstr("listen zone workers reuseport admin", option_rows[i].name));
	}
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
		cmocka_unit_test_setup_teardown(only_the_named_options_are_compared, make_directory,
						remove_directory),
		cmocka_unit_test_setup_teardown(what_needs_a_restart_stays_as_it_was,
						make_directory, remove_directory),
		cmocka_unit_test_setup_teardown(last_holder_frees, make_directory,
						remove_directory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
