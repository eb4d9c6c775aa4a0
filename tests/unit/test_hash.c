#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/hash.h"

/* Key 00 01 … 0f, little-endian, as in the reference. */
static const struct hash_key REFERENCE_KEY = { 0x0706050403020100, 0x0f0e0d0c0b0a0908 };

static void fill_counting(uint8_t *out, size_t length)
{
	for (size_t i = 0; i < length; i++)
		out[i] = (uint8_t)i;
}

static void mac_is_siphash_2_4_of_the_reference(void **state)
{
	/* vectors_sip64 of the reference implementation, input 00 01 02 … */
	static const struct {
		size_t length;
		uint64_t mac;
	} vectors[] = {
		{ 0, 0x726fdb47dd0e0e31 }, { 1, 0x74f839c593dc67fd },  { 7, 0xab0200f58b01d137 },
		{ 8, 0x93f5f5799a932462 }, { 15, 0xa129ca6149be45e5 }, { 63, 0x958a324ceb064572 },
	};
	uint8_t data[64];

	(void)state;
	fill_counting(data, sizeof(data));
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++)
		assert_true(hash_mac(&REFERENCE_KEY, data, vectors[i].length) == vectors[i].mac);
}

static void table_hash_is_siphash_1_3(void **state)
{
	(void)state;
	assert_true(hash_bytes(&REFERENCE_KEY, "", 0) == 0xabac0158050fc4dc);
}

static void hash_depends_on_key_length_and_every_byte(void **state)
{
	struct hash_key other = { REFERENCE_KEY.k0, REFERENCE_KEY.k1 ^ 1 };
	uint8_t data[24] = { 0 };
	uint64_t plain = hash_bytes(&REFERENCE_KEY, data, sizeof(data));

	(void)state;
	assert_true(hash_bytes(&other, data, sizeof(data)) != plain);
	assert_true(hash_bytes(&REFERENCE_KEY, data, sizeof(data) - 1) != plain);
	for (size_t i = 0; i < sizeof(data); i++) {
		data[i] = 1;
		assert_true(hash_bytes(&REFERENCE_KEY, data, sizeof(data)) != plain);
		data[i] = 0;
	}
}

static void data_need_not_be_aligned(void **state)
{
	uint8_t data[33], moved[34];

	(void)state;
	fill_counting(data, sizeof(data));
	memcpy(moved + 1, data, sizeof(data));
	assert_true(hash_mac(&REFERENCE_KEY, data, sizeof(data)) ==
		    hash_mac(&REFERENCE_KEY, moved + 1, sizeof(data)));
}

static void random_fills_all_bytes_differently_each_time(void **state)
{
	uint8_t a[64] = { 0 }, b[64] = { 0 };

	(void)state;
	hash_random(a, sizeof(a));
	hash_random(b, sizeof(b));
	assert_memory_not_equal(a, b, sizeof(a));
	hash_random(a, 0);
}

static void dice_with_one_seed_roll_one_sequence(void **state)
{
	struct hash_dice a = { .state = 0 }, b = { .state = 0 };

	(void)state;
	/* SplitMix64 from seed 0 begins with e220a8397b1dcdaf. */
	assert_int_equal(hash_dice_roll(&a), 0xe220a839);
	hash_dice_roll(&b);
	assert_int_equal(hash_dice_roll(&a), hash_dice_roll(&b));
}

static void dice_roll_every_face(void **state)
{
	unsigned seen[6] = { 0 };
	struct hash_dice dice;

	(void)state;
	hash_dice_init(&dice);
	for (unsigned i = 0; i < 6000; i++)
		seen[hash_dice_roll(&dice) % 6]++;
	for (unsigned i = 0; i < 6; i++)
		assert_in_range(seen[i], 700, 1300);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mac_is_siphash_2_4_of_the_reference),
		cmocka_unit_test(table_hash_is_siphash_1_3),
		cmocka_unit_test(hash_depends_on_key_length_and_every_byte),
		cmocka_unit_test(data_need_not_be_aligned),
		cmocka_unit_test(random_fills_all_bytes_differently_each_time),
		cmocka_unit_test(dice_with_one_seed_roll_one_sequence),
		cmocka_unit_test(dice_roll_every_face),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
