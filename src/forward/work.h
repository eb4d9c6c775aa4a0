/*
 * One question on its way upstream and who waits for it: it stands in line until its turn comes,
 * has one exchange after another while upstreams are swapped under it, tells the stage's doors how
 * that ended, and lets the next in line begin. Who may be asked at all the stage decides.
 *
 * The stage's private part. A work frees itself with its turn; the queries in `waiting` are their
 * owners', who may take them out at any time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "dns/reply.h"
#include "forward/turns.h"
#include "forward/works.h"

struct era;
struct exchange;
struct forward_stage;
struct query;

struct work {
	struct forward_stage *stage;
	struct works_entry entry; /* its question */
	struct list waiting;	  /* struct query, by_cause */
	struct turn turn;	  /* of who asked first */
	struct era *era;
	uint64_t deadline_ms, asked_ms, began_ms;
	/* Who waits gets the reply, and nobody else: its name was flushed, or is not to be asked
	 * of these upstreams any more. */
	bool is_flushed, is_astray;
	bool begins_again;	   /* the upstreams it had are gone */
	struct exchange *exchange; /* NULL: not begun */
};

/* Begins one for a parked query and its works_hash, or puts it in line. There are upstreams. False:
 * at a ceiling, or out of memory. */
bool work_begin(struct forward_stage *stage, struct query *query, uint64_t hash, uint64_t now_ms);

/* Another query waits for it, through query->by_cause. */
void work_join(struct work *work, struct query *query, uint64_t now_ms);

/* The stage has other upstreams: if its question is meant for those, its exchange ends, to begin
 * again with them, or is astray. What is done, but for a probe or its sockets, is left alone. */
void work_redirect(struct work *work, uint64_t now_ms);

/* A folded name and all below it were forgotten. */
void work_flush(struct work *work, const uint8_t *name, size_t length);

/* The stage closes: nobody waits for it any more, and its exchange ends. */
void work_abort(struct work *work);

/* Frees it, with no word to who waits: its turn is over, or will not come. */
void work_drop(struct work *work);

/* What exchange_doors call. */
void work_on_done(struct exchange *exchange, struct reply *reply, uint16_t ede,
		  const char *ede_text);
void work_on_closed(struct exchange *exchange);

/* Storage that ended exchanges have left for the next. */
void work_free_spare(struct forward_stage *stage);
