#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "admin/admin.h"
#include "admin/admin_pages.h"
#include "admin/admin_request.h"
#include "base/buf.h"

/* Parses a copy of exactly that size, so that the sanitizer sees any byte read behind it. */
static enum admin_request_verdict judge_bytes(const char *data, size_t length)
{
	char *copy = malloc(length ? length : 1);
	struct admin_request request;
	enum admin_request_verdict verdict;

	assert_non_null(copy);
	memcpy(copy, data, length);
	verdict = admin_request_parse(copy, length, &request);
	free(copy);
	return verdict;
}

static enum admin_request_verdict judge(const char *text)
{
	return judge_bytes(text, strlen(text));
}

static void assert_text(struct admin_text text, const char *expected)
{
	assert_int_equal(text.length, strlen(expected));
	assert_memory_equal(text.data, expected, text.length);
}

static void request_line_is_taken_apart(void **state)
{
	static const char text[] = "GET /metrics?name=a&b HTTP/1.1\r\nHost: 127.0.0.1:9153\r\n"
				   "Accept: */*\r\n\r\n";
	struct admin_request request;

	(void)state;
	assert_int_equal(admin_request_parse(text, strlen(text), &request), ADMIN_REQUEST_OK);
	assert_text(request.method, "GET");
	assert_text(request.path, "/metrics");
	assert_text(request.query, "name=a&b");
	assert_text(request.host, "127.0.0.1:9153");
	assert_int_equal(request.minor_version, 1);
}

static void path_without_a_question_mark_has_no_query(void **state)
{
	static const char text[] = "GET / HTTP/1.0\r\n\r\n";
	struct admin_request request;

	(void)state;
	assert_int_equal(admin_request_parse(text, strlen(text), &request), ADMIN_REQUEST_OK);
	assert_text(request.path, "/");
	assert_text(request.query, "");
	assert_text(request.host, "");
	assert_int_equal(request.minor_version, 0);
}

static void absolute_target_gives_the_host(void **state)
{
	static const char text[] = "GET http://evil.example HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
	struct admin_request request;

	(void)state;
	assert_int_equal(admin_request_parse(text, strlen(text), &request), ADMIN_REQUEST_OK);
	assert_text(request.host, "evil.example");
	assert_text(request.path, "/");
}

static void every_shorter_piece_of_a_request_is_incomplete(void **state)
{
	static const char text[] = "GET /health HTTP/1.1\r\nHost: localhost\r\nA: b\r\n\r\n";

	(void)state;
	for (size_t length = 0; length < strlen(text); length++)
		assert_int_equal(judge_bytes(text, length), ADMIN_REQUEST_INCOMPLETE);
	assert_int_equal(judge(text), ADMIN_REQUEST_OK);
}

static void bare_line_feeds_end_lines_too(void **state)
{
	(void)state;
	assert_int_equal(judge("GET / HTTP/1.1\nHost: a\n\n"), ADMIN_REQUEST_OK);
}

static void bytes_behind_the_head_do_not_matter(void **state)
{
	(void)state;
	assert_int_equal(judge("GET / HTTP/1.0\r\n\r\n\x01\x02"), ADMIN_REQUEST_OK);
}

static void malformed_heads_are_bad(void **state)
{
	static const char with_nul[] = "GET / HTTP/1.0\r\nA: \0b\r\n\r\n";
	static const char *const heads[] = {
		"GET  / HTTP/1.0\r\n\r\n",			/* two spaces */
		"GET / HTTP/1.0 \r\n\r\n",			/* space at the end */
		"GET / HTTP/2.0\r\n\r\n",			/* not ours */
		"GET / http/1.0\r\n\r\n",			/* case counts (RFC 9112 §2.3) */
		"GET /\r\n\r\n",				/* HTTP/0.9 */
		"GET\r\n\r\n",					/* no target */
		"GET metrics HTTP/1.0\r\n\r\n",			/* no form of target */
		"GET /#a HTTP/1.0\r\n\r\n",			/* fragment */
		"GET /\x80 HTTP/1.0\r\n\r\n",			/* not ASCII */
		"GET http:///metrics HTTP/1.0\r\n\r\n",		/* no authority */
		"G@T / HTTP/1.0\r\n\r\n",			/* no token */
		"GET / HTTP/1.1\r\n\r\n",			/* no Host */
		"GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n", /* two */
		"GET / HTTP/1.0\r\nHost : a\r\n\r\n",		/* space before the colon */
		"GET / HTTP/1.0\r\nA: b\r\n c\r\n\r\n",		/* folded */
		"GET / HTTP/1.0\r\nno colon\r\n\r\n",		/* no header */
		"GET / HTTP/1.0\r\n: b\r\n\r\n",		/* no name */
		"GET / HTTP/1.0\r\nA: b\rc\r\n\r\n",		/* CR alone */
		"GET / HTTP/1.0\r\nA: \x7f\r\n\r\n",		/* control character */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++)
		if (judge(heads[i]) != ADMIN_REQUEST_BAD)
			fail_msg("not bad: %s", heads[i]);
	assert_int_equal(judge_bytes(with_nul, sizeof(with_nul) - 1), ADMIN_REQUEST_BAD);
}

static void tls_and_blank_lines_are_bad_at_the_first_byte(void **state)
{
	(void)state;
	assert_int_equal(judge_bytes("\x16", 1), ADMIN_REQUEST_BAD);
	assert_int_equal(judge("\r"), ADMIN_REQUEST_BAD);
}

static void head_without_an_end_is_too_large_at_the_ceiling(void **state)
{
	char head[ADMIN_REQUEST_HEAD_MAX + 4];

	(void)state;
	memset(head, 'a', sizeof(head));
	assert_int_equal(judge_bytes(head, ADMIN_REQUEST_HEAD_MAX - 1), ADMIN_REQUEST_INCOMPLETE);
	assert_int_equal(judge_bytes(head, ADMIN_REQUEST_HEAD_MAX), ADMIN_REQUEST_TOO_LARGE);
	memcpy(head + ADMIN_REQUEST_HEAD_MAX, "\r\n\r\n", 4);
	assert_int_equal(judge_bytes(head, sizeof(head)), ADMIN_REQUEST_TOO_LARGE);
}

static bool is_allowed(const char *host, const char *configured)
{
	return admin_request_is_host_allowed((struct admin_text){ host, strlen(host) }, configured);
}

static void addresses_and_localhost_are_allowed_hosts(void **state)
{
	static const char *const hosts[] = { "",	  "127.0.0.1", "127.0.0.1:9153",
					     "[::1]",	  "[::1]:80",  "[::ffff:127.0.0.1]:80",
					     "192.0.2.7", "localhost", "LocalHost:9153",
					     "127.0.0.1:" };

	(void)state;
	for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++)
		if (!is_allowed(hosts[i], NULL))
			fail_msg("refused: %s", hosts[i]);
}

static void names_are_no_allowed_hosts(void **state)
{
	static const char *const hosts[] = { "evil.example",
					     "evil.example:9153",
					     "localhost.evil.example",
					     "127.0.0.1.example",
					     "127.0.0.1:80:80",
					     "127.0.0.1:x",
					     "[::1",
					     "[::1%lo]",
					     "[fe80::1%1]",
					     "[fe80::1%25lo]:80",
					     ":80",
					     "[]",
					     "localhosts" };

	(void)state;
	for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++)
		if (is_allowed(hosts[i], "127.0.0.1:9153"))
			fail_msg("allowed: %s", hosts[i]);
	assert_false(
		admin_request_is_host_allowed((struct admin_text){ "127.0.0.1\0x", 11 }, NULL));
}

static void configured_name_is_an_allowed_host(void **state)
{
	(void)state;
	assert_true(is_allowed("node.example:9153", "node.example:9153"));
	assert_true(is_allowed("Node.Example", "node.example:9153"));
	assert_false(is_allowed("other.example", "node.example:9153"));
	assert_false(is_allowed("unix", "unix:///run/admin.sock"));
}

/* --- pages --- */

struct daemon_state {
	bool is_ready;
	bool is_far; /* asked from another host */
	ssize_t flush_result;
	uint8_t flushed[DNS_NAME_MAX];
	size_t flushed_length;
	const char *lines;
};

static bool say_ready(void *arg, struct buf *out)
{
	struct daemon_state *daemon = arg;

	buf_puts(out, daemon->lines);
	return daemon->is_ready;
}

static void say_metrics(void *arg, struct buf *out)
{
	(void)arg;
	buf_puts(out, "nomad_dns_up 1\n");
}

static ssize_t take_flush(void *arg, const uint8_t *name, size_t length)
{
	struct daemon_state *daemon = arg;

	memcpy(daemon->flushed, name, length);
	daemon->flushed_length = length;
	return daemon->flush_result;
}

static void say_too_much(void *arg, struct buf *out)
{
	(void)arg;
	out->failed = true;
}

/* The reply to a request, as text; the caller frees. */
static char *ask(const char *request_text, struct daemon_state *daemon)
{
	struct admin_doors doors = {
		.is_ready = say_ready, .metrics = say_metrics, .flush = take_flush, .arg = daemon
	};
	struct admin_request request;
	enum admin_request_verdict verdict =
		admin_request_parse(request_text, strlen(request_text), &request);
	struct buf out;

	buf_init(&out, 0);
	admin_pages_answer(&doors, verdict, &request, "127.0.0.1:9153", !daemon->is_far, 784111777,
			   &out);
	assert_false(out.failed);
	return out.data;
}

static void assert_reply(const char *request, struct daemon_state *daemon, const char *status,
			 const char *body)
{
	char *reply = ask(request, daemon), *end = strstr(reply, "\r\n\r\n");

	assert_non_null(end);
	assert_memory_equal(reply, status, strlen(status));
	if (body)
		assert_string_equal(end + 4, body);
	free(reply);
}

static void assert_reply_has(const char *request, const char *text)
{
	struct daemon_state daemon = { .is_ready = true, .lines = "" };
	char *reply = ask(request, &daemon);

	if (!strstr(reply, text))
		fail_msg("%s is not in: %s", text, reply);
	free(reply);
}

static void health_is_ok_even_when_not_ready(void **state)
{
	struct daemon_state daemon = { .is_ready = false, .lines = "Nomad is lost\n" };

	(void)state;
	assert_reply("GET /health HTTP/1.0\r\n\r\n", &daemon, "HTTP/1.1 200 OK\r\n", "OK\n");
}

static void ready_lists_the_reasons_against_it(void **state)
{
	struct daemon_state daemon = { .is_ready = false, .lines = "no socket\nno list yet\n" };

	(void)state;
	assert_reply("GET /ready HTTP/1.0\r\n\r\n", &daemon, "HTTP/1.1 503 Service Unavailable\r\n",
		     "no socket\nno list yet\n");
	daemon.lines = "";
	assert_reply("GET /ready HTTP/1.0\r\n\r\n", &daemon, "HTTP/1.1 503 Service Unavailable\r\n",
		     "not ready\n");
}

static void ready_is_ok_with_remarks(void **state)
{
	struct daemon_state daemon = { .is_ready = true, .lines = "mirror: lookup\n" };

	(void)state;
	assert_reply("GET /ready?x HTTP/1.0\r\n\r\n", &daemon, "HTTP/1.1 200 OK\r\n",
		     "OK\nmirror: lookup\n");
}

static void metrics_have_the_type_that_prometheus_expects(void **state)
{
	(void)state;
	assert_reply_has("GET /metrics HTTP/1.0\r\n\r\n",
			 "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n");
	assert_reply_has("GET /metrics HTTP/1.0\r\n\r\n", "\r\n\r\nnomad_dns_up 1\n");
	assert_reply_has("GET /metrics HTTP/1.0\r\n\r\n", "\r\nContent-Length: 15\r\n");
}

static void every_reply_is_dated_and_the_last_of_its_connection(void **state)
{
	(void)state;
	assert_reply_has("GET / HTTP/1.0\r\n\r\n", "\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
	assert_reply_has("GET / HTTP/1.0\r\n\r\n", "\r\nConnection: close\r\n");
	assert_reply_has("GET / HTTP/1.0\r\n\r\n", "\r\nCache-Control: no-store\r\n");
}

static void index_lists_the_routes(void **state)
{
	(void)state;
	assert_reply_has("GET / HTTP/1.0\r\n\r\n", "\n/health ");
	assert_reply_has("GET / HTTP/1.0\r\n\r\n", "\n/ready ");
	assert_reply_has("GET / HTTP/1.0\r\n\r\n", "\n/metrics ");
}

static void refusals_have_their_status(void **state)
{
	char large[ADMIN_REQUEST_HEAD_MAX + 1];

	(void)state;
	assert_reply_has("GET /nothing HTTP/1.0\r\n\r\n", "HTTP/1.1 404 Not Found\r\n");
	assert_reply_has("GET /metrics/ HTTP/1.0\r\n\r\n", "HTTP/1.1 404 Not Found\r\n");
	assert_reply_has("POST /metrics HTTP/1.0\r\n\r\n", "HTTP/1.1 405 Method Not Allowed\r\n");
	assert_reply_has("get /metrics HTTP/1.0\r\n\r\n", "HTTP/1.1 405 Method Not Allowed\r\n");
	assert_reply_has("POST /metrics HTTP/1.0\r\n\r\n", "\r\nAllow: GET\r\n");
	assert_reply_has("GET\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n");
	assert_reply_has("GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n",
			 "HTTP/1.1 400 Bad Request\r\n");
	memset(large, 'a', sizeof(large) - 1);
	large[sizeof(large) - 1] = '\0';
	assert_reply_has(large, "HTTP/1.1 431 Request Header Fields Too Large\r\n");
}

static void refusal_of_head_has_no_body(void **state)
{
	struct daemon_state daemon = { .is_ready = true, .lines = "" };

	(void)state;
	assert_reply("HEAD /health HTTP/1.0\r\n\r\n", &daemon, "HTTP/1.1 405 ", "");
	assert_reply_has("HEAD /health HTTP/1.0\r\n\r\n", "\r\nContent-Length: 9\r\n");
}

static void flush_says_how_many_entries_went(void **state)
{
	struct daemon_state daemon = { .flush_result = 3 };

	(void)state;
	assert_reply(
		"POST /v1/flush?x=1&name=WWW.Example%2ecom. HTTP/1.1\r\nHost: localhost\r\n\r\n",
		&daemon, "HTTP/1.1 200 OK\r\n",
		"3 entries forgotten of www.example.com and below\n");
	assert_int_equal(daemon.flushed_length, 17);
	assert_memory_equal(daemon.flushed, "\3www\7example\3com", 17);
	daemon.flush_result = 1;
	assert_reply("POST /v1/flush?name=. HTTP/1.0\r\n\r\n", &daemon, "HTTP/1.1 200 OK\r\n",
		     "1 entry forgotten of . and below\n");
	assert_int_equal(daemon.flushed_length, 1);
}

static void flush_without_a_name_is_bad(void **state)
{
	static const char *const queries[] = {
		"",	     "?",	    "?name=",	  "?nam=x",   "?name=%",      "?name=%4",
		"?name=%zz", "?name=a%00b", "?name=a..b", "?xname=a", "?name=%2e%2e", "?other&name"
	};

	(void)state;
	for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]); i++) {
		struct daemon_state daemon = { 0 };
		char request[128];

		snprintf(request, sizeof(request), "POST /v1/flush%s HTTP/1.0\r\n\r\n", queries[i]);
		assert_reply(request, &daemon, "HTTP/1.1 400 Bad Request\r\n",
			     "?name=NAME is missing, or is no domain name\n");
		assert_int_equal(daemon.flushed_length, 0);
	}
}

static void flush_is_for_this_host_and_for_no_web_page(void **state)
{
	struct daemon_state daemon = { .is_far = true };

	(void)state;
	assert_reply("POST /v1/flush?name=x HTTP/1.0\r\n\r\n", &daemon,
		     "HTTP/1.1 403 Forbidden\r\n", NULL);
	daemon.is_far = false;
	assert_reply("POST /v1/flush?name=x HTTP/1.0\r\nOrigin: null\r\n\r\n", &daemon,
		     "HTTP/1.1 403 Forbidden\r\n", NULL);
	assert_reply("POST /v1/flush?name=x HTTP/1.1\r\nHost: evil.example\r\n\r\n", &daemon,
		     "HTTP/1.1 400 Bad Request\r\n", NULL);
	assert_reply("GET /v1/flush?name=x HTTP/1.0\r\n\r\n", &daemon,
		     "HTTP/1.1 405 Method Not Allowed\r\n", "POST only\n");
	assert_int_equal(daemon.flushed_length, 0);
	assert_reply_has("GET /v1/flush HTTP/1.0\r\n\r\n", "\r\nAllow: POST\r\n");
}

static void flush_that_fails_is_unavailable(void **state)
{
	struct daemon_state daemon = { .flush_result = -110 };

	(void)state;
	assert_reply("POST /v1/flush?name=x HTTP/1.0\r\n\r\n", &daemon,
		     "HTTP/1.1 503 Service Unavailable\r\n", NULL);
}

static void page_that_did_not_fit_fails_as_a_whole(void **state)
{
	static const char text[] = "GET /metrics HTTP/1.0\r\n\r\n";
	struct admin_doors doors = { .is_ready = say_ready, .metrics = say_too_much };
	struct admin_request request;
	struct buf out;

	(void)state;
	buf_init(&out, 0);
	assert_int_equal(admin_request_parse(text, strlen(text), &request), ADMIN_REQUEST_OK);
	admin_pages_answer(&doors, ADMIN_REQUEST_OK, &request, NULL, true, 0, &out);
	assert_true(out.failed);
	buf_deinit(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(request_line_is_taken_apart),
		cmocka_unit_test(path_without_a_question_mark_has_no_query),
		cmocka_unit_test(absolute_target_gives_the_host),
		cmocka_unit_test(every_shorter_piece_of_a_request_is_incomplete),
		cmocka_unit_test(bare_line_feeds_end_lines_too),
		cmocka_unit_test(bytes_behind_the_head_do_not_matter),
		cmocka_unit_test(malformed_heads_are_bad),
		cmocka_unit_test(tls_and_blank_lines_are_bad_at_the_first_byte),
		cmocka_unit_test(head_without_an_end_is_too_large_at_the_ceiling),
		cmocka_unit_test(addresses_and_localhost_are_allowed_hosts),
		cmocka_unit_test(names_are_no_allowed_hosts),
		cmocka_unit_test(configured_name_is_an_allowed_host),
		cmocka_unit_test(health_is_ok_even_when_not_ready),
		cmocka_unit_test(ready_lists_the_reasons_against_it),
		cmocka_unit_test(ready_is_ok_with_remarks),
		cmocka_unit_test(metrics_have_the_type_that_prometheus_expects),
		cmocka_unit_test(every_reply_is_dated_and_the_last_of_its_connection),
		cmocka_unit_test(index_lists_the_routes),
		cmocka_unit_test(refusals_have_their_status),
		cmocka_unit_test(refusal_of_head_has_no_body),
		cmocka_unit_test(flush_says_how_many_entries_went),
		cmocka_unit_test(flush_without_a_name_is_bad),
		cmocka_unit_test(flush_is_for_this_host_and_for_no_web_page),
		cmocka_unit_test(flush_that_fails_is_unavailable),
		cmocka_unit_test(page_that_did_not_fit_fails_as_a_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
