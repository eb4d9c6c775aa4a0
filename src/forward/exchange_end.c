#include "forward/exchange_end.h"

#include <stdlib.h>

#include "base/clock.h"
#include "dns/dns.h"
#include "forward/exchange_ask.h"

static void on_timer_closed(uv_handle_t *handle)
{
	struct exchange *exchange = handle->data;

	exchange->doors->on_closed(exchange);
}

void exchange_end_udp(struct udp_attempt *udp)
{
	if (udp->attempt.state != ATTEMPT_OPEN)
		return;
	udp->attempt.state = ATTEMPT_CLOSED;
	exchange_udp_close(&udp->udp);
}

void exchange_end_tcp(struct tcp_attempt *tcp)
{
	if (tcp->attempt.state != ATTEMPT_OPEN)
		return;
	tcp->attempt.state = ATTEMPT_CLOSED;
	exchange_tcp_close(&tcp->tcp);
}

bool exchange_end_is_tcp_open(const struct exchange *exchange)
{
	for (unsigned i = 0; i < EXCHANGE_TCP_SENDS; i++) {
		if (exchange->tcp[i].attempt.state == ATTEMPT_OPEN)
			return true;
	}
	return false;
}

bool exchange_end_is_any_open(const struct exchange *exchange)
{
	for (unsigned i = 0; i < EXCHANGE_UDP_SLOTS; i++) {
		if (exchange->udp[i].attempt.state == ATTEMPT_OPEN)
			return true;
	}
	return exchange_end_is_tcp_open(exchange);
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

void exchange_end_probe(struct exchange *exchange)
{
	exchange_end_udp(&exchange->udp_probe);
	exchange_end_tcp(&exchange->tcp_probe);
	if (exchange->phase == EXCHANGE_DONE)
		close_timer(exchange);
}

void exchange_end_all(struct exchange *exchange)
{
	exchange->phase = EXCHANGE_DONE;
	for (unsigned i = 0; i < EXCHANGE_UDP_SLOTS; i++)
		exchange_end_udp(&exchange->udp[i]);
	for (unsigned i = 0; i < EXCHANGE_TCP_SENDS; i++)
		exchange_end_tcp(&exchange->tcp[i]);
	if (is_probe_open(exchange))
		exchange_ask_nobody(exchange, clock_now_ms());
	else
		close_timer(exchange);
}

void exchange_end_with(struct exchange *exchange, struct reply *reply)
{
	struct reply last = exchange->refusal;
	bool had_refusal = last.image;

	exchange->refusal.image = NULL;
	exchange->is_unreachable = !reply && !had_refusal && exchange->had_network_error &&
				   !exchange->was_truncated && !exchange_end_is_any_open(exchange);
	if (exchange->is_refusal_ours) {
		free(last.image);
		last.image = NULL;
	}
	exchange_end_all(exchange);
	if (reply) {
		free(last.image);
		exchange->doors->on_done(exchange, reply, DNS_EDE_NONE, NULL);
	} else if (last.image) {
		exchange->doors->on_done(exchange, &last, DNS_EDE_NONE, NULL);
	} else if (had_refusal) {
		exchange->doors->on_done(exchange, NULL, DNS_EDE_OTHER,
					 "upstream sent no answer that can be passed on");
	} else if (exchange->was_truncated) {
		exchange->doors->on_done(exchange, NULL, DNS_EDE_NETWORK_ERROR,
					 "upstream truncated over UDP and failed over TCP");
	} else if (exchange->udp_sends + exchange->tcp_sends == 0) {
		exchange->doors->on_done(exchange, NULL, DNS_EDE_OTHER,
					 "no socket was left to ask an upstream");
	} else if (exchange->had_network_error) {
		exchange->doors->on_done(exchange, NULL, DNS_EDE_NETWORK_ERROR,
					 "upstream resolvers cannot be reached");
	} else {
		exchange->doors->on_done(exchange, NULL, DNS_EDE_NO_REACHABLE_AUTHORITY,
					 "no upstream resolver answered in time");
	}
}
