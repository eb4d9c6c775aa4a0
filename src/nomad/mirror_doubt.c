/*
 * What the stream may have lost without a trace. The table's index says how far it is, never how
 * many changes led there: between two frames another topic may have moved raft's index, or a change
 * that no frame told. So indexes that no frame explains are a doubt, and a doubt ends with a full
 * list: some seconds behind the first one, and in a cluster that changes all day every few minutes.
 */
#include "nomad/mirror_doubt.h"

#include "base/clock.h"
#include "nomad/mirror_live.h"
#include "nomad/mirror_parts.h"
#include "nomad/mirror_sync.h"

#define SOON_MS_MIN 5000 /* a burst is over by then … */
#define SOON_MS_MAX 30000
/* … and lists are not free: 1 ms of a server's for a thousand names. */
#define EVERY_MS_MIN 300000
#define EVERY_MS_MAX 600000

static uint64_t between(struct mirror *mirror, uint64_t least_ms, uint64_t most_ms)
{
	return least_ms + hash_dice_roll(&mirror->dice) % (most_ms - least_ms + 1);
}

void mirror_doubt_end(struct mirror *mirror, uint64_t index)
{
	struct doubt *doubt = &mirror->sync.doubt;

	doubt->sure_index = index;
	doubt->list_at_ms = 0;
	doubt->pause_until_ms = clock_now_ms() + between(mirror, EVERY_MS_MIN, EVERY_MS_MAX);
}

void mirror_doubt_note(struct mirror *mirror)
{
	struct doubt *doubt = &mirror->sync.doubt;
	uint64_t soon_ms = clock_now_ms() + between(mirror, SOON_MS_MIN, SOON_MS_MAX);

	if (doubt->list_at_ms)
		return;
	doubt->list_at_ms = soon_ms > doubt->pause_until_ms ? soon_ms : doubt->pause_until_ms;
	mirror_live_arm(mirror);
}

void mirror_doubt_weigh(struct mirror *mirror, uint64_t index)
{
	struct sync *sync = &mirror->sync;
	struct doubt *doubt = &sync->doubt;

	while (doubt->sure_index < index &&
	       sync->seen[(doubt->sure_index + 1) % SYNC_SEEN] == doubt->sure_index + 1)
		doubt->sure_index++;
	if (doubt->sure_index < index)
		mirror_doubt_note(mirror);
}
