/*
 * Who may begin an exchange, and who is next when one has ended: at most 4,096 at a time and 256 of
 * one client, so that nobody who asks for thousands of names keeps the others waiting; those who
 * wait get their turns client by client. Pure: it orders, its owner begins and ends.
 *
 * A turn is the caller's storage, part of what it is for.
 */
#pragma once

#include <stdbool.h>

#include "base/addr.h"
#include "base/hash.h"
#include "base/list.h"

#define TURNS_RUNNING_MAX 4096
#define TURNS_A_CLIENT_MAX 256
#define TURNS_WAITING_MAX 8192
#define TURNS_CLIENTS 1024 /* places, by a keyed hash; by chance a few share one */

struct turn {
	struct turns_client *client; /* of who asked */
	struct list by_client;	     /* while it waits */
};

struct turns {
	struct hash_key secret;
	unsigned running_max, a_client_max; /* this worker's share */
	struct list hungry; /* clients with turns that wait, the next to be served first */
	unsigned running_count, waiting_count;
	struct turns_client {
		struct list waiting; /* struct turn */
		struct list by_turn;
		unsigned running_count;
	} client[TURNS_CLIENTS];
};

/* For one of so many workers: what may run at a time is shared out among them, for each knows its
 * own only (the kernel spreads a client's sockets over all). */
void turns_init(struct turns *turns, unsigned workers);

/* Whether the turn of who asks from `peer` comes at once: it is then his, until turns_end. If not
 * it is to be put in line, or forgotten. */
bool turns_begin(struct turns *turns, struct turn *turn, const struct addr *peer);

/* Puts it in line; one that nobody waits for any more stays there until it is its turn. False: the
 * line is full. */
bool turns_wait(struct turns *turns, struct turn *turn);

/* An exchange has ended; turns_next says who comes now. */
void turns_end(struct turns *turns, struct turn *turn);

/* The next in line whose turn has come: it is out of the line and his, as after turns_begin. NULL:
 * nobody's. */
struct turn *turns_next(struct turns *turns);

/* The next in line whether or not there is room: out of the line, and not begun. NULL: nobody
 * waits. */
struct turn *turns_pop(struct turns *turns);
