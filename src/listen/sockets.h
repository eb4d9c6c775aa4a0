/*
 * The listening sockets of the whole daemon, bound before anything else runs, so that a taken port
 * is known at once. For each address one UDP and one TCP socket per worker (SO_REUSEPORT only with
 * more than one worker or `reuseport`). Inherited sockets (LISTEN_FDS) are used instead of
 * `listen`. Blocking calls only; no loop.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/addr.h"

struct config;

struct sockets_one {
	int fd;		 /* -1 once handed to a worker */
	unsigned worker; /* whose it is */
	bool is_tcp;
	bool is_wildcard;  /* bound to 0.0.0.0 or ::, so replies need the packet's own address */
	bool is_inherited; /* others may share it: what waits in it at the end is theirs */
	struct addr addr;  /* as bound (port from the kernel if 0 was asked) */
};

struct sockets {
	struct sockets_one *one;
	size_t count;
};

/* Binds everything. 0, or -errno with a sentence in `why` that names address, reason and way out.
 * Exit code by the caller. */
int sockets_bind(struct sockets *sockets, const struct config *config, char *why,
		 size_t why_capacity);

/* Closes what was not handed over. */
void sockets_deinit(struct sockets *sockets);
