/*
 * A stream is one upstream with its links (connections) and the questions that wait for room on
 * one. On a link each question has a slot and an id of its own; a slot whose owner has given up
 * stays taken until its reply has come, so that a late reply is never another's.
 *
 * Servers that take few questions a connection are learned: a link that ended early tells how many
 * it answered. So many are safe on the next (safe_max); one that has answered them gets more, but
 * only such as can be sent again (tried_max).
 */
#include "forward/exchange_tcp.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/metrics.h"
#include "dns/dns.h"
#include "dns/name.h"
#include "forward/connection.h"
#include "forward/tls.h"
#include "forward/upstream.h"

#define PREFIX_BYTES 2
#define REST_MS 10000	/* RFC 7766 §6.2.3: some seconds; most servers end it first */
#define GIVEN_UP_MAX 64 /* replies that never came: then the link gets no more questions */
#define SILENCE_MS                                                                                 \
	1000 /* a question given up after hearing nothing for so long: the link is dead            \
	      */
/* After a TLS connection that could not be made: RFC 9520 §3.2, once a second. */
#define REFUSED_MS 1000
#define BARREN_MAX 2 /* connections in a row that ended without a reply */

struct link {
	struct connection connection;
	struct stream *stream;
	bool is_open, is_retired;
	unsigned sent_count, answered_count;
	unsigned open_count, given_up_count;
	uint64_t heard_ms;
	struct slot {
		bool is_taken;
		uint16_t id;
		struct exchange_tcp *tcp; /* NULL: given up */
	} slot[EXCHANGE_TCP_IN_FLIGHT];
};

struct stream {
	struct exchange_tcp_pool *pool;
	struct upstream *upstream;
	struct link *link[EXCHANGE_TCP_CONNECTIONS];
	struct list waiting; /* struct exchange_tcp, by_turn */
	struct tls_ticket ticket;
	unsigned safe_max, tried_max; /* questions on one connection */
	unsigned barren_count;
	uint64_t refused_until_ms;
	int refused_error;
};

struct exchange_tcp_pool {
	uv_loop_t *loop;
	struct metrics *metrics;
	struct upstream_list *list;
	unsigned open_handles; /* links and the anchor */
	uv_idle_t anchor;      /* never started: so that closing always goes through the loop */
	void (*closed)(void *arg);
	void *closed_arg;
	size_t count;
	struct stream stream[]; /* by index of the list */
};

static void dispatch(struct stream *stream);

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

static void drop_handle(struct exchange_tcp_pool *pool)
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
	drop_handle(handle->data);
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

/* ---- what is said about an upstream ---- */

/* A TLS upstream that cannot be used needs somebody to act: said once by whichever worker sees it
 * first, and again only after it has worked. */
static void say_refused(struct stream *stream, int error, const char *why)
{
	char name[UPSTREAM_TEXT_MAX];

	if (!stream->upstream->is_tls || atomic_exchange(&stream->upstream->is_refused, true))
		return;
	upstream_format(stream->upstream, name);
	log_error("forward", "upstream %s cannot be used: %s; nothing is sent to it in clear", name,
		  why ? why : uv_strerror(error));
}

static void say_works(struct stream *stream)
{
	char name[UPSTREAM_TEXT_MAX];

	stream->refused_until_ms = 0;
	if (!stream->upstream->is_tls || !atomic_exchange(&stream->upstream->is_refused, false))
		return;
	upstream_format(stream->upstream, name);
	log_info("forward", "upstream %s works again", name);
}

/* ---- slots ---- */

/* A free slot with an id that nobody has there. */
static unsigned take_slot(struct link *link, struct exchange_tcp *tcp)
{
	unsigned slot = 0;
	bool is_used;
	uint16_t id;

	while (link->slot[slot].is_taken)
		slot++;
	do {
		hash_random(&id, sizeof(id));
		is_used = false;
		for (unsigned i = 0; i < EXCHANGE_TCP_IN_FLIGHT && !is_used; i++)
			is_used = link->slot[i].is_taken && link->slot[i].id == id;
	} while (is_used);
	link->slot[slot] = (struct slot){ .is_taken = true, .id = id, .tcp = tcp };
	return slot;
}

static struct slot *find_slot(struct link *link, uint16_t id)
{
	for (unsigned i = 0; i < EXCHANGE_TCP_IN_FLIGHT; i++) {
		if (link->slot[i].is_taken && link->slot[i].id == id)
			return &link->slot[i];
	}
	return NULL;
}

static bool has_room(const struct link *link, bool is_last_send)
{
	unsigned max = is_last_send ? link->stream->safe_max : link->stream->tried_max;

	return link->is_open && !link->is_retired && link->sent_count < max &&
	       link->open_count + link->given_up_count < EXCHANGE_TCP_IN_FLIGHT;
}

/* Ends a link from the loop, never from within a call of a question's owner. */
static void retire(struct link *link)
{
	link->is_retired = true;
	connection_rest(&link->connection, 0);
}

static void rest_if_idle(struct link *link)
{
	if (link->open_count > 0)
		return;
	/* Who waits now cannot go here: another link takes its place. */
	if (link->is_retired || !list_is_empty(&link->stream->waiting))
		retire(link);
	else
		connection_rest(&link->connection, REST_MS);
}

/* ---- links ---- */

static bool has_open_link(const struct stream *stream)
{
	for (unsigned k = 0; k < EXCHANGE_TCP_CONNECTIONS; k++) {
		if (stream->link[k] && stream->link[k]->is_open)
			return true;
	}
	return false;
}

static enum metric open_gauge(const struct link *link)
{
	return link->stream->upstream->is_tls ? METRIC_UPSTREAM_CONNECTIONS_TLS
					      : METRIC_UPSTREAM_CONNECTIONS_TCP;
}

static void count_open(const struct link *link)
{
	struct metrics *metrics = link->stream->pool->metrics;

	metrics_add(metrics, open_gauge(link), 1);
	if (link->stream->upstream->is_tls)
		metrics_add(metrics,
			    connection_is_resumed(&link->connection) ? METRIC_UPSTREAM_TLS_RESUMED
								     : METRIC_UPSTREAM_TLS_FULL,
			    1);
}

static void on_open(struct connection *connection)
{
	struct link *link = list_entry(connection, struct link, connection);

	link->is_open = true;
	count_open(link);
	link->heard_ms = clock_now_ms();
	say_works(link->stream);
	dispatch(link->stream);
	rest_if_idle(link);
}

/* The question of a reply is the one that was asked; some errors come back without one. */
static bool is_reply_to(const struct exchange_tcp *tcp, const uint8_t *message, size_t length)
{
	const uint8_t *query = tcp->frame + PREFIX_BYTES;
	uint8_t asked[DNS_NAME_MAX], answered[DNS_NAME_MAX];
	size_t room = length - DNS_HEADER_BYTES;
	size_t name = name_length(query + DNS_HEADER_BYTES,
				  tcp->frame_length - PREFIX_BYTES - DNS_HEADER_BYTES);

	if (load_be16(message + 4) == 0)
		return true;
	if (name_length(message + DNS_HEADER_BYTES, room) != name || room < name + 4)
		return false;
	name_fold(query + DNS_HEADER_BYTES, name, asked);
	name_fold(message + DNS_HEADER_BYTES, name, answered);
	return memcmp(asked, answered, name) == 0 &&
	       memcmp(query + DNS_HEADER_BYTES + name, message + DNS_HEADER_BYTES + name, 4) == 0;
}

static void end_link(struct link *link, int error, const char *why);

static void on_message(struct connection *connection, uint8_t *message, size_t length)
{
	struct link *link = list_entry(connection, struct link, connection);
	struct stream *stream = link->stream;
	struct slot *slot = find_slot(link, load_be16(message));
	struct exchange_tcp *tcp = slot ? slot->tcp : NULL;

	link->heard_ms = clock_now_ms();
	/* Nobody else can write into a stream: who sends this has lost track of it. */
	if (!slot || (tcp && !is_reply_to(tcp, message, length))) {
		metrics_add(stream->pool->metrics, METRIC_UPSTREAM_REPLIES_BAD, 1);
		end_link(link, -EPROTO, NULL);
		return;
	}
	slot->is_taken = false;
	link->answered_count++;
	stream->barren_count = 0;
	if (link->answered_count > stream->safe_max)
		stream->safe_max = link->answered_count;
	if (link->answered_count >= stream->tried_max)
		stream->tried_max =
			stream->tried_max > UINT_MAX / 2 ? UINT_MAX : stream->tried_max * 2;
	if (tcp) {
		const struct exchange_tcp_doors *doors = tcp->doors;

		link->open_count--;
		tcp->doors = NULL;
		store_be16(message, tcp->id);
		doors->on_message(tcp, message, length);
	} else {
		link->given_up_count--;
	}
	dispatch(stream);
	rest_if_idle(link);
}

/* Gives the questions of a list, which may shrink meanwhile, back to their owners. */
static void fail_all(struct list *list, int error)
{
	struct list *node;

	while ((node = list_pop(list))) {
		struct exchange_tcp *tcp = list_entry(node, struct exchange_tcp, by_turn);
		const struct exchange_tcp_doors *doors = tcp->doors;

		tcp->doors = NULL;
		doors->on_error(tcp, error);
	}
}

static void move_all(struct list *from, struct list *to)
{
	struct list *node;

	while ((node = list_pop(from)))
		list_append(to, node);
}

/* The open questions of a link that has ended: first in line for the next one, or failed if this
 * was their last chance. So is one that was alone there: it is known what it met. */
static void hand_back(struct link *link, int error, struct list *failed)
{
	bool is_alone = link->open_count == 1 && (link->answered_count == 0 || error == -EPROTO);
	struct list again;

	list_init(&again);
	for (unsigned i = 0; i < EXCHANGE_TCP_IN_FLIGHT; i++) {
		struct exchange_tcp *tcp = link->slot[i].is_taken ? link->slot[i].tcp : NULL;

		if (!tcp)
			continue;
		tcp->link = NULL;
		list_append(tcp->is_last_send || is_alone ? failed : &again, &tcp->by_turn);
		tcp->is_last_send = true;
	}
	move_all(&link->stream->waiting, &again);
	move_all(&again, &link->stream->waiting);
}

static void forget_link(struct link *link)
{
	struct stream *stream = link->stream;

	for (unsigned k = 0; k < EXCHANGE_TCP_CONNECTIONS; k++) {
		if (stream->link[k] == link)
			stream->link[k] = NULL;
	}
	connection_close(&link->connection);
}

static void end_link(struct link *link, int error, const char *why)
{
	struct stream *stream = link->stream;
	bool had_questions = link->open_count > 0;
	struct list failed;

	list_init(&failed);
	hand_back(link, error, &failed);
	if (!link->is_open && stream->upstream->is_tls)
		metrics_add(stream->pool->metrics, METRIC_UPSTREAM_TLS_FAILED, 1);
	if (!link->is_open && has_open_link(stream)) { /* it takes no second one */
		stream->refused_until_ms = clock_now_ms() + REFUSED_MS;
	} else if (!link->is_open) { /* whoever waits, waited for this */
		say_refused(stream, error, why);
		tls_ticket_forget(&stream->ticket);
		if (stream->upstream->is_tls) {
			stream->refused_until_ms = clock_now_ms() + REFUSED_MS;
			stream->refused_error = error ? error : UV_EOF;
		}
		move_all(&stream->waiting, &failed);
	} else if (had_questions) {
		if (link->answered_count == 0 && ++stream->barren_count >= BARREN_MAX) {
			stream->barren_count = 0;
			move_all(&stream->waiting, &failed);
		}
		if (link->answered_count > 0 && link->answered_count < stream->tried_max)
			stream->safe_max = stream->tried_max = link->answered_count;
	}
	forget_link(link);
	fail_all(&failed, error ? error : UV_EOF);
	dispatch(stream);
}

static void on_end(struct connection *connection, int error, const char *why)
{
	end_link(list_entry(connection, struct link, connection), error, why);
}

static void on_closed(struct connection *connection)
{
	struct link *link = list_entry(connection, struct link, connection);
	struct exchange_tcp_pool *pool = link->stream->pool;

	if (link->is_open)
		metrics_subtract(pool->metrics, open_gauge(link), 1);
	free(link);
	drop_handle(pool);
}

static const struct connection_doors connection_doors = { on_open, on_message, on_end, on_closed };

/* 0 or -errno. */
static int new_tls(struct stream *stream, struct tls **out_tls)
{
	struct tls_context *context = stream->pool->list->tls_context;

	if (!context)
		return -ENOMEM;
	*out_tls = tls_new(context, stream->upstream->tls_name, &stream->upstream->addr,
			   &stream->ticket);
	return *out_tls ? 0 : -ENOMEM;
}

/* Opens a link into that place. 0 or -errno. */
static int open_link(struct stream *stream, unsigned place)
{
	struct link *link = calloc(1, sizeof(*link));
	struct tls *tls = NULL;
	int result = link ? 0 : -ENOMEM;

	if (result == 0 && stream->upstream->is_tls)
		result = new_tls(stream, &tls);
	if (result == 0) {
		link->stream = stream;
		result = connection_open(&link->connection, stream->pool->loop, &connection_doors,
					 &stream->upstream->addr, tls);
	}
	if (result) {
		free(link);
		return result;
	}
	stream->link[place] = link;
	stream->pool->open_handles++;
	return 0;
}

/* Opens another link if there may be one and none is on its way. 0, or -errno when there is none
 * at all. */
static int want_link(struct stream *stream)
{
	bool has_link = has_open_link(stream);
	int place = -1, result;

	for (unsigned k = 0; k < EXCHANGE_TCP_CONNECTIONS; k++) {
		if (!stream->link[k])
			place = (int)k;
		else if (!stream->link[k]->is_open)
			return 0;
	}
	if (place < 0 || (has_link && clock_now_ms() < stream->refused_until_ms))
		return 0;
	result = open_link(stream, (unsigned)place);
	return has_link ? 0 : result;
}

/* ---- questions ---- */

static struct link *find_room(const struct stream *stream, bool is_last_send)
{
	struct link *best = NULL;

	for (unsigned k = 0; k < EXCHANGE_TCP_CONNECTIONS; k++) {
		struct link *link = stream->link[k];

		if (link && has_room(link, is_last_send) &&
		    (!best || link->open_count < best->open_count))
			best = link;
	}
	return best;
}

/* 0 or -ENOMEM. */
static int send_on(struct link *link, struct exchange_tcp *tcp)
{
	unsigned slot = take_slot(link, tcp);

	store_be16(tcp->frame + PREFIX_BYTES, link->slot[slot].id);
	if (connection_write(&link->connection, tcp->frame, tcp->frame_length)) {
		link->slot[slot].is_taken = false;
		return -ENOMEM;
	}
	connection_work(&link->connection);
	link->sent_count++;
	link->open_count++;
	tcp->link = link;
	tcp->slot = slot;
	tcp->sent_ms = clock_now_ms();
	return 0;
}

static void dispatch(struct stream *stream)
{
	struct list failed;
	int result = 0;

	list_init(&failed);
	while (!list_is_empty(&stream->waiting)) {
		struct list *node = stream->waiting.next;
		struct exchange_tcp *tcp = list_entry(node, struct exchange_tcp, by_turn);
		struct link *link = find_room(stream, tcp->is_last_send);

		if (!link)
			break;
		list_remove(node);
		if (send_on(link, tcp))
			list_append(&failed, node);
	}
	if (!list_is_empty(&stream->waiting))
		result = want_link(stream);
	if (result)
		move_all(&stream->waiting, &failed);
	fail_all(&failed, result ? result : -ENOMEM);
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
	struct link *link = find_room(stream, false);
	int result;

	*tcp = (struct exchange_tcp){ .stream = stream, .id = load_be16(query) };
	list_init(&tcp->by_turn);
	if (!has_open_link(stream) && clock_now_ms() < stream->refused_until_ms)
		return stream->refused_error;
	memcpy(tcp->frame + PREFIX_BYTES, query, length);
	if (stream->upstream->is_tls)
		length = pad(tcp->frame + PREFIX_BYTES, length);
	store_be16(tcp->frame, (uint16_t)length);
	tcp->frame_length = PREFIX_BYTES + length;
	if (link && list_is_empty(&stream->waiting))
		result = send_on(link, tcp);
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
	struct link *link = tcp->link;

	if (!tcp->doors)
		return;
	tcp->doors = NULL;
	list_remove(&tcp->by_turn);
	if (!link)
		return;
	link->slot[tcp->slot].tcp = NULL;
	link->open_count--;
	link->given_up_count++;
	if (link->heard_ms < tcp->sent_ms && clock_now_ms() - tcp->sent_ms >= SILENCE_MS)
		retire(link);
	else if (link->given_up_count >= GIVEN_UP_MAX)
		link->is_retired = true;
	rest_if_idle(link);
}
