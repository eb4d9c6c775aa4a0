/*
 * Where we may listen: everywhere, in the namespaces that are configured, or, when the token does
 * not reach everywhere, in those that a list for `*` shows. Such a list holds only what the token
 * may read, and an index of 0 when that is nothing.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dns/name.h"
#include "nomad/json.h"
#include "nomad/mirror_parts.h"

/* As a DNS label looks; what is too long for one is cut. */
void mirror_fold(const char *text, char out[SCOPE_NAME_MAX])
{
	size_t length = strnlen(text, SCOPE_NAME_MAX - 1);

	name_fold((const uint8_t *)text, length, (uint8_t *)out);
	out[length] = '\0';
}

/* false: there is no room for it. */
static bool add(struct scope *scope, const char *namespace)
{
	if (strlen(namespace) >= SCOPE_NAME_MAX)
		return true; /* none that has a name in DNS */
	for (size_t i = 0; i < scope->count; i++) {
		if (strcmp(scope->names[i], namespace) == 0)
			return true;
	}
	if (scope->count == SCOPE_MAX)
		return false;
	snprintf(scope->names[scope->count++], SCOPE_NAME_MAX, "%s", namespace);
	return true;
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
	mirror->scout.has_looked = false;
}

bool mirror_scope_reset(struct mirror *mirror)
{
	bool is_other = mirror->scope.is_all != mirror->configured.is_all;

	mirror->scout.has_looked = false;
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

/* The probe asks where it may. */
static void take_home(struct mirror *mirror)
{
	const char *namespace = mirror->scope.names[0];
	size_t length = strlen(namespace);

	if (length < sizeof(mirror->home))
		memcpy(mirror->home, namespace, length + 1);
}

static void on_scouted(struct call *call, enum call_result result)
{
	struct mirror *mirror = call->mirror;
	struct scout *scout = &mirror->scout;

	scout->call = NULL;
	scout->has_looked = result == CALL_GOOD || result == CALL_DENIED;
	if (result == CALL_GOOD && scout->found.count > 0) {
		mirror->scope = scout->found;
		take_home(mirror);
		mirror_alarm_start(mirror);
		/* Streams only for all of them, or what is known would have holes nobody sees. */
		if (mirror->ceiling <= CONFIG_MIRROR_STREAM && !scout->is_too_many)
			mirror_sync_start(mirror);
	}
	mirror_live_settle(mirror);
}

/* Something was refused everywhere: is there somewhere it would not be? */
void mirror_scope_scout(struct mirror *mirror)
{
	struct scout *scout = &mirror->scout;

	if (scout->call || scout->has_looked || !mirror->scope.is_all ||
	    !mirror->configured.is_all || mirror->health.is_holding ||
	    mirror->health.state == ZONE_NOMAD_LOST)
		return;
	scout->call = mirror_call_new(mirror, NULL, "*", NULL);
	if (!scout->call)
		return;
	scout->call->kind = CALL_KIND_SCOUT;
	scout->call->on_end = on_scouted;
	if (mirror_call_start(scout->call) == 0)
		return;
	mirror_call_drop(scout->call);
	scout->call = NULL;
}
