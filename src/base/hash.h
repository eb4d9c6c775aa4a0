/*
 * SipHash (Aumasson, Bernstein 2012) and the kernel's randomness. Names come from strangers, so
 * every table they fill is keyed with a secret: an attacker who cannot know it cannot make
 * collisions.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct hash_key {
	uint64_t k0, k1;
};

/* SipHash-1-3: for hash tables. */
uint64_t hash_bytes(const struct hash_key *key, const void *data, size_t length);

/* SipHash-2-4: for what leaves the process (DNS cookies, RFC 9018 §4.4). */
uint64_t hash_mac(const struct hash_key *key, const void *data, size_t length);

/* Fills `out` from getrandom(2); aborts the process if the kernel has none (cannot happen after
 * boot). */
void hash_random(void *out, size_t length);

/*
 * A small fast generator seeded from getrandom, for choices an attacker gains nothing from knowing
 * (rotation, jitter). Never for ids, ports or secrets. Not thread-safe: one per owner.
 */
struct hash_dice {
	uint64_t state;
};

void hash_dice_init(struct hash_dice *dice);
uint32_t hash_dice_roll(struct hash_dice *dice);
