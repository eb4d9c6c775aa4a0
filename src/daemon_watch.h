/*
 * What libuv watches goes through epoll_ctl(2), and libuv ends the process when the kernel refuses
 * (uv__io_poll() in its unix/linux-core.c): out of kernel memory, or at fs.epoll.max_user_watches,
 * which all processes of a user share. Here it stands in front of the kernel's: libuv is told that
 * all is well, and what could not be watched is tried again with the next call of that thread.
 * Everybody else hears the truth.
 */
#pragma once

#include <sys/epoll.h>

#define DAEMON_WATCH_OWED_MAX                                                                      \
	64 /* of one thread; further ones are never watched: their timers end them */

int epoll_ctl(int set, int what, int fd, struct epoll_event *event);
