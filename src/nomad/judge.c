#include "nomad/judge.h"

#include "base/metrics.h"
#include "nomad/need.h"
#include "nomad/zone_settings.h"

#define STALE_TTL_MAX_S 30 /* RFC 8767 §4 */
#define TURNS_MAX 3	   /* words that did not settle a question: then Nomad contradicts itself */

void judge_mark_stale(struct answer *out, uint16_t ede)
{
	out->is_stale = true;
	out->ttl_max_s = STALE_TTL_MAX_S;
	out->ede = ede;
}

static enum verdict fail(struct answer *out, enum need_outcome outcome, enum zone_nomad nomad)
{
	uint16_t ede = DNS_EDE_NO_REACHABLE_AUTHORITY;
	const char *text = "Nomad cannot be reached";

	switch (outcome) {
	case NEED_DENIED:
		ede = DNS_EDE_OTHER;
		text = "Nomad refuses the token for this namespace";
		break;
	case NEED_OVER_LIMIT:
		ede = DNS_EDE_OTHER;
		text = "too many unknown names are being looked up";
		break;
	case NEED_LATE:
		text = "Nomad did not answer in time";
		break;
	case NEED_CAME:
		text = "Nomad's answers contradict each other";
		break;
	case NEED_NONE:
	case NEED_LOST:
	case NEED_NOT_READY:
		break;
	}
	if ((nomad == ZONE_NOMAD_SILENT || outcome == NEED_NOT_READY) && outcome != NEED_DENIED &&
	    outcome != NEED_OVER_LIMIT) {
		ede = DNS_EDE_NOT_READY;
		text = "no word from Nomad yet";
	}
	answer_fail(out, METRIC_STAGE_NOMAD, ede, text);
	return VERDICT_FAILED;
}

static bool was_refused(const struct query *query, enum zone_nomad nomad)
{
	switch ((enum need_outcome)query->nomad_outcome) {
	case NEED_NONE:
	case NEED_CAME:
		return nomad == ZONE_NOMAD_LOST;
	case NEED_LOST:
	case NEED_DENIED:
	case NEED_NOT_READY:
	case NEED_OVER_LIMIT:
	case NEED_LATE:
		return true;
	}
	return true;
}

enum verdict judge_denial(const struct query *query, struct answer *out)
{
	if (query->nomad_outcome == NEED_DENIED && out->is_stale)
		return fail(out, NEED_DENIED, ZONE_NOMAD_DENIED);
	out->rcode = DNS_NXDOMAIN;
	if (out->ede == DNS_EDE_STALE_ANSWER)
		out->ede = DNS_EDE_STALE_NXDOMAIN;
	return VERDICT_ANSWERED;
}

struct life { /* of what is known of a name, as it stands now */
	uint64_t fresh_until_ms, stale_until_ms;
};

/* A live name is fresh while its term lasts. After that it counts as heard last when the term
 * ended, so that losing the stream is one store and not one for each name. */
static struct life life_of(const struct zone *zone, const struct zone_name *name)
{
	struct life life = {
		.fresh_until_ms = atomic_load_explicit(&name->fresh_until_ms, memory_order_acquire),
		.stale_until_ms = atomic_load_explicit(&name->stale_until_ms, memory_order_relaxed),
	};
	uint64_t end, stale_until_ms;

	if (life.fresh_until_ms != ZONE_LIVE)
		return life;
	end = zone_live_end(zone, atomic_load_explicit(&name->live_term, memory_order_relaxed));
	if (end == ZONE_LIVE)
		return (struct life){ ZONE_LIVE, ZONE_LIVE };
	life.fresh_until_ms = 0;
	stale_until_ms = end ? end + zone_settings(zone)->max_stale_ms : 0;
	if (life.stale_until_ms < stale_until_ms)
		life.stale_until_ms = stale_until_ms;
	return life;
}

/* Whether `name` is still the truth. While Nomad is out of reach nothing stays true: then even what
 * has no end only lives as long as stale names. */
static bool is_true_at(const struct life *life, bool is_out, uint64_t now_ms)
{
	return now_ms < life->fresh_until_ms && (!is_out || now_ms < life->stale_until_ms);
}

/* Whether the zone held every name there is when Nomad was heard last, and that still counts: then
 * one it does not hold does not exist. */
static bool is_complete(const struct zone *zone, const struct query *query, uint64_t now_ms)
{
	enum zone_nomad nomad = zone_nomad(zone);
	uint64_t end = zone_names_end(zone);

	if (end == ZONE_LIVE)
		return nomad != ZONE_NOMAD_DENIED;
	return end != 0 && nomad == ZONE_NOMAD_LOST && query->nomad_outcome != NEED_DENIED &&
	       now_ms < end + zone_settings(zone)->max_stale_ms;
}

static bool can_be_told_by_names(const struct zone_name *name)
{
	return !name || name->state == ZONE_ABSENT ||
	       (name->kind == ZONE_NAMESPACE && name->state == ZONE_LOADED);
}

enum verdict judge_name(const struct zone *zone, const struct query *query,
			const struct zone_name *name, uint64_t now_ms, struct answer *out)
{
	enum zone_nomad nomad = zone_nomad(zone);
	struct life life = name ? life_of(zone, name) : (struct life){ 0, 0 };
	bool is_lost = was_refused(query, nomad);
	bool is_new = query->nomad_outcome == NEED_CAME; /* a word came for this very question */
	bool is_out = nomad == ZONE_NOMAD_LOST || nomad == ZONE_NOMAD_DENIED;
	bool is_fresh = name && (is_new || is_true_at(&life, is_out, now_ms));
	bool is_known = name && (name->state == ZONE_LOADED || name->state == ZONE_ABSENT);

	if (is_fresh && name->state == ZONE_DENIED)
		return fail(out, NEED_DENIED, nomad);
	if (is_fresh && is_known) {
		if (is_out || atomic_load_explicit(&name->is_leaderless, memory_order_relaxed))
			judge_mark_stale(out, DNS_EDE_STALE_ANSWER);
		return VERDICT_ANSWERED;
	}
	if ((is_lost && is_known && now_ms < life.stale_until_ms) ||
	    (can_be_told_by_names(name) && is_complete(zone, query, now_ms))) {
		if (is_lost || is_out)
			judge_mark_stale(out, DNS_EDE_STALE_ANSWER);
		return VERDICT_ANSWERED;
	}
	if (is_lost || query->turns > TURNS_MAX)
		return fail(out, (enum need_outcome)query->nomad_outcome, nomad);
	return VERDICT_PENDING;
}
