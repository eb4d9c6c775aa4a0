/* Questions to an upstream that is a socket of the test, on a real loop over loopback. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/bytes.h"
#include "base/random.h"
#include "dns/reply.h"
#include "forward/exchange_udp.h"

#define QUESTIONS 100 /* more than leave together, and more than are ready at once */

static uv_loop_t loop;
static struct random source;
static struct exchange_udp_pool *pool;
static bool is_pool_closed;
static int upstream_fd;
static struct addr upstream;

static struct question {
	struct exchange_udp udp;
	bool is_open, closes;
	struct question *takes_along; /* closed from this one's callback */
	unsigned packet_count;
	size_t last_length;
	uint8_t last_byte;
	int error;
} question[QUESTIONS];

static void close_question(struct question *one)
{
	if (!one->is_open)
		return;
	one->is_open = false;
	exchange_udp_close(&one->udp);
	memset(&one->udp, 0xee, sizeof(one->udp)); /* the storage is ours again */
}

static void on_packet(struct exchange_udp *udp, const uint8_t *packet, size_t length)
{
	struct question *one = (struct question *)udp;

	assert_true(one->is_open);
	one->packet_count++;
	one->last_length = length;
	one->last_byte = length ? packet[length - 1] : 0;
	if (one->takes_along)
		close_question(one->takes_along);
	if (one->closes)
		close_question(one);
}

static void on_error(struct exchange_udp *udp, int error)
{
	struct question *one = (struct question *)udp;

	assert_true(one->is_open);
	one->error = error;
	close_question(one);
}

static const struct exchange_udp_doors doors = { on_packet, on_error };

static void turn(void)
{
	(void)uv_run(&loop, UV_RUN_NOWAIT);
}

/* Until what was opened has been sent: at the latest in the turn after. */
static void turn_twice(void)
{
	turn();
	turn();
}

static int open_question(struct question *one, uint8_t byte)
{
	int result = exchange_udp_open(&one->udp, pool, &doors, &upstream, &byte, 1);

	one->is_open = result == 0;
	return result;
}

/* The next question that has reached the upstream, or -1; the asker's address in `from`. */
static int hear(struct sockaddr_in *from)
{
	socklen_t length = sizeof(*from);
	uint8_t byte;

	return recvfrom(upstream_fd, &byte, 1, MSG_DONTWAIT, (struct sockaddr *)from, &length) == 1
		       ? byte
		       : -1;
}

static void answer(const struct sockaddr_in *to, size_t length, uint8_t byte)
{
	uint8_t packet[5000];

	memset(packet, byte, sizeof(packet));
	assert_int_equal(
		sendto(upstream_fd, packet, length, 0, (const struct sockaddr *)to, sizeof(*to)),
		(ssize_t)length);
}

static void on_pool_closed(void *arg)
{
	(void)arg;
	is_pool_closed = true;
}

static int open_room(void **state)
{
	struct sockaddr_in where = { .sin_family = AF_INET,
				     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(where);

	(void)state;
	memset(question, 0, sizeof(question));
	is_pool_closed = false;
	assert_int_equal(uv_loop_init(&loop), 0);
	pool = exchange_udp_pool_open(&loop, &source);
	assert_non_null(pool);
	upstream_fd = socket(AF_INET, SOCK_DGRAM, 0);
	assert_int_equal(bind(upstream_fd, (struct sockaddr *)&where, length), 0);
	assert_int_equal(getsockname(upstream_fd, (struct sockaddr *)&where, &length), 0);
	assert_int_equal(addr_from_socket((struct sockaddr *)&where, &upstream), 0);
	return 0;
}

static int close_room(void **state)
{
	(void)state;
	for (unsigned i = 0; i < QUESTIONS; i++)
		close_question(&question[i]);
	exchange_udp_pool_close(pool, on_pool_closed, NULL);
	assert_false(is_pool_closed);
	assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
	assert_true(is_pool_closed);
	assert_int_equal(uv_loop_close(&loop), 0);
	if (upstream_fd >= 0)
		close(upstream_fd);
	return 0;
}

static void each_question_has_a_port_of_its_own_and_its_own_answer(void **state)
{
	struct sockaddr_in from[QUESTIONS];

	(void)state;
	for (unsigned i = 0; i < QUESTIONS; i++)
		assert_int_equal(open_question(&question[i], (uint8_t)i), 0);
	turn_twice();
	for (unsigned i = 0; i < QUESTIONS; i++) {
		struct sockaddr_in who;
		int byte = hear(&who);

		assert_in_range(byte, 0, QUESTIONS - 1);
		from[byte] = who;
		for (unsigned k = 0; k < QUESTIONS; k++)
			assert_true(k == (unsigned)byte || question[k].packet_count == 0);
	}
	for (unsigned i = 0; i < QUESTIONS; i++) {
		for (unsigned k = 0; k < i; k++)
			assert_int_not_equal(from[i].sin_port, from[k].sin_port);
		answer(&from[i], 1, (uint8_t)i);
	}
	turn();
	for (unsigned i = 0; i < QUESTIONS; i++) {
		assert_int_equal(question[i].packet_count, 1);
		assert_int_equal(question[i].last_byte, i);
	}
}

static void a_question_leaves_when_the_loop_turns_and_not_before(void **state)
{
	struct sockaddr_in from;

	(void)state;
	assert_int_equal(open_question(&question[0], 1), 0);
	assert_int_equal(hear(&from), -1);
	assert_int_equal(uv_backend_timeout(&loop), 0);
	turn_twice();
	assert_int_equal(hear(&from), 1);
	assert_int_equal(uv_backend_timeout(&loop), -1); /* it waits again */
}

static void a_question_closed_before_it_left_is_not_sent(void **state)
{
	struct sockaddr_in from;

	(void)state;
	assert_int_equal(open_question(&question[0], 1), 0);
	assert_int_equal(open_question(&question[1], 2), 0);
	close_question(&question[0]);
	turn_twice();
	assert_int_equal(hear(&from), 2);
	assert_int_equal(hear(&from), -1);
}

static void all_that_comes_is_handed_over_until_it_is_closed(void **state)
{
	struct sockaddr_in from;

	(void)state;
	assert_int_equal(open_question(&question[0], 1), 0);
	turn_twice();
	assert_int_equal(hear(&from), 1);
	answer(&from, 1, 7);
	answer(&from, 0, 0);
	answer(&from, 5000, 9); /* longer than any reply we asked for */
	turn();
	assert_int_equal(question[0].packet_count, 3);
	assert_int_equal(question[0].last_length, 0);
	question[0].closes = true;
	answer(&from, 1, 7);
	answer(&from, 1, 8);
	turn();
	assert_int_equal(question[0].packet_count, 4);
	assert_int_equal(question[0].last_byte, 7);
}

/* More than one wake reads: the rest comes with the next. */
static void a_flood_on_one_socket_keeps_nobody_waiting(void **state)
{
	struct sockaddr_in flooded, other;

	(void)state;
	assert_int_equal(open_question(&question[0], 1), 0);
	turn_twice();
	assert_int_equal(hear(&flooded), 1);
	assert_int_equal(open_question(&question[1], 2), 0);
	turn_twice();
	assert_int_equal(hear(&other), 2);
	for (unsigned i = 0; i < 60; i++)
		answer(&flooded, 1, 1);
	answer(&other, 1, 2);
	turn();
	assert_int_equal(question[1].packet_count, 1);
	assert_in_range(question[0].packet_count, 1, 59);
	for (unsigned i = 0; i < 10; i++)
		turn();
	assert_int_equal(question[0].packet_count, 60);
}

/* Both are ready when the first is read. */
static void a_callback_may_close_one_that_is_about_to_be_read(void **state)
{
	struct sockaddr_in from[2];

	(void)state;
	for (uint8_t i = 0; i < 2; i++) {
		assert_int_equal(open_question(&question[i], i), 0);
		turn_twice();
		assert_int_equal(hear(&from[i]), i);
		question[i].closes = true;
		question[i].takes_along = &question[1 - i];
	}
	answer(&from[0], 1, 1);
	answer(&from[1], 1, 1);
	turn();
	assert_int_equal(question[0].packet_count + question[1].packet_count, 1);
}

/* The turn after the sending reads them all, whatever the set of the watched says. */
static void an_answer_that_comes_at_once_is_read_at_once(void **state)
{
	struct sockaddr_in from;

	(void)state;
	assert_int_equal(open_question(&question[0], 1), 0);
	assert_int_equal(open_question(&question[1], 2), 0);
	turn();
	assert_int_equal(hear(&from), 1);
	answer(&from, 1, 7);
	question[0].closes = true;
	turn();
	assert_int_equal(question[0].packet_count, 1);
	assert_int_equal(hear(&from), 2);
	answer(&from, 1, 8); /* this one is watched by now */
	turn();
	assert_int_equal(question[1].packet_count, 1);
}

static void a_callback_may_close_one_that_was_just_sent(void **state)
{
	struct sockaddr_in from;

	(void)state;
	for (uint8_t i = 0; i < 2; i++) {
		assert_int_equal(open_question(&question[i], i), 0);
		question[i].closes = true;
		question[i].takes_along = &question[1 - i];
	}
	turn();
	while (hear(&from) >= 0)
		answer(&from, 1, 1);
	turn();
	assert_int_equal(question[0].packet_count + question[1].packet_count, 1);
	assert_int_equal(uv_backend_timeout(&loop), -1);
}

/* More than are put off to the end of a turn. */
static void questions_beyond_the_room_for_young_ones_are_sent_and_answered(void **state)
{
	static struct question many[200];
	struct sockaddr_in from;
	unsigned answered = 0;

	(void)state;
	memset(many, 0, sizeof(many));
	for (unsigned i = 0; i < COUNT_OF(many); i++) {
		assert_int_equal(open_question(&many[i], (uint8_t)i), 0);
		many[i].closes = true;
	}
	turn();
	while (hear(&from) >= 0)
		answer(&from, 1, 1);
	for (unsigned i = 0; i < 10; i++)
		turn();
	for (unsigned i = 0; i < COUNT_OF(many); i++)
		answered += many[i].packet_count;
	assert_int_equal(answered, COUNT_OF(many));
}

static void what_has_come_can_be_read_ahead_of_the_loop(void **state)
{
	struct sockaddr_in watched, young;

	(void)state;
	assert_int_equal(open_question(&question[0], 1), 0);
	turn_twice();
	assert_int_equal(hear(&watched), 1);
	assert_int_equal(open_question(&question[1], 2), 0);
	turn();
	assert_int_equal(hear(&young), 2);
	exchange_udp_pool_read(pool);
	assert_int_equal(question[0].packet_count + question[1].packet_count, 0);
	answer(&watched, 1, 1);
	answer(&young, 1, 2);
	exchange_udp_pool_read(pool);
	assert_int_equal(question[0].packet_count, 1);
	assert_int_equal(question[1].packet_count, 1);
}

static void icmp_says_that_nobody_listens(void **state)
{
	(void)state;
	close(upstream_fd);
	upstream_fd = -1;
	assert_int_equal(open_question(&question[0], 1), 0);
	turn_twice();
	turn();
	assert_int_equal(question[0].error, -ECONNREFUSED);
}

static void what_cannot_be_sent_is_an_error_of_its_own_question(void **state)
{
	struct sockaddr_in from;

	(void)state;
	assert_int_equal(open_question(&question[0], 1), 0);
	assert_int_equal(open_question(&question[1], 2), 0);
	assert_int_equal(shutdown(question[0].udp.fd, SHUT_WR), 0);
	turn_twice();
	assert_int_equal(question[0].error, -EPIPE);
	assert_int_equal(question[1].error, 0);
	assert_int_equal(hear(&from), 2);
}

static void without_descriptors_the_caller_is_told(void **state)
{
	struct rlimit before, none;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(open_question(&question[0], 1), -EMFILE);
	assert_null(exchange_udp_pool_open(&loop, &source));
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(open_question(&question[0], 1), 0);
}

static void no_more_sockets_are_open_than_are_allowed(void **state)
{
	(void)state;
	exchange_udp_pool_set_max(pool, 2);
	assert_int_equal(open_question(&question[0], 1), 0);
	assert_int_equal(open_question(&question[1], 2), 0);
	assert_int_equal(open_question(&question[2], 3), -EMFILE);
	close_question(&question[0]);
	assert_int_equal(open_question(&question[2], 3), 0);
}

/* The port that a question has been given. */
static unsigned port_of(const struct question *one)
{
	struct sockaddr_in where;
	socklen_t length = sizeof(where);

	assert_int_equal(getsockname(one->udp.fd, (struct sockaddr *)&where, &length), 0);
	return ntohs(where.sin_port);
}

/* Over ten thousand of them, by a chi-square test of 52 boxes: 140 is once in ten million runs. */
static void ports_are_even_over_all_but_the_privileged_and_those_of_nomads_tasks(void **state)
{
	const unsigned count = 10000, boxes = 52, ports = 65536 - 1024 - 12001;
	unsigned found[52] = { 0 };
	double expected = (double)count / boxes, chi = 0;

	(void)state;
	for (unsigned i = 0; i < count; i++) {
		unsigned port;

		assert_int_equal(open_question(&question[0], 1), 0);
		port = port_of(&question[0]);
		close_question(&question[0]);
		assert_true(port >= 1024 && (port < 20000 || port > 32000));
		found[(port - 1024 - (port > 32000 ? 12001 : 0)) * boxes / ports]++;
		turn();
	}
	for (unsigned i = 0; i < boxes; i++)
		chi += ((double)found[i] - expected) * ((double)found[i] - expected) / expected;
	assert_true(chi < 140);
}

static void a_closed_question_leaves_no_descriptor(void **state)
{
	int first, again;

	(void)state;
	assert_int_equal(open_question(&question[0], 1), 0);
	first = question[0].udp.fd;
	close_question(&question[0]);
	assert_int_equal(open_question(&question[0], 1), 0);
	again = question[0].udp.fd;
	assert_int_equal(first, again);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_room, close_room)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(each_question_has_a_port_of_its_own_and_its_own_answer),
		TEST(a_question_leaves_when_the_loop_turns_and_not_before),
		TEST(a_question_closed_before_it_left_is_not_sent),
		TEST(all_that_comes_is_handed_over_until_it_is_closed),
		TEST(a_flood_on_one_socket_keeps_nobody_waiting),
		TEST(a_callback_may_close_one_that_is_about_to_be_read),
		TEST(an_answer_that_comes_at_once_is_read_at_once),
		TEST(a_callback_may_close_one_that_was_just_sent),
		TEST(questions_beyond_the_room_for_young_ones_are_sent_and_answered),
		TEST(what_has_come_can_be_read_ahead_of_the_loop),
		TEST(icmp_says_that_nobody_listens),
		TEST(what_cannot_be_sent_is_an_error_of_its_own_question),
		TEST(without_descriptors_the_caller_is_told),
		TEST(no_more_sockets_are_open_than_are_allowed),
		TEST(a_closed_question_leaves_no_descriptor),
		TEST(ports_are_even_over_all_but_the_privileged_and_those_of_nomads_tasks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
