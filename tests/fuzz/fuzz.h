/*
 * What the harnesses share. One harness a parser: it feeds bytes from nowhere and checks, beyond
 * "no crash", what the parser's header promises. `make fuzz` builds them with clang's libFuzzer
 * under the address and undefined-behaviour sanitizers.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A promise of a header; breaking it ends the run and leaves the input behind. */
#define PROMISE(condition)                                                                         \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: broken promise: %s\n", __FILE__, __LINE__,         \
				#condition);                                                       \
			abort();                                                                   \
		}                                                                                  \
	} while (0)
