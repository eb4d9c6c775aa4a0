/*
 * One thread of the data plane: its loop, its sockets, its pipeline. Started and stopped by the
 * daemon; in between it is only spoken to through its mailbox. Everything inside belongs to its
 * thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/mailbox.h"
#include "nomad/need.h"

struct config;
struct flush;
struct metrics;
struct sockets;
struct upstream_list;
struct worker;
struct zone;

enum worker_message_kind { WORKER_WORD, WORKER_CONFIG, WORKER_UPSTREAMS, WORKER_FLUSH };

struct worker_message { /* the references inside belong to the receiver */
	enum worker_message_kind kind;
	union {
		struct need_word word;
		struct config *config;
		struct upstream_list *upstreams;
		struct flush *flush;
	};
};

struct worker_setup { /* all outlive the worker */
	uint8_t index;
	struct zone *zone;
	struct sockets *sockets;	 /* takes those with its index */
	struct config *config;		 /* takes a reference of its own */
	struct upstream_list *upstreams; /* likewise */
	struct mailbox *needs;		 /* struct need, to the control plane */
};

/* Starts the thread; returns once it listens. NULL with the reason in `why`. */
struct worker *worker_start(const struct worker_setup *setup, char *why, size_t why_capacity);

/* Puts a message in the worker's box. 0, or -EAGAIN when full (then the caller keeps the
 * references). What comes after a stop was asked for is dropped. */
int worker_tell(struct worker *worker, const struct worker_message *message);

/* Asks it to take no new work, finish what waits (2 s at most), and end. Returns at once. */
void worker_ask_stop(struct worker *worker);

/* Whether its thread has done all it was asked to; from then on worker_stop does not block. */
bool worker_has_ended(const struct worker *worker);

/* worker_ask_stop if that was not done yet; then joins and frees. */
void worker_stop(struct worker *worker);

/* Asks for a sign of life. Returns at once. */
void worker_ping(struct worker *worker);

/* Whether its loop has come round since the last ping, or its thread has ended as asked. */
bool worker_has_answered(const struct worker *worker);

/* Counters of this worker; readable from any thread. */
const struct metrics *worker_metrics(const struct worker *worker);
