/*
 * Whether an upstream leads back to us, directly or by way of resolvers that forward here. Both
 * signs of it are a question of ours that comes in again:
 *
 *   by its case   a name in just the random case in which it went out. Costs nothing, but is no
 *                 more than a suspicion: whoever answers for that name has seen its case, and may
 *                 have any client send it to us. A forwarder on the way that folds names hides it.
 *   by its name   <128 random bits>.nomad-dns-loop-check.example (or, for an upstream of one
 * domain, under that), sent for this alone (loop_check.h): only the upstream and who is behind it
 * can know it, and it counts for some seconds only. "example" belongs to nobody (RFC 6761 §6.5),
 * and unlike "invalid" forwarders do pass it on.
 *
 * Pure. What is known lives in the list of upstreams and is shared by all workers.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "dns/dns.h"

struct question;
struct upstream;
struct upstream_list;

#define LOOP_ASKED 256	    /* places for what was asked lately; a power of two */
#define LOOP_LISTEN_MS 5000 /* for so long a name sent for this counts */
#define LOOP_KEPT_MS                                                                               \
	30000 /* then the upstream is asked again, if it was not seen to lead back anew */
#define LOOP_RECHECK_MS 15000 /* so that it is */

struct loop_memory { /* of a list */
	struct hash_key secret;
	/* Names as they went out, hashed; 0: none. */
	_Atomic uint64_t asked[LOOP_ASKED];
	_Atomic uint64_t check_due_ms, check_pause_ms;
};

struct loop_mark {		   /* of an upstream */
	_Atomic uint64_t until_ms; /* it leads back: not asked before that */
	atomic_bool is_said;	   /* the log has it */
	_Atomic uint64_t sent[2];  /* the random bits */
	_Atomic uint64_t sent_ms;
};

void loop_memory_init(struct loop_memory *memory);

/* Whether the upstream is known to lead back. */
bool loop_is_known(const struct upstream *upstream, uint64_t now_ms);

/* A name goes out in a case of its own. One with few letters could come in that case by chance: it
 * is not noted. */
void loop_note_asked(struct upstream_list *list, const uint8_t *name, size_t length);

/* Whether the question came in the very case in which we sent it lately: asked once more it might
 * go round for ever. Nothing is held against any upstream. */
bool loop_is_suspected(struct upstream_list *list, const struct question *question);

/* The upstream by way of which a name sent for this has come back to us; it is not to be asked for
 * 30 s. -1: none. `*out_is_new`: that was not known. */
int loop_find(struct upstream_list *list, const struct question *question, uint64_t now_ms,
	      bool *out_is_new);

/* Whether it is time to look for loops, as something failed, say; true for one caller, and then not
 * for a pause that grows from a second to a minute. */
bool loop_is_check_due(struct upstream_list *list, uint64_t now_ms);

/* A new name to send to the upstream. Its length; 0: the domain leaves no room for one. */
size_t loop_make_name(struct upstream *upstream, uint64_t now_ms, uint8_t out[DNS_NAME_MAX]);

/* Whether an upstream that led back does no more; true once. */
bool loop_has_ended(struct upstream *upstream, uint64_t now_ms);
