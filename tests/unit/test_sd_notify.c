#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/sd_notify.h"

/* A socket bound to `name` ('@' first: abstract), without a NUL more than the name has. */
static int listen_at(const char *name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	size_t length = strlen(name);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	memcpy(address.sun_path, name, length);
	if (name[0] == '@')
		address.sun_path[0] = '\0';
	assert_int_equal(bind(fd, (struct sockaddr *)&address,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)),
			 0);
	setenv("NOTIFY_SOCKET", name, 1);
	return fd;
}

static void assert_received(int fd, const char *expected)
{
	char text[256];
	ssize_t length = recv(fd, text, sizeof(text) - 1, 0);

	assert_true(length >= 0);
	text[length] = '\0';
	assert_string_equal(text, expected);
}

static void state_reaches_a_path(void **state)
{
	char directory[] = "/tmp/nomad-dns-test-XXXXXX", path[64];
	int fd;

	(void)state;
	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/notify", directory);
	fd = listen_at(path);
	assert_int_equal(sd_notify_send("READY=1\nSTATUS=serving"), 0);
	assert_received(fd, "READY=1\nSTATUS=serving");
	close(fd);
	unlink(path);
	rmdir(directory);
}

static void state_reaches_an_abstract_name(void **state)
{
	char name[64];
	int fd;

	(void)state;
	snprintf(name, sizeof(name), "@nomad-dns-test-%d", (int)getpid());
	fd = listen_at(name);
	assert_int_equal(sd_notify_send("STOPPING=1"), 0);
	assert_received(fd, "STOPPING=1");
	close(fd);
}

static void nobody_listening_is_no_failure(void **state)
{
	(void)state;
	unsetenv("NOTIFY_SOCKET");
	assert_int_equal(sd_notify_send("READY=1"), 0);
	setenv("NOTIFY_SOCKET", "", 1);
	assert_int_equal(sd_notify_send("READY=1"), 0);
}

static void bad_address_is_refused(void **state)
{
	char path[200];

	(void)state;
	setenv("NOTIFY_SOCKET", "relative/path", 1);
	assert_int_equal(sd_notify_send("READY=1"), -EINVAL);
	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	setenv("NOTIFY_SOCKET", path, 1);
	assert_int_equal(sd_notify_send("READY=1"), -ENAMETOOLONG);
	setenv("NOTIFY_SOCKET", "/nonexistent/nomad-dns", 1);
	assert_int_equal(sd_notify_send("READY=1"), -ENOENT);
}

static void watchdog_is_wanted_in_microseconds_and_of_one_process(void **state)
{
	char pid[32];

	(void)state;
	unsetenv("WATCHDOG_PID");
	unsetenv("WATCHDOG_USEC");
	assert_int_equal(sd_notify_watchdog_ms(), 0);
	setenv("WATCHDOG_USEC", "10000000", 1);
	assert_int_equal(sd_notify_watchdog_ms(), 10000);
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	setenv("WATCHDOG_PID", pid, 1);
	assert_int_equal(sd_notify_watchdog_ms(), 10000);
	setenv("WATCHDOG_PID", "1", 1); /* our parent's, inherited */
	assert_int_equal(sd_notify_watchdog_ms(), 0);
	setenv("WATCHDOG_PID", "me", 1);
	assert_int_equal(sd_notify_watchdog_ms(), 0);
	unsetenv("WATCHDOG_PID");
	setenv("WATCHDOG_USEC", "1", 1);
	assert_int_equal(sd_notify_watchdog_ms(), 1);
	setenv("WATCHDOG_USEC", "0", 1);
	assert_int_equal(sd_notify_watchdog_ms(), 0);
	setenv("WATCHDOG_USEC", "10s", 1);
	assert_int_equal(sd_notify_watchdog_ms(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(state_reaches_a_path),
		cmocka_unit_test(state_reaches_an_abstract_name),
		cmocka_unit_test(nobody_listening_is_no_failure),
		cmocka_unit_test(bad_address_is_refused),
		cmocka_unit_test(watchdog_is_wanted_in_microseconds_and_of_one_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
