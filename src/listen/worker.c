/*
 * A worker is built inside its own thread, so that everything of it has one owner from the first
 * byte on; the starter waits for the word that it listens. Stopping is asked for by a flag beside
 * the mailbox, because a full box must not keep it alive. Order of a stop: no new work, what waits
 * gets its answers (2 s at most), then the pipeline, the sockets, the loop. Others may still put
 * messages while the loop goes, so waking it is locked against its end.
 */
#include "listen/worker.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "base/log.h"
#include "base/metrics.h"
#include "config/config.h"
#include "forward/upstream.h"
#include "listen/sockets.h"
#include "listen/tcp.h"
#include "listen/udp.h"
#include "nomad/zone.h"
#include "pipeline.h"

#define STACK_BYTES 524288   /* the deepest query takes a few kilobytes; the rest is margin */
#define MAILBOX_COUNT 1024   /* words from the control plane come in bursts of names */
#define FAREWELL_MS 2000     /* for what waits at a stop */
#define FAREWELL_LOOK_MS 5   /* between two looks whether it is done */
#define THREAD_NAME_BYTES 16 /* the kernel's limit, with the NUL */

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
	struct udp **udp;
	uint32_t udp_count;
	struct tcp *tcp;
	bool has_timer;
};

/* ---- doors of the pipeline ---- */

static int send_need(void *arg, const struct need *need)
{
	struct worker *worker = arg;

	return mailbox_put(worker->needs, need);
}

static void send_late(void *arg, const struct query_client *client, const uint8_t *reply,
		      size_t length)
{
	struct worker *worker = arg;

	switch (client->source) {
	case QUERY_UDP:
		if (client->socket < worker->udp_count)
			udp_send(worker->udp[client->socket], client, reply, length);
		break;
	case QUERY_TCP:
		tcp_send(worker->tcp, client, reply, length);
		break;
	case QUERY_INSIDE: /* never leaves the pipeline */
		break;
	}
}

static struct tcp_limits tcp_limits_of(const struct worker *worker)
{
	const struct config *config = worker->config;
	uint32_t share = worker->tcp_share ? worker->tcp_share : 1;

	return (struct tcp_limits){
		.clients_max = (config->tcp_max_clients + share - 1) / share,
		.idle_ms = config->tcp_idle_timeout_ms,
		.answer_ms = config->forward_timeout_ms,
	};
}

/* ---- the end ---- */

static void ignore_closed(void *arg)
{
	(void)arg; /* the loop ends by itself once nothing is open */
}

static void close_wake(struct worker *worker)
{
	bool is_open;

	(void)pthread_mutex_lock(&worker->wake_lock);
	is_open = worker->can_wake;
	worker->can_wake = false;
	(void)pthread_mutex_unlock(&worker->wake_lock);
	if (is_open)
		uv_close((uv_handle_t *)&worker->wake, NULL);
}

static void on_pipeline_closed(void *arg)
{
	struct worker *worker = arg;

	for (uint32_t i = 0; i < worker->udp_count; i++)
		udp_close(worker->udp[i], ignore_closed, NULL);
	worker->udp_count = 0;
	if (worker->tcp)
		tcp_close(worker->tcp, ignore_closed, NULL);
	if (worker->has_timer)
		uv_close((uv_handle_t *)&worker->farewell_timer, NULL);
	close_wake(worker);
}

static void close_all(struct worker *worker)
{
	struct pipeline *pipeline = worker->pipeline;

	worker->pipeline = NULL;
	if (pipeline)
		pipeline_close(pipeline, on_pipeline_closed, worker);
	else
		on_pipeline_closed(worker);
}

static void on_farewell(uv_timer_t *timer)
{
	struct worker *worker = timer->data;
	bool is_done = pipeline_waiting_count(worker->pipeline) == 0 && tcp_is_flushed(worker->tcp);

	if (!is_done && uv_now(&worker->loop) < worker->farewell_until_ms)
		return;
	(void)uv_timer_stop(timer);
	close_all(worker);
}

static void begin_stop(struct worker *worker)
{
	if (worker->is_stopping)
		return;
	worker->is_stopping = true;
	for (uint32_t i = 0; i < worker->udp_count; i++)
		udp_mute(worker->udp[i]);
	tcp_mute(worker->tcp);
	worker->farewell_until_ms = uv_now(&worker->loop) + FAREWELL_MS;
	(void)uv_timer_start(&worker->farewell_timer, on_farewell, 0, FAREWELL_LOOK_MS);
}

/* ---- messages ---- */

static void wake_worker(void *arg)
{
	struct worker *worker = arg;

	(void)pthread_mutex_lock(&worker->wake_lock);
	if (worker->can_wake)
		(void)uv_async_send(&worker->wake);
	(void)pthread_mutex_unlock(&worker->wake_lock);
}

/* Ends what a message nobody will read any more refers to. */
static void drop_message(const struct worker_message *message)
{
	switch (message->kind) {
	case WORKER_CONFIG:
		config_drop(message->config);
		break;
	case WORKER_UPSTREAMS:
		upstream_list_drop(message->upstreams);
		break;
	case WORKER_WORD:
		break;
	}
}

static void take_config(struct worker *worker, struct config *config)
{
	struct tcp_limits limits;

	config_drop(worker->config);
	worker->config = config;
	limits = tcp_limits_of(worker);
	tcp_set_limits(worker->tcp, &limits);
	pipeline_configure(worker->pipeline, config);
}

static void obey(struct worker *worker, const struct worker_message *message)
{
	switch (message->kind) {
	case WORKER_WORD:
		pipeline_hear(worker->pipeline, &message->word);
		break;
	case WORKER_CONFIG:
		take_config(worker, message->config);
		break;
	case WORKER_UPSTREAMS:
		pipeline_set_upstreams(worker->pipeline, message->upstreams);
		upstream_list_drop(message->upstreams);
		break;
	}
}

static void on_wake(uv_async_t *async)
{
	struct worker *worker = async->data;
	struct worker_message message;

	zone_read_begin();
	while (mailbox_take(worker->box, &message) == 0) {
		if (worker->pipeline)
			obey(worker, &message);
		else
			drop_message(&message);
	}
	zone_read_end();
	if (atomic_load(&worker->stop_asked))
		begin_stop(worker);
}

/* ---- the beginning ---- */

static int open_udp(struct worker *worker, struct sockets_one *socket)
{
	struct udp_setup setup = {
		.loop = &worker->loop,
		.pipeline = worker->pipeline,
		.metrics = &worker->metrics,
		.batch = worker->batch,
		.socket = socket,
		.index = worker->udp_count,
	};
	int rc = udp_open(&setup, &worker->udp[worker->udp_count]);

	if (!rc)
		worker->udp_count++;
	return rc;
}

/* Takes over the worker's sockets. */
static int open_sockets(struct worker *worker, struct sockets *sockets)
{
	for (size_t i = 0; i < sockets->count; i++) {
		struct sockets_one *socket = &sockets->one[i];
		int rc;

		if (socket->worker != worker->index || socket->fd < 0)
			continue;
		rc = socket->is_tcp ? tcp_listen(worker->tcp, socket) : open_udp(worker, socket);
		if (rc)
			return rc;
		socket->fd = -1;
	}
	return 0;
}

/* Among how many workers the TCP listeners are spread: inherited ones all go to the first. */
static uint32_t count_tcp_workers(const struct sockets *sockets)
{
	uint32_t most = 0;

	for (size_t i = 0; i < sockets->count; i++)
		if (sockets->one[i].is_tcp && sockets->one[i].worker >= most)
			most = sockets->one[i].worker + 1;
	return most;
}

static int open_handles(struct worker *worker)
{
	int rc = uv_async_init(&worker->loop, &worker->wake, on_wake);

	if (rc)
		return rc;
	worker->wake.data = worker;
	(void)pthread_mutex_lock(&worker->wake_lock);
	worker->can_wake = true;
	(void)pthread_mutex_unlock(&worker->wake_lock);
	rc = uv_timer_init(&worker->loop, &worker->farewell_timer);
	if (rc)
		return rc;
	worker->farewell_timer.data = worker;
	worker->has_timer = true;
	return 0;
}

static int open_all(struct worker *worker)
{
	const struct worker_setup *setup = worker->setup;
	struct pipeline_doors doors = {
		.loop = &worker->loop,
		.worker = worker->index,
		.zone = setup->zone,
		.metrics = &worker->metrics,
		.send_need = send_need,
		.send_need_arg = worker,
		.send = send_late,
		.send_arg = worker,
	};
	struct tcp_setup tcp = { .loop = &worker->loop, .metrics = &worker->metrics };
	int rc = open_handles(worker);

	if (rc)
		return rc;
	worker->pipeline = pipeline_open(&doors, worker->config);
	if (!worker->pipeline)
		return -ENOMEM;
	if (setup->upstreams) {
		zone_read_begin();
		pipeline_set_upstreams(worker->pipeline, setup->upstreams);
		zone_read_end();
	}
	tcp.pipeline = worker->pipeline;
	tcp.limits = tcp_limits_of(worker);
	worker->tcp = tcp_open(&tcp);
	if (!worker->tcp)
		return -ENOMEM;
	return open_sockets(worker, setup->sockets);
}

static void run(struct worker *worker)
{
	int rc = open_all(worker);

	worker->setup = NULL;
	if (rc) {
		(void)snprintf(worker->why, worker->why_capacity, "%s", strerror(-rc));
		close_all(worker);
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
		drop_message(&message);
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
	worker->tcp_share = count_tcp_workers(setup->sockets);
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

const struct metrics *worker_metrics(const struct worker *worker)
{
	return &worker->metrics;
}
