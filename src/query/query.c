/*
 * The table is one anonymous mapping of slots. Slots are handed out from a free list (the last one
 * freed first, so that a quiet worker stays on a few warm pages) and, when that is empty, from the
 * part of the mapping nobody has touched yet. An id is generation and place; a slot counts its
 * generations up each time it is handed out, and id 0 marks it free.
 *
 * Clients are counted by a keyed hash of their address; by chance a few share a count.
 */
#include "query/query.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "base/hash.h"

#define NO_SLOT UINT32_MAX
#define CLIENTS 1024 /* a power of two */
#define GENERATION_SHIFT 32

struct slot {
	struct query query; /* id 0: free */
	uint32_t generation;
	uint32_t next_free;
};

struct query_table {
	struct slot *slots;
	uint32_t capacity;
	uint32_t touched_count; /* slots behind it were never used */
	uint32_t first_free;
	uint32_t count;
	struct hash_key secret;
	uint32_t client_count[CLIENTS];
	struct list by_age;
};

static size_t bytes_of(uint32_t capacity)
{
	return (size_t)capacity * sizeof(struct slot);
}

struct query_table *query_table_new(uint32_t capacity)
{
	struct query_table *table;
	void *memory;

	if (capacity == 0 || capacity == NO_SLOT)
		return NULL;
	table = calloc(1, sizeof(*table));
	if (!table)
		return NULL;
	memory = mmap(NULL, bytes_of(capacity), PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED) {
		free(table);
		return NULL;
	}
	/* One query must not cost a huge page; a kernel without them refuses, which is as good. */
	(void)madvise(memory, bytes_of(capacity), MADV_NOHUGEPAGE);
	table->slots = memory;
	table->capacity = capacity;
	table->first_free = NO_SLOT;
	hash_random(&table->secret, sizeof(table->secret));
	list_init(&table->by_age);
	return table;
}

void query_table_free(struct query_table *table)
{
	if (!table)
		return;
	(void)munmap(table->slots, bytes_of(table->capacity));
	free(table);
}

static struct slot *take_slot(struct query_table *table)
{
	struct slot *slot;

	if (table->first_free != NO_SLOT) {
		slot = &table->slots[table->first_free];
		table->first_free = slot->next_free;
		return slot;
	}
	if (table->touched_count == table->capacity)
		return NULL;
	return &table->slots[table->touched_count++];
}

static uint32_t find_client(const struct query_table *table, const struct query *query)
{
	const struct addr *peer = &query->client.peer;

	return (uint32_t)hash_bytes(&table->secret, peer->bytes, sizeof(peer->bytes)) % CLIENTS;
}

struct query *query_park(struct query_table *table, const struct query *query)
{
	uint32_t client = find_client(table, query);
	struct slot *slot = table->client_count[client] < table->capacity - table->count
				    ? take_slot(table)
				    : NULL;

	if (!slot)
		return NULL;
	slot->query = *query;
	slot->query.client_place = client;
	table->client_count[client]++;
	slot->generation = slot->generation == UINT32_MAX ? 1 : slot->generation + 1;
	slot->query.id =
		(uint64_t)slot->generation << GENERATION_SHIFT | (uint32_t)(slot - table->slots);
	list_append(&table->by_age, &slot->query.by_age);
	list_init(&slot->query.by_cause);
	table->count++;
	return &slot->query;
}

struct query *query_find(struct query_table *table, uint64_t id)
{
	uint32_t index = (uint32_t)id;

	if (id == 0 || index >= table->touched_count || table->slots[index].query.id != id)
		return NULL;
	return &table->slots[index].query;
}

void query_drop(struct query_table *table, struct query *query)
{
	struct slot *slot = list_entry(query, struct slot, query);

	if (query->id == 0)
		return;
	list_remove(&query->by_age);
	list_remove(&query->by_cause);
	query->id = 0;
	table->client_count[query->client_place]--;
	slot->next_free = table->first_free;
	table->first_free = (uint32_t)(slot - table->slots);
	table->count--;
}

struct query *query_oldest(struct query_table *table)
{
	if (list_is_empty(&table->by_age))
		return NULL;
	return list_entry(table->by_age.next, struct query, by_age);
}

struct query *query_next(struct query_table *table, struct query *query)
{
	if (query->by_age.next == &table->by_age)
		return NULL;
	return list_entry(query->by_age.next, struct query, by_age);
}

uint32_t query_count(const struct query_table *table)
{
	return table->count;
}
