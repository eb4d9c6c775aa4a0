/*
 * The asking and the verb are held against a scripted server: a thread on loopback that asserts
 * nothing and answers as its mode says.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/buf.h"
#include "config/config.h"
#include "unit/lookup_packets.h"
#include "verbs/lookup.h"
#include "verbs/lookup_ask.h"
#include "verbs/lookup_page.h"

/* --- the scripted server --- */

enum mode {
	FOUND,		   /* one A, or one SRV with its A; AAAA: no data */
	NOT_FOUND,	   /* NXDOMAIN */
	FAILED,		   /* SERVFAIL with an error and a text */
	SILENT,		   /* nothing */
	FOUND_AT_LAST,	   /* garbage, another's reply, then the answer */
	FOUND_ON_SECOND,   /* the first query is lost */
	CUT,		   /* TC; whole over TCP */
	CUT_WITH_DEAD_TCP, /* TC; TCP closes at once */
};

struct server {
	pthread_t thread;
	struct addr addr;
	int udp, tcp, stop[2];
	enum mode mode;
	unsigned seen_count;
};

static void reply_as_asked(const uint8_t *query, struct packet *packet)
{
	memcpy(packet->bytes, query, 2);
}

static struct packet make_reply(const uint8_t *query, enum mode mode, bool is_cut)
{
	unsigned type = load_be16(query + 12 + sizeof(qname));
	unsigned rcode = mode == NOT_FOUND ? DNS_NXDOMAIN : mode == FAILED ? DNS_SERVFAIL : 0;
	struct packet packet = begin(rcode | DNS_FLAG_AA | (is_cut ? DNS_FLAG_TC : 0U), type);

	reply_as_asked(query, &packet);
	if (mode == FAILED) {
		add_opt(&packet, 0,
			"\0\x0f\0\5\0\x0e"
			"hi\n",
			9);
		return packet;
	}
	if (mode != NOT_FOUND && type == DNS_TYPE_A)
		ADD(&packet, LOOKUP_REPLY_ANSWER, DNS_TYPE_A, "\xc0\0\2\1");
	if (mode != NOT_FOUND && type == DNS_TYPE_SRV) {
		ADD(&packet, LOOKUP_REPLY_ANSWER, DNS_TYPE_SRV, "\0\x0a\0\x0a\x18\xeb\xc0\x0c");
		ADD(&packet, LOOKUP_REPLY_ADDITIONAL, DNS_TYPE_A, "\xc0\0\2\1");
	}
	if (mode == CUT && !is_cut)
		ADD(&packet, LOOKUP_REPLY_ANSWER, DNS_TYPE_A, "\xc0\0\2\2");
	add_opt(&packet, 0, "", 0);
	return packet;
}

static void serve_udp(struct server *server)
{
	struct sockaddr_storage peer;
	socklen_t length = sizeof(peer);
	uint8_t query[512];
	ssize_t count =
		recvfrom(server->udp, query, sizeof(query), 0, (struct sockaddr *)&peer, &length);
	struct packet packet;

	if (count < (ssize_t)(12 + sizeof(qname) + 4))
		return;
	server->seen_count++;
	if (server->mode == SILENT || (server->mode == FOUND_ON_SECOND && server->seen_count == 1))
		return;
	packet = make_reply(query, server->mode,
			    server->mode == CUT || server->mode == CUT_WITH_DEAD_TCP);
	if (server->mode == FOUND_AT_LAST) {
		sendto(server->udp, "garbage", 7, 0, (struct sockaddr *)&peer, length);
		packet.bytes[0] ^= 0xff;
		sendto(server->udp, packet.bytes, packet.length, 0, (struct sockaddr *)&peer,
		       length);
		packet.bytes[0] ^= 0xff;
	}
	sendto(server->udp, packet.bytes, packet.length, 0, (struct sockaddr *)&peer, length);
}

static void serve_tcp(struct server *server)
{
	int fd = accept(server->tcp, NULL, NULL);
	uint8_t query[512], prefix[2];
	struct packet packet;

	if (fd < 0)
		return;
	if (server->mode == CUT && recv(fd, query, 2, MSG_WAITALL) == 2 &&
	    recv(fd, query, load_be16(query), MSG_WAITALL) > 12) {
		packet = make_reply(query, server->mode, false);
		store_be16(prefix, (uint16_t)packet.length);
		/* In two pieces: a reader that takes one read for a message fails here. */
		send(fd, prefix, 1, MSG_NOSIGNAL);
		send(fd, prefix + 1, 1, MSG_NOSIGNAL);
		send(fd, packet.bytes, packet.length, MSG_NOSIGNAL);
	}
	close(fd);
}

static void *serve(void *arg)
{
	struct server *server = arg;
	struct pollfd fds[3] = { { .fd = server->udp, .events = POLLIN },
				 { .fd = server->tcp, .events = POLLIN },
				 { .fd = server->stop[0], .events = POLLIN } };

	while (poll(fds, 3, -1) > 0 && !fds[2].revents) {
		if (fds[0].revents)
			serve_udp(server);
		if (fds[1].revents)
			serve_tcp(server);
	}
	return NULL;
}

/* Binds UDP to the port that TCP was given; the port may be taken there, so several are tried. */
static void open_sockets(struct server *server)
{
	struct sockaddr_in name = { .sin_family = AF_INET };
	socklen_t length = sizeof(name);

	for (int i = 0; i < 100; i++) {
		name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		name.sin_port = 0;
		server->tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		server->udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		assert_int_equal(bind(server->tcp, (struct sockaddr *)&name, sizeof(name)), 0);
		assert_int_equal(listen(server->tcp, 5), 0);
		assert_int_equal(getsockname(server->tcp, (struct sockaddr *)&name, &length), 0);
		if (bind(server->udp, (struct sockaddr *)&name, sizeof(name)) == 0) {
			addr_from_socket((struct sockaddr *)&name, &server->addr);
			return;
		}
		close(server->tcp);
		close(server->udp);
	}
	fail_msg("no port is free for both");
}

static int start_server(void **state)
{
	struct server *server = calloc(1, sizeof(*server));

	assert_non_null(server);
	open_sockets(server);
	assert_int_equal(pipe(server->stop), 0);
	*state = server;
	return 0;
}

static void begin_serving(struct server *server, enum mode mode)
{
	server->mode = mode;
	assert_int_equal(pthread_create(&server->thread, NULL, serve, server), 0);
}

static int stop_server(void **state)
{
	struct server *server = *state;

	close(server->stop[1]);
	if (server->thread)
		pthread_join(server->thread, NULL);
	close(server->stop[0]);
	close(server->udp);
	close(server->tcp);
	free(server);
	return 0;
}

static struct lookup_answer ask(struct server *server, unsigned type, uint64_t timeout_ms)
{
	const struct lookup_question question = { qname, sizeof(qname), (uint16_t)type };
	struct lookup_answer answer;

	lookup_ask(&server->addr, &question, timeout_ms, &answer);
	return answer;
}

#define LONG_MS 20000 /* never waited for */

static void answer_comes_over_udp(void **state)
{
	struct lookup_answer answer;

	begin_serving(*state, FOUND);
	answer = ask(*state, DNS_TYPE_A, LONG_MS);
	assert_int_equal(answer.error, 0);
	assert_false(answer.is_over_tcp);
	assert_true(lookup_reply_has_answer(&answer.reply, DNS_TYPE_A));
	lookup_reply_deinit(&answer.reply);
}

static void packets_that_are_no_reply_do_not_end_the_wait(void **state)
{
	struct lookup_answer answer;

	begin_serving(*state, FOUND_AT_LAST);
	answer = ask(*state, DNS_TYPE_A, LONG_MS);
	assert_int_equal(answer.error, 0);
	assert_int_equal(answer.bad_count, 2);
	lookup_reply_deinit(&answer.reply);
}

static void lost_query_is_sent_again(void **state)
{
	struct server *server = *state;
	struct lookup_answer answer;

	begin_serving(server, FOUND_ON_SECOND);
	answer = ask(server, DNS_TYPE_A, 200);
	assert_int_equal(answer.error, 0);
	lookup_reply_deinit(&answer.reply);
}

static void silence_ends_with_the_time(void **state)
{
	struct lookup_answer answer;

	begin_serving(*state, SILENT);
	answer = ask(*state, DNS_TYPE_A, 20);
	assert_int_equal(answer.error, -ETIMEDOUT);
	assert_null(answer.reply.packet);
}

static void cut_reply_is_fetched_whole_over_tcp(void **state)
{
	struct lookup_answer answer;

	begin_serving(*state, CUT);
	answer = ask(*state, DNS_TYPE_A, LONG_MS);
	assert_int_equal(answer.error, 0);
	assert_int_equal(answer.tcp_error, 0);
	assert_true(answer.is_over_tcp);
	assert_int_equal(answer.reply.record_count, 2);
	lookup_reply_deinit(&answer.reply);
}

static void cut_reply_is_kept_when_tcp_fails(void **state)
{
	struct lookup_answer answer;

	begin_serving(*state, CUT_WITH_DEAD_TCP);
	answer = ask(*state, DNS_TYPE_A, LONG_MS);
	assert_int_equal(answer.error, 0);
	assert_int_equal(answer.tcp_error, -ECONNRESET);
	assert_false(answer.is_over_tcp);
	assert_int_equal(answer.reply.record_count, 1);
	lookup_reply_deinit(&answer.reply);
}

/* --- the verb --- */

struct run {
	int code;
	char out[8192];
};

/* Runs the verb against this address and catches what it writes to stdout; its complaints on stderr
 * go nowhere. */
static struct run run_verb(const struct addr *listen_addr, const char *const *arguments)
{
	struct addr addr = *listen_addr;
	struct config config = { .listen = &addr, .listen_count = 1 };
	FILE *file = tmpfile(), *nowhere = fopen("/dev/null", "w");
	int keep_out = dup(STDOUT_FILENO), keep_err = dup(STDERR_FILENO), argc = 1;
	char *argv[8] = { (char *)(uintptr_t) "lookup" };
	struct run run = { .code = -1 };
	size_t length;

	assert_true(file && nowhere);
	for (; *arguments; arguments++)
		argv[argc++] = (char *)(uintptr_t)*arguments;
	fflush(stdout);
	dup2(fileno(file), STDOUT_FILENO);
	dup2(fileno(nowhere), STDERR_FILENO);
	run.code = lookup_run(&config, argc, argv);
	fflush(stdout);
	dup2(keep_out, STDOUT_FILENO);
	dup2(keep_err, STDERR_FILENO);
	close(keep_out);
	close(keep_err);
	fclose(nowhere);
	rewind(file);
	length = fread(run.out, 1, sizeof(run.out) - 1, file);
	run.out[length] = '\0';
	fclose(file);
	return run;
}

#define RUN(addr, ...) run_verb(addr, (const char *const[]){ __VA_ARGS__, NULL })

static void assert_has(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("\"%s\" is not in: %s", part, text);
}

static void addresses_and_ports_are_asked_for_by_default(void **state)
{
	struct server *server = *state;
	struct run run;
	char *address;

	begin_serving(server, FOUND);
	run = RUN(&server->addr, "redis.default.nomad");
	assert_int_equal(run.code, 0);
	assert_int_equal(server->seen_count, 3);
	assert_has(run.out,
		   "NAME                 TYPE  TTL  SECTION  DATA\n"
		   "redis.default.nomad  A     10   answer   192.0.2.1\n"
		   "redis.default.nomad  SRV   10   answer   10 10 6379 redis.default.nomad\n");
	assert_has(run.out, "\nA     NOERROR, 1 record; ");
	assert_has(run.out, "\nAAAA  NOERROR, the name exists, but has no record of this type; ");
	assert_has(run.out, "\nSRV   NOERROR, 1 record; ");
	assert_has(run.out, "\nasked: redis.default.nomad at 127.0.0.1:");
	assert_null(strchr(run.out, '\033'));
	/* The additional A beside the SRV is the answer to the first question: shown once. */
	address = strstr(run.out, "192.0.2.1");
	assert_null(strstr(address + 1, "192.0.2.1"));
}

static void type_given_is_the_only_one_asked_for(void **state)
{
	struct server *server = *state;

	begin_serving(server, FOUND);
	assert_int_equal(RUN(&server->addr, "redis.default.nomad.", "aaaa").code, 1);
	assert_int_equal(server->seen_count, 1);
}

static void missing_name_exits_with_1(void **state)
{
	struct server *server = *state;
	struct run run;

	begin_serving(server, NOT_FOUND);
	run = RUN(&server->addr, "redis.default.nomad");
	assert_int_equal(run.code, 1);
	assert_has(run.out, "A     NXDOMAIN, there is no such name; ");
}

static void failure_exits_with_2_and_is_explained(void **state)
{
	struct server *server = *state;
	struct run run;

	begin_serving(server, FAILED);
	run = RUN(&server->addr, "redis.default.nomad", "A");
	assert_int_equal(run.code, 2);
	assert_has(run.out, "A     SERVFAIL, the server could not find out");
	assert_has(run.out, "EDE 14, Not Ready: the server has not heard from Nomad since it "
			    "started; ask again in a moment (hi\\010)\n");
}

static void no_reply_exits_with_9_and_asks_no_more(void **state)
{
	struct server *server = *state;
	struct run run;

	close(server->udp);
	server->udp = dup(server->tcp);
	run = RUN(&server->addr, "--json", "redis.default.nomad");
	assert_int_equal(run.code, 9);
	assert_has(run.out, "\"exit_code\":9,");
	assert_has(run.out,
		   "{\"type\":\"A\",\"ignored_packets\":0,\"error\":\"Connection refused\"}");
	assert_has(run.out, "{\"type\":\"SRV\",\"error\":\"not asked\"}");
}

static void json_holds_all_of_a_reply(void **state)
{
	struct server *server = *state;
	struct run run;

	begin_serving(server, FOUND);
	run = RUN(&server->addr, "redis.default.nomad", "SRV", "--json");
	assert_int_equal(run.code, 0);
	assert_has(run.out, "{\"name\":\"redis.default.nomad\",\"server\":\"127.0.0.1:");
	assert_has(run.out, "\"transport\":\"udp\",\"time_us\":");
	assert_has(run.out, "\"rcode\":\"NOERROR\",\"flags\":[\"aa\"],\"extended_errors\":[],"
			    "\"answer\":[{\"name\":\"redis.default.nomad\",\"type\":\"SRV\","
			    "\"class\":1,\"ttl\":10,\"data\":\"10 10 6379 redis.default.nomad\"}],"
			    "\"authority\":[],\"additional\":[{\"name\":\"redis.default.nomad\","
			    "\"type\":\"A\",\"class\":1,\"ttl\":10,\"data\":\"192.0.2.1\"}]}]}\n");
}

static void extended_errors_are_in_the_json(void **state)
{
	struct server *server = *state;
	struct run run;

	begin_serving(server, FAILED);
	run = RUN(&server->addr, "redis.default.nomad", "A", "--json");
	assert_has(run.out,
		   "\"extended_errors\":[{\"code\":14,\"name\":\"Not Ready\",\"meaning\":");
	assert_has(run.out, ",\"text\":\"hi\\\\010\"}]");
}

static void wildcard_address_is_asked_on_loopback(void **state)
{
	struct server *server = *state;
	struct addr any = { .family = AF_INET, .port = server->addr.port };

	begin_serving(server, FOUND);
	assert_int_equal(RUN(&any, "redis.default.nomad", "A").code, 0);
}

static void port_left_to_the_system_cannot_be_asked(void **state)
{
	const struct addr addr = { .family = AF_INET, .bytes = { 127, 0, 0, 1 } };

	(void)state;
	assert_int_equal(RUN(&addr, "redis.default.nomad").code, 78);
}

static void wrong_usage_exits_with_64(void **state)
{
	const struct addr addr = { .family = AF_INET, .port = 1, .bytes = { 127, 0, 0, 1 } };

	(void)state;
	assert_int_equal(RUN(&addr, "--json").code, 64);
	assert_int_equal(RUN(&addr, "a..b").code, 64);
	assert_int_equal(RUN(&addr, "redis.default.nomad", "NOTYPE").code, 64);
	assert_int_equal(RUN(&addr, "redis.default.nomad", "A", "AAAA").code, 64);
	assert_int_equal(RUN(&addr, "--jsn", "redis.default.nomad").code, 64);
}

static void help_is_data(void **state)
{
	const struct addr addr = { .family = AF_INET, .port = 1, .bytes = { 127, 0, 0, 1 } };
	struct run run;

	(void)state;
	run = RUN(&addr, "--help");
	assert_int_equal(run.code, 0);
	assert_has(run.out, "usage: nomad-dns lookup");
}

/* --- the page, where a server is not needed --- */

static void colors_come_only_when_asked_for(void **state)
{
	struct packet packet = begin(0, DNS_TYPE_A);
	struct lookup_answer answer = { .question = { qname, sizeof(qname), DNS_TYPE_A },
					.is_asked = true };
	struct lookup_page page = { "redis.default.nomad", "127.0.0.1:1053", &answer, 1, 0 };
	struct buf out;

	(void)state;
	ADD(&packet, LOOKUP_REPLY_ANSWER, DNS_TYPE_A, "\xc0\0\2\1");
	answer.reply = parse_well(&packet);
	buf_init(&out, 0);
	lookup_page_put_text(&page, true, &out);
	assert_has(out.data, "\033[32mNOERROR\033[0m");
	out.length = 0;
	lookup_page_put_text(&page, false, &out);
	assert_null(strchr(out.data, '\033'));
	buf_deinit(&out);
	lookup_reply_deinit(&answer.reply);
}

static void page_without_records_has_no_table(void **state)
{
	struct lookup_answer answer = { .question = { qname, sizeof(qname), DNS_TYPE_A },
					.is_asked = true,
					.error = -ETIMEDOUT };
	struct lookup_page page = { "x", "127.0.0.1:1053", &answer, 1, 9 };
	struct buf out;

	(void)state;
	buf_init(&out, 0);
	lookup_page_put_text(&page, false, &out);
	assert_string_equal(out.data, "A     no reply: Connection timed out\n"
				      "asked: x at 127.0.0.1:1053\n");
	buf_deinit(&out);
}

#define SERVER_TEST(name) cmocka_unit_test_setup_teardown(name, start_server, stop_server)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SERVER_TEST(answer_comes_over_udp),
		SERVER_TEST(packets_that_are_no_reply_do_not_end_the_wait),
		SERVER_TEST(lost_query_is_sent_again),
		SERVER_TEST(silence_ends_with_the_time),
		SERVER_TEST(cut_reply_is_fetched_whole_over_tcp),
		SERVER_TEST(cut_reply_is_kept_when_tcp_fails),
		SERVER_TEST(addresses_and_ports_are_asked_for_by_default),
		SERVER_TEST(type_given_is_the_only_one_asked_for),
		SERVER_TEST(missing_name_exits_with_1),
		SERVER_TEST(failure_exits_with_2_and_is_explained),
		SERVER_TEST(no_reply_exits_with_9_and_asks_no_more),
		SERVER_TEST(json_holds_all_of_a_reply),
		SERVER_TEST(extended_errors_are_in_the_json),
		SERVER_TEST(wildcard_address_is_asked_on_loopback),
		cmocka_unit_test(port_left_to_the_system_cannot_be_asked),
		cmocka_unit_test(wrong_usage_exits_with_64),
		cmocka_unit_test(help_is_data),
		cmocka_unit_test(colors_come_only_when_asked_for),
		cmocka_unit_test(page_without_records_has_no_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
