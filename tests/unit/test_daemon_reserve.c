#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon_reserve.h"

#define TABLE_BYTES (256u << 10) /* more than the heap has lying about */

#ifdef __SANITIZE_ADDRESS__
#define HAS_OWN_HEAP 1 /* which ends the process instead of refusing */
#else
#define HAS_OWN_HEAP 0
#endif

static bool holds(const uint8_t *block, size_t count, uint8_t value)
{
	for (size_t i = 0; i < count; i++) {
		if (block[i] != value)
			return false;
	}
	return true;
}

static bool is_within(const uint8_t *block, const uint8_t *first)
{
	return block > first && block < first + (1u << 20);
}

/* In a process of its own, which then has no memory any more. The number of the step that failed,
 * or 0. */
static int live_without_memory(void)
{
	static const struct rlimit none = { 1, 1 };
	uint8_t *table = daemon_reserve_realloc(NULL, 1000), *grown, *other;

	memset(table, 7, 1000);
	if (setrlimit(RLIMIT_AS, &none) || malloc(TABLE_BYTES))
		return 1;
	grown = daemon_reserve_realloc(table, TABLE_BYTES);
	if (!grown || !holds(grown, 1000, 7))
		return 2;
	memset(grown, 8, TABLE_BYTES);
	other = daemon_reserve_realloc(NULL, TABLE_BYTES);
	if (!other || !is_within(other, grown))
		return 3;
	memset(other, 9, TABLE_BYTES);
	if (!holds(grown, TABLE_BYTES, 8))
		return 4;
	grown = daemon_reserve_realloc(grown, TABLE_BYTES + TABLE_BYTES / 2);
	if (!grown || !holds(grown, TABLE_BYTES, 8))
		return 5;
	if (daemon_reserve_realloc(NULL, 2 * TABLE_BYTES) || daemon_reserve_realloc(NULL, SIZE_MAX))
		return 6;
	if (!holds(other, TABLE_BYTES, 9))
		return 7;
	daemon_reserve_free(other);
	daemon_reserve_free(grown);
	daemon_reserve_free(NULL);
	return 0;
}

static void tables_grow_when_there_is_no_memory(void **state)
{
	int status = 0;
	pid_t child;

	(void)state;
	if (HAS_OWN_HEAP)
		skip();
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		_exit(live_without_memory());
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void with_memory_it_is_the_heap(void **state)
{
	uint8_t *block = daemon_reserve_realloc(NULL, 10);

	(void)state;
	assert_non_null(block);
	memset(block, 7, 10);
	block = daemon_reserve_realloc(block, TABLE_BYTES);
	assert_true(holds(block, 10, 7));
	free(block); /* the heap's own: a block of the reserve would not do here */
	daemon_reserve_free(daemon_reserve_realloc(NULL, 10));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tables_grow_when_there_is_no_memory),
		cmocka_unit_test(with_memory_it_is_the_heap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
