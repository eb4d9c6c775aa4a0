#include "forward/upstream.h"

#include <stdlib.h>

#include "dns/name.h"
#include "forward/loop.h"

/* Two retries and a handshake fit into 300 ms, and a resolver that has to look further, 150 ms say,
 * is asked once. */
#define PATIENCE_MIN_MS 170
#define RETRY_PATIENCE_MIN_MS 45
/* For one that has never answered: it is slow rather than lossy. */
#define RETRY_PATIENCE_UNKNOWN_MS 600
#define PATIENCE_MAX_MS 1500
#define PROBE_EVERY_MS 1000
#define SETBACKS_MAX 8	       /* more say nothing new */
#define REFUSALS_OF_ONE_NAME 2 /* in a row; one more and it is the server */
#define IN_CLEAR_RANK 1000     /* beyond all other ranks */
#define SLOW_MS 150	       /* behind twice the fastest */
#define FOLDING_KEPT_MS 600000 /* then it is asked in mixed case again */
#define NO_EDNS_KEPT_MS 600000
#define OUTLIER_FLOOR_MS 100

struct seen {
	bool has_rtt;
	uint64_t rtt_ms, variation_ms; /* smoothed, as TCP's (RFC 6298 §2) */
	unsigned setbacks;	       /* since its last answer; 0: trusted */
	unsigned refusals;	       /* in a row */
	uint64_t probe_due_ms;
	uint64_t folds_case_until_ms;
	uint64_t refuses_edns_until_ms;
};

struct upstream_health {
	struct upstream_list *list;
	struct seen seen[]; /* one per upstream */
};

struct upstream_health *upstream_health_new(struct upstream_list *list)
{
	struct upstream_health *health =
		calloc(1, sizeof(*health) + list->count * sizeof(health->seen[0]));

	if (health)
		health->list = upstream_list_hold(list);
	return health;
}

void upstream_health_free(struct upstream_health *health)
{
	if (!health)
		return;
	upstream_list_drop(health->list);
	free(health);
}

struct upstream_list *upstream_health_list(const struct upstream_health *health)
{
	return health->list;
}

/* Whether an upstream is meant for a name whose longest domain of the list has that length. */
static bool is_meant_for(const struct upstream *upstream, int domain_length, const uint8_t *folded,
			 size_t length)
{
	if ((int)upstream->domain_length != domain_length)
		return false;
	/* A domain of the same length that holds the name is the same domain; another is not. */
	return domain_length == 0 ||
	       name_is_in(folded, length, upstream->domain, upstream->domain_length);
}

/* The shortest round trip among the trusted that are meant for the name; UINT64_MAX: unknown. */
static uint64_t find_fastest(const struct upstream_health *health, int domain_length,
			     const uint8_t *folded, size_t length)
{
	const struct upstream_list *list = health->list;
	uint64_t fastest_ms = UINT64_MAX;

	for (size_t i = 0; i < list->count; i++) {
		const struct seen *seen = &health->seen[i];

		if (seen->has_rtt && seen->setbacks == 0 && seen->rtt_ms < fastest_ms &&
		    is_meant_for(&list->upstream[i], domain_length, folded, length))
			fastest_ms = seen->rtt_ms;
	}
	return fastest_ms;
}

static bool is_slow(const struct seen *seen, uint64_t fastest_ms)
{
	return seen->has_rtt && fastest_ms != UINT64_MAX && seen->rtt_ms > fastest_ms * 2 + SLOW_MS;
}

/* Less is better; among equals the order of the list counts. One that was asked already is asked
 * again before one that has long been silent. */
static unsigned rank(const struct seen *seen, bool was_asked, uint64_t fastest_ms)
{
	return seen->setbacks * 2 + (was_asked ? 4 : 0) + (is_slow(seen, fastest_ms) ? 3 : 0);
}

int upstream_choose(const struct upstream_health *health, const uint8_t *folded, size_t length,
		    uint64_t excluded, uint64_t asked, uint64_t now_ms)
{
	const struct upstream_list *list = health->list;
	int domain_length = upstream_list_match(list, folded, length);
	uint64_t fastest_ms = find_fastest(health, domain_length, folded, length);
	unsigned best_rank = 0;
	int best = -1;

	for (size_t i = 0; i < list->count && i < UPSTREAM_MAX; i++) {
		unsigned its_rank = rank(&health->seen[i], asked >> i & 1, fastest_ms);

		/* Whoever lists TLS wants it: in clear is for when that was tried in vain. */
		if (!list->upstream[i].is_tls)
			its_rank += IN_CLEAR_RANK;
		if ((excluded >> i & 1) || loop_is_known(&list->upstream[i], now_ms) ||
		    !is_meant_for(&list->upstream[i], domain_length, folded, length))
			continue;
		if (best < 0 || its_rank < best_rank) {
			best = (int)i;
			best_rank = its_rank;
		}
	}
	return best;
}

int upstream_choose_probe(struct upstream_health *health, const uint8_t *folded, size_t length,
			  int chosen, uint64_t now_ms)
{
	const struct upstream_list *list = health->list;
	int domain_length = upstream_list_match(list, folded, length);
	uint64_t fastest_ms = find_fastest(health, domain_length, folded, length);

	for (size_t i = 0; i < list->count && i < UPSTREAM_MAX; i++) {
		struct seen *seen = &health->seen[i];

		if ((int)i == chosen || now_ms < seen->probe_due_ms ||
		    (chosen >= 0 && list->upstream[chosen].is_tls && !list->upstream[i].is_tls) ||
		    loop_is_known(&list->upstream[i], now_ms) ||
		    (seen->setbacks == 0 && !is_slow(seen, fastest_ms)) ||
		    !is_meant_for(&list->upstream[i], domain_length, folded, length))
			continue;
		seen->probe_due_ms = now_ms + PROBE_EVERY_MS;
		return (int)i;
	}
	return -1;
}

static uint64_t clamp_patience(uint64_t patience_ms, uint64_t least_ms)
{
	if (patience_ms < least_ms)
		return least_ms;
	return patience_ms > PATIENCE_MAX_MS ? PATIENCE_MAX_MS : patience_ms;
}

uint64_t upstream_patience_ms(const struct upstream_health *health, int upstream)
{
	const struct seen *seen = &health->seen[upstream];

	return clamp_patience(seen->rtt_ms * 3 + seen->variation_ms * 4, PATIENCE_MIN_MS);
}

uint64_t upstream_retry_patience_ms(const struct upstream_health *health, int upstream)
{
	const struct seen *seen = &health->seen[upstream];

	if (!seen->has_rtt)
		return RETRY_PATIENCE_UNKNOWN_MS;
	return clamp_patience((seen->rtt_ms * 3 + seen->variation_ms * 4) / 2,
			      RETRY_PATIENCE_MIN_MS);
}

/* One late answer alone must not make the next loss cost a second: what is far out counts in
 * part, and if it goes on it counts soon. */
static void take_round_trip(struct seen *seen, uint64_t took_ms)
{
	uint64_t most_ms = seen->rtt_ms * 4 + OUTLIER_FLOOR_MS, off_ms;

	if (!seen->has_rtt) {
		seen->has_rtt = true;
		seen->rtt_ms = took_ms;
		seen->variation_ms = took_ms / 2;
		return;
	}
	if (took_ms > most_ms)
		took_ms = most_ms;
	off_ms = took_ms > seen->rtt_ms ? took_ms - seen->rtt_ms : seen->rtt_ms - took_ms;
	seen->variation_ms = (seen->variation_ms * 3 + off_ms) / 4;
	if (took_ms > seen->rtt_ms)
		seen->rtt_ms = (seen->rtt_ms * 7 + took_ms + 4) / 8;
	else
		seen->rtt_ms = (seen->rtt_ms * 3 + took_ms) / 4;
}

static void take_setback(struct seen *seen)
{
	if (seen->setbacks < SETBACKS_MAX)
		seen->setbacks++;
}

void upstream_answered(struct upstream_health *health, int upstream, uint64_t took_ms)
{
	struct seen *seen = &health->seen[upstream];

	take_round_trip(seen, took_ms);
	if (seen->setbacks > 0)
		seen->probe_due_ms = 0; /* the next doubt may be looked into at once */
	seen->setbacks = 0;
	seen->refusals = 0;
}

void upstream_refused(struct upstream_health *health, int upstream, uint64_t took_ms)
{
	struct seen *seen = &health->seen[upstream];

	take_round_trip(seen, took_ms);
	if (seen->refusals < REFUSALS_OF_ONE_NAME)
		seen->refusals++;
	else
		take_setback(seen);
}

void upstream_was_late(struct upstream_health *health, int upstream)
{
	take_setback(&health->seen[upstream]);
}

void upstream_failed(struct upstream_health *health, int upstream)
{
	take_setback(&health->seen[upstream]);
}

bool upstream_folds_case(const struct upstream_health *health, int upstream, uint64_t now_ms)
{
	return now_ms < health->seen[upstream].folds_case_until_ms;
}

void upstream_has_folded(struct upstream_health *health, int upstream, uint64_t now_ms)
{
	health->seen[upstream].folds_case_until_ms = now_ms + FOLDING_KEPT_MS;
}

bool upstream_refuses_edns(const struct upstream_health *health, int upstream, uint64_t now_ms)
{
	return now_ms < health->seen[upstream].refuses_edns_until_ms;
}

void upstream_has_refused_edns(struct upstream_health *health, int upstream, uint64_t now_ms)
{
	health->seen[upstream].refuses_edns_until_ms = now_ms + NO_EDNS_KEPT_MS;
}
