/*
 * Every question goes out by open_udp or open_tcp; those above choose whom to ask and count what
 * one client's question may cost the upstreams, as `tried`, `udp_sends` and `tcp_sends` tell. Each
 * that waits leaves one timer running: it means "the upstream asked last has had its time", and
 * never rings later than the deadline.
 */
#include "forward/exchange_ask.h"

#include <errno.h>

#include "base/metrics.h"
#include "base/random.h"
#include "dns/dns.h"
#include "forward/loop.h"

/* When all have refused the packet: a resolver that restarts is back by then. In all a little less
 * than the two seconds in which a client wants to hear that nobody can be reached. */
#define REFUSED_PAUSE_MS 300
#define REFUSED_PAUSES_MS 1800
#define NO_SOCKET_PAUSE_MS 300
#define SHARE_MIN_MS 100	 /* near the deadline: not all questions in one burst */
#define TCP_PATIENCE_MIN_MS 1000 /* a handshake, a lost SYN's first repetition not included */

static void count(const struct exchange *exchange, enum metric metric)
{
	metrics_add(exchange->doors->metrics, metric, 1);
}

const struct upstream *exchange_ask_upstream(const struct exchange *exchange, int index)
{
	return &upstream_health_list(exchange->health)->upstream[index];
}

static void wait_at_most(struct exchange *exchange, uint64_t wait_ms, uint64_t now_ms)
{
	uint64_t left_ms = exchange->deadline_ms > now_ms ? exchange->deadline_ms - now_ms : 0;

	/* libuv's clock is the start of this turn of the loop; a timer counts from there. */
	uv_update_time(exchange->doors->loop);
	uv_timer_start(&exchange->timer, exchange->events->on_timer,
		       wait_ms < left_ms ? wait_ms : left_ms, 0);
}

/* The first ones are short, for most restarts are; the last try is at the end of the time. */
bool exchange_ask_pause(struct exchange *exchange, uint64_t now_ms)
{
	uint64_t left_ms = REFUSED_PAUSES_MS - exchange->paused_ms;
	uint64_t pause_ms = REFUSED_PAUSE_MS + exchange->paused_ms;

	if (left_ms == 0)
		return false;
	if (exchange->udp_sends >= EXCHANGE_UDP_SENDS || pause_ms > left_ms)
		pause_ms = left_ms;
	exchange->paused_ms += pause_ms;
	exchange->awaited = -1;
	wait_at_most(exchange, pause_ms, now_ms);
	return true;
}

void exchange_ask_later(struct exchange *exchange, uint64_t now_ms)
{
	exchange->awaited = -1;
	wait_at_most(exchange, NO_SOCKET_PAUSE_MS, now_ms);
}

void exchange_ask_rest(struct exchange *exchange, uint64_t now_ms)
{
	uint64_t left_ms = exchange->deadline_ms > now_ms ? exchange->deadline_ms - now_ms : 0;

	exchange->awaited = -1;
	exchange->rests_since_ms = now_ms;
	wait_at_most(exchange, exchange->has_rested ? left_ms : left_ms / 2, now_ms);
	exchange->has_rested = true;
}

void exchange_ask_nobody(struct exchange *exchange, uint64_t now_ms)
{
	exchange->awaited = -1;
	wait_at_most(exchange, UINT64_MAX, now_ms);
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

bool exchange_ask_wants_proofs(const struct exchange *exchange)
{
	return exchange->question->has_do;
}

/* Upstreams that are known to take no EDNS. */
static uint64_t find_bare(const struct exchange *exchange, uint64_t now_ms)
{
	size_t count = upstream_health_list(exchange->health)->count;
	uint64_t bare = exchange->bare;

	for (size_t i = 0; i < count && i < UPSTREAM_MAX; i++) {
		if (upstream_refuses_edns(exchange->health, (int)i, now_ms))
			bare |= UINT64_C(1) << i;
	}
	return bare;
}

static int choose_but(const struct exchange *exchange, uint64_t excluded, uint64_t now_ms)
{
	size_t length;
	const uint8_t *route = upstream_route(exchange->question, &length);

	return upstream_choose(exchange->health, route, length, excluded, exchange->tried, now_ms);
}

bool exchange_ask_has_other_edns(const struct exchange *exchange, uint64_t now_ms)
{
	return choose_but(exchange, find_bare(exchange, now_ms), now_ms) >= 0;
}

/* The next to ask; with `again`, perhaps one that was asked before. -1: none. */
static int choose(struct exchange *exchange, bool again, uint64_t now_ms)
{
	uint64_t excluded = again ? find_exhausted(exchange) : exchange->tried;
	int upstream = -1;

	if (exchange_ask_wants_proofs(exchange))
		upstream = choose_but(exchange, excluded | find_bare(exchange, now_ms), now_ms);
	if (upstream < 0)
		upstream = choose_but(exchange, excluded, now_ms);
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

static bool is_edns_sent(const struct exchange *exchange, int upstream, uint64_t now_ms)
{
	return !(exchange->bare >> upstream & 1) &&
	       !upstream_refuses_edns(exchange->health, upstream, now_ms);
}

static size_t prepare(struct exchange *exchange, struct exchange_attempt *attempt, int upstream,
		      bool with_case, uint64_t now_ms, uint8_t query[REPLY_QUERY_MAX])
{
	const struct question *question = exchange->question;

	*attempt = (struct exchange_attempt){ .exchange = exchange,
					      .upstream = upstream,
					      .with_edns = is_edns_sent(exchange, upstream, now_ms),
					      .with_case = with_case,
					      .sent_ms = now_ms };
	random_draw(exchange->doors->random, &attempt->id, sizeof(attempt->id));
	/* AD asks whether the upstream has validated (RFC 6840 §5.7); each client is told by what
	 * it asked itself. */
	return reply_encode_query(attempt->id, (question->flags & DNS_FLAG_CD) | DNS_FLAG_AD,
				  with_case ? exchange->asked : question->folded,
				  question->name_length, question->type, question->qclass,
				  attempt->with_edns, question->has_do, query);
}

enum reply_verdict exchange_ask_match(const struct exchange_attempt *attempt, const uint8_t *packet,
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

bool exchange_ask_is_own_failure(int error)
{
	return error == -EMFILE || error == -ENFILE || error == -ENOBUFS || error == -ENOMEM ||
	       error == -EAGAIN || error == -EADDRINUSE || error == -ENOSPC;
}

static int open_udp(struct exchange *exchange, struct udp_attempt *udp, int upstream,
		    uint64_t now_ms)
{
	uint8_t query[REPLY_QUERY_MAX];
	size_t length = prepare(exchange, &udp->attempt, upstream,
				is_case_sent(exchange, upstream, now_ms), now_ms, query);
	int result =
		exchange_udp_open(&udp->udp, exchange->doors->udp, &exchange->events->udp,
				  &exchange_ask_upstream(exchange, upstream)->addr, query, length);

	if (result)
		return result;
	if (udp->attempt.with_case)
		loop_note_asked(upstream_health_list(exchange->health), exchange->asked,
				exchange->question->name_length);
	count(exchange, METRIC_UPSTREAM_QUERIES_UDP);
	udp->attempt.state = ATTEMPT_OPEN;
	return 0;
}

/* Sends over UDP to one upstream. Whether it is worth waiting for. */
static bool send_udp(struct exchange *exchange, int upstream, uint64_t now_ms)
{
	int result = open_udp(exchange, &exchange->udp[exchange->udp_sends], upstream, now_ms);

	if (exchange_ask_is_own_failure(result)) {
		exchange_ask_later(exchange, now_ms);
		return true;
	}
	exchange->udp_sends++;
	if (result) {
		exchange->had_network_error = true;
		upstream_failed(exchange->health, upstream);
		return false;
	}
	exchange->awaited = upstream;
	exchange->rests_since_ms = 0;
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
	int result = exchange_tcp_open(&tcp->tcp, exchange->tcp_pool, &exchange->events->tcp,
				       upstream, query, length);

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
		if (!exchange_ask_is_own_failure(result))
			upstream_failed(exchange->health, upstream);
		return false;
	}
	exchange->tcp[exchange->tcp_sends - 1].tcp.is_last_send = exchange->tcp_sends > 1;
	exchange->awaited = upstream;
	exchange->rests_since_ms = 0;
	wait_at_most(exchange,
		     patience_ms < TCP_PATIENCE_MIN_MS ? TCP_PATIENCE_MIN_MS : patience_ms, now_ms);
	return true;
}

/* Sends to an upstream as it is asked first: over UDP, or over TLS when nothing goes there in
 * clear. Whether it is worth waiting for. */
static bool send_first(struct exchange *exchange, int upstream, uint64_t now_ms)
{
	if (!exchange_ask_upstream(exchange, upstream)->is_tls)
		return exchange->udp_sends < EXCHANGE_UDP_SLOTS &&
		       !(find_exhausted(exchange) >> upstream & 1) &&
		       send_udp(exchange, upstream, now_ms);
	return exchange->tcp_sends < EXCHANGE_TCP_SENDS && !is_asked_over_tcp(exchange, upstream) &&
	       send_tcp(exchange, upstream, now_ms);
}

bool exchange_ask_udp(struct exchange *exchange, bool again, uint64_t now_ms)
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

bool exchange_ask_tcp(struct exchange *exchange, int upstream, uint64_t now_ms)
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

bool exchange_ask_last(struct exchange *exchange, uint64_t now_ms)
{
	int upstream = choose_but(exchange, 0, now_ms);

	exchange->phase = EXCHANGE_OVER_TCP;
	exchange->last_sent_ms = now_ms;
	return upstream >= 0 && exchange->tcp_sends < EXCHANGE_TCP_SENDS &&
	       send_tcp(exchange, upstream, now_ms);
}

bool exchange_ask_udp_instead(struct exchange *exchange, uint64_t now_ms)
{
	size_t length;
	const uint8_t *route = upstream_route(exchange->question, &length);
	uint64_t asked = 0;
	int upstream;

	for (unsigned i = 0; i < exchange->udp_sends; i++)
		asked |= UINT64_C(1) << exchange->udp[i].attempt.upstream;
	while (exchange->udp_sends < EXCHANGE_UDP_SLOTS) {
		upstream = upstream_choose(exchange->health, route, length, asked, 0, now_ms);
		if (upstream < 0)
			return false;
		asked |= UINT64_C(1) << upstream;
		if (!exchange_ask_upstream(exchange, upstream)->is_tls &&
		    send_udp(exchange, upstream, now_ms))
			return true;
	}
	return false;
}

bool exchange_ask_bare(struct exchange *exchange, uint64_t now_ms)
{
	while (exchange->bare_due) {
		int upstream = __builtin_ctzll(exchange->bare_due);
		bool is_sent = false;

		exchange->bare_due &= exchange->bare_due - 1;
		switch (exchange->phase) {
		case EXCHANGE_OVER_UDP:
			is_sent = send_first(exchange, upstream, now_ms);
			break;
		case EXCHANGE_OVER_TCP:
			is_sent = exchange->tcp_sends < EXCHANGE_TCP_SENDS &&
				  send_tcp(exchange, upstream, now_ms);
			break;
		case EXCHANGE_DONE:
			break;
		}
		if (is_sent)
			return true;
	}
	return false;
}

void exchange_ask_without_case(struct exchange *exchange, int upstream, uint64_t now_ms)
{
	uint64_t bit = UINT64_C(1) << upstream;

	if ((exchange->plain & bit) || exchange->phase != EXCHANGE_OVER_UDP)
		return;
	exchange->plain |= bit;
	send_first(exchange, upstream, now_ms);
}

/* Asks a doubted upstream along with the one that is trusted. */
static void send_probe(struct exchange *exchange, uint64_t now_ms)
{
	size_t length;
	const uint8_t *route = upstream_route(exchange->question, &length);
	int upstream =
		upstream_choose_probe(exchange->health, route, length, exchange->awaited, now_ms);
	int result;

	if (upstream < 0)
		return;
	if (exchange_ask_upstream(exchange, upstream)->is_tls)
		result = open_tcp(exchange, &exchange->tcp_probe, upstream, now_ms);
	else
		result = open_udp(exchange, &exchange->udp_probe, upstream, now_ms);
	if (result && !exchange_ask_is_own_failure(result))
		upstream_failed(exchange->health, upstream);
}

/* Each letter in upper or lower case by the toss of a coin. */
static void mix_case(struct exchange *exchange)
{
	const struct question *question = exchange->question;
	uint8_t coins[DNS_NAME_MAX / 8 + 1];

	random_draw(exchange->doors->random, coins, (size_t)question->name_length / 8 + 1);
	for (unsigned i = 0; i < question->name_length; i++) {
		uint8_t byte = question->folded[i];

		if (byte >= 'a' && byte <= 'z' && (coins[i / 8] >> i % 8 & 1))
			byte = (uint8_t)(byte - 'a' + 'A');
		exchange->asked[i] = byte;
	}
}

void exchange_ask_begin(struct exchange *exchange, uint64_t now_ms)
{
	mix_case(exchange);
	if (!exchange_ask_udp(exchange, true, now_ms))
		exchange_ask_later(exchange, now_ms);
	send_probe(exchange, now_ms);
}
