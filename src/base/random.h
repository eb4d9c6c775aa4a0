/*
 * Bytes that nobody can guess, for what is needed with every question (ids, ports, the case of
 * letters): the kernel's, fetched a kilobyte at a time instead of by a call for each. What was
 * drawn is wiped here, so that nobody who reads this memory learns it. Zeroed is empty. One owner;
 * not thread-safe, not for a process that forks.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define RANDOM_BYTES 1024

struct random {
	size_t left_bytes; /* of `bytes`, from the front */
	uint8_t bytes[RANDOM_BYTES];
};

/* At most RANDOM_BYTES; they come as from hash_random. */
void random_draw(struct random *random, void *out, size_t length);
