/*
 * Reads the nameserver lines of a resolv.conf (resolv.conf(5)); every other line is ignored. Pure
 * text to addresses; the file is read by resolv_conf_load. More than RESOLV_CONF_MAX servers: the
 * first ones count.
 */
#pragma once

#include <stddef.h>

#include "base/addr.h"

#define RESOLV_CONF_MAX 16

/* Parses text of `length` bytes. Returns how many servers were found (port 53); lines that make no
 * sense count in *out_bad. */
size_t resolv_conf_parse(const char *text, size_t length, struct addr out[RESOLV_CONF_MAX],
			 unsigned *out_bad);

/*
 * Reads and parses `path`. If its only servers are systemd-resolved's stub (127.0.0.53,
 * 127.0.0.54), reads /run/systemd/resolve/resolv.conf instead. Returns the count, or -errno when
 * the file cannot be read.
 */
int resolv_conf_load(const char *path, struct addr out[RESOLV_CONF_MAX], unsigned *out_bad);
