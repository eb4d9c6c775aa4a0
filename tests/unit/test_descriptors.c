#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/descriptors.h"

static void the_usual_limit_leaves_room_for_clients_upstreams_and_ourselves(void **state)
{
	struct descriptors_plan plan = descriptors_plan(1024, 256);

	(void)state;
	assert_int_equal(plan.tcp_clients, 256);
	assert_in_range(plan.upstream_sockets, 512, 1024 - 256 - 32);
}

static void whoever_wants_many_clients_keeps_sockets_for_upstreams(void **state)
{
	struct descriptors_plan plan = descriptors_plan(1024, 100000);

	(void)state;
	assert_in_range(plan.tcp_clients, 256, 512);
	assert_in_range(plan.upstream_sockets, 256, 512);
}

static void of_few_everybody_has_some(void **state)
{
	(void)state;
	for (unsigned limit = 16; limit < 200; limit++) {
		struct descriptors_plan plan = descriptors_plan(limit, 256);

		assert_in_range(plan.tcp_clients, 4, limit / 2);
		assert_in_range(plan.upstream_sockets, 4, limit / 2);
		assert_true(plan.tcp_clients + plan.upstream_sockets < limit);
	}
}

/* In a process of its own, whose limits are lowered for good. The number of the step that failed,
 * or 0. */
static int raise_from(rlim_t soft, rlim_t hard, rlim_t expected)
{
	struct rlimit limit = { soft, hard };

	if (setrlimit(RLIMIT_NOFILE, &limit))
		return 1;
	descriptors_raise();
	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur != expected ||
	    limit.rlim_max != hard)
		return 2;
	return descriptors_limit() == (expected < DESCRIPTORS_MAX ? expected : DESCRIPTORS_MAX) ? 0
												: 3;
}

static void assert_raised(rlim_t soft, rlim_t hard, rlim_t expected)
{
	int status = -1;
	pid_t child = fork();

	if (child == 0)
		_exit(raise_from(soft, hard, expected));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void a_soft_limit_is_raised_as_far_as_the_hard_one_allows(void **state)
{
	struct rlimit ours;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &ours), 0);
	if (ours.rlim_max < DESCRIPTORS_MAX + 2)
		skip();
	assert_raised(256, 1024, 1024);
	assert_raised(256, DESCRIPTORS_MAX + 2, DESCRIPTORS_MAX);
	assert_raised(DESCRIPTORS_MAX + 1, DESCRIPTORS_MAX + 2, DESCRIPTORS_MAX + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_usual_limit_leaves_room_for_clients_upstreams_and_ourselves),
		cmocka_unit_test(whoever_wants_many_clients_keeps_sockets_for_upstreams),
		cmocka_unit_test(of_few_everybody_has_some),
		cmocka_unit_test(a_soft_limit_is_raised_as_far_as_the_hard_one_allows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
