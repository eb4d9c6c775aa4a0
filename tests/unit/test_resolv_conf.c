#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/resolv_conf.h"

static struct addr found[RESOLV_CONF_MAX];
static unsigned bad;

static size_t parse(const char *text)
{
	return resolv_conf_parse(text, strlen(text), found, &bad);
}

static void assert_found(size_t i, const char *expected)
{
	char text[ADDR_TEXT_MAX];

	addr_format(&found[i], text);
	assert_string_equal(text, expected);
}

static void nameserver_lines_are_servers_on_port_53(void **state)
{
	(void)state;
	assert_int_equal(parse("nameserver 192.0.2.1\nnameserver\t2001:db8::1\n"), 2);
	assert_found(0, "192.0.2.1:53");
	assert_found(1, "[2001:db8::1]:53");
	assert_int_equal(bad, 0);
}

static void other_lines_are_ignored(void **state)
{
	(void)state;
	assert_int_equal(parse("# nameserver 192.0.2.9\n; x\nsearch example.com\noptions ndots:5\n"
			       "\nnameservers 192.0.2.8\n  nameserver 192.0.2.1 # ours"),
			 1);
	assert_found(0, "192.0.2.1:53");
	assert_int_equal(bad, 0);
}

static void line_that_makes_no_sense_is_counted(void **state)
{
	(void)state;
	assert_int_equal(parse("nameserver\nnameserver dns.example\nnameserver [::1]:53\n"
			       "nameserver 192.0.2.1\n"),
			 1);
	assert_int_equal(bad, 3);
}

static void carriage_returns_and_scopes_are_read(void **state)
{
	(void)state;
	assert_int_equal(parse("nameserver 192.0.2.1\r\nnameserver fe80::1%2\r\n"), 2);
	assert_found(0, "192.0.2.1:53");
	assert_found(1, "[fe80::1%2]:53");
}

static void server_named_twice_counts_once(void **state)
{
	(void)state;
	assert_int_equal(parse("nameserver 192.0.2.1\nnameserver 192.0.2.1\n"), 1);
}

static void any_address_means_this_host(void **state)
{
	(void)state;
	assert_int_equal(parse("nameserver 0.0.0.0\nnameserver ::\n"), 2);
	assert_found(0, "127.0.0.1:53");
	assert_found(1, "[::1]:53");
}

static void only_the_first_sixteen_count(void **state)
{
	char text[4096] = "";
	size_t length = 0;

	(void)state;
	for (int i = 1; i <= 20; i++)
		length += (size_t)snprintf(text + length, sizeof(text) - length,
					   "nameserver 192.0.2.%d\n", i);
	assert_int_equal(parse(text), RESOLV_CONF_MAX);
	assert_found(15, "192.0.2.16:53");
}

static void bytes_of_any_kind_do_no_harm(void **state)
{
	static const char text[] = "nameserver \0 192.0.2.1\n\xff\xfe\nnameserver 1\0002.0.0.1\n";
	char *exact = malloc(sizeof(text) - 1);

	(void)state;
	memcpy(exact, text, sizeof(text) - 1);
	assert_int_equal(resolv_conf_parse(exact, sizeof(text) - 1, found, &bad), 0);
	assert_int_equal(bad, 2);
	assert_int_equal(resolv_conf_parse(exact, 0, found, &bad), 0);
	/* no newline, no terminator */
	assert_int_equal(resolv_conf_parse(exact, 10, found, &bad), 0);
	free(exact);
}

static void file_is_read(void **state)
{
	char path[] = "/tmp/nomad-dns-test-XXXXXX";
	int fd = mkstemp(path);
	static const char text[] = "nameserver 127.0.0.53\nnameserver 192.0.2.1\n";

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
	close(fd);
	assert_int_equal(resolv_conf_load(path, found, &bad), 2);
	assert_found(1, "192.0.2.1:53");
	unlink(path);
	assert_int_equal(resolv_conf_load(path, found, &bad), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nameserver_lines_are_servers_on_port_53),
		cmocka_unit_test(other_lines_are_ignored),
		cmocka_unit_test(line_that_makes_no_sense_is_counted),
		cmocka_unit_test(carriage_returns_and_scopes_are_read),
		cmocka_unit_test(server_named_twice_counts_once),
		cmocka_unit_test(any_address_means_this_host),
		cmocka_unit_test(only_the_first_sixteen_count),
		cmocka_unit_test(bytes_of_any_kind_do_no_harm),
		cmocka_unit_test(file_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
