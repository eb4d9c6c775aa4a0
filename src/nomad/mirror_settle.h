/*
 * Names whose last instance went, and which keep their records for a moment: a restarted task comes
 * back within it. Then they are removed, or (where only a reply said so) asked for once more. Names
 * are exact, and copied. With `settle=0` everything is removed at once.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "nomad/zone_writer.h"

struct map;
struct mirror;

struct settle {
	struct list list;  /* struct settling, the earliest first */
	struct list asked; /* those whose GET is under way, likewise */
	struct map *by_key;
	uint64_t pause_ms;
};

struct settle_word { /* of a list */
	struct mirror *mirror;
	struct zone_times times;
};

bool mirror_settle_init(struct mirror *mirror);	  /* false: out of memory */
void mirror_settle_forget(struct mirror *mirror); /* frees all */

/* An event, or a list of all names, said that the last instance is gone. */
void mirror_settle_add(struct mirror *mirror, const char *namespace, const char *service);

/* A namespace's list said so, in a tier where nobody tells if it comes back: a GET shall confirm
 * it, or, of a name that was never fetched, the list is believed for as long as it is good. Fits
 * catalogue_gone, with a `struct settle_word` as `arg`. */
void mirror_settle_listed(void *arg, const char *namespace, const char *service);

/* It is there. */
void mirror_settle_cancel(struct mirror *mirror, const char *namespace, const char *service);

/* A GET said that there is none any more: true if that may be believed now. */
bool mirror_settle_is_over(struct mirror *mirror, const char *namespace, const char *service);

uint64_t mirror_settle_tick(struct mirror *mirror, uint64_t now_ms);
