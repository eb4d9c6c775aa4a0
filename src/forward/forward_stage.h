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
	 * An exchange ended. `reply` is NULL when it failed (then `answer` holds SERVFAIL and why);
	 * else the callee takes reply->image over. Followed by one `on_waiter` for each query that
	 * waited, then `on_end`.
	 */
	void (*on_reply)(void *arg, const struct question *question, struct reply *reply);
	void (*on_waiter)(void *arg, struct query *query);
	void (*on_failed)(void *arg, struct query *query, uint16_t ede, const char *ede_text);
	void (*on_end)(void *arg);
	void *arg;
};

struct forward_stage *forward_stage_open(const struct forward_doors *doors,
					 const struct config *config);
void forward_stage_close(struct forward_stage *stage, void (*closed)(void *), void *arg);
void forward_stage_configure(struct forward_stage *stage, const struct config *config);

/* Swaps the list of upstreams; exchanges under way end with the one they began with. Takes a
 * reference of its own. */
void forward_stage_set_upstreams(struct forward_stage *stage, struct upstream_list *list);

/* REFUSED with `forward=none`, FAILED when there is no upstream, else PENDING: call
 * forward_stage_wait with the parked query. */
enum verdict forward_stage_ask(struct forward_stage *stage, struct query *query, uint64_t now_ms,
			       struct answer *out);

/* Joins or starts the exchange for a parked query. PENDING, or FAILED at a ceiling. */
enum verdict forward_stage_wait(struct forward_stage *stage, struct query *query, uint64_t now_ms,
				struct answer *out);
