#include "unit/support.h"

#define A DNS_TYPE_A
#define IN DNS_CLASS_IN

static struct question question;

static enum question_verdict parse(const struct packet *packet)
{
	uint8_t *copy = malloc(packet->length ? packet->length : 1); /* so that a sanitizer sees */
	enum question_verdict verdict;

	memcpy(copy, packet->bytes, packet->length);
	memset(&question, 0xee, sizeof(question));
	verdict = question_parse(copy, packet->length, &question);
	free(copy);
	return verdict;
}

static struct packet edns_query(const void *options, size_t length)
{
	struct packet packet = packet_query("redis.default.nomad", A, IN);

	packet_opt(&packet, 1232, 0, options, length);
	return packet;
}

static void a_plain_query_is_understood(void **state)
{
	struct packet packet = packet_query("ReDiS.default.NOMAD", DNS_TYPE_SRV, IN);
	uint8_t name[DNS_NAME_MAX], folded[DNS_NAME_MAX];
	size_t length = wire_name("ReDiS.default.NOMAD", name);

	(void)state;
	wire_name("redis.default.nomad", folded);
	assert_int_equal(parse(&packet), QUESTION_OK);
	assert_int_equal(question.id, 0x1234);
	assert_int_equal(question.flags, DNS_FLAG_RD);
	assert_int_equal(question.type, DNS_TYPE_SRV);
	assert_int_equal(question.qclass, IN);
	assert_int_equal(question.udp_limit, 512);
	assert_int_equal(question.name_length, length);
	assert_int_equal(question.label_count, 3);
	assert_memory_equal(question.name, name, length);
	assert_memory_equal(question.folded, folded, length);
	assert_false(question.has_edns || question.has_do || question.wants_nsid ||
		     question.wants_keepalive || question.has_tsig);
	assert_int_equal(question.cookie_length, 0);
	assert_int_equal(question_end(&question), packet.length);
}

static void the_root_is_a_name(void **state)
{
	struct packet packet = packet_query(".", DNS_TYPE_NS, IN);

	(void)state;
	assert_int_equal(parse(&packet), QUESTION_OK);
	assert_int_equal(question.name_length, 1);
	assert_int_equal(question.label_count, 0);
}

static void less_than_a_header_is_dropped(void **state)
{
	struct packet packet = packet_query("a", A, IN);

	(void)state;
	for (packet.length = 0; packet.length < 12; packet.length++)
		assert_int_equal(parse(&packet), QUESTION_DROP);
}

static void a_reply_is_dropped_whatever_else_it_is(void **state)
{
	struct packet packet = packet_query("a", A, IN);

	(void)state;
	packet.bytes[2] |= 0x80;
	assert_int_equal(parse(&packet), QUESTION_DROP);
	packet.bytes[2] |= 0x28; /* NOTIFY as well */
	packet.length = 12;
	assert_int_equal(parse(&packet), QUESTION_DROP);
}

static void every_other_opcode_is_not_implemented(void **state)
{
	struct packet packet = packet_query("a", A, IN);

	(void)state;
	for (unsigned opcode = 1; opcode < 16; opcode++) {
		packet.bytes[2] = (uint8_t)(opcode << 3);
		assert_int_equal(parse(&packet), QUESTION_NOTIMP);
	}
}

static void the_opcode_is_judged_before_the_form(void **state)
{
	struct packet packet = packet_query("a", A, IN);

	(void)state;
	packet.bytes[2] = 5 << 3;
	packet.bytes[5] = 7;
	packet.length = 13;
	assert_int_equal(parse(&packet), QUESTION_NOTIMP);
}

static void other_question_counts_are_malformed(void **state)
{
	struct packet packet = packet_query("a", A, IN);

	(void)state;
	packet.bytes[5] = 2;
	assert_int_equal(parse(&packet), QUESTION_FORMERR);
	packet_put(&packet, packet.bytes + 12, 7); /* even if the second one is there */
	assert_int_equal(parse(&packet), QUESTION_FORMERR);
	packet.bytes[5] = 0;
	packet.length = 12;
	assert_int_equal(parse(&packet), QUESTION_FORMERR);
	assert_int_equal(question.name_length, 0);
}

static void trailing_garbage_is_malformed(void **state)
{
	struct packet packet = packet_query("a", A, IN);

	(void)state;
	packet_put(&packet, "", 1);
	assert_int_equal(parse(&packet), QUESTION_FORMERR);
	packet = edns_query(NULL, 0);
	packet_put(&packet, "", 1);
	assert_int_equal(parse(&packet), QUESTION_FORMERR);
}

static void every_cut_of_a_query_is_malformed(void **state)
{
	static const uint8_t options[] = { 0, 3, 0, 0, 0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8 };
	struct packet packet = edns_query(options, sizeof(options));

	(void)state;
	assert_int_equal(parse(&packet), QUESTION_OK);
	while (--packet.length >= 12)
		assert_int_equal(parse(&packet), QUESTION_FORMERR);
}

static void a_pointer_in_the_question_is_malformed(void **state)
{
	struct packet packet = packet_query("abc", A, IN);

	(void)state;
	packet.bytes[12] = 0xc0;
	packet.bytes[13] = 0x0c;
	assert_int_equal(parse(&packet), QUESTION_FORMERR);
	packet.bytes[12] = 1; /* behind a label too */
	packet.bytes[14] = 0xc0;
	assert_int_equal(parse(&packet), QUESTION_FORMERR);
}

static void reserved_label_types_are_malformed(void **state)
{
	struct packet packet = packet_query("abc", A, IN);

	(void)state;
	packet.bytes[12] = 0x40;
	assert_int_equal(parse(&packet), QUESTION_FORMERR);
	packet.bytes[12] = 0x80;
	assert_int_equal(parse(&packet), QUESTION_FORMERR);
}

static void put_long_name(struct packet *packet, unsigned bytes)
{
	packet->length = 12;
	for (unsigned left = bytes - 1; left;) {
		uint8_t label[64] = { 0 };
		unsigned take = left > 64 ? 64 : left;

		if (left - take == 1) /* a label takes two bytes at least */
			take--;
		memset(label + 1, 'a', sizeof(label) - 1);
		label[0] = (uint8_t)(take - 1);
		packet_put(packet, label, take);
		left -= take;
	}
	packet_put(packet, "\0\0\1\0\1", 5);
}

static void a_name_has_at_most_255_bytes(void **state)
{
	struct packet packet = packet_query("a", A, IN);

	(void)state;
	put_long_name(&packet, 255);
	assert_int_equal(parse(&packet), QUESTION_OK);
	assert_int_equal(question.name_length, 255);
	put_long_name(&packet, 256);
	assert_int_equal(parse(&packet), QUESTION_FORMERR);
	put_long_name(&packet, 320);
	assert_int_equal(parse(&packet), QUESTION_FORMERR);
}

static void a_name_of_127_labels_is_counted(void **state)
{
	struct packet packet = packet_query("a", A, IN);

	(void)state;
	packet.length = 12;
	for (int i = 0; i < 127; i++)
		packet_put(&packet, "\1x", 2);
	packet_put(&packet, "\0\0\1\0\1", 5);
	assert_int_equal(parse(&packet), QUESTION_OK);
	assert_int_equal(question.label_count, 127);
	assert_int_equal(question.name_length, 255);
}

static void the_clients_size_is_clamped(void **state)
{
	static const struct {
		uint16_t said, taken;
	} rows[] = { { 0, 512 },     { 511, 512 },   { 512, 512 },   { 513, 513 },
		     { 1232, 1232 }, { 1233, 1232 }, { 65535, 1232 } };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct packet packet = packet_query("a", A, IN);

		packet_opt(&packet, rows[i].said, 0, NULL, 0);
		assert_int_equal(parse(&packet), QUESTION_OK);
		assert_true(question.has_edns);
		assert_int_equal(question.udp_limit, rows[i].taken);
	}
}

static void only_the_do_bit_is_the_do_bit(void **state)
{
	struct packet packet = packet_query("a", A, IN);

	(void)state;
	packet_opt(&packet, 1232, 0x8000, NULL, 0);
	assert_int_equal(parse(&packet), QUESTION_OK);
	assert_true(question.has_do);
	packet = packet_query("a", A, IN);
	packet_opt(&packet, 1232, 0x7fff, NULL, 0);
	assert_int_equal(parse(&packet), QUESTION_OK);
	assert_false(question.has_do);
}

static void two_opts_are_malformed(void **state)
{
	struct packet packet = edns_query(NULL, 0);

	(void)state;
	packet_opt(&packet, 1232, 0, NULL, 0);
	assert_int_equal(parse(&packet), QUESTION_FORMERR);
	packet = packet_query("a", A, IN);
	packet_opt(&packet, 1232, 0x10000, NULL, 0); /* also when the version is another */
	packet_opt(&packet, 1232, 0, NULL, 0);
	assert_int_equal(parse(&packet), QUESTION_FORMERR);
}

static void an_opt_not_at_the_root_is_malformed(void **state)
{
	struct packet packet = packet_query("a", A, IN);

	(void)state;
	packet_put(&packet, "\1x", 2);
	packet_opt(&packet, 1232, 0, NULL, 0);
	assert_int_equal(parse(&packet), QUESTION_FORMERR);
	packet = packet_query("a", A, IN);
	packet_put(&packet, "\300\16\0\51\4\320\0\0\0\0\0\0", 12); /* a pointer to the root */
	packet.bytes[11] = 1;
	assert_int_equal(parse(&packet), QUESTION_FORMERR);
}

static void an_opt_outside_additional_is_malformed(void **state)
{
	(void)state;
	for (int section = 7; section <= 9; section += 2) {
		struct packet packet = edns_query(NULL, 0);

		packet.bytes[11] = 0;
		packet.bytes[section] = 1;
		assert_int_equal(parse(&packet), QUESTION_FORMERR);
	}
}

static void another_edns_version_is_bad(void **state)
{
	struct packet packet = packet_query("redis.default.nomad", A, IN);

	(void)state;
	packet_opt(&packet, 1232, 0x18000, "\1", 1); /* whose options may mean anything */
	assert_int_equal(parse(&packet), QUESTION_BADVERS);
	assert_true(question.has_edns);
	assert_true(question.has_do);
	assert_int_equal(question.name_length, 21);
}

static void a_malformed_message_is_no_matter_of_version(void **state)
{
	struct packet packet = packet_query("a", A, IN);

	(void)state;
	packet_opt(&packet, 1232, 0x10000, NULL, 0);
	packet_put(&packet, "", 1);
	assert_int_equal(parse(&packet), QUESTION_FORMERR);
}

static void options_past_the_end_are_malformed(void **state)
{
	struct packet packet = edns_query("\0\3\0", 3);

	(void)state;
	assert_int_equal(parse(&packet), QUESTION_FORMERR);
	packet = edns_query("\xff\xff\0\1", 4);
	assert_int_equal(parse(&packet), QUESTION_FORMERR);
	packet = edns_query("\xff\xff\xff\xff\0", 5);
	assert_int_equal(parse(&packet), QUESTION_FORMERR);
}

static void unknown_options_are_passed_over(void **state)
{
	struct packet packet = edns_query("\xff\xf0\0\2\1\2\0\3\0\0", 10);

	(void)state;
	assert_int_equal(parse(&packet), QUESTION_OK);
	assert_true(question.wants_nsid);
	assert_false(question.wants_keepalive);
}

static void a_keepalive_of_a_client_is_empty(void **state)
{
	struct packet packet = edns_query("\0\13\0\0", 4);

	(void)state;
	assert_int_equal(parse(&packet), QUESTION_OK);
	assert_true(question.wants_keepalive);
	assert_false(question.has_bad_keepalive);
	packet = edns_query("\0\13\0\2\0\1", 6); /* over which transport, others know */
	assert_int_equal(parse(&packet), QUESTION_OK);
	assert_true(question.has_bad_keepalive);
	packet = edns_query("\0\13\0\2\0\1\0\13\0\0", 10);
	assert_int_equal(parse(&packet), QUESTION_OK);
	assert_true(question.has_bad_keepalive);
}

static void cookies_have_8_or_16_to_40_bytes(void **state)
{
	(void)state;
	for (unsigned length = 0; length <= 64; length++) {
		uint8_t option[4 + 64] = { 0, DNS_OPTION_COOKIE, 0, (uint8_t)length };
		bool is_legal = length == 8 || (length >= 16 && length <= 40);
		struct packet packet;

		for (unsigned i = 0; i < length; i++)
			option[4 + i] = (uint8_t)(i + 1);
		packet = edns_query(option, 4 + length);
		assert_int_equal(parse(&packet), is_legal ? QUESTION_OK : QUESTION_FORMERR);
		if (!is_legal)
			continue;
		assert_int_equal(question.cookie_length, length);
		assert_memory_equal(question.cookie, option + 4, length);
	}
}

static void the_first_of_two_cookies_counts(void **state)
{
	struct packet packet = edns_query("\0\12\0\10AAAAAAAA\0\12\0\10BBBBBBBB", 24);

	(void)state;
	assert_int_equal(parse(&packet), QUESTION_OK);
	assert_int_equal(question.cookie_length, 8);
	assert_memory_equal(question.cookie, "AAAAAAAA", 8);
}

static void a_lone_cookie_needs_no_question(void **state)
{
	struct packet packet = { .bytes = { 0x12, 0x34 }, .length = 12 };

	(void)state;
	packet_opt(&packet, 1232, 0, "\0\12\0\10AAAAAAAA", 12);
	assert_int_equal(parse(&packet), QUESTION_COOKIE);
	assert_int_equal(question.name_length, 0);
	assert_int_equal(question_end(&question), 12);
}

static void an_opt_without_cookie_needs_a_question(void **state)
{
	struct packet packet = { .bytes = { 0x12, 0x34 }, .length = 12 };

	(void)state;
	packet_opt(&packet, 1232, 0, "\0\3\0\0", 4);
	assert_int_equal(parse(&packet), QUESTION_FORMERR);
}

static void records_of_other_types_are_stepped_over(void **state)
{
	struct packet packet = packet_query("example.com", DNS_TYPE_IXFR, IN);

	(void)state;
	packet_put(&packet, "\300\14\0\6\0\1\0\0\0\0\0\3abc", 15); /* the SOA of an IXFR */
	packet.bytes[9] = 1;
	packet_opt(&packet, 900, 0, NULL, 0);
	assert_int_equal(parse(&packet), QUESTION_OK);
	assert_int_equal(question.udp_limit, 900);
}

static void a_tsig_is_noticed(void **state)
{
	struct packet packet = edns_query(NULL, 0);

	(void)state;
	packet_put(&packet, "\3key\0\0\372\0\377\0\0\0\0\0\2xy", 17);
	packet.bytes[11] = 2;
	assert_int_equal(parse(&packet), QUESTION_OK);
	assert_true(question.has_tsig);
}

static void counts_larger_than_the_packet_are_malformed(void **state)
{
	struct packet packet = edns_query(NULL, 0);

	(void)state;
	memset(packet.bytes + 6, 0xff, 6);
	assert_int_equal(parse(&packet), QUESTION_FORMERR);
}

static void no_bytes_make_it_read_past_the_end(void **state)
{
	uint32_t dice = 1;

	(void)state;
	for (int round = 0; round < 50000; round++) {
		struct packet packet = edns_query("\0\12\0\10AAAAAAAA\0\3\0\0", 16);

		for (int i = 0; i < 3; i++) {
			dice = dice * 1664525 + 1013904223;
			packet.bytes[4 + (dice >> 8) % (packet.length - 4)] = (uint8_t)(dice >> 24);
		}
		packet.length -= (dice >> 4) % 8;
		(void)parse(&packet); /* a sanitizer is the judge */
		assert_true(question.cookie_length <= QUESTION_COOKIE_MAX);
		assert_true(question.udp_limit >= 512 && question.udp_limit <= 1232);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_plain_query_is_understood),
		cmocka_unit_test(the_root_is_a_name),
		cmocka_unit_test(less_than_a_header_is_dropped),
		cmocka_unit_test(a_reply_is_dropped_whatever_else_it_is),
		cmocka_unit_test(every_other_opcode_is_not_implemented),
		cmocka_unit_test(the_opcode_is_judged_before_the_form),
		cmocka_unit_test(other_question_counts_are_malformed),
		cmocka_unit_test(trailing_garbage_is_malformed),
		cmocka_unit_test(every_cut_of_a_query_is_malformed),
		cmocka_unit_test(a_pointer_in_the_question_is_malformed),
		cmocka_unit_test(reserved_label_types_are_malformed),
		cmocka_unit_test(a_name_has_at_most_255_bytes),
		cmocka_unit_test(a_name_of_127_labels_is_counted),
		cmocka_unit_test(the_clients_size_is_clamped),
		cmocka_unit_test(only_the_do_bit_is_the_do_bit),
		cmocka_unit_test(two_opts_are_malformed),
		cmocka_unit_test(an_opt_not_at_the_root_is_malformed),
		cmocka_unit_test(an_opt_outside_additional_is_malformed),
		cmocka_unit_test(another_edns_version_is_bad),
		cmocka_unit_test(a_malformed_message_is_no_matter_of_version),
		cmocka_unit_test(options_past_the_end_are_malformed),
		cmocka_unit_test(unknown_options_are_passed_over),
		cmocka_unit_test(a_keepalive_of_a_client_is_empty),
		cmocka_unit_test(cookies_have_8_or_16_to_40_bytes),
		cmocka_unit_test(the_first_of_two_cookies_counts),
		cmocka_unit_test(a_lone_cookie_needs_no_question),
		cmocka_unit_test(an_opt_without_cookie_needs_a_question),
		cmocka_unit_test(records_of_other_types_are_stepped_over),
		cmocka_unit_test(a_tsig_is_noticed),
		cmocka_unit_test(counts_larger_than_the_packet_are_malformed),
		cmocka_unit_test(no_bytes_make_it_read_past_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
