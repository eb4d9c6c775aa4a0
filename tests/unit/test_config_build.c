#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "config/options.h"
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

/* ---- what is printed is a file that says the same ---- */

#define VALUES_MAX 4

struct sample {
	const char *name;
	const char *value[VALUES_MAX]; /* not the default, and awkward where it can be */
};

static const struct sample SAMPLES[] = {
	{ "listen", { "[::1]:53", "127.0.0.2" } },
	{ "nomad-address", { "https://nomad.example:4646", "unix:///run/a\"b.sock" } },
	{ "nomad-token-file", { "/a \\ b # \"c\", [d]" } },
	{ "nomad-http-auth-file", { "/\xc3\xa4\xf0\x9f\x98\x80" } },
	{ "nomad-region", { "0123" } },
	{ "nomad-ca-cert", { "/a\\u0041" } },
	{ "nomad-ca-path", { "ca" } },
	{ "nomad-client-cert", { "true" } },
	{ "nomad-client-key", { "{ }" } },
	{ "nomad-tls-server-name", { "server.global.nomad" } },
	{ "nomad-tls-skip-verify", { "yes" } },
	{ "namespace", { "prod", "007", "off" } },
	{ "filter", { "\"canary\" not in Tags and Meta[\"a\\b\"] != `x`" } },
	{ "zone", { "a\\.b.Example", "nomad" } },
	{ "reverse", { "1" } },
	{ "ttl", { "1m30s" } },
	{ "negative-ttl", { "0" } },
	{ "mirror", { "WATCH" } },
	{ "preload", { "12" } },
	{ "settle", { "0ms" } },
	{ "max-stale", { "1d12h" } },
	{ "forward", { "192.0.2.1:5353", "consul=127.0.0.1:8600", "tls://192.0.2.2#a.example" } },
	{ "forward-timeout", { "150ms" } },
	{ "cache-size", { "1048576" } },
	{ "cache-max-ttl", { "2h" } },
	{ "cache-min-ttl", { "1s" } },
	{ "serve-stale", { "0" } },
	{ "allow", { "192.0.2.0/24", "self" } },
	{ "rebind-protection", { "on" } },
	{ "private-zones", { "on" } },
	{ "hide-version", { "on" } },
	{ "server-id", { "" } },
	{ "workers", { "007" } },
	{ "reuseport", { "on" } },
	{ "tcp-max-clients", { "1" } },
	{ "tcp-idle-timeout", { "1s" } },
	{ "admin", { "/run/nomad-dns/admin.sock" } },
	{ "metrics-prefix", { "coredns" } },
	{ "log-level", { "Debug" } },
	{ "log-format", { "json" } },
	{ "log-queries", { "errors" } },
	{ "lame-duck", { "500ms" } },
};

static bool is_same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool is_same_list(char *const *a, size_t a_count, char *const *b, size_t b_count)
{
	if (a_count != b_count)
		return false;
	for (size_t i = 0; i < a_count; i++) {
		if (strcmp(a[i], b[i]) != 0)
			return false;
	}
	return true;
}

/* Addresses have bytes between their fields that say nothing. */
static bool is_same_addr(const struct addr *a, const struct addr *b)
{
	return a->family == b->family && a->port == b->port && a->scope_id == b->scope_id &&
	       memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

static bool is_same_listen(const struct config *a, const struct config *b)
{
	bool is_same = a->listen_count == b->listen_count;

	for (size_t i = 0; is_same && i < a->listen_count; i++)
		is_same = is_same_addr(&a->listen[i], &b->listen[i]);
	return is_same;
}

static bool is_same_allow(const struct config *a, const struct config *b)
{
	bool is_same = a->allow_count == b->allow_count;

	for (size_t i = 0; is_same && i < a->allow_count; i++)
		is_same = is_same_addr(&a->allow[i].base, &b->allow[i].base) &&
			  a->allow[i].prefix_bits == b->allow[i].prefix_bits;
	return is_same;
}

static bool is_same_zone(const struct config *a, const struct config *b)
{
	bool is_same = a->zone_count == b->zone_count;

	for (size_t i = 0; is_same && i < a->zone_count; i++)
		is_same = a->zone[i].length == b->zone[i].length &&
			  memcmp(a->zone[i].name, b->zone[i].name, a->zone[i].length) == 0;
	return is_same;
}

static bool is_same_forward(const struct config *a, const struct config *b)
{
	bool is_same = a->forward_count == b->forward_count;

	for (size_t i = 0; is_same && i < a->forward_count; i++) {
		const struct config_forward *one = &a->forward[i], *other = &b->forward[i];

		is_same = one->kind == other->kind && one->domain_length == other->domain_length &&
			  memcmp(one->domain, other->domain, one->domain_length) == 0 &&
			  is_same_addr(&one->address, &other->address) &&
			  one->is_tls == other->is_tls &&
			  strcmp(one->tls_name, other->tls_name) == 0 &&
			  is_same_text(one->path, other->path);
	}
	return is_same;
}

#define TEXTS(X)                                                                                   \
	X(nomad_token_file)                                                                        \
	X(nomad_token)                                                                             \
	X(nomad_http_auth_file)                                                                    \
	X(nomad_http_auth)                                                                         \
	X(nomad_region)                                                                            \
	X(nomad_ca_cert)                                                                           \
	X(nomad_ca_path)                                                                           \
	X(nomad_client_cert)                                                                       \
	X(nomad_client_key)                                                                        \
	X(nomad_tls_server_name)                                                                   \
	X(filter)                                                                                  \
	X(server_id)                                                                               \
	X(admin)                                                                                   \
	X(admin_path)                                                                              \
	X(metrics_prefix)

/* Pointers are followed one by one; all other bytes are compared as they are, so that a new field
 * is compared too: one that points somewhere fails here until it is followed. */
static bool is_same(const struct config *a, const struct config *b)
{
	struct config one, other;
	bool is_same =
		is_same_list(a->nomad_address, a->nomad_address_count, b->nomad_address,
			     b->nomad_address_count) &&
		is_same_list(a->namespace, a->namespace_count, b->namespace, b->namespace_count) &&
		is_same_listen(a, b) && is_same_allow(a, b) && is_same_zone(a, b) &&
		is_same_forward(a, b) && is_same_addr(&a->admin_addr, &b->admin_addr);

	memcpy(&one, a, sizeof(one));
	memcpy(&other, b, sizeof(other));
#define COMPARE(field)                                                                             \
	is_same = is_same && is_same_text(a->field, b->field);                                     \
	one.field = other.field = NULL;
	TEXTS(COMPARE)
#undef COMPARE
	one.nomad_address = other.nomad_address = NULL;
	one.namespace = other.namespace = NULL;
	one.listen = other.listen = NULL;
	one.allow = other.allow = NULL;
	one.zone = other.zone = NULL;
	one.forward = other.forward = NULL;
	memset(&one.admin_addr, 0, sizeof(one.admin_addr));
	memset(&other.admin_addr, 0, sizeof(other.admin_addr));
	one.origin_text = other.origin_text = NULL;
	one.option_texts = other.option_texts = NULL;
	return is_same && memcmp(&one, &other, sizeof(one)) == 0;
}

/* A configuration of one sample; a certificate takes its key along, and a key its certificate. */
static struct config *load_sample(const struct sample *sample)
{
	static const char *const companions[] = { "--nomad-client-cert=/c",
						  "--nomad-client-key=/k" };
	char flags[VALUES_MAX][256], *argv[VALUES_MAX + 2];
	int argc = 0;
	struct config *config;

	for (size_t i = 0; i < 2 && strncmp(sample->name, "nomad-client", 12) == 0; i++)
		argv[argc++] = (char *)companions[i];
	for (size_t i = 0; i < VALUES_MAX && sample->value[i]; i++) {
		snprintf(flags[i], sizeof(flags[i]), "--%s=%s", sample->name, sample->value[i]);
		argv[argc++] = flags[i];
	}
	config = config_load(argc, argv, NULL, &problem);
	if (config == NULL)
		print_error("%s\n", problem.text);
	assert_non_null(config);
	return config;
}

static void assert_reads_back(struct config *config)
{
	struct config *again = load_well("", "", config->origin_text);

	if (!is_same(config, again))
		print_error("read back as a file, this says something else:\n%s\n",
			    config->origin_text);
	assert_true(is_same(config, again));
	config_drop(again);
}

static void printed_defaults_are_a_file_that_says_the_same(void **state)
{
	struct config *config = load_well("", "", NULL);

	(void)state;
	assert_reads_back(config);
	assert_prints(config, "\"100.64.0.0/10\", \"self\"]  # default\n");
	config_drop(config);
}

static void every_printed_option_is_a_line_that_says_the_same(void **state)
{
	struct config *defaults = load_well("", "", NULL);
	size_t at = 0;

	(void)state;
	for (size_t i = 0; i < option_row_count; i++) {
		struct config *config;

		if (option_rows[i].parse == NULL)
			continue;
		assert_true(at < COUNT_OF(SAMPLES));
		assert_string_equal(SAMPLES[at].name, option_rows[i].name);
		config = load_sample(&SAMPLES[at++]);
		if (is_same(config, defaults))
			print_error("the sample of %s is its default\n", option_rows[i].name);
		assert_false(is_same(config, defaults));
		assert_reads_back(config);
		config_drop(config);
	}
	assert_int_equal(at, COUNT_OF(SAMPLES));
	config_drop(defaults);
}

static void what_no_file_can_say_is_printed_as_a_comment(void **state)
{
	char binary[] = "--server-id=a\xff", *argv[] = { binary };
	struct config *config = config_load(1, argv, NULL, &problem);

	(void)state;
	assert_non_null(config);
	assert_prints(config,
		      "\n# server-id = \"a\\ufffd\"  # flag --server-id; as a file it would "
		      "not say the same\n");
	config_drop(config);
}

static void name_of_a_file_does_not_end_its_comment(void **state)
{
	char flag[160], *argv[] = { flag };
	struct config *config;

	(void)state;
	write_file("nomad-dns.conf", "reverse = on\n");
	snprintf(flag, sizeof(flag), "%s\nttl = 1s", conf_path);
	assert_int_equal(rename(conf_path, flag), 0);
	memmove(flag + 9, flag, strlen(flag) + 1);
	memcpy(flag, "--config=", 9);
	config = config_load(1, argv, NULL, &problem);
	unlink(flag + 9);
	assert_non_null(config);
	assert_true(config->reverse);
	assert_reads_back(config);
	config_drop(config);
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
		cmocka_unit_test_setup_teardown(printed_defaults_are_a_file_that_says_the_same,
						make_directory, remove_directory),
		cmocka_unit_test_setup_teardown(every_printed_option_is_a_line_that_says_the_same,
						make_directory, remove_directory),
		cmocka_unit_test_setup_teardown(what_no_file_can_say_is_printed_as_a_comment,
						make_directory, remove_directory),
		cmocka_unit_test_setup_teardown(name_of_a_file_does_not_end_its_comment,
						make_directory, remove_directory),
		cmocka_unit_test_setup_teardown(each_option_is_printed_once, make_directory,
						remove_directory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
