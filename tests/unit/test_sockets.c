#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "config/config.h"
#include "listen/holder.h"
#include "listen/sockets.h"

static struct addr address(const char *text, uint16_t port)
{
	struct addr addr;

	assert_int_equal(addr_parse_ip(text, &addr), 0);
	addr.port = port;
	return addr;
}

static int bind_addresses(struct sockets *sockets, struct addr *addrs, size_t count,
			  unsigned workers, bool reuseport, char why[512])
{
	struct config config;

	memset(&config, 0, sizeof(config));
	config.listen = addrs;
	config.listen_count = count;
	config.workers = workers;
	config.reuseport = reuseport;
	why[0] = '\0';
	return sockets_bind(sockets, &config, why, 512);
}

static int bind_loopback(struct sockets *sockets, uint16_t port, unsigned workers, bool reuseport,
			 char why[512])
{
	struct addr addr = address("127.0.0.1", port);

	return bind_addresses(sockets, &addr, 1, workers, reuseport, why);
}

static int option_of(int fd, int level, int option)
{
	int value = -1;
	socklen_t length = sizeof(value);

	assert_int_equal(getsockopt(fd, level, option, &value, &length), 0);
	return value;
}

/* A socket held by another process, until its pipe closes. */
struct stranger {
	pid_t pid;
	int leash;
	uint16_t port;
};

static int hold_port(int type, bool is_reuseport)
{
	struct sockaddr_in any_port = { .sin_family = AF_INET,
					.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, type, 0), one = 1;

	if (is_reuseport)
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&any_port, sizeof(any_port)) < 0 ||
	    (type == SOCK_STREAM && listen(fd, 1) < 0))
		_exit(1);
	return fd;
}

static struct stranger stranger_start(int type, bool is_reuseport)
{
	struct stranger stranger;
	int leash[2], answer[2];

	assert_int_equal(pipe(leash), 0);
	assert_int_equal(pipe(answer), 0);
	stranger.pid = fork();
	assert_true(stranger.pid >= 0);
	if (stranger.pid == 0) {
		struct sockaddr_in bound;
		socklen_t length = sizeof(bound);
		int fd = hold_port(type, is_reuseport);
		char byte;

		(void)close(leash[1]);
		if (getsockname(fd, (struct sockaddr *)&bound, &length) < 0 ||
		    write(answer[1], &bound.sin_port, 2) != 2)
			_exit(1);
		_exit(read(leash[0], &byte, 1) != 0);
	}
	assert_int_equal(read(answer[0], &stranger.port, 2), 2);
	stranger.port = ntohs(stranger.port);
	(void)close(leash[0]);
	(void)close(answer[0]);
	(void)close(answer[1]);
	stranger.leash = leash[1];
	return stranger;
}

static void stranger_end(struct stranger *stranger)
{
	int status;

	(void)close(stranger->leash);
	assert_int_equal(waitpid(stranger->pid, &status, 0), stranger->pid);
	assert_int_equal(status, 0);
}

static void port_zero_gives_udp_and_tcp_the_same_port(void **state)
{
	struct sockets sockets;
	char why[512];

	(void)state;
	assert_int_equal(bind_loopback(&sockets, 0, 1, false, why), 0);
	assert_int_equal(sockets.count, 2);
	assert_false(sockets.one[0].is_tcp);
	assert_true(sockets.one[1].is_tcp);
	assert_true(sockets.one[0].addr.port != 0);
	assert_int_equal(sockets.one[0].addr.port, sockets.one[1].addr.port);
	assert_false(sockets.one[0].is_wildcard);
	assert_false(sockets.one[0].is_inherited);
	sockets_deinit(&sockets);
	assert_int_equal(sockets.count, 0);
}

static void every_worker_gets_its_pair_on_the_same_port(void **state)
{
	struct sockets sockets;
	char why[512];

	(void)state;
	assert_int_equal(bind_loopback(&sockets, 0, 3, false, why), 0);
	assert_int_equal(sockets.count, 6);
	for (size_t i = 0; i < sockets.count; i++) {
		assert_int_equal(sockets.one[i].worker, i / 2);
		assert_int_equal(sockets.one[i].is_tcp, i % 2);
		assert_int_equal(sockets.one[i].addr.port, sockets.one[0].addr.port);
		assert_int_equal(option_of(sockets.one[i].fd, SOL_SOCKET, SO_REUSEPORT), 1);
	}
	sockets_deinit(&sockets);
}

static void sockets_never_block_and_are_not_inherited_by_children(void **state)
{
	struct sockets sockets;
	char why[512];

	(void)state;
	assert_int_equal(bind_loopback(&sockets, 0, 1, false, why), 0);
	for (size_t i = 0; i < sockets.count; i++) {
		assert_true(fcntl(sockets.one[i].fd, F_GETFL) & O_NONBLOCK);
		assert_true(fcntl(sockets.one[i].fd, F_GETFD) & FD_CLOEXEC);
		assert_int_equal(option_of(sockets.one[i].fd, SOL_SOCKET, SO_REUSEPORT), 0);
	}
	assert_int_equal(option_of(sockets.one[1].fd, SOL_SOCKET, SO_ACCEPTCONN), 1);
	sockets_deinit(&sockets);
}

static void udp_never_shares_its_address_and_counts_what_the_kernel_drops(void **state)
{
	struct sockets sockets;
	char why[512];
	int fd;

	(void)state;
	assert_int_equal(bind_loopback(&sockets, 0, 1, false, why), 0);
	fd = sockets.one[0].fd;
	assert_int_equal(option_of(fd, SOL_SOCKET, SO_REUSEADDR), 0);
	assert_int_equal(option_of(fd, SOL_SOCKET, SO_RXQ_OVFL), 1);
	assert_int_equal(option_of(fd, IPPROTO_IP, IP_MTU_DISCOVER), IP_PMTUDISC_OMIT);
	assert_int_equal(option_of(fd, IPPROTO_IP, IP_PKTINFO), 0);
	sockets_deinit(&sockets);
}

static void a_wildcard_socket_learns_which_address_was_asked(void **state)
{
	struct addr addrs[2] = { address("0.0.0.0", 0), address("::", 0) };
	struct sockets sockets;
	char why[512];

	(void)state;
	assert_int_equal(bind_addresses(&sockets, addrs, 1, 1, false, why), 0);
	assert_true(sockets.one[0].is_wildcard);
	assert_int_equal(option_of(sockets.one[0].fd, IPPROTO_IP, IP_PKTINFO), 1);
	sockets_deinit(&sockets);
	if (bind_addresses(&sockets, addrs + 1, 1, 1, false, why))
		skip(); /* no IPv6 here */
	assert_true(sockets.one[0].is_wildcard);
	assert_int_equal(option_of(sockets.one[0].fd, IPPROTO_IPV6, IPV6_RECVPKTINFO), 1);
	sockets_deinit(&sockets);
}

static void both_wildcards_fit_beside_each_other(void **state)
{
	struct addr addrs[2] = { address("0.0.0.0", 0), address("::", 0) };
	struct sockets first, second;
	char why[512];

	(void)state;
	assert_int_equal(bind_addresses(&first, addrs, 1, 1, false, why), 0);
	addrs[1].port = first.one[0].addr.port;
	if (bind_addresses(&second, addrs + 1, 1, 1, false, why)) {
		sockets_deinit(&first);
		assert_non_null(strstr(why, "IPv6"));
		skip();
	}
	assert_int_equal(option_of(second.one[0].fd, IPPROTO_IPV6, IPV6_V6ONLY), 1);
	sockets_deinit(&first);
	sockets_deinit(&second);
}

static void an_address_that_is_not_there_yet_can_be_bound(void **state)
{
	struct addr addr = address("192.0.2.77", 0);
	struct sockets sockets;
	char why[512];

	(void)state;
	assert_int_equal(bind_addresses(&sockets, &addr, 1, 1, false, why), 0);
	assert_true(addr_same_ip(&sockets.one[0].addr, &addr));
	sockets_deinit(&sockets);
}

static void a_taken_port_is_an_error_that_names_the_holder_and_a_way_out(void **state)
{
	struct stranger stranger = stranger_start(SOCK_DGRAM, false);
	struct sockets sockets;
	char why[512], wanted[512];

	(void)state;
	assert_int_equal(bind_loopback(&sockets, stranger.port, 1, false, why), -EADDRINUSE);
	(void)snprintf(wanted, sizeof(wanted),
		       "cannot listen on 127.0.0.1:%d: in use by pid %d (test_sockets); "
		       "try --listen=127.0.0.1:%d",
		       stranger.port, stranger.pid,
		       stranger.port == UINT16_MAX ? 1053 : stranger.port + 1);
	assert_string_equal(why, wanted);
	assert_int_equal(sockets.count, 0);
	stranger_end(&stranger);
}

static void a_port_taken_over_tcp_alone_is_an_error_too(void **state)
{
	struct stranger stranger = stranger_start(SOCK_STREAM, false);
	struct sockets sockets;
	char why[512];

	(void)state;
	assert_int_equal(bind_loopback(&sockets, stranger.port, 1, false, why), -EADDRINUSE);
	assert_non_null(strstr(why, "in use over TCP by pid"));
	stranger_end(&stranger);
}

static void a_port_somebody_would_share_is_still_taken(void **state)
{
	const int types[] = { SOCK_DGRAM, SOCK_STREAM };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct stranger stranger = stranger_start(types[i], true);
		struct sockets sockets;
		char why[512];

		assert_int_equal(bind_loopback(&sockets, stranger.port, 1, false, why),
				 -EADDRINUSE);
		assert_int_equal(bind_loopback(&sockets, stranger.port, 2, false, why),
				 -EADDRINUSE);
		stranger_end(&stranger);
	}
}

static void reuseport_lets_a_second_instance_overlap(void **state)
{
	struct sockets first, second;
	char why[512];

	(void)state;
	assert_int_equal(bind_loopback(&first, 0, 1, true, why), 0);
	assert_int_equal(bind_loopback(&second, first.one[0].addr.port, 2, true, why), 0);
	assert_int_equal(second.count, 4);
	sockets_deinit(&first);
	sockets_deinit(&second);
}

static void an_address_given_twice_is_said_to_be_our_own(void **state)
{
	struct sockets probe, sockets;
	struct addr addrs[2];
	char why[512];

	(void)state;
	assert_int_equal(bind_loopback(&probe, 0, 1, false, why), 0);
	addrs[0] = addrs[1] = probe.one[0].addr;
	sockets_deinit(&probe);
	for (unsigned workers = 1; workers <= 2; workers++) {
		assert_int_equal(bind_addresses(&sockets, addrs, 2, workers, false, why),
				 -EADDRINUSE);
		assert_non_null(strstr(why, "another --listen address overlaps it"));
		assert_int_equal(sockets.count, 0);
	}
}

static void a_privileged_port_names_the_capability(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	if (getuid() != 0)
		skip(); /* becoming nobody needs root */
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct sockets sockets;
		char why[512];
		int rc;

		if (setresuid(65534, 65534, 65534))
			_exit(9);
		rc = bind_loopback(&sockets, 3, 1, false, why);
		if (rc == 0)
			_exit(8); /* net.ipv4.ip_unprivileged_port_start is low here */
		_exit(rc != -EACCES || strcmp(why, "cannot listen on 127.0.0.1:3: ports below 1024 "
						   "need CAP_NET_BIND_SERVICE; try "
						   "--listen=127.0.0.1:1053"));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WEXITSTATUS(status) == 8 || WEXITSTATUS(status) == 9)
		skip();
	assert_int_equal(status, 0);
}

/* What a service manager does: descriptors from 3 on, and three variables. Runs `check` in a child,
 * because the numbers are fixed. Its return value becomes the status. */
static void in_activated_child(const char *count, int types[2], int (*check)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		char text[16];
		int fds[2] = { hold_port(types[0], false), hold_port(types[1], false) };

		for (int i = 0; i < 2; i++) {
			fds[i] = fcntl(fds[i], F_DUPFD, 64);
			if (fds[i] < 0)
				_exit(100);
		}
		for (int i = 0; i < 2; i++)
			if (dup2(fds[i], 3 + i) < 0)
				_exit(101);
		(void)snprintf(text, sizeof(text), "%d", (int)getpid());
		(void)setenv("LISTEN_PID", text, 1);
		(void)setenv("LISTEN_FDS", count, 1);
		(void)setenv("LISTEN_FDNAMES", "udp:tcp", 1);
		_exit(check());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static int check_inherited(void)
{
	struct sockets sockets;
	char why[512];
	int rc = bind_loopback(&sockets, 1, 2, false, why);

	if (rc || sockets.count != 2)
		return 1;
	if (sockets.one[0].fd != 3 || sockets.one[0].is_tcp || sockets.one[1].fd != 4 ||
	    !sockets.one[1].is_tcp)
		return 2;
	for (size_t i = 0; i < 2; i++) {
		const struct sockets_one *one = &sockets.one[i];

		if (!one->is_inherited || one->worker != 0 || one->addr.port == 0)
			return 3;
		if (!(fcntl(one->fd, F_GETFL) & O_NONBLOCK) ||
		    !(fcntl(one->fd, F_GETFD) & FD_CLOEXEC))
			return 4;
	}
	if (getenv("LISTEN_PID") || getenv("LISTEN_FDS") || getenv("LISTEN_FDNAMES"))
		return 5;
	sockets_deinit(&sockets);
	return 0;
}

static void passed_sockets_are_used_instead_of_the_addresses(void **state)
{
	int types[2] = { SOCK_DGRAM, SOCK_STREAM };

	(void)state;
	in_activated_child("2", types, check_inherited);
}

static int check_meant_for_another(void)
{
	struct sockets sockets;
	char why[512];

	(void)setenv("LISTEN_PID", "1", 1);
	if (bind_loopback(&sockets, 0, 1, false, why) || sockets.one[0].is_inherited)
		return 1;
	return getenv("LISTEN_FDS") != NULL;
}

static void sockets_meant_for_another_process_are_left_alone(void **state)
{
	int types[2] = { SOCK_DGRAM, SOCK_STREAM };

	(void)state;
	in_activated_child("2", types, check_meant_for_another);
}

static int check_refused(void)
{
	struct sockets sockets;
	char why[512];

	return bind_loopback(&sockets, 0, 1, false, why) == 0 || !strstr(why, "LISTEN_FDS");
}

static int check_not_a_socket(void)
{
	int fd = open("/dev/null", O_RDONLY);

	if (fd < 0 || dup2(fd, 4) < 0)
		return 1;
	return check_refused();
}

static int check_not_listening(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || dup2(fd, 4) < 0)
		return 1;
	return check_refused();
}

static void unusable_passed_sockets_are_an_error(void **state)
{
	int types[2] = { SOCK_DGRAM, SOCK_STREAM };

	(void)state;
	in_activated_child("2", types, check_not_a_socket);
	in_activated_child("2", types, check_not_listening);
	in_activated_child("3", types, check_refused);
	in_activated_child("many", types, check_refused);
}

static void a_free_port_has_no_holder(void **state)
{
	struct sockets sockets;
	struct holder holder;
	struct addr addr;
	char why[512];

	(void)state;
	assert_int_equal(bind_loopback(&sockets, 0, 1, false, why), 0);
	addr = sockets.one[0].addr;
	assert_int_equal(holder_find(&addr, true, &holder), 0);
	assert_int_equal(holder.pid, getpid());
	assert_string_equal(holder.name, "test_sockets");
	sockets_deinit(&sockets);
	assert_int_equal(holder_find(&addr, true, &holder), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(port_zero_gives_udp_and_tcp_the_same_port),
		cmocka_unit_test(every_worker_gets_its_pair_on_the_same_port),
		cmocka_unit_test(sockets_never_block_and_are_not_inherited_by_children),
		cmocka_unit_test(udp_never_shares_its_address_and_counts_what_the_kernel_drops),
		cmocka_unit_test(a_wildcard_socket_learns_which_address_was_asked),
		cmocka_unit_test(both_wildcards_fit_beside_each_other),
		cmocka_unit_test(an_address_that_is_not_there_yet_can_be_bound),
		cmocka_unit_test(a_taken_port_is_an_error_that_names_the_holder_and_a_way_out),
		cmocka_unit_test(a_port_taken_over_tcp_alone_is_an_error_too),
		cmocka_unit_test(a_port_somebody_would_share_is_still_taken),
		cmocka_unit_test(reuseport_lets_a_second_instance_overlap),
		cmocka_unit_test(an_address_given_twice_is_said_to_be_our_own),
		cmocka_unit_test(a_privileged_port_names_the_capability),
		cmocka_unit_test(passed_sockets_are_used_instead_of_the_addresses),
		cmocka_unit_test(sockets_meant_for_another_process_are_left_alone),
		cmocka_unit_test(unusable_passed_sockets_are_an_error),
		cmocka_unit_test(a_free_port_has_no_holder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
