/*
 * The event streams (GET /v1/event/stream): one for all namespaces, or one for each of the scope.
 * It knows whether they are open and alive; what is in them, and what an end means, is
 * mirror_sync's, which is told of each line and end. The legs are in `struct sync` and own their
 * requests.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mirror;

enum stream_end {
	STREAM_BROKE,
	STREAM_DENIED,	   /* the token may not, here */
	STREAM_IMPOSSIBLE, /* this agent has none that can be read */
};

struct stream_leg {
	struct mirror *mirror;
	size_t address;
	const char *namespace; /* NULL: all */
	uint64_t id, heard_ms;
	bool is_open;
};

/* Opens all of them, behind what is applied or (sync->must_list) with all that the agent's buffer
 * holds. 0, -ENOMEM or -EINVAL; then none is open. */
int mirror_stream_open(struct mirror *mirror);

/* Closes them, without a word. */
void mirror_stream_close(struct mirror *mirror);

/* Whether any of them is open at an agent that is not asked any more. */
bool mirror_stream_is_elsewhere(const struct mirror *mirror);

/* Ends what has been silent for too long. */
uint64_t mirror_stream_tick(struct mirror *mirror, uint64_t now_ms);
