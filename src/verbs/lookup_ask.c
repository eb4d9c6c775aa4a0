#include "verbs/lookup_ask.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/hash.h"
#include "dns/dns.h"
#include "dns/reply.h"

#define SENDS 2 /* the second when half the time is over: the first may have been lost */

struct exchange {
	int fd;
	uint64_t deadline_ms;
	struct lookup_reply_expect expect;
	uint8_t query[2 + REPLY_QUERY_MAX]; /* behind room for the length that TCP wants */
	size_t query_length;
	uint8_t *packet; /* DNS_MESSAGE_MAX bytes */
};

static int open_socket(const struct addr *server, int type)
{
	union addr_socket name;
	socklen_t length = addr_to_socket(server, &name);
	int fd = socket(server->family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), error;

	if (fd < 0)
		return -errno;
	if (connect(fd, &name.sa, length) == 0 || errno == EINPROGRESS)
		return fd;
	error = -errno;
	close(fd);
	return error;
}

/* 0 when the socket is ready, or -errno. */
static int wait_for(int fd, short events, uint64_t until_ms)
{
	struct pollfd poller = { .fd = fd, .events = events };
	uint64_t now_ms;
	int count;

	do {
		now_ms = clock_now_ms();
		if (now_ms >= until_ms)
			return -ETIMEDOUT;
		count = poll(&poller, 1, (int)(until_ms - now_ms));
	} while (count == 0 || (count < 0 && errno == EINTR));
	return count < 0 ? -errno : 0;
}

/* Judges what came; 0 when it is the reply, -EAGAIN when it is none. */
static int judge(struct exchange *exchange, size_t length, struct lookup_answer *out)
{
	switch (lookup_reply_parse(exchange->packet, length, &exchange->expect, &out->reply)) {
	case LOOKUP_REPLY_OK:
		return 0;
	case LOOKUP_REPLY_BAD:
		out->bad_count++;
		return -EAGAIN;
	case LOOKUP_REPLY_NO_MEMORY:
		return -ENOMEM;
	}
	return -EINVAL;
}

/* --- UDP --- */

/* Waits for the reply; whatever is none is passed over (a forged one must not end the wait). */
static int receive_udp(struct exchange *exchange, uint64_t until_ms, struct lookup_answer *out)
{
	int error;

	do {
		ssize_t count;

		error = wait_for(exchange->fd, POLLIN, until_ms);
		if (error)
			return error;
		count = recv(exchange->fd, exchange->packet, DNS_MESSAGE_MAX, 0);
		if (count < 0)
			error = errno == EINTR ? -EAGAIN : -errno;
		else
			error = judge(exchange, (size_t)count, out);
	} while (error == -EAGAIN);
	return error;
}

static int ask_udp(struct exchange *exchange, uint64_t timeout_ms, struct lookup_answer *out)
{
	uint64_t begin_ms = exchange->deadline_ms - timeout_ms;
	int error = -ETIMEDOUT;

	for (unsigned i = 1; i <= SENDS && error == -ETIMEDOUT; i++) {
		if (send(exchange->fd, exchange->query + 2, exchange->query_length, 0) < 0)
			return -errno;
		error = receive_udp(exchange, begin_ms + timeout_ms * i / SENDS, out);
	}
	return error;
}

/* --- TCP --- */

static int send_tcp(struct exchange *exchange)
{
	size_t length = exchange->query_length + 2, sent = 0;

	store_be16(exchange->query, (uint16_t)exchange->query_length);
	while (sent < length) {
		int error = wait_for(exchange->fd, POLLOUT, exchange->deadline_ms);
		ssize_t count;

		if (error)
			return error;
		count = send(exchange->fd, exchange->query + sent, length - sent, MSG_NOSIGNAL);
		if (count < 0 && errno != EINTR && errno != EAGAIN)
			return -errno;
		sent += count > 0 ? (size_t)count : 0;
	}
	return 0;
}

static int receive_exactly(struct exchange *exchange, uint8_t *out, size_t length)
{
	size_t have = 0;

	while (have < length) {
		int error = wait_for(exchange->fd, POLLIN, exchange->deadline_ms);
		ssize_t count;

		if (error)
			return error;
		count = recv(exchange->fd, out + have, length - have, 0);
		if (count == 0)
			return -ECONNRESET;
		if (count < 0 && errno != EINTR && errno != EAGAIN)
			return -errno;
		have += count > 0 ? (size_t)count : 0;
	}
	return 0;
}

static int ask_tcp(struct exchange *exchange, struct lookup_answer *out)
{
	int error = send_tcp(exchange);
	uint8_t prefix[2];

	if (error)
		return error;
	do {
		size_t length;

		error = receive_exactly(exchange, prefix, sizeof(prefix));
		if (error)
			return error;
		length = load_be16(prefix);
		error = receive_exactly(exchange, exchange->packet, length);
		if (error)
			return error;
		error = judge(exchange, length, out);
	} while (error == -EAGAIN);
	return error;
}

/* The reply was cut: asks for the whole one, and keeps the cut one if that fails. */
static void ask_again_over_tcp(const struct addr *server, struct exchange *exchange,
			       struct lookup_answer *out)
{
	struct lookup_answer whole = { 0 };

	exchange->fd = open_socket(server, SOCK_STREAM);
	out->tcp_error = exchange->fd < 0 ? exchange->fd : ask_tcp(exchange, &whole);
	if (exchange->fd >= 0)
		close(exchange->fd);
	out->bad_count += whole.bad_count;
	if (out->tcp_error)
		return;
	lookup_reply_deinit(&out->reply);
	out->reply = whole.reply;
	out->is_over_tcp = true;
}

void lookup_ask(const struct addr *server, const struct lookup_question *question,
		uint64_t timeout_ms, struct lookup_answer *out)
{
	struct exchange exchange = { .packet = malloc(DNS_MESSAGE_MAX) };
	uint64_t begin_us = clock_now_us();

	*out = (struct lookup_answer){ .question = *question, .is_asked = true };
	exchange.deadline_ms = clock_now_ms() + timeout_ms;
	exchange.expect = (struct lookup_reply_expect){ .type = question->type,
							.name = question->name,
							.name_length = question->name_length };
	hash_random(&exchange.expect.id, sizeof(exchange.expect.id));
	exchange.query_length =
		reply_encode_query(exchange.expect.id, 0, question->name, question->name_length,
				   question->type, DNS_CLASS_IN, true, false, exchange.query + 2);
	exchange.fd = exchange.packet ? open_socket(server, SOCK_DGRAM) : -ENOMEM;
	if (exchange.fd < 0) {
		out->error = exchange.fd;
		goto out;
	}
	out->error = ask_udp(&exchange, timeout_ms, out);
	close(exchange.fd);
	if (out->error == 0 && (out->reply.flags & DNS_FLAG_TC)) {
		exchange.deadline_ms = clock_now_ms() + timeout_ms;
		ask_again_over_tcp(server, &exchange, out);
	}
	out->took_us = clock_now_us() - begin_us;
out:
	free(exchange.packet);
}
