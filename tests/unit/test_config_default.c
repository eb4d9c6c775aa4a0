#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "load_config.h"

static void defaults_stand_alone(void **state)
{
	struct config *config = load_well("", "", "");

	(void)state;
	assert_int_equal(config->listen_count, 1);
	assert_addr(&config->listen[0], "127.0.0.1:1053");
	assert_int_equal(config->nomad_address_count, 1);
	assert_string_equal(config->nomad_address[0], "http://127.0.0.1:4646");
	assert_int_equal(config->zone_count, 1);
	assert_name(config->zone[0].name, "nomad");
	assert_int_equal(config->ttl_s, 10);
	assert_int_equal(config->negative_ttl_s, 5);
	assert_int_equal(config->max_stale_ms, 86400000);
	assert_int_equal(config->forward_count, 1);
	assert_int_equal(config->forward[0].kind, CONFIG_FORWARD_FILE);
	assert_string_equal(config->forward[0].path, "/etc/resolv.conf");
	assert_int_equal(config->forward_timeout_ms, 4000);
	assert_int_equal(config->cache_size_bytes, 8 << 20);
	assert_int_equal(config->cache_max_ttl_s, 3600);
	assert_int_equal(config->cache_min_ttl_s, 0);
	assert_int_equal(config->workers, 1);
	assert_int_equal(config->tcp_max_clients, 256);
	assert_int_equal(config->tcp_idle_timeout_ms, 10000);
	assert_true(config->allow_self);
	assert_int_equal(config->allow_count, 9);
	assert_addr(&config->admin_addr, "127.0.0.1:9153");
	assert_string_equal(config->metrics_prefix, "nomad_dns");
	assert_int_equal(config->log_level, LOG_LEVEL_INFO);
	assert_int_equal(config->log_format, LOG_FORMAT_TEXT);
	assert_int_equal(config->log_queries, CONFIG_LOG_QUERIES_OFF);
	assert_int_equal(config->lame_duck_ms, 0);
	assert_null(config->filter);
	assert_null(config->nomad_token);
	assert_null(config->nomad_token_file);
	assert_int_equal(config->namespace_count, 0);
	assert_non_null(config->server_id);
	config_drop(config);
}

static void nomad_address_falls_back_in_order(void **state)
{
	char variables[256];
	struct config *config;

	(void)state;
	write_file("api.sock", "");
	snprintf(variables, sizeof(variables),
		 "NOMAD_SECRETS_DIR=%s NOMAD_UNIX_ADDR=unix:///u.sock NOMAD_ADDR=http://a:1 "
		 "NOMAD_ADDR_http=127.0.0.1:99",
		 directory);
	config = load_well("", variables, "nomad-address = \"http://f:1\"\n");
	assert_string_equal(config->nomad_address[0], "http://f:1");
	config_drop(config);
	config = load_well("", variables, NULL);
	assert_string_equal(config->nomad_address[0], "http://a:1");
	assert_int_equal(config->nomad_address_count, 1);
	config_drop(config);
	*strstr(variables, " NOMAD_ADDR=") = '\0';
	config = load_well("", variables, NULL);
	assert_string_equal(config->nomad_address[0], "unix:///u.sock");
	config_drop(config);
	*strstr(variables, " NOMAD_UNIX") = '\0';
	config = load_well("", variables, NULL);
	assert_non_null(strstr(config->nomad_address[0], "/api.sock"));
	config_drop(config);
	config = load_well("", "NOMAD_SECRETS_DIR=/nonexistent", NULL);
	assert_string_equal(config->nomad_address[0], "http://127.0.0.1:4646");
	config_drop(config);
}

static void bad_nomad_variable_names_itself(void **state)
{
	(void)state;
	assert_null(load("", "NOMAD_ADDR=127.0.0.1:4646", NULL));
	assert_problem(78, "(environment NOMAD_ADDR)");
}

static void token_file_falls_back_in_order(void **state)
{
	char variables[256], expected[160];
	struct config *config;

	(void)state;
	write_file("nomad-token", "x");
	write_file("nomad_token", "x");
	snprintf(variables, sizeof(variables),
		 "CREDENTIALS_DIRECTORY=%s NOMAD_SECRETS_DIR=%s NOMAD_TOKEN=secret", directory,
		 directory);
	config = load_well("", variables, NULL);
	snprintf(expected, sizeof(expected), "%s/nomad-token", directory);
	assert_string_equal(config->nomad_token_file, expected);
	assert_null(config->nomad_token);
	config_drop(config);
	config = load_well("", strchr(variables, ' ') + 1, NULL);
	snprintf(expected, sizeof(expected), "%s/nomad_token", directory);
	assert_string_equal(config->nomad_token_file, expected);
	config_drop(config);
	config = load_well("--nomad-token-file=/mine", variables, NULL);
	assert_string_equal(config->nomad_token_file, "/mine");
	config_drop(config);
}

static void token_in_the_environment_is_kept_and_never_printed(void **state)
{
	struct config *config =
		load_well("", "NOMAD_TOKEN=topsecret NOMAD_HTTP_AUTH=me:hidden", NULL);

	(void)state;
	assert_string_equal(config->nomad_token, "topsecret");
	assert_string_equal(config->nomad_http_auth, "me:hidden");
	assert_null(config->nomad_token_file);
	assert_null(strstr(config->origin_text, "topsecret"));
	assert_null(strstr(config->origin_text, "hidden"));
	assert_prints(config, "# nomad-token-file = (set)  # environment NOMAD_TOKEN\n");
	config_drop(config);
}

static void token_with_a_line_inside_is_refused_without_showing_it(void **state)
{
	char token[] = "NOMAD_TOKEN= top\nsecret ";
	char *environment[] = { token, NULL };

	(void)state;
	assert_null(config_load(0, NULL, environment, &problem));
	assert_problem(78, "environment NOMAD_TOKEN");
	assert_null(strstr(problem.text, "secret"));
}

static void token_is_freed_of_blanks_around_it(void **state)
{
	char token[] = "NOMAD_TOKEN= secret\r\n";
	char *environment[] = { token, NULL };
	struct config *config = config_load(0, NULL, environment, &problem);

	(void)state;
	assert_non_null(config);
	assert_string_equal(config->nomad_token, "secret");
	config_drop(config);
}

static void nomads_tls_variables_are_read(void **state)
{
	struct config *config = load_well(
		"",
		"NOMAD_CACERT=/ca NOMAD_CAPATH=/cas NOMAD_CLIENT_CERT=/cert NOMAD_CLIENT_KEY=/key "
		"NOMAD_TLS_SERVER_NAME=server.global.nomad NOMAD_SKIP_VERIFY=true",
		NULL);

	(void)state;
	assert_string_equal(config->nomad_ca_cert, "/ca");
	assert_string_equal(config->nomad_ca_path, "/cas");
	assert_string_equal(config->nomad_client_cert, "/cert");
	assert_string_equal(config->nomad_client_key, "/key");
	assert_string_equal(config->nomad_tls_server_name, "server.global.nomad");
	assert_true(config->nomad_tls_skip_verify);
	assert_prints(config, "nomad-ca-cert = \"/ca\"  # environment NOMAD_CACERT\n");
	config_drop(config);
}

static void unreadable_skip_verify_of_nomad_is_passed_over(void **state)
{
	struct config *config = load_well("", "NOMAD_SKIP_VERIFY=perhaps", NULL);

	(void)state;
	assert_false(config->nomad_tls_skip_verify);
	config_drop(config);
}

static void namespace_and_region_of_the_job_are_not_ours(void **state)
{
	struct config *config = load_well("", "NOMAD_NAMESPACE=jobs NOMAD_REGION=mars", NULL);

	(void)state;
	assert_int_equal(config->namespace_count, 0);
	assert_null(config->nomad_region);
	config_drop(config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(defaults_stand_alone, make_directory,
						remove_directory),
		cmocka_unit_test_setup_teardown(nomad_address_falls_back_in_order, make_directory,
						remove_directory),
		cmocka_unit_test_setup_teardown(bad_nomad_variable_names_itself, make_directory,
						remove_directory),
		cmocka_unit_test_setup_teardown(token_file_falls_back_in_order, make_directory,
						remove_directory),
		cmocka_unit_test_setup_teardown(token_in_the_environment_is_kept_and_never_printed,
						make_directory, remove_directory),
		cmocka_unit_test_setup_teardown(
			token_with_a_line_inside_is_refused_without_showing_it, make_directory,
			remove_directory),
		cmocka_unit_test_setup_teardown(token_is_freed_of_blanks_around_it, make_directory,
						remove_directory),
		cmocka_unit_test_setup_teardown(nomads_tls_variables_are_read, make_directory,
						remove_directory),
		cmocka_unit_test_setup_teardown(unreadable_skip_verify_of_nomad_is_passed_over,
						make_directory, remove_directory),
		cmocka_unit_test_setup_teardown(namespace_and_region_of_the_job_are_not_ours,
						make_directory, remove_directory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
