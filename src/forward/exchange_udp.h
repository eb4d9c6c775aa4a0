/*
 * Questions over UDP, each from a fresh connected socket whose port nobody can guess (RFC 5452
 * §9.2), used for one question and never again. The pool is the set of one worker's sockets that
 * wait for their upstream; the loop watches the set, not each of them. Nothing is judged here:
 * every datagram goes to its question's owner, who closes it.
 *
 * A question is the caller's storage, in use until exchange_udp_close. No callback comes from
 * within exchange_udp_open, and none after exchange_udp_close, which may be called from them.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/addr.h"

struct exchange_udp;
struct exchange_udp_pool;
struct random;

struct exchange_udp_doors {
	/* A datagram from the upstream's address; one longer than any reply we asked for comes with
	 * length 0. Borrowed. */
	void (*on_packet)(struct exchange_udp *udp, const uint8_t *packet, size_t length);
	/* -errno: it was not sent, or ICMP has come. */
	void (*on_error)(struct exchange_udp *udp, int error);
};

struct exchange_udp {
	const struct exchange_udp_doors *doors;
	struct exchange_udp_pool *pool;
	int fd;
	unsigned young; /* its place among those that are not watched yet, from 1; 0: it is none */
};

/* `random` outlives the pool: the ports are drawn from it. NULL: out of memory or descriptors. */
struct exchange_udp_pool *exchange_udp_pool_open(uv_loop_t *loop, struct random *random);

/* How many questions may be open: the next one is refused as if the kernel had no descriptor. */
void exchange_udp_pool_set_max(struct exchange_udp_pool *pool, unsigned open_max);

/* No question is open any more. `closed` comes once, from the loop, when the pool is freed. */
void exchange_udp_pool_close(struct exchange_udp_pool *pool, void (*closed)(void *), void *arg);

/* Opens the socket. The query, which is copied, leaves when the loop is about to wait: what can be
 * answered at once is answered first. 0, or -errno with nothing left to close; a want of
 * descriptors is in the log, once in a while. */
int exchange_udp_open(struct exchange_udp *udp, struct exchange_udp_pool *pool,
		      const struct exchange_udp_doors *doors, const struct addr *upstream,
		      const uint8_t *query, size_t length);

/* Hands over what has come meanwhile, without waiting for the loop's turn. Not from within a
 * callback of a question. */
void exchange_udp_pool_read(struct exchange_udp_pool *pool);

/* Once. */
void exchange_udp_close(struct exchange_udp *udp);
