/*
 * Fetches instances ahead of questions, slowly, while there is a stream: one pass over the
 * catalogue's names each time that it has gone live. What it fetches ends as everything that is
 * needed does; it only remembers how far the pass is.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct mirror;

struct preload {
	uint32_t limit;	     /* names; CONFIG_PRELOAD_AUTO */
	uint32_t done;	     /* of this pass */
	uint64_t step_at_ms; /* 0: nothing to do */
	bool has_picked;
	struct buf batch; /* each name once: pairs of strings, each with its NUL */
	size_t batch_at;
};

void mirror_preload_start(struct mirror *mirror);  /* a pass begins, if one is wanted */
void mirror_preload_forget(struct mirror *mirror); /* and ends */
uint64_t mirror_preload_tick(struct mirror *mirror, uint64_t now_ms);
