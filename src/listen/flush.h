/*
 * A name on its way through the caches of all workers, to be forgotten there. The asker and each
 * worker hold it; the last one to let go frees it, so that a worker that is late harms nobody.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dns/dns.h"

struct flush;

/* For so many workers, each of which ends its part with flush_report. The name is folded. NULL: out
 * of memory. */
struct flush *flush_new(const uint8_t *name, size_t length, unsigned worker_count);

const uint8_t *flush_name(const struct flush *flush, size_t *out_length);

/* A worker has forgotten so many entries. Any thread; once for each worker. */
void flush_report(struct flush *flush, size_t dropped_count);

/* The asker's end: waits until all workers have reported, or for so long. 0 or -ETIMEDOUT; the
 * count of those that have in any case. */
int flush_wait(struct flush *flush, uint64_t timeout_ms, size_t *out_dropped_count);
