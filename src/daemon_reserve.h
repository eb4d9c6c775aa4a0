/*
 * Memory for the one thing that must not fail: libuv's table of descriptors. When it cannot grow,
 * libuv ends the process (maybe_resize() in its unix/core.c). So when the heap refuses, it grows
 * into memory of ours that lies ready, untouched and therefore for nothing, until then.
 */
#pragma once

#include <stddef.h>

/* Makes libuv use it. To be called once, before anything else of libuv. */
void daemon_reserve_install(void);

/* realloc(3) and free(3), with the reserve behind them; from any thread. NULL: that is used up too.
 */
void *daemon_reserve_realloc(void *block, size_t size);
void daemon_reserve_free(void *block);
