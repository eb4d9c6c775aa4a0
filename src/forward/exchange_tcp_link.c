/*
 * On a link each question has a slot and an id of its own; a slot whose owner has given up stays
 * taken until its reply has come, so that a late reply is never another's.
 *
 * Servers that take few questions a connection are learned: a link that ended early tells how many
 * it answered. So many are safe on the next (safe_max); one that has answered them gets more, but
 * only such as can be sent again (tried_max).
 */
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
#include "forward/exchange_tcp_parts.h"

#define REST_MS 10000	/* RFC 7766 §6.2.3: some seconds; most servers end it first */
#define GIVEN_UP_MAX 64 /* replies that never came: then the link gets no more questions */
/* A question given up after hearing nothing for so long: the link is dead. */
#define SILENCE_MS 1000
/* After a TLS connection that could not be made: RFC 9520 §3.2, once a second. */
#define REFUSED_MS 1000
#define BARREN_MAX 2 /* connections in a row that ended without a reply */

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

/* ---- the connection's events ---- */

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
	exchange_tcp_dispatch(link->stream);
	rest_if_idle(link);
}

/* The question of a reply is the one that was asked; some errors come back without one. */
static bool is_reply_to(const struct exchange_tcp *tcp, const uint8_t *message, size_t length)
{
	const uint8_t *query = tcp->frame + EXCHANGE_TCP_PREFIX;
	uint8_t asked[DNS_NAME_MAX], answered[DNS_NAME_MAX];
	size_t room = length - DNS_HEADER_BYTES;
	size_t name = name_length(query + DNS_HEADER_BYTES,
				  tcp->frame_length - EXCHANGE_TCP_PREFIX - DNS_HEADER_BYTES);

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
	exchange_tcp_dispatch(stream);
	rest_if_idle(link);
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
	exchange_tcp_move_all(&link->stream->waiting, &again);
	exchange_tcp_move_all(&again, &link->stream->waiting);
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
	if (!link->is_open && exchange_tcp_has_open_link(stream)) { /* it takes no second one */
		stream->refused_until_ms = clock_now_ms() + REFUSED_MS;
	} else if (!link->is_open) { /* whoever waits, waited for this */
		say_refused(stream, error, why);
		tls_ticket_forget(&stream->ticket);
		if (stream->upstream->is_tls) {
			stream->refused_until_ms = clock_now_ms() + REFUSED_MS;
			stream->refused_error = error ? error : UV_EOF;
		}
		exchange_tcp_move_all(&stream->waiting, &failed);
	} else if (had_questions) {
		if (link->answered_count == 0 && ++stream->barren_count >= BARREN_MAX) {
			stream->barren_count = 0;
			exchange_tcp_move_all(&stream->waiting, &failed);
		}
		if (link->answered_count > 0 && link->answered_count < stream->tried_max)
			stream->safe_max = stream->tried_max = link->answered_count;
	}
	forget_link(link);
	exchange_tcp_fail_all(&failed, error ? error : UV_EOF);
	exchange_tcp_dispatch(stream);
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
	exchange_tcp_drop_handle(pool);
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

int exchange_tcp_link_open(struct stream *stream, unsigned place)
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

/* ---- for the stream ---- */

struct link *exchange_tcp_link_find(const struct stream *stream, bool is_last_send)
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

int exchange_tcp_link_send(struct link *link, struct exchange_tcp *tcp)
{
	unsigned slot = take_slot(link, tcp);

	store_be16(tcp->frame + EXCHANGE_TCP_PREFIX, link->slot[slot].id);
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

void exchange_tcp_link_give_up(struct exchange_tcp *tcp)
{
	struct link *link = tcp->link;

	link->slot[tcp->slot].tcp = NULL;
	link->open_count--;
	link->given_up_count++;
	if (link->heard_ms < tcp->sent_ms && clock_now_ms() - tcp->sent_ms >= SILENCE_MS)
		retire(link);
	else if (link->given_up_count >= GIVEN_UP_MAX)
		link->is_retired = true;
	rest_if_idle(link);
}
