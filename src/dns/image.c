#include "dns/image.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "dns/dns.h"

#define FIRST_RR_CAPACITY 8
#define FIRST_BYTE_CAPACITY 512
#define IMAGE_BYTES_MAX (1u << 30) /* far above any record set; keeps every sum in 32 bits */

/* Makes room for `needed` elements by doubling. 0, or -1 when out of memory. */
static int grow(void **array, uint32_t *capacity, size_t needed, size_t first, size_t element_bytes)
{
	size_t larger = *capacity ? *capacity : first;
	void *grown;

	if (needed <= *capacity)
		return 0;
	while (larger < needed)
		larger *= 2;
	grown = realloc(*array, larger * element_bytes);
	if (!grown)
		return -1;
	*array = grown;
	*capacity = (uint32_t)larger;
	return 0;
}

static int reserve(struct image_builder *builder, size_t length)
{
	void *rr = builder->rr, *bytes = builder->bytes;
	int result;

	if ((size_t)builder->byte_count + length > IMAGE_BYTES_MAX)
		return -1;
	result = grow(&rr, &builder->rr_capacity, (size_t)builder->rr_count + 1, FIRST_RR_CAPACITY,
		      sizeof(*builder->rr));
	builder->rr = rr;
	if (result)
		return result;
	result = grow(&bytes, &builder->byte_capacity, (size_t)builder->byte_count + length,
		      FIRST_BYTE_CAPACITY, 1);
	builder->bytes = bytes;
	return result;
}

uint32_t image_builder_add(struct image_builder *builder, const uint8_t *rr, size_t length,
			   size_t owner_length)
{
	if (builder->failed)
		return IMAGE_NO_RR;
	if (length > UINT16_MAX || owner_length + DNS_RR_FIXED_BYTES > length ||
	    reserve(builder, length)) {
		builder->failed = 1;
		return IMAGE_NO_RR;
	}
	builder->rr[builder->rr_count] = (struct image_rr){
		.at = builder->byte_count,
		.length = (uint16_t)length,
		.ttl_offset = (uint16_t)(owner_length + 4), /* behind type and class */
		.address_rr = IMAGE_NO_RR,
	};
	memcpy(builder->bytes + builder->byte_count, rr, length);
	builder->byte_count += (uint32_t)length;
	return builder->rr_count++;
}

void image_builder_link(struct image_builder *builder, uint32_t srv_rr, uint32_t address_rr)
{
	if (srv_rr < builder->rr_count && address_rr < builder->rr_count)
		builder->rr[srv_rr].address_rr = address_rr;
}

struct image *image_builder_finish(struct image_builder *builder)
{
	struct image *image = NULL;

	if (!builder->failed)
		image = malloc(image_size(builder->rr_count, builder->byte_count));
	if (image) {
		*image = (struct image){
			.byte_count = builder->byte_count,
			.rr_count = builder->rr_count,
			.answer_count = (uint16_t)min_u32(builder->rr_count, UINT16_MAX),
			.ede = DNS_EDE_NONE,
		};
		if (builder->rr_count > 0) {
			memcpy(image->rr, builder->rr, builder->rr_count * sizeof(*builder->rr));
			memcpy(image->rr + image->rr_count, builder->bytes, builder->byte_count);
		}
	}
	free(builder->rr);
	free(builder->bytes);
	*builder = (struct image_builder){ 0 };
	return image;
}

uint32_t image_min_ttl(const struct image *image)
{
	uint32_t ttl_s = UINT32_MAX;

	for (uint32_t i = 0; i < image->rr_count; i++) {
		const uint8_t *rr = image_rr_bytes(image, i);

		ttl_s = min_u32(ttl_s, load_be32(rr + image->rr[i].ttl_offset));
	}
	return ttl_s;
}
