/*
 * Bytes come in through read_some: from the socket, through TLS if there is one, into `in`, and out
 * of it message by message. They go out through flush: from `out`, through TLS, to the socket. The
 * poll asks for writability only while something waits to leave.
 */
#include "forward/connection.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "dns/dns.h"
#include "forward/tls.h"

#define PREFIX_BYTES 2
#define IN_BYTES 4096			  /* at first; a long message makes it grow */
#define OUT_MAX_BYTES ((size_t)256 << 10) /* more than all questions that may be open */
#define READ_BYTES 16384		  /* a TLS record */
#define READS_A_WAKE 8			  /* a flood on one stream must not hold up the loop */
#define OPEN_MS 3000			  /* connect and handshake; a query has 4 s in all */
/* Sent and not acknowledged for so long: the path is dead, whatever the kernel still hopes. */
#define UNACKNOWLEDGED_MS 2000

static void on_event(uv_poll_t *poll, int status, int events);

static void end(struct connection *connection, int error, const char *why)
{
	if (connection->state == CONNECTION_ENDED)
		return;
	connection->state = CONNECTION_ENDED;
	uv_poll_stop(&connection->poll);
	uv_timer_stop(&connection->timer);
	connection->doors->on_end(connection, error, why && why[0] ? why : NULL);
}

static bool has_to_send(const struct connection *connection)
{
	size_t pending = 0;

	if (connection->state == CONNECTION_OPEN && connection->out.length > connection->out_sent)
		return true;
	if (connection->tls)
		tls_pending(connection->tls, &pending);
	return pending > 0;
}

static void watch(struct connection *connection)
{
	int events = UV_READABLE;

	if (connection->state == CONNECTION_ENDED)
		return;
	if (connection->state == CONNECTION_CONNECTING || has_to_send(connection))
		events |= UV_WRITABLE;
	uv_poll_start(&connection->poll, events, on_event);
}

/* Bytes to the kernel. How many it took, 0 when it is full, or -errno. */
static ssize_t send_some(const struct connection *connection, const void *bytes, size_t length)
{
	ssize_t sent = send(connection->fd, bytes, length, MSG_NOSIGNAL);

	if (sent >= 0)
		return sent;
	return errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

static int flush_tls(struct connection *connection)
{
	const uint8_t *bytes;
	size_t length;

	while ((bytes = tls_pending(connection->tls, &length))) {
		ssize_t sent = send_some(connection, bytes, length);

		if (sent <= 0)
			return (int)sent;
		tls_sent(connection->tls, (size_t)sent);
	}
	return 0;
}

static void empty_out(struct connection *connection)
{
	connection->out.length = 0;
	connection->out_sent = 0;
}

/* Gives away what it can. 0 or -errno. */
static int flush(struct connection *connection)
{
	struct buf *out = &connection->out;
	int result = 0;

	if (connection->tls) {
		if (connection->state == CONNECTION_OPEN && out->length > 0) {
			result =
				tls_write(connection->tls, (const uint8_t *)out->data, out->length);
			empty_out(connection);
		}
		return result ? result : flush_tls(connection);
	}
	while (connection->out_sent < out->length) {
		ssize_t sent = send_some(connection, out->data + connection->out_sent,
					 out->length - connection->out_sent);

		if (sent <= 0)
			return (int)sent;
		connection->out_sent += (size_t)sent;
	}
	empty_out(connection);
	return 0;
}

static const char *why_of(const struct connection *connection)
{
	return connection->tls ? tls_why(connection->tls) : NULL;
}

static void become_open(struct connection *connection)
{
	connection->state = CONNECTION_OPEN;
	uv_timer_stop(&connection->timer);
	connection->doors->on_open(connection);
}

/* Goes on with the handshake; what it has to say leaves first, an alert too. */
static void shake_hands(struct connection *connection)
{
	int result = tls_shake_hands(connection->tls);
	int sent = flush_tls(connection);

	if (result == 0 && sent == 0)
		become_open(connection);
	else if (result != -EAGAIN || sent < 0)
		end(connection, sent < 0 ? sent : result, why_of(connection));
}

static void take_connected(struct connection *connection)
{
	int error = 0;
	socklen_t length = sizeof(error);

	if (getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &error, &length))
		error = errno;
	if (error) {
		end(connection, -error, NULL);
		return;
	}
	if (!connection->tls) {
		become_open(connection);
		return;
	}
	connection->state = CONNECTION_SHAKING_HANDS;
	shake_hands(connection);
}

/* Makes room for `length` bytes behind what is there: a message at least. */
static int make_room(struct connection *connection, size_t length)
{
	size_t needed = connection->in_length + length;
	size_t capacity = connection->in_capacity ? connection->in_capacity : IN_BYTES;
	uint8_t *grown;

	if (needed <= connection->in_capacity)
		return 0;
	while (capacity < needed)
		capacity *= 2;
	grown = realloc(connection->in, capacity);
	if (!grown)
		return -ENOMEM;
	connection->in = grown;
	connection->in_capacity = capacity;
	return 0;
}

/* Text that came: hands over each message that is whole. */
static void take_text(struct connection *connection, const uint8_t *text, size_t length)
{
	size_t at = 0;

	if (make_room(connection, length)) {
		end(connection, -ENOMEM, NULL);
		return;
	}
	memcpy(connection->in + connection->in_length, text, length);
	connection->in_length += length;
	while (connection->in_length - at >= PREFIX_BYTES) {
		size_t message_length = load_be16(connection->in + at);

		if (message_length < DNS_HEADER_BYTES) {
			end(connection, -EPROTO, "it sends what is no DNS message");
			return;
		}
		if (connection->in_length - at < PREFIX_BYTES + message_length)
			break;
		connection->doors->on_message(connection, connection->in + at + PREFIX_BYTES,
					      message_length);
		if (connection->state == CONNECTION_ENDED)
			return;
		at += PREFIX_BYTES + message_length;
	}
	connection->in_length -= at;
	memmove(connection->in, connection->in + at, connection->in_length);
}

/* All that TLS has understood so far. */
static void read_text(struct connection *connection)
{
	uint8_t text[READ_BYTES];

	while (connection->state == CONNECTION_OPEN) {
		ssize_t length = tls_read(connection->tls, text, sizeof(text));

		if (length == -EAGAIN)
			return;
		if (length > 0)
			take_text(connection, text, (size_t)length);
		else
			end(connection, length ? (int)length : UV_EOF, why_of(connection));
	}
}

/* One read of the socket. Whether another may bring more. */
static bool read_some(struct connection *connection)
{
	uint8_t bytes[READ_BYTES];
	ssize_t length = recv(connection->fd, bytes, sizeof(bytes), 0);

	if (length < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (length <= 0) {
		end(connection, length ? -errno : UV_EOF, why_of(connection));
		return false;
	}
	if (!connection->tls) {
		take_text(connection, bytes, (size_t)length);
		return (size_t)length == sizeof(bytes);
	}
	if (tls_feed(connection->tls, bytes, (size_t)length)) {
		end(connection, -ENOMEM, NULL);
		return false;
	}
	if (connection->state == CONNECTION_SHAKING_HANDS)
		shake_hands(connection);
	read_text(connection);
	return (size_t)length == sizeof(bytes);
}

static void on_event(uv_poll_t *poll, int status, int events)
{
	struct connection *connection = poll->data;
	int result;

	/* libuv says only that the socket has an error; asking it or reading says which. */
	if (connection->state == CONNECTION_CONNECTING) {
		if (status < 0 || events & UV_WRITABLE)
			take_connected(connection);
	} else if (status < 0 || events & UV_READABLE) {
		for (unsigned i = 0; i < READS_A_WAKE; i++) {
			if (connection->state == CONNECTION_ENDED || !read_some(connection))
				break;
		}
	}
	if (connection->state == CONNECTION_ENDED)
		return;
	result = connection->state == CONNECTION_CONNECTING ? 0 : flush(connection);
	if (result)
		end(connection, result, why_of(connection));
	else
		watch(connection);
}

static void on_timer(uv_timer_t *timer)
{
	struct connection *connection = timer->data;

	switch (connection->state) {
	case CONNECTION_CONNECTING:
		end(connection, -ETIMEDOUT, "it does not take the connection");
		return;
	case CONNECTION_SHAKING_HANDS:
		end(connection, -ETIMEDOUT, "the TLS handshake takes too long");
		return;
	case CONNECTION_OPEN:
		end(connection, 0, NULL);
		return;
	case CONNECTION_ENDED:
		return;
	}
}

/* A socket that begins to connect; its number, or -errno. */
static int open_socket(const struct addr *upstream)
{
	int fd = socket(upstream->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	unsigned patience_ms = UNACKNOWLEDGED_MS;
	int on = 1;
	union addr_socket where;
	socklen_t length = addr_to_socket(upstream, &where);

	if (fd < 0)
		return -errno;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &patience_ms, sizeof(patience_ms));
	if (connect(fd, &where.sa, length) && errno != EINPROGRESS) {
		int error = -errno;

		close(fd);
		return error;
	}
	return fd;
}

int connection_open(struct connection *connection, uv_loop_t *loop,
		    const struct connection_doors *doors, const struct addr *upstream,
		    struct tls *tls)
{
	int fd = open_socket(upstream);
	int result = fd < 0 ? fd : 0;

	*connection = (struct connection){ .doors = doors, .tls = tls, .fd = fd };
	if (result == 0)
		result = uv_poll_init_socket(loop, &connection->poll, fd);
	if (result) {
		if (fd >= 0)
			close(fd);
		tls_free(tls);
		return result;
	}
	buf_init(&connection->out, OUT_MAX_BYTES);
	uv_timer_init(loop, &connection->timer);
	connection->poll.data = connection->timer.data = connection;
	connection->open_handles = 2; /* the poll and the timer */
	uv_update_time(loop);
	uv_timer_start(&connection->timer, on_timer, OPEN_MS, 0);
	watch(connection);
	return 0;
}

bool connection_is_resumed(const struct connection *connection)
{
	return connection->tls && tls_is_resumed(connection->tls);
}

int connection_write(struct connection *connection, const uint8_t *frame, size_t length)
{
	if (buf_append(&connection->out, frame, length)) {
		connection->out.failed = false;
		return -ENOMEM;
	}
	watch(connection);
	return 0;
}

void connection_rest(struct connection *connection, uint64_t after_ms)
{
	if (connection->state == CONNECTION_OPEN)
		uv_timer_start(&connection->timer, on_timer, after_ms, 0);
}

void connection_work(struct connection *connection)
{
	if (connection->state == CONNECTION_OPEN)
		uv_timer_stop(&connection->timer);
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct connection *connection = handle->data;

	if (--connection->open_handles > 0)
		return;
	free(connection->in);
	connection->in = NULL;
	buf_deinit(&connection->out);
	tls_free(connection->tls);
	connection->tls = NULL;
	connection->doors->on_closed(connection);
}

void connection_close(struct connection *connection)
{
	if (connection->tls) {
		tls_end(connection->tls);
		flush_tls(connection);
	}
	connection->state = CONNECTION_ENDED;
	uv_close((uv_handle_t *)&connection->poll, on_handle_closed);
	uv_close((uv_handle_t *)&connection->timer, on_handle_closed);
	close(connection->fd);
}
