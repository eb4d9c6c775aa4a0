/*
 * Every event ends in one of four moves: ask the next upstream, wait for the timer, hand over a
 * reply, fail. The timer means "the upstream asked last has had its time"; the deadline is the
 * last time it rings.
 */
#include "forward/exchange.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/metrics.h"
#include "dns/dns.h"

/* When all have refused the packet: a resolver that restarts is back by then. */
#define REFUSED_PAUSE_MS 300
#define SHARE_MIN_MS 100	 /* near the deadline: not all questions in one burst */
#define TCP_PATIENCE_MIN_MS 1000 /* a handshake, a lost SYN's first repetition not included */

static void on_timer(uv_timer_t *timer);

static void count(const struct exchange *exchange, enum metric metric)
{
	metrics_add(exchange->doors->metrics, metric, 1);
}

static const struct upstream *upstream_at(const struct exchange *exchange, int index)
{
	return &upstream_health_list(exchange->health)->upstream[index];
}

static void drop_handle(struct exchange *exchange)
{
	if (--exchange->open_handles == 0)
		exchange->doors->on_closed(exchange);
}

static void on_timer_closed(uv_handle_t *handle)
{
	drop_handle(handle->data);
}

static void close_udp(struct udp_attempt *udp)
{
	if (udp->attempt.state != ATTEMPT_OPEN)
		return;
	udp->attempt.state = ATTEMPT_CLOSED;
	exchange_udp_close(&udp->udp);
}

static void close_tcp(struct tcp_attempt *tcp)
{
	if (tcp->attempt.state != ATTEMPT_OPEN)
		return;
	tcp->attempt.state = ATTEMPT_CLOSED;
	exchange_tcp_close(&tcp->tcp);
}

static bool is_tcp_open(const struct exchange *exchange)
{
	for (unsigned i = 0; i < EXCHANGE_TCP_SENDS; i++) {
		if (exchange->tcp[i].attempt.state == ATTEMPT_OPEN)
			return true;
	}
	return false;
}

static bool is_anything_open(const struct exchange *exchange)
{
	for (unsigned i = 0; i < EXCHANGE_UDP_SLOTS; i++) {
		if (exchange->udp[i].attempt.state == ATTEMPT_OPEN)
			return true;
	}
	return is_tcp_open(exchange);
}

static void wait_at_most(struct exchange *exchange, uint64_t wait_ms, uint64_t now_ms)
{
	uint64_t left_ms = exchange->deadline_ms > now_ms ? exchange->deadline_ms - now_ms : 0;

	/* libuv's clock is the start of this turn of the loop; a timer counts from there. */
	uv_update_time(exchange->doors->loop);
	uv_timer_start(&exchange->timer, on_timer, wait_ms < left_ms ? wait_ms : left_ms, 0);
}

static bool is_probe_open(const struct exchange *exchange)
{
	return exchange->udp_probe.attempt.state == ATTEMPT_OPEN ||
	       exchange->tcp_probe.attempt.state == ATTEMPT_OPEN;
}

static void close_timer(struct exchange *exchange)
{
	if (!uv_is_closing((uv_handle_t *)&exchange->timer))
		uv_close((uv_handle_t *)&exchange->timer, on_timer_closed);
}

/* The probe has told what it can. */
static void close_probe(struct exchange *exchange)
{
	close_udp(&exchange->udp_probe);
	close_tcp(&exchange->tcp_probe);
	if (exchange->phase == EXCHANGE_DONE)
		close_timer(exchange);
}

static void close_all(struct exchange *exchange)
{
	exchange->phase = EXCHANGE_DONE;
	for (unsigned i = 0; i < EXCHANGE_UDP_SLOTS; i++)
		close_udp(&exchange->udp[i]);
	for (unsigned i = 0; i < EXCHANGE_TCP_SENDS; i++)
		close_tcp(&exchange->tcp[i]);
	if (is_probe_open(exchange))
		wait_at_most(exchange, UINT64_MAX, clock_now_ms());
	else
		close_timer(exchange);
}

static void finish(struct exchange *exchange, struct reply *reply)
{
	struct reply last = exchange->refusal;

	exchange->refusal.image = NULL;
	close_all(exchange);
	if (reply) {
		free(last.image);
		exchange->doors->on_done(exchange, reply, DNS_EDE_NONE, NULL);
	} else if (last.image) {
		exchange->doors->on_done(exchange, &last, DNS_EDE_NONE, NULL);
	} else if (exchange->was_truncated) {
		exchange->doors->on_done(exchange, NULL, DNS_EDE_NETWORK_ERROR,
					 "upstream truncated over UDP and failed over TCP");
	} else if (exchange->had_network_error) {
		exchange->doors->on_done(exchange, NULL, DNS_EDE_NETWORK_ERROR,
					 "upstream resolvers cannot be reached");
	} else {
		exchange->doors->on_done(exchange, NULL, DNS_EDE_NO_REACHABLE_AUTHORITY,
					 "no upstream resolver answered in time");
	}
}

/* Patience, shortened so that each question still to be sent gets its share of what is left. */
static uint64_t share_of_patience(const struct exchange *exchange, int upstream, uint64_t now_ms)
{
	uint64_t patience_ms = exchange->udp_sends > 1
				       ? upstream_retry_patience_ms(exchange->health, upstream)
				       : upstream_patience_ms(exchange->health, upstream);
	uint64_t left_ms = exchange->deadline_ms > now_ms ? exchange->deadline_ms - now_ms : 0;
	unsigned shares = exchange->udp_sends < EXCHANGE_UDP_SENDS
				  ? EXCHANGE_UDP_SENDS - exchange->udp_sends + 2 /* TCP */
				  : 2;
	uint64_t share_ms = left_ms / shares > SHARE_MIN_MS ? left_ms / shares : SHARE_MIN_MS;

	return patience_ms < share_ms ? patience_ms : share_ms;
}

/* A bit for each upstream that has had all questions over UDP that one server may get. */
static uint64_t find_exhausted(const struct exchange *exchange)
{
	uint64_t once = 0, twice = 0, exhausted = 0;

	for (unsigned i = 0; i < exchange->udp_sends; i++) {
		uint64_t bit = UINT64_C(1) << exchange->udp[i].attempt.upstream;

		exhausted |= twice & bit;
		twice |= once & bit;
		once |= bit;
	}
	return exhausted;
}

/* The next to ask; with `again`, perhaps one that was asked before. -1: none. */
static int choose(struct exchange *exchange, bool again, uint64_t now_ms)
{
	const struct question *question = exchange->question;
	uint64_t excluded = again ? find_exhausted(exchange) : exchange->tried;
	int upstream = upstream_choose(exchange->health, question->folded, question->name_length,
				       excluded, exchange->tried, now_ms);

	if (upstream >= 0)
		exchange->tried |= UINT64_C(1) << upstream;
	return upstream;
}

/* Over UDP the case of the letters is a secret that a forger would have to guess as well. */
static bool is_case_sent(const struct exchange *exchange, int upstream, uint64_t now_ms)
{
	return !(exchange->plain >> upstream & 1) &&
	       !upstream_folds_case(exchange->health, upstream, now_ms);
}

static size_t prepare(struct exchange *exchange, struct exchange_attempt *attempt, int upstream,
		      bool with_case, uint64_t now_ms, uint8_t query[REPLY_QUERY_MAX])
{
	const struct question *question = exchange->question;

	*attempt = (struct exchange_attempt){ .exchange = exchange,
					      .upstream = upstream,
					      .with_edns = !exchange->without_edns,
					      .with_case = with_case,
					      .sent_ms = now_ms };
	hash_random(&attempt->id, sizeof(attempt->id));
	/* AD asks whether the upstream has validated (RFC 6840 §5.7); each client is told by what
	 * it asked itself. */
	return reply_encode_query(attempt->id, (question->flags & DNS_FLAG_CD) | DNS_FLAG_AD,
				  with_case ? exchange->asked : question->folded,
				  question->name_length, question->type, question->qclass,
				  attempt->with_edns, question->has_do, query);
}

/* A lack of our own, which says nothing about the upstream. */
static bool is_own_failure(int error)
{
	return error == -EMFILE || error == -ENFILE || error == -ENOBUFS || error == -ENOMEM ||
	       error == -EAGAIN || error == -EADDRINUSE;
}

static void on_udp_packet(struct exchange_udp *udp, const uint8_t *packet, size_t length);
static void on_udp_error(struct exchange_udp *udp, int error);
static void on_udp_closed(struct exchange_udp *udp);
static void on_tcp_message(struct exchange_tcp *tcp, const uint8_t *message, size_t length);
static void on_tcp_error(struct exchange_tcp *tcp, int error);

static const struct exchange_udp_doors udp_doors = { on_udp_packet, on_udp_error, on_udp_closed };
static const struct exchange_tcp_doors tcp_doors = { on_tcp_message, on_tcp_error };

static int open_udp(struct exchange *exchange, struct udp_attempt *udp, int upstream,
		    uint64_t now_ms)
{
	uint8_t query[REPLY_QUERY_MAX];
	size_t length = prepare(exchange, &udp->attempt, upstream,
				is_case_sent(exchange, upstream, now_ms), now_ms, query);
	int result = exchange_udp_open(&udp->udp, exchange->doors->loop, &udp_doors,
				       &upstream_at(exchange, upstream)->addr, query, length);

	if (result)
		return result;
	if (udp->attempt.with_case)
		upstream_note_asked(exchange->health, upstream, exchange->asked,
				    exchange->question->name_length);
	count(exchange, METRIC_UPSTREAM_QUERIES_UDP);
	udp->attempt.state = ATTEMPT_OPEN;
	exchange->open_handles++;
	return 0;
}

/* Sends over UDP to one upstream. Whether it is worth waiting for. */
static bool send_udp(struct exchange *exchange, int upstream, uint64_t now_ms)
{
	int result = open_udp(exchange, &exchange->udp[exchange->udp_sends], upstream, now_ms);

	if (is_own_failure(result)) {
		exchange->awaited = -1;
		wait_at_most(exchange, REFUSED_PAUSE_MS, now_ms);
		return true;
	}
	exchange->udp_sends++;
	if (result) {
		exchange->had_network_error = true;
		upstream_failed(exchange->health, upstream);
		return false;
	}
	exchange->awaited = upstream;
	wait_at_most(exchange, share_of_patience(exchange, upstream, now_ms), now_ms);
	return true;
}

/* A stream loses nothing: asking again there while it is open would only add to its work. */
static bool is_asked_over_tcp(const struct exchange *exchange, int upstream)
{
	for (unsigned i = 0; i < EXCHANGE_TCP_SENDS; i++) {
		const struct exchange_attempt *attempt = &exchange->tcp[i].attempt;

		if (attempt->state == ATTEMPT_OPEN && attempt->upstream == upstream)
			return true;
	}
	return false;
}

static int open_tcp(struct exchange *exchange, struct tcp_attempt *tcp, int upstream,
		    uint64_t now_ms)
{
	uint8_t query[REPLY_QUERY_MAX];
	size_t length = prepare(exchange, &tcp->attempt, upstream, false, now_ms, query);
	int result =
		exchange_tcp_open(&tcp->tcp, exchange->pool, &tcp_doors, upstream, query, length);

	if (result)
		return result;
	count(exchange, METRIC_UPSTREAM_QUERIES_TCP);
	tcp->attempt.state = ATTEMPT_OPEN;
	return 0;
}

static bool send_tcp(struct exchange *exchange, int upstream, uint64_t now_ms)
{
	uint64_t patience_ms = upstream_patience_ms(exchange->health, upstream) * 2;
	int result = open_tcp(exchange, &exchange->tcp[exchange->tcp_sends++], upstream, now_ms);

	if (result) {
		exchange->had_network_error = true;
		if (!is_own_failure(result))
			upstream_failed(exchange->health, upstream);
		return false;
	}
	exchange->tcp[exchange->tcp_sends - 1].tcp.is_last_send = exchange->tcp_sends > 1;
	exchange->awaited = upstream;
	wait_at_most(exchange,
		     patience_ms < TCP_PATIENCE_MIN_MS ? TCP_PATIENCE_MIN_MS : patience_ms, now_ms);
	return true;
}

/* Sends to an upstream as it is asked first: over UDP, or over TLS when nothing goes there in
 * clear. Whether it is worth waiting for. */
static bool send_first(struct exchange *exchange, int upstream, uint64_t now_ms)
{
	if (!upstream_at(exchange, upstream)->is_tls)
		return exchange->udp_sends < EXCHANGE_UDP_SLOTS &&
		       !(find_exhausted(exchange) >> upstream & 1) &&
		       send_udp(exchange, upstream, now_ms);
	return exchange->tcp_sends < EXCHANGE_TCP_SENDS && !is_asked_over_tcp(exchange, upstream) &&
	       send_tcp(exchange, upstream, now_ms);
}

/* Asks the next upstream over UDP, or over TLS. False: none left (with `again`: no question left).
 */
static bool ask_udp(struct exchange *exchange, bool again, uint64_t now_ms)
{
	while (exchange->udp_sends + exchange->tcp_sends <
	       (again ? EXCHANGE_UDP_SENDS : EXCHANGE_UDP_SLOTS)) {
		int upstream = choose(exchange, again, now_ms);

		if (upstream < 0)
			return false;
		if (send_first(exchange, upstream, now_ms))
			return true;
		again = false;
	}
	return false;
}

/* Asks `upstream` over TCP, or the next one when it is -1. False: none left. */
static bool ask_tcp(struct exchange *exchange, int upstream, uint64_t now_ms)
{
	if (exchange->phase != EXCHANGE_OVER_TCP) {
		exchange->phase = EXCHANGE_OVER_TCP;
		exchange->tried = 0;
	}
	while (exchange->tcp_sends < EXCHANGE_TCP_SENDS) {
		if (upstream >= 0)
			exchange->tried |= UINT64_C(1) << upstream;
		else
			upstream = choose(exchange, false, now_ms);
		if (upstream < 0)
			return false;
		if (!is_asked_over_tcp(exchange, upstream) && send_tcp(exchange, upstream, now_ms))
			return true;
		upstream = -1;
	}
	return false;
}

/* Asks a doubted upstream along with the one that is trusted. */
static void send_probe(struct exchange *exchange, uint64_t now_ms)
{
	const struct question *question = exchange->question;
	int upstream = upstream_choose_probe(exchange->health, question->folded,
					     question->name_length, exchange->awaited, now_ms);
	int result;

	if (upstream < 0)
		return;
	if (upstream_at(exchange, upstream)->is_tls)
		result = open_tcp(exchange, &exchange->tcp_probe, upstream, now_ms);
	else
		result = open_udp(exchange, &exchange->udp_probe, upstream, now_ms);
	if (result && !is_own_failure(result))
		upstream_failed(exchange->health, upstream);
}

/* Nothing more can be asked: what is still open may answer until the deadline. */
static void wait_or_finish(struct exchange *exchange, uint64_t now_ms)
{
	exchange->awaited = -1;
	if (exchange->refusal.image || !is_anything_open(exchange) ||
	    now_ms >= exchange->deadline_ms) {
		finish(exchange, NULL);
		return;
	}
	wait_at_most(exchange, UINT64_MAX, now_ms);
}

static void end_silent_probe(struct exchange *exchange)
{
	if (exchange->udp_probe.attempt.state == ATTEMPT_OPEN)
		upstream_was_late(exchange->health, exchange->udp_probe.attempt.upstream);
	if (exchange->tcp_probe.attempt.state == ATTEMPT_OPEN)
		upstream_was_late(exchange->health, exchange->tcp_probe.attempt.upstream);
	close_probe(exchange);
}

static void on_timer(uv_timer_t *timer)
{
	struct exchange *exchange = timer->data;
	uint64_t now_ms = clock_now_ms();

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
		finish(exchange, NULL);
		return;
	}
	switch (exchange->phase) {
	case EXCHANGE_OVER_UDP:
		if (ask_udp(exchange, !exchange->refusal.image, now_ms))
			return;
		if (!exchange->refusal.image && is_anything_open(exchange) &&
		    ask_tcp(exchange, -1, now_ms))
			return;
		wait_or_finish(exchange, now_ms);
		return;
	case EXCHANGE_OVER_TCP:
		if (!ask_tcp(exchange, -1, now_ms))
			wait_or_finish(exchange, now_ms);
		return;
	case EXCHANGE_DONE:
		return;
	}
}

/* An attempt has come to nothing, by an error or by a reply that is no answer. */
static void on_setback(struct exchange *exchange, int upstream, uint64_t now_ms)
{
	bool was_awaited = exchange->awaited == upstream;

	switch (exchange->phase) {
	case EXCHANGE_OVER_UDP:
		if (ask_udp(exchange, false, now_ms))
			return;
		break;
	case EXCHANGE_OVER_TCP:
		if (ask_tcp(exchange, -1, now_ms))
			return;
		break;
	case EXCHANGE_DONE:
		return;
	}
	/* Somebody asked earlier or later is still within his time. */
	if (is_anything_open(exchange) && !was_awaited && exchange->awaited >= 0)
		return;
	if (!exchange->refusal.image && exchange->phase == EXCHANGE_OVER_UDP &&
	    exchange->udp_sends < EXCHANGE_UDP_SENDS) {
		exchange->awaited = -1;
		wait_at_most(exchange, REFUSED_PAUSE_MS, now_ms);
		return;
	}
	/* No UDP reply will be whole either. */
	if (exchange->was_truncated && !is_tcp_open(exchange)) {
		finish(exchange, NULL);
		return;
	}
	wait_or_finish(exchange, now_ms);
}

/* Whether a reply says that this server, now, gives no answer: another may. */
static bool is_refusal(uint16_t rcode)
{
	return rcode == DNS_SERVFAIL || rcode == DNS_REFUSED || rcode == DNS_NOTIMP ||
	       rcode == DNS_FORMERR || rcode == DNS_BADVERS;
}

/* RFC 6891 §7: a server that knows no EDNS says FORMERR or NOTIMP, without an OPT. */
static bool is_edns_refused(const struct exchange_attempt *attempt, const struct reply *reply)
{
	return attempt->with_edns && !reply->has_edns &&
	       (reply->image->rcode == DNS_FORMERR || reply->image->rcode == DNS_NOTIMP);
}

static bool ask_without_edns(struct exchange *exchange, int upstream, uint64_t now_ms)
{
	if (exchange->without_edns)
		return false;
	exchange->without_edns = true;
	switch (exchange->phase) {
	case EXCHANGE_OVER_UDP:
		return send_first(exchange, upstream, now_ms);
	case EXCHANGE_OVER_TCP:
		return exchange->tcp_sends < EXCHANGE_TCP_SENDS &&
		       send_tcp(exchange, upstream, now_ms);
	case EXCHANGE_DONE:
		return false;
	}
	return false;
}

static void note_reply(struct exchange *exchange, const struct exchange_attempt *attempt,
		       uint16_t rcode, uint64_t now_ms)
{
	uint64_t took_ms = now_ms - attempt->sent_ms;

	if (rcode == DNS_REFUSED || rcode == DNS_SERVFAIL)
		upstream_refused(exchange->health, attempt->upstream, took_ms);
	else
		upstream_answered(exchange->health, attempt->upstream, took_ms);
	if (!attempt->with_case && (exchange->plain >> attempt->upstream & 1))
		upstream_has_folded(exchange->health, attempt->upstream, now_ms);
}

/* A well-formed reply; the attempt it came by is closed. */
static void take_reply(struct exchange *exchange, const struct exchange_attempt *attempt,
		       struct reply *reply, uint64_t now_ms)
{
	int upstream = attempt->upstream;

	/* Nobody between us and a loopback resolver, or one reached over TLS, can have set AD;
	 * from elsewhere it proves nothing (RFC 4035 §4.9.3). */
	if (!addr_is_loopback(&upstream_at(exchange, upstream)->addr) &&
	    !upstream_at(exchange, upstream)->is_tls)
		reply->image->flags &= (uint16_t)~DNS_FLAG_AD;
	note_reply(exchange, attempt, reply->image->rcode, now_ms);
	if (!is_refusal(reply->image->rcode)) {
		finish(exchange, reply);
		return;
	}
	if (is_edns_refused(attempt, reply) && ask_without_edns(exchange, upstream, now_ms)) {
		free(reply->image);
		return;
	}
	free(exchange->refusal.image);
	exchange->refusal = *reply;
	on_setback(exchange, upstream, now_ms);
}

static enum reply_verdict read_reply(const struct exchange_attempt *attempt, const uint8_t *packet,
				     size_t length, struct reply *out)
{
	const struct question *question = attempt->exchange->question;
	struct reply_expect expect = { .id = attempt->id,
				       .type = question->type,
				       .qclass = question->qclass,
				       .name = attempt->with_case ? attempt->exchange->asked
								  : question->folded,
				       .match_case = attempt->with_case,
				       .name_length = question->name_length,
				       .is_ours = attempt->exchange->doors->is_ours,
				       .is_ours_arg = attempt->exchange->doors->is_ours_arg };
	enum reply_verdict verdict = reply_parse(packet, length, &expect, out);

	if (verdict == REPLY_BAD || verdict == REPLY_OTHER_CASE)
		count(attempt->exchange, METRIC_UPSTREAM_REPLIES_BAD);
	return verdict;
}

/* The right reply but for the case: forged, or from a server that folds names. Asked in lower case
 * it shows; the right one may still come meanwhile. */
static void ask_without_case(struct exchange *exchange, int upstream, uint64_t now_ms)
{
	uint64_t bit = UINT64_C(1) << upstream;

	if ((exchange->plain & bit) || exchange->phase != EXCHANGE_OVER_UDP)
		return;
	exchange->plain |= bit;
	send_first(exchange, upstream, now_ms);
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
		close_probe(exchange);
		return;
	case REPLY_OTHER_CASE:
		upstream_answered(exchange->health, attempt->upstream, now_ms - attempt->sent_ms);
		close_probe(exchange);
		return;
	case REPLY_OK:
		close_probe(exchange);
		if (exchange->phase != EXCHANGE_DONE && !is_refusal(reply->image->rcode)) {
			take_reply(exchange, attempt, reply, now_ms);
			return;
		}
		note_reply(exchange, attempt, reply->image->rcode, now_ms);
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
	enum reply_verdict verdict = read_reply(&udp->attempt, packet, length, &reply);

	if (udp == &exchange->udp_probe) {
		take_probe(exchange, &udp->attempt, verdict, &reply, now_ms);
		return;
	}
	switch (verdict) {
	case REPLY_BAD: /* anybody may have sent it: the right one may still come */
		return;
	case REPLY_OTHER_CASE:
		ask_without_case(exchange, udp->attempt.upstream, now_ms);
		return;
	case REPLY_NO_MEMORY:
		finish(exchange, NULL);
		return;
	case REPLY_TRUNCATED:
		/* Half an answer: what TCP does decides about its standing. */
		close_udp(udp);
		exchange->was_truncated = true;
		if (exchange->phase == EXCHANGE_OVER_TCP && exchange->awaited >= 0)
			return;
		if (!ask_tcp(exchange, udp->attempt.upstream, now_ms))
			on_setback(exchange, udp->attempt.upstream, now_ms);
		return;
	case REPLY_OK:
		close_udp(udp);
		take_reply(exchange, &udp->attempt, &reply, now_ms);
		return;
	}
}

static void on_udp_error(struct exchange_udp *handle, int error)
{
	struct udp_attempt *udp = list_entry(handle, struct udp_attempt, udp);
	struct exchange *exchange = udp->attempt.exchange;
	uint64_t now_ms = clock_now_ms();

	if (!is_own_failure(error))
		upstream_failed(exchange->health, udp->attempt.upstream);
	if (udp == &exchange->udp_probe) {
		close_probe(exchange);
		return;
	}
	close_udp(udp);
	exchange->had_network_error |= !is_own_failure(error);
	if (exchange->phase == EXCHANGE_OVER_UDP)
		on_setback(exchange, udp->attempt.upstream, now_ms);
	else if (exchange->awaited < 0)
		wait_or_finish(exchange, now_ms);
}

static void on_udp_closed(struct exchange_udp *handle)
{
	drop_handle(list_entry(handle, struct udp_attempt, udp)->attempt.exchange);
}

/* What a stream brings cannot be somebody else's: a bad reply ends it. */
static void on_tcp_message(struct exchange_tcp *handle, const uint8_t *message, size_t length)
{
	struct tcp_attempt *tcp = list_entry(handle, struct tcp_attempt, tcp);
	struct exchange *exchange = tcp->attempt.exchange;
	struct reply reply;
	enum reply_verdict verdict = read_reply(&tcp->attempt, message, length, &reply);

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
		finish(exchange, NULL);
		return;
	case REPLY_OK:
		close_tcp(tcp);
		take_reply(exchange, &tcp->attempt, &reply, clock_now_ms());
		return;
	}
}

static void on_tcp_error(struct exchange_tcp *handle, int error)
{
	struct tcp_attempt *tcp = list_entry(handle, struct tcp_attempt, tcp);
	struct exchange *exchange = tcp->attempt.exchange;

	if (tcp == &exchange->tcp_probe) {
		if (!is_own_failure(error))
			upstream_failed(exchange->health, tcp->attempt.upstream);
		close_probe(exchange);
		return;
	}
	close_tcp(tcp);
	if (!is_own_failure(error)) {
		exchange->had_network_error = true;
		/* One in clear may serve UDP well all the same, so its standing does not suffer. */
		if (upstream_at(exchange, tcp->attempt.upstream)->is_tls)
			upstream_failed(exchange->health, tcp->attempt.upstream);
	}
	on_setback(exchange, tcp->attempt.upstream, clock_now_ms());
}

/* Each letter in upper or lower case by the toss of a coin. */
static void mix_case(struct exchange *exchange)
{
	const struct question *question = exchange->question;
	uint8_t coins[DNS_NAME_MAX / 8 + 1];

	hash_random(coins, (size_t)question->name_length / 8 + 1);
	for (unsigned i = 0; i < question->name_length; i++) {
		uint8_t byte = question->folded[i];

		if (byte >= 'a' && byte <= 'z' && (coins[i / 8] >> i % 8 & 1))
			byte = (uint8_t)(byte - 'a' + 'A');
		exchange->asked[i] = byte;
	}
}

void exchange_start(struct exchange *exchange, const struct exchange_doors *doors,
		    const struct question *question, struct upstream_health *health,
		    struct exchange_tcp_pool *pool, uint64_t deadline_ms, uint64_t now_ms)
{
	exchange->doors = doors;
	exchange->question = question;
	exchange->health = health;
	exchange->pool = pool;
	exchange->deadline_ms = deadline_ms;
	exchange->awaited = -1;
	mix_case(exchange);
	uv_timer_init(doors->loop, &exchange->timer);
	exchange->timer.data = exchange;
	exchange->open_handles = 1;
	if (!ask_udp(exchange, true, now_ms))
		wait_at_most(exchange, REFUSED_PAUSE_MS, now_ms);
	send_probe(exchange, now_ms);
}

void exchange_abort(struct exchange *exchange)
{
	if (exchange->phase == EXCHANGE_DONE) {
		close_probe(exchange);
		return;
	}
	close_udp(&exchange->udp_probe);
	close_tcp(&exchange->tcp_probe);
	free(exchange->refusal.image);
	exchange->refusal.image = NULL;
	close_all(exchange);
}
