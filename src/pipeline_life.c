#include "pipeline_life.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "nomad/hosts.h"
#include "query/rebind.h"

#define TICK_MS 50	  /* how exactly deadlines are kept */
#define WAKE_AT_ONCE 64	  /* answers of one word in a burst; the next ones a millisecond later */
#define WAITING_MAX 16384 /* queries of one worker that wait for something */

/* ---- news from outside ---- */

/* Thousands may have waited for one word; a client that asked them all could not take all answers
 * in one burst. */
static void resume_some(struct pipeline *p)
{
	struct list *link;

	for (unsigned i = 0; i < WAKE_AT_ONCE && (link = list_pop(&p->woken)); i++)
		pipeline_resume(p, list_entry(link, struct query, by_cause));
	if (list_is_empty(&p->woken))
		uv_timer_stop(&p->pacer);
}

static void on_pacer(uv_timer_t *timer)
{
	zone_read_begin();
	resume_some(timer->data);
	zone_read_end();
}

static void on_wake(void *arg, struct query *query)
{
	struct pipeline *p = arg;

	list_append(&p->woken, &query->by_cause);
}

void pipeline_hear(struct pipeline *p, const struct need_word *word)
{
	nomad_stage_hear(p->nomad, word, on_wake, p);
	resume_some(p);
	if (!list_is_empty(&p->woken))
		uv_timer_start(&p->pacer, on_pacer, 1, 1);
}

static void on_other_upstreams(void *arg, const uint8_t *name, size_t length)
{
	struct pipeline *p = arg;

	cache_stage_expire(p->cache, name, length, clock_now_ms());
}

void pipeline_set_upstreams(struct pipeline *p, struct upstream_list *list)
{
	if (p->upstreams)
		upstream_list_each_change(p->upstreams, list, on_other_upstreams, p);
	upstream_list_drop(p->upstreams);
	p->upstreams = upstream_list_hold(list);
	p->forwards_nothing = list->forwards_nothing && list->count == 0;
	if (forward_stage_set_upstreams(p->forward, list))
		cache_stage_forget_failures(p->cache);
}

void pipeline_configure(struct pipeline *p, struct config *config)
{
	struct gate *gate = gate_new(config);

	if (!gate)
		return; /* out of memory: the old configuration stays */
	gate_free(p->gate);
	p->gate = gate;
	config_drop(p->config);
	p->config = config_hold(config);
	nomad_stage_configure(p->nomad, config);
	cache_stage_configure(p->cache, config);
	forward_stage_configure(p->forward, config);
}

size_t pipeline_flush(struct pipeline *p, const uint8_t *name, size_t length)
{
	forward_stage_flush(p->forward, name, length);
	return cache_stage_flush(p->cache, name, length);
}

uint32_t pipeline_waiting_count(const struct pipeline *p)
{
	return query_count(p->table);
}

/* ---- what the forward stage brings ---- */

static void on_forward_reply(void *arg, const struct question *question, struct reply *reply)
{
	struct pipeline *p = arg;

	zone_read_begin(); /* until on_forward_end */
	if (reply)
		reply->image->has_private = rebind_has_private(reply->image);
	p->forwarded = reply ? cache_stage_keep(p->cache, question, reply, clock_now_ms(),
						&p->forwarded_ttl_max_s)
			     : NULL;
	p->answered_at_once = 0;
	if (!p->forwarded || !cache_stage_is_last_word(p->forwarded))
		cache_stage_note_failure(p->cache, question, clock_now_ms());
}

/* Ends a query that upstream failed: with what has expired, else as it was going to end. */
static void finish_failed(struct pipeline *p, struct query *query, struct answer *answer)
{
	pipeline_soften(p, query, VERDICT_FAILED, clock_now_ms(), answer);
	pipeline_finish(p, query, answer);
}

/* Of thousands that waited for one reply most get it from the cache, a burst each millisecond. */
static bool is_put_off(struct pipeline *p, struct query *query)
{
	if (p->answered_at_once++ < WAKE_AT_ONCE || !cache_stage_has_kept(p->cache))
		return false;
	query->stage = QUERY_AT_CACHE;
	list_append(&p->woken, &query->by_cause);
	return true;
}

static void on_forward_waiter(void *arg, struct query *query)
{
	struct pipeline *p = arg;
	struct answer answer;

	if (is_put_off(p, query))
		return;
	answer_init(&answer);
	answer.stage = METRIC_STAGE_FORWARD;
	answer.rcode = p->forwarded->rcode;
	answer.ede = p->forwarded->ede;
	answer.ede_text = image_ede_text(p->forwarded);
	answer.is_authentic = p->forwarded->flags & DNS_FLAG_AD;
	answer.ttl_max_s = p->forwarded_ttl_max_s;
	answer.image = p->forwarded;
	if (cache_stage_is_last_word(p->forwarded))
		pipeline_finish(p, query, &answer);
	else
		finish_failed(p, query, &answer);
}

static void on_forward_failed(void *arg, struct query *query, uint16_t ede, const char *ede_text)
{
	struct answer answer;

	answer_fail(&answer, METRIC_STAGE_FORWARD, ede, ede_text);
	finish_failed(arg, query, &answer);
}

static void on_forward_end(void *arg)
{
	struct pipeline *p = arg;

	p->forwarded = NULL;
	cache_stage_release(p->cache);
	if (!list_is_empty(&p->woken))
		uv_timer_start(&p->pacer, on_pacer, 1, 1);
	zone_read_end();
}

/* ---- time ---- */

static bool is_past_stale(const struct query *query, uint64_t now_ms)
{
	return query->stale_after_ms == PIPELINE_STALE_TRIED || now_ms >= query->stale_after_ms;
}

/* Host names that did not come count as failed. */
static void give_up_hosts(struct hosts *hosts)
{
	hosts->failed_count = (uint8_t)(hosts->failed_count + hosts->open_count);
	hosts->open_count = 0;
}

/* A query's time is up: the best that can be said now is said. */
static void expire(struct pipeline *p, struct query *query, uint64_t now_ms)
{
	struct answer answer;
	enum verdict verdict = VERDICT_PENDING;

	if (query->client.source != QUERY_INSIDE)
		metrics_add(p->doors.metrics, METRIC_QUERIES_EXPIRED, 1);
	if (query->stage == QUERY_AT_NOMAD) {
		if (query->hosts)
			give_up_hosts(query->hosts);
		query->nomad_outcome = NEED_LATE;
		verdict = pipeline_walk(p, query, now_ms, &answer);
	}
	/* Its answer has come and it was put off: its turn is now. */
	if (query->stage == QUERY_AT_CACHE)
		verdict = pipeline_walk(p, query, now_ms, &answer);
	if (verdict == VERDICT_ANSWERED) {
		pipeline_finish(p, query, &answer);
		return;
	}
	if (verdict == VERDICT_PENDING || verdict == VERDICT_PASS)
		answer_fail(&answer,
			    query->stage == QUERY_AT_NOMAD ? METRIC_STAGE_NOMAD
							   : METRIC_STAGE_FORWARD,
			    DNS_EDE_NO_REACHABLE_AUTHORITY, "no answer in time");
	finish_failed(p, query, &answer);
}

/* Some host name does not resolve: the instances that have addresses are better than waiting on. */
static void try_without_hosts(struct pipeline *p, struct query *query, uint64_t now_ms)
{
	uint8_t open_count = query->hosts->open_count, failed_count = query->hosts->failed_count;
	struct answer answer;

	give_up_hosts(query->hosts);
	if (pipeline_walk(p, query, now_ms, &answer) == VERDICT_ANSWERED) {
		pipeline_finish(p, query, &answer);
		return;
	}
	query->hosts->open_count = open_count;
	query->hosts->failed_count = failed_count;
}

/* Upstream is slow: the exchange goes on, and until its end everybody gets what has expired. */
static void try_expired(struct pipeline *p, struct query *query, uint64_t now_ms)
{
	struct answer answer;

	if (cache_stage_ask_stale(p->cache, query, now_ms, query->deadline_ms, &answer) ==
	    VERDICT_ANSWERED)
		pipeline_finish(p, query, &answer);
}

/* Nomad is slow: a client is better served with what we knew than with waiting on. Nothing known:
 * it waits on. */
static void try_stale(struct pipeline *p, struct query *query, uint64_t now_ms)
{
	struct answer answer;
	enum verdict verdict;

	query->stale_after_ms = PIPELINE_STALE_TRIED;
	if (query->stage == QUERY_AT_FORWARD) {
		try_expired(p, query, now_ms);
		return;
	}
	if (query->hosts) {
		try_without_hosts(p, query, now_ms);
		return;
	}
	if (query->nomad_outcome != NEED_NONE)
		return;
	query->nomad_outcome = NEED_LATE;
	verdict = pipeline_walk(p, query, now_ms, &answer);
	query->nomad_outcome = NEED_NONE;
	if (verdict == VERDICT_ANSWERED) {
		pipeline_finish(p, query, &answer);
	} else if (verdict == VERDICT_PENDING && query->hosts) {
		list_remove(&query->by_cause);
		query->nomad_outcome = NEED_LATE;
		pipeline_begin_hosts(p, query);
	}
}

/* Queries stand by age, and all of one configuration have the same time: the old ones are in front.
 */
static void on_tick(uv_timer_t *timer)
{
	struct pipeline *p = timer->data;
	uint64_t now_ms = clock_now_ms();
	struct query *query, *next;
	uint64_t next_id;

	zone_read_begin();
	while ((query = query_oldest(p->table)) && now_ms >= query->deadline_ms)
		expire(p, query, now_ms);
	for (; query && is_past_stale(query, now_ms);
	     query = next_id ? query_find(p->table, next_id) : NULL) {
		next = query_next(p->table, query);
		next_id = next ? next->id : 0;
		if (query->stale_after_ms != PIPELINE_STALE_TRIED)
			try_stale(p, query, now_ms);
	}
	zone_read_end();
}

void pipeline_start_ticking(struct pipeline *p)
{
	uv_timer_start(&p->tick, on_tick, TICK_MS, TICK_MS);
}

/* ---- making and closing ---- */

static bool open_stages(struct pipeline *p)
{
	struct forward_doors doors = { .loop = p->doors.loop,
				       .metrics = p->doors.metrics,
				       .on_reply = on_forward_reply,
				       .on_waiter = on_forward_waiter,
				       .on_failed = on_forward_failed,
				       .on_end = on_forward_end,
				       .arg = p };

	p->table = query_table_new(WAITING_MAX);
	p->gate = gate_new(p->config);
	p->nomad = nomad_stage_new(p->doors.zone, p->doors.worker, p->doors.send_need,
				   p->doors.send_need_arg);
	p->cache = cache_stage_new(p->config, p->doors.metrics);
	if (!p->table || !p->gate || !p->nomad || !p->cache)
		return false;
	nomad_stage_configure(p->nomad, p->config);
	p->forward = forward_stage_open(&doors, p->config);
	return p->forward;
}

static void free_pipeline(struct pipeline *p)
{
	cache_stage_free(p->cache);
	nomad_stage_free(p->nomad);
	gate_free(p->gate);
	query_table_free(p->table);
	upstream_list_drop(p->upstreams);
	config_drop(p->config);
	free(p);
}

struct pipeline *pipeline_open(const struct pipeline_doors *doors, struct config *config)
{
	struct pipeline *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->doors = *doors;
	p->config = config_hold(config);
	if (!open_stages(p)) {
		free_pipeline(p);
		return NULL;
	}
	list_init(&p->woken);
	uv_timer_init(doors->loop, &p->tick);
	uv_timer_init(doors->loop, &p->pacer);
	p->tick.data = p->pacer.data = p;
	return p;
}

static void on_part_closed(struct pipeline *p)
{
	void (*closed)(void *) = p->closed;
	void *arg = p->closed_arg;

	if (--p->open_handles)
		return;
	free_pipeline(p);
	closed(arg);
}

static void on_forward_closed(void *arg)
{
	on_part_closed(arg);
}

static void on_timer_closed(uv_handle_t *handle)
{
	on_part_closed(handle->data);
}

void pipeline_close(struct pipeline *p, void (*closed)(void *), void *arg)
{
	struct query *query;

	p->closed = closed;
	p->closed_arg = arg;
	while ((query = query_oldest(p->table))) {
		hosts_free(query->hosts);
		query_drop(p->table, query);
	}
	p->open_handles = 3;
	uv_close((uv_handle_t *)&p->tick, on_timer_closed);
	uv_close((uv_handle_t *)&p->pacer, on_timer_closed);
	forward_stage_close(p->forward, on_forward_closed, p);
}
