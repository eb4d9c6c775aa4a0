/*
 * An image is a set of records ready to send: the bytes that follow the question in a message, and
 * where each record and its TTL stand. The question always ends where the image starts, so a
 * compression pointer in it stays right for every client that asks the same name. One block of
 * memory, immutable once built, owned by whoever holds the pointer (a zone name or a cache entry);
 * it never leaves its thread's or RCU's protection.
 *
 * Two kinds live by the same struct. An upstream's reply is sent whole and in order: its pointers
 * may lead anywhere in the message. Our own records (zone) are each self-contained: the owner is
 * 0xc00c, the question's name, or a name written out, so that any of them may be picked, in any
 * order.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IMAGE_NO_RR UINT32_MAX

struct image_rr {
	uint32_t at;	     /* offset of the record in bytes[] */
	uint16_t length;     /* whole record */
	uint16_t ttl_offset; /* of the TTL, from the record's start */
	uint32_t address_rr; /* SRV of ours: index of its target's A or AAAA record; else
				IMAGE_NO_RR */
};

struct image {
	uint32_t byte_count;
	uint32_t rr_count;
	uint16_t answer_count, authority_count,
		additional_count;  /* in this order; whole images only */
	uint16_t flags;		   /* AD of the reply it came from; 0 for ours */
	uint16_t rcode;		   /* of the reply it came from; 0 for ours */
	uint16_t ede;		   /* DNS_EDE_*, as the upstream said it; DNS_EDE_NONE for ours */
	uint16_t ede_text_length;  /* its text stands behind the bytes, with a NUL of its own */
	bool has_private;	   /* of upstream, with a loopback, link-local or private address */
	uint32_t additional_ttl_s; /* of upstream: the lowest TTL of ADDITIONAL; UINT32_MAX: none */
	struct image_rr rr[];	   /* rr_count, then the bytes */
};

static inline const uint8_t *image_bytes(const struct image *image)
{
	return (const uint8_t *)(image->rr + image->rr_count);
}

static inline const uint8_t *image_rr_bytes(const struct image *image, uint32_t index)
{
	return image_bytes(image) + image->rr[index].at;
}

/* Memory that an image of this shape takes. */
static inline size_t image_size(uint32_t rr_count, uint32_t byte_count)
{
	return sizeof(struct image) + rr_count * sizeof(struct image_rr) + byte_count;
}

/* All the memory an image takes. */
static inline size_t image_total_size(const struct image *image)
{
	return image_size(image->rr_count, image->byte_count) +
	       (image->ede_text_length ? image->ede_text_length + 1u : 0);
}

/* The text that came with the upstream's EDE; NULL: none. */
static inline const char *image_ede_text(const struct image *image)
{
	return image->ede_text_length ? (const char *)image_bytes(image) + image->byte_count : NULL;
}

/* Grows an image; caller's storage, zeroed is empty. `failed` remembers that memory ran out. */
struct image_builder {
	struct image_rr *rr;
	uint8_t *bytes;
	uint32_t rr_count, rr_capacity;
	uint32_t byte_count, byte_capacity;
	int failed;
};

/*
 * Adds one record whose bytes are complete (owner, type, class, TTL, rdlength, rdata);
 * `owner_length` is how many of them are the owner's. Returns its index, or IMAGE_NO_RR when out of
 * memory (then the builder has failed).
 */
uint32_t image_builder_add(struct image_builder *builder, const uint8_t *rr, size_t length,
			   size_t owner_length);

/* Links an SRV record to its target's address record. */
void image_builder_link(struct image_builder *builder, uint32_t srv_rr, uint32_t address_rr);

/* The finished image (caller frees with free()), or NULL if memory ran out; the builder is empty
 * again either way. */
struct image *image_builder_finish(struct image_builder *builder);

/* The smallest TTL of all records; UINT32_MAX when there are none. */
uint32_t image_min_ttl(const struct image *image);
