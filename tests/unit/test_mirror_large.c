/* A busy cluster: which names are listened for one by one, what keeps them true, what it costs. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "unit/mirror_fixture.h"

#define STREAM "/v1/event/stream?topic=Service&namespace=*&index=0"
#define LIST_ALL "/v1/services?namespace=*"
#define ALARM "/v1/services?namespace=~"
#define CHANGES 130 /* in a minute */

static uint64_t table; /* its index */

static void line(const char *path, const char *text)
{
	struct request *request = find_request(path);

	if (!request || !request->on_line)
		fail_msg("no such stream: %s", path);
	request->on_line(request->arg, text, strlen(text));
}

static bool begins(const char *text, const char *beginning)
{
	return strncmp(text, beginning, strlen(beginning)) == 0;
}

/* One that is under way; NULL: none. */
static struct request *find_beginning(const char *beginning)
{
	for (size_t i = 0; i < fake_http.count; i++) {
		struct request *request = &fake_http.requests[i];

		if (request->id && begins(request->path, beginning))
			return request;
	}
	return NULL;
}

/* Something changed; the alarm tells, if it is held. */
static void change(void)
{
	struct request *request = find_beginning(ALARM "&index=");

	table++;
	if (request)
		answer(request->path, "[]", table);
}

static bool is_live(const char *key)
{
	const struct fake_name *name = fake_find(key);

	return name && name->times.fresh_until_ms == ZONE_LIVE && name->term == fake_zone.term &&
	       zone_live_end(&fake_zone, name->term) == ZONE_LIVE;
}

static void open_tier(enum config_mirror ceiling)
{
	config.mirror = ceiling;
	table = 10;
	open_mirror();
	answer(PROBE, "[]", 10);
	advance(0);
	answer(ALARM, "[]", 10);
}

/* Watching, since the stream is refused, and `web` loaded. */
static void open_watch(void)
{
	open_tier(CONFIG_MIRROR_AUTO);
	answer_status(STREAM, 403, 0);
	need(NEED_SERVICE, "default", "web");
	answer(LIST, LIST_WEB, 10);
	answer(WEB, ONE("192.0.2.1"), 10);
	assert_int_equal(mirror_tier(mirror), TIER_WATCH);
}

/* A minute of changes to other names; then those in use are chosen. */
static void make_busy(void)
{
	for (int i = 0; i < CHANGES; i++) {
		now_ms += 60000 / CHANGES + 1;
		advance(0);
		change();
	}
	assert_true(mirror->is_large);
	fake_zone.asked = 1;
	advance(5000);
}

/* Busy, and `web` held. */
static void open_busy(void)
{
	char body[200];

	open_watch();
	make_busy();
	snprintf(body, sizeof(body), "%s", ONE("192.0.2.1"));
	assert_non_null(find_request(WEB));
	answer(WEB, body, table);
	assert_non_null(find_beginning(WEB "&index="));
	assert_true(is_live("web.default"));
}

static void names_in_use_are_listened_for_one_by_one(void **state)
{
	unsigned gets;

	(void)state;
	open_busy();
	gets = asked(WEB);
	for (int i = 0; i < 20; i++) { /* others' changes */
		advance(900);
		change();
		assert_true(is_live("web.default"));
	}
	assert_int_equal(asked(WEB), gets);
	assert_null(find_request(STREAM));
}

static void change_of_such_a_name_is_told_with_its_instances(void **state)
{
	unsigned gets;

	(void)state;
	open_busy();
	gets = asked(WEB);
	now_ms += 5000;
	table++;
	answer(find_beginning(WEB "&index=")->path, ONE("192.0.2.9"), table);
	assert_non_null(strstr(fake_text("web.default"), "192.0.2.9"));
	assert_true(is_live("web.default"));
	assert_int_equal(asked(WEB), gets);
	assert_non_null(find_beginning(WEB "&index="));
}

static void name_that_changes_all_the_time_is_asked_for_now_and_then(void **state)
{
	unsigned replies = 0;

	(void)state;
	open_busy();
	for (int i = 0; i < 100; i++) { /* ten seconds */
		struct request *request = find_beginning(WEB "&index=");

		advance(100);
		table++;
		if (!request)
			continue;
		answer(request->path, ONE("192.0.2.9"), table);
		replies++;
	}
	assert_in_range(replies, 9, 28);
	assert_true(is_live("web.default"));
}

/* Nomad answers at once when the table has moved since the index asked with. */
static bool answer_if_moved(void)
{
	struct request *request = find_beginning(WEB "&index=");
	unsigned long long index;

	if (!request || sscanf(strstr(request->path, "index="), "index=%llu", &index) != 1 ||
	    index >= table)
		return false;
	answer(request->path, ONE("192.0.2.9"), table);
	return true;
}

static void name_that_changed_often_is_held_again_afterwards(void **state)
{
	unsigned replies = 0;
	uint64_t last_id = 0;

	(void)state;
	open_busy();
	for (int i = 0; i < 50; i++) { /* five seconds */
		advance(100);
		table++;
		answer_if_moved();
	}
	for (int i = 0; i < 100; i++) { /* then only others change, which wakes none that is held */
		struct request *request;

		advance(100);
		while ((request = find_beginning(WEB "&index=")) && request->id != last_id) {
			last_id = request->id;
			replies += answer_if_moved();
		}
		table++;
	}
	assert_in_range(replies, 0, 3);
	assert_non_null(find_beginning(WEB "&index="));
	assert_true(is_live("web.default"));
}

static void name_whose_request_failed_is_made_old_by_the_next_wake(void **state)
{
	(void)state;
	open_busy();
	answer_failure(find_beginning(WEB "&index=")->path, HTTP_PROTOCOL);
	advance(900);
	change();
	assert_false(is_live("web.default"));
}

static void whatever_does_not_hold_is_not_asked_in_a_loop(void **state)
{
	unsigned requests = 0;

	(void)state;
	open_busy();
	for (int i = 0; i < 600; i++) { /* a minute */
		struct request *held = find_beginning(WEB "&index=");

		if (held) {
			answer(held->path, ONE("192.0.2.1"), table);
			requests++;
		}
		if (find_request(WEB))
			answer(WEB, ONE("192.0.2.1"), table);
		advance(100);
	}
	assert_in_range(requests, 1, 15);
}

static void last_instance_that_went_is_confirmed_by_a_get(void **state)
{
	(void)state;
	config.settle_ms = 100;
	open_busy();
	now_ms += 5000;
	table++;
	answer(find_beginning(WEB "&index=")->path, "[]", table);
	assert_non_null(strstr(fake_text("web.default"), "192.0.2.1"));
	advance(100);
	answer(WEB, "[]", table);
	assert_string_equal(fake_text("web.default"), "ABSENT");
}

static void index_that_went_back_is_found_by_any_of_them(void **state)
{
	(void)state;
	open_busy();
	answer(find_beginning(WEB "&index=")->path, ONE("192.0.2.1"), 5);
	advance(0);
	assert_null(find_beginning(WEB "&index="));
	assert_false(is_live("web.default"));
	assert_non_null(find_request(WEB)); /* from the beginning */
}

static void name_nobody_asks_for_any_more_is_let_go(void **state)
{
	(void)state;
	open_busy();
	fake_zone.asked = 0;
	for (int i = 0; i < 30; i++)
		advance(5000);
	assert_null(find_beginning(WEB "&index="));
}

/* ---- where a stream is permitted ---- */

/* Something changed, and the stream has it. */
static void tell(void)
{
	char text[64];

	snprintf(text, sizeof(text), "{\"Index\":%llu,\"Events\":[]}", (unsigned long long)++table);
	line(STREAM, text);
}

/* A live stream of a namespace with `count` names, all of them in use, and a minute of changes. */
static void open_busy_stream(unsigned count)
{
	char list[4096];
	size_t length = 0;

	open_tier(CONFIG_MIRROR_AUTO);
	line(STREAM, "{}");
	length +=
		(size_t)snprintf(list, sizeof(list), "[{\"Namespace\":\"default\",\"Services\":[");
	for (unsigned i = 0; i < count; i++)
		length += (size_t)snprintf(list + length, sizeof(list) - length,
					   "%s{\"ServiceName\":\"web%u\",\"Tags\":[]}",
					   i ? "," : "", i);
	snprintf(list + length, sizeof(list) - length, "]}]");
	answer(LIST_ALL, list, 10);
	assert_int_equal(mirror_tier(mirror), TIER_STREAM);
	fake_zone.asked = 1;
	for (int i = 0; i < CHANGES; i++) {
		now_ms += 60000 / CHANGES + 1;
		tell();
		advance(0);
	}
	advance(9000);
	line(STREAM, "{}");
	advance(1000);
}

static void few_names_in_use_end_the_stream(void **state)
{
	(void)state;
	open_busy_stream(3);
	assert_true(mirror->is_large);
	assert_null(find_request(STREAM));
	assert_non_null(find_request("/v1/service/web2?namespace=default"));
}

static void many_names_in_use_keep_it_and_slow_its_alarm_down(void **state)
{
	unsigned wakes = 0;

	(void)state;
	open_busy_stream(12);
	assert_false(mirror->is_large);
	for (int i = 0; i < 100; i++) { /* ten seconds */
		tell();
		if (find_beginning(ALARM "&index=")) {
			answer(find_beginning(ALARM "&index=")->path, "[]", table);
			wakes++;
		}
		advance(100);
	}
	assert_non_null(find_request(STREAM));
	assert_in_range(wakes, 15, 27);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(names_in_use_are_listened_for_one_by_one),
		TEST(change_of_such_a_name_is_told_with_its_instances),
		TEST(name_that_changes_all_the_time_is_asked_for_now_and_then),
		TEST(name_that_changed_often_is_held_again_afterwards),
		TEST(name_whose_request_failed_is_made_old_by_the_next_wake),
		TEST(whatever_does_not_hold_is_not_asked_in_a_loop),
		TEST(last_instance_that_went_is_confirmed_by_a_get),
		TEST(index_that_went_back_is_found_by_any_of_them),
		TEST(name_nobody_asks_for_any_more_is_let_go),
		TEST(few_names_in_use_end_the_stream),
		TEST(many_names_in_use_keep_it_and_slow_its_alarm_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
