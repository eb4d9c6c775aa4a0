/*
 * From an answer to the bytes of a reply: header, the question as it came, records with rotation
 * and aged TTLs, our OPT. Allocates nothing. Truncation as RFC 2181 §9 and RFC 6891 §7 want it:
 * ADDITIONAL goes first and silently, then whole ANSWER records with TC; negatives keep their SOA.
 * At 64 KiB our own records are picked, without TC; an upstream's are whole, or TC says that they
 * are not.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "dns/question.h"
#include "dns/answer.h"

/* What every reply of this daemon carries; built from the configuration, read-only for the workers.
 */
struct message_identity {
	struct hash_key cookie_key;
	char server_id[256];  /* NSID; empty: none */
	uint32_t tcp_idle_ds; /* what edns-tcp-keepalive says, in 100 ms (RFC 7828 §3.1) */
};

struct message_result {
	size_t length;	   /* bytes written; 0: send nothing */
	bool is_truncated; /* over UDP: TC */
	bool is_cut;	   /* over TCP: records left out at 64 KiB; TC if they are an upstream's */
};

/*
 * Writes the reply to `question`. `limit` is what the transport and the client take
 * (question.udp_limit, or 65535 over TCP); `out` holds at least that, and at least 512. `now_s` is
 * wall time, `peer` the asker (cookies); NULL over `peer`: none.
 */
struct message_result message_encode(const struct question *question, const struct answer *answer,
				     const struct message_identity *identity,
				     const struct addr *peer, uint32_t now_s, bool over_tcp,
				     size_t limit, uint8_t *out);

/* The reply to a question that the pipeline never sees: NOTIMP, FORMERR, BADVERS or the bare
 * cookie. As above; 0 for DROP. */
size_t message_encode_refusal(const struct question *question, enum question_verdict verdict,
			      const struct message_identity *identity, const struct addr *peer,
			      uint32_t now_s, uint8_t out[DNS_UDP_PLAIN_MAX]);
