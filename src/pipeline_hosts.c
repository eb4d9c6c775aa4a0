/*
 * Instances whose Nomad address is a host name: the pipeline asks itself. Each name becomes a query
 * of its own that walks the same corridor; its answer goes to the query that waits for it instead
 * of to a client.
 */
#include "pipeline_life.h"

#include <string.h>

#include "base/clock.h"
#include "nomad/hosts.h"

/* An answer to one of our own questions goes to the query that waits for it. */
void pipeline_bring_to_parent(struct pipeline *p, const struct query *query,
			      const struct answer *answer)
{
	struct query *parent = query_find(p->table, query->client.parent);

	if (!parent || !parent->hosts)
		return;
	hosts_take(parent->hosts, answer, p->config->ttl_s);
	if (parent->hosts->open_count == 0)
		pipeline_resume(p, parent);
}

static void begin_inside(struct pipeline *p, struct query *parent, unsigned part)
{
	const struct hosts *hosts = parent->hosts;
	struct question *question;
	struct query query = { .arrived_us = parent->arrived_us,
			       .deadline_ms = parent->deadline_ms,
			       .stale_after_ms = parent->stale_after_ms };
	struct answer answer;
	enum verdict verdict;

	query.client =
		(struct query_client){ .source = QUERY_INSIDE, .parent = parent->id, .part = part };
	query.client.peer = parent->client.peer;
	question = &query.question;
	question->type = hosts->type;
	question->qclass = DNS_CLASS_IN;
	question->name_length = hosts->name_length[part];
	memcpy(question->name, hosts->name[part], question->name_length);
	memcpy(question->folded, hosts->name[part], question->name_length);
	verdict = gate_ask(p->gate, &query, &answer);
	if (verdict == VERDICT_PASS)
		verdict = pipeline_walk(p, &query, clock_now_ms(), &answer);
	if (verdict == VERDICT_PENDING)
		verdict = pipeline_park(p, &query, clock_now_ms(), &answer);
	if (verdict != VERDICT_PENDING)
		hosts_take(parent->hosts, &answer, p->config->ttl_s);
}

/* Asks for every host name a parked query needs; the last one that comes resumes it, perhaps before
 * this returns. */
void pipeline_begin_hosts(struct pipeline *p, struct query *parent)
{
	unsigned count = parent->hosts->name_count;

	parent->hosts->open_count++; /* ours, so that the parent stays until all are asked */
	for (unsigned i = 0; i < count; i++)
		begin_inside(p, parent, i);
	if (--parent->hosts->open_count == 0)
		pipeline_resume(p, parent);
}
