/* What a call's reply sets going: nothing that could end the call that is being read. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "unit/mirror_fixture.h"

#define STREAM "/v1/event/stream?topic=Service&namespace=*&index="
#define LIST_ALL "/v1/services?namespace=*"
#define ALARM "/v1/services?namespace=~"

static void line(const char *path, const char *text)
{
	struct request *request = find_request(path);

	if (!request || !request->on_line)
		fail_msg("no such stream: %s", path);
	request->on_line(request->arg, text, strlen(text));
}

/* The stream is open, and the list that it rests on is under way; there is no alarm yet. */
static void open_listing(void)
{
	config.mirror = CONFIG_MIRROR_AUTO;
	open_mirror();
	answer(PROBE, "[]", 10);
	advance(0);
	line(STREAM "0", "{}");
	assert_non_null(find_request(LIST_ALL));
}

/* A server's word that knows no leader. */
static void answer_leaderless(const char *path, const char *body)
{
	struct http_reply reply = good(body, 10);

	reply.knows_leader = false;
	deliver(path, &reply);
}

/* Live, the alarm not held, and there is no leader. */
static void open_leaderless(void)
{
	open_listing();
	answer(LIST_ALL, LIST_WEB, 10);
	answer_failure(ALARM, HTTP_TIMEOUT);
	assert_int_equal(mirror_tier(mirror), TIER_STREAM);
	answer_leaderless(PROBE, "[]"); /* is Nomad still there? */
	assert_true(mirror->is_leaderless);
}

static void probe_of_a_new_stream_may_tell_that_a_leader_was_elected(void **state)
{
	(void)state;
	open_leaderless();
	answer_failure(STREAM "0", HTTP_PROTOCOL);
	answer_leaderless(PROBE "&stale", "[]");
	advance(100);
	line(STREAM "10", "{}");
	assert_int_equal(mirror->sync.phase, SYNC_PROBING);
	answer(PROBE "&stale", "[]", 10);
	assert_int_equal(mirror_tier(mirror), TIER_STREAM);
	advance(0);
	assert_non_null(find_request(ALARM)); /* what may be had now is tried again … */
	assert_int_equal(mirror_tier(mirror), TIER_STREAM); /* … and what is held stays */
}

static void list_may_tell_that_a_leader_was_elected(void **state)
{
	(void)state;
	open_listing();
	need(NEED_SERVICE, "default", "web");
	answer_leaderless(LIST, LIST_WEB);
	answer(LIST_ALL, LIST_WEB, 10);
	assert_int_equal(mirror_tier(mirror), TIER_STREAM);
	advance(0);
	assert_int_equal(asked(ALARM), 2);
	assert_int_equal(mirror_tier(mirror), TIER_STREAM);
}

static void list_that_is_refused_may_tell_of_a_new_token(void **state)
{
	(void)state;
	open_listing();
	fake_http.has_new_token = true;
	answer_status(LIST_ALL, 403, 0);
	assert_int_equal(asked(LIST_ALL), 2);
	advance(0); /* what was opened with the old token is opened with the new one */
	advance(0);
	assert_int_equal(asked(ALARM), 2);
	assert_int_equal(asked(STREAM "0"), 2);
	line(STREAM "0", "{}");
	answer(LIST_ALL, LIST_WEB, 10);
	assert_int_equal(mirror_tier(mirror), TIER_STREAM);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(probe_of_a_new_stream_may_tell_that_a_leader_was_elected),
		TEST(list_may_tell_that_a_leader_was_elected),
		TEST(list_that_is_refused_may_tell_of_a_new_token),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
