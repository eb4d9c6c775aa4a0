#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/str.h"

static void durations_have_units(void **state)
{
	static const struct {
		const char *text;
		uint64_t ms;
	} cases[] = {
		{ "0", 0 },	      { "0s", 0 },	  { "10s", 10000 },
		{ "250ms", 250 },     { "5m", 300000 },	  { "1h", 3600000 },
		{ "2h30m", 9000000 }, { "1d", 86400000 }, { "1m500ms", 60500 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		uint64_t ms = 99;

		assert_int_equal(str_parse_duration_ms(cases[i].text, &ms), 0);
		assert_int_equal(ms, cases[i].ms);
	}
}

static void what_is_no_duration_is_refused(void **state)
{
	static const char *const cases[] = { "",     "10",    "s",    "1 s", "-1s",  "1s ", "1.5s",
					     "1s1s", "30m2h", "10 s", "1x",  "0x1s", "00" };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		uint64_t ms = 99;

		assert_int_equal(str_parse_duration_ms(cases[i], &ms), -EINVAL);
		assert_int_equal(ms, 99);
	}
}

static void duration_past_64_bits_is_out_of_range(void **state)
{
	uint64_t ms = 99;

	(void)state;
	assert_int_equal(str_parse_duration_ms("18446744073709551615h", &ms), -ERANGE);
	assert_int_equal(str_parse_duration_ms("99999999999999999999999s", &ms), -ERANGE);
	assert_int_equal(ms, 99);
}

static void sizes_have_binary_and_decimal_units(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} cases[] = {
		{ "0", 0 },	     { "4096", 4096 },	    { "64KiB", 65536 },
		{ "8MiB", 8388608 }, { "8mib", 8388608 },   { "1GiB", 1073741824 },
		{ "8MB", 8000000 },  { "2GB", 2000000000 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		uint64_t bytes = 99;

		assert_int_equal(str_parse_size(cases[i].text, &bytes), 0);
		assert_int_equal(bytes, cases[i].bytes);
	}
}

static void what_is_no_size_is_refused(void **state)
{
	static const char *const cases[] = { "", "MiB", "8 MiB", "-1", "8MiBx", "1.5MiB", "8X" };
	uint64_t bytes = 99;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++)
		assert_int_equal(str_parse_size(cases[i], &bytes), -EINVAL);
	assert_int_equal(str_parse_size("99999999999GiB", &bytes), -ERANGE);
	assert_int_equal(bytes, 99);
}

static void booleans_have_four_spellings(void **state)
{
	static const char *const on[] = { "on", "true", "yes", "1", "TRUE" };
	static const char *const off[] = { "off", "false", "no", "0", "Off" };
	bool value;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(on); i++) {
		value = false;
		assert_int_equal(str_parse_bool(on[i], &value), 0);
		assert_true(value);
		assert_int_equal(str_parse_bool(off[i], &value), 0);
		assert_false(value);
	}
	assert_int_equal(str_parse_bool("", &value), -EINVAL);
	assert_int_equal(str_parse_bool("onn", &value), -EINVAL);
}

static void numbers_are_digits_within_bounds(void **state)
{
	uint64_t value = 99;

	(void)state;
	assert_int_equal(str_parse_uint("7", 1, 64, &value), 0);
	assert_int_equal(value, 7);
	assert_int_equal(str_parse_uint("18446744073709551615", 0, UINT64_MAX, &value), 0);
	assert_true(value == UINT64_MAX);
	assert_int_equal(str_parse_uint("18446744073709551616", 0, UINT64_MAX, &value), -ERANGE);
	assert_int_equal(str_parse_uint("0", 1, 64, &value), -ERANGE);
	assert_int_equal(str_parse_uint("65", 1, 64, &value), -ERANGE);
	assert_int_equal(str_parse_uint("", 0, 64, &value), -EINVAL);
	assert_int_equal(str_parse_uint("+1", 0, 64, &value), -EINVAL);
	assert_int_equal(str_parse_uint(" 1", 0, 64, &value), -EINVAL);
	assert_int_equal(str_parse_uint("1x", 0, 64, &value), -EINVAL);
}

static void durations_are_written_as_they_are_read(void **state)
{
	static const struct {
		uint64_t ms;
		const char *text;
	} cases[] = {
		{ 0, "0s" },	   { 250, "250ms" },	{ 10000, "10s" },    { 90000, "1m30s" },
		{ 3600000, "1h" }, { 86400000, "24h" }, { 1500, "1s500ms" },
	};
	char out[32];

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		str_format_duration_ms(cases[i].ms, out, sizeof(out));
		assert_string_equal(out, cases[i].text);
	}
}

static void sizes_are_written_as_they_are_read(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} cases[] = { { 0, "0" },	   { 4097, "4097" },	   { 65536, "64KiB" },
		      { 8388608, "8MiB" }, { 1073741824, "1GiB" }, { 1536, "1536" } };
	char out[32];

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		str_format_size(cases[i].bytes, out, sizeof(out));
		assert_string_equal(out, cases[i].text);
	}
}

static void cut_output_is_still_terminated(void **state)
{
	char out[4];

	(void)state;
	memset(out, 'x', sizeof(out));
	str_format_duration_ms(3723004, out, sizeof(out));
	assert_non_null(memchr(out, '\0', sizeof(out)));
	memset(out, 'x', sizeof(out));
	str_format_size(123456789, out, sizeof(out));
	assert_non_null(memchr(out, '\0', sizeof(out)));
}

static void distance_counts_edits(void **state)
{
	(void)state;
	assert_int_equal(str_distance("", ""), 0);
	assert_int_equal(str_distance("ttl", "ttl"), 0);
	assert_int_equal(str_distance("ttl", "tll"), 1);
	assert_int_equal(str_distance("ttl", "ttls"), 1);
	assert_int_equal(str_distance("kitten", "sitting"), 3);
	assert_int_equal(str_distance("", "abc"), 3);
	assert_int_equal(str_distance("abc", ""), 3);
}

static void long_words_are_infinitely_far(void **state)
{
	char word[65];

	(void)state;
	memset(word, 'a', sizeof(word));
	word[64] = '\0';
	assert_true(str_distance(word, "a") == SIZE_MAX);
	assert_true(str_distance("a", word) == SIZE_MAX);
	word[63] = '\0';
	assert_int_equal(str_distance(word, word), 0);
}

static void format_tells_cut_from_whole(void **state)
{
	char out[4];

	(void)state;
	assert_int_equal(str_format(out, sizeof(out), "%s", "abc"), 3);
	assert_string_equal(out, "abc");
	assert_int_equal(str_format(out, sizeof(out), "%s", "abcd"), -ENAMETOOLONG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(durations_have_units),
		cmocka_unit_test(what_is_no_duration_is_refused),
		cmocka_unit_test(duration_past_64_bits_is_out_of_range),
		cmocka_unit_test(sizes_have_binary_and_decimal_units),
		cmocka_unit_test(what_is_no_size_is_refused),
		cmocka_unit_test(booleans_have_four_spellings),
		cmocka_unit_test(numbers_are_digits_within_bounds),
		cmocka_unit_test(durations_are_written_as_they_are_read),
		cmocka_unit_test(sizes_are_written_as_they_are_read),
		cmocka_unit_test(cut_output_is_still_terminated),
		cmocka_unit_test(distance_counts_edits),
		cmocka_unit_test(long_words_are_infinitely_far),
		cmocka_unit_test(format_tells_cut_from_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
