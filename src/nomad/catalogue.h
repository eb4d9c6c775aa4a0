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
#include "nomad/zone_writer.h"

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

/* All names of its namespace are known: with the last one that is gone too. */
void catalogue_know_names(struct catalogue_update *update);

/* Whether any of it could not be read: then it may be less than what Nomad has. */
bool catalogue_has_bad(const struct catalogue_update *update);

/* Whether there is something, and none of it could be read: then Nomad did not say this. */
bool catalogue_is_unusable(const struct catalogue_update *update);

/*
 * Makes it the truth as of `index`, and publishes the folded name if anything changed (else only
 * its times move). No instances at all: the service is gone (published as absent until
 * times->fresh_until_ms). Frees the update. 0, -ENOMEM (then the old truth stays), or -EAGAIN: an
 * event newer than `index` was heard of it, so it has to be fetched again.
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

/* A name that seems to be gone; its records stay until catalogue_remove_now. */
typedef void catalogue_gone(void *arg, const char *namespace, const char *service);

/*
 * Makes the list the truth: names not in it are told to `on_gone` (NULL: they are gone at once,
 * their records too), new ones are known to exist, those that stay keep their records. A name
 * fetched after the list was made stays. Publishes the namespace too. 0 or -ENOMEM.
 */
int catalogue_list_commit(struct catalogue_listing *listing, uint64_t index,
			  const struct zone_times *times, catalogue_gone *on_gone, void *arg);
void catalogue_list_abandon(struct catalogue_listing *listing);

/* For a list of a lagging server: the names stay, only the namespace's times move. 0 or -ENOMEM. */
int catalogue_list_keep(struct catalogue *catalogue, const char *namespace_label,
			const struct zone_times *times);

/* ---- the whole cluster's list: several parts collected, then committed at once ---- */

struct catalogue_all;

struct catalogue_all *catalogue_all_begin(struct catalogue *catalogue); /* NULL: out of memory */

/* What is added next is of this exact namespace's list (NULL: of `namespace=*`), which was made at
 * `index`. 0 or -ENOMEM. */
int catalogue_all_part(struct catalogue_all *all, const char *namespace, uint64_t index);
int catalogue_all_add(void *all, const struct json_listed *listed); /* fits json_on_listed */
void catalogue_all_add_bad(void *all, const char *why);		    /* fits on_bad */
bool catalogue_all_is_empty(const struct catalogue_all *all);
bool catalogue_all_is_unusable(const struct catalogue_all *all);

/*
 * As catalogue_list_commit for each namespace that has a part. `is_whole`: there are no other
 * namespaces either. Frees `all`. 0 or -ENOMEM (then some of it may not be done: list again).
 */
int catalogue_all_commit(struct catalogue_all *all, bool is_whole, const struct zone_times *times,
			 catalogue_gone *on_gone, void *arg);
void catalogue_all_abandon(struct catalogue_all *all);

/* Indexes went back (another server, a restored snapshot): whatever comes next is newer than what
 * is held. */
void catalogue_rewind(struct catalogue *catalogue);

/* ---- one change at a time ---- */

enum catalogue_effect {
	CATALOGUE_OLD,		 /* covered by what is known, or not ours: nothing changed */
	CATALOGUE_APPLIED,	 /* the instances changed and are published */
	CATALOGUE_MARKED,	 /* only a GET can say what it has, or whether it is there */
	CATALOGUE_NEW_NAMESPACE, /* the same, in a namespace that had no services */
	CATALOGUE_LAST_GONE,	 /* the last instance went: its records stay until it is settled */
};

/*
 * Applies one event that is newer than what is known of its service. `is_removal`: nomad's word is
 * that this registration is gone. `times` are those of what is kept true from here on. With a
 * `filter` only Nomad knows what an event means for us, so it only marks. No reply older than the
 * event is taken for the truth afterwards. Returns the effect, or -ENOMEM (then names may be
 * missing: list again).
 */
int catalogue_event(struct catalogue *catalogue, const struct json_event *event, bool is_removal,
		    const struct zone_times *times);

/*
 * After zone_expire_live: what is held of a folded name stays true, because something else than
 * what was missed tells of it. false: it was not true just before (marked, going, or not fetched),
 * and nothing has changed.
 */
bool catalogue_keep_live(struct catalogue *catalogue, const char *namespace_label,
			 const char *service_label, const struct zone_times *times);

/*
 * Removes a service that is still as CATALOGUE_LAST_GONE or on_gone found it; else does nothing. If
 * anything may have been missed since (zone_expire_live), whether it is there is open again. true:
 * it is gone now.
 */
bool catalogue_remove_now(struct catalogue *catalogue, const char *namespace, const char *service,
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

/* Whether any namespace behind the folded label has services. */
bool catalogue_has_namespace(const struct catalogue *catalogue, const char *namespace_label);

/* A list at hand says that there is no such name: takes back what may still be published of it. */
void catalogue_settle_absent(struct catalogue *catalogue, const char *namespace_label,
			     const char *service_label);

/* Whether any instances of the folded name were ever fetched and are still held. */
bool catalogue_has_instances(const struct catalogue *catalogue, const char *namespace_label,
			     const char *service_label);

enum catalogue_which {
	CATALOGUE_UNLOADED, /* listed, but not fetched, or not true any more */
	CATALOGUE_ASKED,    /* asked for since it was picked last */
};

struct catalogue_pick {
	const char *namespace, *service; /* exact; borrowed until the catalogue changes */
	unsigned long asked_count;	 /* since it was picked last */
};

/* The names that were asked for most, first. Walks all names: not for every change. Returns how
 * many of `capacity` were filled. */
size_t catalogue_pick(struct catalogue *catalogue, enum catalogue_which which,
		      struct catalogue_pick *out, size_t capacity);

size_t catalogue_service_count(const struct catalogue *catalogue);
size_t catalogue_instance_count(const struct catalogue *catalogue);
