/*
 * One listener, at most CONNECTIONS_MAX connections, each a state machine with one timer:
 *
 *   READING --head--> WRITING --sent--> LINGERING --EOF, or enough--> CLOSING
 *
 * A deadline or an error goes to CLOSING from anywhere. Lingering reads away what the client still
 * sends: closing with unread bytes makes the kernel send RST, and the client may lose the reply.
 * With all places taken the oldest that stays silent makes room, so that idle connections never
 * keep a health check out.
 */
#include "admin/admin.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin/admin_pages.h"
#include "admin/admin_request.h"
#include "admin/admin_socket.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "config/config.h"

#define CONNECTIONS_MAX 16
#define RETRY_MS 5000
#define HEAD_TIMEOUT_MS 5000
#define WRITE_TIMEOUT_MS 5000
#define SILENCE_GRACE_MS 50	  /* what an honest client needs to send its head, and more */
#define LINGER_TIMEOUT_MS 1000	  /* a client on this host closes at once */
#define LINGER_MAX_BYTES 65536	  /* what is read away, at most */
#define ACCEPT_LOG_EVERY_MS 60000 /* one line a minute says that accept fails */

enum connection_state { READING, WRITING, LINGERING, CLOSING };

union stream {
	uv_handle_t handle;
	uv_stream_t stream;
	uv_tcp_t tcp;
	uv_pipe_t pipe;
};

struct connection {
	struct list node; /* in admin->connections, oldest first */
	struct admin *admin;
	enum connection_state state;
	union stream client;
	uv_timer_t timer;
	unsigned open_handles;
	uint64_t since_ms; /* accepted; by the loop's clock */
	bool has_ended;	   /* the client has shut down its side: nothing is left to read away */
	uv_write_t write;
	uv_shutdown_t shutdown;
	struct buf reply;
	size_t length; /* of head; while LINGERING: bytes read away */
	char head[ADMIN_REQUEST_HEAD_MAX];
};

struct admin {
	struct admin_doors doors;
	char *configured; /* the option as given */
	char *path;	  /* unix socket; NULL: TCP at addr */
	struct addr addr;
	struct admin_socket socket; /* fd belongs to `listener` */
	union stream listener;
	bool is_listening;
	bool is_accept_due; /* somebody waits for a place */
	bool is_closing;
	uv_timer_t retry;
	unsigned open_handles;
	int last_error; /* of listening: said once */
	struct log_brake accept_brake;
	struct list connections;
	unsigned connection_count;
	void (*closed)(void *);
	void *closed_arg;
};

static void accept_next(struct admin *admin);
static void on_retry(uv_timer_t *timer);

static void free_admin(struct admin *admin)
{
	free(admin->configured);
	free(admin->path);
	free(admin);
}

static void finish_close(struct admin *admin)
{
	void (*closed)(void *) = admin->closed;
	void *arg = admin->closed_arg;

	if (!admin->is_closing || admin->open_handles || admin->connection_count)
		return;
	free_admin(admin);
	if (closed)
		closed(arg);
}

/* --- one connection --- */

static void on_connection_handle_closed(uv_handle_t *handle)
{
	struct connection *connection = handle->data;
	struct admin *admin = connection->admin;

	if (--connection->open_handles)
		return;
	list_remove(&connection->node);
	admin->connection_count--;
	buf_deinit(&connection->reply);
	free(connection);
	if (!admin->is_closing && admin->is_accept_due)
		accept_next(admin);
	finish_close(admin);
}

static void close_connection(struct connection *connection)
{
	if (connection->state == CLOSING)
		return;
	connection->state = CLOSING;
	uv_close((uv_handle_t *)&connection->timer, on_connection_handle_closed);
	uv_close(&connection->client.handle, on_connection_handle_closed);
}

static void on_deadline(uv_timer_t *timer)
{
	close_connection(timer->data);
}

static void on_shut_down(uv_shutdown_t *request, int status)
{
	struct connection *connection = request->data;

	if (status < 0)
		close_connection(connection);
}

static void on_written(uv_write_t *request, int status)
{
	struct connection *connection = request->data;

	if (connection->state == CLOSING)
		return;
	connection->shutdown.data = connection;
	if (status < 0 || connection->has_ended ||
	    uv_shutdown(&connection->shutdown, &connection->client.stream, on_shut_down) != 0) {
		close_connection(connection);
		return;
	}
	connection->state = LINGERING;
	connection->length = 0;
	uv_timer_start(&connection->timer, on_deadline, LINGER_TIMEOUT_MS, 0);
}

/* Whether it was asked from this host. */
static bool is_local(const struct connection *connection)
{
	struct sockaddr_storage name;
	int length = sizeof(name);
	struct addr peer;

	if (connection->admin->path)
		return true;
	return uv_tcp_getpeername(&connection->client.tcp, (struct sockaddr *)&name, &length) ==
		       0 &&
	       addr_from_socket((struct sockaddr *)&name, &peer) == 0 && addr_is_loopback(&peer);
}

static void send_reply(struct connection *connection, enum admin_request_verdict verdict,
		       const struct admin_request *request)
{
	struct admin *admin = connection->admin;
	struct buf *reply = &connection->reply;
	uv_buf_t bytes;

	admin_pages_answer(&admin->doors, verdict, request, admin->path ? NULL : admin->configured,
			   is_local(connection), clock_wall_s(), reply);
	bytes = uv_buf_init(reply->data, (unsigned)reply->length);
	if (reply->failed)
		bytes = uv_buf_init((char *)(uintptr_t)admin_pages_no_memory,
				    (unsigned)strlen(admin_pages_no_memory));
	connection->state = WRITING;
	connection->length = 0;
	uv_timer_start(&connection->timer, on_deadline, WRITE_TIMEOUT_MS, 0);
	if (uv_write(&connection->write, &connection->client.stream, &bytes, 1, on_written) != 0)
		close_connection(connection);
}

/* Behind the head everything lands in the same place and is forgotten. */
static void on_room_wanted(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
	struct connection *connection = handle->data;
	size_t used = connection->state == READING ? connection->length : 0;

	(void)suggested;
	*out = uv_buf_init(connection->head + used, (unsigned)(sizeof(connection->head) - used));
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *bytes)
{
	struct connection *connection = stream->data;
	enum admin_request_verdict verdict;
	struct admin_request request;

	(void)bytes;
	switch (connection->state) {
	case READING:
		if (count < 0) {
			close_connection(connection);
			return;
		}
		connection->length += (size_t)count;
		verdict = admin_request_parse(connection->head, connection->length, &request);
		if (verdict != ADMIN_REQUEST_INCOMPLETE)
			send_reply(connection, verdict, &request);
		return;
	case WRITING:
	case LINGERING:
		/* A client may shut its side down and still wait for the reply. */
		connection->has_ended |= count == UV_EOF;
		if (count == UV_EOF && connection->state == WRITING)
			return;
		connection->length += count > 0 ? (size_t)count : 0;
		if (count < 0 || connection->length > LINGER_MAX_BYTES)
			close_connection(connection);
		return;
	case CLOSING:
		return;
	}
}

/* --- the listener --- */

static int init_stream(struct admin *admin, union stream *stream)
{
	return admin->path ? uv_pipe_init(admin->doors.loop, &stream->pipe, 0)
			   : uv_tcp_init(admin->doors.loop, &stream->tcp);
}

static struct connection *new_connection(struct admin *admin)
{
	struct connection *connection = calloc(1, sizeof(*connection));

	if (!connection)
		return NULL;
	if (init_stream(admin, &connection->client) != 0) {
		free(connection);
		return NULL;
	}
	uv_timer_init(admin->doors.loop, &connection->timer);
	connection->admin = admin;
	connection->since_ms = uv_now(admin->doors.loop);
	connection->open_handles = 2;
	connection->client.handle.data = connection;
	connection->timer.data = connection;
	connection->write.data = connection;
	buf_init(&connection->reply, ADMIN_REPLY_MAX_BYTES + ADMIN_REQUEST_HEAD_MAX);
	list_append(&admin->connections, &connection->node);
	admin->connection_count++;
	return connection;
}

/* The oldest that has not asked yet makes room; one that has only just come gets its chance. */
static void drop_oldest_silent(struct admin *admin)
{
	uint64_t age_ms;

	list_for_each (node, &admin->connections) {
		struct connection *connection = list_entry(node, struct connection, node);

		if (connection->state == CLOSING)
			return; /* its place comes free in this turn of the loop */
		if (connection->state != READING)
			continue;
		age_ms = uv_now(admin->doors.loop) - connection->since_ms;
		if (age_ms >= SILENCE_GRACE_MS)
			close_connection(connection);
		else
			uv_timer_start(&admin->retry, on_retry, SILENCE_GRACE_MS - age_ms, 0);
		return;
	}
}

/* libuv tells each arrival once and holds it until it is accepted; so one that finds no place is
 * accepted when a place comes free. */
static void accept_next(struct admin *admin)
{
	struct connection *connection;

	admin->is_accept_due = true;
	if (admin->connection_count >= CONNECTIONS_MAX) {
		drop_oldest_silent(admin);
		return;
	}
	connection = new_connection(admin);
	if (!connection) {
		uv_timer_start(&admin->retry, on_retry, RETRY_MS, 0);
		return;
	}
	admin->is_accept_due = false;
	if (uv_accept(&admin->listener.stream, &connection->client.stream) != 0 ||
	    uv_read_start(&connection->client.stream, on_room_wanted, on_read) != 0) {
		close_connection(connection);
		return;
	}
	uv_timer_start(&connection->timer, on_deadline, HEAD_TIMEOUT_MS, 0);
}

static void on_connection(uv_stream_t *listener, int status)
{
	struct admin *admin = listener->data;
	uint64_t held_count;

	if (status == 0)
		accept_next(admin);
	else if (log_brake_take(&admin->accept_brake, clock_now_ms(), ACCEPT_LOG_EVERY_MS,
				&held_count))
		log_warn("admin", "cannot accept a connection on %s: %s (%llu times more before)",
			 admin->configured, uv_strerror(status), (unsigned long long)held_count);
}

static void on_admin_handle_closed(uv_handle_t *handle)
{
	struct admin *admin = handle->data;

	admin->open_handles--;
	finish_close(admin);
}

static void say_failure(struct admin *admin, int error)
{
	if (error == admin->last_error)
		return;
	admin->last_error = error;
	log_warn("admin",
		 "cannot listen on %s: %s; queries are answered all the same, /health, /ready and "
		 "/metrics are not; free it, or restart with --admin=IP:PORT or --admin=off; tried "
		 "again every %d s",
		 admin->configured,
		 error == -ENOTSOCK ? "a file that is no socket is there" : strerror(-error),
		 RETRY_MS / 1000);
}

static void say_success(struct admin *admin)
{
	struct sockaddr_storage name;
	int length = sizeof(name);
	char text[ADDR_TEXT_MAX] = "";
	struct addr addr;

	/* The port may have been left to the system: say which it chose. */
	if (!admin->path &&
	    uv_tcp_getsockname(&admin->listener.tcp, (struct sockaddr *)&name, &length) == 0 &&
	    addr_from_socket((struct sockaddr *)&name, &addr) == 0)
		addr_format(&addr, text);
	admin->last_error = 0;
	log_info("admin", "listening on %s", text[0] ? text : admin->configured);
}

/* Hands the descriptor to the loop; 0 or -errno, and then the descriptor is closed. */
static int start_listener(struct admin *admin)
{
	int fd = admin->socket.fd, error = init_stream(admin, &admin->listener);

	if (error) {
		close(fd);
		return error;
	}
	admin->listener.handle.data = admin;
	admin->open_handles++;
	error = admin->path ? uv_pipe_open(&admin->listener.pipe, fd)
			    : uv_tcp_open(&admin->listener.tcp, fd);
	if (error)
		close(fd);
	else
		error = uv_listen(&admin->listener.stream, CONNECTIONS_MAX, on_connection);
	if (error)
		uv_close(&admin->listener.handle, on_admin_handle_closed);
	return error;
}

static void try_listen(struct admin *admin)
{
	int error = admin_socket_open(&admin->addr, admin->path, &admin->socket);

	if (error == 0) {
		error = start_listener(admin);
		if (error)
			admin_socket_remove_file(&admin->socket, admin->path);
	}
	if (error) {
		/* A handle that failed here is closed in this turn of the loop, long before. */
		say_failure(admin, error);
		uv_timer_start(&admin->retry, on_retry, RETRY_MS, 0);
		return;
	}
	admin->is_listening = true;
	say_success(admin);
}

static void on_retry(uv_timer_t *timer)
{
	struct admin *admin = timer->data;

	if (!admin->is_listening)
		try_listen(admin);
	else if (admin->is_accept_due)
		accept_next(admin);
}

struct admin *admin_open(const struct admin_doors *doors, const struct config *config)
{
	struct admin *admin;

	if (config->admin_is_off)
		return NULL;
	admin = calloc(1, sizeof(*admin));
	if (!admin)
		return NULL;
	admin->doors = *doors;
	admin->addr = config->admin_addr;
	admin->configured = strdup(config->admin);
	admin->path = config->admin_path ? strdup(config->admin_path) : NULL;
	if (!admin->configured || (config->admin_path && !admin->path) ||
	    uv_timer_init(doors->loop, &admin->retry) != 0) {
		free_admin(admin);
		return NULL;
	}
	list_init(&admin->connections);
	admin->retry.data = admin;
	admin->open_handles = 1;
	try_listen(admin);
	return admin;
}

void admin_close(struct admin *admin, void (*closed)(void *), void *arg)
{
	if (!admin) {
		if (closed)
			closed(arg);
		return;
	}
	admin->is_closing = true;
	admin->closed = closed;
	admin->closed_arg = arg;
	list_for_each_safe (node, &admin->connections) {
		close_connection(list_entry(node, struct connection, node));
	}
	if (admin->is_listening) {
		admin_socket_remove_file(&admin->socket, admin->path);
		uv_close(&admin->listener.handle, on_admin_handle_closed);
	}
	uv_close((uv_handle_t *)&admin->retry, on_admin_handle_closed);
}
