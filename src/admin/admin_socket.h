/*
 * The listening socket of the admin room: TCP, or a unix socket that only its owner may use. No
 * loop; the caller owns the descriptor.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/addr.h"

struct admin_socket {
	int fd;	      /* non-blocking, close-on-exec, listening; -1: none */
	dev_t device; /* of the file at the path, so that only our own is removed */
	ino_t inode;
};

/*
 * Listens on `addr`, or on the unix socket `path` when `path` is not NULL (mode 0600). A socket
 * file that nobody answers on is a dead process's and replaced; one that somebody answers on is
 * -EADDRINUSE, and a file that is no socket -ENOTSOCK: neither is touched. 0 or -errno; `*out` is
 * filled only with 0.
 */
int admin_socket_open(const struct addr *addr, const char *path, struct admin_socket *out);

/* Removes the socket file if it is still the one that admin_socket_open made. */
void admin_socket_remove_file(const struct admin_socket *socket, const char *path);
