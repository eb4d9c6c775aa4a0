/*
 * What a stage says: which records answer a question, and how they are to be marked. It points at
 * records that somebody else owns (a zone name, a cache entry, a reply) and is turned into bytes
 * before that owner may let go: within the same turn of the worker's loop. Default-initialised by
 * answer_init, never allocated.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "dns/dns.h"
#include "dns/image.h"

/* A resolved address of an instance whose Nomad address is a host name. */
struct answer_address {
	struct addr addr;
	uint32_t ttl_s;
};

struct answer_soa { /* the zone's SOA record for AUTHORITY or ANSWER, its serial set when it is
		       written */
	const uint8_t *rr;
	uint16_t length;
	uint16_t ttl_offset;
	uint16_t serial_offset;
	uint32_t serial;
};

struct answer {
	uint16_t rcode;
	uint16_t ede;	       /* DNS_EDE_*; DNS_EDE_NONE */
	const char *ede_text;  /* static text, or NULL */
	uint8_t stage;	       /* enum metric_stage: who answered */
	bool is_authoritative; /* AA */
	bool is_authentic;     /* AD, if the client asked for it */
	bool is_stale;
	bool no_recursion;  /* RA clear: forward=none */
	uint32_t age_s;	    /* subtracted from every TTL; none falls below 1 unless it was 0 */
	uint32_t ttl_max_s; /* ceiling for every TTL; UINT32_MAX: none */
	uint32_t ttl_all_s; /* every TTL is this one; 0: they are what they are */
	const struct image *image; /* records; NULL: none */
	bool without_additional;   /* of a whole image: those of ADDITIONAL have run out */
	const uint16_t *picks; /* indexes of the ANSWER records; NULL: the image whole, sections as
				  counted */
	uint32_t pick_count;
	uint32_t rotation; /* the pick that comes first */
	bool with_targets; /* SRV: ADDITIONAL holds each target's address record once */
	const struct answer_address *addresses; /* more ANSWER records, A or AAAA, owner 0xc00c */
	uint32_t address_count;
	bool soa_is_answer;    /* the SOA stands in ANSWER, not in AUTHORITY */
	struct answer_soa soa; /* rr NULL: none */
};

static inline void answer_init(struct answer *answer)
{
	*answer = (struct answer){ .ede = DNS_EDE_NONE, .ttl_max_s = UINT32_MAX };
}

/* Makes it SERVFAIL with a reason. `text` must be static. */
static inline void answer_fail(struct answer *answer, uint8_t stage, uint16_t ede, const char *text)
{
	answer_init(answer);
	answer->rcode = DNS_SERVFAIL;
	answer->stage = stage;
	answer->ede = ede;
	answer->ede_text = text;
}
