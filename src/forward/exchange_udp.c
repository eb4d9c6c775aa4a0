/*
 * The set is an epoll of its own, and the loop's epoll watches that one descriptor: to watch a
 * socket that lives for one reply takes libuv six system calls, here it takes one, for a descriptor
 * that is closed leaves the set by itself (epoll(7): as long as nobody has duplicated it). The set
 * is level-triggered all the way: what one wake leaves unread wakes again.
 *
 * The queries of one turn of the loop leave together at its end: the cached answers of the same
 * batch do not wait for their sockets, and an upstream on this host is woken once, not by each.
 *
 * A socket is young until then, and for one turn more: an upstream on this host has often answered
 * by the end of it. So each is read once without being in the set, and only the others enter it,
 * which the kernel charges for twice, at the entry and at the close.
 */
#include "forward/exchange_udp.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "dns/reply.h"

#define PORT_FIRST 1024
/* Nomad hands these out (client.min_dynamic_port, max_dynamic_port): a task that binds its port in
 * the moment in which a question has it would not start. */
#define PORT_NOMAD_FIRST 20000
#define PORT_NOMAD_COUNT 12001
#define PORT_COUNT (65536 - PORT_FIRST - PORT_NOMAD_COUNT)
#define BIND_TRIES 8	  /* then the kernel chooses: most ports must be taken */
#define PACKET_MAX 4096	  /* we ask for 1,232 at most; some send a little more */
#define PACKETS_A_WAKE 16 /* a flood on one socket must not hold up the others */
#define READY_MAX 64	  /* sockets per system call */
#define YOUNG_MAX 128	  /* queries put off, or just sent; the next one is sent at once */
#define ROUNDS_MAX 16	  /* such calls before the loop gets its turn */
#define WARN_EVERY_MS 60000

struct exchange_udp_pool {
	uv_poll_t poll;
	uv_idle_t idle; /* active while there are young ones: then the loop does not wait */
	unsigned open_handles;
	unsigned open_count, open_max; /* sockets */
	struct log_brake brake;
	int fd;
	struct random *random;
	struct exchange_udp *reading; /* NULL: it was closed meanwhile */
	/* What the last call found. A question that is closed is taken out of both lists. */
	unsigned ready_count;
	struct epoll_event ready[READY_MAX];
	/* In the order of their sockets' opening: first the sent ones, which are to be read. */
	unsigned sent_count, young_count;
	struct young {
		struct exchange_udp *udp;
		size_t length;
		uint8_t query[REPLY_QUERY_MAX];
	} young[YOUNG_MAX];
	void (*closed)(void *arg);
	void *closed_arg;
};

static uint16_t draw_port(struct random *random)
{
	uint32_t drawn;

	random_draw(random, &drawn, sizeof(drawn));
	drawn = PORT_FIRST + drawn % PORT_COUNT;
	return (uint16_t)(drawn < PORT_NOMAD_FIRST ? drawn : drawn + PORT_NOMAD_COUNT);
}

/* RFC 5452 §9.2, RFC 6056 §3.3.1: all that is practicable, from the kernel's randomness. */
static int bind_random_port(int fd, const struct addr *upstream, struct random *random)
{
	struct addr local = { .family = upstream->family };
	union addr_socket where;
	socklen_t length;

	for (unsigned i = 0; i < BIND_TRIES; i++) {
		local.port = draw_port(random);
		length = addr_to_socket(&local, &where);
		if (bind(fd, &where.sa, length) == 0)
			return 0;
		if (errno != EADDRINUSE && errno != EACCES)
			return -errno;
	}
	local.port = 0;
	length = addr_to_socket(&local, &where);
	return bind(fd, &where.sa, length) ? -errno : 0;
}

static int connect_to(int fd, const struct addr *upstream, struct random *random)
{
	union addr_socket where;
	socklen_t where_length = addr_to_socket(upstream, &where);
	int result = bind_random_port(fd, upstream, random);

	if (result)
		return result;
	return connect(fd, &where.sa, where_length) ? -errno : 0;
}

static int send_now(int fd, const uint8_t *query, size_t length)
{
	return send(fd, query, length, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int watch(struct exchange_udp *udp)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = udp };

	return epoll_ctl(udp->pool->fd, EPOLL_CTL_ADD, udp->fd, &event) ? -errno : 0;
}

/* Hands over what has come to a question, until it is closed. Whether it is still open. */
static bool read_packets(struct exchange_udp *udp)
{
	struct exchange_udp_pool *pool = udp->pool;
	uint8_t packet[PACKET_MAX];

	pool->reading = udp;
	for (unsigned i = 0; i < PACKETS_A_WAKE && pool->reading; i++) {
		ssize_t length = recv(udp->fd, packet, sizeof(packet), MSG_TRUNC);

		if (length >= 0)
			udp->doors->on_packet(udp, packet,
					      length > PACKET_MAX ? 0 : (size_t)length);
		else if (errno == EAGAIN)
			break;
		else if (errno != EINTR)
			udp->doors->on_error(udp, -errno);
	}
	return pool->reading;
}

/* Reads those that were sent a turn ago; who has no answer yet is watched from now on. */
static void read_sent(struct exchange_udp_pool *pool)
{
	for (unsigned i = 0; i < pool->sent_count; i++) {
		struct exchange_udp *udp = pool->young[i].udp;
		int result;

		if (!udp || !read_packets(udp))
			continue;
		udp->young = 0;
		result = watch(udp);
		if (result)
			udp->doors->on_error(udp, result);
	}
}

/* Those that callbacks open meanwhile are sent as well. */
static void send_unsent(struct exchange_udp_pool *pool)
{
	for (unsigned i = pool->sent_count; i < pool->young_count; i++) {
		const struct young *young = &pool->young[i];
		int result = young->udp ? send_now(young->udp->fd, young->query, young->length) : 0;

		if (result)
			young->udp->doors->on_error(young->udp, result);
	}
}

/* Closes the ranks: what was sent comes first. */
static void age(struct exchange_udp_pool *pool)
{
	unsigned kept_count = 0;

	for (unsigned i = pool->sent_count; i < pool->young_count; i++) {
		struct exchange_udp *udp = pool->young[i].udp;

		if (!udp)
			continue;
		pool->young[kept_count].udp = udp;
		udp->young = ++kept_count;
	}
	pool->sent_count = pool->young_count = kept_count;
}

static void on_idle(uv_idle_t *idle)
{
	struct exchange_udp_pool *pool = idle->data;

	read_sent(pool);
	send_unsent(pool);
	age(pool);
	if (pool->young_count == 0)
		(void)uv_idle_stop(idle);
}

/* Puts the query off to the end of the turn. False: there is no room. */
static bool put_off(struct exchange_udp *udp, const uint8_t *query, size_t length)
{
	struct exchange_udp_pool *pool = udp->pool;
	struct young *young = &pool->young[pool->young_count];

	if (pool->young_count == YOUNG_MAX || length > sizeof(young->query))
		return false;
	young->udp = udp;
	young->length = length;
	memcpy(young->query, query, length);
	udp->young = ++pool->young_count;
	(void)uv_idle_start(&pool->idle, on_idle); /* cannot fail, and does nothing twice */
	return true;
}

/* Whether the kernel, or our own share, has no descriptor left. */
static bool is_used_up(int error)
{
	return error == -EMFILE || error == -ENFILE;
}

static void say_used_up(struct exchange_udp_pool *pool, int error)
{
	uint64_t held_count;

	if (log_brake_take(&pool->brake, clock_now_ms(), WARN_EVERY_MS, &held_count))
		log_warn("forward",
			 "%s: %u sockets ask upstreams, and questions wait for one (%llu times so "
			 "far); raise LimitNOFILE= or find out which upstream is silent",
			 strerror(-error), pool->open_count, (unsigned long long)held_count + 1);
}

/* A socket, or -errno. */
static int open_socket(const struct exchange_udp_pool *pool, sa_family_t family)
{
	int fd;

	if (pool->open_count >= pool->open_max)
		return -EMFILE;
	fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	return fd < 0 ? -errno : fd;
}

int exchange_udp_open(struct exchange_udp *udp, struct exchange_udp_pool *pool,
		      const struct exchange_udp_doors *doors, const struct addr *upstream,
		      const uint8_t *query, size_t length)
{
	int fd = open_socket(pool, upstream->family);
	int result;

	if (is_used_up(fd))
		say_used_up(pool, fd);
	if (fd < 0)
		return fd;
	udp->doors = doors;
	udp->pool = pool;
	udp->fd = fd;
	udp->young = 0;
	result = connect_to(fd, upstream, pool->random);
	if (result == 0 && !put_off(udp, query, length)) {
		result = watch(udp);
		if (result == 0)
			result = send_now(fd, query, length);
	}
	if (result)
		close(fd);
	else
		pool->open_count++;
	return result;
}

void exchange_udp_close(struct exchange_udp *udp)
{
	struct exchange_udp_pool *pool = udp->pool;

	for (unsigned i = 0; i < pool->ready_count; i++) {
		if (pool->ready[i].data.ptr == udp)
			pool->ready[i].data.ptr = NULL;
	}
	if (udp->young > 0)
		pool->young[udp->young - 1].udp = NULL;
	if (pool->reading == udp)
		pool->reading = NULL;
	pool->open_count--;
	close(udp->fd);
}

static void read_ready(struct exchange_udp_pool *pool)
{
	for (unsigned round = 0; round < ROUNDS_MAX; round++) {
		int count = epoll_wait(pool->fd, pool->ready, READY_MAX, 0);

		pool->ready_count = count > 0 ? (unsigned)count : 0;
		for (unsigned i = 0; i < pool->ready_count; i++) {
			if (pool->ready[i].data.ptr)
				(void)read_packets(pool->ready[i].data.ptr);
		}
		pool->ready_count = 0;
		if (count < READY_MAX)
			return;
	}
}

void exchange_udp_pool_read(struct exchange_udp_pool *pool)
{
	for (unsigned i = 0; i < pool->sent_count; i++) {
		if (pool->young[i].udp)
			(void)read_packets(pool->young[i].udp);
	}
	read_ready(pool);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
	(void)status; /* a set has no errors of its own */
	(void)events;
	read_ready(poll->data);
}

struct exchange_udp_pool *exchange_udp_pool_open(uv_loop_t *loop, struct random *random)
{
	struct exchange_udp_pool *pool = calloc(1, sizeof(*pool));

	if (!pool)
		return NULL;
	pool->random = random;
	pool->open_max = UINT_MAX;
	pool->fd = epoll_create1(EPOLL_CLOEXEC);
	if (pool->fd < 0 || uv_poll_init(loop, &pool->poll, pool->fd)) {
		if (pool->fd >= 0)
			close(pool->fd);
		free(pool);
		return NULL;
	}
	(void)uv_idle_init(loop, &pool->idle);
	pool->poll.data = pool->idle.data = pool;
	pool->open_handles = 2;
	/* Cannot fail on a handle that was just initialised. */
	(void)uv_poll_start(&pool->poll, UV_READABLE, on_ready);
	return pool;
}

void exchange_udp_pool_set_max(struct exchange_udp_pool *pool, unsigned open_max)
{
	pool->open_max = open_max;
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct exchange_udp_pool *pool = handle->data;
	void (*closed)(void *) = pool->closed;
	void *arg = pool->closed_arg;

	if (--pool->open_handles > 0)
		return;
	close(pool->fd);
	free(pool);
	closed(arg);
}

void exchange_udp_pool_close(struct exchange_udp_pool *pool, void (*closed)(void *), void *arg)
{
	pool->closed = closed;
	pool->closed_arg = arg;
	uv_close((uv_handle_t *)&pool->poll, on_handle_closed);
	uv_close((uv_handle_t *)&pool->idle, on_handle_closed);
}
