/*
 * Names whose answer was of no use (a body over the ceiling or that makes no sense, a filter that
 * Nomad refuses) are not asked about again at once: each such answer may have cost 16 MiB. A small
 * table, by hash; two names that meet in it only pause together.
 */
#include "nomad/mirror_pause.h"

#include <string.h>

#include "base/clock.h"
#include "nomad/mirror_parts.h"

#define PAUSE_MS_MIN 1000
#define STEPS_MAX 5 /* 1, 2, 4, 8, 16, 32 s */

static struct pause *find(struct mirror *mirror, const char *namespace_label,
			  const char *service_label)
{
	uint64_t hash = hash_bytes(&mirror->pause_key, namespace_label, strlen(namespace_label)) ^
			hash_bytes(&mirror->pause_key, service_label, strlen(service_label)) * 3;

	return &mirror->pauses[hash % MIRROR_PAUSES];
}

bool mirror_pause_is_on(struct mirror *mirror, const char *namespace_label,
			const char *service_label)
{
	return clock_now_ms() < find(mirror, namespace_label, service_label)->until_ms;
}

void mirror_pause_note(struct mirror *mirror, const char *namespace_label,
		       const char *service_label, bool has_failed)
{
	struct pause *pause = find(mirror, namespace_label, service_label);

	if (!has_failed) {
		*pause = (struct pause){ 0 };
		return;
	}
	pause->until_ms = clock_now_ms() + ((uint64_t)PAUSE_MS_MIN << pause->step);
	if (pause->step < STEPS_MAX)
		pause->step++;
}

void mirror_pause_forget(struct mirror *mirror)
{
	memset(mirror->pauses, 0, sizeof(mirror->pauses));
}
