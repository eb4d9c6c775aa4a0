/*
 * Every event ends in one of four moves: ask the next upstream, wait for the timer, hand over a
 * reply, fail. Asking is exchange_ask's part, ending exchange_end's; the events and what each
 * decides are here.
 */
#include "forward/exchange.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/metrics.h"
#include "dns/dns.h"
#include "forward/exchange_ask.h"
#include "forward/exchange_end.h"

/* A crowd that comes together is one. */
#define JOIN_AFTER_MS 100

static void count(const struct exchange *exchange, enum metric metric)
{
	metrics_add(exchange->doors->metrics, metric, 1);
}

/* Nothing more can be asked: what is still open may answer until the deadline. */
static void wait_or_end(struct exchange *exchange, uint64_t now_ms)
{
	if (exchange->refusal.image || !exchange_end_is_any_open(exchange) ||
	    now_ms >= exchange->deadline_ms) {
		exchange_end_with(exchange, NULL);
		return;
	}
	exchange_ask_rest(exchange, now_ms);
}

static void end_silent_probe(struct exchange *exchange)
{
	if (exchange->udp_probe.attempt.state == ATTEMPT_OPEN)
		upstream_was_late(exchange->health, exchange->udp_probe.attempt.upstream);
	if (exchange->tcp_probe.attempt.state == ATTEMPT_OPEN)
		upstream_was_late(exchange->health, exchange->tcp_probe.attempt.upstream);
	exchange_end_probe(exchange);
}

/* Whether something has come of it that set the timer anew, or ended it. */
static bool is_settled(const uv_timer_t *timer)
{
	return uv_is_closing((const uv_handle_t *)timer) ||
	       uv_is_active((const uv_handle_t *)timer);
}

static void on_timer(uv_timer_t *timer)
{
	struct exchange *exchange = timer->data;
	uint64_t now_ms = clock_now_ms();

	/* Timers come before sockets in a turn of the loop: after a pause of this process or its
	 * machine, what was sent in time is there, and unread. */
	exchange_udp_pool_read(exchange->doors->udp);
	if (is_settled(timer))
		return;
	if (exchange->phase == EXCHANGE_DONE) {
		end_silent_probe(exchange);
		return;
	}
	if (exchange->awaited >= 0) {
		count(exchange, METRIC_UPSTREAM_TIMEOUTS);
		upstream_was_late(exchange->health, exchange->awaited);
	}
	exchange->awaited = -1;
	if (now_ms >= exchange->deadline_ms) {
		exchange_end_with(exchange, NULL);
		return;
	}
	if (exchange->rests_since_ms) {
		if (!exchange_ask_last(exchange, now_ms))
			wait_or_end(exchange, now_ms);
		return;
	}
	switch (exchange->phase) {
	case EXCHANGE_OVER_UDP:
		if (exchange_ask_bare(exchange, now_ms) ||
		    exchange_ask_udp(exchange, !exchange->refusal.image, now_ms))
			return;
		if (!exchange->refusal.image &&
		    (exchange_end_is_any_open(exchange) || exchange->paused_ms > 0) &&
		    exchange_ask_tcp(exchange, -1, now_ms))
			return;
		wait_or_end(exchange, now_ms);
		return;
	case EXCHANGE_OVER_TCP:
		if (!exchange_ask_tcp(exchange, -1, now_ms) &&
		    !exchange_ask_udp_instead(exchange, now_ms))
			wait_or_end(exchange, now_ms);
		return;
	case EXCHANGE_DONE:
		return;
	}
}

/* Asks one that was not asked yet. False: there is none. */
static bool ask_next(struct exchange *exchange, uint64_t now_ms)
{
	switch (exchange->phase) {
	case EXCHANGE_OVER_UDP:
		return exchange_ask_udp(exchange, false, now_ms);
	case EXCHANGE_OVER_TCP:
		return exchange_ask_tcp(exchange, -1, now_ms);
	case EXCHANGE_DONE:
		return false;
	}
	return false;
}

/* An attempt has come to nothing, by an error or by a reply that is no answer. */
static void on_setback(struct exchange *exchange, int upstream, uint64_t now_ms)
{
	bool was_awaited = exchange->awaited == upstream;

	if (exchange->phase == EXCHANGE_DONE || ask_next(exchange, now_ms) ||
	    exchange_ask_bare(exchange, now_ms))
		return;
	/* Somebody asked earlier or later is still within his time. */
	if (exchange_end_is_any_open(exchange) && !was_awaited && exchange->awaited >= 0)
		return;
	if (!exchange->refusal.image && exchange->phase == EXCHANGE_OVER_UDP &&
	    exchange_ask_pause(exchange, now_ms))
		return;
	if (exchange->phase == EXCHANGE_OVER_TCP && exchange_ask_udp_instead(exchange, now_ms))
		return;
	/* No UDP reply will be whole either. */
	if (exchange->was_truncated && !exchange_end_is_tcp_open(exchange)) {
		exchange_end_with(exchange, NULL);
		return;
	}
	wait_or_end(exchange, now_ms);
}

/* Whether a reply says that this server, now, gives no answer: another may. */
static bool is_refusal(const struct reply *reply)
{
	switch (reply->image->rcode) {
	case DNS_NOERROR:
		return reply->is_referral || reply->is_unfit;
	case DNS_NXDOMAIN:
	case DNS_YXDOMAIN:
		return reply->is_unfit;
	default:
		return true;
	}
}

/* Whether a refusal would be untrue as our word: an extended rcode is about the hop it came over
 * (RFC 6891 §6.1.3), a referral about a server that does not recurse. */
static bool is_between_us(const struct reply *reply)
{
	return reply->is_referral || reply->is_unfit || reply->image->rcode >= DNS_BADVERS;
}

/* RFC 6891 §7: a server that knows no EDNS says FORMERR or NOTIMP, without an OPT. */
static bool is_edns_refused(const struct exchange_attempt *attempt, const struct reply *reply)
{
	return attempt->with_edns && !reply->has_edns &&
	       (reply->image->rcode == DNS_FORMERR || reply->image->rcode == DNS_NOTIMP);
}

static void note_reply(struct exchange *exchange, const struct exchange_attempt *attempt,
		       const struct reply *reply, uint64_t now_ms)
{
	uint64_t took_ms = now_ms - attempt->sent_ms;
	uint16_t rcode = reply->image->rcode;

	if (rcode == DNS_REFUSED || rcode == DNS_SERVFAIL || reply->is_referral)
		upstream_refused(exchange->health, attempt->upstream, took_ms);
	else
		upstream_answered(exchange->health, attempt->upstream, took_ms);
	if (!attempt->with_case && (exchange->plain >> attempt->upstream & 1))
		upstream_has_folded(exchange->health, attempt->upstream, now_ms);
	if ((exchange->bare >> attempt->upstream & 1) && !attempt->with_edns && !is_refusal(reply))
		upstream_has_refused_edns(exchange->health, attempt->upstream, now_ms);
}

/* A well-formed reply; the attempt it came by is closed. */
static void take_reply(struct exchange *exchange, const struct exchange_attempt *attempt,
		       struct reply *reply, uint64_t now_ms)
{
	int upstream = attempt->upstream;

	/* Nobody between us and a loopback resolver, or one reached over TLS, can have set AD;
	 * from elsewhere it proves nothing (RFC 4035 §4.9.3). */
	if (!addr_is_loopback(&exchange_ask_upstream(exchange, upstream)->addr) &&
	    !exchange_ask_upstream(exchange, upstream)->is_tls)
		reply->image->flags &= (uint16_t)~DNS_FLAG_AD;
	note_reply(exchange, attempt, reply, now_ms);
	if (!is_refusal(reply)) {
		/* Without its proofs it is no answer to a validator when another has them. */
		reply->is_outdated = !attempt->with_edns && exchange_ask_wants_proofs(exchange) &&
				     exchange_ask_has_other_edns(exchange, now_ms);
		exchange_end_with(exchange, reply);
		return;
	}
	if (is_edns_refused(attempt, reply)) {
		exchange->bare |= UINT64_C(1) << upstream;
		exchange->bare_due |= UINT64_C(1) << upstream;
		if ((exchange_ask_wants_proofs(exchange) && ask_next(exchange, now_ms)) ||
		    exchange_ask_bare(exchange, now_ms)) {
			free(reply->image);
			return;
		}
	}
	free(exchange->refusal.image);
	exchange->refusal = *reply;
	exchange->is_refusal_ours = is_between_us(reply);
	on_setback(exchange, upstream, now_ms);
}

/* What a probe brings is as good an answer as any, if one is still wanted. */
static void take_probe(struct exchange *exchange, const struct exchange_attempt *attempt,
		       enum reply_verdict verdict, struct reply *reply, uint64_t now_ms)
{
	switch (verdict) {
	case REPLY_BAD:
	case REPLY_NO_MEMORY:
		return;
	case REPLY_TRUNCATED: /* half an answer says nothing */
		exchange_end_probe(exchange);
		return;
	case REPLY_OTHER_CASE:
		upstream_answered(exchange->health, attempt->upstream, now_ms - attempt->sent_ms);
		exchange_end_probe(exchange);
		return;
	case REPLY_OK:
		exchange_end_probe(exchange);
		if (exchange->phase != EXCHANGE_DONE && !is_refusal(reply)) {
			take_reply(exchange, attempt, reply, now_ms);
			return;
		}
		note_reply(exchange, attempt, reply, now_ms);
		free(reply->image);
		return;
	}
}

static void on_udp_packet(struct exchange_udp *handle, const uint8_t *packet, size_t length)
{
	struct udp_attempt *udp = list_entry(handle, struct udp_attempt, udp);
	struct exchange *exchange = udp->attempt.exchange;
	uint64_t now_ms = clock_now_ms();
	struct reply reply;
	enum reply_verdict verdict = exchange_ask_match(&udp->attempt, packet, length, &reply);

	if (udp == &exchange->udp_probe) {
		take_probe(exchange, &udp->attempt, verdict, &reply, now_ms);
		return;
	}
	switch (verdict) {
	case REPLY_BAD: /* anybody may have sent it: the right one may still come */
		return;
	case REPLY_OTHER_CASE:
		exchange_ask_without_case(exchange, udp->attempt.upstream, now_ms);
		return;
	case REPLY_NO_MEMORY:
		exchange_end_with(exchange, NULL);
		return;
	case REPLY_TRUNCATED:
		/* Half an answer: what TCP does decides about its standing. */
		exchange_end_udp(udp);
		exchange->was_truncated = true;
		if (exchange->phase == EXCHANGE_OVER_TCP && exchange->awaited >= 0 &&
		    exchange->awaited != udp->attempt.upstream)
			return;
		if (!exchange_ask_tcp(exchange, udp->attempt.upstream, now_ms))
			on_setback(exchange, udp->attempt.upstream, now_ms);
		return;
	case REPLY_OK:
		exchange_end_udp(udp);
		take_reply(exchange, &udp->attempt, &reply, now_ms);
		return;
	}
}

static void on_udp_error(struct exchange_udp *handle, int error)
{
	struct udp_attempt *udp = list_entry(handle, struct udp_attempt, udp);
	struct exchange *exchange = udp->attempt.exchange;
	uint64_t now_ms = clock_now_ms();

	if (!exchange_ask_is_own_failure(error))
		upstream_failed(exchange->health, udp->attempt.upstream);
	if (udp == &exchange->udp_probe) {
		exchange_end_probe(exchange);
		return;
	}
	exchange_end_udp(udp);
	exchange->had_network_error |= !exchange_ask_is_own_failure(error);
	if (exchange->phase == EXCHANGE_OVER_UDP)
		on_setback(exchange, udp->attempt.upstream, now_ms);
	else if (exchange->awaited < 0)
		wait_or_end(exchange, now_ms);
}

static void on_tcp_error(struct exchange_tcp *handle, int error)
{
	struct tcp_attempt *tcp = list_entry(handle, struct tcp_attempt, tcp);
	struct exchange *exchange = tcp->attempt.exchange;

	if (tcp == &exchange->tcp_probe) {
		if (!exchange_ask_is_own_failure(error))
			upstream_failed(exchange->health, tcp->attempt.upstream);
		exchange_end_probe(exchange);
		return;
	}
	exchange_end_tcp(tcp);
	if (!exchange_ask_is_own_failure(error)) {
		exchange->had_network_error = true;
		/* One in clear may serve UDP well all the same, so its standing does not suffer. */
		if (exchange_ask_upstream(exchange, tcp->attempt.upstream)->is_tls)
			upstream_failed(exchange->health, tcp->attempt.upstream);
	}
	on_setback(exchange, tcp->attempt.upstream, clock_now_ms());
}

/* What a stream brings cannot be somebody else's: a bad reply ends it. */
static void on_tcp_message(struct exchange_tcp *handle, const uint8_t *message, size_t length)
{
	struct tcp_attempt *tcp = list_entry(handle, struct tcp_attempt, tcp);
	struct exchange *exchange = tcp->attempt.exchange;
	struct reply reply;
	enum reply_verdict verdict = exchange_ask_match(&tcp->attempt, message, length, &reply);

	if (tcp == &exchange->tcp_probe && verdict == REPLY_OK) {
		take_probe(exchange, &tcp->attempt, verdict, &reply, clock_now_ms());
		return;
	}
	switch (verdict) {
	case REPLY_BAD:
	case REPLY_OTHER_CASE:
	case REPLY_TRUNCATED:
		on_tcp_error(handle, -EPROTO);
		return;
	case REPLY_NO_MEMORY:
		exchange_end_with(exchange, NULL);
		return;
	case REPLY_OK:
		exchange_end_tcp(tcp);
		take_reply(exchange, &tcp->attempt, &reply, clock_now_ms());
		return;
	}
}

static const struct exchange_events events = {
	.udp = { on_udp_packet, on_udp_error },
	.tcp = { on_tcp_message, on_tcp_error },
	.on_timer = on_timer,
};

/* Of an attempt only its state counts before it is opened; they are most of the bytes. */
static void clear(struct exchange *exchange)
{
	memset(exchange, 0, offsetof(struct exchange, udp));
	for (unsigned i = 0; i < EXCHANGE_UDP_SLOTS; i++)
		exchange->udp[i].attempt.state = ATTEMPT_UNUSED;
	for (unsigned i = 0; i < EXCHANGE_TCP_SENDS; i++)
		exchange->tcp[i].attempt.state = ATTEMPT_UNUSED;
	exchange->udp_probe.attempt.state = exchange->tcp_probe.attempt.state = ATTEMPT_UNUSED;
}

void exchange_start(struct exchange *exchange, const struct exchange_doors *doors,
		    const struct question *question, struct upstream_health *health,
		    struct exchange_tcp_pool *tcp_pool, uint64_t deadline_ms, uint64_t now_ms)
{
	clear(exchange);
	exchange->doors = doors;
	exchange->events = &events;
	exchange->question = question;
	exchange->health = health;
	exchange->tcp_pool = tcp_pool;
	exchange->deadline_ms = deadline_ms;
	exchange->awaited = -1;
	uv_timer_init(doors->loop, &exchange->timer);
	exchange->timer.data = exchange;
	exchange_ask_begin(exchange, now_ms);
}

void exchange_join(struct exchange *exchange, uint64_t now_ms)
{
	uint64_t since_ms =
		exchange->rests_since_ms ? exchange->rests_since_ms : exchange->last_sent_ms;

	if (exchange->phase == EXCHANGE_DONE || since_ms == 0 || now_ms - since_ms < JOIN_AFTER_MS)
		return;
	(void)exchange_ask_last(exchange, now_ms);
}

void exchange_abort(struct exchange *exchange)
{
	exchange_end_probe(exchange);
	if (exchange->phase == EXCHANGE_DONE)
		return;
	free(exchange->refusal.image);
	exchange->refusal.image = NULL;
	exchange_end_all(exchange);
}
