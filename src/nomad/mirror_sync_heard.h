/*
 * What others tell of the table (replies, the alarm), held against what the streams told. It owns
 * since when the stream has been behind, of which mirror_sync_tick makes a doubt and then an end.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nomad/mirror_scope.h"

struct mirror;

#define SYNC_ANYWHERE SCOPE_MAX

struct told {		      /* of one namespace of the scope */
	uint64_t index;	      /* the highest of its stream, or the list's */
	uint64_t heard_index; /* the highest of its alarm */
};

/* Its place in the scope; SYNC_ANYWHERE: none, or one stream tells of all. */
size_t mirror_sync_place(const struct mirror *mirror, const char *namespace);

/* Somebody says that the table is at `index`: the stream has to get there, soon. */
void mirror_sync_heard(struct mirror *mirror, uint64_t index);

/* An alarm says that something changed in `namespace` (NULL: somewhere): its own stream has to. */
void mirror_sync_heard_of(struct mirror *mirror, const char *namespace, uint64_t index);

/* What was heard while the stream was not live, or behind with something else, counts now. */
void mirror_sync_hear_again(struct mirror *mirror);

/* Whether what made `index` was in the stream, or is covered by the list. */
bool mirror_sync_has_seen(const struct mirror *mirror, uint64_t index);

/* Whether anything was heard that no stream has told. */
bool mirror_sync_is_behind(const struct mirror *mirror);

/* A frame about that place was applied. */
void mirror_sync_told(struct mirror *mirror, size_t at, uint64_t index);

/* A list was, which knows everything up to `index`. It has the last word. */
void mirror_sync_told_all(struct mirror *mirror, uint64_t index);
