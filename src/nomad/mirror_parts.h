/*
 * The mirror as its own files see it, and nobody else: what it is made of, and what all parts need.
 * What a part does and owns, its header says; mirror.h has the map. Parts call each other's
 * functions and read each other's fields; but for what is configured, only its own files write a
 * part's (those of `struct sync` are one part).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/hash.h"
#include "base/list.h"
#include "base/log.h"
#include "base/metrics.h"
#include "config/config.h"
#include "dns/dns.h"
#include "nomad/mirror.h"
#include "nomad/mirror_alarm.h"
#include "nomad/mirror_health.h"
#include "nomad/mirror_large.h"
#include "nomad/mirror_pause.h"
#include "nomad/mirror_preload.h"
#include "nomad/mirror_pulse.h"
#include "nomad/mirror_scope.h"
#include "nomad/mirror_settle.h"
#include "nomad/mirror_space.h"
#include "nomad/mirror_sync.h"
#include "nomad/mirror_tier.h"
#include "nomad/mirror_watch.h"
#include "nomad/zone_writer.h"

struct map;

#define MIRROR_KEY_MAX (2 * DNS_LABEL_MAX + 2) /* two labels, each with its NUL */
#define MIRROR_JITTER_PERCENT 20	       /* of every pause, either way */

struct mirror {
	struct mirror_doors doors;
	uv_timer_t timer;      /* while calls are under way or a probe is planned */
	uv_timer_t live_timer; /* mirror_live's clock */
	unsigned open_handles;
	struct hash_dice dice;
	struct hash_key pause_key;

	/* what is known of Nomad */
	struct health health;
	struct pulse pulse;
	size_t address;	     /* the one that gave the last good answer */
	uint64_t heard_ms;   /* when Nomad last said anything */
	bool is_leaderless;  /* the last answer was of a server that knows no leader */
	uint64_t index;	     /* how far the table is known to be */
	uint64_t back_index; /* a reply told that it went back; still to be acted on; 0: no */
	bool must_renew;     /* likewise: there may be more to be had now */

	/* what is asked */
	struct list asks;
	struct map *ask_by_key;
	size_t ask_count;
	struct list active, urgent, leisure; /* calls; the latter two are queues */
	size_t active_count;
	struct spaces spaces;
	struct pause pauses[MIRROR_PAUSES];
	struct log_brake complaint_brake, denied_brake, index_brake;

	/* what is configured */
	uint64_t ttl_ms, negative_ttl_ms, max_stale_ms;
	char *filter;		      /* "&filter=…", escaped; "" : none */
	unsigned filter_turn;	      /* another filter has another one */
	char home[DNS_LABEL_MAX + 1]; /* exact: where the probe asks */
	enum config_mirror ceiling;
	struct scope configured; /* where we were told to listen */

	/* what keeps it live */
	struct scope scope; /* where we listen */
	struct scout scout;
	struct alarm alarm;
	struct watch watch;
	struct sync sync;
	struct large large;
	bool is_large; /* the cluster changes so often that only the asked for is followed */
	struct settle settle;
	struct preload preload;
	struct tier_state tier;
	uint64_t token_at_ms; /* when a new token is looked for */

	bool is_closing;
	void (*closed)(void *);
	void *closed_arg;
};

/* Does what is due; every TICK_MS while the clock of the calls runs. Tests turn it by hand. */
void mirror_tick(struct mirror *mirror, uint64_t now_ms);

/* The clock of the calls and of the probe runs until nothing is under way or planned. */
void mirror_arm(struct mirror *mirror);

/* Of what was read just now and nobody keeps true: `ttl`, or `negative-ttl` unless `is_there`. */
struct zone_times mirror_times(const struct mirror *mirror, bool is_there, bool is_leaderless);

/* Of what is kept true from here on; stale only counts once it is not any more. */
struct zone_times mirror_times_live(const struct mirror *mirror);

/* Anything may have changed: what is held is fetched again when it is asked for. */
void mirror_expire_live(struct mirror *mirror);

/* Nomad said this index; if it is the highest, the zone hears of it. */
void mirror_take_index(struct mirror *mirror, uint64_t index);

/* A pause that not every node makes as long. */
uint64_t mirror_jitter(struct mirror *mirror, uint64_t ms);

/* As a DNS label looks; what is too long for one is cut. */
void mirror_fold(const char *text, char out[SCOPE_NAME_MAX]);
