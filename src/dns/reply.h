/*
 * What an upstream answered: the strict parser of replies. It checks that a message is the reply to
 * one question and turns what follows the question into an image. Bytes from strangers: counts,
 * lengths and pointers are checked before use (RFC 9267), time is linear in the packet, memory is
 * one image of known size.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dns/image.h"

enum reply_verdict {
	REPLY_OK,	 /* *out is filled */
	REPLY_TRUNCATED, /* TC: the right reply, but incomplete; ask over TCP */
	REPLY_BAD, /* not the reply to this question, or not well-formed: ignore it and keep waiting
		    */
	REPLY_OTHER_CASE, /* with `match_case`: the reply but for the case of its question */
	REPLY_NO_MEMORY,
};

struct reply_expect { /* the question that went out */
	uint16_t id;
	uint16_t type, qclass;
	uint8_t name_length;
	const uint8_t *name; /* as sent (case counts only with `match_case`) */
	bool match_case;
	/* Whether a folded name is one that no upstream is believed about (our own zones): a record
	 * of such a name, and all that follow it, are dropped. NULL: none is. */
	bool (*is_ours)(const void *arg, const uint8_t *name, size_t length);
	const void *is_ours_arg;
};

struct reply {
	struct image *image; /* caller frees; counts, rcode (extended), AD and EDE filled in; no OPT
				record inside */
	uint32_t positive_ttl; /* smallest TTL of ANSWER and AUTHORITY in seconds; 0 if ANSWER is
				  empty or a TTL ≥ 2^31 (RFC 2181 §8) */
	uint32_t negative_ttl; /* RFC 2308 §5: min(SOA TTL, MINIMUM) when AUTHORITY has the SOA, and
				  no more than the TTL of any record beside it; of an alias and
				  nothing else the alias's own; 0: not to be cached */
	bool is_negative;      /* NXDOMAIN or NODATA (RFC 2308 §2) */
	bool has_edns;
	bool is_referral; /* RFC 2308 §2.2: from a server that does not recurse: no answer at all */
	bool is_unfit;	  /* no answer: it is about something else, or its aliases are too many to
			     follow */
	bool is_outdated; /* not to be kept: asked before its name was flushed, or without the EDNS
			     that another upstream takes (its owner says so) */
};

/* Parses one whole message. Only with REPLY_OK is anything in `out` owned by the caller. */
enum reply_verdict reply_parse(const uint8_t *packet, size_t length,
			       const struct reply_expect *expect, struct reply *out);

/*
 * Writes the query that goes upstream: RD=1, CD/AD/DO as given, EDNS with our UDP size (1232)
 * unless `with_edns` is false. `name` is a wire name. Returns the length; `out` holds at least 12 +
 * 255 + 4 + 11 bytes (REPLY_QUERY_MAX).
 */
#define REPLY_QUERY_MAX 282
size_t reply_encode_query(uint16_t id, uint16_t flags, const uint8_t *name, size_t name_length,
			  uint16_t type, uint16_t qclass, bool with_edns, bool with_do,
			  uint8_t out[REPLY_QUERY_MAX]);
