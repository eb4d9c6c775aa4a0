/*
 * Where we may listen: everywhere, in the namespaces that are configured, or, when the token does
 * not reach everywhere, in those that a list for `*` shows. Such a list holds only what the token
 * may read, and an index of 0 when that is nothing. A namespace that has no services yet is not in
 * it: one that turns out to be readable when it is asked about joins then.
 */
#include "nomad/mirror_scope.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "nomad/json.h"
#include "nomad/mirror_alarm.h"
#include "nomad/mirror_call.h"
#include "nomad/mirror_live.h"
#include "nomad/mirror_parts.h"
#include "nomad/mirror_space.h"
#include "nomad/mirror_sync.h"
#include "nomad/mirror_tier.h"
#include "nomad/zone.h"

#define JOIN_EVERY_MS 10000 /* each time everything is listened for anew */
#define EMPTY_MAX (SCOPE_MAX / 2)

static bool has(const struct scope *scope, const char *namespace)
{
	for (size_t i = 0; i < scope->count; i++) {
		if (strcmp(scope->names[i], namespace) == 0)
			return true;
	}
	return false;
}

/* false: there is no room for it. */
static bool add(struct scope *scope, const char *namespace)
{
	if (strlen(namespace) >= SCOPE_NAME_MAX)
		return true; /* none that has a name in DNS */
	if (has(scope, namespace))
		return true;
	if (scope->count == SCOPE_MAX)
		return false;
	snprintf(scope->names[scope->count++], SCOPE_NAME_MAX, "%s", namespace);
	return true;
}

static void forget_scout(struct scout *scout)
{
	scout->has_looked = scout->is_early = false;
	scout->more.count = 0;
}

void mirror_scope_configure(struct mirror *mirror, const struct config *config)
{
	struct scope *scope = &mirror->configured;

	memset(scope, 0, sizeof(*scope));
	scope->is_all = config->namespace_count == 0;
	for (size_t i = 0; i < config->namespace_count; i++) {
		if (!add(scope, config->namespace[i])) /* more than can be followed: their changes
							  come with everybody's */
			scope->is_all = true;
	}
	mirror->scope = *scope;
	forget_scout(&mirror->scout);
}

static bool is_as_configured(const struct mirror *mirror)
{
	const struct scope *scope = &mirror->scope, *configured = &mirror->configured;

	return scope->is_all == configured->is_all && !scope->by_list &&
	       (scope->is_all || scope->count == configured->count);
}

bool mirror_scope_reset(struct mirror *mirror)
{
	bool is_other = !is_as_configured(mirror);

	forget_scout(&mirror->scout);
	if (!is_other)
		return false;
	mirror->scope = mirror->configured;
	mirror_alarm_start(mirror);
	return true;
}

bool mirror_scope_holds(const struct scope *scope, const char *namespace)
{
	char label[SCOPE_NAME_MAX], folded[SCOPE_NAME_MAX];

	mirror_fold(namespace, label);
	for (size_t i = 0; i < scope->count && !scope->is_all; i++) {
		mirror_fold(scope->names[i], folded);
		if (strcmp(folded, label) == 0)
			return true;
	}
	return scope->is_all;
}

/* ---- another scope ---- */

static bool wants_streams(const struct mirror *mirror)
{
	const struct sync *sync = &mirror->sync;

	return mirror->ceiling <= CONFIG_MIRROR_STREAM && !mirror->is_large &&
	       (sync->phase != SYNC_REFUSED || sync->was_denied);
}

/* Everything is listened for anew, in mirror->scope. */
static void listen_anew(struct mirror *mirror)
{
	mirror->scout.joined_ms = clock_now_ms();
	mirror_alarm_start(mirror);
	if (wants_streams(mirror))
		mirror_sync_start(mirror);
}

static void follow_lists(struct mirror *mirror)
{
	bool is_done = mirror->scope.by_list && mirror->alarm.state != ALARM_REFUSED;

	mirror->scope = (struct scope){ .is_all = true, .by_list = true };
	if (!is_done)
		mirror_alarm_start(mirror);
}

static void say_too_many(struct mirror *mirror)
{
	char why[128];

	if (mirror->ceiling > CONFIG_MIRROR_STREAM)
		return;
	snprintf(why, sizeof(why),
		 "the token may read more than %d namespaces, but not all of them", SCOPE_MAX);
	mirror_sync_refuse(mirror, true, why);
}

bool mirror_scope_drop(struct mirror *mirror, const char *namespace)
{
	struct scope *scope = &mirror->scope;
	struct scope left = { 0 };

	if (scope->is_all)
		return false;
	for (size_t i = 0; i < scope->count; i++) {
		if (strcmp(scope->names[i], namespace) != 0)
			add(&left, scope->names[i]);
	}
	forget_scout(&mirror->scout);
	if (left.count == 0) { /* what is left to be found, the scout finds */
		if (mirror->configured.is_all)
			*scope = mirror->configured;
		return false;
	}
	*scope = left;
	listen_anew(mirror);
	return true;
}

void mirror_scope_note(struct mirror *mirror, const char *namespace, bool is_empty)
{
	const struct scope *scope = &mirror->scope;
	struct scout *scout = &mirror->scout;
	bool is_nowhere = scope->is_all && !scope->by_list && mirror->alarm.state == ALARM_REFUSED;
	size_t count = scout->more.count + (is_nowhere ? 0 : scope->count);

	if (mirror->ceiling == CONFIG_MIRROR_LOOKUP || (scope->is_all && !is_nowhere) ||
	    has(scope, namespace) || has(&scout->more, namespace) ||
	    !(mirror->configured.is_all || has(&mirror->configured, namespace)))
		return;
	if (count < (is_empty ? EMPTY_MAX : SCOPE_MAX))
		add(&scout->more, namespace);
	else if (!is_empty)
		scout->is_too_many = true;
	mirror_live_arm(mirror);
}

static uint64_t join(struct mirror *mirror, uint64_t now_ms)
{
	struct scope *scope = &mirror->scope;
	struct scout *scout = &mirror->scout;

	if (scout->more.count == 0 && (!scout->is_too_many || scope->is_all))
		return UINT64_MAX;
	if (scout->joined_ms && now_ms < scout->joined_ms + JOIN_EVERY_MS)
		return scout->joined_ms + JOIN_EVERY_MS;
	if (scout->is_too_many && mirror->configured.is_all) {
		follow_lists(mirror);
		say_too_many(mirror);
	} else {
		scope->is_all = scope->by_list = false;
		for (size_t i = 0; i < scout->more.count; i++)
			add(scope, scout->more.names[i]);
		mirror_space_renew(mirror);
		listen_anew(mirror);
	}
	scout->more.count = 0;
	scout->is_too_many = false;
	return UINT64_MAX;
}

/* ---- looking ---- */

static int on_listed(void *arg, const struct json_listed *listed)
{
	struct scout *scout = arg;

	if (!add(&scout->found, listed->namespace))
		scout->is_too_many = true;
	return 0;
}

static void on_bad(void *arg, const char *why)
{
	(void)arg;
	(void)why;
}

int mirror_scope_read(struct mirror *mirror, const char *body, size_t length, char *why,
		      size_t why_capacity)
{
	struct scout *scout = &mirror->scout;

	memset(&scout->found, 0, sizeof(scout->found));
	scout->is_too_many = false;
	return json_read_services(body, length, on_listed, on_bad, scout, why, why_capacity);
}

void mirror_scope_look(struct mirror *mirror)
{
	struct scout *scout = &mirror->scout;

	if (scout->found.count == 0)
		scout->has_looked = false;
}

/* The probe asks where it may. */
static void take_home(struct mirror *mirror)
{
	const char *namespace = mirror->scout.found.names[0];
	size_t length = strlen(namespace);

	if (mirror->scout.found.count > 0 && length < sizeof(mirror->home))
		memcpy(mirror->home, namespace, length + 1);
}

/* Streams only for all of them, or what is known would have holes nobody sees. While one stream may
 * still tell of everything, and while there is nothing to be listed, lists are the alarm. */
static void follow_found(struct mirror *mirror)
{
	struct scout *scout = &mirror->scout;
	enum sync_phase phase = mirror->sync.phase;

	take_home(mirror);
	if (mirror->ceiling == CONFIG_MIRROR_LOOKUP)
		return;
	scout->is_early = mirror->ceiling <= CONFIG_MIRROR_STREAM && phase != SYNC_OFF &&
			  phase != SYNC_REFUSED;
	if (scout->is_too_many || scout->is_early || scout->found.count == 0) {
		follow_lists(mirror);
		if (scout->is_too_many && !scout->is_early)
			say_too_many(mirror);
	} else {
		mirror->scope = scout->found;
		listen_anew(mirror);
	}
	scout->is_too_many = false;
}

static void on_scouted(struct call *call, enum call_result result)
{
	struct mirror *mirror = call->mirror;
	struct scout *scout = &mirror->scout;

	scout->call = NULL;
	scout->has_looked = result == CALL_GOOD || result == CALL_DENIED;
	if (result == CALL_GOOD)
		follow_found(mirror);
	mirror_tier_publish(mirror);
}

/* Something was refused everywhere: is there somewhere it would not be? */
static bool wants_to_look(const struct mirror *mirror)
{
	const struct scout *scout = &mirror->scout;
	const struct sync *sync = &mirror->sync;
	bool is_denied = sync->phase == SYNC_REFUSED && sync->was_denied;

	if (scout->call || !mirror->scope.is_all || !mirror->configured.is_all ||
	    mirror->health.is_holding || mirror->health.state == ZONE_NOMAD_LOST)
		return false;
	if (mirror->ceiling == CONFIG_MIRROR_LOOKUP)
		return mirror->health.state == ZONE_NOMAD_DENIED && !scout->has_looked;
	if (!mirror->scope.by_list)
		return mirror->alarm.state == ALARM_REFUSED && !scout->has_looked;
	/* The first service of a namespace has come; or it turned out that streams are refused. */
	return !scout->has_looked || (scout->is_early && is_denied);
}

uint64_t mirror_scope_tick(struct mirror *mirror, uint64_t now_ms)
{
	struct scout *scout = &mirror->scout;

	if (!wants_to_look(mirror))
		return join(mirror, now_ms);
	scout->is_early = false;
	scout->call = mirror_call_new(mirror, NULL, "*", NULL);
	if (!scout->call)
		return UINT64_MAX;
	scout->call->kind = CALL_KIND_SCOUT;
	scout->call->on_end = on_scouted;
	if (mirror_call_start(scout->call) == 0)
		return UINT64_MAX;
	mirror_call_drop(scout->call);
	scout->call = NULL;
	return UINT64_MAX;
}

void mirror_scope_stop(struct mirror *mirror)
{
	struct scout *scout = &mirror->scout;

	if (scout->call)
		mirror_call_drop(scout->call);
	scout->call = NULL;
}
