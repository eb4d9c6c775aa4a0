/*
 * The map of names. One map leads from a folded (namespace, service) to its `name`; the exact
 * services hang from it (nearly always one). Collecting is catalogue_update.c and catalogue_list.c,
 * telling the zone is catalogue_publish.c.
 */
#include "nomad/catalogue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/metrics.h"
#include "config/config.h"
#include "dns/name.h"
#include "nomad/catalogue_parts.h"

/* ---- making and freeing ---- */

struct catalogue *catalogue_new(struct zone *zone, const struct config *config,
				struct metrics *metrics)
{
	struct catalogue *catalogue = calloc(1, sizeof(*catalogue));

	if (!catalogue)
		return NULL;
	catalogue->zone = zone;
	catalogue->metrics = metrics;
	catalogue->names = map_new();
	catalogue->spaces = map_new();
	catalogue->absents = map_new();
	catalogue->said = map_new();
	list_init(&catalogue->absents_oldest_first);
	hash_random(&catalogue->hash_key, sizeof(catalogue->hash_key));
	if (catalogue->names && catalogue->spaces && catalogue->absents && catalogue->said) {
		catalogue_configure(catalogue, config);
		return catalogue;
	}
	catalogue_free(catalogue);
	return NULL;
}

static void free_service(struct service *service)
{
	list_remove(&service->by_space);
	list_remove(&service->by_name);
	free(service->held);
	free(service);
}

static void free_name(struct name *name)
{
	list_for_each_safe (link, &name->services)
		free_service(list_entry(link, struct service, by_name));
	free(name->addresses);
	free(name);
}

static void free_space(struct space *space)
{
	free(space->tags);
	map_free(space->tags_seen);
	free(space);
}

static void free_allowed(char **allowed, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(allowed[i]);
	free(allowed);
}

void catalogue_free(struct catalogue *catalogue)
{
	struct name *name;
	struct space *space;
	size_t cursor = 0;

	if (!catalogue)
		return;
	reverse_free(catalogue->reverse);
	while (catalogue->names && (name = map_next(catalogue->names, &cursor, NULL, NULL)))
		free_name(name);
	cursor = 0;
	while (catalogue->spaces && (space = map_next(catalogue->spaces, &cursor, NULL, NULL)))
		free_space(space);
	list_for_each_safe (link, &catalogue->absents_oldest_first)
		free(link); /* the node is the first member */
	map_free(catalogue->names);
	map_free(catalogue->spaces);
	map_free(catalogue->absents);
	map_free(catalogue->said);
	free_allowed(catalogue->allowed, catalogue->allowed_count);
	free(catalogue);
}

/* ---- configuration ---- */

static bool take_allowed(struct catalogue *catalogue, const struct config *config)
{
	char **allowed = calloc(config->namespace_count + 1, sizeof(*allowed));
	bool is_whole = allowed != NULL;

	for (size_t i = 0; is_whole && i < config->namespace_count; i++) {
		allowed[i] = strdup(config->namespace[i]);
		is_whole = allowed[i] != NULL;
	}
	if (!is_whole) {
		if (allowed)
			free_allowed(allowed, config->namespace_count);
		return false;
	}
	free_allowed(catalogue->allowed, catalogue->allowed_count);
	catalogue->allowed = allowed;
	catalogue->allowed_count = config->namespace_count;
	return true;
}

/* Takes every name of a namespace out that is no longer allowed. */
static void drop_space(struct catalogue *catalogue, struct space *space)
{
	char label[CATALOGUE_KEY_MAX];

	list_for_each_safe (link, &space->services)
		catalogue_remove_service(catalogue, list_entry(link, struct service, by_space));
	catalogue_key(space->exact, "", label);
	zone_withdraw(catalogue->zone, label, NULL);
}

static void switch_reverse(struct catalogue *catalogue, bool is_on)
{
	struct name *name;
	size_t cursor = 0;

	if (is_on == (catalogue->reverse != NULL))
		return;
	if (is_on)
		catalogue->reverse = reverse_new(catalogue->zone);
	while ((name = map_next(catalogue->names, &cursor, NULL, NULL))) {
		if (!is_on)
			reverse_drop(catalogue->reverse, name);
		else if (catalogue->reverse && name->is_published)
			reverse_update(catalogue->reverse, name);
	}
	if (!is_on) {
		reverse_free(catalogue->reverse);
		catalogue->reverse = NULL;
	}
}

void catalogue_configure(struct catalogue *catalogue, const struct config *config)
{
	struct space *space;
	size_t cursor = 0;

	switch_reverse(catalogue, config->reverse);
	if (catalogue->ttl_s != config->ttl_s)
		catalogue_publish_again(catalogue);
	catalogue->ttl_s = config->ttl_s;
	catalogue->has_filter = config->filter && config->filter[0];
	catalogue->max_stale_ms = config->max_stale_ms;
	if (!take_allowed(catalogue, config))
		return;
	while ((space = map_next(catalogue->spaces, &cursor, NULL, NULL))) {
		if (catalogue_allows(catalogue, space->exact))
			continue;
		drop_space(catalogue, space);
		map_remove(catalogue->spaces, space->exact, strlen(space->exact));
		free_space(space);
	}
	catalogue_count(catalogue);
}

bool catalogue_allows(const struct catalogue *catalogue, const char *namespace)
{
	if (catalogue->allowed_count == 0)
		return true;
	for (size_t i = 0; i < catalogue->allowed_count; i++) {
		if (strcmp(catalogue->allowed[i], namespace) == 0)
			return true;
	}
	return false;
}

/* ---- keys ---- */

/* The folded key of two labels, namespace first, both ended by a NUL. */
size_t catalogue_key(const char *namespace, const char *service, char out[CATALOGUE_KEY_MAX])
{
	size_t a = strnlen(namespace, DNS_LABEL_MAX), b = strnlen(service, DNS_LABEL_MAX);

	name_fold((const uint8_t *)namespace, a, (uint8_t *)out);
	out[a] = '\0';
	name_fold((const uint8_t *)service, b, (uint8_t *)out + a + 1);
	out[a + 1 + b] = '\0';
	return a + b + 2;
}

static struct name *find_name(const struct catalogue *catalogue, const char *namespace,
			      const char *service)
{
	char key[CATALOGUE_KEY_MAX];
	size_t length = catalogue_key(namespace, service, key);

	return map_find(catalogue->names, key, length);
}

/* ---- finding, making, removing ---- */

struct service *catalogue_find_service(const struct catalogue *catalogue, const char *namespace,
				       const char *service)
{
	const struct name *name = find_name(catalogue, namespace, service);

	if (!name)
		return NULL;
	list_for_each (link, &name->services) {
		struct service *found = list_entry(link, struct service, by_name);

		if (strcmp(found->exact, service) == 0 &&
		    strcmp(found->space->exact, namespace) == 0)
			return found;
	}
	return NULL;
}

static struct space *make_space(struct catalogue *catalogue, const char *exact)
{
	size_t length = strlen(exact);
	struct space *space = map_find(catalogue->spaces, exact, length);

	if (space)
		return space;
	space = calloc(1, sizeof(*space) + length + 1);
	if (!space)
		return NULL;
	list_init(&space->services);
	memcpy(space->exact, exact, length);
	if (map_put(catalogue->spaces, exact, length, space) == 0)
		return space;
	free(space);
	return NULL;
}

static struct name *make_name(struct catalogue *catalogue, const char *namespace,
			      const char *service)
{
	char key[CATALOGUE_KEY_MAX];
	size_t length = catalogue_key(namespace, service, key);
	struct name *name = map_find(catalogue->names, key, length);

	if (name)
		return name;
	name = calloc(1, sizeof(*name) + length);
	if (!name)
		return NULL;
	list_init(&name->services);
	memcpy(name->key, key, length);
	name->key_length = (uint8_t)length;
	name->namespace_length = (uint8_t)strlen(key);
	if (map_put(catalogue->names, key, length, name) == 0)
		return name;
	free(name);
	return NULL;
}

struct service *catalogue_make_service(struct catalogue *catalogue, const char *namespace,
				       const char *service)
{
	struct service *made = catalogue_find_service(catalogue, namespace, service);
	size_t length = strlen(service);
	struct space *space;
	struct name *name;

	if (made)
		return made;
	space = make_space(catalogue, namespace);
	made = space ? calloc(1, sizeof(*made) + length + 1) : NULL;
	name = made ? make_name(catalogue, namespace, service) : NULL;
	if (!name) {
		free(made);
		return NULL;
	}
	memcpy(made->exact, service, length);
	made->name = name;
	made->space = space;
	list_append(&space->services, &made->by_space);
	list_append(&name->services, &made->by_name);
	catalogue->service_count++;
	return made;
}

/* Takes a service out; the zone hears that the name is gone, or what the others behind it have. */
int catalogue_remove_service(struct catalogue *catalogue, struct service *service)
{
	struct name *name = service->name;

	catalogue->service_count--;
	catalogue->instance_count -= service->held ? service->held->usable_count : 0;
	free_service(service);
	if (!list_is_empty(&name->services))
		return catalogue_publish_name(catalogue, name, true);
	if (catalogue->reverse)
		reverse_drop(catalogue->reverse, name);
	zone_withdraw(catalogue->zone, name->key, catalogue_name_service(name));
	map_remove(catalogue->names, name->key, name->key_length);
	free_name(name);
	return 0;
}

void catalogue_count(struct catalogue *catalogue)
{
	metrics_set(catalogue->metrics, METRIC_NOMAD_SERVICES, catalogue->service_count);
	metrics_set(catalogue->metrics, METRIC_NOMAD_INSTANCES, catalogue->instance_count);
}

/* ---- looking up ---- */

size_t catalogue_exact_names(const struct catalogue *catalogue, const char *namespace_label,
			     const char *service_label, const char **out_namespace,
			     const char **out_services, size_t capacity)
{
	const struct name *name = find_name(catalogue, namespace_label, service_label);
	size_t count = 0;

	if (!name)
		return 0;
	list_for_each (link, &name->services) {
		const struct service *service = list_entry(link, struct service, by_name);

		if (count < capacity) {
			out_namespace[count] = service->space->exact;
			out_services[count] = service->exact;
		}
		count++;
	}
	return count;
}

size_t catalogue_exact_namespaces(const struct catalogue *catalogue, const char *namespace_label,
				  const char **out_namespaces, size_t capacity)
{
	size_t count = 0, length = strlen(namespace_label);

	if (catalogue->allowed_count == 0) {
		if (capacity > 0)
			out_namespaces[0] = namespace_label;
		return 1;
	}
	for (size_t i = 0; i < catalogue->allowed_count; i++) {
		char folded[CATALOGUE_KEY_MAX];

		if (strlen(catalogue->allowed[i]) != length)
			continue;
		catalogue_key(catalogue->allowed[i], "", folded);
		if (strcmp(folded, namespace_label) != 0)
			continue;
		if (count < capacity)
			out_namespaces[count] = catalogue->allowed[i];
		count++;
	}
	return count;
}

bool catalogue_has_namespace(const struct catalogue *catalogue, const char *namespace_label)
{
	const struct space *space;
	char folded[CATALOGUE_KEY_MAX];
	size_t cursor = 0;

	while ((space = map_next(catalogue->spaces, &cursor, NULL, NULL))) {
		if (strlen(space->exact) > DNS_LABEL_MAX || list_is_empty(&space->services))
			continue;
		catalogue_key(space->exact, "", folded);
		if (strcmp(folded, namespace_label) == 0)
			return true;
	}
	return false;
}

bool catalogue_has_instances(const struct catalogue *catalogue, const char *namespace_label,
			     const char *service_label)
{
	const struct name *name = find_name(catalogue, namespace_label, service_label);

	if (!name)
		return false;
	list_for_each (link, &name->services) {
		if (list_entry(link, struct service, by_name)->held)
			return true;
	}
	return false;
}

bool catalogue_keep_newer(struct catalogue *catalogue, const char *namespace, const char *service,
			  uint64_t index, const struct zone_times *times)
{
	struct service *held = catalogue_find_service(catalogue, namespace, service);

	if (!held || !held->held || held->is_marked || catalogue_asof(held) <= index)
		return false;
	held->times = *times;
	held->term = zone_term(catalogue->zone);
	catalogue_publish_name(catalogue, held->name, false);
	return true;
}

size_t catalogue_service_count(const struct catalogue *catalogue)
{
	return catalogue->service_count;
}

size_t catalogue_instance_count(const struct catalogue *catalogue)
{
	return catalogue->instance_count;
}
