/* Time. Durations are measured on the monotonic clock; the wall clock is for logs, cookies and
 * nothing else. */
#pragma once

#include <stdint.h>

/* CLOCK_MONOTONIC in milliseconds; never goes back. */
uint64_t clock_now_ms(void);

/* CLOCK_MONOTONIC in microseconds, for latencies. */
uint64_t clock_now_us(void);

/* Seconds since 1970, for what leaves the process (log lines, cookies, metrics). */
uint64_t clock_wall_s(void);
