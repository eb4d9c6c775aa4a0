/* The alarm's legs: what one of them heard is not forgotten before all of them are armed. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "unit/mirror_fixture.h"

#define LEG(space) "/v1/service/~?namespace=" space
#define HELD_10 "&index=10&wait=60s"

/* Watching two namespaces, `web` loaded. */
static void open_two_legs(void)
{
	static char *const namespaces[] = { "default", "prod" };

	config.namespace = (char **)namespaces;
	config.namespace_count = 2;
	config.mirror = CONFIG_MIRROR_WATCH;
	open_mirror();
	answer(PROBE, "[]", 10);
	answer(LEG("default"), "[]", 10);
	answer(LEG("prod"), "[]", 10);
	need(NEED_SERVICE, "default", "web");
	answer(LIST, LIST_WEB, 10);
	answer(WEB, ONE("192.0.2.1"), 10);
	assert_int_equal(mirror_tier(mirror), TIER_WATCH);
}

static bool is_live(const char *key)
{
	const struct fake_name *name = fake_find(key);

	return name && name->times.fresh_until_ms == ZONE_LIVE &&
	       zone_live_end(&fake_zone, name->term) == ZONE_LIVE;
}

static void await(const char *path)
{
	for (int i = 0; i < 50 && !find_request(path); i++)
		advance(100);
}

static void break_alarm(void)
{
	answer_failure(LEG("default") HELD_10, HTTP_PROTOCOL);
	assert_int_equal(mirror_tier(mirror), TIER_LOOKUP);
	answer(PROBE, "[]", 10);
	await(LEG("default"));
}

static void what_was_not_missed_is_true_again(void **state)
{
	(void)state;
	open_two_legs();
	break_alarm();
	answer(LEG("default"), "[]", 10);
	answer(LEG("prod"), "[]", 10);
	assert_int_equal(mirror_tier(mirror), TIER_WATCH);
	assert_true(is_live("web.default"));
}

static void change_that_the_first_leg_tells_was_missed(void **state)
{
	(void)state;
	open_two_legs();
	break_alarm();
	answer(LEG("default"), "[]", 11);
	answer(LEG("prod"), "[]", 11);
	assert_int_equal(mirror_tier(mirror), TIER_WATCH);
	assert_false(is_live("web.default"));
}

static void change_is_not_forgotten_when_the_alarm_breaks_again(void **state)
{
	(void)state;
	open_two_legs();
	break_alarm();
	answer(LEG("default"), "[]", 11);
	answer_failure(LEG("prod"), HTTP_PROTOCOL);
	await(LEG("prod"));
	answer(LEG("default"), "[]", 11);
	answer(LEG("prod"), "[]", 11);
	assert_int_equal(mirror_tier(mirror), TIER_WATCH);
	assert_false(is_live("web.default"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_was_not_missed_is_true_again),
		TEST(change_that_the_first_leg_tells_was_missed),
		TEST(change_is_not_forgotten_when_the_alarm_breaks_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
