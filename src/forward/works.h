/*
 * The questions of one worker that are on their way upstream, or wait for their turn, found by what
 * makes two of them one there: name, type, class, DO and CD. Pure. An entry is the caller's
 * storage, part of what it is about.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/list.h"
#include "dns/question.h"

#define WORKS_BUCKETS 1024 /* a power of two */

struct works_entry {
	struct question question;
	uint64_t hash;
	struct works_entry *next; /* in its bucket, while it can be joined */
	bool is_joinable;
	struct list by_works;
};

struct works {
	struct hash_key secret;
	struct works_entry *bucket[WORKS_BUCKETS];
	struct list all; /* by_works, the oldest first */
};

void works_init(struct works *works);
uint64_t works_hash(const struct works *works, const struct question *question);

/* The one that the question can join, by its works_hash. NULL: none. */
struct works_entry *works_find(const struct works *works, uint64_t hash,
			       const struct question *question);

/* With its question and hash set. */
void works_add(struct works *works, struct works_entry *entry);

/* From here on the same question begins anew. Does nothing the second time. */
void works_hide(struct works *works, struct works_entry *entry);
void works_remove(struct works *works, struct works_entry *entry);
