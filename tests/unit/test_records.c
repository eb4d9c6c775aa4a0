#include "unit/support.h"

#include "dns/records.h"

/* The record with the question's name as owner, read back by ldns as ANSWER of a reply. */
static const char *read_back(const char *qname, uint16_t qtype, const uint8_t *rr, int length)
{
	struct packet packet = packet_query(qname, qtype, DNS_CLASS_IN);
	const char *text;
	ldns_pkt *pkt;

	assert_true(length > 0);
	packet_put(&packet, rr, (size_t)length);
	packet.bytes[2] |= 0x80;
	packet.bytes[7] = 1;
	pkt = read_reply(packet.bytes, packet.length);
	text = nth_text(ldns_pkt_answer(pkt), 0);
	ldns_pkt_free(pkt);
	return text;
}

static void an_ipv4_address_is_an_a_record(void **state)
{
	struct addr addr = ip("192.168.29.76");
	uint8_t rr[RECORDS_RR_MAX];
	int length = records_address(&addr, 10, rr);

	(void)state;
	assert_int_equal(length, 16);
	assert_memory_equal(rr, "\300\14\0\1\0\1\0\0\0\12\0\4\300\250\35\114", 16);
	assert_string_equal(read_back("x.nomad", DNS_TYPE_A, rr, length),
			    "x.nomad. 10 IN A 192.168.29.76");
}

static void an_ipv6_address_is_an_aaaa_record(void **state)
{
	struct addr addr = ip("2001:db8::1");
	uint8_t rr[RECORDS_RR_MAX];
	int length = records_address(&addr, 0, rr);

	(void)state;
	assert_int_equal(length, 28);
	assert_string_equal(read_back("x.nomad", DNS_TYPE_AAAA, rr, length),
			    "x.nomad. 0 IN AAAA 2001:db8::1");
}

static void an_srv_record_has_its_target_written_out(void **state)
{
	uint8_t rr[RECORDS_RR_MAX], target[DNS_NAME_MAX];
	size_t target_length = wire_name("10-0-0-1.x.nomad", target);
	int length = records_srv(10, 20, 65535, target, 10, rr);

	(void)state;
	assert_int_equal(length, 2 + 10 + 6 + target_length);
	assert_memory_equal(rr + 18, target, target_length);
	assert_string_equal(read_back("x.nomad", DNS_TYPE_SRV, rr, length),
			    "x.nomad. 10 IN SRV 10 20 65535 10-0-0-1.x.nomad.");
}

static void the_case_of_a_target_is_kept(void **state)
{
	uint8_t rr[RECORDS_RR_MAX], target[DNS_NAME_MAX];

	(void)state;
	wire_name("DB.Example.COM", target);
	assert_string_equal(
		read_back("x.nomad", DNS_TYPE_SRV, rr, records_srv(1, 2, 3, target, 4, rr)),
		"x.nomad. 4 IN SRV 1 2 3 DB.Example.COM.");
}

static void ptr_and_ns_point_to_a_name(void **state)
{
	uint8_t rr[RECORDS_RR_MAX], target[DNS_NAME_MAX];

	(void)state;
	wire_name("ns.nomad", target);
	assert_string_equal(read_back("nomad", DNS_TYPE_NS, rr, records_ns(target, 10, rr)),
			    "nomad. 10 IN NS ns.nomad.");
	assert_string_equal(
		read_back("1.0.0.10.in-addr.arpa", DNS_TYPE_PTR, rr, records_ptr(target, 10, rr)),
		"1.0.0.10.in-addr.arpa. 10 IN PTR ns.nomad.");
}

static void the_soa_says_who_when_and_how_long(void **state)
{
	uint8_t rr[RECORDS_RR_MAX], zone[DNS_NAME_MAX];
	size_t serial_at = 0;
	int length;

	(void)state;
	wire_name("nomad", zone);
	length = records_soa(zone, 0x01020304, 5, &serial_at, rr);
	assert_string_equal(
		read_back("a.b.nomad", DNS_TYPE_SOA, rr, length),
		"nomad. 5 IN SOA ns.nomad. hostmaster.nomad. 16909060 3600 600 86400 5");
	assert_memory_equal(rr + serial_at, "\1\2\3\4", 4);
}

static void names_of_any_length_are_no_overrun(void **state)
{
	char text[300];
	uint8_t rr[RECORDS_RR_MAX], zone[DNS_NAME_MAX];
	size_t serial_at = 77;

	(void)state;
	for (unsigned bytes = 200; bytes <= 255; bytes++) { /* wire length of the zone */
		int length;

		memset(text, 'z', sizeof(text));
		text[50] = text[101] = text[152] = '.';
		if (bytes > 206)
			text[203] = '.';
		text[bytes - 2] = '\0';
		assert_int_equal(wire_name(text, zone), bytes);
		serial_at = 77;
		length = records_soa(zone, 1, 5, &serial_at, rr);
		if (bytes <= 244) { /* hostmaster.<zone> is a name */
			assert_int_equal(length, bytes + 10 + (bytes + 3) + (bytes + 11) + 20);
		} else {
			assert_true(length < 0);
			assert_int_equal(serial_at, 77);
		}
		assert_int_equal(records_srv(1, 1, 1, zone, 1, rr), 2 + 10 + 6 + bytes);
	}
}

static void any_is_answered_by_one_hinfo(void **state)
{
	uint8_t rr[RECORDS_RR_MAX];

	(void)state;
	assert_string_equal(read_back("x.nomad", DNS_TYPE_ANY, rr, records_any_hinfo(10, rr)),
			    "x.nomad. 10 IN HINFO \"RFC8482\" \"\"");
}

static void txt_is_one_string_in_its_class(void **state)
{
	uint8_t rr[RECORDS_RR_MAX];

	(void)state;
	assert_string_equal(read_back("id.server", DNS_TYPE_TXT, rr,
				      records_txt(DNS_CLASS_CH, "node \"1\"", 0, rr)),
			    "id.server. 0 CH TXT \"node \\\"1\\\"\"");
}

static void a_txt_is_cut_at_255_bytes(void **state)
{
	uint8_t rr[RECORDS_RR_MAX];
	char text[301];
	int length;

	(void)state;
	memset(text, 't', sizeof(text) - 1);
	text[300] = '\0';
	length = records_txt(DNS_CLASS_IN, text, 0, rr);
	assert_int_equal(length, 2 + 10 + 1 + 255);
	assert_int_equal(rr[12], 255);
}

static void the_library_has_a_version(void **state)
{
	(void)state;
	assert_string_equal(records_library_version(), ldns_version());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_ipv4_address_is_an_a_record),
		cmocka_unit_test(an_ipv6_address_is_an_aaaa_record),
		cmocka_unit_test(an_srv_record_has_its_target_written_out),
		cmocka_unit_test(the_case_of_a_target_is_kept),
		cmocka_unit_test(ptr_and_ns_point_to_a_name),
		cmocka_unit_test(the_soa_says_who_when_and_how_long),
		cmocka_unit_test(names_of_any_length_are_no_overrun),
		cmocka_unit_test(any_is_answered_by_one_hinfo),
		cmocka_unit_test(txt_is_one_string_in_its_class),
		cmocka_unit_test(a_txt_is_cut_at_255_bytes),
		cmocka_unit_test(the_library_has_a_version),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
