/*
 * How many connections each client address has, near enough: addresses share 256 places by a keyed
 * hash, so that counting costs nothing and nobody can choose whom to share with. It tells whose
 * connection has to go when there is no room (RFC 7766 §6.2.2, RFC 9210 §6). Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/hash.h"

#define TCP_CROWD_PLACES 256

struct tcp_crowd {
	struct hash_key secret;
	uint32_t count[TCP_CROWD_PLACES];
};

void tcp_crowd_init(struct tcp_crowd *crowd);

/* One connection of this address more, one less. */
void tcp_crowd_enter(struct tcp_crowd *crowd, const struct addr *peer);
void tcp_crowd_leave(struct tcp_crowd *crowd, const struct addr *peer);

/* The most connections that one place has. */
uint32_t tcp_crowd_largest(const struct tcp_crowd *crowd);

/* How many the place of this address has. */
uint32_t tcp_crowd_count(const struct tcp_crowd *crowd, const struct addr *peer);
