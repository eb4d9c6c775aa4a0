/*
 * What a client asked: the strict parser of queries (RFC 1035 §4, RFC 6891, RFC 7873). It reads
 * bytes from strangers and never reads past the packet, allocates, or fails an assertion. The
 * verdict says which kind of reply is due; the fields filled so far are valid for that reply.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dns/dns.h"

enum question_verdict {
	QUESTION_OK,	  /* ask the pipeline */
	QUESTION_DROP,	  /* shorter than a header, or QR=1: no reply at all */
	QUESTION_NOTIMP,  /* bare header */
	QUESTION_FORMERR, /* bare header */
	QUESTION_BADVERS, /* question and OPT */
	QUESTION_COOKIE,  /* QDCOUNT 0 with a COOKIE: a reply without a question (RFC 7873 §5.4) */
};

#define QUESTION_COOKIE_MAX 40 /* RFC 7873 §4: 8 client bytes, 8–32 server bytes */

struct question {
	uint16_t id;
	uint16_t flags; /* bytes 2 and 3 as they came */
	uint16_t type;	/* QTYPE and QCLASS; 0 until parsed */
	uint16_t qclass;
	uint16_t udp_limit;  /* bytes the client takes over UDP: 512, or its EDNS size clamped to
				512…1232 */
	uint8_t name_length; /* with the root label; 0: no question parsed */
	uint8_t label_count;
	uint8_t cookie_length; /* 0: none; else 8 or 16–40 */
	bool has_edns;
	bool has_do; /* DNSSEC OK */
	bool wants_nsid;
	bool wants_keepalive;	/* RFC 7828 */
	bool has_bad_keepalive; /* not empty: FORMERR over TCP, ignored over UDP (§3.3.1) */
	bool has_tsig;
	uint8_t name[DNS_NAME_MAX];   /* as it came: goes back so */
	uint8_t folded[DNS_NAME_MAX]; /* the same, folded: the key of every table */
	uint8_t cookie[QUESTION_COOKIE_MAX];
};

/* Parses one whole message of `length` bytes. Fills `out` as far as the verdict needs; never fails
 * otherwise. */
enum question_verdict question_parse(const uint8_t *packet, size_t length, struct question *out);

/* Offset of the byte behind the question in a message: where an image starts. 12 if there is no
 * question. */
static inline size_t question_end(const struct question *question)
{
	return question->name_length ? (size_t)DNS_HEADER_BYTES + question->name_length + 4
				     : DNS_HEADER_BYTES;
}
