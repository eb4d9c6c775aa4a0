#include "daemon_watch.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>

struct owed {
	int set, fd;
	struct epoll_event event;
};

static _Thread_local struct owed owed[DAEMON_WATCH_OWED_MAX];
static _Thread_local unsigned owed_count;

static int call_kernel(int set, int what, int fd, struct epoll_event *event)
{
	return (int)syscall(SYS_epoll_ctl, set, what, fd, event);
}

/* Whether it is uv__io_poll that asks; its question whether a descriptor can be watched at all
 * (uv__io_check_fd) names none. */
static bool is_for_libuv(int what, int fd, const struct epoll_event *event)
{
	return what != EPOLL_CTL_DEL && event && event->data.fd == fd;
}

static bool is_shortage(int error)
{
	return error == ENOMEM || error == ENOSPC;
}

/* Takes it off the list. Whether it was there. */
static bool forget(int set, int fd)
{
	for (unsigned i = 0; i < owed_count; i++) {
		if (owed[i].set != set || owed[i].fd != fd)
			continue;
		owed[i] = owed[--owed_count];
		return true;
	}
	return false;
}

static void owe(int set, int fd, const struct epoll_event *event)
{
	if (owed_count < DAEMON_WATCH_OWED_MAX)
		owed[owed_count++] = (struct owed){ set, fd, *event };
}

static void pay(void)
{
	for (unsigned i = owed_count; i-- > 0;) {
		struct owed one = owed[i];

		if (call_kernel(one.set, EPOLL_CTL_ADD, one.fd, &one.event) == 0 ||
		    !is_shortage(errno))
			(void)forget(one.set, one.fd);
	}
}

int epoll_ctl(int set, int what, int fd, struct epoll_event *event)
{
	bool was_owed = owed_count > 0 && forget(set, fd);
	int result, error;

	if (owed_count > 0)
		pay();
	result = call_kernel(set, was_owed && what == EPOLL_CTL_MOD ? EPOLL_CTL_ADD : what, fd,
			     event);
	if (result == 0 || !is_for_libuv(what, fd, event))
		return result;
	error = errno;
	if (is_shortage(error)) {
		owe(set, fd, event);
		return 0;
	}
	errno = error;
	return result;
}
