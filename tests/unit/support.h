/*
 * What several unit tests need: packets as a client writes them, names by their text, replies read
 * back by ldns, and a configuration made by hand. Header only, so that each test stays one file.
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <ldns/ldns.h>

#include "base/addr.h"
#include "base/bytes.h"
#include "config/config.h"
#include "dns/dns.h"
#include "dns/name.h"
#include "dns/question.h"

#define SUPPORT_PACKET_MAX 2048

struct packet {
	uint8_t bytes[SUPPORT_PACKET_MAX];
	size_t length;
};

static inline size_t wire_name(const char *text, uint8_t out[DNS_NAME_MAX])
{
	int length = name_parse(text, out);

	assert_true(length > 0);
	return (size_t)length;
}

static inline void packet_put(struct packet *packet, const void *bytes, size_t length)
{
	assert_true(packet->length + length <= sizeof(packet->bytes));
	if (length == 0)
		return;
	memcpy(packet->bytes + packet->length, bytes, length);
	packet->length += length;
}

static inline void packet_put16(struct packet *packet, unsigned value)
{
	uint8_t bytes[2];

	store_be16(bytes, (uint16_t)value);
	packet_put(packet, bytes, sizeof(bytes));
}

/* A query of one question with id 0x1234 and RD. */
static inline struct packet packet_query(const char *name, uint16_t type, uint16_t qclass)
{
	struct packet packet = { .bytes = { 0x12, 0x34, 0x01, 0, 0, 1 }, .length = 12 };
	uint8_t wire[DNS_NAME_MAX];
	size_t length = wire_name(name, wire);

	packet_put(&packet, wire, length);
	packet_put16(&packet, type);
	packet_put16(&packet, qclass);
	return packet;
}

/* An OPT with `length` bytes of options in ADDITIONAL; `flags` holds version (bits 16-23) and DO
 * (bit 15). */
static inline void packet_opt(struct packet *packet, uint16_t size, uint32_t flags,
			      const void *options, size_t length)
{
	uint8_t fixed[11] = { 0, 0, DNS_TYPE_OPT };

	store_be16(fixed + 3, size);
	store_be32(fixed + 5, flags);
	store_be16(fixed + 9, (uint16_t)length);
	packet_put(packet, fixed, sizeof(fixed));
	packet_put(packet, options, length);
	store_be16(packet->bytes + 10, (uint16_t)(load_be16(packet->bytes + 10) + 1));
}

static inline struct question ask_question(const char *name, uint16_t type)
{
	struct packet packet = packet_query(name, type, DNS_CLASS_IN);
	struct question question;

	assert_int_equal(question_parse(packet.bytes, packet.length, &question), QUESTION_OK);
	return question;
}

static inline struct addr ip(const char *text)
{
	struct addr addr;

	assert_int_equal(addr_parse_ip(text, &addr), 0);
	return addr;
}

/* What we wrote, read by somebody else. Caller frees with ldns_pkt_free. */
static inline ldns_pkt *read_reply(const uint8_t *bytes, size_t length)
{
	ldns_pkt *pkt = NULL;
	ldns_status status = ldns_wire2pkt(&pkt, bytes, length);

	if (status != LDNS_STATUS_OK)
		fail_msg("%zu bytes: %s", length, ldns_get_errorstr_by_id(status));
	return pkt;
}

/* A record as "owner ttl class type rdata", blanks for tabs. Borrowed until the fourth call from
 * now. */
static inline const char *rr_text(const ldns_rr *rr)
{
	static char texts[4][2048];
	static unsigned next;
	char *text = ldns_rr2str(rr), *out = texts[next++ % 4];

	assert_non_null(text);
	snprintf(out, sizeof(texts[0]), "%s", text);
	free(text);
	out[strcspn(out, "\n")] = '\0';
	for (char *p = out; *p; p++) {
		if (*p == '\t')
			*p = ' ';
	}
	for (size_t length = strlen(out); length && out[length - 1] == ' '; length--)
		out[length - 1] = '\0';
	return out;
}

static inline const char *nth_text(const ldns_rr_list *list, size_t index)
{
	assert_true(index < ldns_rr_list_rr_count(list));
	return rr_text(ldns_rr_list_rr(list, index));
}

static inline bool has_text(const ldns_rr_list *list, const char *text)
{
	for (size_t i = 0; i < ldns_rr_list_rr_count(list); i++) {
		if (strcmp(nth_text(list, i), text) == 0)
			return true;
	}
	return false;
}

/* Data of an EDNS option in a reply that ends with its OPT; NULL: it has none. */
static inline const uint8_t *find_option(const uint8_t *reply, size_t length, uint16_t code,
					 size_t *out_length)
{
	for (size_t opt = DNS_HEADER_BYTES; opt + 11 <= length; opt++) {
		if (reply[opt] != 0 || load_be16(reply + opt + 1) != DNS_TYPE_OPT ||
		    opt + 11 + load_be16(reply + opt + 9) != length)
			continue;
		for (size_t at = opt + 11; at + 4 <= length; at += 4u + load_be16(reply + at + 2)) {
			if (load_be16(reply + at) != code)
				continue;
			*out_length = load_be16(reply + at + 2);
			return reply + at + 4;
		}
	}
	return NULL;
}

/* A configuration that is never freed: its one reference too many stays with the test. */
static inline struct config *hand_made_config(struct config *config, struct config_zone *zones,
					      size_t zone_count)
{
	*config = (struct config){ .references = 1000,
				   .zone = zones,
				   .zone_count = zone_count,
				   .ttl_s = 10,
				   .negative_ttl_s = 5,
				   .max_stale_ms = 3600000,
				   .forward_timeout_ms = 4000,
				   .tcp_idle_timeout_ms = 10000,
				   .server_id = (char *)"",
				   .metrics_prefix = (char *)"nomad_dns" };
	return config;
}

static inline struct config_zone hand_made_zone(const char *text)
{
	struct config_zone zone;

	zone.length = (uint8_t)wire_name(text, zone.name);
	return zone;
}
