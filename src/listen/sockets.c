/*
 * With more than one worker the sockets of an address form a SO_REUSEPORT group. The kernel lets
 * any process of the same user join such a group, so a taken port would go unnoticed: unless
 * `reuseport` asks for exactly that, a socket without the option is bound first and closed again.
 * Between that close and the group's first bind somebody else could slip in unnoticed: a few
 * microseconds at start, and only with SO_REUSEPORT and our own user id.
 */
#include "listen/sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/str.h"
#include "config/config.h"
#include "listen/holder.h"

#define INHERITED_FIRST_FD 3	     /* sd_listen_fds(3) */
#define INHERITED_MAX 256	     /* more is a mistake, not a configuration */
#define TCP_BACKLOG 512		     /* connections that wait for accept(2) */
#define PORT_TRIES 8		     /* for a port that is free for both UDP and TCP */
#define RECEIVE_BUFFER_BYTES 1048576 /* about a thousand small datagrams: a burst, not a queue */
#define PRIVILEGED_PORTS 1024
#define OTHER_PORT 1053 /* the one to propose */

struct plan { /* how the sockets of one address are bound */
	unsigned workers;
	bool is_group;	  /* SO_REUSEPORT */
	bool needs_probe; /* the group hides who else has the port */
};

static void set_option(int fd, int level, int option, int value)
{
	/* Each of these has a kernel or a family it does not exist in; all are refinements. */
	(void)setsockopt(fd, level, option, &value, sizeof(value));
}

/* The bound address into `one`; refuses what is no internet socket. */
static int read_bound_address(struct sockets_one *one)
{
	union addr_socket bound;
	socklen_t length = sizeof(bound);

	memset(&bound, 0, sizeof(bound));
	if (getsockname(one->fd, &bound.sa, &length) < 0)
		return -errno;
	if (addr_from_socket(&bound.sa, &one->addr))
		return -EAFNOSUPPORT;
	one->is_wildcard = addr_is_any(&one->addr);
	return 0;
}

/*
 * What a UDP socket needs besides its address. The IPv4 options go to IPv6 sockets too: an
 * inherited one may be dual-stack. PMTUDISC_OMIT: answers are small enough to need no path MTU, so
 * forged "fragmentation needed" messages have no say.
 */
static void setup_udp(const struct sockets_one *one)
{
	set_option(one->fd, SOL_SOCKET, SO_RXQ_OVFL, 1);
	set_option(one->fd, SOL_SOCKET, SO_RCVBUF, RECEIVE_BUFFER_BYTES);
	set_option(one->fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_OMIT);
	set_option(one->fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_OMIT);
	if (!one->is_wildcard)
		return;
	if (one->addr.family == AF_INET)
		set_option(one->fd, IPPROTO_IP, IP_PKTINFO, 1);
	else
		set_option(one->fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
}

/* A bound socket in *out_fd, not yet listening. 0 or -errno. */
static int bind_one(const struct addr *addr, bool is_tcp, bool is_group, int *out_fd)
{
	int type = (is_tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, rc, one = 1;
	union addr_socket address;
	socklen_t length = addr_to_socket(addr, &address);
	int fd = socket(address.sa.sa_family, type, 0);

	if (fd < 0)
		return -errno;
	if (addr->family == AF_INET6) {
		set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
		set_option(fd, IPPROTO_IPV6, IPV6_FREEBIND, 1);
	}
	set_option(fd, IPPROTO_IP, IP_FREEBIND, 1);
	/* On a TCP listener it only forgives connections of a former life (TIME_WAIT); a living
	 * listener still conflicts. On UDP it would let two processes share the port: never. */
	if (is_tcp)
		set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (is_group && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) < 0)
		goto failed;
	if (bind(fd, &address.sa, length) < 0)
		goto failed;
	*out_fd = fd;
	return 0;
failed:
	rc = -errno;
	(void)close(fd);
	return rc;
}

static int add_one(struct sockets *sockets, const struct sockets_one *one)
{
	struct sockets_one *grown =
		reallocarray(sockets->one, sockets->count + 1, sizeof(*sockets->one));

	if (!grown)
		return -ENOMEM;
	grown[sockets->count++] = *one;
	sockets->one = grown;
	return 0;
}

/* Binds one socket and adds it. On success `addr->port` is the port it got. */
static int open_one(struct sockets *sockets, struct addr *addr, bool is_tcp, unsigned worker,
		    bool is_group)
{
	struct sockets_one one = { .fd = -1, .worker = worker, .is_tcp = is_tcp };
	int rc = bind_one(addr, is_tcp, is_group, &one.fd);

	if (!rc)
		rc = read_bound_address(&one);
	if (!rc && is_tcp && listen(one.fd, TCP_BACKLOG) < 0)
		rc = -errno;
	if (!rc && !is_tcp)
		setup_udp(&one);
	if (!rc)
		rc = add_one(sockets, &one);
	if (!rc)
		addr->port = one.addr.port;
	else if (one.fd >= 0)
		(void)close(one.fd);
	return rc;
}

/* Whether the port is free for ourselves alone; chooses one if it is 0. */
static int probe(struct addr *addr, bool is_tcp)
{
	struct sockets_one one = { .fd = -1 };
	int rc = bind_one(addr, is_tcp, false, &one.fd);

	if (!rc)
		rc = read_bound_address(&one);
	/* A TCP socket that is merely bound conflicts with nobody who set SO_REUSEADDR. */
	if (!rc && is_tcp && listen(one.fd, 1) < 0)
		rc = -errno;
	if (!rc)
		addr->port = one.addr.port;
	if (one.fd >= 0)
		(void)close(one.fd);
	return rc;
}

static void drop_behind(struct sockets *sockets, size_t count)
{
	while (sockets->count > count) {
		int fd = sockets->one[--sockets->count].fd;

		if (fd >= 0)
			(void)close(fd);
	}
}

/* All sockets of one address; on failure none, and which transport it was. */
static int open_address(struct sockets *sockets, const struct plan *plan, struct addr *addr,
			bool *out_is_tcp)
{
	size_t before = sockets->count;
	bool is_tcp = false;
	int rc = 0;

	if (plan->needs_probe) {
		rc = probe(addr, is_tcp);
		if (!rc)
			rc = probe(addr, is_tcp = true);
	}
	for (unsigned worker = 0; !rc && worker < plan->workers; worker++) {
		rc = open_one(sockets, addr, is_tcp = false, worker, plan->is_group);
		if (!rc)
			rc = open_one(sockets, addr, is_tcp = true, worker, plan->is_group);
	}
	if (rc)
		drop_behind(sockets, before);
	*out_is_tcp = is_tcp;
	return rc;
}

/* "; try --listen=…": an address that needs no privilege, else the next port. */
static void write_way_out(const struct addr *addr, char *out, size_t capacity)
{
	struct addr other = *addr;
	char text[ADDR_TEXT_MAX];

	if (addr->port < PRIVILEGED_PORTS) {
		memset(&other, 0, sizeof(other));
		other.family = AF_INET;
		other.bytes[0] = 127;
		other.bytes[3] = 1;
		other.port = OTHER_PORT;
	} else {
		other.port = addr->port == UINT16_MAX ? OTHER_PORT : (uint16_t)(addr->port + 1);
	}
	addr_format(&other, text);
	(void)snprintf(out, capacity, "; try --listen=%s", text);
}

/* The reason a bind failed, in the operator's words. */
static void write_reason(const struct addr *addr, bool is_tcp, int rc, char *out, size_t capacity)
{
	const char *over = is_tcp ? " over TCP" : "";
	char way_out[ADDR_TEXT_MAX + 32];
	struct holder holder;

	write_way_out(addr, way_out, sizeof(way_out));
	if (rc == -EADDRINUSE && holder_find(addr, is_tcp, &holder) == 0) {
		if (holder.pid == getpid())
			(void)snprintf(
				out, capacity,
				"another --listen address overlaps it; leave one of them out");
		else
			(void)snprintf(out, capacity, "in use%s by pid %ld (%s)%s", over,
				       (long)holder.pid, holder.name, way_out);
	} else if (rc == -EADDRINUSE) {
		(void)snprintf(out, capacity, "in use%s%s", over, way_out);
	} else if (rc == -EACCES && addr->port < PRIVILEGED_PORTS) {
		(void)snprintf(out, capacity, "ports below %d need CAP_NET_BIND_SERVICE%s",
			       PRIVILEGED_PORTS, way_out);
	} else if (rc == -EAFNOSUPPORT && addr->family == AF_INET6) {
		(void)snprintf(out, capacity, "this host has no IPv6; leave the address out");
	} else if (rc == -EMFILE || rc == -ENFILE) {
		(void)snprintf(out, capacity,
			       "too many open files; raise LimitNOFILE= or ulimit -n");
	} else {
		(void)snprintf(out, capacity, "%s", strerror(-rc));
	}
}

static int bind_address(struct sockets *sockets, const struct plan *plan, const struct addr *wanted,
			char *why, size_t why_capacity)
{
	unsigned tries = wanted->port == 0 ? PORT_TRIES : 1;
	char text[ADDR_TEXT_MAX], reason[256];
	struct addr addr = *wanted;
	bool is_tcp = false;
	int rc = -EADDRINUSE;

	/* A port the kernel chose for UDP may be taken for TCP: then it chooses again. */
	for (unsigned i = 0; i < tries && rc == -EADDRINUSE; i++) {
		addr = *wanted;
		rc = open_address(sockets, plan, &addr, &is_tcp);
	}
	if (!rc)
		return 0;
	addr_format(wanted, text);
	write_reason(&addr, is_tcp, rc, reason, sizeof(reason));
	(void)snprintf(why, why_capacity, "cannot listen on %s: %s", text, reason);
	return rc;
}

static bool read_int_option(int fd, int option, int *out)
{
	socklen_t length = sizeof(*out);

	return getsockopt(fd, SOL_SOCKET, option, out, &length) == 0;
}

/* One socket passed by the service manager. 0, or -errno with what is wrong with it. */
static int take_inherited(struct sockets *sockets, int fd, const char **out_wrong)
{
	struct sockets_one one = { .fd = fd, .is_inherited = true };
	int type = 0, is_listening = 0, flags;

	*out_wrong = "it is no UDP or TCP socket";
	if (!read_int_option(fd, SO_TYPE, &type) || (type != SOCK_DGRAM && type != SOCK_STREAM))
		return -EPROTOTYPE;
	one.is_tcp = type == SOCK_STREAM;
	if (read_bound_address(&one))
		return -EPROTOTYPE;
	*out_wrong = "it does not listen (Accept=yes does not work here)";
	if (one.is_tcp && (!read_int_option(fd, SO_ACCEPTCONN, &is_listening) || !is_listening))
		return -EINVAL;
	*out_wrong = "it is not bound to a port";
	if (one.addr.port == 0)
		return -EINVAL;
	*out_wrong = "its flags cannot be set";
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
	    fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return -errno;
	*out_wrong = "out of memory";
	if (!one.is_tcp)
		setup_udp(&one);
	return add_one(sockets, &one);
}

/* How many sockets were passed to this process (sd_listen_fds(3)); 0: none. A child of ours must
 * not think they are meant for it. */
static int count_inherited(uint64_t *out_count)
{
	const char *pid_text = getenv("LISTEN_PID"), *count_text = getenv("LISTEN_FDS");
	uint64_t pid = 0, count = 0;
	int rc = 0;

	if (pid_text && count_text && str_parse_uint(pid_text, 1, INT32_MAX, &pid) == 0 &&
	    pid == (uint64_t)getpid())
		rc = str_parse_uint(count_text, 0, INHERITED_MAX, &count);
	(void)unsetenv("LISTEN_PID");
	(void)unsetenv("LISTEN_FDS");
	(void)unsetenv("LISTEN_FDNAMES");
	*out_count = count;
	return rc;
}

static int take_all_inherited(struct sockets *sockets, uint64_t count, char *why,
			      size_t why_capacity)
{
	for (uint64_t i = 0; i < count; i++) {
		int fd = INHERITED_FIRST_FD + (int)i, rc;
		const char *wrong;

		rc = take_inherited(sockets, fd, &wrong);
		if (rc) {
			(void)snprintf(why, why_capacity,
				       "cannot use the socket passed as descriptor %d "
				       "(LISTEN_FDS): %s; see the .socket unit",
				       fd, wrong);
			return rc;
		}
	}
	return 0;
}

int sockets_bind(struct sockets *sockets, const struct config *config, char *why,
		 size_t why_capacity)
{
	struct plan plan = { .workers = config->workers ? config->workers : 1 };
	uint64_t inherited = 0;
	int rc;

	memset(sockets, 0, sizeof(*sockets));
	rc = count_inherited(&inherited);
	if (rc)
		(void)snprintf(why, why_capacity,
			       "LISTEN_FDS is not a number of sockets (at most %d)", INHERITED_MAX);
	if (!rc && inherited) {
		rc = take_all_inherited(sockets, inherited, why, why_capacity);
		if (!rc && plan.workers > 1)
			log_warn("listen",
				 "sockets passed by the service manager all go to one "
				 "worker; workers=%u has no effect on them",
				 plan.workers);
	}
	plan.is_group = plan.workers > 1 || config->reuseport;
	for (size_t i = 0; !rc && !inherited && i < config->listen_count; i++) {
		plan.needs_probe =
			plan.is_group && (!config->reuseport || config->listen[i].port == 0);
		rc = bind_address(sockets, &plan, &config->listen[i], why, why_capacity);
	}
	if (rc)
		sockets_deinit(sockets);
	return rc;
}

void sockets_deinit(struct sockets *sockets)
{
	drop_behind(sockets, 0);
	free(sockets->one);
	memset(sockets, 0, sizeof(*sockets));
}
