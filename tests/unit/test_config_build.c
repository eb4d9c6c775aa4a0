#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "load_config.h"

static void stronger_source_replaces_the_whole_list(void **state)
{
	struct config *config =
		load_well("--zone=c", "NOMAD_DNS_ZONE=b NOMAD_DNS_LISTEN=127.0.0.1:1,127.0.0.1:2",
			  "zone = [\"a\", \"aa\"]\nlisten = \"127.0.0.1:9\"\n");

	(void)state;
	assert_int_equal(config->zone_count, 1);
	assert_name(config->zone[0].name, "c");
	assert_int_equal(config->listen_count, 2);
	assert_addr(&config->listen[1], "127.0.0.1:2");
	assert_prints(config, "\nzone = [\"c\"]  # flag --zone\n");
	config_drop(config);
}

static void one_source_collects_a_list(void **state)
{
	struct config *config = load_well("--zone=Nomad --zone=Svc.Example.", "",
					  "namespace = a\nnamespace = [\"b\", \"c\"]\n");

	(void)state;
	assert_int_equal(config->zone_count, 2);
	assert_name(config->zone[0].name, "nomad");
	assert_name(config->zone[1].name, "svc.example");
	assert_int_equal(config->namespace_count, 3);
	assert_string_equal(config->namespace[2], "c");
	config_drop(config);
}

static void errors_name_option_value_origin_and_what_is_allowed(void **state)
{
	(void)state;
	assert_null(load("--ttl=2h", "", NULL));
	assert_problem(64, "ttl = \"2h\" (flag --ttl): it is too large; allowed: a duration from 0 "
			   "to 1h");
	assert_null(load("", "NOMAD_DNS_WORKERS=0", NULL));
	assert_problem(78, "workers = \"0\" (environment NOMAD_DNS_WORKERS): it is too small; "
			   "allowed: a number from 1 to 64");
	assert_null(load("", "", "\n\nlog-level = loud\n"));
	assert_problem(78, "log-level = \"loud\" (");
	assert_problem(78,
		       "/nomad-dns.conf:3) is not allowed; allowed: error, warn, info or debug");
}

static void client_certificate_needs_its_key(void **state)
{
	(void)state;
	assert_flag_fails("--nomad-client-cert=/c", "without nomad-client-key");
	assert_flag_fails("--nomad-client-key=/k", "without nomad-client-cert");
	assert_null(load("", "NOMAD_CLIENT_CERT=/c", NULL));
	assert_problem(78, "(environment NOMAD_CLIENT_CERT)");
}

static void shortest_caching_time_is_not_above_the_longest(void **state)
{
	(void)state;
	assert_flag_fails("--cache-min-ttl=2m --cache-max-ttl=1m", "cache-max-ttl = 60s");
}

static void control_characters_do_not_reach_the_operator(void **state)
{
	char flag[] = "--ttl=\x1b[2J\n";
	char *argv[] = { flag };

	(void)state;
	assert_null(config_load(1, argv, NULL, &problem));
	assert_null(strchr(problem.text, '\x1b'));
	assert_null(strchr(problem.text, '\n'));
}

/* What is printed can be a file again, and says the same. */
static void printed_configuration_is_a_file(void **state)
{
	struct config *first = load_well("--ttl=30s --zone=a --zone=b --reverse --workers=2 "
					 "--forward=consul=127.0.0.1:8600 --filter=\"x\"\\y",
					 "", NULL);
	char *page = strdup(first->origin_text);
	struct config *second = load_well("", "", page);

	(void)state;
	assert_int_equal(second->ttl_s, 30);
	assert_int_equal(second->zone_count, 2);
	assert_true(second->reverse);
	assert_int_equal(second->workers, 2);
	assert_int_equal(second->forward_count, first->forward_count);
	assert_string_equal(second->filter, first->filter);
	free(page);
	config_drop(first);
	config_drop(second);
}

static void each_option_is_printed_once(void **state)
{
	struct config *config = load_well("", "", NULL);
	size_t lines = 0;

	(void)state;
	for (const char *p = config->origin_text; *p != '\0'; p++)
		lines += *p == '\n';
	assert_int_equal(lines, config->option_count);
	assert_prints(config, "\nttl = \"10s\"  # default\n");
	assert_prints(config, "\nworkers = 1  # default\n");
	assert_prints(config, "\nreverse = false  # default\n");
	assert_prints(config, "\n# filter  # not set\n");
	config_drop(config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(stronger_source_replaces_the_whole_list,
						make_directory, remove_directory),
		cmocka_unit_test_setup_teardown(one_source_collects_a_list, make_directory,
						remove_directory),
		cmocka_unit_test_setup_teardown(errors_name_option_value_origin_and_what_is_allowed,
						make_directory, remove_directory),
		cmocka_unit_test_setup_teardown(client_certificate_needs_its_key, make_directory,
						remove_directory),
		cmocka_unit_test_setup_teardown(shortest_caching_time_is_not_above_the_longest,
						make_directory, remove_directory),
		cmocka_unit_test_setup_teardown(control_characters_do_not_reach_the_operator,
						make_directory, remove_directory),
		cmocka_unit_test_setup_teardown(printed_configuration_is_a_file, make_directory,
						remove_directory),
		cmocka_unit_test_setup_teardown(each_option_is_printed_once, make_directory,
						remove_directory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
