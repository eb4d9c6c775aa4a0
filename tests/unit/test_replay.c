/*
 * Every recording of a real agent's stream, played to the catalogue: what the zone holds after it.
 * What was registered before a recording began is taken from its own events. A name that an event
 * only marks is fetched from the table of registrations that the recording has made so far, as the
 * mirror would fetch it.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <glob.h>
#include <stdio.h>

#include "base/bytes.h"
#include "base/metrics.h"
#include "config/config.h"
#include "nomad/catalogue.h"
#include "unit/fake_zone.h"

#define FOLDER "fixtures/nomad/real/"
#define FRAMES_MAX 256
#define TABLE_MAX 256
#define TAGS_MAX 4

static const struct zone_times live = { ZONE_LIVE, ZONE_LIVE, 90000, false };

struct registration { /* one row of Nomad's table */
	char id[160], namespace[64], service[64], address[64], tags[TAGS_MAX][32];
	double port;
	size_t tag_count;
	bool is_there;
};

struct recording {
	char *text;
	char *frames[FRAMES_MAX];
	size_t frame_count;
	uint64_t first_index, last_index;
};

static struct metrics metrics;
static struct config config;
static struct catalogue *catalogue;
static struct recording recording;
static struct registration table[TABLE_MAX];
static size_t table_count;
static char marked[TABLE_MAX][2][64]; /* names to be fetched after this frame */
static size_t marked_count;
static char text[16384];

/* ---- the table ---- */

static struct registration *find(const struct json_instance *instance)
{
	for (size_t i = 0; i < table_count; i++) {
		if (strcmp(table[i].id, instance->id) == 0 &&
		    strcmp(table[i].namespace, instance->namespace) == 0)
			return &table[i];
	}
	return NULL;
}

static void put(const struct json_instance *instance, bool is_there)
{
	struct registration *row = find(instance);

	if (!row) {
		assert_true(table_count < TABLE_MAX);
		row = &table[table_count++];
	}
	assert_true(instance->tag_count <= TAGS_MAX);
	snprintf(row->id, sizeof(row->id), "%s", instance->id);
	snprintf(row->namespace, sizeof(row->namespace), "%s", instance->namespace);
	snprintf(row->service, sizeof(row->service), "%s", instance->service);
	snprintf(row->address, sizeof(row->address), "%s", instance->address);
	row->port = instance->port;
	row->tag_count = instance->tag_count;
	for (size_t i = 0; i < row->tag_count; i++)
		snprintf(row->tags[i], sizeof(row->tags[i]), "%s", instance->tags[i]);
	row->is_there = is_there;
}

/* GET /v1/service/:name, as the table answers it. */
static void fetch(const char *namespace, const char *service, uint64_t index)
{
	struct catalogue_update *update = catalogue_begin(catalogue, namespace, service);

	for (size_t i = 0; i < table_count; i++) {
		const struct registration *row = &table[i];
		const char *tags[TAGS_MAX];

		if (!row->is_there || strcmp(row->namespace, namespace) != 0 ||
		    strcmp(row->service, service) != 0)
			continue;
		for (size_t t = 0; t < row->tag_count; t++)
			tags[t] = row->tags[t];
		assert_int_equal(
			catalogue_add(update,
				      &(struct json_instance){ .id = row->id,
							       .service = row->service,
							       .namespace = row->namespace,
							       .address = row->address,
							       .port = row->port,
							       .tags = tags,
							       .tag_count = row->tag_count }),
			0);
	}
	assert_int_equal(catalogue_commit(update, index, &live), 0);
}

static void on_gone(void *arg, const char *namespace, const char *service)
{
	(void)arg;
	fail_msg("%s/%s left the first list", namespace, service);
}

/* GET /v1/services?namespace=* and then each name. */
static void start(uint64_t index)
{
	struct catalogue_all *all = catalogue_all_begin(catalogue);

	assert_int_equal(catalogue_all_part(all, NULL, index), 0);
	for (size_t i = 0; i < table_count; i++) {
		struct json_listed listed = { .namespace = table[i].namespace,
					      .service = table[i].service };

		if (table[i].is_there)
			assert_int_equal(catalogue_all_add(all, &listed), 0);
	}
	assert_int_equal(catalogue_all_commit(all, true, &live, on_gone, NULL), 0);
	for (size_t i = 0; i < table_count; i++) {
		if (table[i].is_there)
			fetch(table[i].namespace, table[i].service, index);
	}
	zone_set_live(&fake_zone, ZONE_LIVE_NAMES, 1);
}

/* ---- the recording ---- */

static void read_recording(const char *name)
{
	char path[256], *at, *line;
	FILE *file;
	long size;

	snprintf(path, sizeof(path), FOLDER "%s", name);
	file = fopen(path, "r");
	if (!file)
		fail_msg("there is no %s", path);
	fseek(file, 0, SEEK_END);
	size = ftell(file);
	rewind(file);
	recording = (struct recording){ .text = calloc(1, (size_t)size + 1) };
	assert_int_equal(fread(recording.text, 1, (size_t)size, file), size);
	fclose(file);
	/* The head of a reply, and sizes of chunks, begin with no brace. */
	for (at = recording.text; (line = strsep(&at, "\r\n"));) {
		if (line[0] != '{')
			continue;
		assert_true(recording.frame_count < FRAMES_MAX);
		recording.frames[recording.frame_count++] = line;
	}
}

static void on_bad(void *arg, const char *why)
{
	(void)arg;
	fail_msg("%s", why);
}

static void each_event(json_on_event *visit)
{
	for (size_t i = 0; i < recording.frame_count; i++) {
		char why[128] = "";
		uint64_t index = 0;
		int rc = json_read_frame(recording.frames[i], strlen(recording.frames[i]), visit,
					 on_bad, NULL, &index, why, sizeof(why));

		if (rc < 0)
			fail_msg("frame %zu: %s", i, why);
		if (index && !recording.first_index)
			recording.first_index = index;
		if (index)
			recording.last_index = index;
		for (size_t m = 0; m < marked_count; m++)
			fetch(marked[m][0], marked[m][1], index);
		marked_count = 0;
	}
}

static bool is_removal(const struct json_event *event)
{
	return strcmp(event->type, "ServiceRegistration") != 0;
}

/* What is changed or removed before it was registered had been there. */
static int note_before(void *arg, const struct json_event *event)
{
	(void)arg;
	assert_true(event->has_service);
	if (find(&event->service))
		return 0;
	put(&event->service, is_removal(event) || event->service.create_index < event->index);
	return 0;
}

static int play(void *arg, const struct json_event *event)
{
	int effect;

	(void)arg;
	put(&event->service, !is_removal(event));
	effect = catalogue_event(catalogue, event, is_removal(event), &live);
	assert_true(effect >= 0);
	if (effect == CATALOGUE_MARKED || effect == CATALOGUE_NEW_NAMESPACE) {
		snprintf(marked[marked_count][0], 64, "%s", event->service.namespace);
		snprintf(marked[marked_count++][1], 64, "%s", event->service.service);
	}
	return 0;
}

/* ---- the zone ---- */

static int compare_names(const void *a, const void *b)
{
	return strcmp(((const struct fake_name *)a)->key, ((const struct fake_name *)b)->key);
}

/* All that exists, one name a line; absent ones are not shown. */
static const char *zone_text(void)
{
	size_t length = 0;

	text[0] = '\0';
	qsort(fake_zone.names, fake_zone.count, sizeof(fake_zone.names[0]), compare_names);
	for (size_t i = 0; i < fake_zone.count; i++) {
		const struct fake_name *name = &fake_zone.names[i];

		if (strchr(name->key, '.') && strcmp(name->text, "ABSENT") != 0)
			length += (size_t)snprintf(
				text + length, sizeof(text) - length, "%s%s\n", name->key,
				strncmp(name->text, "LOADED", 6) == 0 ? name->text + 6 : " ?");
		assert_true(length < sizeof(text));
	}
	return text;
}

static void settle(void)
{
	for (size_t i = 0; i < table_count; i++)
		catalogue_remove_now(catalogue, table[i].namespace, table[i].service, &live);
}

static void open_room(void)
{
	memset(&fake_zone, 0, sizeof(fake_zone));
	memset(&metrics, 0, sizeof(metrics));
	catalogue = catalogue_new(&fake_zone, &config, &metrics);
	assert_non_null(catalogue);
}

struct expected {
	const char *name;   /* of the recording */
	const char *before; /* names and instances as they are before it; NULL: none */
	const char *after;
};

#define NOBODY ""

static const struct expected recordings[] = {
	{ "stream-alloc-restart.ndjson",
	  "api.default 127.0.0.1:21317(v1)\n"
	  "tasksvc.default 127.0.0.1:21317\n",
	  "api.default 127.0.0.1:21317(v1)\n"
	  "tasksvc.default 127.0.0.1:21317\n" },
	{ "stream-canary-promote.ndjson",
	  "api.default 127.0.0.1:21317(v1) 127.0.0.1:22251(v1)\n"
	  "tasksvc.default 127.0.0.1:21317 127.0.0.1:22251\n",
	  "api.default 127.0.0.1:21751(v1) 127.0.0.1:22801(v1)\n"
	  "tasksvc.default 127.0.0.1:21751 127.0.0.1:22801\n" },
	{ "stream-client-kill.ndjson",
	  "api.default 127.0.0.1:22801(v1)\n"
	  "tasksvc.default 127.0.0.1:22801\n",
	  "api.default 127.0.0.1:21926(v1)\n"
	  "tasksvc.default 127.0.0.1:21926\n" },
	{ "stream-client-return.ndjson", NOBODY, NOBODY },
	{ "stream-drain.ndjson",
	  "ext-db.default db.example.net:5432\n"
	  "noport.default 192.0.2.7:0\n"
	  "v6svc.default 2001:db8::10:8443(six)\n"
	  "web.default 127.0.0.1:22293(v1,http)\n",
	  "ext-db.default db.example.net:5432\n"
	  "noport.default 192.0.2.7:0\n"
	  "v6svc.default 2001:db8::10:8443(six)\n"
	  "web.default 127.0.0.1:21951(v1,http)\n" },
	{ "stream-dropped-from-buffer.http",
	  "b150-0000.default 192.0.2.1:10000\n"
	  "b150-0001.default 192.0.2.2:10001\n"
	  "b150-0002.default 192.0.2.3:10002\n"
	  "b150-0003.default 192.0.2.4:10003\n"
	  "b150-0004.default 192.0.2.5:10004\n"
	  "b150-0005.default 192.0.2.6:10005\n"
	  "b150-0006.default 192.0.2.7:10006\n"
	  "b150-0007.default 192.0.2.8:10007\n"
	  "b150-0047.default 192.0.2.48:10047\n"
	  "b150-0074.default 192.0.2.75:10074\n"
	  "b150-0095.default 192.0.2.96:10095\n"
	  "b150-0096.default 192.0.2.97:10096\n",
	  NOBODY },
	{ "stream-duplicate-events-two-keys.http",
	  "ext-db.late db.example.net:5432 db.example.net:5432\n"
	  "noport.late 192.0.2.7:0 192.0.2.7:0\n"
	  "v6svc.late 2001:db8::10:8443(six) 2001:db8::10:8443(six)\n"
	  "web.late 127.0.0.1:27188(v1,http) 127.0.0.1:28525(v1,http)\n",
	  NOBODY },
	{ "stream-index-0-oldest-buffered.http",
	  "ext-db.default db.example.net:5432 db.example.net:5432\n"
	  "noport.default 192.0.2.7:0 192.0.2.7:0\n"
	  "v6svc.default 2001:db8::10:8443(six) 2001:db8::10:8443(six)\n"
	  "web.default 127.0.0.1:21039(v2,http) 127.0.0.1:22979(v2,http)\n",
	  "api.default 127.0.0.1:21751(v1) 127.0.0.1:21926(v1)\n"
	  "tasksvc.default 127.0.0.1:21751 127.0.0.1:21926\n" },
	{ "stream-index-between.http",
	  "web.prod 127.0.0.1:24154(v2,http) 127.0.0.1:24981(v2,http)\n",
	  "web.prod 127.0.0.1:24154(v2,http) 127.0.0.1:24981(v2,http)\n" },
	{ "stream-index-exact-match.http", "web.prod 127.0.0.1:24981(v2,http)\n",
	  "ext-db.prod db.example.net:5432\n"
	  "noport.prod 192.0.2.7:0\n"
	  "v6svc.prod 2001:db8::10:8443(six)\n"
	  "web.prod 127.0.0.1:24154(v2,http) 127.0.0.1:24981(v2,http)\n" },
	{ "stream-lifecycle.http", NOBODY,
	  "ext-db.prod db.example.net:5432 db.example.net:5432\n"
	  "noport.prod 192.0.2.7:0 192.0.2.7:0\n"
	  "v6svc.prod 2001:db8::10:8443(six) 2001:db8::10:8443(six)\n"
	  "web.prod 127.0.0.1:21238(v1,http) 127.0.0.1:22557(v1,http)\n" },
	{ "stream-purge.ndjson",
	  "ext-db.default db.example.net:5432 db.example.net:5432\n"
	  "noport.default 192.0.2.7:0 192.0.2.7:0\n"
	  "v6svc.default 2001:db8::10:8443(six) 2001:db8::10:8443(six)\n"
	  "web.default 127.0.0.1:20270(v2,http) 127.0.0.1:24388(v2,http)\n",
	  NOBODY },
	{ "stream-register.ndjson", NOBODY,
	  "ext-db.default db.example.net:5432 db.example.net:5432\n"
	  "ext-db.prod db.example.net:5432 db.example.net:5432\n"
	  "noport.default 192.0.2.7:0 192.0.2.7:0\n"
	  "noport.prod 192.0.2.7:0 192.0.2.7:0\n"
	  "v6svc.default 2001:db8::10:8443(six) 2001:db8::10:8443(six)\n"
	  "v6svc.prod 2001:db8::10:8443(six) 2001:db8::10:8443(six)\n"
	  "web.default 127.0.0.1:23654(v1,http) 127.0.0.1:24592(v1,http)\n"
	  "web.prod 127.0.0.1:21238(v1,http) 127.0.0.1:22557(v1,http)\n" },
	{ "stream-scale-down.ndjson",
	  "ext-db.default db.example.net:5432 db.example.net:5432\n"
	  "noport.default 192.0.2.7:0 192.0.2.7:0\n"
	  "v6svc.default 2001:db8::10:8443(six) 2001:db8::10:8443(six)\n"
	  "web.default 127.0.0.1:23654(v2,http) 127.0.0.1:27483(v2,http)\n",
	  NOBODY },
	{ "stream-scale-up.ndjson", NOBODY,
	  "ext-db.default db.example.net:5432\n"
	  "noport.default 192.0.2.7:0\n"
	  "v6svc.default 2001:db8::10:8443(six)\n"
	  "web.default 127.0.0.1:27483(v2,http)\n" },
	{ "stream-stop.ndjson",
	  "ext-db.default db.example.net:5432 db.example.net:5432\n"
	  "noport.default 192.0.2.7:0 192.0.2.7:0\n"
	  "v6svc.default 2001:db8::10:8443(six) 2001:db8::10:8443(six)\n"
	  "web.default 127.0.0.1:20112(v2,http) 127.0.0.1:24592(v2,http)\n",
	  NOBODY },
	{ "stream-tag-update.ndjson",
	  "web.default 127.0.0.1:23654(v2,http) 127.0.0.1:24592(v2,http)\n",
	  "web.default 127.0.0.1:23654(v2,http) 127.0.0.1:24592(v2,http)\n" },
	{ "stream-task-crash.ndjson", "tasksvc.default 127.0.0.1:21317\n",
	  "tasksvc.default 127.0.0.1:21317\n" },
};

static void replay(const struct expected *expected)
{
	char before[sizeof(text)], after[sizeof(text)];

	table_count = marked_count = 0;
	read_recording(expected->name);
	open_room();
	each_event(note_before);
	start(recording.first_index ? recording.first_index - 1 : 1);
	snprintf(before, sizeof(before), "%s", zone_text());
	each_event(play);
	settle();
	snprintf(after, sizeof(after), "%s", zone_text());

	/* The same again is history, and changes nothing. */
	each_event(play);
	settle();
	if (strcmp(zone_text(), after) != 0)
		fail_msg("%s, played twice:\n%s", expected->name, text);
	catalogue_free(catalogue);

	/* The table alone, fetched, says the same. */
	open_room();
	start(recording.last_index + 1);
	if (strcmp(zone_text(), after) != 0)
		fail_msg("%s: the table has\n%sthe events made\n%s", expected->name, text, after);
	catalogue_free(catalogue);

	if (strcmp(before, expected->before) != 0)
		fail_msg("%s, before:\n%s", expected->name, before);
	if (strcmp(after, expected->after) != 0)
		fail_msg("%s, after:\n%s", expected->name, after);
	free(recording.text);
}

static void every_recording_leaves_the_expected_zone(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(recordings); i++)
		replay(&recordings[i]);
}

/* ---- recordings without events ---- */

static const char *const heartbeats[] = {
	"stream-no-leader-heartbeats.http",
	"stream-negative-index-double-status.http",
	"taskapi-stream.http",
};
static const char *const refusals[] = {
	"stream-denied.http",
	"stream-error-400-index.http",
	"stream-error-400-topic.http",
	"stream-error-500-server-down-client-agent.http",
};

static void heartbeats_change_nothing(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(heartbeats); i++)
		replay(&(struct expected){ heartbeats[i], NOBODY, NOBODY });
}

static void refusals_have_no_frames(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(refusals); i++) {
		read_recording(refusals[i]);
		assert_int_equal(recording.frame_count, 0);
		free(recording.text);
	}
}

static bool is_played(const char *name)
{
	for (size_t i = 0; i < COUNT_OF(recordings); i++) {
		if (strcmp(recordings[i].name, name) == 0)
			return true;
	}
	for (size_t i = 0; i < COUNT_OF(heartbeats); i++) {
		if (strcmp(heartbeats[i], name) == 0)
			return true;
	}
	for (size_t i = 0; i < COUNT_OF(refusals); i++) {
		if (strcmp(refusals[i], name) == 0)
			return true;
	}
	return false;
}

static void no_recording_is_left_out(void **state)
{
	glob_t found;

	(void)state;
	assert_int_equal(glob(FOLDER "*stream*", 0, NULL, &found), 0);
	for (size_t i = 0; i < found.gl_pathc; i++) {
		const char *name = strrchr(found.gl_pathv[i], '/') + 1;

		if (!is_played(name))
			fail_msg("%s is not played", name);
	}
	globfree(&found);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_recording_leaves_the_expected_zone),
		cmocka_unit_test(heartbeats_change_nothing),
		cmocka_unit_test(refusals_have_no_frames),
		cmocka_unit_test(no_recording_is_left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
