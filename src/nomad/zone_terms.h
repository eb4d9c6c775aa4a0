/*
 * When the terms of live names ended (zone.h). A term ends at every wake, ten times a second where
 * much happens, and a name may be asked for long after: so of the last 255 each end is remembered,
 * and of older ones that of a block of 16, 256, 4096 … Such an end is the latest in its block: up
 * to a sixteenth of the terms since then too late, never too early. One thread writes; readers take
 * no lock.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define ZONE_TERM_LEVELS 7 /* enough for all there may be */
#define ZONE_TERM_SLOTS 256

struct zone_terms { /* begins as zeros: term 0, not live */
	atomic_uint now;
	_Atomic uint64_t end[ZONE_TERM_LEVELS][ZONE_TERM_SLOTS];
};

/* The term that is now. */
unsigned zone_terms_now(const struct zone_terms *terms);

/* When it ended; ZONE_LIVE: it has not; 0: it never was live. */
uint64_t zone_terms_end(const struct zone_terms *terms, unsigned term);

/* The term that is now is live (ZONE_LIVE), or ended at `end`, which is not before any other. */
void zone_terms_set_end(struct zone_terms *terms, uint64_t end);

/* Another term begins. */
void zone_terms_next(struct zone_terms *terms, bool is_live);
