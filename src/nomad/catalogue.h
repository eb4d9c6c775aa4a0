/*
 * What is known of Nomad's services and instances, and since when; the control plane's own, no
 * reader ever sees it. A change of one service rebuilds and publishes that one name. Exact names
 * live here (Nomad is case-sensitive); names that fold to the same DNS name are served together.
 * Pure: time is an argument, the zone is its only neighbour.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nomad/json.h"
#include "nomad/zone.h"

struct catalogue;
struct config;
struct metrics;

struct catalogue *catalogue_new(struct zone *zone, const struct config *config,
				struct metrics *metrics);
void catalogue_free(struct catalogue *catalogue);
void catalogue_configure(struct catalogue *catalogue, const struct config *config);

/* Whether this exact namespace may appear at all (`namespace` in the configuration). */
bool catalogue_allows(const struct catalogue *catalogue, const char *namespace);

/* ---- one service's instances: collect, then commit or abandon (nothing known is lost by half a
 * body) ---- */

struct catalogue_update;

/* Begins to collect the instances of one exact (namespace, service). NULL: out of memory. */
struct catalogue_update *catalogue_begin(struct catalogue *catalogue, const char *namespace,
					 const char *service);

/* Adds one; unusable ones are left out, counted and named in the log once. 0 or -ENOMEM. Fits
 * json_on_instance. */
int catalogue_add(void *update, const struct json_instance *instance);

/* Counts one that could not even be read: the service has it, nobody can use it. Fits on_bad. */
void catalogue_add_bad(void *update, const char *why);

/* Whether Nomad said that there are no instances at all. */
bool catalogue_is_empty(const struct catalogue_update *update);

/* Whether there is something, and none of it could be read: then Nomad did not say this. */
bool catalogue_is_unusable(const struct catalogue_update *update);

/*
 * Makes it the truth as of `index`, and publishes the folded name if anything changed (else only
 * its times move). No instances at all: the service is gone (published as absent until
 * times->fresh_until_ms). Frees the update. 0 or -ENOMEM (then the old truth stays).
 */
int catalogue_commit(struct catalogue_update *update, uint64_t index,
		     const struct zone_times *times);

/*
 * For what a lagging server may have said: if what is held of the service is newer than `index`,
 * only its times move, and it returns true.
 */
bool catalogue_keep_newer(struct catalogue *catalogue, const char *namespace, const char *service,
			  uint64_t index, const struct zone_times *times);

/* Forgets what was collected. */
void catalogue_abandon(struct catalogue_update *update);

/* ---- a namespace's list of names ---- */

struct catalogue_listing;

/* Begins to collect the names of one exact namespace. NULL: out of memory. */
struct catalogue_listing *catalogue_list_begin(struct catalogue *catalogue, const char *namespace);
int catalogue_list_add(void *listing, const struct json_listed *listed); /* fits json_on_listed */
void catalogue_list_add_bad(void *listing, const char *why);		 /* fits on_bad */
bool catalogue_list_is_empty(const struct catalogue_listing *listing);

/* Whether any of it could not be read: then what is missing proves nothing. */
bool catalogue_list_is_unusable(const struct catalogue_listing *listing);

/*
 * Makes the list the truth: names not in it are gone (at once, their records too), new ones are
 * known to exist, those that stay keep their records. A name fetched after the list was made stays.
 * Publishes the namespace too. 0 or -ENOMEM.
 */
int catalogue_list_commit(struct catalogue_listing *listing, uint64_t index,
			  const struct zone_times *times);
void catalogue_list_abandon(struct catalogue_listing *listing);

/* For a list of a lagging server: the names stay, only the namespace's times move. 0 or -ENOMEM. */
int catalogue_list_keep(struct catalogue *catalogue, const char *namespace_label,
			const struct zone_times *times);

/* Makes everything held old, so that it is fetched again when it is asked for next. */
void catalogue_expire(struct catalogue *catalogue);

/* ---- looking up ---- */

/*
 * The exact names behind a folded one, to be fetched: fills up to `capacity` pointers, borrowed
 * until the catalogue changes. Returns how many there are.
 */
size_t catalogue_exact_names(const struct catalogue *catalogue, const char *namespace_label,
			     const char *service_label, const char **out_namespace,
			     const char **out_services, size_t capacity);

/* The exact namespaces that a folded label may mean: those configured, or the label itself. As
 * above; 0: it is outside the configured ones. */
size_t catalogue_exact_namespaces(const struct catalogue *catalogue, const char *namespace_label,
				  const char **out_namespaces, size_t capacity);

/* A list at hand says that there is no such name: takes back what may still be published of it. */
void catalogue_settle_absent(struct catalogue *catalogue, const char *namespace_label,
			     const char *service_label);

/* Whether any instances of the folded name were ever fetched and are still held. */
bool catalogue_has_instances(const struct catalogue *catalogue, const char *namespace_label,
			     const char *service_label);

size_t catalogue_service_count(const struct catalogue *catalogue);
size_t catalogue_instance_count(const struct catalogue *catalogue);
