#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <math.h>

#include "base/metrics.h"
#include "config/config.h"
#include "nomad/catalogue.h"
#include "unit/fake_zone.h"

static struct metrics metrics;
static struct config config;
static struct catalogue *catalogue;

static const struct zone_times early = { 8000, 10000, 90000, false };
static const struct zone_times late = { 18000, 20000, 100000, false };

static int open_catalogue(void **state)
{
	(void)state;
	memset(&fake_zone, 0, sizeof(fake_zone));
	memset(&metrics, 0, sizeof(metrics));
	memset(&config, 0, sizeof(config));
	catalogue = catalogue_new(&fake_zone, &config, &metrics);
	return catalogue ? 0 : -1;
}

static int close_catalogue(void **state)
{
	(void)state;
	catalogue_free(catalogue);
	return 0;
}

static uint64_t metric(enum metric which)
{
	return atomic_load(&metrics.value[which]);
}

/* ---- short forms ---- */

struct one { /* an instance in short */
	const char *id, *address;
	double port;
	const char *tag;
};

static void fill(struct catalogue_update *update, const struct one *ones, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const char *tags[] = { ones[i].tag };
		struct json_instance instance = { .id = ones[i].id,
						  .service = "",
						  .namespace = "",
						  .address = ones[i].address,
						  .port = ones[i].port,
						  .tags = tags,
						  .tag_count = ones[i].tag ? 1 : 0 };

		assert_int_equal(catalogue_add(update, &instance), 0);
	}
}

static int load(const char *namespace, const char *service, uint64_t index,
		const struct zone_times *times, const struct one *ones, size_t count)
{
	struct catalogue_update *update = catalogue_begin(catalogue, namespace, service);

	assert_non_null(update);
	fill(update, ones, count);
	return catalogue_commit(update, index, times);
}

#define LOAD(namespace, service, index, times, ...)                                                \
	load(namespace, service, index, times, (const struct one[]){ __VA_ARGS__ },                \
	     sizeof((const struct one[]){ __VA_ARGS__ }) / sizeof(struct one))

static int list(const char *namespace, uint64_t index, const char *const *names, size_t count)
{
	struct catalogue_listing *listing = catalogue_list_begin(catalogue, namespace);
	const char *tags[] = { "V1", "two words" };

	assert_non_null(listing);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(
			catalogue_list_add(listing,
					   &(struct json_listed){ namespace, names[i], tags, 2 }),
			0);
	return catalogue_list_commit(listing, index, &early, NULL, NULL);
}

#define LIST(namespace, index, ...)                                                                \
	list(namespace, index, (const char *const[]){ __VA_ARGS__ },                               \
	     sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *))

/* ---- one service ---- */

static void committed_instances_are_published(void **state)
{
	(void)state;
	assert_int_equal(LOAD("default", "web", 5, &early, { "a", "192.0.2.1", 80, "v1" },
			      { "b", "2001:db8::1", 81, NULL }),
			 0);
	assert_string_equal(fake_text("web.default"), "LOADED 192.0.2.1:80(v1) 2001:db8::1:81");
	assert_true(catalogue_has_instances(catalogue, "default", "web"));
	assert_int_equal(catalogue_service_count(catalogue), 1);
	assert_int_equal(catalogue_instance_count(catalogue), 2);
	assert_int_equal(metric(METRIC_NOMAD_INSTANCES), 2);
}

static void names_are_folded_for_the_zone(void **state)
{
	(void)state;
	LOAD("Prod", "Redis", 5, &early, { "a", "192.0.2.1", 80, NULL });
	assert_string_equal(fake_text("redis.prod"), "LOADED 192.0.2.1:80");
}

static void instances_are_counted_down_too(void **state)
{
	(void)state;
	LOAD("default", "web", 5, &early, { "a", "192.0.2.1", 80, NULL },
	     { "b", "192.0.2.2", 80, NULL });
	LOAD("default", "web", 6, &early, { "b", "192.0.2.2", 80, NULL });
	assert_int_equal(catalogue_instance_count(catalogue), 1);
	assert_int_equal(metric(METRIC_NOMAD_INSTANCES), 1);
}

static void abandoned_update_changes_nothing(void **state)
{
	struct catalogue_update *update;

	(void)state;
	LOAD("default", "web", 5, &early, { "a", "192.0.2.1", 80, NULL });
	update = catalogue_begin(catalogue, "default", "web");
	fill(update, &(struct one){ "a", "192.0.2.9", 80, NULL }, 1);
	catalogue_abandon(update);
	assert_string_equal(fake_text("web.default"), "LOADED 192.0.2.1:80");
}

static void unchanged_instances_only_move_the_times(void **state)
{
	(void)state;
	LOAD("default", "web", 5, &early, { "a", "192.0.2.1", 80, "x" }, { "b", "h.test", 1, "x" });
	LOAD("default", "web", 9, &late, { "b", "h.test", 1, "x" }, { "a", "192.0.2.1", 80, "x" });
	assert_int_equal(fake_zone.publish_count, 1);
	assert_int_equal(fake_zone.touch_count, 1);
	assert_int_equal(fake_find("web.default")->times.fresh_until_ms, 20000);
}

static void every_kind_of_change_is_published(void **state)
{
	static const struct one changes[] = {
		{ "a", "192.0.2.2", 80, "x" },	{ "a", "192.0.2.1", 81, "x" },
		{ "a", "192.0.2.1", 80, "y" },	{ "a", "192.0.2.1", 80, NULL },
		{ "a", "host.test", 80, NULL }, { "a", "hose.test", 80, NULL },
	};

	(void)state;
	LOAD("default", "web", 5, &early, { "a", "192.0.2.1", 80, "x" });
	for (unsigned i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		load("default", "web", 6, &late, &changes[i], 1);
		assert_int_equal(fake_zone.publish_count, i + 2);
	}
}

static void name_the_zone_forgot_is_published_again(void **state)
{
	(void)state;
	LOAD("default", "web", 5, &early, { "a", "192.0.2.1", 80, NULL });
	zone_withdraw(&fake_zone, "default", "web");
	LOAD("default", "web", 6, &late, { "a", "192.0.2.1", 80, NULL });
	assert_string_equal(fake_text("web.default"), "LOADED 192.0.2.1:80");
}

static void publishing_that_failed_is_made_good_by_the_next_update(void **state)
{
	(void)state;
	LOAD("default", "web", 5, &early, { "a", "192.0.2.1", 80, NULL });
	fake_zone.fail = -ENOMEM;
	assert_int_equal(LOAD("default", "web", 6, &late, { "a", "192.0.2.2", 80, NULL }), -ENOMEM);
	fake_zone.fail = 0;
	assert_int_equal(LOAD("default", "web", 6, &late, { "a", "192.0.2.2", 80, NULL }), 0);
	assert_string_equal(fake_text("web.default"), "LOADED 192.0.2.2:80");
}

static void service_without_instances_is_absent(void **state)
{
	(void)state;
	LOAD("default", "web", 5, &early, { "a", "192.0.2.1", 80, NULL });
	assert_int_equal(load("default", "web", 6, &late, NULL, 0), 0);
	assert_string_equal(fake_text("web.default"), "ABSENT");
	assert_int_equal(catalogue_service_count(catalogue), 0);
	assert_int_equal(catalogue_instance_count(catalogue), 0);
	assert_false(catalogue_has_instances(catalogue, "default", "web"));
}

static void service_with_only_unusable_instances_exists_without_records(void **state)
{
	(void)state;
	LOAD("default", "web", 5, &early, { "a", "", 80, NULL });
	assert_string_equal(fake_text("web.default"), "LOADED");
}

static void body_without_anything_readable_is_unusable(void **state)
{
	struct catalogue_update *update = catalogue_begin(catalogue, "default", "web");

	(void)state;
	assert_false(catalogue_is_unusable(update));
	catalogue_add_bad(update, "no Address");
	assert_false(catalogue_is_empty(update));
	assert_true(catalogue_is_unusable(update));
	fill(update, &(struct one){ "a", "", 80, NULL }, 1);
	assert_false(catalogue_is_unusable(update));
	catalogue_abandon(update);
}

static void list_with_anything_unreadable_is_unusable(void **state)
{
	struct catalogue_listing *listing = catalogue_list_begin(catalogue, "default");

	(void)state;
	assert_int_equal(
		catalogue_list_add(listing, &(struct json_listed){ "default", "web", NULL, 0 }), 0);
	assert_false(catalogue_list_is_unusable(listing));
	catalogue_list_add_bad(listing, "no ServiceName");
	assert_true(catalogue_list_is_unusable(listing));
	catalogue_list_abandon(listing);
}

static void unusable_instances_are_left_out_and_counted(void **state)
{
	(void)state;
	LOAD("default", "odd", 5, &early, { "1", "", 0, NULL }, { "2", "0.0.0.0", 1, NULL },
	     { "3", "::", 1, NULL }, { "4", "[::]", 1, NULL }, { "5", "fe80::1", 1, NULL },
	     { "6", "fe80::1%2", 1, NULL }, { "7", "${attr.x}", 1, NULL }, { "8", "a b", 1, NULL },
	     { "9", "192.0.2.1", 70000, NULL }, { "10", "192.0.2.1", -1, NULL },
	     { "11", "192.0.2.1", (double)NAN, NULL }, { "12", "192.0.2.1", 80.5, NULL },
	     { "13", "192.0.2.1", (double)INFINITY, NULL }, { "14", "192.0.2.3", 3, NULL });
	assert_string_equal(fake_text("odd.default"), "LOADED 192.0.2.3:3");
	assert_int_equal(metric(METRIC_NOMAD_INSTANCES_LEFT_OUT), 13);
}

static void odd_but_good_addresses_are_served(void **state)
{
	(void)state;
	LOAD("default", "odd", 5, &early, { "1", "[2001:db8::7]", 1, NULL },
	     { "2", "db.example.net.", 2, NULL }, { "3", "192.0.2.1", 0, NULL },
	     { "4", "169.254.1.1", 4, NULL });
	assert_string_equal(fake_text("odd.default"),
			    "LOADED 169.254.1.1:4 192.0.2.1:0 2001:db8::7:1 db.example.net:2");
}

static void last_of_two_with_one_id_counts(void **state)
{
	(void)state;
	LOAD("default", "web", 5, &early, { "a", "192.0.2.1", 80, NULL },
	     { "a", "192.0.2.2", 80, NULL }, { "b", "192.0.2.3", 80, NULL }, { "b", "", 80, NULL });
	assert_string_equal(fake_text("web.default"), "LOADED 192.0.2.2:80");
}

static void without_id_address_and_port_tell_instances_apart(void **state)
{
	(void)state;
	LOAD("default", "web", 5, &early, { "", "192.0.2.1", 80, NULL },
	     { "", "192.0.2.1", 81, NULL }, { "", "192.0.2.1", 80, "x" });
	assert_string_equal(fake_text("web.default"), "LOADED 192.0.2.1:80(x) 192.0.2.1:81");
}

static void tag_that_is_no_label_is_passed_over(void **state)
{
	(void)state;
	LOAD("default", "web", 5, &early, { "a", "192.0.2.1", 80, "two words" });
	assert_string_equal(fake_text("web.default"), "LOADED 192.0.2.1:80");
}

static void instances_beyond_the_ceiling_are_left_out(void **state)
{
	struct catalogue_update *update = catalogue_begin(catalogue, "default", "big");

	(void)state;
	for (int i = 0; i < 10005; i++) {
		char id[16];

		snprintf(id, sizeof(id), "%d", i);
		fill(update, &(struct one){ id, "192.0.2.1", 80, "x" }, 1);
	}
	assert_int_equal(catalogue_commit(update, 1, &early), 0);
	assert_int_equal(catalogue_instance_count(catalogue), 10000);
	assert_int_equal(metric(METRIC_NOMAD_INSTANCES_LEFT_OUT), 5);
}

static void older_word_of_a_lagging_server_does_not_replace_what_is_held(void **state)
{
	(void)state;
	LOAD("default", "web", 9, &early, { "a", "192.0.2.1", 80, NULL });
	assert_false(catalogue_keep_newer(catalogue, "default", "web", 9, &late));
	assert_false(catalogue_keep_newer(catalogue, "default", "other", 1, &late));
	assert_true(catalogue_keep_newer(catalogue, "default", "web", 8, &late));
	assert_int_equal(fake_find("web.default")->times.fresh_until_ms, 20000);
	assert_string_equal(fake_text("web.default"), "LOADED 192.0.2.1:80");
}

/* ---- names that fold together ---- */

static void names_that_fold_together_are_served_together(void **state)
{
	const char *namespaces[4], *services[4];

	(void)state;
	LIST("default", 1, "redis", "Redis");
	assert_int_equal(
		catalogue_exact_names(catalogue, "default", "redis", namespaces, services, 4), 2);
	LOAD("default", "redis", 5, &late, { "a", "192.0.2.1", 80, NULL });
	assert_string_equal(fake_text("redis.default"), "LISTED");
	LOAD("default", "Redis", 5, &early, { "b", "192.0.2.2", 80, NULL });
	assert_string_equal(fake_text("redis.default"), "LOADED 192.0.2.1:80 192.0.2.2:80");
	assert_int_equal(fake_find("redis.default")->times.fresh_until_ms, 10000);
}

static void when_one_of_two_goes_the_other_stays(void **state)
{
	(void)state;
	LOAD("default", "redis", 5, &early, { "a", "192.0.2.1", 80, NULL });
	LOAD("default", "Redis", 5, &early, { "b", "192.0.2.2", 80, NULL });
	load("default", "redis", 6, &late, NULL, 0);
	assert_string_equal(fake_text("redis.default"), "LOADED 192.0.2.2:80");
}

/* ---- lists ---- */

static void listed_names_are_known_to_exist(void **state)
{
	(void)state;
	assert_int_equal(LIST("default", 1, "web", "db"), 0);
	assert_string_equal(fake_text("web.default"), "LISTED");
	assert_string_equal(fake_text("db.default"), "LISTED");
	assert_string_equal(fake_text("default"), "LOADED v1");
	assert_int_equal(catalogue_service_count(catalogue), 2);
	assert_false(catalogue_has_instances(catalogue, "default", "web"));
}

static void list_keeps_the_records_of_names_that_stay(void **state)
{
	(void)state;
	LOAD("default", "web", 5, &early, { "a", "192.0.2.1", 80, NULL });
	LIST("default", 6, "web", "db");
	assert_string_equal(fake_text("web.default"), "LOADED 192.0.2.1:80");
}

static void names_that_left_the_list_are_gone(void **state)
{
	(void)state;
	LIST("default", 4, "web", "db");
	LOAD("default", "web", 5, &early, { "a", "192.0.2.1", 80, NULL });
	LIST("default", 6, "db");
	assert_null(fake_find("web.default"));
	assert_int_equal(catalogue_service_count(catalogue), 1);
	assert_int_equal(catalogue_instance_count(catalogue), 0);
}

static void name_fetched_after_the_list_was_made_stays(void **state)
{
	(void)state;
	LOAD("default", "web", 7, &early, { "a", "192.0.2.1", 80, NULL });
	LIST("default", 6, "db");
	assert_string_equal(fake_text("web.default"), "LOADED 192.0.2.1:80");
}

static void list_of_one_namespace_leaves_others_alone(void **state)
{
	(void)state;
	LIST("default", 1, "web");
	LIST("prod", 2, "db");
	assert_string_equal(fake_text("web.default"), "LISTED");
}

static void empty_list_makes_the_namespace_absent(void **state)
{
	(void)state;
	LIST("default", 1, "web");
	assert_int_equal(list("default", 2, NULL, 0), 0);
	assert_string_equal(fake_text("default"), "ABSENT");
	assert_null(fake_find("web.default"));
}

static void abandoned_list_changes_nothing(void **state)
{
	struct catalogue_listing *listing;

	(void)state;
	LIST("default", 1, "web");
	listing = catalogue_list_begin(catalogue, "default");
	catalogue_list_abandon(listing);
	assert_string_equal(fake_text("web.default"), "LISTED");
}

static void listed_name_that_is_no_label_has_no_name(void **state)
{
	char longer[70];

	(void)state;
	memset(longer, 'a', sizeof(longer));
	longer[64] = '\0';
	LIST("default", 1, "web", "a.b", "", longer);
	assert_int_equal(catalogue_service_count(catalogue), 1);
	assert_int_equal(metric(METRIC_NOMAD_INSTANCES_LEFT_OUT), 3);
}

static void list_that_could_not_be_published_is_no_truth(void **state)
{
	(void)state;
	LIST("default", 1, "web");
	fake_zone.fail = -ENOMEM;
	assert_int_equal(LIST("default", 2, "db"), -ENOMEM);
	fake_zone.fail = 0;
	assert_string_equal(fake_text("web.default"), "LISTED");
	assert_int_equal(catalogue_service_count(catalogue), 1);
}

static void absent_name_that_is_listed_again_exists(void **state)
{
	(void)state;
	load("default", "web", 6, &early, NULL, 0);
	assert_string_equal(fake_text("web.default"), "ABSENT");
	LIST("default", 7, "web");
	assert_string_equal(fake_text("web.default"), "LISTED");
}

static void settled_absent_name_is_taken_back(void **state)
{
	(void)state;
	load("default", "web", 6, &early, NULL, 0);
	catalogue_settle_absent(catalogue, "default", "web");
	assert_null(fake_find("web.default"));
	LOAD("default", "db", 6, &early, { "a", "192.0.2.1", 80, NULL });
	catalogue_settle_absent(catalogue, "default", "db");
	assert_string_equal(fake_text("db.default"), "LOADED 192.0.2.1:80");
}

/* ---- configuration ---- */

static void namespace_outside_the_configured_ones_never_appears(void **state)
{
	char *allowed[] = { "prod" };

	(void)state;
	LIST("default", 1, "web");
	config.namespace = allowed;
	config.namespace_count = 1;
	catalogue_configure(catalogue, &config);
	assert_null(fake_find("web.default"));
	assert_null(fake_find("default"));
	LOAD("default", "web", 5, &early, { "a", "192.0.2.1", 80, NULL });
	LIST("default", 1, "web");
	assert_null(fake_find("web.default"));
	LOAD("prod", "web", 5, &early, { "a", "192.0.2.1", 80, NULL });
	assert_string_equal(fake_text("web.prod"), "LOADED 192.0.2.1:80");
}

static void folded_label_leads_to_the_configured_namespace(void **state)
{
	char *allowed[] = { "Prod", "other", "prod" };
	const char *out[4];

	(void)state;
	assert_int_equal(catalogue_exact_namespaces(catalogue, "prod", out, 4), 1);
	assert_string_equal(out[0], "prod");
	config.namespace = allowed;
	config.namespace_count = 3;
	catalogue_configure(catalogue, &config);
	assert_int_equal(catalogue_exact_namespaces(catalogue, "prod", out, 4), 2);
	assert_string_equal(out[0], "Prod");
	assert_int_equal(catalogue_exact_namespaces(catalogue, "default", out, 4), 0);
}

static void new_ttl_is_published_though_nothing_changed(void **state)
{
	unsigned before;

	(void)state;
	config.reverse = true;
	catalogue_configure(catalogue, &config);
	LOAD("default", "web", 5, &early, { "a", "192.0.2.1", 80, NULL });
	LIST("default", 5, "web", "db");
	before = fake_zone.publish_count;
	catalogue_configure(catalogue, &config);
	assert_int_equal(fake_zone.publish_count, before);
	config.ttl_s = 7;
	catalogue_configure(catalogue, &config);
	assert_int_equal(fake_zone.publish_count, before + 2); /* web and its address */
	assert_int_equal(fake_find("web.default")->times.fresh_until_ms, 10000);
}

/* ---- reverse ---- */

static void with_reverse_addresses_lead_to_names(void **state)
{
	(void)state;
	config.reverse = true;
	catalogue_configure(catalogue, &config);
	LOAD("default", "web", 5, &early, { "a", "192.0.2.1", 80, NULL },
	     { "b", "192.0.2.1", 81, NULL }, { "c", "h.test", 1, NULL });
	LOAD("default", "db", 5, &early, { "a", "192.0.2.1", 80, NULL });
	assert_string_equal(fake_text("192.0.2.1"), "web.default db.default");
	LOAD("default", "web", 6, &early, { "a", "192.0.2.2", 80, NULL });
	assert_string_equal(fake_text("192.0.2.1"), "db.default");
	assert_string_equal(fake_text("192.0.2.2"), "web.default");
	load("default", "web", 7, &early, NULL, 0);
	assert_null(fake_find("192.0.2.2"));
}

static void without_reverse_addresses_lead_nowhere(void **state)
{
	(void)state;
	LOAD("default", "web", 5, &early, { "a", "192.0.2.1", 80, NULL });
	assert_null(fake_find("192.0.2.1"));
	config.reverse = true;
	catalogue_configure(catalogue, &config);
	assert_string_equal(fake_text("192.0.2.1"), "web.default");
	config.reverse = false;
	catalogue_configure(catalogue, &config);
	assert_null(fake_find("192.0.2.1"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_catalogue, close_catalogue)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(committed_instances_are_published),
		TEST(names_are_folded_for_the_zone),
		TEST(abandoned_update_changes_nothing),
		TEST(instances_are_counted_down_too),
		TEST(unchanged_instances_only_move_the_times),
		TEST(every_kind_of_change_is_published),
		TEST(name_the_zone_forgot_is_published_again),
		TEST(publishing_that_failed_is_made_good_by_the_next_update),
		TEST(service_without_instances_is_absent),
		TEST(service_with_only_unusable_instances_exists_without_records),
		TEST(body_without_anything_readable_is_unusable),
		TEST(list_with_anything_unreadable_is_unusable),
		TEST(unusable_instances_are_left_out_and_counted),
		TEST(odd_but_good_addresses_are_served),
		TEST(last_of_two_with_one_id_counts),
		TEST(without_id_address_and_port_tell_instances_apart),
		TEST(tag_that_is_no_label_is_passed_over),
		TEST(instances_beyond_the_ceiling_are_left_out),
		TEST(older_word_of_a_lagging_server_does_not_replace_what_is_held),
		TEST(names_that_fold_together_are_served_together),
		TEST(when_one_of_two_goes_the_other_stays),
		TEST(listed_names_are_known_to_exist),
		TEST(list_keeps_the_records_of_names_that_stay),
		TEST(names_that_left_the_list_are_gone),
		TEST(name_fetched_after_the_list_was_made_stays),
		TEST(list_of_one_namespace_leaves_others_alone),
		TEST(empty_list_makes_the_namespace_absent),
		TEST(abandoned_list_changes_nothing),
		TEST(listed_name_that_is_no_label_has_no_name),
		TEST(list_that_could_not_be_published_is_no_truth),
		TEST(absent_name_that_is_listed_again_exists),
		TEST(settled_absent_name_is_taken_back),
		TEST(namespace_outside_the_configured_ones_never_appears),
		TEST(folded_label_leads_to_the_configured_namespace),
		TEST(new_ttl_is_published_though_nothing_changed),
		TEST(with_reverse_addresses_lead_to_names),
		TEST(without_reverse_addresses_lead_nowhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
