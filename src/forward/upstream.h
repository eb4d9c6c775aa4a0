/*
 * The choice among the resolvers of a list by what was seen of each (late, failing, refusing).
 * Pure: no socket, time is an argument. The memory of how each upstream behaves is each worker's
 * own.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "forward/upstream_list.h"

/* What one worker has seen of the upstreams of one list. */
struct upstream_health;

/* Holds the list for as long as it lives. NULL: out of memory. */
struct upstream_health *upstream_health_new(struct upstream_list *list);
void upstream_health_free(struct upstream_health *health);
struct upstream_list *upstream_health_list(const struct upstream_health *health);

/*
 * The upstream to ask next for a folded name: of the longest matching domain's servers, the first
 * of the list that is trusted and not much slower than the fastest; else the one with the fewest
 * setbacks since it last answered. None of those that `excluded` holds (a bit per index); those
 * that `asked` holds come after others that may answer, and none that leads back to us. Its index,
 * or -1.
 */
int upstream_choose(const struct upstream_health *health, const uint8_t *folded, size_t length,
		    uint64_t excluded, uint64_t asked, uint64_t now_ms);

/*
 * One that is passed over (it was late, failed, is slow) and meant for this name too: it is sent
 * the question that goes to `chosen` as well, to see whether it is back, and nobody waits for it.
 * At most one a second each, but the first doubt is looked into at once: a single bad name
 * condemns no upstream. -1: none is due.
 */
int upstream_choose_probe(struct upstream_health *health, const uint8_t *folded, size_t length,
			  int chosen, uint64_t now_ms);

/* How long to wait for this one before the question is sent again, in ms: 170…1,500 by its round
 * trips; and how long then, when something was lost already: 45…1,500, and 600 for one of which
 * nothing is known. */
uint64_t upstream_patience_ms(const struct upstream_health *health, int upstream);
uint64_t upstream_retry_patience_ms(const struct upstream_health *health, int upstream);

/*
 * What came of asking: any answer, however late, which ends all doubt; a reply that refuses
 * (SERVFAIL, REFUSED: a few in a row are a setback, for one or two may lie with the name); none
 * within the patience; an error of the network.
 */
void upstream_answered(struct upstream_health *health, int upstream, uint64_t took_ms);
void upstream_refused(struct upstream_health *health, int upstream, uint64_t took_ms);
void upstream_was_late(struct upstream_health *health, int upstream);
void upstream_failed(struct upstream_health *health, int upstream);

/* Whether it is known to give the question back in another case than it came (then it is asked in
 * lower case); remembered for 10 minutes. */
bool upstream_folds_case(const struct upstream_health *health, int upstream, uint64_t now_ms);
void upstream_has_folded(struct upstream_health *health, int upstream, uint64_t now_ms);

/* Whether it is known to answer only questions without EDNS; remembered for 10 minutes. */
bool upstream_refuses_edns(const struct upstream_health *health, int upstream, uint64_t now_ms);
void upstream_has_refused_edns(struct upstream_health *health, int upstream, uint64_t now_ms);
