/* A reply written by ldns from text, read by us, and read again by ldns as a client would get it.
 */
#pragma once

#include <ldns/ldns.h>

#include "base/bytes.h"
#include "dns/dns.h"
#include "dns/name.h"
#include "dns/reply.h"

#define REPLY_TEXT_MAX 8000
#define REPLY_SET_MAX 8

struct reply_said {
	const char *name; /* of the question, as sent */
	uint16_t type;
	unsigned rcode;
	const char *records[3][REPLY_SET_MAX]; /* ANSWER, AUTHORITY, ADDITIONAL; ended by NULL */
};

static inline size_t reply_write(const struct reply_said *said, uint8_t **out_wire)
{
	static const ldns_pkt_section sections[] = { LDNS_SECTION_ANSWER, LDNS_SECTION_AUTHORITY,
						     LDNS_SECTION_ADDITIONAL };
	ldns_rdf *name = NULL;
	size_t length = 0;
	ldns_pkt *packet;

	assert_int_equal(ldns_str2rdf_dname(&name, said->name), LDNS_STATUS_OK);
	packet = ldns_pkt_query_new(name, (ldns_rr_type)said->type, LDNS_RR_CLASS_IN, LDNS_RD);
	ldns_pkt_set_qr(packet, true);
	ldns_pkt_set_rcode(packet, (uint8_t)said->rcode);
	for (unsigned section = 0; section < 3; section++) {
		for (unsigned i = 0; i < REPLY_SET_MAX && said->records[section][i]; i++) {
			ldns_rr *rr = NULL;

			assert_int_equal(ldns_rr_new_frm_str(&rr, said->records[section][i], 3600,
							     NULL, NULL),
					 LDNS_STATUS_OK);
			assert_true(ldns_pkt_push_rr(packet, sections[section], rr));
		}
	}
	assert_int_equal(ldns_pkt2wire(out_wire, packet, &length), LDNS_STATUS_OK);
	ldns_pkt_free(packet);
	return length;
}

/* The names under "nomad." are ours. */
static inline bool reply_is_ours(const void *arg, const uint8_t *name, size_t length)
{
	(void)arg;
	return name_is_in(name, length, (const uint8_t *)"\5nomad", 7);
}

static inline struct reply_expect reply_expect_of(const uint8_t *wire, size_t length)
{
	size_t name_bytes = name_length(wire + DNS_HEADER_BYTES, length - DNS_HEADER_BYTES);

	return (struct reply_expect){ .id = load_be16(wire),
				      .type = load_be16(wire + DNS_HEADER_BYTES + name_bytes),
				      .qclass = DNS_CLASS_IN,
				      .name = wire + DNS_HEADER_BYTES,
				      .name_length = (uint8_t)name_bytes,
				      .is_ours = reply_is_ours };
}

/* A message as a client whose question is in `client_case` gets it. Returns its length. */
static inline size_t reply_pass_on(const struct image *image, const uint8_t *wire,
				   const char *client_case, uint8_t out[DNS_MESSAGE_MAX])
{
	uint8_t name[DNS_NAME_MAX];
	int name_bytes = name_parse(client_case, name);
	size_t from = (size_t)DNS_HEADER_BYTES + (size_t)name_bytes + 4;

	assert_true(name_bytes > 0 && from + image->byte_count <= DNS_MESSAGE_MAX);
	memcpy(out, wire, from);
	memcpy(out + DNS_HEADER_BYTES, name, (size_t)name_bytes);
	store_be16(out + 6, image->answer_count);
	store_be16(out + 8, image->authority_count);
	store_be16(out + 10, image->additional_count);
	memcpy(out + from, image_bytes(image), image->byte_count);
	return from + image->byte_count;
}

/* The records of a message, a line each, sections apart by a line with a dash. */
static inline void reply_format(const uint8_t *wire, size_t length, char out[REPLY_TEXT_MAX])
{
	ldns_rr_list *(*const sections[])(const ldns_pkt *) = { ldns_pkt_answer, ldns_pkt_authority,
								ldns_pkt_additional };
	ldns_pkt *packet = NULL;
	size_t at = 0;

	assert_int_equal(ldns_wire2pkt(&packet, wire, length), LDNS_STATUS_OK);
	for (unsigned section = 0; section < 3; section++) {
		ldns_rr_list *list = sections[section](packet);

		for (size_t i = 0; i < ldns_rr_list_rr_count(list); i++) {
			char *text = ldns_rr2str(ldns_rr_list_rr(list, i));

			for (char *tab = text; *tab; tab++)
				*tab = *tab == '\t' ? ' ' : *tab;
			at += (size_t)snprintf(out + at, REPLY_TEXT_MAX - at, "%s", text);
			free(text);
		}
		at += (size_t)snprintf(out + at, REPLY_TEXT_MAX - at, "-\n");
	}
	ldns_pkt_free(packet);
}

/* What a client gets of it, who asked in another case. */
static inline void reply_expect_text(const struct reply_said *said, const char *expected)
{
	static uint8_t message[DNS_MESSAGE_MAX];
	char text[REPLY_TEXT_MAX];
	uint8_t *wire = NULL;
	size_t length = reply_write(said, &wire);
	struct reply_expect expect = reply_expect_of(wire, length);
	struct reply reply;

	assert_int_equal(reply_parse(wire, length, &expect, &reply), REPLY_OK);
	length = reply_pass_on(reply.image, wire, said->name, message);
	reply_format(message, length, text);
	assert_string_equal(text, expected);
	free(reply.image);
	free(wire);
}
