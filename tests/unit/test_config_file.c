#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "config/config_file.h"

static struct config_file_error error;

/* Writes each value as "name:line=text;", list elements in brackets. */
static int write_value(void *arg, const struct config_file_value *value)
{
	if (value->text == NULL)
		return buf_printf(arg, "%s:%u=[];", value->name, value->line);
	return buf_printf(arg, "%s:%u=%s%s%s;", value->name, value->line,
			  value->is_in_list ? value->is_first ? "[" : "," : "", value->text,
			  value->is_in_list ? "]" : "");
}

static void assert_parses_to(const char *text, const char *expected)
{
	struct buf out;

	buf_init(&out, 0);
	buf_puts(&out, "");
	error = (struct config_file_error){ 0 };
	assert_int_equal(config_file_parse(text, strlen(text), write_value, &out, &error), 0);
	assert_string_equal(out.data, expected);
	buf_deinit(&out);
}

static int accept_value(void *arg, const struct config_file_value *value)
{
	(void)arg;
	(void)value;
	return 0;
}

static void assert_fails(const char *text, unsigned line, const char *why)
{
	error = (struct config_file_error){ 0 };
	assert_int_equal(config_file_parse(text, strlen(text), accept_value, NULL, &error),
			 -EINVAL);
	assert_int_equal(error.line, line);
	if (strstr(error.why, why) == NULL)
		print_error("'%s' does not say '%s'\n", error.why, why);
	assert_non_null(strstr(error.why, why));
}

static void names_have_quoted_and_bare_values(void **state)
{
	(void)state;
	assert_parses_to("ttl = \"10s\"\nworkers=4\n\treverse\t=\ttrue\nlisten = 127.0.0.1:53\n",
			 "ttl:1=10s;workers:2=4;reverse:3=true;listen:4=127.0.0.1:53;");
}

static void last_line_needs_no_newline(void **state)
{
	(void)state;
	assert_parses_to("ttl = 10s", "ttl:1=10s;");
	assert_parses_to("ttl = \"10s\"", "ttl:1=10s;");
	assert_parses_to("", "");
	assert_parses_to("# only this", "");
}

static void comments_and_empty_lines_are_passed_over(void **state)
{
	(void)state;
	assert_parses_to("\n# a = 1\n\n  b = \"x # y\" # z\n#\n", "b:4=x # y;");
}

static void windows_lines_and_byte_order_mark_are_read(void **state)
{
	(void)state;
	assert_parses_to("\xef\xbb\xbf"
			 "a = 1\r\nb = \"2\"\r\n",
			 "a:1=1;b:2=2;");
}

static void list_may_span_lines_and_end_with_a_comma(void **state)
{
	(void)state;
	assert_parses_to("z = [\"a\", b]\n", "z:1=[a];z:1=,b];");
	assert_parses_to("z = [\n  \"a\", # first\n\n  \"b\",\n]\ny = 1\n",
			 "z:2=[a];z:4=,b];y:6=1;");
}

static void empty_list_is_told(void **state)
{
	(void)state;
	assert_parses_to("z = []", "z:1=[];");
	assert_parses_to("z = [ # none\n ]", "z:2=[];");
}

static void escapes_are_resolved(void **state)
{
	(void)state;
	assert_parses_to("f = \"\\\"canary\\\" not in \\\\ \\t\\n\"",
			 "f:1=\"canary\" not in \\ \t\n;");
	assert_parses_to("f = \"\\u00fc\\u20AC\\U0001F600\\u0041\"",
			 "f:1=\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80"
			 "A;");
}

static void empty_string_is_a_value(void **state)
{
	(void)state;
	assert_parses_to("server-id = \"\"", "server-id:1=;");
}

static void errors_name_line_and_reason(void **state)
{
	static const struct {
		const char *text;
		unsigned line;
		const char *why;
	} cases[] = {
		{ "a\n", 1, "line ends where '='" },
		{ "\na", 2, "file ends where '='" },
		{ "a =", 1, "file ends where a value" },
		{ "a = \nb = 1", 1, "line ends where a value" },
		{ "= 1", 1, "a name" },
		{ "a 1", 1, "'1' stands where '='" },
		{ "a = 'x'", 1, "double quotes" },
		{ "a = \"x", 1, "does not end" },
		{ "a = \"x\ny\"", 1, "does not end" },
		{ "a = \"x\\", 1, "does not end" },
		{ "a = \"\\q\"", 1, "escape" },
		{ "a = \"\\u12\"", 1, "hexadecimal" },
		{ "a = \"\\u0000\"", 1, "no character" },
		{ "a = \"\\ud800\"", 1, "no character" },
		{ "a = \"\\UFFFFFFFF\"", 1, "no character" },
		{ "a = \"\x01\"", 1, "control character" },
		{ "a = 1 2", 1, "end of the line" },
		{ "a = [1\n2]", 2, "',' or ']'" },
		{ "a = [1,\n", 2, "file ends" },
		{ "a = [", 1, "file ends" },
		{ "a = [,]", 1, "a value" },
		{ "a = [[1]]", 1, "list cannot hold" },
		{ "[server]\na = 1", 1, "sections" },
		{ "server {\n a = 1\n}", 1, "sections" },
		{ "a = \x80", 1, "0x80" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++)
		assert_fails(cases[i].text, cases[i].line, cases[i].why);
}

static void text_may_hold_nul_bytes(void **state)
{
	static const char text[] = "a = \0\nb = 1";

	(void)state;
	error = (struct config_file_error){ 0 };
	assert_int_equal(config_file_parse(text, sizeof(text) - 1, accept_value, NULL, &error),
			 -EINVAL);
	assert_int_equal(error.line, 1);
}

static void long_names_and_values_are_refused(void **state)
{
	char text[5000];

	(void)state;
	memset(text, 'a', sizeof(text));
	text[64] = '=';
	text[65] = '\0';
	assert_fails(text, 1, "name is longer than 63");

	memset(text, 'a', sizeof(text));
	text[1] = '=';
	text[sizeof(text) - 1] = '\0';
	assert_fails(text, 1, "value is longer than 4095");
	text[2] = '"';
	text[4098] = '\0';
	text[4097] = '"';
	assert_int_equal(config_file_parse(text, strlen(text), accept_value, NULL, &error), 0);
}

static void file_over_one_mebibyte_is_refused(void **state)
{
	char *text = malloc(CONFIG_FILE_MAX_BYTES + 1);

	(void)state;
	assert_non_null(text);
	memset(text, '\n', CONFIG_FILE_MAX_BYTES + 1);
	assert_int_equal(config_file_parse(text, CONFIG_FILE_MAX_BYTES, accept_value, NULL, &error),
			 0);
	error = (struct config_file_error){ 0 };
	assert_int_equal(
		config_file_parse(text, CONFIG_FILE_MAX_BYTES + 1, accept_value, NULL, &error),
		-EINVAL);
	assert_non_null(strstr(error.why, "1 MiB"));
	free(text);
}

static int stop(void *arg, const struct config_file_value *value)
{
	(void)value;
	++*(int *)arg;
	return -ECANCELED;
}

static void callback_can_end_the_parse(void **state)
{
	int calls = 0;

	(void)state;
	error = (struct config_file_error){ 0 };
	assert_int_equal(config_file_parse("a = 1\nb = 2", 11, stop, &calls, &error), -ECANCELED);
	assert_int_equal(calls, 1);
	assert_int_equal(error.line, 0);
	assert_int_equal(config_file_parse("a = [1, 2]", 10, stop, &calls, &error), -ECANCELED);
	assert_int_equal(calls, 2);
}

/* Every cut of a file that uses everything: no read behind the end (the copy is exact). */
static void file_may_end_anywhere(void **state)
{
	static const char text[] =
		"\xef\xbb\xbf# c\na = \"\\u00fc\\\\x\"\nb = [\n\"1\", 2, # y\n]\nc "
		"= 5\n";

	(void)state;
	for (size_t length = 0; length < sizeof(text); length++) {
		char *copy = malloc(length + 1);

		memcpy(copy, text, length);
		copy = realloc(copy, length == 0 ? 1 : length);
		config_file_parse(copy, length, accept_value, NULL, &error);
		free(copy);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_have_quoted_and_bare_values),
		cmocka_unit_test(last_line_needs_no_newline),
		cmocka_unit_test(comments_and_empty_lines_are_passed_over),
		cmocka_unit_test(windows_lines_and_byte_order_mark_are_read),
		cmocka_unit_test(list_may_span_lines_and_end_with_a_comma),
		cmocka_unit_test(empty_list_is_told),
		cmocka_unit_test(escapes_are_resolved),
		cmocka_unit_test(empty_string_is_a_value),
		cmocka_unit_test(errors_name_line_and_reason),
		cmocka_unit_test(text_may_hold_nul_bytes),
		cmocka_unit_test(long_names_and_values_are_refused),
		cmocka_unit_test(file_over_one_mebibyte_is_refused),
		cmocka_unit_test(callback_can_end_the_parse),
		cmocka_unit_test(file_may_end_anywhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
