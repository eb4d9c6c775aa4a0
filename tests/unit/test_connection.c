/* A connection on a real loop, against a scripted server in clear and over TLS. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <uv.h>

#include "forward/connection.h"
#include "forward/tls.h"
#include "unit/stream_server.h"

#define FRAME_BYTES (2 + 40)

static uv_loop_t loop;
static struct stream_server server;
static struct stream_identity trusted, stranger;
static struct tls_context *context;
static struct tls_ticket ticket;
static struct connection connection;

static struct {
	unsigned opens, messages, ends, closes;
	uint8_t first[8]; /* the 3rd byte of each message */
	size_t length;	  /* of the last */
	int error;
	char why[200];
	bool closes_itself; /* in the callback */
} got;

static void on_open(struct connection *c)
{
	assert_ptr_equal(c, &connection);
	got.opens++;
}

static void on_message(struct connection *c, uint8_t *message, size_t length)
{
	got.first[got.messages++ % 8] = message[2];
	got.length = length;
	if (got.closes_itself)
		connection_close(c);
}

static void on_end(struct connection *c, int error, const char *why)
{
	got.ends++;
	got.error = error;
	snprintf(got.why, sizeof(got.why), "%s", why ? why : "");
	connection_close(c);
}

static void on_closed(struct connection *c)
{
	(void)c;
	got.closes++;
}

static const struct connection_doors doors = { on_open, on_message, on_end, on_closed };

static int set_up(void **state)
{
	(void)state;
	memset(&got, 0, sizeof(got));
	memset(&ticket, 0, sizeof(ticket));
	setenv("SSL_CERT_FILE", trusted.path, 1);
	setenv("SSL_CERT_DIR", "/nonexistent", 1);
	return uv_loop_init(&loop);
}

/* Every test ends here: nothing may be left in the loop. */
static int tear_down(void **state)
{
	(void)state;
	uv_run(&loop, UV_RUN_DEFAULT);
	stream_server_close(&server);
	tls_ticket_forget(&ticket);
	tls_context_free(context);
	context = NULL;
	return uv_loop_close(&loop);
}

static void open_clear(const char *script)
{
	stream_server_open(&server, NULL, (const char *const[]){ script, NULL });
	assert_int_equal(connection_open(&connection, &loop, &doors, &server.addr, NULL), 0);
}

static void connect_tls(const char *name)
{
	struct tls *tls;

	if (!context)
		context = tls_context_new();
	tls = tls_new(context, name, &server.addr, &ticket);
	assert_non_null(tls);
	assert_int_equal(connection_open(&connection, &loop, &doors, &server.addr, tls), 0);
}

static void open_tls(const struct stream_identity *identity, const char *name, const char *script)
{
	stream_server_open(&server, identity, (const char *const[]){ script, NULL });
	connect_tls(name);
}

static void run_until(const unsigned *what, unsigned count)
{
	while (*what < count && uv_run(&loop, UV_RUN_ONCE))
		;
	assert_int_equal(*what, count);
}

static void write_frame(uint8_t mark)
{
	uint8_t frame[FRAME_BYTES] = { 0, FRAME_BYTES - 2, 0, 0, mark };

	assert_int_equal(connection_write(&connection, frame, sizeof(frame)), 0);
}

static void write_and_expect_three(void)
{
	run_until(&got.opens, 1);
	for (uint8_t i = 1; i <= 3; i++)
		write_frame(i);
	run_until(&got.messages, 3);
	assert_memory_equal(got.first, "\1\2\3", 3);
	assert_int_equal(got.length, FRAME_BYTES - 2);
	assert_int_equal(got.ends, 0);
	connection_close(&connection);
}

static void expect_end(int error, const char *why)
{
	run_until(&got.closes, 1);
	assert_int_equal(got.ends, 1);
	assert_int_equal(got.error, error);
	assert_non_null(strstr(got.why, why));
}

/* ---- in clear ---- */

static void messages_go_both_ways(void **state)
{
	(void)state;
	open_clear("eeew");
	write_and_expect_three();
}

static void message_in_single_bytes_is_put_together(void **state)
{
	(void)state;
	open_clear("bbbw");
	write_and_expect_three();
}

static void longest_message_comes_whole(void **state)
{
	static uint8_t frame[2 + 65535] = { 0xff, 0xff, 0, 0, 7 };

	(void)state;
	open_clear("ew");
	run_until(&got.opens, 1);
	assert_int_equal(connection_write(&connection, frame, sizeof(frame)), 0);
	run_until(&got.messages, 1);
	assert_int_equal(got.length, 65535);
	assert_int_equal(got.first[0], 7);
	connection_close(&connection);
}

static void refused_connection_says_so(void **state)
{
	struct addr dead;

	(void)state;
	stream_server_open(&server, NULL, (const char *const[]){ NULL });
	dead = server.addr;
	stream_server_close(&server);
	stream_server_open(&server, NULL, (const char *const[]){ NULL });
	assert_int_equal(connection_open(&connection, &loop, &doors, &dead, NULL), 0);
	expect_end(-ECONNREFUSED, "");
	assert_int_equal(got.opens, 0);
}

static void half_a_message_is_none(void **state)
{
	(void)state;
	open_clear("h");
	run_until(&got.opens, 1);
	write_frame(1);
	expect_end(UV_EOF, "");
	assert_int_equal(got.messages, 0);
}

static void less_than_a_header_ends_it(void **state)
{
	(void)state;
	open_clear("sw");
	expect_end(-EPROTO, "no DNS message");
	assert_int_equal(got.messages, 0);
}

static void rest_ends_it_unless_there_is_work(void **state)
{
	(void)state;
	open_clear("ew");
	run_until(&got.opens, 1);
	connection_rest(&connection, 0);
	connection_work(&connection);
	write_frame(1);
	run_until(&got.messages, 1);
	assert_int_equal(got.ends, 0);
	connection_rest(&connection, 0);
	expect_end(0, "");
}

static void ceiling_of_what_waits_to_leave(void **state)
{
	static uint8_t frame[2 + 65535] = { 0xff, 0xff };
	unsigned taken = 0;

	(void)state;
	open_clear("w");
	run_until(&got.opens, 1);
	while (taken < 100 && connection_write(&connection, frame, sizeof(frame)) == 0)
		taken++;
	assert_in_range(taken, 1, 4);
	connection_close(&connection);
}

static void closing_in_the_callback_leaves_nothing(void **state)
{
	(void)state;
	open_clear("2w");
	got.closes_itself = true;
	run_until(&got.opens, 1);
	write_frame(1);
	write_frame(2);
	run_until(&got.closes, 1);
	assert_int_equal(got.messages, 1);
	assert_int_equal(got.ends, 0);
}

static void closing_before_it_is_open_leaves_nothing(void **state)
{
	(void)state;
	open_clear("w");
	connection_close(&connection);
	run_until(&got.closes, 1);
	assert_int_equal(got.opens + got.ends, 0);
}

/* ---- over TLS ---- */

static void messages_go_both_ways_over_tls(void **state)
{
	(void)state;
	open_tls(&trusted, "dns.example", "eeew");
	write_and_expect_three();
}

static void certificate_may_name_the_address(void **state)
{
	(void)state;
	open_tls(&trusted, "", "bbbw");
	write_and_expect_three();
}

static void another_name_is_refused(void **state)
{
	(void)state;
	open_tls(&trusted, "other.example", "ew");
	expect_end(-EPROTO, "hostname mismatch");
	assert_int_equal(got.opens, 0);
}

static void unknown_issuer_is_refused(void **state)
{
	(void)state;
	open_tls(&stranger, "dns.example", "ew");
	expect_end(-EPROTO, "its certificate is refused");
	assert_int_equal(got.opens, 0);
}

static void clear_text_is_no_tls(void **state)
{
	(void)state;
	open_tls(&trusted, "dns.example", "t");
	expect_end(-EPROTO, "speaks no TLS");
	assert_int_equal(got.opens, 0);
}

static void closing_in_the_handshake_leaves_nothing(void **state)
{
	(void)state;
	open_tls(&trusted, "dns.example", "m");
	while (connection.state != CONNECTION_SHAKING_HANDS)
		uv_run(&loop, UV_RUN_ONCE);
	connection_close(&connection);
	run_until(&got.closes, 1);
	assert_int_equal(got.opens + got.ends, 0);
}

static void server_that_ends_the_session_ends_it(void **state)
{
	(void)state;
	open_tls(&trusted, "dns.example", "e");
	run_until(&got.opens, 1);
	write_frame(1);
	expect_end(UV_EOF, "");
	assert_int_equal(got.messages, 1);
}

static void second_session_is_resumed(void **state)
{
	(void)state;
	stream_server_open(&server, &trusted, (const char *const[]){ "eeew", "eeew", NULL });
	connect_tls("dns.example");
	write_and_expect_three();
	run_until(&got.closes, 1);
	memset(&got, 0, sizeof(got));
	connect_tls("dns.example");
	write_and_expect_three();
	run_until(&got.closes, 1);
	assert_false(server.connection[0].was_resumed);
	assert_true(server.connection[1].was_resumed);
}

#define loop_test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		loop_test(messages_go_both_ways),
		loop_test(message_in_single_bytes_is_put_together),
		loop_test(longest_message_comes_whole),
		loop_test(refused_connection_says_so),
		loop_test(half_a_message_is_none),
		loop_test(less_than_a_header_ends_it),
		loop_test(rest_ends_it_unless_there_is_work),
		loop_test(ceiling_of_what_waits_to_leave),
		loop_test(closing_in_the_callback_leaves_nothing),
		loop_test(closing_before_it_is_open_leaves_nothing),
		loop_test(messages_go_both_ways_over_tls),
		loop_test(certificate_may_name_the_address),
		loop_test(another_name_is_refused),
		loop_test(unknown_issuer_is_refused),
		loop_test(clear_text_is_no_tls),
		loop_test(closing_in_the_handshake_leaves_nothing),
		loop_test(server_that_ends_the_session_ends_it),
		loop_test(second_session_is_resumed),
	};
	int failed;

	signal(SIGPIPE, SIG_IGN);
	identity_make(&trusted, "DNS:dns.example,IP:127.0.0.1");
	identity_make(&stranger, "DNS:dns.example,IP:127.0.0.1");
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	identity_free(&trusted);
	identity_free(&stranger);
	return failed;
}
