/*
 * Where we may listen: everywhere, in the configured namespaces, or in those that a list for `*`
 * shows to our token (the scout). Streams and held requests are begun anew when it changes; what
 * they do is theirs. Names are exact here, and owned.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct call;
struct config;
struct mirror;

#define SCOPE_MAX 8 /* namespaces followed one by one: each has a stream and a held request */
#define SCOPE_NAME_MAX 129

struct scope { /* where we may listen */
	bool is_all;
	bool by_list; /* all that may be read, which is not all there is: only lists of `*` tell */
	size_t count;
	char names[SCOPE_MAX][SCOPE_NAME_MAX]; /* exact */
};

struct scout { /* looks which namespaces the token may read */
	struct call *call;
	struct scope found;
	struct scope more; /* turned out to be readable since, and join at the next turn */
	bool has_looked, is_too_many;
	bool is_early; /* it was not yet known whether one stream tells of all */
	uint64_t joined_ms;
};

/* Takes over `namespace`; what the scout has found is forgotten. */
void mirror_scope_configure(struct mirror *mirror, const struct config *config);

/* Drops what the scout has under way. */
void mirror_scope_stop(struct mirror *mirror);

/* Back to what is configured. true: it was another one, and the alarm has begun anew. */
bool mirror_scope_reset(struct mirror *mirror);

/* Whether we listen in this namespace (folded or not). */
bool mirror_scope_holds(const struct scope *scope, const char *namespace);

/* The token may not read this one. true: we listen anew in those that are left; false: there are
 * none, and nothing was begun. */
bool mirror_scope_drop(struct mirror *mirror, const char *namespace);

/* Nomad gave a namespace's list: it may be read, and joins at the next turn. */
void mirror_scope_note(struct mirror *mirror, const char *namespace, bool is_empty);

/* The scout's reply, the list of `*`. 0, -EINVAL with `why`, or -ENOMEM. */
int mirror_scope_read(struct mirror *mirror, const char *body, size_t length, char *why,
		      size_t why_capacity);

/* There is something in the list of `*`: if the scout had found nothing, it looks again. */
void mirror_scope_look(struct mirror *mirror);

uint64_t mirror_scope_tick(struct mirror *mirror, uint64_t now_ms);
