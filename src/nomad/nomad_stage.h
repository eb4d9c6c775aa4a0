/*
 * The first stage: names under a zone, and reverse names we know from Nomad. Looks up in the zone
 * and says what the contract of names says; what the zone does not hold is asked for through the
 * mailbox and waited for. Reads only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "dns/answer.h"
#include "nomad/need.h"
#include "nomad/zone.h"
#include "query/query.h"

struct config;
struct nomad_stage;

/* How the stage reaches the control plane: 0, or -EAGAIN when the box is full. */
typedef int nomad_stage_send(void *arg, const struct need *need);

struct nomad_stage *nomad_stage_new(struct zone *zone, uint8_t worker, nomad_stage_send *send,
				    void *send_arg);
void nomad_stage_free(struct nomad_stage *stage);
void nomad_stage_configure(struct nomad_stage *stage, const struct config *config);

/* Judges one question. PASS: not ours. PENDING: call nomad_stage_wait with the parked query. */
enum verdict nomad_stage_ask(struct nomad_stage *stage, struct query *query, uint64_t now_ms,
			     struct answer *out);

/* Makes a parked query wait for what it needs. PENDING, or FAILED at a ceiling with `out` filled.
 */
enum verdict nomad_stage_wait(struct nomad_stage *stage, struct query *query, uint64_t now_ms,
			      struct answer *out);

/*
 * A word from Nomad: calls `wake` for every query that waited for it, with its nomad_outcome set.
 * `wake` resumes the query (which may end it or make it wait again).
 */
void nomad_stage_hear(struct nomad_stage *stage, const struct need_word *word,
		      void (*wake)(void *arg, struct query *query), void *arg);
