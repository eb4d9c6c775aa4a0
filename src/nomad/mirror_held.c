/*
 * Names that are listened for one by one: for each a request for its instances, which Nomad holds
 * until something changes under that name. To a server it costs a tenth of a stream or of the
 * alarm, its reply is the truth itself, and no burst of others' changes can drop it. The alarm,
 * slowed down, stands behind: what is not kept here it makes old.
 */
#include "nomad/mirror_held.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "nomad/catalogue.h"
#include "nomad/http.h"
#include "nomad/mirror_ask.h"
#include "nomad/mirror_call.h"
#include "nomad/mirror_health.h"
#include "nomad/mirror_large.h"
#include "nomad/mirror_live.h"
#include "nomad/mirror_parts.h"
#include "nomad/mirror_read.h"
#include "nomad/mirror_scope.h"
#include "nomad/mirror_sync.h"
#include "nomad/need.h"
#include "nomad/zone.h"
#include "nomad/zone_writer.h"

#define ANSWER_TIMEOUT_MS 5000
#define WAIT_S 300     /* Nomad's own ceiling: two requests at its end are all an idle name costs */
#define GRACE_MS 15000 /* beside the sixteenth that Nomad adds to the wait */
#define MS_PER_S 1000
#define ESCAPED_MAX (3 * SCOPE_NAME_MAX)
#define PATH_MAX_BYTES 4096
#define EMPTY_LIST_BYTES 2
#define CREDIT_MS_MAX (5 * MIRROR_LARGE_PACE_MS) /* a rolling update is told at once; then less */

static void on_answer(void *arg, const struct http_reply *reply);

/* ---- asking ---- */

static void release(struct held_name *name)
{
	http_cancel(name->mirror->doors.http, name->id);
	*name = (struct held_name){ .mirror = NULL };
}

static void ask(struct held_name *name)
{
	struct mirror *mirror = name->mirror;
	char space[ESCAPED_MAX], service[ESCAPED_MAX], path[PATH_MAX_BYTES];
	int length;

	name->ask_at_ms = 0;
	name->asked_ms = clock_now_ms();
	http_escape(name->namespace, strlen(name->namespace), space, sizeof(space));
	http_escape(name->service, strlen(name->service), service, sizeof(service));
	length = snprintf(path, sizeof(path), "/v1/service/%s?namespace=%s%s", service, space,
			  mirror->filter);
	if (name->index && (size_t)length < sizeof(path))
		length += snprintf(path + length, sizeof(path) - (size_t)length,
				   "&index=%" PRIu64 "&wait=%ds", name->index, WAIT_S);
	if ((size_t)length >= sizeof(path)) { /* a filter beyond all measure */
		release(name);
		return;
	}
	metrics_add(mirror->doors.metrics,
		    name->index ? METRIC_NOMAD_REQUESTS_HELD : METRIC_NOMAD_REQUESTS_SERVICE, 1);
	if (name->index)
		name->id = http_get_held(mirror->doors.http, mirror->address, path,
					 WAIT_S * MS_PER_S * 17 / 16 + GRACE_MS, on_answer, name);
	else
		name->id = http_get(mirror->doors.http, mirror->address, path, ANSWER_TIMEOUT_MS,
				    on_answer, name);
	if (!name->id)
		release(name);
}

/* ---- what is answered ---- */

/* It is nobody's truth any more; the next choice of names takes it again. */
static void lose(struct held_name *name, const struct http_reply *reply)
{
	struct mirror *mirror = name->mirror;

	release(name);
	if (reply->failure != HTTP_OK && mirror->health.state == ZONE_NOMAD_OK &&
	    !mirror->health.is_holding)
		mirror_health_probe_now(mirror);
}

/* false: it makes no sense. */
static bool take(struct held_name *name, const struct http_reply *reply)
{
	struct call call = { .mirror = name->mirror,
			     .kind = CALL_KIND_SERVICE,
			     .namespace = name->namespace,
			     .service = name->service,
			     .address = name->mirror->address,
			     .is_kept = true };

	return mirror_read(&call, reply, false) == 0;
}

/* Behind a pause the table has moved for others' sake, so that the reply comes at once: then too it
 * is asked again without one, or it would never be held. */
static uint64_t next_pause_ms(struct held_name *name)
{
	uint64_t now_ms = clock_now_ms();

	name->credit_ms += now_ms - name->credited_ms;
	name->credited_ms = now_ms;
	if (name->credit_ms > CREDIT_MS_MAX)
		name->credit_ms = CREDIT_MS_MAX;
	if (name->credit_ms < MIRROR_LARGE_PACE_MS)
		return MIRROR_LARGE_PACE_MS - name->credit_ms;
	name->credit_ms -= MIRROR_LARGE_PACE_MS;
	return 0;
}

static void on_news(struct held_name *name, const struct http_reply *reply)
{
	uint64_t pause_ms = next_pause_ms(name);

	name->index = reply->index;
	if (!take(name, reply)) {
		lose(name, reply);
		return;
	}
	/* Whether it is gone for good, another request finds out: until then nothing is kept. */
	name->is_kept = reply->body_length > EMPTY_LIST_BYTES;
	if (pause_ms)
		name->ask_at_ms = clock_now_ms() + pause_ms;
	else
		ask(name);
}

static void on_answer(void *arg, const struct http_reply *reply)
{
	struct held_name *name = arg;
	struct mirror *mirror = name->mirror;
	uint64_t spent_ms = clock_now_ms() - name->asked_ms;

	name->id = 0;
	if (reply->failure != HTTP_OK || reply->status != 200 || !reply->has_index ||
	    reply->index == 0 || !reply->knows_leader)
		lose(name, reply);
	else if (reply->index < name->index)
		mirror_sync_back(mirror, reply->index);
	else if (reply->index > name->index)
		on_news(name, reply);
	else if (spent_ms >= WAIT_S * MS_PER_S)
		ask(name);
	else
		lose(name, reply); /* whatever is between us does not hold it */
	mirror_live_arm(mirror);
}

/* ---- life ---- */

static struct held_name *find(struct mirror *mirror, const struct need *need)
{
	for (size_t i = 0; i < HELD_NAMES_MAX; i++) {
		struct held_name *name = &mirror->large.names[i];

		if (name->mirror && memcmp(&name->need, need, sizeof(*need)) == 0)
			return name;
	}
	return NULL;
}

/* Names that fold to one are one answer, and not to be kept by half. */
static bool is_alone(struct mirror *mirror, const char *namespace, const char *service)
{
	const char *namespaces[2], *services[2];
	char space[SCOPE_NAME_MAX], name[SCOPE_NAME_MAX];

	mirror_fold(namespace, space);
	mirror_fold(service, name);
	return catalogue_exact_names(mirror->doors.catalogue, space, name, namespaces, services,
				     2) == 1;
}

void mirror_held_take(struct mirror *mirror, const char *namespace, const char *service)
{
	struct held_name *free_name = NULL, *name;
	struct need need;

	if (!mirror_ask_make_need(namespace, service, &need))
		return; /* it has no place in DNS */
	name = find(mirror, &need);
	if (!is_alone(mirror, namespace, service)) {
		if (name)
			release(name);
		return;
	}
	if (name) {
		name->idle_turns = 0;
		return;
	}
	for (size_t i = 0; i < HELD_NAMES_MAX && !free_name; i++) {
		if (!mirror->large.names[i].mirror)
			free_name = &mirror->large.names[i];
	}
	if (!free_name)
		return;
	*free_name = (struct held_name){ .mirror = mirror,
					 .need = need,
					 .credit_ms = CREDIT_MS_MAX,
					 .credited_ms = clock_now_ms() };
	snprintf(free_name->namespace, sizeof(free_name->namespace), "%s", namespace);
	snprintf(free_name->service, sizeof(free_name->service), "%s", service);
	ask(free_name);
}

void mirror_held_turn(struct mirror *mirror, unsigned turns_max)
{
	for (size_t i = 0; i < HELD_NAMES_MAX; i++) {
		struct held_name *name = &mirror->large.names[i];

		if (name->mirror && name->idle_turns++ >= turns_max)
			release(name);
	}
}

void mirror_held_drop(struct mirror *mirror)
{
	for (size_t i = 0; i < HELD_NAMES_MAX; i++) {
		if (mirror->large.names[i].mirror)
			release(&mirror->large.names[i]);
	}
}

bool mirror_held_is_kept(struct mirror *mirror, const struct need *need)
{
	const struct held_name *name = find(mirror, need);

	return name && name->is_kept;
}

void mirror_held_note(struct mirror *mirror, const struct need *need)
{
	struct held_name *name = find(mirror, need);

	if (name && name->index)
		name->is_kept = name->id != 0;
}

void mirror_held_keep(struct mirror *mirror)
{
	struct zone_times times = mirror_times_live(mirror);
	char space[SCOPE_NAME_MAX], service[SCOPE_NAME_MAX];

	for (size_t i = 0; i < HELD_NAMES_MAX; i++) {
		struct held_name *name = &mirror->large.names[i];

		if (!name->mirror || !name->is_kept)
			continue;
		mirror_fold(name->namespace, space);
		mirror_fold(name->service, service);
		name->is_kept =
			catalogue_keep_live(mirror->doors.catalogue, space, service, &times);
	}
}

uint64_t mirror_held_tick(struct mirror *mirror, uint64_t now_ms)
{
	uint64_t next_ms = UINT64_MAX;

	for (size_t i = 0; i < HELD_NAMES_MAX; i++) {
		struct held_name *name = &mirror->large.names[i];

		if (name->mirror && name->ask_at_ms && now_ms >= name->ask_at_ms)
			ask(name);
		if (name->mirror && name->ask_at_ms && name->ask_at_ms < next_ms)
			next_ms = name->ask_at_ms;
	}
	return next_ms;
}
