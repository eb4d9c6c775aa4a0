#include "daemon_reserve.h"

#include <malloc.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <uv.h>

#include "base/bytes.h"

/* A table of 8,192 descriptors (LimitNOFILE of our unit) has grown through 128 KiB: enough for the
 * main loop and seven workers. */
#define RESERVE_BYTES (1u << 20)

struct block {
	alignas(max_align_t) size_t size;
};

static alignas(max_align_t) uint8_t reserve[RESERVE_BYTES];
static atomic_size_t used;

static bool is_ours(const void *pointer)
{
	const uint8_t *at = pointer;

	return at >= reserve && at < reserve + RESERVE_BYTES;
}

/* What is taken from the reserve is never given back: tables only grow. */
static void *take(size_t size)
{
	size_t whole = sizeof(struct block) +
		       ((size + sizeof(struct block) - 1) & ~(sizeof(struct block) - 1));
	size_t at;
	struct block *block;

	if (size > RESERVE_BYTES)
		return NULL;
	at = atomic_fetch_add(&used, whole);
	if (at + whole > RESERVE_BYTES) {
		atomic_fetch_sub(&used, whole);
		return NULL;
	}
	block = (struct block *)(void *)(reserve + at);
	block->size = size;
	return block + 1;
}

void *daemon_reserve_realloc(void *block, size_t size)
{
	void *grown = is_ours(block) ? NULL : realloc(block, size);
	size_t old_size = 0;

	if (grown || size == 0)
		return grown;
	if (is_ours(block))
		old_size = ((struct block *)block - 1)->size;
	else if (block)
		old_size = malloc_usable_size(block);
	grown = take(size);
	if (!grown)
		return NULL;
	if (block)
		memcpy(grown, block, min_size(old_size, size));
	daemon_reserve_free(block);
	return grown;
}

void daemon_reserve_free(void *block)
{
	if (!is_ours(block))
		free(block);
}

void daemon_reserve_install(void)
{
	(void)uv_replace_allocator(malloc, daemon_reserve_realloc, calloc, daemon_reserve_free);
}
