/*
 * What the stream may have lost without a trace: indexes of the table that no frame explains. A
 * doubt is only a date, by which mirror_sync lists everything again; what is known to be missing is
 * mirror_sync's own affair.
 */
#pragma once

#include <stdint.h>

struct mirror;

struct doubt {
	uint64_t sure_index; /* everything up to here is explained */
	uint64_t list_at_ms, pause_until_ms;
};

/* Something may have changed that no index tells apart. */
void mirror_doubt_note(struct mirror *mirror);

/* The stream had its time to tell of everything up to `index`. */
void mirror_doubt_weigh(struct mirror *mirror, uint64_t index);

/* A full list has come, and knows everything up to `index`. */
void mirror_doubt_end(struct mirror *mirror, uint64_t index);
