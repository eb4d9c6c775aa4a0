/*
 * Open files and sockets, which run out: how many there may be, and who may have how many of them.
 * A flood of questions to a silent upstream must not take those that TCP clients, Nomad and files
 * need.
 */
#pragma once

#include <stdint.h>

#define DESCRIPTORS_MAX 8192 /* more are of no use, and libuv's tables grow with them */

/* Raises the soft limit, which is 1,024 as a rule, as far as the hard one allows and we have use
 * for. Once, before anything is opened. */
void descriptors_raise(void);

/* How many this process may have open, DESCRIPTORS_MAX at most. */
unsigned descriptors_limit(void);

struct descriptors_plan {
	unsigned tcp_clients;	   /* of all workers */
	unsigned upstream_sockets; /* for questions over UDP, of all workers */
};

/* What a limit has room for, beside what we always need. Pure. */
struct descriptors_plan descriptors_plan(unsigned limit, unsigned tcp_clients_wanted);
