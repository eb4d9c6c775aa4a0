/*
 * The readiness protocol of systemd (sd_notify(3)): one datagram to the socket named by
 * $NOTIFY_SOCKET. Nothing happens when nobody listens; it never blocks.
 */
#pragma once

/* Sends "READY=1", "STATUS=…", … (several lines are one message). 0, also without a
 * $NOTIFY_SOCKET; or -errno: -EINVAL for an address that is neither a path nor '@…', -ENAMETOOLONG
 * for one over 107 bytes. */
int sd_notify_send(const char *state);
