/*
 * One question to Nomad: put to the address that answered last, beside it and at the next ones when
 * that is slow or fails, until it is decided. It says nothing about names: a good reply's meaning
 * is mirror_read's, its results are told to mirror_health. Whoever made a call owns it until it is
 * queued or started; from then on it frees itself, behind `on_end`.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

struct ask;
struct http_reply;
struct mirror;

#define MIRROR_PROBE_NAME "nomad-dns-probe" /* nobody has it: Nomad answers [] and its index */

enum call_result { /* from good to bad */
		   CALL_GOOD,
		   CALL_FAILED,	 /* this question failed; it says nothing about Nomad */
		   CALL_DENIED,	 /* 401, 403, or an index of 0 */
		   CALL_STRANGE, /* every address answers what a Nomad agent does not */
		   CALL_LOST,	 /* no address has a word for us */
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
	unsigned filter_turn;	   /* mirror->filter_turn when it was made */
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
	bool was_hidden;      /* denied by an index of 0: that is no word on other names */
	bool is_kept;	      /* another request is held from its index on */
	uint64_t floor_index; /* the table was there when it was asked */
	unsigned repeat_count;
	char error[256];
};

/*
 * A call for a service's instances (GET /v1/service/:name, with the filter) or, service NULL, for a
 * list of names (GET /v1/services). `namespace` is exact, or "*". Of an ask, it ends there; without
 * one it is a list or a probe, and its maker sets `on_end`, and another `kind`, before it starts.
 * NULL: out of memory, or no such name can be asked for.
 */
struct call *mirror_call_new(struct mirror *mirror, struct ask *ask, const char *namespace,
			     const char *service);

/* Waits for its turn, which mirror_call_pump gives. Urgent: somebody waits for the answer. */
void mirror_call_queue(struct call *call, bool is_urgent);

/* Somebody waits now for what was only to be refreshed: the ask's calls become urgent. */
void mirror_call_hurry(struct mirror *mirror, const struct ask *ask);

/* Puts it at once. 0 or -ENOMEM: then nobody is told, and the caller drops it. */
int mirror_call_start(struct call *call);

/* Cancels and frees it, without a word to anybody. Never from inside its own reply: what a reply
 * sets going beyond `on_end` waits for the next tick (back_index, mirror_live_renew). */
void mirror_call_drop(struct call *call);

/* Looks whether an active call waits for too long: asks beside, or for a stale answer. */
void mirror_call_tick(struct call *call, uint64_t now_ms);

/* Starts what is queued, the urgent first, while there is room and Nomad is there. */
void mirror_call_pump(struct mirror *mirror);

/* The beginning of an error's text, fit for a log line. Returns `out`. */
const char *mirror_call_first_words(const struct http_reply *reply, char out[120]);
