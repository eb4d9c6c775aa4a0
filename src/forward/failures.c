#include "forward/failures.h"

#include <string.h>

#define KEPT_MS 1000 /* at least a second, lest retries pile up */
#define KEPT_MAX_MS 30000
#define KNOWN_MS 60000 /* after that the next failure is the first again */

uint16_t failures_find(const struct failures *failures, uint64_t hash, uint64_t now_ms)
{
	const struct failure *failure = &failures->place[hash % FAILURES];

	return failure->hash == hash && now_ms < failure->until_ms ? failure->rcode : 0;
}

void failures_note(struct failures *failures, uint64_t hash, uint16_t rcode, bool others_work,
		   uint64_t now_ms)
{
	struct failure *failure = &failures->place[hash % FAILURES];
	uint64_t kept_ms = KEPT_MS;

	if (failure->hash == hash && now_ms < failure->until_ms + KNOWN_MS && others_work)
		kept_ms = failure->kept_ms * 2 < KEPT_MAX_MS ? failure->kept_ms * 2 : KEPT_MAX_MS;
	*failure = (struct failure){
		.rcode = rcode, .hash = hash, .until_ms = now_ms + kept_ms, .kept_ms = kept_ms
	};
}

void failures_forget(struct failures *failures, uint64_t hash)
{
	struct failure *failure = &failures->place[hash % FAILURES];

	if (failure->hash == hash)
		*failure = (struct failure){ 0 };
}

void failures_clear(struct failures *failures)
{
	memset(failures, 0, sizeof(*failures));
}
