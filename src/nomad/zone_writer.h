/*
 * The writer's side of the zone: the main thread's only, and no reader's (zone.h is theirs). Names
 * are published one at a time, so one change costs one rebuild; what was there before is freed once
 * no reader can see it any more. Labels are folded; everything handed over is copied.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "nomad/zone.h"

struct config;

enum zone_live {		  /* what the control plane keeps true by itself */
		 ZONE_LIVE_NOT,	  /* nothing: what has live times is no longer fresh */
		 ZONE_LIVE_HELD,  /* what has live times */
		 ZONE_LIVE_NAMES, /* that, and every name there is stands in the zone */
};

/* An empty zone for the configured zones; takes a reference of its own. NULL when out of memory. */
struct zone *zone_new(struct config *config);

/* Frees everything. No reader may be left. */
void zone_free(struct zone *zone);

/* Takes over ttl, negative-ttl, max-stale, reverse of a new configuration. 0 or -ENOMEM (then the
 * old ones stay). */
int zone_configure(struct zone *zone, const struct config *config);

/* Tells readers how Nomad is, and the index the SOA serial grows with (never goes back). */
void zone_set_nomad(struct zone *zone, enum zone_nomad state);
void zone_set_index(struct zone *zone, uint64_t index);

/* Live begins or ends, for all names at once. Beginning again makes what was live true again: right
 * only if nothing was missed, else zone_expire_live comes first. */
void zone_set_live(struct zone *zone, enum zone_live live, uint64_t now_ms);

/* Something may have changed: what has live times so far counts as heard last now, and only what is
 * published from here on is live. */
void zone_expire_live(struct zone *zone, uint64_t now_ms);

/* One usable instance, as the catalogue hands it over. Text is borrowed for the call. */
struct zone_instance {
	struct addr addr; /* family 0: `host` is meant; its port is not used */
	const char *host; /* host name without its final dot; NULL if addr is set */
	uint16_t port;	  /* 0: none */
	const char *const *tags;
	size_t tag_count; /* tags that are no label are passed over */
};

struct zone_times {
	uint64_t refresh_from_ms, fresh_until_ms, stale_until_ms;
	bool is_leaderless;
};

/*
 * Publishes a service (folded labels) in every configured zone: ZONE_LOADED with these instances
 * (none of them usable: the name exists and has no records), or ZONE_LISTED, ZONE_ABSENT,
 * ZONE_DENIED without. Replaces what was there. 0 or -ENOMEM (then the old name stays).
 */
int zone_publish_service(struct zone *zone, const char *namespace_label, const char *service_label,
			 enum zone_state state, const struct zone_times *times,
			 const struct zone_instance *instances, size_t instance_count);

/* Publishes a namespace: ZONE_LOADED (it has services; `tags` are those seen in it, for _tag
 * forms), ZONE_ABSENT, ZONE_DENIED. */
int zone_publish_namespace(struct zone *zone, const char *namespace_label, enum zone_state state,
			   const struct zone_times *times, const char *const *tags,
			   size_t tag_count);

/* Only moves the times of a published service whose records did not change. false: there is no such
 * name. */
bool zone_touch_service(struct zone *zone, const char *namespace_label, const char *service_label,
			const struct zone_times *times);

/* Takes a service or (service_label NULL) a namespace out: nothing is known of it any more. */
void zone_withdraw(struct zone *zone, const char *namespace_label, const char *service_label);

/* PTR targets of an address (names relative to the first zone: "redis.default"); count 0 withdraws.
 * 0 or -ENOMEM. */
int zone_publish_reverse(struct zone *zone, const struct addr *address, const char *const *names,
			 size_t name_count);

/* How often a service was asked since the last call (all zones together); resets the count. */
unsigned long zone_take_asked(struct zone *zone, const char *namespace_label,
			      const char *service_label);
