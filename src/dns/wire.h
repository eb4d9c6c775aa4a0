/*
 * Records of a stranger's message as they stand on the wire: names with compression pointers,
 * lengths, and RDATA that holds names. A name is checked once, by wire_check_name; the readers
 * below trust what it has passed. A pointer may only lead to a label of a name that was checked
 * before (RFC 1035 §4.1.4), so following one always ends, and no name runs through bytes that are
 * no name: a TTL, say, which changes with age. No allocation.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dns/dns.h"

#define WIRE_POINTABLE 0x4000 /* a pointer has 14 bits */

struct wire { /* one message under inspection */
	const uint8_t *packet;
	size_t length;
	/* A bit for each label that may be pointed to; as far as the message goes. */
	uint8_t label_at[WIRE_POINTABLE / 8];
};

/* Nothing of the message is checked yet; it is borrowed. */
void wire_init(struct wire *wire, const uint8_t *packet, size_t length);

struct wire_rr {
	size_t at, fixed_at, rdata_at, end; /* owner, type, RDATA, the byte behind */
	uint16_t type, class;
	uint32_t ttl_s; /* 0 if ≥ 2^31 (RFC 2181 §8), but for an OPT, whose TTL is none */
};

/* The offset behind the name at `at`, or 0: it runs over `limit`, is longer than 255 bytes, or
 * points where no name is. */
size_t wire_check_name(struct wire *wire, size_t at, size_t limit);

/* Where the first label of a checked name stands, behind any pointers: names that share it are the
 * same. */
size_t wire_follow(const struct wire *wire, size_t at);

/* Whether two checked names are the same, whatever their case. Most that are not differ in their
 * first label, and most that are lead to the same one soon. */
bool wire_is_same_name(const struct wire *wire, size_t a, size_t b);

/* Writes a checked name without pointers, in the case it came in. Returns its length. */
size_t wire_spell_name(const struct wire *wire, size_t at, uint8_t out[DNS_NAME_MAX]);

/* The same, folded. */
size_t wire_expand_name(const struct wire *wire, size_t at, uint8_t out[DNS_NAME_MAX]);

/* Checks the record at `at`, its owner and its lengths, not its RDATA. */
bool wire_check_rr(struct wire *wire, size_t at, struct wire_rr *out);

/* The offset behind a checked name. */
size_t wire_skip_name(const struct wire *wire, size_t at);

/* Where the names in the RDATA of a checked record begin, one behind the other. How many: 0 to 2.
 */
unsigned wire_find_names(const struct wire *wire, const struct wire_rr *rr, size_t out_at[2]);

/* Reads a record that wire_check_rr has passed. */
void wire_read_rr(const struct wire *wire, size_t at, struct wire_rr *out);

/* Whether the RDATA is what its type wants, as far as names and addresses go; unknown types are
 * opaque (RFC 3597). */
bool wire_check_rdata(struct wire *wire, const struct wire_rr *rr);
