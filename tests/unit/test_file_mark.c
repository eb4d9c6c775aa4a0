#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file_mark.h"

static char directory[64], path[128], other[128];

static void write_file(const char *name, const char *text)
{
	FILE *file = fopen(name, "w");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static int set_up(void **state)
{
	(void)state;
	snprintf(directory, sizeof(directory), "/tmp/test-file-mark-XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/file", directory);
	snprintf(other, sizeof(other), "%s/other", directory);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	unlink(path);
	unlink(other);
	return rmdir(directory);
}

static bool is_same(const struct file_mark *before)
{
	struct file_mark now = file_mark_at(path);

	return file_mark_is_same(before, &now);
}

static void untouched_file_is_the_same(void **state)
{
	struct file_mark before;

	(void)state;
	write_file(path, "one");
	before = file_mark_at(path);
	assert_true(is_same(&before));
}

static void file_renamed_over_it_is_another(void **state)
{
	struct file_mark before;

	(void)state;
	write_file(path, "one");
	write_file(other, "two");
	before = file_mark_at(path);
	assert_int_equal(rename(other, path), 0);
	assert_false(is_same(&before));
}

static void longer_content_is_another(void **state)
{
	struct file_mark before;

	(void)state;
	write_file(path, "one");
	before = file_mark_at(path);
	write_file(path, "longer");
	assert_false(is_same(&before));
}

static void what_is_not_there_differs_from_an_empty_file(void **state)
{
	struct file_mark before = file_mark_at(path);

	(void)state;
	assert_true(is_same(&before));
	write_file(path, "");
	assert_false(is_same(&before));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(untouched_file_is_the_same),
		TEST(file_renamed_over_it_is_another),
		TEST(longer_content_is_another),
		TEST(what_is_not_there_differs_from_an_empty_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
