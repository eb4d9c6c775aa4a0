#include "base/hash.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

struct sip {
	uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotate_left(uint64_t value, unsigned bits)
{
	return value << bits | value >> (64 - bits);
}

static inline void mix_rounds(struct sip *s, unsigned rounds)
{
	for (unsigned i = 0; i < rounds; i++) {
		s->v0 += s->v1;
		s->v1 = rotate_left(s->v1, 13) ^ s->v0;
		s->v0 = rotate_left(s->v0, 32);
		s->v2 += s->v3;
		s->v3 = rotate_left(s->v3, 16) ^ s->v2;
		s->v0 += s->v3;
		s->v3 = rotate_left(s->v3, 21) ^ s->v0;
		s->v2 += s->v1;
		s->v1 = rotate_left(s->v1, 17) ^ s->v2;
		s->v2 = rotate_left(s->v2, 32);
	}
}

static inline void mix_word(struct sip *s, uint64_t word, unsigned rounds)
{
	s->v3 ^= word;
	mix_rounds(s, rounds);
	s->v0 ^= word;
}

/* SipHash-c-d; the constants spell "somepseudorandomlygeneratedbytes" (paper, §2.1). */
static inline uint64_t siphash(const struct hash_key *key, const void *data, size_t length,
			       unsigned c_rounds, unsigned d_rounds)
{
	struct sip s = {
		.v0 = key->k0 ^ 0x736f6d6570736575u,
		.v1 = key->k1 ^ 0x646f72616e646f6du,
		.v2 = key->k0 ^ 0x6c7967656e657261u,
		.v3 = key->k1 ^ 0x7465646279746573u,
	};
	const uint8_t *p = data;
	uint64_t last = (uint64_t)length << 56;
	size_t words = length / 8, rest = length % 8;

	for (size_t i = 0; i < words; i++, p += 8) {
		uint64_t word;

		memcpy(&word, p, sizeof(word));
		mix_word(&s, le64toh(word), c_rounds);
	}
	for (size_t i = 0; i < rest; i++)
		last |= (uint64_t)p[i] << (8 * i);
	mix_word(&s, last, c_rounds);

	s.v2 ^= 0xff;
	mix_rounds(&s, d_rounds);
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

uint64_t hash_bytes(const struct hash_key *key, const void *data, size_t length)
{
	return siphash(key, data, length, 1, 3);
}

uint64_t hash_mac(const struct hash_key *key, const void *data, size_t length)
{
	return siphash(key, data, length, 2, 4);
}

void hash_random(void *out, size_t length)
{
	uint8_t *p = out;

	while (length > 0) {
		ssize_t got = getrandom(p, length, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			abort();
		p += got;
		length -= (size_t)got;
	}
}

void hash_dice_init(struct hash_dice *dice)
{
	hash_random(&dice->state, sizeof(dice->state));
}

/* SplitMix64 (Steele, Lea, Flood 2014): every seed, 0 included, is a good one. */
uint32_t hash_dice_roll(struct hash_dice *dice)
{
	uint64_t z = dice->state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return (uint32_t)((z ^ z >> 31) >> 32);
}
