#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "dns/dns.h"
#include "dns/image.h"

#define RR_BYTES 16

static void write_a(uint8_t rr[RR_BYTES], uint32_t ttl_s, uint8_t last)
{
	memcpy(rr, "\300\14\0\1\0\1\0\0\0\0\0\4\12\0\0\0", RR_BYTES);
	store_be32(rr + 6, ttl_s);
	rr[15] = last;
}

static struct image *build(unsigned count)
{
	struct image_builder builder = { 0 };

	for (unsigned i = 0; i < count; i++) {
		uint8_t rr[RR_BYTES];

		write_a(rr, 100 + i, (uint8_t)i);
		assert_int_equal(image_builder_add(&builder, rr, sizeof(rr), 2), i);
	}
	return image_builder_finish(&builder);
}

static void records_stand_where_the_index_says(void **state)
{
	struct image *image = build(1000);

	(void)state;
	assert_int_equal(image->rr_count, 1000);
	assert_int_equal(image->byte_count, 1000 * RR_BYTES);
	for (unsigned i = 0; i < 1000; i++) {
		const uint8_t *rr = image_rr_bytes(image, i);

		assert_int_equal(image->rr[i].length, RR_BYTES);
		assert_int_equal(load_be32(rr + image->rr[i].ttl_offset), 100 + i);
		assert_int_equal(rr[15], (uint8_t)i);
		assert_int_equal(image->rr[i].address_rr, IMAGE_NO_RR);
	}
	free(image);
}

static void all_records_count_as_answers(void **state)
{
	struct image *image = build(3);

	(void)state;
	assert_int_equal(image->answer_count, 3);
	assert_int_equal(image->authority_count, 0);
	assert_int_equal(image->additional_count, 0);
	assert_int_equal(image->ede, DNS_EDE_NONE);
	free(image);
}

static void empty_builder_makes_an_empty_image(void **state)
{
	struct image *image = build(0);

	(void)state;
	assert_non_null(image);
	assert_int_equal(image->rr_count, 0);
	assert_int_equal(image_min_ttl(image), UINT32_MAX);
	free(image);
}

static void smallest_ttl_is_found(void **state)
{
	struct image_builder builder = { 0 };
	uint8_t rr[RR_BYTES];
	struct image *image;

	(void)state;
	write_a(rr, 300, 1);
	image_builder_add(&builder, rr, sizeof(rr), 2);
	write_a(rr, 20, 2);
	image_builder_add(&builder, rr, sizeof(rr), 2);
	write_a(rr, 70, 3);
	image_builder_add(&builder, rr, sizeof(rr), 2);
	image = image_builder_finish(&builder);
	assert_int_equal(image_min_ttl(image), 20);
	free(image);
}

static void link_names_the_address_record(void **state)
{
	struct image_builder builder = { 0 };
	uint8_t rr[RR_BYTES];
	struct image *image;

	(void)state;
	write_a(rr, 1, 1);
	image_builder_add(&builder, rr, sizeof(rr), 2);
	image_builder_add(&builder, rr, sizeof(rr), 2);
	image_builder_link(&builder, 0, 1);
	image_builder_link(&builder, 0, 2); /* no such record: ignored */
	image = image_builder_finish(&builder);
	assert_int_equal(image->rr[0].address_rr, 1);
	free(image);
}

static void record_too_short_for_its_owner_fails_the_image(void **state)
{
	struct image_builder builder = { 0 };
	uint8_t rr[RR_BYTES];

	(void)state;
	write_a(rr, 1, 1);
	assert_int_equal(image_builder_add(&builder, rr, 11, 2), IMAGE_NO_RR);
	assert_int_equal(image_builder_add(&builder, rr, sizeof(rr), 2), IMAGE_NO_RR);
	assert_null(image_builder_finish(&builder));
}

static void builder_is_empty_after_finish(void **state)
{
	struct image_builder builder = { 0 };
	uint8_t rr[RR_BYTES];
	struct image *image;

	(void)state;
	write_a(rr, 1, 1);
	image_builder_add(&builder, rr, sizeof(rr), 2);
	free(image_builder_finish(&builder));
	image = image_builder_finish(&builder);
	assert_int_equal(image->rr_count, 0);
	free(image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_stand_where_the_index_says),
		cmocka_unit_test(all_records_count_as_answers),
		cmocka_unit_test(empty_builder_makes_an_empty_image),
		cmocka_unit_test(smallest_ttl_is_found),
		cmocka_unit_test(link_names_the_address_record),
		cmocka_unit_test(record_too_short_for_its_owner_fails_the_image),
		cmocka_unit_test(builder_is_empty_after_finish),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
