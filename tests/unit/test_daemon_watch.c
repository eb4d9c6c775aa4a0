#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <uv.h>

#include "daemon_watch.h"

/* ---- a kernel that has no room for a while ---- */

static unsigned refusals;

/* In front of glibc's. */
long syscall(long number, ...)
{
	static long (*real)(long number, ...);
	long argument[6];
	va_list list;

	va_start(list, number);
	for (unsigned i = 0; i < 6; i++)
		argument[i] = va_arg(list, long);
	va_end(list);
	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "syscall");
	if (number == SYS_epoll_ctl && argument[1] == EPOLL_CTL_ADD && refusals > 0) {
		refusals--;
		errno = ENOSPC;
		return -1;
	}
	return real(number, argument[0], argument[1], argument[2], argument[3], argument[4],
		    argument[5]);
}

/* ---- the tests ---- */

static uv_loop_t loop;
static uv_poll_t polls[2];
static int ends[2][2];
static unsigned woken[2];

static void on_readable(uv_poll_t *poll, int status, int events)
{
	char byte;
	unsigned i = (unsigned)(poll - polls);

	(void)status;
	(void)events;
	woken[i] += read(ends[i][0], &byte, 1) == 1;
}

static int open_polls(void **state)
{
	(void)state;
	uv_loop_init(&loop);
	for (unsigned i = 0; i < 2; i++) {
		woken[i] = 0;
		if (pipe(ends[i]) || uv_poll_init(&loop, &polls[i], ends[i][0]))
			return -1;
		uv_poll_start(&polls[i], UV_READABLE, on_readable);
	}
	return 0;
}

static int close_polls(void **state)
{
	(void)state;
	refusals = 0;
	for (unsigned i = 0; i < 2; i++)
		uv_close((uv_handle_t *)&polls[i], NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	for (unsigned i = 0; i < 2; i++) {
		close(ends[i][0]);
		close(ends[i][1]);
	}
	return uv_loop_close(&loop);
}

static void libuv_lives_on_and_what_was_refused_is_watched_later(void **state)
{
	(void)state;
	refusals = 1;
	uv_run(&loop, UV_RUN_NOWAIT); /* here libuv would end us */
	assert_int_equal(refusals, 0);
	assert_int_equal(write(ends[0][1], "x", 1), 1);
	assert_int_equal(write(ends[1][1], "x", 1), 1);
	uv_run(&loop, UV_RUN_NOWAIT);
	assert_int_equal(woken[0], 1); /* asked for again along with the second */
	assert_int_equal(woken[1], 1);
}

static void what_is_closed_is_owed_no_more(void **state)
{
	(void)state;
	refusals = 3;
	uv_run(&loop, UV_RUN_NOWAIT);
	uv_poll_stop(&polls[0]);
	uv_run(&loop, UV_RUN_NOWAIT);
	refusals = 0;
	assert_int_equal(write(ends[0][1], "x", 1), 1);
	assert_int_equal(write(ends[1][1], "x", 1), 1);
	uv_poll_start(&polls[0], UV_READABLE, on_readable);
	uv_run(&loop, UV_RUN_NOWAIT);
	assert_int_equal(woken[0], 1);
	assert_int_equal(woken[1], 1);
}

static void everybody_else_hears_the_truth(void **state)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = &event };
	int set = epoll_create1(0);

	(void)state;
	refusals = 1;
	assert_int_equal(epoll_ctl(set, EPOLL_CTL_ADD, ends[0][0], &event), -1);
	assert_int_equal(errno, ENOSPC);
	assert_int_equal(epoll_ctl(set, EPOLL_CTL_ADD, ends[0][0], &event), 0);
	assert_int_equal(epoll_ctl(set, EPOLL_CTL_ADD, ends[0][0], &event), -1);
	assert_int_equal(errno, EEXIST);
	close(set);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_polls, close_polls)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(libuv_lives_on_and_what_was_refused_is_watched_later),
		TEST(what_is_closed_is_owed_no_more),
		TEST(everybody_else_hears_the_truth),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
