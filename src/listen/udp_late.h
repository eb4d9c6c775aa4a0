/*
 * The late replies of one worker's UDP sockets: those that waited for an upstream or for Nomad come
 * in flocks, so they are gathered and leave together, when the loop has done all there was to do
 * and is about to wait, or when the slots are full. What the kernel does not take is counted and
 * gone.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct metrics;
struct query_client;
struct udp_late;

struct udp_late_from { /* the socket a reply leaves by */
	int fd;
	int domain;	  /* of the socket: an AF_INET6 one may carry IPv4 */
	bool with_source; /* the reply has to name the address it leaves from */
};

/* NULL: out of memory. */
struct udp_late *udp_late_open(uv_loop_t *loop, struct metrics *metrics);

/* Copies the reply, of at most 1,232 bytes. The descriptor stays open until it is sent. */
void udp_late_put(struct udp_late *late, const struct udp_late_from *from,
		  const struct query_client *client, const uint8_t *reply, size_t length);

/* Sends what is gathered: before one of the sockets is closed. */
void udp_late_flush(struct udp_late *late);

/* Sends what is gathered, closes; the memory is freed from the loop. */
void udp_late_close(struct udp_late *late);
