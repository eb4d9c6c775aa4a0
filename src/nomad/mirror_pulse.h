/*
 * Which agent is followed, and whether it still lives: a silent one is asked a small question while
 * there are clients' questions, the first address is asked whether it is back, and what is held at
 * an agent that is not followed any more is moved. What a loss means is mirror_health's.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct mirror;

struct pulse {
	uint64_t look_at_ms, questions; /* those there had been when it was last looked */
	uint64_t first_id, first_at_ms; /* the first address is asked whether it is back */
	unsigned first_step;
	bool is_away; /* from the first */
};

uint64_t mirror_pulse_tick(struct mirror *mirror, uint64_t now_ms);
void mirror_pulse_stop(struct mirror *mirror);
