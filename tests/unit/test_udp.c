#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <urcu/urcu-qsbr.h>

#include "config/config.h"
#include "listen/udp.h"
#include "listen/udp_late.h"
#include "unit/fake_pipeline.h"

#define BATCH 64
#define ASKED_SOCKET 5 /* any index: it must come back in query_client.socket */

/* Datagrams over loopback are delivered before sendto() returns: one turn of the loop sees them. */
struct room {
	uv_loop_t loop;
	struct metrics metrics;
	struct pipeline pipeline;
	struct udp_batch *batch;
	struct udp_late *late;
	struct sockets sockets;
	struct udp *udp;
	bool is_closed;
};

static uint64_t count_of(const struct room *room, enum metric metric)
{
	return atomic_load(&room->metrics.value[metric]);
}

static void send_late(void *arg, const struct query_client *client, const uint8_t *reply,
		      size_t length)
{
	struct room *room = arg;

	udp_send(room->udp, client, reply, length);
}

static void on_udp_closed(void *arg)
{
	((struct room *)arg)->is_closed = true;
}

static void open_udp(struct room *room)
{
	struct udp_setup setup = { .loop = &room->loop,
				   .pipeline = &room->pipeline,
				   .metrics = &room->metrics,
				   .batch = room->batch,
				   .late = room->late,
				   .socket = &room->sockets.one[0],
				   .index = ASKED_SOCKET };

	assert_int_equal(udp_open(&setup, &room->udp), 0);
	room->sockets.one[0].fd = -1;
}

static bool room_bind(struct room *room, const char *ip)
{
	struct addr addr;
	struct config config;
	char why[512];

	memset(&config, 0, sizeof(config));
	assert_int_equal(addr_parse_ip(ip, &addr), 0);
	config.listen = &addr;
	config.listen_count = 1;
	config.workers = 1;
	return sockets_bind(&room->sockets, &config, why, sizeof(why)) == 0;
}

static struct room *room_new(void)
{
	struct room *room = calloc(1, sizeof(*room));

	assert_non_null(room);
	assert_int_equal(uv_loop_init(&room->loop), 0);
	room->pipeline.doors.send = send_late;
	room->pipeline.doors.send_arg = room;
	room->batch = udp_batch_new();
	assert_non_null(room->batch);
	room->late = udp_late_open(&room->loop, &room->metrics);
	assert_non_null(room->late);
	return room;
}

static struct room *room_open(const char *ip)
{
	struct room *room = room_new();

	assert_true(room_bind(room, ip));
	open_udp(room);
	return room;
}

static void room_close(struct room *room)
{
	udp_close(room->udp, on_udp_closed, room);
	udp_late_close(room->late);
	assert_int_equal(uv_run(&room->loop, UV_RUN_DEFAULT), 0);
	assert_true(room->is_closed);
	assert_int_equal(uv_loop_close(&room->loop), 0);
	udp_batch_free(room->batch);
	sockets_deinit(&room->sockets);
	free(room);
}

static void turn(struct room *room)
{
	(void)uv_run(&room->loop, UV_RUN_NOWAIT);
}

/* A client connected to `ip`: it hears only what comes from the address it asked. */
static int client_of(const struct room *room, const char *ip)
{
	union addr_socket name;
	struct addr addr;
	socklen_t length;
	int fd;

	assert_int_equal(addr_parse_ip(ip, &addr), 0);
	addr.port = room->sockets.one[0].addr.port;
	length = addr_to_socket(&addr, &name);
	fd = socket(name.sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	if (connect(fd, &name.sa, length) < 0) {
		(void)close(fd);
		return -1;
	}
	return fd;
}

static void ask(int fd, uint16_t id, enum fake_order order)
{
	uint8_t message[FAKE_MESSAGE_BYTES];

	fake_message(message, id, order);
	assert_int_equal(send(fd, message, sizeof(message), 0), sizeof(message));
}

/* The id of the next reply, or -1: none there. */
static int next_reply(int fd)
{
	uint8_t reply[2048];
	ssize_t length = recv(fd, reply, sizeof(reply), MSG_DONTWAIT);

	if (length < FAKE_MESSAGE_BYTES)
		return -1;
	assert_true(reply[2] & 0x80);
	return reply[0] << 8 | reply[1];
}

static void an_answer_goes_back_to_who_asked(void **state)
{
	struct room *room = room_open("127.0.0.1");
	int client = client_of(room, "127.0.0.1"), other = client_of(room, "127.0.0.1");

	(void)state;
	ask(client, 0x1234, FAKE_ECHO);
	turn(room);
	assert_int_equal(next_reply(client), 0x1234);
	assert_int_equal(next_reply(client), -1);
	assert_int_equal(next_reply(other), -1);
	(void)close(client);
	(void)close(other);
	room_close(room);
}

static void the_pipeline_is_told_who_asked_and_where(void **state)
{
	struct room *room = room_open("127.0.0.1");
	int client = client_of(room, "127.0.0.1");
	const struct query_client *last = &room->pipeline.last;
	union addr_socket name;
	socklen_t length = sizeof(name);
	struct addr own;

	(void)state;
	assert_int_equal(getsockname(client, &name.sa, &length), 0);
	assert_int_equal(addr_from_socket(&name.sa, &own), 0);
	ask(client, 1, FAKE_SILENT);
	turn(room);
	assert_int_equal(last->source, QUERY_UDP);
	assert_int_equal(last->socket, ASKED_SOCKET);
	assert_memory_equal(&last->peer, &own, sizeof(own));
	assert_true(addr_same_ip(&last->local, &room->sockets.one[0].addr));
	assert_int_equal(last->local.port, room->sockets.one[0].addr.port);
	assert_int_equal(room->pipeline.last_length, FAKE_MESSAGE_BYTES);
	assert_true(room->pipeline.last_now_us > 0);
	(void)close(client);
	room_close(room);
}

static void more_than_a_batch_is_answered_in_one_turn(void **state)
{
	struct room *room = room_open("127.0.0.1");
	int client = client_of(room, "127.0.0.1");
	const uint16_t count = 2 * BATCH + BATCH / 2 + 3;

	(void)state;
	for (uint16_t id = 0; id < count; id++)
		ask(client, id, FAKE_ECHO);
	turn(room);
	for (uint16_t id = 0; id < count; id++)
		assert_int_equal(next_reply(client), id);
	assert_int_equal(next_reply(client), -1);
	(void)close(client);
	room_close(room);
}

static void the_silent_ones_of_a_batch_do_not_shift_the_answers_of_others(void **state)
{
	struct room *room = room_open("127.0.0.1");
	int clients[8];

	(void)state;
	for (uint16_t i = 0; i < 8; i++) {
		clients[i] = client_of(room, "127.0.0.1");
		ask(clients[i], i, i % 3 == 0 ? FAKE_SILENT : FAKE_ECHO);
	}
	turn(room);
	for (uint16_t i = 0; i < 8; i++) {
		assert_int_equal(next_reply(clients[i]), i % 3 == 0 ? -1 : i);
		(void)close(clients[i]);
	}
	room_close(room);
}

static void a_reply_is_at_most_1232_bytes(void **state)
{
	struct room *room = room_open("127.0.0.1");
	int client = client_of(room, "127.0.0.1");
	uint8_t reply[4096];

	(void)state;
	ask(client, 1, FAKE_BIG);
	turn(room);
	assert_int_equal(recv(client, reply, sizeof(reply), MSG_DONTWAIT), 1232);
	(void)close(client);
	room_close(room);
}

static void a_datagram_longer_than_a_slot_is_dropped_and_counted(void **state)
{
	struct room *room = room_open("127.0.0.1");
	int client = client_of(room, "127.0.0.1");
	static uint8_t message[4097];

	(void)state;
	fake_message(message, 7, FAKE_ECHO);
	assert_int_equal(send(client, message, 4096, 0), 4096);
	assert_int_equal(send(client, message, 4097, 0), 4097);
	turn(room);
	assert_int_equal(room->pipeline.asked_count, 1);
	assert_int_equal(room->pipeline.last_length, 4096);
	assert_int_equal(count_of(room, METRIC_REQUESTS_DROPPED), 1);
	(void)close(client);
	room_close(room);
}

static void an_empty_datagram_harms_nobody(void **state)
{
	struct room *room = room_open("127.0.0.1");
	int client = client_of(room, "127.0.0.1");

	(void)state;
	assert_int_equal(send(client, "", 0, 0), 0);
	ask(client, 3, FAKE_ECHO);
	turn(room);
	assert_int_equal(next_reply(client), 3);
	(void)close(client);
	room_close(room);
}

static void source_port_zero_is_never_answered(void **state)
{
	struct room *room = room_open("127.0.0.1");
	int raw = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_UDP);
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct {
		struct udphdr header;
		uint8_t message[FAKE_MESSAGE_BYTES];
	} packet;

	(void)state;
	if (raw < 0) {
		room_close(room);
		skip(); /* a raw socket needs root */
	}
	memset(&packet, 0, sizeof(packet));
	packet.header.uh_dport = htons(room->sockets.one[0].addr.port);
	packet.header.uh_ulen = htons(sizeof(packet));
	fake_message(packet.message, 1, FAKE_ECHO);
	assert_int_equal(
		sendto(raw, &packet, sizeof(packet), 0, (struct sockaddr *)&to, sizeof(to)),
		sizeof(packet));
	turn(room);
	assert_int_equal(room->pipeline.asked_count, 0);
	assert_int_equal(count_of(room, METRIC_REQUESTS_DROPPED), 1);
	(void)close(raw);
	room_close(room);
}

static void a_wildcard_socket_answers_from_the_address_that_was_asked(void **state)
{
	struct room *room = room_open("0.0.0.0");
	int first = client_of(room, "127.0.0.2"), second = client_of(room, "127.0.0.3");
	struct addr asked;

	(void)state;
	ask(first, 2, FAKE_ECHO);
	ask(second, 3, FAKE_ECHO);
	turn(room);
	assert_int_equal(next_reply(first), 2);
	assert_int_equal(next_reply(second), 3);
	assert_int_equal(addr_parse_ip("127.0.0.3", &asked), 0);
	assert_true(addr_same_ip(&room->pipeline.last.local, &asked));
	assert_int_equal(room->pipeline.last.local.port, room->sockets.one[0].addr.port);
	(void)close(first);
	(void)close(second);
	room_close(room);
}

static void a_late_reply_leaves_from_the_address_that_was_asked(void **state)
{
	struct room *room = room_open("0.0.0.0");
	int client = client_of(room, "127.0.0.2");

	(void)state;
	ask(client, 77, FAKE_WAIT);
	turn(room);
	assert_int_equal(next_reply(client), -1);
	fake_answer_all(&room->pipeline);
	turn(room);
	assert_int_equal(next_reply(client), 77);
	(void)close(client);
	room_close(room);
}

static void ipv6_is_served_at_once_and_late(void **state)
{
	struct room *room = room_new();
	int client;

	(void)state;
	if (!room_bind(room, "::"))
		skip(); /* no IPv6 here */
	open_udp(room);
	client = client_of(room, "::1");
	assert_true(client >= 0);
	ask(client, 1, FAKE_ECHO);
	ask(client, 2, FAKE_WAIT);
	turn(room);
	assert_int_equal(next_reply(client), 1);
	assert_int_equal(room->pipeline.last.peer.family, AF_INET6);
	assert_true(addr_is_loopback(&room->pipeline.last.local));
	fake_answer_all(&room->pipeline);
	turn(room);
	assert_int_equal(next_reply(client), 2);
	(void)close(client);
	room_close(room);
}

/* A service manager may pass one socket for both families. */
static void an_inherited_dual_stack_socket_serves_ipv4(void **state)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6 };
	struct room *room = room_new();
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), off = 0, on = 1;
	struct sockets_one one = { .fd = fd, .is_wildcard = true, .is_inherited = true };
	socklen_t length = sizeof(any);
	int client;

	(void)state;
	if (fd < 0)
		skip(); /* no IPv6 here */
	assert_int_equal(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)), 0);
	assert_int_equal(setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&any, sizeof(any)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&any, &length), 0);
	assert_int_equal(addr_from_socket((struct sockaddr *)&any, &one.addr), 0);
	room->sockets.one = malloc(sizeof(one));
	assert_non_null(room->sockets.one);
	room->sockets.one[0] = one;
	room->sockets.count = 1;
	open_udp(room);
	client = client_of(room, "127.0.0.2");
	ask(client, 1, FAKE_ECHO);
	ask(client, 2, FAKE_WAIT);
	turn(room);
	assert_int_equal(next_reply(client), 1);
	assert_int_equal(room->pipeline.last.peer.family, AF_INET);
	assert_int_equal(room->pipeline.last.local.family, AF_INET);
	fake_answer_all(&room->pipeline);
	turn(room);
	assert_int_equal(next_reply(client), 2);
	(void)close(client);
	room_close(room);
}

static void what_the_kernel_drops_is_counted(void **state)
{
	struct room *room = room_new();
	int small = 1, client; /* the kernel makes it its minimum */

	(void)state;
	assert_true(room_bind(room, "127.0.0.1"));
	assert_int_equal(
		setsockopt(room->sockets.one[0].fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)),
		0);
	open_udp(room);
	client = client_of(room, "127.0.0.1");
	for (uint16_t id = 0; id < 100; id++)
		ask(client, id, FAKE_ECHO);
	turn(room);
	ask(client, 100, FAKE_ECHO); /* the count travels with the next that fits */
	turn(room);
	assert_true(count_of(room, METRIC_UDP_KERNEL_DROPS) > 0);
	assert_int_equal(count_of(room, METRIC_UDP_KERNEL_DROPS) + room->pipeline.asked_count, 101);
	(void)close(client);
	room_close(room);
}

static void a_reply_the_kernel_refuses_is_counted_and_costs_no_other(void **state)
{
	struct room *room = room_open("0.0.0.0");
	int client = client_of(room, "127.0.0.2");

	(void)state;
	ask(client, 1, FAKE_WAIT);
	turn(room);
	/* An address that is not ours: sendmsg refuses it. */
	assert_int_equal(addr_parse_ip("192.0.2.1", &room->pipeline.waiting[0].client.local), 0);
	fake_answer_all(&room->pipeline);
	turn(room);
	assert_int_equal(next_reply(client), -1);
	assert_int_equal(count_of(room, METRIC_RESPONSES_UNSENT), 1);
	ask(client, 2, FAKE_ECHO);
	turn(room);
	assert_int_equal(next_reply(client), 2);
	(void)close(client);
	room_close(room);
}

static void late_replies_leave_together_when_the_loop_turns(void **state)
{
	struct room *room = room_open("0.0.0.0");
	int clients[8];

	(void)state;
	for (uint16_t i = 0; i < 8; i++) {
		clients[i] = client_of(room, "127.0.0.2");
		ask(clients[i], i, FAKE_WAIT);
	}
	turn(room);
	/* One that the kernel refuses, in the middle. */
	assert_int_equal(addr_parse_ip("192.0.2.1", &room->pipeline.waiting[1].client.local), 0);
	fake_answer_all(&room->pipeline);
	assert_int_equal(next_reply(clients[0]), -1);
	assert_int_equal(uv_backend_timeout(&room->loop), 0);
	turn(room);
	for (uint16_t i = 0; i < 8; i++) {
		assert_int_equal(next_reply(clients[i]), i == 1 ? -1 : i);
		(void)close(clients[i]);
	}
	assert_int_equal(count_of(room, METRIC_RESPONSES_UNSENT), 1);
	assert_int_equal(uv_backend_timeout(&room->loop), -1); /* it waits again */
	room_close(room);
}

static void late_replies_leave_before_their_socket_does(void **state)
{
	struct room *room = room_open("127.0.0.1");
	int client = client_of(room, "127.0.0.1");

	(void)state;
	ask(client, 5, FAKE_WAIT);
	turn(room);
	fake_answer_all(&room->pipeline);
	room_close(room);
	assert_int_equal(next_reply(client), 5);
	(void)close(client);
}

static void more_late_replies_than_there_are_slots_all_leave(void **state)
{
	struct room *room = room_open("127.0.0.1");
	int client = client_of(room, "127.0.0.1");
	uint8_t message[FAKE_MESSAGE_BYTES];
	struct query_client asker;

	(void)state;
	ask(client, 0, FAKE_SILENT);
	turn(room);
	asker = room->pipeline.last;
	for (uint16_t id = 0; id < 3 * BATCH / 2; id++) {
		fake_message(message, id, FAKE_ECHO);
		message[2] |= 0x80;
		udp_send(room->udp, &asker, message, sizeof(message));
	}
	turn(room);
	for (uint16_t id = 0; id < 3 * BATCH / 2; id++)
		assert_int_equal(next_reply(client), id);
	(void)close(client);
	room_close(room);
}

static void check_mute(const char *ip)
{
	struct room *room = room_open(ip);
	int client = client_of(room, "127.0.0.2");

	ask(client, 1, FAKE_WAIT);
	turn(room);
	ask(client, 2, FAKE_ECHO); /* arrived before: answered */
	udp_mute(room->udp);
	assert_int_equal(next_reply(client), 2);
	ask(client, 3, FAKE_ECHO); /* after: refused at once, so that the client asks elsewhere */
	turn(room);
	assert_int_equal(recv(client, &(char){ 0 }, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, ECONNREFUSED);
	assert_int_equal(room->pipeline.asked_count, 2);
	fake_answer_all(&room->pipeline);
	turn(room);
	assert_int_equal(next_reply(client), 1);
	(void)close(client);
	room_close(room);
}

static void a_muted_socket_refuses_the_new_and_answers_the_old(void **state)
{
	(void)state;
	check_mute("127.0.0.2");
	check_mute("0.0.0.0");
}

static void a_muted_inherited_socket_keeps_its_queue_for_the_next_process(void **state)
{
	struct room *room = room_new();
	int client, copy;
	char byte;

	(void)state;
	assert_true(room_bind(room, "127.0.0.1"));
	room->sockets.one[0].is_inherited = true;
	copy = dup(room->sockets.one[0].fd); /* the service manager's */
	assert_true(copy >= 0);
	open_udp(room);
	client = client_of(room, "127.0.0.1");
	udp_mute(room->udp);
	ask(client, 9, FAKE_ECHO);
	turn(room);
	assert_int_equal(room->pipeline.asked_count, 0);
	room_close(room);
	assert_int_equal(recv(copy, &byte, 1, MSG_DONTWAIT), 1);
	(void)close(copy);
	(void)close(client);
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
		cmocka_unit_test(an_answer_goes_back_to_who_asked),
		cmocka_unit_test(the_pipeline_is_told_who_asked_and_where),
		cmocka_unit_test(more_than_a_batch_is_answered_in_one_turn),
		cmocka_unit_test(the_silent_ones_of_a_batch_do_not_shift_the_answers_of_others),
		cmocka_unit_test(a_reply_is_at_most_1232_bytes),
		cmocka_unit_test(a_datagram_longer_than_a_slot_is_dropped_and_counted),
		cmocka_unit_test(an_empty_datagram_harms_nobody),
		cmocka_unit_test(source_port_zero_is_never_answered),
		cmocka_unit_test(a_wildcard_socket_answers_from_the_address_that_was_asked),
		cmocka_unit_test(a_late_reply_leaves_from_the_address_that_was_asked),
		cmocka_unit_test(ipv6_is_served_at_once_and_late),
		cmocka_unit_test(an_inherited_dual_stack_socket_serves_ipv4),
		cmocka_unit_test(what_the_kernel_drops_is_counted),
		cmocka_unit_test(a_reply_the_kernel_refuses_is_counted_and_costs_no_other),
		cmocka_unit_test(late_replies_leave_together_when_the_loop_turns),
		cmocka_unit_test(late_replies_leave_before_their_socket_does),
		cmocka_unit_test(more_late_replies_than_there_are_slots_all_leave),
		cmocka_unit_test(a_muted_socket_refuses_the_new_and_answers_the_old),
		cmocka_unit_test(a_muted_inherited_socket_keeps_its_queue_for_the_next_process),
	};

	return cmocka_run_group_tests(tests, register_reader, unregister_reader);
}
