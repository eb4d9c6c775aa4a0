/*
 * The frames that came before the list: kept, in order and under a ceiling, until the list has come
 * and they are applied; those that it will know, and those over the ceiling, are let go. It reads
 * no more of a frame than its index. The bytes are owned by `struct frame_queue`.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct mirror;

struct frame_queue {
	struct buf frames;    /* u32 length, bytes */
	uint64_t index;	      /* the highest of them */
	uint64_t gone_index;  /* the highest that was let go: the list has to know it */
	uint64_t floor_index; /* the table was there when the list was asked for */
	unsigned relist_count;
};

/* Copies a frame. When there is no room, all are let go and a list is needed (sync->must_list). */
void mirror_queue_put(struct mirror *mirror, const char *line, size_t length);

/* The list is asked for now: it knows what has come so far. */
void mirror_queue_cover(struct mirror *mirror);

/* Whether the list that has come knows all that was let go. Asked again and again, it says yes some
 * day: then the index of what was let go was a false one. */
bool mirror_queue_is_covered(struct mirror *mirror);

/* Whether the frame that was applied last has come again: then nothing is missing behind it. */
bool mirror_queue_is_replayed(const struct mirror *mirror);

/* Whether another one has come with its index: another cluster, or one that was put back. */
bool mirror_queue_is_other(const struct mirror *mirror);

/* What tells two frames of one index apart; never 0. */
uint64_t mirror_queue_hash(const struct mirror *mirror, const char *line, size_t length);

/* Applies what was kept, unless it ends the stream, and forgets it. */
void mirror_queue_drain(struct mirror *mirror);
void mirror_queue_forget(struct mirror *mirror);
