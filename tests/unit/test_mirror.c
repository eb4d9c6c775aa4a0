/* The mirror's lookup tier: what is asked of Nomad, when, and what an answer or its absence means.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "unit/mirror_fixture.h"

/* ---- start ---- */

static void at_start_the_first_list_makes_it_ready(void **state)
{
	(void)state;
	open_mirror();
	assert_false(mirror_is_ready(mirror));
	assert_int_equal(fake_zone.nomad, ZONE_NOMAD_SILENT);
	answer(LIST, LIST_WEB, 10);
	assert_true(mirror_is_ready(mirror));
	assert_int_equal(fake_zone.nomad, ZONE_NOMAD_OK);
	assert_int_equal(state_changes, 1);
	assert_int_equal(fake_zone.index, 10);
	assert_int_equal(metric(METRIC_NOMAD_CONNECTED), 1);
	assert_int_equal(metric(METRIC_NOMAD_INDEX), 10);
}

static void configured_namespace_is_asked_first(void **state)
{
	char *namespaces[] = { "Prod" };

	(void)state;
	config.namespace = namespaces;
	config.namespace_count = 1;
	open_mirror();
	assert_non_null(find_request("/v1/services?namespace=Prod"));
	answer("/v1/services?namespace=Prod", "[]", 1);
	assert_true(mirror_is_ready(mirror));
}

static void silent_nomad_is_probed_until_it_answers(void **state)
{
	(void)state;
	open_mirror();
	answer_failure(LIST, HTTP_CONNECT);
	assert_int_equal(fake_zone.nomad, ZONE_NOMAD_SILENT);
	need(NEED_SERVICE, "default", "web");
	assert_int_equal(last_word(), NEED_NOT_READY);
	for (int i = 0; i < 5; i++) {
		advance(1200);
		answer_failure(PROBE, HTTP_CONNECT);
	}
	advance(1200);
	answer(PROBE, "[]", 3);
	assert_true(mirror_is_ready(mirror));
	assert_int_equal(fake_zone.nomad, ZONE_NOMAD_OK);
}

/* ---- needs ---- */

static void listed_service_is_fetched(void **state)
{
	(void)state;
	open_listed();
	assert_string_equal(fake_text("web.default"), "LISTED");
	need(NEED_SERVICE, "default", "web");
	assert_int_equal(word_count, 0);
	answer(WEB, ONE("192.0.2.1"), 11);
	assert_int_equal(word_count, 1);
	assert_int_equal(last_word(), NEED_CAME);
	assert_string_equal(fake_text("web.default"), "LOADED 192.0.2.1:80");
	assert_int_equal(fake_find("web.default")->times.refresh_from_ms, now_ms + 8000);
	assert_int_equal(fake_find("web.default")->times.fresh_until_ms, now_ms + 10000);
	assert_int_equal(fake_find("web.default")->times.stale_until_ms, now_ms + 3600000);
}

static void name_outside_a_fresh_list_costs_no_request(void **state)
{
	size_t before;

	(void)state;
	open_listed();
	before = fake_http.count;
	need(NEED_SERVICE, "default", "nope");
	assert_int_equal(last_word(), NEED_CAME);
	assert_int_equal(fake_http.count, before);
	assert_string_equal(fake_text("nope.default"), "");
	assert_string_equal(fake_text("default"), "LOADED");
}

static void old_list_is_fetched_before_the_service(void **state)
{
	(void)state;
	open_listed();
	advance(5001);
	need(NEED_SERVICE, "default", "web");
	need(NEED_SERVICE, "default", "nope");
	assert_null(find_request(WEB));
	assert_int_equal(asked(LIST), 2);
	answer(LIST, LIST_WEB, 12);
	assert_int_equal(word_count, 1);
	assert_string_equal(words[0].need.service_label, "nope");
	answer(WEB, ONE("192.0.2.1"), 12);
	assert_int_equal(word_count, 2);
	assert_int_equal(last_word(), NEED_CAME);
}

static void held_service_is_fetched_without_the_list(void **state)
{
	(void)state;
	open_loaded();
	advance(20000);
	need(NEED_SERVICE, "default", "web");
	assert_int_equal(asked(LIST), 1);
	answer(WEB, ONE("192.0.2.2"), 12);
	assert_string_equal(fake_text("web.default"), "LOADED 192.0.2.2:80");
}

static void everybody_who_needs_a_name_waits_for_one_request(void **state)
{
	(void)state;
	open_listed();
	for (uint8_t i = 0; i < 10; i++)
		need_of(i, NEED_SERVICE, "default", "web");
	assert_int_equal(asked(WEB), 1);
	answer(WEB, ONE("192.0.2.1"), 11);
	assert_int_equal(word_count, 10);
	for (uint8_t i = 0; i < 10; i++) {
		assert_int_equal(words[i].need.worker, i);
		assert_int_equal(words[i].outcome, NEED_CAME);
	}
}

static void refresh_is_answered_to_nobody(void **state)
{
	(void)state;
	open_loaded();
	need(NEED_REFRESH, "default", "web");
	answer(WEB, ONE("192.0.2.2"), 12);
	assert_int_equal(word_count, 1);
	assert_string_equal(fake_text("web.default"), "LOADED 192.0.2.2:80");
}

static void who_joins_a_refresh_is_answered(void **state)
{
	(void)state;
	open_loaded();
	need(NEED_REFRESH, "default", "web");
	need(NEED_SERVICE, "default", "web");
	answer(WEB, ONE("192.0.2.2"), 12);
	assert_int_equal(word_count, 2);
}

static void service_without_instances_is_absent_for_the_negative_ttl(void **state)
{
	(void)state;
	open_loaded();
	need(NEED_SERVICE, "default", "web");
	answer(WEB, "[]", 12);
	assert_int_equal(last_word(), NEED_CAME);
	assert_string_equal(fake_text("web.default"), "ABSENT");
	assert_int_equal(fake_find("web.default")->times.fresh_until_ms, now_ms + 5000);
}

static void ttl_of_zero_still_answers_those_who_waited(void **state)
{
	(void)state;
	config.ttl_s = 0;
	config.negative_ttl_s = 0;
	open_mirror();
	answer(LIST, LIST_WEB, 10);
	now_ms += 1000;
	need(NEED_SERVICE, "default", "web");
	answer(LIST, LIST_WEB, 10);
	answer(WEB, ONE("192.0.2.1"), 11);
	assert_int_equal(last_word(), NEED_CAME);
	assert_true(fake_find("web.default")->times.fresh_until_ms > now_ms);
}

static void namespace_need_is_answered_by_its_list(void **state)
{
	(void)state;
	open_listed();
	need(NEED_NAMESPACE, "default", "");
	assert_int_equal(last_word(), NEED_CAME);
	need(NEED_NAMESPACE, "prod", "");
	answer("/v1/services?namespace=prod", "[]", 10);
	assert_int_equal(word_count, 2);
	assert_int_equal(last_word(), NEED_CAME);
	assert_string_equal(fake_text("prod"), "ABSENT");
}

static void names_that_fold_together_are_all_fetched(void **state)
{
	(void)state;
	open_mirror();
	answer(LIST,
	       "[{\"Namespace\":\"default\",\"Services\":[{\"ServiceName\":\"web\"},"
	       "{\"ServiceName\":\"Web\"}]}]",
	       10);
	need(NEED_SERVICE, "default", "web");
	answer(WEB, ONE("192.0.2.1"), 11);
	assert_int_equal(word_count, 0);
	answer("/v1/service/Web?namespace=default",
	       "[{\"ID\":\"b\",\"Address\":\"192.0.2.2\",\"Port\":80}]", 11);
	assert_int_equal(last_word(), NEED_CAME);
	assert_string_equal(fake_text("web.default"), "LOADED 192.0.2.1:80 192.0.2.2:80");
}

static void filter_goes_with_the_service_but_not_with_the_list(void **state)
{
	char filter[] = "\"v1\" in Tags";

	(void)state;
	config.filter = filter;
	open_listed();
	need(NEED_SERVICE, "default", "web");
	assert_non_null(
		find_request("/v1/service/web?namespace=default&filter=%22v1%22%20in%20Tags"));
}

static void refused_filter_fails_the_name_and_nothing_else(void **state)
{
	char filter[] = "x";

	(void)state;
	config.filter = filter;
	open_listed();
	need(NEED_SERVICE, "default", "web");
	answer_status("/v1/service/web?namespace=default&filter=x", 400, 0);
	assert_int_equal(last_word(), NEED_LOST);
	assert_int_equal(fake_zone.nomad, ZONE_NOMAD_OK);
	need(NEED_SERVICE, "default", "nope");
	assert_int_equal(last_word(), NEED_CAME);
}

static void namespace_outside_the_configured_ones_is_absent_without_a_request(void **state)
{
	char *namespaces[] = { "prod" };
	size_t before;

	(void)state;
	config.namespace = namespaces;
	config.namespace_count = 1;
	open_mirror();
	before = fake_http.count;
	need(NEED_SERVICE, "default", "web");
	assert_int_equal(last_word(), NEED_CAME);
	assert_string_equal(fake_text("default"), "ABSENT");
	assert_int_equal(fake_http.count, before);
}

static void need_that_is_no_label_is_not_asked(void **state)
{
	size_t before;

	(void)state;
	open_listed();
	before = fake_http.count;
	need(NEED_SERVICE, "default", "");
	need(NEED_SERVICE, "a/b", "web");
	assert_int_equal(word_count, 2);
	assert_int_equal(fake_http.count, before);
}

/* ---- ceilings ---- */

static void few_requests_are_under_way_at_a_time(void **state)
{
	char body[8192] = "[{\"Namespace\":\"default\",\"Services\":[{\"ServiceName\":\"s\"}",
	     name[8];

	(void)state;
	for (int i = 0; i < 50; i++) {
		size_t length = strlen(body);

		snprintf(body + length, sizeof(body) - length, ",{\"ServiceName\":\"s%d\"}", i);
	}
	snprintf(body + strlen(body), sizeof(body) - strlen(body), "]}]");
	open_mirror();
	answer(LIST, body, 10);
	for (int i = 0; i < 50; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		need(NEED_SERVICE, "default", name);
	}
	assert_int_equal(http_in_flight(&fake_http), 6);
	for (int i = 0; i < 50; i++) {
		char path[64];

		snprintf(path, sizeof(path), "/v1/service/s%d?namespace=default", i);
		answer(path, ONE("192.0.2.1"), 11);
	}
	assert_int_equal(word_count, 50);
}

static void namespaces_nobody_knows_are_tried_at_a_limited_pace(void **state)
{
	char name[16];
	unsigned refused = 0;

	(void)state;
	open_listed();
	for (int i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		need(NEED_SERVICE, name, "web");
		refused += last_word() == NEED_OVER_LIMIT;
	}
	assert_in_range(refused, 20, 21);
	assert_int_equal(metric(METRIC_NOMAD_OVER_LIMIT), refused);
	now_ms += 100;
	word_count = 0;
	need(NEED_SERVICE, "another", "web");
	assert_int_equal(word_count, 0);
	need(NEED_SERVICE, "one-more", "web");
	assert_int_equal(last_word(), NEED_OVER_LIMIT);
}

static void few_absent_namespaces_are_remembered(void **state)
{
	char name[16], path[64];

	(void)state;
	open_listed();
	for (int i = 0; i < 300; i++) {
		now_ms += 100;
		snprintf(name, sizeof(name), "n%d", i);
		need(NEED_NAMESPACE, name, "");
		snprintf(path, sizeof(path), "/v1/services?namespace=%s", name);
		answer(path, "[]", 10);
	}
	assert_int_equal(mirror->spaces.forgettable_count, 256);
	assert_null(fake_find("n0"));
	assert_string_equal(fake_text("n299"), "ABSENT");
}

static void too_many_needs_are_refused(void **state)
{
	char name[16];
	unsigned refused = 0;

	(void)state;
	open_listed();
	advance(6000);
	for (int i = 0; i < 1100; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		word_count = 0;
		need(NEED_SERVICE, "default", name);
		refused += last_word() == NEED_OVER_LIMIT;
	}
	assert_in_range(refused, 1100 - 1024, 1100 - 1023 + 1);
	assert_int_equal(asked(LIST), 2);
}

static void out_of_memory_costs_one_need(void **state)
{
	(void)state;
	open_listed();
	fake_http.is_out_of_memory = true;
	need(NEED_SERVICE, "default", "web");
	assert_int_equal(last_word(), NEED_LOST);
	assert_int_equal(fake_zone.nomad, ZONE_NOMAD_OK);
	fake_http.is_out_of_memory = false;
	need(NEED_SERVICE, "default", "web");
	answer(WEB, ONE("192.0.2.1"), 11);
	assert_int_equal(last_word(), NEED_CAME);
}

/* ---- lost ---- */

static void failure_at_every_address_is_a_loss(void **state)
{
	(void)state;
	fake_http.address_count = 2;
	open_loaded();
	need(NEED_SERVICE, "default", "web");
	answer_failure(WEB, HTTP_CONNECT);
	assert_int_equal(word_count, 1);
	assert_int_equal(find_request(WEB)->address, 1);
	answer_failure(WEB, HTTP_TIMEOUT);
	assert_int_equal(last_word(), NEED_LOST);
	assert_int_equal(fake_zone.nomad, ZONE_NOMAD_LOST);
	assert_int_equal(metric(METRIC_NOMAD_CONNECTED), 0);
	assert_string_equal(fake_text("web.default"), "LOADED 192.0.2.1:80");
	assert_int_equal(state_changes, 2);
}

static void address_that_answers_is_kept(void **state)
{
	(void)state;
	fake_http.address_count = 2;
	open_loaded();
	need(NEED_SERVICE, "default", "web");
	answer_failure(WEB, HTTP_CONNECT);
	answer(WEB, ONE("192.0.2.1"), 11);
	assert_int_equal(last_word(), NEED_CAME);
	assert_int_equal(fake_zone.nomad, ZONE_NOMAD_OK);
	need(NEED_SERVICE, "default", "web");
	assert_int_equal(find_request(WEB)->address, 1);
}

static void address_that_hangs_is_not_waited_for(void **state)
{
	(void)state;
	fake_http.address_count = 3;
	open_loaded();
	need(NEED_SERVICE, "default", "web");
	advance(999);
	assert_int_equal(open_at(1), 0);
	advance(1);
	assert_int_equal(open_at(1), 1);
	advance(1000); /* that one hangs too */
	assert_int_equal(open_at(1), 0);
	answer_at(2, WEB, ONE("192.0.2.1"), 11);
	assert_int_equal(last_word(), NEED_CAME);
	assert_int_equal(open_at(0) + open_at(1) + open_at(2), 0);
	need(NEED_SERVICE, "default", "web");
	assert_int_equal(open_at(2), 1);
}

static void those_who_wait_follow_the_first_who_was_answered(void **state)
{
	(void)state;
	fake_http.address_count = 2;
	open_loaded();
	for (char name[] = "a"; name[0] < 'g'; name[0]++) {
		need(NEED_NAMESPACE, name, "");
	}
	advance(1000);
	assert_true(http_in_flight(&fake_http) <= 8);
	answer_at(1, "/v1/services?namespace=a", "[]", 11);
	advance(100);
	for (char path[] = "/v1/services?namespace=b"; path[23] < 'g'; path[23]++)
		answer_at(1, path, "[]", 11);
	assert_int_equal(http_in_flight(&fake_http), 0);
}

static void all_hanging_is_a_loss_and_asks_each_once(void **state)
{
	(void)state;
	fake_http.address_count = 2;
	open_loaded();
	need(NEED_SERVICE, "default", "web");
	advance(1000);
	answer_failure(WEB "&stale", HTTP_TIMEOUT);
	answer_failure(WEB, HTTP_TIMEOUT);
	answer_failure(WEB, HTTP_TIMEOUT);
	assert_int_equal(last_word(), NEED_LOST);
	assert_int_equal(fake_zone.nomad, ZONE_NOMAD_LOST);
}

static void when_lost_everybody_who_waits_hears_it_at_once(void **state)
{
	(void)state;
	open_loaded();
	need(NEED_SERVICE, "default", "web");
	need(NEED_SERVICE, "prod", "db");
	need(NEED_NAMESPACE, "test", "");
	word_count = 0;
	answer_failure(WEB, HTTP_CONNECT);
	assert_int_equal(word_count, 3);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(words[i].outcome, NEED_LOST);
	assert_int_equal(http_in_flight(&fake_http), 0);
}

static void while_lost_needs_are_answered_without_a_request(void **state)
{
	size_t before;

	(void)state;
	open_lost();
	before = fake_http.count;
	need(NEED_SERVICE, "default", "web");
	need(NEED_NAMESPACE, "prod", "");
	need(NEED_REFRESH, "default", "web");
	assert_int_equal(fake_http.count, before);
	assert_int_equal(word_count, 4);
	assert_int_equal(last_word(), NEED_LOST);
}

static void refusing_nomad_is_probed_every_second(void **state)
{
	(void)state;
	open_lost();
	for (int i = 0; i < 20; i++) {
		advance(799);
		assert_null(find_request(PROBE));
		advance(402);
		answer_failure(PROBE, HTTP_CONNECT);
	}
	assert_int_equal(asked(PROBE), 20);
}

static void nomad_with_errors_is_probed_ever_more_rarely(void **state)
{
	static const uint64_t pauses_ms[] = { 2000, 4000, 8000, 16000, 30000, 30000 };

	(void)state;
	open_lost();
	advance(1200);
	answer_status(PROBE, 500, 0);
	answer_status(PROBE "&stale", 500, 0);
	advance(1200);
	for (size_t i = 0; i < sizeof(pauses_ms) / sizeof(pauses_ms[0]); i++) {
		if (i > 0) {
			advance(pauses_ms[i - 1] * 79 / 100);
			assert_null(find_request(PROBE));
			advance(pauses_ms[i - 1] * 42 / 100);
		}
		answer_status(PROBE, 500, 0);
		answer_status(PROBE "&stale", 500, 0);
	}
}

static void found_again_needs_are_asked_again(void **state)
{
	(void)state;
	open_lost();
	advance(1200);
	answer(PROBE, "[]", 11);
	assert_int_equal(fake_zone.nomad, ZONE_NOMAD_OK);
	assert_int_equal(state_changes, 3);
	need(NEED_SERVICE, "default", "web");
	answer(WEB, ONE("192.0.2.9"), 12);
	assert_int_equal(last_word(), NEED_CAME);
	assert_string_equal(fake_text("web.default"), "LOADED 192.0.2.9:80");
}

static void unusable_bodies_are_failures_that_remove_nothing(void **state)
{
	static const char *const bodies[] = { "",     "<html>", "[{\"ID\":\"a\"",	 "{}",
					      "null", "[1]",	"[{\"Services\":\"x\"}]" };

	(void)state;
	open_loaded();
	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		need(NEED_SERVICE, "default", "web");
		answer(WEB, bodies[i], 12);
		assert_int_equal(last_word(), NEED_LOST);
		assert_string_equal(fake_text("web.default"), "LOADED 192.0.2.1:80");
		advance(1200);
		if (!find_request(PROBE))
			advance(60000);
		answer(PROBE, "[]", 12);
	}
	assert_int_equal(metric(METRIC_NOMAD_FAILURES_BODY), sizeof(bodies) / sizeof(bodies[0]));
}

static void probe_is_not_content_with_an_unusable_body(void **state)
{
	(void)state;
	open_lost();
	advance(1200);
	answer(PROBE, "[1]", 12);
	assert_int_equal(fake_zone.nomad, ZONE_NOMAD_LOST);
}

static void empty_list_without_an_index_removes_nothing(void **state)
{
	struct http_reply reply = good("[]", 0);

	(void)state;
	open_loaded();
	advance(6000);
	need(NEED_SERVICE, "default", "other");
	reply.has_index = false;
	deliver(LIST, &reply);
	assert_int_equal(last_word(), NEED_LOST);
	assert_string_equal(fake_text("web.default"), "LOADED 192.0.2.1:80");
}

static void full_body_without_an_index_is_taken(void **state)
{
	struct http_reply reply = good(ONE("192.0.2.5"), 0);

	(void)state;
	open_loaded();
	need(NEED_SERVICE, "default", "web");
	reply.has_index = false;
	deliver(WEB, &reply);
	assert_int_equal(last_word(), NEED_CAME);
	assert_string_equal(fake_text("web.default"), "LOADED 192.0.2.5:80");
}

static void reply_over_the_ceiling_fails_the_name_only(void **state)
{
	(void)state;
	open_loaded();
	need(NEED_SERVICE, "default", "web");
	answer_failure(WEB, HTTP_TOO_LARGE);
	assert_int_equal(last_word(), NEED_LOST);
	assert_int_equal(fake_zone.nomad, ZONE_NOMAD_OK);
}

/* ---- something else than Nomad ---- */

static void what_is_no_nomad_is_no_loss_but_is_not_asked_on(void **state)
{
	static const long statuses[] = { 404, 301, 501, 204 };

	(void)state;
	open_loaded();
	for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
		size_t before;

		need(NEED_SERVICE, "default", "web");
		answer_status(WEB, statuses[i], 0);
		assert_int_equal(last_word(), NEED_LOST);
		assert_int_equal(fake_zone.nomad, ZONE_NOMAD_OK);
		before = fake_http.count;
		need(NEED_SERVICE, "default", "web");
		assert_int_equal(fake_http.count, before);
		advance(60000);
		answer(PROBE, "[]", 11);
	}
}

static void retry_after_is_obeyed(void **state)
{
	(void)state;
	open_loaded();
	need(NEED_SERVICE, "default", "web");
	answer_status(WEB, 429, 20);
	advance(19999);
	assert_null(find_request(PROBE));
	advance(1);
	answer(PROBE, "[]", 11);
	need(NEED_SERVICE, "default", "web");
	assert_non_null(find_request(WEB));
}

static void another_filter_is_tried_at_once(void **state)
{
	char bad[] = "x", good_one[] = "y";

	(void)state;
	config.filter = bad;
	open_listed();
	need(NEED_SERVICE, "default", "web");
	answer_status(WEB "&filter=x", 400, 0);
	need(NEED_SERVICE, "default", "web");
	assert_null(find_request(WEB "&filter=x"));
	config.filter = good_one;
	mirror_configure(mirror, &config, false);
	need(NEED_SERVICE, "default", "web");
	answer(LIST, LIST_WEB, 10);
	assert_non_null(find_request(WEB "&filter=y"));
	config.filter = NULL;
}

static void reply_to_another_filter_is_asked_for_again(void **state)
{
	char filter[] = "x";

	(void)state;
	open_listed();
	need(NEED_SERVICE, "default", "web");
	config.filter = filter;
	mirror_configure(mirror, &config, false);
	answer(WEB, ONE("192.0.2.9"), 11);
	assert_int_equal(last_word(), NEED_NONE);
	answer(WEB "&filter=x", ONE("192.0.2.1"), 11);
	assert_int_equal(last_word(), NEED_CAME);
	assert_non_null(strstr(fake_text("web.default"), "192.0.2.1"));
	assert_null(strstr(fake_text("web.default"), "192.0.2.9"));
}

static void refusal_of_another_filter_harms_no_name(void **state)
{
	char bad[] = "(", good_one[] = "x";

	(void)state;
	config.filter = bad;
	open_listed();
	need(NEED_SERVICE, "default", "web");
	config.filter = good_one;
	mirror_configure(mirror, &config, false);
	answer_status(WEB "&filter=%28", 400, 0);
	answer(WEB "&filter=x", ONE("192.0.2.1"), 11);
	assert_int_equal(last_word(), NEED_CAME);
}

/* Nobody asks by the old filter from then on. */
static void what_is_queued_is_asked_with_another_filter(void **state)
{
	char filter[] = "x", name[16], path[80];

	(void)state;
	open_mirror();
	answer(LIST,
	       "[{\"Namespace\":\"default\",\"Services\":[{\"ServiceName\":\"s0\"},{"
	       "\"ServiceName\":"
	       "\"s1\"},{\"ServiceName\":\"s2\"},{\"ServiceName\":\"s3\"},{\"ServiceName\":\"s4\"},"
	       "{"
	       "\"ServiceName\":\"s5\"},{\"ServiceName\":\"s6\"}]}]",
	       10);
	for (int i = 0; i < 7; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		need(NEED_SERVICE, "default", name);
	}
	config.filter = filter;
	mirror_configure(mirror, &config, false);
	for (int i = 0; i < 6; i++) {
		snprintf(path, sizeof(path), "/v1/service/s%d?namespace=default", i);
		answer(path, ONE("192.0.2.9"), 11);
		snprintf(path, sizeof(path), "/v1/service/s%d?namespace=default&filter=x", i);
		answer(path, ONE("192.0.2.1"), 11);
	}
	assert_int_equal(asked("/v1/service/s6?namespace=default"), 0);
	answer("/v1/service/s6?namespace=default&filter=x", ONE("192.0.2.1"), 11);
	assert_int_equal(word_count, 7);
}

/* ---- denied ---- */

static void refused_token_keeps_known_names(void **state)
{
	(void)state;
	open_loaded();
	need(NEED_SERVICE, "default", "web");
	answer_status(WEB, 403, 0);
	assert_int_equal(last_word(), NEED_DENIED);
	assert_string_equal(fake_text("web.default"), "LOADED 192.0.2.1:80");
	answer_status(PROBE, 403, 0);
	assert_int_equal(fake_zone.nomad, ZONE_NOMAD_OK); /* perhaps only there */
	answer_status(PROBE_ANY, 403, 0);
	assert_int_equal(fake_zone.nomad, ZONE_NOMAD_DENIED);
}

static void refused_list_makes_the_namespace_denied(void **state)
{
	size_t before;

	(void)state;
	open_listed();
	need(NEED_SERVICE, "secret", "db");
	answer_status("/v1/services?namespace=secret", 403, 0);
	assert_int_equal(last_word(), NEED_DENIED);
	assert_string_equal(fake_text("secret"), "DENIED");
	assert_int_equal(fake_find("secret")->times.fresh_until_ms, now_ms + 5000);
	answer(PROBE, "[]", 11);
	assert_int_equal(fake_zone.nomad, ZONE_NOMAD_OK);
	before = fake_http.count;
	need(NEED_SERVICE, "secret", "other");
	assert_int_equal(last_word(), NEED_DENIED);
	assert_int_equal(fake_http.count, before);
	now_ms += 5001;
	need(NEED_SERVICE, "secret", "other");
	assert_non_null(find_request("/v1/services?namespace=secret"));
}

static void index_of_zero_means_no_access(void **state)
{
	(void)state;
	open_loaded();
	now_ms += 6000;
	need(NEED_SERVICE, "default", "other");
	answer(LIST, "[]", 0);
	assert_int_equal(last_word(), NEED_DENIED);
	assert_string_equal(fake_text("web.default"), "LOADED 192.0.2.1:80");
}

static void changed_token_is_tried_at_once(void **state)
{
	(void)state;
	open_loaded();
	need(NEED_SERVICE, "default", "web");
	fake_http.has_new_token = true;
	answer_status(WEB, 403, 0);
	assert_int_equal(word_count, 1);
	answer(WEB, ONE("192.0.2.2"), 12);
	assert_int_equal(last_word(), NEED_CAME);
}

static void changed_token_is_tried_only_once(void **state)
{
	(void)state;
	open_loaded();
	need(NEED_SERVICE, "default", "web");
	fake_http.has_new_token = true;
	answer_status(WEB, 403, 0);
	fake_http.has_new_token = true;
	answer_status(WEB, 403, 0);
	assert_int_equal(last_word(), NEED_DENIED);
}

static void denied_at_start_is_asked_again_until_it_is_not(void **state)
{
	(void)state;
	open_mirror();
	answer_status(LIST, 403, 0);
	answer_status(PROBE_ANY, 403, 0);
	assert_false(mirror_is_ready(mirror));
	assert_int_equal(fake_zone.nomad, ZONE_NOMAD_DENIED);
	advance(4999);
	assert_null(find_request(PROBE_ANY));
	advance(3000);
	answer_status(PROBE_ANY, 403, 0);
	advance(7600);
	answer(PROBE_ANY, "[]", 3);
	assert_true(mirror_is_ready(mirror));
	need(NEED_SERVICE, "default", "web");
	assert_non_null(find_request(LIST));
}

static void token_that_is_good_elsewhere_is_no_denial(void **state)
{
	(void)state;
	open_mirror();
	answer_status(LIST, 403, 0);
	assert_false(mirror_is_ready(mirror));
	answer(PROBE_ANY, "[]", 3);
	assert_true(mirror_is_ready(mirror));
	assert_int_equal(fake_zone.nomad, ZONE_NOMAD_OK);
	need(NEED_SERVICE, "default", "web");
	assert_int_equal(last_word(), NEED_DENIED);
}

static void new_token_ends_the_denial_at_once(void **state)
{
	(void)state;
	open_mirror();
	answer_status(LIST, 403, 0);
	answer_status(PROBE_ANY, 403, 0);
	advance(100);
	assert_null(find_request(PROBE_ANY));
	fake_http.has_new_token = true;
	advance(100);
	answer(PROBE_ANY, "[]", 3);
	assert_int_equal(fake_zone.nomad, ZONE_NOMAD_OK);
}

static void half_written_token_may_look_like_a_broken_server(void **state)
{
	(void)state;
	open_loaded();
	now_ms += 60000;
	need(NEED_SERVICE, "default", "web");
	answer_status(WEB, 500, 0);
	answer_status(WEB "&stale", 500, 0);
	assert_int_equal(fake_zone.nomad, ZONE_NOMAD_LOST);
	advance(100);
	assert_null(find_request(PROBE));
	fake_http.has_new_token = true;
	advance(100);
	answer(PROBE, "[]", 12);
	assert_int_equal(fake_zone.nomad, ZONE_NOMAD_OK);
}

/* ---- no leader ---- */

static void slow_answer_is_asked_for_again_as_stale(void **state)
{
	struct http_reply reply = good(ONE("192.0.2.2"), 12);

	(void)state;
	open_loaded();
	need(NEED_SERVICE, "default", "web");
	advance(900);
	assert_null(find_request(WEB "&stale"));
	advance(100);
	assert_non_null(find_request(WEB "&stale"));
	assert_int_equal(find_request(WEB "&stale")->timeout_ms, 4000);
	reply.knows_leader = false;
	deliver(WEB "&stale", &reply);
	assert_int_equal(last_word(), NEED_CAME);
	assert_null(find_request(WEB));
	assert_true(fake_find("web.default")->times.is_leaderless);
}

static void first_good_answer_wins(void **state)
{
	(void)state;
	open_loaded();
	need(NEED_SERVICE, "default", "web");
	advance(1000);
	answer_status(WEB "&stale", 500, 0);
	assert_int_equal(word_count, 1);
	answer(WEB, ONE("192.0.2.2"), 12);
	assert_int_equal(last_word(), NEED_CAME);
	assert_false(fake_find("web.default")->times.is_leaderless);
}

static void without_a_leader_stale_is_asked_at_once(void **state)
{
	struct http_reply reply = good(ONE("192.0.2.2"), 12);

	(void)state;
	open_loaded();
	need(NEED_SERVICE, "default", "web");
	answer_status(WEB, 500, 0);
	reply.knows_leader = false;
	deliver(WEB "&stale", &reply);
	assert_int_equal(last_word(), NEED_CAME);
	need(NEED_SERVICE, "default", "web");
	assert_null(find_request(WEB));
	reply.knows_leader = true;
	deliver(WEB "&stale", &reply);
	assert_false(fake_find("web.default")->times.is_leaderless);
	need(NEED_SERVICE, "default", "web");
	assert_non_null(find_request(WEB));
}

static void older_stale_word_does_not_replace_what_is_held(void **state)
{
	struct http_reply reply = good("[]", 5);

	(void)state;
	open_loaded();
	need(NEED_SERVICE, "default", "web");
	advance(1000);
	reply.knows_leader = false;
	deliver(WEB "&stale", &reply);
	assert_int_equal(last_word(), NEED_CAME);
	assert_string_equal(fake_text("web.default"), "LOADED 192.0.2.1:80");
	assert_true(fake_find("web.default")->times.is_leaderless);
}

static void older_stale_list_removes_nothing(void **state)
{
	struct http_reply reply = good("[]", 5);

	(void)state;
	open_listed();
	now_ms += 6000;
	need(NEED_SERVICE, "default", "web");
	advance(1000);
	deliver(LIST "&stale", &reply);
	assert_string_equal(fake_text("web.default"), "LISTED");
	assert_string_equal(fake_text("default"), "LOADED");
	assert_non_null(find_request(WEB));
}

/* ---- configuration ---- */

static void new_filter_makes_what_is_held_old(void **state)
{
	char filter[] = "x";

	(void)state;
	open_loaded();
	config.filter = filter;
	mirror_configure(mirror, &config, false);
	assert_int_equal(fake_find("web.default")->times.fresh_until_ms, 0);
}

static void same_configuration_leaves_what_is_held(void **state)
{
	(void)state;
	open_loaded();
	mirror_configure(mirror, &config, false);
	assert_int_equal(fake_find("web.default")->times.fresh_until_ms, now_ms + 10000);
}

static void new_configuration_while_lost_is_tried_at_once(void **state)
{
	(void)state;
	open_lost();
	mirror_configure(mirror, &config, false);
	answer(PROBE, "[]", 11);
	assert_int_equal(fake_zone.nomad, ZONE_NOMAD_OK);
}

static void description_names_the_trouble(void **state)
{
	char text[512];

	(void)state;
	open_mirror();
	mirror_describe(mirror, text, sizeof(text));
	assert_non_null(strstr(text, "no word yet"));
	answer(LIST, LIST_WEB, 10);
	mirror_describe(mirror, text, sizeof(text));
	assert_string_equal(text, "lookup, Nomad at http://192.0.2.1:4646");
	need(NEED_SERVICE, "default", "web");
	answer_failure(WEB, HTTP_CONNECT);
	mirror_describe(mirror, text, sizeof(text));
	assert_non_null(strstr(text, "lost"));
	assert_non_null(strstr(text, "it failed"));
}

static void closing_with_much_under_way_leaves_nothing(void **state)
{
	(void)state;
	open_loaded();
	need(NEED_SERVICE, "default", "web");
	need(NEED_SERVICE, "prod", "web");
	need(NEED_NAMESPACE, "test", "");
	word_count = 0;
	/* tear_down closes, and looks for what is left; nobody is told. */
}

static void lists_of_before_a_snapshot_was_restored_keep_no_name(void **state)
{
	(void)state;
	open_loaded();
	for (int i = 0; i < 2; i++) { /* the first one shows it */
		now_ms += 6000;
		need(NEED_SERVICE, "default", "other");
		answer(LIST, "[]", 5);
		advance(0);
	}
	assert_string_equal(fake_text("web.default"), "ABSENT");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(at_start_the_first_list_makes_it_ready),
		TEST(configured_namespace_is_asked_first),
		TEST(silent_nomad_is_probed_until_it_answers),
		TEST(listed_service_is_fetched),
		TEST(name_outside_a_fresh_list_costs_no_request),
		TEST(old_list_is_fetched_before_the_service),
		TEST(held_service_is_fetched_without_the_list),
		TEST(everybody_who_needs_a_name_waits_for_one_request),
		TEST(refresh_is_answered_to_nobody),
		TEST(who_joins_a_refresh_is_answered),
		TEST(service_without_instances_is_absent_for_the_negative_ttl),
		TEST(ttl_of_zero_still_answers_those_who_waited),
		TEST(namespace_need_is_answered_by_its_list),
		TEST(names_that_fold_together_are_all_fetched),
		TEST(filter_goes_with_the_service_but_not_with_the_list),
		TEST(refused_filter_fails_the_name_and_nothing_else),
		TEST(namespace_outside_the_configured_ones_is_absent_without_a_request),
		TEST(need_that_is_no_label_is_not_asked),
		TEST(few_requests_are_under_way_at_a_time),
		TEST(namespaces_nobody_knows_are_tried_at_a_limited_pace),
		TEST(few_absent_namespaces_are_remembered),
		TEST(too_many_needs_are_refused),
		TEST(out_of_memory_costs_one_need),
		TEST(failure_at_every_address_is_a_loss),
		TEST(address_that_answers_is_kept),
		TEST(address_that_hangs_is_not_waited_for),
		TEST(those_who_wait_follow_the_first_who_was_answered),
		TEST(all_hanging_is_a_loss_and_asks_each_once),
		TEST(when_lost_everybody_who_waits_hears_it_at_once),
		TEST(while_lost_needs_are_answered_without_a_request),
		TEST(refusing_nomad_is_probed_every_second),
		TEST(nomad_with_errors_is_probed_ever_more_rarely),
		TEST(found_again_needs_are_asked_again),
		TEST(unusable_bodies_are_failures_that_remove_nothing),
		TEST(probe_is_not_content_with_an_unusable_body),
		TEST(empty_list_without_an_index_removes_nothing),
		TEST(full_body_without_an_index_is_taken),
		TEST(reply_over_the_ceiling_fails_the_name_only),
		TEST(what_is_no_nomad_is_no_loss_but_is_not_asked_on),
		TEST(retry_after_is_obeyed),
		TEST(another_filter_is_tried_at_once),
		TEST(reply_to_another_filter_is_asked_for_again),
		TEST(refusal_of_another_filter_harms_no_name),
		TEST(what_is_queued_is_asked_with_another_filter),
		TEST(refused_token_keeps_known_names),
		TEST(refused_list_makes_the_namespace_denied),
		TEST(index_of_zero_means_no_access),
		TEST(changed_token_is_tried_at_once),
		TEST(changed_token_is_tried_only_once),
		TEST(denied_at_start_is_asked_again_until_it_is_not),
		TEST(token_that_is_good_elsewhere_is_no_denial),
		TEST(new_token_ends_the_denial_at_once),
		TEST(half_written_token_may_look_like_a_broken_server),
		TEST(slow_answer_is_asked_for_again_as_stale),
		TEST(first_good_answer_wins),
		TEST(without_a_leader_stale_is_asked_at_once),
		TEST(older_stale_word_does_not_replace_what_is_held),
		TEST(older_stale_list_removes_nothing),
		TEST(new_filter_makes_what_is_held_old),
		TEST(same_configuration_leaves_what_is_held),
		TEST(new_configuration_while_lost_is_tried_at_once),
		TEST(description_names_the_trouble),
		TEST(lists_of_before_a_snapshot_was_restored_keep_no_name),
		TEST(closing_with_much_under_way_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
