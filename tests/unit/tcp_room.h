/*
 * A TCP side with a fake pipeline behind it, and clients to ask it. Shared by the tests of the
 * table of connections and of one connection; each includes it after cmocka.h.
 */
#pragma once

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <urcu/urcu-qsbr.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "config/config.h"
#include "listen/tcp.h"
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

static inline uint64_t count_of(const struct room *room, enum metric metric)
{
	return atomic_load(&room->metrics.value[metric]);
}

static inline void send_late(void *arg, const struct query_client *client, const uint8_t *reply,
			     size_t length)
{
	tcp_send(((struct room *)arg)->tcp, client, reply, length);
}

static inline void on_tcp_closed(void *arg)
{
	((struct room *)arg)->is_closed = true;
}

static inline struct room *room_open_at(const char *ip, uint32_t clients_max, uint64_t idle_ms,
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

static inline struct room *room_open(uint32_t clients_max, uint64_t idle_ms, uint64_t answer_ms)
{
	return room_open_at("127.0.0.1", clients_max, idle_ms, answer_ms);
}

static inline void room_close(struct room *room)
{
	tcp_close(room->tcp, on_tcp_closed, room);
	assert_int_equal(uv_run(&room->loop, UV_RUN_DEFAULT), 0);
	assert_true(room->is_closed);
	assert_int_equal(uv_loop_close(&room->loop), 0);
	sockets_deinit(&room->sockets);
	free(room);
}

static inline void turn(struct room *room)
{
	for (int i = 0; i < 4; i++) /* accept, read, resume */
		(void)uv_run(&room->loop, UV_RUN_NOWAIT);
}

static inline int new_socket(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	return fd;
}

static inline void connect_to(const struct room *room, int fd, const char *ip)
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
/* A client at another address of the loopback network. */
static inline int client_from(struct room *room, const char *ip)
{
	struct sockaddr_in from = { .sin_family = AF_INET };
	int fd = new_socket();

	assert_int_equal(inet_pton(AF_INET, ip, &from.sin_addr), 1);
	assert_int_equal(bind(fd, (struct sockaddr *)&from, sizeof(from)), 0);
	connect_to(room, fd, "127.0.0.1");
	turn(room);
	return fd;
}

static inline int client_of(struct room *room)
{
	int fd = new_socket();

	connect_to(room, fd, "127.0.0.1");
	turn(room);
	return fd;
}

static inline void put_frame(uint8_t out[FRAME_BYTES], uint16_t id, enum fake_order order)
{
	store_be16(out, FAKE_MESSAGE_BYTES);
	fake_message(out + 2, id, order);
}

static inline void ask(int fd, uint16_t id, enum fake_order order)
{
	uint8_t frame[FRAME_BYTES];

	put_frame(frame, id, order);
	assert_int_equal(send(fd, frame, sizeof(frame), MSG_NOSIGNAL), sizeof(frame));
}

/* Turns the loop until `count` bytes came. What came; less at the end of the connection. */
static inline size_t receive(struct room *room, int fd, uint8_t *out, size_t count)
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
static inline int next_reply(struct room *room, int fd)
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

static inline bool is_silent(struct room *room, int fd)
{
	uint8_t byte;

	turn(room);
	return recv(fd, &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

/* A connected client whose side of the connection holds little. */
static inline int narrow_client_of(struct room *room)
{
	int fd = new_socket(), bytes = 4096;

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)), 0);
	connect_to(room, fd, "127.0.0.1");
	turn(room);
	return fd;
}

static inline void wait_for(struct room *room, enum metric metric, uint64_t value)
{
	uint64_t until_ms = clock_now_ms() + PATIENCE_MS;

	while (count_of(room, metric) != value) {
		(void)uv_run(&room->loop, UV_RUN_ONCE);
		assert_true(clock_now_ms() < until_ms);
	}
}

static inline int register_reader(void **state)
{
	(void)state;
	urcu_qsbr_register_thread();
	urcu_qsbr_thread_offline();
	return 0;
}

static inline int unregister_reader(void **state)
{
	(void)state;
	urcu_qsbr_unregister_thread();
	return 0;
}
