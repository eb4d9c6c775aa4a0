/*
 * The inside of the parser of replies, shared by its three files: reply.c checks every byte and
 * judges, reply_trim.c says which records are kept, reply_image.c writes those. Nobody else
 * includes this.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dns/dns.h"
#include "dns/reply.h"
#include "dns/wire.h"

#define REPLY_RR_MIN_BYTES (1 + DNS_RR_FIXED_BYTES) /* root owner, no RDATA */
#define REPLY_RR_MAX (DNS_MESSAGE_MAX / REPLY_RR_MIN_BYTES)

#define REPLY_CHAIN_MAX 32  /* names that aliases lead to; nobody means more */
#define REPLY_CNAMES_MAX 64 /* in ANSWER */

enum reply_section { REPLY_ANSWER, REPLY_AUTHORITY, REPLY_ADDITIONAL, REPLY_SECTIONS };

struct reply_scan {
	const struct reply_expect *expect;
	size_t from;			 /* where the records begin */
	uint16_t counts[REPLY_SECTIONS]; /* as the header says; checked */
	uint16_t kept_counts[REPLY_SECTIONS];
	size_t kept_end; /* behind the last record that is kept */
	bool is_ragged;	 /* before it, some are not, or an owner changes */
	bool has_opt;
	unsigned cname_count;
	/* Where the aliases of ANSWER lead: `is_cut` when not to their end, because there are too
	 * many. */
	bool is_cut;
	size_t end_at;	      /* the name there */
	uint16_t upper_rcode; /* bits 4–11 */
	uint16_t ede;
	size_t ede_text_at, ede_text_length;
	/* The large ones, of which only what the message needs is cleared. */
	uint8_t kept[REPLY_RR_MAX / 8 + 1]; /* a bit per record */
	struct wire wire;
};

struct reply_cursor { /* a walk over all records; zeroed is before the first */
	size_t next_at;
	unsigned in_section; /* how many of it were passed */
	enum reply_section section;
	unsigned index; /* of the record just read */
	bool has_begun;
};

/* Reads the next record of checked sections. False: there is none. */
bool reply_next(const struct reply_scan *scan, struct reply_cursor *cursor, struct wire_rr *out);

static inline bool reply_is_kept(const struct reply_scan *scan, unsigned index)
{
	return scan->kept[index / 8] >> index % 8 & 1;
}

/* Marks the records that are kept. All sections have been checked. */
void reply_trim(struct reply_scan *scan);

/* How many bytes of the owner at `at` are the end of the question's name, and have to come back in
 * the client's case: the whole name, however it is written, or a part of it that came back in just
 * the case that went out. 0: none. */
size_t reply_echo_length(const struct reply_scan *scan, size_t at);

/* The records that are kept, as they may be sent behind the same question. NULL with *out_is_bad
 * false: out of memory; true: they do not fit a message. */
struct image *reply_make_image(const struct reply_scan *scan, bool *out_is_bad);
