#include "unit/nomad_fixture.h"

#include <errno.h>

#define A DNS_TYPE_A

/* ---- while Nomad is there ---- */

static void a_fresh_name_is_answered_at_once(void **state)
{
	(void)state;
	publish_redis(fresh_for(10000));
	assert_int_equal(ask("redis.default.nomad", A), VERDICT_ANSWERED);
	assert_int_equal(rcode(), DNS_NOERROR);
	assert_true(is_authoritative());
	assert_int_equal(answer.stage, METRIC_STAGE_NOMAD);
	assert_int_equal(ede(), DNS_EDE_NONE);
	assert_false(answer.is_stale);
	assert_int_equal(answer_count(), 2);
	assert_true(has_text(answers(), "redis.default.nomad. 10 IN A 10.0.0.1"));
	assert_true(has_text(answers(), "redis.default.nomad. 10 IN A 10.0.0.2"));
	assert_int_equal(need_count, 0);
}

static void an_expired_name_is_asked_for(void **state)
{
	(void)state;
	publish_redis(fresh_for(10000));
	assert_int_equal(ask_at("redis.default.nomad", A, NOW + 9999), VERDICT_ANSWERED);
	assert_int_equal(ask_at("redis.default.nomad", A, NOW + 10000), VERDICT_PENDING);
	need_count = 0; /* there was a refresh */
	assert_int_equal(wait_at(NOW + 10000), VERDICT_PENDING);
	assert_int_equal(need_count, 1);
	assert_int_equal(needs[0].kind, NEED_SERVICE);
	assert_int_equal(needs[0].worker, 3);
	assert_int_equal(needs[0].service_length, 5);
	assert_memory_equal(needs[0].service_label, "redis", 5);
	assert_memory_equal(needs[0].namespace_label, "default", 7);
}

static void what_came_answers_even_without_a_lifetime(void **state)
{
	(void)state;
	assert_int_equal(ask("redis.default.nomad", A), VERDICT_PENDING);
	assert_int_equal(wait_at(NOW), VERDICT_PENDING);
	publish_redis((struct zone_times){ NOW, NOW, NOW, false }); /* ttl=0 */
	hear(NEED_CAME);
	assert_int_equal(woken_count, 1);
	assert_int_equal(ask_on(NOW + 5), VERDICT_ANSWERED);
	assert_int_equal(answer_count(), 2);
	assert_int_equal(ede(), DNS_EDE_NONE);
}

static void one_need_however_many_ask(void **state)
{
	static struct query others[5];

	(void)state;
	for (size_t i = 0; i < COUNT_OF(others); i++) {
		assert_int_equal(ask("redis.default.nomad", A), VERDICT_PENDING);
		others[i] = query;
		list_init(&others[i].by_cause);
		assert_int_equal(nomad_stage_wait(stage, &others[i], NOW, &answer),
				 VERDICT_PENDING);
	}
	assert_int_equal(need_count, 1);
	hear(NEED_CAME);
	assert_int_equal(woken_count, 5);
	for (size_t i = 0; i < COUNT_OF(others); i++) {
		assert_int_equal(others[i].nomad_outcome, NEED_CAME);
		assert_int_equal(others[i].turns, 1);
	}
}

static void who_would_join_an_old_wait_gets_the_last_good_answer(void **state)
{
	static struct query first;
	uint64_t late = NOW + 10000;

	(void)state;
	publish_redis(fresh_for(10000));
	assert_int_equal(ask_at("redis.default.nomad", A, late), VERDICT_PENDING);
	first = query;
	list_init(&first.by_cause);
	zone_read_begin();
	assert_int_equal(nomad_stage_wait(stage, &first, late, &answer), VERDICT_PENDING);
	zone_read_end();
	assert_int_equal(ask_at("redis.default.nomad", A, late + 499), VERDICT_PENDING);
	assert_int_equal(wait_at(late + 499), VERDICT_PENDING);
	list_remove(&query.by_cause);
	assert_int_equal(ask_at("redis.default.nomad", A, late + 500), VERDICT_PENDING);
	assert_int_equal(wait_at(late + 500), VERDICT_ANSWERED);
	assert_int_equal(answer_count(), 2);
	assert_int_equal(ede(), DNS_EDE_STALE_ANSWER);
	assert_int_equal(need_count, 1);
}

static void all_forms_of_a_service_are_one_need(void **state)
{
	static const char *const names[] = {
		"redis.default.nomad",	     "REDIS.default.nomad",
		"tag.redis.default.nomad",   "_redis._tcp.default.nomad",
		"_redis._tag.default.nomad", "redis.default.example.nomad"
	};
	static struct query others[COUNT_OF(names)];

	(void)state;
	for (size_t i = 0; i < COUNT_OF(names); i++) {
		assert_int_equal(ask(names[i], DNS_TYPE_SRV), VERDICT_PENDING);
		others[i] = query;
		list_init(&others[i].by_cause);
		assert_int_equal(nomad_stage_wait(stage, &others[i], NOW, &answer),
				 VERDICT_PENDING);
	}
	assert_int_equal(need_count, 1);
}

static void a_listed_service_is_asked_for(void **state)
{
	(void)state;
	publish_namespace(ZONE_LOADED, fresh_for(10000));
	publish_at("redis", ZONE_LISTED, fresh_for(10000), NULL, 0);
	assert_int_equal(ask("redis.default.nomad", A), VERDICT_PENDING);
}

static void an_absent_name_is_nxdomain(void **state)
{
	(void)state;
	publish_at("redis", ZONE_ABSENT, fresh_for(5000), NULL, 0);
	assert_int_equal(ask("redis.default.nomad", A), VERDICT_ANSWERED);
	expect_nxdomain();
	assert_int_equal(ede(), DNS_EDE_NONE);
	assert_int_equal(ask_at("redis.default.nomad", A, NOW + 5000), VERDICT_PENDING);
}

static void a_fresh_list_answers_for_names_it_does_not_have(void **state)
{
	(void)state;
	publish_namespace(ZONE_LOADED, fresh_for(10000));
	assert_int_equal(ask("nope.default.nomad", A), VERDICT_ANSWERED);
	expect_nxdomain();
	assert_int_equal(ask("x.nope.default.nomad", A), VERDICT_ANSWERED);
	expect_nxdomain();
	assert_int_equal(ask("_nope._tcp.default.nomad", DNS_TYPE_SRV), VERDICT_ANSWERED);
	expect_nxdomain();
	assert_int_equal(need_count, 0);
	assert_int_equal(ask_at("nope.default.nomad", A, NOW + 10000), VERDICT_PENDING);
}

static void a_fresh_list_answers_for_a_name_that_was_absent(void **state)
{
	(void)state;
	publish_namespace(ZONE_LOADED, fresh_for(10000));
	publish_at("redis", ZONE_ABSENT, fresh_for(5000), NULL, 0);
	assert_int_equal(ask_at("redis.default.nomad", A, NOW + 6000), VERDICT_ANSWERED);
	expect_nxdomain();
}

static void below_an_absent_namespace_there_is_nothing(void **state)
{
	(void)state;
	publish_namespace(ZONE_ABSENT, fresh_for(5000));
	assert_int_equal(ask("redis.default.nomad", A), VERDICT_ANSWERED);
	expect_nxdomain();
	assert_int_equal(ask("default.nomad", A), VERDICT_ANSWERED);
	expect_nxdomain();
	assert_int_equal(ask("_tcp.default.nomad", A), VERDICT_ANSWERED);
	expect_nxdomain();
}

static void a_word_that_brings_nothing_is_not_asked_for_ever(void **state)
{
	enum verdict verdict = ask("redis.default.nomad", A);
	int turns = 0;

	(void)state;
	for (; verdict == VERDICT_PENDING && turns < 20; turns++) {
		assert_int_equal(wait_at(NOW), VERDICT_PENDING);
		hear(NEED_CAME);
		verdict = ask_on(NOW);
	}
	assert_int_equal(verdict, VERDICT_FAILED);
	assert_true(turns < 10);
	expect_servfail(DNS_EDE_NO_REACHABLE_AUTHORITY);
}

static void an_answer_without_a_leader_is_marked(void **state)
{
	struct zone_times times = fresh_for(10000);

	(void)state;
	times.is_leaderless = true;
	publish_redis(times);
	assert_int_equal(ask("redis.default.nomad", A), VERDICT_ANSWERED);
	assert_int_equal(answer_count(), 2);
	assert_int_equal(ede(), DNS_EDE_STALE_ANSWER);
}

/* ---- refreshing ---- */

static void a_name_in_use_is_refreshed_once_before_it_expires(void **state)
{
	(void)state;
	publish_redis(fresh_for(10000));
	assert_int_equal(ask_at("redis.default.nomad", A, NOW + 7999), VERDICT_ANSWERED);
	assert_int_equal(need_count, 0);
	for (int i = 0; i < 5; i++)
		assert_int_equal(ask_at("redis.default.nomad", A, NOW + 8000), VERDICT_ANSWERED);
	assert_int_equal(need_count, 1);
	assert_int_equal(needs[0].kind, NEED_REFRESH);
	assert_memory_equal(needs[0].service_label, "redis", 5);
	publish_redis(fresh_for(9000)); /* a new version may be refreshed again */
	assert_int_equal(ask_at("redis.default.nomad", A, NOW + 8500), VERDICT_ANSWERED);
	assert_int_equal(need_count, 2);
}

static void a_refresh_that_found_no_place_is_asked_again(void **state)
{
	(void)state;
	publish_redis(fresh_for(10000));
	send_result = -EAGAIN;
	assert_int_equal(ask_at("redis.default.nomad", A, NOW + 9000), VERDICT_ANSWERED);
	send_result = 0;
	assert_int_equal(ask_at("redis.default.nomad", A, NOW + 9000), VERDICT_ANSWERED);
	assert_int_equal(need_count, 1);
}

static void asking_is_counted(void **state)
{
	(void)state;
	publish_redis(fresh_for(10000));
	for (int i = 0; i < 3; i++)
		ask("redis.default.nomad", A);
	ask("primary.redis.default.nomad", DNS_TYPE_SRV);
	assert_int_equal(zone_take_asked(zone, "default", "redis"), 4);
}

/* ---- while it is lost ---- */

static void lost_and_known_is_stale_until_max_stale(void **state)
{
	(void)state;
	publish_redis(fresh_for(10000));
	zone_set_nomad(zone, ZONE_NOMAD_LOST);
	for (uint64_t after = 0; after < 70000; after += 9999) {
		assert_int_equal(ask_at("redis.default.nomad", A, NOW + after), VERDICT_ANSWERED);
		assert_int_equal(rcode(), DNS_NOERROR);
		assert_int_equal(ede(), DNS_EDE_STALE_ANSWER);
		assert_true(answer.is_stale);
		assert_int_equal(answer_count(), 2);
		assert_int_equal(ttl_of_first(), 10);
	}
	assert_int_equal(ask_at("redis.default.nomad", A, NOW + 70000), VERDICT_FAILED);
	expect_servfail(DNS_EDE_NO_REACHABLE_AUTHORITY);
	assert_int_equal(need_count, 0);
}

/* ---- while the zone is live ---- */

static const struct zone_times live = { ZONE_LIVE, ZONE_LIVE, NOW + 1000, false };

/* Whether redis is answered for sure, as a stale one, or only by Nomad. */
static void expect_redis(uint64_t now_ms, enum verdict verdict, uint16_t wanted_ede)
{
	assert_int_equal(ask_at("redis.default.nomad", A, now_ms), verdict);
	if (verdict == VERDICT_ANSWERED)
		assert_int_equal(ede(), wanted_ede);
}

static void a_live_name_is_fresh_while_the_zone_is(void **state)
{
	(void)state;
	publish_redis(live);
	expect_redis(NOW, VERDICT_PENDING, 0);
	zone_set_live(zone, ZONE_LIVE_HELD, NOW);
	expect_redis(NOW + 99999999, VERDICT_ANSWERED, DNS_EDE_NONE);
	zone_set_live(zone, ZONE_LIVE_NOT, NOW + 99999999);
	expect_redis(NOW + 99999999, VERDICT_PENDING, 0);
	zone_set_live(zone, ZONE_LIVE_HELD, NOW);
	expect_redis(NOW + 99999999, VERDICT_ANSWERED, DNS_EDE_NONE);
	assert_int_equal(need_count, 0);
}

static void what_was_live_is_not_after_a_missed_change(void **state)
{
	(void)state;
	zone_set_live(zone, ZONE_LIVE_HELD, NOW);
	publish_redis(live);
	zone_expire_live(zone, NOW + 10);
	expect_redis(NOW + 10, VERDICT_PENDING, 0);
	zone_set_live(zone, ZONE_LIVE_HELD, NOW + 10);
	expect_redis(NOW + 10, VERDICT_PENDING, 0);
	publish_redis(live);
	expect_redis(NOW + 10, VERDICT_ANSWERED, DNS_EDE_NONE);
}

static void a_live_name_counts_as_heard_when_live_ended(void **state)
{
	uint64_t end = NOW + 5000000;

	(void)state;
	zone_set_live(zone, ZONE_LIVE_HELD, NOW);
	publish_redis(live);
	zone_set_nomad(zone, ZONE_NOMAD_LOST);
	expect_redis(end, VERDICT_ANSWERED, DNS_EDE_STALE_ANSWER);
	zone_set_live(zone, ZONE_LIVE_NOT, end);
	zone_set_live(zone, ZONE_LIVE_NOT, end + 77); /* the second word does not count */
	expect_redis(end + config.max_stale_ms - 1, VERDICT_ANSWERED, DNS_EDE_STALE_ANSWER);
	expect_redis(end + config.max_stale_ms, VERDICT_FAILED, 0);
}

static void ends_of_many_terms_are_remembered(void **state)
{
	uint64_t end = NOW + 5000000;

	(void)state;
	zone_set_live(zone, ZONE_LIVE_HELD, NOW);
	publish_redis(live);
	zone_expire_live(zone, end);
	for (uint64_t i = 1; i < 63; i++)
		zone_expire_live(zone, end + i);
	zone_set_nomad(zone, ZONE_NOMAD_LOST);
	expect_redis(end + config.max_stale_ms - 1, VERDICT_ANSWERED, DNS_EDE_STALE_ANSWER);
	expect_redis(end + config.max_stale_ms, VERDICT_FAILED, 0);
	for (uint64_t i = 63; i < 1000; i++)
		zone_expire_live(zone, end + i);
	expect_redis(end + config.max_stale_ms - 1, VERDICT_ANSWERED, DNS_EDE_STALE_ANSWER);
	expect_redis(end + 1000 + config.max_stale_ms, VERDICT_FAILED, 0);
}

static void a_live_list_answers_for_its_namespace_alone(void **state)
{
	(void)state;
	zone_set_live(zone, ZONE_LIVE_HELD, NOW);
	publish_namespace(ZONE_LOADED, live);
	assert_int_equal(ask_at("nope.default.nomad", A, NOW + 9000000), VERDICT_ANSWERED);
	expect_nxdomain();
	assert_int_equal(ask("web.prod.nomad", A), VERDICT_PENDING);
	assert_int_equal(ask("prod.nomad", A), VERDICT_PENDING);
}

static void with_every_name_known_the_unknown_does_not_exist(void **state)
{
	static const char *const names[] = {
		"nope.default.nomad", "x.nope.default.nomad", "_nope._tcp.default.nomad",
		"web.prod.nomad",     "prod.nomad",	      "_tcp.prod.nomad"
	};

	(void)state;
	zone_set_live(zone, ZONE_LIVE_NAMES, NOW);
	publish_namespace(ZONE_LOADED, live);
	publish_at("gone", ZONE_ABSENT, fresh_for(10), NULL, 0);
	publish_at("web", ZONE_LISTED, live, NULL, 0);
	for (size_t i = 0; i < COUNT_OF(names); i++) {
		assert_int_equal(ask_at(names[i], A, NOW + 9000000), VERDICT_ANSWERED);
		expect_nxdomain();
		assert_int_equal(ede(), DNS_EDE_NONE);
	}
	assert_int_equal(ask_at("gone.default.nomad", A, NOW + 9000000), VERDICT_ANSWERED);
	expect_nxdomain();
	assert_int_equal(ask_at("web.default.nomad", A, NOW + 9000000), VERDICT_PENDING);
	assert_int_equal(ask_at("default.nomad", A, NOW + 9000000), VERDICT_ANSWERED);
	assert_int_equal(rcode(), DNS_NOERROR);
	assert_int_equal(need_count, 0);
}

static void names_that_were_all_known_are_asked_for_when_only_the_stream_is_down(void **state)
{
	(void)state;
	zone_set_live(zone, ZONE_LIVE_NAMES, NOW);
	zone_set_live(zone, ZONE_LIVE_NOT, NOW + 5);
	assert_int_equal(ask_at("web.prod.nomad", A, NOW + 6), VERDICT_PENDING);
	assert_int_equal(ask_at("prod.nomad", A, NOW + 6), VERDICT_PENDING);
}

static void lost_but_complete_is_a_stale_nxdomain_until_max_stale(void **state)
{
	uint64_t end = NOW + 5000000;

	(void)state;
	zone_set_live(zone, ZONE_LIVE_NAMES, NOW);
	zone_set_live(zone, ZONE_LIVE_HELD, end);
	zone_set_live(zone, ZONE_LIVE_NOT, end + 3);
	zone_set_nomad(zone, ZONE_NOMAD_LOST);
	assert_int_equal(ask_at("web.prod.nomad", A, end + config.max_stale_ms - 1),
			 VERDICT_ANSWERED);
	expect_nxdomain();
	assert_int_equal(ede(), DNS_EDE_STALE_NXDOMAIN);
	assert_int_equal(ask_at("web.prod.nomad", A, end + config.max_stale_ms), VERDICT_FAILED);
	expect_servfail(DNS_EDE_NO_REACHABLE_AUTHORITY);
}

static void a_listed_name_of_a_lost_nomad_is_servfail(void **state)
{
	(void)state;
	zone_set_live(zone, ZONE_LIVE_NAMES, NOW);
	publish_at("web", ZONE_LISTED, live, NULL, 0);
	zone_set_live(zone, ZONE_LIVE_NOT, NOW);
	zone_set_nomad(zone, ZONE_NOMAD_LOST);
	assert_int_equal(ask("web.default.nomad", A), VERDICT_FAILED);
	expect_servfail(DNS_EDE_NO_REACHABLE_AUTHORITY);
}

static void a_refused_token_makes_no_nxdomain_of_completeness(void **state)
{
	(void)state;
	zone_set_live(zone, ZONE_LIVE_NAMES, NOW);
	zone_set_nomad(zone, ZONE_NOMAD_DENIED);
	assert_int_not_equal(ask("web.prod.nomad", A), VERDICT_ANSWERED);
	zone_set_live(zone, ZONE_LIVE_NOT, NOW);
	zone_set_nomad(zone, ZONE_NOMAD_OK);
	assert_int_equal(ask_and_hear("web.prod.nomad", A, NEED_DENIED), VERDICT_FAILED);
	expect_servfail(DNS_EDE_OTHER);
}

static void a_removal_heard_before_an_outage_stays_in_force(void **state)
{
	(void)state;
	zone_set_live(zone, ZONE_LIVE_HELD, NOW);
	publish_at("redis", ZONE_ABSENT, live, NULL, 0);
	zone_set_live(zone, ZONE_LIVE_NOT, NOW + 5);
	zone_set_nomad(zone, ZONE_NOMAD_LOST);
	assert_int_equal(ask_at("redis.default.nomad", A, NOW + 2000), VERDICT_ANSWERED);
	expect_nxdomain();
	assert_int_equal(ede(), DNS_EDE_STALE_NXDOMAIN);
}

static void what_is_always_so_needs_nothing_live(void **state)
{
	static const struct zone_times always = { ZONE_ALWAYS, ZONE_ALWAYS, ZONE_ALWAYS, false };

	(void)state;
	publish_namespace(ZONE_ABSENT, always);
	assert_int_equal(ask("web.default.nomad", A), VERDICT_ANSWERED);
	expect_nxdomain();
	assert_int_equal(ede(), DNS_EDE_NONE);
}

static void stale_ttls_are_between_one_and_thirty(void **state)
{
	struct config next = config;

	(void)state;
	next.ttl_s = 600;
	assert_int_equal(zone_configure(zone, &next), 0);
	publish_redis(fresh_for(10000));
	zone_set_nomad(zone, ZONE_NOMAD_LOST);
	assert_int_equal(ask("redis.default.nomad", A), VERDICT_ANSWERED);
	assert_int_equal(ttl_of_first(), 30);
	next.ttl_s = 0;
	assert_int_equal(zone_configure(zone, &next), 0);
	publish_redis(fresh_for(10000));
	assert_int_equal(ask("redis.default.nomad", A), VERDICT_ANSWERED);
	assert_int_equal(ttl_of_first(), 1);
	zone_set_nomad(zone, ZONE_NOMAD_OK);
	assert_int_equal(ask("redis.default.nomad", A), VERDICT_ANSWERED);
	assert_int_equal(ttl_of_first(), 0);
}

static void lost_and_never_seen_is_servfail(void **state)
{
	(void)state;
	zone_set_nomad(zone, ZONE_NOMAD_LOST);
	assert_int_equal(ask("redis.default.nomad", A), VERDICT_FAILED);
	expect_servfail(DNS_EDE_NO_REACHABLE_AUTHORITY);
	assert_false(is_authoritative());
	assert_int_equal(ask("default.nomad", A), VERDICT_FAILED);
	expect_servfail(DNS_EDE_NO_REACHABLE_AUTHORITY);
	publish_at("redis", ZONE_LISTED, fresh_for(10000), NULL, 0);
	assert_int_equal(ask("redis.default.nomad", A), VERDICT_FAILED);
	expect_servfail(DNS_EDE_NO_REACHABLE_AUTHORITY);
	assert_int_equal(need_count, 0);
}

static void lost_and_not_in_the_list_is_a_stale_nxdomain(void **state)
{
	(void)state;
	publish_namespace(ZONE_LOADED, fresh_for(10000));
	zone_set_nomad(zone, ZONE_NOMAD_LOST);
	assert_int_equal(ask_at("nope.default.nomad", A, NOW + 20000), VERDICT_ANSWERED);
	expect_nxdomain();
	assert_int_equal(ede(), DNS_EDE_STALE_NXDOMAIN);
	assert_int_equal(ask_at("nope.default.nomad", A, NOW + 70000), VERDICT_FAILED);
}

static void lost_and_absent_is_a_stale_nxdomain(void **state)
{
	(void)state;
	publish_at("redis", ZONE_ABSENT, fresh_for(5000), NULL, 0);
	zone_set_nomad(zone, ZONE_NOMAD_LOST);
	assert_int_equal(ask_at("redis.default.nomad", A, NOW + 20000), VERDICT_ANSWERED);
	expect_nxdomain();
	assert_int_equal(ede(), DNS_EDE_STALE_NXDOMAIN);
}

static void lost_for_one_question_is_lost_for_it(void **state)
{
	(void)state;
	assert_int_equal(ask_and_hear("redis.default.nomad", A, NEED_LOST), VERDICT_FAILED);
	expect_servfail(DNS_EDE_NO_REACHABLE_AUTHORITY);
	publish_redis(fresh_for(0));
	assert_int_equal(ask_and_hear("redis.default.nomad", A, NEED_LOST), VERDICT_ANSWERED);
	assert_int_equal(ede(), DNS_EDE_STALE_ANSWER);
	assert_int_equal(answer_count(), 2);
}

static void what_is_late_is_served_stale(void **state)
{
	(void)state;
	publish_redis(fresh_for(0));
	assert_int_equal(ask("redis.default.nomad", A), VERDICT_PENDING);
	query.nomad_outcome = NEED_LATE;
	assert_int_equal(ask_on(NOW), VERDICT_ANSWERED);
	assert_int_equal(ede(), DNS_EDE_STALE_ANSWER);
	make_query("web.default.nomad", A);
	query.nomad_outcome = NEED_LATE;
	assert_int_equal(ask_on(NOW), VERDICT_FAILED);
	expect_servfail(DNS_EDE_NO_REACHABLE_AUTHORITY);
}

/* ---- before the first word ---- */

static void silent_asks_and_then_is_not_ready(void **state)
{
	(void)state;
	zone_set_nomad(zone, ZONE_NOMAD_SILENT);
	assert_int_equal(ask_and_hear("redis.default.nomad", A, NEED_NOT_READY), VERDICT_FAILED);
	expect_servfail(DNS_EDE_NOT_READY);
	assert_int_equal(need_count, 1);
	assert_int_equal(ask_and_hear("redis.default.nomad", A, NEED_LOST), VERDICT_FAILED);
	expect_servfail(DNS_EDE_NOT_READY);
	zone_set_nomad(zone, ZONE_NOMAD_OK); /* it came meanwhile, but not for this question */
	assert_int_equal(ask_and_hear("redis.default.nomad", A, NEED_NOT_READY), VERDICT_FAILED);
	expect_servfail(DNS_EDE_NOT_READY);
}

/* ---- while it refuses ---- */

static void a_refused_token_is_said_so(void **state)
{
	(void)state;
	assert_int_equal(ask_and_hear("redis.default.nomad", A, NEED_DENIED), VERDICT_FAILED);
	expect_servfail(DNS_EDE_OTHER);
	assert_non_null(answer.ede_text);
	assert_non_null(strstr(answer.ede_text, "token"));
	publish_at("redis", ZONE_DENIED, fresh_for(5000), NULL, 0);
	assert_int_equal(ask("redis.default.nomad", A), VERDICT_FAILED);
	expect_servfail(DNS_EDE_OTHER);
	assert_int_equal(ask_at("redis.default.nomad", A, NOW + 5000), VERDICT_PENDING);
}

static void a_refused_list_is_no_nxdomain(void **state)
{
	(void)state;
	publish_namespace(ZONE_DENIED, fresh_for(5000));
	assert_int_equal(ask("redis.default.nomad", A), VERDICT_FAILED);
	expect_servfail(DNS_EDE_OTHER);
	assert_int_equal(ask("default.nomad", A), VERDICT_FAILED);
	expect_servfail(DNS_EDE_OTHER);
	assert_int_equal(ask("_tcp.default.nomad", A), VERDICT_FAILED);
	expect_servfail(DNS_EDE_OTHER);
}

static void what_is_known_outlives_a_refused_token(void **state)
{
	(void)state;
	publish_redis(fresh_for(0));
	assert_int_equal(ask_and_hear("redis.default.nomad", A, NEED_DENIED), VERDICT_ANSWERED);
	assert_int_equal(answer_count(), 2);
	assert_int_equal(ede(), DNS_EDE_STALE_ANSWER);
	publish_redis(fresh_for(10000));
	zone_set_nomad(zone, ZONE_NOMAD_DENIED);
	assert_int_equal(ask("redis.default.nomad", A), VERDICT_ANSWERED);
	assert_int_equal(ede(), DNS_EDE_STALE_ANSWER);
}

static void a_refused_token_never_makes_an_nxdomain_of_an_old_one(void **state)
{
	(void)state;
	publish_at("redis", ZONE_ABSENT, fresh_for(0), NULL, 0);
	assert_int_equal(ask_and_hear("redis.default.nomad", A, NEED_DENIED), VERDICT_FAILED);
	expect_servfail(DNS_EDE_OTHER);
	publish_namespace(ZONE_LOADED, fresh_for(0));
	assert_int_equal(ask_and_hear("web.default.nomad", A, NEED_DENIED), VERDICT_FAILED);
	expect_servfail(DNS_EDE_OTHER);
	publish_redis(fresh_for(0));
	assert_int_equal(ask_and_hear("newtag.redis.default.nomad", A, NEED_DENIED),
			 VERDICT_FAILED);
	expect_servfail(DNS_EDE_OTHER);
}

/* ---- ceilings ---- */

static void a_full_box_is_a_ceiling(void **state)
{
	(void)state;
	send_result = -EAGAIN;
	assert_int_equal(ask("redis.default.nomad", A), VERDICT_PENDING);
	assert_int_equal(wait_at(NOW), VERDICT_FAILED);
	expect_servfail(DNS_EDE_OTHER);
	assert_true(list_is_empty(&query.by_cause));
	publish_redis(fresh_for(0)); /* and what is known is better than that */
	assert_int_equal(ask("redis.default.nomad", A), VERDICT_PENDING);
	assert_int_equal(wait_at(NOW), VERDICT_ANSWERED);
	assert_int_equal(ede(), DNS_EDE_STALE_ANSWER);
	send_result = 0;
	assert_int_equal(ask("redis.default.nomad", A), VERDICT_PENDING);
	assert_int_equal(wait_at(NOW), VERDICT_PENDING);
	assert_int_equal(need_count, 1);
}

static void the_control_planes_ceiling_is_said_so(void **state)
{
	(void)state;
	assert_int_equal(ask_and_hear("redis.default.nomad", A, NEED_OVER_LIMIT), VERDICT_FAILED);
	expect_servfail(DNS_EDE_OTHER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_fresh_name_is_answered_at_once),
		TEST(an_expired_name_is_asked_for),
		TEST(what_came_answers_even_without_a_lifetime),
		TEST(one_need_however_many_ask),
		TEST(who_would_join_an_old_wait_gets_the_last_good_answer),
		TEST(all_forms_of_a_service_are_one_need),
		TEST(a_listed_service_is_asked_for),
		TEST(an_absent_name_is_nxdomain),
		TEST(a_fresh_list_answers_for_names_it_does_not_have),
		TEST(a_fresh_list_answers_for_a_name_that_was_absent),
		TEST(below_an_absent_namespace_there_is_nothing),
		TEST(a_word_that_brings_nothing_is_not_asked_for_ever),
		TEST(an_answer_without_a_leader_is_marked),
		TEST(a_name_in_use_is_refreshed_once_before_it_expires),
		TEST(a_refresh_that_found_no_place_is_asked_again),
		TEST(asking_is_counted),
		TEST(lost_and_known_is_stale_until_max_stale),
		TEST(a_live_name_is_fresh_while_the_zone_is),
		TEST(what_was_live_is_not_after_a_missed_change),
		TEST(a_live_name_counts_as_heard_when_live_ended),
		TEST(ends_of_many_terms_are_remembered),
		TEST(a_live_list_answers_for_its_namespace_alone),
		TEST(with_every_name_known_the_unknown_does_not_exist),
		TEST(names_that_were_all_known_are_asked_for_when_only_the_stream_is_down),
		TEST(lost_but_complete_is_a_stale_nxdomain_until_max_stale),
		TEST(a_listed_name_of_a_lost_nomad_is_servfail),
		TEST(a_refused_token_makes_no_nxdomain_of_completeness),
		TEST(a_removal_heard_before_an_outage_stays_in_force),
		TEST(what_is_always_so_needs_nothing_live),
		TEST(stale_ttls_are_between_one_and_thirty),
		TEST(lost_and_never_seen_is_servfail),
		TEST(lost_and_not_in_the_list_is_a_stale_nxdomain),
		TEST(lost_and_absent_is_a_stale_nxdomain),
		TEST(lost_for_one_question_is_lost_for_it),
		TEST(what_is_late_is_served_stale),
		TEST(silent_asks_and_then_is_not_ready),
		TEST(a_refused_token_is_said_so),
		TEST(a_refused_list_is_no_nxdomain),
		TEST(what_is_known_outlives_a_refused_token),
		TEST(a_refused_token_never_makes_an_nxdomain_of_an_old_one),
		TEST(a_full_box_is_a_ceiling),
		TEST(the_control_planes_ceiling_is_said_so),
	};

	return RUN(tests);
}
