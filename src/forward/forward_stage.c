#include "forward/forward_stage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/descriptors.h"
#include "base/list.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/random.h"
#include "config/config.h"
#include "dns/name.h"
#include "forward/era.h"
#include "forward/exchange.h"
#include "forward/failures.h"
#include "forward/loop.h"
#include "forward/turns.h"
#include "forward/works.h"

/* So long a question waits, in line and for upstreams all of which refuse the packet. */
#define UNREACHABLE_MS 1900
#define EXCHANGES_MIN 16 /* that may begin, however few sockets there are */
#define LOOP_TEXT "upstream leads back to this resolver"
#define SPARE_MAX 64 /* exchanges whose storage is kept for the next: 200 KB */

struct work { /* one exchange and who waits for it */
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

struct running { /* an exchange and whose it is */
	struct work *work;
	struct list by_spare; /* between two of them */
	struct exchange exchange;
};

struct forward_stage {
	struct forward_doors doors;
	struct exchange_doors exchange_doors;
	struct random random;
	struct exchange_udp_pool *udp; /* NULL: closed */
	struct config_zone *zones;     /* ours: no upstream is believed about them */
	size_t zone_count;
	struct era *era;    /* NULL: no upstreams yet */
	unsigned era_count; /* that are not gone yet */
	struct works works;
	struct turns turns;
	struct list spare; /* struct running, by_spare: kilobytes each, and a miss needs one */
	unsigned spare_count;
	char loop_text[UPSTREAM_TEXT_MAX + 48];
	uint64_t last_reply_ms; /* from any upstream */
	struct failures failures;
	/* By group of upstreams: the last word from there was that nobody listens. */
	bool is_unreachable[TURNS_GROUPS];
	bool is_closing;
	void (*closed)(void *arg);
	void *closed_arg;
};

static void on_exchange_done(struct exchange *exchange, struct reply *reply, uint16_t ede,
			     const char *ede_text);
static void on_exchange_closed(struct exchange *exchange);
static bool is_ours(const void *arg, const uint8_t *name, size_t length);
static void free_if_closed(struct forward_stage *stage);

static void on_era_gone(void *arg)
{
	struct forward_stage *stage = arg;

	stage->era_count--;
	free_if_closed(stage);
}

struct forward_stage *forward_stage_open(const struct forward_doors *doors,
					 const struct config *config)
{
	struct forward_stage *stage = calloc(1, sizeof(*stage));

	if (!stage)
		return NULL;
	stage->udp = exchange_udp_pool_open(doors->loop, &stage->random);
	if (!stage->udp) {
		free(stage);
		return NULL;
	}
	stage->doors = *doors;
	stage->exchange_doors = (struct exchange_doors){ .loop = doors->loop,
							 .metrics = doors->metrics,
							 .random = &stage->random,
							 .udp = stage->udp,
							 .on_done = on_exchange_done,
							 .on_closed = on_exchange_closed,
							 .is_ours = is_ours,
							 .is_ours_arg = stage };
	works_init(&stage->works);
	list_init(&stage->spare);
	snprintf(stage->loop_text, sizeof(stage->loop_text), "%s", LOOP_TEXT);
	turns_init(&stage->turns, config->workers);
	forward_stage_configure(stage, config);
	return stage;
}

/* No more exchanges than find a socket for each question they may send: the others wait in line,
 * and whose turn comes does not wait again. */
static void share_descriptors(struct forward_stage *stage, const struct config *config)
{
	struct descriptors_plan plan =
		descriptors_plan(descriptors_limit(), config->tcp_max_clients);
	unsigned sockets = plan.upstream_sockets / (config->workers ? config->workers : 1);
	unsigned exchanges = sockets / EXCHANGE_UDP_SENDS;

	exchange_udp_pool_set_max(stage->udp, sockets);
	turns_set_max(&stage->turns, exchanges > EXCHANGES_MIN ? exchanges : EXCHANGES_MIN);
}

/* Deadlines come with the queries, upstreams by forward_stage_set_upstreams. */
void forward_stage_configure(struct forward_stage *stage, const struct config *config)
{
	struct config_zone *zones = calloc(config->zone_count, sizeof(*zones));

	share_descriptors(stage, config);
	if (!zones)
		return; /* the old zones stay */
	if (config->zone_count > 0)
		memcpy(zones, config->zone, config->zone_count * sizeof(*zones));
	free(stage->zones);
	stage->zones = zones;
	stage->zone_count = config->zone_count;
}

static bool is_ours(const void *arg, const uint8_t *name, size_t length)
{
	const struct forward_stage *stage = arg;

	for (size_t i = 0; i < stage->zone_count; i++) {
		if (name_is_in(name, length, stage->zones[i].name, stage->zones[i].length))
			return true;
	}
	return false;
}

static void free_if_closed(struct forward_stage *stage)
{
	struct list *node;

	if (stage->udp || !list_is_empty(&stage->works.all) || stage->era_count > 0)
		return;
	while ((node = list_pop(&stage->spare)))
		free(list_entry(node, struct running, by_spare));
	free(stage->zones);
	stage->closed(stage->closed_arg);
	free(stage);
}

static void on_udp_closed(void *arg)
{
	struct forward_stage *stage = arg;

	stage->udp = NULL;
	free_if_closed(stage);
}

/* Nobody waits for it any more; who did has a deadline of his own. */
static void forsake(struct work *work)
{
	while (list_pop(&work->waiting))
		;
}

static void drop_work(struct work *work)
{
	works_remove(&work->stage->works, &work->entry);
	free(work);
}

void forward_stage_close(struct forward_stage *stage, void (*closed)(void *), void *arg)
{
	struct turn *turn;

	stage->is_closing = true;
	stage->closed = closed;
	stage->closed_arg = arg;
	while ((turn = turns_pop(&stage->turns))) {
		struct work *work = list_entry(turn, struct work, turn);

		forsake(work);
		drop_work(work);
	}
	list_for_each (node, &stage->works.all) {
		struct work *work = list_entry(node, struct work, entry.by_works);

		forsake(work);
		works_hide(&stage->works, &work->entry);
		exchange_abort(work->exchange);
	}
	era_drop(stage->era);
	stage->era = NULL;
	exchange_udp_pool_close(stage->udp, on_udp_closed, stage);
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

/* An exchange with upstreams that its question is not meant for any more. */
static void redirect(struct work *work, uint64_t now_ms)
{
	work->begins_again = can_begin_again(work, now_ms);
	work->is_astray = !work->begins_again;
	if (work->is_astray)
		works_hide(&work->stage->works, &work->entry);
	if (work->begins_again || list_is_empty(&work->waiting))
		exchange_abort(work->exchange);
}

/* What is done, but for a probe or its sockets, is left alone. */
static void redirect_all(struct forward_stage *stage, uint64_t now_ms)
{
	const struct upstream_list *list = upstream_health_list(stage->era->health);

	list_for_each (node, &stage->works.all) {
		struct work *work = list_entry(node, struct work, entry.by_works);

		if (work->exchange && work->exchange->phase != EXCHANGE_DONE &&
		    !upstream_list_same_route(upstream_health_list(work->era->health), list,
					      &work->entry.question))
			redirect(work, now_ms);
	}
}

bool forward_stage_set_upstreams(struct forward_stage *stage, struct upstream_list *list)
{
	uint64_t now_ms = clock_now_ms();
	struct era *era;

	if (stage->is_closing)
		return false;
	if (stage->era && upstream_list_same(upstream_health_list(stage->era->health), list))
		return false;
	era = era_open(stage->doors.loop, stage->doors.metrics, list, now_ms, on_era_gone, stage);
	if (!era) {
		log_error("forward", "out of memory: the old upstreams stay in use");
		return false;
	}
	stage->era_count++;
	era_drop(stage->era);
	stage->era = era;
	failures_clear(&stage->failures);
	memset(stage->is_unreachable, 0, sizeof(stage->is_unreachable));
	redirect_all(stage, now_ms);
	return true;
}

void forward_stage_flush(struct forward_stage *stage, const uint8_t *name, size_t length)
{
	failures_clear(&stage->failures);
	list_for_each (node, &stage->works.all) {
		struct work *work = list_entry(node, struct work, entry.by_works);

		if (!work->exchange || !name_is_in(work->entry.question.folded,
						   work->entry.question.name_length, name, length))
			continue;
		work->is_flushed = true;
		works_hide(&stage->works, &work->entry);
	}
}

static void name_loop(struct forward_stage *stage, const struct upstream *upstream)
{
	char text[UPSTREAM_TEXT_MAX];

	upstream_format(upstream, text);
	snprintf(stage->loop_text, sizeof(stage->loop_text),
		 "upstream %s leads back to this resolver", text);
	metrics_add(stage->doors.metrics, METRIC_UPSTREAM_LOOPS, 1);
	log_warn("forward", "%s: it is not asked while it does", stage->loop_text);
}

/* Whether no upstream meant for it is left but such as lead back to us. */
static bool leads_only_back(const struct forward_stage *stage, const struct question *question,
			    uint64_t now_ms)
{
	size_t length;
	const uint8_t *route = upstream_route(question, &length);

	return upstream_choose(stage->era->health, route, length, 0, 0, now_ms) < 0;
}

enum verdict forward_stage_ask(struct forward_stage *stage, struct query *query, uint64_t now_ms,
			       struct answer *out)
{
	const struct question *question = &query->question;
	struct upstream_list *list = stage->era ? upstream_health_list(stage->era->health) : NULL;
	uint16_t failed_rcode;
	bool is_new = false;
	int loop;

	switch (list ? upstream_list_cover(list, question) : UPSTREAM_UNCOVERED) {
	case UPSTREAM_COVERED:
		break;
	case UPSTREAM_REFUSED:
		answer_init(out);
		out->stage = METRIC_STAGE_FORWARD;
		out->rcode = DNS_REFUSED;
		out->no_recursion = true;
		return VERDICT_ANSWERED;
	case UPSTREAM_UNCOVERED:
		answer_fail(out, METRIC_STAGE_FORWARD, DNS_EDE_NO_REACHABLE_AUTHORITY,
			    "no upstream resolver configured");
		return VERDICT_FAILED;
	}
	loop = loop_find(list, question, now_ms, &is_new);
	if (is_new)
		name_loop(stage, &list->upstream[loop]);
	if (loop >= 0 || leads_only_back(stage, question, now_ms)) {
		answer_fail(out, METRIC_STAGE_FORWARD, DNS_EDE_OTHER, stage->loop_text);
		return VERDICT_FAILED;
	}
	/* This one goes no further round; what is true of the upstream the look-out finds out. */
	if (loop_is_suspected(list, question)) {
		era_suspect_loop(stage->era, now_ms);
		answer_fail(out, METRIC_STAGE_FORWARD, DNS_EDE_OTHER, LOOP_TEXT);
		return VERDICT_FAILED;
	}
	failed_rcode = failures_find(&stage->failures, works_hash(&stage->works, question), now_ms);
	if (failed_rcode) {
		answer_fail(out, METRIC_STAGE_FORWARD, DNS_EDE_CACHED_ERROR,
			    "failed upstream a moment ago");
		out->rcode = failed_rcode;
		return VERDICT_FAILED;
	}
	return VERDICT_PENDING;
}

static enum verdict refuse_work(struct forward_stage *stage, struct answer *out)
{
	metrics_add(stage->doors.metrics, METRIC_QUERIES_OVER_LIMIT, 1);
	answer_fail(out, METRIC_STAGE_FORWARD, DNS_EDE_OTHER, "too many questions under way");
	return VERDICT_FAILED;
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

/* False: out of memory. */
static bool start_work(struct forward_stage *stage, struct work *work, uint64_t now_ms)
{
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
		else if (!list_is_empty(&work->waiting) && start_work(stage, work, now_ms))
			continue;
		forsake(work);
		turns_end(&stage->turns, turn);
		drop_work(work);
	}
}

/* Begins it, or puts it in line. False: at a ceiling, or out of memory. */
static bool begin_work(struct forward_stage *stage, struct work *work, const struct addr *peer,
		       uint64_t now_ms)
{
	if (!turns_begin(&stage->turns, &work->turn, peer, group_of(work)))
		return turns_wait(&stage->turns, &work->turn);
	if (start_work(stage, work, now_ms))
		return true;
	turns_end(&stage->turns, &work->turn);
	return false;
}

enum verdict forward_stage_wait(struct forward_stage *stage, struct query *query, uint64_t now_ms,
				struct answer *out)
{
	uint64_t hash = works_hash(&stage->works, &query->question);
	struct works_entry *same = works_find(&stage->works, hash, &query->question);
	struct work *work;

	if (same) {
		work = list_entry(same, struct work, entry);
		list_append(&work->waiting, &query->by_cause);
		if (work->exchange)
			exchange_join(work->exchange, now_ms);
		metrics_add(stage->doors.metrics, METRIC_UPSTREAM_COALESCED, 1);
		return VERDICT_PENDING;
	}
	if (!stage->era || stage->is_closing)
		return refuse_work(stage, out);
	work = calloc(1, sizeof(*work));
	if (!work)
		return refuse_work(stage, out);
	work->stage = stage;
	work->entry.hash = hash;
	work->deadline_ms = query->deadline_ms;
	work->asked_ms = now_ms;
	work->entry.question = query->question;
	list_init(&work->waiting);
	if (!begin_work(stage, work, &query->client.peer, now_ms)) {
		free(work);
		return refuse_work(stage, out);
	}
	works_add(&stage->works, &work->entry);
	list_append(&work->waiting, &query->by_cause);
	return VERDICT_PENDING;
}

/* How it ended when it was no answer (RFC 9520 §2: nobody answered, or an error that says nothing
 * about the name); 0: it was one. */
static uint16_t failed_rcode_of(const struct reply *reply)
{
	uint16_t rcode = reply ? reply->image->rcode : DNS_SERVFAIL;

	return rcode == DNS_NXDOMAIN || rcode == DNS_YXDOMAIN ? 0 : rcode;
}

static void on_exchange_done(struct exchange *exchange, struct reply *reply, uint16_t ede,
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
	    leads_only_back(work->stage, &work->entry.question, now_ms)) {
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

static void on_exchange_closed(struct exchange *exchange)
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
	if (!begins_again || !can_begin_again(work, now_ms) || !start_work(stage, work, now_ms)) {
		if (begins_again && !list_is_empty(&work->waiting))
			fail_work(work);
		forsake(work);
		turns_end(&stage->turns, &work->turn);
		drop_work(work);
	}
	put_running(stage, running);
	if (stage->is_closing)
		free_if_closed(stage);
	else
		serve_next(stage, now_ms);
}
