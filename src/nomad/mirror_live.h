/*
 * What the mirror's live tiers are made of. The alarm (mirror_alarm.c) is a held request that wakes
 * on any change; the sync (mirror_sync.c) is the event stream and the list it rests on; the watch
 * (mirror_watch.c) is the set of names that a wake makes old. Which tier they amount to is derived
 * in mirror_tier.c; mirror->tier only remembers the one that was published last.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/log.h"
#include "nomad/mirror_pace.h"
#include "nomad/need.h"
#include "nomad/zone.h"

struct call;
struct catalogue_all;
struct config;
struct map;
struct mirror;

#define SCOPE_MAX 8 /* namespaces followed one by one: each has a stream and a held request */
#define SCOPE_NAME_MAX 129

enum tier { TIER_LOOKUP, TIER_WATCH, TIER_STREAM };

struct tier_state {
	enum tier published, said; /* to the readers; to the operator */
	uint64_t since_ms;
	uint64_t said_ms;      /* when the last line about it was written … */
	unsigned said_count;   /* … and how many in a row; */
	unsigned change_count; /* since then */
	bool has_said, was_held;
};

struct scope { /* where we may listen */
	bool is_all;
	bool by_list; /* all that may be read, which is not all there is: only lists of `*` tell */
	size_t count;
	char names[SCOPE_MAX][SCOPE_NAME_MAX]; /* exact */
};

enum alarm_state {
	ALARM_OFF,
	ALARM_ASKING, /* the first, unheld answers are under way */
	ALARM_ARMED,
	ALARM_WAITING, /* it failed, and is tried again */
	ALARM_REFUSED,
};

struct alarm_leg {
	struct mirror *mirror;
	size_t address;
	const char *namespace; /* NULL: any */
	uint64_t id;	       /* 0: none under way */
	uint64_t index, asked_ms, ask_at_ms;
	bool is_armed, has_timed_out;
	unsigned idle_step; /* replies in a row that said nothing, too early */
	uint64_t pause_ms;  /* for what its last reply cost */
};

struct alarm {
	enum alarm_state state;
	struct alarm_leg legs[SCOPE_MAX];
	size_t leg_count, armed_count;
	uint64_t index; /* the highest heard */
	uint64_t retry_at_ms;
	uint64_t refused_ms;
	unsigned step, refusals;
	uint64_t tokens_milli, tokens_at_ms; /* wakes are paced */
	bool is_unheld;			     /* it was given up, and has not been held since */
	struct log_brake unheld_brake;
	uint64_t audited_index; /* at the last audit, and how many in a row it was right … */
	unsigned right_audits;	/* … since it was doubted */
};

enum stream_end {
	STREAM_BROKE,
	STREAM_DENIED,	   /* the token may not, here */
	STREAM_IMPOSSIBLE, /* this agent has none that can be read */
};

enum sync_phase {
	SYNC_OFF,
	SYNC_WAITING, /* until retry_at_ms, then the stream is opened */
	SYNC_OPENING, /* asked for; its first line is waited for */
	SYNC_PROBING, /* open again: was anything missed? */
	SYNC_LISTING,
	SYNC_LIVE,
	SYNC_REFUSED,
};

#define SYNC_SEEN 1024 /* frames whose indexes are remembered */

struct stream_leg {
	struct mirror *mirror;
	size_t address;
	const char *namespace; /* NULL: all */
	uint64_t id, heard_ms;
	bool is_open;
};

struct census {		      /* of namespaces, while one stream tells of all */
	uint64_t id;	      /* 0: none under way */
	size_t address;	      /* where it was asked */
	uint64_t index;	      /* held at; 0: not held */
	uint64_t known_index; /* of the last list; 0: none yet */
	uint64_t asked_ms, ask_at_ms;
	unsigned step;
	uint64_t grown_index, grow_at_ms; /* the stream is too old from that index on */
};

struct doubt {		     /* about what no frame explains */
	uint64_t sure_index; /* everything up to here is explained */
	uint64_t list_at_ms, pause_until_ms;
};

struct frame_queue {	      /* what came before the list */
	struct buf frames;    /* u32 length, bytes */
	uint64_t index;	      /* the highest of them */
	uint64_t gone_index;  /* the highest that was let go: the list has to know it */
	uint64_t floor_index; /* the table was there when the list was asked for */
	unsigned relist_count;
};

struct sync {
	enum sync_phase phase;
	struct stream_leg legs[SCOPE_MAX];
	size_t leg_count, open_count;
	uint64_t live_ms, listed_ms; /* listed_ms 0: never */
	uint64_t retry_at_ms;
	unsigned step, refusals;
	bool must_list;	      /* what we have may have holes */
	bool was_denied;      /* REFUSED: for want of rights */
	unsigned quick_lists; /* lists that need not wait for their turn */
	struct frame_queue queue;
	uint64_t base_index;		  /* as of the list */
	uint64_t index;			  /* everything up to here is applied */
	uint64_t index_hash;		  /* of the frame with that index; 0: none was seen */
	uint64_t seen[SYNC_SEEN];	  /* indexes of frames, each at its place by remainder */
	uint64_t heard_index;		  /* the highest that anybody told of the table */
	uint64_t behind_index, behind_ms; /* since when the stream has not got there */
	bool is_doubtful;		  /* for so long that what is held was made old */
	unsigned vain_doubts;		  /* in a row: what was missing came */
	uint64_t audit_at_ms, audited_ms; /* at 0: none planned */
	uint64_t list_at_ms;		  /* 0: not waiting for its turn */
	struct call *call;		  /* the list or probe under way */
	struct catalogue_all *listing;
	size_t list_at;	     /* which namespace of the scope */
	uint64_t list_index; /* the lowest of them */
	char why[160];
	struct log_brake bad_brake, back_brake;
	uint64_t owed_index;  /* the stream before this one had not got there; 0: it had */
	uint64_t since_index; /* where the next stream begins; 0: where the last one ended */
	bool is_relisting;    /* a list against doubts: what is told meanwhile is queued */
	struct census census;
	struct doubt doubt;
};

struct scout { /* looks which namespaces the token may read */
	struct call *call;
	struct scope found;
	struct scope more; /* turned out to be readable since, and join at the next turn */
	bool has_looked, is_too_many;
	bool is_early; /* it was not yet known whether one stream tells of all */
	uint64_t joined_ms;
};

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

struct large {
	struct pace pace;
	uint64_t choose_ms, decide_ms, slow_until_ms; /* decide_ms 0: nothing to be decided */
	struct held_name names[HELD_NAMES_MAX];
};

struct watch {
	struct map *names; /* folded, namespace NUL service NUL: made live since the last wake */
	uint64_t refreshed_ms, refresh_at_ms;
	struct call *audit; /* looks whether the alarm missed something */
	uint64_t audit_at_ms, audited_ms, suspect_ms, suspect_index; /* 0: none */
};

struct settle {
	struct list list;  /* struct settling, the earliest first */
	struct list asked; /* those whose GET is under way, likewise */
	struct map *by_key;
	uint64_t pause_ms;
};

struct pulse {
	uint64_t look_at_ms, questions; /* those there had been when it was last looked */
	uint64_t first_id, first_at_ms; /* the first address is asked whether it is back */
	unsigned first_step;
	bool is_away; /* from the first */
};

struct preload {
	uint32_t limit;	     /* names; CONFIG_PRELOAD_AUTO */
	uint32_t done;	     /* of this pass */
	uint64_t step_at_ms; /* 0: nothing to do */
	bool has_picked;
	struct buf batch; /* each name once: pairs of strings, each with its NUL */
	size_t batch_at;
};

/* mirror_live.c */
bool mirror_live_open(struct mirror *mirror, const struct config *config);
void mirror_live_start(struct mirror *mirror);
void mirror_live_configure(struct mirror *mirror, const struct config *config);
void mirror_live_close(struct mirror *mirror); /* nothing is under way any more */
void mirror_live_free(struct mirror *mirror);
void mirror_live_renew(struct mirror *mirror); /* a new token, agent, leader: try for the best */
void mirror_live_found(struct mirror *mirror); /* Nomad answers again */
uint64_t mirror_live_tick(struct mirror *mirror, uint64_t now_ms); /* → when to look again */
void mirror_live_arm(struct mirror *mirror); /* after anything that may have moved a date */

/* mirror_tier.c */
enum tier mirror_tier(const struct mirror *mirror);
const char *mirror_tier_text(enum tier tier);
const char *mirror_tier_why(const struct mirror *mirror);
bool mirror_tier_is_best(const struct mirror *mirror); /* there is no better tier to try for */
bool mirror_tier_is_trying(const struct mirror *mirror);
bool mirror_tier_knows_all(const struct mirror *mirror, const char *namespace_label);
bool mirror_tier_holds(const struct mirror *mirror, const char *namespace, uint64_t index);
void mirror_tier_publish(struct mirror *mirror); /* after anything that may have moved the tier */
void mirror_tier_publish_names(struct mirror *mirror); /* the stream fell behind, or caught up */
uint64_t mirror_tier_tick(struct mirror *mirror, uint64_t now_ms);

/* mirror_pulse.c */
uint64_t mirror_pulse_tick(struct mirror *mirror, uint64_t now_ms);
void mirror_pulse_stop(struct mirror *mirror);

/* mirror_alarm.c */
void mirror_alarm_start(struct mirror *mirror);
void mirror_alarm_retry(struct mirror *mirror); /* what was refused may be granted by now */
void mirror_alarm_audited(struct mirror *mirror, uint64_t index); /* the table is there */
bool mirror_alarm_is_elsewhere(const struct mirror *mirror); /* held where we do not ask any more */
void mirror_alarm_stop(struct mirror *mirror);
void mirror_alarm_back(struct mirror *mirror, uint64_t index); /* the table went back */
uint64_t mirror_alarm_tick(struct mirror *mirror, uint64_t now_ms);

/* mirror_stream.c: the streams themselves */
int mirror_stream_open(struct mirror *mirror);
bool mirror_stream_is_elsewhere(const struct mirror *mirror);
void mirror_stream_close(struct mirror *mirror);
uint64_t mirror_stream_tick(struct mirror *mirror, uint64_t now_ms);

/* mirror_sync.c */
void mirror_sync_start(struct mirror *mirror);
void mirror_sync_retry(struct mirror *mirror); /* the world may have changed */
void mirror_sync_stop(struct mirror *mirror);
bool mirror_sync_has_seen(const struct mirror *mirror, uint64_t index);
void mirror_sync_heard(struct mirror *mirror, uint64_t index); /* the table is that far */
void mirror_sync_back(struct mirror *mirror, uint64_t index);  /* the table went back */
void mirror_sync_on_open(struct mirror *mirror);
void mirror_sync_on_line(struct mirror *mirror, const char *line, size_t length);
void mirror_sync_on_end(struct mirror *mirror, enum stream_end end, const char *why);
uint64_t mirror_sync_tick(struct mirror *mirror, uint64_t now_ms);
void mirror_sync_again(struct mirror *mirror, bool must_list, const char *why);
void mirror_sync_refuse(struct mirror *mirror, bool was_denied, const char *why);
void mirror_sync_go_live(struct mirror *mirror);
void mirror_sync_grow(struct mirror *mirror, uint64_t index); /* there is a namespace more */

/* mirror_census.c */
void mirror_census_start(struct mirror *mirror);
void mirror_census_stop(struct mirror *mirror);
uint64_t mirror_census_tick(struct mirror *mirror, uint64_t now_ms);

/* mirror_doubt.c */
void mirror_doubt_note(struct mirror *mirror);
void mirror_doubt_weigh(struct mirror *mirror, uint64_t index);
void mirror_doubt_end(struct mirror *mirror, uint64_t index);

/* mirror_sync_list.c */
void mirror_sync_list(struct mirror *mirror); /* goes live, or begins again */

/* mirror_sync_apply.c */
void mirror_sync_apply(struct mirror *mirror, const char *line, size_t length);

/* mirror_queue.c: what came before the list */
void mirror_queue_put(struct mirror *mirror, const char *line, size_t length);
void mirror_queue_cover(struct mirror *mirror);
bool mirror_queue_is_covered(struct mirror *mirror);
bool mirror_queue_is_replayed(const struct mirror *mirror);
bool mirror_queue_is_other(const struct mirror *mirror);
uint64_t mirror_queue_hash(const struct mirror *mirror, const char *line, size_t length);
void mirror_queue_drain(struct mirror *mirror);
void mirror_queue_forget(struct mirror *mirror);

/* mirror_scope.c */
void mirror_scope_configure(struct mirror *mirror, const struct config *config);
void mirror_scope_stop(struct mirror *mirror);
bool mirror_scope_reset(struct mirror *mirror); /* back to what is configured; true: it differs */
bool mirror_scope_holds(const struct scope *scope, const char *namespace); /* folded or not */
bool mirror_scope_drop(struct mirror *mirror, const char *namespace);	   /* false: none is left */
void mirror_scope_note(struct mirror *mirror, const char *namespace, bool is_empty);
uint64_t mirror_scope_tick(struct mirror *mirror, uint64_t now_ms);
int mirror_scope_read(struct mirror *mirror, const char *body, size_t length, char *why,
		      size_t why_capacity);

/* mirror_settle.c */
bool mirror_settle_init(struct mirror *mirror); /* false: out of memory */
void mirror_settle_add(struct mirror *mirror, const char *namespace, const char *service);
void mirror_settle_listed(void *mirror, const char *namespace, const char *service);
void mirror_settle_cancel(struct mirror *mirror, const char *namespace, const char *service);
bool mirror_settle_is_over(struct mirror *mirror, const char *namespace, const char *service);
void mirror_settle_forget(struct mirror *mirror);
uint64_t mirror_settle_tick(struct mirror *mirror, uint64_t now_ms);

/* mirror_preload.c */
void mirror_preload_start(struct mirror *mirror);
void mirror_preload_forget(struct mirror *mirror);
uint64_t mirror_preload_tick(struct mirror *mirror, uint64_t now_ms);

/* mirror_large.c */
void mirror_large_count(struct mirror *mirror);
void mirror_large_stop(struct mirror *mirror);
void mirror_large_again(struct mirror *mirror);
uint64_t mirror_large_pause_ms(const struct mirror *mirror);
uint64_t mirror_large_tick(struct mirror *mirror, uint64_t now_ms);

/* mirror_held.c */
void mirror_held_take(struct mirror *mirror, const char *namespace, const char *service);
void mirror_held_turn(struct mirror *mirror, unsigned turns_max);
void mirror_held_drop(struct mirror *mirror);
void mirror_held_keep(struct mirror *mirror);
void mirror_held_note(struct mirror *mirror, const struct need *need);
bool mirror_held_is_kept(struct mirror *mirror, const struct need *need);
uint64_t mirror_held_tick(struct mirror *mirror, uint64_t now_ms);

/* mirror_watch.c */
bool mirror_watch_init(struct mirror *mirror); /* false: out of memory */
void mirror_watch_refresh(struct mirror *mirror, const char *namespace, const char *service);
bool mirror_watch_need(const char *namespace, const char *service, struct need *out);
void mirror_watch_note(struct mirror *mirror, const char *namespace, const char *service);
void mirror_watch_wake(struct mirror *mirror);
void mirror_watch_compare(struct mirror *mirror, const struct call *call);
void mirror_watch_stop(struct mirror *mirror);
void mirror_watch_forget(struct mirror *mirror);
uint64_t mirror_watch_tick(struct mirror *mirror, uint64_t now_ms);
