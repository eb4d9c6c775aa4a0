#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "load_config.h"

static void server_id_may_be_empty(void **state)
{
	struct config *config = load_well("--server-id=", "", NULL);

	(void)state;
	assert_string_equal(config->server_id, "");
	config_drop(config);
	config = load_well("", "NOMAD_DNS_SERVER_ID=", NULL);
	assert_string_equal(config->server_id, "");
	config_drop(config);
}

static void values_outside_their_range_are_refused(void **state)
{
	static const char *const flags[] = {
		"--ttl=500ms",
		"--ttl=1h1s",
		"--ttl=10",
		"--negative-ttl=2h",
		"--max-stale=31d",
		"--mirror=on",
		"--mirror=",
		"--preload=200001",
		"--preload=all",
		"--preload=-1",
		"--preload=4294967295",
		"--settle=11s",
		"--settle=100",
		"--workers=65",
		"--workers=x",
		"--tcp-max-clients=0",
		"--tcp-max-clients=65537",
		"--tcp-idle-timeout=1ms",
		"--tcp-idle-timeout=11m",
		"--forward-timeout=99ms",
		"--forward-timeout=61s",
		"--cache-size=63KiB",
		"--cache-size=17GiB",
		"--lame-duck=11m",
		"--log-format=xml",
		"--log-queries=on",
		"--metrics-prefix=9x",
		"--metrics-prefix=a-b",
		"--admin=localhost:1",
		"--listen=localhost",
		"--listen=127.0.0.1:65536",
		"--allow=10.0.0.1/8",
		"--zone=.",
		"--zone=a..b",
		"--namespace=a.b",
		"--namespace=*",
		"--forward=dns.example",
		"--forward=tls://dns.example",
		"--forward=192.0.2.1:0",
		"--forward=0.0.0.0",
		"--forward=a..b=192.0.2.1",
		"--forward=consul=",
		"--reverse=maybe",
		"--nomad-address=127.0.0.1:4646",
		"--nomad-address=ftp://x",
		"--nomad-address=http://",
		"--nomad-address=http://h:0",
		"--nomad-address=http://h:99999",
		"--nomad-address=http://a_b..c",
		"--nomad-address=unix://relative",
		"--nomad-address=http://h?x=1",
		"--nomad-address=http://u:p@",
		"--cache-max-ttl=0s",
		"--cache-max-ttl=8d",
		"--nomad-tls-server-name=a/b",
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(flags); i++)
		assert_flag_fails(flags[i], "; allowed: ");
}

static void values_at_their_limits_are_taken(void **state)
{
	struct config *config = load_well("--ttl=0 --negative-ttl=1h --max-stale=30d --workers=64 "
					  "--cache-size=0 --forward-timeout=100ms --lame-duck=10m "
					  "--tcp-max-clients=65536 --cache-max-ttl=7d",
					  "", NULL);

	(void)state;
	assert_int_equal(config->ttl_s, 0);
	assert_int_equal(config->negative_ttl_s, 3600);
	assert_int_equal(config->cache_size_bytes, 0);
	assert_int_equal(config->tcp_max_clients, 65536);
	assert_int_equal(config->cache_max_ttl_s, 7 * 86400);
	config_drop(config);
}

static void preload_is_a_number_or_a_word(void **state)
{
	struct config *config = load_well("", "", NULL);

	(void)state;
	assert_int_equal(config->preload, CONFIG_PRELOAD_AUTO);
	config_drop(config);
	config = load_well("--preload=AUTO", "", NULL);
	assert_int_equal(config->preload, CONFIG_PRELOAD_AUTO);
	config_drop(config);
	config = load_well("--preload=off", "", NULL);
	assert_int_equal(config->preload, 0);
	config_drop(config);
	config = load_well("--preload=200000", "", NULL);
	assert_int_equal(config->preload, 200000);
	config_drop(config);
}

static void mirror_and_settle_have_their_values(void **state)
{
	struct config *config = load_well("", "", NULL);

	(void)state;
	assert_int_equal(config->mirror, CONFIG_MIRROR_AUTO);
	assert_int_equal(config->settle_ms, 100);
	config_drop(config);
	config = load_well("--mirror=Stream --settle=0", "", NULL);
	assert_int_equal(config->mirror, CONFIG_MIRROR_STREAM);
	assert_int_equal(config->settle_ms, 0);
	config_drop(config);
	config = load_well("--mirror=lookup --settle=10s", "", NULL);
	assert_int_equal(config->mirror, CONFIG_MIRROR_LOOKUP);
	assert_int_equal(config->settle_ms, 10000);
	config_drop(config);
	config = load_well("", "NOMAD_DNS_MIRROR=watch", NULL);
	assert_int_equal(config->mirror, CONFIG_MIRROR_WATCH);
	config_drop(config);
}

static void whole_seconds_are_asked_for(void **state)
{
	(void)state;
	assert_flag_fails("--ttl=500ms", "whole seconds");
	assert_flag_fails("--ttl=10", "it has no unit");
}

static void long_socket_path_is_explained(void **state)
{
	char flag[200];

	(void)state;
	memset(flag, 'x', sizeof(flag));
	memcpy(flag, "--nomad-address=unix:///", 24);
	flag[23 + 107] = '\0';
	config_drop(load_well(flag, "", NULL));
	flag[23 + 107] = 'x';
	flag[23 + 108] = '\0';
	assert_flag_fails(flag, "has 108 bytes and the kernel allows 107");
	memcpy(flag, "--admin=unix:///", 16);
	flag[16] = 'x';
	assert_flag_fails(flag, "the kernel allows 107");
}

static void admin_has_three_forms(void **state)
{
	struct config *config = load_well("--admin=off", "", NULL);

	(void)state;
	assert_true(config->admin_is_off);
	config_drop(config);
	config = load_well("--admin=127.0.0.2", "", NULL);
	assert_false(config->admin_is_off);
	assert_addr(&config->admin_addr, "127.0.0.2:9153");
	assert_null(config->admin_path);
	config_drop(config);
	config = load_well("--admin=unix:///run/admin.sock", "", NULL);
	assert_false(config->admin_is_off);
	assert_int_equal(config->admin_addr.family, 0);
	assert_string_equal(config->admin_path, "/run/admin.sock");
	config_drop(config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(server_id_may_be_empty, make_directory,
						remove_directory),
		cmocka_unit_test_setup_teardown(values_outside_their_range_are_refused,
						make_directory, remove_directory),
		cmocka_unit_test_setup_teardown(values_at_their_limits_are_taken, make_directory,
						remove_directory),
		cmocka_unit_test_setup_teardown(preload_is_a_number_or_a_word, make_directory,
						remove_directory),
		cmocka_unit_test_setup_teardown(mirror_and_settle_have_their_values, make_directory,
						remove_directory),
		cmocka_unit_test_setup_teardown(whole_seconds_are_asked_for, make_directory,
						remove_directory),
		cmocka_unit_test_setup_teardown(long_socket_path_is_explained, make_directory,
						remove_directory),
		cmocka_unit_test_setup_teardown(admin_has_three_forms, make_directory,
						remove_directory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
