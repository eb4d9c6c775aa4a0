/*
 * The names that were fetched since the last wake. A wake makes all of them old; those that are in
 * use are needed again at once. It also judges whether the alarm is to be believed, by asking
 * besides. It holds no request open, that is the alarm's; which names are in use, the zone counts.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct call;
struct map;
struct mirror;

struct watch {
	struct map *names; /* folded, namespace NUL service NUL: made live since the last wake */
	uint64_t refreshed_ms, refresh_at_ms;
	struct call *audit; /* looks whether the alarm missed something */
	uint64_t audit_at_ms, audited_ms, suspect_ms, suspect_index; /* 0: none */
	bool doubts_alarm;	/* it did not tell of a change */
	uint64_t audited_index; /* the alarm's at the last audit, and how many in a row … */
	unsigned right_audits;	/* … it was right in since */
};

bool mirror_watch_init(struct mirror *mirror); /* false: out of memory */
void mirror_watch_stop(struct mirror *mirror);
void mirror_watch_forget(struct mirror *mirror); /* frees all */

/* It was fetched, and is kept true from here on. */
void mirror_watch_note(struct mirror *mirror, const char *namespace, const char *service);

/* Something changed, somewhere. */
void mirror_watch_wake(struct mirror *mirror);

/* A reply that is ahead of the alarm: that has a second to tell the same. */
void mirror_watch_compare(struct mirror *mirror, const struct call *call);

/* The alarm did not tell of a change (`what`, for the log): Nomad is asked besides from now on. */
void mirror_watch_doubt(struct mirror *mirror, const char *what);

/* An audit found the table at `index`, and the alarm had its time to tell. One that was wrong once,
 * because an agent hung for a moment, is believed again some day; */
void mirror_watch_audited(struct mirror *mirror, uint64_t index);

/* and at once when another agent holds it. */
void mirror_watch_believe(struct mirror *mirror);

uint64_t mirror_watch_tick(struct mirror *mirror, uint64_t now_ms);
