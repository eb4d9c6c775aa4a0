#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/config.h"
#include "dns/name.h"
#include "forward/upstream.h"

#define WWW ((const uint8_t *)"\3www\7example")
#define WWW_BYTES 13
#define CONSUL ((const uint8_t *)"\1a\6consul")
#define CONSUL_BYTES 10

static struct addr at(const char *text)
{
	struct addr addr;

	assert_int_equal(addr_parse(text, 53, &addr), 0);
	return addr;
}

static struct config_forward to(const char *text, const char *domain)
{
	struct config_forward forward = { .kind = CONFIG_FORWARD_ADDRESS, .address = at(text) };

	if (domain)
		forward.domain_length = (uint8_t)name_parse(domain, forward.domain);
	return forward;
}

static struct upstream_list *list_of(struct config_forward *forward, size_t count)
{
	struct config config = { .forward = forward, .forward_count = count };
	char report[512];

	return upstream_list_new(&config, report, sizeof(report));
}

static struct upstream_health *health_of(struct config_forward *forward, size_t count)
{
	struct upstream_list *list = list_of(forward, count);
	struct upstream_health *health = upstream_health_new(list);

	upstream_list_drop(list); /* the health holds it */
	return health;
}

static struct upstream_health *two_upstreams(void)
{
	struct config_forward forward[] = { to("192.0.2.1", NULL), to("192.0.2.2", NULL) };

	return health_of(forward, 2);
}

static int choose(const struct upstream_health *health, uint64_t excluded)
{
	return upstream_choose(health, WWW, WWW_BYTES, excluded, 0, 0);
}

/* ---- the list ---- */

static void addresses_stand_in_the_order_given(void **state)
{
	struct config_forward forward[] = { to("192.0.2.2", NULL), to("[2001:db8::1]:5353", NULL) };
	struct upstream_list *list = list_of(forward, 2);

	(void)state;
	assert_int_equal(list->count, 2);
	assert_int_equal(list->upstream[0].addr.port, 53);
	assert_int_equal(list->upstream[1].addr.port, 5353);
	assert_false(list->forwards_nothing);
	upstream_list_drop(list);
}

static void own_addresses_are_left_out_and_said(void **state)
{
	struct addr listen[] = { at("127.0.0.1:1053"), at("[::]:53") };
	struct config_forward forward[] = { to("127.0.0.1:1053", NULL), to("127.0.0.1:53", NULL),
					    to("[::1]:53", NULL),	to("0.0.0.0:1053", NULL),
					    to("127.0.0.1:54", NULL),	to("192.0.2.1:53", NULL) };
	struct config config = {
		.listen = listen, .listen_count = 2, .forward = forward, .forward_count = 6
	};
	char report[1024];
	struct upstream_list *list = upstream_list_new(&config, report, sizeof(report));

	(void)state;
	assert_int_equal(list->count, 2);
	assert_int_equal(list->upstream[0].addr.port, 54);
	assert_non_null(strstr(report, "127.0.0.1:1053 left out"));
	assert_non_null(strstr(report, "[::1]:53 left out"));
	assert_int_equal(report[strlen(report) - 1], '\n');
	upstream_list_drop(list);
}

static void report_is_cut_at_its_capacity(void **state)
{
	struct addr listen[] = { at("127.0.0.1:53") };
	struct config_forward forward[] = { to("127.0.0.1:53", NULL), to("0.0.0.0:53", NULL) };
	struct config config = {
		.listen = listen, .listen_count = 1, .forward = forward, .forward_count = 2
	};

	(void)state;
	for (size_t capacity = 0; capacity < 200; capacity++) {
		char *report = malloc(capacity + 1);

		memset(report, 'x', capacity + 1);
		upstream_list_drop(upstream_list_new(&config, report, capacity));
		assert_int_equal(report[capacity], 'x');
		if (capacity > 0)
			assert_true(strlen(report) < capacity);
		free(report);
	}
}

static void repeated_address_counts_once(void **state)
{
	struct config_forward forward[] = { to("192.0.2.1", NULL), to("192.0.2.1", NULL),
					    to("192.0.2.1", "consul") };
	struct upstream_list *list = list_of(forward, 3);

	(void)state;
	assert_int_equal(list->count, 2);
	upstream_list_drop(list);
}

static void more_than_64_upstreams_are_left_out(void **state)
{
	static struct config_forward forward[70];
	struct upstream_list *list;
	struct upstream_health *health;

	(void)state;
	for (size_t i = 0; i < 70; i++) {
		forward[i] = to("192.0.2.1", NULL);
		forward[i].address.bytes[3] = (uint8_t)i;
	}
	list = list_of(forward, 70);
	assert_int_equal(list->count, UPSTREAM_MAX);
	health = upstream_health_new(list);
	assert_int_equal(choose(health, ~(UINT64_C(1) << 63)), 63);
	assert_int_equal(choose(health, UINT64_MAX), -1);
	upstream_health_free(health);
	upstream_list_drop(list);
}

static void file_brings_its_servers(void **state)
{
	char path[] = "/tmp/test_upstream.XXXXXX";
	struct config_forward forward[] = { { .kind = CONFIG_FORWARD_FILE, .path = path } };
	int fd = mkstemp(path);
	struct upstream_list *list;

	(void)state;
	assert_true(fd >= 0);
	assert_true(dprintf(fd, "nameserver 192.0.2.7\nnameserver 2001:db8::7\n") > 0);
	close(fd);
	list = list_of(forward, 1);
	unlink(path);
	assert_int_equal(list->count, 2);
	assert_int_equal(list->upstream[0].addr.bytes[3], 7);
	assert_int_equal(list->upstream[1].addr.port, 53);
	upstream_list_drop(list);
}

static void unreadable_file_is_reported(void **state)
{
	char path[] = "/nonexistent/resolv.conf";
	struct config_forward forward[] = { { .kind = CONFIG_FORWARD_FILE, .path = path } };
	struct config config = { .forward = forward, .forward_count = 1 };
	char report[256];
	struct upstream_list *list = upstream_list_new(&config, report, sizeof(report));

	(void)state;
	assert_int_equal(list->count, 0);
	assert_non_null(strstr(report, "cannot read upstreams from /nonexistent/resolv.conf"));
	upstream_list_drop(list);
}

static void lists_are_compared_by_what_they_hold(void **state)
{
	struct config_forward forward[] = { to("192.0.2.1", NULL), to("192.0.2.2", "consul") };
	struct upstream_list *a = list_of(forward, 2), *b = list_of(forward, 2);
	struct upstream_list *shorter = list_of(forward, 1), *other;

	(void)state;
	forward[1] = to("192.0.2.2", "corp");
	other = list_of(forward, 2);
	assert_true(upstream_list_same(a, b));
	assert_false(upstream_list_same(a, shorter));
	assert_false(upstream_list_same(a, other));
	upstream_list_drop(a);
	upstream_list_drop(b);
	upstream_list_drop(shorter);
	upstream_list_drop(other);
}

static void list_lives_until_the_last_holder_drops_it(void **state)
{
	struct config_forward forward[] = { to("192.0.2.1", NULL) };
	struct upstream_list *list = list_of(forward, 1);

	(void)state;
	assert_ptr_equal(upstream_list_hold(list), list);
	upstream_list_drop(list);
	assert_int_equal(list->count, 1);
	upstream_list_drop(list);
	upstream_list_drop(NULL);
}

/* ---- the choice ---- */

static void first_of_the_list_is_asked_first(void **state)
{
	struct upstream_health *health = two_upstreams();

	(void)state;
	assert_int_equal(choose(health, 0), 0);
	assert_int_equal(choose(health, 1), 1);
	assert_int_equal(choose(health, 3), -1);
	upstream_health_free(health);
}

static void longest_domain_wins(void **state)
{
	struct config_forward forward[] = { to("192.0.2.1", NULL), to("192.0.2.2", "consul"),
					    to("192.0.2.3", "a.consul"),
					    to("192.0.2.4", "b.consul") };
	struct upstream_health *health = health_of(forward, 4);

	(void)state;
	assert_int_equal(choose(health, 0), 0);
	assert_int_equal(upstream_choose(health, CONSUL, CONSUL_BYTES, 0, 0, 0), 2);
	/* What the domain's server does not answer is nobody else's to answer. */
	assert_int_equal(upstream_choose(health, CONSUL, CONSUL_BYTES, 4, 0, 0), -1);
	upstream_health_free(health);
}

static void name_no_upstream_is_meant_for_has_no_choice(void **state)
{
	struct config_forward forward[] = { to("192.0.2.2", "consul") };
	struct upstream_health *health = health_of(forward, 1);

	(void)state;
	assert_int_equal(choose(health, 0), -1);
	upstream_health_free(health);
}

static void late_upstream_is_asked_after_the_others(void **state)
{
	struct upstream_health *health = two_upstreams();

	(void)state;
	upstream_was_late(health, 0);
	assert_int_equal(choose(health, 0), 1);
	assert_int_equal(choose(health, 2), 0);
	upstream_health_free(health);
}

static void upstream_all_alone_is_always_asked(void **state)
{
	struct config_forward forward[] = { to("192.0.2.1", NULL) };
	struct upstream_health *health = health_of(forward, 1);

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		upstream_failed(health, 0);
		assert_int_equal(choose(health, 0), 0);
	}
	upstream_health_free(health);
}

static void one_that_lost_a_packet_is_asked_again_before_a_dead_one(void **state)
{
	struct upstream_health *health = two_upstreams();

	(void)state;
	for (unsigned i = 0; i < 10; i++)
		upstream_was_late(health, 0);
	upstream_was_late(health, 1);
	assert_int_equal(upstream_choose(health, WWW, WWW_BYTES, 0, 2, 0), 1);
	upstream_health_free(health);
}

static void one_not_asked_yet_comes_before_one_that_lost_a_packet(void **state)
{
	struct upstream_health *health = two_upstreams();

	(void)state;
	upstream_was_late(health, 0);
	upstream_was_late(health, 1);
	assert_int_equal(upstream_choose(health, WWW, WWW_BYTES, 0, 1, 0), 1);
	upstream_health_free(health);
}

static int choose_probe(struct upstream_health *health, uint64_t now_ms)
{
	return upstream_choose_probe(health, WWW, WWW_BYTES, 1, now_ms);
}

static void trusted_upstream_is_not_probed(void **state)
{
	struct upstream_health *health = two_upstreams();

	(void)state;
	assert_int_equal(choose_probe(health, 100), -1);
	upstream_health_free(health);
}

static void dead_upstream_is_probed_once_a_second(void **state)
{
	struct upstream_health *health = two_upstreams();
	unsigned probes = 0;

	(void)state;
	upstream_was_late(health, 0);
	for (uint64_t now_ms = 5000; now_ms < 15000; now_ms += 10) {
		if (choose_probe(health, now_ms) == 0) {
			upstream_was_late(health, 0);
			probes++;
		}
	}
	assert_int_equal(probes, 10);
	upstream_health_free(health);
}

static void the_one_that_is_asked_is_not_probed_as_well(void **state)
{
	struct upstream_health *health = two_upstreams();

	(void)state;
	upstream_was_late(health, 1);
	assert_int_equal(choose_probe(health, 100), -1);
	upstream_health_free(health);
}

static void upstream_of_another_domain_is_not_probed(void **state)
{
	struct config_forward forward[] = { to("192.0.2.1", NULL), to("192.0.2.2", "consul") };
	struct upstream_health *health = health_of(forward, 2);

	(void)state;
	upstream_was_late(health, 1);
	assert_int_equal(upstream_choose_probe(health, WWW, WWW_BYTES, 0, 100), -1);
	upstream_health_free(health);
}

static void answer_ends_the_doubt_and_the_next_is_looked_into_at_once(void **state)
{
	struct upstream_health *health = two_upstreams();

	(void)state;
	upstream_was_late(health, 0);
	assert_int_equal(choose_probe(health, 1000), 0);
	upstream_answered(health, 0, 20);
	assert_int_equal(choose(health, 0), 0);
	upstream_was_late(health, 0);
	assert_int_equal(choose_probe(health, 1001), 0);
	upstream_health_free(health);
}

static void two_refusals_lie_with_the_name_and_three_with_the_server(void **state)
{
	struct upstream_health *health = two_upstreams();

	(void)state;
	upstream_refused(health, 0, 5);
	upstream_refused(health, 0, 5);
	assert_int_equal(choose(health, 0), 0);
	upstream_refused(health, 0, 5);
	assert_int_equal(choose(health, 0), 1);
	upstream_health_free(health);
}

static void refusals_count_only_in_a_row(void **state)
{
	struct upstream_health *health = two_upstreams();

	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		upstream_refused(health, 0, 5);
		upstream_refused(health, 0, 5);
		upstream_answered(health, 0, 5);
	}
	assert_int_equal(choose(health, 0), 0);
	upstream_health_free(health);
}

static void slow_upstream_is_asked_after_a_fast_one_and_probed(void **state)
{
	struct upstream_health *health = two_upstreams();

	(void)state;
	upstream_answered(health, 0, 1000);
	assert_int_equal(choose(health, 0), 0); /* the other may be slower still */
	upstream_answered(health, 1, 2);
	assert_int_equal(choose(health, 0), 1);
	assert_int_equal(choose_probe(health, 5000), 0);
	assert_int_equal(choose_probe(health, 5999), -1);
	for (unsigned i = 0; i < 10; i++)
		upstream_answered(health, 0, 2);
	assert_int_equal(choose(health, 0), 0);
	upstream_health_free(health);
}

/* ---- over TLS ---- */

static struct config_forward over_tls(const char *text, const char *name)
{
	struct config_forward forward = to(text, NULL);

	forward.is_tls = true;
	strncpy(forward.tls_name, name, sizeof(forward.tls_name) - 1);
	return forward;
}

static void in_clear_is_asked_only_after_tls(void **state)
{
	struct config_forward forward[] = { to("192.0.2.1", NULL), over_tls("192.0.2.2", "") };
	struct upstream_health *health = health_of(forward, 2);

	(void)state;
	upstream_answered(health, 0, 1);
	upstream_answered(health, 1, 1400);
	for (unsigned i = 0; i < 20; i++)
		upstream_was_late(health, 1);
	assert_int_equal(choose(health, 0), 1);
	assert_int_equal(choose(health, 1 << 1), 0);
	upstream_health_free(health);
}

static void in_clear_is_not_probed_beside_tls(void **state)
{
	struct config_forward forward[] = { to("192.0.2.1", NULL), over_tls("192.0.2.2", "") };
	struct upstream_health *health = health_of(forward, 2);

	(void)state;
	upstream_failed(health, 0);
	assert_int_equal(choose_probe(health, 60000), -1);
	upstream_health_free(health);
}

static void lists_differ_in_tls_and_its_name(void **state)
{
	struct config_forward clear = to("192.0.2.1", NULL);
	struct config_forward unnamed = over_tls("192.0.2.1", "");
	struct config_forward named = over_tls("192.0.2.1", "dns.example");
	struct upstream_list *list[] = { list_of(&clear, 1), list_of(&unnamed, 1),
					 list_of(&named, 1) };

	(void)state;
	for (unsigned i = 0; i < 9; i++)
		assert_int_equal(upstream_list_same(list[i / 3], list[i % 3]), i / 3 == i % 3);
	for (unsigned i = 0; i < 3; i++)
		upstream_list_drop(list[i]);
}

static void mixed_list_is_reported_for_the_same_names_only(void **state)
{
	struct config_forward forward[] = { over_tls("192.0.2.2", "dns.example"),
					    to("192.0.2.1", "consul"), to("192.0.2.3", NULL) };
	struct config config = { .forward = forward, .forward_count = 2 };
	char report[512];

	(void)state;
	upstream_list_drop(upstream_list_new(&config, report, sizeof(report)));
	assert_string_equal(report, "");
	config.forward_count = 3;
	upstream_list_drop(upstream_list_new(&config, report, sizeof(report)));
	assert_non_null(strstr(report, "tls://192.0.2.2:53#dns.example"));
	assert_non_null(strstr(report, "192.0.2.3:53 in clear"));
}

static void folding_is_remembered_for_ten_minutes(void **state)
{
	struct upstream_health *health = two_upstreams();

	(void)state;
	assert_false(upstream_folds_case(health, 0, 1));
	upstream_has_folded(health, 0, 1000);
	assert_true(upstream_folds_case(health, 0, 600999));
	assert_false(upstream_folds_case(health, 0, 601000));
	assert_false(upstream_folds_case(health, 1, 1001));
	upstream_health_free(health);
}

/* ---- patience ---- */

static void patience_follows_the_round_trip_within_bounds(void **state)
{
	struct upstream_health *health = two_upstreams();

	(void)state;
	assert_int_equal(upstream_patience_ms(health, 0), 170);
	assert_int_equal(upstream_retry_patience_ms(health, 0),
			 600); /* nothing known: slow, perhaps */
	upstream_answered(health, 0, 1);
	assert_int_equal(upstream_patience_ms(health, 0), 170);
	assert_int_equal(upstream_retry_patience_ms(health, 0), 45);
	upstream_answered(health, 1, 100);
	assert_int_equal(upstream_patience_ms(health, 1), 500);
	assert_int_equal(upstream_retry_patience_ms(health, 1), 250);
	for (unsigned i = 0; i < 50; i++)
		upstream_answered(health, 1, 100);
	assert_in_range(upstream_patience_ms(health, 1), 300, 310);
	for (unsigned i = 0; i < 50; i++)
		upstream_answered(health, 1, 3000);
	assert_int_equal(upstream_patience_ms(health, 1), 1500);
	upstream_health_free(health);
}

static void one_late_answer_does_not_make_the_next_loss_slow(void **state)
{
	struct upstream_health *health = two_upstreams();

	(void)state;
	for (unsigned i = 0; i < 20; i++)
		upstream_answered(health, 0, 2);
	upstream_answered(health, 0, 3000);
	assert_true(upstream_patience_ms(health, 0) <= 200);
	upstream_health_free(health);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_stand_in_the_order_given),
		cmocka_unit_test(own_addresses_are_left_out_and_said),
		cmocka_unit_test(report_is_cut_at_its_capacity),
		cmocka_unit_test(repeated_address_counts_once),
		cmocka_unit_test(more_than_64_upstreams_are_left_out),
		cmocka_unit_test(file_brings_its_servers),
		cmocka_unit_test(unreadable_file_is_reported),
		cmocka_unit_test(lists_are_compared_by_what_they_hold),
		cmocka_unit_test(list_lives_until_the_last_holder_drops_it),
		cmocka_unit_test(first_of_the_list_is_asked_first),
		cmocka_unit_test(longest_domain_wins),
		cmocka_unit_test(name_no_upstream_is_meant_for_has_no_choice),
		cmocka_unit_test(late_upstream_is_asked_after_the_others),
		cmocka_unit_test(upstream_all_alone_is_always_asked),
		cmocka_unit_test(one_that_lost_a_packet_is_asked_again_before_a_dead_one),
		cmocka_unit_test(one_not_asked_yet_comes_before_one_that_lost_a_packet),
		cmocka_unit_test(trusted_upstream_is_not_probed),
		cmocka_unit_test(dead_upstream_is_probed_once_a_second),
		cmocka_unit_test(the_one_that_is_asked_is_not_probed_as_well),
		cmocka_unit_test(upstream_of_another_domain_is_not_probed),
		cmocka_unit_test(answer_ends_the_doubt_and_the_next_is_looked_into_at_once),
		cmocka_unit_test(two_refusals_lie_with_the_name_and_three_with_the_server),
		cmocka_unit_test(refusals_count_only_in_a_row),
		cmocka_unit_test(slow_upstream_is_asked_after_a_fast_one_and_probed),
		cmocka_unit_test(in_clear_is_asked_only_after_tls),
		cmocka_unit_test(in_clear_is_not_probed_beside_tls),
		cmocka_unit_test(lists_differ_in_tls_and_its_name),
		cmocka_unit_test(mixed_list_is_reported_for_the_same_names_only),
		cmocka_unit_test(folding_is_remembered_for_ten_minutes),
		cmocka_unit_test(patience_follows_the_round_trip_within_bounds),
		cmocka_unit_test(one_late_answer_does_not_make_the_next_loss_slow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
