/*
 * Names whose last answer was of no use, and that are not asked about again at once. A table of a
 * fixed size: names that meet in it only pause together, and nothing is ever removed. Labels are
 * folded; a service_label of "" stands for the namespace's list.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct mirror;

#define MIRROR_PAUSES 256

struct pause {
	uint64_t until_ms;
	unsigned step; /* of the doubling */
};

bool mirror_pause_is_on(struct mirror *mirror, const char *namespace_label,
			const char *service_label);

/* An ask has ended: a failure makes the pause longer, a success ends it. */
void mirror_pause_note(struct mirror *mirror, const char *namespace_label,
		       const char *service_label, bool has_failed);

/* It was not the names' fault. */
void mirror_pause_forget(struct mirror *mirror);
