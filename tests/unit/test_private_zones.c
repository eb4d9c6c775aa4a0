#include "unit/support.h"

#include "query/private_zones.h"

static struct private_zones *zones;
static struct config config;
static struct config_forward forwards[2];
static struct answer answer;

static int set_up(void **state)
{
	(void)state;
	memset(&config, 0, sizeof(config));
	memset(forwards, 0, sizeof(forwards));
	config.forward = forwards;
	zones = private_zones_new();
	return zones ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	private_zones_free(zones);
	return 0;
}

static void forward(const char *domain)
{
	struct config_forward *one = &forwards[config.forward_count++];

	one->kind = CONFIG_FORWARD_ADDRESS;
	one->domain_length = domain ? (uint8_t)wire_name(domain, one->domain) : 0;
}

static enum verdict ask(const char *name, uint16_t type)
{
	struct question question = ask_question(name, type);

	memset(&answer, 0xee, sizeof(answer));
	return private_zones_ask(zones, &config, &question, &answer);
}

static void expect_nxdomain(const char *name)
{
	if (ask(name, DNS_TYPE_PTR) != VERDICT_ANSWERED)
		fail_msg("%s is not answered", name);
	assert_int_equal(answer.rcode, DNS_NXDOMAIN);
	assert_true(answer.is_authoritative);
	assert_non_null(answer.soa.rr);
	assert_false(answer.soa_is_answer);
}

static void private_reverse_names_do_not_exist(void **state)
{
	(void)state;
	expect_nxdomain("1.2.3.10.in-addr.arpa");
	expect_nxdomain("1.0.16.172.in-addr.arpa");
	expect_nxdomain("1.0.31.172.in-addr.arpa");
	expect_nxdomain("1.1.168.192.IN-ADDR.ARPA");
	expect_nxdomain("1.0.0.127.in-addr.arpa");
	expect_nxdomain("1.1.254.169.in-addr.arpa");
	expect_nxdomain("1.1.64.100.in-addr.arpa");
	expect_nxdomain("1.1.127.100.in-addr.arpa");
	expect_nxdomain("1.2.0.192.in-addr.arpa");
	expect_nxdomain("0.d.f.ip6.arpa");
	expect_nxdomain("0.8.e.f.ip6.arpa");
	expect_nxdomain("1.8.b.d.0.1.0.0.2.ip6.arpa");
}

static void other_names_are_none_of_ours(void **state)
{
	static const char *const others[] = {
		"1.1.1.1.in-addr.arpa",
		"1.0.15.172.in-addr.arpa",
		"1.0.32.172.in-addr.arpa",
		"1.1.63.100.in-addr.arpa",
		"1.1.128.100.in-addr.arpa",
		"110.in-addr.arpa",
		"in-addr.arpa",
		"ip6.arpa",
		"0.c.f.ip6.arpa",
		"c.e.f.ip6.arpa",
		"10.example",
		"arpa",
		"168.192.in-addr.arpa.example",
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(others); i++) {
		if (ask(others[i], DNS_TYPE_PTR) != VERDICT_PASS)
			fail_msg("%s", others[i]);
	}
}

static void the_top_of_a_zone_exists(void **state)
{
	(void)state;
	assert_int_equal(ask("10.in-addr.arpa", DNS_TYPE_PTR), VERDICT_ANSWERED);
	assert_int_equal(answer.rcode, DNS_NOERROR);
	assert_false(answer.soa_is_answer);
	assert_int_equal(ask("10.in-addr.arpa", DNS_TYPE_SOA), VERDICT_ANSWERED);
	assert_true(answer.soa_is_answer);
}

static void the_soa_is_the_zones_own(void **state)
{
	(void)state;
	assert_int_equal(ask("1.2.3.10.in-addr.arpa", DNS_TYPE_PTR), VERDICT_ANSWERED);
	assert_memory_equal(answer.soa.rr,
			    "\x02"
			    "10\7in-addr\4arpa\0\0\6\0\1",
			    21);
	assert_int_equal(load_be32(answer.soa.rr + answer.soa.ttl_offset), 3600);
	assert_int_equal(load_be32(answer.soa.rr + answer.soa.serial_offset), 1);
}

static void who_has_servers_for_the_zone_is_asked(void **state)
{
	(void)state;
	forward("10.in-addr.arpa");
	assert_int_equal(ask("1.2.3.10.in-addr.arpa", DNS_TYPE_PTR), VERDICT_PASS);
	assert_int_equal(ask("10.in-addr.arpa", DNS_TYPE_SOA), VERDICT_PASS);
	expect_nxdomain("1.1.168.192.in-addr.arpa");
}

static void a_shorter_domain_matches_less(void **state)
{
	(void)state;
	forward("in-addr.arpa");
	forward(NULL);
	expect_nxdomain("1.2.3.10.in-addr.arpa");
}

static void servers_for_a_part_are_asked_for_that_part(void **state)
{
	(void)state;
	forward("3.10.in-addr.arpa");
	assert_int_equal(ask("1.2.3.10.in-addr.arpa", DNS_TYPE_PTR), VERDICT_PASS);
	assert_int_equal(ask("3.10.in-addr.arpa", DNS_TYPE_PTR), VERDICT_PASS);
	expect_nxdomain("1.2.4.10.in-addr.arpa");
}

static void a_name_above_such_a_part_exists(void **state)
{
	(void)state;
	forward("2.3.10.in-addr.arpa");
	assert_int_equal(ask("3.10.in-addr.arpa", DNS_TYPE_PTR), VERDICT_ANSWERED);
	assert_int_equal(answer.rcode, DNS_NOERROR);
	expect_nxdomain("4.10.in-addr.arpa");
}

static void with_reverse_names_above_an_address_may_exist(void **state)
{
	(void)state;
	config.reverse = true;
	assert_int_equal(ask("2.3.10.in-addr.arpa", DNS_TYPE_PTR), VERDICT_ANSWERED);
	assert_int_equal(answer.rcode, DNS_NOERROR);
	expect_nxdomain("1.2.3.10.in-addr.arpa");
	assert_int_equal(ask("0.d.f.ip6.arpa", DNS_TYPE_PTR), VERDICT_ANSWERED);
	assert_int_equal(answer.rcode, DNS_NOERROR);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(private_reverse_names_do_not_exist),
		TEST(other_names_are_none_of_ours),
		TEST(the_top_of_a_zone_exists),
		TEST(the_soa_is_the_zones_own),
		TEST(who_has_servers_for_the_zone_is_asked),
		TEST(a_shorter_domain_matches_less),
		TEST(servers_for_a_part_are_asked_for_that_part),
		TEST(a_name_above_such_a_part_exists),
		TEST(with_reverse_names_above_an_address_may_exist),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
