/* The door against a server on loopback that says, byte for byte, what the test wants. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "config/config.h"
#include "nomad/http.h"
#include "nomad/http_address.h"
#include "nomad/http_head.h"
#include "nomad/http_lines.h"
#include "nomad/http_secret.h"

#define PATIENCE_MS 60000 /* for what is going to be answered; never reached */

/* ---- the server ---- */

struct server {
	union {
		uv_stream_t stream;
		uv_tcp_t tcp;
		uv_pipe_t pipe;
	} listener;
	bool is_pipe;
	const char *reply; /* NULL: never answers */
	size_t reply_length;
	bool hangs_up; /* after the reply */
	char request[4096];
	unsigned connections, requests, ended; /* ended by the client */
};

struct client {
	union {
		uv_stream_t stream;
		uv_tcp_t tcp;
		uv_pipe_t pipe;
	} stream;
	struct server *server;
	char in[4096];
	size_t length;
};

static uv_loop_t loop;
static struct server server;
static struct config config;
static char address[128], directory[64];
static char *addresses[] = { address };
static struct http *http;

static void on_client_gone(uv_handle_t *handle)
{
	free(handle->data);
}

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *out)
{
	struct client *client = handle->data;

	(void)size;
	*out = uv_buf_init(client->in + client->length,
			   (unsigned)(sizeof(client->in) - 1 - client->length));
}

static void on_written(uv_write_t *write, int status)
{
	struct client *client = write->data;

	(void)status;
	free(write);
	if (client->server->hangs_up && !uv_is_closing((uv_handle_t *)&client->stream))
		uv_close((uv_handle_t *)&client->stream, on_client_gone);
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buf)
{
	struct client *client = stream->data;
	uv_buf_t out;
	uv_write_t *write;

	(void)buf;
	if (got < 0) {
		client->server->ended++;
		if (!uv_is_closing((uv_handle_t *)stream))
			uv_close((uv_handle_t *)stream, on_client_gone);
		return;
	}
	client->length += (size_t)got;
	client->in[client->length] = '\0';
	if (!strstr(client->in, "\r\n\r\n"))
		return;
	memcpy(client->server->request, client->in, sizeof(client->in));
	client->server->requests++;
	client->length = 0;
	if (!client->server->reply)
		return;
	write = malloc(sizeof(*write));
	write->data = client;
	out = uv_buf_init((char *)(uintptr_t)client->server->reply,
			  (unsigned)client->server->reply_length);
	uv_write(write, stream, &out, 1, on_written);
}

static void on_connection(uv_stream_t *listener, int status)
{
	struct server *from = listener->data;
	struct client *client = calloc(1, sizeof(*client));

	assert_int_equal(status, 0);
	from->connections++;
	client->server = from;
	if (from->is_pipe)
		uv_pipe_init(&loop, &client->stream.pipe, 0);
	else
		uv_tcp_init(&loop, &client->stream.tcp);
	client->stream.stream.data = client;
	uv_accept(listener, &client->stream.stream);
	uv_read_start(&client->stream.stream, on_alloc, on_read);
}

static void say(const char *reply)
{
	server.reply = reply;
	server.reply_length = strlen(reply);
}

static void listen_tcp(void)
{
	struct sockaddr_in in;
	int length = sizeof(in);

	uv_tcp_init(&loop, &server.listener.tcp);
	uv_ip4_addr("127.0.0.1", 0, &in);
	assert_int_equal(uv_tcp_bind(&server.listener.tcp, (struct sockaddr *)&in, 0), 0);
	uv_tcp_getsockname(&server.listener.tcp, (struct sockaddr *)&in, &length);
	snprintf(address, sizeof(address), "http://127.0.0.1:%u", ntohs(in.sin_port));
	server.listener.stream.data = &server;
	assert_int_equal(uv_listen(&server.listener.stream, 16, on_connection), 0);
}

static void listen_pipe(void)
{
	server.is_pipe = true;
	snprintf(address, sizeof(address), "unix://%s/api.sock", directory);
	uv_pipe_init(&loop, &server.listener.pipe, 0);
	assert_int_equal(uv_pipe_bind(&server.listener.pipe, address + strlen("unix://")), 0);
	server.listener.stream.data = &server;
	assert_int_equal(uv_listen(&server.listener.stream, 16, on_connection), 0);
}

/* ---- what came back ---- */

struct got {
	bool done;
	struct http_reply reply;
	char body[256];
};

static void on_done(void *arg, const struct http_reply *reply)
{
	struct got *got = arg;

	assert_false(got->done);
	got->done = true;
	got->reply = *reply;
	snprintf(got->body, sizeof(got->body), "%.*s", (int)(reply->body_length & 255),
		 reply->body);
}

static void wait_for(const struct got *got)
{
	while (!got->done)
		uv_run(&loop, UV_RUN_ONCE);
}

static struct got get(const char *path, uint64_t timeout_ms)
{
	struct got got = { 0 };

	assert_int_not_equal(http_get(http, 0, path, timeout_ms, on_done, &got), 0);
	assert_false(got.done);
	wait_for(&got);
	return got;
}

struct lines { /* what a stream brought */
	struct got end;
	char text[256]; /* each line and a ';' */
	unsigned count, cancel_at;
	uint64_t id;
};

static void on_line(void *arg, const char *line, size_t length)
{
	struct lines *lines = arg;
	size_t at = strlen(lines->text);

	assert_false(lines->end.done);
	snprintf(lines->text + at, sizeof(lines->text) - at, "%.*s;", (int)length, line);
	if (++lines->count == lines->cancel_at)
		http_cancel(http, lines->id);
}

static void on_end(void *arg, const struct http_reply *reply)
{
	on_done(&((struct lines *)arg)->end, reply);
}

static void start_stream(struct lines *lines)
{
	lines->id = http_stream(http, 0, "/v1/event/stream?topic=Service", on_line, on_end, lines);
	assert_int_not_equal(lines->id, 0);
}

static int set_up(void **state)
{
	(void)state;
	memset(&server, 0, sizeof(server));
	memset(&config, 0, sizeof(config));
	config.nomad_address = addresses;
	config.nomad_address_count = 1;
	snprintf(directory, sizeof(directory), "/tmp/test-http-XXXXXX");
	http = NULL;
	return mkdtemp(directory) && uv_loop_init(&loop) == 0 ? 0 : -1;
}

static void open_http(void)
{
	char why[256];

	http = http_open(&loop, &config, why, sizeof(why));
	if (!http)
		fail_msg("%s", why);
}

static void close_handle(uv_handle_t *handle, void *arg)
{
	(void)arg;
	if (!uv_is_closing(handle))
		uv_close(handle, handle->data == &server ? NULL : on_client_gone);
}

static void on_http_closed(void *arg)
{
	*(bool *)arg = true;
}

static int tear_down(void **state)
{
	bool is_closed = http == NULL;
	char command[128];

	(void)state;
	if (http)
		http_close(http, on_http_closed, &is_closed);
	while (!is_closed)
		uv_run(&loop, UV_RUN_ONCE);
	uv_walk(&loop, close_handle, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	snprintf(command, sizeof(command), "rm -rf %s", directory);
	return uv_loop_close(&loop) == 0 && system(command) == 0 ? 0 : -1;
}

static char *write_file(const char *name, const char *text)
{
	static char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
	return path;
}

#define OK_EMPTY "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Nomad-Index: 7\r\n\r\n[]"

/* ---- replies ---- */

static void reply_comes_with_status_index_and_body(void **state)
{
	struct got got;

	(void)state;
	listen_tcp();
	open_http();
	say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Nomad-Index: 9007199254740993\r\n"
	    "X-Nomad-Knownleader: false\r\n\r\n[1,2]");
	got = get("/v1/services?namespace=default", PATIENCE_MS);
	assert_int_equal(got.reply.failure, HTTP_OK);
	assert_int_equal(got.reply.status, 200);
	assert_true(got.reply.has_index);
	assert_true(got.reply.index == 9007199254740993u);
	assert_false(got.reply.knows_leader);
	assert_string_equal(got.body, "[1,2]");
	assert_non_null(strstr(server.request, "GET /v1/services?namespace=default HTTP/1.1\r\n"));
	assert_null(strstr(server.request, "X-Nomad-Token"));
}

static void error_status_is_a_reply(void **state)
{
	struct got got;

	(void)state;
	listen_tcp();
	open_http();
	say("HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3\r\nContent-Length: 4\r\n\r\nslow");
	got = get("/v1/services", PATIENCE_MS);
	assert_int_equal(got.reply.failure, HTTP_OK);
	assert_int_equal(got.reply.status, 429);
	assert_int_equal(got.reply.retry_after_s, 3);
	assert_false(got.reply.has_index);
	assert_true(got.reply.knows_leader);
	assert_string_equal(got.body, "slow");
}

static void redirect_is_not_followed(void **state)
{
	struct got got;

	(void)state;
	listen_tcp();
	open_http();
	say("HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n");
	got = get("/v1/services", PATIENCE_MS);
	assert_int_equal(got.reply.status, 302);
	assert_int_equal(server.requests, 1);
}

static void connection_is_kept_for_the_next_request(void **state)
{
	(void)state;
	listen_tcp();
	open_http();
	say(OK_EMPTY);
	get("/a", PATIENCE_MS);
	get("/b", PATIENCE_MS);
	assert_int_equal(server.requests, 2);
	assert_int_equal(server.connections, 1);
}

static void there_are_never_more_than_eight_connections(void **state)
{
	struct got got[20] = { 0 };

	(void)state;
	listen_tcp();
	open_http();
	say(OK_EMPTY);
	for (int i = 0; i < 20; i++)
		assert_int_not_equal(http_get(http, 0, "/x", PATIENCE_MS, on_done, &got[i]), 0);
	assert_int_equal(http_in_flight(http), 20);
	for (int i = 0; i < 20; i++)
		wait_for(&got[i]);
	assert_int_equal(server.requests, 20);
	assert_in_range(server.connections, 1, 8);
	assert_int_equal(http_in_flight(http), 0);
}

/* ---- failures ---- */

static void refused_connection_is_told(void **state)
{
	struct got got;

	(void)state;
	listen_tcp();
	uv_close((uv_handle_t *)&server.listener.stream, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	open_http();
	got = get("/v1/services", PATIENCE_MS);
	assert_int_equal(got.reply.failure, HTTP_CONNECT);
	assert_true(got.reply.error[0]);
}

static void missing_unix_socket_is_told(void **state)
{
	(void)state;
	snprintf(address, sizeof(address), "unix://%s/none.sock", directory);
	open_http();
	assert_int_equal(get("/v1/services", PATIENCE_MS).reply.failure, HTTP_CONNECT);
}

static void silence_ends_at_the_time_limit(void **state)
{
	(void)state;
	listen_tcp();
	open_http();
	assert_int_equal(get("/v1/services", 30).reply.failure, HTTP_TIMEOUT);
	assert_int_equal(server.requests, 1);
}

static void cut_body_is_a_failure(void **state)
{
	(void)state;
	listen_tcp();
	open_http();
	server.hangs_up = true;
	say("HTTP/1.1 200 OK\r\nContent-Length: 500\r\nX-Nomad-Index: 7\r\n\r\n[]");
	assert_int_equal(get("/x", PATIENCE_MS).reply.failure, HTTP_PROTOCOL);
	say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n");
	assert_int_equal(get("/x", PATIENCE_MS).reply.failure, HTTP_PROTOCOL);
	say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n[]\r\n");
	assert_int_equal(get("/x", PATIENCE_MS).reply.failure, HTTP_PROTOCOL);
}

static void reply_of_version_0_0_is_a_failure(void **state)
{
	(void)state;
	listen_tcp();
	open_http();
	say("HTTP/0.0 200 OK\r\nContent-Length: 2\r\n\r\n[]");
	assert_int_equal(get("/x", PATIENCE_MS).reply.failure, HTTP_PROTOCOL);
}

static void garbage_is_a_failure(void **state)
{
	(void)state;
	listen_tcp();
	open_http();
	server.hangs_up = true;
	say("220 smtp.example.com ESMTP\r\n");
	assert_int_equal(get("/x", PATIENCE_MS).reply.failure, HTTP_PROTOCOL);
}

static void announced_body_over_the_ceiling_is_not_read(void **state)
{
	(void)state;
	listen_tcp();
	open_http();
	say("HTTP/1.1 200 OK\r\nContent-Length: 16777217\r\n\r\n");
	assert_int_equal(get("/x", PATIENCE_MS).reply.failure, HTTP_TOO_LARGE);
}

static void headers_over_the_ceiling_are_not_read(void **state)
{
	enum { LENGTH = 100000 };
	char *reply = malloc(LENGTH + 1);
	size_t at = (size_t)snprintf(reply, LENGTH, "HTTP/1.1 200 OK\r\n");

	(void)state;
	while (at < LENGTH - 100)
		at += (size_t)snprintf(reply + at, LENGTH - at, "X-Padding: %060d\r\n", 1);
	snprintf(reply + at, LENGTH - at, "Content-Length: 0\r\n\r\n");
	listen_tcp();
	open_http();
	say(reply);
	assert_int_equal(get("/x", PATIENCE_MS).reply.failure, HTTP_TOO_LARGE);
	free(reply);
}

/* Deflate with fixed codes (RFC 1951 §3.2.6): one literal, then matches of 258 bytes at distance 1,
 * 13 bits each. */
static size_t put_bits(uint8_t *out, size_t at, unsigned bits, unsigned count)
{
	for (unsigned i = 0; i < count; i++, at++)
		out[at / 8] = (uint8_t)(out[at / 8] | ((bits >> i & 1) << (at % 8)));
	return at;
}

static void gzip_bomb_meets_the_same_ceiling(void **state)
{
	enum { MATCHES = 70000 }; /* 18 MB in 114 kB */
	static const uint8_t gzip[10] = { 0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3 };
	size_t capacity = 512 + MATCHES * 2, at, head;
	uint8_t *reply = calloc(1, capacity);

	(void)state;
	head = (size_t)snprintf((char *)reply, capacity,
				"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n"
				"Content-Length: %d\r\n\r\n",
				MATCHES * 13 / 8);
	memcpy(reply + head, gzip, sizeof(gzip));
	at = (head + sizeof(gzip)) * 8;
	at = put_bits(reply, at, 1, 1);	   /* the last block */
	at = put_bits(reply, at, 1, 2);	   /* fixed codes */
	at = put_bits(reply, at, 0x89, 8); /* literal 'a': 10010001, most significant bit first */
	for (int i = 0; i < MATCHES; i++)
		at = put_bits(reply, at, 0xa3, 13); /* 11000101, then 00000 */
	listen_tcp();
	open_http();
	server.reply = (const char *)reply;
	server.reply_length = head + MATCHES * 13 / 8;
	assert_int_equal(get("/x", PATIENCE_MS).reply.failure, HTTP_TOO_LARGE);
	assert_non_null(strstr(server.request, "Accept-Encoding: gzip\r\n"));
	free(reply);
}

/* ---- ends ---- */

static void cancelled_request_calls_nobody(void **state)
{
	struct got got = { 0 }, other = { 0 };
	uint64_t id;

	(void)state;
	listen_tcp();
	open_http();
	id = http_get(http, 0, "/never", PATIENCE_MS, on_done, &got);
	while (server.requests == 0)
		uv_run(&loop, UV_RUN_ONCE);
	http_cancel(http, id);
	http_cancel(http, id);
	http_cancel(http, 12345);
	say(OK_EMPTY);
	other = get("/x", PATIENCE_MS);
	assert_int_equal(other.reply.status, 200);
	assert_false(got.done);
}

static void closing_cancels_what_is_under_way(void **state)
{
	struct got got = { 0 };
	bool is_closed = false;

	(void)state;
	listen_tcp();
	open_http();
	http_get(http, 0, "/never", PATIENCE_MS, on_done, &got);
	while (server.requests == 0)
		uv_run(&loop, UV_RUN_ONCE);
	http_close(http, on_http_closed, &is_closed);
	http = NULL;
	assert_true(got.done);
	assert_int_equal(got.reply.failure, HTTP_CANCELLED);
	while (!is_closed)
		uv_run(&loop, UV_RUN_ONCE);
}

static void configure(void)
{
	char why[256];

	if (http_configure(http, &config, why, sizeof(why)) != 0)
		fail_msg("%s", why);
}

static void reload_that_changes_nothing_keeps_the_connection(void **state)
{
	(void)state;
	listen_tcp();
	config.nomad_ca_cert = write_file("ca", "one");
	open_http();
	say(OK_EMPTY);
	get("/a", PATIENCE_MS);
	configure();
	get("/b", PATIENCE_MS);
	assert_int_equal(server.connections, 1);
	assert_false(http_refresh_token(http));
}

static void new_token_goes_out_over_the_same_connection(void **state)
{
	char token[] = "secret-2";

	(void)state;
	listen_tcp();
	open_http();
	say(OK_EMPTY);
	get("/a", PATIENCE_MS);
	config.nomad_token = token;
	configure();
	assert_true(http_refresh_token(http));
	get("/b", PATIENCE_MS);
	assert_non_null(strstr(server.request, "\r\nX-Nomad-Token: secret-2\r\n"));
	assert_int_equal(server.connections, 1);
}

static void new_certificates_use_new_connections(void **state)
{
	struct got old = { 0 };

	(void)state;
	listen_tcp();
	config.nomad_ca_cert = write_file("ca", "one");
	open_http();
	say(OK_EMPTY);
	get("/a", PATIENCE_MS);
	http_get(http, 0, "/under-way", PATIENCE_MS, on_done, &old);
	write_file("ca", "another");
	configure();
	get("/b", PATIENCE_MS);
	wait_for(&old);
	assert_int_equal(old.reply.status, 200);
	assert_int_equal(server.connections, 2);
}

/* A directory says nothing about what stands in its files. */
static void directory_of_cas_is_always_read_again(void **state)
{
	(void)state;
	listen_tcp();
	config.nomad_ca_path = directory;
	open_http();
	say(OK_EMPTY);
	get("/a", PATIENCE_MS);
	configure();
	get("/b", PATIENCE_MS);
	assert_int_equal(server.connections, 2);
}

static void old_connections_end_though_a_held_request_goes_on(void **state)
{
	struct got held = { 0 };

	(void)state;
	listen_tcp();
	config.nomad_ca_cert = write_file("ca", "one");
	open_http();
	http_get_held(http, 0, "/held", PATIENCE_MS, on_done, &held);
	while (server.requests == 0)
		uv_run(&loop, UV_RUN_ONCE);
	say(OK_EMPTY);
	get("/a", PATIENCE_MS);
	assert_int_equal(server.connections, 2);
	write_file("ca", "another");
	configure();
	while (server.ended == 0)
		uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(server.ended, 1);
	assert_false(held.done);
	get("/b", PATIENCE_MS);
	assert_int_equal(server.connections, 3);
	assert_int_equal(http_held_in_flight(http), 1);
	http_close(http, NULL, NULL);
	http = NULL;
	assert_int_equal(held.reply.failure, HTTP_CANCELLED);
	uv_run(&loop, UV_RUN_NOWAIT);
}

static void bad_new_configuration_leaves_the_old_one(void **state)
{
	char *bad[] = { "ftp://127.0.0.1" };
	char why[256] = "";

	(void)state;
	listen_tcp();
	open_http();
	say(OK_EMPTY);
	config.nomad_address = bad;
	assert_int_equal(http_configure(http, &config, why, sizeof(why)), -EINVAL);
	assert_true(why[0]);
	assert_int_equal(get("/a", PATIENCE_MS).reply.status, 200);
}

/* ---- who we say we are ---- */

static void token_file_is_sent_without_its_line_end(void **state)
{
	(void)state;
	listen_tcp();
	config.nomad_token_file = write_file("token", "secret-1\n");
	open_http();
	say(OK_EMPTY);
	get("/x", PATIENCE_MS);
	assert_non_null(strstr(server.request, "\r\nX-Nomad-Token: secret-1\r\n"));
}

static void changed_token_is_read_when_asked_to(void **state)
{
	(void)state;
	listen_tcp();
	config.nomad_token_file = write_file("token", "secret-1\n");
	open_http();
	say(OK_EMPTY);
	assert_false(http_refresh_token(http));
	write_file("token", "longer-secret-2\n");
	assert_true(http_refresh_token(http));
	assert_false(http_refresh_token(http));
	get("/x", PATIENCE_MS);
	assert_non_null(strstr(server.request, "\r\nX-Nomad-Token: longer-secret-2\r\n"));
}

static void half_a_token_leaves_the_old_one_and_is_read_again(void **state)
{
	(void)state;
	listen_tcp();
	config.nomad_token_file = write_file("token", "eyJhbGciOiJS.eyJhdWQi.c2ln");
	open_http();
	say(OK_EMPTY);
	write_file("token", "");
	assert_false(http_refresh_token(http));
	write_file("token", "eyJhbGciOiJS.eyJhd");
	assert_false(http_refresh_token(http));
	get("/x", PATIENCE_MS);
	assert_non_null(strstr(server.request, "X-Nomad-Token: eyJhbGciOiJS.eyJhdWQi.c2ln\r\n"));
	write_file("token", "eyJhbGciOiJS.eyJhdWQi.bmV3");
	assert_true(http_refresh_token(http));
}

static void token_with_a_line_end_inside_is_refused(void **state)
{
	char why[256] = "";

	(void)state;
	listen_tcp();
	config.nomad_token_file = write_file("token", "a\r\nX-Evil: 1\n");
	assert_null(http_open(&loop, &config, why, sizeof(why)));
	assert_non_null(strstr(why, "nomad-token-file"));
	assert_null(strstr(why, "Evil"));
}

static void missing_files_are_told(void **state)
{
	char missing[] = "/nonexistent/file", why[256] = "";

	(void)state;
	listen_tcp();
	config.nomad_token_file = missing;
	assert_null(http_open(&loop, &config, why, sizeof(why)));
	assert_non_null(strstr(why, missing));
	config.nomad_token_file = NULL;
	config.nomad_ca_cert = missing;
	assert_null(http_open(&loop, &config, why, sizeof(why)));
	assert_non_null(strstr(why, "nomad-ca-cert"));
}

static void userinfo_of_the_address_becomes_basic_auth(void **state)
{
	char with_login[160], auth[] = "other:secret";
	char *list[] = { with_login };

	(void)state;
	listen_tcp();
	snprintf(with_login, sizeof(with_login), "http://us%%65r:p%%40ss@%s",
		 address + strlen("http://"));
	config.nomad_address = list;
	config.nomad_http_auth = auth;
	open_http();
	say(OK_EMPTY);
	get("/x", PATIENCE_MS);
	assert_non_null(strstr(server.request, "Authorization: Basic dXNlcjpwQHNz\r\n"));
	assert_string_equal(http_address_text(http, 0), address);
}

static void region_is_added_to_the_path(void **state)
{
	char region[] = "eu west&1";

	(void)state;
	listen_tcp();
	config.nomad_region = region;
	open_http();
	say(OK_EMPTY);
	get("/a?b=c", PATIENCE_MS);
	assert_non_null(strstr(server.request, "GET /a?b=c&region=eu%20west%261 "));
	get("/a", PATIENCE_MS);
	assert_non_null(strstr(server.request, "GET /a?region=eu%20west%261 "));
}

static void unix_socket_is_spoken_to(void **state)
{
	(void)state;
	listen_pipe();
	open_http();
	say(OK_EMPTY);
	assert_int_equal(get("/x", PATIENCE_MS).reply.status, 200);
}

static void proxy_of_the_environment_is_not_asked(void **state)
{
	(void)state;
	listen_tcp();
	setenv("http_proxy", "http://127.0.0.1:1", 1);
	open_http();
	say(OK_EMPTY);
	assert_int_equal(get("/x", PATIENCE_MS).reply.status, 200);
	unsetenv("http_proxy");
}

static void plain_http_on_a_tls_address_is_no_connection(void **state)
{
	char tls[160];
	char *list[] = { tls };

	(void)state;
	listen_tcp();
	snprintf(tls, sizeof(tls), "https%s", address + strlen("http"));
	config.nomad_address = list;
	server.hangs_up = true;
	open_http();
	server.reply = NULL;
	assert_int_equal(get("/x", 200).reply.failure, HTTP_CONNECT);
}

/* ---- parts without a socket ---- */

static void escaped_text_is_safe_in_a_url(void **state)
{
	char out[64];

	(void)state;
	assert_int_equal(http_escape("a b/\"~&", 7, out, sizeof(out)), 15);
	assert_string_equal(out, "a%20b%2F%22~%26");
	assert_int_equal(http_escape("abc", 3, out, 3), -ENAMETOOLONG);
	assert_int_equal(http_escape("abc", 3, out, 4), 3);
	assert_int_equal(http_escape("a b", 3, out, 5), -ENAMETOOLONG);
}

static void parse(const char *text, const char *name, struct http_address *out)
{
	char why[256];

	if (http_address_parse(text, name, out, why, sizeof(why)) < 0)
		fail_msg("%s", why);
}

static void addresses_are_taken_apart(void **state)
{
	struct http_address out;

	(void)state;
	parse("http://[::1]:4646/ui/", NULL, &out);
	assert_string_equal(out.base, "http://[::1]:4646");
	assert_null(out.connect_to);
	http_address_deinit(&out);
	parse("HTTPS://nomad.example.com", NULL, &out);
	assert_string_equal(out.base, "https://nomad.example.com:443");
	http_address_deinit(&out);
	parse("https://[2001:db8::1]:4646", "server.global.nomad", &out);
	assert_string_equal(out.base, "https://server.global.nomad:4646");
	assert_string_equal(out.connect_to, "server.global.nomad:4646:[2001:db8::1]:4646");
	assert_string_equal(out.text, "https://[2001:db8::1]:4646");
	http_address_deinit(&out);
	parse("unix:///run/a b.sock", "server.global.nomad", &out);
	assert_string_equal(out.unix_path, "/run/a b.sock");
	http_address_deinit(&out);
}

static void senseless_addresses_are_refused_without_their_password(void **state)
{
	static const char *const bad[] = { "",
					   "127.0.0.1:4646",
					   "ftp://x",
					   "http://",
					   "http://:4646",
					   "http://x:0",
					   "http://x:65536",
					   "http://x:1a",
					   "http://[::1:4646",
					   "http://a b",
					   "http://x\r\n",
					   "unix://relative",
					   "http://user:secret@bad host" };
	char why[256];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct http_address out;

		if (http_address_parse(bad[i], NULL, &out, why, sizeof(why)) != -EINVAL)
			fail_msg("accepted: %s", bad[i]);
		assert_null(strstr(why, "secret"));
	}
}

static void unix_path_that_no_socket_can_have_is_refused(void **state)
{
	char text[256] = "unix:///", why[256];
	struct http_address out;

	(void)state;
	memset(text + 8, 'a', 107);
	assert_int_equal(http_address_parse(text, NULL, &out, why, sizeof(why)), -EINVAL);
	assert_non_null(strstr(why, "107"));
	text[8 + 106] = '\0';
	assert_int_equal(http_address_parse(text, NULL, &out, why, sizeof(why)), 0);
	http_address_deinit(&out);
}

static bool take(struct http_head *head, const char *line)
{
	return http_head_take(head, line, strlen(line));
}

static void index_that_is_no_number_is_none(void **state)
{
	static const char *const bad[] = { "X-Nomad-Index:\r\n", "X-Nomad-Index: -1\r\n",
					   "X-Nomad-Index: 7 8\r\n", "X-Nomad-Index: 0x7\r\n",
					   "X-Nomad-Index: 18446744073709551616\r\n" };
	struct http_head head;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		http_head_init(&head);
		assert_true(take(&head, bad[i]));
		assert_false(head.has_index);
	}
	assert_true(take(&head, "x-nomad-INDEX:18446744073709551615\r\n"));
	assert_true(head.has_index && head.index == UINT64_MAX);
}

static void headers_of_an_interim_reply_do_not_count(void **state)
{
	struct http_head head;

	(void)state;
	http_head_init(&head);
	take(&head, "HTTP/1.1 100 Continue\r\n");
	take(&head, "X-Nomad-Index: 5\r\n");
	take(&head, "HTTP/1.1 200 OK\r\n");
	assert_false(head.has_index);
}

/* ---- streams and held requests ---- */

static void stream_comes_line_by_line(void **state)
{
	struct lines lines = { 0 };

	(void)state;
	listen_tcp();
	open_http();
	say("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	    "Transfer-Encoding: chunked\r\n\r\n"
	    "3\r\n{}\n\r\n4\r\none\n\r\n8\r\n\ntwo\nthr\r\n4\r\nee\nf\r\n");
	start_stream(&lines);
	while (lines.count < 5)
		uv_run(&loop, UV_RUN_ONCE);
	assert_string_equal(lines.text, "{};one;;two;three;");
	assert_false(lines.end.done);
	assert_non_null(strstr(server.request, "GET /v1/event/stream?topic=Service HTTP/1.1"));
	assert_null(strcasestr(server.request, "Accept-Encoding"));
	assert_int_equal(http_held_in_flight(http), 1);
}

static void unfinished_last_line_is_not_delivered(void **state)
{
	struct lines lines = { 0 };

	(void)state;
	listen_tcp();
	open_http();
	server.hangs_up = true;
	say("HTTP/1.1 200 OK\r\n\r\n{}\nwhole\nPermission denied");
	start_stream(&lines);
	wait_for(&lines.end);
	assert_string_equal(lines.text, "{};whole;");
	assert_int_equal(lines.end.reply.failure, HTTP_OK);
	assert_int_equal(lines.end.reply.status, 200);
	assert_string_equal(lines.end.body, "");
	assert_int_equal(http_held_in_flight(http), 0);
}

static void cut_stream_gives_its_lines_first(void **state)
{
	struct lines lines = { 0 };

	(void)state;
	listen_tcp();
	open_http();
	server.hangs_up = true;
	say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}\n\r\n6\r\nab");
	start_stream(&lines);
	wait_for(&lines.end);
	assert_string_equal(lines.text, "{};");
	assert_int_equal(lines.end.reply.failure, HTTP_PROTOCOL);
	assert_string_not_equal(lines.end.reply.error, "");
}

static void refused_stream_brings_the_reason(void **state)
{
	struct lines lines = { 0 };

	(void)state;
	listen_tcp();
	open_http();
	say("HTTP/1.1 403 Forbidden\r\nContent-Length: 18\r\n\r\nPermission\ndenied\n");
	start_stream(&lines);
	wait_for(&lines.end);
	assert_int_equal(lines.count, 0);
	assert_int_equal(lines.end.reply.status, 403);
	assert_string_equal(lines.end.body, "Permission\ndenied\n");
}

static void stream_of_version_0_0_says_so(void **state)
{
	struct lines lines = { 0 };

	(void)state;
	listen_tcp();
	open_http();
	say("HTTP/0.0 200 OK\r\nContent-Type: application/json\r\n\r\n{}\n");
	start_stream(&lines);
	wait_for(&lines.end);
	assert_int_equal(lines.end.reply.failure, HTTP_PROTOCOL);
	assert_non_null(strstr(lines.end.reply.error, "0.0"));
	assert_int_equal(lines.count, 0);
}

static void stream_may_be_cancelled_from_its_own_line(void **state)
{
	struct lines lines = { .cancel_at = 2 };
	struct got got;

	(void)state;
	listen_tcp();
	open_http();
	say("HTTP/1.1 200 OK\r\n\r\n{}\nb\nc\nd\n");
	start_stream(&lines);
	while (lines.count < 2)
		uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(http_held_in_flight(http), 0);
	say(OK_EMPTY);
	got = get("/after", PATIENCE_MS);
	assert_int_equal(got.reply.status, 200);
	assert_string_equal(lines.text, "{};b;");
	assert_false(lines.end.done);
}

static void on_line_that_closes(void *arg, const char *line, size_t length)
{
	on_line(arg, line, length);
	http_close(http, on_http_closed, &((struct lines *)arg)->end.reply.has_index);
	http = NULL;
}

static void room_may_be_closed_from_a_line(void **state)
{
	static struct lines lines;
	static bool is_closed;

	(void)state;
	memset(&lines, 0, sizeof(lines));
	is_closed = false;
	listen_tcp();
	open_http();
	say("HTTP/1.1 200 OK\r\n\r\n{}\nb\n");
	lines.id = http_stream(http, 0, "/s", on_line_that_closes, on_end, &lines);
	while (http)
		uv_run(&loop, UV_RUN_ONCE);
	assert_string_equal(lines.text, "{};");
	assert_true(lines.end.done);
	assert_int_equal(lines.end.reply.failure, HTTP_CANCELLED);
	for (int i = 0; i < 1000 && !is_closed; i++)
		is_closed = uv_run(&loop, UV_RUN_NOWAIT) >= 0 && lines.end.reply.has_index;
	assert_true(is_closed);
}

static void line_over_the_ceiling_ends_the_stream(void **state)
{
	static const char head[] = "HTTP/1.1 200 OK\r\n\r\n{}\n";
	size_t length = sizeof(head) - 1 + HTTP_BODY_MAX_BYTES + 1;
	struct lines lines = { 0 };
	char *reply = malloc(length);

	(void)state;
	memset(reply, 'x', length);
	memcpy(reply, head, sizeof(head) - 1);
	listen_tcp();
	open_http();
	server.reply = reply;
	server.reply_length = length;
	start_stream(&lines);
	wait_for(&lines.end);
	assert_int_equal(lines.end.reply.failure, HTTP_TOO_LARGE);
	assert_string_equal(lines.text, "{};");
	free(reply);
}

static void held_requests_leave_room_for_ordinary_ones(void **state)
{
	struct got held[40] = { 0 }, got;
	unsigned started = 0;

	(void)state;
	listen_tcp();
	open_http();
	for (int i = 0; i < 40; i++)
		started += http_get_held(http, 0, "/held", PATIENCE_MS, on_done, &held[i]) != 0;
	assert_int_equal(started, 32);
	assert_int_equal(http_held_in_flight(http), 32);
	while (server.requests < 32)
		uv_run(&loop, UV_RUN_ONCE);
	say(OK_EMPTY);
	got = get("/now", PATIENCE_MS);
	assert_int_equal(got.reply.status, 200);
	assert_int_equal(server.connections, 33);
	assert_int_equal(http_in_flight(http), 32);
	http_close(http, NULL, NULL);
	for (int i = 0; i < 32; i++)
		assert_int_equal(held[i].reply.failure, HTTP_CANCELLED);
	http = NULL;
	uv_run(&loop, UV_RUN_NOWAIT);
}

static void lines_are_cut_whatever_the_pieces_are(void **state)
{
	static const char text[] = "{}\nfirst line\n\nthe last\nrest";

	(void)state;
	for (size_t size = 1; size < sizeof(text); size++) {
		struct http_lines lines;
		char out[64] = "";
		const char *line;
		size_t length;

		http_lines_init(&lines, 100);
		for (size_t at = 0; at < sizeof(text) - 1; at += size) {
			size_t left = sizeof(text) - 1 - at;

			assert_int_equal(
				http_lines_add(&lines, text + at, left < size ? left : size), 0);
			while (http_lines_next(&lines, &line, &length)) {
				size_t end = strlen(out);

				snprintf(out + end, sizeof(out) - end, "%.*s;", (int)length, line);
			}
		}
		assert_string_equal(out, "{};first line;;the last;");
		assert_int_equal(lines.line_length, 4);
		http_lines_deinit(&lines);
	}
}

static void long_lines_meet_their_ceiling_and_no_other(void **state)
{
	struct http_lines lines;
	const char *line;
	size_t length;

	(void)state;
	http_lines_init(&lines, 5);
	assert_int_equal(http_lines_add(&lines, "12345\n12345\n123", 15), 0);
	assert_int_equal(http_lines_add(&lines, "45", 2), 0);
	assert_int_equal(http_lines_add(&lines, "6", 1), -EMSGSIZE);
	for (int i = 0; i < 2; i++)
		assert_true(http_lines_next(&lines, &line, &length));
	assert_false(http_lines_next(&lines, &line, &length));
	http_lines_deinit(&lines);
}

static void half_tokens_are_known(void **state)
{
	(void)state;
	assert_true(http_secret_is_half("eyJhbGci"));
	assert_true(http_secret_is_half("eyJhbGci.abc"));
	assert_true(http_secret_is_half("eyJhbGci.abc."));
	assert_false(http_secret_is_half("eyJhbGci.abc.def"));
	assert_true(http_secret_is_half("3f0c1f7e-9b1a-4c55-8c0d-6a2f4f7d1e0"));
	assert_false(http_secret_is_half("3f0c1f7e-9b1a-4c55-8c0d-6a2f4f7d1e01"));
	assert_false(http_secret_is_half("anything-else"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(reply_comes_with_status_index_and_body),
		TEST(error_status_is_a_reply),
		TEST(redirect_is_not_followed),
		TEST(connection_is_kept_for_the_next_request),
		TEST(there_are_never_more_than_eight_connections),
		TEST(refused_connection_is_told),
		TEST(missing_unix_socket_is_told),
		TEST(silence_ends_at_the_time_limit),
		TEST(cut_body_is_a_failure),
		TEST(reply_of_version_0_0_is_a_failure),
		TEST(garbage_is_a_failure),
		TEST(announced_body_over_the_ceiling_is_not_read),
		TEST(headers_over_the_ceiling_are_not_read),
		TEST(gzip_bomb_meets_the_same_ceiling),
		TEST(cancelled_request_calls_nobody),
		TEST(closing_cancels_what_is_under_way),
		TEST(reload_that_changes_nothing_keeps_the_connection),
		TEST(new_token_goes_out_over_the_same_connection),
		TEST(new_certificates_use_new_connections),
		TEST(directory_of_cas_is_always_read_again),
		TEST(old_connections_end_though_a_held_request_goes_on),
		TEST(bad_new_configuration_leaves_the_old_one),
		TEST(token_file_is_sent_without_its_line_end),
		TEST(changed_token_is_read_when_asked_to),
		TEST(half_a_token_leaves_the_old_one_and_is_read_again),
		TEST(token_with_a_line_end_inside_is_refused),
		TEST(missing_files_are_told),
		TEST(userinfo_of_the_address_becomes_basic_auth),
		TEST(region_is_added_to_the_path),
		TEST(unix_socket_is_spoken_to),
		TEST(proxy_of_the_environment_is_not_asked),
		TEST(plain_http_on_a_tls_address_is_no_connection),
		TEST(stream_comes_line_by_line),
		TEST(unfinished_last_line_is_not_delivered),
		TEST(cut_stream_gives_its_lines_first),
		TEST(refused_stream_brings_the_reason),
		TEST(stream_of_version_0_0_says_so),
		TEST(stream_may_be_cancelled_from_its_own_line),
		TEST(room_may_be_closed_from_a_line),
		TEST(line_over_the_ceiling_ends_the_stream),
		TEST(held_requests_leave_room_for_ordinary_ones),
		cmocka_unit_test(lines_are_cut_whatever_the_pieces_are),
		cmocka_unit_test(long_lines_meet_their_ceiling_and_no_other),
		cmocka_unit_test(escaped_text_is_safe_in_a_url),
		cmocka_unit_test(addresses_are_taken_apart),
		cmocka_unit_test(senseless_addresses_are_refused_without_their_password),
		cmocka_unit_test(unix_path_that_no_socket_can_have_is_refused),
		cmocka_unit_test(index_that_is_no_number_is_none),
		cmocka_unit_test(headers_of_an_interim_reply_do_not_count),
		cmocka_unit_test(half_tokens_are_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
