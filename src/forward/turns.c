#include "forward/turns.h"

static unsigned share_of(unsigned total, unsigned workers)
{
	return workers > 1 ? (total + workers - 1) / workers : total;
}

void turns_init(struct turns *turns, unsigned workers)
{
	*turns = (struct turns){ .running_max = share_of(TURNS_RUNNING_MAX, workers),
				 .a_client_max = share_of(TURNS_A_CLIENT_MAX, workers) };
	hash_random(&turns->secret, sizeof(turns->secret));
	list_init(&turns->hungry);
	for (unsigned i = 0; i < TURNS_CLIENTS; i++) {
		list_init(&turns->client[i].waiting);
		list_init(&turns->client[i].by_turn);
	}
}

static struct turns_client *find_client(struct turns *turns, const struct addr *peer)
{
	uint64_t hash = hash_bytes(&turns->secret, peer->bytes, sizeof(peer->bytes));

	return &turns->client[hash % TURNS_CLIENTS];
}

static bool take_if_room(struct turns *turns, struct turns_client *client)
{
	if (turns->running_count >= turns->running_max ||
	    client->running_count >= turns->a_client_max)
		return false;
	turns->running_count++;
	client->running_count++;
	return true;
}

bool turns_begin(struct turns *turns, struct turn *turn, const struct addr *peer)
{
	turn->client = find_client(turns, peer);
	list_init(&turn->by_client);
	return take_if_room(turns, turn->client);
}

bool turns_wait(struct turns *turns, struct turn *turn)
{
	if (turns->waiting_count >= TURNS_WAITING_MAX)
		return false;
	if (list_is_empty(&turn->client->waiting))
		list_append(&turns->hungry, &turn->client->by_turn);
	list_append(&turn->client->waiting, &turn->by_client);
	turns->waiting_count++;
	return true;
}

void turns_end(struct turns *turns, struct turn *turn)
{
	turns->running_count--;
	turn->client->running_count--;
}

/* His first in line; he himself goes to the end of the clients' line, if he has more. */
static struct turn *pop_of(struct turns *turns, struct turns_client *client)
{
	struct list *node = list_pop(&client->waiting);

	turns->waiting_count--;
	list_remove(&client->by_turn);
	if (!list_is_empty(&client->waiting))
		list_append(&turns->hungry, &client->by_turn);
	return list_entry(node, struct turn, by_client);
}

struct turn *turns_next(struct turns *turns)
{
	list_for_each (node, &turns->hungry) {
		struct turns_client *client = list_entry(node, struct turns_client, by_turn);

		if (take_if_room(turns, client))
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
