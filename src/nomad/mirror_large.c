/*
 * A cluster in which so much changes that hearing all of it, on every node, would cost the servers
 * more than it gives. Then only the names that are asked for most are listened for, by topic keys,
 * and the alarm rings once a second at most: it makes everything else old. No node knows how large
 * the cluster is, but each sees how often it changes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "nomad/catalogue.h"
#include "nomad/http.h"
#include "nomad/json.h"
#include "nomad/mirror_parts.h"

#define REKEY_MS 10000
#define OPEN_MS_MAX 5000
#define SILENT_MS 45000
#define LEAP 100 /* of the index between two wakes: the stream may have been dropped */
#define ESCAPED_MAX (3 * 64)

static void drop_stream(struct mirror *mirror)
{
	struct large *large = &mirror->large;

	http_cancel(mirror->doors.http, large->id);
	large->id = 0;
	large->is_open = false;
	for (size_t i = 0; i < large->key_count; i++)
		large->keys[i].is_kept = false;
}

/* ---- which names ---- */

/* Takes the names in use; true: they are others than before. */
static bool choose_names(struct mirror *mirror)
{
	struct large *large = &mirror->large;
	struct catalogue_pick picks[LARGE_KEYS];
	size_t count = catalogue_pick(mirror->doors.catalogue, CATALOGUE_ASKED, picks, LARGE_KEYS);
	bool is_other = false;

	for (size_t i = 0; i < count; i++) {
		struct large_key key = { 0 };
		bool is_known = false;

		if (!mirror_watch_need(picks[i].namespace, picks[i].service, &key.need))
			continue;
		snprintf(key.service, sizeof(key.service), "%s", picks[i].service);
		for (size_t k = 0; k < large->key_count && !is_known; k++)
			is_known = memcmp(&large->keys[k].need, &key.need, sizeof(key.need)) == 0;
		if (is_known)
			continue;
		is_other = true;
		if (large->key_count < LARGE_KEYS)
			large->keys[large->key_count++] = key;
		else
			large->keys[hash_dice_roll(&mirror->dice) % LARGE_KEYS] = key;
	}
	return is_other;
}

/* ---- their stream ---- */

static void on_line(void *arg, const char *line, size_t length)
{
	struct mirror *mirror = arg;
	struct large *large = &mirror->large;
	uint64_t index = 0;
	char why[64];

	large->heard_ms = clock_now_ms();
	large->is_open = true;
	if (length > 2)
		json_read_frame(line, length, mirror_apply_event, mirror_apply_bad, mirror, &index,
				why, sizeof(why));
	mirror_live_arm(mirror);
}

static void on_end(void *arg, const struct http_reply *reply)
{
	struct mirror *mirror = arg;

	(void)reply;
	mirror->large.id = 0;
	drop_stream(mirror);
	mirror_live_arm(mirror);
}

static void open_stream(struct mirror *mirror)
{
	struct large *large = &mirror->large;
	const struct scope *scope = &mirror->scope;
	char name[3 * SCOPE_NAME_MAX] = "*";
	struct buf path;

	drop_stream(mirror);
	if (!scope->is_all)
		http_escape(scope->names[0], strlen(scope->names[0]), name, sizeof(name));
	buf_init(&path, 0);
	buf_printf(&path, "/v1/event/stream?namespace=%s&index=%llu", name,
		   (unsigned long long)mirror->alarm.index);
	for (size_t i = 0; i < large->key_count; i++) {
		http_escape(large->keys[i].service, strlen(large->keys[i].service), name,
			    sizeof(name));
		buf_printf(&path, "&topic=Service:%s", name);
	}
	metrics_add(mirror->doors.metrics, METRIC_NOMAD_REQUESTS_STREAM, 1);
	large->heard_ms = clock_now_ms();
	if (!path.failed)
		large->id = http_stream(mirror->doors.http, mirror->address, path.data, on_line,
					on_end, mirror);
	buf_deinit(&path);
}

/* ---- a wake ---- */

/* After everything was made old: the names that their own stream tells of are not. One of them in
 * turn is fetched all the same, and all of them when so much happened that the stream may have been
 * dropped. */
void mirror_large_keep(struct mirror *mirror)
{
	struct large *large = &mirror->large;
	bool is_sure = large->is_open && mirror->alarm.index - large->index < LEAP;
	struct zone_times times = mirror_live_times(mirror);
	char space[SCOPE_NAME_MAX], name[SCOPE_NAME_MAX];

	large->index = mirror->alarm.index;
	for (size_t i = 0; i < large->key_count && !is_sure; i++)
		large->keys[i].is_kept = false;
	if (!is_sure || large->key_count == 0)
		return;
	large->turn = (large->turn + 1) % large->key_count;
	large->keys[large->turn].is_kept = false;
	for (size_t i = 0; i < large->key_count; i++) {
		const struct need *need = &large->keys[i].need;

		if (!large->keys[i].is_kept)
			continue;
		snprintf(space, sizeof(space), "%.*s", need->namespace_length,
			 need->namespace_label);
		snprintf(name, sizeof(name), "%.*s", need->service_length, need->service_label);
		large->keys[i].is_kept =
			catalogue_keep_live(mirror->doors.catalogue, space, name, &times);
	}
}

static struct large_key *find_key(struct mirror *mirror, const struct need *need)
{
	struct large *large = &mirror->large;

	for (size_t i = 0; i < large->key_count && mirror->is_large; i++) {
		if (memcmp(&large->keys[i].need, need, sizeof(*need)) == 0)
			return &large->keys[i];
	}
	return NULL;
}

/* A name was fetched: from here on its stream keeps it true. */
void mirror_large_note(struct mirror *mirror, const struct need *need)
{
	struct large_key *key = find_key(mirror, need);

	if (key)
		key->is_kept = mirror->large.is_open;
}

bool mirror_large_is_kept(struct mirror *mirror, const struct need *need)
{
	const struct large_key *key = find_key(mirror, need);

	return key && key->is_kept;
}

/* ---- there and back ---- */

static bool can_be_large(const struct mirror *mirror)
{
	return mirror->ceiling == CONFIG_MIRROR_AUTO && mirror->alarm.state == ALARM_ARMED &&
	       (mirror->scope.is_all || mirror->scope.count == 1);
}

static void enter(struct mirror *mirror, uint64_t now_ms)
{
	struct large *large = &mirror->large;

	log_info("nomad", "Nomad tells of more than two changes a second: from now on only the "
			  "names in use are listened for");
	/* Who may have no stream has none with keys either: the alarm is slowed down, no more. */
	large->has_stream = mirror->sync.phase != SYNC_REFUSED && !mirror->scope.by_list;
	mirror_sync_stop(mirror);
	mirror->is_large = true;
	large->key_count = 0;
	large->rekey_ms = now_ms;
	large->index = mirror->alarm.index;
	mirror_live_expire(mirror);
	mirror_live_settle(mirror);
}

static void leave(struct mirror *mirror)
{
	log_info("nomad", "Nomad changes rarely again: everything is listened for");
	mirror_large_stop(mirror);
	mirror_sync_start(mirror);
}

void mirror_large_stop(struct mirror *mirror)
{
	drop_stream(mirror);
	mirror->is_large = false;
	pace_init(&mirror->large.pace, clock_now_ms());
}

/* Something changed. */
void mirror_large_count(struct mirror *mirror)
{
	pace_count(&mirror->large.pace, clock_now_ms());
}

static void rekey(struct mirror *mirror, uint64_t now_ms)
{
	struct large *large = &mirror->large;
	bool is_other = choose_names(mirror);

	large->rekey_ms = now_ms + REKEY_MS;
	if (large->has_stream && large->key_count > 0 && (is_other || !large->id) &&
	    !mirror->health.is_holding)
		open_stream(mirror);
}

uint64_t mirror_large_tick(struct mirror *mirror, uint64_t now_ms)
{
	struct large *large = &mirror->large;
	enum pace_word word = pace_look(&large->pace, mirror->is_large, now_ms);

	if (word == PACE_BUSY && can_be_large(mirror))
		enter(mirror, now_ms);
	if (mirror->is_large && (word == PACE_CALM || mirror->alarm.state == ALARM_REFUSED))
		leave(mirror);
	if (!mirror->is_large)
		return pace_next_ms(&large->pace, false);
	if (large->id && now_ms >= large->heard_ms + (large->is_open ? SILENT_MS : OPEN_MS_MAX))
		drop_stream(mirror);
	if (now_ms >= large->rekey_ms)
		rekey(mirror, now_ms);
	return large->rekey_ms;
}
