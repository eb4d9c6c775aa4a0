/*
 * Which namespaces there are: a held request for their list (GET /v1/namespaces), beside a stream
 * of all of them, which knows nothing of one that is younger than itself. It only looks at the
 * list's index; when that moves, it has mirror_sync open another stream.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct mirror;

struct census {
	uint64_t id;	      /* 0: none under way */
	size_t address;	      /* where it was asked */
	uint64_t index;	      /* held at; 0: not held */
	uint64_t known_index; /* of the last list; 0: none yet */
	uint64_t asked_ms, ask_at_ms;
	unsigned step;
	uint64_t grown_index, grow_at_ms; /* the stream is too old from that index on */
};

/* A stream is about to be opened: what there is by now is in it. */
void mirror_census_start(struct mirror *mirror);
void mirror_census_stop(struct mirror *mirror);
uint64_t mirror_census_tick(struct mirror *mirror, uint64_t now_ms);
