/*
 * DNS over TCP (RFC 7766, RFC 9210) of one worker: its listeners, its connections, their ceilings.
 * Connections are known to others by id; an id never finds somebody else's connection. Belongs to
 * its worker's thread, which is registered as a reader of the zone.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "listen/sockets.h"

struct metrics;
struct pipeline;
struct query_client;
struct tcp;

struct tcp_limits {
	uint32_t clients_max; /* of this worker */
	uint64_t idle_ms;     /* without a finished exchange, or without reading answers */
	uint64_t answer_ms;   /* after that long an answer is not coming any more */
};

struct tcp_setup { /* all outlive the tcp */
	uv_loop_t *loop;
	struct pipeline *pipeline;
	struct metrics *metrics;
	struct tcp_limits limits;
};

/* NULL when out of memory. */
struct tcp *tcp_open(const struct tcp_setup *setup);

/* Starts accepting. 0: the descriptor is ours now; or -errno: it is still the caller's. */
int tcp_listen(struct tcp *tcp, const struct sockets_one *socket);

/* New limits, for connections there are as well. */
void tcp_set_limits(struct tcp *tcp, const struct tcp_limits *limits);

/* A late reply. To a client that is gone: counted, nothing else. */
void tcp_send(struct tcp *tcp, const struct query_client *client, const uint8_t *reply,
	      size_t length);

/* Takes no new work: closes the listeners, reads no more. Answers still go out. */
void tcp_mute(struct tcp *tcp);

/* Whether answers wait for clients to read them. */
bool tcp_is_flushed(const struct tcp *tcp);

/* Closes everything; `closed` is called on the loop once all is gone and the memory free. */
void tcp_close(struct tcp *tcp, void (*closed)(void *), void *arg);
