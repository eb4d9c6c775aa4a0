/*
 * The names that were fetched since the last wake. A wake makes all of them old at once; those that
 * somebody asked for are fetched again at once, the others when they are asked for.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/map.h"
#include "dns/name.h"
#include "nomad/catalogue.h"
#include "nomad/mirror_parts.h"

#define REFRESH_EVERY_MS 100
#define NAMES_MAX 200000

struct watched {
	struct need need; /* ready to be sent */
};

/* false: these names have no place in DNS. */
bool mirror_watch_need(const char *namespace, const char *service, struct need *out)
{
	size_t a = strlen(namespace), b = strlen(service);

	*out = (struct need){ .kind = NEED_REFRESH };
	if (a == 0 || a > DNS_LABEL_MAX || b == 0 || b > DNS_LABEL_MAX)
		return false;
	out->namespace_length = (uint8_t)a;
	out->service_length = (uint8_t)b;
	name_fold((const uint8_t *)namespace, a, (uint8_t *)out->namespace_label);
	name_fold((const uint8_t *)service, b, (uint8_t *)out->service_label);
	return true;
}

void mirror_watch_refresh(struct mirror *mirror, const char *namespace, const char *service)
{
	struct need need;

	if (mirror_watch_need(namespace, service, &need))
		mirror_need(mirror, &need);
}

void mirror_watch_note(struct mirror *mirror, const char *namespace, const char *service)
{
	struct map *names = mirror->watch.names;
	struct watched *watched;
	struct need need;

	if (mirror_tier(mirror) == TIER_STREAM || !mirror_watch_need(namespace, service, &need))
		return;
	mirror_large_note(mirror, &need);
	if (map_count(names) >= NAMES_MAX || map_find(names, &need, sizeof(need)))
		return;
	watched = malloc(sizeof(*watched));
	if (!watched)
		return;
	watched->need = need;
	if (map_put(names, &need, sizeof(need), watched) < 0)
		free(watched);
}

static bool was_asked(struct mirror *mirror, const struct need *need)
{
	char namespace[DNS_LABEL_MAX + 1] = "", service[DNS_LABEL_MAX + 1] = "";

	memcpy(namespace, need->namespace_label, need->namespace_length);
	memcpy(service, need->service_label, need->service_length);
	return zone_take_asked(mirror->doors.zone, namespace, service) > 0;
}

/* What is not in use any more is left out, and comes back when it is asked for. */
static void refresh_asked(struct mirror *mirror, uint64_t now_ms)
{
	struct map *names = mirror->watch.names;
	struct watched *watched;
	size_t cursor = 0;

	mirror->watch.refreshed_ms = now_ms;
	mirror->watch.refresh_at_ms = 0;
	while ((watched = map_next(names, &cursor, NULL, NULL))) {
		if (mirror_large_is_kept(mirror, &watched->need))
			continue;
		if (was_asked(mirror, &watched->need)) {
			mirror_need(mirror, &watched->need);
			continue;
		}
		map_remove(names, &watched->need, sizeof(watched->need));
		free(watched);
	}
}

void mirror_watch_wake(struct mirror *mirror)
{
	struct watch *watch = &mirror->watch;
	uint64_t now_ms = clock_now_ms();

	mirror_live_expire(mirror);
	if (mirror->is_large)
		mirror_large_keep(mirror);
	mirror_large_count(mirror);
	if (now_ms >= watch->refreshed_ms + REFRESH_EVERY_MS)
		refresh_asked(mirror, now_ms);
	else if (!watch->refresh_at_ms)
		watch->refresh_at_ms = watch->refreshed_ms + REFRESH_EVERY_MS;
}

uint64_t mirror_watch_tick(struct mirror *mirror, uint64_t now_ms)
{
	struct watch *watch = &mirror->watch;

	if (watch->refresh_at_ms && now_ms >= watch->refresh_at_ms)
		refresh_asked(mirror, now_ms);
	return watch->refresh_at_ms ? watch->refresh_at_ms : UINT64_MAX;
}

void mirror_watch_forget(struct mirror *mirror)
{
	struct watched *watched;
	size_t cursor = 0;

	while (mirror->watch.names &&
	       (watched = map_next(mirror->watch.names, &cursor, NULL, NULL)))
		free(watched);
	map_free(mirror->watch.names);
	mirror->watch.names = NULL;
}
