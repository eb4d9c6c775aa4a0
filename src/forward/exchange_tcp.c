/*
 * A stream is one upstream with its links (connections) and the questions that wait for room on
 * one.
 */
#include "forward/exchange_tcp.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "dns/dns.h"
#include "dns/name.h"
#include "forward/exchange_tcp_parts.h"

/* ---- the pool ---- */

struct exchange_tcp_pool *exchange_tcp_pool_open(uv_loop_t *loop, struct metrics *metrics,
						 struct upstream_list *list)
{
	struct exchange_tcp_pool *pool =
		calloc(1, sizeof(*pool) + list->count * sizeof(pool->stream[0]));

	if (!pool)
		return NULL;
	pool->loop = loop;
	pool->metrics = metrics;
	pool->list = upstream_list_hold(list);
	pool->count = list->count;
	for (size_t i = 0; i < pool->count; i++) {
		struct stream *stream = &pool->stream[i];

		stream->pool = pool;
		stream->upstream = &list->upstream[i];
		stream->safe_max = stream->tried_max = UINT_MAX;
		list_init(&stream->waiting);
	}
	uv_idle_init(loop, &pool->anchor);
	pool->anchor.data = pool;
	pool->open_handles = 1;
	return pool;
}

void exchange_tcp_drop_handle(struct exchange_tcp_pool *pool)
{
	if (--pool->open_handles > 0)
		return;
	for (size_t i = 0; i < pool->count; i++)
		tls_ticket_forget(&pool->stream[i].ticket);
	upstream_list_drop(pool->list);
	pool->closed(pool->closed_arg);
	free(pool);
}

static void on_anchor_closed(uv_handle_t *handle)
{
	exchange_tcp_drop_handle(handle->data);
}

void exchange_tcp_pool_close(struct exchange_tcp_pool *pool, void (*closed)(void *), void *arg)
{
	pool->closed = closed;
	pool->closed_arg = arg;
	for (size_t i = 0; i < pool->count; i++) {
		for (unsigned k = 0; k < EXCHANGE_TCP_CONNECTIONS; k++) {
			if (pool->stream[i].link[k])
				connection_close(&pool->stream[i].link[k]->connection);
		}
	}
	uv_close((uv_handle_t *)&pool->anchor, on_anchor_closed);
}

/* ---- questions ---- */

bool exchange_tcp_has_open_link(const struct stream *stream)
{
	for (unsigned k = 0; k < EXCHANGE_TCP_CONNECTIONS; k++) {
		if (stream->link[k] && stream->link[k]->is_open)
			return true;
	}
	return false;
}

void exchange_tcp_fail_all(struct list *list, int error)
{
	struct list *node;

	while ((node = list_pop(list))) {
		struct exchange_tcp *tcp = list_entry(node, struct exchange_tcp, by_turn);
		const struct exchange_tcp_doors *doors = tcp->doors;

		tcp->doors = NULL;
		doors->on_error(tcp, error);
	}
}

/* Opens another link if there may be one and none is on its way. 0, or -errno when there is none
 * at all. */
static int want_link(struct stream *stream)
{
	bool has_link = exchange_tcp_has_open_link(stream);
	int place = -1, result;

	for (unsigned k = 0; k < EXCHANGE_TCP_CONNECTIONS; k++) {
		if (!stream->link[k])
			place = (int)k;
		else if (!stream->link[k]->is_open)
			return 0;
	}
	if (place < 0 || (has_link && clock_now_ms() < stream->refused_until_ms))
		return 0;
	result = exchange_tcp_link_open(stream, (unsigned)place);
	return has_link ? 0 : result;
}

void exchange_tcp_dispatch(struct stream *stream)
{
	struct list failed;
	int result = 0;

	list_init(&failed);
	while (!list_is_empty(&stream->waiting)) {
		struct list *node = stream->waiting.next;
		struct exchange_tcp *tcp = list_entry(node, struct exchange_tcp, by_turn);
		struct link *link = exchange_tcp_link_find(stream, tcp->is_last_send);

		if (!link)
			break;
		list_remove(node);
		if (exchange_tcp_link_send(link, tcp))
			list_append(&failed, node);
	}
	if (!list_is_empty(&stream->waiting))
		result = want_link(stream);
	if (result)
		exchange_tcp_move_all(&stream->waiting, &failed);
	exchange_tcp_fail_all(&failed, result ? result : -ENOMEM);
}

/* RFC 7830, 8467: an OPT at the end of a query grows until the whole is a multiple of the block. */
static size_t pad(uint8_t *query, size_t length)
{
	size_t name = name_length(query + DNS_HEADER_BYTES, length - DNS_HEADER_BYTES);
	uint8_t *opt = query + DNS_HEADER_BYTES + name + 4;
	size_t data_length, padded, zeros;

	if (name == 0 || load_be16(query + 10) != 1 || opt + 11 > query + length)
		return length;
	data_length = load_be16(opt + 9);
	if (opt + 11 + data_length != query + length)
		return length;
	padded = (length + 4 + EXCHANGE_TCP_BLOCK - 1) / EXCHANGE_TCP_BLOCK * EXCHANGE_TCP_BLOCK;
	zeros = padded - length - 4;
	store_be16(query + length, DNS_OPTION_PADDING);
	store_be16(query + length + 2, (uint16_t)zeros);
	memset(query + length + 4, 0, zeros);
	store_be16(opt + 9, (uint16_t)(data_length + 4 + zeros));
	return padded;
}

int exchange_tcp_open(struct exchange_tcp *tcp, struct exchange_tcp_pool *pool,
		      const struct exchange_tcp_doors *doors, int upstream, const uint8_t *query,
		      size_t length)
{
	struct stream *stream = &pool->stream[upstream];
	struct link *link = exchange_tcp_link_find(stream, false);
	int result;

	*tcp = (struct exchange_tcp){ .stream = stream, .id = load_be16(query) };
	list_init(&tcp->by_turn);
	if (!exchange_tcp_has_open_link(stream) && clock_now_ms() < stream->refused_until_ms)
		return stream->refused_error;
	memcpy(tcp->frame + EXCHANGE_TCP_PREFIX, query, length);
	if (stream->upstream->is_tls)
		length = pad(tcp->frame + EXCHANGE_TCP_PREFIX, length);
	store_be16(tcp->frame, (uint16_t)length);
	tcp->frame_length = EXCHANGE_TCP_PREFIX + length;
	if (link && list_is_empty(&stream->waiting))
		result = exchange_tcp_link_send(link, tcp);
	else
		result = want_link(stream);
	if (result)
		return result;
	if (!tcp->link)
		list_append(&stream->waiting, &tcp->by_turn);
	tcp->doors = doors;
	return 0;
}

void exchange_tcp_close(struct exchange_tcp *tcp)
{
	if (!tcp->doors)
		return;
	tcp->doors = NULL;
	list_remove(&tcp->by_turn);
	if (tcp->link)
		exchange_tcp_link_give_up(tcp);
}
