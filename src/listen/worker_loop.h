/*
 * The inside of a worker, shared by its two files: worker.c is the thread and those who speak to it
 * from outside, worker_loop.c is what happens on its loop. Nobody else includes this.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <uv.h>

#include "base/metrics.h"
#include "listen/worker.h"

struct worker {
	struct metrics metrics;		  /* first: it is aligned to cache lines */
	const struct worker_setup *setup; /* until it listens */
	uint8_t index;
	pthread_t thread;
	uv_sem_t has_started;
	int start_rc;
	char *why;
	size_t why_capacity;
	struct mailbox *box;
	struct mailbox *needs;
	atomic_bool stop_asked;
	atomic_bool has_ended;
	atomic_uint ping_count;	    /* asked for from outside */
	atomic_uint answered_count; /* how many there were when the loop last came round */
	pthread_mutex_t wake_lock;
	bool can_wake; /* under wake_lock */

	uv_loop_t loop;
	uv_async_t wake;
	uv_timer_t farewell_timer;
	uint64_t farewell_until_ms;
	bool is_stopping;
	struct config *config;
	uint32_t tcp_share; /* among how many workers tcp-max-clients is divided */
	struct pipeline *pipeline;
	struct udp_batch *batch;
	struct udp_late *late;
	struct udp **udp;
	uint32_t udp_count;
	struct tcp *tcp;
	bool has_timer;
};

/* Opens everything on the loop and takes over the worker's sockets. 0 or -errno; then
 * worker_loop_close has to end what was opened. */
int worker_loop_open(struct worker *worker);

/* Closes everything; the loop then ends by itself. */
void worker_loop_close(struct worker *worker);

/* Ends what a message nobody will read any more refers to. */
void worker_loop_drop_message(const struct worker_message *message);
