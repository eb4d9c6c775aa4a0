/*
 * What the mirror's files share, and nobody else sees. An `ask` is what workers want to know of one
 * name, with all who wait for it; a `call` is one question to Nomad, put to one address after the
 * other until it is decided. mirror.c owns the asks, mirror_call.c the calls, mirror_space.c what
 * is known of namespaces, mirror_health.c whether Nomad is there.
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
#include "nomad/http.h"
#include "nomad/mirror.h"
#include "nomad/mirror_live.h"
#include "nomad/zone.h"

struct map;

#define MIRROR_KEY_MAX (2 * DNS_LABEL_MAX + 2)
#define MIRROR_JITTER_PERCENT 20	    /* of every pause, either way */
#define MIRROR_PROBE_NAME "nomad-dns-probe" /* nobody has it: Nomad answers [] and its index */
#define MIRROR_LARGE_PACE_MS 900	    /* what is told then is answered within a second */
#define MIRROR_SLOW_PACE_MS 400 /* the same beside a stream, which gets half a second to tell */

enum call_result { /* from good to bad */
		   CALL_GOOD,
		   CALL_FAILED,	 /* this question failed; it says nothing about Nomad */
		   CALL_DENIED,	 /* 401, 403, or an index of 0 */
		   CALL_STRANGE, /* every address answers what a Nomad agent does not */
		   CALL_LOST,	 /* no address has a word for us */
};

struct ask {
	struct list link; /* in mirror->asks */
	struct mirror *mirror;
	char namespace_label[DNS_LABEL_MAX + 1];
	char service_label[DNS_LABEL_MAX + 1]; /* "": the namespace's list */
	struct need *waiters;
	size_t waiter_count, waiter_capacity;
	struct list followers;	   /* of a list: the service asks that wait for it */
	struct list follower_link; /* of a service */
	size_t open_calls;
	enum call_result worst;
	bool was_useless; /* Nomad answered, and asking again at once is no use */
};

enum call_kind {
	CALL_KIND_LIST,	   /* a namespace's names */
	CALL_KIND_SERVICE, /* a service's instances */
	CALL_KIND_PROBE,   /* only the index counts */
	CALL_KIND_ALL,	   /* a part of the whole cluster's list */
	CALL_KIND_SCOUT,   /* which namespaces there are to be read */
};

struct leg { /* one HTTP request of a call */
	struct call *call;
	uint64_t id; /* 0: not under way */
	size_t address;
	bool is_stale;
};

struct call {
	struct list link; /* queued or active */
	struct mirror *mirror;
	enum call_kind kind;
	struct ask *ask; /* NULL: the mirror asks for itself */
	void (*on_end)(struct call *call, enum call_result result); /* NULL: nobody but health */
	char *path;						    /* with a '?'; owned */
	char *namespace, *service; /* exact; owned; service NULL: a list */
	struct leg plain, stale;
	struct leg beside; /* at another address, while this one is slow */
	bool is_active;
	bool has_asked_stale, has_retried_token, has_moved;
	bool was_beside_silent; /* that address needs no more asking */
	bool has_lost;		/* an address failed in a way that means loss */
	bool was_all_refused;	/* every failure was "no connection" */
	size_t address, tried_count;
	uint64_t started_ms; /* at this address */
	uint64_t beside_ms;  /* at the other; 0: not yet */
	uint64_t retry_after_s;
	uint64_t index;	      /* of the good reply */
	bool was_stale;	      /* that reply */
	bool is_kept;	      /* another request is held from its index on */
	uint64_t floor_index; /* the table was there when it was asked */
	unsigned repeat_count;
	char error[256];
};

struct health {
	enum zone_nomad state;
	bool is_ready;	   /* one good word since start */
	bool is_holding;   /* needs make no requests: the probe finds out when they may again */
	uint64_t since_ms; /* when it was lost, or last found */
	uint64_t found_ms;
	uint64_t probe_at_ms;	 /* 0: none planned */
	uint64_t probed_home_ms; /* when a denial was last looked into */
	unsigned step;		 /* of the doubling */
	struct call *probe;
	char reason[320];
};

struct spaces {
	struct map *by_label;	 /* folded namespace → struct space_record */
	struct list forgettable; /* absent and denied ones, the oldest first */
	size_t forgettable_count;
	uint64_t tries_millis, tries_at_ms; /* token bucket for namespaces never seen */
};

#define MIRROR_PAUSES 256

struct pause {
	uint64_t until_ms;
	unsigned step; /* of the doubling */
};

struct mirror {
	struct hash_key pause_key;
	struct pause pauses[MIRROR_PAUSES];
	struct mirror_doors doors;
	uv_timer_t timer;
	struct hash_dice dice;
	struct health health;
	size_t address;	   /* the one that gave the last good answer */
	uint64_t heard_ms; /* when Nomad last said anything */
	struct pulse pulse;
	bool is_leaderless; /* the last answer was of a server that knows no leader */
	uint64_t index;

	struct list asks;
	struct map *ask_by_key;
	size_t ask_count;
	struct list active, urgent, leisure; /* calls; the latter two are queues */
	size_t active_count;

	struct spaces spaces;

	uint64_t ttl_ms, negative_ttl_ms, max_stale_ms;
	char *filter;		      /* "&filter=…", escaped; "" : none */
	char home[DNS_LABEL_MAX + 1]; /* exact: where the probe asks */
	struct log_brake complaint_brake, denied_brake, index_brake;

	enum config_mirror ceiling;
	struct scope scope, configured; /* where we listen, and where we were told to */
	struct alarm alarm;
	struct sync sync;
	struct scout scout;
	struct watch watch;
	struct large large;
	struct settle settle;
	struct preload preload;
	uv_timer_t live_timer;
	uint64_t back_index;  /* a reply said so, and it is still to be acted on; 0: none */
	uint64_t token_at_ms; /* when a new token is looked for */
	bool is_large;	      /* the cluster changes so often that only the asked for is followed */
	bool alarm_is_doubtful;
	struct tier_state tier;
	unsigned open_handles;

	bool is_closing;
	void (*closed)(void *);
	void *closed_arg;
};

/* mirror.c */
void mirror_tick(struct mirror *mirror, uint64_t now_ms);
void mirror_arm(struct mirror *mirror);
struct zone_times mirror_times(const struct mirror *mirror, bool is_there, bool is_leaderless);
/* Of what is kept true from here on; stale only counts once it is not any more. */
struct zone_times mirror_times_live(const struct mirror *mirror);
/* Anything may have changed: what is held is fetched again when it is asked for. */
void mirror_expire_live(struct mirror *mirror);
uint64_t mirror_jitter(struct mirror *mirror, uint64_t ms);
void mirror_take_index(struct mirror *mirror, uint64_t index);
/* As a DNS label looks; what is too long for one is cut. */
void mirror_fold(const char *text, char out[SCOPE_NAME_MAX]);

/* mirror_ask.c */
struct ask *mirror_ask_list(struct mirror *mirror, const char *namespace_label);
void mirror_ask_end_all(struct mirror *mirror); /* all of them, at once: Nomad is not there */
void mirror_ask_on_call_end(struct call *call, enum call_result result);

/* mirror_read.c: a reply with status 200 becomes what we know. 0, -EINVAL (not what Nomad says;
 * call->error tells), -EACCES (the way Nomad says "no access" with status 200) or -ENOMEM. */
int mirror_read(struct call *call, const struct http_reply *reply, bool is_stale);

/* mirror_call.c */
struct call *mirror_call_new(struct mirror *mirror, struct ask *ask, const char *namespace,
			     const char *service);
void mirror_call_queue(struct call *call, bool is_urgent);
void mirror_call_hurry(struct mirror *mirror, const struct ask *ask);
int mirror_call_start(struct call *call);
void mirror_call_drop(struct call *call); /* without a word */
void mirror_call_tick(struct call *call, uint64_t now_ms);
void mirror_call_pump(struct mirror *mirror); /* starts what is queued */

/* The beginning of an error's text, fit for a log line. Returns `out`. */
const char *mirror_call_first_words(const struct http_reply *reply, char out[120]);

/* mirror_space.c */
bool mirror_space_init(struct mirror *mirror); /* false: out of memory */
bool mirror_space_is_listed(const struct mirror *mirror, const char *label, uint64_t now_ms,
			    uint64_t *out_index);
bool mirror_space_is_denied(const struct mirror *mirror, const char *label, uint64_t now_ms);
bool mirror_space_is_empty(const struct mirror *mirror, const char *label);
bool mirror_space_may_try(struct mirror *mirror, const char *label, uint64_t now_ms);
int mirror_space_listed(struct mirror *mirror, const char *label, uint64_t index, bool is_absent,
			uint64_t until_ms);
int mirror_space_extend(struct mirror *mirror, const char *label, uint64_t until_ms);
int mirror_space_denied(struct mirror *mirror, const char *label, bool is_list);
void mirror_space_outside(struct mirror *mirror, const char *label);
void mirror_space_renew(struct mirror *mirror);	 /* nothing is denied or listed any more */
void mirror_space_expire(struct mirror *mirror); /* no list is at hand any more */
void mirror_space_forget(struct mirror *mirror); /* frees all */

/* mirror_health.c */
void mirror_health_init(struct mirror *mirror);
void mirror_health_good(struct mirror *mirror, const struct call *call);
void mirror_health_bad(struct mirror *mirror, const struct call *call, enum call_result result);
void mirror_health_tick(struct mirror *mirror, uint64_t now_ms);
void mirror_health_look_for_token(struct mirror *mirror);
void mirror_health_probe_now(struct mirror *mirror);
enum need_outcome mirror_health_outcome(const struct mirror *mirror);

/* mirror_pause.c: names whose last answer was of no use */
bool mirror_pause_is_on(struct mirror *mirror, const char *namespace_label,
			const char *service_label);
void mirror_pause_note(struct mirror *mirror, const char *namespace_label,
		       const char *service_label, bool has_failed);
void mirror_pause_forget(struct mirror *mirror); /* it was not the names' fault */
