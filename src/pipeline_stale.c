/*
 * An answer that grows old. Popular ones are asked for anew before they expire; expired ones are
 * better than none while upstream fails or is late (RFC 8767).
 */
#include "pipeline_life.h"

#include "base/metrics.h"

/* A refresh is a courtesy: it never takes a place that a client may need. */
#define REFRESHES_BELOW 1024

enum verdict pipeline_soften(struct pipeline *p, const struct query *query, enum verdict verdict,
			     uint64_t now_ms, struct answer *out)
{
	struct answer stale;

	if (verdict != VERDICT_FAILED || query->stage != QUERY_AT_FORWARD ||
	    cache_stage_ask_stale(p->cache, query, now_ms, now_ms, &stale) != VERDICT_ANSWERED)
		return verdict;
	*out = stale;
	return VERDICT_ANSWERED;
}

void pipeline_refresh(struct pipeline *p, const struct query *query, uint64_t now_ms)
{
	struct query refresh = *query;
	struct answer ignored;

	if (query_count(p->table) >= REFRESHES_BELOW)
		return;
	refresh.id = 0;
	refresh.arrived_us = now_ms * 1000;
	refresh.deadline_ms = now_ms + p->config->forward_timeout_ms;
	refresh.stale_after_ms = PIPELINE_STALE_TRIED; /* nobody waits for it */
	refresh.stage = QUERY_AT_FORWARD;
	refresh.hosts = NULL;
	refresh.client = (struct query_client){ .source = QUERY_INSIDE };
	if (forward_stage_ask(p->forward, &refresh, now_ms, &ignored) != VERDICT_PENDING ||
	    pipeline_park(p, &refresh, now_ms, &ignored) != VERDICT_PENDING)
		return;
	metrics_add(p->doors.metrics, METRIC_CACHE_PREFETCHES, 1);
}
