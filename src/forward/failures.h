/*
 * Questions that got no answer from upstream, remembered for a moment (RFC 9520 §3.2): at least a
 * second, twice as long each time, at most 30 s. A table of fixed size, keyed by the question's
 * hash; what falls on a place that is taken only makes it forget. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define FAILURES 1024 /* a power of two; 32 KiB a worker */

struct failures { /* zeroed is empty */
	struct failure {
		uint16_t rcode;
		uint64_t hash; /* of the whole question, keyed */
		uint64_t until_ms;
		uint64_t kept_ms;
	} place[FAILURES];
};

/* How it failed, if so lately that it is not to be asked again: the rcode; 0: it did not. */
uint16_t failures_find(const struct failures *failures, uint64_t hash, uint64_t now_ms);

/* It failed with this rcode. `others_work`: some other question has been answered meanwhile. When
 * none is, the fault lies with the network, and the name must not wait for it longer than the
 * network does. */
void failures_note(struct failures *failures, uint64_t hash, uint16_t rcode, bool others_work,
		   uint64_t now_ms);

/* It was answered. */
void failures_forget(struct failures *failures, uint64_t hash);

void failures_clear(struct failures *failures);
