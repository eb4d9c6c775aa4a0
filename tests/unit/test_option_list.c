#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "load_config.h"

static void listen_takes_port_53_if_none_is_given(void **state)
{
	struct config *config =
		load_well("--listen=127.0.0.2 --listen=::1 --listen=[::1]:5353", "", NULL);

	(void)state;
	assert_addr(&config->listen[0], "127.0.0.2:53");
	assert_addr(&config->listen[1], "[::1]:53");
	assert_addr(&config->listen[2], "[::1]:5353");
	config_drop(config);
}

static void same_value_twice_is_an_error(void **state)
{
	(void)state;
	assert_flag_fails("--listen=127.0.0.1:53 --listen=127.0.0.1", "given twice");
	assert_flag_fails("--zone=nomad --zone=NOMAD.", "given twice");
	assert_flag_fails("--namespace=a --namespace=a", "given twice");
	assert_null(load("", "", "ttl = 1s\nttl = 2s\n"));
	assert_problem(78, "nomad-dns.conf:2) is given twice");
}

static void lists_have_a_ceiling(void **state)
{
	char text[8192] = "namespace = [";
	size_t length = strlen(text);

	(void)state;
	for (int i = 0; i < 257; i++)
		length += (size_t)snprintf(text + length, sizeof(text) - length, "n%d,", i);
	snprintf(text + length, sizeof(text) - length, "]");
	assert_null(load("", "", text));
	assert_problem(78, "too many");
}

static void forward_has_four_forms(void **state)
{
	struct config *config = load_well("--forward=192.0.2.1 --forward=[2001:db8::1]:5353 "
					  "--forward=/run/resolv.conf "
					  "--forward=Consul=127.0.0.1:8600",
					  "", NULL);

	(void)state;
	assert_int_equal(config->forward_count, 4);
	assert_int_equal(config->forward[0].kind, CONFIG_FORWARD_ADDRESS);
	assert_addr(&config->forward[0].address, "192.0.2.1:53");
	assert_addr(&config->forward[1].address, "[2001:db8::1]:5353");
	assert_int_equal(config->forward[2].kind, CONFIG_FORWARD_FILE);
	assert_string_equal(config->forward[2].path, "/run/resolv.conf");
	assert_int_equal(config->forward[2].domain_length, 0);
	assert_name(config->forward[3].domain, "consul");
	assert_int_equal(config->forward[3].domain_length, 8);
	assert_addr(&config->forward[3].address, "127.0.0.1:8600");
	config_drop(config);
}

static void single_domains_leave_the_rest_where_it_went(void **state)
{
	struct config *config = load_well("--forward=consul=127.0.0.1:8600", "", NULL);

	(void)state;
	assert_int_equal(config->forward_count, 2);
	assert_int_equal(config->forward[1].kind, CONFIG_FORWARD_FILE);
	assert_string_equal(config->forward[1].path, "/etc/resolv.conf");
	config_drop(config);
}

static void none_forwards_nothing_and_stands_alone(void **state)
{
	struct config *config =
		load_well("--forward=none --forward=consul=127.0.0.1:8600", "", NULL);

	(void)state;
	assert_int_equal(config->forward_count, 2);
	assert_int_equal(config->forward[0].kind, CONFIG_FORWARD_NONE);
	config_drop(config);
	assert_flag_fails("--forward=none --forward=192.0.2.1", "none and something else");
	assert_flag_fails("--forward=192.0.2.1 --forward=none", "none and something else");
}

static void forward_over_tls_has_an_address_and_perhaps_a_name(void **state)
{
	struct config *config = load_well(
		"--forward=tls://192.0.2.1 --forward=tls://[2001:db8::1]:8853#DNS.example. "
		"--forward=consul=TLS://127.0.0.1#x",
		"", NULL);

	(void)state;
	assert_int_equal(config->forward_count, 3);
	assert_int_equal(config->forward[0].kind, CONFIG_FORWARD_ADDRESS);
	assert_true(config->forward[0].is_tls);
	assert_addr(&config->forward[0].address, "192.0.2.1:853");
	assert_string_equal(config->forward[0].tls_name, "");
	assert_addr(&config->forward[1].address, "[2001:db8::1]:8853");
	assert_string_equal(config->forward[1].tls_name, "DNS.example");
	assert_int_equal(config->forward[2].domain_length, 8);
	assert_string_equal(config->forward[2].tls_name, "x");
	config_drop(config);
}

static void forward_over_tls_wants_an_address_and_a_host_name(void **state)
{
	char long_name[320] = "--forward=tls://192.0.2.1#";

	(void)state;
	memset(long_name + strlen(long_name), 'a', 64);
	assert_flag_fails("--forward=tls://", "no IP address");
	assert_flag_fails("--forward=tls://dns.example", "no IP address");
	assert_flag_fails("--forward=tls://192.0.2.1:0", "no IP address");
	assert_flag_fails("--forward=tls://0.0.0.0", "no IP address");
	assert_flag_fails("--forward=tls://192.0.2.1#", "no host name");
	assert_flag_fails("--forward=tls://192.0.2.1#.", "no host name");
	assert_flag_fails("--forward=tls://192.0.2.1#a..b", "no host name");
	assert_flag_fails("--forward=tls://192.0.2.1#*.example", "no host name");
	assert_flag_fails(long_name, "no host name");
}

static void nomad_address_keeps_scheme_user_and_port_and_drops_the_path(void **state)
{
	static const struct {
		const char *text, *address;
	} cases[] = {
		{ "HTTP://nomad.example", "http://nomad.example" },
		{ "https://u:p@nomad.example:4646/v1/", "https://u:p@nomad.example:4646" },
		{ "http://[2001:db8::1]:4646", "http://[2001:db8::1]:4646" },
		{ "http://192.0.2.1/", "http://192.0.2.1" },
		{ "http://nomad_client:4646", "http://nomad_client:4646" },
		{ "unix:///run/api.sock", "unix:///run/api.sock" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		char flag[128];
		struct config *config;

		snprintf(flag, sizeof(flag), "--nomad-address=%s", cases[i].text);
		config = load_well(flag, "", NULL);
		assert_string_equal(config->nomad_address[0], cases[i].address);
		config_drop(config);
	}
}

static void userinfo_is_never_printed(void **state)
{
	struct config *config = load_well("--nomad-address=http://user:secret@h:4646", "", NULL);

	(void)state;
	assert_null(strstr(config->origin_text, "secret"));
	assert_prints(config,
		      "\n# nomad-address = [\"http://***@h:4646\"]  # flag --nomad-address; as a "
		      "file it would not say the same\n");
	config_drop(config);
	assert_flag_fails("--nomad-address=http://user:secret@h:x", "***@h:x");
	assert_null(strstr(problem.text, "secret"));
	assert_flag_fails("--nomad-address=http://user:sec/ret@h", "***@h");
	assert_null(strstr(problem.text, "sec/"));
	assert_flag_fails("--nomad-address=user:secret@h:1", "***@h:1");
	assert_null(strstr(problem.text, "secret"));
}

static void given_allow_is_no_default(void **state)
{
	struct config *config = load_well("--allow=0.0.0.0/0", "", NULL);

	(void)state;
	assert_false(config->allow_self);
	assert_int_equal(config->allow_count, 1);
	config_drop(config);
}

static void allow_self_stands_beside_networks_and_alone(void **state)
{
	struct config *config = load_well("--allow=192.0.2.0/24 --allow=Self", "", NULL);

	(void)state;
	assert_true(config->allow_self);
	assert_int_equal(config->allow_count, 1);
	config_drop(config);
	config = load_well("", "NOMAD_DNS_ALLOW=self", NULL);
	assert_true(config->allow_self);
	assert_int_equal(config->allow_count, 0);
	config_drop(config);
}

/* "zone = …" of so many bytes in wire form, in labels of three letters and a last one. */
static const char *zone_flag_of(size_t wire_bytes)
{
	static char flag[320];
	size_t letters = wire_bytes - 2, at = 0; /* without the first length and the root */

	memcpy(flag, "--zone=", 7);
	for (; at < letters; at++)
		flag[7 + at] = at % 4 == 3 && at + 1 < letters ? '.' : 'a';
	flag[7 + at] = '\0';
	return flag;
}

static void zone_leaves_room_for_the_names_below_it(void **state)
{
	struct config *config = load_well(zone_flag_of(211), "", NULL);

	(void)state;
	assert_int_equal(config->zone[0].length, 211);
	config_drop(config);
	assert_flag_fails(zone_flag_of(212), "it has 212 bytes of the 255 a name may have, and 44 "
					     "must be left for the services below it; give a "
					     "shorter domain; allowed: a domain name of at most "
					     "209 bytes");
	assert_flag_fails(zone_flag_of(245), "it has 245 bytes");
	assert_flag_fails(zone_flag_of(255), "it has 255 bytes");
	assert_flag_fails(zone_flag_of(256), "it is no domain name");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(listen_takes_port_53_if_none_is_given,
						make_directory, remove_directory),
		cmocka_unit_test_setup_teardown(same_value_twice_is_an_error, make_directory,
						remove_directory),
		cmocka_unit_test_setup_teardown(lists_have_a_ceiling, make_directory,
						remove_directory),
		cmocka_unit_test_setup_teardown(forward_has_four_forms, make_directory,
						remove_directory),
		cmocka_unit_test_setup_teardown(single_domains_leave_the_rest_where_it_went,
						make_directory, remove_directory),
		cmocka_unit_test_setup_teardown(none_forwards_nothing_and_stands_alone,
						make_directory, remove_directory),
		cmocka_unit_test_setup_teardown(forward_over_tls_has_an_address_and_perhaps_a_name,
						make_directory, remove_directory),
		cmocka_unit_test_setup_teardown(forward_over_tls_wants_an_address_and_a_host_name,
						make_directory, remove_directory),
		cmocka_unit_test_setup_teardown(
			nomad_address_keeps_scheme_user_and_port_and_drops_the_path, make_directory,
			remove_directory),
		cmocka_unit_test_setup_teardown(userinfo_is_never_printed, make_directory,
						remove_directory),
		cmocka_unit_test_setup_teardown(given_allow_is_no_default, make_directory,
						remove_directory),
		cmocka_unit_test_setup_teardown(allow_self_stands_beside_networks_and_alone,
						make_directory, remove_directory),
		cmocka_unit_test_setup_teardown(zone_leaves_room_for_the_names_below_it,
						make_directory, remove_directory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
