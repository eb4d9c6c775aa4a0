/*
 * Which tier there is. Nobody sets one: it follows from the sync and the alarm, and so does what
 * may be promised. It tells the readers (mirror_tier_publish) and, once a tier lasts, the operator;
 * it starts and stops nothing.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct mirror;

enum tier { TIER_LOOKUP, TIER_WATCH, TIER_STREAM };

struct tier_state {
	enum tier published, said; /* to the readers; to the operator */
	uint64_t since_ms;
	uint64_t said_ms;      /* when the last line about it was written … */
	unsigned said_count;   /* … and how many in a row; */
	unsigned change_count; /* since then */
	bool has_said, was_held;
};

enum tier mirror_tier(const struct mirror *mirror);
const char *mirror_tier_text(enum tier tier); /* "stream"; static */

/* Why there is no stream, for the operator; "": there is one, or none is wanted. */
const char *mirror_tier_why(const struct mirror *mirror);

/* There is no better tier to try for; there will soon be one. */
bool mirror_tier_is_best(const struct mirror *mirror);
bool mirror_tier_is_trying(const struct mirror *mirror);

/* Whether every name of a namespace (folded) is known. */
bool mirror_tier_knows_all(const struct mirror *mirror, const char *namespace_label);

/* Whether what was true at `index` is kept true from there on. */
bool mirror_tier_holds(const struct mirror *mirror, const char *namespace, uint64_t index);

/* After anything that may have moved the tier: the zone and the metrics hear of it. */
void mirror_tier_publish(struct mirror *mirror);

/* The stream fell behind, or is up with the table: while it is behind, no name is denied by what it
 * told before. */
void mirror_tier_publish_names(struct mirror *mirror);

uint64_t mirror_tier_tick(struct mirror *mirror, uint64_t now_ms);
