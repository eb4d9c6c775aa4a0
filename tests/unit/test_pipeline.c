#include "unit/pipeline_fixture.h"

#include "nomad/zone.h"

#define WAITING_MAX 16384

/* ---- the way through ---- */

static void the_first_stage_that_answers_ends_the_walk(void **state)
{
	(void)state;
	assert_true(ask("now.nomad") > 0);
	assert_string_equal(trace, "N");
	assert_int_equal(metric(metric_response(METRIC_STAGE_NOMAD, 0)), 1);
	memset(trace, 0, sizeof(trace));
	assert_true(ask("hit.example.com") > 0);
	assert_string_equal(trace, "NC");
	assert_int_equal(metric(metric_response(METRIC_STAGE_CACHE, 0)), 1);
	memset(trace, 0, sizeof(trace));
	assert_true(ask("refused.example.com") > 0);
	assert_string_equal(trace, "NCF");
	assert_int_equal(rcode_of(reply), DNS_REFUSED);
	assert_int_equal(metric(metric_response(METRIC_STAGE_FORWARD, DNS_REFUSED)), 1);
	assert_int_equal(pipeline_waiting_count(pipeline), 0);
	assert_int_equal(sent_count, 0);
}

static void a_stage_that_fails_ends_the_walk_too(void **state)
{
	(void)state;
	assert_true(ask("fail.nomad") > 0);
	assert_string_equal(trace, "N");
	assert_int_equal(rcode_of(reply), DNS_SERVFAIL);
	assert_true(ask("down.example.com") > 0);
	assert_string_equal(trace, "NNCF");
	assert_int_equal(rcode_of(reply), DNS_SERVFAIL);
	assert_int_equal(metric(metric_response(METRIC_STAGE_NOMAD, DNS_SERVFAIL)), 1);
	assert_int_equal(metric(metric_response(METRIC_STAGE_FORWARD, DNS_SERVFAIL)), 1);
}

static void the_door_comes_before_the_stages(void **state)
{
	struct packet packet = packet_query("now.nomad", DNS_TYPE_A, DNS_CLASS_CH);

	(void)state;
	assert_true(ask_as(QUERY_UDP, &packet) > 0);
	assert_int_equal(rcode_of(reply), DNS_REFUSED);
	assert_true(ask("localhost") > 0);
	assert_int_equal(rcode_of(reply), DNS_NOERROR);
	assert_string_equal(trace, "");
}

static void malformed_messages_never_reach_a_stage(void **state)
{
	struct packet packet = packet_query("now.nomad", DNS_TYPE_A, DNS_CLASS_IN);

	(void)state;
	packet.bytes[2] |= 0x80;
	assert_int_equal(ask_as(QUERY_UDP, &packet), 0);
	assert_int_equal(metric(METRIC_REQUESTS_DROPPED), 1);
	assert_int_equal(metric(METRIC_REQUESTS_UDP), 0);
	packet.bytes[2] = 0x28;
	assert_int_equal(ask_as(QUERY_TCP, &packet), 12);
	assert_int_equal(rcode_of(reply), DNS_NOTIMP);
	packet.bytes[2] = 0;
	packet.length--;
	assert_int_equal(ask_as(QUERY_UDP, &packet), 12);
	assert_int_equal(rcode_of(reply), DNS_FORMERR);
	packet = packet_query("now.nomad", DNS_TYPE_A, DNS_CLASS_IN);
	packet_opt(&packet, 1232, 0x10000, NULL, 0);
	assert_int_equal(ask_as(QUERY_UDP, &packet), packet.length);
	assert_string_equal(trace, "");
	assert_int_equal(metric(METRIC_REQUESTS_UDP), 2);
	assert_int_equal(metric(METRIC_REQUESTS_TCP), 1);
	assert_int_equal(metric(metric_response(METRIC_STAGE_NONE, DNS_NOTIMP)), 1);
	assert_int_equal(metric(metric_response(METRIC_STAGE_NONE, DNS_FORMERR)), 1);
	assert_int_equal(metric(metric_response(METRIC_STAGE_NONE, DNS_BADVERS)), 1);
}

static void an_asker_who_may_not_is_refused(void **state)
{
	struct packet packet = packet_query("now.nomad", DNS_TYPE_A, DNS_CLASS_IN);
	struct query_client client = a_client(QUERY_UDP);

	(void)state;
	client.peer = ip("192.0.2.1");
	assert_int_equal(pipeline_ask(pipeline, &client, packet.bytes, packet.length,
				      clock_now_us(), reply, DNS_UDP_EDNS_MAX),
			 packet.length);
	assert_int_equal(rcode_of(reply), DNS_REFUSED);
	assert_string_equal(trace, "");
	assert_int_equal(metric(METRIC_REQUESTS_REFUSED_SOURCE), 1);
}

static void without_forwarding_no_recursion_is_offered(void **state)
{
	struct upstream_list none = { .references = 1000, .forwards_nothing = true };

	(void)state;
	ask("now.nomad");
	assert_true(load_be16(reply + 2) & DNS_FLAG_RA);
	pipeline_set_upstreams(pipeline, &none);
	ask("now.nomad");
	assert_false(load_be16(reply + 2) & DNS_FLAG_RA);
}

/* ---- waiting ---- */

static void a_query_for_nomad_is_resumed_by_its_word(void **state)
{
	(void)state;
	assert_int_equal(ask("wait.nomad"), 0);
	assert_int_equal(pipeline_waiting_count(pipeline), 1);
	assert_string_equal(trace, "N");
	hear(NEED_CAME);
	assert_int_equal(sent_count, 1);
	expect_sent(0, "10.0.0.1");
	assert_int_equal(sent[0].client.source, QUERY_UDP);
	assert_int_equal(sent[0].client.socket, 7);
	assert_int_equal(load_be16(sent[0].bytes), 0x1234);
	assert_int_equal(pipeline_waiting_count(pipeline), 0);
	hear(NEED_CAME); /* nobody waits any more */
	assert_int_equal(sent_count, 1);
	assert_int_equal(metric(metric_response(METRIC_STAGE_NOMAD, 0)), 1);
	assert_int_equal(metric(METRIC_QUERIES_EXPIRED), 0);
}

static void a_word_may_make_it_wait_again(void **state)
{
	(void)state;
	assert_int_equal(ask("twice.nomad"), 0);
	hear(NEED_CAME);
	assert_int_equal(sent_count, 0);
	assert_int_equal(pipeline_waiting_count(pipeline), 1);
	hear(NEED_CAME);
	assert_int_equal(sent_count, 1);
}

static void a_bad_word_is_servfail(void **state)
{
	(void)state;
	assert_int_equal(ask("wait.nomad"), 0);
	hear(NEED_LOST);
	assert_int_equal(sent_count, 1);
	assert_int_equal(rcode_of(sent[0].bytes), DNS_SERVFAIL);
}

static void what_an_upstream_answers_goes_to_all_who_wait(void **state)
{
	(void)state;
	assert_int_equal(ask("www.example.com"), 0);
	assert_int_equal(ask("WWW.example.com"), 0);
	assert_int_equal(ask("other.example.com"), 0);
	upstream_answers("www", 5, DNS_NOERROR);
	assert_int_equal(sent_count, 2);
	expect_sent(0, "192.0.2.5");
	expect_sent(1, "192.0.2.5");
	assert_memory_equal(sent[1].bytes + 12, "\3WWW", 4);
	assert_int_equal(pipeline_waiting_count(pipeline), 1);
	assert_null(cache.kept);
	assert_int_equal(metric(metric_response(METRIC_STAGE_FORWARD, 0)), 2);
}

static void thousands_that_wait_for_one_reply_get_it_in_small_bursts(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(ask("many.example.com"), 0);
	cache.takes_replies = true;
	upstream_answers("many", 5, DNS_NOERROR);
	assert_in_range(sent_count, 1, 64);
	while (sent_count < 1000)
		uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(pipeline_waiting_count(pipeline), 0);
}

static void a_reply_that_is_not_kept_is_everybody_s_at_once(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(ask("many.example.com"), 0);
	upstream_answers("many", 5, DNS_NOERROR);
	assert_int_equal(sent_count, 100);
}

static void a_flush_reaches_what_is_under_way(void **state)
{
	(void)state;
	assert_int_equal(pipeline_flush(pipeline, (const uint8_t *)"\7example", 9), 9);
	assert_int_equal(forward.flush_count, 1);
}

static void other_upstreams_are_tried_at_once(void **state)
{
	struct config none = { 0 };
	struct upstream_list *list = upstream_list_new(&none, NULL, 0);

	(void)state;
	pipeline_set_upstreams(pipeline, list);
	assert_int_equal(cache.forgotten_count, 0);
	forward.has_other_upstreams = true;
	pipeline_set_upstreams(pipeline, list);
	assert_int_equal(cache.forgotten_count, 1);
	upstream_list_drop(list);
}

static void an_upstreams_rcode_comes_back(void **state)
{
	(void)state;
	assert_int_equal(ask("www.example.com"), 0);
	upstream_answers("www", 0, DNS_NXDOMAIN);
	assert_int_equal(rcode_of(sent[0].bytes), DNS_NXDOMAIN);
	assert_int_equal(metric(metric_response(METRIC_STAGE_FORWARD, DNS_NXDOMAIN)), 1);
}

static void a_failed_exchange_is_servfail_with_its_reason(void **state)
{
	(void)state;
	assert_int_equal(ask("www.example.com"), 0);
	upstream_fails("www");
	assert_int_equal(sent_count, 1);
	expect_sent_servfail(0, DNS_EDE_NETWORK_ERROR);
}

static void a_ceiling_of_a_stage_answers_at_once(void **state)
{
	(void)state;
	assert_true(ask("ceiling.example.com") > 0);
	assert_int_equal(rcode_of(reply), DNS_SERVFAIL);
	assert_true(ask("ceiling.nomad") > 0);
	assert_int_equal(rcode_of(reply), DNS_SERVFAIL);
	assert_int_equal(pipeline_waiting_count(pipeline), 0);
	assert_int_equal(sent_count, 0);
}

static void a_client_with_his_share_of_the_table_gets_servfail_at_once(void **state)
{
	/* Half: the other half is there for who asks next. */
	const unsigned share = WAITING_MAX / 2;

	(void)state;
	for (unsigned i = 0; i < share; i++)
		assert_int_equal(ask("wait.nomad"), 0);
	assert_int_equal(pipeline_waiting_count(pipeline), share);
	assert_int_equal(metric(METRIC_QUERIES_WAITING), share);
	host_names[0] = "www.example.com";
	host_count = 1;
	assert_true(ask("wait.nomad") > 0);
	assert_int_equal(rcode_of(reply), DNS_SERVFAIL);
	assert_true(ask("host.nomad") > 0);
	assert_int_equal(rcode_of(reply), DNS_SERVFAIL);
	assert_int_equal(metric(METRIC_QUERIES_OVER_LIMIT), 2);
	assert_true(ask("now.nomad") > 0); /* which waits for nothing */
	assert_int_equal(rcode_of(reply), DNS_NOERROR);
	hear(NEED_CAME);
	assert_in_range(sent_count, 1, 64); /* no burst that a client could not take */
	while (sent_count < share)
		uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(sent_count, share);
	assert_int_equal(pipeline_waiting_count(pipeline), 0);
	assert_int_equal(metric(METRIC_QUERIES_WAITING), 0);
	assert_int_equal(ask("wait.nomad"), 0);
}

static void a_late_reply_over_tcp_knows_its_connection(void **state)
{
	struct packet packet = packet_query("wait.nomad", DNS_TYPE_A, DNS_CLASS_IN);

	(void)state;
	assert_int_equal(ask_as(QUERY_TCP, &packet), 0);
	hear(NEED_CAME);
	assert_int_equal(sent[0].client.source, QUERY_TCP);
	assert_int_equal(sent[0].client.connection, 77);
	assert_int_equal(metric(METRIC_REQUESTS_TCP), 1);
}

/* ---- time ---- */

static void a_deadline_ends_a_query_at_nomad(void **state)
{
	(void)state;
	config.forward_timeout_ms = 60;
	assert_int_equal(ask("wait.nomad"), 0);
	run_until_sent(1);
	expect_sent_servfail(0, DNS_EDE_NO_REACHABLE_AUTHORITY);
	assert_int_equal(pipeline_waiting_count(pipeline), 0);
	assert_int_equal(metric(METRIC_QUERIES_EXPIRED), 1);
	hear(NEED_CAME);
	assert_int_equal(sent_count, 1);
}

static void a_deadline_ends_a_query_at_an_upstream(void **state)
{
	(void)state;
	config.forward_timeout_ms = 60;
	assert_int_equal(ask("www.example.com"), 0);
	run_until_sent(1);
	expect_sent_servfail(0, DNS_EDE_NO_REACHABLE_AUTHORITY);
	assert_true(list_is_empty(&forward.waiting));
	assert_int_equal(metric(METRIC_QUERIES_EXPIRED), 1);
	assert_int_equal(metric(metric_response(METRIC_STAGE_FORWARD, DNS_SERVFAIL)), 1);
}

static void every_query_that_is_late_ends(void **state)
{
	(void)state;
	config.forward_timeout_ms = 60;
	for (int i = 0; i < 5; i++)
		assert_int_equal(ask(i % 2 ? "wait.nomad" : "www.example.com"), 0);
	run_until_sent(5);
	assert_int_equal(metric(METRIC_QUERIES_EXPIRED), 5);
	assert_int_equal(pipeline_waiting_count(pipeline), 0);
}

static void the_clock_stops_when_nobody_waits(void **state)
{
	(void)state;
	assert_int_equal(ask("wait.nomad"), 0);
	assert_true(uv_loop_alive(&loop));
	hear(NEED_CAME);
	assert_false(uv_loop_alive(&loop));
}

static void what_is_known_is_served_before_the_deadline(void **state)
{
	(void)state;
	config.forward_timeout_ms = 400; /* so stale after 200 */
	assert_int_equal(ask("wait.nomad"), 0);
	assert_int_equal(ask("stale.nomad"), 0);
	run_until_sent(1);
	expect_sent(0, "10.0.0.1");
	assert_int_equal(pipeline_waiting_count(pipeline), 1);
	assert_int_equal(metric(METRIC_QUERIES_EXPIRED), 0);
	assert_int_equal(metric(METRIC_STALE_NOMAD), 1);
	hear(NEED_CAME); /* the one with nothing known has waited on */
	assert_int_equal(sent_count, 2);
	expect_sent(1, "10.0.0.1");
}

static void stale_hosts_are_resolved_too(void **state)
{
	(void)state;
	config.forward_timeout_ms = 400;
	host_names[0] = "hit.example.com";
	host_count = 1;
	assert_int_equal(ask("stalehost.nomad"), 0);
	run_until_sent(1);
	expect_sent(0, "10.0.0.1");
	assert_true(list_is_empty(&nomad.waiting));
	assert_int_equal(metric(METRIC_QUERIES_EXPIRED), 0);
}

static void who_waits_for_stale_hosts_waits_for_nomad_no_more(void **state)
{
	(void)state;
	config.forward_timeout_ms = 2000;
	host_names[0] = "www.example.com";
	host_count = 1;
	assert_int_equal(ask("stalehost.nomad"), 0);
	uv_timer_start(&guard, on_guard, 20000, 0);
	while (list_is_empty(&forward.waiting))
		uv_run(&loop, UV_RUN_ONCE);
	uv_timer_stop(&guard);
	assert_true(list_is_empty(&nomad.waiting));
	upstream_answers("www", 9, DNS_NOERROR);
	assert_int_equal(sent_count, 1);
	expect_sent(0, "192.0.2.9");
}

static void expect_stale(const uint8_t *bytes, size_t length)
{
	size_t option_length = 0;
	const uint8_t *option = find_option(bytes, length, DNS_OPTION_EDE, &option_length);

	assert_int_equal(rcode_of(bytes), DNS_NOERROR);
	assert_int_equal(load_be16(bytes + 6), 1);
	assert_non_null(option);
	assert_int_equal(load_be16(option), DNS_EDE_STALE_ANSWER);
	assert_non_null(memmem(bytes, length, "\0\0\0\x1e\0\4\x0a\0\0\1", 10)); /* TTL 30 */
}

static void a_failed_refresh_is_bridged_by_what_has_expired(void **state)
{
	(void)state;
	assert_int_equal(ask("old.example.com"), 0);
	upstream_fails("old");
	assert_int_equal(sent_count, 1);
	expect_stale(sent[0].bytes, sent[0].length);
	assert_int_equal(ask("old.example.com"), 0);
	upstream_answers("old", 1, DNS_SERVFAIL);
	assert_int_equal(sent_count, 2);
	expect_stale(sent[1].bytes, sent[1].length);
	assert_int_equal(cache.failure_count, 2);
	assert_int_equal(metric(METRIC_STALE_CACHE), 2);
}

static void a_fresh_answer_beats_what_has_expired(void **state)
{
	(void)state;
	assert_int_equal(ask("old.example.com"), 0);
	upstream_answers("old", 0, DNS_NXDOMAIN);
	assert_int_equal(sent_count, 1);
	assert_int_equal(rcode_of(sent[0].bytes), DNS_NXDOMAIN);
	assert_int_equal(cache.failure_count, 0);
	assert_int_equal(metric(METRIC_STALE_CACHE), 0);
}

static void a_late_refresh_goes_on_without_those_who_wait(void **state)
{
	uint64_t began_ms = clock_now_ms();

	(void)state;
	config.forward_timeout_ms = 400; /* so stale after 200 */
	assert_int_equal(ask("old.example.com"), 0);
	run_until_sent(1);
	expect_stale(sent[0].bytes, sent[0].length);
	assert_true(cache.retry_ms >= began_ms + 400);
	assert_int_equal(pipeline_waiting_count(pipeline), 0);
	assert_int_equal(metric(METRIC_QUERIES_EXPIRED), 0);
	upstream_answers("old", 1, DNS_NOERROR); /* nobody waits, nothing is sent twice */
	assert_int_equal(sent_count, 1);
}

static void a_stage_that_fails_at_once_is_bridged_too(void **state)
{
	(void)state;
	assert_true(ask("oldfail.example.com") > 0);
	expect_stale(reply, reply_length);
	assert_true(ask("oldceiling.example.com") > 0);
	expect_stale(reply, reply_length);
	assert_int_equal(metric(METRIC_STALE_CACHE), 2);
}

static void a_popular_name_is_asked_for_again_on_nobodys_behalf(void **state)
{
	(void)state;
	assert_true(ask("due.example.com") > 0);
	assert_int_equal(rcode_of(reply), DNS_NOERROR);
	assert_int_equal(pipeline_waiting_count(pipeline), 1);
	assert_int_equal(metric(METRIC_CACHE_PREFETCHES), 1);
	upstream_answers("due", 1, DNS_NOERROR);
	assert_int_equal(pipeline_waiting_count(pipeline), 0);
	assert_int_equal(sent_count, 0);
	assert_true(ask("due.example.com") > 0);
	upstream_fails("due");
	assert_int_equal(sent_count, 0);
	assert_int_equal(pipeline_waiting_count(pipeline), 0);
}

static void a_refresh_holds_up_no_stale_answer(void **state)
{
	(void)state;
	config.forward_timeout_ms = 2000;
	assert_true(ask("due.example.com") > 0);
	config.forward_timeout_ms = 400;
	assert_int_equal(ask("old.example.com"), 0);
	run_until_sent(1);
	assert_int_equal(pipeline_waiting_count(pipeline), 1);
	expect_stale(sent[0].bytes, sent[0].length);
}

/* ---- configuration, end ---- */

static void a_new_configuration_is_for_new_queries(void **state)
{
	struct config next;
	struct addr_net nobody;

	(void)state;
	hand_made_config(&next, zones, 1);
	assert_int_equal(addr_parse_net("192.0.2.0/24", &nobody), 0);
	next.allow = &nobody;
	next.allow_count = 1;
	pipeline_configure(pipeline, &next);
	assert_int_equal(config.references, 1000);
	assert_int_equal(next.references, 1001);
	assert_true(ask("now.nomad") > 0);
	assert_int_equal(rcode_of(reply), DNS_REFUSED);
	close_pipeline();
	assert_int_equal(next.references, 1000);
}

static void closing_forgets_what_waits(void **state)
{
	(void)state;
	host_names[0] = "www.example.com";
	host_count = 1;
	assert_int_equal(ask("wait.nomad"), 0);
	assert_int_equal(ask("www.example.com"), 0);
	assert_int_equal(ask("host.nomad"), 0);
	assert_int_equal(pipeline_waiting_count(pipeline), 4);
	close_pipeline();
	assert_int_equal(sent_count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_first_stage_that_answers_ends_the_walk),
		TEST(a_stage_that_fails_ends_the_walk_too),
		TEST(the_door_comes_before_the_stages),
		TEST(malformed_messages_never_reach_a_stage),
		TEST(an_asker_who_may_not_is_refused),
		TEST(without_forwarding_no_recursion_is_offered),
		TEST(a_query_for_nomad_is_resumed_by_its_word),
		TEST(a_word_may_make_it_wait_again),
		TEST(a_bad_word_is_servfail),
		TEST(what_an_upstream_answers_goes_to_all_who_wait),
		TEST(thousands_that_wait_for_one_reply_get_it_in_small_bursts),
		TEST(a_reply_that_is_not_kept_is_everybody_s_at_once),
		TEST(a_flush_reaches_what_is_under_way),
		TEST(other_upstreams_are_tried_at_once),
		TEST(an_upstreams_rcode_comes_back),
		TEST(a_failed_exchange_is_servfail_with_its_reason),
		TEST(a_ceiling_of_a_stage_answers_at_once),
		TEST(a_client_with_his_share_of_the_table_gets_servfail_at_once),
		TEST(a_late_reply_over_tcp_knows_its_connection),
		TEST(a_deadline_ends_a_query_at_nomad),
		TEST(a_deadline_ends_a_query_at_an_upstream),
		TEST(every_query_that_is_late_ends),
		TEST(the_clock_stops_when_nobody_waits),
		TEST(what_is_known_is_served_before_the_deadline),
		TEST(stale_hosts_are_resolved_too),
		TEST(who_waits_for_stale_hosts_waits_for_nomad_no_more),
		TEST(a_failed_refresh_is_bridged_by_what_has_expired),
		TEST(a_fresh_answer_beats_what_has_expired),
		TEST(a_late_refresh_goes_on_without_those_who_wait),
		TEST(a_stage_that_fails_at_once_is_bridged_too),
		TEST(a_popular_name_is_asked_for_again_on_nobodys_behalf),
		TEST(a_refresh_holds_up_no_stale_answer),
		TEST(a_new_configuration_is_for_new_queries),
		TEST(closing_forgets_what_waits),
	};

	return RUN(tests);
}
