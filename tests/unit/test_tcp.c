#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <sys/resource.h>

#include "unit/tcp_room.h"

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

static void a_full_house_of_waiting_clients_lets_the_one_that_waited_longest_go(void **state)
{
	struct room *room = room_open(2, LONG_MS, LONG_MS);
	int first = client_of(room), second = client_of(room), third;

	(void)state;
	ask(first, 1, FAKE_WAIT);
	ask(second, 2, FAKE_WAIT);
	turn(room);
	third = client_of(room);
	ask(third, 3, FAKE_ECHO);
	assert_int_equal(next_reply(room, third), 3);
	assert_int_equal(next_reply(room, first), -1);
	assert_int_equal(count_of(room, METRIC_TCP_CLOSED_CROWDED), 1);
	assert_int_equal(count_of(room, METRIC_TCP_REFUSED), 0);
	fake_answer_all(&room->pipeline);
	assert_int_equal(next_reply(room, second), 2);
	(void)close(first);
	(void)close(second);
	(void)close(third);
	room_close(room);
}

static void who_has_most_waiting_makes_room_and_nobody_else(void **state)
{
	struct room *room = room_open(3, LONG_MS, LONG_MS);
	int lone = client_of(room); /* the oldest */
	int crowd[2] = { client_from(room, "127.0.0.2"), client_from(room, "127.0.0.2") };
	int newest;

	(void)state;
	ask(lone, 1, FAKE_WAIT);
	ask(crowd[0], 2, FAKE_WAIT);
	ask(crowd[1], 3, FAKE_WAIT);
	turn(room);
	newest = client_from(room, "127.0.0.3");
	assert_int_equal(next_reply(room, crowd[0]), -1);
	fake_answer_all(&room->pipeline);
	assert_int_equal(next_reply(room, lone), 1);
	assert_int_equal(next_reply(room, crowd[1]), 3);
	(void)close(lone);
	(void)close(crowd[0]);
	(void)close(crowd[1]);
	(void)close(newest);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_pipeline_is_told_who_asked_and_where),
		cmocka_unit_test(a_late_answer_finds_its_connection),
		cmocka_unit_test(an_answer_to_a_vanished_client_reaches_nobody),
		cmocka_unit_test(an_idle_connection_is_closed),
		cmocka_unit_test(new_limits_hold_for_connections_that_are_there),
		cmocka_unit_test(a_full_house_lets_the_longest_idle_go),
		cmocka_unit_test(
			a_full_house_of_waiting_clients_lets_the_one_that_waited_longest_go),
		cmocka_unit_test(who_has_most_waiting_makes_room_and_nobody_else),
		cmocka_unit_test(many_clients_come_and_go),
		cmocka_unit_test(without_descriptors_accepting_pauses_and_goes_on),
		cmocka_unit_test(a_muted_house_takes_nothing_new_and_answers_the_old),
		cmocka_unit_test(everything_closes_in_the_middle_of_work),
	};

	return cmocka_run_group_tests(tests, register_reader, unregister_reader);
}
