/*
 * One question to one upstream over UDP: a fresh connected socket whose port nobody can guess (RFC
 * 5452 §9.2), used for one question and never again. It judges nothing: every datagram goes to its
 * owner, who closes it. Caller's storage, in use until `on_closed`; nothing is called after that.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/addr.h"

struct exchange_udp;

struct exchange_udp_doors {
	/* A datagram from the upstream's address; one longer than any reply we asked for comes with
	 * length 0. Borrowed. */
	void (*on_packet)(struct exchange_udp *udp, const uint8_t *packet, size_t length);
	void (*on_error)(struct exchange_udp *udp, int error); /* -errno; ICMP comes so */
	void (*on_closed)(struct exchange_udp *udp);
};

struct exchange_udp {
	uv_poll_t poll;
	const struct exchange_udp_doors *doors;
	int fd;
};

/* Opens the socket and sends the query at once. 0, or -errno with nothing left to close. */
int exchange_udp_open(struct exchange_udp *udp, uv_loop_t *loop,
		      const struct exchange_udp_doors *doors, const struct addr *upstream,
		      const uint8_t *query, size_t length);

/* May be called from its own callbacks; once. */
void exchange_udp_close(struct exchange_udp *udp);
