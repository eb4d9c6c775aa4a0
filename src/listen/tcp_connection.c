/*
 * Reading stops while a client has too much unanswered or unread, so its own send queue fills and
 * it waits. Going on is never done from inside an answer (that may be in the middle of the
 * pipeline) but from a timer of zero length. Only a finished exchange moves a connection's clock:
 * single bytes of a query that never ends do not keep it alive.
 */
#include "listen/tcp_connection.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "dns/dns.h"
#include "nomad/zone.h"
#include "pipeline.h"

#define MESSAGE_MAX 65535 /* what two bytes of length can say */
#define HEADER_QR_BYTE 2
#define HEADER_QR_BIT 0x80

struct unsent { /* what the kernel did not take at once */
	uv_write_t request;
	struct tcp_connection *connection;
	size_t cost_bytes; /* with this struct: many small answers count as well */
	uint8_t bytes[];
};

static void on_freed(uv_handle_t *handle)
{
	struct tcp_connection *connection = handle->data;
	struct tcp_common *common = connection->common;

	free(connection);
	common->handle_count--;
	common->freed(common);
}

void tcp_connection_close(struct tcp_connection *connection)
{
	struct tcp_common *common = connection->common;

	if (connection->is_closing)
		return;
	connection->is_closing = true;
	list_remove(&connection->by_activity);
	list_remove(&connection->to_resume);
	common->left(common, connection);
	uv_close((uv_handle_t *)&connection->handle, on_freed);
}

uint64_t tcp_connection_deadline_ms(const struct tcp_connection *connection)
{
	const struct tcp_limits *limits = &connection->common->limits;
	bool is_our_turn = connection->pending_count > 0 && connection->unsent_bytes == 0;

	/* Every query ends in time; the longer deadline is for one whose answer will never come. */
	return connection->active_ms + limits->idle_ms + (is_our_turn ? limits->answer_ms : 0);
}

static void mark_active(struct tcp_connection *connection)
{
	connection->active_ms = uv_now(connection->common->loop);
	list_remove(&connection->by_activity);
	list_append(&connection->common->by_activity, &connection->by_activity);
}

static void cut_off(struct tcp_connection *connection, enum metric why)
{
	metrics_add(connection->common->metrics, why, 1);
	tcp_connection_close(connection);
}

static void resume_later(struct tcp_connection *connection)
{
	struct tcp_common *common = connection->common;

	if (connection->is_closing || connection->is_reading ||
	    !list_is_empty(&connection->to_resume))
		return;
	list_append(&common->to_resume, &connection->to_resume);
	(void)uv_timer_start(&common->resume_timer, tcp_connection_resume_all, 0, 0);
}

static void on_written(uv_write_t *request, int status)
{
	struct unsent *unsent = request->data;
	struct tcp_connection *connection = unsent->connection;

	connection->unsent_bytes -= unsent->cost_bytes;
	connection->common->unsent_bytes -= unsent->cost_bytes;
	free(unsent);
	if (connection->is_closing)
		return;
	if (status < 0) {
		cut_off(connection, METRIC_RESPONSES_UNSENT);
		return;
	}
	mark_active(connection);
	resume_later(connection);
}

/* Keeps what is left of `buffers` behind the first `sent` bytes until the client reads on. */
static void keep_unsent(struct tcp_connection *connection, const uv_buf_t *buffers, unsigned count,
			size_t sent, size_t length)
{
	struct tcp_common *common = connection->common;
	size_t rest = length - sent, cost = sizeof(struct unsent) + rest, filled = 0;
	struct unsent *unsent;
	uv_buf_t buffer;

	if (connection->unsent_bytes + cost > TCP_UNSENT_MAX_BYTES ||
	    common->unsent_bytes + cost > TCP_UNSENT_ALL_MAX_BYTES) {
		cut_off(connection, METRIC_TCP_CLOSED_SLOW);
		return;
	}
	unsent = malloc(cost);
	if (!unsent) { /* half an answer may be out: nothing else can follow it */
		cut_off(connection, METRIC_RESPONSES_UNSENT);
		return;
	}
	unsent->connection = connection;
	unsent->cost_bytes = cost;
	for (unsigned i = 0; i < count; i++) {
		size_t skip = min_size(sent, buffers[i].len), left = buffers[i].len - skip;

		sent -= skip;
		memcpy(unsent->bytes + filled, buffers[i].base + skip, left);
		filled += left;
	}
	unsent->request.data = unsent;
	buffer = uv_buf_init((char *)unsent->bytes, (unsigned)rest);
	if (uv_write(&unsent->request, (uv_stream_t *)&connection->handle, &buffer, 1,
		     on_written)) {
		free(unsent);
		cut_off(connection, METRIC_RESPONSES_UNSENT);
		return;
	}
	connection->unsent_bytes += cost;
	common->unsent_bytes += cost;
}

static void write_out(struct tcp_connection *connection, const uv_buf_t *buffers, unsigned count,
		      size_t length)
{
	int sent;

	if (connection->is_closing)
		return;
	sent = uv_try_write((uv_stream_t *)&connection->handle, buffers, count);
	if (sent < 0 && sent != UV_EAGAIN)
		cut_off(connection, METRIC_RESPONSES_UNSENT);
	else if (sent >= 0 && (size_t)sent == length)
		mark_active(connection);
	else
		keep_unsent(connection, buffers, count, sent < 0 ? 0 : (size_t)sent, length);
}

void tcp_connection_answer(struct tcp_connection *connection, const uint8_t *reply, size_t length)
{
	uint8_t prefix[TCP_FRAME_PREFIX_BYTES];
	uv_buf_t buffers[2] = { uv_buf_init((char *)prefix, sizeof(prefix)),
				uv_buf_init((char *)(uintptr_t)reply, (unsigned)length) };

	if (connection->pending_count > 0)
		connection->pending_count--;
	store_be16(prefix, (uint16_t)length);
	if (length > 0) /* else it ended without one */
		write_out(connection, buffers, 2, sizeof(prefix) + length);
	resume_later(connection);
}

static bool can_take_more(const struct tcp_connection *connection)
{
	return !connection->is_closing && connection->pending_count < TCP_PENDING_MAX &&
	       connection->unsent_bytes < TCP_UNSENT_PAUSE_BYTES;
}

/* Asks about one message; the framed answer goes to `out`, if there is one now. Its bytes. */
static size_t ask_one(struct tcp_connection *connection, const uint8_t *message, size_t length,
		      uint64_t now_us, uint8_t *out)
{
	size_t reply_length;

	connection->pending_count++; /* an answer may come from inside the question */
	reply_length = pipeline_ask(connection->common->pipeline, &connection->client, message,
				    length, now_us, out + TCP_FRAME_PREFIX_BYTES, MESSAGE_MAX);
	if (reply_length == 0)
		return 0;
	connection->pending_count--;
	store_be16(out, (uint16_t)reply_length);
	return TCP_FRAME_PREFIX_BYTES + reply_length;
}

static void flush_scratch(struct tcp_connection *connection, size_t *used)
{
	uv_buf_t buffer = uv_buf_init((char *)connection->common->scratch, (unsigned)*used);

	if (*used)
		write_out(connection, &buffer, 1, *used);
	*used = 0;
}

/* Whether the client talks DNS at all. A reply (QR=1) to a server is as wrong as garbage. */
static bool is_query(enum tcp_frame_state state, const uint8_t *message)
{
	return state == TCP_FRAME_WHOLE && !(message[HEADER_QR_BYTE] & HEADER_QR_BIT);
}

/* Answers the whole messages that are there. */
static void serve_messages(struct tcp_connection *connection)
{
	uint8_t *scratch = connection->common->scratch;
	uint64_t now_us = clock_now_us();
	const uint8_t *message = NULL;
	size_t length, used = 0, reply_length;
	unsigned reply_count = 0;
	bool is_dns = true;

	zone_read_begin();
	while (is_dns && can_take_more(connection)) {
		enum tcp_frame_state state = tcp_frame_next(&connection->stream, &message, &length);

		if (state == TCP_FRAME_PARTIAL)
			break;
		is_dns = is_query(state, message);
		if (!is_dns)
			break;
		if (TCP_SCRATCH_BYTES - used < TCP_FRAME_PREFIX_BYTES + MESSAGE_MAX)
			flush_scratch(connection, &used);
		reply_length = ask_one(connection, message, length, now_us, scratch + used);
		reply_count += reply_length > 0;
		used += reply_length;
	}
	zone_read_end();
	flush_scratch(connection, &used);
	if (reply_count)
		metrics_observe(connection->common->metrics, METRIC_REQUEST_DURATION,
				clock_now_us() - now_us, reply_count);
	if (!is_dns && !connection->is_closing)
		cut_off(connection, METRIC_REQUESTS_DROPPED);
}

static void on_space_wanted(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
	struct tcp_connection *connection = handle->data;
	size_t space;

	(void)suggested;
	out->base = (char *)tcp_frame_space(&connection->stream, &space);
	out->len = space;
}

static void on_read(uv_stream_t *handle, ssize_t count, const uv_buf_t *buffer);

/* Serves what is there, then reads on, stops reading, or ends, whatever is due. */
static void go_on(struct tcp_connection *connection)
{
	uv_stream_t *stream = (uv_stream_t *)&connection->handle;
	bool may_read;

	if (!connection->common->is_muted)
		serve_messages(connection);
	if (connection->is_closing)
		return;
	if (connection->has_ended && can_take_more(connection) && connection->pending_count == 0 &&
	    connection->unsent_bytes == 0) {
		tcp_connection_close(connection);
		return;
	}
	may_read = can_take_more(connection) && !connection->has_ended &&
		   !connection->common->is_muted;
	if (may_read && !connection->is_reading && uv_read_start(stream, on_space_wanted, on_read))
		tcp_connection_close(connection);
	else if (!may_read && connection->is_reading)
		(void)uv_read_stop(stream);
	connection->is_reading = may_read;
}

static void on_read(uv_stream_t *handle, ssize_t count, const uv_buf_t *buffer)
{
	struct tcp_connection *connection = handle->data;

	(void)buffer;
	if (count == 0 || connection->is_closing)
		return;
	if (count < 0 && count != UV_EOF) {
		tcp_connection_close(connection);
		return;
	}
	if (count > 0)
		tcp_frame_fill(&connection->stream, (size_t)count);
	else
		connection->has_ended = true;
	go_on(connection);
}

void tcp_connection_resume_all(uv_timer_t *timer)
{
	struct tcp_common *common = timer->data;
	struct list *node;

	while ((node = list_pop(&common->to_resume)))
		go_on(list_entry(node, struct tcp_connection, to_resume));
}

void tcp_connection_mute(struct tcp_connection *connection)
{
	if (connection->is_reading)
		(void)uv_read_stop((uv_stream_t *)&connection->handle);
	connection->is_reading = false;
}

struct tcp_connection *tcp_connection_open(struct tcp_common *common, int fd,
					   const struct query_client *client)
{
	struct tcp_connection *connection = malloc(sizeof(*connection));

	if (!connection || uv_tcp_init(common->loop, &connection->handle)) {
		free(connection);
		(void)close(fd);
		return NULL;
	}
	common->handle_count++;
	/* All but the stream's bytes, which are only read once they were written. */
	memset((uint8_t *)connection + sizeof(connection->handle), 0,
	       offsetof(struct tcp_connection, stream) - sizeof(connection->handle));
	tcp_frame_init(&connection->stream);
	connection->handle.data = connection;
	connection->common = common;
	connection->client = *client;
	list_init(&connection->by_activity);
	list_init(&connection->to_resume);
	if (uv_tcp_open(&connection->handle, fd)) {
		(void)close(fd);
		goto failed;
	}
	if (uv_read_start((uv_stream_t *)&connection->handle, on_space_wanted, on_read))
		goto failed;
	connection->is_reading = true;
	mark_active(connection);
	return connection;
failed:
	connection->is_closing = true;
	uv_close((uv_handle_t *)&connection->handle, on_freed);
	return NULL;
}
