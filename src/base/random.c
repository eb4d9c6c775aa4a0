#include "base/random.h"

#include <string.h>

#include "base/hash.h"

void random_draw(struct random *random, void *out, size_t length)
{
	uint8_t *taken;

	if (random->left_bytes < length) {
		hash_random(random->bytes, sizeof(random->bytes));
		random->left_bytes = sizeof(random->bytes);
	}
	random->left_bytes -= length;
	taken = random->bytes + random->left_bytes;
	memcpy(out, taken, length);
	explicit_bzero(taken, length);
}
