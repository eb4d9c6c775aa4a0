/*
 * The ending half of an exchange: what is still open, how it is closed, and with which words the
 * exchange leaves. When to end it exchange.c decides, its only caller.
 *
 * What is not open is left alone. Behind the answer a probe may still be open; the timer closes
 * last, and then the storage goes back by `on_closed`.
 */
#pragma once

#include <stdbool.h>

#include "forward/exchange.h"

/* Whether somebody who was asked may still answer, at all or over TCP; a probe does not count. */
bool exchange_end_is_any_open(const struct exchange *exchange);
bool exchange_end_is_tcp_open(const struct exchange *exchange);

/* An attempt has told what it can. */
void exchange_end_udp(struct udp_attempt *udp);
void exchange_end_tcp(struct tcp_attempt *tcp);

/* So has the probe; if the exchange is done, nothing is left of it. */
void exchange_end_probe(struct exchange *exchange);

/* Without a word: it is done, and everything but the probe is closed. */
void exchange_end_all(struct exchange *exchange);

/* With `on_done`: the reply, whose image the owner takes over; NULL: the last refusal, or why there
 * is none that he may have. */
void exchange_end_with(struct exchange *exchange, struct reply *reply);
