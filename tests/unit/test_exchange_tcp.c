/* Questions over kept connections, on a real loop, against scripted servers that echo them. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <uv.h>

#include "base/metrics.h"
#include "config/config.h"
#include "dns/dns.h"
#include "dns/name.h"
#include "forward/exchange_tcp.h"
#include "forward/upstream.h"
#include "unit/stream_server.h"

#define QUESTIONS_MAX 300

static uv_loop_t loop;
static struct metrics metrics;
static struct stream_server server;
static struct stream_identity trusted;
static struct exchange_tcp_pool *pool;

static struct asked {
	struct exchange_tcp tcp;
	unsigned messages, errors;
	uint16_t id; /* of the reply */
	size_t length;
	uint8_t reply[512];
	int error;
} asked[QUESTIONS_MAX];

static unsigned message_count, error_count, pool_closes;

static void on_message(struct exchange_tcp *tcp, const uint8_t *message, size_t length)
{
	struct asked *a = (struct asked *)tcp;

	message_count++;
	a->messages++;
	a->id = load_be16(message);
	a->length = length;
	memcpy(a->reply, message, min_size(length, sizeof(a->reply)));
}

static void on_error(struct exchange_tcp *tcp, int error)
{
	struct asked *a = (struct asked *)tcp;

	error_count++;
	a->errors++;
	a->error = error;
}

static const struct exchange_tcp_doors doors = { on_message, on_error };

static void on_pool_closed(void *arg)
{
	(void)arg;
	pool_closes++;
}

static int set_up(void **state)
{
	(void)state;
	memset(asked, 0, sizeof(asked));
	memset(&metrics, 0, sizeof(metrics));
	message_count = error_count = pool_closes = 0;
	setenv("SSL_CERT_FILE", trusted.path, 1);
	setenv("SSL_CERT_DIR", "/nonexistent", 1);
	return uv_loop_init(&loop);
}

/* Every test ends here: nothing may be left in the loop. */
static int tear_down(void **state)
{
	(void)state;
	for (unsigned i = 0; i < QUESTIONS_MAX; i++)
		exchange_tcp_close(&asked[i].tcp);
	exchange_tcp_pool_close(pool, on_pool_closed, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	stream_server_close(&server);
	return pool_closes == 1 && uv_loop_close(&loop) == 0 ? 0 : -1;
}

static void open_pool(const struct stream_identity *identity, const char *name,
		      const char *const *scripts)
{
	struct config_forward forward = { .kind = CONFIG_FORWARD_ADDRESS, .is_tls = identity };
	struct config config = { .forward = &forward, .forward_count = 1 };
	struct upstream_list *list;

	stream_server_open(&server, identity, scripts);
	forward.address = server.addr;
	strncpy(forward.tls_name, name, sizeof(forward.tls_name) - 1);
	list = upstream_list_new(&config, NULL, 0);
	upstream_list_load_cas(list);
	pool = exchange_tcp_pool_open(&loop, &metrics, list);
	upstream_list_drop(list);
	assert_non_null(pool);
}

#define open_clear(...) open_pool(NULL, "", (const char *const[]){ __VA_ARGS__, NULL })

static size_t write_query(unsigned i, uint8_t query[REPLY_QUERY_MAX])
{
	uint8_t name[DNS_NAME_MAX];
	char text[32];
	size_t length;

	snprintf(text, sizeof(text), "n%u.example", i);
	length = (size_t)name_parse(text, name);
	return reply_encode_query((uint16_t)(i + 1000), 0, name, length, DNS_TYPE_A, DNS_CLASS_IN,
				  true, false, query);
}

static int try_to_ask(unsigned i)
{
	uint8_t query[REPLY_QUERY_MAX];
	size_t length = write_query(i, query);

	return exchange_tcp_open(&asked[i].tcp, pool, &doors, 0, query, length);
}

static void ask(unsigned first, unsigned count)
{
	for (unsigned i = first; i < first + count; i++)
		assert_int_equal(try_to_ask(i), 0);
}

static void run_until(const unsigned *what, unsigned count)
{
	while (*what < count && uv_run(&loop, UV_RUN_ONCE))
		;
	assert_int_equal(*what, count);
}

static void expect_own_reply(unsigned i)
{
	uint8_t query[REPLY_QUERY_MAX];
	size_t length = write_query(i, query);

	assert_int_equal(asked[i].messages, 1);
	assert_int_equal(asked[i].errors, 0);
	assert_int_equal(asked[i].id, i + 1000);
	assert_int_equal(asked[i].length, length);
	assert_memory_equal(asked[i].reply, query, length);
}

/* ---- the plain case ---- */

static void questions_share_a_connection(void **state)
{
	(void)state;
	open_clear("eeeeew");
	ask(0, 3);
	run_until(&message_count, 3);
	ask(3, 2);
	run_until(&message_count, 5);
	for (unsigned i = 0; i < 5; i++)
		expect_own_reply(i);
	assert_int_equal(server.accepted, 1);
}

static void replies_in_another_order_find_their_questions(void **state)
{
	(void)state;
	open_clear("22w");
	ask(0, 4);
	run_until(&message_count, 4);
	for (unsigned i = 0; i < 4; i++)
		expect_own_reply(i);
}

static void more_than_one_connection_holds_go_over_two(void **state)
{
	static char script[EXCHANGE_TCP_IN_FLIGHT + 2]; /* the server reads on until the end */

	(void)state;
	/* The first is full and silent: the second takes the others. */
	memset(script, 'r', sizeof(script));
	script[sizeof(script) - 2] = 'w';
	script[sizeof(script) - 1] = '\0';
	open_clear(script, "eeeeew");
	ask(0, EXCHANGE_TCP_IN_FLIGHT + 5);
	run_until(&message_count, 5);
	for (unsigned i = 0; i < 5; i++)
		expect_own_reply(EXCHANGE_TCP_IN_FLIGHT + i);
	assert_int_equal(server.accepted, 2);
}

/* ---- connections that end ---- */

static void open_questions_of_one_that_ended_go_over_the_next(void **state)
{
	(void)state;
	open_clear("er", "ew", "ew");
	ask(0, 3);
	run_until(&message_count, 3);
	for (unsigned i = 0; i < 3; i++)
		expect_own_reply(i);
	assert_int_equal(error_count, 0);
}

static void connection_that_ended_without_a_reply_says_nothing_of_the_next(void **state)
{
	(void)state;
	open_clear("r", "eeew");
	ask(0, 3);
	run_until(&message_count, 3);
	assert_int_equal(server.accepted, 2);
}

static void one_question_a_connection_answers_all(void **state)
{
	(void)state;
	open_clear("e", "e", "e", "e", "e");
	ask(0, 4);
	run_until(&message_count, 4);
	assert_int_equal(error_count, 0);
}

static void question_alone_that_ends_a_connection_is_not_sent_again(void **state)
{
	(void)state;
	open_clear("h", "ew");
	ask(0, 1);
	run_until(&error_count, 1);
	assert_int_equal(asked[0].error, UV_EOF);
	assert_int_equal(message_count, 0);
	assert_int_equal(server.connection[1].frames, 0);
}

static void question_is_sent_twice_at_most(void **state)
{
	(void)state;
	open_clear("rr", "rr", "rr");
	ask(0, 2);
	run_until(&error_count, 2);
	assert_true(server.connection[0].frames + server.connection[1].frames +
			    server.connection[2].frames <=
		    4);
}

static void last_send_is_the_last(void **state)
{
	(void)state;
	open_clear("rr", "ew");
	ask(0, 2);
	asked[1].tcp.is_last_send = true;
	run_until(&error_count, 1);
	assert_int_equal(asked[1].errors, 1);
	run_until(&message_count, 1);
	expect_own_reply(0);
}

static void refused_connection_fails_all_that_wait(void **state)
{
	(void)state;
	open_clear(NULL);
	shutdown(server.fd, SHUT_RDWR);
	ask(0, 3);
	run_until(&error_count, 3);
	assert_int_equal(asked[0].error, -ECONNREFUSED);
	assert_int_equal(try_to_ask(3), 0); /* in clear the next one tries again */
	run_until(&error_count, 4);
}

/* ---- bad replies and lost patience ---- */

static void reply_with_another_question_is_none(void **state)
{
	(void)state;
	open_clear("xw", "ew");
	ask(0, 1);
	run_until(&error_count, 1);
	assert_int_equal(asked[0].error, -EPROTO);
	assert_int_equal(metrics.value[METRIC_UPSTREAM_REPLIES_BAD], 1);
	ask(1, 1);
	run_until(&message_count, 1);
	expect_own_reply(1);
}

static void late_reply_to_who_gave_up_goes_to_nobody(void **state)
{
	(void)state;
	open_clear("22w");
	ask(0, 1);
	while (server.connection[0].frames < 1)
		uv_run(&loop, UV_RUN_NOWAIT);
	exchange_tcp_close(&asked[0].tcp);
	ask(1, 3);
	run_until(&message_count, 3);
	assert_int_equal(asked[0].messages + asked[0].errors, 0);
	for (unsigned i = 1; i < 4; i++)
		expect_own_reply(i);
	assert_int_equal(server.accepted, 1);
}

static void who_gives_up_while_waiting_is_not_sent(void **state)
{
	(void)state;
	open_clear("ew");
	ask(0, 2);
	exchange_tcp_close(&asked[0].tcp);
	exchange_tcp_close(&asked[0].tcp);
	run_until(&message_count, 1);
	expect_own_reply(1);
	assert_int_equal(server.connection[0].frames, 1);
}

/* ---- over TLS ---- */

static void queries_over_tls_are_padded(void **state)
{
	(void)state;
	open_pool(&trusted, "dns.example", (const char *const[]){ "eew", NULL });
	ask(0, 2);
	run_until(&message_count, 2);
	assert_int_equal(asked[1].id, 1001);
	assert_int_equal(asked[1].length, EXCHANGE_TCP_BLOCK);
	assert_int_equal(load_be16(asked[1].reply + 10), 1);
}

static void refused_certificate_is_not_tried_again_at_once(void **state)
{
	(void)state;
	open_pool(&trusted, "other.example", (const char *const[]){ "ew", "ew", NULL });
	ask(0, 2);
	run_until(&error_count, 2);
	assert_int_equal(asked[0].error, -EPROTO);
	assert_int_equal(try_to_ask(2), -EPROTO);
	assert_int_equal(server.connection[0].frames, 0);
}

#define loop_test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		loop_test(questions_share_a_connection),
		loop_test(replies_in_another_order_find_their_questions),
		loop_test(more_than_one_connection_holds_go_over_two),
		loop_test(open_questions_of_one_that_ended_go_over_the_next),
		loop_test(connection_that_ended_without_a_reply_says_nothing_of_the_next),
		loop_test(one_question_a_connection_answers_all),
		loop_test(question_alone_that_ends_a_connection_is_not_sent_again),
		loop_test(question_is_sent_twice_at_most),
		loop_test(last_send_is_the_last),
		loop_test(refused_connection_fails_all_that_wait),
		loop_test(reply_with_another_question_is_none),
		loop_test(late_reply_to_who_gave_up_goes_to_nobody),
		loop_test(who_gives_up_while_waiting_is_not_sent),
		loop_test(queries_over_tls_are_padded),
		loop_test(refused_certificate_is_not_tried_again_at_once),
	};
	int failed;

	signal(SIGPIPE, SIG_IGN);
	identity_make(&trusted, "DNS:dns.example");
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	identity_free(&trusted);
	return failed;
}
