#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/buf.h"

static void text_is_appended_and_terminated(void **state)
{
	struct buf buf;

	(void)state;
	buf_init(&buf, 0);
	assert_int_equal(buf_append(&buf, "ab", 2), 0);
	assert_int_equal(buf_puts(&buf, "cd"), 0);
	assert_int_equal(buf_printf(&buf, "%d-%s", 42, "x"), 0);
	assert_string_equal(buf.data, "abcd42-x");
	assert_int_equal(buf.length, 8);
	assert_false(buf.failed);
	buf_deinit(&buf);
	assert_null(buf.data);
}

static void it_grows_past_its_first_capacity(void **state)
{
	struct buf buf;

	(void)state;
	buf_init(&buf, 0);
	for (int i = 0; i < 10000; i++)
		assert_int_equal(buf_printf(&buf, "%08d", i), 0);
	assert_int_equal(buf.length, 80000);
	assert_memory_equal(buf.data + 79992, "00009999", 9);
	buf_deinit(&buf);
}

static void ceiling_can_be_reached_but_not_passed(void **state)
{
	struct buf buf;

	(void)state;
	buf_init(&buf, 4);
	assert_int_equal(buf_puts(&buf, "abcd"), 0);
	assert_false(buf.failed);
	assert_int_equal(buf_puts(&buf, "e"), -EMSGSIZE);
	assert_true(buf.failed);
	assert_string_equal(buf.data, "abcd");
	buf_deinit(&buf);
}

static void failed_append_leaves_nothing_of_itself(void **state)
{
	struct buf buf;

	(void)state;
	buf_init(&buf, 6);
	buf_puts(&buf, "abc");
	assert_int_equal(buf_put_json(&buf, "x\"\"\"", 4), -EMSGSIZE);
	assert_string_equal(buf.data, "abc");
	assert_int_equal(buf.length, 3);
	buf_deinit(&buf);
}

static void failed_buffer_ignores_later_appends(void **state)
{
	struct buf buf;

	(void)state;
	buf_init(&buf, 3);
	buf_puts(&buf, "ab");
	buf_puts(&buf, "too long");
	assert_int_equal(buf_puts(&buf, "c"), -EMSGSIZE);
	assert_int_equal(buf_printf(&buf, "c"), -EMSGSIZE);
	assert_int_equal(buf_put_json(&buf, "c", 1), -EMSGSIZE);
	assert_string_equal(buf.data, "ab");
	buf_deinit(&buf);
}

static void deinit_keeps_the_ceiling_and_forgets_the_failure(void **state)
{
	struct buf buf;

	(void)state;
	buf_init(&buf, 2);
	buf_puts(&buf, "abc");
	buf_deinit(&buf);
	assert_false(buf.failed);
	assert_int_equal(buf_puts(&buf, "ab"), 0);
	assert_int_equal(buf_puts(&buf, "c"), -EMSGSIZE);
	buf_deinit(&buf);
}

static void json_is_escaped(void **state)
{
	const char text[] = "a\"b\\c\n\t\x01\x7f";
	struct buf buf;

	(void)state;
	buf_init(&buf, 0);
	assert_int_equal(buf_put_json(&buf, text, sizeof(text)), 0);
	assert_string_equal(buf.data, "a\\\"b\\\\c\\n\\t\\u0001\\u007f\\u0000");
	buf_deinit(&buf);
}

static void empty_json_is_an_empty_string(void **state)
{
	struct buf buf;

	(void)state;
	buf_init(&buf, 0);
	assert_int_equal(buf_put_json(&buf, "", 0), 0);
	assert_string_equal(buf.data, "");
	buf_deinit(&buf);
}

static void json_replaces_what_is_no_utf8(void **state)
{
	static const struct {
		const char *text, *json;
	} cases[] = {
		{ "\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80" },
		{ "\xff", "\\ufffd" },
		{ "\x80", "\\ufffd" },
		{ "\xc3", "\\ufffd" },					/* cut */
		{ "\xc0\xaf", "\\ufffd\\ufffd" },			/* overlong */
		{ "\xe0\x80\x80", "\\ufffd\\ufffd\\ufffd" },		/* overlong */
		{ "\xed\xa0\x80", "\\ufffd\\ufffd\\ufffd" },		/* surrogate */
		{ "\xf4\x90\x80\x80", "\\ufffd\\ufffd\\ufffd\\ufffd" }, /* past U+10FFFF */
		{ "\xc3z", "\\ufffdz" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf buf;

		buf_init(&buf, 0);
		buf_put_json(&buf, cases[i].text, strlen(cases[i].text));
		assert_string_equal(buf.data, cases[i].json);
		buf_deinit(&buf);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_is_appended_and_terminated),
		cmocka_unit_test(it_grows_past_its_first_capacity),
		cmocka_unit_test(ceiling_can_be_reached_but_not_passed),
		cmocka_unit_test(failed_append_leaves_nothing_of_itself),
		cmocka_unit_test(failed_buffer_ignores_later_appends),
		cmocka_unit_test(deinit_keeps_the_ceiling_and_forgets_the_failure),
		cmocka_unit_test(json_is_escaped),
		cmocka_unit_test(empty_json_is_an_empty_string),
		cmocka_unit_test(json_replaces_what_is_no_utf8),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
