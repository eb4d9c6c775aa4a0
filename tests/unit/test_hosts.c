#include "unit/support.h"

#include "dns/records.h"
#include "nomad/hosts.h"

static struct hosts *hosts;
static struct image_builder builder;
static struct image *image;
static struct answer answer;
static const uint16_t picks[] = { 0, 1, 2, 3, 4, 5, 6, 7 };

static int set_up(void **state)
{
	(void)state;
	hosts = hosts_new(DNS_TYPE_A);
	answer_init(&answer);
	return hosts ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	hosts_free(hosts);
	free(image);
	image = NULL;
	return 0;
}

static void add_name(const char *text)
{
	uint8_t wire[DNS_NAME_MAX];
	size_t length = wire_name(text, wire);

	assert_true(hosts_add_name(hosts, wire, (uint8_t)length));
}

static void add_record(const char *address, uint32_t ttl_s)
{
	struct addr addr = ip(address);
	uint8_t rr[RECORDS_RR_MAX];
	int length = records_address(&addr, ttl_s, rr);

	image_builder_add(&builder, rr, (size_t)length, RECORDS_SHORT_OWNER);
}

static void add_cname(const char *target, uint32_t ttl_s)
{
	uint8_t rr[RECORDS_RR_MAX], wire[DNS_NAME_MAX];
	int length;

	wire_name(target, wire);
	length = records_ns(wire, ttl_s, rr);
	store_be16(rr + 2, DNS_TYPE_CNAME);
	image_builder_add(&builder, rr, (size_t)length, RECORDS_SHORT_OWNER);
}

static void finish(void)
{
	free(image);
	image = image_builder_finish(&builder);
	assert_non_null(image);
	answer.image = image;
}

static void expect(uint32_t index, const char *address, uint32_t ttl_s)
{
	struct addr addr = ip(address);

	assert_true(index < hosts->address_count);
	assert_true(addr_same_ip(&hosts->address[index].addr, &addr));
	assert_int_equal(hosts->address[index].ttl_s, ttl_s);
}

static void names_are_counted_up_to_a_ceiling(void **state)
{
	(void)state;
	for (int i = 0; i < HOSTS_MAX; i++)
		add_name("db.example.com");
	assert_false(hosts_add_name(hosts, (const uint8_t *)"", 1));
	assert_int_equal(hosts->name_count, HOSTS_MAX);
	assert_int_equal(hosts->open_count, HOSTS_MAX);
	assert_memory_equal(hosts->name[0], "\2db\7example\3com", 16);
}

static void the_addresses_of_a_reply_are_taken(void **state)
{
	(void)state;
	add_name("db.example.com");
	add_record("192.0.2.1", 300);
	add_record("192.0.2.2", 3);
	finish();
	hosts_take(hosts, &answer, 10);
	assert_int_equal(hosts->open_count, 0);
	assert_int_equal(hosts->failed_count, 0);
	assert_int_equal(hosts->address_count, 2);
	expect(0, "192.0.2.1", 10);
	expect(1, "192.0.2.2", 3);
}

static void only_the_answer_section_counts(void **state)
{
	(void)state;
	add_name("db.example.com");
	add_record("192.0.2.1", 300);
	add_record("192.0.2.2", 300);
	finish();
	image->answer_count = 1;
	image->additional_count = 1;
	hosts_take(hosts, &answer, 10);
	assert_int_equal(hosts->address_count, 1);
}

static void only_the_picked_records_count(void **state)
{
	(void)state;
	add_name("db.default.nomad");
	for (int i = 0; i < 3; i++)
		add_record(i == 2 ? "192.0.2.3" : "192.0.2.1", 10);
	finish();
	answer.picks = picks + 2;
	answer.pick_count = 1;
	hosts_take(hosts, &answer, 10);
	assert_int_equal(hosts->address_count, 1);
	expect(0, "192.0.2.3", 10);
}

static void other_types_are_passed_over(void **state)
{
	(void)state;
	add_name("db.example.com");
	add_record("2001:db8::1", 300);
	finish();
	hosts_take(hosts, &answer, 10);
	assert_int_equal(hosts->address_count, 0);
	assert_int_equal(hosts->failed_count, 0);
}

static void an_aaaa_question_takes_aaaa_records(void **state)
{
	(void)state;
	hosts_free(hosts);
	hosts = hosts_new(DNS_TYPE_AAAA);
	add_name("db.example.com");
	add_record("192.0.2.1", 300);
	add_record("2001:db8::1", 7);
	finish();
	hosts_take(hosts, &answer, 10);
	assert_int_equal(hosts->address_count, 1);
	expect(0, "2001:db8::1", 7);
}

static void an_address_of_two_names_is_taken_once(void **state)
{
	(void)state;
	add_name("a.example.com");
	add_name("b.example.com");
	add_record("192.0.2.1", 5);
	finish();
	hosts_take(hosts, &answer, 10);
	hosts_take(hosts, &answer, 10);
	assert_int_equal(hosts->open_count, 0);
	assert_int_equal(hosts->address_count, 1);
}

static void an_address_of_two_names_lives_as_long_as_the_shorter(void **state)
{
	(void)state;
	add_name("a.example.com");
	add_name("b.example.com");
	add_record("192.0.2.1", 9);
	finish();
	hosts_take(hosts, &answer, 10);
	add_record("192.0.2.1", 2);
	finish();
	hosts_take(hosts, &answer, 10);
	assert_int_equal(hosts->address_count, 1);
	expect(0, "192.0.2.1", 2);
}

static void there_is_a_ceiling_on_addresses(void **state)
{
	char text[32];

	(void)state;
	add_name("a.example.com");
	for (int i = 0; i < HOSTS_ADDRESSES_MAX + 9; i++) {
		snprintf(text, sizeof(text), "192.0.2.%d", i);
		add_record(text, 5);
	}
	finish();
	hosts_take(hosts, &answer, 10);
	assert_int_equal(hosts->address_count, HOSTS_ADDRESSES_MAX);
}

static void resolved_addresses_of_a_service_are_taken(void **state)
{
	struct answer_address addresses[] = { { ip("192.0.2.1"), 300 }, { ip("192.0.2.2"), 4 } };

	(void)state;
	add_name("localhost");
	answer.addresses = addresses;
	answer.address_count = 2;
	hosts_take(hosts, &answer, 10);
	expect(0, "192.0.2.1", 10);
	expect(1, "192.0.2.2", 4);
}

static void a_name_without_addresses_is_no_failure(void **state)
{
	(void)state;
	add_name("a.example.com");
	add_name("b.example.com");
	answer.rcode = DNS_NXDOMAIN;
	hosts_take(hosts, &answer, 10);
	answer.rcode = DNS_NOERROR;
	hosts_take(hosts, &answer, 10);
	assert_int_equal(hosts->failed_count, 0);
	assert_int_equal(hosts->address_count, 0);
}

static void servfail_and_refused_are_failures(void **state)
{
	(void)state;
	add_name("a.example.com");
	add_name("b.example.com");
	answer_fail(&answer, 0, DNS_EDE_NETWORK_ERROR, NULL);
	hosts_take(hosts, &answer, 10);
	answer.rcode = DNS_REFUSED;
	hosts_take(hosts, &answer, 10);
	assert_int_equal(hosts->failed_count, 2);
	assert_int_equal(hosts->open_count, 0);
}

static void ttls_are_those_the_answer_would_have(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++)
		add_name("a.example.com");
	add_record("192.0.2.1", 300);
	add_record("192.0.2.2", 0);
	finish();
	answer.age_s = 298;
	hosts_take(hosts, &answer, 10);
	expect(0, "192.0.2.1", 2);
	expect(1, "192.0.2.2", 0);
	hosts->address_count = 0;
	answer.age_s = 301;
	hosts_take(hosts, &answer, 10);
	expect(0, "192.0.2.1", 1);
	hosts->address_count = 0;
	answer.age_s = 0;
	answer.ttl_max_s = 4; /* the cache's entry ends before its records */
	hosts_take(hosts, &answer, 10);
	expect(0, "192.0.2.1", 4);
	hosts->address_count = 0;
	answer.is_stale = true;
	answer.ttl_max_s = 30;
	answer.age_s = 5000;
	hosts_take(hosts, &answer, 60);
	expect(0, "192.0.2.1", 30);
	expect(1, "192.0.2.2", 1);
}

static void an_alias_bounds_the_ttl_of_what_it_leads_to(void **state)
{
	(void)state;
	add_name("a.example.com");
	add_cname("b.example.com", 3);
	add_record("192.0.2.1", 300);
	finish();
	hosts_take(hosts, &answer, 10);
	assert_int_equal(hosts->address_count, 1);
	expect(0, "192.0.2.1", 3);
}

static void what_instances_have_themselves_is_left_out(void **state)
{
	struct answer_address addresses[] = { { ip("192.0.2.1"), 9 },
					      { ip("192.0.2.2"), 9 },
					      { ip("192.0.2.3"), 9 } };

	(void)state;
	add_name("a.example.com");
	answer.addresses = addresses;
	answer.address_count = 3;
	hosts_take(hosts, &answer, 10);
	add_record("192.0.2.2", 10);
	add_record("192.0.2.3", 10);
	finish();
	hosts_leave_out(hosts, image, picks, 1);
	assert_int_equal(hosts->address_count, 2);
	expect(0, "192.0.2.1", 9);
	expect(1, "192.0.2.3", 9);
	hosts_leave_out(hosts, image, picks, 0);
	assert_int_equal(hosts->address_count, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(names_are_counted_up_to_a_ceiling, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(the_addresses_of_a_reply_are_taken, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(only_the_answer_section_counts, set_up, tear_down),
		cmocka_unit_test_setup_teardown(only_the_picked_records_count, set_up, tear_down),
		cmocka_unit_test_setup_teardown(other_types_are_passed_over, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_aaaa_question_takes_aaaa_records, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(an_address_of_two_names_is_taken_once, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(
			an_address_of_two_names_lives_as_long_as_the_shorter, set_up, tear_down),
		cmocka_unit_test_setup_teardown(there_is_a_ceiling_on_addresses, set_up, tear_down),
		cmocka_unit_test_setup_teardown(resolved_addresses_of_a_service_are_taken, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_name_without_addresses_is_no_failure, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(servfail_and_refused_are_failures, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(ttls_are_those_the_answer_would_have, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(an_alias_bounds_the_ttl_of_what_it_leads_to, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(what_instances_have_themselves_is_left_out, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
