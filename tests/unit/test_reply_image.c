#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reply_fixture.h"

#define ASKED "wWw.ExAmPlE"
#define CLIENT "WWW.example"
#define HEAD_BYTES (12 + 13 + 4)

/* A reply to ASKED, record by record as the upstream wrote it. */
static struct packet {
	uint8_t wire[DNS_MESSAGE_MAX];
	size_t length;
} packet;

static void begin(uint16_t type)
{
	memcpy(packet.wire, "\x12\x34\x81\x80\0\1\0\0\0\0\0\0", 12);
	packet.length = 12 + (size_t)name_parse(ASKED, packet.wire + 12);
	store_be16(packet.wire + packet.length, type);
	store_be16(packet.wire + packet.length + 2, DNS_CLASS_IN);
	packet.length += 4;
	assert_int_equal(packet.length, HEAD_BYTES);
}

/* `owner` and `rdata` as bytes, their length in front of them not included. */
static void put_rr(unsigned section, const void *owner, size_t owner_length, uint16_t type,
		   const void *rdata, size_t rdata_length)
{
	uint8_t *at = packet.wire + packet.length;
	uint8_t *count = packet.wire + 6 + (size_t)section * 2;

	memcpy(at, owner, owner_length);
	at += owner_length;
	store_be16(at, type);
	store_be16(at + 2, DNS_CLASS_IN);
	store_be32(at + 4, 300);
	store_be16(at + 8, (uint16_t)rdata_length);
	memcpy(at + 10, rdata, rdata_length);
	packet.length += owner_length + 10 + rdata_length;
	store_be16(count, (uint16_t)(load_be16(count) + 1));
}

#define PUT(section, owner, type, rdata)                                                           \
	put_rr(section, owner, sizeof(owner) - 1, type, rdata, sizeof(rdata) - 1)

static void expect_text(const char *expected)
{
	static uint8_t message[DNS_MESSAGE_MAX];
	struct reply_expect expect = reply_expect_of(packet.wire, packet.length);
	char text[REPLY_TEXT_MAX];
	struct reply reply;
	size_t length;

	assert_int_equal(reply_parse(packet.wire, packet.length, &expect, &reply), REPLY_OK);
	length = reply_pass_on(reply.image, packet.wire, CLIENT, message);
	reply_format(message, length, text);
	assert_string_equal(text, expected);
	for (uint32_t i = 0; i < reply.image->rr_count; i++)
		assert_int_equal(
			load_be32(image_rr_bytes(reply.image, i) + reply.image->rr[i].ttl_offset),
			300);
	free(reply.image);
}

static void owner_written_out_comes_back_in_the_client_s_case(void **state)
{
	(void)state;
	begin(DNS_TYPE_A);
	PUT(0, "\3wWw\7ExAmPlE\0", DNS_TYPE_A, "\1\2\3\4");
	PUT(0, "\xc0\x1d", DNS_TYPE_A, "\1\2\3\5"); /* points to the owner before */
	PUT(0, "\3www\7EXAMPLE\0", DNS_TYPE_A, "\1\2\3\6");
	expect_text("WWW.example. 300 IN A 1.2.3.4\nWWW.example. 300 IN A 1.2.3.5\n"
		    "WWW.example. 300 IN A 1.2.3.6\n-\n-\n-\n");
}

static void zone_written_out_in_our_case_comes_back_in_the_client_s(void **state)
{
	(void)state;
	begin(DNS_TYPE_A);
	PUT(0, "\xc0\x0c", DNS_TYPE_A, "\1\2\3\4");
	PUT(1, "\7ExAmPlE\0", DNS_TYPE_NS, "\2Ns\4TeSt\0");
	PUT(1, "\7Example\0", DNS_TYPE_NS, "\2n2\4test\0"); /* in a case of its own */
	expect_text("WWW.example. 300 IN A 1.2.3.4\n-\nexample. 300 IN NS Ns.TeSt.\n"
		    "Example. 300 IN NS n2.test.\n-\n-\n");
}

static void what_the_upstream_points_to_stays_as_it_is(void **state)
{
	static const uint8_t rdata[] = "\0\1\2mx\xc0\x10";
	struct reply_expect expect;
	struct reply reply;

	(void)state;
	begin(DNS_TYPE_MX);
	put_rr(0, "\xc0\x0c", 2, DNS_TYPE_MX, rdata, sizeof(rdata) - 1);
	PUT(2, "\xc0\x2b", DNS_TYPE_A, "\1\2\3\4"); /* the host's name in the record before */
	expect = reply_expect_of(packet.wire, packet.length);
	assert_int_equal(reply_parse(packet.wire, packet.length, &expect, &reply), REPLY_OK);
	assert_int_equal(reply.image->byte_count, packet.length - HEAD_BYTES);
	assert_memory_equal(image_bytes(reply.image), packet.wire + HEAD_BYTES,
			    reply.image->byte_count);
	free(reply.image);
}

/* Names of what was dropped are still pointed to. */
static void name_in_a_record_that_is_dropped_is_not_lost(void **state)
{
	(void)state;
	begin(DNS_TYPE_MX);
	PUT(0, "\6victim\4TEST\0", DNS_TYPE_A, "\1\2\3\4"); /* at 29, TEST at 36 */
	PUT(0, "\xc0\x0c", DNS_TYPE_MX, "\0\1\2m1\xc0\x24");
	PUT(0, "\xc0\x0c", DNS_TYPE_MX, "\0\2\2m2\xc0\x24");
	PUT(1, "\xc0\x1d", DNS_TYPE_NS, "\xc0\x1d");
	PUT(2, "\2m2\xc0\x24", DNS_TYPE_A, "\1\2\3\5");
	expect_text("WWW.example. 300 IN MX 1 m1.TEST.\nWWW.example. 300 IN MX 2 m2.TEST.\n-\n-\n"
		    "m2.TEST. 300 IN A 1.2.3.5\n-\n");
}

/* RFC 3597 §4: what looks like a pointer in data that we do not know is none. */
static void unknown_data_is_copied_whatever_is_dropped(void **state)
{
	(void)state;
	begin(65280);
	PUT(0, "\6victim\4test\0", DNS_TYPE_A, "\1\2\3\4");
	PUT(0, "\xc0\x0c", 65280, "\3abc\xc0\x1d");
	expect_text("WWW.example. 300 IN TYPE65280 \\# 6 03616263c01d\n-\n-\n-\n");
}

static void target_that_must_not_be_compressed_is_not(void **state)
{
	struct reply_expect expect;
	struct reply reply;

	(void)state;
	begin(DNS_TYPE_SRV);
	PUT(0, "\6victim\4test\0", DNS_TYPE_A, "\1\2\3\4");
	PUT(0, "\xc0\x0c", DNS_TYPE_SRV, "\0\1\0\2\0\3\4host\7example\0");
	expect = reply_expect_of(packet.wire, packet.length);
	assert_int_equal(reply_parse(packet.wire, packet.length, &expect, &reply), REPLY_OK);
	assert_int_equal(reply.image->rr_count, 1);
	assert_int_equal(reply.image->byte_count, 2 + 10 + 6 + 14);
	assert_memory_equal(image_bytes(reply.image) + 18, "\4host\7example\0", 14);
	free(reply.image);
}

/* A name that many point to, far behind where pointers reach, in a record that is dropped. */
static void what_does_not_fit_once_written_out_is_bad(void **state)
{
	static uint8_t filler[17000];
	struct reply_expect expect;
	struct reply reply;
	uint8_t name[DNS_NAME_MAX] = { 0 };

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		name[i * 64] = 63;
		memset(name + i * 64 + 1, 'a' + (int)i, 63);
	}
	begin(DNS_TYPE_MX);
	put_rr(0, name, 193, DNS_TYPE_A, "\1\2\3\4", 4);
	put_rr(0, "\xc0\x0c", 2, DNS_TYPE_TXT, filler, sizeof(filler));
	while (packet.length + 16 <= DNS_MESSAGE_MAX) {
		uint8_t rdata[4] = { 0, 0, 0xc0, HEAD_BYTES };

		store_be16(rdata, (uint16_t)packet.length);
		put_rr(0, "\xc0\x0c", 2, DNS_TYPE_MX, rdata, 4);
	}
	expect = reply_expect_of(packet.wire, packet.length);
	assert_int_equal(reply_parse(packet.wire, packet.length, &expect, &reply), REPLY_BAD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(owner_written_out_comes_back_in_the_client_s_case),
		cmocka_unit_test(zone_written_out_in_our_case_comes_back_in_the_client_s),
		cmocka_unit_test(what_the_upstream_points_to_stays_as_it_is),
		cmocka_unit_test(name_in_a_record_that_is_dropped_is_not_lost),
		cmocka_unit_test(unknown_data_is_copied_whatever_is_dropped),
		cmocka_unit_test(target_that_must_not_be_compressed_is_not),
		cmocka_unit_test(what_does_not_fit_once_written_out_is_bad),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
