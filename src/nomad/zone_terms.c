/*
 * Rings of ends, one above the other: a slot of the lowest is a term, one of the next a block of 16
 * of those below it. The block that a reader looks at is always complete, since the terms of one
 * that is not are found further down.
 */
#include "nomad/zone_terms.h"

#include "nomad/zone.h"

#define BLOCK_BITS 4
/* One less than there are: a reader may still take the term before for the one that is now. */
#define REMEMBERED (ZONE_TERM_SLOTS - 1)

static unsigned block_of(unsigned term, unsigned level)
{
	return term >> (level * BLOCK_BITS);
}

static void put(struct zone_terms *terms, unsigned term, unsigned level, uint64_t end)
{
	atomic_store_explicit(&terms->end[level][block_of(term, level) % ZONE_TERM_SLOTS], end,
			      memory_order_release);
}

unsigned zone_terms_now(const struct zone_terms *terms)
{
	return atomic_load_explicit(&terms->now, memory_order_acquire);
}

uint64_t zone_terms_end(const struct zone_terms *terms, unsigned term)
{
	unsigned now = zone_terms_now(terms);

	/* Whoever has found a name of this term may see it before he sees that the term has come.
	 */
	if ((int)(now - term) < 0)
		now = term;
	for (unsigned level = 0; level < ZONE_TERM_LEVELS; level++) {
		unsigned block = block_of(term, level);

		if (block_of(now, level) - block < REMEMBERED)
			return atomic_load_explicit(&terms->end[level][block % ZONE_TERM_SLOTS],
						    memory_order_acquire);
	}
	return 0;
}

void zone_terms_set_end(struct zone_terms *terms, uint64_t end)
{
	unsigned now = zone_terms_now(terms);

	put(terms, now, 0, end);
	for (unsigned level = 1; level < ZONE_TERM_LEVELS && end != ZONE_LIVE; level++)
		put(terms, now, level, end);
}

void zone_terms_next(struct zone_terms *terms, bool is_live)
{
	unsigned now = zone_terms_now(terms), next = now + 1;

	put(terms, next, 0, is_live ? ZONE_LIVE : 0);
	for (unsigned level = 1; level < ZONE_TERM_LEVELS; level++) {
		if (block_of(next, level) != block_of(now, level))
			put(terms, next, level, 0);
	}
	atomic_store_explicit(&terms->now, next, memory_order_release);
}
