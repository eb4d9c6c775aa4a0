#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include <ldns/ldns.h>

#include "base/bytes.h"
#include "dns/dns.h"
#include "dns/name.h"
#include "dns/reply.h"

#define ID 0x1234
#define TYPE_MX 15
#define QNAME_AT 12
#define QNAME "\3www\7example"
#define QNAME_BYTES 13
#define EXAMPLE_AT 16 /* "example." inside the question */
#define ROOT_AT 24

/* A message under construction. */
static struct packet {
	uint8_t bytes[70000];
	size_t length;
	uint16_t type;
	uint32_t address_count;
} packet;

static void put(const void *data, size_t length)
{
	if (length > 0)
		memcpy(packet.bytes + packet.length, data, length);
	packet.length += length;
}

static void put16(unsigned value)
{
	uint8_t bytes[2];

	store_be16(bytes, (uint16_t)value);
	put(bytes, 2);
}

static void put32(uint32_t value)
{
	put16(value >> 16);
	put16(value & 0xffff);
}

static void begin(unsigned flags, uint16_t type)
{
	packet.length = 0;
	packet.type = type;
	packet.address_count = 0;
	put16(ID);
	put16(DNS_FLAG_QR | DNS_FLAG_RD | DNS_FLAG_RA | flags);
	put16(1);
	put16(0);
	put32(0);
	put(QNAME, QNAME_BYTES);
	put16(type);
	put16(DNS_CLASS_IN);
}

static void set_counts(unsigned answer, unsigned authority, unsigned additional)
{
	store_be16(packet.bytes + 6, (uint16_t)answer);
	store_be16(packet.bytes + 8, (uint16_t)authority);
	store_be16(packet.bytes + 10, (uint16_t)additional);
}

static void put_pointer(unsigned at)
{
	put16(0xc000 | at);
}

/* All of a record but its RDATA; the owner is a pointer. */
static void put_rr(unsigned owner_at, unsigned type, uint32_t ttl_s, unsigned rdlength)
{
	put_pointer(owner_at);
	put16(type);
	put16(DNS_CLASS_IN);
	put32(ttl_s);
	put16(rdlength);
}

/* An address of the name that was asked for. */
static void put_a(uint32_t ttl_s)
{
	put_rr(QNAME_AT, DNS_TYPE_A, ttl_s, 4);
	put32(0xc0000201 + packet.address_count++); /* another one each time */
}

static void put_soa(unsigned owner_at, uint32_t ttl_s, uint32_t minimum_s)
{
	put_rr(owner_at, DNS_TYPE_SOA, ttl_s, 24);
	put_pointer(EXAMPLE_AT);
	put_pointer(EXAMPLE_AT);
	for (unsigned i = 0; i < 4; i++)
		put32(7200);
	put32(minimum_s);
}

static void put_opt(unsigned upper_rcode, const void *options, size_t length)
{
	put("", 1);
	put16(DNS_TYPE_OPT);
	put16(1232);
	put32((uint32_t)upper_rcode << 24);
	put16((unsigned)length);
	put(options, length);
}

static enum reply_verdict parse(struct reply *out)
{
	struct reply_expect expect = { .id = ID,
				       .type = packet.type,
				       .qclass = DNS_CLASS_IN,
				       .name = (const uint8_t *)QNAME,
				       .name_length = QNAME_BYTES };
	/* A copy of exactly this size, so that the sanitizer sees every byte read behind it. */
	uint8_t *copy = malloc(packet.length ? packet.length : 1);
	enum reply_verdict verdict;

	memcpy(copy, packet.bytes, packet.length);
	verdict = reply_parse(copy, packet.length, &expect, out);
	free(copy);
	return verdict;
}

static void expect_bad(void)
{
	struct reply reply;

	assert_int_equal(parse(&reply), REPLY_BAD);
}

static struct reply expect_ok(void)
{
	struct reply reply;

	assert_int_equal(parse(&reply), REPLY_OK);
	return reply;
}

static void expect_good_and_free(void)
{
	free(expect_ok().image);
}

/* ---- the envelope ---- */

static void answer_becomes_an_image(void **state)
{
	struct reply reply;

	(void)state;
	begin(0, DNS_TYPE_A);
	put_a(300);
	put_a(60);
	set_counts(2, 0, 0);
	reply = expect_ok();
	assert_int_equal(reply.image->rr_count, 2);
	assert_int_equal(reply.image->answer_count, 2);
	assert_int_equal(reply.image->byte_count, 32);
	assert_memory_equal(image_bytes(reply.image), packet.bytes + QNAME_AT + QNAME_BYTES + 4,
			    32);
	assert_int_equal(reply.image->rr[1].at, 16);
	assert_int_equal(reply.image->rr[1].ttl_offset, 6);
	assert_int_equal(reply.positive_ttl, 60);
	assert_false(reply.is_negative);
	assert_false(reply.has_edns);
	free(reply.image);
}

static void other_id_is_bad(void **state)
{
	(void)state;
	begin(0, DNS_TYPE_A);
	store_be16(packet.bytes, ID + 1);
	expect_bad();
}

static void query_is_no_reply(void **state)
{
	(void)state;
	begin(0, DNS_TYPE_A);
	packet.bytes[2] &= 0x7f;
	expect_bad();
}

static void other_opcode_is_bad(void **state)
{
	(void)state;
	begin(4 << DNS_OPCODE_SHIFT, DNS_TYPE_A);
	expect_bad();
}

static void other_question_is_bad(void **state)
{
	(void)state;
	begin(0, DNS_TYPE_A);
	packet.bytes[QNAME_AT + 1] = 'x';
	expect_bad();
	begin(0, DNS_TYPE_A);
	packet.type = DNS_TYPE_AAAA;
	expect_bad();
	begin(0, DNS_TYPE_A);
	packet.bytes[packet.length - 1] = DNS_CLASS_CH;
	expect_bad();
}

static void question_in_other_case_is_the_same(void **state)
{
	(void)state;
	begin(0, DNS_TYPE_A);
	packet.bytes[QNAME_AT + 1] = 'W';
	expect_good_and_free();
}

static void case_counts_when_asked_for(void **state)
{
	struct reply_expect expect = { .id = ID,
				       .type = DNS_TYPE_A,
				       .qclass = DNS_CLASS_IN,
				       .name = (const uint8_t *)"\3wWw\7example",
				       .name_length = QNAME_BYTES,
				       .match_case = true };
	struct reply reply;

	(void)state;
	begin(0, DNS_TYPE_A);
	assert_int_equal(reply_parse(packet.bytes, packet.length, &expect, &reply),
			 REPLY_OTHER_CASE);
	packet.bytes[QNAME_AT + 2] = 'W';
	assert_int_equal(reply_parse(packet.bytes, packet.length, &expect, &reply), REPLY_OK);
	free(reply.image);
}

static void question_must_stand_once(void **state)
{
	(void)state;
	begin(0, DNS_TYPE_A);
	store_be16(packet.bytes + 4, 0);
	expect_bad();
	begin(0, DNS_TYPE_A);
	store_be16(packet.bytes + 4, 2);
	put(QNAME, QNAME_BYTES);
	put16(DNS_TYPE_A);
	put16(DNS_CLASS_IN);
	expect_bad();
}

static void bare_formerr_is_a_reply(void **state)
{
	struct reply reply;

	(void)state;
	begin(DNS_FORMERR, DNS_TYPE_A);
	store_be16(packet.bytes + 4, 0);
	packet.length = DNS_HEADER_BYTES;
	reply = expect_ok();
	assert_int_equal(reply.image->rcode, DNS_FORMERR);
	assert_int_equal(reply.image->rr_count, 0);
	free(reply.image);
}

static void bare_header_with_another_rcode_is_bad(void **state)
{
	(void)state;
	begin(DNS_NXDOMAIN, DNS_TYPE_A);
	store_be16(packet.bytes + 4, 0);
	packet.length = DNS_HEADER_BYTES;
	expect_bad();
}

static void every_cut_is_bad(void **state)
{
	size_t whole;

	(void)state;
	begin(0, DNS_TYPE_A);
	put_a(300);
	put_soa(EXAMPLE_AT, 60, 60);
	put_opt(0, "\0\17\0\2\0\3", 6);
	set_counts(1, 1, 1);
	expect_good_and_free();
	whole = packet.length;
	for (size_t length = 0; length < whole; length++) {
		packet.length = length;
		expect_bad();
	}
}

static void trailing_garbage_is_bad(void **state)
{
	(void)state;
	begin(0, DNS_TYPE_A);
	put_a(300);
	set_counts(1, 0, 0);
	put("", 1);
	expect_bad();
}

static void counts_beyond_the_packet_are_bad(void **state)
{
	(void)state;
	begin(0, DNS_TYPE_A);
	put_a(300);
	set_counts(65535, 65535, 65535);
	expect_bad();
	set_counts(2, 0, 0);
	expect_bad();
}

static void truncated_reply_is_told_apart(void **state)
{
	struct reply reply;

	(void)state;
	begin(DNS_FLAG_TC, DNS_TYPE_A);
	put_a(300);
	set_counts(9, 0, 0); /* what is inside does not matter */
	assert_int_equal(parse(&reply), REPLY_TRUNCATED);
}

static void truncated_reply_to_another_question_is_bad(void **state)
{
	(void)state;
	begin(DNS_FLAG_TC, DNS_TYPE_A);
	packet.bytes[QNAME_AT + 1] = 'x';
	expect_bad();
}

static void ad_and_rcode_are_kept(void **state)
{
	struct reply reply;

	(void)state;
	begin(DNS_FLAG_AD | DNS_FLAG_AA | DNS_REFUSED, DNS_TYPE_A);
	reply = expect_ok();
	assert_int_equal(reply.image->flags, DNS_FLAG_AD);
	assert_int_equal(reply.image->rcode, DNS_REFUSED);
	assert_int_equal(reply.image->ede, DNS_EDE_NONE);
	free(reply.image);
}

/* ---- names ---- */

static void pointer_forward_is_bad(void **state)
{
	(void)state;
	begin(0, DNS_TYPE_A);
	put_pointer((unsigned)packet.length + 2);
	put16(DNS_TYPE_A);
	put16(DNS_CLASS_IN);
	put32(1);
	put16(4);
	put("\1\2\3\4", 4);
	set_counts(1, 0, 0);
	expect_bad();
}

static void pointer_to_itself_is_bad(void **state)
{
	(void)state;
	begin(0, DNS_TYPE_A);
	put_rr((unsigned)packet.length, DNS_TYPE_A, 1, 4);
	put("\1\2\3\4", 4);
	set_counts(1, 0, 0);
	expect_bad();
}

static void pointer_back_into_its_own_labels_is_bad(void **state)
{
	size_t at;

	(void)state;
	begin(0, DNS_TYPE_A);
	at = packet.length;
	put("\1a", 2);
	put_pointer((unsigned)at);
	put16(DNS_TYPE_A);
	put16(DNS_CLASS_IN);
	put32(1);
	put16(4);
	put("\1\2\3\4", 4);
	set_counts(1, 0, 0);
	expect_bad();
}

static void pointer_into_the_header_is_bad(void **state)
{
	(void)state;
	begin(0, DNS_TYPE_A);
	put_rr(4, DNS_TYPE_A, 1, 4); /* bytes 4… would read as labels */
	put("\1\2\3\4", 4);
	set_counts(1, 0, 0);
	expect_bad();
}

static void label_types_01_and_10_are_bad(void **state)
{
	(void)state;
	for (unsigned byte = 0x40; byte < 0xc0; byte += 0x40) {
		begin(0, DNS_TYPE_A);
		put(&(uint8_t){ (uint8_t)byte }, 1);
		put("\1", 1);
		put16(DNS_TYPE_A);
		put16(DNS_CLASS_IN);
		put32(1);
		put16(4);
		put("\1\2\3\4", 4);
		set_counts(1, 0, 0);
		expect_bad();
	}
}

/* Owners that each add a label of 63 bytes in front of the one before. */
static void put_growing_owners(unsigned count)
{
	uint8_t label[64];
	size_t before = QNAME_AT;

	memset(label, 'x', sizeof(label));
	label[0] = 63;
	for (unsigned i = 0; i < count; i++) {
		size_t at = packet.length;

		put(label, sizeof(label));
		put_pointer((unsigned)before);
		put16(DNS_TYPE_A);
		put16(DNS_CLASS_IN);
		put32(1);
		put16(4);
		put("\1\2\3\4", 4);
		before = at;
	}
	set_counts(count, 0, 0);
}

static void name_over_255_bytes_by_pointers_is_bad(void **state)
{
	(void)state;
	begin(0, DNS_TYPE_A);
	put_growing_owners(3); /* 13 + 3 * 64 = 205 */
	expect_good_and_free();
	begin(0, DNS_TYPE_A);
	put_growing_owners(4);
	expect_bad();
}

/* PTRs whose targets are pointers, each to the pointer before. */
static void put_chain_of_pointers(unsigned count)
{
	size_t before = QNAME_AT;

	for (unsigned i = 0; i < count; i++) {
		put_rr(QNAME_AT, DNS_TYPE_PTR, 1, 2);
		put_pointer((unsigned)before);
		before = packet.length - 2;
	}
	set_counts(count, 0, 0);
}

static void long_chain_of_pointers_is_bad(void **state)
{
	(void)state;
	begin(0, DNS_TYPE_A);
	put_chain_of_pointers(100);
	expect_good_and_free();
	begin(0, DNS_TYPE_A);
	put_chain_of_pointers(200);
	expect_bad();
}

static void pointer_to_what_is_no_name_is_bad(void **state)
{
	size_t at;

	(void)state;
	begin(0, DNS_TYPE_A);
	put_a(1);
	at = packet.length - 8; /* the TTL, which reads as the root */
	put_rr((unsigned)at, DNS_TYPE_A, 1, 4);
	put("\1\2\3\4", 4);
	set_counts(2, 0, 0);
	expect_bad();
	begin(0, 999);
	put_rr(QNAME_AT, 999, 1, 3);
	at = packet.length;
	put("\1a", 3);
	put_rr((unsigned)at, DNS_TYPE_A, 1, 4);
	put("\1\2\3\4", 4);
	set_counts(2, 0, 0);
	expect_bad();
}

static void pointer_into_a_label_is_bad(void **state)
{
	(void)state;
	begin(0, DNS_TYPE_A);
	put_rr(QNAME_AT, DNS_TYPE_CNAME, 1, 4);
	put("\2\1\0", 4); /* the inner two bytes read as a name of their own */
	put_rr((unsigned)packet.length - 3, DNS_TYPE_A, 1, 4);
	put("\1\2\3\4", 4);
	set_counts(2, 0, 0);
	expect_bad();
}

static void pointer_into_rdata_leads_to_its_name(void **state)
{
	(void)state;
	begin(0, TYPE_MX);
	put_rr(QNAME_AT, TYPE_MX, 1, 7);
	put("\0\1\2mx", 5);
	put_pointer(EXAMPLE_AT);
	put_rr((unsigned)packet.length - 5, DNS_TYPE_A, 1, 4);
	put("\1\2\3\4", 4);
	set_counts(1, 0, 1);
	expect_good_and_free();
}

/* ---- record data ---- */

static void pointer_forward_in_rdata_is_bad_for_every_type_with_names(void **state)
{
	static const struct {
		uint16_t type;
		uint8_t before, after;
	} rows[] = { { DNS_TYPE_NS, 0, 0 },
		     { DNS_TYPE_CNAME, 0, 0 },
		     { DNS_TYPE_PTR, 0, 0 },
		     { TYPE_MX, 2, 0 },
		     { DNS_TYPE_SRV, 6, 0 },
		     { DNS_TYPE_DNAME, 0, 0 },
		     { DNS_TYPE_RRSIG, 18, 9 },
		     { 47, 0, 3 },
		     { 64, 2, 4 },
		     { 18, 2, 0 } };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		uint8_t zeros[32] = { 0 };

		for (unsigned is_forward = 0; is_forward < 2; is_forward++) {
			begin(0, DNS_TYPE_A);
			put_rr(QNAME_AT, rows[i].type, 1, rows[i].before + 2u + rows[i].after);
			put(zeros, rows[i].before);
			put_pointer(is_forward ? (unsigned)packet.length + 2 : QNAME_AT);
			put(zeros, rows[i].after);
			put_a(1);
			set_counts(2, 0, 0);
			if (is_forward)
				expect_bad();
			else
				expect_good_and_free();
		}
	}
}

static void name_that_leaves_its_rdata_is_bad(void **state)
{
	(void)state;
	begin(0, DNS_TYPE_CNAME);
	put_rr(QNAME_AT, DNS_TYPE_CNAME, 1, 3);
	put("\3abc", 4);
	put("\0\0\0\0\0\0\0\0\0\0\0", 11);
	set_counts(2, 0, 0);
	expect_bad();
}

static void bytes_behind_a_name_in_rdata_are_bad(void **state)
{
	(void)state;
	begin(0, DNS_TYPE_CNAME);
	put_rr(QNAME_AT, DNS_TYPE_CNAME, 1, 3);
	put_pointer(EXAMPLE_AT);
	put("x", 1);
	set_counts(1, 0, 0);
	expect_bad();
}

static void soa_cut_short_is_bad(void **state)
{
	(void)state;
	begin(0, DNS_TYPE_A);
	put_rr(EXAMPLE_AT, DNS_TYPE_SOA, 1, 20);
	put_pointer(EXAMPLE_AT);
	put_pointer(EXAMPLE_AT);
	put("0123456789abcdef", 16);
	set_counts(0, 1, 0);
	expect_bad();
}

static void address_of_wrong_size_is_bad(void **state)
{
	(void)state;
	begin(0, DNS_TYPE_A);
	put_rr(QNAME_AT, DNS_TYPE_A, 1, 5);
	put("12345", 5);
	set_counts(1, 0, 0);
	expect_bad();
	begin(0, DNS_TYPE_AAAA);
	put_rr(QNAME_AT, DNS_TYPE_AAAA, 1, 4);
	put("1234", 4);
	set_counts(1, 0, 0);
	expect_bad();
}

static void unknown_type_is_opaque(void **state)
{
	struct reply reply;

	(void)state;
	begin(0, 65280);
	put_rr(QNAME_AT, 65280, 5, 4);
	put("\377\377\300\377", 4);
	set_counts(1, 0, 0);
	reply = expect_ok();
	assert_int_equal(reply.image->rr_count, 1);
	assert_false(reply.is_negative);
	assert_int_equal(reply.positive_ttl, 5);
	free(reply.image);
}

static void rdata_over_the_end_is_bad(void **state)
{
	(void)state;
	begin(0, 65280);
	put_rr(QNAME_AT, 65280, 5, 5);
	put("1234", 4);
	set_counts(1, 0, 0);
	expect_bad();
}

static void record_of_another_class_is_bad(void **state)
{
	(void)state;
	begin(0, DNS_TYPE_A);
	put_a(1);
	packet.bytes[packet.length - 11] = DNS_CLASS_CH;
	set_counts(1, 0, 0);
	expect_bad();
}

static void question_type_as_a_record_is_bad(void **state)
{
	(void)state;
	begin(0, DNS_TYPE_ANY);
	put_rr(QNAME_AT, DNS_TYPE_ANY, 1, 0);
	set_counts(1, 0, 0);
	expect_bad();
}

/* ---- EDNS ---- */

static void opt_is_no_part_of_the_image(void **state)
{
	struct reply reply;

	(void)state;
	begin(0, DNS_TYPE_A);
	put_a(300);
	put_opt(0, NULL, 0);
	set_counts(1, 0, 1);
	reply = expect_ok();
	assert_true(reply.has_edns);
	assert_int_equal(reply.image->rr_count, 1);
	assert_int_equal(reply.image->additional_count, 0);
	assert_int_equal(reply.image->byte_count, 16);
	free(reply.image);
}

static void opt_between_records_is_no_part_of_the_image(void **state)
{
	struct reply reply;

	(void)state;
	begin(0, DNS_TYPE_A);
	put_a(300);
	put_a(200);
	put_opt(0, NULL, 0);
	put_a(100);
	set_counts(1, 0, 3);
	reply = expect_ok();
	assert_int_equal(reply.image->rr_count, 3);
	assert_int_equal(reply.image->additional_count, 2);
	assert_int_equal(reply.image->byte_count, 48);
	free(reply.image);
}

static void record_behind_the_opt_must_be_sound_too(void **state)
{
	(void)state;
	begin(0, DNS_TYPE_A);
	put_opt(0, NULL, 0);
	put_rr(QNAME_AT, DNS_TYPE_A, 1, 3);
	put("123", 3);
	set_counts(0, 0, 2);
	expect_bad();
}

static void extended_rcode_comes_from_the_opt(void **state)
{
	struct reply reply;

	(void)state;
	begin(0, DNS_TYPE_A);
	put_opt(1, NULL, 0);
	set_counts(0, 0, 1);
	reply = expect_ok();
	assert_int_equal(reply.image->rcode, DNS_BADVERS);
	free(reply.image);
}

static void ede_text_is_kept_up_to_its_nul(void **state)
{
	struct reply reply;

	(void)state;
	begin(0, DNS_TYPE_A);
	put_a(300);
	put_opt(0, "\0\17\0\7\0\6bog\0s", 11);
	set_counts(1, 0, 1);
	assert_int_equal(parse(&reply), REPLY_OK);
	assert_int_equal(reply.image->ede, 6);
	assert_string_equal(image_ede_text(reply.image), "bog");
	free(reply.image);
}

static bool is_under_ours(const void *arg, const uint8_t *name, size_t length)
{
	return name_is_in(name, length, arg, 7);
}

static void record_of_a_name_of_ours_is_dropped(void **state)
{
	static const uint8_t ours[] = "\5nomad";
	struct reply_expect expect = { .id = ID,
				       .type = DNS_TYPE_A,
				       .qclass = DNS_CLASS_IN,
				       .name = (const uint8_t *)QNAME,
				       .name_length = QNAME_BYTES,
				       .is_ours = is_under_ours,
				       .is_ours_arg = ours };
	struct reply reply;

	(void)state;
	begin(0, DNS_TYPE_A);
	put_rr(QNAME_AT, DNS_TYPE_CNAME, 300, 13);
	put("\5redis\5NOMAD", 13);
	put("\5redis\5nomad", 13);
	put16(DNS_TYPE_A);
	put16(DNS_CLASS_IN);
	put32(300);
	put16(4);
	put("\313\0\161\102", 4);
	put_a(300);
	set_counts(2, 0, 1);
	assert_int_equal(reply_parse(packet.bytes, packet.length, &expect, &reply), REPLY_OK);
	assert_int_equal(reply.image->answer_count, 1);
	assert_int_equal(reply.image->additional_count, 1);
	assert_int_equal(reply.image->rr_count, 2);
	assert_true(reply.is_negative);
	assert_int_equal(reply.negative_ttl, 0);
	free(reply.image);
}

static void ede_is_read(void **state)
{
	struct reply reply;

	(void)state;
	begin(DNS_SERVFAIL, DNS_TYPE_A);
	put_opt(0, "\0\12\0\10clientck\0\17\0\5\0\11abc\0\17\0\2\0\7", 27);
	set_counts(0, 0, 1);
	reply = expect_ok();
	assert_int_equal(reply.image->ede, 9); /* the first */
	free(reply.image);
}

static void two_opts_are_bad(void **state)
{
	(void)state;
	begin(0, DNS_TYPE_A);
	put_opt(0, NULL, 0);
	put_opt(0, NULL, 0);
	set_counts(0, 0, 2);
	expect_bad();
}

static void opt_outside_additional_is_bad(void **state)
{
	(void)state;
	begin(0, DNS_TYPE_A);
	put_opt(0, NULL, 0);
	set_counts(0, 1, 0);
	expect_bad();
}

static void opt_below_the_root_is_bad(void **state)
{
	(void)state;
	begin(0, DNS_TYPE_A);
	put_rr(QNAME_AT, DNS_TYPE_OPT, 0, 0);
	set_counts(0, 0, 1);
	expect_bad();
}

static void options_that_do_not_fill_the_opt_are_bad(void **state)
{
	(void)state;
	begin(0, DNS_TYPE_A);
	put_opt(0, "\0\12\0\10short", 9);
	set_counts(0, 0, 1);
	expect_bad();
	begin(0, DNS_TYPE_A);
	put_opt(0, "\0\12\0", 3);
	set_counts(0, 0, 1);
	expect_bad();
	begin(0, DNS_TYPE_A);
	put_opt(0, "\0\17\0\1\0", 5);
	set_counts(0, 0, 1);
	expect_bad();
}

static void tsig_is_cut_off(void **state)
{
	struct reply reply;

	(void)state;
	begin(0, DNS_TYPE_A);
	put_a(300);
	put("", 1);
	put16(DNS_TYPE_TSIG);
	put16(DNS_CLASS_ANY);
	put32(0);
	put16(0);
	set_counts(1, 0, 1);
	reply = expect_ok();
	assert_int_equal(reply.image->additional_count, 0);
	assert_int_equal(reply.image->byte_count, 16);
	free(reply.image);
}

/* ---- how long it lives ---- */

static void ttl_with_the_top_bit_counts_as_0(void **state)
{
	struct reply reply;

	(void)state;
	begin(0, DNS_TYPE_A);
	put_a(0x80000000);
	set_counts(1, 0, 0);
	reply = expect_ok();
	assert_int_equal(reply.positive_ttl, 0);
	assert_int_equal(image_min_ttl(reply.image), 0);
	free(reply.image);
}

static void nxdomain_lives_as_long_as_the_soa_says(void **state)
{
	struct reply reply;

	(void)state;
	begin(DNS_NXDOMAIN, DNS_TYPE_A);
	put_soa(EXAMPLE_AT, 900, 120);
	set_counts(0, 1, 0);
	reply = expect_ok();
	assert_true(reply.is_negative);
	assert_int_equal(reply.negative_ttl, 120);
	assert_int_equal(reply.positive_ttl, 0);
	free(reply.image);
	begin(DNS_NXDOMAIN, DNS_TYPE_A);
	put_soa(ROOT_AT, 90, 120);
	set_counts(0, 1, 0);
	reply = expect_ok();
	assert_int_equal(reply.negative_ttl, 90);
	free(reply.image);
}

static void answer_lives_no_longer_than_its_authority(void **state)
{
	struct reply reply;

	(void)state;
	begin(0, DNS_TYPE_A);
	put_a(3600);
	put_rr(EXAMPLE_AT, DNS_TYPE_NS, 20, 2);
	put_pointer(EXAMPLE_AT);
	set_counts(1, 1, 0);
	reply = expect_ok();
	assert_int_equal(reply.positive_ttl, 20);
	free(reply.image);
	begin(DNS_NXDOMAIN, DNS_TYPE_A);
	put_soa(EXAMPLE_AT, 900, 120);
	put_rr(EXAMPLE_AT, DNS_TYPE_NS, 20, 2);
	put_pointer(EXAMPLE_AT);
	set_counts(0, 2, 0);
	reply = expect_ok();
	assert_int_equal(reply.negative_ttl, 20);
	free(reply.image);
}

static void additional_has_a_life_of_its_own(void **state)
{
	struct reply reply;

	(void)state;
	begin(0, DNS_TYPE_NS);
	put_rr(QNAME_AT, DNS_TYPE_NS, 3600, 2);
	put_pointer(QNAME_AT);
	set_counts(1, 0, 0);
	reply = expect_ok();
	assert_int_equal(reply.image->additional_ttl_s, UINT32_MAX);
	free(reply.image);
	put_a(20);
	put_a(0x80000000);
	put_a(30);
	put_opt(0, NULL, 0);
	set_counts(1, 0, 4);
	reply = expect_ok();
	assert_int_equal(reply.image->additional_count, 3);
	assert_int_equal(reply.image->additional_ttl_s, 0);
	assert_int_equal(reply.positive_ttl, 3600);
	free(reply.image);
}

static void nodata_is_negative(void **state)
{
	struct reply reply;

	(void)state;
	begin(0, DNS_TYPE_AAAA);
	put_soa(EXAMPLE_AT, 900, 120);
	set_counts(0, 1, 0);
	reply = expect_ok();
	assert_true(reply.is_negative);
	assert_int_equal(reply.negative_ttl, 120);
	free(reply.image);
}

/* Alias `from` of a chain that begins with the question's name: "a0.", "a1.", … */
static void put_link(unsigned from, uint32_t ttl_s)
{
	char owner[8] = "", target[8];
	int owner_length = from ? snprintf(owner, sizeof(owner), "%ca%u", 0, from - 1) : 0;
	int target_length = snprintf(target, sizeof(target), "%ca%u", 0, from);

	owner[0] = (char)(owner_length - 1);
	target[0] = (char)(target_length - 1);
	if (from)
		put(owner, (size_t)owner_length + 1);
	else
		put_pointer(QNAME_AT);
	put16(DNS_TYPE_CNAME);
	put16(DNS_CLASS_IN);
	put32(ttl_s);
	put16((unsigned)target_length + 1);
	put(target, (size_t)target_length + 1);
}

/* So many aliases and the address at their end, in that order or the other way round. */
static struct reply reply_of_chain(unsigned count, bool is_backwards)
{
	char end[8];
	int end_length = snprintf(end, sizeof(end), "%ca%u", 0, count - 1);

	end[0] = (char)(end_length - 1);
	begin(0, DNS_TYPE_A);
	for (unsigned i = 0; !is_backwards && i < count; i++)
		put_link(i, 300);
	put(end, (size_t)end_length + 1);
	put16(DNS_TYPE_A);
	put16(DNS_CLASS_IN);
	put32(300);
	put16(4);
	put("\300\0\2\1", 4);
	for (unsigned i = count; is_backwards && i-- > 0;)
		put_link(i, 300);
	set_counts(count + 1, 0, 0);
	return expect_ok();
}

static void chain_of_aliases_is_followed_to_its_end_in_any_order(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct reply reply = reply_of_chain(i & 1 ? 32 : 9, i & 2);

		assert_false(reply.is_unfit);
		assert_false(reply.is_negative);
		assert_int_equal(reply.image->answer_count, i & 1 ? 33 : 10);
		free(reply.image);
	}
}

static void chain_of_aliases_without_an_end_is_no_answer(void **state)
{
	struct reply reply = reply_of_chain(33, false);

	(void)state;
	assert_true(reply.is_unfit);
	free(reply.image);
	begin(0, DNS_TYPE_A);
	for (unsigned i = 0; i < 65; i++)
		put_link(i, 300);
	set_counts(65, 0, 0);
	expect_bad();
}

static void alias_alone_is_kept_as_long_as_the_alias(void **state)
{
	struct reply reply;

	(void)state;
	begin(0, DNS_TYPE_A);
	put_link(0, 300);
	put_link(1, 40);
	set_counts(2, 0, 0);
	reply = expect_ok();
	assert_false(reply.is_unfit);
	assert_true(reply.is_negative);
	assert_int_equal(reply.negative_ttl, 40);
	free(reply.image);
}

static void records_of_another_type_or_name_are_no_answer(void **state)
{
	struct reply reply;

	(void)state;
	begin(0, DNS_TYPE_A);
	put_rr(QNAME_AT, DNS_TYPE_AAAA, 300, 16);
	put("0123456789abcdef", 16);
	set_counts(1, 0, 0);
	reply = expect_ok();
	assert_true(reply.is_unfit);
	free(reply.image);
	begin(0, DNS_TYPE_A);
	put_rr(EXAMPLE_AT, DNS_TYPE_A, 300, 4);
	put("\300\0\2\1", 4);
	set_counts(1, 0, 0);
	reply = expect_ok();
	assert_true(reply.is_unfit);
	free(reply.image);
}

static void negative_without_soa_has_no_ttl(void **state)
{
	struct reply reply;

	(void)state;
	begin(DNS_NXDOMAIN, DNS_TYPE_A);
	reply = expect_ok();
	assert_true(reply.is_negative);
	assert_int_equal(reply.negative_ttl, 0);
	free(reply.image);
}

static void soa_of_a_foreign_zone_does_not_count(void **state)
{
	struct reply reply;

	(void)state;
	begin(DNS_NXDOMAIN, DNS_TYPE_A);
	put("\5other", 7);
	put16(DNS_TYPE_SOA);
	put16(DNS_CLASS_IN);
	put32(900);
	put16(22);
	put("\0\0", 2);
	for (unsigned i = 0; i < 5; i++)
		put32(900);
	set_counts(0, 1, 0);
	reply = expect_ok();
	assert_int_equal(reply.negative_ttl, 0);
	free(reply.image);
}

static void servfail_is_not_negative(void **state)
{
	struct reply reply;

	(void)state;
	begin(DNS_SERVFAIL, DNS_TYPE_A);
	reply = expect_ok();
	assert_false(reply.is_negative);
	free(reply.image);
}

/* www.example → alias.example; returns where the target's name stands. */
static size_t put_cname(unsigned owner_at, const char *label, uint32_t ttl_s)
{
	size_t at;

	put_rr(owner_at, DNS_TYPE_CNAME, ttl_s, (unsigned)strlen(label) + 2);
	at = packet.length;
	put(label, strlen(label));
	put_pointer(EXAMPLE_AT);
	return at;
}

static void chain_that_ends_in_an_address_is_positive(void **state)
{
	struct reply reply;
	size_t target;

	(void)state;
	begin(0, DNS_TYPE_A);
	target = put_cname(QNAME_AT, "\5Alias", 50);
	put_rr((unsigned)target, DNS_TYPE_A, 300, 4);
	put("\1\2\3\4", 4);
	set_counts(2, 0, 0);
	reply = expect_ok();
	assert_false(reply.is_negative);
	assert_int_equal(reply.positive_ttl, 50);
	free(reply.image);
}

static void chain_that_ends_nowhere_is_nodata(void **state)
{
	struct reply reply;

	(void)state;
	begin(0, DNS_TYPE_A);
	put_cname(QNAME_AT, "\5alias", 50);
	put_soa(EXAMPLE_AT, 900, 120);
	set_counts(1, 1, 0);
	reply = expect_ok();
	assert_true(reply.is_negative);
	assert_int_equal(reply.negative_ttl, 120);
	assert_int_equal(reply.positive_ttl, 50);
	free(reply.image);
}

static void chain_may_stand_in_any_order(void **state)
{
	struct reply reply;
	size_t second;

	(void)state;
	begin(0, DNS_TYPE_A);
	put("\5alias", 6);
	second = packet.length - 6;
	put_pointer(EXAMPLE_AT);
	put16(DNS_TYPE_A);
	put16(DNS_CLASS_IN);
	put32(60);
	put16(4);
	put("\1\2\3\4", 4);
	put_rr(QNAME_AT, DNS_TYPE_CNAME, 60, 2);
	put_pointer((unsigned)second);
	set_counts(2, 0, 0);
	reply = expect_ok();
	assert_false(reply.is_negative);
	free(reply.image);
}

static void loop_of_cnames_ends(void **state)
{
	struct reply reply;

	(void)state;
	begin(0, DNS_TYPE_A);
	put_rr(QNAME_AT, DNS_TYPE_CNAME, 60, 2);
	put_pointer(QNAME_AT);
	set_counts(1, 0, 0);
	reply = expect_ok();
	assert_true(reply.is_negative);
	free(reply.image);
}

static void cname_asked_for_is_the_answer(void **state)
{
	struct reply reply;

	(void)state;
	begin(0, DNS_TYPE_CNAME);
	put_cname(QNAME_AT, "\5alias", 50);
	set_counts(1, 0, 0);
	reply = expect_ok();
	assert_false(reply.is_negative);
	free(reply.image);
}

static void address_of_somebody_else_is_no_answer(void **state)
{
	struct reply reply;

	(void)state;
	begin(0, DNS_TYPE_A);
	put_rr(EXAMPLE_AT, DNS_TYPE_A, 300, 4);
	put("\1\2\3\4", 4);
	set_counts(1, 0, 0);
	reply = expect_ok();
	assert_true(reply.is_negative);
	assert_int_equal(reply.negative_ttl, 0);
	assert_int_equal(reply.image->answer_count, 0);
	free(reply.image);
}

static void what_stands_in_answer_about_another_name_is_dropped(void **state)
{
	struct reply reply;

	(void)state;
	begin(DNS_FLAG_AD, DNS_TYPE_A);
	put_a(300);
	put_rr(EXAMPLE_AT, DNS_TYPE_A, 300, 4);
	put("\1\2\3\4", 4);
	put_a(300);
	set_counts(2, 0, 1);
	reply = expect_ok();
	assert_false(reply.is_negative);
	assert_int_equal(reply.image->answer_count, 1);
	assert_int_equal(reply.image->additional_count, 1);
	assert_int_equal(reply.image->rr_count, 2);
	assert_int_equal(reply.image->flags, 0); /* nobody vouched for the rest alone */
	free(reply.image);
}

static void largest_message_is_read(void **state)
{
	struct reply reply;
	unsigned count = 0;

	(void)state;
	begin(0, DNS_TYPE_A);
	for (; packet.length + 16 <= DNS_MESSAGE_MAX; count++)
		put_a(300);
	set_counts(count, 0, 0);
	reply = expect_ok();
	assert_int_equal(reply.image->rr_count, count);
	free(reply.image);
	put_a(300);
	set_counts(count + 1, 0, 0);
	expect_bad();
}

/* ---- held against ldns ---- */

static void push(ldns_pkt *reply, ldns_pkt_section section, const char *text)
{
	ldns_rr *rr = NULL;

	assert_int_equal(ldns_rr_new_frm_str(&rr, text, 3600, NULL, NULL), LDNS_STATUS_OK);
	assert_true(ldns_pkt_push_rr(reply, section, rr));
}

static void what_ldns_writes_is_read(void **state)
{
	static const char *const answers[] = {
		"www.example. 300 IN CNAME a.www.example.",
		"a.www.example. 300 IN MX 10 mx.example.",
		"a.www.example. 300 IN SRV 1 2 3 t.example.",
		"a.www.example. 300 IN NAPTR 1 2 \"u\" \"sip\" \"!a!b!\" r.example.",
		"a.www.example. 300 IN TXT \"text\" \"more\"",
		"a.www.example. 300 IN SOA ns.example. root.example. 1 2 3 4 5",
		"a.www.example. 300 IN RP m.example. t.example.",
		"a.www.example. 300 IN AFSDB 1 m.example.",
		"a.www.example. 300 IN NSEC b.example. A TXT",
		"a.www.example. 300 IN AAAA 2001:db8::1",
		"a.www.example. 300 IN DNAME d.example.",
		"a.www.example. 300 IN CAA 0 issue \"ca.example\"",
		"a.www.example. 300 IN TYPE65280 \\# 2 abcd",
	};
	ldns_pkt *reply = ldns_pkt_query_new(ldns_dname_new_frm_str("www.example."),
					     LDNS_RR_TYPE_MX, LDNS_RR_CLASS_IN, LDNS_QR);
	struct reply parsed;
	uint8_t *wire = NULL;
	size_t length = 0;

	(void)state;
	ldns_pkt_set_id(reply, ID);
	ldns_pkt_set_edns_udp_size(reply, 1232);
	for (size_t i = 0; i < COUNT_OF(answers); i++)
		push(reply, LDNS_SECTION_ANSWER, answers[i]);
	push(reply, LDNS_SECTION_AUTHORITY, "example. 300 IN NS ns.example.");
	push(reply, LDNS_SECTION_ADDITIONAL, "ns.example. 300 IN A 192.0.2.1");
	assert_int_equal(ldns_pkt2wire(&wire, reply, &length), LDNS_STATUS_OK);
	packet.length = 0;
	packet.type = TYPE_MX;
	put(wire, length);
	parsed = expect_ok();
	assert_int_equal(parsed.image->answer_count, COUNT_OF(answers));
	assert_int_equal(parsed.image->authority_count, 1);
	assert_int_equal(parsed.image->additional_count, 1);
	assert_true(parsed.has_edns);
	assert_false(parsed.is_negative);
	free(parsed.image);
	free(wire);
	ldns_pkt_free(reply);
}

static ldns_pkt *write_and_read_query(uint16_t flags, bool with_edns, bool with_do)
{
	uint8_t query[REPLY_QUERY_MAX];
	size_t length = reply_encode_query(ID, flags, (const uint8_t *)QNAME, QNAME_BYTES,
					   DNS_TYPE_AAAA, DNS_CLASS_IN, with_edns, with_do, query);
	ldns_pkt *read = NULL;

	assert_int_equal(ldns_wire2pkt(&read, query, length), LDNS_STATUS_OK);
	return read;
}

static void query_is_what_ldns_reads(void **state)
{
	ldns_pkt *query = write_and_read_query(DNS_FLAG_CD | DNS_FLAG_TC, true, true);
	ldns_rr *question = ldns_rr_list_rr(ldns_pkt_question(query), 0);
	char *name = ldns_rdf2str(ldns_rr_owner(question));

	(void)state;
	assert_int_equal(ldns_pkt_id(query), ID);
	assert_true(ldns_pkt_rd(query));
	assert_true(ldns_pkt_cd(query));
	assert_false(ldns_pkt_ad(query));
	assert_false(ldns_pkt_tc(query));
	assert_true(ldns_pkt_edns_do(query));
	assert_int_equal(ldns_pkt_edns_udp_size(query), 1232);
	assert_int_equal(ldns_rr_get_type(question), LDNS_RR_TYPE_AAAA);
	assert_string_equal(name, "www.example.");
	free(name);
	ldns_pkt_free(query);
}

static void query_without_edns_has_no_opt(void **state)
{
	ldns_pkt *query = write_and_read_query(0, false, true);

	(void)state;
	assert_false(ldns_pkt_edns(query));
	assert_int_equal(ldns_pkt_arcount(query), 0);
	ldns_pkt_free(query);
}

static void longest_query_fits(void **state)
{
	uint8_t name[DNS_NAME_MAX], query[REPLY_QUERY_MAX];

	(void)state;
	memset(name, 1, sizeof(name));
	name[DNS_NAME_MAX - 1] = 0;
	assert_int_equal(reply_encode_query(1, 0, name, sizeof(name), 1, 1, true, true, query),
			 REPLY_QUERY_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answer_becomes_an_image),
		cmocka_unit_test(other_id_is_bad),
		cmocka_unit_test(query_is_no_reply),
		cmocka_unit_test(other_opcode_is_bad),
		cmocka_unit_test(other_question_is_bad),
		cmocka_unit_test(question_in_other_case_is_the_same),
		cmocka_unit_test(case_counts_when_asked_for),
		cmocka_unit_test(question_must_stand_once),
		cmocka_unit_test(bare_formerr_is_a_reply),
		cmocka_unit_test(bare_header_with_another_rcode_is_bad),
		cmocka_unit_test(every_cut_is_bad),
		cmocka_unit_test(trailing_garbage_is_bad),
		cmocka_unit_test(counts_beyond_the_packet_are_bad),
		cmocka_unit_test(truncated_reply_is_told_apart),
		cmocka_unit_test(truncated_reply_to_another_question_is_bad),
		cmocka_unit_test(ad_and_rcode_are_kept),
		cmocka_unit_test(pointer_forward_is_bad),
		cmocka_unit_test(pointer_to_itself_is_bad),
		cmocka_unit_test(pointer_back_into_its_own_labels_is_bad),
		cmocka_unit_test(pointer_into_the_header_is_bad),
		cmocka_unit_test(label_types_01_and_10_are_bad),
		cmocka_unit_test(name_over_255_bytes_by_pointers_is_bad),
		cmocka_unit_test(long_chain_of_pointers_is_bad),
		cmocka_unit_test(pointer_to_what_is_no_name_is_bad),
		cmocka_unit_test(pointer_into_a_label_is_bad),
		cmocka_unit_test(pointer_into_rdata_leads_to_its_name),
		cmocka_unit_test(pointer_forward_in_rdata_is_bad_for_every_type_with_names),
		cmocka_unit_test(name_that_leaves_its_rdata_is_bad),
		cmocka_unit_test(bytes_behind_a_name_in_rdata_are_bad),
		cmocka_unit_test(soa_cut_short_is_bad),
		cmocka_unit_test(address_of_wrong_size_is_bad),
		cmocka_unit_test(unknown_type_is_opaque),
		cmocka_unit_test(rdata_over_the_end_is_bad),
		cmocka_unit_test(record_of_another_class_is_bad),
		cmocka_unit_test(question_type_as_a_record_is_bad),
		cmocka_unit_test(opt_is_no_part_of_the_image),
		cmocka_unit_test(opt_between_records_is_no_part_of_the_image),
		cmocka_unit_test(record_behind_the_opt_must_be_sound_too),
		cmocka_unit_test(extended_rcode_comes_from_the_opt),
		cmocka_unit_test(ede_is_read),
		cmocka_unit_test(ede_text_is_kept_up_to_its_nul),
		cmocka_unit_test(record_of_a_name_of_ours_is_dropped),
		cmocka_unit_test(two_opts_are_bad),
		cmocka_unit_test(opt_outside_additional_is_bad),
		cmocka_unit_test(opt_below_the_root_is_bad),
		cmocka_unit_test(options_that_do_not_fill_the_opt_are_bad),
		cmocka_unit_test(tsig_is_cut_off),
		cmocka_unit_test(ttl_with_the_top_bit_counts_as_0),
		cmocka_unit_test(nxdomain_lives_as_long_as_the_soa_says),
		cmocka_unit_test(answer_lives_no_longer_than_its_authority),
		cmocka_unit_test(additional_has_a_life_of_its_own),
		cmocka_unit_test(nodata_is_negative),
		cmocka_unit_test(chain_of_aliases_is_followed_to_its_end_in_any_order),
		cmocka_unit_test(chain_of_aliases_without_an_end_is_no_answer),
		cmocka_unit_test(alias_alone_is_kept_as_long_as_the_alias),
		cmocka_unit_test(records_of_another_type_or_name_are_no_answer),
		cmocka_unit_test(negative_without_soa_has_no_ttl),
		cmocka_unit_test(soa_of_a_foreign_zone_does_not_count),
		cmocka_unit_test(servfail_is_not_negative),
		cmocka_unit_test(chain_that_ends_in_an_address_is_positive),
		cmocka_unit_test(chain_that_ends_nowhere_is_nodata),
		cmocka_unit_test(chain_may_stand_in_any_order),
		cmocka_unit_test(loop_of_cnames_ends),
		cmocka_unit_test(cname_asked_for_is_the_answer),
		cmocka_unit_test(address_of_somebody_else_is_no_answer),
		cmocka_unit_test(what_stands_in_answer_about_another_name_is_dropped),
		cmocka_unit_test(largest_message_is_read),
		cmocka_unit_test(what_ldns_writes_is_read),
		cmocka_unit_test(query_is_what_ldns_reads),
		cmocka_unit_test(query_without_edns_has_no_opt),
		cmocka_unit_test(longest_query_fits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
