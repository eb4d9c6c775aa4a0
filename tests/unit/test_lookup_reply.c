#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "unit/lookup_packets.h"
#include "verbs/lookup_words.h"

static void assert_bad(const struct packet *packet)
{
	struct lookup_reply reply;

	assert_int_equal(parse_as(packet, DNS_TYPE_A, &reply), LOOKUP_REPLY_BAD);
}

static void assert_shown(unsigned type, const void *rdata, size_t length, const char *expected)
{
	struct packet packet = begin(0, DNS_TYPE_A);
	struct lookup_reply reply;
	struct buf text;

	add_record(&packet, LOOKUP_REPLY_ANSWER, type, rdata, length);
	reply = parse_well(&packet);
	assert_int_equal(reply.record_count, 1);
	buf_init(&text, 0);
	lookup_reply_put_owner(&reply, &reply.records[0], &text);
	assert_string_equal(text.data, "redis.default.nomad");
	text.length = 0;
	lookup_reply_put_rdata(&reply, &reply.records[0], &text);
	assert_string_equal(text.data, expected);
	buf_deinit(&text);
	lookup_reply_deinit(&reply);
}

#define ASSERT_SHOWN(type, literal, expected)                                                      \
	assert_shown(type, literal, sizeof(literal) - 1, expected)

static void every_type_is_shown_in_its_own_form(void **state)
{
	(void)state;
	ASSERT_SHOWN(DNS_TYPE_A, "\xc0\0\2\1", "192.0.2.1");
	ASSERT_SHOWN(DNS_TYPE_AAAA, "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1", "2001:db8::1");
	ASSERT_SHOWN(DNS_TYPE_CNAME, "\1a\xc0\x12", "a.default.nomad");
	ASSERT_SHOWN(DNS_TYPE_NS, "\2ns\xc0\x1a", "ns.nomad");
	ASSERT_SHOWN(DNS_TYPE_PTR, "\xc0\x0c", "redis.default.nomad");
	ASSERT_SHOWN(DNS_TYPE_SRV, "\0\x0a\0\x0a\x18\xeb\1h\xc0\x0c",
		     "10 10 6379 h.redis.default.nomad");
	ASSERT_SHOWN(15, "\0\5\2mx\xc0\x1a", "5 mx.nomad");
	ASSERT_SHOWN(DNS_TYPE_SOA,
		     "\2ns\xc0\x1a\1h\xc0\x1a\0\0\0\7\0\0\x0e\x10\0\0\2\x58\0\1\x51\x80\0\0\0\5",
		     "ns.nomad h.nomad 7 3600 600 86400 5");
	ASSERT_SHOWN(DNS_TYPE_TXT, "\3a\"b\0\2\\\x1b", "\"a\\\"b\" \"\" \"\\\\\\027\"");
	ASSERT_SHOWN(DNS_TYPE_HINFO, "\7RFC8482\0", "\"RFC8482\" \"\"");
	ASSERT_SHOWN(65280, "\1\2\xff", "\\# 3 0102ff");
	ASSERT_SHOWN(65280, "", "\\# 0");
}

static void data_that_is_not_what_its_type_says_is_bad(void **state)
{
	static const struct {
		unsigned type;
		const char *rdata;
		size_t length;
	} rows[] = {
		{ DNS_TYPE_A, "\1\2\3", 3 },	     { DNS_TYPE_A, "\1\2\3\4\5", 5 },
		{ DNS_TYPE_AAAA, "\1\2\3\4", 4 },    { DNS_TYPE_TXT, "", 0 },
		{ DNS_TYPE_TXT, "\5ab", 3 },	     { DNS_TYPE_NS, "\2ns", 3 },
		{ DNS_TYPE_NS, "\xc0", 1 },	     { DNS_TYPE_NS, "\xc0\x0c\0", 3 },
		{ DNS_TYPE_NS, "\x40\0", 2 },	     { DNS_TYPE_SRV, "\0\1\0\1\0", 5 },
		{ DNS_TYPE_SRV, "\0\1\0\1\0\1", 6 }, { DNS_TYPE_SOA, "\0\0\0\0\0\0", 6 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct packet packet = begin(0, DNS_TYPE_A);

		add_record(&packet, LOOKUP_REPLY_ANSWER, rows[i].type, rows[i].rdata,
			   rows[i].length);
		assert_bad(&packet);
	}
}

static void pointers_that_do_not_lead_back_are_bad(void **state)
{
	static const unsigned targets[] = { 0, 11, 37, 38, 50, 0x3fff };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(targets); i++) {
		struct packet packet = begin(0, DNS_TYPE_A);
		uint8_t rdata[2];

		store_be16(rdata, (uint16_t)(0xc000 | targets[i]));
		/* The record begins at 37, its data at 49. */
		assert_int_equal(packet.length, 37);
		add_record(&packet, LOOKUP_REPLY_ANSWER, DNS_TYPE_NS, rdata, 2);
		if (targets[i] == 37 || targets[i] == 38) {
			/* To the record's own owner: a pointer to the question, and its second
			 * byte, 12, a label that runs out of the part. */
			struct lookup_reply reply;
			enum lookup_reply_verdict verdict = parse_as(&packet, DNS_TYPE_A, &reply);

			assert_int_equal(verdict,
					 targets[i] == 37 ? LOOKUP_REPLY_OK : LOOKUP_REPLY_BAD);
			if (verdict == LOOKUP_REPLY_OK)
				lookup_reply_deinit(&reply);
			continue;
		}
		assert_bad(&packet);
	}
}

static void name_over_255_bytes_is_bad(void **state)
{
	struct packet packet = begin(0, DNS_TYPE_A);
	uint8_t rdata[4 * 64 + 1];

	(void)state;
	memset(rdata, 63, sizeof(rdata));
	rdata[sizeof(rdata) - 1] = 0;
	add_record(&packet, LOOKUP_REPLY_ANSWER, DNS_TYPE_NS, rdata, sizeof(rdata));
	assert_bad(&packet);
}

static void reply_to_another_question_is_bad(void **state)
{
	struct packet packet = begin(0, DNS_TYPE_A);

	(void)state;
	packet.bytes[0] ^= 1;
	assert_bad(&packet);
	packet = begin(0, DNS_TYPE_A);
	packet.bytes[2] = 0; /* QR */
	assert_bad(&packet);
	packet = begin(0, DNS_TYPE_A);
	packet.bytes[2] |= 0x28; /* OPCODE */
	assert_bad(&packet);
	packet = begin(0, DNS_TYPE_AAAA);
	assert_bad(&packet);
	packet = begin(0, DNS_TYPE_A);
	packet.bytes[14] = 'x';
	assert_bad(&packet);
	packet = begin(0, DNS_TYPE_A);
	packet.bytes[packet.length - 1] = DNS_CLASS_CH;
	assert_bad(&packet);
}

static void reply_in_another_case_is_the_reply(void **state)
{
	struct packet packet = begin(0, DNS_TYPE_A);
	struct lookup_reply reply;

	(void)state;
	packet.bytes[13] = 'R';
	reply = parse_well(&packet);
	lookup_reply_deinit(&reply);
}

static void bare_header_is_a_reply_only_with_an_error(void **state)
{
	struct packet packet = { .length = 0 };
	struct lookup_reply reply;

	(void)state;
	put16(&packet, ID);
	put16(&packet, DNS_FLAG_QR | DNS_NOTIMP);
	PUT(&packet, "\0\0\0\0\0\0\0\0");
	reply = parse_well(&packet);
	assert_int_equal(reply.rcode, DNS_NOTIMP);
	lookup_reply_deinit(&reply);
	packet.bytes[3] = DNS_NOERROR;
	assert_bad(&packet);
}

static void counts_that_lie_are_bad(void **state)
{
	struct packet packet = begin(0, DNS_TYPE_A);

	(void)state;
	ADD(&packet, LOOKUP_REPLY_ANSWER, DNS_TYPE_A, "\1\2\3\4");
	store_be16(packet.bytes + 6, 65535);
	assert_bad(&packet);
	store_be16(packet.bytes + 6, 0);
	assert_bad(&packet);
	store_be16(packet.bytes + 6, 1);
	store_be16(packet.bytes + 4, 2);
	assert_bad(&packet);
}

static void every_shorter_piece_of_a_reply_is_bad(void **state)
{
	struct packet packet = begin(0, DNS_TYPE_A), piece;
	struct lookup_reply reply;

	(void)state;
	ADD(&packet, LOOKUP_REPLY_ANSWER, DNS_TYPE_A, "\1\2\3\4");
	ADD(&packet, LOOKUP_REPLY_AUTHORITY, DNS_TYPE_NS, "\2ns\xc0\x1a");
	add_opt(&packet, 0, "\0\x0f\0\2\0\3", 6);
	for (piece = packet; piece.length-- > 0;)
		assert_bad(&piece);
	reply = parse_well(&packet);
	lookup_reply_deinit(&reply);
	PUT(&packet, "\0");
	assert_bad(&packet);
}

static void opt_gives_extended_rcode_and_errors(void **state)
{
	struct packet packet = begin(0, DNS_TYPE_A);
	struct lookup_reply reply;
	struct buf text;

	(void)state;
	add_opt(&packet, 1, "\0\3\0\1x\0\x0f\0\5\0\3a\x1b\\\0\x0f\0\2\0\x16", 20);
	reply = parse_well(&packet);
	assert_true(reply.has_edns);
	assert_int_equal(reply.rcode, DNS_BADVERS);
	assert_int_equal(reply.record_count, 0);
	assert_int_equal(reply.ede_count, 2);
	assert_int_equal(reply.ede[0].code, 3);
	assert_int_equal(reply.ede[1].code, 22);
	assert_int_equal(reply.ede[1].text_length, 0);
	buf_init(&text, 0);
	lookup_reply_put_ede_text(&reply, &reply.ede[0], &text);
	assert_string_equal(text.data, "a\\027\\\\");
	buf_deinit(&text);
	lookup_reply_deinit(&reply);
}

static void malformed_opt_is_bad(void **state)
{
	struct packet packet = begin(0, DNS_TYPE_A);

	(void)state;
	add_opt(&packet, 0, "", 0);
	add_opt(&packet, 0, "", 0); /* two */
	assert_bad(&packet);
	packet = begin(0, DNS_TYPE_A);
	add_opt(&packet, 0, "\0\x0f\0\1\0", 5); /* an error without its code */
	assert_bad(&packet);
	packet = begin(0, DNS_TYPE_A);
	add_opt(&packet, 0, "\0\x0f\0\5\0\3", 6); /* longer than the record */
	assert_bad(&packet);
	packet = begin(0, DNS_TYPE_A);
	add_opt(&packet, 0, "\0\x0f\0", 3);
	assert_bad(&packet);
	packet = begin(0, DNS_TYPE_A);
	ADD(&packet, LOOKUP_REPLY_ADDITIONAL, DNS_TYPE_OPT, ""); /* not at the root */
	assert_bad(&packet);
}

static void more_errors_than_places_are_left_out(void **state)
{
	uint8_t options[(LOOKUP_REPLY_EDE_MAX + 3) * 6];
	struct packet packet = begin(0, DNS_TYPE_A);
	struct lookup_reply reply;

	(void)state;
	for (size_t i = 0; i < sizeof(options); i += 6)
		memcpy(options + i, "\0\x0f\0\2\0\3", 6);
	add_opt(&packet, 0, options, sizeof(options));
	reply = parse_well(&packet);
	assert_int_equal(reply.ede_count, LOOKUP_REPLY_EDE_MAX);
	lookup_reply_deinit(&reply);
}

static void only_the_asked_type_in_the_answer_section_is_an_answer(void **state)
{
	struct packet packet = begin(0, DNS_TYPE_A);
	struct lookup_reply reply;

	(void)state;
	ADD(&packet, LOOKUP_REPLY_ANSWER, DNS_TYPE_CNAME, "\xc0\x0c");
	ADD(&packet, LOOKUP_REPLY_ADDITIONAL, DNS_TYPE_A, "\1\2\3\4");
	reply = parse_well(&packet);
	assert_false(lookup_reply_has_answer(&reply, DNS_TYPE_A));
	assert_true(lookup_reply_has_answer(&reply, DNS_TYPE_CNAME));
	assert_true(lookup_reply_has_answer(&reply, DNS_TYPE_ANY));
	lookup_reply_deinit(&reply);
}

/* --- words --- */

static void types_have_names_and_numbers(void **state)
{
	char text[LOOKUP_WORDS_MAX];

	(void)state;
	assert_int_equal(lookup_words_parse_type("aaaa"), DNS_TYPE_AAAA);
	assert_int_equal(lookup_words_parse_type("TYPE65280"), 65280);
	assert_int_equal(lookup_words_parse_type("type33"), DNS_TYPE_SRV);
	assert_int_equal(lookup_words_parse_type("TYPE0"), -EINVAL);
	assert_int_equal(lookup_words_parse_type("TYPE65536"), -EINVAL);
	assert_int_equal(lookup_words_parse_type("TYPE"), -EINVAL);
	assert_int_equal(lookup_words_parse_type("AAAAA"), -EINVAL);
	assert_int_equal(lookup_words_parse_type(""), -EINVAL);
	lookup_words_format_type(DNS_TYPE_SRV, text);
	assert_string_equal(text, "SRV");
	lookup_words_format_type(65535, text);
	assert_string_equal(text, "TYPE65535");
}

static void rcodes_have_names_and_meanings(void **state)
{
	char text[LOOKUP_WORDS_MAX];

	(void)state;
	lookup_words_format_rcode(DNS_NXDOMAIN, text);
	assert_string_equal(text, "NXDOMAIN");
	lookup_words_format_rcode(4095, text);
	assert_string_equal(text, "RCODE4095");
	assert_string_equal(lookup_words_rcode_meaning(DNS_NXDOMAIN), "there is no such name");
	assert_non_null(lookup_words_rcode_meaning(4095));
	assert_string_equal(lookup_words_ede_name(3), "Stale Answer");
	assert_string_equal(lookup_words_ede_name(60000), "Unassigned");
	assert_non_null(lookup_words_ede_meaning(60000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_type_is_shown_in_its_own_form),
		cmocka_unit_test(data_that_is_not_what_its_type_says_is_bad),
		cmocka_unit_test(pointers_that_do_not_lead_back_are_bad),
		cmocka_unit_test(name_over_255_bytes_is_bad),
		cmocka_unit_test(reply_to_another_question_is_bad),
		cmocka_unit_test(reply_in_another_case_is_the_reply),
		cmocka_unit_test(bare_header_is_a_reply_only_with_an_error),
		cmocka_unit_test(counts_that_lie_are_bad),
		cmocka_unit_test(every_shorter_piece_of_a_reply_is_bad),
		cmocka_unit_test(opt_gives_extended_rcode_and_errors),
		cmocka_unit_test(malformed_opt_is_bad),
		cmocka_unit_test(more_errors_than_places_are_left_out),
		cmocka_unit_test(only_the_asked_type_in_the_answer_section_is_an_answer),
		cmocka_unit_test(types_have_names_and_numbers),
		cmocka_unit_test(rcodes_have_names_and_meanings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
