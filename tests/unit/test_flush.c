#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>

#include "listen/flush.h"

#define PATIENCE_MS 10000

static void all_reports_add_up(void **state)
{
	struct flush *flush = flush_new((const uint8_t *)"\3www", 5, 3);
	size_t length, count = 0;

	(void)state;
	assert_memory_equal(flush_name(flush, &length), "\3www", 5);
	assert_int_equal(length, 5);
	for (size_t i = 1; i <= 3; i++)
		flush_report(flush, i);
	assert_int_equal(flush_wait(flush, PATIENCE_MS, &count), 0);
	assert_int_equal(count, 6);
}

static void nobody_is_waited_for_longer_than_said(void **state)
{
	struct flush *flush = flush_new((const uint8_t *)"", 1, 2);
	size_t count = 0;

	(void)state;
	flush_report(flush, 4);
	assert_int_equal(flush_wait(flush, 1, &count), -ETIMEDOUT);
	assert_int_equal(count, 4);
	flush_report(flush, 1); /* late, and the one that frees */
}

static void *report(void *arg)
{
	flush_report(arg, 7);
	return NULL;
}

static void a_report_of_another_thread_ends_the_wait(void **state)
{
	struct flush *flush = flush_new((const uint8_t *)"", 1, 1);
	pthread_t thread;
	size_t count = 0;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, report, flush), 0);
	assert_int_equal(flush_wait(flush, PATIENCE_MS, &count), 0);
	assert_int_equal(count, 7);
	pthread_join(thread, NULL);
}

static void without_workers_there_is_nothing_to_wait_for(void **state)
{
	size_t count = 1;

	(void)state;
	assert_int_equal(flush_wait(flush_new((const uint8_t *)"", 1, 0), 0, &count), 0);
	assert_int_equal(count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_reports_add_up),
		cmocka_unit_test(nobody_is_waited_for_longer_than_said),
		cmocka_unit_test(a_report_of_another_thread_ends_the_wait),
		cmocka_unit_test(without_workers_there_is_nothing_to_wait_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
