/*
 * One listening UDP socket of one worker: the hot path. Datagrams come and go in batches
 * (recvmmsg, sendmmsg) through slots that are set up once; nothing is allocated and nothing locked
 * per packet. The socket is ours alone or inherited; either way it is closed by udp_close. Belongs
 * to its worker's thread, which is registered as a reader of the zone.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "listen/sockets.h"

struct metrics;
struct pipeline;
struct query_client;
struct udp;
struct udp_late;

/* The slots for one batch: 64 datagrams in, 64 replies out. One per worker, shared by its sockets.
 * NULL when out of memory. */
struct udp_batch;
struct udp_batch *udp_batch_new(void);
void udp_batch_free(struct udp_batch *batch);

struct udp_setup { /* all but `socket` outlive the udp */
	uv_loop_t *loop;
	struct pipeline *pipeline;
	struct metrics *metrics;
	struct udp_batch *batch;
	struct udp_late *late;
	const struct sockets_one *socket;
	uint32_t index; /* becomes query_client.socket */
};

/* Starts reading. 0: the descriptor is ours now; or -errno: it is still the caller's. */
int udp_open(const struct udp_setup *setup, struct udp **out);

/* Sends a late reply, when the loop is about to wait: from the address that was asked, to who
 * asked. */
void udp_send(struct udp *udp, const struct query_client *client, const uint8_t *reply,
	      size_t length);

/*
 * Takes no new work; udp_send still works. What arrived before is answered, what arrives from now
 * on is refused by the kernel, or goes to whoever else listens there. What waits in an inherited
 * socket stays there for the next process. Not between zone_read_begin and zone_read_end.
 */
void udp_mute(struct udp *udp);

/* Closes; `closed` is called on the loop once the descriptor is gone and the memory free. */
void udp_close(struct udp *udp, void (*closed)(void *), void *arg);
