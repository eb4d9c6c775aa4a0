/*
 * Who may begin an exchange, and who is next when one has ended. Two things share the places: the
 * clients, so that nobody who asks for thousands of names keeps the others waiting, and the groups
 * of upstreams (those of one domain), so that what a silent group holds up is its own. No share is
 * set aside: whoever has many places gets more only while many are free, so that some always are
 * for those who have few. Those who wait get their turns client by client. Pure: it orders, its
 * owner begins and ends.
 *
 * A turn is the caller's storage, part of what it is for.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/hash.h"
#include "base/list.h"

#define TURNS_RUNNING_MAX 4096
#define TURNS_A_CLIENT_MAX 256 /* of one client in one group */
#define TURNS_WAITING_MAX 8192 /* at most half of it one client's in one group */
#define TURNS_CLIENTS 1024     /* places, by a keyed hash; when it is crowded, a few share one */
#define TURNS_GROUPS 64

struct turn {
	struct turns_client *client; /* of who asked, in its group */
	unsigned group;
	struct list by_client; /* while it waits */
};

struct turns {
	struct hash_key secret;
	struct list hungry; /* clients with turns that wait, the next to be served first */
	unsigned share, a_client_max; /* this worker's, of what may run */
	unsigned running_max;	      /* by its descriptors */
	unsigned running_count, waiting_count;
	unsigned group_running_count[TURNS_GROUPS];
	struct turns_client {
		uint64_t hash;	     /* whose it is, while it is in use */
		struct list waiting; /* struct turn */
		struct list by_turn;
		unsigned running_count, waiting_count;
	} client[TURNS_CLIENTS];
};

/* For one of so many workers: what may run at a time is shared out among them, for each knows its
 * own only (the kernel spreads a client's sockets over all). */
void turns_init(struct turns *turns, unsigned workers);

/* No more than that may run here, or fewer: this worker's share of TURNS_RUNNING_MAX. */
void turns_set_max(struct turns *turns, unsigned running_max);

/* Whether the turn of who asks this group from `peer` comes at once: it is then his, until
 * turns_end. If not it is to be put in line, or forgotten. */
bool turns_begin(struct turns *turns, struct turn *turn, const struct addr *peer, unsigned group);

/* Puts it in line; one that nobody waits for any more stays there until it is its turn. False: he
 * has his share of the line already. */
bool turns_wait(struct turns *turns, struct turn *turn);

/* An exchange has ended; turns_next says who comes now. */
void turns_end(struct turns *turns, struct turn *turn);

/* The next in line whose turn has come: it is out of the line and his, as after turns_begin. NULL:
 * nobody's. */
struct turn *turns_next(struct turns *turns);

/* The next in line whether or not there is room: out of the line, and not begun. NULL: nobody
 * waits. */
struct turn *turns_pop(struct turns *turns);
