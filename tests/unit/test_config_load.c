#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "load_config.h"

static void flag_beats_environment_beats_file_beats_default(void **state)
{
	struct config *config = load_well("--ttl=4s", "NOMAD_DNS_TTL=3s NOMAD_DNS_WORKERS=3",
					  "ttl = 2s\nworkers = 2\nlame-duck = 2s\n");

	(void)state;
	assert_int_equal(config->ttl_s, 4);
	assert_int_equal(config->workers, 3);
	assert_int_equal(config->lame_duck_ms, 2000);
	assert_int_equal(config->negative_ttl_s, 5);
	config_drop(config);
}

static void flags_have_four_spellings(void **state)
{
	struct config *config =
		load_well("--ttl=1s -negative-ttl=2s --max-stale 3s -lame-duck 4s", "", NULL);

	(void)state;
	assert_int_equal(config->ttl_s, 1);
	assert_int_equal(config->negative_ttl_s, 2);
	assert_int_equal(config->max_stale_ms, 3000);
	assert_int_equal(config->lame_duck_ms, 4000);
	config_drop(config);
}

static void boolean_flag_alone_is_on(void **state)
{
	struct config *config = load_well("--reverse --hide-version=no -reuseport", "", NULL);

	(void)state;
	assert_true(config->reverse);
	assert_false(config->hide_version);
	assert_true(config->reuseport);
	config_drop(config);
}

static void last_flag_of_a_single_option_counts(void **state)
{
	struct config *config = load_well("--ttl=1s --ttl=2s", "", NULL);

	(void)state;
	assert_int_equal(config->ttl_s, 2);
	assert_prints(config, "\nttl = \"2s\"  # flag --ttl\n");
	config_drop(config);
}

static void empty_variable_is_not_set(void **state)
{
	struct config *config = load_well("", "NOMAD_DNS_TTL= NOMAD_DNS_ZONE= NOMAD_ADDR=", NULL);

	(void)state;
	assert_int_equal(config->ttl_s, 10);
	assert_string_equal(config->nomad_address[0], "http://127.0.0.1:4646");
	config_drop(config);
}

static void blanks_around_commas_of_a_variable_do_not_count(void **state)
{
	char listen[] = "NOMAD_DNS_LISTEN=127.0.0.1:1 ,  127.0.0.1:2";
	char *environment[] = { listen, NULL };
	struct config *config = config_load(0, NULL, environment, &problem);

	(void)state;
	assert_non_null(config);
	assert_int_equal(config->listen_count, 2);
	config_drop(config);
}

static void unknown_options_suggest_the_nearest(void **state)
{
	(void)state;
	assert_flag_fails("--tll=1s", "unknown option --tll; did you mean --ttl?");
	assert_flag_fails("--blend=1h", "unknown option --blend");
	assert_null(load("", "NOMAD_DNS_NEGATIVE_TTLS=1s", NULL));
	assert_problem(78, "unknown variable NOMAD_DNS_NEGATIVE_TTLS; did you mean "
			   "NOMAD_DNS_NEGATIVE_TTL?");
	assert_null(load("", "NOMAD_DNS_ttl=1s", NULL));
	assert_problem(78, "unknown variable NOMAD_DNS_ttl");
	assert_null(load("", "", "\nnegative_ttl = 1s\n"));
	assert_problem(78, "nomad-dns.conf:2); did you mean negative-ttl?");
}

static void bad_value_behind_a_stronger_one_is_still_an_error(void **state)
{
	(void)state;
	assert_null(load("--ttl=5s", "", "ttl = soon\n"));
	assert_problem(78, "ttl = \"soon\"");
}

static void flag_without_its_value_is_an_error(void **state)
{
	(void)state;
	assert_flag_fails("--ttl", "needs a value");
	assert_flag_fails("--ttl --reverse", "needs a value");
	assert_flag_fails("--ttl=", "it is empty");
}

static void stray_words_are_an_error(void **state)
{
	(void)state;
	assert_flag_fails("serve", "unexpected argument 'serve'");
	assert_flag_fails("--", "unexpected argument");
	assert_flag_fails("-", "unexpected argument");
	assert_flag_fails("--=x", "unexpected argument");
}

static void named_file_must_be_there(void **state)
{
	(void)state;
	assert_null(load("--config=/nonexistent/nomad-dns.conf", "", NULL));
	assert_problem(78, "config = \"/nonexistent/nomad-dns.conf\" (flag --config)");
	assert_null(load("", "NOMAD_DNS_CONFIG=/nonexistent", NULL));
	assert_problem(78, "(environment NOMAD_DNS_CONFIG)");
	assert_null(load("--config=/", "", NULL));
	assert_problem(78, "directory");
}

static void file_from_the_environment_is_read(void **state)
{
	char variables[160];
	struct config *config;

	(void)state;
	write_file("nomad-dns.conf", "ttl = 7s\n");
	snprintf(variables, sizeof(variables), "NOMAD_DNS_CONFIG=%s", conf_path);
	config = load_well("", variables, NULL);
	assert_int_equal(config->ttl_s, 7);
	config_drop(config);
}

static void file_is_refused_what_makes_no_sense_in_it(void **state)
{
	(void)state;
	assert_null(load("", "", "config = /x\n"));
	assert_problem(78, "cannot be set in the file");
	assert_null(load("", "", "zone = []\n"));
	assert_problem(78, "empty list");
	assert_null(load("", "", "ttl = [\"1s\"]\n"));
	assert_problem(78, "takes one value, not a list");
	assert_null(load("", "", "ttl = \n"));
	assert_problem(78, "nomad-dns.conf:1: ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(flag_beats_environment_beats_file_beats_default,
						make_directory, remove_directory),
		cmocka_unit_test_setup_teardown(flags_have_four_spellings, make_directory,
						remove_directory),
		cmocka_unit_test_setup_teardown(boolean_flag_alone_is_on, make_directory,
						remove_directory),
		cmocka_unit_test_setup_teardown(last_flag_of_a_single_option_counts, make_directory,
						remove_directory),
		cmocka_unit_test_setup_teardown(empty_variable_is_not_set, make_directory,
						remove_directory),
		cmocka_unit_test_setup_teardown(blanks_around_commas_of_a_variable_do_not_count,
						make_directory, remove_directory),
		cmocka_unit_test_setup_teardown(unknown_options_suggest_the_nearest, make_directory,
						remove_directory),
		cmocka_unit_test_setup_teardown(bad_value_behind_a_stronger_one_is_still_an_error,
						make_directory, remove_directory),
		cmocka_unit_test_setup_teardown(flag_without_its_value_is_an_error, make_directory,
						remove_directory),
		cmocka_unit_test_setup_teardown(stray_words_are_an_error, make_directory,
						remove_directory),
		cmocka_unit_test_setup_teardown(named_file_must_be_there, make_directory,
						remove_directory),
		cmocka_unit_test_setup_teardown(file_from_the_environment_is_read, make_directory,
						remove_directory),
		cmocka_unit_test_setup_teardown(file_is_refused_what_makes_no_sense_in_it,
						make_directory, remove_directory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
