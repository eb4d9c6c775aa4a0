/*
 * The thread around a worker's loop. A worker is built inside its own thread, so that everything of
 * it has one owner from the first byte on; the starter waits for the word that it listens. Stopping
 * is asked for by a flag beside the mailbox, because a full box must not keep it alive. Others may
 * still put messages while the loop ends, so waking it is locked against that.
 */
#include "listen/worker.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/process.h"
#include "config/config.h"
#include "listen/sockets.h"
#include "listen/udp.h"
#include "listen/worker_loop.h"
#include "nomad/zone.h"

#define STACK_BYTES 524288   /* the deepest query takes a few kilobytes; the rest is margin */
#define MAILBOX_COUNT 1024   /* words from the control plane come in bursts of names */
#define THREAD_NAME_BYTES 16 /* the kernel's limit, with the NUL */

static void wake_worker(void *arg)
{
	struct worker *worker = arg;

	(void)pthread_mutex_lock(&worker->wake_lock);
	if (worker->can_wake)
		(void)uv_async_send(&worker->wake);
	(void)pthread_mutex_unlock(&worker->wake_lock);
}

static void run(struct worker *worker)
{
	int rc = worker_loop_open(worker);

	worker->setup = NULL;
	if (rc) {
		(void)snprintf(worker->why, worker->why_capacity, "%s", strerror(-rc));
		worker_loop_close(worker);
		(void)uv_run(&worker->loop, UV_RUN_DEFAULT);
	}
	worker->start_rc = rc;
	if (!rc) {
		uv_sem_post(&worker->has_started);
		(void)uv_run(&worker->loop, UV_RUN_DEFAULT);
	}
	if (uv_loop_close(&worker->loop))
		log_error("listen", "worker %u ended with handles still open; please report this",
			  worker->index);
	if (rc)
		uv_sem_post(&worker->has_started);
}

static void *run_thread(void *arg)
{
	struct worker *worker = arg;
	char name[THREAD_NAME_BYTES];

	(void)snprintf(name, sizeof(name), "dns-worker-%u", worker->index);
	(void)pthread_setname_np(pthread_self(), name);
	process_hurry_thread();
	zone_reader_register();
	zone_read_end(); /* registering counts as reading, and we are about to wait */
	run(worker);
	zone_reader_unregister();
	atomic_store(&worker->has_ended, true);
	return NULL;
}

/* Frees what is left when no thread runs any more. */
static void free_worker(struct worker *worker)
{
	struct worker_message message;

	while (worker->box && mailbox_take(worker->box, &message) == 0)
		worker_loop_drop_message(&message);
	mailbox_free(worker->box);
	udp_batch_free(worker->batch);
	free(worker->udp);
	config_drop(worker->config);
	uv_sem_destroy(&worker->has_started);
	(void)pthread_mutex_destroy(&worker->wake_lock);
	free(worker);
}

static int start_thread(struct worker *worker)
{
	sigset_t all, before;
	pthread_attr_t attributes;
	int rc = pthread_attr_init(&attributes);

	if (rc)
		return -rc;
	(void)pthread_attr_setstacksize(&attributes, STACK_BYTES);
	/* Signals are the main thread's; and a blocked SIGPIPE is as good as an ignored one. */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&worker->thread, &attributes, run_thread, worker);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	(void)pthread_attr_destroy(&attributes);
	return -rc;
}

/* What can be had without a thread. NULL: out of memory. */
static struct worker *new_worker(const struct worker_setup *setup)
{
	struct worker *worker = aligned_alloc(_Alignof(struct worker), sizeof(*worker));

	if (!worker)
		return NULL;
	memset(worker, 0, sizeof(*worker));
	if (uv_sem_init(&worker->has_started, 0)) {
		free(worker);
		return NULL;
	}
	(void)pthread_mutex_init(&worker->wake_lock, NULL); /* cannot fail on Linux */
	worker->setup = setup;
	worker->index = setup->index;
	worker->needs = setup->needs;
	worker->config = config_hold(setup->config);
	worker->batch = udp_batch_new();
	worker->udp = calloc(setup->sockets->count + 1, sizeof(struct udp *));
	worker->box =
		mailbox_new(sizeof(struct worker_message), MAILBOX_COUNT, wake_worker, worker);
	if (!worker->batch || !worker->udp || !worker->box || uv_loop_init(&worker->loop)) {
		free_worker(worker);
		return NULL;
	}
	return worker;
}

struct worker *worker_start(const struct worker_setup *setup, char *why, size_t why_capacity)
{
	struct worker *worker = new_worker(setup);
	int rc;

	if (!worker) {
		(void)snprintf(why, why_capacity, "out of memory");
		return NULL;
	}
	worker->why = why;
	worker->why_capacity = why_capacity;
	rc = start_thread(worker);
	if (rc) {
		(void)snprintf(why, why_capacity, "no thread to be had: %s", strerror(-rc));
		(void)uv_loop_close(&worker->loop);
		free_worker(worker);
		return NULL;
	}
	uv_sem_wait(&worker->has_started);
	if (worker->start_rc) {
		(void)pthread_join(worker->thread, NULL);
		free_worker(worker);
		return NULL;
	}
	return worker;
}

int worker_tell(struct worker *worker, const struct worker_message *message)
{
	return mailbox_put(worker->box, message);
}

void worker_ask_stop(struct worker *worker)
{
	atomic_store(&worker->stop_asked, true);
	wake_worker(worker);
}

bool worker_has_ended(const struct worker *worker)
{
	return atomic_load(&worker->has_ended);
}

void worker_stop(struct worker *worker)
{
	if (!worker)
		return;
	worker_ask_stop(worker);
	(void)pthread_join(worker->thread, NULL);
	free_worker(worker);
}

void worker_ping(struct worker *worker)
{
	atomic_fetch_add(&worker->ping_count, 1);
	wake_worker(worker);
}

bool worker_has_answered(const struct worker *worker)
{
	return atomic_load(&worker->answered_count) == atomic_load(&worker->ping_count) ||
	       worker_has_ended(worker);
}

const struct metrics *worker_metrics(const struct worker *worker)
{
	return &worker->metrics;
}
