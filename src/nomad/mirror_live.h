/*
 * The parts that keep the mirror live, as one: how they begin and end, and the clock they share.
 * Each has a `tick(mirror, now_ms)`, which does what is due and returns when to look again (now_ms:
 * at once; UINT64_MAX: not before something happens); whoever moves a date arms the clock, and no
 * part has a timer of its own. Which tier the parts amount to is mirror_tier's.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct config;
struct mirror;

/* Makes what they need, and starts nothing. false: out of memory (then mirror_live_free is due). */
bool mirror_live_open(struct mirror *mirror, const struct config *config);
void mirror_live_start(struct mirror *mirror);
void mirror_live_configure(struct mirror *mirror, const struct config *config); /* starts anew */
void mirror_live_close(struct mirror *mirror); /* nothing is under way any more */
void mirror_live_free(struct mirror *mirror);

/* A new token, agent or leader: tries for the best at the next tick, but leaves alone what is held
 * already. Not at once: a call may tell of it, and is read to its end before it is dropped. */
void mirror_live_renew(struct mirror *mirror);

/* Nomad answers again: it may be another version by now. */
void mirror_live_found(struct mirror *mirror);

uint64_t mirror_live_tick(struct mirror *mirror, uint64_t now_ms);

/* Something may be due earlier than was planned: the clock finds out what, at once, but never from
 * inside this call. */
void mirror_live_arm(struct mirror *mirror);
