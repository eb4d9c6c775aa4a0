#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <urcu/urcu-qsbr.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "config/config.h"
#include "listen/tcp.h"
#include "listen/tcp_connection.h"
#include "unit/fake_pipeline.h"

#define FRAME_BYTES (2 + FAKE_MESSAGE_BYTES)
#define LONG_MS 60000	  /* for limits that must not matter */
#define SHORT_MS 30	  /* for limits that are waited for */
#define PATIENCE_MS 10000 /* then a test has failed */

struct room {
	uv_loop_t loop;
	struct metrics metrics;
	struct pipeline pipeline;
	struct sockets sockets;
	struct tcp *tcp;
	struct addr addr;
	bool is_closed;
};

static uint64_t count_of(const struct room *room, enum metric metric)
{
	return atomic_load(&room->metrics.value[metric]);
}

static void send_late(void *arg, const struct query_client *client, const uint8_t *reply,
		      size_t length)
{
	tcp_send(((struct room *)arg)->tcp, client, reply, length);
}

static void on_tcp_closed(void *arg)
{
	((struct room *)arg)->is_closed = true;
}

static struct room *room_open_at(const char *ip, uint32_t clients_max, uint64_t idle_ms,
				 uint64_t answer_ms)
{
	struct room *room = calloc(1, sizeof(*room));
	struct config config;
	struct tcp_setup setup;
	char why[512];

	assert_non_null(room);
	assert_int_equal(uv_loop_init(&room->loop), 0);
	assert_int_equal(addr_parse_ip(ip, &room->addr), 0);
	memset(&config, 0, sizeof(config));
	config.listen = &room->addr;
	config.listen_count = 1;
	config.workers = 1;
	assert_int_equal(sockets_bind(&room->sockets, &config, why, sizeof(why)), 0);
	room->addr = room->sockets.one[1].addr;
	room->pipeline.doors.send = send_late;
	room->pipeline.doors.send_arg = room;
	setup = (struct tcp_setup){
		.loop = &room->loop,
		.pipeline = &room->pipeline,
		.metrics = &room->metrics,
		.limits = { .clients_max = clients_max, .idle_ms = idle_ms, .answer_ms = answer_ms }
	};
	room->tcp = tcp_open(&setup);
	assert_non_null(room->tcp);
	assert_int_equal(tcp_listen(room->tcp, &room->sockets.one[1]), 0);
	room->sockets.one[1].fd = -1;
	return room;
}

static struct room *room_open(uint32_t clients_max, uint64_t idle_ms, uint64_t answer_ms)
{
	return room_open_at("127.0.0.1", clients_max, idle_ms, answer_ms);
}

static void room_close(struct room *room)
{
	tcp_close(room->tcp, on_tcp_closed, room);
	assert_int_equal(uv_run(&room->loop, UV_RUN_DEFAULT), 0);
	assert_true(room->is_closed);
	assert_int_equal(uv_loop_close(&room->loop), 0);
	sockets_deinit(&room->sockets);
	free(room);
}

static void turn(struct room *room)
{
	for (int i = 0; i < 4; i++) /* accept, read, resume */
		(void)uv_run(&room->loop, UV_RUN_NOWAIT);
}

static int new_socket(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	return fd;
}

static void connect_to(const struct room *room, int fd, const char *ip)
{
	union addr_socket name;
	struct addr addr;
	socklen_t length;

	assert_int_equal(addr_parse_ip(ip, &addr), 0);
	addr.port = room->addr.port;
	length = addr_to_socket(&addr, &name);
	assert_int_equal(connect(fd, &name.sa, length), 0);
}

/* A client that is accepted when this returns. */
static int client_of(struct room *room)
{
	int fd = new_socket();

	connect_to(room, fd, "127.0.0.1");
	turn(room);
	return fd;
}

static void put_frame(uint8_t out[FRAME_BYTES], uint16_t id, enum fake_order order)
{
	store_be16(out, FAKE_MESSAGE_BYTES);
	fake_message(out + 2, id, order);
}

static void ask(int fd, uint16_t id, enum fake_order order)
{
	uint8_t frame[FRAME_BYTES];

	put_frame(frame, id, order);
	assert_int_equal(send(fd, frame, sizeof(frame), MSG_NOSIGNAL), sizeof(frame));
}

/* Turns the loop until `count` bytes came. What came; less at the end of the connection. */
static size_t receive(struct room *room, int fd, uint8_t *out, size_t count)
{
	uint64_t until_ms = clock_now_ms() + PATIENCE_MS;
	size_t got = 0;

	while (got < count) {
		ssize_t length = recv(fd, out + got, count - got, MSG_DONTWAIT);

		if (length == 0 || (length < 0 && errno != EAGAIN))
			break;
		if (length > 0)
			got += (size_t)length;
		else
			(void)uv_run(&room->loop, UV_RUN_NOWAIT);
		assert_true(clock_now_ms() < until_ms);
	}
	return got;
}

/* The id of the next answer; -1: the connection ended. */
static int next_reply(struct room *room, int fd)
{
	static uint8_t reply[UINT16_MAX];
	size_t length;

	if (receive(room, fd, reply, 2) < 2)
		return -1;
	length = load_be16(reply);
	assert_true(length >= FAKE_MESSAGE_BYTES);
	assert_int_equal(receive(room, fd, reply, length), length);
	assert_true(reply[2] & 0x80);
	return load_be16(reply);
}

static bool is_silent(struct room *room, int fd)
{
	uint8_t byte;

	turn(room);
	return recv(fd, &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

static void an_answer_comes_framed(void **state)
{
	struct room *room = room_open(8, LONG_MS, LONG_MS);
	int client = client_of(room);
	uint8_t reply[FRAME_BYTES];

	(void)state;
	ask(client, 0x1234, FAKE_ECHO);
	assert_int_equal(receive(room, client, reply, sizeof(reply)), sizeof(reply));
	assert_int_equal(load_be16(reply), FAKE_MESSAGE_BYTES);
	assert_int_equal(load_be16(reply + 2), 0x1234);
	assert_true(is_silent(room, client));
	assert_int_equal(count_of(room, METRIC_TCP_ACCEPTED), 1);
	assert_int_equal(count_of(room, METRIC_TCP_CLIENTS), 1);
	(void)close(client);
	turn(room);
	assert_int_equal(count_of(room, METRIC_TCP_CLIENTS), 0);
	room_close(room);
}

static void the_pipeline_is_told_who_asked_and_where(void **state)
{
	struct room *room = room_open_at("0.0.0.0", 8, LONG_MS, LONG_MS);
	int client = new_socket();
	const struct query_client *last = &room->pipeline.last;
	union addr_socket name;
	socklen_t length = sizeof(name);
	struct addr own, asked;

	(void)state;
	connect_to(room, client, "127.0.0.3");
	ask(client, 1, FAKE_ECHO);
	assert_int_equal(next_reply(room, client), 1);
	assert_int_equal(getsockname(client, &name.sa, &length), 0);
	assert_int_equal(addr_from_socket(&name.sa, &own), 0);
	assert_int_equal(addr_parse_ip("127.0.0.3", &asked), 0);
	assert_int_equal(last->source, QUERY_TCP);
	assert_true(addr_same_ip(&last->peer, &own));
	assert_int_equal(last->peer.port, own.port);
	assert_true(addr_same_ip(&last->local, &asked));
	assert_int_equal(last->local.port, room->addr.port);
	(void)close(client);
	room_close(room);
}

static void queries_in_one_segment_are_all_answered(void **state)
{
	struct room *room = room_open(8, LONG_MS, LONG_MS);
	int client = client_of(room);
	uint8_t frames[20 * FRAME_BYTES];

	(void)state;
	for (uint16_t id = 0; id < 20; id++)
		put_frame(frames + id * FRAME_BYTES, id, FAKE_ECHO);
	assert_int_equal(send(client, frames, sizeof(frames), 0), sizeof(frames));
	for (uint16_t id = 0; id < 20; id++)
		assert_int_equal(next_reply(room, client), id);
	(void)close(client);
	room_close(room);
}

static void a_query_in_single_bytes_is_answered(void **state)
{
	struct room *room = room_open(8, LONG_MS, LONG_MS);
	int client = client_of(room);
	uint8_t frame[FRAME_BYTES];

	(void)state;
	put_frame(frame, 9, FAKE_ECHO);
	for (size_t i = 0; i < sizeof(frame); i++) {
		assert_int_equal(room->pipeline.asked_count, 0);
		assert_int_equal(send(client, frame + i, 1, 0), 1);
		turn(room);
	}
	assert_int_equal(next_reply(room, client), 9);
	(void)close(client);
	room_close(room);
}

static void large_answers_come_whole(void **state)
{
	struct room *room = room_open(8, LONG_MS, LONG_MS);
	int client = client_of(room);

	(void)state;
	for (uint16_t id = 0; id < 5; id++)
		ask(client, id, FAKE_BIG);
	for (uint16_t id = 0; id < 5; id++)
		assert_int_equal(next_reply(room, client), id);
	(void)close(client);
	room_close(room);
}

static void a_late_answer_finds_its_connection(void **state)
{
	struct room *room = room_open(8, LONG_MS, LONG_MS);
	int first = client_of(room), second = client_of(room);

	(void)state;
	ask(second, 2, FAKE_WAIT);
	ask(first, 1, FAKE_WAIT);
	turn(room);
	assert_true(is_silent(room, first));
	fake_answer_all(&room->pipeline);
	assert_int_equal(next_reply(room, first), 1);
	assert_int_equal(next_reply(room, second), 2);
	(void)close(first);
	(void)close(second);
	room_close(room);
}

static void an_answer_to_a_vanished_client_reaches_nobody(void **state)
{
	struct room *room = room_open(8, LONG_MS, LONG_MS);
	struct linger reset = { .l_onoff = 1 };
	int first = client_of(room), second;

	(void)state;
	ask(first, 1, FAKE_WAIT);
	turn(room);
	assert_int_equal(setsockopt(first, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
	(void)close(first);
	turn(room);
	second = client_of(room); /* in the first one's place */
	assert_int_equal(count_of(room, METRIC_TCP_CLIENTS), 1);
	fake_answer_all(&room->pipeline);
	assert_true(is_silent(room, second));
	assert_int_equal(count_of(room, METRIC_RESPONSES_UNSENT), 1);
	(void)close(second);
	room_close(room);
}

static void a_client_that_ends_its_sending_still_gets_its_answers(void **state)
{
	struct room *room = room_open(8, LONG_MS, LONG_MS);
	int client = client_of(room);

	(void)state;
	ask(client, 1, FAKE_WAIT);
	ask(client, 2, FAKE_ECHO);
	assert_int_equal(shutdown(client, SHUT_WR), 0);
	assert_int_equal(next_reply(room, client), 2);
	assert_true(is_silent(room, client));
	fake_answer_all(&room->pipeline);
	assert_int_equal(next_reply(room, client), 1);
	assert_int_equal(next_reply(room, client), -1);
	turn(room);
	assert_int_equal(count_of(room, METRIC_TCP_CLIENTS), 0);
	(void)close(client);
	room_close(room);
}

static void check_closed_after(const uint8_t *bytes, size_t count)
{
	struct room *room = room_open(8, LONG_MS, LONG_MS);
	int client = client_of(room);

	assert_int_equal(send(client, bytes, count, 0), count);
	assert_int_equal(next_reply(room, client), -1);
	assert_int_equal(room->pipeline.asked_count, 0);
	assert_int_equal(count_of(room, METRIC_REQUESTS_DROPPED), 1);
	(void)close(client);
	room_close(room);
}

static void what_is_no_dns_ends_the_connection(void **state)
{
	uint8_t frame[FRAME_BYTES];

	(void)state;
	check_closed_after((const uint8_t *)"\0\0", 2);
	check_closed_after((const uint8_t *)"\0\013", 2);
	check_closed_after((const uint8_t *)"\x10\x01", 2);
	check_closed_after((const uint8_t *)"GET / HTTP/1.1\r\n\r\n", 18);
	put_frame(frame, 1, FAKE_ECHO);
	frame[4] |= 0x80; /* a reply */
	check_closed_after(frame, sizeof(frame));
}

static void reading_stops_at_64_unanswered_queries_and_goes_on_later(void **state)
{
	struct room *room = room_open(8, LONG_MS, LONG_MS);
	int client = client_of(room);

	(void)state;
	for (uint16_t id = 0; id < 100; id++)
		ask(client, id, FAKE_WAIT);
	turn(room);
	assert_int_equal(room->pipeline.asked_count, TCP_PENDING_MAX);
	fake_answer_all(&room->pipeline);
	turn(room);
	assert_int_equal(room->pipeline.asked_count, 100);
	fake_answer_all(&room->pipeline);
	for (uint16_t id = 0; id < 100; id++)
		assert_int_equal(next_reply(room, client), id);
	(void)close(client);
	room_close(room);
}

/* A connected client whose side of the connection holds little. */
static int narrow_client_of(struct room *room)
{
	int fd = new_socket(), bytes = 4096;

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)), 0);
	connect_to(room, fd, "127.0.0.1");
	turn(room);
	return fd;
}

static void reading_stops_while_answers_are_not_read(void **state)
{
	struct room *room = room_open(8, LONG_MS, LONG_MS);
	int client = narrow_client_of(room);
	const uint16_t count = 400; /* 24 MB of answers: more than any socket buffer */
	uint64_t asked;

	(void)state;
	for (uint16_t id = 0; id < count; id++)
		ask(client, id, FAKE_BIG);
	turn(room);
	asked = room->pipeline.asked_count;
	assert_true(asked < count);
	turn(room);
	assert_int_equal(room->pipeline.asked_count, asked);
	assert_false(tcp_is_flushed(room->tcp));
	for (uint16_t id = 0; id < count; id++)
		assert_int_equal(next_reply(room, client), id);
	turn(room);
	assert_true(tcp_is_flushed(room->tcp));
	assert_int_equal(count_of(room, METRIC_TCP_CLOSED_SLOW), 0);
	(void)close(client);
	room_close(room);
}

static void late_answers_beyond_the_ceiling_cut_the_client_off(void **state)
{
	struct room *room = room_open(8, LONG_MS, LONG_MS);
	int client = narrow_client_of(room);

	(void)state;
	for (uint16_t id = 0; id < TCP_PENDING_MAX; id++)
		ask(client, id, FAKE_WAIT);
	turn(room);
	assert_int_equal(room->pipeline.waiting_count, TCP_PENDING_MAX);
	for (uint32_t i = 0; i < 1000 && count_of(room, METRIC_TCP_CLIENTS); i++)
		fake_answer(&room->pipeline, i % TCP_PENDING_MAX, FAKE_BIG_BYTES);
	assert_int_equal(count_of(room, METRIC_TCP_CLOSED_SLOW), 1);
	turn(room);
	assert_true(tcp_is_flushed(room->tcp));
	(void)close(client);
	room_close(room);
}

static void wait_for(struct room *room, enum metric metric, uint64_t value)
{
	uint64_t until_ms = clock_now_ms() + PATIENCE_MS;

	while (count_of(room, metric) != value) {
		(void)uv_run(&room->loop, UV_RUN_ONCE);
		assert_true(clock_now_ms() < until_ms);
	}
}

static void an_idle_connection_is_closed(void **state)
{
	struct room *room = room_open(8, SHORT_MS, LONG_MS);
	int client = client_of(room);

	(void)state;
	ask(client, 1, FAKE_ECHO);
	assert_int_equal(next_reply(room, client), 1);
	wait_for(room, METRIC_TCP_CLOSED_IDLE, 1);
	assert_int_equal(next_reply(room, client), -1);
	(void)close(client);
	room_close(room);
}

static void single_bytes_do_not_keep_a_connection_alive(void **state)
{
	struct room *room = room_open(8, SHORT_MS, LONG_MS);
	uint64_t until_ms = clock_now_ms() + PATIENCE_MS;
	int client = client_of(room);
	uint16_t sent = 0;

	(void)state;
	assert_int_equal(send(client, "\x0f\xff", 2, 0), 2);
	while (count_of(room, METRIC_TCP_CLOSED_IDLE) == 0) {
		if (sent < 4000 && send(client, "x", 1, MSG_NOSIGNAL) == 1)
			sent++;
		(void)uv_run(&room->loop, sent < 4000 ? UV_RUN_NOWAIT : UV_RUN_ONCE);
		assert_true(clock_now_ms() < until_ms);
	}
	(void)close(client);
	room_close(room);
}

static void a_connection_that_waits_for_us_is_not_idle(void **state)
{
	struct room *room = room_open(8, SHORT_MS, LONG_MS);
	int waiting = client_of(room), idle;

	(void)state;
	ask(waiting, 1, FAKE_WAIT);
	turn(room);
	idle = client_of(room); /* younger, and closed all the same */
	wait_for(room, METRIC_TCP_CLOSED_IDLE, 1);
	assert_int_equal(next_reply(room, idle), -1);
	fake_answer_all(&room->pipeline);
	assert_int_equal(next_reply(room, waiting), 1);
	(void)close(idle);
	(void)close(waiting);
	room_close(room);
}

static void an_answer_that_never_comes_does_not_hold_a_connection_for_ever(void **state)
{
	struct room *room = room_open(8, SHORT_MS, SHORT_MS);
	int client = client_of(room);

	(void)state;
	ask(client, 1, FAKE_SILENT);
	wait_for(room, METRIC_TCP_CLOSED_IDLE, 1);
	assert_int_equal(next_reply(room, client), -1);
	(void)close(client);
	room_close(room);
}

static void a_client_that_does_not_read_is_closed(void **state)
{
	struct room *room = room_open(8, SHORT_MS, LONG_MS);
	int client = narrow_client_of(room);

	(void)state;
	for (uint16_t id = 0; id < 400; id++)
		ask(client, id, FAKE_BIG);
	wait_for(room, METRIC_TCP_CLOSED_SLOW, 1);
	assert_int_equal(count_of(room, METRIC_TCP_CLOSED_IDLE), 0);
	(void)close(client);
	room_close(room);
}

static void new_limits_hold_for_connections_that_are_there(void **state)
{
	struct room *room = room_open(8, LONG_MS, LONG_MS);
	int client = client_of(room);
	struct tcp_limits limits = { .clients_max = 8, .idle_ms = SHORT_MS };

	(void)state;
	tcp_set_limits(room->tcp, &limits);
	wait_for(room, METRIC_TCP_CLOSED_IDLE, 1);
	(void)close(client);
	room_close(room);
}

static void a_full_house_lets_the_longest_idle_go(void **state)
{
	struct room *room = room_open(2, LONG_MS, LONG_MS);
	int first = client_of(room), second = client_of(room), third;

	(void)state;
	ask(first, 1, FAKE_ECHO); /* so the second is idle for longer */
	assert_int_equal(next_reply(room, first), 1);
	third = client_of(room);
	assert_int_equal(next_reply(room, second), -1);
	ask(first, 2, FAKE_ECHO);
	ask(third, 3, FAKE_ECHO);
	assert_int_equal(next_reply(room, first), 2);
	assert_int_equal(next_reply(room, third), 3);
	assert_int_equal(count_of(room, METRIC_TCP_CLOSED_IDLE), 1);
	assert_int_equal(count_of(room, METRIC_TCP_REFUSED), 0);
	(void)close(first);
	(void)close(second);
	(void)close(third);
	room_close(room);
}

static void a_house_full_of_waiting_clients_refuses_the_newest(void **state)
{
	struct room *room = room_open(1, LONG_MS, LONG_MS);
	int first = client_of(room), second;

	(void)state;
	ask(first, 1, FAKE_WAIT);
	turn(room);
	second = client_of(room);
	assert_int_equal(next_reply(room, second), -1);
	assert_int_equal(count_of(room, METRIC_TCP_REFUSED), 1);
	fake_answer_all(&room->pipeline);
	assert_int_equal(next_reply(room, first), 1);
	(void)close(first);
	(void)close(second);
	room_close(room);
}

static void many_clients_come_and_go(void **state)
{
	struct room *room = room_open(100, LONG_MS, LONG_MS);
	int clients[100];

	(void)state;
	for (int round = 0; round < 3; round++) {
		for (uint16_t i = 0; i < 100; i++) {
			clients[i] = client_of(room);
			ask(clients[i], i, i % 2 ? FAKE_ECHO : FAKE_WAIT);
		}
		turn(room);
		fake_answer_all(&room->pipeline);
		for (uint16_t i = 0; i < 100; i++) {
			assert_int_equal(next_reply(room, clients[i]), i);
			(void)close(clients[i]);
		}
		turn(room);
	}
	assert_int_equal(count_of(room, METRIC_TCP_ACCEPTED), 300);
	assert_int_equal(count_of(room, METRIC_TCP_CLIENTS), 0);
	room_close(room);
}

static void without_descriptors_accepting_pauses_and_goes_on(void **state)
{
	struct room *room = room_open(8, LONG_MS, LONG_MS);
	int clients[3] = { new_socket(), new_socket(), new_socket() };
	struct rlimit before, tight;
	int next_free = dup(clients[0]);

	(void)state;
	assert_true(next_free >= 0);
	(void)close(next_free);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	tight = before;
	tight.rlim_cur = (rlim_t)next_free;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
	connect_to(room, clients[0], "127.0.0.1");
	connect_to(room, clients[1], "127.0.0.1");
	turn(room);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	/* The reserve told one of them at once; the other waits and is served after the pause. */
	assert_int_equal(count_of(room, METRIC_TCP_REFUSED), 1);
	assert_int_equal(next_reply(room, clients[0]), -1);
	ask(clients[1], 1, FAKE_ECHO);
	assert_int_equal(next_reply(room, clients[1]), 1);
	connect_to(room, clients[2], "127.0.0.1");
	ask(clients[2], 2, FAKE_ECHO);
	assert_int_equal(next_reply(room, clients[2]), 2);
	for (int i = 0; i < 3; i++)
		(void)close(clients[i]);
	room_close(room);
}

static void a_muted_house_takes_nothing_new_and_answers_the_old(void **state)
{
	struct room *room = room_open(8, LONG_MS, LONG_MS);
	int client = client_of(room), late = new_socket();
	union addr_socket name;
	socklen_t length = addr_to_socket(&room->addr, &name);

	(void)state;
	ask(client, 1, FAKE_WAIT);
	turn(room);
	tcp_mute(room->tcp);
	turn(room);
	ask(client, 2, FAKE_ECHO);
	turn(room);
	assert_int_equal(room->pipeline.asked_count, 1);
	fake_answer_all(&room->pipeline);
	assert_int_equal(next_reply(room, client), 1);
	assert_true(is_silent(room, client));
	assert_int_equal(connect(late, &name.sa, length), -1);
	assert_int_equal(errno, ECONNREFUSED);
	(void)close(late);
	(void)close(client);
	room_close(room);
}

static void everything_closes_in_the_middle_of_work(void **state)
{
	struct room *room = room_open(8, LONG_MS, LONG_MS);
	int slow = narrow_client_of(room), waiting = client_of(room), half = client_of(room);

	(void)state;
	for (uint16_t id = 0; id < 400; id++)
		ask(slow, id, FAKE_BIG);
	ask(waiting, 1, FAKE_WAIT);
	assert_int_equal(send(half, "\0", 1, 0), 1);
	turn(room);
	assert_false(tcp_is_flushed(room->tcp));
	room_close(room); /* uv_loop_close() and the sanitizer look whether all is gone */
	(void)close(slow);
	(void)close(waiting);
	(void)close(half);
}

static int register_reader(void **state)
{
	(void)state;
	urcu_qsbr_register_thread();
	urcu_qsbr_thread_offline();
	return 0;
}

static int unregister_reader(void **state)
{
	(void)state;
	urcu_qsbr_unregister_thread();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_answer_comes_framed),
		cmocka_unit_test(the_pipeline_is_told_who_asked_and_where),
		cmocka_unit_test(queries_in_one_segment_are_all_answered),
		cmocka_unit_test(a_query_in_single_bytes_is_answered),
		cmocka_unit_test(large_answers_come_whole),
		cmocka_unit_test(a_late_answer_finds_its_connection),
		cmocka_unit_test(an_answer_to_a_vanished_client_reaches_nobody),
		cmocka_unit_test(a_client_that_ends_its_sending_still_gets_its_answers),
		cmocka_unit_test(what_is_no_dns_ends_the_connection),
		cmocka_unit_test(reading_stops_at_64_unanswered_queries_and_goes_on_later),
		cmocka_unit_test(reading_stops_while_answers_are_not_read),
		cmocka_unit_test(late_answers_beyond_the_ceiling_cut_the_client_off),
		cmocka_unit_test(an_idle_connection_is_closed),
		cmocka_unit_test(single_bytes_do_not_keep_a_connection_alive),
		cmocka_unit_test(a_connection_that_waits_for_us_is_not_idle),
		cmocka_unit_test(an_answer_that_never_comes_does_not_hold_a_connection_for_ever),
		cmocka_unit_test(a_client_that_does_not_read_is_closed),
		cmocka_unit_test(new_limits_hold_for_connections_that_are_there),
		cmocka_unit_test(a_full_house_lets_the_longest_idle_go),
		cmocka_unit_test(a_house_full_of_waiting_clients_refuses_the_newest),
		cmocka_unit_test(many_clients_come_and_go),
		cmocka_unit_test(without_descriptors_accepting_pauses_and_goes_on),
		cmocka_unit_test(a_muted_house_takes_nothing_new_and_answers_the_old),
		cmocka_unit_test(everything_closes_in_the_middle_of_work),
	};

	return cmocka_run_group_tests(tests, register_reader, unregister_reader);
}
