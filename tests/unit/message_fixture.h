/* One question, one answer, one reply, set up fresh for each test of message.c. */
#pragma once

#include "unit/support.h"

#include "dns/message.h"
#include "dns/records.h"

static struct message_identity identity = { .server_id = "node-1", .tcp_idle_ds = 100 };
static struct question question;
static struct answer answer;
static struct message_result result;
static uint8_t reply[DNS_MESSAGE_MAX];
static struct addr peer;
static struct image_builder builder;
static struct image *image;
static uint16_t picks[8192];
static ldns_pkt *pkt;

static inline int set_up(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(picks); i++)
		picks[i] = (uint16_t)i;
	question = ask_question("Redis.default.nomad", DNS_TYPE_A);
	answer_init(&answer);
	peer = ip("192.0.2.9");
	return 0;
}

static inline int tear_down(void **state)
{
	(void)state;
	ldns_pkt_free(pkt);
	pkt = NULL;
	free(image);
	image = NULL;
	return 0;
}

static inline void wants_edns(uint16_t size)
{
	question.has_edns = true;
	question.udp_limit = size;
}

/* Encodes in a block of exactly `limit` bytes, so that a sanitizer sees what is behind it. */
static inline void encode(bool over_tcp, size_t limit)
{
	uint8_t *out = malloc(limit);

	assert_non_null(out);
	result = message_encode(&question, &answer, &identity, &peer, 1559731985, over_tcp, limit,
				out);
	assert_true(result.length <= limit);
	memcpy(reply, out, result.length);
	free(out);
	ldns_pkt_free(pkt);
	pkt = read_reply(reply, result.length);
}

static inline void encode_udp(void)
{
	encode(false, question.udp_limit);
}

static inline uint16_t flags(void)
{
	return load_be16(reply + 2);
}

static inline size_t answers(void)
{
	return ldns_rr_list_rr_count(ldns_pkt_answer(pkt));
}

static inline size_t authorities(void)
{
	return ldns_rr_list_rr_count(ldns_pkt_authority(pkt));
}

static inline size_t additionals(void)
{
	return ldns_rr_list_rr_count(ldns_pkt_additional(pkt));
}

static inline uint32_t add_address(unsigned number)
{
	struct addr addr = { .family = AF_INET, .bytes = { 10, 0 } };
	uint8_t rr[RECORDS_RR_MAX];
	int length;

	store_be16(addr.bytes + 2, (uint16_t)number);
	length = records_address(&addr, 10, rr);
	return image_builder_add(&builder, rr, (size_t)length, RECORDS_SHORT_OWNER);
}

static inline uint32_t add_srv(unsigned port, const char *target, uint32_t address)
{
	uint8_t rr[RECORDS_RR_MAX], wire[DNS_NAME_MAX];
	uint32_t index;
	int length;

	wire_name(target, wire);
	length = records_srv(10, 10, (uint16_t)port, wire, 10, rr);
	index = image_builder_add(&builder, rr, (size_t)length, RECORDS_SHORT_OWNER);
	if (address != IMAGE_NO_RR)
		image_builder_link(&builder, index, address);
	return index;
}

static inline void pick_addresses(unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		add_address(i);
	image = image_builder_finish(&builder);
	answer.image = image;
	answer.picks = picks;
	answer.pick_count = count;
}

static inline void put_soa(void)
{
	static uint8_t rr[RECORDS_RR_MAX];
	uint8_t zone[DNS_NAME_MAX];
	size_t zone_length = wire_name("nomad", zone), serial_at = 0;
	int length = records_soa(zone, 0, 5, &serial_at, rr);

	answer.soa = (struct answer_soa){ .rr = rr,
					  .length = (uint16_t)length,
					  .ttl_offset = (uint16_t)(zone_length + 4),
					  .serial_offset = (uint16_t)serial_at,
					  .serial = 4711 };
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
