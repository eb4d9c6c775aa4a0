/*
 * The room in a real loop, asked over real sockets. The client's end is non-blocking; pump() runs
 * the loop until something is to be seen there. No test waits for a deadline of the room:
 * hurry_timers() makes it due.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include "admin/admin.h"
#include "admin/admin_request.h"
#include "base/buf.h"
#include "config/config.h"

#define PLACES 16
#define TURNS_MAX 10000 /* far more than any exchange takes: a test that hangs fails instead */

struct fixture {
	uv_loop_t loop;
	char directory[32];
	char path[64];
	char option[80];
	struct config config;
	struct admin_doors doors;
	struct admin *admin;
	bool is_closed;
	size_t metrics_bytes;
};

static bool say_ready(void *arg, struct buf *out)
{
	(void)arg;
	(void)out;
	return true;
}

static void say_metrics(void *arg, struct buf *out)
{
	struct fixture *fixture = arg;

	for (size_t i = 0; i < fixture->metrics_bytes; i++)
		buf_append(out, "m", 1);
}

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	assert_non_null(fixture);
	strncpy(fixture->directory, "/tmp/test-admin-XXXXXX", sizeof(fixture->directory) - 1);
	assert_non_null(mkdtemp(fixture->directory));
	snprintf(fixture->path, sizeof(fixture->path), "%s/admin.sock", fixture->directory);
	snprintf(fixture->option, sizeof(fixture->option), "unix://%s", fixture->path);
	fixture->config.admin = fixture->option;
	fixture->config.admin_path = fixture->path;
	fixture->metrics_bytes = 10;
	assert_int_equal(uv_loop_init(&fixture->loop), 0);
	fixture->doors = (struct admin_doors){ .loop = &fixture->loop,
					       .is_ready = say_ready,
					       .metrics = say_metrics,
					       .arg = fixture };
	*state = fixture;
	return 0;
}

static void on_closed(void *arg)
{
	struct fixture *fixture = arg;

	fixture->is_closed = true;
}

/* Closing must end by itself and leave no handle: whatever a test left open. */
static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	admin_close(fixture->admin, on_closed, fixture);
	uv_run(&fixture->loop, UV_RUN_DEFAULT);
	assert_true(fixture->is_closed);
	assert_int_equal(uv_loop_close(&fixture->loop), 0);
	unlink(fixture->path);
	rmdir(fixture->directory);
	free(fixture);
	return 0;
}

static void open_admin(struct fixture *fixture)
{
	fixture->admin = admin_open(&fixture->doors, &fixture->config);
	assert_non_null(fixture->admin);
}

static int connect_client(struct fixture *fixture)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	memcpy(name.sun_path, fixture->path, strlen(fixture->path));
	assert_int_equal(connect(fd, (struct sockaddr *)&name, sizeof(name)), 0);
	return fd;
}

static void send_text(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void turn(struct fixture *fixture)
{
	uv_run(&fixture->loop, UV_RUN_NOWAIT);
}

/* Runs the loop until the client's end has something to read (or its end). */
static void pump(struct fixture *fixture, int fd)
{
	struct pollfd fds[2] = { { .fd = uv_backend_fd(&fixture->loop), .events = POLLIN },
				 { .fd = fd, .events = POLLIN } };

	for (int i = 0; i < TURNS_MAX; i++) {
		turn(fixture);
		if (poll(&fds[1], 1, 0) > 0)
			return;
		poll(fds, 2, uv_backend_timeout(&fixture->loop));
	}
	fail_msg("nothing came");
}

static void hurry_timer(uv_handle_t *handle, void *arg)
{
	(void)arg;
	if (handle->type == UV_TIMER && uv_is_active(handle)) {
		uv_timer_set_repeat((uv_timer_t *)handle, 1);
		uv_timer_again((uv_timer_t *)handle);
		uv_timer_set_repeat((uv_timer_t *)handle, 0);
	}
}

/* Makes every timer due, and lets the loop see that it is. */
static void hurry_timers(struct fixture *fixture)
{
	uint64_t due_ms = uv_now(&fixture->loop) + 2;

	uv_walk(&fixture->loop, hurry_timer, NULL);
	while (uv_now(&fixture->loop) < due_ms)
		uv_run(&fixture->loop, UV_RUN_NOWAIT);
}

/* Reads to the end of the connection; the text (cut at capacity) and how many bytes it had. */
static size_t read_all(struct fixture *fixture, int fd, char *out, size_t capacity)
{
	char bytes[4096];
	size_t total = 0;
	ssize_t count;

	for (;;) {
		pump(fixture, fd);
		count = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
		if (count <= 0)
			break;
		for (ssize_t i = 0; i < count; i++, total++)
			if (total + 1 < capacity)
				out[total] = bytes[i];
	}
	assert_int_equal(count, 0);
	out[total < capacity ? total : capacity - 1] = '\0';
	return total;
}

static void assert_says(struct fixture *fixture, int fd, const char *beginning)
{
	char reply[512];

	read_all(fixture, fd, reply, sizeof(reply));
	assert_memory_equal(reply, beginning, strlen(beginning));
	close(fd);
}

static void request_is_answered_and_the_connection_ended(void **state)
{
	struct fixture *fixture = *state;
	int fd;

	open_admin(fixture);
	fd = connect_client(fixture);
	send_text(fd, "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
	assert_says(fixture, fd, "HTTP/1.1 200 OK\r\n");
}

static void request_in_pieces_is_answered(void **state)
{
	static const char text[] = "GET /health HTTP/1.0\r\n\r\n";
	struct fixture *fixture = *state;
	int fd;

	open_admin(fixture);
	fd = connect_client(fixture);
	for (size_t i = 0; i < strlen(text); i++) {
		assert_int_equal(send(fd, text + i, 1, MSG_NOSIGNAL), 1);
		turn(fixture);
	}
	assert_says(fixture, fd, "HTTP/1.1 200 OK\r\n");
}

static void half_closed_client_gets_its_answer(void **state)
{
	struct fixture *fixture = *state;
	int fd;

	open_admin(fixture);
	fd = connect_client(fixture);
	send_text(fd, "GET /health HTTP/1.0\r\n\r\n");
	shutdown(fd, SHUT_WR);
	assert_says(fixture, fd, "HTTP/1.1 200 OK\r\n");
}

static void count_active_timer(uv_handle_t *handle, void *arg)
{
	unsigned *count = arg;

	*count += handle->type == UV_TIMER && uv_is_active(handle);
}

/* Its end was seen while the page was still being written: nothing is left to wait for. */
static void half_closed_client_leaves_at_once(void **state)
{
	struct fixture *fixture = *state;
	unsigned active_count = 0;
	char byte;
	int fd;

	open_admin(fixture);
	fixture->metrics_bytes = 3000000;
	fd = connect_client(fixture);
	send_text(fd, "GET /metrics HTTP/1.0\r\n\r\n");
	shutdown(fd, SHUT_WR);
	read_all(fixture, fd, &byte, 1);
	turn(fixture);
	uv_walk(&fixture->loop, count_active_timer, &active_count);
	assert_int_equal(active_count, 0);
	close(fd);
}

static void large_page_arrives_whole(void **state)
{
	struct fixture *fixture = *state;
	char head[512];
	size_t total;
	int fd;

	open_admin(fixture);
	fixture->metrics_bytes = 3000000;
	fd = connect_client(fixture);
	send_text(fd, "GET /metrics HTTP/1.0\r\n\r\n");
	total = read_all(fixture, fd, head, sizeof(head));
	assert_non_null(strstr(head, "Content-Length: 3000000\r\n"));
	assert_int_equal(total, 3000000 + (size_t)(strstr(head, "\r\n\r\n") + 4 - head));
	close(fd);
}

static void page_over_the_ceiling_is_an_error_and_not_a_piece(void **state)
{
	struct fixture *fixture = *state;
	int fd;

	open_admin(fixture);
	fixture->metrics_bytes = 9000000;
	fd = connect_client(fixture);
	send_text(fd, "GET /metrics HTTP/1.0\r\n\r\n");
	assert_says(fixture, fd, "HTTP/1.1 503 ");
}

static void head_over_the_ceiling_is_refused_readably(void **state)
{
	struct fixture *fixture = *state;
	char head[ADMIN_REQUEST_HEAD_MAX + 5000];
	int fd;

	open_admin(fixture);
	memset(head, 'a', sizeof(head));
	fd = connect_client(fixture);
	assert_int_equal(send(fd, head, sizeof(head), MSG_NOSIGNAL), sizeof(head));
	assert_says(fixture, fd, "HTTP/1.1 431 ");
}

static void silent_client_is_closed_at_the_deadline(void **state)
{
	struct fixture *fixture = *state;
	char byte;
	int fd;

	open_admin(fixture);
	fd = connect_client(fixture);
	send_text(fd, "GET /heal");
	turn(fixture);
	turn(fixture);
	assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), -1);
	hurry_timers(fixture);
	pump(fixture, fd);
	assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), 0);
	close(fd);
}

static void client_that_does_not_read_is_closed_at_the_deadline(void **state)
{
	struct fixture *fixture = *state;
	char reply[16];
	int fd;

	open_admin(fixture);
	fixture->metrics_bytes = 4000000;
	fd = connect_client(fixture);
	send_text(fd, "GET /metrics HTTP/1.0\r\n\r\n");
	pump(fixture, fd);
	hurry_timers(fixture);
	assert_true(read_all(fixture, fd, reply, sizeof(reply)) < 4000000);
	close(fd);
}

static void client_that_keeps_sending_is_closed(void **state)
{
	struct fixture *fixture = *state;
	char bytes[8192] = "GET /health HTTP/1.0\r\n\r\n";
	ssize_t count = 1;
	int fd;

	open_admin(fixture);
	fd = connect_client(fixture);
	for (int i = 0; i < TURNS_MAX && (count > 0 || errno == EAGAIN); i++) {
		count = send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL | MSG_DONTWAIT);
		turn(fixture);
	}
	assert_int_equal(count, -1);
	assert_int_equal(errno, EPIPE);
	close(fd);
}

static void idle_connections_make_room_for_a_request(void **state)
{
	struct fixture *fixture = *state;
	int idle[PLACES], fd;
	char byte;

	open_admin(fixture);
	for (int i = 0; i < PLACES; i++) {
		idle[i] = connect_client(fixture);
		turn(fixture);
	}
	fd = connect_client(fixture);
	send_text(fd, "GET /health HTTP/1.0\r\n\r\n");
	assert_says(fixture, fd, "HTTP/1.1 200 OK\r\n");
	assert_int_equal(recv(idle[0], &byte, 1, MSG_DONTWAIT), 0);
	assert_int_equal(recv(idle[PLACES - 1], &byte, 1, MSG_DONTWAIT), -1);
	for (int i = 0; i < PLACES; i++)
		close(idle[i]);
}

/* The first sixteen keep their places by not reading; the others wait, and none is turned away. */
static void more_clients_than_places_are_all_answered(void **state)
{
	struct fixture *fixture = *state;
	int fds[PLACES + 12];

	open_admin(fixture);
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
		fds[i] = connect_client(fixture);
		send_text(fds[i], "GET /health HTTP/1.0\r\n\r\n");
		turn(fixture);
	}
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		assert_says(fixture, fds[i], "HTTP/1.1 200 OK\r\n");
}

static void unix_socket_is_for_its_owner_only(void **state)
{
	struct fixture *fixture = *state;
	struct stat status;

	open_admin(fixture);
	assert_int_equal(stat(fixture->path, &status), 0);
	assert_int_equal(status.st_mode & 0777, 0600);
}

static void socket_file_goes_with_the_room(void **state)
{
	struct fixture *fixture = *state;
	struct stat status;

	open_admin(fixture);
	admin_close(fixture->admin, on_closed, fixture);
	fixture->admin = NULL;
	uv_run(&fixture->loop, UV_RUN_DEFAULT);
	assert_int_equal(stat(fixture->path, &status), -1);
}

static int bind_path(const char *path)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(name.sun_path, path, strlen(path));
	assert_int_equal(bind(fd, (struct sockaddr *)&name, sizeof(name)), 0);
	return fd;
}

static void stale_socket_file_is_replaced(void **state)
{
	struct fixture *fixture = *state;
	int fd;

	close(bind_path(fixture->path));
	open_admin(fixture);
	fd = connect_client(fixture);
	send_text(fd, "GET /health HTTP/1.0\r\n\r\n");
	assert_says(fixture, fd, "HTTP/1.1 200 OK\r\n");
}

static void living_socket_is_left_alone_and_taken_over_later(void **state)
{
	struct fixture *fixture = *state;
	struct stat before, after;
	int other = bind_path(fixture->path), fd;

	assert_int_equal(listen(other, 5), 0);
	assert_int_equal(stat(fixture->path, &before), 0);
	open_admin(fixture);
	assert_int_equal(stat(fixture->path, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	close(other);
	hurry_timers(fixture);
	fd = connect_client(fixture);
	send_text(fd, "GET /health HTTP/1.0\r\n\r\n");
	assert_says(fixture, fd, "HTTP/1.1 200 OK\r\n");
}

static void file_that_is_no_socket_is_left_alone(void **state)
{
	struct fixture *fixture = *state;
	struct stat status;
	FILE *file = fopen(fixture->path, "w");

	assert_non_null(file);
	fclose(file);
	open_admin(fixture);
	assert_int_equal(stat(fixture->path, &status), 0);
	assert_true(S_ISREG(status.st_mode));
}

static void path_that_is_too_long_is_not_fatal(void **state)
{
	struct fixture *fixture = *state;
	char path[200];

	memset(path, 'a', sizeof(path) - 1);
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	fixture->config.admin_path = path;
	open_admin(fixture);
}

static int connect_tcp(const struct sockaddr_in *name)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (const struct sockaddr *)name, sizeof(*name)), 0);
	return fd;
}

static void taken_port_is_tried_again(void **state)
{
	struct fixture *fixture = *state;
	struct sockaddr_in name = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t length = sizeof(name);
	int other = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fd;

	assert_int_equal(bind(other, (struct sockaddr *)&name, sizeof(name)), 0);
	assert_int_equal(listen(other, 5), 0);
	assert_int_equal(getsockname(other, (struct sockaddr *)&name, &length), 0);
	fixture->config.admin_path = NULL;
	fixture->config.admin_addr = (struct addr){ .family = AF_INET,
						    .port = ntohs(name.sin_port),
						    .bytes = { 127, 0, 0, 1 } };
	open_admin(fixture);
	close(other);
	hurry_timers(fixture);
	fd = connect_tcp(&name);
	send_text(fd, "GET /ready HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
	assert_says(fixture, fd, "HTTP/1.1 200 OK\r\n");
	/* And there a name is what a rebound web page would send. */
	fd = connect_tcp(&name);
	send_text(fd, "GET /ready HTTP/1.1\r\nHost: web.example\r\n\r\n");
	assert_says(fixture, fd, "HTTP/1.1 400 ");
}

static void any_host_will_do_on_a_unix_socket(void **state)
{
	struct fixture *fixture = *state;
	int fd;

	open_admin(fixture);
	fd = connect_client(fixture);
	send_text(fd, "GET /ready HTTP/1.1\r\nHost: web.example\r\n\r\n");
	assert_says(fixture, fd, "HTTP/1.1 200 OK\r\n");
}

static void closing_under_load_leaves_nothing(void **state)
{
	struct fixture *fixture = *state;
	int fds[PLACES + 4];

	open_admin(fixture);
	fixture->metrics_bytes = 4000000;
	for (int i = 0; i < PLACES + 4; i++) {
		fds[i] = connect_client(fixture);
		send_text(fds[i], i % 2 ? "GET /metrics HTTP/1.0\r\n\r\n" : "GET");
		turn(fixture);
	}
	admin_close(fixture->admin, on_closed, fixture);
	fixture->admin = NULL;
	uv_run(&fixture->loop, UV_RUN_DEFAULT);
	assert_true(fixture->is_closed);
	for (int i = 0; i < PLACES + 4; i++)
		close(fds[i]);
}

static void admin_off_opens_nothing(void **state)
{
	struct fixture *fixture = *state;

	fixture->config.admin_is_off = true;
	assert_null(admin_open(&fixture->doors, &fixture->config));
}

#define LOOP_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LOOP_TEST(request_is_answered_and_the_connection_ended),
		LOOP_TEST(request_in_pieces_is_answered),
		LOOP_TEST(half_closed_client_gets_its_answer),
		LOOP_TEST(half_closed_client_leaves_at_once),
		LOOP_TEST(large_page_arrives_whole),
		LOOP_TEST(page_over_the_ceiling_is_an_error_and_not_a_piece),
		LOOP_TEST(head_over_the_ceiling_is_refused_readably),
		LOOP_TEST(silent_client_is_closed_at_the_deadline),
		LOOP_TEST(client_that_does_not_read_is_closed_at_the_deadline),
		LOOP_TEST(client_that_keeps_sending_is_closed),
		LOOP_TEST(idle_connections_make_room_for_a_request),
		LOOP_TEST(more_clients_than_places_are_all_answered),
		LOOP_TEST(unix_socket_is_for_its_owner_only),
		LOOP_TEST(socket_file_goes_with_the_room),
		LOOP_TEST(stale_socket_file_is_replaced),
		LOOP_TEST(living_socket_is_left_alone_and_taken_over_later),
		LOOP_TEST(file_that_is_no_socket_is_left_alone),
		LOOP_TEST(path_that_is_too_long_is_not_fatal),
		LOOP_TEST(taken_port_is_tried_again),
		LOOP_TEST(any_host_will_do_on_a_unix_socket),
		LOOP_TEST(closing_under_load_leaves_nothing),
		LOOP_TEST(admin_off_opens_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
