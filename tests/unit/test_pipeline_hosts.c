#include "unit/pipeline_fixture.h"

#include "nomad/zone.h"

static void ask_hosts_of(const char *first, const char *second)
{
	host_names[0] = first;
	host_names[1] = second;
	host_count = second ? 2 : 1;
}

static void a_host_in_the_cache_answers_at_once(void **state)
{
	(void)state;
	ask_hosts_of("hit.example.com", NULL);
	assert_int_equal(ask("host.nomad"), 0);
	assert_int_equal(sent_count, 1); /* from within the question */
	expect_sent(0, "10.0.0.1");
	assert_memory_equal(sent[0].bytes + 12, "\4host\5nomad", 12);
	assert_int_equal(pipeline_waiting_count(pipeline), 0);
	assert_string_equal(trace, "NNCN");
}

static void a_host_at_an_upstream_answers_when_it_comes(void **state)
{
	(void)state;
	ask_hosts_of("www.example.com", NULL);
	assert_int_equal(ask("host.nomad"), 0);
	assert_int_equal(pipeline_waiting_count(pipeline), 2);
	assert_int_equal(sent_count, 0);
	upstream_answers("www", 9, DNS_NOERROR);
	assert_int_equal(sent_count, 1);
	expect_sent(0, "192.0.2.9");
	assert_int_equal(sent[0].client.source, QUERY_UDP);
	assert_int_equal(pipeline_waiting_count(pipeline), 0);
}

static void a_client_and_a_host_share_an_exchange(void **state)
{
	(void)state;
	ask_hosts_of("www.example.com", NULL);
	assert_int_equal(ask("www.example.com"), 0);
	assert_int_equal(ask("host.nomad"), 0);
	upstream_answers("www", 9, DNS_NOERROR);
	assert_int_equal(sent_count, 2);
	expect_sent(0, "192.0.2.9");
	expect_sent(1, "192.0.2.9");
}

static void the_last_host_resumes_the_query(void **state)
{
	(void)state;
	ask_hosts_of("one.example.com", "two.example.com");
	assert_int_equal(ask("host.nomad"), 0);
	upstream_answers("two", 2, DNS_NOERROR);
	assert_int_equal(sent_count, 0);
	upstream_answers("one", 1, DNS_NOERROR);
	assert_int_equal(sent_count, 1);
	expect_sent(0, "192.0.2.1");
	expect_sent(0, "192.0.2.2");
}

static void one_host_now_and_one_later(void **state)
{
	(void)state;
	ask_hosts_of("hit.example.com", "two.example.com");
	assert_int_equal(ask("host.nomad"), 0);
	assert_int_equal(sent_count, 0);
	upstream_answers("two", 2, DNS_NOERROR);
	assert_int_equal(sent_count, 1);
	expect_sent(0, "10.0.0.1");
	expect_sent(0, "192.0.2.2");
}

static void a_host_that_fails_leaves_the_others(void **state)
{
	(void)state;
	ask_hosts_of("down.example.com", "two.example.com");
	assert_int_equal(ask("host.nomad"), 0);
	upstream_answers("two", 2, DNS_NOERROR);
	assert_int_equal(sent_count, 1);
	expect_sent(0, "192.0.2.2");
}

static void hosts_that_all_fail_are_servfail(void **state)
{
	(void)state;
	ask_hosts_of("www.example.com", "ceiling.example.com");
	assert_int_equal(ask("host.nomad"), 0);
	upstream_fails("www");
	assert_int_equal(sent_count, 1);
	assert_int_equal(rcode_of(sent[0].bytes), DNS_SERVFAIL);
	assert_int_equal(pipeline_waiting_count(pipeline), 0);
}

static void a_host_of_our_own_zone_asks_the_first_stage(void **state)
{
	(void)state;
	ask_hosts_of("wait.nomad", NULL);
	assert_int_equal(ask("host.nomad"), 0);
	assert_int_equal(pipeline_waiting_count(pipeline), 2);
	hear(NEED_CAME);
	assert_int_equal(sent_count, 1);
	expect_sent(0, "10.0.0.1");
}

static void localhost_never_leaves_the_host(void **state)
{
	(void)state;
	ask_hosts_of("localhost", NULL);
	assert_int_equal(ask("host.nomad"), 0);
	assert_int_equal(sent_count, 1);
	expect_sent(0, "127.0.0.1");
}

static void our_own_questions_are_no_requests(void **state)
{
	(void)state;
	ask_hosts_of("www.example.com", "down.example.com");
	assert_int_equal(ask("host.nomad"), 0);
	upstream_answers("www", 9, DNS_NOERROR);
	assert_int_equal(metric(METRIC_REQUESTS_UDP), 1);
	assert_int_equal(metric(metric_response(METRIC_STAGE_NOMAD, 0)), 1);
	assert_int_equal(metric(metric_response(METRIC_STAGE_FORWARD, 0)), 0);
	assert_int_equal(metric(metric_response(METRIC_STAGE_FORWARD, DNS_SERVFAIL)), 0);
}

static void a_late_host_does_not_keep_the_others_waiting(void **state)
{
	(void)state;
	config.forward_timeout_ms = 60;
	ask_hosts_of("hit.example.com", "two.example.com");
	assert_int_equal(ask("host.nomad"), 0);
	run_until_sent(1);
	expect_sent(0, "10.0.0.1");		 /* what has come by then */
	while (pipeline_waiting_count(pipeline)) /* its question ends as well, and finds nobody */
		uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(sent_count, 1);
	assert_int_equal(metric(METRIC_QUERIES_EXPIRED), 0); /* answered before the deadline */
}

static void hosts_that_are_all_late_are_servfail(void **state)
{
	(void)state;
	config.forward_timeout_ms = 60;
	ask_hosts_of("www.example.com", NULL);
	assert_int_equal(ask("host.nomad"), 0);
	run_until_sent(1);
	assert_int_equal(rcode_of(sent[0].bytes), DNS_SERVFAIL);
	assert_int_equal(sent_count, 1);
}

static void a_full_table_fails_hosts_alone(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 8191; i++) /* half of the table is what one client may have */
		assert_int_equal(ask("wait.nomad"), 0);
	ask_hosts_of("hit.example.com", "www.example.com");
	assert_int_equal(ask("host.nomad"), 0); /* takes the last place; its host finds none */
	assert_int_equal(sent_count, 1);
	expect_sent(0, "10.0.0.1");
	assert_int_equal(metric(METRIC_QUERIES_OVER_LIMIT), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_host_in_the_cache_answers_at_once),
		TEST(a_host_at_an_upstream_answers_when_it_comes),
		TEST(a_client_and_a_host_share_an_exchange),
		TEST(the_last_host_resumes_the_query),
		TEST(one_host_now_and_one_later),
		TEST(a_host_that_fails_leaves_the_others),
		TEST(hosts_that_all_fail_are_servfail),
		TEST(a_host_of_our_own_zone_asks_the_first_stage),
		TEST(localhost_never_leaves_the_host),
		TEST(our_own_questions_are_no_requests),
		TEST(a_late_host_does_not_keep_the_others_waiting),
		TEST(hosts_that_are_all_late_are_servfail),
		TEST(a_full_table_fails_hosts_alone),
	};

	return RUN(tests);
}
