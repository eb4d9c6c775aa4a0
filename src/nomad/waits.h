/*
 * Which queries of one worker wait for which word from Nomad: one entry per need, however many
 * wait. Queries may vanish from it at any time (query_drop takes them out); an entry lives until
 * its word has come.
 */
#pragma once

#include <stdbool.h>

#include "nomad/need.h"
#include "query/query.h"

struct waits;

struct waits *waits_new(void); /* NULL: out of memory */
void waits_free(struct waits *waits);

/* Makes `query` wait for `need`. *out_is_new: nobody waited for it before, so it is to be sent. 0
 * or -ENOMEM. */
int waits_add(struct waits *waits, const struct need *need, struct query *query, uint64_t now_ms,
	      bool *out_is_new);

/* How long the need has been waited for, in ms; 0: nobody waits for it. */
uint64_t waits_age_ms(struct waits *waits, const struct need *need, uint64_t now_ms);

/* The need was not sent after all: forgets its entry; the query just added is taken out. */
void waits_undo(struct waits *waits, const struct need *need);

/* Moves all that wait for `need` to `out` (a list head, made ready here) and forgets the entry. */
void waits_take(struct waits *waits, const struct need *need, struct list *out);
