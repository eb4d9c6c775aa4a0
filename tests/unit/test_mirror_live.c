/* The mirror's live tiers: how it climbs, what keeps a truth true, what makes it old. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <inttypes.h>

#include "unit/mirror_fixture.h"

#define STREAM "/v1/event/stream?topic=Service&namespace=*&index=0"
#define LIST_ALL "/v1/services?namespace=*"
#define ALARM "/v1/services?namespace=~"
#define LIST_LATE "/v1/services?namespace=late"
#define ALARM_10 ALARM "&index=10&wait=60s"
#define EVENT(index, type, id, address)                                                            \
	"{\"Index\":" #index ",\"Events\":[{\"Topic\":\"Service\",\"Type\":\"" type                \
	"\",\"Key\":\"" id "\",\"Namespace\":\"default\",\"FilterKeys\":[],\"Index\":" #index      \
	",\"Payload\":{\"Service\":{\"ID\":\"" id "\",\"ServiceName\":\"web\",\"Namespace\":"      \
	"\"default\",\"Address\":\"" address "\",\"Port\":80,\"Tags\":[]}}}]}"

static void open_tier_at(const char *probe, enum config_mirror ceiling)
{
	config.mirror = ceiling;
	open_mirror();
	answer(probe, "[]", 10);
	advance(0);
}

static void open_tier(enum config_mirror ceiling)
{
	open_tier_at(PROBE, ceiling);
}

static void line(const char *path, const char *text)
{
	struct request *request = find_request(path);

	if (!request || !request->on_line)
		fail_msg("no such stream: %s", path);
	request->on_line(request->arg, text, strlen(text));
}

/* A live stream, `web` loaded with one instance, the alarm held at 10. */
static void open_live(void)
{
	open_tier(CONFIG_MIRROR_AUTO);
	answer(ALARM, "[]", 10);
	line(STREAM, "{}");
	answer(LIST_ALL, LIST_WEB, 10);
	need(NEED_SERVICE, "default", "web");
	answer(WEB, ONE("192.0.2.1"), 10);
	assert_int_equal(mirror_tier(mirror), TIER_STREAM);
}

/* The alarm alone, `web` loaded. */
static void open_watch(void)
{
	open_tier(CONFIG_MIRROR_WATCH);
	answer(ALARM, "[]", 10);
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

/* ---- stream ---- */

static void stream_that_opens_is_followed_by_one_list_and_is_live(void **state)
{
	(void)state;
	open_tier(CONFIG_MIRROR_AUTO);
	assert_int_equal(asked(LIST_ALL), 0);
	line(STREAM, "{}");
	assert_int_equal(asked(LIST_ALL), 1);
	assert_int_equal(mirror_tier(mirror), TIER_LOOKUP);
	answer(LIST_ALL, LIST_WEB, 10);
	assert_int_equal(mirror_tier(mirror), TIER_STREAM);
	assert_true(zone_names_end(&fake_zone) == ZONE_LIVE);
	assert_int_equal(metric(METRIC_NOMAD_TIER_STREAM), 1);
	assert_int_equal(metric(METRIC_NOMAD_FULL_LISTS), 1);
}

static void name_fetched_while_live_stays_true(void **state)
{
	(void)state;
	open_live();
	assert_true(is_live("web.default"));
}

static void event_changes_a_loaded_name_without_a_request(void **state)
{
	size_t before;

	(void)state;
	open_live();
	before = fake_http.count;
	line(STREAM, EVENT(11, "ServiceRegistration", "b", "192.0.2.2"));
	assert_non_null(strstr(fake_text("web.default"), "192.0.2.2"));
	assert_int_equal(fake_http.count, before);
	assert_int_equal(metric(METRIC_NOMAD_EVENTS), 1);
	assert_int_equal(metric(METRIC_NOMAD_INDEX), 11);
}

static void any_other_type_takes_away(void **state)
{
	(void)state;
	open_live();
	line(STREAM, EVENT(11, "ServiceRegistration", "b", "192.0.2.2"));
	line(STREAM, EVENT(12, "PlanResult", "a", "192.0.2.1"));
	assert_null(strstr(fake_text("web.default"), "192.0.2.1"));
	assert_non_null(strstr(fake_text("web.default"), "192.0.2.2"));
}

static void frames_before_the_list_are_applied_after_it(void **state)
{
	(void)state;
	open_tier(CONFIG_MIRROR_AUTO);
	line(STREAM, "{}");
	line(STREAM, EVENT(12, "ServiceRegistration", "b", "192.0.2.2"));
	answer(LIST_ALL, "[]", 11);
	assert_non_null(fake_find("web.default"));
	assert_int_equal(metric(METRIC_NOMAD_INDEX), 12);
}

static void frame_that_makes_no_sense_is_counted_and_changes_nothing(void **state)
{
	(void)state;
	open_live();
	line(STREAM, "{\"Index\":11,\"Eve");
	assert_int_equal(metric(METRIC_NOMAD_EVENTS_BAD), 1);
	assert_int_equal(mirror_tier(mirror), TIER_STREAM);
	assert_true(is_live("web.default"));
}

static void last_instance_goes_after_settle(void **state)
{
	(void)state;
	config.settle_ms = 100;
	open_live();
	line(STREAM, EVENT(11, "ServiceDeregistration", "a", "192.0.2.1"));
	assert_non_null(strstr(fake_text("web.default"), "192.0.2.1"));
	advance(99);
	assert_non_null(strstr(fake_text("web.default"), "192.0.2.1"));
	advance(1);
	assert_null(strstr(fake_text("web.default"), "192.0.2.1"));
}

static void restart_within_settle_is_not_seen(void **state)
{
	(void)state;
	config.settle_ms = 100;
	open_live();
	line(STREAM, EVENT(11, "ServiceDeregistration", "a", "192.0.2.1"));
	advance(50);
	line(STREAM, EVENT(12, "ServiceRegistration", "a", "192.0.2.1"));
	advance(1000);
	assert_non_null(strstr(fake_text("web.default"), "192.0.2.1"));
}

static void change_that_only_the_alarm_told_is_found_within_a_second(void **state)
{
	(void)state;
	open_live();
	answer(ALARM_10, "[]", 12);
	advance(999);
	assert_int_equal(metric(METRIC_NOMAD_MISSED_CHANGES), 0);
	advance(1);
	assert_int_equal(metric(METRIC_NOMAD_MISSED_CHANGES), 1);
	assert_int_equal(mirror_tier(mirror), TIER_WATCH);
	now_ms += 10000;
	advance(0);
	line(STREAM, "{}");
	assert_int_equal(asked(LIST_ALL), 2);
	answer(LIST_ALL, LIST_WEB, 12);
	assert_int_equal(mirror_tier(mirror), TIER_STREAM);
}

static void what_is_held_is_old_before_a_second_has_passed(void **state)
{
	(void)state;
	open_live();
	answer(ALARM_10, "[]", 12);
	advance(499);
	assert_true(is_live("web.default"));
	advance(1);
	assert_false(is_live("web.default"));
	assert_int_equal(mirror_tier(mirror), TIER_STREAM);
}

static void server_that_lags_and_catches_up_is_given_more_time(void **state)
{
	char path[80], text[400];
	uint64_t index = 10;

	(void)state;
	open_live();
	for (unsigned turn = 0; turn < 4; turn++) {
		snprintf(path, sizeof(path), ALARM "&index=%" PRIu64 "&wait=60s", index);
		answer(path, "[]", ++index);
		advance(700);
		assert_int_equal(is_live("web.default"), turn == 3);
		snprintf(text, sizeof(text), "{\"Index\":%" PRIu64 ",\"Events\":[]}", index);
		line(STREAM, text);
		need(NEED_SERVICE, "default", "web");
		answer(WEB, ONE("192.0.2.1"), index);
	}
}

static void unknown_namespace_is_asked_about_while_the_stream_is_behind(void **state)
{
	(void)state;
	open_live();
	need(NEED_SERVICE, "late", "web");
	assert_int_equal(last_word(), NEED_CAME);
	assert_int_equal(asked(LIST_LATE), 0);
	answer(ALARM_10, "[]", 12);
	assert_true(zone_names_end(&fake_zone) != ZONE_LIVE);
	need(NEED_SERVICE, "default", "nosuch"); /* streams tell what is in it */
	assert_int_equal(asked(LIST), 0);
	need(NEED_SERVICE, "late", "web");
	answer(LIST_LATE, "[]", 12);
	assert_false(is_live("late"));
	line(STREAM, EVENT(12, "ServiceRegistration", "b", "192.0.2.2"));
	assert_true(zone_names_end(&fake_zone) == ZONE_LIVE);
	now_ms += 51;
	need(NEED_SERVICE, "late", "web");
	assert_int_equal(asked(LIST_LATE), 1);
}

static void any_namespace_is_asked_about_while_the_stream_is_in_doubt(void **state)
{
	(void)state;
	open_live();
	answer(ALARM_10, "[]", 12);
	advance(500);
	need(NEED_SERVICE, "default", "new");
	assert_int_equal(asked(LIST), 1);
}

static void later_frame_does_not_hide_one_that_is_missing(void **state)
{
	(void)state;
	open_live();
	answer(ALARM_10, "[]", 12);
	line(STREAM, EVENT(13, "ServiceRegistration", "b", "192.0.2.2"));
	advance(1000);
	assert_int_equal(metric(METRIC_NOMAD_MISSED_CHANGES), 1);
}

static void later_frame_does_not_hide_it_however_far_ahead(void **state)
{
	(void)state;
	open_live();
	answer(ALARM_10, "[]", 11);
	line(STREAM, EVENT(5000, "ServiceRegistration", "b", "192.0.2.2"));
	advance(1000);
	assert_int_equal(metric(METRIC_NOMAD_MISSED_CHANGES), 1);
}

static void alarm_about_a_change_the_stream_told_means_nothing(void **state)
{
	(void)state;
	open_live();
	line(STREAM, EVENT(11, "ServiceRegistration", "b", "192.0.2.2"));
	answer(ALARM_10, "[]", 11);
	advance(1500);
	assert_int_equal(metric(METRIC_NOMAD_MISSED_CHANGES), 0);
	assert_int_equal(mirror_tier(mirror), TIER_STREAM);
}

static void silent_stream_is_given_up_after_a_heartbeat_and_a_half(void **state)
{
	(void)state;
	open_live();
	advance(44999);
	assert_int_equal(mirror_tier(mirror), TIER_STREAM);
	advance(1);
	assert_int_equal(mirror_tier(mirror), TIER_WATCH);
	assert_int_equal(metric(METRIC_NOMAD_STREAM_RESTARTS), 1);
}

static void reconnection_without_a_gap_costs_no_list(void **state)
{
	(void)state;
	open_live();
	answer_failure(STREAM, HTTP_PROTOCOL);
	assert_int_equal(mirror_tier(mirror), TIER_WATCH);
	answer(PROBE, "[]", 10);
	advance(100);
	line("/v1/event/stream?topic=Service&namespace=*&index=10", "{}");
	answer(PROBE, "[]", 10);
	assert_int_equal(mirror_tier(mirror), TIER_STREAM);
	assert_int_equal(asked(LIST_ALL), 1);
}

#define STREAM_11 "/v1/event/stream?topic=Service&namespace=*&index=11"

/* A stream that has told of 11 broke, and is asked for again from there. */
static void open_again_at_11(void)
{
	open_live();
	line(STREAM, EVENT(11, "ServiceRegistration", "b", "192.0.2.2"));
	answer_failure(STREAM, HTTP_PROTOCOL);
	answer(PROBE, "[]", 13);
	advance(100);
	line(STREAM_11, "{}");
}

static void batch_that_is_replayed_shows_that_nothing_is_missing(void **state)
{
	(void)state;
	open_again_at_11();
	line(STREAM_11, EVENT(11, "ServiceRegistration", "b", "192.0.2.2"));
	line(STREAM_11, EVENT(13, "ServiceRegistration", "c", "192.0.2.3"));
	answer(PROBE, "[]", 13);
	assert_int_equal(mirror_tier(mirror), TIER_STREAM);
	assert_int_equal(asked(LIST_ALL), 1);
	assert_non_null(strstr(fake_text("web.default"), "192.0.2.3"));
}

static void another_batch_of_the_same_index_is_another_history(void **state)
{
	(void)state;
	open_again_at_11();
	line(STREAM_11, EVENT(11, "ServiceRegistration", "x", "192.0.2.9"));
	line(STREAM_11, EVENT(13, "ServiceRegistration", "c", "192.0.2.3"));
	answer(PROBE, "[]", 13);
	assert_int_not_equal(mirror_tier(mirror), TIER_STREAM);
	now_ms += 10000;
	advance(0);
	assert_int_equal(asked(LIST_ALL), 2);
}

static void tier_that_changes_again_and_again_is_told_of_once_a_minute(void **state)
{
	unsigned before;

	(void)state;
	open_watch();
	advance(0);
	before = state_changes;
	for (int i = 0; i < 20; i++) { /* five minutes: 20 times down, and up again */
		answer_failure(ALARM_10, HTTP_PROTOCOL);
		answer(PROBE, "[]", 10);
		advance(7000);
		if (find_request(PROBE))
			answer(PROBE, "[]", 10);
		advance(0);
		if (find_request(ALARM))
			answer(ALARM, "[]", 10);
		advance(8000);
	}
	assert_in_range(state_changes - before, 4, 12);
}

static void refused_stream_is_tried_again_later(void **state)
{
	(void)state;
	open_tier(CONFIG_MIRROR_AUTO);
	answer(ALARM, "[]", 10);
	answer_failure(STREAM, HTTP_TOO_LARGE); /* in passing */
	advance(100);
	answer_status(STREAM, 404, 0); /* for good */
	assert_int_equal(mirror_tier(mirror), TIER_WATCH);
	advance(30000);
	assert_null(find_request(STREAM));
	advance(50000);
	assert_non_null(find_request(STREAM));
}

#define ALARM_LIST LIST_ALL "&index=10&wait=60s"
#define STREAM_DEFAULT "/v1/event/stream?topic=Service&namespace=default&index=0"
#define LEG(space) "/v1/service/~?namespace=" space

/* The alarm is refused, the stream too: lists of `*` tell which namespaces there are. */
static void open_restricted(const char *list)
{
	open_tier(CONFIG_MIRROR_AUTO);
	answer_status(STREAM, 403, 0);
	answer_status(ALARM, 403, 0);
	advance(0);
	answer(LIST_ALL, list, 10);
	advance(0);
}

static void token_for_some_namespaces_gets_a_stream_for_each(void **state)
{
	(void)state;
	open_restricted(LIST_WEB);
	line(STREAM_DEFAULT, "{}");
	answer(LIST, LIST_WEB, 10);
	assert_int_equal(mirror_tier(mirror), TIER_STREAM);
	assert_true(zone_names_end(&fake_zone) != ZONE_LIVE);
	assert_non_null(find_request(LEG("default")));
}

static void lists_are_the_alarm_while_one_stream_may_still_tell_of_all(void **state)
{
	(void)state;
	open_tier(CONFIG_MIRROR_AUTO);
	answer_status(ALARM, 403, 0);
	advance(0);
	answer(LIST_ALL, LIST_WEB, 10);
	answer(LIST_ALL, LIST_WEB, 10); /* the alarm's own first one */
	assert_non_null(find_request(ALARM_LIST));
	assert_int_equal(mirror_tier(mirror), TIER_WATCH);
	line(STREAM, "{}");
	answer(LIST_ALL, LIST_WEB, 10);
	assert_int_equal(mirror_tier(mirror), TIER_STREAM);
	assert_true(zone_names_end(&fake_zone) == ZONE_LIVE);
}

static void first_service_of_all_that_may_be_read_is_found_by_a_list(void **state)
{
	(void)state;
	open_restricted("[]");
	answer(LIST_ALL, "[]", 10);
	assert_int_equal(mirror_tier(mirror), TIER_WATCH);
	answer(ALARM_LIST, LIST_WEB, 11);
	advance(0);
	answer(LIST_ALL, LIST_WEB, 11);
	advance(0);
	assert_non_null(find_request(STREAM_DEFAULT));
	assert_non_null(find_request(LEG("default")));
}

static void namespace_that_turns_out_to_be_readable_joins(void **state)
{
	(void)state;
	open_restricted(LIST_WEB);
	need(NEED_SERVICE, "other", "db");
	answer("/v1/services?namespace=other", "[]", 10);
	advance(0);
	assert_null(find_request(LEG("other"))); /* not at once: everything begins anew */
	now_ms += 10000;
	advance(0);
	assert_non_null(find_request(LEG("other")));
	advance(0);
	assert_non_null(find_request("/v1/event/stream?topic=Service&namespace=other&index=0"));
}

static void namespaces_nobody_may_read_do_not_join(void **state)
{
	(void)state;
	open_restricted(LIST_WEB);
	need(NEED_SERVICE, "other", "db");
	answer_status("/v1/services?namespace=other", 403, 0);
	now_ms += 10000;
	advance(0);
	assert_null(find_request(LEG("other")));
}

static void more_namespaces_than_can_be_followed_are_watched_by_list(void **state)
{
	char list[2000] = "[", why[300];

	(void)state;
	for (int i = 0; i <= SCOPE_MAX; i++)
		snprintf(list + strlen(list), sizeof(list) - strlen(list),
			 "%s{\"Namespace\":\"n%d\",\"Services\":[{\"ServiceName\":\"web\","
			 "\"Tags\":[]}]}",
			 i ? "," : "", i);
	snprintf(list + strlen(list), sizeof(list) - strlen(list), "]");
	open_restricted(list);
	answer(LIST_ALL, list, 10);
	assert_int_equal(mirror_tier(mirror), TIER_WATCH);
	assert_non_null(find_request(ALARM_LIST));
	assert_null(find_request("/v1/event/stream?topic=Service&namespace=n0&index=0"));
	mirror_describe(mirror, why, sizeof(why));
	assert_non_null(strstr(why, "more than 8 namespaces"));
}

static void list_that_is_too_long_is_no_alarm(void **state)
{
	static char list[200000];
	size_t length = 1;

	(void)state;
	list[0] = '[';
	for (int i = 0; i <= 2000; i++)
		length +=
			(size_t)snprintf(list + length, sizeof(list) - length,
					 "%s{\"Namespace\":\"n%d\",\"Services\":[{\"ServiceName\":"
					 "\"web\",\"Tags\":[]}]}",
					 i ? "," : "", i);
	snprintf(list + length, sizeof(list) - length, "]");
	open_restricted(list);
	answer(LIST_ALL, list, 10);
	assert_int_equal(mirror_tier(mirror), TIER_LOOKUP);
	advance(30000);
	assert_null(find_request(ALARM_LIST));
}

static void namespace_that_is_refused_harms_no_other(void **state)
{
	char other[] = "other", home[] = "default";
	char *spaces[] = { other, home };

	(void)state;
	config.namespace = spaces;
	config.namespace_count = 2;
	open_tier_at("/v1/service/nomad-dns-probe?namespace=other", CONFIG_MIRROR_WATCH);
	answer_status(LEG("other"), 403, 0);
	answer(LEG("default"), "[]", 10);
	assert_int_equal(mirror_tier(mirror), TIER_WATCH);
	assert_null(find_request(LEG("other")));
}

/* A line of about `kib` KiB. */
static void long_line(unsigned index, unsigned kib)
{
	static char text[17 << 20];
	size_t length = (size_t)snprintf(text, sizeof(text),
					 "{\"Index\":%u,\"Events\":[],\"Pad\":\"", index);

	memset(text + length, 'x', (size_t)kib << 10);
	length += (size_t)kib << 10;
	snprintf(text + length, sizeof(text) - length, "\"}");
	line(STREAM, text);
}

static void frames_that_the_list_will_know_are_not_kept(void **state)
{
	(void)state;
	open_tier(CONFIG_MIRROR_AUTO); /* the table is at 10 */
	line(STREAM, "{}");
	line(STREAM, EVENT(9, "ServiceRegistration", "b", "192.0.2.2"));
	assert_int_equal(mirror->sync.queue.frames.length, 0);
	line(STREAM, EVENT(11, "ServiceRegistration", "b", "192.0.2.2"));
	assert_int_not_equal(mirror->sync.queue.frames.length, 0);
	answer(LIST_ALL, LIST_WEB, 10);
	assert_int_equal(mirror_tier(mirror), TIER_STREAM);
	assert_int_equal(metric(METRIC_NOMAD_INDEX), 11);
}

static void more_frames_than_can_be_held_are_made_up_for_by_a_newer_list(void **state)
{
	(void)state;
	open_tier(CONFIG_MIRROR_AUTO);
	line(STREAM, "{}");
	for (unsigned index = 11; index < 60; index++) {
		long_line(index, 1024);
		assert_in_range(mirror->sync.queue.frames.length, 0, 16u << 20);
	}
	line(STREAM, EVENT(60, "ServiceRegistration", "b", "192.0.2.2"));
	answer(LIST_ALL, "[]", 12);
	assert_int_equal(mirror_tier(mirror), TIER_LOOKUP);
	answer(LIST_ALL, "[]", 59); /* 60 came before it was asked for */
	answer(LIST_ALL, LIST_WEB, 60);
	assert_int_equal(mirror_tier(mirror), TIER_STREAM);
	assert_string_equal(fake_text("web.default"), "LISTED");
	assert_int_equal(metric(METRIC_NOMAD_STREAM_RESTARTS), 0);
}

static void index_of_a_frame_beyond_all_measure_costs_few_lists(void **state)
{
	(void)state;
	open_tier(CONFIG_MIRROR_AUTO);
	line(STREAM, EVENT(9000000000, "ServiceRegistration", "b", "192.0.2.2"));
	for (int i = 0; i < 4; i++)
		answer(LIST_ALL, LIST_WEB, 10);
	assert_int_equal(mirror_tier(mirror), TIER_STREAM);
	assert_int_equal(asked(LIST_ALL), 4);
}

static void false_index_of_before_lets_frames_go_for_one_list(void **state)
{
	(void)state;
	open_tier(CONFIG_MIRROR_AUTO);
	mirror->index = UINT64_MAX;
	line(STREAM, "{}");
	line(STREAM, EVENT(11, "ServiceRegistration", "b", "192.0.2.2"));
	answer(LIST_ALL, LIST_WEB, 10);
	line(STREAM, EVENT(12, "ServiceRegistration", "c", "192.0.2.3"));
	answer(LIST_ALL, LIST_WEB, 11);
	assert_int_equal(mirror_tier(mirror), TIER_STREAM);
	assert_int_equal(metric(METRIC_NOMAD_INDEX), 12);
	assert_int_equal(asked(LIST_ALL), 2);
}

static void more_than_can_be_held_behind_a_gap_costs_a_list(void **state)
{
	static const char again[] = "/v1/event/stream?topic=Service&namespace=*&index=10";

	(void)state;
	open_live();
	answer_failure(STREAM, HTTP_PROTOCOL);
	answer(PROBE, "[]", 10);
	advance(100);
	line(again, "{}");
	snprintf(find_request(again)->path, sizeof(find_request(again)->path), "%s", STREAM);
	long_line(10, 10 << 10);
	long_line(11, 10 << 10);
	answer(PROBE, "[]", 11);
	assert_int_not_equal(mirror_tier(mirror), TIER_STREAM);
	assert_true(mirror->sync.must_list);
}

static void event_on_a_name_nobody_asked_for_costs_nothing(void **state)
{
	(void)state;
	open_tier(CONFIG_MIRROR_AUTO);
	line(STREAM, "{}");
	answer(LIST_ALL, LIST_WEB, 10);
	line(STREAM, EVENT(11, "ServiceRegistration", "a", "192.0.2.1"));
	assert_int_equal(asked(WEB), 0);
	fake_zone.asked = 1;
	line(STREAM, EVENT(12, "ServiceRegistration", "b", "192.0.2.2"));
	assert_int_equal(asked(WEB), 1);
}

static void removal_of_what_was_never_fetched_is_found_when_it_is_asked_for(void **state)
{
	(void)state;
	open_tier(CONFIG_MIRROR_AUTO);
	line(STREAM, "{}");
	answer(LIST_ALL, LIST_WEB, 10);
	line(STREAM, EVENT(12, "ServiceDeregistration", "a", "192.0.2.1"));
	assert_int_equal(asked(WEB), 0);
	need(NEED_SERVICE, "default", "web");
	answer(WEB, ONE("192.0.2.1"), 11); /* it does not know of the removal */
	answer(WEB, "[]", 12);
	assert_int_equal(last_word(), NEED_CAME);
	assert_string_equal(fake_text("web.default"), "ABSENT");
}

static void with_a_filter_every_event_is_followed_by_a_request(void **state)
{
	static const char filtered[] = WEB "&filter=x";
	char filter[] = "x";

	(void)state;
	config.filter = filter;
	config.mirror = CONFIG_MIRROR_AUTO;
	open_mirror();
	answer(PROBE "&filter=x", "[]", 10);
	advance(0);
	answer(ALARM, "[]", 10);
	line(STREAM, "{}");
	answer(LIST_ALL, LIST_WEB, 10);
	need(NEED_SERVICE, "default", "web");
	answer(filtered, ONE("192.0.2.1"), 10);
	fake_zone.asked = 1;
	line(STREAM, EVENT(11, "ServiceRegistration", "b", "192.0.2.2"));
	line(STREAM, EVENT(12, "ServiceRegistration", "c", "192.0.2.3"));
	assert_int_equal(asked(filtered), 2);
	answer(filtered, ONE("192.0.2.2"), 11); /* sent before the second event */
	assert_int_equal(asked(filtered), 3);
	assert_false(is_live("web.default"));
	answer(filtered, ONE("192.0.2.3"), 12);
	assert_non_null(strstr(fake_text("web.default"), "192.0.2.3"));
	assert_true(is_live("web.default"));
	need(NEED_SERVICE, "default", "web"); /* overtaken six times, and no failure */
	line(STREAM, EVENT(21, "ServiceRegistration", "b", "192.0.2.2"));
	answer(filtered, ONE("192.0.2.2"), 20);
	line(STREAM, EVENT(22, "ServiceRegistration", "b", "192.0.2.2"));
	answer(filtered, ONE("192.0.2.2"), 21);
	line(STREAM, EVENT(23, "ServiceRegistration", "b", "192.0.2.2"));
	answer(filtered, ONE("192.0.2.2"), 22);
	line(STREAM, EVENT(24, "ServiceRegistration", "b", "192.0.2.2"));
	answer(filtered, ONE("192.0.2.2"), 23);
	line(STREAM, EVENT(25, "ServiceRegistration", "b", "192.0.2.2"));
	answer(filtered, ONE("192.0.2.2"), 24);
	answer(filtered, ONE("192.0.2.5"), 25);
	assert_int_equal(last_word(), NEED_CAME);
	assert_non_null(strstr(fake_text("web.default"), "192.0.2.5"));
}

static void body_that_was_read_in_part_is_asked_for_again_soon(void **state)
{
	(void)state;
	open_live();
	need(NEED_REFRESH, "default", "web");
	answer(WEB, "[{\"ID\":\"a\",\"Address\":\"192.0.2.1\",\"Port\":80},7]", 11);
	assert_non_null(strstr(fake_text("web.default"), "192.0.2.1"));
	assert_int_equal(fake_find("web.default")->times.fresh_until_ms, now_ms + 1000);
	need(NEED_SERVICE, "default", "web");
	answer(WEB, ONE("192.0.2.1"), 11);
	assert_true(is_live("web.default"));
}

static void body_of_another_service_is_no_answer(void **state)
{
	(void)state;
	open_live();
	need(NEED_REFRESH, "default", "web");
	answer(WEB, "[{\"ID\":\"b\",\"ServiceName\":\"db\",\"Address\":\"192.0.2.9\"}]", 11);
	assert_null(strstr(fake_text("web.default"), "192.0.2.9"));
	assert_int_equal(metric(METRIC_NOMAD_FAILURES_BODY), 1);
}

/* A name's body makes no sense: that one is asked for ever more rarely, until it is good. */
static void unusable_body_is_asked_for_again_ever_more_rarely(void **state)
{
	unsigned before;

	(void)state;
	open_live();
	line(STREAM, EVENT(11, "ServiceRegistration", "b", "192.0.2.2"));
	zone_expire_live(&fake_zone, now_ms);
	before = asked(WEB);
	for (int i = 0; i < 1000; i++) { /* 100 s */
		need(NEED_SERVICE, "default", "web");
		if (find_request(WEB))
			answer(WEB, "{}", 11);
		advance(100);
		if (find_request(PROBE))
			answer(PROBE, "[]", 11);
	}
	assert_in_range(asked(WEB) - before, 5, 12);
	assert_non_null(strstr(fake_text("web.default"), "192.0.2.2"));
	advance(39000); /* the longest pause, and its jitter */
	if (find_request(PROBE))
		answer(PROBE, "[]", 11);
	need(NEED_SERVICE, "default", "web");
	answer(WEB, ONE("192.0.2.2"), 11);
	assert_int_equal(last_word(), NEED_CAME);
}

static void while_nothing_makes_sense_no_name_is_to_blame(void **state)
{
	(void)state;
	open_live();
	need(NEED_REFRESH, "default", "web");
	answer(WEB, "{}", 11); /* alone it would be left alone for a second */
	mirror_health_probe_now(mirror);
	answer(PROBE, "{}", 11);
	mirror_health_probe_now(mirror);
	answer(PROBE, "[]", 10);
	need(NEED_SERVICE, "default", "web");
	answer(WEB, ONE("192.0.2.2"), 11);
	assert_int_equal(last_word(), NEED_CAME);
}

/* ---- what no frame tells ---- */

#define SPACES "/v1/namespaces"
#define SPACES_3 SPACES "?index=3&wait=300s"
#define STREAM_AT(index) "/v1/event/stream?topic=Service&namespace=*&index=" #index

static void stream_is_opened_anew_for_a_namespace_that_it_is_older_than(void **state)
{
	(void)state;
	open_live();
	answer(SPACES, "[]", 3);
	line(STREAM, EVENT(14, "ServiceRegistration", "b", "192.0.2.2"));
	line(STREAM, EVENT(16, "ServiceRegistration", "c", "192.0.2.3"));
	answer(SPACES_3, "[]", 15); /* what 16 was told of may not have been all */
	assert_true(zone_names_end(&fake_zone) != ZONE_LIVE);
	advance(500);
	advance(0);
	assert_null(find_request(STREAM));
	answer(PROBE, "[]", 16); /* whether Nomad is there */
	line(STREAM_AT(15), "{}");
	line(STREAM_AT(15), EVENT(15, "ServiceRegistration", "d", "192.0.2.4"));
	line(STREAM_AT(15), EVENT(16, "ServiceRegistration", "c", "192.0.2.3"));
	answer(PROBE, "[]", 16);
	assert_int_equal(mirror_tier(mirror), TIER_STREAM);
	assert_true(zone_names_end(&fake_zone) == ZONE_LIVE);
	assert_int_equal(asked(LIST_ALL), 1);
	assert_non_null(find_request(SPACES "?index=15&wait=300s"));
}

/* Nothing is lost of it while a list of all is read beside the stream. */
static void namespace_that_comes_during_a_list_gets_its_stream_after_it(void **state)
{
	(void)state;
	open_live();
	answer(SPACES, "[]", 3);
	mirror->sync.is_relisting = true;
	mirror->sync.quick_lists = 1;
	mirror_sync_list(mirror);
	answer(SPACES_3, "[]", 15);
	advance(500);
	assert_true(mirror->sync.phase == SYNC_LISTING);
	answer(LIST_ALL, LIST_WEB, 16);
	assert_true(mirror->sync.phase == SYNC_LIVE);
	assert_true(zone_names_end(&fake_zone) != ZONE_LIVE);
	advance(500);
	advance(0);
	assert_null(find_request(STREAM));
	assert_non_null(find_request(STREAM_AT(15)));
}

/* It would have been opened anew half a second later, from there on. */
static void stream_that_breaks_first_still_asks_for_what_a_new_namespace_told(void **state)
{
	(void)state;
	open_live();
	answer(SPACES, "[]", 3);
	line(STREAM, EVENT(20, "ServiceRegistration", "b", "192.0.2.2"));
	answer(SPACES_3, "[]", 15);
	answer_failure(STREAM, HTTP_PROTOCOL);
	mirror_sync_retry(mirror);
	advance(0);
	assert_non_null(find_request(STREAM_AT(15)));
}

static void of_several_new_namespaces_the_first_one_counts(void **state)
{
	(void)state;
	open_live();
	answer(SPACES, "[]", 3);
	line(STREAM, EVENT(20, "ServiceRegistration", "b", "192.0.2.2"));
	answer(SPACES_3, "[]", 15);
	now_ms += 200;
	answer(SPACES "?index=15&wait=300s", "[]", 18);
	for (int i = 0; i < 10 && asked(STREAM_AT(15)) == 0; i++)
		advance(100);
	assert_int_equal(asked(STREAM_AT(15)), 1);
}

static void namespaces_are_asked_about_where_the_stream_is(void **state)
{
	struct request *request;

	(void)state;
	fake_http.address_count = 2;
	open_live();
	answer(SPACES, "[]", 3);
	answer_failure(STREAM, HTTP_PROTOCOL);
	mirror->address = 1;
	mirror_sync_retry(mirror);
	advance(0);
	request = find_request(SPACES);
	assert_null(find_request(SPACES_3));
	assert_non_null(request);
	assert_int_equal(request->address, 1);
	answer_at(1, SPACES, "[]", 3);
	assert_int_equal(mirror->sync.census.grow_at_ms, 0);
}

/* What the old timeline told under the same index says nothing of the new one. */
static void indexes_of_before_the_table_went_back_were_not_seen(void **state)
{
	(void)state;
	open_live();
	line(STREAM, EVENT(15, "ServiceRegistration", "b", "192.0.2.2"));
	assert_true(mirror_sync_has_seen(mirror, 15));
	mirror_sync_back(mirror, 12);
	advance(2000);
	line(STREAM, "{}");
	answer(LIST_ALL, LIST_WEB, 12);
	assert_int_equal(mirror_tier(mirror), TIER_STREAM);
	assert_false(mirror_sync_has_seen(mirror, 15));
}

/* The table goes back while a stream is being opened: the namespaces are watched all the same. */
static void namespaces_are_asked_about_again_when_the_index_went_back(void **state)
{
	(void)state;
	open_live();
	answer(SPACES, "[]", 3);
	answer_failure(STREAM, HTTP_PROTOCOL);
	mirror_sync_retry(mirror);
	advance(0);
	assert_true(mirror->sync.phase == SYNC_OPENING);
	mirror_sync_back(mirror, 8);
	assert_null(find_request(SPACES_3));
	assert_non_null(find_request(SPACES));
}

/* Nobody can tell whether one of them is younger than the stream. */
static void first_namespaces_that_come_late_are_news(void **state)
{
	(void)state;
	open_live();
	answer_status(SPACES, 500, 0);
	line(STREAM, EVENT(14, "ServiceRegistration", "b", "192.0.2.2"));
	for (int i = 0; i < 20 && !find_request(SPACES); i++)
		advance(100);
	answer(SPACES, "[]", 12);
	for (int i = 0; i < 10 && find_request(STREAM); i++)
		advance(100);
	advance(0);
	answer(PROBE, "[]", 14); /* whether Nomad is there */
	line(STREAM_AT(12), "{}");
	answer(PROBE, "[]", 14); /* whether anything was missed */
	assert_int_equal(mirror_tier(mirror), TIER_STREAM);
	assert_true(zone_names_end(&fake_zone) == ZONE_LIVE);
	assert_int_equal(asked(LIST_ALL), 1);
	advance(1000);
	assert_non_null(find_request(STREAM_AT(12)));
}

static void first_namespaces_that_come_with_the_stream_are_no_news(void **state)
{
	(void)state;
	open_live();
	now_ms += 50;
	answer(SPACES, "[]", 3);
	assert_int_equal(mirror->sync.census.grow_at_ms, 0);
}

static void first_namespaces_after_the_table_went_back_may_be_news(void **state)
{
	(void)state;
	open_live();
	answer(SPACES, "[]", 3);
	answer_failure(STREAM, HTTP_PROTOCOL);
	mirror_sync_retry(mirror);
	advance(0);
	now_ms += 20;
	mirror_sync_back(mirror, 8);
	answer(SPACES, "[]", 3);
	assert_int_not_equal(mirror->sync.census.grow_at_ms, 0);
}

static void same_namespaces_are_no_news(void **state)
{
	(void)state;
	open_live();
	answer(SPACES, "[]", 3);
	now_ms += 310000;
	line(STREAM, "{}");
	answer(SPACES_3, "[]", 3);
	advance(1000);
	assert_non_null(find_request(SPACES_3));
	assert_non_null(find_request(STREAM));
}

static void namespaces_are_asked_about_ever_more_rarely_where_that_is_refused(void **state)
{
	(void)state;
	open_live();
	for (int i = 0; i < 3600; i++) {
		if (find_request(SPACES))
			answer_status(SPACES, 403, 0);
		line(STREAM, "{}");
		advance(1000);
	}
	assert_in_range(asked(SPACES), 5, 20);
	assert_int_equal(mirror_tier(mirror), TIER_STREAM);
}

static void pass_seconds(unsigned seconds)
{
	for (unsigned i = 0; i < seconds; i++) {
		line(STREAM, "{}");
		advance(1000);
		if (find_request(PROBE))
			answer(PROBE, "[]", mirror->sync.index);
	}
}

static void index_that_no_frame_explains_is_followed_by_a_list(void **state)
{
	(void)state;
	open_live();
	pass_seconds(1200);
	assert_int_equal(asked(LIST_ALL), 1);
	line(STREAM, EVENT(12, "ServiceRegistration", "b", "192.0.2.2")); /* and what was 11? */
	pass_seconds(32);
	assert_int_equal(asked(LIST_ALL), 2);
	line(STREAM, EVENT(13, "ServiceRegistration", "c", "192.0.2.3"));
	assert_null(strstr(fake_text("web.default"), "192.0.2.3"));
	answer(LIST_ALL, LIST_WEB, 12);
	assert_non_null(find_request(STREAM));
	assert_int_equal(mirror_tier(mirror), TIER_STREAM);
	assert_int_equal(mirror->sync.index, 13);
	assert_false(is_live("web.default"));
	for (unsigned i = 14; i < 14 + 2 * 250;
	     i += 2) { /* changes and changes: no list for minutes */
		char text[400];

		snprintf(text, sizeof(text), "{\"Index\":%u,\"Events\":[]}", i);
		line(STREAM, text);
		pass_seconds(1);
	}
	assert_int_equal(asked(LIST_ALL), 2);
	pass_seconds(400);
	assert_int_equal(asked(LIST_ALL), 3);
}

/* A list against doubts is under way, while the alarm is held at 10. */
static void open_relisting(void)
{
	open_live();
	mirror->sync.is_relisting = true;
	mirror->sync.quick_lists = 1;
	mirror_sync_list(mirror);
	assert_non_null(find_request(LIST_ALL));
}

static void list_against_doubts_makes_nothing_old_while_nothing_changes(void **state)
{
	(void)state;
	open_relisting();
	line(STREAM, "{}");
	advance(100);
	assert_true(zone_names_end(&fake_zone) == ZONE_LIVE);
	assert_true(is_live("web.default"));
	assert_int_equal(metric(METRIC_NOMAD_TIER_STREAM), 1);
}

static void change_during_a_list_against_doubts_makes_old_what_is_known(void **state)
{
	(void)state;
	open_relisting();
	line(STREAM, EVENT(11, "ServiceRegistration", "b", "192.0.2.2"));
	assert_true(zone_names_end(&fake_zone) != ZONE_LIVE);
	assert_false(is_live("web.default"));
	need(NEED_SERVICE, "default", "young");
	assert_non_null(find_request(LIST)); /* whether it is a new one */
	answer(LIST_ALL, LIST_WEB, 10);
	assert_true(zone_names_end(&fake_zone) == ZONE_LIVE);
	assert_int_equal(mirror_tier(mirror), TIER_STREAM);
	assert_int_equal(mirror->sync.index, 11);
}

static void alarm_during_a_list_against_doubts_makes_old_what_is_known(void **state)
{
	(void)state;
	open_relisting();
	answer(ALARM_10, "[]", 11);
	assert_true(zone_names_end(&fake_zone) != ZONE_LIVE);
	assert_false(is_live("web.default"));
}

static void frames_that_explain_every_index_leave_no_doubt(void **state)
{
	(void)state;
	open_live();
	pass_seconds(1200);
	line(STREAM, EVENT(11, "ServiceRegistration", "b", "192.0.2.2"));
	line(STREAM, EVENT(12, "ServiceRegistration", "c", "192.0.2.3"));
	pass_seconds(1200);
	assert_int_equal(asked(LIST_ALL), 1);
}

static void stream_that_ends_while_it_is_behind_owes_what_it_had_not_told(void **state)
{
	(void)state;
	open_live();
	answer(ALARM_10, "[]", 11); /* not in the stream */
	line(STREAM, EVENT(12, "ServiceRegistration", "b", "192.0.2.2"));
	answer(ALARM "&index=11&wait=60s", "[]", 12);
	answer_failure(STREAM, HTTP_PROTOCOL);
	answer(PROBE, "[]", 12); /* whether Nomad is there */
	now_ms += 100;
	advance(0);
	line(STREAM_AT(12), "{}");
	answer(PROBE, "[]", 12);
	assert_int_equal(mirror_tier(mirror), TIER_STREAM);
	advance(1000);
	assert_int_equal(metric(METRIC_NOMAD_MISSED_CHANGES), 1);
}

static void what_a_stream_owes_is_not_forgotten_however_far_behind(void **state)
{
	(void)state;
	open_live();
	answer(ALARM_10, "[]", 11);
	line(STREAM, EVENT(5000, "ServiceRegistration", "b", "192.0.2.2"));
	answer(ALARM "&index=11&wait=60s", "[]", 5000);
	answer_failure(STREAM, HTTP_PROTOCOL);
	answer(PROBE, "[]", 5000); /* whether Nomad is there */
	now_ms += 100;
	advance(0);
	line(STREAM_AT(5000), "{}");
	answer(PROBE, "[]", 5000);
	assert_int_equal(mirror_tier(mirror), TIER_STREAM);
	advance(1000);
	assert_int_equal(metric(METRIC_NOMAD_MISSED_CHANGES), 1);
}

/* ---- watch ---- */

static void wake_makes_old_and_fetches_what_was_asked_for(void **state)
{
	unsigned term;

	(void)state;
	open_watch();
	assert_true(is_live("web.default"));
	term = fake_zone.term;
	fake_zone.asked = 1;
	answer(ALARM_10, "[]", 11);
	assert_int_not_equal(fake_zone.term, term);
	assert_int_equal(asked(WEB), 2);
	answer(WEB, ONE("192.0.2.9"), 11);
	assert_non_null(strstr(fake_text("web.default"), "192.0.2.9"));
	assert_true(is_live("web.default"));
}

static void wake_leaves_alone_what_nobody_asked_for(void **state)
{
	(void)state;
	open_watch();
	answer(ALARM_10, "[]", 11);
	assert_int_equal(asked(WEB), 1);
}

static void reply_that_a_change_has_overtaken_is_not_kept(void **state)
{
	(void)state;
	open_watch();
	fake_zone.asked = 1;
	answer(ALARM_10, "[]", 12);
	answer(WEB, ONE("192.0.2.9"), 11);
	assert_false(is_live("web.default"));
}

static void broken_alarm_leaves_the_lookup_tier(void **state)
{
	(void)state;
	open_watch();
	answer_failure(ALARM_10, HTTP_PROTOCOL);
	assert_int_equal(mirror_tier(mirror), TIER_LOOKUP);
	assert_true(zone_live_end(&fake_zone, fake_zone.term) != ZONE_LIVE);
	assert_non_null(find_request(PROBE));
}

static void held_request_that_is_answered_at_once_is_no_alarm(void **state)
{
	(void)state;
	open_watch();
	for (int i = 0; i < 8; i++) { /* less than a second */
		if (find_request(ALARM_10))
			answer(ALARM_10, "[]", 10);
		advance(100);
	}
	assert_int_equal(mirror_tier(mirror), TIER_LOOKUP);
	assert_false(is_live("web.default"));
	assert_int_equal(asked(ALARM_10), 4);
	for (int i = 0; i < 1000; i++) { /* 100 s: it was tried once soon, and once later */
		if (find_request(ALARM))
			answer(ALARM, "[]", 10);
		if (find_request(ALARM_10))
			answer(ALARM_10, "[]", 10);
		advance(100);
		if (i == 400)
			assert_int_equal(asked(ALARM_10), 8);
	}
	assert_int_equal(asked(ALARM_10), 12);
	for (int i = 0; i < 2000 && !find_request(ALARM); i++)
		advance(100);
	answer(ALARM, "[]", 10); /* the proxy is gone */
	advance(64000);
	answer(ALARM_10, "[]", 10);
	assert_non_null(find_request(ALARM_10));
	assert_int_equal(mirror_tier(mirror), TIER_WATCH);
}

/* A server with a false index for a moment does the same as a proxy. */
static void what_was_answered_at_once_for_a_moment_is_held_again_soon(void **state)
{
	(void)state;
	open_watch();
	for (int i = 0; i < 8; i++) {
		if (find_request(ALARM_10))
			answer(ALARM_10, "[]", 10);
		advance(100);
	}
	assert_int_equal(mirror_tier(mirror), TIER_LOOKUP);
	for (int i = 0; i < 70 && !find_request(ALARM); i++)
		advance(100);
	answer(ALARM, "[]", 10);
	assert_non_null(find_request(ALARM_10));
	assert_int_equal(mirror_tier(mirror), TIER_WATCH);
}

static void wakes_that_come_one_after_the_other_are_an_alarm(void **state)
{
	(void)state;
	open_watch();
	for (uint64_t index = 11; index < 30; index++) {
		char path[80];

		snprintf(path, sizeof(path), ALARM "&index=%" PRIu64 "&wait=60s", index - 1);
		answer(path, "[]", index);
		advance(100);
	}
	assert_int_equal(mirror_tier(mirror), TIER_WATCH);
}

static void index_that_went_back_makes_everything_old(void **state)
{
	unsigned term;

	(void)state;
	open_watch();
	term = fake_zone.term;
	answer(ALARM_10, "[]", 5);
	assert_int_not_equal(fake_zone.term, term);
	assert_non_null(find_request(ALARM "&index=5&wait=60s"));
}

static void request_that_is_held_beyond_the_table_is_asked_anew(void **state)
{
	(void)state;
	open_watch();
	need(NEED_SERVICE, "default", "db");
	answer(ALARM_10, "[]", 20);
	assert_non_null(find_request(ALARM "&index=20&wait=60s"));
	need(NEED_REFRESH, "default", "web");
	answer(WEB, ONE("192.0.2.1"), 12); /* a restored snapshot: Nomad would hold it to its end */
	advance(0);
	assert_null(find_request(ALARM "&index=20&wait=60s"));
	assert_non_null(find_request(ALARM "&index=12&wait=60s"));
	assert_false(is_live("web.default"));
}

static void index_beyond_all_measure_does_not_deafen_the_alarm(void **state)
{
	(void)state;
	open_watch();
	answer(ALARM_10, "[]", UINT64_MAX);
	need(NEED_REFRESH, "default", "web");
	answer(WEB, ONE("192.0.2.1"), 10);
	advance(100);
	assert_non_null(find_request(ALARM_10));
}

static void every_held_request_is_asked_anew_when_one_of_them_went_back(void **state)
{
	static char *const namespaces[] = { "default", "prod" };

	(void)state;
	config.namespace = (char **)namespaces;
	config.namespace_count = 2;
	open_tier(CONFIG_MIRROR_WATCH);
	answer(LEG("default"), "[]", 10);
	answer(LEG("prod"), "[]", 10);
	answer(LEG("default") "&index=10&wait=60s", "[]", 5);
	assert_non_null(find_request(LEG("default") "&index=5&wait=60s"));
	assert_null(find_request(LEG("prod") "&index=10&wait=60s"));
	assert_non_null(find_request(LEG("prod") "&index=5&wait=60s"));
}

#define LEG_10 LEG("default") "&index=10&wait=60s"

/* Watching one namespace, `web` loaded and in use. */
static void open_watch_of_default(void)
{
	static char *const namespaces[] = { "default" };

	config.namespace = (char **)namespaces;
	config.namespace_count = 1;
	open_tier(CONFIG_MIRROR_WATCH);
	answer(LEG("default"), "[]", 10);
	need(NEED_SERVICE, "default", "web");
	answer(LIST, LIST_WEB, 10);
	answer(WEB, ONE("192.0.2.1"), 10);
	assert_true(is_live("web.default"));
	fake_zone.asked = 1;
}

static void wake_behind_the_end_of_the_wait_is_believed(void **state)
{
	(void)state;
	open_watch_of_default();
	now_ms += 60150; /* Nomad adds up to a sixteenth */
	answer(LEG_10, "[]", 11);
	assert_int_equal(asked(WEB), 2);
}

static void wake_at_once_behind_a_wait_that_ended_is_believed(void **state)
{
	(void)state;
	open_watch_of_default();
	now_ms += 62000;
	answer(LEG_10, "[]", 10);
	assert_int_equal(asked(WEB), 1);
	now_ms += 2;
	answer(LEG_10, "[]",
	       11); /* the change came between the two, or it was another namespace's */
	assert_int_equal(asked(WEB), 2);
}

static void stream_of_a_namespace_has_to_tell_what_woke_behind_the_wait(void **state)
{
	(void)state;
	open_restricted(LIST_WEB);
	line(STREAM_DEFAULT, "{}");
	answer(LIST, LIST_WEB, 10);
	answer(LEG("default"), "[]", 10);
	now_ms += 60150;
	answer(LEG_10, "[]", 11);
	advance(1000);
	assert_int_equal(metric(METRIC_NOMAD_MISSED_CHANGES), 1);
}

#define STREAM_PROD "/v1/event/stream?topic=Service&namespace=prod&index=0"
#define LIST_PROD "/v1/services?namespace=prod"
#define LIST_PROD_DB                                                                               \
	"[{\"Namespace\":\"prod\",\"Services\":[{\"ServiceName\":\"db\",\"Tags\":[]}]}]"
#define EVENT_OF_PROD(index)                                                                       \
	"{\"Index\":" #index ",\"Events\":[{\"Topic\":\"Service\",\"Type\":"                       \
	"\"ServiceRegistration\",\"Key\":\"p\",\"Namespace\":\"prod\",\"FilterKeys\":[],"          \
	"\"Index\":" #index ",\"Payload\":{\"Service\":{\"ID\":\"p\",\"ServiceName\":\"db\","      \
	"\"Namespace\":\"prod\",\"Address\":\"192.0.2.7\",\"Port\":80,\"Tags\":[]}}}]}"

/* A stream and an alarm for each of two namespaces; both are held at 10 for longer than a moment.
 */
static void open_two(void)
{
	static char *const namespaces[] = { "default", "prod" };

	config.namespace = (char **)namespaces;
	config.namespace_count = 2;
	open_tier(CONFIG_MIRROR_STREAM);
	answer(LEG("default"), "[]", 10);
	answer(LEG("prod"), "[]", 10);
	line(STREAM_DEFAULT, "{}");
	line(STREAM_PROD, "{}");
	answer(LIST, LIST_WEB, 10);
	answer(LIST_PROD, LIST_PROD_DB, 10);
	assert_int_equal(mirror_tier(mirror), TIER_STREAM);
	now_ms += 1000;
}

static void another_namespaces_stream_does_not_hide_what_one_has_not_told(void **state)
{
	(void)state;
	open_two();
	answer(LEG_10, "[]", 11);
	line(STREAM_PROD, EVENT_OF_PROD(12));
	advance(1000);
	assert_int_equal(metric(METRIC_NOMAD_MISSED_CHANGES), 1);
}

static void alarm_that_tells_another_namespaces_index_means_nothing(void **state)
{
	(void)state;
	open_two();
	line(STREAM_DEFAULT, EVENT(11, "ServiceRegistration", "b", "192.0.2.2"));
	line(STREAM_PROD, EVENT_OF_PROD(12));
	answer(LEG_10, "[]", 12); /* asked for a moment after 11 */
	answer(LEG("prod") "&index=10&wait=60s", "[]", 12);
	assert_int_equal(mirror->sync.behind_ms, 0);
}

static void each_namespaces_stream_has_to_catch_up_by_itself(void **state)
{
	(void)state;
	open_two();
	answer(LEG_10, "[]", 11);
	answer(LEG("prod") "&index=10&wait=60s", "[]", 12);
	line(STREAM_PROD, EVENT_OF_PROD(12));
	assert_int_not_equal(mirror->sync.behind_ms, 0);
	line(STREAM_DEFAULT, EVENT(11, "ServiceRegistration", "b", "192.0.2.2"));
	assert_int_equal(mirror->sync.behind_ms, 0);
}

/* Nomad wakes who watches an empty namespace when another one changes. */
static void alarm_of_an_empty_namespace_may_be_anybodys(void **state)
{
	static char *const namespaces[] = { "default", "prod" };

	(void)state;
	config.namespace = (char **)namespaces;
	config.namespace_count = 2;
	open_tier(CONFIG_MIRROR_STREAM);
	answer(LEG("default"), "[]", 10);
	answer(LEG("prod"), "[]", 10);
	line(STREAM_DEFAULT, "{}");
	line(STREAM_PROD, "{}");
	answer(LIST, LIST_WEB, 10);
	answer(LIST_PROD, "[]", 10);
	now_ms += 1000;
	answer(LEG("prod") "&index=10&wait=60s", "[]", 11);
	line(STREAM_DEFAULT, EVENT(12, "ServiceRegistration", "b", "192.0.2.2"));
	assert_int_equal(mirror->sync.behind_ms, 0);
}

static void reply_of_the_list_under_way_may_show_that_the_index_went_back(void **state)
{
	(void)state;
	open_live();
	line(STREAM, EVENT(11, "ServiceRegistration", "b", "192.0.2.2"));
	advance(1000); /* the audit of a burst */
	answer(PROBE, "[]", 5);
	advance(0);
	assert_int_equal(mirror_tier(mirror), TIER_WATCH);
	now_ms += 1000;
	advance(0);
	line(STREAM, "{}");
	answer(LIST_ALL, LIST_WEB, 5);
	assert_int_equal(mirror_tier(mirror), TIER_STREAM);
	assert_false(is_live("web.default"));
}

static void index_beyond_all_measure_costs_one_list(void **state)
{
	(void)state;
	open_live();
	need(NEED_REFRESH, "default", "web");
	answer(WEB, ONE("192.0.2.1"), UINT64_MAX);
	advance(1000);
	assert_int_equal(mirror_tier(mirror), TIER_WATCH);
	now_ms += 10000;
	advance(0);
	line(STREAM, "{}");
	answer(LIST_ALL, LIST_WEB, 10);
	assert_int_equal(mirror_tier(mirror), TIER_STREAM);
	advance(900);
	advance(900);
	assert_int_equal(mirror_tier(mirror), TIER_STREAM);
}

static void ceiling_of_lookup_asks_for_no_more(void **state)
{
	(void)state;
	config.mirror = CONFIG_MIRROR_LOOKUP;
	open_mirror();
	answer(LIST, LIST_WEB, 10);
	advance(60000);
	assert_int_equal(asked(ALARM), 0);
	assert_int_equal(asked(STREAM), 0);
}

static void ceiling_of_watch_opens_no_stream(void **state)
{
	(void)state;
	open_watch();
	advance(1000);
	assert_int_equal(asked(STREAM), 0);
}

/* ---- settling where nobody tells if it comes back ---- */

#define LIST_NONE "[]"

/* The lookup tier, `web` loaded, and then a list without it. */
static void open_vanished(void)
{
	config.settle_ms = 100;
	open_loaded();
	now_ms += 6000;
	need(NEED_SERVICE, "default", "other");
	answer(LIST, LIST_NONE, 12);
}

static void name_a_list_lacks_stays_until_a_request_confirms_it(void **state)
{
	(void)state;
	open_vanished();
	assert_string_equal(fake_text("web.default"), "LOADED 192.0.2.1:80");
	advance(99);
	assert_null(find_request(WEB));
	advance(1);
	assert_string_equal(fake_text("web.default"), "LOADED 192.0.2.1:80");
	answer(WEB, "[]", 12);
	assert_string_equal(fake_text("web.default"), "ABSENT");
}

static void restart_that_a_list_saw_is_not_seen(void **state)
{
	(void)state;
	open_vanished();
	advance(100);
	answer(WEB, ONE("192.0.2.1"), 13);
	assert_string_equal(fake_text("web.default"), "LOADED 192.0.2.1:80");
	advance(10000);
	assert_string_equal(fake_text("web.default"), "LOADED 192.0.2.1:80");
}

static void without_settle_a_list_has_the_last_word(void **state)
{
	(void)state;
	open_loaded();
	now_ms += 6000;
	need(NEED_SERVICE, "default", "other");
	answer(LIST, LIST_NONE, 12);
	assert_string_equal(fake_text("web.default"), "ABSENT");
}

static void removal_that_was_heard_is_in_force_in_an_outage(void **state)
{
	(void)state;
	open_vanished();
	need(NEED_SERVICE, "default", "web");
	answer_failure(WEB, HTTP_CONNECT);
	assert_int_equal(fake_zone.nomad, ZONE_NOMAD_LOST);
	advance(100);
	assert_string_equal(fake_text("web.default"), "ABSENT");
}

static void confirmation_that_failed_is_asked_for_again(void **state)
{
	(void)state;
	open_vanished();
	advance(100);
	answer_status(WEB, 400, 0);
	advance(1999);
	assert_null(find_request(WEB));
	advance(1);
	answer(WEB, "[]", 12);
	assert_string_equal(fake_text("web.default"), "ABSENT");
}

static void nothing_is_confirmed_of_a_namespace_that_is_not_followed_any_more(void **state)
{
	static char *const namespaces[] = { "prod" };

	(void)state;
	open_vanished();
	config.namespace = (char **)namespaces;
	config.namespace_count = 1;
	catalogue_configure(catalogue, &config);
	mirror_configure(mirror, &config, false);
	advance(100);
	assert_true(mirror_settle_tick(mirror, now_ms) == UINT64_MAX);
	assert_null(find_request(WEB));
}

/* ---- another agent ---- */

static void streams_and_held_requests_move_to_the_agent_that_answers(void **state)
{
	(void)state;
	fake_http.address_count = 2;
	open_live();
	need(NEED_SERVICE, "default", "web");
	advance(1000);
	answer_at(1, WEB, ONE("192.0.2.1"), 10);
	advance(0);
	advance(100);
	assert_int_equal(open_at(0), 0);
	answer_at(1, ALARM, "[]", 10);
	answer_at(1, PROBE, "[]", 10); /* is it there? */
	line("/v1/event/stream?topic=Service&namespace=*&index=10", "{}");
	answer_at(1, PROBE, "[]", 10); /* was anything missed? */
	advance(0);
	assert_int_equal(mirror_tier(mirror), TIER_STREAM);
	assert_int_equal(asked(LIST_ALL), 1);
}

static void silent_agent_is_asked_while_there_are_questions(void **state)
{
	(void)state;
	open_watch();
	advance(0);
	now_ms += 20000;
	advance(0);
	advance(10000);
	assert_null(find_request(PROBE)); /* nobody asks */
	questions++;
	advance(10000);
	assert_non_null(find_request(PROBE));
	answer_failure(PROBE, HTTP_TIMEOUT);
	assert_int_equal(fake_zone.nomad, ZONE_NOMAD_LOST);
}

static void agent_that_talks_is_not_asked_whether_it_lives(void **state)
{
	(void)state;
	open_live();
	for (unsigned i = 0; i < 10; i++) {
		questions++;
		advance(5000);
		line(STREAM, "{}");
	}
	answer(PROBE, "[]", 10); /* the audit */
	advance(5000);
	assert_null(find_request(PROBE));
}

static void first_agent_is_followed_again_when_it_is_back(void **state)
{
	(void)state;
	fake_http.address_count = 2;
	open_watch();
	need(NEED_SERVICE, "default", "web");
	answer_failure(WEB, HTTP_CONNECT);
	answer_at(1, WEB, ONE("192.0.2.1"), 10);
	advance(0);
	answer_at(1, ALARM, "[]", 10);
	assert_int_equal(open_at(0), 0);
	advance(80000);
	answer_failure(PROBE, HTTP_CONNECT); /* not yet */
	assert_int_equal(mirror->address, 1);
	advance(80000);
	answer_at(0, PROBE, "[]", 10);
	advance(0);
	assert_int_equal(open_at(1), 0);
	answer_at(0, ALARM, "[]", 10);
	assert_int_equal(mirror_tier(mirror), TIER_WATCH);
	assert_true(is_live("web.default"));
}

static void refused_alarm_is_tried_again(void **state)
{
	(void)state;
	open_watch();
	answer(ALARM_10, "[]", 0);
	assert_int_equal(mirror_tier(mirror), TIER_LOOKUP);
	advance(0);
	answer(LIST_ALL, "[]", 0); /* the scout finds nothing either */
	advance(72000);
	answer(ALARM, "[]", 0);
	advance(100);
	assert_null(find_request(ALARM));
	need(NEED_SERVICE, "default", "web"); /* somebody else is granted something */
	answer(WEB, ONE("192.0.2.1"), 10);
	advance(20000);
	answer(ALARM, "[]", 10);
	assert_int_equal(mirror_tier(mirror), TIER_WATCH);
}

static void election_that_nobody_asks_about_is_seen_to_end(void **state)
{
	struct http_reply reply = good(ONE("192.0.2.1"), 10);
	char text[256];

	(void)state;
	open_watch();
	advance(0);
	advance(60000);
	need(NEED_REFRESH, "default", "web");
	reply.knows_leader = false;
	deliver(WEB, &reply);
	mirror_describe(mirror, text, sizeof(text));
	assert_non_null(strstr(text, "knows no leader"));
	advance(10000);
	answer(PROBE "&stale", "[]", 10);
	mirror_describe(mirror, text, sizeof(text));
	assert_null(strstr(text, "knows no leader"));
}

/* ---- an alarm that does not ring ---- */

static void alarm_that_does_not_ring_is_found_by_any_reply(void **state)
{
	(void)state;
	open_watch();
	need(NEED_REFRESH, "default", "web");
	answer(WEB, ONE("192.0.2.1"), 12); /* the table has moved on, and nobody said so */
	advance(1000);
	assert_int_equal(metric(METRIC_NOMAD_MISSED_CHANGES), 1);
	assert_false(is_live("web.default"));
	answer(ALARM, "[]", 12);
	assert_int_equal(mirror_tier(mirror), TIER_WATCH);
}

static void reply_that_is_ahead_of_the_alarm_by_a_moment_means_nothing(void **state)
{
	(void)state;
	open_watch();
	need(NEED_REFRESH, "default", "web");
	answer(WEB, ONE("192.0.2.1"), 12);
	advance(10);
	answer(ALARM_10, "[]", 12);
	advance(1000);
	assert_int_equal(metric(METRIC_NOMAD_MISSED_CHANGES), 0);
}

static void alarm_that_was_right_ten_times_is_believed_again(void **state)
{
	uint64_t index = 10;

	(void)state;
	open_watch();
	mirror->watch.doubts_alarm = true;
	for (int i = 0; i < 10; i++) {
		char path[80];

		assert_true(mirror->watch.doubts_alarm);
		snprintf(path, sizeof(path), ALARM "&index=%" PRIu64 "&wait=60s", index);
		answer(path, "[]", ++index);
		advance(31000);
		answer(PROBE, "[]", index);
	}
	assert_false(mirror->watch.doubts_alarm);
}

/* ---- another configuration ---- */

static void reload_that_changes_nothing_asks_for_nothing(void **state)
{
	size_t before;

	(void)state;
	open_live();
	before = fake_http.count;
	mirror_configure(mirror, &config, true);
	advance(0);
	assert_int_equal(fake_http.count, before);
	assert_true(is_live("web.default"));
	assert_int_equal(mirror_tier(mirror), TIER_STREAM);
}

static void reload_tries_again_for_what_was_refused(void **state)
{
	(void)state;
	open_tier(CONFIG_MIRROR_AUTO);
	answer(ALARM, "[]", 10);
	answer_status(STREAM, 403, 0);
	assert_int_equal(mirror_tier(mirror), TIER_WATCH);
	mirror_configure(mirror, &config, true);
	advance(0);
	assert_int_equal(asked(STREAM), 2);
}

/* ---- preloading ---- */

static void small_catalogue_is_loaded_ahead(void **state)
{
	(void)state;
	config.preload = CONFIG_PRELOAD_AUTO;
	open_tier(CONFIG_MIRROR_AUTO);
	line(STREAM, "{}");
	answer(LIST_ALL, LIST_WEB, 10);
	for (int i = 0; i < 10; i++)
		advance(100);
	assert_int_equal(asked(WEB), 1);
}

static void open_preloading(void)
{
	config.preload = CONFIG_PRELOAD_AUTO;
	open_tier(CONFIG_MIRROR_AUTO);
	answer(ALARM, "[]", 10);
	line(STREAM, "{}");
	answer(LIST_ALL, LIST_WEB, 10);
}

static void name_that_comes_to_nothing_is_loaded_ahead_once(void **state)
{
	struct http_reply reply = good(ONE("192.0.2.1"), 10);

	(void)state;
	open_preloading();
	reply.knows_leader = false; /* then it is not kept true */
	for (int i = 0; i < 100; i++) {
		if (find_request(WEB))
			deliver(WEB, &reply);
		if (find_request(PROBE))
			answer(PROBE, "[]", 10);
		if (find_request(PROBE "&stale"))
			answer(PROBE "&stale", "[]", 10);
		advance(100);
	}
	assert_int_equal(asked(WEB) + asked(WEB "&stale"), 1);
}

static void nothing_is_loaded_ahead_while_there_is_no_leader(void **state)
{
	struct http_reply reply = good("[]", 10);

	(void)state;
	open_preloading();
	mirror_health_probe_now(mirror);
	reply.knows_leader = false;
	deliver(PROBE, &reply);
	for (int i = 0; i < 100; i++) {
		if (find_request(PROBE "&stale"))
			deliver(PROBE "&stale", &reply);
		advance(100);
	}
	assert_int_equal(asked(WEB) + asked(WEB "&stale"), 0);
	reply.knows_leader = true;
	for (int i = 0; i < 100; i++) {
		if (find_request(PROBE "&stale"))
			deliver(PROBE "&stale", &reply);
		advance(100);
	}
	assert_int_equal(asked(WEB), 1);
}

static void what_was_loaded_ahead_is_loaded_again_only_if_it_is_in_use(void **state)
{
	(void)state;
	open_preloading();
	advance(300);
	answer(WEB, ONE("192.0.2.1"), 10);
	for (unsigned turn = 0; turn < 2; turn++) {
		mirror_expire_live(mirror);
		fake_zone.asked = turn;
		mirror_preload_start(mirror);
		for (int i = 0; i < 20; i++)
			advance(100);
		assert_int_equal(asked(WEB), 1 + turn);
	}
}

static void without_preloading_nothing_is_fetched_ahead(void **state)
{
	(void)state;
	config.preload = 0;
	open_tier(CONFIG_MIRROR_AUTO);
	line(STREAM, "{}");
	answer(LIST_ALL, LIST_WEB, 10);
	advance(11000);
	assert_int_equal(asked(WEB), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* What a stream may not have told. */
static int run_what_is_missed(void)
{
	const struct CMUnitTest tests[] = {
		TEST(another_namespaces_stream_does_not_hide_what_one_has_not_told),
		TEST(alarm_that_tells_another_namespaces_index_means_nothing),
		TEST(each_namespaces_stream_has_to_catch_up_by_itself),
		TEST(alarm_of_an_empty_namespace_may_be_anybodys),
		TEST(list_against_doubts_makes_nothing_old_while_nothing_changes),
		TEST(change_during_a_list_against_doubts_makes_old_what_is_known),
		TEST(alarm_during_a_list_against_doubts_makes_old_what_is_known),
		TEST(first_namespaces_that_come_late_are_news),
		TEST(first_namespaces_that_come_with_the_stream_are_no_news),
		TEST(first_namespaces_after_the_table_went_back_may_be_news),
		TEST(later_frame_does_not_hide_it_however_far_ahead),
		TEST(what_a_stream_owes_is_not_forgotten_however_far_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(stream_that_opens_is_followed_by_one_list_and_is_live),
		TEST(name_fetched_while_live_stays_true),
		TEST(event_changes_a_loaded_name_without_a_request),
		TEST(any_other_type_takes_away),
		TEST(frames_before_the_list_are_applied_after_it),
		TEST(frame_that_makes_no_sense_is_counted_and_changes_nothing),
		TEST(last_instance_goes_after_settle),
		TEST(restart_within_settle_is_not_seen),
		TEST(change_that_only_the_alarm_told_is_found_within_a_second),
		TEST(what_is_held_is_old_before_a_second_has_passed),
		TEST(server_that_lags_and_catches_up_is_given_more_time),
		TEST(unknown_namespace_is_asked_about_while_the_stream_is_behind),
		TEST(any_namespace_is_asked_about_while_the_stream_is_in_doubt),
		TEST(later_frame_does_not_hide_one_that_is_missing),
		TEST(alarm_about_a_change_the_stream_told_means_nothing),
		TEST(silent_stream_is_given_up_after_a_heartbeat_and_a_half),
		TEST(reconnection_without_a_gap_costs_no_list),
		TEST(batch_that_is_replayed_shows_that_nothing_is_missing),
		TEST(another_batch_of_the_same_index_is_another_history),
		TEST(tier_that_changes_again_and_again_is_told_of_once_a_minute),
		TEST(refused_stream_is_tried_again_later),
		TEST(frames_that_the_list_will_know_are_not_kept),
		TEST(more_frames_than_can_be_held_are_made_up_for_by_a_newer_list),
		TEST(index_of_a_frame_beyond_all_measure_costs_few_lists),
		TEST(false_index_of_before_lets_frames_go_for_one_list),
		TEST(more_than_can_be_held_behind_a_gap_costs_a_list),
		TEST(event_on_a_name_nobody_asked_for_costs_nothing),
		TEST(removal_of_what_was_never_fetched_is_found_when_it_is_asked_for),
		TEST(with_a_filter_every_event_is_followed_by_a_request),
		TEST(body_that_was_read_in_part_is_asked_for_again_soon),
		TEST(body_of_another_service_is_no_answer),
		TEST(unusable_body_is_asked_for_again_ever_more_rarely),
		TEST(while_nothing_makes_sense_no_name_is_to_blame),
		TEST(token_for_some_namespaces_gets_a_stream_for_each),
		TEST(lists_are_the_alarm_while_one_stream_may_still_tell_of_all),
		TEST(first_service_of_all_that_may_be_read_is_found_by_a_list),
		TEST(namespace_that_turns_out_to_be_readable_joins),
		TEST(namespaces_nobody_may_read_do_not_join),
		TEST(more_namespaces_than_can_be_followed_are_watched_by_list),
		TEST(namespace_that_is_refused_harms_no_other),
		TEST(wake_makes_old_and_fetches_what_was_asked_for),
		TEST(wake_leaves_alone_what_nobody_asked_for),
		TEST(reply_that_a_change_has_overtaken_is_not_kept),
		TEST(broken_alarm_leaves_the_lookup_tier),
		TEST(held_request_that_is_answered_at_once_is_no_alarm),
		TEST(what_was_answered_at_once_for_a_moment_is_held_again_soon),
		TEST(wakes_that_come_one_after_the_other_are_an_alarm),
		TEST(list_that_is_too_long_is_no_alarm),
		TEST(index_that_went_back_makes_everything_old),
		TEST(stream_is_opened_anew_for_a_namespace_that_it_is_older_than),
		TEST(namespace_that_comes_during_a_list_gets_its_stream_after_it),
		TEST(stream_that_breaks_first_still_asks_for_what_a_new_namespace_told),
		TEST(of_several_new_namespaces_the_first_one_counts),
		TEST(namespaces_are_asked_about_where_the_stream_is),
		TEST(indexes_of_before_the_table_went_back_were_not_seen),
		TEST(namespaces_are_asked_about_again_when_the_index_went_back),
		TEST(same_namespaces_are_no_news),
		TEST(namespaces_are_asked_about_ever_more_rarely_where_that_is_refused),
		TEST(index_that_no_frame_explains_is_followed_by_a_list),
		TEST(frames_that_explain_every_index_leave_no_doubt),
		TEST(stream_that_ends_while_it_is_behind_owes_what_it_had_not_told),
		TEST(wake_behind_the_end_of_the_wait_is_believed),
		TEST(wake_at_once_behind_a_wait_that_ended_is_believed),
		TEST(stream_of_a_namespace_has_to_tell_what_woke_behind_the_wait),
		TEST(request_that_is_held_beyond_the_table_is_asked_anew),
		TEST(index_beyond_all_measure_does_not_deafen_the_alarm),
		TEST(every_held_request_is_asked_anew_when_one_of_them_went_back),
		TEST(reply_of_the_list_under_way_may_show_that_the_index_went_back),
		TEST(index_beyond_all_measure_costs_one_list),
		TEST(ceiling_of_lookup_asks_for_no_more),
		TEST(ceiling_of_watch_opens_no_stream),
		TEST(name_a_list_lacks_stays_until_a_request_confirms_it),
		TEST(restart_that_a_list_saw_is_not_seen),
		TEST(without_settle_a_list_has_the_last_word),
		TEST(removal_that_was_heard_is_in_force_in_an_outage),
		TEST(confirmation_that_failed_is_asked_for_again),
		TEST(nothing_is_confirmed_of_a_namespace_that_is_not_followed_any_more),
		TEST(streams_and_held_requests_move_to_the_agent_that_answers),
		TEST(silent_agent_is_asked_while_there_are_questions),
		TEST(agent_that_talks_is_not_asked_whether_it_lives),
		TEST(first_agent_is_followed_again_when_it_is_back),
		TEST(refused_alarm_is_tried_again),
		TEST(election_that_nobody_asks_about_is_seen_to_end),
		TEST(alarm_that_does_not_ring_is_found_by_any_reply),
		TEST(reply_that_is_ahead_of_the_alarm_by_a_moment_means_nothing),
		TEST(alarm_that_was_right_ten_times_is_believed_again),
		TEST(reload_that_changes_nothing_asks_for_nothing),
		TEST(reload_tries_again_for_what_was_refused),
		TEST(small_catalogue_is_loaded_ahead),
		TEST(name_that_comes_to_nothing_is_loaded_ahead_once),
		TEST(nothing_is_loaded_ahead_while_there_is_no_leader),
		TEST(what_was_loaded_ahead_is_loaded_again_only_if_it_is_in_use),
		TEST(without_preloading_nothing_is_fetched_ahead),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) + run_what_is_missed();
}
