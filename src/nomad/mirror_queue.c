/*
 * The frames that came before the list. A new stream begins with what the agent's buffer holds, a
 * hundred batches of any size, and goes on while the list is read. What the list will know is let
 * go at once, and so is everything when it is more than may be held: then the list has to be as new
 * as the newest of it, or it is read again. So memory has a ceiling, and the end is the truth.
 */
#include "nomad/mirror_queue.h"

#include <string.h>

#include "nomad/json.h"
#include "nomad/mirror_parts.h"
#include "nomad/mirror_sync.h"

#define QUEUE_MAX_BYTES (16u << 20)
#define RELISTS_MAX 3 /* then the index of what was let go was a false one */

static void let_go(struct frame_queue *queue, uint64_t index)
{
	if (index > queue->gone_index)
		queue->gone_index = index;
}

void mirror_queue_forget(struct mirror *mirror)
{
	struct frame_queue *queue = &mirror->sync.queue;

	buf_deinit(&queue->frames);
	queue->index = queue->gone_index = 0;
	queue->relist_count = 0;
}

void mirror_queue_cover(struct mirror *mirror)
{
	struct frame_queue *queue = &mirror->sync.queue;

	let_go(queue, queue->index);
	buf_deinit(&queue->frames);
	queue->index = 0;
	queue->floor_index = mirror->index;
}

bool mirror_queue_is_covered(struct mirror *mirror)
{
	struct frame_queue *queue = &mirror->sync.queue;

	return mirror->sync.list_index >= queue->gone_index || queue->relist_count++ >= RELISTS_MAX;
}

void mirror_queue_put(struct mirror *mirror, const char *line, size_t length)
{
	struct sync *sync = &mirror->sync;
	struct frame_queue *queue = &sync->queue;
	/* A list that is under way may be older than what was heard since it was asked for. */
	uint64_t covered_index = sync->listing ? queue->floor_index : mirror->index;
	uint64_t index = json_frame_index(line, length);
	uint32_t length32 = (uint32_t)length;

	if (sync->must_list && index && index <= covered_index) {
		let_go(queue, index);
		return;
	}
	queue->frames.limit_bytes = QUEUE_MAX_BYTES;
	if (index > queue->index)
		queue->index = index;
	if (buf_append(&queue->frames, &length32, sizeof(length32)) == 0 &&
	    buf_append(&queue->frames, line, length) == 0)
		return;
	let_go(queue, queue->index);
	buf_deinit(&queue->frames);
	queue->index = 0;
	sync->must_list = true;
}

uint64_t mirror_queue_hash(const struct mirror *mirror, const char *line, size_t length)
{
	return hash_bytes(&mirror->pause_key, line, length) | 1;
}

/* Whether the batch that was applied last has come again, or (`is_same` false) another one with its
 * index. It comes first, unless older ones were asked for. */
static bool has_last(const struct mirror *mirror, bool is_same)
{
	const struct sync *sync = &mirror->sync;
	const struct frame_queue *queue = &sync->queue;
	uint32_t length;

	if (sync->leg_count != 1 || !sync->index_hash)
		return false;
	for (size_t at = 0; at < queue->frames.length; at += sizeof(length) + length) {
		const char *line = queue->frames.data + at + sizeof(length);

		memcpy(&length, queue->frames.data + at, sizeof(length));
		if (json_frame_index(line, length) == sync->index)
			return (mirror_queue_hash(mirror, line, length) == sync->index_hash) ==
			       is_same;
	}
	return false;
}

/* Asked for from the last index on, or from one before it, the server tells that very batch again,
 * unless it has forgotten it: then nothing is missing behind it. */
bool mirror_queue_is_replayed(const struct mirror *mirror)
{
	return has_last(mirror, true);
}

/* The same index, and not the same batch: another cluster, or one that was put back, has got that
 * far by now. */
bool mirror_queue_is_other(const struct mirror *mirror)
{
	return has_last(mirror, false);
}

void mirror_queue_drain(struct mirror *mirror)
{
	struct buf frames = mirror->sync.queue.frames;
	uint32_t length;

	buf_init(&mirror->sync.queue.frames, 0);
	mirror_queue_forget(mirror);
	for (size_t at = 0; at < frames.length && mirror->sync.phase == SYNC_LIVE;
	     at += sizeof(length) + length) {
		memcpy(&length, frames.data + at, sizeof(length));
		mirror_sync_apply(mirror, frames.data + at + sizeof(length), length);
	}
	buf_deinit(&frames);
}
