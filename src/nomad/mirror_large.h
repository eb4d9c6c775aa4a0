/*
 * Whether so much changes that hearing all of it would cost the servers more than it gives
 * (`mirror->is_large`), and which names are listened for then. How often is too often, mirror_pace
 * judges; the names' requests are mirror_held's.
 */
#pragma once

#include <stdint.h>

#include "nomad/mirror_held.h"
#include "nomad/mirror_pace.h"

struct mirror;

#define MIRROR_LARGE_PACE_MS 900 /* what is told then is answered within a second */

struct large {
	struct pace pace;
	uint64_t choose_ms, decide_ms, slow_until_ms; /* decide_ms 0: nothing to be decided */
	struct held_name names[HELD_NAMES_MAX];
};

/* Something changed. */
void mirror_large_count(struct mirror *mirror);

/* Everything is listened for as in any cluster, until that turns out too much again. */
void mirror_large_stop(struct mirror *mirror);

/* The address is another one, or the index went back: nothing of before is held any more. */
void mirror_large_again(struct mirror *mirror);

/* How long the alarm waits behind a wake; 0: not at all. */
uint64_t mirror_large_pause_ms(const struct mirror *mirror);

uint64_t mirror_large_tick(struct mirror *mirror, uint64_t now_ms);
