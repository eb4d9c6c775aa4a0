/* Time. Durations are measured on a clock that goes on while the machine sleeps (what was true for
 * ten seconds before a night is not true after it); the wall clock is for logs, cookies and nothing
 * else. */
#pragma once

#include <stdint.h>

/* CLOCK_BOOTTIME in milliseconds; never goes back. */
uint64_t clock_now_ms(void);

/* CLOCK_BOOTTIME in microseconds, for latencies. */
uint64_t clock_now_us(void);

/* CLOCK_MONOTONIC in microseconds: the same without sleep. For those who ask for it by name
 * (sd_notify(3), MONOTONIC_USEC). */
uint64_t clock_awake_us(void);

/* Seconds since 1970, for what leaves the process (log lines, cookies, metrics). */
uint64_t clock_wall_s(void);
