/*
 * One question on its way through the upstreams until one of them has answered it or its deadline
 * has come. It knows when: whom to ask next, when to ask the next as well, when to go over TCP, and
 * which reply to believe. exchange_ask sends, exchange_end closes; exchange_udp and exchange_tcp
 * know how. Earlier sockets stay open, so that a right answer that comes late still counts.
 *
 * Caller's storage, in use until `on_closed`. `on_done` comes once, never from within
 * exchange_start; after exchange_abort it does not come. `on_closed` follows in either case.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "dns/question.h"
#include "dns/reply.h"
#include "forward/exchange_tcp.h"
#include "forward/exchange_udp.h"
#include "forward/upstream.h"

struct exchange;
struct exchange_events;
struct metrics;
struct random;

#define EXCHANGE_UDP_SENDS 3 /* to one server (RFC 9520 §3.1: two retries), or against silence */
#define EXCHANGE_UDP_SLOTS 6 /* with those that refuse at once or fold the case */
#define EXCHANGE_TCP_SENDS 3

struct exchange_doors {
	uv_loop_t *loop;
	struct metrics *metrics;
	struct random *random;
	struct exchange_udp_pool *udp;
	/* `reply` NULL: no upstream answered; `ede` and the static `ede_text` say why. Else the
	 * callee takes reply->image over. */
	void (*on_done)(struct exchange *exchange, struct reply *reply, uint16_t ede,
			const char *ede_text);
	void (*on_closed)(struct exchange *exchange);
	/* As in reply_expect. */
	bool (*is_ours)(const void *arg, const uint8_t *name, size_t length);
	const void *is_ours_arg;
};

struct exchange_attempt { /* one question that went out */
	struct exchange *exchange;
	enum { ATTEMPT_UNUSED, ATTEMPT_OPEN, ATTEMPT_CLOSED } state;
	int upstream;
	uint16_t id;
	bool with_edns;
	bool with_case; /* sent as exchange->asked */
	uint64_t sent_ms;
};

struct exchange {
	const struct exchange_doors *doors;
	const struct exchange_events *events;
	const struct question *question;    /* the owner's, for as long as the exchange */
	struct upstream_health *health;	    /* likewise */
	struct exchange_tcp_pool *tcp_pool; /* likewise; of the same upstreams */
	enum { EXCHANGE_OVER_UDP, EXCHANGE_OVER_TCP, EXCHANGE_DONE } phase;
	uint64_t deadline_ms;
	uint8_t asked[DNS_NAME_MAX]; /* the name in a case that nobody can guess */
	uint64_t plain;	   /* upstreams that gave another case back: asked in lower case */
	uint64_t tried;	   /* upstreams asked in this round, over the transport of the phase */
	int awaited;	   /* the upstream whose patience runs; -1: none */
	uint64_t bare;	   /* upstreams that have refused EDNS: asked without */
	uint64_t bare_due; /* those of them that are still to be asked so */
	bool was_truncated;
	bool has_rested;	 /* it waited once for what was sent before the last send */
	uint64_t rests_since_ms; /* nobody is awaited and all early questions are out; 0: not so */
	uint64_t last_sent_ms;	 /* when the last question went out, 0: it did not yet */
	uint64_t paused_ms;	 /* in which resolvers that refused might have come back */
	bool had_network_error;
	bool is_unreachable;  /* how it ended: all it asked refused the packet, none was silent */
	struct reply refusal; /* the last reply that is no answer; image NULL: none */
	bool is_refusal_ours; /* it would say something about us: it does not go out */
	uv_timer_t timer;
	unsigned udp_sends, tcp_sends;
	/* The attempts come last: they are only looked at once they are opened. */
	struct udp_attempt {
		struct exchange_attempt attempt;
		struct exchange_udp udp;
	} udp[EXCHANGE_UDP_SLOTS];
	struct tcp_attempt {
		struct exchange_attempt attempt;
		struct exchange_tcp tcp;
	} tcp[EXCHANGE_TCP_SENDS];
	/* The same question to an upstream that is doubted: nobody waits for it, and it may outlive
	 * the answer. */
	struct udp_attempt udp_probe;
	struct tcp_attempt tcp_probe;
};

/* Sends the first question. Whatever the storage held before is gone. */
void exchange_start(struct exchange *exchange, const struct exchange_doors *doors,
		    const struct question *question, struct upstream_health *health,
		    struct exchange_tcp_pool *tcp_pool, uint64_t deadline_ms, uint64_t now_ms);

/* Somebody else waits for it from now on: when nothing but waiting was left, it asks once more. */
void exchange_join(struct exchange *exchange, uint64_t now_ms);

/* Ends it without a word. Does nothing when it is done already. */
void exchange_abort(struct exchange *exchange);
