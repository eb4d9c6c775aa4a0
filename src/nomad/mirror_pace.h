/*
 * How often Nomad changes, judged by the minute: whether that is so often that hearing all of it
 * would cost the servers more than it gives, or rare again. Pure: the time is an argument. A burst
 * is no pace: of one second only so many changes count.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct pace {
	uint64_t window_ms, second_ms; /* when they began */
	unsigned changes, in_second;   /* of this window; of this second */
	unsigned calm_windows;	       /* in a row */
};

enum pace_word {
	PACE_NONE, /* nothing to be done */
	PACE_BUSY, /* more than two changes a second over a minute */
	PACE_CALM, /* fewer than one in two seconds, for five minutes */
};

void pace_init(struct pace *pace, uint64_t now_ms);
void pace_count(struct pace *pace, uint64_t now_ms); /* something changed */

/* Ends the window when it is over. `is_large`: what is counted are wakes, one a second at most. */
enum pace_word pace_look(struct pace *pace, bool is_large, uint64_t now_ms);

/* When to look again; UINT64_MAX: not before something has changed. */
uint64_t pace_next_ms(const struct pace *pace, bool is_large);
