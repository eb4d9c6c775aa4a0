/*
 * The stage on a real loop, against scripted upstreams on loopback sockets of the same loop. A
 * script has one letter per question that arrives; the last one repeats.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "config/config.h"
#include "dns/name.h"
#include "forward/exchange.h"
#include "forward/forward_stage.h"

#define PACKET_MAX 1500
#define SEEN_MAX 64
#define QUERIES_MAX 600
#define PLENTY_MS 20000 /* a deadline that no test waits for */
#define PAUSE_MS 300

/* ---- the upstream ---- */

struct fake {
	uv_poll_t udp;
	uv_poll_t tcp; /* listens */
	uv_poll_t connection;
	bool has_tcp, has_connection;
	int udp_fd, tcp_fd, connection_fd;
	struct addr addr;
	const char *udp_script, *tcp_script;
	unsigned udp_count, tcp_count, loop_checks;
	struct seen { /* questions over UDP */
		uint8_t packet[PACKET_MAX];
		size_t length;
		struct sockaddr_in from;
	} seen[SEEN_MAX], loop_check; /* the last of these */
};

static uv_loop_t loop;

static char step_of(const char *script, unsigned count)
{
	size_t length = strlen(script);

	return script[count < length ? count : length - 1];
}

static bool has_opt(const uint8_t *query)
{
	return load_be16(query + 10) == 1;
}

/* The reply to a query: its question, `flags`, and an A record if `with_answer`. */
static size_t write_reply(const uint8_t *query, size_t length, unsigned flags, bool with_answer,
			  uint8_t out[PACKET_MAX])
{
	size_t end = DNS_HEADER_BYTES + name_length(query + DNS_HEADER_BYTES, length) + 4;

	memcpy(out, query, end);
	store_be16(out + 2, (uint16_t)(DNS_FLAG_QR | DNS_FLAG_RD | DNS_FLAG_RA | flags));
	store_be16(out + 6, with_answer);
	store_be16(out + 8, 0);
	store_be16(out + 10, 0);
	if (!with_answer)
		return end;
	memcpy(out + end, "\300\14\0\1\0\1\0\0\0\74\0\4\300\0\2\1", 16);
	return end + 16;
}

static void send_to(const struct fake *fake, const struct seen *seen, const uint8_t *packet,
		    size_t length)
{
	assert_int_equal(sendto(fake->udp_fd, packet, length, 0,
				(const struct sockaddr *)&seen->from, sizeof(seen->from)),
			 (ssize_t)length);
}

static void answer_udp(const struct fake *fake, const struct seen *seen, unsigned flags,
		       bool with_answer)
{
	uint8_t out[PACKET_MAX];

	send_to(fake, seen, out, write_reply(seen->packet, seen->length, flags, with_answer, out));
}

/* Everything but the right reply: other id, other question, no reply, cut, short, empty. */
static void send_lies(const struct fake *fake, const struct seen *seen)
{
	uint8_t out[PACKET_MAX];
	size_t length = write_reply(seen->packet, seen->length, 0, true, out);

	out[0] ^= 1;
	send_to(fake, seen, out, length);
	out[0] ^= 1;
	out[DNS_HEADER_BYTES + 1] ^= 1;
	send_to(fake, seen, out, length);
	out[DNS_HEADER_BYTES + 1] ^= 1;
	out[2] &= 0x7f;
	send_to(fake, seen, out, length);
	out[2] |= 0x80;
	send_to(fake, seen, out, length - 1);
	send_to(fake, seen, out, 3);
	send_to(fake, seen, out, 0);
}

static void answer_in_lower_case(const struct fake *fake, const struct seen *seen)
{
	uint8_t out[PACKET_MAX];
	size_t length = write_reply(seen->packet, seen->length, DNS_NXDOMAIN, false, out);

	name_fold(out + DNS_HEADER_BYTES, length - DNS_HEADER_BYTES - 4, out + DNS_HEADER_BYTES);
	send_to(fake, seen, out, length);
}

/* No recursion, no answer, and a server of a zone above. */
static void refer(const struct fake *fake, const struct seen *seen)
{
	static const uint8_t server[] = {
		0, 0, DNS_TYPE_NS, 0, 1, 0, 0, 1, 0, 0, 4, 2, 'n', 's', 0
	};
	uint8_t out[PACKET_MAX];
	size_t length = write_reply(seen->packet, seen->length, 0, false, out);

	out[3] &= 0x7f;
	store_be16(out + 8, 1);
	memcpy(out + length, server, sizeof(server));
	send_to(fake, seen, out, length + sizeof(server));
}

/* BADVERS: its upper bits stand in the OPT. */
static void say_badvers(const struct fake *fake, const struct seen *seen)
{
	static const uint8_t opt[] = { 0, 0, DNS_TYPE_OPT, 4, 208, 1, 0, 0, 0, 0, 0 };
	uint8_t out[PACKET_MAX];
	size_t length = write_reply(seen->packet, seen->length, 0, false, out);

	store_be16(out + 10, 1);
	memcpy(out + length, opt, sizeof(opt));
	send_to(fake, seen, out, length + sizeof(opt));
}

static void follow_udp_script(struct fake *fake, const struct seen *seen)
{
	switch (step_of(fake->udp_script, fake->udp_count++)) {
	case 'a':
		answer_udp(fake, seen, DNS_FLAG_AD | DNS_FLAG_AA, true);
		break;
	case 'n':
		answer_udp(fake, seen, DNS_NXDOMAIN, false);
		break;
	case 's':
		answer_udp(fake, seen, DNS_SERVFAIL, false);
		break;
	case 'r':
		answer_udp(fake, seen, DNS_REFUSED, false);
		break;
	case 'N': /* NOTAUTH */
		answer_udp(fake, seen, 9, false);
		break;
	case 'i':
		answer_udp(fake, seen, DNS_NOTIMP, false);
		break;
	case 'R':
		refer(fake, seen);
		break;
	case 'B':
		say_badvers(fake, seen);
		break;
	case 't':
		answer_udp(fake, seen, DNS_FLAG_TC, false);
		break;
	case 'l':
		send_lies(fake, seen);
		answer_udp(fake, seen, 0, true);
		break;
	case 'f': /* knows no EDNS */
		if (has_opt(seen->packet))
			answer_udp(fake, seen, DNS_FORMERR, false);
		else
			answer_udp(fake, seen, 0, true);
		break;
	case 'c': /* folds the question */
		answer_in_lower_case(fake, seen);
		break;
	case 'o': /* a forgery that does not know the case, and the right answer after it */
		answer_in_lower_case(fake, seen);
		answer_udp(fake, seen, DNS_FLAG_AD, true);
		break;
	case 'p': /* answers, and then nobody's loop turns for longer than patience lasts */
		answer_udp(fake, seen, 0, true);
		(void)poll(NULL, 0, PAUSE_MS);
		break;
	case '1': /* answers the first question, late */
		answer_udp(fake, &fake->seen[0], 0, true);
		break;
	case '-':
		break;
	default:
		fail();
	}
}

/* What looks for loops is no question of a test's. */
static bool is_loop_check(const struct seen *seen)
{
	return seen->length > 66 && seen->packet[12] == 32 &&
	       memcmp(seen->packet + 45, "\x14nomad-dns-loop-check", 21) == 0;
}

static void on_udp(uv_poll_t *poll, int status, int events)
{
	struct fake *fake = poll->data;
	struct seen *seen = &fake->seen[fake->udp_count % SEEN_MAX];
	socklen_t from_length = sizeof(seen->from);
	ssize_t length;

	(void)status;
	(void)events;
	length = recvfrom(fake->udp_fd, seen->packet, sizeof(seen->packet), 0,
			  (struct sockaddr *)&seen->from, &from_length);
	if (length < 0)
		return; /* the asker's socket was closed: an ICMP error of ours */
	seen->length = (size_t)length;
	if (is_loop_check(seen)) {
		fake->loop_check = *seen;
		fake->loop_checks++;
		return;
	}
	follow_udp_script(fake, seen);
}

static void on_connection_closed(uv_handle_t *handle)
{
	struct fake *fake = handle->data;

	fake->has_connection = false;
}

static void hang_up(struct fake *fake)
{
	uv_close((uv_handle_t *)&fake->connection, on_connection_closed);
	close(fake->connection_fd);
}

static void on_stream(uv_poll_t *poll, int status, int events)
{
	struct fake *fake = poll->data;
	uint8_t in[PACKET_MAX], out[PACKET_MAX + 2];
	ssize_t length = read(fake->connection_fd, in, sizeof(in));
	size_t written;

	(void)status;
	(void)events;
	if (length <= 2) {
		hang_up(fake);
		return;
	}
	assert_int_equal(load_be16(in), length - 2);
	written = write_reply(in + 2, (size_t)length - 2, 0, true, out + 2);
	store_be16(out, (uint16_t)written);
	switch (step_of(fake->tcp_script, fake->tcp_count++)) {
	case 'a': /* in two pieces, so that it has to be put together */
		assert_int_equal(write(fake->connection_fd, out, 1), 1);
		assert_int_equal(write(fake->connection_fd, out + 1, written + 1), written + 1);
		break;
	case 'h': /* half of it */
		assert_int_equal(write(fake->connection_fd, out, written), written);
		hang_up(fake);
		break;
	case 'c':
		hang_up(fake);
		break;
	case 's':
		store_be16(out + 4, DNS_FLAG_QR | DNS_SERVFAIL);
		assert_int_equal(write(fake->connection_fd, out, written + 2), written + 2);
		break;
	case 'l': /* another id */
		out[2] ^= 1;
		assert_int_equal(write(fake->connection_fd, out, written + 2), written + 2);
		break;
	case '-':
		break;
	default:
		fail();
	}
}

static void on_listen(uv_poll_t *poll, int status, int events)
{
	struct fake *fake = poll->data;
	int fd = accept(fake->tcp_fd, NULL, NULL);

	(void)status;
	(void)events;
	assert_true(fd >= 0);
	if (fake->has_connection) { /* one at a time is all that the tests need */
		close(fd);
		return;
	}
	fake->connection_fd = fd;
	fake->has_connection = true;
	fake->connection.data = fake;
	uv_poll_init(&loop, &fake->connection, fd);
	uv_poll_start(&fake->connection, UV_READABLE, on_stream);
}

/* A UDP and, unless `tcp_script` is NULL, a TCP socket with one port, the kernel's choice. */
static void fake_open(struct fake *fake, const char *udp_script, const char *tcp_script)
{
	struct sockaddr_in where = { .sin_family = AF_INET,
				     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(where);

	memset(fake, 0, sizeof(*fake));
	fake->udp_script = udp_script;
	fake->tcp_script = tcp_script;
	fake->has_tcp = tcp_script != NULL;
	for (;;) {
		where.sin_port = 0;
		fake->udp_fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
		assert_int_equal(bind(fake->udp_fd, (struct sockaddr *)&where, length), 0);
		getsockname(fake->udp_fd, (struct sockaddr *)&where, &length);
		if (!fake->has_tcp)
			break;
		fake->tcp_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		if (bind(fake->tcp_fd, (struct sockaddr *)&where, length) == 0)
			break;
		close(fake->tcp_fd);
		close(fake->udp_fd);
	}
	addr_from_socket((struct sockaddr *)&where, &fake->addr);
	fake->udp.data = fake->tcp.data = fake;
	uv_poll_init(&loop, &fake->udp, fake->udp_fd);
	uv_poll_start(&fake->udp, UV_READABLE, on_udp);
	if (fake->has_tcp) {
		assert_int_equal(listen(fake->tcp_fd, 8), 0);
		uv_poll_init(&loop, &fake->tcp, fake->tcp_fd);
		uv_poll_start(&fake->tcp, UV_READABLE, on_listen);
	}
}

static void fake_close(struct fake *fake)
{
	uv_close((uv_handle_t *)&fake->udp, NULL);
	close(fake->udp_fd);
	if (fake->has_tcp) {
		uv_close((uv_handle_t *)&fake->tcp, NULL);
		close(fake->tcp_fd);
	}
	if (fake->has_connection && !uv_is_closing((uv_handle_t *)&fake->connection))
		hang_up(fake);
}

/* An address where nobody listens: the kernel answers with ICMP. */
static struct addr dead_address(void)
{
	struct sockaddr_in where = { .sin_family = AF_INET,
				     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(where);
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	struct addr addr;

	assert_int_equal(bind(fd, (struct sockaddr *)&where, length), 0);
	getsockname(fd, (struct sockaddr *)&where, &length);
	close(fd);
	addr_from_socket((struct sockaddr *)&where, &addr);
	return addr;
}

/* ---- the stage and who waits ---- */

static struct metrics metrics;
static struct forward_stage *stage;
static struct query queries[QUERIES_MAX];
static struct fake first, second, third;

static struct {
	unsigned replies, waiters, failures, ends, closed;
	struct image *image; /* of the last reply */
	bool is_outdated[4]; /* of the first replies */
	uint16_t ede;
	struct query *last;
} got;

static void on_reply(void *arg, const struct question *question, struct reply *reply)
{
	(void)arg;
	assert_true(question->name_length > 0);
	if (!reply)
		return;
	if (got.replies < COUNT_OF(got.is_outdated))
		got.is_outdated[got.replies] = reply->is_outdated;
	got.replies++;
	free(got.image);
	got.image = reply->image;
}

static void on_waiter(void *arg, struct query *query)
{
	(void)arg;
	got.waiters++;
	got.last = query;
}

static void on_failed(void *arg, struct query *query, uint16_t ede, const char *ede_text)
{
	(void)arg;
	assert_non_null(ede_text);
	got.failures++;
	got.ede = ede;
	got.last = query;
}

static void on_end(void *arg)
{
	(void)arg;
	got.ends++;
}

static void on_closed(void *arg)
{
	(void)arg;
	got.closed++;
}

static bool set_forward(struct config_forward *forward, size_t count)
{
	struct config config = { .forward = forward, .forward_count = count };
	struct upstream_list *list = upstream_list_new(&config, NULL, 0);
	bool is_new = forward_stage_set_upstreams(stage, list);

	upstream_list_drop(list);
	return is_new;
}

static bool set_upstreams(const struct addr *addresses, size_t count)
{
	struct config_forward forward[4];

	for (size_t i = 0; i < count; i++)
		forward[i] = (struct config_forward){ .kind = CONFIG_FORWARD_ADDRESS,
						      .address = addresses[i] };
	return set_forward(forward, count);
}

/* One for all names, and one for "example". */
static bool set_domain_upstream(const struct addr *general, const struct addr *of_example)
{
	struct config_forward forward[2] = {
		{ .kind = CONFIG_FORWARD_ADDRESS, .address = *general },
		{ .kind = CONFIG_FORWARD_ADDRESS, .address = *of_example, .domain_length = 9 },
	};

	memcpy(forward[1].domain, "\7example", 9);
	return set_forward(forward, 2);
}

static int set_up(void **state)
{
	struct forward_doors doors = { .loop = &loop,
				       .metrics = &metrics,
				       .on_reply = on_reply,
				       .on_waiter = on_waiter,
				       .on_failed = on_failed,
				       .on_end = on_end };
	struct config config = { 0 };

	(void)state;
	memset(&metrics, 0, sizeof(metrics));
	memset(&got, 0, sizeof(got));
	memset(queries, 0, sizeof(queries));
	uv_loop_init(&loop);
	stage = forward_stage_open(&doors, &config);
	return stage ? 0 : -1;
}

/* Every test ends here: nothing may be left in the loop. */
static int tear_down(void **state)
{
	(void)state;
	if (!got.closed)
		forward_stage_close(stage, on_closed, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	free(got.image);
	return got.closed == 1 && uv_loop_close(&loop) == 0 ? 0 : -1;
}

static struct query *prepare(unsigned index, const char *text, uint64_t wait_ms)
{
	struct query *query = &queries[index];
	struct question *question = &query->question;

	query->deadline_ms = clock_now_ms() + wait_ms;
	list_init(&query->by_cause);
	question->type = DNS_TYPE_A;
	question->qclass = DNS_CLASS_IN;
	question->name_length = (uint8_t)name_parse(text, question->name);
	name_fold(question->name, question->name_length, question->folded);
	return query;
}

static void wait_for(struct query *query)
{
	struct answer answer;

	assert_int_equal(forward_stage_ask(stage, query, clock_now_ms(), &answer), VERDICT_PENDING);
	assert_int_equal(forward_stage_wait(stage, query, clock_now_ms(), &answer),
			 VERDICT_PENDING);
}

static void ask(unsigned index, const char *text, uint64_t wait_ms)
{
	wait_for(prepare(index, text, wait_ms));
}

static void run_until_ends(unsigned count)
{
	while (got.ends < count)
		uv_run(&loop, UV_RUN_ONCE);
}

static uint64_t counted(enum metric metric)
{
	return metrics.value[metric];
}

/* ---- one exchange ---- */

static void answer_reaches_the_query_that_waits(void **state)
{
	(void)state;
	fake_open(&first, "a", NULL);
	set_upstreams(&first.addr, 1);
	ask(0, "www.example", PLENTY_MS);
	run_until_ends(1);
	assert_int_equal(got.replies, 1);
	assert_int_equal(got.waiters, 1);
	assert_ptr_equal(got.last, &queries[0]);
	assert_int_equal(got.image->answer_count, 1);
	assert_int_equal(counted(METRIC_UPSTREAM_QUERIES_UDP), 1);
	fake_close(&first);
}

static void identical_questions_share_one_exchange(void **state)
{
	(void)state;
	fake_open(&first, "a", NULL);
	set_upstreams(&first.addr, 1);
	for (unsigned i = 0; i < 50; i++)
		ask(i, i % 2 ? "WWW.example" : "www.Example", PLENTY_MS);
	run_until_ends(1);
	assert_int_equal(first.udp_count, 1);
	assert_int_equal(got.replies, 1);
	assert_int_equal(got.waiters, 50);
	assert_int_equal(counted(METRIC_UPSTREAM_COALESCED), 49);
	fake_close(&first);
}

static void questions_that_differ_in_do_or_cd_do_not(void **state)
{
	(void)state;
	fake_open(&first, "a", NULL);
	set_upstreams(&first.addr, 1);
	ask(0, "www.example", PLENTY_MS);
	prepare(1, "www.example", PLENTY_MS)->question.has_do = true;
	wait_for(&queries[1]);
	prepare(2, "www.example", PLENTY_MS)->question.flags = DNS_FLAG_CD;
	wait_for(&queries[2]);
	run_until_ends(3);
	assert_int_equal(first.udp_count, 3);
	assert_int_equal(got.waiters, 3);
	fake_close(&first);
}

static void question_upstream_says_what_the_client_said(void **state)
{
	const uint8_t *packet = first.seen[0].packet;
	size_t end = DNS_HEADER_BYTES + 13 + 4;

	(void)state;
	fake_open(&first, "a", NULL);
	set_upstreams(&first.addr, 1);
	prepare(0, "www.example", PLENTY_MS)->question.has_do = true;
	queries[0].question.flags = DNS_FLAG_CD; /* RD clear: asked with RD all the same */
	wait_for(&queries[0]);
	run_until_ends(1);
	assert_int_equal(load_be16(packet + 2), DNS_FLAG_RD | DNS_FLAG_CD | DNS_FLAG_AD);
	assert_int_equal(first.seen[0].length, end + 11);
	assert_int_equal(load_be16(packet + end + 3), DNS_UDP_EDNS_MAX);
	assert_int_equal(load_be16(packet + end + 7), 0x8000);
	fake_close(&first);
}

static void ports_and_ids_are_not_reused(void **state)
{
	unsigned same_ports = 0, same_ids = 0;
	char text[32];

	(void)state;
	fake_open(&first, "a", NULL);
	set_upstreams(&first.addr, 1);
	for (unsigned i = 0; i < 40; i++) {
		snprintf(text, sizeof(text), "n%u.example", i);
		ask(i, text, PLENTY_MS);
	}
	run_until_ends(40);
	for (unsigned i = 0; i < 40; i++) {
		assert_true(ntohs(first.seen[i].from.sin_port) >= 1024);
		for (unsigned k = 0; k < i; k++) {
			same_ports += first.seen[i].from.sin_port == first.seen[k].from.sin_port;
			same_ids +=
				load_be16(first.seen[i].packet) == load_be16(first.seen[k].packet);
		}
	}
	/* By chance, 780 pairs out of 64,512: three equal ones happen once in a few million. */
	assert_true(same_ports < 3);
	assert_true(same_ids < 3);
	fake_close(&first);
}

static void ad_of_a_loopback_upstream_is_kept(void **state)
{
	(void)state;
	fake_open(&first, "a", NULL);
	set_upstreams(&first.addr, 1);
	ask(0, "www.example", PLENTY_MS);
	run_until_ends(1);
	assert_int_equal(got.image->flags, DNS_FLAG_AD);
	fake_close(&first);
}

static void lost_packet_is_sent_again(void **state)
{
	(void)state;
	fake_open(&first, "-a", NULL);
	set_upstreams(&first.addr, 1);
	ask(0, "www.example", 1000);
	run_until_ends(1);
	assert_int_equal(got.waiters, 1);
	assert_int_equal(first.udp_count, 2);
	assert_int_equal(counted(METRIC_UPSTREAM_TIMEOUTS), 1);
	fake_close(&first);
}

/* The process was stopped, or its machine: the answer is there, and was in time. */
static void answer_that_came_during_a_pause_is_no_silence(void **state)
{
	(void)state;
	fake_open(&first, "p", NULL);
	set_upstreams(&first.addr, 1);
	ask(0, "www.example", PLENTY_MS);
	run_until_ends(1);
	assert_int_equal(got.waiters, 1);
	assert_int_equal(first.udp_count, 1);
	assert_int_equal(counted(METRIC_UPSTREAM_TIMEOUTS), 0);
	assert_int_equal(counted(METRIC_UPSTREAM_QUERIES_UDP), 1);
	fake_close(&first);
}

static void late_answer_to_the_first_packet_counts(void **state)
{
	(void)state;
	fake_open(&first, "-1", NULL);
	set_upstreams(&first.addr, 1);
	ask(0, "www.example", 1000);
	run_until_ends(1);
	assert_int_equal(got.waiters, 1);
	assert_int_equal(got.failures, 0);
	fake_close(&first);
}

static void lies_are_ignored_and_counted(void **state)
{
	(void)state;
	fake_open(&first, "l", NULL);
	set_upstreams(&first.addr, 1);
	ask(0, "www.example", PLENTY_MS);
	run_until_ends(1);
	assert_int_equal(got.waiters, 1);
	assert_int_equal(got.image->answer_count, 1);
	assert_int_equal(first.udp_count, 1);
	assert_int_equal(counted(METRIC_UPSTREAM_REPLIES_BAD), 6);
	fake_close(&first);
}

static void silence_fails_at_the_deadline(void **state)
{
	(void)state;
	fake_open(&first, "-", "-");
	set_upstreams(&first.addr, 1);
	ask(0, "www.example", 600);
	run_until_ends(1);
	assert_int_equal(got.failures, 1);
	assert_int_equal(got.replies, 0);
	assert_int_equal(got.ede, DNS_EDE_NO_REACHABLE_AUTHORITY);
	assert_int_equal(first.udp_count, 3);
	assert_true(clock_now_ms() >= queries[0].deadline_ms);
	assert_int_equal(counted(METRIC_UPSTREAM_FAILED), 1);
	fake_close(&first);
}

static void three_lost_packets_are_followed_by_tcp(void **state)
{
	(void)state;
	fake_open(&first, "-", "a");
	set_upstreams(&first.addr, 1);
	ask(0, "www.example", 1000);
	run_until_ends(1);
	assert_int_equal(got.waiters, 1);
	assert_int_equal(first.udp_count, 3);
	assert_int_equal(counted(METRIC_UPSTREAM_QUERIES_TCP), 1);
	fake_close(&first);
}

static void edns_is_left_out_when_it_is_refused(void **state)
{
	(void)state;
	fake_open(&first, "f", NULL);
	set_upstreams(&first.addr, 1);
	ask(0, "www.example", PLENTY_MS);
	run_until_ends(1);
	assert_int_equal(got.image->rcode, DNS_NOERROR);
	assert_int_equal(first.udp_count, 2);
	assert_false(has_opt(first.seen[1].packet));
	fake_close(&first);
}

#define LETTERS "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz"

static bool is_in_mixed_case(const struct seen *seen)
{
	unsigned upper_count = 0;

	for (size_t i = DNS_HEADER_BYTES + 1; i <= DNS_HEADER_BYTES + strlen(LETTERS); i++)
		upper_count += seen->packet[i] >= 'A' && seen->packet[i] <= 'Z';
	return upper_count > 0 && upper_count < strlen(LETTERS);
}

static void each_question_has_a_case_of_its_own(void **state)
{
	(void)state;
	fake_open(&first, "a", NULL);
	set_upstreams(&first.addr, 1);
	ask(0, LETTERS, PLENTY_MS);
	run_until_ends(1);
	ask(1, LETTERS, PLENTY_MS);
	run_until_ends(2);
	assert_true(is_in_mixed_case(&first.seen[0]));
	assert_true(is_in_mixed_case(&first.seen[1]));
	assert_memory_not_equal(first.seen[0].packet + DNS_HEADER_BYTES,
				first.seen[1].packet + DNS_HEADER_BYTES, strlen(LETTERS));
	fake_close(&first);
}

static void upstream_that_folds_the_case_is_asked_in_lower_case(void **state)
{
	(void)state;
	fake_open(&first, "c", NULL);
	set_upstreams(&first.addr, 1);
	ask(0, LETTERS, PLENTY_MS);
	run_until_ends(1);
	assert_int_equal(got.image->rcode, DNS_NXDOMAIN);
	assert_int_equal(first.udp_count, 2);
	assert_false(is_in_mixed_case(&first.seen[1]));
	ask(1, LETTERS, PLENTY_MS); /* remembered */
	run_until_ends(2);
	assert_int_equal(first.udp_count, 3);
	assert_false(is_in_mixed_case(&first.seen[2]));
	fake_close(&first);
}

static void forgery_in_another_case_is_not_believed(void **state)
{
	(void)state;
	fake_open(&first, "oa", NULL);
	set_upstreams(&first.addr, 1);
	ask(0, LETTERS, PLENTY_MS);
	run_until_ends(1);
	assert_int_equal(got.image->rcode, DNS_NOERROR);
	assert_int_equal(counted(METRIC_UPSTREAM_REPLIES_BAD), 1);
	ask(1, LETTERS, PLENTY_MS);
	run_until_ends(2);
	assert_true(is_in_mixed_case(&first.seen[first.udp_count - 1]));
	fake_close(&first);
}

static void no_server_is_asked_more_than_three_times_over_udp(void **state)
{
	(void)state;
	fake_open(&first, "-", "-");
	set_upstreams(&first.addr, 1);
	ask(0, "www.example", 1500);
	run_until_ends(1);
	assert_int_equal(first.udp_count, EXCHANGE_UDP_SENDS);
	fake_close(&first);
}

/* ---- two upstreams ---- */

static void open_two(const char *first_udp, const char *first_tcp, const char *second_udp,
		     const char *second_tcp)
{
	struct addr both[2];

	fake_open(&first, first_udp, first_tcp);
	fake_open(&second, second_udp, second_tcp);
	both[0] = first.addr;
	both[1] = second.addr;
	set_upstreams(both, 2);
}

static void close_two(void)
{
	fake_close(&first);
	fake_close(&second);
}

static void servfail_goes_to_the_next_upstream(void **state)
{
	(void)state;
	open_two("s", NULL, "a", NULL);
	ask(0, "www.example", PLENTY_MS);
	run_until_ends(1);
	assert_int_equal(got.image->rcode, DNS_NOERROR);
	assert_int_equal(first.udp_count, 1);
	assert_int_equal(second.udp_count, 1);
	close_two();
}

static void last_refusal_is_passed_on(void **state)
{
	(void)state;
	open_two("s", NULL, "r", NULL);
	ask(0, "www.example", PLENTY_MS);
	run_until_ends(1);
	assert_int_equal(got.waiters, 1);
	assert_int_equal(got.image->rcode, DNS_REFUSED);
	assert_int_equal(first.udp_count, 1);
	assert_int_equal(second.udp_count, 1);
	close_two();
}

static void nxdomain_is_an_answer(void **state)
{
	(void)state;
	open_two("n", NULL, "a", NULL);
	ask(0, "www.example", PLENTY_MS);
	run_until_ends(1);
	assert_int_equal(got.image->rcode, DNS_NXDOMAIN);
	assert_int_equal(second.udp_count, 0);
	close_two();
}

static void silent_upstream_is_avoided_afterwards(void **state)
{
	(void)state;
	open_two("-", NULL, "a", NULL);
	ask(0, "www.example", 2000);
	run_until_ends(1);
	assert_int_equal(first.udp_count, 1);
	for (unsigned i = 1; i < 20; i++) {
		ask(i, "other.example", 300);
		run_until_ends(i + 1);
	}
	assert_int_equal(got.waiters, 20);
	assert_int_equal(second.udp_count, 20);
	assert_int_equal(counted(METRIC_UPSTREAM_TIMEOUTS), 1); /* nobody else waited */
	while (first.udp_count < 2)				/* the duplicate */
		uv_run(&loop, UV_RUN_ONCE);
	uv_run(&loop, UV_RUN_NOWAIT);
	assert_int_equal(first.udp_count, 2);
	close_two();
}

static void one_bad_name_does_not_condemn_an_upstream(void **state)
{
	(void)state;
	open_two("-a", NULL, "a", NULL);
	ask(0, "bad.example", 2000);
	run_until_ends(1);
	ask(1, "good.example", 2000);
	while (first.udp_count < 2 || got.ends < 2)
		uv_run(&loop, UV_RUN_ONCE);
	for (unsigned i = 0; i < 10; i++) /* the duplicate's answer */
		uv_run(&loop, UV_RUN_NOWAIT);
	ask(2, "www.example", 2000);
	run_until_ends(3);
	assert_int_equal(got.waiters, 3);
	assert_int_equal(first.udp_count, 3);
	assert_int_equal(second.udp_count, 2);
	close_two();
}

static void upstream_behind_dead_ones_is_found(void **state)
{
	struct addr four[4] = { dead_address(), dead_address(), dead_address() };

	(void)state;
	fake_open(&first, "a", NULL);
	four[3] = first.addr;
	set_upstreams(four, 4);
	ask(0, "www.example", PLENTY_MS);
	run_until_ends(1);
	assert_int_equal(got.waiters, 1);
	assert_int_equal(counted(METRIC_UPSTREAM_TIMEOUTS), 0);
	fake_close(&first);
}

static void dead_upstream_is_passed_over_at_once(void **state)
{
	struct addr both[2];

	(void)state;
	fake_open(&first, "a", NULL);
	both[0] = dead_address();
	both[1] = first.addr;
	set_upstreams(both, 2);
	ask(0, "www.example", PLENTY_MS);
	run_until_ends(1);
	assert_int_equal(got.waiters, 1);
	assert_int_equal(counted(METRIC_UPSTREAM_TIMEOUTS), 0);
	fake_close(&first);
}

static void probe_under_way_outlives_no_stage(void **state)
{
	(void)state;
	open_two("-", NULL, "a", NULL);
	ask(0, "www.example", PLENTY_MS);
	run_until_ends(1);
	ask(1, "other.example", PLENTY_MS);
	run_until_ends(2);
	forward_stage_close(stage, on_closed, NULL);
	close_two();
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(got.closed, 1);
}

static void all_dead_is_a_network_error_before_the_deadline(void **state)
{
	struct addr dead = dead_address();

	(void)state;
	set_upstreams(&dead, 1);
	ask(0, "www.example", PLENTY_MS);
	run_until_ends(1);
	assert_int_equal(got.failures, 1);
	assert_int_equal(got.ede, DNS_EDE_NETWORK_ERROR);
	assert_true(clock_now_ms() < queries[0].deadline_ms);
}

/* ---- TCP ---- */

static void truncated_reply_is_fetched_over_tcp(void **state)
{
	(void)state;
	open_two("t", "a", "a", "a");
	ask(0, "www.example", PLENTY_MS);
	run_until_ends(1);
	assert_int_equal(got.image->answer_count, 1);
	assert_int_equal(first.tcp_count, 1);
	assert_int_equal(second.udp_count + second.tcp_count, 0);
	close_two();
}

/* The first upstream truncates, and its TCP fails by this script. */
static void expect_answer_from_the_second(const char *tcp_script)
{
	open_two("t", tcp_script, "-", "a");
	ask(0, "www.example", PLENTY_MS);
	run_until_ends(1);
	assert_int_equal(got.waiters, 1);
	assert_int_equal(got.image->rcode, DNS_NOERROR);
	assert_int_equal(second.udp_count, 0);
	assert_int_equal(second.tcp_count, 1);
	close_two();
}

static void refused_tcp_goes_to_the_next_upstream(void **state)
{
	(void)state;
	expect_answer_from_the_second(NULL);
}

static void closed_tcp_goes_to_the_next_upstream(void **state)
{
	(void)state;
	expect_answer_from_the_second("c");
}

static void half_a_message_goes_to_the_next_upstream(void **state)
{
	(void)state;
	expect_answer_from_the_second("h");
}

static void bad_reply_over_tcp_goes_to_the_next_upstream(void **state)
{
	(void)state;
	expect_answer_from_the_second("l");
}

static void servfail_over_tcp_goes_to_the_next_upstream(void **state)
{
	(void)state;
	expect_answer_from_the_second("s");
}

static void upstream_whose_tcp_is_silent_is_avoided_afterwards(void **state)
{
	(void)state;
	open_two("t", "-", "a", "a");
	for (unsigned i = 0; i < 10; i++) {
		ask(i, "www.example", PLENTY_MS);
		run_until_ends(i + 1);
	}
	assert_int_equal(got.waiters, 10);
	assert_int_equal(counted(METRIC_UPSTREAM_TIMEOUTS), 1);
	close_two();
}

static void silent_tcp_goes_to_the_next_upstream(void **state)
{
	(void)state;
	expect_answer_from_the_second("-");
}

static void truncated_everywhere_without_tcp_fails(void **state)
{
	(void)state;
	open_two("t", "c", "t", "h");
	ask(0, "www.example", PLENTY_MS);
	run_until_ends(1);
	assert_int_equal(got.failures, 1);
	assert_int_equal(got.ede, DNS_EDE_NETWORK_ERROR);
	close_two();
}

static void short_answer_of_another_is_taken_when_tcp_fails_everywhere(void **state)
{
	(void)state;
	open_two("t", "c", "a", "c");
	ask(0, "www.example", PLENTY_MS);
	run_until_ends(1);
	assert_int_equal(got.waiters, 1);
	assert_int_equal(got.image->answer_count, 1);
	assert_int_equal(first.udp_count, 1);
	assert_int_equal(second.udp_count, 1);
	close_two();
}

/* RFC 4035 §3.1.4.1: DS lives in the parent; the child's own servers would deny it. */
static void ds_of_a_domain_never_goes_to_its_own_upstream(void **state)
{
	struct config_forward forward[2] = { { .kind = CONFIG_FORWARD_ADDRESS },
					     { .kind = CONFIG_FORWARD_ADDRESS } };
	struct config config = { .forward = forward, .forward_count = 2 };
	struct upstream_list *list;
	struct query *query;

	(void)state;
	fake_open(&first, "t", "c");
	fake_open(&second, "a", NULL);
	forward[0].address = first.addr;
	forward[1].address = second.addr;
	forward[1].domain_length = (uint8_t)name_parse("corp.example", forward[1].domain);
	list = upstream_list_new(&config, NULL, 0);
	forward_stage_set_upstreams(stage, list);
	upstream_list_drop(list);
	query = prepare(0, "corp.example", PLENTY_MS);
	query->question.type = DNS_TYPE_DS;
	wait_for(query);
	run_until_ends(1);
	assert_int_equal(got.failures, 1);
	assert_int_equal(second.udp_count, 0);
	close_two();
}

/* ---- the stage ---- */

static void query_that_vanished_is_not_called_and_the_reply_is_kept(void **state)
{
	(void)state;
	fake_open(&first, "a", NULL);
	set_upstreams(&first.addr, 1);
	ask(0, "www.example", PLENTY_MS);
	ask(1, "www.example", PLENTY_MS);
	list_remove(&queries[0].by_cause);
	list_remove(&queries[1].by_cause);
	memset(queries, 0xaa, sizeof(queries));
	run_until_ends(1);
	assert_int_equal(got.waiters, 0);
	assert_int_equal(got.replies, 1);
	fake_close(&first);
}

static void failure_is_remembered_for_a_moment(void **state)
{
	struct answer answer;

	(void)state;
	fake_open(&first, "s", NULL);
	set_upstreams(&first.addr, 1);
	ask(0, "www.example", PLENTY_MS);
	run_until_ends(1);
	prepare(1, "www.example", PLENTY_MS);
	assert_int_equal(forward_stage_ask(stage, &queries[1], clock_now_ms(), &answer),
			 VERDICT_FAILED);
	assert_int_equal(answer.rcode, DNS_SERVFAIL);
	assert_int_equal(answer.ede, DNS_EDE_CACHED_ERROR);
	assert_int_equal(forward_stage_ask(stage, &queries[1], clock_now_ms() + 1000, &answer),
			 VERDICT_PENDING);
	prepare(2, "other.example", PLENTY_MS);
	assert_int_equal(forward_stage_ask(stage, &queries[2], clock_now_ms(), &answer),
			 VERDICT_PENDING);
	fake_close(&first);
}

/* Fails it at `now_ms`, whatever the real time is; returns for how long it is remembered. */
static uint64_t find_kept_ms(unsigned index, const char *text)
{
	struct answer answer;
	uint64_t now_ms = clock_now_ms(), kept_ms = 0;

	prepare(index, text, PLENTY_MS);
	while (forward_stage_ask(stage, &queries[index], now_ms + kept_ms, &answer) ==
	       VERDICT_FAILED)
		kept_ms += 50;
	return kept_ms;
}

static void name_that_fails_again_is_remembered_longer(void **state)
{
	struct answer answer;
	uint64_t first_ms;

	(void)state;
	fake_open(&first, "s", NULL);
	set_upstreams(&first.addr, 1);
	ask(0, "www.example", PLENTY_MS);
	run_until_ends(1);
	first_ms = find_kept_ms(1, "www.example");
	assert_in_range(first_ms, 950, 1050);
	prepare(2, "www.example", PLENTY_MS);
	forward_stage_wait(stage, &queries[2], clock_now_ms(), &answer);
	run_until_ends(2);
	assert_in_range(find_kept_ms(3, "www.example"), 1900, 2050);
	for (unsigned i = 4; i < 14; i++) {
		prepare(i, "www.example", PLENTY_MS);
		forward_stage_wait(stage, &queries[i], clock_now_ms(), &answer);
		run_until_ends(i - 1);
	}
	assert_in_range(find_kept_ms(20, "www.example"), 29900, 30050);
	fake_close(&first);
}

static void outage_does_not_add_to_a_names_failures(void **state)
{
	struct addr dead = dead_address();
	struct answer answer;

	(void)state;
	set_upstreams(&dead, 1);
	for (unsigned i = 0; i < 3; i++) {
		prepare(i, "www.example", PLENTY_MS);
		forward_stage_wait(stage, &queries[i], clock_now_ms(), &answer);
		run_until_ends(i + 1);
	}
	assert_in_range(find_kept_ms(4, "www.example"), 950, 1050);
}

static void answer_ends_the_memory_of_failures(void **state)
{
	struct answer answer;

	(void)state;
	fake_open(&first, "sas", NULL);
	set_upstreams(&first.addr, 1);
	for (unsigned i = 0; i < 3; i++) {
		prepare(i, "www.example", PLENTY_MS);
		forward_stage_wait(stage, &queries[i], clock_now_ms(), &answer);
		run_until_ends(i + 1);
	}
	assert_in_range(find_kept_ms(4, "www.example"), 950, 1050);
	fake_close(&first);
}

static void ask_many(unsigned from, unsigned to, uint8_t client)
{
	char text[32];

	for (unsigned i = from; i < to; i++) {
		snprintf(text, sizeof(text), "n%u.example", i);
		prepare(i, text, PLENTY_MS);
		queries[i].client.peer.bytes[3] = client;
		wait_for(&queries[i]);
	}
}

static void one_client_has_256_exchanges_and_the_others_wait(void **state)
{
	(void)state;
	fake_open(&first, "-", NULL);
	set_upstreams(&first.addr, 1);
	ask_many(0, 300, 1);
	assert_int_equal(counted(METRIC_UPSTREAM_QUERIES_UDP), 256);
	ask_many(300, 310, 2); /* somebody else does not */
	assert_int_equal(counted(METRIC_UPSTREAM_QUERIES_UDP), 266);
	ask(310, "n0.example", PLENTY_MS); /* nor who asks what is under way, or waits */
	ask(311, "n299.example", PLENTY_MS);
	assert_int_equal(counted(METRIC_UPSTREAM_COALESCED), 2);
	fake_close(&first);
}

static void those_that_waited_for_a_place_are_answered(void **state)
{
	(void)state;
	fake_open(&first, "a", NULL);
	set_upstreams(&first.addr, 1);
	ask_many(0, 600, 1);
	run_until_ends(600);
	assert_int_equal(got.waiters, 600);
	assert_int_equal(counted(METRIC_QUERIES_OVER_LIMIT), 0);
	fake_close(&first);
}

static void those_that_nobody_waits_for_any_more_are_not_asked(void **state)
{
	(void)state;
	fake_open(&first, "a", NULL);
	set_upstreams(&first.addr, 1);
	ask_many(0, 400, 1);
	for (unsigned i = 300; i < 390; i++)
		list_remove(&queries[i].by_cause);
	run_until_ends(310);
	for (unsigned i = 0; i < 10; i++)
		uv_run(&loop, UV_RUN_NOWAIT);
	assert_int_equal(got.ends, 310);
	assert_int_equal(got.waiters, 310);
	fake_close(&first);
}

static void flushed_under_way_is_answered_but_not_to_be_kept(void **state)
{
	(void)state;
	fake_open(&first, "a", NULL);
	set_upstreams(&first.addr, 1);
	ask(0, "www.example", PLENTY_MS);
	ask(1, "www.other", PLENTY_MS);
	forward_stage_flush(stage, (const uint8_t *)"\7example", 9);
	ask(2, "www.example", PLENTY_MS); /* asked after it: anew */
	ask(3, "www.other", PLENTY_MS);
	run_until_ends(3);
	assert_int_equal(first.udp_count, 3);
	assert_int_equal(got.waiters, 4);
	assert_true(got.is_outdated[0]);
	assert_false(got.is_outdated[1]);
	assert_false(got.is_outdated[2]);
	fake_close(&first);
}

static void flush_forgets_failures(void **state)
{
	(void)state;
	fake_open(&first, "s", NULL);
	set_upstreams(&first.addr, 1);
	ask(0, "www.example", PLENTY_MS);
	run_until_ends(1);
	forward_stage_flush(stage, (const uint8_t *)"\7example", 9);
	ask(1, "www.example", PLENTY_MS);
	run_until_ends(2);
	fake_close(&first);
}

static void what_the_old_upstreams_fail_goes_to_the_new_ones(void **state)
{
	(void)state;
	fake_open(&first, "s", "s");
	fake_open(&second, "a", NULL);
	set_upstreams(&first.addr, 1);
	ask(0, "www.example", PLENTY_MS);
	ask(1, "www.example", PLENTY_MS);
	assert_true(set_upstreams(&second.addr, 1));
	assert_false(set_upstreams(&second.addr, 1));
	run_until_ends(1);
	assert_int_equal(got.failures, 0);
	assert_int_equal(got.replies, 1);
	assert_int_equal(got.waiters, 2);
	assert_int_equal(got.image->answer_count, 1);
	assert_int_equal(second.udp_count, 1);
	fake_close(&first);
	fake_close(&second);
}

static void upstreams_swapped_under_way_lose_nobody(void **state)
{
	(void)state;
	fake_open(&first, "a", NULL);
	fake_open(&second, "a", NULL);
	set_upstreams(&first.addr, 1);
	ask_many(0, 300, 1);
	set_upstreams(&second.addr, 1);
	ask_many(300, 600, 1);
	run_until_ends(600);
	assert_int_equal(got.waiters, 600);
	assert_int_equal(got.failures, 0);
	close_two();
}

static void a_probe_under_way_keeps_no_question_from_new_upstreams(void **state)
{
	(void)state;
	open_two("-", NULL, "as", NULL);
	fake_open(&third, "a", NULL);
	ask(0, "www.example", 2000);
	run_until_ends(1);
	ask(1, "other.example",
	    4000); /* to the second, and to the first to see whether it is back */
	set_upstreams(&third.addr, 1);
	run_until_ends(2);
	assert_int_equal(got.waiters, 2);
	assert_int_equal(got.failures, 0);
	assert_int_equal(got.image->rcode, DNS_NOERROR);
	close_two();
	fake_close(&third);
}

/* A bare reply of a rcode is remembered like silence (RFC 9520 §2), and is what is said again. */
static void any_failure_is_remembered(void **state)
{
	static const struct {
		const char *script;
		uint16_t rcode;
	} rows[] = { { "s", DNS_SERVFAIL }, { "r", DNS_REFUSED }, { "N", 9 }, { "i", DNS_NOTIMP } };
	struct answer answer;

	(void)state;
	fake_open(&first, "s", NULL);
	set_upstreams(&first.addr, 1);
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct query *again;

		first.udp_script = rows[i].script;
		forward_stage_flush(stage, (const uint8_t *)"", 1);
		ask(i, "www.example", PLENTY_MS);
		run_until_ends(i + 1);
		assert_int_equal(got.image->rcode, rows[i].rcode);
		again = prepare(10, "www.example", PLENTY_MS);
		assert_int_equal(forward_stage_ask(stage, again, clock_now_ms(), &answer),
				 VERDICT_FAILED);
		assert_int_equal(answer.rcode, rows[i].rcode);
		assert_int_equal(answer.ede, DNS_EDE_CACHED_ERROR);
	}
	fake_close(&first);
}

static void a_referral_is_no_answer(void **state)
{
	(void)state;
	open_two("R", NULL, "a", NULL);
	ask(0, "www.example", PLENTY_MS);
	run_until_ends(1);
	assert_int_equal(got.waiters, 1);
	assert_int_equal(got.image->rcode, DNS_NOERROR);
	assert_int_equal(second.udp_count, 1);
	close_two();
	fake_open(&third, "R", NULL);
	set_upstreams(&third.addr, 1);
	ask(1, "other.example", PLENTY_MS);
	run_until_ends(2);
	assert_int_equal(got.failures, 1);
	fake_close(&third);
}

static void an_extended_error_of_an_upstream_is_not_passed_on(void **state)
{
	(void)state;
	fake_open(&first, "B", NULL);
	set_upstreams(&first.addr, 1);
	ask(0, "www.example", PLENTY_MS);
	run_until_ends(1);
	assert_int_equal(got.failures, 1);
	fake_close(&first);
}

static void who_wants_proofs_gets_them_from_the_upstream_that_takes_edns(void **state)
{
	(void)state;
	open_two("f", NULL, "a", NULL);
	prepare(0, "www.example", PLENTY_MS)->question.has_do = true;
	wait_for(&queries[0]);
	run_until_ends(1);
	assert_int_equal(got.waiters, 1);
	assert_int_equal(first.udp_count, 1);
	assert_int_equal(second.udp_count, 1);
	close_two();
}

static void who_wants_proofs_gets_an_answer_without_them_when_nobody_has_them(void **state)
{
	(void)state;
	open_two("f", NULL, "s", NULL);
	prepare(0, "www.example", PLENTY_MS)->question.has_do = true;
	wait_for(&queries[0]);
	run_until_ends(1);
	assert_int_equal(got.image->rcode, DNS_NOERROR);
	assert_true(got.is_outdated[0]); /* perhaps the other has them next time */
	close_two();
}

static void an_upstream_that_refuses_edns_is_asked_without_from_then_on(void **state)
{
	(void)state;
	fake_open(&first, "f", NULL);
	set_upstreams(&first.addr, 1);
	for (unsigned i = 0; i < 5; i++) {
		ask_many(i, i + 1, 1);
		run_until_ends(i + 1);
	}
	assert_int_equal(got.waiters, 5);
	assert_int_equal(first.udp_count, 6);
	fake_close(&first);
}

/* Silent over UDP; over TCP it takes the first question and says nothing, and answers the second.
 */
static void the_last_question_is_kept_for_an_upstream_that_comes_back_late(void **state)
{
	(void)state;
	fake_open(&first, "-", "-a");
	set_upstreams(&first.addr, 1);
	ask(0, "www.example", 3000);
	run_until_ends(1);
	assert_int_equal(got.waiters, 1);
	assert_int_equal(first.udp_count, 3);
	assert_int_equal(first.tcp_count, 2);
	fake_close(&first);
}

static void two_hundred_questions_leave_from_as_many_ports(void **state)
{
	static bool port_seen[65536], id_seen[65536];
	unsigned ports = 0, ids = 0;

	(void)state;
	memset(port_seen, 0, sizeof(port_seen));
	memset(id_seen, 0, sizeof(id_seen));
	fake_open(&first, "a", NULL);
	set_upstreams(&first.addr, 1);
	for (unsigned i = 0; i < 200; i++) {
		const struct seen *seen = &first.seen[i % SEEN_MAX];
		unsigned port, id;

		ask_many(i, i + 1, 1);
		run_until_ends(i + 1);
		port = ntohs(seen->from.sin_port);
		id = load_be16(seen->packet);
		ports += !port_seen[port];
		ids += !id_seen[id];
		port_seen[port] = id_seen[id] = true;
	}
	assert_true(ports >= 195);
	assert_true(ids >= 195);
	fake_close(&first);
}

/* The question that an upstream saw, from a client of ours. */
static struct query *come_back(unsigned index, const struct seen *seen)
{
	char text[NAME_TEXT_MAX];
	struct query *back;

	name_format(seen->packet + DNS_HEADER_BYTES, text);
	back = prepare(index, text, PLENTY_MS);
	memcpy(back->question.name, seen->packet + DNS_HEADER_BYTES, back->question.name_length);
	return back;
}

static void upstream_that_leads_back_is_named_and_set_aside(void **state)
{
	struct query *back;
	struct answer answer;

	(void)state;
	fake_open(&first, "-s", NULL);
	set_upstreams(&first.addr, 1);
	ask(0, LETTERS, PLENTY_MS);
	while (first.udp_count < 1 || first.loop_checks < 1)
		uv_run(&loop, UV_RUN_ONCE);
	back = come_back(1, &first.loop_check);
	assert_int_equal(forward_stage_ask(stage, back, clock_now_ms(), &answer), VERDICT_FAILED);
	assert_int_equal(answer.ede, DNS_EDE_OTHER);
	assert_non_null(strstr(answer.ede_text, "leads back"));
	assert_non_null(strstr(answer.ede_text, "127.0.0.1"));
	answer_udp(&first, &first.seen[0], DNS_SERVFAIL, false);
	run_until_ends(1);
	assert_int_equal(got.failures, 1);
	assert_int_equal(got.ede, DNS_EDE_OTHER);
	prepare(2, "other.example", PLENTY_MS);
	assert_int_equal(forward_stage_ask(stage, &queries[2], clock_now_ms(), &answer),
			 VERDICT_FAILED);
	assert_int_equal(forward_stage_ask(stage, &queries[2], clock_now_ms() + 30000, &answer),
			 VERDICT_PENDING);
	assert_int_equal(counted(METRIC_UPSTREAM_LOOPS), 1);
	fake_close(&first);
}

/* Whoever answers for the name has seen the case as well, and may have it sent to us. */
static void question_that_comes_back_in_its_case_ends_and_condemns_nobody(void **state)
{
	uint64_t now_ms = clock_now_ms() + 2000; /* the next look is due */
	struct answer answer;

	(void)state;
	fake_open(&first, "a", NULL);
	set_upstreams(&first.addr, 1);
	ask(0, LETTERS, PLENTY_MS);
	run_until_ends(1);
	while (first.loop_checks < 1)
		uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(forward_stage_ask(stage, come_back(1, &first.seen[0]), now_ms, &answer),
			 VERDICT_FAILED);
	assert_int_equal(answer.ede, DNS_EDE_OTHER);
	assert_non_null(strstr(answer.ede_text, "leads back"));
	prepare(2, "other.example", PLENTY_MS);
	assert_int_equal(forward_stage_ask(stage, &queries[2], now_ms, &answer), VERDICT_PENDING);
	assert_int_equal(counted(METRIC_UPSTREAM_LOOPS), 0);
	while (first.loop_checks < 2) /* and looks at once whether it does lead back */
		uv_run(&loop, UV_RUN_ONCE);
	fake_close(&first);
}

static void without_upstreams_a_question_fails(void **state)
{
	struct answer answer;

	(void)state;
	prepare(0, "www.example", PLENTY_MS);
	assert_int_equal(forward_stage_ask(stage, &queries[0], 0, &answer), VERDICT_FAILED);
	set_upstreams(NULL, 0);
	assert_int_equal(forward_stage_ask(stage, &queries[0], 0, &answer), VERDICT_FAILED);
	assert_int_equal(answer.rcode, DNS_SERVFAIL);
	assert_int_equal(answer.ede, DNS_EDE_NO_REACHABLE_AUTHORITY);
}

static void forward_none_refuses(void **state)
{
	struct config_forward forward = { .kind = CONFIG_FORWARD_NONE };
	struct config config = { .forward = &forward, .forward_count = 1 };
	struct upstream_list *list = upstream_list_new(&config, NULL, 0);
	struct answer answer;

	(void)state;
	forward_stage_set_upstreams(stage, list);
	upstream_list_drop(list);
	prepare(0, "www.example", PLENTY_MS);
	assert_int_equal(forward_stage_ask(stage, &queries[0], 0, &answer), VERDICT_ANSWERED);
	assert_int_equal(answer.rcode, DNS_REFUSED);
	assert_true(answer.no_recursion);
}

/* ---- other upstreams ---- */

static void begin_under_the_first(const char *script)
{
	fake_open(&first, "-", NULL);
	fake_open(&second, script, NULL);
	set_upstreams(&first.addr, 1);
	ask(0, "www.example", PLENTY_MS);
	while (first.udp_count < 1)
		uv_run(&loop, UV_RUN_ONCE);
}

static void what_is_under_way_goes_to_the_new_upstreams_at_once(void **state)
{
	(void)state;
	begin_under_the_first("a");
	set_upstreams(&second.addr, 1);
	ask(1, "www.example", PLENTY_MS);
	answer_udp(&first, &first.seen[0], DNS_NXDOMAIN, false);
	run_until_ends(1);
	assert_int_equal(got.waiters, 2);
	assert_int_equal(got.image->rcode, DNS_NOERROR);
	assert_false(got.is_outdated[0]);
	assert_int_equal(first.udp_count, 1);
	assert_int_equal(second.udp_count, 1);
	close_two();
}

static void what_goes_where_it_went_is_left_alone(void **state)
{
	(void)state;
	begin_under_the_first("a"); /* "www.example" */
	set_domain_upstream(&second.addr, &first.addr);
	answer_udp(&first, &first.seen[0], 0, true);
	run_until_ends(1);
	assert_int_equal(second.udp_count, 0);
	assert_false(got.is_outdated[0]);
	ask(1, "www.other", PLENTY_MS);
	run_until_ends(2);
	assert_int_equal(second.udp_count, 1);
	close_two();
}

static void what_is_under_way_goes_to_a_new_upstream_of_its_domain(void **state)
{
	(void)state;
	begin_under_the_first("a");
	set_domain_upstream(&first.addr, &second.addr);
	run_until_ends(1);
	assert_int_equal(got.waiters, 1);
	assert_int_equal(second.udp_count, 1);
	close_two();
}

static void what_nobody_is_to_be_asked_any_more_is_answered_but_not_to_be_kept(void **state)
{
	struct config_forward none = { .kind = CONFIG_FORWARD_NONE };

	(void)state;
	begin_under_the_first("a");
	set_forward(&none, 1);
	answer_udp(&first, &first.seen[0], 0, true);
	run_until_ends(1);
	assert_int_equal(got.waiters, 1);
	assert_true(got.is_outdated[0]);
	close_two();
}

static void what_may_be_asked_again_is_asked_of_the_new_upstreams_and_kept(void **state)
{
	struct config_forward none = { .kind = CONFIG_FORWARD_NONE };

	(void)state;
	begin_under_the_first("a");
	set_forward(&none, 1);
	set_upstreams(&second.addr, 1);
	ask(1, "www.example", PLENTY_MS);
	answer_udp(&first, &first.seen[0], DNS_NXDOMAIN, false);
	run_until_ends(2);
	assert_int_equal(got.waiters, 2);
	assert_int_equal(second.udp_count, 2);
	assert_false(got.is_outdated[0]);
	assert_false(got.is_outdated[1]);
	close_two();
}

static void what_nobody_waits_for_is_not_asked_of_the_new_upstreams(void **state)
{
	(void)state;
	begin_under_the_first("a");
	list_remove(&queries[0].by_cause);
	set_upstreams(&second.addr, 1);
	ask(1, "www.example", PLENTY_MS);
	answer_udp(&first, &first.seen[0], DNS_NXDOMAIN, false);
	run_until_ends(1);
	assert_int_equal(got.waiters, 1);
	assert_int_equal(got.image->rcode, DNS_NOERROR);
	assert_false(got.is_outdated[0]);
	assert_int_equal(second.udp_count, 1);
	close_two();
}

static void who_came_last_decides_how_long_the_new_upstreams_have(void **state)
{
	(void)state;
	begin_under_the_first("-a"); /* the first packet is lost */
	queries[0].deadline_ms = clock_now_ms();
	ask(1, "www.example", PLENTY_MS);
	set_upstreams(&second.addr, 1);
	run_until_ends(1);
	assert_int_equal(got.waiters, 2);
	assert_int_equal(second.udp_count, 2);
	close_two();
}

static void flushed_and_begun_again_is_not_to_be_kept_either(void **state)
{
	(void)state;
	begin_under_the_first("a");
	forward_stage_flush(stage, (const uint8_t *)"\7example", 9);
	set_upstreams(&second.addr, 1);
	run_until_ends(1);
	ask(1, "www.example", PLENTY_MS);
	run_until_ends(2);
	assert_int_equal(got.waiters, 2);
	assert_int_equal(second.udp_count, 2);
	assert_true(got.is_outdated[0]);
	assert_false(got.is_outdated[1]);
	close_two();
}

static void of_two_changes_in_a_row_the_last_counts(void **state)
{
	struct config_forward none = { .kind = CONFIG_FORWARD_NONE };

	(void)state;
	begin_under_the_first("a");
	fake_open(&third, "a", NULL);
	set_upstreams(&second.addr, 1);
	set_upstreams(&third.addr, 1);
	run_until_ends(1);
	assert_int_equal(got.waiters, 1);
	assert_int_equal(second.udp_count, 0);
	assert_int_equal(third.udp_count, 1);
	ask(1, "www.other", PLENTY_MS);
	set_upstreams(&second.addr, 1);
	set_forward(&none, 1);
	run_until_ends(2);
	assert_int_equal(got.failures, 1); /* at once */
	close_two();
	fake_close(&third);
}

static void close_ends_what_is_under_way_without_a_word(void **state)
{
	(void)state;
	open_two("-", "-", "t", "-");
	ask(0, "www.example", PLENTY_MS);
	ask(1, "www.example", PLENTY_MS);
	ask(2, "other.example", PLENTY_MS);
	while (first.udp_count < 2)
		uv_run(&loop, UV_RUN_ONCE);
	forward_stage_close(stage, on_closed, NULL);
	assert_int_equal(got.closed, 0);
	assert_true(list_is_empty(&queries[0].by_cause));
	close_two();
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(got.closed, 1);
	assert_int_equal(got.ends, 0);
}

static void close_in_the_middle_of_tcp_leaves_nothing(void **state)
{
	(void)state;
	fake_open(&first, "t", "-");
	set_upstreams(&first.addr, 1);
	ask(0, "www.example", PLENTY_MS);
	while (first.tcp_count < 1)
		uv_run(&loop, UV_RUN_ONCE);
	forward_stage_close(stage, on_closed, NULL);
	fake_close(&first);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(got.closed, 1);
	assert_int_equal(got.ends, 0);
}

#define loop_test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		loop_test(answer_reaches_the_query_that_waits),
		loop_test(identical_questions_share_one_exchange),
		loop_test(questions_that_differ_in_do_or_cd_do_not),
		loop_test(question_upstream_says_what_the_client_said),
		loop_test(ports_and_ids_are_not_reused),
		loop_test(ad_of_a_loopback_upstream_is_kept),
		loop_test(lost_packet_is_sent_again),
		loop_test(answer_that_came_during_a_pause_is_no_silence),
		loop_test(late_answer_to_the_first_packet_counts),
		loop_test(lies_are_ignored_and_counted),
		loop_test(silence_fails_at_the_deadline),
		loop_test(three_lost_packets_are_followed_by_tcp),
		loop_test(edns_is_left_out_when_it_is_refused),
		loop_test(each_question_has_a_case_of_its_own),
		loop_test(upstream_that_folds_the_case_is_asked_in_lower_case),
		loop_test(forgery_in_another_case_is_not_believed),
		loop_test(no_server_is_asked_more_than_three_times_over_udp),
		loop_test(servfail_goes_to_the_next_upstream),
		loop_test(last_refusal_is_passed_on),
		loop_test(nxdomain_is_an_answer),
		loop_test(silent_upstream_is_avoided_afterwards),
		loop_test(one_bad_name_does_not_condemn_an_upstream),
		loop_test(upstream_behind_dead_ones_is_found),
		loop_test(dead_upstream_is_passed_over_at_once),
		loop_test(probe_under_way_outlives_no_stage),
		loop_test(all_dead_is_a_network_error_before_the_deadline),
		loop_test(truncated_reply_is_fetched_over_tcp),
		loop_test(refused_tcp_goes_to_the_next_upstream),
		loop_test(closed_tcp_goes_to_the_next_upstream),
		loop_test(half_a_message_goes_to_the_next_upstream),
		loop_test(bad_reply_over_tcp_goes_to_the_next_upstream),
		loop_test(servfail_over_tcp_goes_to_the_next_upstream),
		loop_test(upstream_whose_tcp_is_silent_is_avoided_afterwards),
		loop_test(silent_tcp_goes_to_the_next_upstream),
		loop_test(truncated_everywhere_without_tcp_fails),
		loop_test(short_answer_of_another_is_taken_when_tcp_fails_everywhere),
		loop_test(ds_of_a_domain_never_goes_to_its_own_upstream),
		loop_test(query_that_vanished_is_not_called_and_the_reply_is_kept),
		loop_test(failure_is_remembered_for_a_moment),
		loop_test(name_that_fails_again_is_remembered_longer),
		loop_test(outage_does_not_add_to_a_names_failures),
		loop_test(answer_ends_the_memory_of_failures),
		loop_test(one_client_has_256_exchanges_and_the_others_wait),
		loop_test(those_that_waited_for_a_place_are_answered),
		loop_test(those_that_nobody_waits_for_any_more_are_not_asked),
		loop_test(flushed_under_way_is_answered_but_not_to_be_kept),
		loop_test(flush_forgets_failures),
		loop_test(what_the_old_upstreams_fail_goes_to_the_new_ones),
		loop_test(upstreams_swapped_under_way_lose_nobody),
		loop_test(a_probe_under_way_keeps_no_question_from_new_upstreams),
		loop_test(any_failure_is_remembered),
		loop_test(a_referral_is_no_answer),
		loop_test(an_extended_error_of_an_upstream_is_not_passed_on),
		loop_test(who_wants_proofs_gets_them_from_the_upstream_that_takes_edns),
		loop_test(who_wants_proofs_gets_an_answer_without_them_when_nobody_has_them),
		loop_test(an_upstream_that_refuses_edns_is_asked_without_from_then_on),
		loop_test(the_last_question_is_kept_for_an_upstream_that_comes_back_late),
		loop_test(two_hundred_questions_leave_from_as_many_ports),
		loop_test(upstream_that_leads_back_is_named_and_set_aside),
		loop_test(question_that_comes_back_in_its_case_ends_and_condemns_nobody),
		loop_test(without_upstreams_a_question_fails),
		loop_test(forward_none_refuses),
		loop_test(what_is_under_way_goes_to_the_new_upstreams_at_once),
		loop_test(what_goes_where_it_went_is_left_alone),
		loop_test(what_is_under_way_goes_to_a_new_upstream_of_its_domain),
		loop_test(what_nobody_is_to_be_asked_any_more_is_answered_but_not_to_be_kept),
		loop_test(what_may_be_asked_again_is_asked_of_the_new_upstreams_and_kept),
		loop_test(what_nobody_waits_for_is_not_asked_of_the_new_upstreams),
		loop_test(who_came_last_decides_how_long_the_new_upstreams_have),
		loop_test(flushed_and_begun_again_is_not_to_be_kept_either),
		loop_test(of_two_changes_in_a_row_the_last_counts),
		loop_test(close_ends_what_is_under_way_without_a_word),
		loop_test(close_in_the_middle_of_tcp_leaves_nothing),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
