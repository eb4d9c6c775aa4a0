#include "forward/exchange_tcp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "dns/dns.h"

#define PREFIX_BYTES 2

static void fail(struct exchange_tcp *tcp, int error)
{
	if (!uv_is_closing((uv_handle_t *)&tcp->tcp))
		tcp->doors->on_error(tcp, error);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
	struct exchange_tcp *tcp = handle->data;

	(void)suggested;
	if (tcp->received < PREFIX_BYTES) {
		*out = uv_buf_init((char *)tcp->prefix + tcp->received,
				   (unsigned)(PREFIX_BYTES - tcp->received));
		return;
	}
	*out = uv_buf_init((char *)tcp->message + (tcp->received - PREFIX_BYTES),
			   (unsigned)(tcp->message_length + PREFIX_BYTES - tcp->received));
}

/* The prefix is complete: makes room for what it announces. 0 or -errno. */
static int expect_message(struct exchange_tcp *tcp)
{
	tcp->message_length = load_be16(tcp->prefix);
	if (tcp->message_length < DNS_HEADER_BYTES)
		return -EPROTO;
	tcp->message = malloc(tcp->message_length);
	return tcp->message ? 0 : -ENOMEM;
}

static void on_read(uv_stream_t *stream, ssize_t length, const uv_buf_t *buf)
{
	struct exchange_tcp *tcp = stream->data;
	int result = 0;

	(void)buf;
	if (length < 0) {
		uv_read_stop(stream);
		fail(tcp, (int)length);
		return;
	}
	tcp->received += (size_t)length;
	if (tcp->received == PREFIX_BYTES && !tcp->message)
		result = expect_message(tcp);
	if (result) {
		uv_read_stop(stream);
		fail(tcp, result);
		return;
	}
	if (!tcp->message || tcp->received < tcp->message_length + PREFIX_BYTES)
		return;
	uv_read_stop(stream);
	tcp->doors->on_message(tcp, tcp->message, tcp->message_length);
}

static void on_written(uv_write_t *write, int status)
{
	struct exchange_tcp *tcp = write->data;

	if (status == 0 || uv_is_closing((uv_handle_t *)&tcp->tcp))
		return;
	uv_read_stop((uv_stream_t *)&tcp->tcp);
	fail(tcp, status);
}

static void on_connected(uv_connect_t *connect, int status)
{
	struct exchange_tcp *tcp = connect->data;
	uv_buf_t buf = uv_buf_init((char *)tcp->query, (unsigned)tcp->query_length);

	if (uv_is_closing((uv_handle_t *)&tcp->tcp))
		return;
	if (status == 0)
		status = uv_read_start((uv_stream_t *)&tcp->tcp, on_alloc, on_read);
	if (status == 0)
		status = uv_write(&tcp->write, (uv_stream_t *)&tcp->tcp, &buf, 1, on_written);
	if (status)
		fail(tcp, status);
}

int exchange_tcp_open(struct exchange_tcp *tcp, uv_loop_t *loop,
		      const struct exchange_tcp_doors *doors, const struct addr *upstream,
		      const uint8_t *query, size_t length)
{
	union addr_socket where;

	*tcp = (struct exchange_tcp){ .doors = doors, .query_length = length + PREFIX_BYTES };
	tcp->tcp.data = tcp->connect.data = tcp->write.data = tcp;
	store_be16(tcp->query, (uint16_t)length);
	memcpy(tcp->query + PREFIX_BYTES, query, length);
	uv_tcp_init(loop, &tcp->tcp);
	addr_to_socket(upstream, &where);
	return uv_tcp_connect(&tcp->connect, &tcp->tcp, &where.sa, on_connected);
}

static void on_tcp_closed(uv_handle_t *handle)
{
	struct exchange_tcp *tcp = handle->data;

	free(tcp->message);
	tcp->message = NULL;
	tcp->doors->on_closed(tcp);
}

void exchange_tcp_close(struct exchange_tcp *tcp)
{
	uv_close((uv_handle_t *)&tcp->tcp, on_tcp_closed);
}
