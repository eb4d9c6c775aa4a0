/*
 * What is known of namespaces. Those with services are as many as Nomad has; those that turned out
 * absent or denied are made up by whoever asks, so few are remembered, and new ones are tried at a
 * limited pace.
 */
#include "nomad/mirror_space.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/map.h"
#include "nomad/mirror_parts.h"
#include "nomad/mirror_tier.h"
#include "nomad/zone.h"
#include "nomad/zone_writer.h"

#define FORGETTABLE_MAX 256
#define TRIES_BURST 20
#define TRIES_PER_S 10
#define DENIED_MS                                                                                  \
	5000 /* a refused token is not worth asking about more often; rights come unannounced */
#define MILLI 1000

struct space_record {
	struct list link; /* in spaces->forgettable, or alone */
	bool is_forgettable;
	uint64_t index;
	uint64_t listed_until_ms, denied_until_ms;
	char label[DNS_LABEL_MAX + 1]; /* folded */
};

bool mirror_space_init(struct mirror *mirror)
{
	struct spaces *spaces = &mirror->spaces;

	spaces->tries_millis = TRIES_BURST * MILLI;
	spaces->tries_at_ms = clock_now_ms();
	list_init(&spaces->forgettable);
	spaces->by_label = map_new();
	return spaces->by_label;
}

static struct space_record *find(const struct mirror *mirror, const char *label)
{
	return map_find(mirror->spaces.by_label, label, strlen(label));
}

static void set_forgettable(struct mirror *mirror, struct space_record *record, bool is_forgettable)
{
	struct spaces *spaces = &mirror->spaces;

	spaces->forgettable_count -= record->is_forgettable;
	list_remove(&record->link);
	record->is_forgettable = is_forgettable;
	spaces->forgettable_count += is_forgettable;
	if (is_forgettable)
		list_append(&spaces->forgettable, &record->link);
}

static void drop(struct mirror *mirror, struct space_record *record)
{
	set_forgettable(mirror, record, false);
	map_remove(mirror->spaces.by_label, record->label, strlen(record->label));
	free(record);
}

static void forget_oldest(struct mirror *mirror)
{
	while (mirror->spaces.forgettable_count > FORGETTABLE_MAX) {
		struct space_record *record =
			list_entry(mirror->spaces.forgettable.next, struct space_record, link);

		zone_withdraw(mirror->doors.zone, record->label, NULL);
		drop(mirror, record);
	}
}

static struct space_record *make(struct mirror *mirror, const char *label)
{
	struct space_record *record = find(mirror, label);
	size_t length = strlen(label);

	if (record || length > DNS_LABEL_MAX)
		return record;
	record = calloc(1, sizeof(*record));
	if (!record)
		return NULL;
	list_init(&record->link);
	memcpy(record->label, label, length);
	if (map_put(mirror->spaces.by_label, label, length, record) == 0)
		return record;
	free(record);
	return NULL;
}

bool mirror_space_is_listed(const struct mirror *mirror, const char *label, uint64_t now_ms,
			    uint64_t *out_index)
{
	const struct space_record *record = find(mirror, label);

	if (record && out_index)
		*out_index = record->index;
	if (mirror_tier_knows_all(mirror, label))
		return true;
	return record && now_ms < record->listed_until_ms;
}

bool mirror_space_is_denied(const struct mirror *mirror, const char *label, uint64_t now_ms)
{
	const struct space_record *record = find(mirror, label);

	return record && now_ms < record->denied_until_ms;
}

bool mirror_space_is_empty(const struct mirror *mirror, const char *label)
{
	const struct space_record *record = find(mirror, label);

	return !record || record->is_forgettable;
}

bool mirror_space_may_try(struct mirror *mirror, const char *label, uint64_t now_ms)
{
	struct spaces *spaces = &mirror->spaces;
	uint64_t gained = (now_ms - spaces->tries_at_ms) * TRIES_PER_S;

	if (find(mirror, label))
		return true;
	spaces->tries_at_ms = now_ms;
	spaces->tries_millis += gained;
	if (spaces->tries_millis > TRIES_BURST * MILLI)
		spaces->tries_millis = TRIES_BURST * MILLI;
	if (spaces->tries_millis < MILLI)
		return false;
	spaces->tries_millis -= MILLI;
	return true;
}

int mirror_space_listed(struct mirror *mirror, const char *label, uint64_t index, bool is_absent,
			uint64_t until_ms)
{
	struct space_record *record = make(mirror, label);

	if (!record)
		return -ENOMEM;
	record->index = index;
	record->listed_until_ms = until_ms;
	record->denied_until_ms = 0;
	set_forgettable(mirror, record, is_absent);
	forget_oldest(mirror);
	return 0;
}

int mirror_space_extend(struct mirror *mirror, const char *label, uint64_t until_ms)
{
	struct space_record *record = make(mirror, label);

	if (!record)
		return -ENOMEM;
	record->listed_until_ms = until_ms;
	return 0;
}

int mirror_space_denied(struct mirror *mirror, const char *label, bool is_list)
{
	struct space_record *record = find(mirror, label);
	bool is_new = !record;
	struct zone_times times = mirror_times(mirror, false, false);
	uint64_t until_ms = clock_now_ms() + DENIED_MS;

	record = make(mirror, label);
	if (!record)
		return -ENOMEM;
	times.fresh_until_ms = times.refresh_from_ms = until_ms;
	record->denied_until_ms = until_ms;
	if (is_list) {
		record->listed_until_ms = 0;
		zone_publish_namespace(mirror->doors.zone, label, ZONE_DENIED, &times, NULL, 0);
	}
	if (is_new || is_list)
		set_forgettable(mirror, record, true);
	forget_oldest(mirror);
	return 0;
}

void mirror_space_outside(struct mirror *mirror, const char *label)
{
	static const struct zone_times always = { UINT64_MAX, UINT64_MAX, UINT64_MAX, false };
	struct space_record *record = make(mirror, label);

	if (!record)
		return;
	set_forgettable(mirror, record, true);
	zone_publish_namespace(mirror->doors.zone, label, ZONE_ABSENT, &always, NULL, 0);
	forget_oldest(mirror);
}

void mirror_space_renew(struct mirror *mirror)
{
	struct space_record *record;
	size_t cursor = 0;

	list_for_each_safe (link, &mirror->spaces.forgettable) {
		record = list_entry(link, struct space_record, link);
		zone_withdraw(mirror->doors.zone, record->label, NULL);
		drop(mirror, record);
	}
	while ((record = map_next(mirror->spaces.by_label, &cursor, NULL, NULL)))
		record->listed_until_ms = record->denied_until_ms = 0;
}

void mirror_space_expire(struct mirror *mirror)
{
	struct space_record *record;
	size_t cursor = 0;

	while ((record = map_next(mirror->spaces.by_label, &cursor, NULL, NULL))) {
		if (record->listed_until_ms == ZONE_LIVE)
			record->listed_until_ms = 0;
	}
}

void mirror_space_forget(struct mirror *mirror)
{
	struct map *by_label = mirror->spaces.by_label;
	struct space_record *record;
	size_t cursor = 0;

	while (by_label && (record = map_next(by_label, &cursor, NULL, NULL)))
		free(record);
	map_free(by_label);
}
