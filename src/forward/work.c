#include "forward/work.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "dns/dns.h"
#include "dns/name.h"
#include "forward/era.h"
#include "forward/exchange.h"
#include "forward/failures.h"
#include "forward/forward_parts.h"
#include "forward/upstream.h"
#include "forward/upstream_list.h"
#include "query/query.h"

/* So long a question waits, in line and for upstreams all of which refuse the packet. */
#define UNREACHABLE_MS 1900
#define SPARE_MAX 64 /* exchanges whose storage is kept for the next: 200 KB */

struct running { /* an exchange and whose it is */
	struct work *work;
	struct list by_spare; /* between two of them */
	struct exchange exchange;
};

/* Nobody waits for it any more; who did has a deadline of his own. */
static void forsake(struct work *work)
{
	while (list_pop(&work->waiting))
		;
}

void work_drop(struct work *work)
{
	forsake(work);
	works_remove(&work->stage->works, &work->entry);
	free(work);
}

static bool is_covered(const struct work *work)
{
	return upstream_list_cover(upstream_health_list(work->stage->era->health),
				   &work->entry.question) == UPSTREAM_COVERED;
}

/* Until when somebody waits; 0: nobody does. */
static uint64_t last_deadline_ms(const struct work *work)
{
	uint64_t last_ms = 0;

	list_for_each (node, &work->waiting) {
		const struct query *query = list_entry(node, struct query, by_cause);

		last_ms = query->deadline_ms > last_ms ? query->deadline_ms : last_ms;
	}
	return last_ms;
}

/* Whether the upstreams we have now may still answer somebody. */
static bool can_begin_again(const struct work *work, uint64_t now_ms)
{
	return is_covered(work) && now_ms < last_deadline_ms(work);
}

/* Of the upstreams there are now; its turn may still be counted among those before. */
static unsigned group_of(const struct work *work)
{
	return upstream_list_group(upstream_health_list(work->stage->era->health),
				   &work->entry.question);
}

/* Who stood in line behind questions that nobody took is not to wait all over again. */
static uint64_t give_up_ms(const struct work *work)
{
	uint64_t unreachable_ms = work->asked_ms + UNREACHABLE_MS;

	if (!work->stage->is_unreachable[group_of(work)] || work->deadline_ms < unreachable_ms)
		return work->deadline_ms;
	return unreachable_ms;
}

/* One without an exchange: its upstreams cannot be reached, or are no more. */
static void fail_work(struct work *work)
{
	const struct forward_doors *doors = &work->stage->doors;
	struct list *node;

	works_hide(&work->stage->works, &work->entry);
	metrics_add(doors->metrics, METRIC_UPSTREAM_FAILED, 1);
	doors->on_reply(doors->arg, &work->entry.question, NULL);
	while ((node = list_pop(&work->waiting)))
		doors->on_failed(doors->arg, list_entry(node, struct query, by_cause),
				 DNS_EDE_NETWORK_ERROR, "upstream resolvers cannot be reached");
	doors->on_end(doors->arg);
}

/* NULL: out of memory. */
static struct running *get_running(struct forward_stage *stage)
{
	struct list *node = list_pop(&stage->spare);

	if (!node)
		return malloc(sizeof(struct running));
	stage->spare_count--;
	return list_entry(node, struct running, by_spare);
}

static void put_running(struct forward_stage *stage, struct running *running)
{
	if (stage->spare_count == SPARE_MAX) {
		free(running);
		return;
	}
	list_prepend(&stage->spare, &running->by_spare); /* the warmest first */
	stage->spare_count++;
}

void work_free_spare(struct forward_stage *stage)
{
	struct list *node;

	while ((node = list_pop(&stage->spare)))
		free(list_entry(node, struct running, by_spare));
}

/* False: out of memory. */
static bool start_exchange(struct work *work, uint64_t now_ms)
{
	struct forward_stage *stage = work->stage;
	struct running *running = get_running(stage);

	if (!running)
		return false;
	running->work = work;
	work->exchange = &running->exchange;
	work->began_ms = now_ms;
	work->era = era_hold(stage->era);
	exchange_start(work->exchange, &stage->exchange_doors, &work->entry.question,
		       work->era->health, work->era->pool, give_up_ms(work), now_ms);
	return true;
}

/* An exchange has ended: the next in line begin, if somebody still waits for them. */
static void serve_next(struct forward_stage *stage, uint64_t now_ms)
{
	struct turn *turn;

	while ((turn = turns_next(&stage->turns))) {
		struct work *work = list_entry(turn, struct work, turn);

		if (!list_is_empty(&work->waiting) &&
		    (now_ms >= give_up_ms(work) || !is_covered(work)))
			fail_work(work);
		else if (!list_is_empty(&work->waiting) && start_exchange(work, now_ms))
			continue;
		turns_end(&stage->turns, turn);
		work_drop(work);
	}
}

/* Begins it, or puts it in line. False: at a ceiling, or out of memory. */
static bool take_turn(struct work *work, const struct addr *peer, uint64_t now_ms)
{
	struct turns *turns = &work->stage->turns;

	if (!turns_begin(turns, &work->turn, peer, group_of(work)))
		return turns_wait(turns, &work->turn);
	if (start_exchange(work, now_ms))
		return true;
	turns_end(turns, &work->turn);
	return false;
}

bool work_begin(struct forward_stage *stage, struct query *query, uint64_t hash, uint64_t now_ms)
{
	struct work *work = calloc(1, sizeof(*work));

	if (!work)
		return false;
	work->stage = stage;
	work->entry.hash = hash;
	work->deadline_ms = query->deadline_ms;
	work->asked_ms = now_ms;
	work->entry.question = query->question;
	list_init(&work->waiting);
	if (!take_turn(work, &query->client.peer, now_ms)) {
		free(work);
		return false;
	}
	works_add(&stage->works, &work->entry);
	list_append(&work->waiting, &query->by_cause);
	return true;
}

void work_join(struct work *work, struct query *query, uint64_t now_ms)
{
	list_append(&work->waiting, &query->by_cause);
	if (work->exchange)
		exchange_join(work->exchange, now_ms);
}

void work_redirect(struct work *work, uint64_t now_ms)
{
	const struct upstream_list *list = upstream_health_list(work->stage->era->health);

	if (!work->exchange || work->exchange->phase == EXCHANGE_DONE ||
	    upstream_list_same_route(upstream_health_list(work->era->health), list,
				     &work->entry.question))
		return;
	work->begins_again = can_begin_again(work, now_ms);
	work->is_astray = !work->begins_again;
	if (work->is_astray)
		works_hide(&work->stage->works, &work->entry);
	if (work->begins_again || list_is_empty(&work->waiting))
		exchange_abort(work->exchange);
}

void work_flush(struct work *work, const uint8_t *name, size_t length)
{
	const struct question *question = &work->entry.question;

	if (!work->exchange || !name_is_in(question->folded, question->name_length, name, length))
		return;
	work->is_flushed = true;
	works_hide(&work->stage->works, &work->entry);
}

void work_abort(struct work *work)
{
	forsake(work);
	works_hide(&work->stage->works, &work->entry);
	exchange_abort(work->exchange);
}

/* How it ended when it was no answer (RFC 9520 §2: nobody answered, or an error that says nothing
 * about the name); 0: it was one. */
static uint16_t failed_rcode_of(const struct reply *reply)
{
	uint16_t rcode = reply ? reply->image->rcode : DNS_SERVFAIL;

	return rcode == DNS_NXDOMAIN || rcode == DNS_YXDOMAIN ? 0 : rcode;
}

void work_on_done(struct exchange *exchange, struct reply *reply, uint16_t ede,
		  const char *ede_text)
{
	struct work *work = list_entry(exchange, struct running, exchange)->work;
	const struct forward_doors *doors = &work->stage->doors;
	uint64_t now_ms = clock_now_ms();
	uint16_t failed_rcode = failed_rcode_of(reply);
	struct list *node;

	/* What the old upstreams did not answer goes to those we have now. */
	work->begins_again =
		failed_rcode && work->era != work->stage->era && can_begin_again(work, now_ms);
	if (work->begins_again) {
		if (reply)
			free(reply->image);
		exchange_abort(exchange); /* of a probe nobody waits for the answer */
		return;
	}
	/* Whoever asks the same from within the callbacks begins anew. */
	works_hide(&work->stage->works, &work->entry);
	if (!reply)
		metrics_add(doors->metrics, METRIC_UPSTREAM_FAILED, 1);
	if (reply)
		work->stage->last_reply_ms = now_ms;
	if (work->era == work->stage->era)
		work->stage->is_unreachable[group_of(work)] = exchange->is_unreachable;
	/* Our own refusal, by way of the upstream that led back to us. */
	if (failed_rcode && work->era == work->stage->era &&
	    forward_stage_leads_only_back(work->stage, &work->entry.question, now_ms)) {
		if (reply)
			free(reply->image);
		reply = NULL;
		failed_rcode = DNS_SERVFAIL;
		ede = DNS_EDE_OTHER;
		ede_text = work->stage->loop_text;
	}
	if (failed_rcode)
		era_suspect_loop(work->era, now_ms);
	if (failed_rcode && !work->is_astray)
		failures_note(&work->stage->failures, work->entry.hash, failed_rcode,
			      work->stage->last_reply_ms >= work->began_ms, now_ms);
	else
		failures_forget(&work->stage->failures, work->entry.hash);
	if (reply)
		reply->is_outdated |= work->is_flushed || work->is_astray;
	doors->on_reply(doors->arg, &work->entry.question, reply);
	while ((node = list_pop(&work->waiting))) {
		struct query *query = list_entry(node, struct query, by_cause);

		if (reply)
			doors->on_waiter(doors->arg, query);
		else
			doors->on_failed(doors->arg, query, ede, ede_text);
	}
	doors->on_end(doors->arg);
}

void work_on_closed(struct exchange *exchange)
{
	struct running *running = list_entry(exchange, struct running, exchange);
	struct work *work = running->work;
	struct forward_stage *stage = work->stage;
	bool begins_again = work->begins_again && !stage->is_closing;
	uint64_t now_ms = clock_now_ms();

	era_drop(work->era);
	work->begins_again = work->is_astray = false;
	work->deadline_ms = last_deadline_ms(work);
	/* The turn stays his. */
	if (!begins_again || !can_begin_again(work, now_ms) || !start_exchange(work, now_ms)) {
		if (begins_again && !list_is_empty(&work->waiting))
			fail_work(work);
		turns_end(&stage->turns, &work->turn);
		work_drop(work);
	}
	put_running(stage, running);
	if (stage->is_closing)
		forward_stage_free_if_closed(stage);
	else
		serve_next(stage, now_ms);
}
