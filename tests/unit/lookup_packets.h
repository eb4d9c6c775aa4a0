/*
 * Replies made byte by byte, for the tests of the verb `lookup`. Include it behind cmocka.h.
 */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "dns/dns.h"
#include "verbs/lookup_reply.h"

#define ID 0x1234
static const uint8_t qname[] = "\5redis\7default\5nomad";

struct packet {
	uint8_t bytes[4096];
	size_t length;
};

static inline void put(struct packet *packet, const void *bytes, size_t length)
{
	memcpy(packet->bytes + packet->length, bytes, length);
	packet->length += length;
}

#define PUT(packet, literal) put(packet, literal, sizeof(literal) - 1)

static inline void put16(struct packet *packet, unsigned value)
{
	store_be16(packet->bytes + packet->length, (uint16_t)value);
	packet->length += 2;
}

/* Header and question; the counts grow with add_record. */
static inline struct packet begin(unsigned flags, unsigned type)
{
	struct packet packet = { .length = 0 };

	put16(&packet, ID);
	put16(&packet, DNS_FLAG_QR | flags);
	put16(&packet, 1);
	PUT(&packet, "\0\0\0\0\0\0");
	put(&packet, qname, sizeof(qname));
	put16(&packet, type);
	put16(&packet, DNS_CLASS_IN);
	return packet;
}

static inline void count_record(struct packet *packet, unsigned section)
{
	uint8_t *count = packet->bytes + 6 + 2 * section;

	store_be16(count, (uint16_t)(load_be16(count) + 1));
}

/* A record of the question's name. */
static inline void add_record(struct packet *packet, unsigned section, unsigned type,
			      const void *rdata, size_t length)
{
	count_record(packet, section);
	put16(packet, DNS_POINTER_TO_QNAME);
	put16(packet, type);
	put16(packet, DNS_CLASS_IN);
	PUT(packet, "\0\0\0\x0a");
	put16(packet, (unsigned)length);
	put(packet, rdata, length);
}

#define ADD(packet, section, type, literal)                                                        \
	add_record(packet, section, type, literal, sizeof(literal) - 1)

static inline void add_opt(struct packet *packet, uint8_t upper_rcode, const void *options,
			   size_t length)
{
	count_record(packet, LOOKUP_REPLY_ADDITIONAL);
	PUT(packet, "\0\0\x29\x04\xd0");
	put(packet, &upper_rcode, 1);
	PUT(packet, "\0\0\0");
	put16(packet, (unsigned)length);
	put(packet, options, length);
}

static inline enum lookup_reply_verdict parse_as(const struct packet *packet, unsigned type,
						 struct lookup_reply *out)
{
	const struct lookup_reply_expect expect = { ID, (uint16_t)type, qname, sizeof(qname) };
	/* A copy of exactly that size: the sanitizer sees any byte read behind it. */
	uint8_t *copy = malloc(packet->length ? packet->length : 1);
	enum lookup_reply_verdict verdict;

	assert_non_null(copy);
	memcpy(copy, packet->bytes, packet->length);
	verdict = lookup_reply_parse(copy, packet->length, &expect, out);
	free(copy);
	return verdict;
}

static inline struct lookup_reply parse_well(const struct packet *packet)
{
	struct lookup_reply reply;

	assert_int_equal(parse_as(packet, DNS_TYPE_A, &reply), LOOKUP_REPLY_OK);
	return reply;
}
