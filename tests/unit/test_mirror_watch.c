/* What a wake has to make old: above all what is said not to exist. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "unit/mirror_fixture.h"

#define ALARM "/v1/services?namespace=~"
#define HELD(index) ALARM "&index=" #index "&wait=60s"
#define LEG "/v1/service/~?namespace=default"
#define STREAM "/v1/event/stream?topic=Service&namespace=default&index=0"
#define STREAM_ALL "/v1/event/stream?topic=Service&namespace=*&index=0"
#define LIST_ALL "/v1/services?namespace=*"
#define GONE_11                                                                                    \
	"{\"Index\":11,\"Events\":[{\"Topic\":\"Service\",\"Type\":\"ServiceDeregistration\","     \
	"\"Key\":"                                                                                 \
	"\"a\",\"Namespace\":\"default\",\"FilterKeys\":[],\"Index\":11,\"Payload\":{\"Service\":" \
	"{\"ID\":"                                                                                 \
	"\"a\",\"ServiceName\":\"web\",\"Namespace\":\"default\",\"Address\":\"192.0.2.1\","       \
	"\"Port\":80,"                                                                             \
	"\"Tags\":[]}}}]}"
#define LIST_DB "[{\"Namespace\":\"default\",\"Services\":[{\"ServiceName\":\"db\",\"Tags\":[]}]}]"

/* The alarm held at 10, `web` listed. */
static void open_listed_watch(void)
{
	config.mirror = CONFIG_MIRROR_WATCH;
	open_mirror();
	answer(PROBE, "[]", 10);
	answer(ALARM, "[]", 10);
	need(NEED_NAMESPACE, "default", "");
	answer(LIST, LIST_WEB, 10);
	assert_int_equal(mirror_tier(mirror), TIER_WATCH);
}

/* The same with web's instances, in use. */
static void open_watch(void)
{
	open_listed_watch();
	need(NEED_SERVICE, "default", "web");
	answer(WEB, ONE("192.0.2.1"), 10);
	fake_zone.asked = 1;
}

static void line(const char *path, const char *text)
{
	struct request *request = find_request(path);

	if (!request || !request->on_line)
		fail_msg("no such stream: %s", path);
	request->on_line(request->arg, text, strlen(text));
}

/* Whether it may be answered without asking anybody. */
static bool is_fresh(const char *key)
{
	const struct fake_name *name = fake_find(key);

	if (!name || name->times.fresh_until_ms != ZONE_LIVE)
		return name && now_ms < name->times.fresh_until_ms;
	return zone_live_end(&fake_zone, name->term) == ZONE_LIVE;
}

static bool is_denied(const char *key)
{
	return strcmp(fake_text(key), "ABSENT") == 0 && is_fresh(key);
}

/* ---- names that nobody asked for yet ---- */

static void last_name_that_is_known_may_not_be_the_last(void **state)
{
	(void)state;
	open_watch();
	answer(HELD(10), "[]", 11); /* `db` has come, and nobody asks for it */
	answer(WEB, ONE("192.0.2.1"), 11);
	advance(100); /* so often names are refreshed */
	answer(HELD(11), "[]", 12);
	answer(WEB, "[]", 12);
	assert_true(is_denied("web.default"));
	assert_false(is_denied("default"));
	need(NEED_SERVICE, "default", "db");
	answer(LIST, LIST_DB, 12);
	answer("/v1/service/db?namespace=default", ONE("192.0.2.2"), 12);
	assert_string_equal(fake_text("db.default"), "LOADED 192.0.2.2:80");
}

static void where_all_names_are_known_the_last_one_is(void **state)
{
	static char *const namespaces[] = { "default" };

	(void)state;
	config.namespace = (char **)namespaces;
	config.namespace_count = 1;
	config.mirror = CONFIG_MIRROR_STREAM;
	open_mirror();
	answer(PROBE, "[]", 10);
	advance(0);
	line(STREAM, "{}");
	answer(LIST, LIST_WEB, 10);
	assert_int_equal(mirror_tier(mirror), TIER_STREAM);
	need(NEED_SERVICE, "default", "web");
	answer(WEB, "[]", 10);
	assert_true(is_denied("default"));
}

/* ---- names that went ---- */

static void name_that_a_list_lacks_is_denied_until_the_next_wake(void **state)
{
	(void)state;
	open_listed_watch();
	answer(HELD(10), "[]", 11);
	need(NEED_SERVICE, "default", "other");
	answer(LIST, "[]", 11);
	assert_true(is_denied("web.default"));
	assert_true(is_denied("default"));
	advance(60000); /* nothing has changed, and nobody is asked */
	assert_true(is_denied("web.default"));
	assert_true(is_denied("default"));
	answer(HELD(11), "[]", 12);
	assert_false(is_fresh("web.default"));
	assert_false(is_fresh("default"));
}

static void name_that_an_overtaken_list_lacks_is_asked_for_again(void **state)
{
	(void)state;
	open_listed_watch();
	answer(HELD(10), "[]", 11);
	need(NEED_SERVICE, "default", "other");
	answer(HELD(11), "[]", 12);
	answer(LIST, "[]", 11);
	assert_string_equal(fake_text("web.default"), "ABSENT");
	now_ms += 50;
	assert_false(is_fresh("web.default"));
	assert_false(is_fresh("default"));
}

/* The stream told it, and then it ended: nobody tells if the name comes back. */
static void name_that_goes_behind_the_end_of_the_stream_is_asked_for_again(void **state)
{
	(void)state;
	config.settle_ms = 100;
	config.mirror = CONFIG_MIRROR_AUTO;
	open_mirror();
	answer(PROBE, "[]", 10);
	advance(0);
	answer(ALARM, "[]", 10);
	line(STREAM_ALL, "{}");
	answer(LIST_ALL, LIST_WEB, 10);
	need(NEED_SERVICE, "default", "web");
	answer(WEB, ONE("192.0.2.1"), 10);
	line(STREAM_ALL, GONE_11);
	answer(HELD(10), "[]", 11);
	answer_failure(STREAM_ALL, HTTP_PROTOCOL);
	assert_int_equal(mirror_tier(mirror), TIER_WATCH);
	advance(100);
	assert_string_equal(fake_text("web.default"), "ABSENT");
	assert_false(is_fresh("web.default"));
	assert_false(is_fresh("default"));
}

static void what_was_believed_in_an_outage_is_asked_for_behind_it(void **state)
{
	(void)state;
	config.settle_ms = 100;
	open_watch();
	fake_zone.asked = 0;
	answer(HELD(10), "[]", 11);
	need(NEED_SERVICE, "default", "other");
	answer(LIST, "[]", 11);
	need(NEED_SERVICE, "default", "web");
	answer_failure(WEB, HTTP_CONNECT);
	advance(100);
	assert_string_equal(fake_text("web.default"), "ABSENT");
	assert_false(is_fresh("web.default"));
}

/* ---- replies of servers that lag ---- */

static void answer_stale(uint64_t index)
{
	now_ms += 1000;
	advance(0); /* nobody has answered for a second */
	answer(WEB "&stale", ONE("192.0.2.1"), index);
}

static void stale_reply_that_a_change_has_overtaken_is_not_kept(void **state)
{
	(void)state;
	open_watch();
	answer(HELD(10), "[]", 12);
	answer_stale(11);
	now_ms += 50;
	assert_false(is_fresh("web.default"));
}

static void stale_reply_that_is_not_behind_is_kept_until_the_next_wake(void **state)
{
	(void)state;
	open_watch();
	answer(HELD(10), "[]", 12);
	answer_stale(12);
	assert_true(is_fresh("web.default"));
	answer(HELD(12), "[]", 13);
	assert_false(is_fresh("web.default"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(last_name_that_is_known_may_not_be_the_last),
		TEST(where_all_names_are_known_the_last_one_is),
		TEST(name_that_a_list_lacks_is_denied_until_the_next_wake),
		TEST(name_that_an_overtaken_list_lacks_is_asked_for_again),
		TEST(name_that_goes_behind_the_end_of_the_stream_is_asked_for_again),
		TEST(what_was_believed_in_an_outage_is_asked_for_behind_it),
		TEST(stale_reply_that_a_change_has_overtaken_is_not_kept),
		TEST(stale_reply_that_is_not_behind_is_kept_until_the_next_wake),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
