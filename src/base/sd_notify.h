/*
 * The readiness protocol of systemd (sd_notify(3)): one datagram to the socket named by
 * $NOTIFY_SOCKET. Nothing happens when nobody listens; it never blocks.
 */
#pragma once

#include <stdint.h>

/* Sends "READY=1", "STATUS=…", … (several lines are one message). 0, also without a
 * $NOTIFY_SOCKET; or -errno: -EINVAL for an address that is neither a path nor '@…', -ENAMETOOLONG
 * for one over 107 bytes. */
int sd_notify_send(const char *state);

/* After how long without "WATCHDOG=1" systemd ends us, from $WATCHDOG_USEC and $WATCHDOG_PID
 * (sd_watchdog_enabled(3)); 0: it does not watch. */
uint64_t sd_notify_watchdog_ms(void);
