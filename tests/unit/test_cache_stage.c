#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/metrics.h"
#include "cache/cache_stage.h"
#include "config/config.h"
#include "dns/name.h"

static struct metrics metrics;

static struct config config_of(uint64_t size_bytes, uint32_t min_ttl_s, uint32_t max_ttl_s)
{
	return (struct config){ .cache_size_bytes = size_bytes,
				.cache_min_ttl_s = min_ttl_s,
				.cache_max_ttl_s = max_ttl_s };
}

static struct cache_stage *stage_of(uint32_t min_ttl_s, uint32_t max_ttl_s)
{
	struct config config = config_of(1 << 20, min_ttl_s, max_ttl_s);

	memset(&metrics, 0, sizeof(metrics));
	return cache_stage_new(&config, &metrics);
}

static bool was_due;

static enum verdict ask(struct cache_stage *stage, const struct query *query, uint64_t now_ms,
			struct answer *out)
{
	was_due = false;
	return cache_stage_ask(stage, query, now_ms, out, &was_due);
}

static struct query ask_for(const char *text, uint16_t type)
{
	struct query query = { .question = { .type = type, .qclass = DNS_CLASS_IN } };
	int length = name_parse(text, query.question.name);

	assert_true(length > 0);
	query.question.name_length = (uint8_t)length;
	name_fold(query.question.name, (size_t)length, query.question.folded);
	return query;
}

static struct reply reply_of(uint16_t rcode, uint32_t positive_ttl, uint32_t negative_ttl,
			     bool is_negative)
{
	struct reply reply = { .positive_ttl = positive_ttl,
			       .negative_ttl = negative_ttl,
			       .is_negative = is_negative };

	reply.image = calloc(1, sizeof(*reply.image));
	reply.image->rcode = rcode;
	reply.image->ede = DNS_EDE_NONE;
	reply.image->answer_count = positive_ttl > 0;
	return reply;
}

static void keep(struct cache_stage *stage, const struct query *query, struct reply reply,
		 uint64_t now_ms)
{
	const struct image *expected = reply.image;
	uint32_t ttl_max_s;

	assert_ptr_equal(cache_stage_keep(stage, &query->question, &reply, now_ms, &ttl_max_s),
			 expected);
	cache_stage_release(stage);
}

static void kept_reply_is_a_hit_with_its_age(void **state)
{
	struct cache_stage *stage = stage_of(0, 3600);
	struct query query = ask_for("www.Example", DNS_TYPE_A);
	struct query other_case = ask_for("WWW.example", DNS_TYPE_A);
	struct answer answer;

	(void)state;
	assert_int_equal(ask(stage, &query, 0, &answer), VERDICT_PASS);
	keep(stage, &query, reply_of(DNS_NOERROR, 300, 0, false), 1000);
	assert_int_equal(ask(stage, &other_case, 11500, &answer), VERDICT_ANSWERED);
	assert_int_equal(answer.stage, METRIC_STAGE_CACHE);
	assert_int_equal(answer.rcode, DNS_NOERROR);
	assert_int_equal(answer.age_s, 10);
	assert_int_equal(answer.ttl_max_s, 290);
	assert_false(answer.is_authoritative);
	assert_false(answer.is_stale);
	assert_int_equal(answer.ede, DNS_EDE_NONE);
	cache_stage_free(stage);
}

static void hits_and_misses_are_counted(void **state)
{
	struct cache_stage *stage = stage_of(0, 3600);
	struct query query = ask_for("www.example", DNS_TYPE_A);
	struct query none = ask_for("none.example", DNS_TYPE_A);
	struct answer answer;

	(void)state;
	ask(stage, &query, 0, &answer);
	keep(stage, &query, reply_of(DNS_NOERROR, 300, 0, false), 0);
	keep(stage, &none, reply_of(DNS_NXDOMAIN, 0, 60, true), 0);
	ask(stage, &query, 0, &answer);
	ask(stage, &query, 0, &answer);
	ask(stage, &none, 0, &answer);
	assert_int_equal(metrics.value[METRIC_CACHE_MISSES], 1);
	assert_int_equal(metrics.value[METRIC_CACHE_HITS_SUCCESS], 2);
	assert_int_equal(metrics.value[METRIC_CACHE_HITS_DENIAL], 1);
	assert_int_equal(metrics.value[METRIC_CACHE_ENTRIES_SUCCESS], 1);
	assert_int_equal(metrics.value[METRIC_CACHE_ENTRIES_DENIAL], 1);
	assert_true(metrics.value[METRIC_CACHE_BYTES] > 0);
	cache_stage_free(stage);
}

static bool is_kept(struct cache_stage *stage, struct reply reply, uint64_t until_ms)
{
	struct query query = ask_for("www.example", DNS_TYPE_A);
	struct answer answer;

	keep(stage, &query, reply, 0);
	return ask(stage, &query, until_ms, &answer) == VERDICT_ANSWERED;
}

static void ttl_0_is_not_kept(void **state)
{
	struct cache_stage *stage = stage_of(5, 3600);

	(void)state;
	assert_false(is_kept(stage, reply_of(DNS_NOERROR, 0, 0, false), 0));
	cache_stage_free(stage);
}

static void negative_without_soa_is_not_kept(void **state)
{
	struct cache_stage *stage = stage_of(5, 3600);

	(void)state;
	assert_false(is_kept(stage, reply_of(DNS_NXDOMAIN, 0, 0, true), 0));
	assert_false(is_kept(stage, reply_of(DNS_NOERROR, 60, 0, true), 0));
	cache_stage_free(stage);
}

static void servfail_is_not_kept(void **state)
{
	struct cache_stage *stage = stage_of(0, 3600);

	(void)state;
	assert_false(is_kept(stage, reply_of(DNS_SERVFAIL, 60, 60, false), 0));
	cache_stage_free(stage);
}

static void failure_does_not_replace_an_answer(void **state)
{
	struct cache_stage *stage = stage_of(0, 3600);

	(void)state;
	assert_true(is_kept(stage, reply_of(DNS_NOERROR, 60, 0, false), 0));
	assert_true(is_kept(stage, reply_of(DNS_SERVFAIL, 0, 0, false), 1000));
	cache_stage_free(stage);
}

static void answer_that_may_not_be_kept_replaces_an_older_one(void **state)
{
	struct cache_stage *stage = stage_of(0, 3600);

	(void)state;
	assert_true(is_kept(stage, reply_of(DNS_NOERROR, 60, 0, false), 0));
	assert_false(is_kept(stage, reply_of(DNS_NOERROR, 0, 0, false), 1000));
	assert_true(is_kept(stage, reply_of(DNS_NOERROR, 60, 0, false), 0));
	assert_false(is_kept(stage, reply_of(DNS_NXDOMAIN, 0, 0, true), 1000));
	cache_stage_free(stage);
}

static void outdated_reply_leaves_what_came_after_it(void **state)
{
	struct cache_stage *stage = stage_of(0, 3600);
	struct reply outdated = reply_of(DNS_NOERROR, 60, 0, false);

	(void)state;
	outdated.is_outdated = true;
	assert_false(is_kept(stage, outdated, 0));
	outdated = reply_of(DNS_NOERROR, 60, 0, false);
	outdated.is_outdated = true;
	assert_true(is_kept(stage, reply_of(DNS_NOERROR, 60, 0, false), 0));
	assert_true(is_kept(stage, outdated, 1000));
	cache_stage_free(stage);
}

static void verdict_of_upstream_ends_what_was_known(void **state)
{
	static const struct {
		uint16_t ede;
		bool ends;
	} rows[] = { { DNS_EDE_NONE, false },
		     { DNS_EDE_OTHER, false },
		     { DNS_EDE_BOGUS, true },
		     { 9 /* DNSKEY missing: could not be fetched? */, false },
		     { DNS_EDE_STALE_ANSWER, false },
		     { DNS_EDE_CACHED_ERROR, false },
		     { DNS_EDE_BLOCKED, true },
		     { DNS_EDE_FILTERED, true },
		     { DNS_EDE_PROHIBITED, false },
		     { DNS_EDE_NETWORK_ERROR, false } };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct cache_stage *stage = stage_of(0, 3600);
		struct reply failure = reply_of(DNS_SERVFAIL, 0, 0, false);

		failure.image->ede = rows[i].ede;
		assert_true(is_kept(stage, reply_of(DNS_NOERROR, 60, 0, false), 0));
		assert_int_equal(is_kept(stage, failure, 1000), !rows[i].ends);
		cache_stage_free(stage);
	}
}

static uint32_t ttl_max_of(struct cache_stage *stage, struct reply reply)
{
	struct query query = ask_for("www.example", DNS_TYPE_A);
	uint32_t ttl_max_s = 0;

	cache_stage_keep(stage, &query.question, &reply, 0, &ttl_max_s);
	cache_stage_release(stage);
	return ttl_max_s;
}

static void first_answer_lives_no_longer_than_the_entry(void **state)
{
	struct cache_stage *stage = stage_of(0, 100);

	(void)state;
	assert_int_equal(ttl_max_of(stage, reply_of(DNS_NOERROR, 86400, 0, false)), 100);
	assert_int_equal(ttl_max_of(stage, reply_of(DNS_NOERROR, 30, 0, false)), 30);
	assert_int_equal(ttl_max_of(stage, reply_of(DNS_NXDOMAIN, 0, 20, true)), 20);
	cache_stage_free(stage);
}

/* The lowest TTL of a set, 0, is that of all; and what we do not keep nobody is to keep. */
static void first_answer_that_is_not_kept_has_ttl_0(void **state)
{
	struct cache_stage *stage = stage_of(5, 100);
	struct reply outdated = reply_of(DNS_NOERROR, 30, 0, false);

	(void)state;
	outdated.is_outdated = true;
	assert_int_equal(ttl_max_of(stage, reply_of(DNS_NOERROR, 0, 0, false)), 0);
	assert_int_equal(ttl_max_of(stage, reply_of(DNS_NOERROR, 30, 0, true)), 0);
	assert_int_equal(ttl_max_of(stage, outdated), 0);
	cache_stage_free(stage);
}

static void expired_by_hand_answers_only_when_nothing_fresh_is_to_be_had(void **state)
{
	struct cache_stage *stage = stage_of(0, 3600);
	struct query query = ask_for("www.example", DNS_TYPE_A);
	struct query other = ask_for("www.example.org", DNS_TYPE_A);
	struct answer answer;

	(void)state;
	cache_stage_configure(stage, &(struct config){ .cache_size_bytes = 1 << 20,
						       .cache_max_ttl_s = 3600,
						       .serve_stale_ms = 3600000 });
	keep(stage, &query, reply_of(DNS_NOERROR, 300, 0, false), 0);
	keep(stage, &other, reply_of(DNS_NOERROR, 300, 0, false), 0);
	assert_int_equal(cache_stage_expire(stage, (const uint8_t *)"\7example", 9, 1000), 1);
	assert_int_equal(cache_stage_expire(stage, (const uint8_t *)"\7example", 9, 1000), 0);
	assert_int_equal(ask(stage, &query, 1000, &answer), VERDICT_PASS);
	assert_int_equal(ask(stage, &other, 1000, &answer), VERDICT_ANSWERED);
	assert_int_equal(cache_stage_ask_stale(stage, &query, 1000, 2000, &answer),
			 VERDICT_ANSWERED);
	assert_true(answer.is_stale);
	cache_stage_free(stage);
}

static void longest_ttl_is_capped(void **state)
{
	struct cache_stage *stage = stage_of(0, 100);

	(void)state;
	assert_true(is_kept(stage, reply_of(DNS_NOERROR, 86400, 0, false), 99999));
	assert_false(is_kept(stage, reply_of(DNS_NOERROR, 86400, 0, false), 100000));
	cache_stage_free(stage);
}

static void shortest_ttl_is_raised(void **state)
{
	struct cache_stage *stage = stage_of(30, 100);

	(void)state;
	assert_true(is_kept(stage, reply_of(DNS_NOERROR, 1, 0, false), 29999));
	cache_stage_free(stage);
}

static void no_ttl_in_a_hit_outlives_the_entry(void **state)
{
	struct cache_stage *stage = stage_of(0, 100);
	struct query query = ask_for("www.example", DNS_TYPE_A);
	struct answer answer;

	(void)state;
	keep(stage, &query, reply_of(DNS_NOERROR, 86400, 0, false), 0);
	ask(stage, &query, 99500, &answer);
	assert_int_equal(answer.ttl_max_s, 1);
	cache_stage_free(stage);
}

static void nodata_behind_a_cname_lives_no_longer_than_the_cname(void **state)
{
	struct cache_stage *stage = stage_of(0, 3600);

	(void)state;
	assert_true(is_kept(stage, reply_of(DNS_NOERROR, 10, 600, true), 9999));
	assert_false(is_kept(stage, reply_of(DNS_NOERROR, 10, 600, true), 10000));
	cache_stage_free(stage);
}

/* Whether ADDITIONAL, with that TTL, is left out of a hit. */
static bool is_left_out(struct cache_stage *stage, uint32_t additional_ttl_s, uint64_t now_ms)
{
	struct query query = ask_for("www.example", DNS_TYPE_A);
	struct reply reply = reply_of(DNS_NOERROR, 300, 0, false);
	struct answer answer;

	reply.image->additional_ttl_s = additional_ttl_s;
	keep(stage, &query, reply, 0);
	assert_int_equal(ask(stage, &query, now_ms, &answer), VERDICT_ANSWERED);
	return answer.without_additional;
}

static void additional_that_has_run_out_is_left_out_of_a_hit(void **state)
{
	struct cache_stage *stage = stage_of(0, 3600);

	(void)state;
	assert_true(is_left_out(stage, 0, 0)); /* good for one answer only */
	assert_false(is_left_out(stage, 2, 1999));
	assert_true(is_left_out(stage, 2, 2000));
	assert_false(is_left_out(stage, 300, 299999));
	assert_false(is_left_out(stage, UINT32_MAX, 299999));
	cache_stage_free(stage);
}

static void shortest_ttl_of_additional_is_raised_too(void **state)
{
	struct cache_stage *stage = stage_of(30, 3600);

	(void)state;
	assert_true(is_left_out(stage, 0, 0));
	assert_false(is_left_out(stage, 2, 29999));
	assert_true(is_left_out(stage, 2, 30000));
	cache_stage_free(stage);
}

static void answers_differ_by_do_and_cd(void **state)
{
	struct cache_stage *stage = stage_of(0, 3600);
	struct query query = ask_for("www.example", DNS_TYPE_A);
	struct answer answer;

	(void)state;
	query.question.has_do = true;
	keep(stage, &query, reply_of(DNS_NOERROR, 60, 0, false), 0);
	assert_int_equal(ask(stage, &query, 0, &answer), VERDICT_ANSWERED);
	query.question.flags = DNS_FLAG_CD;
	assert_int_equal(ask(stage, &query, 0, &answer), VERDICT_PASS);
	query.question.has_do = false;
	query.question.flags = 0;
	assert_int_equal(ask(stage, &query, 0, &answer), VERDICT_PASS);
	cache_stage_free(stage);
}

static void authentic_data_and_ede_come_back(void **state)
{
	struct cache_stage *stage = stage_of(0, 3600);
	struct query query = ask_for("www.example", DNS_TYPE_A);
	struct reply reply = reply_of(DNS_NOERROR, 60, 0, false);
	struct answer answer;

	(void)state;
	reply.image->flags = DNS_FLAG_AD;
	reply.image->ede = 4;
	keep(stage, &query, reply, 0);
	ask(stage, &query, 0, &answer);
	assert_true(answer.is_authentic);
	assert_int_equal(answer.ede, 4);
	cache_stage_free(stage);
}

static void reply_that_is_not_kept_lives_until_release(void **state)
{
	struct cache_stage *stage = stage_of(0, 3600);
	struct query query = ask_for("www.example", DNS_TYPE_A);
	struct reply reply = reply_of(DNS_SERVFAIL, 0, 0, false);
	uint32_t ttl_max_s;
	const struct image *image = cache_stage_keep(stage, &query.question, &reply, 0, &ttl_max_s);

	(void)state;
	assert_null(reply.image);
	assert_int_equal(image->rcode, DNS_SERVFAIL);
	assert_false(cache_stage_has_kept(stage));
	cache_stage_release(stage);
	cache_stage_release(stage);
	cache_stage_free(stage);
}

static void cache_of_another_size_begins_empty(void **state)
{
	struct cache_stage *stage = stage_of(0, 3600);
	struct query query = ask_for("www.example", DNS_TYPE_A);
	struct config config = config_of(1 << 20, 0, 3600);
	struct answer answer;

	(void)state;
	keep(stage, &query, reply_of(DNS_NOERROR, 60, 0, false), 0);
	cache_stage_configure(stage, &config);
	assert_int_equal(ask(stage, &query, 0, &answer), VERDICT_ANSWERED);
	config.cache_size_bytes = 0;
	cache_stage_configure(stage, &config);
	assert_int_equal(ask(stage, &query, 0, &answer), VERDICT_PASS);
	assert_int_equal(metrics.value[METRIC_CACHE_BYTES], 0);
	assert_false(is_kept(stage, reply_of(DNS_NOERROR, 60, 0, false), 0));
	cache_stage_free(stage);
}

/* ---- growing old ---- */

static struct cache_stage *stale_stage(void)
{
	struct config config = config_of(1 << 20, 0, 3600);

	memset(&metrics, 0, sizeof(metrics));
	config.serve_stale_ms = 60000;
	return cache_stage_new(&config, &metrics);
}

/* While upstream fails they are as good as the rest; but what was good for one answer only. */
static void stale_answer_has_its_additional_unless_that_was_never_to_be_kept(void **state)
{
	struct cache_stage *stage = stale_stage();
	struct query query = ask_for("www.example", DNS_TYPE_A);
	struct answer answer;

	(void)state;
	for (uint32_t ttl_s = 0; ttl_s < 2; ttl_s++) {
		struct reply reply = reply_of(DNS_NOERROR, 10, 0, false);

		reply.image->additional_ttl_s = ttl_s;
		keep(stage, &query, reply, 0);
		assert_int_equal(cache_stage_ask_stale(stage, &query, 20000, 20000, &answer),
				 VERDICT_ANSWERED);
		assert_true(answer.is_stale);
		assert_int_equal(answer.without_additional, ttl_s == 0);
	}
	cache_stage_free(stage);
}

static void expired_entry_answers_when_nothing_fresh_is_to_be_had(void **state)
{
	struct cache_stage *stage = stale_stage();
	struct query query = ask_for("www.example", DNS_TYPE_A);
	struct reply reply = reply_of(DNS_NOERROR, 10, 0, false);
	struct answer answer;

	(void)state;
	reply.image->flags = DNS_FLAG_AD;
	keep(stage, &query, reply, 0);
	assert_int_equal(ask(stage, &query, 10000, &answer), VERDICT_PASS);
	assert_int_equal(cache_stage_ask_stale(stage, &query, 10000, 0, &answer), VERDICT_ANSWERED);
	assert_true(answer.is_stale);
	assert_false(answer.is_authentic);
	assert_int_equal(answer.stage, METRIC_STAGE_CACHE);
	assert_int_equal(answer.ttl_all_s, 30);
	assert_int_equal(answer.ede, DNS_EDE_STALE_ANSWER);
	cache_stage_free(stage);
}

static void stale_nxdomain_says_so(void **state)
{
	struct cache_stage *stage = stale_stage();
	struct query query = ask_for("www.example", DNS_TYPE_A);
	struct answer answer;

	(void)state;
	keep(stage, &query, reply_of(DNS_NXDOMAIN, 0, 10, true), 0);
	assert_int_equal(cache_stage_ask_stale(stage, &query, 10000, 0, &answer), VERDICT_ANSWERED);
	assert_int_equal(answer.rcode, DNS_NXDOMAIN);
	assert_int_equal(answer.ede, DNS_EDE_STALE_NXDOMAIN);
	cache_stage_free(stage);
}

static void entry_is_gone_when_serve_stale_is_over(void **state)
{
	struct cache_stage *stage = stale_stage();
	struct query query = ask_for("www.example", DNS_TYPE_A);
	struct answer answer;

	(void)state;
	keep(stage, &query, reply_of(DNS_NOERROR, 10, 0, false), 0);
	assert_int_equal(cache_stage_ask_stale(stage, &query, 69999, 0, &answer), VERDICT_ANSWERED);
	assert_int_equal(cache_stage_ask_stale(stage, &query, 70000, 0, &answer), VERDICT_PASS);
	cache_stage_free(stage);
}

static void without_serve_stale_nothing_expired_answers(void **state)
{
	struct cache_stage *stage = stage_of(0, 3600);
	struct query query = ask_for("www.example", DNS_TYPE_A);
	struct answer answer;

	(void)state;
	keep(stage, &query, reply_of(DNS_NOERROR, 10, 0, false), 0);
	cache_stage_note_failure(stage, &query.question, 10000);
	assert_int_equal(cache_stage_ask_stale(stage, &query, 10000, 0, &answer), VERDICT_PASS);
	assert_int_equal(ask(stage, &query, 10000, &answer), VERDICT_PASS);
	cache_stage_free(stage);
}

static void failed_refresh_is_not_tried_again_for_30_s(void **state)
{
	struct cache_stage *stage = stale_stage();
	struct query query = ask_for("www.example", DNS_TYPE_A);
	struct answer answer;

	(void)state;
	keep(stage, &query, reply_of(DNS_NOERROR, 10, 0, false), 0);
	cache_stage_note_failure(stage, &query.question, 11000);
	assert_int_equal(ask(stage, &query, 40999, &answer), VERDICT_ANSWERED);
	assert_true(answer.is_stale);
	assert_int_equal(ask(stage, &query, 41000, &answer), VERDICT_PASS);
	cache_stage_free(stage);
}

static void with_other_upstreams_it_is_tried_again_at_once(void **state)
{
	struct cache_stage *stage = stale_stage();
	struct query query = ask_for("www.example", DNS_TYPE_A);
	struct answer answer;

	(void)state;
	keep(stage, &query, reply_of(DNS_NOERROR, 10, 0, false), 0);
	cache_stage_note_failure(stage, &query.question, 11000);
	cache_stage_forget_failures(stage);
	assert_int_equal(ask(stage, &query, 11001, &answer), VERDICT_PASS);
	cache_stage_free(stage);
}

static void others_are_answered_at_once_while_a_refresh_is_late(void **state)
{
	struct cache_stage *stage = stale_stage();
	struct query query = ask_for("www.example", DNS_TYPE_A);
	struct answer answer;

	(void)state;
	keep(stage, &query, reply_of(DNS_NOERROR, 10, 0, false), 0);
	cache_stage_ask_stale(stage, &query, 12000, 14000, &answer);
	assert_int_equal(ask(stage, &query, 13999, &answer), VERDICT_ANSWERED);
	assert_int_equal(ask(stage, &query, 14000, &answer), VERDICT_PASS);
	cache_stage_free(stage);
}

static void fresh_answer_replaces_a_stale_one_at_once(void **state)
{
	struct cache_stage *stage = stale_stage();
	struct query query = ask_for("www.example", DNS_TYPE_A);
	struct answer answer;

	(void)state;
	keep(stage, &query, reply_of(DNS_NOERROR, 10, 0, false), 0);
	cache_stage_note_failure(stage, &query.question, 11000);
	keep(stage, &query, reply_of(DNS_NXDOMAIN, 0, 10, true), 12000);
	assert_int_equal(ask(stage, &query, 12000, &answer), VERDICT_ANSWERED);
	assert_false(answer.is_stale);
	assert_int_equal(answer.rcode, DNS_NXDOMAIN);
	cache_stage_free(stage);
}

static void what_came_meanwhile_is_not_called_stale(void **state)
{
	struct cache_stage *stage = stale_stage();
	struct query query = ask_for("www.example", DNS_TYPE_A);
	struct answer answer;

	(void)state;
	keep(stage, &query, reply_of(DNS_NOERROR, 10, 0, false), 0);
	assert_int_equal(cache_stage_ask_stale(stage, &query, 4000, 0, &answer), VERDICT_ANSWERED);
	assert_false(answer.is_stale);
	assert_int_equal(answer.age_s, 4);
	cache_stage_free(stage);
}

static void popular_entry_is_due_once_in_the_last_tenth_of_its_life(void **state)
{
	struct cache_stage *stage = stale_stage();
	struct query query = ask_for("www.example", DNS_TYPE_A);
	struct answer answer;

	(void)state;
	keep(stage, &query, reply_of(DNS_NOERROR, 10, 0, false), 0);
	ask(stage, &query, 8999, &answer);
	assert_false(was_due);
	ask(stage, &query, 9000, &answer);
	assert_true(was_due);
	ask(stage, &query, 9001, &answer);
	assert_false(was_due);
	keep(stage, &query, reply_of(DNS_NOERROR, 10, 0, false), 9500);
	ask(stage, &query, 18600, &answer);
	assert_false(was_due);
	ask(stage, &query, 18601, &answer);
	assert_true(was_due);
	cache_stage_free(stage);
}

static void entry_that_nobody_asks_for_is_not_due(void **state)
{
	struct cache_stage *stage = stale_stage();
	struct query query = ask_for("www.example", DNS_TYPE_A);
	struct answer answer;

	(void)state;
	keep(stage, &query, reply_of(DNS_NOERROR, 10, 0, false), 0);
	ask(stage, &query, 9500, &answer);
	assert_false(was_due);
	cache_stage_free(stage);
}

static void short_lived_entry_is_not_due(void **state)
{
	struct cache_stage *stage = stale_stage();
	struct query query = ask_for("www.example", DNS_TYPE_A);
	struct answer answer;

	(void)state;
	keep(stage, &query, reply_of(DNS_NOERROR, 9, 0, false), 0);
	for (int i = 0; i < 10; i++) {
		ask(stage, &query, 8900, &answer);
		assert_false(was_due);
	}
	cache_stage_free(stage);
}

static void flush_forgets_a_name_and_what_is_below(void **state)
{
	struct cache_stage *stage = stale_stage();
	struct query www = ask_for("www.example", DNS_TYPE_A);
	struct query other = ask_for("www.other", DNS_TYPE_A);
	struct query apex = ask_for("example", DNS_TYPE_A);
	struct answer answer;

	(void)state;
	keep(stage, &www, reply_of(DNS_NOERROR, 10, 0, false), 0);
	keep(stage, &other, reply_of(DNS_NOERROR, 10, 0, false), 0);
	keep(stage, &apex, reply_of(DNS_NXDOMAIN, 0, 10, true), 0);
	assert_int_equal(cache_stage_flush(stage, apex.question.folded, apex.question.name_length),
			 2);
	assert_int_equal(ask(stage, &www, 0, &answer), VERDICT_PASS);
	assert_int_equal(ask(stage, &apex, 0, &answer), VERDICT_PASS);
	assert_int_equal(ask(stage, &other, 0, &answer), VERDICT_ANSWERED);
	assert_int_equal(metrics.value[METRIC_CACHE_ENTRIES_SUCCESS], 1);
	assert_int_equal(metrics.value[METRIC_CACHE_ENTRIES_DENIAL], 0);
	cache_stage_free(stage);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kept_reply_is_a_hit_with_its_age),
		cmocka_unit_test(hits_and_misses_are_counted),
		cmocka_unit_test(ttl_0_is_not_kept),
		cmocka_unit_test(negative_without_soa_is_not_kept),
		cmocka_unit_test(servfail_is_not_kept),
		cmocka_unit_test(failure_does_not_replace_an_answer),
		cmocka_unit_test(answer_that_may_not_be_kept_replaces_an_older_one),
		cmocka_unit_test(outdated_reply_leaves_what_came_after_it),
		cmocka_unit_test(verdict_of_upstream_ends_what_was_known),
		cmocka_unit_test(first_answer_lives_no_longer_than_the_entry),
		cmocka_unit_test(first_answer_that_is_not_kept_has_ttl_0),
		cmocka_unit_test(expired_by_hand_answers_only_when_nothing_fresh_is_to_be_had),
		cmocka_unit_test(longest_ttl_is_capped),
		cmocka_unit_test(shortest_ttl_is_raised),
		cmocka_unit_test(no_ttl_in_a_hit_outlives_the_entry),
		cmocka_unit_test(nodata_behind_a_cname_lives_no_longer_than_the_cname),
		cmocka_unit_test(additional_that_has_run_out_is_left_out_of_a_hit),
		cmocka_unit_test(shortest_ttl_of_additional_is_raised_too),
		cmocka_unit_test(answers_differ_by_do_and_cd),
		cmocka_unit_test(authentic_data_and_ede_come_back),
		cmocka_unit_test(reply_that_is_not_kept_lives_until_release),
		cmocka_unit_test(cache_of_another_size_begins_empty),
		cmocka_unit_test(stale_answer_has_its_additional_unless_that_was_never_to_be_kept),
		cmocka_unit_test(expired_entry_answers_when_nothing_fresh_is_to_be_had),
		cmocka_unit_test(stale_nxdomain_says_so),
		cmocka_unit_test(entry_is_gone_when_serve_stale_is_over),
		cmocka_unit_test(without_serve_stale_nothing_expired_answers),
		cmocka_unit_test(failed_refresh_is_not_tried_again_for_30_s),
		cmocka_unit_test(with_other_upstreams_it_is_tried_again_at_once),
		cmocka_unit_test(others_are_answered_at_once_while_a_refresh_is_late),
		cmocka_unit_test(fresh_answer_replaces_a_stale_one_at_once),
		cmocka_unit_test(what_came_meanwhile_is_not_called_stale),
		cmocka_unit_test(popular_entry_is_due_once_in_the_last_tenth_of_its_life),
		cmocka_unit_test(entry_that_nobody_asks_for_is_not_due),
		cmocka_unit_test(short_lived_entry_is_not_due),
		cmocka_unit_test(flush_forgets_a_name_and_what_is_below),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
