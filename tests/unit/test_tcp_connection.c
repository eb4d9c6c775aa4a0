#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "listen/tcp_connection.h"
#include "unit/tcp_room.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_answer_comes_framed),
		cmocka_unit_test(queries_in_one_segment_are_all_answered),
		cmocka_unit_test(a_query_in_single_bytes_is_answered),
		cmocka_unit_test(large_answers_come_whole),
		cmocka_unit_test(a_client_that_ends_its_sending_still_gets_its_answers),
		cmocka_unit_test(what_is_no_dns_ends_the_connection),
		cmocka_unit_test(reading_stops_at_64_unanswered_queries_and_goes_on_later),
		cmocka_unit_test(reading_stops_while_answers_are_not_read),
		cmocka_unit_test(late_answers_beyond_the_ceiling_cut_the_client_off),
		cmocka_unit_test(single_bytes_do_not_keep_a_connection_alive),
		cmocka_unit_test(a_connection_that_waits_for_us_is_not_idle),
		cmocka_unit_test(an_answer_that_never_comes_does_not_hold_a_connection_for_ever),
		cmocka_unit_test(a_client_that_does_not_read_is_closed),
	};

	return cmocka_run_group_tests(tests, register_reader, unregister_reader);
}
