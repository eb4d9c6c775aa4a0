/*
 * Accepting is done here rather than by uv_listen: that loops for ever when descriptors run out.
 * We stop for a while instead, and use a descriptor kept in reserve to tell one client at least
 * that there is no room.
 */
#include "listen/tcp.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/list.h"
#include "base/log.h"
#include "base/metrics.h"
#include "listen/tcp_connection.h"
#include "listen/tcp_crowd.h"

#define ACCEPTS_MAX 64	    /* per turn of the loop */
#define ACCEPT_PAUSE_MS 100 /* without descriptors or memory for another client */
#define SWEEP_PAUSE_MS 10   /* at least that long between two looks for those too idle */
#define WARN_EVERY_MS 60000
#define ID_GENERATION_SHIFT 32
#define NO_SLOT UINT32_MAX

struct listener {
	uv_poll_t poll;
	struct list node;
	struct tcp *tcp;
	int fd;
	bool is_wildcard;
	struct addr addr;
};

struct slot {
	struct tcp_connection *connection; /* NULL: free */
	uint32_t generation;
	uint32_t next_free;
};

struct tcp {
	struct tcp_common common;
	struct list listeners;
	struct tcp_crowd crowd;
	struct slot *slots; /* grows to the most clients there ever were at once */
	uint32_t slot_count, first_free, client_count;
	uv_timer_t pause_timer, sweep_timer;
	int reserve_fd;
	struct log_brake pause_brake;
	bool is_closing;
	void (*closed)(void *);
	void *closed_arg;
};

static struct tcp *tcp_of(struct tcp_common *common)
{
	return list_entry(common, struct tcp, common);
}

/* ---- the table ---- */

static bool grow_slots(struct tcp *tcp)
{
	uint32_t count = tcp->slot_count ? tcp->slot_count * 2 : 16;
	struct slot *slots = reallocarray(tcp->slots, count, sizeof(*slots));

	if (!slots)
		return false;
	tcp->slots = slots;
	for (uint32_t i = tcp->slot_count; i < count; i++)
		slots[i] = (struct slot){ .next_free = i + 1 < count ? i + 1 : NO_SLOT };
	tcp->first_free = tcp->slot_count;
	tcp->slot_count = count;
	return true;
}

static struct tcp_connection *find_connection(const struct tcp *tcp, uint64_t id)
{
	uint32_t index = (uint32_t)id;

	if (index >= tcp->slot_count ||
	    tcp->slots[index].generation != (uint32_t)(id >> ID_GENERATION_SHIFT))
		return NULL;
	return tcp->slots[index].connection;
}

static void on_left(struct tcp_common *common, struct tcp_connection *connection)
{
	struct tcp *tcp = tcp_of(common);
	uint32_t index = (uint32_t)connection->client.connection;
	struct slot *slot = &tcp->slots[index];

	tcp_crowd_leave(&tcp->crowd, &connection->client.peer);
	slot->connection = NULL;
	slot->next_free = tcp->first_free;
	tcp->first_free = index;
	tcp->client_count--;
	metrics_set(common->metrics, METRIC_TCP_CLIENTS, tcp->client_count);
}

/* ---- closing for idleness ---- */

static void on_sweep(uv_timer_t *timer);

/* The next look is when the first of those there are now can be due. */
static void plan_sweep(struct tcp *tcp)
{
	uint64_t now_ms = uv_now(tcp->common.loop), next_ms = UINT64_MAX;

	list_for_each (node, &tcp->common.by_activity) {
		struct tcp_connection *one = list_entry(node, struct tcp_connection, by_activity);
		uint64_t deadline_ms = tcp_connection_deadline_ms(one);

		if (one->active_ms + tcp->common.limits.idle_ms >= next_ms)
			break; /* the list is in this order, and no deadline is earlier */
		if (deadline_ms < next_ms)
			next_ms = deadline_ms;
	}
	if (next_ms == UINT64_MAX) {
		(void)uv_timer_stop(&tcp->sweep_timer);
		return;
	}
	next_ms = next_ms > now_ms + SWEEP_PAUSE_MS ? next_ms - now_ms : SWEEP_PAUSE_MS;
	(void)uv_timer_start(&tcp->sweep_timer, on_sweep, next_ms, 0);
}

static void close_as_idle(struct tcp_connection *connection)
{
	metrics_add(connection->common->metrics,
		    connection->unsent_bytes ? METRIC_TCP_CLOSED_SLOW : METRIC_TCP_CLOSED_IDLE, 1);
	tcp_connection_close(connection);
}

static void on_sweep(uv_timer_t *timer)
{
	struct tcp *tcp = timer->data;
	uint64_t now_ms = uv_now(tcp->common.loop);

	list_for_each_safe (node, &tcp->common.by_activity) {
		struct tcp_connection *one = list_entry(node, struct tcp_connection, by_activity);

		if (one->active_ms + tcp->common.limits.idle_ms > now_ms)
			break;
		if (tcp_connection_deadline_ms(one) <= now_ms)
			close_as_idle(one);
	}
	plan_sweep(tcp);
}

/*
 * Makes room for a new client at the cost of the one that has done nothing for longest. When all of
 * them wait for an answer, of the address that has most of them the one that has waited longest:
 * its question will hardly be answered any more, and others must not pay for it.
 */
static void make_room(struct tcp *tcp)
{
	uint32_t largest = tcp_crowd_largest(&tcp->crowd);
	struct tcp_connection *crowded = NULL;

	list_for_each (node, &tcp->common.by_activity) {
		struct tcp_connection *one = list_entry(node, struct tcp_connection, by_activity);

		if (one->pending_count == 0) {
			close_as_idle(one);
			return;
		}
		if (!crowded && tcp_crowd_count(&tcp->crowd, &one->client.peer) == largest)
			crowded = one;
	}
	if (!crowded)
		return;
	metrics_add(tcp->common.metrics, METRIC_TCP_CLOSED_CROWDED, 1);
	tcp_connection_close(crowded);
}

/* ---- accepting ---- */

static void refuse(struct tcp *tcp, int fd)
{
	(void)close(fd);
	metrics_add(tcp->common.metrics, METRIC_TCP_REFUSED, 1);
}

static int read_local(const struct listener *listener, int fd, struct addr *out)
{
	union addr_socket name;
	socklen_t length = sizeof(name);

	*out = listener->addr;
	if (!listener->is_wildcard)
		return 0;
	if (getsockname(fd, &name.sa, &length) < 0)
		return -errno;
	return addr_from_socket(&name.sa, out);
}

static void welcome(struct listener *listener, int fd, const union addr_socket *name)
{
	struct tcp *tcp = listener->tcp;
	struct query_client client = { .source = QUERY_TCP };
	uint32_t index;

	if (addr_from_socket(&name->sa, &client.peer) || read_local(listener, fd, &client.local)) {
		(void)close(fd); /* gone already */
		return;
	}
	if (tcp->client_count >= tcp->common.limits.clients_max)
		make_room(tcp);
	if (tcp->client_count >= tcp->common.limits.clients_max ||
	    (tcp->first_free == NO_SLOT && !grow_slots(tcp))) {
		refuse(tcp, fd);
		return;
	}
	index = tcp->first_free;
	client.connection = (uint64_t)++tcp->slots[index].generation << ID_GENERATION_SHIFT | index;
	tcp->slots[index].connection = tcp_connection_open(&tcp->common, fd, &client);
	if (!tcp->slots[index].connection) {
		metrics_add(tcp->common.metrics, METRIC_TCP_REFUSED, 1);
		return;
	}
	tcp->first_free = tcp->slots[index].next_free;
	tcp->client_count++;
	tcp_crowd_enter(&tcp->crowd, &client.peer);
	metrics_add(tcp->common.metrics, METRIC_TCP_ACCEPTED, 1);
	metrics_set(tcp->common.metrics, METRIC_TCP_CLIENTS, tcp->client_count);
	if (!uv_is_active((uv_handle_t *)&tcp->sweep_timer))
		plan_sweep(tcp);
}

static void on_acceptable(uv_poll_t *poll, int status, int events);

static void on_pause_over(uv_timer_t *timer)
{
	struct tcp *tcp = timer->data;

	list_for_each (node, &tcp->listeners) {
		struct listener *one = list_entry(node, struct listener, node);

		(void)uv_poll_start(&one->poll, UV_READABLE, on_acceptable);
	}
}

static void pause_accepting(struct tcp *tcp, int error)
{
	uint64_t held_count;

	list_for_each (node, &tcp->listeners)
		(void)uv_poll_stop(&list_entry(node, struct listener, node)->poll);
	(void)uv_timer_start(&tcp->pause_timer, on_pause_over, ACCEPT_PAUSE_MS, 0);
	if (log_brake_take(&tcp->pause_brake, uv_now(tcp->common.loop), WARN_EVERY_MS, &held_count))
		log_warn("listen",
			 "cannot accept TCP clients: %s; waiting a moment each time (%llu times so "
			 "far); raise LimitNOFILE= or lower tcp-max-clients",
			 strerror(error), (unsigned long long)held_count + 1);
}

/* Spends the reserve on one client that is told at once, instead of all waiting in vain. */
static void refuse_one(struct tcp *tcp, int listening_fd)
{
	int fd;

	if (tcp->reserve_fd >= 0)
		(void)close(tcp->reserve_fd);
	fd = accept4(listening_fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0)
		refuse(tcp, fd);
	tcp->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static bool is_shortage(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

static void on_acceptable(uv_poll_t *poll, int status, int events)
{
	struct listener *listener = poll->data;

	(void)events;
	if (status < 0) { /* libuv has stopped this poll */
		pause_accepting(listener->tcp, -status);
		return;
	}
	for (unsigned i = 0; i < ACCEPTS_MAX; i++) {
		union addr_socket name;
		socklen_t length = sizeof(name);
		int fd = accept4(listener->fd, &name.sa, &length, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0) {
			welcome(listener, fd, &name);
		} else if (errno == EAGAIN) {
			return;
		} else if (is_shortage(errno)) {
			int error = errno;

			refuse_one(listener->tcp, listener->fd);
			pause_accepting(listener->tcp, error);
			return;
		}
		/* Anything else is the fate of one connection (accept(2)): the next, please. */
	}
}

/* ---- life and death ---- */

static void finish_if_closed(struct tcp_common *common)
{
	struct tcp *tcp = tcp_of(common);
	void (*closed)(void *) = tcp->closed;
	void *arg = tcp->closed_arg;

	if (!tcp->is_closing || common->handle_count > 0)
		return;
	if (tcp->reserve_fd >= 0)
		(void)close(tcp->reserve_fd);
	free(tcp->slots);
	free(tcp);
	closed(arg);
}

static void open_timer(struct tcp *tcp, uv_timer_t *timer)
{
	(void)uv_timer_init(tcp->common.loop, timer);
	timer->data = tcp;
	tcp->common.handle_count++;
}

struct tcp *tcp_open(const struct tcp_setup *setup)
{
	struct tcp *tcp = calloc(1, sizeof(*tcp));

	if (!tcp)
		return NULL;
	tcp->common.loop = setup->loop;
	tcp->common.pipeline = setup->pipeline;
	tcp->common.metrics = setup->metrics;
	tcp->common.limits = setup->limits;
	tcp->common.left = on_left;
	tcp->common.freed = finish_if_closed;
	list_init(&tcp->common.by_activity);
	list_init(&tcp->common.to_resume);
	list_init(&tcp->listeners);
	tcp_crowd_init(&tcp->crowd);
	tcp->first_free = NO_SLOT;
	tcp->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	open_timer(tcp, &tcp->pause_timer);
	open_timer(tcp, &tcp->sweep_timer);
	open_timer(tcp, &tcp->common.resume_timer);
	tcp->common.resume_timer.data = &tcp->common;
	return tcp;
}

int tcp_listen(struct tcp *tcp, const struct sockets_one *socket)
{
	struct listener *listener = calloc(1, sizeof(*listener));
	int rc, on = 1, send_bytes = TCP_SEND_BUFFER_BYTES;

	if (!listener)
		return -ENOMEM;
	listener->tcp = tcp;
	listener->fd = socket->fd;
	listener->is_wildcard = socket->is_wildcard;
	listener->addr = socket->addr;
	rc = uv_poll_init(tcp->common.loop, &listener->poll, listener->fd);
	if (rc) {
		free(listener);
		return rc;
	}
	/* Accepted connections inherit both; an answer is one write and must not wait for an ACK.
	 */
	(void)setsockopt(listener->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void)setsockopt(listener->fd, SOL_SOCKET, SO_SNDBUF, &send_bytes, sizeof(send_bytes));
	listener->poll.data = listener;
	tcp->common.handle_count++;
	list_append(&tcp->listeners, &listener->node);
	(void)uv_poll_start(&listener->poll, UV_READABLE, on_acceptable);
	return 0;
}

void tcp_set_limits(struct tcp *tcp, const struct tcp_limits *limits)
{
	tcp->common.limits = *limits;
	plan_sweep(tcp);
}

void tcp_send(struct tcp *tcp, const struct query_client *client, const uint8_t *reply,
	      size_t length)
{
	struct tcp_connection *connection = find_connection(tcp, client->connection);

	if (connection)
		tcp_connection_answer(connection, reply, length);
	else
		metrics_add(tcp->common.metrics, METRIC_RESPONSES_UNSENT, 1);
}

static void on_listener_closed(uv_handle_t *handle)
{
	struct listener *listener = handle->data;
	struct tcp_common *common = &listener->tcp->common;

	(void)close(listener->fd);
	free(listener);
	common->handle_count--;
	finish_if_closed(common);
}

void tcp_mute(struct tcp *tcp)
{
	struct list *node;

	tcp->common.is_muted = true;
	(void)uv_timer_stop(&tcp->pause_timer);
	while ((node = list_pop(&tcp->listeners)))
		uv_close((uv_handle_t *)&list_entry(node, struct listener, node)->poll,
			 on_listener_closed);
	list_for_each (one, &tcp->common.by_activity)
		tcp_connection_mute(list_entry(one, struct tcp_connection, by_activity));
}

bool tcp_is_flushed(const struct tcp *tcp)
{
	return tcp->common.unsent_bytes == 0;
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct tcp *tcp = handle->data;

	tcp->common.handle_count--;
	finish_if_closed(&tcp->common);
}

void tcp_close(struct tcp *tcp, void (*closed)(void *), void *arg)
{
	tcp_mute(tcp);
	tcp->is_closing = true;
	tcp->closed = closed;
	tcp->closed_arg = arg;
	list_for_each_safe (node, &tcp->common.by_activity)
		tcp_connection_close(list_entry(node, struct tcp_connection, by_activity));
	tcp->common.resume_timer.data = tcp;
	uv_close((uv_handle_t *)&tcp->pause_timer, on_timer_closed);
	uv_close((uv_handle_t *)&tcp->sweep_timer, on_timer_closed);
	uv_close((uv_handle_t *)&tcp->common.resume_timer, on_timer_closed);
}
