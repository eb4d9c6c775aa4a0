/*
 * Names that are listened for one by one, in a cluster that changes too often for more: for each a
 * held request for its instances, whose reply is the truth. Which names those are, mirror_large
 * chooses. The places are in `struct large`, fixed in number, and own their requests.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "nomad/mirror_scope.h"
#include "nomad/need.h"

struct mirror;

#define HELD_NAMES_MAX 24 /* beside the alarm; an agent takes 100 connections of an address */

struct held_name {
	struct mirror *mirror;			     /* NULL: the place is free */
	struct need need;			     /* its folded names */
	char namespace[SCOPE_NAME_MAX], service[64]; /* exact */
	uint64_t id;				     /* 0: none under way */
	uint64_t index;				     /* as of the last reply; 0: none yet */
	uint64_t asked_ms, ask_at_ms;
	uint64_t credit_ms, credited_ms; /* for replies behind which it may be asked at once */
	unsigned idle_turns;
	bool is_kept; /* what is known of it is true until its request says otherwise */
};

/* A name in use (exact). Nothing happens when there is no room for it. */
void mirror_held_take(struct mirror *mirror, const char *namespace, const char *service);

/* A turn of choosing begins: whoever is not taken for `turns_max` turns is let go. */
void mirror_held_turn(struct mirror *mirror, unsigned turns_max);

/* Lets all go. */
void mirror_held_drop(struct mirror *mirror);

/* Everything was made old: what is kept here is not. */
void mirror_held_keep(struct mirror *mirror);

/* It was fetched besides, and is the truth: what changes from here on is told. */
void mirror_held_note(struct mirror *mirror, const struct need *need);

/* Whether what is known of a name is kept true here. */
bool mirror_held_is_kept(struct mirror *mirror, const struct need *need);

uint64_t mirror_held_tick(struct mirror *mirror, uint64_t now_ms);
