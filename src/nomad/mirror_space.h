/*
 * What is known of namespaces, by folded label: until when a list is at hand, or access denied. Not
 * their names, which are the catalogue's. It publishes namespaces that are denied or absent, and
 * bounds how many of those are remembered and how fast made-up ones may be asked about.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

struct map;
struct mirror;

struct spaces {
	struct map *by_label;	 /* folded namespace → struct space_record */
	struct list forgettable; /* absent and denied ones, the oldest first */
	size_t forgettable_count;
	uint64_t tries_millis, tries_at_ms; /* token bucket for namespaces never seen */
};

bool mirror_space_init(struct mirror *mirror);	 /* false: out of memory */
void mirror_space_forget(struct mirror *mirror); /* frees all */

/* Whether its names are known, by a list or because all are. *out_index (unless NULL): that list's,
 * also when it is not good any more; untouched without one. */
bool mirror_space_is_listed(const struct mirror *mirror, const char *label, uint64_t now_ms,
			    uint64_t *out_index);
bool mirror_space_is_denied(const struct mirror *mirror, const char *label, uint64_t now_ms);
bool mirror_space_is_empty(const struct mirror *mirror, const char *label);

/* Whether a namespace may be asked about: known ones always, made-up ones at a limited pace. */
bool mirror_space_may_try(struct mirror *mirror, const char *label, uint64_t now_ms);

/* A list of it, made at `index`, is good until then (ZONE_LIVE: while it is kept true).
 * `is_absent`: there is nothing in it. 0 or -ENOMEM. */
int mirror_space_listed(struct mirror *mirror, const char *label, uint64_t index, bool is_absent,
			uint64_t until_ms);

/* The list of before stays good for longer. 0 or -ENOMEM. */
int mirror_space_extend(struct mirror *mirror, const char *label, uint64_t until_ms);

/* A denied list hides which names there are; a denied service says nothing about the list. 0 or
 * -ENOMEM. */
int mirror_space_denied(struct mirror *mirror, const char *label, bool is_list);

/* Outside the configured namespaces: absent, and no request will ever say otherwise. */
void mirror_space_outside(struct mirror *mirror, const char *label);

/* A new token or configuration: what was absent or denied may be there now, and lists are old. */
void mirror_space_renew(struct mirror *mirror);

/* No list is kept true any more. */
void mirror_space_expire(struct mirror *mirror);
