/*
 * Who holds a port: the process behind a bind that failed, for the sentence the operator reads.
 * Linux only (/proc); finds nothing where it may not look. Blocking; start-up only.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/addr.h"

#define HOLDER_NAME_MAX 32 /* a comm has at most 15 bytes, a kernel thread's a few more */

struct holder {
	pid_t pid;
	char name[HOLDER_NAME_MAX]; /* printable ASCII */
};

/* The process with a socket that stands in the way of binding `addr`. 0, or -ENOENT when none is
 * found or the rights are missing. */
int holder_find(const struct addr *addr, bool is_tcp, struct holder *out);
