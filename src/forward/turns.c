#include "forward/turns.h"

#include <string.h>

/* How many times what is free one client, and one group, may have: who takes all he gets leaves a
 * third. */
#define SHARES 2
#define LOOKS_MAX 8 /* for a client's place */

static unsigned share_of(unsigned total, unsigned workers)
{
	return workers > 1 ? (total + workers - 1) / workers : total;
}

void turns_init(struct turns *turns, unsigned workers)
{
	unsigned share = share_of(TURNS_RUNNING_MAX, workers);

	*turns = (struct turns){ .share = share,
				 .running_max = share,
				 .a_client_max = share_of(TURNS_A_CLIENT_MAX, workers) };
	hash_random(&turns->secret, sizeof(turns->secret));
	list_init(&turns->hungry);
	for (unsigned i = 0; i < TURNS_CLIENTS; i++) {
		list_init(&turns->client[i].waiting);
		list_init(&turns->client[i].by_turn);
	}
}

void turns_set_max(struct turns *turns, unsigned running_max)
{
	turns->running_max = running_max < turns->share ? running_max : turns->share;
}

static uint64_t hash_of(const struct turns *turns, const struct addr *peer, unsigned group)
{
	uint8_t key[sizeof(peer->bytes) + 1];

	memcpy(key, peer->bytes, sizeof(peer->bytes));
	key[sizeof(peer->bytes)] = (uint8_t)group;
	return hash_bytes(&turns->secret, key, sizeof(key));
}

/* His place, or one that nobody uses. */
static struct turns_client *find_client(struct turns *turns, uint64_t hash)
{
	struct turns_client *unused = NULL;

	for (unsigned i = 0; i < LOOKS_MAX; i++) {
		struct turns_client *client = &turns->client[(hash + i) % TURNS_CLIENTS];

		if (client->running_count + client->waiting_count == 0)
			unused = unused ? unused : client;
		else if (client->hash == hash)
			return client;
	}
	if (!unused)
		return &turns->client[hash % TURNS_CLIENTS];
	unused->hash = hash;
	return unused;
}

static bool take_if_room(struct turns *turns, struct turns_client *client, unsigned group)
{
	unsigned free_count = turns->running_max > turns->running_count
				      ? turns->running_max - turns->running_count
				      : 0;

	if (client->running_count >= turns->a_client_max ||
	    client->running_count >= free_count * SHARES ||
	    turns->group_running_count[group] >= free_count * SHARES)
		return false;
	turns->running_count++;
	turns->group_running_count[group]++;
	client->running_count++;
	return true;
}

bool turns_begin(struct turns *turns, struct turn *turn, const struct addr *peer, unsigned group)
{
	turn->group = group % TURNS_GROUPS;
	turn->client = find_client(turns, hash_of(turns, peer, turn->group));
	list_init(&turn->by_client);
	return take_if_room(turns, turn->client, turn->group);
}

bool turns_wait(struct turns *turns, struct turn *turn)
{
	struct turns_client *client = turn->client;

	if (client->waiting_count >= TURNS_WAITING_MAX - turns->waiting_count)
		return false;
	if (list_is_empty(&client->waiting))
		list_append(&turns->hungry, &client->by_turn);
	list_append(&client->waiting, &turn->by_client);
	client->waiting_count++;
	turns->waiting_count++;
	return true;
}

void turns_end(struct turns *turns, struct turn *turn)
{
	turns->running_count--;
	turns->group_running_count[turn->group]--;
	turn->client->running_count--;
}

/* His first in line; he himself goes to the end of the clients' line, if he has more. */
static struct turn *pop_of(struct turns *turns, struct turns_client *client)
{
	struct list *node = list_pop(&client->waiting);

	turns->waiting_count--;
	client->waiting_count--;
	list_remove(&client->by_turn);
	if (!list_is_empty(&client->waiting))
		list_append(&turns->hungry, &client->by_turn);
	return list_entry(node, struct turn, by_client);
}

struct turn *turns_next(struct turns *turns)
{
	list_for_each (node, &turns->hungry) {
		struct turns_client *client = list_entry(node, struct turns_client, by_turn);
		const struct turn *first = list_entry(client->waiting.next, struct turn, by_client);

		if (take_if_room(turns, client, first->group))
			return pop_of(turns, client);
	}
	return NULL;
}

struct turn *turns_pop(struct turns *turns)
{
	if (list_is_empty(&turns->hungry))
		return NULL;
	return pop_of(turns, list_entry(turns->hungry.next, struct turns_client, by_turn));
}
