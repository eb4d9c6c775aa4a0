#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dns/name.h"
#include "forward/upstream_list.h"

static char report[512];

static struct config_forward to(const char *text, const char *domain)
{
	struct config_forward forward = { .kind = CONFIG_FORWARD_NONE };

	if (strcmp(text, "none") != 0) {
		forward.kind = CONFIG_FORWARD_ADDRESS;
		assert_int_equal(addr_parse(text, 53, &forward.address), 0);
	}
	if (domain)
		forward.domain_length = (uint8_t)name_parse(domain, forward.domain);
	return forward;
}

static struct upstream_list *list_of(struct config_forward *forward, size_t count)
{
	struct config_zone zone = { .length = 7, .name = "\5nomad" };
	struct config config = {
		.forward = forward, .forward_count = count, .zone = &zone, .zone_count = 1
	};

	return upstream_list_new(&config, report, sizeof(report));
}

static enum upstream_cover cover(const struct upstream_list *list, const char *name, uint16_t type)
{
	struct question question = { .type = type };

	question.name_length = (uint8_t)name_parse(name, question.folded);
	return upstream_list_cover(list, &question);
}

static void none_refuses_all_names_but_those_of_a_domain(void **state)
{
	struct config_forward forward[] = { to("none", NULL), to("192.0.2.1", "consul") };
	struct upstream_list *list = list_of(forward, 2);

	(void)state;
	assert_true(list->forwards_nothing);
	assert_int_equal(cover(list, "www.example", DNS_TYPE_A), UPSTREAM_REFUSED);
	assert_int_equal(cover(list, "a.consul", DNS_TYPE_A), UPSTREAM_COVERED);
	upstream_list_drop(list);
}

static void a_domain_of_none_is_refused_and_only_that(void **state)
{
	struct config_forward forward[] = { to("192.0.2.1", NULL), to("none", "corp"),
					    to("192.0.2.2", "open.corp") };
	struct upstream_list *list = list_of(forward, 3);

	(void)state;
	assert_false(list->forwards_nothing);
	assert_int_equal(cover(list, "www.example", DNS_TYPE_A), UPSTREAM_COVERED);
	assert_int_equal(cover(list, "corp", DNS_TYPE_A), UPSTREAM_REFUSED);
	assert_int_equal(cover(list, "a.b.corp", DNS_TYPE_A), UPSTREAM_REFUSED);
	assert_int_equal(cover(list, "a.open.corp", DNS_TYPE_A), UPSTREAM_COVERED);
	upstream_list_drop(list);
}

static void without_upstreams_nothing_is_covered(void **state)
{
	struct upstream_list *list = list_of(NULL, 0);

	(void)state;
	assert_int_equal(cover(list, "www.example", DNS_TYPE_A), UPSTREAM_UNCOVERED);
	upstream_list_drop(list);
}

/* RFC 4035 §3.1.4.1: the parent has it. */
static void ds_of_a_domain_is_asked_above_it(void **state)
{
	struct config_forward forward[] = { to("192.0.2.1", "corp.example") };
	struct upstream_list *list = list_of(forward, 1);

	(void)state;
	assert_int_equal(cover(list, "corp.example", DNS_TYPE_A), UPSTREAM_COVERED);
	assert_int_equal(cover(list, "corp.example", DNS_TYPE_DS), UPSTREAM_UNCOVERED);
	assert_int_equal(cover(list, "a.corp.example", DNS_TYPE_DS), UPSTREAM_COVERED);
	assert_int_equal(cover(list, ".", DNS_TYPE_DS), UPSTREAM_UNCOVERED);
	upstream_list_drop(list);
}

static void domains_that_are_never_asked_about_are_named(void **state)
{
	struct config_forward forward[] = { to("192.0.2.1", "sub.nomad"), to("192.0.2.1", "onion"),
					    to("192.0.2.1", "corp") };

	(void)state;
	upstream_list_drop(list_of(forward, 3));
	assert_non_null(strstr(report, "forward=sub.nomad=… is never used: it lies in our own "
				       "zone nomad"));
	assert_non_null(strstr(report, "forward=onion=… is never used"));
	assert_null(strstr(report, "corp"));
}

/* ---- what changed ---- */

static unsigned told_count;
static uint8_t told[8][DNS_NAME_MAX];

/* Of a file with one line. */
static struct upstream_list *list_of_file(const char *line)
{
	static char path[64];
	struct config_forward forward = { .kind = CONFIG_FORWARD_FILE, .path = path };
	struct upstream_list *list;
	FILE *file;

	snprintf(path, sizeof(path), "/tmp/test-upstream-list-XXXXXX");
	file = fdopen(mkstemp(path), "w");
	assert_non_null(file);
	fputs(line, file);
	fclose(file);
	list = list_of(&forward, 1);
	unlink(path);
	return list;
}

static void servers_behind_an_interface_are_looked_for_again(void **state)
{
	static const struct {
		const char *line;
		bool is_by_interface;
	} rows[] = {
		{ "nameserver 192.0.2.1\n", false },
		{ "nameserver fe80::1%nosuchlink\n", true }, /* not there yet */
		{ "nameserver fe80::1%1\n", true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct upstream_list *list = list_of_file(rows[i].line);

		assert_int_equal(list->is_by_interface, rows[i].is_by_interface);
		upstream_list_drop(list);
	}
}

static void on_domain(void *arg, const uint8_t *name, size_t length)
{
	assert_ptr_equal(arg, &told_count);
	memcpy(told[told_count++], name, length);
}

static unsigned changes(struct config_forward *before, size_t before_count,
			struct config_forward *after, size_t after_count)
{
	struct upstream_list *old = list_of(before, before_count);
	struct upstream_list *new = list_of(after, after_count);

	told_count = 0;
	upstream_list_each_change(old, new, on_domain, &told_count);
	upstream_list_drop(old);
	upstream_list_drop(new);
	return told_count;
}

static void only_domains_with_other_upstreams_change(void **state)
{
	struct config_forward before[] = { to("192.0.2.1", NULL), to("192.0.2.2", "corp") };
	struct config_forward added[] = { to("192.0.2.1", NULL), to("192.0.2.2", "corp"),
					  to("192.0.2.3", "consul") };
	struct config_forward moved[] = { to("192.0.2.9", NULL), to("192.0.2.2", "corp") };

	(void)state;
	assert_int_equal(changes(before, 2, before, 2), 0);
	assert_int_equal(changes(before, 2, added, 3), 1);
	assert_memory_equal(told[0], "\6consul", 8);
	assert_int_equal(changes(added, 3, before, 2), 1);
	assert_memory_equal(told[0], "\6consul", 8);
	assert_int_equal(changes(before, 2, moved, 2), 2); /* gone, and come */
	assert_int_equal(told[0][0], 0);
	assert_int_equal(told[1][0], 0);
}

static void a_domain_that_is_refused_from_now_on_changes(void **state)
{
	struct config_forward before[] = { to("192.0.2.1", NULL) };
	struct config_forward after[] = { to("192.0.2.1", NULL), to("none", "corp") };

	(void)state;
	assert_int_equal(changes(before, 1, after, 2), 1);
	assert_memory_equal(told[0], "\4corp", 6);
}

static bool goes_on(struct upstream_list *old, struct upstream_list *new, const char *name,
		    uint16_t type)
{
	struct question question = { .type = type };

	question.name_length = (uint8_t)name_parse(name, question.folded);
	return upstream_list_same_route(old, new, &question);
}

static void a_question_goes_on_where_the_same_upstreams_are_meant_for_it(void **state)
{
	struct config_forward before[] = { to("192.0.2.1", NULL), to("192.0.2.2", "corp"),
					   to("192.0.2.3", "corp") };
	struct config_forward after[] = { to("192.0.2.3", "corp"), to("192.0.2.2", "corp"),
					  to("192.0.2.9", NULL), to("192.0.2.1", "deep.corp"),
					  to("none", "shut.corp") };
	struct upstream_list *old = list_of(before, 3), *new = list_of(after, 5);

	(void)state;
	assert_true(goes_on(old, old, "www.example", DNS_TYPE_A));
	assert_false(goes_on(old, new, "www.example", DNS_TYPE_A));
	assert_true(goes_on(old, new, "www.corp", DNS_TYPE_A)); /* the order does not count */
	assert_false(goes_on(old, new, "corp", DNS_TYPE_DS));
	assert_false(goes_on(old, new, "www.deep.corp", DNS_TYPE_A));
	assert_true(goes_on(old, new, "deep.corp", DNS_TYPE_DS));
	assert_false(goes_on(old, new, "www.shut.corp", DNS_TYPE_A));
	assert_false(goes_on(new, old, "www.shut.corp", DNS_TYPE_A));
	upstream_list_drop(old);
	upstream_list_drop(new);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(none_refuses_all_names_but_those_of_a_domain),
		cmocka_unit_test(a_domain_of_none_is_refused_and_only_that),
		cmocka_unit_test(without_upstreams_nothing_is_covered),
		cmocka_unit_test(ds_of_a_domain_is_asked_above_it),
		cmocka_unit_test(domains_that_are_never_asked_about_are_named),
		cmocka_unit_test(servers_behind_an_interface_are_looked_for_again),
		cmocka_unit_test(only_domains_with_other_upstreams_change),
		cmocka_unit_test(a_domain_that_is_refused_from_now_on_changes),
		cmocka_unit_test(a_question_goes_on_where_the_same_upstreams_are_meant_for_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
