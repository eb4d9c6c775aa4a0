#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "listen/tcp_crowd.h"

static struct addr address(unsigned last)
{
	struct addr addr;

	assert_int_equal(addr_parse("192.0.2.0", 1, &addr), 0);
	addr.bytes[3] = (uint8_t)last;
	return addr;
}

static void largest_is_the_address_with_most(void **state)
{
	struct tcp_crowd crowd;
	struct addr many = address(1);

	(void)state;
	tcp_crowd_init(&crowd);
	assert_int_equal(tcp_crowd_largest(&crowd), 0);
	for (unsigned i = 0; i < 300; i++)
		tcp_crowd_enter(&crowd, &many);
	for (unsigned last = 2; last < 42; last++) {
		struct addr one = address(last);

		tcp_crowd_enter(&crowd, &one);
	}
	assert_int_equal(tcp_crowd_largest(&crowd), tcp_crowd_count(&crowd, &many));
	assert_in_range(tcp_crowd_count(&crowd, &many), 300, 340);
	for (unsigned i = 0; i < 300; i++)
		tcp_crowd_leave(&crowd, &many);
	assert_in_range(tcp_crowd_largest(&crowd), 1, 40);
}

static void port_makes_no_other_client(void **state)
{
	struct tcp_crowd crowd;
	struct addr one = address(1), again = address(1);

	(void)state;
	again.port = 4711;
	tcp_crowd_init(&crowd);
	tcp_crowd_enter(&crowd, &one);
	tcp_crowd_enter(&crowd, &again);
	assert_int_equal(tcp_crowd_count(&crowd, &one), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(largest_is_the_address_with_most),
		cmocka_unit_test(port_makes_no_other_client),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
