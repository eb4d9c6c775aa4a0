/*
 * One question from arrival to farewell, and the table of those that wait. A query that is answered
 * at once lives on the stack of whoever read it; one that must wait is copied into its worker's
 * table under an id. Ids carry a generation, so that an id kept by a late reply never finds
 * somebody else's query. One worker owns a table; nothing here is locked.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/list.h"
#include "dns/question.h"

enum verdict {
	VERDICT_PASS,	  /* not mine: the next stage */
	VERDICT_ANSWERED, /* the answer is complete */
	VERDICT_PENDING,  /* has to wait; exactly one pipeline_resume follows */
	VERDICT_FAILED,	  /* mine, but no truth to be had: the answer holds SERVFAIL and why */
};

enum query_source {
	QUERY_UDP,    /* client.socket, peer and local say where the reply goes */
	QUERY_TCP,    /* client.connection says where */
	QUERY_INSIDE, /* asked by ourselves for a host-name instance; client.parent waits */
};

struct query_client {
	enum query_source source;
	uint32_t socket;     /* UDP: index of the worker's listening socket */
	uint64_t connection; /* TCP: id of the connection, with generation */
	uint64_t parent;     /* INSIDE: id of the waiting query */
	uint32_t part;	     /* INSIDE: which of the parent's hosts */
	struct addr peer;    /* who asked */
	struct addr local;   /* the address that was asked; the reply leaves from it */
	uint32_t interface;  /* of the asked address, for link-local replies */
};

enum query_stage { QUERY_AT_NOMAD, QUERY_AT_CACHE, QUERY_AT_FORWARD };

struct query {
	uint64_t id; /* 0: on the stack, not waiting */
	uint64_t arrived_us;
	uint64_t deadline_ms;	 /* the whole query's (forward-timeout) */
	uint64_t stale_after_ms; /* from then on a stale answer is better than waiting */
	enum query_stage stage;
	uint8_t nomad_outcome; /* enum need_outcome of the last word from Nomad; 0: none yet */
	uint8_t turns;	       /* how often a word from Nomad made it look again */
	struct query_client client;
	struct question question;
	uint32_t client_place; /* waiting: of its client in the table's count */
	struct list by_age;    /* waiting: in its table, oldest first */
	struct list by_cause;  /* waiting: with those that wait for the same thing */
	struct hosts *hosts;   /* waiting for host names: owned by nomad/hosts */
};

struct query_table;

/* A table of at most `capacity` waiting queries; its memory is reserved, not touched. NULL when out
 * of memory. */
struct query_table *query_table_new(uint32_t capacity);
void query_table_free(struct query_table *table);

/* Copies `query` into the table under a new id. The copy, or NULL when the table is full, or when
 * its client has more places than are free: half of them all when nobody else waits. */
struct query *query_park(struct query_table *table, const struct query *query);

/* The waiting query of this id; NULL if it is gone. */
struct query *query_find(struct query_table *table, uint64_t id);

/* Ends a waiting query: takes it out of its lists and frees its place. Its id is never valid again.
 */
void query_drop(struct query_table *table, struct query *query);

/* The query that has waited longest; NULL if none waits. Its successor is query_next(). */
struct query *query_oldest(struct query_table *table);
struct query *query_next(struct query_table *table, struct query *query);

uint32_t query_count(const struct query_table *table);
