#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "base/addr.h"
#include "base/bytes.h"

static struct addr ip(const char *text)
{
	struct addr addr;

	assert_int_equal(addr_parse_ip(text, &addr), 0);
	return addr;
}

static struct addr_net net(const char *text)
{
	struct addr_net out;

	assert_int_equal(addr_parse_net(text, &out), 0);
	return out;
}

static void addresses_survive_a_round_trip(void **state)
{
	static const struct {
		const char *text, *out;
	} cases[] = {
		{ "192.0.2.1", "192.0.2.1" },	    { "2001:DB8:0::1", "2001:db8::1" },
		{ "[2001:db8::1]", "2001:db8::1" }, { "::", "::" },
		{ "fe80::1%2", "fe80::1%2" },	    { "::ffff:192.0.2.1", "192.0.2.1" },
	};
	char out[ADDR_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct addr addr = ip(cases[i].text);

		addr_format_ip(&addr, out);
		assert_string_equal(out, cases[i].out);
		assert_int_equal(addr.port, 0);
	}
}

static void what_is_no_address_is_refused(void **state)
{
	static const char *const cases[] = {
		"",
		"localhost",
		"192.0.2",
		"192.0.2.256",
		"192.0.2.1 ",
		"192.0.2.1:53",
		"[192.0.2.1]",
		"2001:db8::g",
		"[::1",
		"::1]",
		"fe80::1%",
		"2001:db8::1%2",
		"fe80::1%0",
		"fe80::1%no-such-interface-here",
		"0300.0.0.1",
		"127.1",
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct addr addr = { .port = 7 };

		assert_int_equal(addr_parse_ip(cases[i], &addr), -EINVAL);
		assert_int_equal(addr.port, 7);
	}
}

static void interface_name_is_a_scope(void **state)
{
	struct addr addr;

	(void)state;
	assert_int_equal(addr_parse_ip("fe80::1%lo", &addr), 0);
	assert_true(addr.scope_id > 0);
}

static void port_follows_address_or_is_the_default(void **state)
{
	static const struct {
		const char *text, *out;
	} cases[] = {
		{ "192.0.2.1:5353", "192.0.2.1:5353" },
		{ "192.0.2.1", "192.0.2.1:53" },
		{ "[::1]:5353", "[::1]:5353" },
		{ "[::1]", "[::1]:53" },
		{ "::1", "[::1]:53" },
		{ "2001:db8::5353", "[2001:db8::5353]:53" },
		{ "[fe80::1%2]:99", "[fe80::1%2]:99" },
		{ "192.0.2.1:0", "192.0.2.1:0" },
	};
	char out[ADDR_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct addr addr;

		assert_int_equal(addr_parse(cases[i].text, 53, &addr), 0);
		addr_format(&addr, out);
		assert_string_equal(out, cases[i].out);
	}
}

static void bad_port_is_refused(void **state)
{
	static const char *const cases[] = {
		"192.0.2.1:", "192.0.2.1:65536", "192.0.2.1:x", "[::1]:",  "[::1]x",
		"[::1]53",    "192.0.2.1:-1",	 ":53",		"host:53", "192.0.2.1:53:53"
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct addr addr;

		assert_int_equal(addr_parse(cases[i], 53, &addr), -EINVAL);
	}
}

static void longest_text_fits(void **state)
{
	char out[ADDR_TEXT_MAX];
	struct addr addr = { .family = AF_INET6, .port = 65535, .scope_id = UINT32_MAX };

	(void)state;
	memset(addr.bytes, 0xff, sizeof(addr.bytes));
	addr_format(&addr, out);
	assert_string_equal(out, "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535");
}

static void no_address_is_written_as_a_dash(void **state)
{
	struct addr addr = { 0 };
	char out[ADDR_TEXT_MAX];

	(void)state;
	addr_format_ip(&addr, out);
	assert_string_equal(out, "-");
}

static void network_holds_its_addresses_only(void **state)
{
	static const struct {
		const char *net, *ip;
		bool is_in;
	} cases[] = {
		{ "10.0.0.0/8", "10.255.255.255", true },
		{ "10.0.0.0/8", "11.0.0.0", false },
		{ "172.16.0.0/12", "172.31.255.255", true },
		{ "172.16.0.0/12", "172.32.0.0", false },
		{ "0.0.0.0/0", "203.0.113.9", true },
		{ "0.0.0.0/0", "::1", false },
		{ "192.0.2.1", "192.0.2.1", true },
		{ "192.0.2.1", "192.0.2.2", false },
		{ "fc00::/7", "fdff::1", true },
		{ "fc00::/7", "fe00::1", false },
		{ "::1", "::1", true },
		{ "::/0", "2001:db8::1", true },
		{ "10.0.0.0/8", "::ffff:10.1.1.1", true },
		{ "::ffff:10.0.0.0/104", "10.1.2.3", true },
		{ "fe80::/10", "fe80::1%2", true },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct addr_net network = net(cases[i].net);
		struct addr addr = ip(cases[i].ip);

		assert_int_equal(addr_is_in(&addr, &network), cases[i].is_in);
	}
}

static void bad_network_is_refused(void **state)
{
	static const char *const cases[] = {
		"10.0.0.1/8",	"10.0.0.0/33", "10.0.0.0/",	     "/8", "fd00::1/8", "::/129",
		"10.0.0.0/8/8", "10.0.0.0/-1", "::ffff:10.0.0.0/64", ""
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct addr_net out;

		assert_int_equal(addr_parse_net(cases[i], &out), -EINVAL);
	}
}

static void kinds_of_addresses_are_told_apart(void **state)
{
	static const struct {
		const char *text;
		bool is_loopback, is_link_local, is_any;
	} cases[] = {
		{ "127.0.0.53", true, false, false },  { "::1", true, false, false },
		{ "169.254.1.1", false, true, false }, { "fe80::1", false, true, false },
		{ "febf::1", false, true, false },     { "fec0::1", false, false, false },
		{ "0.0.0.0", false, false, true },     { "::", false, false, true },
		{ "128.0.0.1", false, false, false },  { "2001:db8::1", false, false, false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct addr addr = ip(cases[i].text);

		assert_int_equal(addr_is_loopback(&addr), cases[i].is_loopback);
		assert_int_equal(addr_is_link_local(&addr), cases[i].is_link_local);
		assert_int_equal(addr_is_any(&addr), cases[i].is_any);
	}
}

static void same_address_is_compared_without_its_port(void **state)
{
	struct addr a = ip("192.0.2.1"), b = ip("192.0.2.1"), c = ip("192.0.2.2");
	struct addr d = ip("fe80::1%1"), e = ip("fe80::1%2");

	(void)state;
	b.port = 53;
	assert_true(addr_same_ip(&a, &b));
	assert_false(addr_same_ip(&a, &c));
	assert_false(addr_same_ip(&d, &e));
	assert_false(addr_same_ip(&a, &d));
}

static void socket_address_survives_a_round_trip(void **state)
{
	static const char *const cases[] = { "192.0.2.1:53", "[2001:db8::1]:53", "[fe80::1%2]:53" };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct addr addr, back;
		union addr_socket socket;
		char out[ADDR_TEXT_MAX];

		assert_int_equal(addr_parse(cases[i], 0, &addr), 0);
		assert_int_equal(addr_to_socket(&addr, &socket),
				 addr.family == AF_INET ? sizeof(socket.in) : sizeof(socket.in6));
		assert_int_equal(addr_from_socket(&socket.sa, &back), 0);
		addr_format(&back, out);
		assert_string_equal(out, cases[i]);
	}
}

static void mapped_socket_address_becomes_ipv4(void **state)
{
	union addr_socket socket = { .in6 = { .sin6_family = AF_INET6, .sin6_port = htons(53) } };
	struct addr addr;
	char out[ADDR_TEXT_MAX];

	(void)state;
	assert_int_equal(inet_pton(AF_INET6, "::ffff:192.0.2.1", &socket.in6.sin6_addr), 1);
	assert_int_equal(addr_from_socket(&socket.sa, &addr), 0);
	addr_format(&addr, out);
	assert_string_equal(out, "192.0.2.1:53");
}

static void unix_socket_is_no_address(void **state)
{
	struct sockaddr sa = { .sa_family = AF_UNIX };
	struct addr addr;

	(void)state;
	assert_int_equal(addr_from_socket(&sa, &addr), -EAFNOSUPPORT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_survive_a_round_trip),
		cmocka_unit_test(what_is_no_address_is_refused),
		cmocka_unit_test(interface_name_is_a_scope),
		cmocka_unit_test(port_follows_address_or_is_the_default),
		cmocka_unit_test(bad_port_is_refused),
		cmocka_unit_test(longest_text_fits),
		cmocka_unit_test(no_address_is_written_as_a_dash),
		cmocka_unit_test(network_holds_its_addresses_only),
		cmocka_unit_test(bad_network_is_refused),
		cmocka_unit_test(kinds_of_addresses_are_told_apart),
		cmocka_unit_test(same_address_is_compared_without_its_port),
		cmocka_unit_test(socket_address_survives_a_round_trip),
		cmocka_unit_test(mapped_socket_address_becomes_ipv4),
		cmocka_unit_test(unix_socket_is_no_address),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
