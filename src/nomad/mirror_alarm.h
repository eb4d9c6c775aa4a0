/*
 * The alarm of tier "watch": held requests, one for all or one for each namespace of the scope,
 * that wake when anything changes. It never says what. A wake goes to mirror_watch, its index to
 * mirror_sync, which holds it against the stream. It owns its requests; whether it is to be
 * believed, mirror_watch judges.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"
#include "nomad/mirror_scope.h"

struct mirror;

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
	uint64_t index;	 /* the highest heard */
	bool was_missed; /* something changed since all legs were armed last, and none woke */
	uint64_t retry_at_ms;
	uint64_t refused_ms;
	unsigned step, refusals;
	uint64_t tokens_milli, tokens_at_ms; /* wakes are paced */
	bool is_unheld;			     /* it was given up, and has not been held since */
	struct log_brake unheld_brake;
};

/* Drops what is held and begins anew, in the scope as it is now. */
void mirror_alarm_start(struct mirror *mirror);
void mirror_alarm_stop(struct mirror *mirror);

/* What was refused may be granted by now: it is tried again soon, once that is worth it. */
void mirror_alarm_retry(struct mirror *mirror);

/* The table went back to `index`: what is held beyond it would sleep through all changes. */
void mirror_alarm_back(struct mirror *mirror, uint64_t index);

/* Whether any request is held at an agent that is not asked any more. */
bool mirror_alarm_is_elsewhere(const struct mirror *mirror);

uint64_t mirror_alarm_tick(struct mirror *mirror, uint64_t now_ms);
