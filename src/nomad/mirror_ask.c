/*
 * From what workers need to what Nomad is asked. A service whose instances are held is fetched
 * again; one that is not is looked up in its namespace's list first, so that a name that does not
 * exist costs no request of its own. All who need the same wait for the same ask.
 */
#include "nomad/mirror_ask.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/map.h"
#include "dns/name.h"
#include "nomad/catalogue.h"
#include "nomad/mirror.h"
#include "nomad/mirror_call.h"
#include "nomad/mirror_health.h"
#include "nomad/mirror_parts.h"
#include "nomad/mirror_pause.h"
#include "nomad/mirror_scope.h"
#include "nomad/mirror_space.h"
#include "nomad/need.h"

#define ASKS_MAX 1024	   /* names being found out about at a time */
#define WAITERS_MAX 1024   /* of one ask: a worker sends a need once, and workers are few */
#define EXACT_NAMES_MAX 32 /* that fold to one name */

static void continue_service(struct ask *ask);

/* ---- asks ---- */

static size_t make_key(const char *namespace_label, const char *service_label,
		       char out[MIRROR_KEY_MAX])
{
	size_t a = strlen(namespace_label) + 1, b = strlen(service_label);

	memcpy(out, namespace_label, a);
	memcpy(out + a, service_label, b);
	return a + b;
}

static struct ask *find_ask(const struct mirror *mirror, const char *namespace_label,
			    const char *service_label)
{
	char key[MIRROR_KEY_MAX];
	size_t length = make_key(namespace_label, service_label, key);

	return map_find(mirror->ask_by_key, key, length);
}

/* NULL: out of memory, or too many. */
static struct ask *make_ask(struct mirror *mirror, const char *namespace_label,
			    const char *service_label)
{
	char key[MIRROR_KEY_MAX];
	size_t length = make_key(namespace_label, service_label, key);
	struct ask *ask = mirror->ask_count < ASKS_MAX ? calloc(1, sizeof(*ask)) : NULL;

	if (!ask)
		return NULL;
	ask->mirror = mirror;
	list_init(&ask->followers);
	list_init(&ask->follower_link);
	snprintf(ask->namespace_label, sizeof(ask->namespace_label), "%s", namespace_label);
	snprintf(ask->service_label, sizeof(ask->service_label), "%s", service_label);
	if (map_put(mirror->ask_by_key, key, length, ask) < 0) {
		free(ask);
		return NULL;
	}
	list_append(&mirror->asks, &ask->link);
	mirror->ask_count++;
	return ask;
}

static void say(struct mirror *mirror, const struct need *need, enum need_outcome outcome)
{
	struct need_word word = { .outcome = (uint8_t)outcome, .need = *need };

	if (need->kind == NEED_REFRESH || mirror->is_closing)
		return;
	if (outcome == NEED_OVER_LIMIT)
		metrics_add(mirror->doors.metrics, METRIC_NOMAD_OVER_LIMIT, 1);
	mirror->doors.say(mirror->doors.say_arg, &word);
}

/* false: it cannot wait here. */
static bool add_waiter(struct ask *ask, const struct need *need)
{
	if (need->kind == NEED_REFRESH)
		return true;
	if (ask->waiter_count == ask->waiter_capacity) {
		size_t capacity = ask->waiter_capacity ? 2 * ask->waiter_capacity : 2;
		struct need *waiters = NULL;

		if (capacity <= WAITERS_MAX)
			waiters = realloc(ask->waiters, capacity * sizeof(*waiters));
		if (!waiters)
			return false;
		ask->waiters = waiters;
		ask->waiter_capacity = capacity;
	}
	ask->waiters[ask->waiter_count++] = *need;
	return true;
}

static void drop_calls_of(struct list *calls, const struct ask *ask)
{
	list_for_each_safe (link, calls) {
		struct call *call = list_entry(link, struct call, link);

		if (call->ask == ask)
			mirror_call_drop(call);
	}
}

/* Takes the ask out, with all that is under way for it, and tells those who waited. */
static void end_ask(struct ask *ask, enum need_outcome outcome)
{
	struct mirror *mirror = ask->mirror;
	char key[MIRROR_KEY_MAX];
	size_t length = make_key(ask->namespace_label, ask->service_label, key);

	if (ask->open_calls) {
		drop_calls_of(&mirror->active, ask);
		drop_calls_of(&mirror->urgent, ask);
		drop_calls_of(&mirror->leisure, ask);
	}
	map_remove(mirror->ask_by_key, key, length);
	while (list_pop(&ask->followers)) /* asks of their own: they end by themselves */
		continue;
	list_remove(&ask->link);
	list_remove(&ask->follower_link);
	mirror->ask_count--;
	for (size_t i = 0; i < ask->waiter_count; i++)
		say(mirror, &ask->waiters[i], outcome);
	free(ask->waiters);
	free(ask);
}

void mirror_ask_end_all(struct mirror *mirror)
{
	while (!list_is_empty(&mirror->asks))
		end_ask(list_entry(mirror->asks.next, struct ask, link),
			mirror_health_outcome(mirror));
}

static enum need_outcome outcome_of(const struct mirror *mirror, enum call_result result)
{
	switch (result) {
	case CALL_GOOD:
		return NEED_CAME;
	case CALL_DENIED:
		return NEED_DENIED;
	case CALL_FAILED:
	case CALL_STRANGE:
	case CALL_LOST:
		break;
	}
	return mirror_health_outcome(mirror);
}

/* A list has come, or has not: those who waited for it go on. */
static void end_list(struct ask *ask, enum call_result result)
{
	enum need_outcome outcome = outcome_of(ask->mirror, result);
	struct list *link;

	while ((link = list_pop(&ask->followers))) {
		struct ask *follower = list_entry(link, struct ask, follower_link);

		if (result == CALL_GOOD)
			continue_service(follower);
		else
			end_ask(follower, outcome);
	}
	end_ask(ask, outcome);
}

void mirror_ask_on_call_end(struct call *call, enum call_result result)
{
	struct ask *ask = call->ask;

	if (result > ask->worst)
		ask->worst = result;
	if (result == CALL_DENIED && !(call->service && call->was_hidden))
		mirror_space_denied(call->mirror, ask->namespace_label, !call->service);
	else if (result == CALL_GOOD && !call->service)
		mirror_scope_note(call->mirror, call->namespace,
				  mirror_space_is_empty(call->mirror, ask->namespace_label));
	if (--ask->open_calls > 0)
		return;
	mirror_pause_note(call->mirror, ask->namespace_label, ask->service_label, ask->was_useless);
	if (ask->service_label[0])
		end_ask(ask, outcome_of(call->mirror, ask->worst));
	else
		end_list(ask, ask->worst);
}

/* ---- from an ask to calls ---- */

/* Queues a call per exact name; false: out of memory (then some may be queued). */
static bool queue_calls(struct ask *ask, const char *const *namespaces, const char *const *services,
			size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct call *call = mirror_call_new(ask->mirror, ask, namespaces[i],
						    services ? services[i] : NULL);

		if (!call)
			return false;
		ask->open_calls++;
		mirror_call_queue(call, ask->waiter_count > 0 || !services);
	}
	return true;
}

/* Fetches the instances of every exact name behind the ask's; false: out of memory. */
static bool fetch(struct ask *ask, size_t *out_count)
{
	const char *namespaces[EXACT_NAMES_MAX], *services[EXACT_NAMES_MAX];
	size_t count =
		catalogue_exact_names(ask->mirror->doors.catalogue, ask->namespace_label,
				      ask->service_label, namespaces, services, EXACT_NAMES_MAX);

	*out_count = count;
	return queue_calls(ask, namespaces, services,
			   count < EXACT_NAMES_MAX ? count : EXACT_NAMES_MAX);
}

/* The namespace's list is at hand: the name is in it and is fetched, or does not exist. */
static void continue_service(struct ask *ask)
{
	struct mirror *mirror = ask->mirror;
	size_t count = 0;

	if (!fetch(ask, &count)) {
		end_ask(ask, mirror_health_outcome(mirror));
	} else if (count == 0) {
		catalogue_settle_absent(mirror->doors.catalogue, ask->namespace_label,
					ask->service_label);
		end_ask(ask, NEED_CAME);
	}
}

struct ask *mirror_ask_list(struct mirror *mirror, const char *namespace_label)
{
	struct ask *ask = find_ask(mirror, namespace_label, "");
	const char *exact[EXACT_NAMES_MAX];
	size_t count;

	if (ask)
		return ask;
	count = catalogue_exact_namespaces(mirror->doors.catalogue, namespace_label, exact,
					   EXACT_NAMES_MAX);
	if (count == 0 || !mirror_space_may_try(mirror, namespace_label, clock_now_ms()))
		return NULL;
	ask = make_ask(mirror, namespace_label, "");
	if (!ask)
		return NULL;
	if (queue_calls(ask, exact, NULL, count < EXACT_NAMES_MAX ? count : EXACT_NAMES_MAX))
		return ask;
	end_ask(ask, NEED_OVER_LIMIT);
	return NULL;
}

static void start_service(struct ask *ask)
{
	struct mirror *mirror = ask->mirror;
	struct ask *list;

	if (catalogue_has_instances(mirror->doors.catalogue, ask->namespace_label,
				    ask->service_label) ||
	    mirror_space_is_listed(mirror, ask->namespace_label, clock_now_ms(), NULL)) {
		continue_service(ask);
		return;
	}
	if (mirror_pause_is_on(mirror, ask->namespace_label, "")) {
		end_ask(ask, mirror_health_outcome(mirror));
		return;
	}
	list = mirror_ask_list(mirror, ask->namespace_label);
	if (list)
		list_append(&list->followers, &ask->follower_link);
	else
		end_ask(ask, NEED_OVER_LIMIT);
}

/* ---- needs ---- */

struct labels {
	char namespace[DNS_LABEL_MAX + 1], service[DNS_LABEL_MAX + 1];
};

static bool take_labels(const struct need *need, struct labels *out)
{
	bool wants_service = need->kind != NEED_NAMESPACE;

	if (!name_is_label(need->namespace_label, need->namespace_length) ||
	    (wants_service && !name_is_label(need->service_label, need->service_length)))
		return false;
	memset(out, 0, sizeof(*out));
	name_fold((const uint8_t *)need->namespace_label, need->namespace_length,
		  (uint8_t *)out->namespace);
	if (wants_service)
		name_fold((const uint8_t *)need->service_label, need->service_length,
			  (uint8_t *)out->service);
	return true;
}

/* The word that needs no asking; NEED_NONE: it must be asked. */
static enum need_outcome judge(struct mirror *mirror, const struct need *need,
			       const struct labels *labels)
{
	uint64_t now_ms = clock_now_ms();
	const char *exact[1];

	if (catalogue_exact_namespaces(mirror->doors.catalogue, labels->namespace, exact, 1) == 0) {
		mirror_space_outside(mirror, labels->namespace);
		catalogue_settle_absent(mirror->doors.catalogue, labels->namespace,
					labels->service);
		return NEED_CAME;
	}
	if (mirror->health.is_holding)
		return mirror_health_outcome(mirror);
	if (mirror_space_is_denied(mirror, labels->namespace, now_ms))
		return NEED_DENIED;
	if (mirror_pause_is_on(mirror, labels->namespace, labels->service))
		return mirror_health_outcome(mirror);
	if (need->kind == NEED_NAMESPACE &&
	    mirror_space_is_listed(mirror, labels->namespace, now_ms, NULL))
		return NEED_CAME;
	return NEED_NONE;
}

/* Joins or begins the ask for a service. */
static void need_service(struct mirror *mirror, const struct need *need,
			 const struct labels *labels)
{
	struct ask *ask = find_ask(mirror, labels->namespace, labels->service);
	bool is_new = !ask;

	if (is_new)
		ask = make_ask(mirror, labels->namespace, labels->service);
	if (!ask || !add_waiter(ask, need)) {
		if (ask && is_new)
			end_ask(ask, NEED_OVER_LIMIT);
		say(mirror, need, NEED_OVER_LIMIT);
		return;
	}
	if (is_new)
		start_service(ask);
	else if (need->kind == NEED_SERVICE)
		mirror_call_hurry(mirror, ask);
}

static void need_namespace(struct mirror *mirror, const struct need *need,
			   const struct labels *labels)
{
	struct ask *ask = mirror_ask_list(mirror, labels->namespace);

	if (!ask || !add_waiter(ask, need))
		say(mirror, need, NEED_OVER_LIMIT);
}

void mirror_need(struct mirror *mirror, const struct need *need)
{
	struct labels labels;
	enum need_outcome outcome;

	if (!take_labels(need, &labels)) {
		say(mirror, need, NEED_LOST);
		return;
	}
	outcome = judge(mirror, need, &labels);
	if (outcome != NEED_NONE) {
		say(mirror, need, outcome);
		return;
	}
	switch ((enum need_kind)need->kind) {
	case NEED_NAMESPACE:
		need_namespace(mirror, need, &labels);
		break;
	case NEED_SERVICE:
	case NEED_REFRESH:
		need_service(mirror, need, &labels);
		break;
	}
	mirror_call_pump(mirror);
}

/* ---- refreshing ---- */

bool mirror_ask_make_need(const char *namespace, const char *service, struct need *out)
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

void mirror_ask_refresh(struct mirror *mirror, const char *namespace, const char *service)
{
	struct need need;

	if (mirror_ask_make_need(namespace, service, &need))
		mirror_need(mirror, &need);
}
