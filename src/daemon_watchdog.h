/*
 * systemd's watchdog: a sign of life goes out of the main loop, and only while every worker's loop
 * turns too. One that hangs gets us ended and started again, which is a gap of a second instead of
 * half of all queries unanswered for ever.
 */
#pragma once

#include <stdint.h>

struct worker;

struct daemon_watchdog {
	uint64_t look_every_ms; /* 0: nobody watches, never look */
	unsigned silent_count;	/* looks in a row that found a worker silent */
};

/* Reads what systemd wants from the environment. */
void daemon_watchdog_init(struct daemon_watchdog *watchdog);

/* One look: if every worker has answered since the last one, systemd hears of it and all are asked
 * anew. A silent one is logged once, and again when it answers. */
void daemon_watchdog_look(struct daemon_watchdog *watchdog, struct worker *const *workers,
			  unsigned worker_count);
