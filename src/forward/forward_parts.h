/*
 * The inside of the stage, shared by its two files: forward_stage.c has its life, its configuration
 * and who may be asked; work.c one question that is under way. The stage owns all of this; a work
 * reads it, takes turns and spare storage, and notes what it learned (last_reply_ms, failures,
 * is_unreachable). Nobody else includes this.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/random.h"
#include "forward/exchange.h"
#include "forward/failures.h"
#include "forward/forward_stage.h"
#include "forward/turns.h"
#include "forward/upstream.h"
#include "forward/works.h"

struct config_zone;
struct era;

struct forward_stage {
	struct forward_doors doors;
	struct exchange_doors exchange_doors;
	struct random random;
	struct exchange_udp_pool *udp; /* NULL: closed */
	struct config_zone *zones;     /* ours: no upstream is believed about them */
	size_t zone_count;
	struct era *era;    /* NULL: no upstreams yet */
	unsigned era_count; /* that are not gone yet */
	struct works works; /* of struct work */
	struct turns turns; /* likewise */
	struct list spare;  /* work.c's, for exchanges: kilobytes each, and a miss needs one */
	unsigned spare_count;
	char loop_text[UPSTREAM_TEXT_MAX + 48];
	uint64_t last_reply_ms; /* from any upstream */
	struct failures failures;
	/* By group of upstreams: the last word from there was that nobody listens. */
	bool is_unreachable[TURNS_GROUPS];
	bool is_closing;
	void (*closed)(void *arg);
	void *closed_arg;
};

/* Whether no upstream meant for it is left but such as lead back to us. */
bool forward_stage_leads_only_back(const struct forward_stage *stage,
				   const struct question *question, uint64_t now_ms);

/* While it closes, behind all that has ended: the last one frees the stage. */
void forward_stage_free_if_closed(struct forward_stage *stage);
