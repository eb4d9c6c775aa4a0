/*
 * A packet becomes a question (question_parse), the door may answer it (gate), then it walks the
 * corridor (walk): nomad → cache → forward. A stage that answers ends the walk. A stage that must
 * wait gets the query parked and calls back, and the query walks on from there. However it ends, it
 * passes `farewell` once: one reply, one line in the books.
 */
#include "pipeline.h"

#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "dns/message.h"
#include "nomad/hosts.h"
#include "pipeline_life.h"
#include "query/query_log.h"
#include "query/rebind.h"

#define TICK_MS 50		/* how exactly deadlines are kept */
#define STALE_AFTER_MAX_MS 1800 /* RFC 8767 §5: then a stale answer is better than waiting */

/* ---- the corridor ---- */

enum verdict pipeline_walk(struct pipeline *p, struct query *query, uint64_t now_ms,
			   struct answer *out)
{
	enum verdict verdict;
	bool is_due = false;

	switch (query->stage) {
	case QUERY_AT_NOMAD:
		verdict = nomad_stage_ask(p->nomad, query, now_ms, out);
		if (verdict == VERDICT_PASS)
			verdict = gate_ask_private(p->gate, query, out);
		if (verdict != VERDICT_PASS)
			return verdict;
		query->stage = QUERY_AT_CACHE;
		/* fall through */
	case QUERY_AT_CACHE:
		verdict = cache_stage_ask(p->cache, query, now_ms, out, &is_due);
		if (is_due)
			pipeline_refresh(p, query, now_ms);
		if (verdict != VERDICT_PASS)
			return verdict;
		query->stage = QUERY_AT_FORWARD;
		/* fall through */
	case QUERY_AT_FORWARD:
		verdict = forward_stage_ask(p->forward, query, now_ms, out);
		return pipeline_soften(p, query, verdict, now_ms, out);
	}
	return VERDICT_PASS;
}

/* Makes a parked query wait at its stage. Not PENDING: it cannot wait, and `out` says why. */
static enum verdict wait_at_stage(struct pipeline *p, struct query *query, uint64_t now_ms,
				  struct answer *out)
{
	if (query->stage == QUERY_AT_FORWARD)
		return pipeline_soften(p, query, forward_stage_wait(p->forward, query, now_ms, out),
				       now_ms, out);
	return nomad_stage_wait(p->nomad, query, now_ms, out);
}

/* ---- farewell ---- */

/* Encodes the reply and keeps the books. Returns its length. */
static size_t farewell(struct pipeline *p, const struct query *query, struct answer *answer,
		       uint8_t *out, size_t capacity)
{
	const struct question *question = &query->question;
	bool over_tcp = query->client.source == QUERY_TCP;
	size_t limit = over_tcp ? DNS_MESSAGE_MAX : question->udp_limit;
	struct message_result result;

	if (rebind_is_forbidden(p->config, question, answer)) {
		rebind_empty(answer);
		metrics_add(p->doors.metrics, METRIC_REBINDS_BLOCKED, 1);
	}
	answer->no_recursion |= p->forwards_nothing;
	result = message_encode(question, answer, gate_identity(p->gate), &query->client.peer,
				question->cookie_length ? (uint32_t)clock_wall_s() : 0, over_tcp,
				min_size(limit, capacity), out);
	metrics_add(p->doors.metrics, metric_response(answer->stage, answer->rcode), 1);
	if (result.is_truncated)
		metrics_add(p->doors.metrics, METRIC_RESPONSES_TRUNCATED, 1);
	if (result.is_cut)
		metrics_add(p->doors.metrics, METRIC_RESPONSES_CUT_64K, 1);
	if (answer->is_stale)
		metrics_add(p->doors.metrics,
			    answer->stage == METRIC_STAGE_NOMAD ? METRIC_STALE_NOMAD
								: METRIC_STALE_CACHE,
			    1);
	if (p->config->log_queries != CONFIG_LOG_QUERIES_OFF)
		query_log_write(p->config->log_queries, query, answer, load_be16(out + 2),
				result.length, clock_now_us());
	return result.length;
}

static void count_waiting(const struct pipeline *p)
{
	metrics_set(p->doors.metrics, METRIC_QUERIES_WAITING, query_count(p->table));
}

static void drop(struct pipeline *p, struct query *query)
{
	hosts_free(query->hosts);
	query->hosts = NULL;
	query_drop(p->table, query);
	count_waiting(p);
	if (query_count(p->table) == 0)
		uv_timer_stop(&p->tick);
}

/* Ends a query that waited. */
void pipeline_finish(struct pipeline *p, struct query *query, struct answer *answer)
{
	if (query->client.source == QUERY_INSIDE) {
		struct query child =
			*query; /* its place may be taken again before the parent is answered */

		child.hosts = NULL;
		drop(p, query);
		pipeline_bring_to_parent(p, &child, answer);
		return;
	}
	p->doors.send(p->doors.send_arg, &query->client, p->reply,
		      farewell(p, query, answer, p->reply, sizeof(p->reply)));
	metrics_observe(p->doors.metrics, METRIC_REQUEST_DURATION,
			clock_now_us() - query->arrived_us, 1);
	drop(p, query);
}

/* ---- waiting ---- */

/* A query walked up to a stage that has to wait: parks it and makes it wait. PENDING, or the answer
 * is in `out`. */
enum verdict pipeline_park(struct pipeline *p, struct query *query, uint64_t now_ms,
			   struct answer *out)
{
	struct query *parked = query_park(p->table, query);
	enum verdict verdict;

	if (!parked) {
		metrics_add(p->doors.metrics, METRIC_QUERIES_OVER_LIMIT, 1);
		hosts_free(query->hosts);
		answer_fail(out, METRIC_STAGE_NONE, DNS_EDE_OTHER, "too many queries are waiting");
		return pipeline_soften(p, query, VERDICT_FAILED, now_ms, out);
	}
	count_waiting(p);
	if (query_count(p->table) == 1)
		pipeline_start_ticking(p);
	verdict = wait_at_stage(p, parked, now_ms, out);
	if (verdict != VERDICT_PENDING)
		drop(p, parked);
	else if (parked->hosts)
		pipeline_begin_hosts(p, parked);
	return verdict;
}

/* Walks a parked query on, from the stage it waited at. */
void pipeline_resume(struct pipeline *p, struct query *query)
{
	uint64_t now_ms = clock_now_ms();
	struct answer answer;
	bool had_hosts = query->hosts;
	enum verdict verdict = pipeline_walk(p, query, now_ms, &answer);

	if (verdict == VERDICT_PENDING)
		verdict = wait_at_stage(p, query, now_ms, &answer);
	if (verdict != VERDICT_PENDING)
		pipeline_finish(p, query, &answer);
	else if (query->hosts && !had_hosts)
		pipeline_begin_hosts(p, query);
}

/* ---- a packet arrives ---- */

/* A message that is no question for the pipeline: a bare header or a lone OPT, by its form. */
static size_t refuse(struct pipeline *p, const struct question *question,
		     enum question_verdict form, const struct query_client *client, uint8_t *out)
{
	size_t length = message_encode_refusal(question, form, gate_identity(p->gate),
					       &client->peer, (uint32_t)clock_wall_s(), out);
	unsigned rcode =
		form == QUESTION_BADVERS ? DNS_BADVERS : load_be16(out + 2) & DNS_RCODE_MASK;

	metrics_add(p->doors.metrics, metric_response(METRIC_STAGE_NONE, rcode), 1);
	return length;
}

size_t pipeline_ask(struct pipeline *p, const struct query_client *client, const uint8_t *packet,
		    size_t length, uint64_t now_us, uint8_t *out, size_t capacity)
{
	uint64_t now_ms = now_us / 1000;
	struct query query;
	struct answer answer;
	enum question_verdict form = question_parse(packet, length, &query.question);
	enum verdict verdict;

	if (query.question.has_bad_keepalive && client->source == QUERY_TCP)
		form = QUESTION_FORMERR;
	if (form == QUESTION_DROP) {
		metrics_add(p->doors.metrics, METRIC_REQUESTS_DROPPED, 1);
		return 0;
	}
	metrics_add(p->doors.metrics,
		    client->source == QUERY_TCP ? METRIC_REQUESTS_TCP : METRIC_REQUESTS_UDP, 1);
	if (form != QUESTION_OK)
		return refuse(p, &query.question, form, client, out);
	query.id = 0;
	query.arrived_us = now_us;
	query.deadline_ms = now_ms + p->config->forward_timeout_ms;
	query.stale_after_ms =
		now_ms + min_size(p->config->forward_timeout_ms / 2, STALE_AFTER_MAX_MS);
	query.stage = QUERY_AT_NOMAD;
	query.nomad_outcome = NEED_NONE;
	query.turns = 0;
	query.client = *client;
	query.hosts = NULL;
	verdict = gate_ask(p->gate, &query, &answer);
	if (verdict == VERDICT_PASS)
		verdict = pipeline_walk(p, &query, now_ms, &answer);
	else if (answer.ede == DNS_EDE_PROHIBITED)
		metrics_add(p->doors.metrics, METRIC_REQUESTS_REFUSED_SOURCE, 1);
	if (verdict == VERDICT_PENDING)
		verdict = pipeline_park(p, &query, now_ms, &answer);
	return verdict == VERDICT_PENDING ? 0 : farewell(p, &query, &answer, out, capacity);
}
