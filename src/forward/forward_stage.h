/*
 * The third stage: asks the host's resolvers what nobody nearer knows. One exchange for identical
 * questions, however many wait; every reply is checked; the next upstream is asked when one is late
 * or says SERVFAIL; TCP after TC. Ends every question it took by its deadline.
 */
#pragma once

#include <uv.h>

#include "dns/answer.h"
#include "dns/reply.h"
#include "forward/upstream.h"
#include "query/query.h"

struct config;
struct forward_stage;
struct metrics;

struct forward_doors {
	uv_loop_t *loop;
	struct metrics *metrics;
	/*
	 * An exchange ended. `on_reply` comes first: the callee takes reply->image over, or `reply`
	 * is NULL because no upstream answered. Then, for each query that waited, one `on_waiter`,
	 * or one `on_failed` when there is no reply; then `on_end`. The query has left the
	 * exchange's list before its callback, and may be dropped in it. None of them is called
	 * from within forward_stage_ask or forward_stage_wait.
	 */
	void (*on_reply)(void *arg, const struct question *question, struct reply *reply);
	void (*on_waiter)(void *arg, struct query *query);
	void (*on_failed)(void *arg, struct query *query, uint16_t ede, const char *ede_text);
	void (*on_end)(void *arg);
	void *arg;
};

/* Without upstreams until forward_stage_set_upstreams. NULL: out of memory. */
struct forward_stage *forward_stage_open(const struct forward_doors *doors,
					 const struct config *config);

/* Ends every exchange without a word to its queries, which stay their owner's; `closed` comes once,
 * from the loop, when all handles are closed and the stage is freed. */
void forward_stage_close(struct forward_stage *stage, void (*closed)(void *), void *arg);
void forward_stage_configure(struct forward_stage *stage, const struct config *config);

/* Swaps the list of upstreams: failures are forgotten, and what is under way about names that are
 * now asked of others begins anew with those, for whoever waits. Where nobody may be asked any more
 * the old answer is waited for, and is not to be kept. All else ends with the upstreams it began
 * with, and what fails there begins anew. Takes a reference of its own. False: it is the same list,
 * or out of memory. */
bool forward_stage_set_upstreams(struct forward_stage *stage, struct upstream_list *list);

/* A folded name and all below it were forgotten: what is under way about them answers who waits for
 * it by now, and is not to be kept (its TTLs are 0). */
void forward_stage_flush(struct forward_stage *stage, const uint8_t *name, size_t length);

/* ANSWERED with REFUSED (`forward=none`), FAILED when there is no upstream or the same question has
 * failed a moment ago (RFC 9520 §3.2: 1 s, doubling to 30 s), else PENDING: call forward_stage_wait
 * with the parked query. */
enum verdict forward_stage_ask(struct forward_stage *stage, struct query *query, uint64_t now_ms,
			       struct answer *out);

/* Joins or starts the exchange for a parked query, through query->by_cause: who drops the query
 * needs to do no more than take it out of that list. PENDING, or FAILED at a ceiling. */
enum verdict forward_stage_wait(struct forward_stage *stage, struct query *query, uint64_t now_ms,
				struct answer *out);
