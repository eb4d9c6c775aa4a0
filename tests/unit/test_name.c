#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dns/name.h"

static void text_becomes_wire_form(void **state)
{
	uint8_t name[DNS_NAME_MAX];

	(void)state;
	assert_int_equal(name_parse("Redis.nomad", name), 13);
	assert_memory_equal(name, "\5Redis\5nomad", 13);
}

static void final_dot_changes_nothing(void **state)
{
	uint8_t name[DNS_NAME_MAX];

	(void)state;
	assert_int_equal(name_parse("a.b.", name), 5);
	assert_memory_equal(name, "\1a\1b", 5);
}

static void dot_alone_is_the_root(void **state)
{
	uint8_t name[DNS_NAME_MAX] = { 9 };

	(void)state;
	assert_int_equal(name_parse(".", name), 1);
	assert_int_equal(name[0], 0);
}

static void empty_labels_are_refused(void **state)
{
	uint8_t name[DNS_NAME_MAX];

	(void)state;
	assert_int_equal(name_parse("", name), -EINVAL);
	assert_int_equal(name_parse("a..b", name), -EINVAL);
	assert_int_equal(name_parse(".a", name), -EINVAL);
	assert_int_equal(name_parse("a..", name), -EINVAL);
	assert_int_equal(name_parse("..", name), -EINVAL);
}

static void label_of_64_is_refused_and_63_is_not(void **state)
{
	char text[80];
	uint8_t name[DNS_NAME_MAX];

	(void)state;
	memset(text, 'x', sizeof(text));
	text[64] = '\0';
	assert_int_equal(name_parse(text, name), -EINVAL);
	text[63] = '\0';
	assert_int_equal(name_parse(text, name), 65);
}

/* `last` bytes in the fourth label; the wire form is 3 * 64 + 1 + last + 1 bytes. */
static void write_long_name(char text[300], size_t last)
{
	size_t at = 0;

	for (unsigned i = 0; i < 3; i++) {
		memset(text + at, 'x', 63);
		at += 63;
		text[at++] = '.';
	}
	memset(text + at, 'x', last);
	text[at + last] = '\0';
}

static void name_of_255_bytes_is_the_longest(void **state)
{
	char text[300];
	uint8_t name[DNS_NAME_MAX];

	(void)state;
	write_long_name(text, 61);
	assert_int_equal(name_parse(text, name), 255);
	write_long_name(text, 62);
	assert_int_equal(name_parse(text, name), -EINVAL);
}

static void longest_name_may_end_with_a_dot(void **state)
{
	char text[300];
	uint8_t name[DNS_NAME_MAX];

	(void)state;
	write_long_name(text, 61);
	strncat(text, ".", 2);
	assert_int_equal(name_parse(text, name), 255);
}

static void escapes_are_read(void **state)
{
	uint8_t name[DNS_NAME_MAX];

	(void)state;
	assert_int_equal(name_parse("a\\.b\\000\\255", name), 7);
	assert_memory_equal(name, "\5a.b\0\377", 7);
}

static void bad_escapes_are_refused(void **state)
{
	uint8_t name[DNS_NAME_MAX];

	(void)state;
	assert_int_equal(name_parse("a\\256", name), -EINVAL);
	assert_int_equal(name_parse("a\\12", name), -EINVAL);
	assert_int_equal(name_parse("a\\", name), -EINVAL);
}

static void failure_leaves_the_output_alone(void **state)
{
	uint8_t name[DNS_NAME_MAX] = { 42 };

	(void)state;
	assert_int_equal(name_parse("a..b", name), -EINVAL);
	assert_int_equal(name[0], 42);
}

static void every_byte_survives_text_and_back(void **state)
{
	char text[NAME_TEXT_MAX];
	uint8_t name[DNS_NAME_MAX], again[DNS_NAME_MAX];

	(void)state;
	for (unsigned byte = 0; byte < 256; byte++) {
		uint8_t wire[] = { 2, (uint8_t)byte, 'x', 0 };
		size_t length = name_format(wire, text);

		assert_int_equal(length, strlen(text));
		assert_int_equal(name_parse(text, again), 4);
		assert_memory_equal(again, wire, 4);
	}
	memset(name, 0xff, sizeof(name));
	for (unsigned i = 0; i < 3; i++)
		name[i * 64] = 63;
	name[192] = 61;
	name[254] = 0;
	assert_true(name_format(name, text) < NAME_TEXT_MAX);
	assert_int_equal(name_parse(text, again), 255);
}

static void root_is_written_as_a_dot(void **state)
{
	char text[NAME_TEXT_MAX];

	(void)state;
	assert_int_equal(name_format((const uint8_t *)"", text), 1);
	assert_string_equal(text, ".");
}

static void folding_touches_capitals_only(void **state)
{
	uint8_t folded[8];

	(void)state;
	name_fold((const uint8_t *)"AZ@[az\301", 7, folded);
	assert_memory_equal(folded, "az@[az\301", 7);
}

static void length_stops_at_the_limit(void **state)
{
	(void)state;
	assert_int_equal(name_length((const uint8_t *)"\1a\1b", 5), 5);
	assert_int_equal(name_length((const uint8_t *)"\1a\1b", 4), 0);
	assert_int_equal(name_length((const uint8_t *)"\1a\1b", 0), 0);
	assert_int_equal(name_length((const uint8_t *)"\300\14", 2), 0);
	assert_int_equal(name_length((const uint8_t *)"\77", 2), 0);
}

static void name_longer_than_255_has_no_length(void **state)
{
	uint8_t name[400] = { 0 };

	(void)state;
	for (size_t i = 0; i < 256; i += 2)
		name[i] = 1;
	assert_int_equal(name_length(name, sizeof(name)), 0);
}

static bool is_in(const char *name, const char *zone)
{
	uint8_t a[DNS_NAME_MAX], b[DNS_NAME_MAX];
	int a_length = name_parse(name, a), b_length = name_parse(zone, b);

	return name_is_in(a, (size_t)a_length, b, (size_t)b_length);
}

static void zone_holds_itself_and_what_is_below(void **state)
{
	(void)state;
	assert_true(is_in("nomad", "nomad"));
	assert_true(is_in("a.b.nomad", "nomad"));
	assert_true(is_in("a.nomad", "."));
}

static void zone_begins_at_a_label(void **state)
{
	(void)state;
	assert_false(is_in("xnomad", "nomad"));
	assert_false(is_in("nomad", "a.nomad"));
	assert_false(is_in("nomad.corp", "nomad"));
	/* The label's text holds the zone's wire form. */
	assert_false(is_in("x\\005nomad", "nomad"));
}

static void labels_are_counted_without_the_root(void **state)
{
	(void)state;
	assert_int_equal(name_count_labels((const uint8_t *)""), 0);
	assert_int_equal(name_count_labels((const uint8_t *)"\1a\2bb"), 2);
}

static void label_is_letters_digits_hyphen_underscore(void **state)
{
	(void)state;
	assert_true(name_is_label("a-Z_9", 5));
	assert_false(name_is_label("", 0));
	assert_false(name_is_label("a.b", 3));
	assert_false(name_is_label("a\0b", 3));
	assert_false(name_is_label("\303\244", 2));
}

static void host_is_labels_joined_by_dots(void **state)
{
	(void)state;
	assert_true(name_is_host("db1.example.com", 15));
	assert_true(name_is_host("db1.example.com.", 16));
	assert_true(name_is_host("localhost", 9));
	assert_false(name_is_host("", 0));
	assert_false(name_is_host(".", 1));
	assert_false(name_is_host("a..b", 4));
	assert_false(name_is_host("a b", 3));
	assert_false(name_is_host("a.b..", 5));
}

static void addresses_are_no_hosts(void **state)
{
	(void)state;
	assert_false(name_is_host("10.0.0.1", 8));
	assert_false(name_is_host("10.0.0.300", 10));
	assert_false(name_is_host("10.0.0.1.", 9));
	assert_false(name_is_host("fe80::1", 7));
	assert_true(name_is_host("10.0.0.1.example", 16));
}

static void host_has_at_most_253_bytes(void **state)
{
	char text[300];

	(void)state;
	write_long_name(text, 61);
	assert_true(name_is_host(text, strlen(text)));
	write_long_name(text, 62);
	assert_false(name_is_host(text, strlen(text)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_becomes_wire_form),
		cmocka_unit_test(final_dot_changes_nothing),
		cmocka_unit_test(dot_alone_is_the_root),
		cmocka_unit_test(empty_labels_are_refused),
		cmocka_unit_test(label_of_64_is_refused_and_63_is_not),
		cmocka_unit_test(name_of_255_bytes_is_the_longest),
		cmocka_unit_test(longest_name_may_end_with_a_dot),
		cmocka_unit_test(escapes_are_read),
		cmocka_unit_test(bad_escapes_are_refused),
		cmocka_unit_test(failure_leaves_the_output_alone),
		cmocka_unit_test(every_byte_survives_text_and_back),
		cmocka_unit_test(root_is_written_as_a_dot),
		cmocka_unit_test(folding_touches_capitals_only),
		cmocka_unit_test(length_stops_at_the_limit),
		cmocka_unit_test(name_longer_than_255_has_no_length),
		cmocka_unit_test(zone_holds_itself_and_what_is_below),
		cmocka_unit_test(zone_begins_at_a_label),
		cmocka_unit_test(labels_are_counted_without_the_root),
		cmocka_unit_test(label_is_letters_digits_hyphen_underscore),
		cmocka_unit_test(host_is_labels_joined_by_dots),
		cmocka_unit_test(addresses_are_no_hosts),
		cmocka_unit_test(host_has_at_most_253_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
