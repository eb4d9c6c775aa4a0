#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "config/config.h"
#include "dns/name.h"
#include "dns/question.h"
#include "forward/loop.h"
#include "forward/upstream.h"

#define NOW_MS 1000000
#define MIXED "\20aBcDeFgHiJkLmNoP"

static struct upstream_list *list;

/* One for everything, one for "consul". */
static int set_up(void **state)
{
	struct config_forward forward[2] = {
		{ .kind = CONFIG_FORWARD_ADDRESS,
		  .address = { .family = AF_INET, .port = 53, .bytes = { 192, 0, 2, 1 } } },
		{ .kind = CONFIG_FORWARD_ADDRESS,
		  .address = { .family = AF_INET, .port = 53, .bytes = { 192, 0, 2, 2 } },
		  .domain_length = 8 },
	};
	struct config config = { .forward = forward, .forward_count = 2 };

	(void)state;
	memcpy(forward[1].domain, "\6consul", 8);
	list = upstream_list_new(&config, NULL, 0);
	return list && list->count == 2 ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	upstream_list_drop(list);
	return 0;
}

static int find(const void *name, size_t length, uint64_t now_ms, bool *out_is_new)
{
	struct question question = { .name_length = (uint8_t)length };

	memcpy(question.name, name, length);
	name_fold(question.name, length, question.folded);
	return loop_find(list, &question, now_ms, out_is_new);
}

static bool is_suspected(const void *name, size_t length)
{
	struct question question = { .name_length = (uint8_t)length };

	memcpy(question.name, name, length);
	return loop_is_suspected(list, &question);
}

static void name_that_comes_back_in_its_case_is_suspect_and_no_more(void **state)
{
	bool is_new = false;

	(void)state;
	loop_note_asked(list, (const uint8_t *)MIXED, 18);
	assert_true(is_suspected(MIXED, 18));
	assert_int_equal(find(MIXED, 18, NOW_MS, &is_new), -1);
	assert_false(is_new);
	assert_false(loop_is_known(&list->upstream[0], NOW_MS));
	assert_false(loop_is_known(&list->upstream[1], NOW_MS));
}

static void name_in_another_case_is_somebody_elses(void **state)
{
	(void)state;
	loop_note_asked(list, (const uint8_t *)MIXED, 18);
	assert_false(is_suspected("\20AbCdEfGhIjKlMnOp", 18));
	assert_false(is_suspected("\20abcdefghijklmnop", 18));
}

static void name_with_few_letters_or_of_one_case_tells_nothing(void **state)
{
	(void)state;
	loop_note_asked(list, (const uint8_t *)"\4aBcD", 6);
	assert_false(is_suspected("\4aBcD", 6));
	loop_note_asked(list, (const uint8_t *)"\20abcdefghijklmnop", 18);
	assert_false(is_suspected("\20abcdefghijklmnop", 18));
}

static void name_made_for_an_upstream_tells_that_it_leads_back(void **state)
{
	uint8_t name[2][DNS_NAME_MAX], text[NAME_TEXT_MAX];
	size_t length[2];
	bool is_new = false;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		length[i] = loop_make_name(&list->upstream[i], NOW_MS, name[i]);
		assert_int_equal(name_length(name[i], length[i]), length[i]);
	}
	name_format(name[0] + 33, (char *)text);
	assert_string_equal(text, "nomad-dns-loop-check.example");
	name_format(name[1] + 33, (char *)text);
	assert_string_equal(text, "nomad-dns-loop-check.consul");
	assert_int_equal(find(name[1], length[1], NOW_MS + 100, &is_new), 1);
	assert_true(is_new);
	assert_int_equal(find(name[0], length[0], NOW_MS + 200, &is_new), 0);
	is_new = false;
	name[0][1] = name[0][1] == 'a' ? 'b' : 'a'; /* nobody guesses 128 bits, nor half of them */
	assert_int_equal(find(name[0], length[0], NOW_MS + 200, &is_new), -1);
	assert_false(is_new);
}

static void such_a_name_counts_for_some_seconds(void **state)
{
	uint8_t name[DNS_NAME_MAX], again[DNS_NAME_MAX];
	size_t length = loop_make_name(&list->upstream[0], NOW_MS, name);
	bool is_new;

	(void)state;
	assert_int_equal(find(name, length, NOW_MS + LOOP_LISTEN_MS, &is_new), -1);
	assert_int_equal(loop_make_name(&list->upstream[0], NOW_MS, again), length);
	assert_memory_not_equal(name, again, length);
	assert_int_equal(find(name, length, NOW_MS, &is_new), -1);
	assert_int_equal(find(again, length, NOW_MS, &is_new), 0);
}

static void before_any_was_made_none_fits(void **state)
{
	static const char zeros[] = "\x20"
				    "00000000000000000000000000000000"
				    "\x14nomad-dns-loop-check\7example";
	bool is_new;

	(void)state;
	assert_int_equal(find(zeros, sizeof(zeros), 1, &is_new), -1);
}

static void a_domain_that_leaves_no_room_is_not_looked_into(void **state)
{
	uint8_t name[DNS_NAME_MAX];

	(void)state;
	list->upstream[1].domain_length = 250;
	assert_int_equal(loop_make_name(&list->upstream[1], NOW_MS, name), 0);
}

static void it_is_said_once_and_its_end_too(void **state)
{
	struct upstream *upstream = &list->upstream[0];
	bool is_new = false;
	uint8_t name[DNS_NAME_MAX];
	size_t length = loop_make_name(upstream, NOW_MS, name);

	(void)state;
	assert_false(loop_has_ended(upstream, NOW_MS));
	find(name, length, NOW_MS, &is_new);
	assert_true(is_new);
	find(name, length, NOW_MS + 1, &is_new);
	assert_false(is_new);
	assert_false(loop_has_ended(upstream, NOW_MS + LOOP_KEPT_MS));
	assert_true(loop_has_ended(upstream, NOW_MS + 1 + LOOP_KEPT_MS));
	assert_false(loop_has_ended(upstream, NOW_MS + 1 + LOOP_KEPT_MS));
}

static void it_is_looked_for_at_once_and_then_ever_more_seldom(void **state)
{
	uint64_t now_ms = NOW_MS;

	(void)state;
	for (uint64_t pause_ms = 1000; pause_ms <= 64000; pause_ms *= 2) {
		assert_true(loop_is_check_due(list, now_ms));
		assert_false(loop_is_check_due(list, now_ms + pause_ms - 1));
		now_ms += pause_ms;
	}
	assert_true(loop_is_check_due(list, now_ms));
	assert_false(loop_is_check_due(list, now_ms + 63999));
	now_ms += 64000 + 600000; /* it was quiet for long */
	assert_true(loop_is_check_due(list, now_ms));
	assert_true(loop_is_check_due(list, now_ms + 1000));
}

/* While it leads back it is looked into again before that is forgotten. */
static void a_second_look_comes_before_the_end(void **state)
{
	(void)state;
	assert_true(LOOP_RECHECK_MS + LOOP_LISTEN_MS < LOOP_KEPT_MS);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(name_that_comes_back_in_its_case_is_suspect_and_no_more),
		TEST(name_in_another_case_is_somebody_elses),
		TEST(name_with_few_letters_or_of_one_case_tells_nothing),
		TEST(name_made_for_an_upstream_tells_that_it_leads_back),
		TEST(such_a_name_counts_for_some_seconds),
		TEST(before_any_was_made_none_fits),
		TEST(a_domain_that_leaves_no_room_is_not_looked_into),
		TEST(it_is_said_once_and_its_end_too),
		TEST(it_is_looked_for_at_once_and_then_ever_more_seldom),
		TEST(a_second_look_comes_before_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
