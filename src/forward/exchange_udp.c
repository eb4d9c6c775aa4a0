#include "forward/exchange_udp.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/hash.h"

#define PORT_FIRST 1024
#define PORT_COUNT (65536 - PORT_FIRST)
#define BIND_TRIES 8	  /* then the kernel chooses: most ports must be taken */
#define PACKET_MAX 4096	  /* we ask for 1,232 at most; some send a little more */
#define PACKETS_A_WAKE 16 /* a flood on one socket must not hold up the loop */

/* RFC 5452 §9.2, RFC 6056 §3.3.1: the full range, from the kernel's randomness. */
static int bind_random_port(int fd, const struct addr *upstream)
{
	struct addr local = { .family = upstream->family };
	union addr_socket where;
	socklen_t length;
	uint32_t random;

	for (unsigned i = 0; i < BIND_TRIES; i++) {
		hash_random(&random, sizeof(random));
		local.port = (uint16_t)(PORT_FIRST + random % PORT_COUNT);
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

static int connect_and_send(int fd, const struct addr *upstream, const uint8_t *query,
			    size_t length)
{
	union addr_socket where;
	socklen_t where_length = addr_to_socket(upstream, &where);
	int result = bind_random_port(fd, upstream);

	if (result)
		return result;
	if (connect(fd, &where.sa, where_length))
		return -errno;
	if (send(fd, query, length, MSG_NOSIGNAL) < 0)
		return -errno;
	return 0;
}

/* Hands over what has come. Whether the socket is still of use. */
static bool read_packets(struct exchange_udp *udp)
{
	uint8_t packet[PACKET_MAX];

	for (unsigned i = 0; i < PACKETS_A_WAKE; i++) {
		ssize_t length = recv(udp->fd, packet, sizeof(packet), MSG_TRUNC);

		if (length < 0) {
			int error = -errno;

			if (error == -EINTR)
				continue;
			if (error == -EAGAIN)
				return true;
			udp->doors->on_error(udp, error);
			return false;
		}
		udp->doors->on_packet(udp, packet,
				      length > (ssize_t)sizeof(packet) ? 0 : (size_t)length);
		if (uv_is_closing((uv_handle_t *)&udp->poll))
			return false;
	}
	return true;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct exchange_udp *udp = poll->data;

	(void)events;
	/* libuv stops a handle whose socket has an error pending; reading says which, or that it
	 * has passed. */
	if (read_packets(udp) && status < 0)
		uv_poll_start(&udp->poll, UV_READABLE, on_readable);
}

int exchange_udp_open(struct exchange_udp *udp, uv_loop_t *loop,
		      const struct exchange_udp_doors *doors, const struct addr *upstream,
		      const uint8_t *query, size_t length)
{
	int fd = socket(upstream->family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int result;

	if (fd < 0)
		return -errno;
	result = connect_and_send(fd, upstream, query, length);
	if (result == 0)
		result = uv_poll_init_socket(loop, &udp->poll, fd);
	if (result) {
		close(fd);
		return result;
	}
	udp->poll.data = udp;
	udp->doors = doors;
	udp->fd = fd;
	uv_poll_start(&udp->poll, UV_READABLE, on_readable);
	return 0;
}

static void on_poll_closed(uv_handle_t *handle)
{
	struct exchange_udp *udp = handle->data;

	udp->doors->on_closed(udp);
}

void exchange_udp_close(struct exchange_udp *udp)
{
	uv_close((uv_handle_t *)&udp->poll, on_poll_closed);
	close(udp->fd);
}
