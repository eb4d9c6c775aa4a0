/*
 * The loop connects the pipeline's doors: sockets on one side, the control plane's messages on the
 * other. Order of a stop: no new work, what waits gets its answers (2 s at most), then the
 * pipeline, the sockets, the loop.
 */
#include "listen/worker_loop.h"

#include <errno.h>

#include "base/descriptors.h"
#include "config/config.h"
#include "forward/upstream.h"
#include "listen/flush.h"
#include "listen/sockets.h"
#include "listen/tcp.h"
#include "listen/udp.h"
#include "listen/udp_late.h"
#include "nomad/zone.h"
#include "pipeline.h"

#define FAREWELL_MS 2000   /* for what waits at a stop */
#define FAREWELL_LOOK_MS 5 /* between two looks whether it is done */

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
	struct descriptors_plan plan =
		descriptors_plan(descriptors_limit(), config->tcp_max_clients);
	uint32_t share = worker->tcp_share ? worker->tcp_share : 1;

	return (struct tcp_limits){
		.clients_max = (plan.tcp_clients + share - 1) / share,
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

static void close_sockets(struct worker *worker)
{
	for (uint32_t i = 0; i < worker->udp_count; i++)
		udp_close(worker->udp[i], ignore_closed, NULL);
	worker->udp_count = 0;
	if (worker->late)
		udp_late_close(worker->late);
	worker->late = NULL;
	if (worker->tcp)
		tcp_close(worker->tcp, ignore_closed, NULL);
	worker->tcp = NULL;
}

static void on_pipeline_closed(void *arg)
{
	struct worker *worker = arg;

	close_sockets(worker);
	if (worker->has_timer)
		uv_close((uv_handle_t *)&worker->farewell_timer, NULL);
	close_wake(worker);
}

void worker_loop_close(struct worker *worker)
{
	struct pipeline *pipeline = worker->pipeline;

	/* A worker that never started is not muted: nobody may ask a pipeline that is closing. */
	if (!worker->is_stopping)
		close_sockets(worker);
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
	worker_loop_close(worker);
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

void worker_loop_drop_message(const struct worker_message *message)
{
	switch (message->kind) {
	case WORKER_CONFIG:
		config_drop(message->config);
		break;
	case WORKER_UPSTREAMS:
		upstream_list_drop(message->upstreams);
		break;
	case WORKER_FLUSH:
		flush_report(message->flush, 0);
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

static void obey_flush(struct worker *worker, struct flush *flush)
{
	size_t length;
	const uint8_t *name = flush_name(flush, &length);

	flush_report(flush, pipeline_flush(worker->pipeline, name, length));
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
	case WORKER_FLUSH:
		obey_flush(worker, message->flush);
		break;
	}
}

static void on_wake(uv_async_t *async)
{
	struct worker *worker = async->data;
	struct worker_message message;

	atomic_store(&worker->answered_count, atomic_load(&worker->ping_count));
	zone_read_begin();
	while (mailbox_take(worker->box, &message) == 0) {
		if (worker->pipeline)
			obey(worker, &message);
		else
			worker_loop_drop_message(&message);
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
		.late = worker->late,
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

int worker_loop_open(struct worker *worker)
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
	worker->tcp_share = count_tcp_workers(setup->sockets);
	tcp.pipeline = worker->pipeline;
	tcp.limits = tcp_limits_of(worker);
	worker->tcp = tcp_open(&tcp);
	worker->late = udp_late_open(&worker->loop, &worker->metrics);
	if (!worker->tcp || !worker->late)
		return -ENOMEM;
	return open_sockets(worker, setup->sockets);
}
