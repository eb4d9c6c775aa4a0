#include "forward/forward_stage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/descriptors.h"
#include "base/list.h"
#include "base/log.h"
#include "base/metrics.h"
#include "config/config.h"
#include "dns/name.h"
#include "forward/era.h"
#include "forward/exchange.h"
#include "forward/failures.h"
#include "forward/forward_parts.h"
#include "forward/loop.h"
#include "forward/turns.h"
#include "forward/work.h"
#include "forward/works.h"

#define EXCHANGES_MIN 16 /* that may begin, however few sockets there are */
#define LOOP_TEXT "upstream leads back to this resolver"

static void on_era_gone(void *arg)
{
	struct forward_stage *stage = arg;

	stage->era_count--;
	forward_stage_free_if_closed(stage);
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
							 .on_done = work_on_done,
							 .on_closed = work_on_closed,
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

void forward_stage_free_if_closed(struct forward_stage *stage)
{
	if (stage->udp || !list_is_empty(&stage->works.all) || stage->era_count > 0)
		return;
	work_free_spare(stage);
	free(stage->zones);
	stage->closed(stage->closed_arg);
	free(stage);
}

static void on_udp_closed(void *arg)
{
	struct forward_stage *stage = arg;

	stage->udp = NULL;
	forward_stage_free_if_closed(stage);
}

void forward_stage_close(struct forward_stage *stage, void (*closed)(void *), void *arg)
{
	struct turn *turn;

	stage->is_closing = true;
	stage->closed = closed;
	stage->closed_arg = arg;
	while ((turn = turns_pop(&stage->turns)))
		work_drop(list_entry(turn, struct work, turn));
	list_for_each (node, &stage->works.all)
		work_abort(list_entry(node, struct work, entry.by_works));
	era_drop(stage->era);
	stage->era = NULL;
	exchange_udp_pool_close(stage->udp, on_udp_closed, stage);
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
	list_for_each (node, &stage->works.all)
		work_redirect(list_entry(node, struct work, entry.by_works), now_ms);
	return true;
}

void forward_stage_flush(struct forward_stage *stage, const uint8_t *name, size_t length)
{
	failures_clear(&stage->failures);
	list_for_each (node, &stage->works.all)
		work_flush(list_entry(node, struct work, entry.by_works), name, length);
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

bool forward_stage_leads_only_back(const struct forward_stage *stage,
				   const struct question *question, uint64_t now_ms)
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
	if (loop >= 0 || forward_stage_leads_only_back(stage, question, now_ms)) {
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

static enum verdict refuse(struct forward_stage *stage, struct answer *out)
{
	metrics_add(stage->doors.metrics, METRIC_QUERIES_OVER_LIMIT, 1);
	answer_fail(out, METRIC_STAGE_FORWARD, DNS_EDE_OTHER, "too many questions under way");
	return VERDICT_FAILED;
}

enum verdict forward_stage_wait(struct forward_stage *stage, struct query *query, uint64_t now_ms,
				struct answer *out)
{
	uint64_t hash = works_hash(&stage->works, &query->question);
	struct works_entry *same = works_find(&stage->works, hash, &query->question);

	if (same) {
		work_join(list_entry(same, struct work, entry), query, now_ms);
		metrics_add(stage->doors.metrics, METRIC_UPSTREAM_COALESCED, 1);
		return VERDICT_PENDING;
	}
	if (!stage->era || stage->is_closing || !work_begin(stage, query, hash, now_ms))
		return refuse(stage, out);
	return VERDICT_PENDING;
}
