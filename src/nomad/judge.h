/*
 * What may be answered now: the rules of freshness, outages and refusals, and nothing else.
 * Everything the nomad stage says of a name passes here first. Pure: time is an argument.
 */
#pragma once

#include <stdint.h>

#include "dns/answer.h"
#include "nomad/zone.h"
#include "query/query.h"

/*
 * Judges what is known of `name` (NULL: nothing). ANSWERED: its state may be answered now (NULL:
 * that it does not exist), and `out` is marked stale where it must be (RFC 8767). PENDING: Nomad is
 * to be asked. FAILED: that is no use, `out` holds SERVFAIL and why.
 */
enum verdict judge_name(const struct zone *zone, const struct query *query,
			const struct zone_name *name, uint64_t now_ms, struct answer *out);

/*
 * What was ANSWERED is that there is no such name: makes it an NXDOMAIN, marked stale where it must
 * be. FAILED, with SERVFAIL in `out`, when only a refused token keeps us from knowing better.
 */
enum verdict judge_denial(const struct query *query, struct answer *out);

/* Marks an answer as the last good one: TTLs of at most 30 s, and `ede`. */
void judge_mark_stale(struct answer *out, uint16_t ede);
