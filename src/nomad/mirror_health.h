/*
 * Whether Nomad is there. Every result of a call is told here; while there is no Nomad, needs are
 * answered at once (`is_holding`) and one probe asks again and again. It owns the probe, tells the
 * zone, and looks for another token while the one we have is refused. Which address is followed,
 * mirror_pulse sees to; what each tier makes of a loss, mirror_live.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "nomad/mirror_call.h"
#include "nomad/need.h"
#include "nomad/zone.h"

struct mirror;

struct health {
	enum zone_nomad state;
	bool is_ready;	   /* one good word since start */
	bool is_holding;   /* needs make no requests: the probe finds out when they may again */
	uint64_t since_ms; /* when it was lost, or last found */
	uint64_t found_ms;
	uint64_t probe_at_ms;	 /* 0: none planned */
	uint64_t probed_home_ms; /* when a denial was last looked into */
	unsigned step;		 /* of the doubling */
	struct call *probe;
	char reason[320];
};

void mirror_health_init(struct mirror *mirror);

/* A call has ended; `call` is borrowed, and may be the probe. A loss ends all asks. */
void mirror_health_good(struct mirror *mirror, const struct call *call);
void mirror_health_bad(struct mirror *mirror, const struct call *call, enum call_result result);

/* Starts the probe, unless one is under way. */
void mirror_health_probe_now(struct mirror *mirror);

/* What was refused may be granted to another token: reads the token file if it has changed. */
void mirror_health_look_for_token(struct mirror *mirror);

/* What a need hears while requests are held back. */
enum need_outcome mirror_health_outcome(const struct mirror *mirror);

void mirror_health_tick(struct mirror *mirror, uint64_t now_ms);
