#include "forward/loop_check.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "dns/reply.h"
#include "forward/exchange_tcp.h"
#include "forward/loop.h"
#include "forward/upstream_list.h"

struct loop_check {
	uv_loop_t *loop;
	struct upstream_list *list;
	struct exchange_tcp_pool *pool;
	uv_timer_t timer;
	bool is_listening; /* what was sent may still come back */
	void (*closed)(void *arg);
	void *closed_arg;
	struct sent {
		int fd; /* connected, so that nobody's port is told that it is closed; -1: none */
		struct exchange_tcp *tcp; /* to a TLS upstream; NULL: none */
	} sent[];			  /* by index of the list */
};

static void on_timer(uv_timer_t *timer);

static void ignore_message(struct exchange_tcp *tcp, const uint8_t *message, size_t length)
{
	(void)tcp, (void)message, (void)length;
}

static void ignore_error(struct exchange_tcp *tcp, int error)
{
	(void)tcp, (void)error;
}

static const struct exchange_tcp_doors deaf = { ignore_message, ignore_error };

struct loop_check *loop_check_open(uv_loop_t *loop, struct upstream_list *list,
				   struct exchange_tcp_pool *pool)
{
	struct loop_check *check = calloc(1, sizeof(*check) + list->count * sizeof(check->sent[0]));

	if (!check)
		return NULL;
	check->loop = loop;
	check->list = upstream_list_hold(list);
	check->pool = pool;
	for (size_t i = 0; i < list->count; i++)
		check->sent[i].fd = -1;
	uv_timer_init(loop, &check->timer);
	check->timer.data = check;
	return check;
}

static void let_go(struct sent *sent)
{
	if (sent->fd >= 0)
		close(sent->fd);
	sent->fd = -1;
	if (sent->tcp)
		exchange_tcp_close(sent->tcp);
	free(sent->tcp);
	sent->tcp = NULL;
}

static void let_go_of_all(struct loop_check *check)
{
	for (size_t i = 0; i < check->list->count; i++)
		let_go(&check->sent[i]);
}

static void send_over_udp(struct loop_check *check, size_t index, const uint8_t *query,
			  size_t length)
{
	const struct addr *to = &check->list->upstream[index].addr;
	union addr_socket where;
	socklen_t where_length = addr_to_socket(to, &where);
	int fd = socket(to->family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	check->sent[index].fd = fd;
	/* What does not arrive is asked again when something fails. */
	if (fd >= 0 && connect(fd, &where.sa, where_length) == 0)
		(void)!send(fd, query, length, MSG_NOSIGNAL);
}

static void send_over_tls(struct loop_check *check, size_t index, const uint8_t *query,
			  size_t length)
{
	struct exchange_tcp *tcp = calloc(1, sizeof(*tcp));

	if (tcp)
		(void)exchange_tcp_open(tcp, check->pool, &deaf, (int)index, query, length);
	check->sent[index].tcp = tcp;
}

static void send_one(struct loop_check *check, size_t index, uint64_t now_ms)
{
	struct upstream *upstream = &check->list->upstream[index];
	uint8_t name[DNS_NAME_MAX], query[REPLY_QUERY_MAX];
	size_t name_bytes = loop_make_name(upstream, now_ms, name);
	size_t length;
	uint16_t id;

	if (name_bytes == 0)
		return;
	hash_random(&id, sizeof(id));
	length = reply_encode_query(id, 0, name, name_bytes, DNS_TYPE_A, DNS_CLASS_IN, true, false,
				    query);
	if (upstream->is_tls)
		send_over_tls(check, index, query, length);
	else
		send_over_udp(check, index, query, length);
}

static void send_all(struct loop_check *check, bool over_tls, uint64_t now_ms)
{
	let_go_of_all(check);
	for (size_t i = 0; i < check->list->count; i++) {
		if (over_tls || !check->list->upstream[i].is_tls)
			send_one(check, i, now_ms);
	}
	check->is_listening = true;
	uv_update_time(check->loop);
	uv_timer_start(&check->timer, on_timer, LOOP_LISTEN_MS, 0);
}

/* Whether any upstream leads back. Those that do no more are said. */
static bool take_stock(struct loop_check *check, uint64_t now_ms)
{
	char text[UPSTREAM_TEXT_MAX];
	bool is_any = false;

	for (size_t i = 0; i < check->list->count; i++) {
		struct upstream *upstream = &check->list->upstream[i];

		is_any |= loop_is_known(upstream, now_ms);
		if (!loop_has_ended(upstream, now_ms))
			continue;
		upstream_format(upstream, text);
		log_info("forward", "upstream %s leads back to this resolver no more", text);
	}
	return is_any;
}

static void on_timer(uv_timer_t *timer)
{
	struct loop_check *check = timer->data;
	uint64_t now_ms = clock_now_ms();
	bool is_any = take_stock(check, now_ms);

	if (!check->is_listening) {
		if (is_any)
			send_all(check, true, now_ms);
		return;
	}
	let_go_of_all(check);
	check->is_listening = false;
	if (is_any)
		uv_timer_start(timer, on_timer, LOOP_RECHECK_MS - LOOP_LISTEN_MS, 0);
}

void loop_check_begin(struct loop_check *check, uint64_t now_ms)
{
	if (loop_is_check_due(check->list, now_ms))
		send_all(check, false, now_ms);
}

void loop_check_suspect(struct loop_check *check, uint64_t now_ms)
{
	if (loop_is_check_due(check->list, now_ms))
		send_all(check, true, now_ms);
}

static void on_closed(uv_handle_t *handle)
{
	struct loop_check *check = handle->data;

	upstream_list_drop(check->list);
	check->closed(check->closed_arg);
	free(check);
}

void loop_check_close(struct loop_check *check, void (*closed)(void *), void *arg)
{
	check->closed = closed;
	check->closed_arg = arg;
	let_go_of_all(check);
	uv_close((uv_handle_t *)&check->timer, on_closed);
}
