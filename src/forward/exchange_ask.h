/*
 * The asking half of an exchange: whom to ask next, over which transport, with which name, and how
 * long the timer gives him. It decides nothing by a reply: exchange.c does. It ends nothing:
 * exchange_end does, and closes what is opened here. No event comes from within a call.
 *
 * What asks returns true when a question is on its way, or put off for want of a socket, and the
 * timer runs for it; false when nothing went out that is worth waiting for: the timer is as it was,
 * and what failed on the way is told to the health of the upstreams.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "forward/exchange.h"

struct exchange_events { /* where what comes back goes */
	struct exchange_udp_doors udp;
	struct exchange_tcp_doors tcp;
	uv_timer_cb on_timer; /* the awaited upstream's time is over, or the deadline has come */
};

/* Draws the name's case and sends the first question, and to a doubted upstream the same along with
 * it. The timer runs in any case. */
void exchange_ask_begin(struct exchange *exchange, uint64_t now_ms);

/* Asks the next upstream over UDP, or over TLS when nothing goes there in clear. False: none left
 * (with `again`, which allows one that was asked before: no question left). */
bool exchange_ask_udp(struct exchange *exchange, bool again, uint64_t now_ms);

/* Asks `upstream` over TCP, or the next one when it is -1. False: none left. */
bool exchange_ask_tcp(struct exchange *exchange, int upstream, uint64_t now_ms);

/* TCP has brought nothing: asks over UDP one that was not yet asked so, for which the answer may be
 * short enough (another network, another view). False: none left. */
bool exchange_ask_udp_instead(struct exchange *exchange, uint64_t now_ms);

/* Asks one that has refused EDNS once more, without (RFC 6891 §7). False: there is none left. */
bool exchange_ask_bare(struct exchange *exchange, uint64_t now_ms);

/* Whether the client wants to check the answer himself: without EDNS there are no signatures. */
bool exchange_ask_wants_proofs(const struct exchange *exchange);

/* Whether there is an upstream meant for the question that is not known to refuse EDNS. */
bool exchange_ask_has_other_edns(const struct exchange *exchange, uint64_t now_ms);

/* The right reply but for the case: forged, or from a server that folds names. Asked in lower case
 * it shows; the right one may still come meanwhile. */
void exchange_ask_without_case(struct exchange *exchange, int upstream, uint64_t now_ms);

/* Awaits nobody for a moment, in which a resolver that refused may come back. False: it has had the
 * time that a restart takes. */
bool exchange_ask_pause(struct exchange *exchange, uint64_t now_ms);

/* Waits for want of a socket. */
void exchange_ask_later(struct exchange *exchange, uint64_t now_ms);

/* Awaits nobody; the timer rings when it is time for the last question, which is kept back for
 * those who are back by then. */
void exchange_ask_rest(struct exchange *exchange, uint64_t now_ms);

/* That question: over TCP, to whoever is most likely to answer, asked before or not. */
bool exchange_ask_last(struct exchange *exchange, uint64_t now_ms);

/* Awaits nobody; the timer rings at the deadline. */
void exchange_ask_nobody(struct exchange *exchange, uint64_t now_ms);

/* Parses what came as the reply to this attempt, by the id and the case it went out with; one that
 * does not match is counted. `*out` as reply_parse leaves it. */
enum reply_verdict exchange_ask_match(const struct exchange_attempt *attempt, const uint8_t *packet,
				      size_t length, struct reply *out);

/* Borrowed from the list of the exchange's health. */
const struct upstream *exchange_ask_upstream(const struct exchange *exchange, int index);

/* Whether -errno is a lack of our own, which says nothing about the upstream. */
bool exchange_ask_is_own_failure(int error);
