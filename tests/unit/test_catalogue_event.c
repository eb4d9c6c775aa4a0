/* One change at a time, and the list of the whole cluster: what the zone is told of it. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>

#include "base/metrics.h"
#include "config/config.h"
#include "nomad/catalogue.h"
#include "unit/fake_zone.h"

static struct metrics metrics;
static struct config config;
static struct catalogue *catalogue;
static char gone_text[256]; /* what on_gone was told: "default/web;" */

static const struct zone_times live = { ZONE_LIVE, ZONE_LIVE, 90000, false };
static const struct zone_times short_lived = { 8000, 10000, 90000, false };

static int open_catalogue(void **state)
{
	(void)state;
	memset(&fake_zone, 0, sizeof(fake_zone));
	memset(&metrics, 0, sizeof(metrics));
	memset(&config, 0, sizeof(config));
	config.max_stale_ms = 5000;
	gone_text[0] = '\0';
	zone_set_live(&fake_zone, ZONE_LIVE_NAMES, 1);
	catalogue = catalogue_new(&fake_zone, &config, &metrics);
	return catalogue ? 0 : -1;
}

static int close_catalogue(void **state)
{
	(void)state;
	catalogue_free(catalogue);
	return 0;
}

/* ---- short forms ---- */

static struct json_instance instance_of(const char *namespace, const char *service, const char *id,
					const char *address, const char *const *tags)
{
	return (struct json_instance){ .id = id,
				       .service = service,
				       .namespace = namespace,
				       .address = address,
				       .port = 80,
				       .tags = tags,
				       .tag_count = tags ? 1 : 0 };
}

/* Loads default/web with instances "a", "b" … at 192.0.2.1, .2 … */
static int load_at(const char *service, uint64_t index, const struct zone_times *times,
		   unsigned count)
{
	struct catalogue_update *update = catalogue_begin(catalogue, "default", service);

	for (unsigned i = 0; i < count; i++) {
		char id[2] = { (char)('a' + i), '\0' }, address[16];
		struct json_instance instance = instance_of("default", service, id, address, NULL);

		snprintf(address, sizeof(address), "192.0.2.%u", i + 1);
		assert_int_equal(catalogue_add(update, &instance), 0);
	}
	catalogue_know_names(update); /* as they are behind a list of all */
	return catalogue_commit(update, index, times);
}

static void load(uint64_t index, unsigned count)
{
	assert_int_equal(load_at("web", index, &live, count), 0);
}

static int happen_to(const char *namespace, const char *service, uint64_t index, bool is_removal,
		     const char *id, const char *address, const char *tag)
{
	struct json_event event = { .topic = "Service",
				    .type = "",
				    .key = id,
				    .namespace = namespace,
				    .index = index,
				    .has_service = true,
				    .service = instance_of(namespace, service, id, address,
							   tag ? &tag : NULL) };

	return catalogue_event(catalogue, &event, is_removal, &live);
}

static int come(uint64_t index, const char *id, const char *address)
{
	return happen_to("default", "web", index, false, id, address, NULL);
}

static int go(uint64_t index, const char *id)
{
	return happen_to("default", "web", index, true, id, "192.0.2.99", NULL);
}

static void on_gone(void *arg, const char *namespace, const char *service)
{
	size_t length = strlen(gone_text);

	assert_ptr_equal(arg, &gone_text);
	snprintf(gone_text + length, sizeof(gone_text) - length, "%s/%s;", namespace, service);
}

/* `names`: "default/web prod/db" */
static int list_all(uint64_t index, bool is_whole, const char *names)
{
	struct catalogue_all *all = catalogue_all_begin(catalogue);
	char copy[200], *at = copy, *name;
	const char *tags[] = { "V1" };

	assert_non_null(all);
	assert_int_equal(catalogue_all_part(all, NULL, index), 0);
	snprintf(copy, sizeof(copy), "%s", names);
	while ((name = strsep(&at, " ")) && name[0]) {
		char *namespace = strsep(&name, "/");

		assert_int_equal(
			catalogue_all_add(all, &(struct json_listed){ namespace, name, tags, 1 }),
			0);
	}
	gone_text[0] = '\0';
	return catalogue_all_commit(all, is_whole, &live, on_gone, &gone_text);
}

static bool is_live(const char *key)
{
	return fake_find(key)->times.fresh_until_ms == ZONE_LIVE;
}

/* ---- a name that is loaded ---- */

static void a_new_instance_is_published(void **state)
{
	(void)state;
	load(10, 1);
	assert_int_equal(come(11, "b", "192.0.2.2"), CATALOGUE_APPLIED);
	assert_string_equal(fake_text("web.default"), "LOADED 192.0.2.1:80 192.0.2.2:80");
	assert_true(is_live("web.default"));
	assert_int_equal(catalogue_instance_count(catalogue), 2);
}

static void a_changed_instance_takes_its_own_place(void **state)
{
	(void)state;
	load(10, 2);
	assert_int_equal(happen_to("default", "web", 11, false, "a", "192.0.2.7", "v2"),
			 CATALOGUE_APPLIED);
	assert_string_equal(fake_text("web.default"), "LOADED 192.0.2.2:80 192.0.2.7:80(v2)");
}

static void a_removed_instance_is_gone_at_once(void **state)
{
	(void)state;
	load(10, 3);
	assert_int_equal(go(11, "b"), CATALOGUE_APPLIED);
	assert_string_equal(fake_text("web.default"), "LOADED 192.0.2.1:80 192.0.2.3:80");
	assert_int_equal(catalogue_instance_count(catalogue), 2);
}

static void what_a_reply_covers_is_old(void **state)
{
	(void)state;
	load(10, 2);
	assert_int_equal(go(10, "a"), CATALOGUE_OLD);
	assert_int_equal(come(9, "c", "192.0.2.3"), CATALOGUE_OLD);
	assert_string_equal(fake_text("web.default"), "LOADED 192.0.2.1:80 192.0.2.2:80");
	assert_int_equal(fake_zone.publish_count, 1);
}

static void all_events_of_one_index_count(void **state)
{
	(void)state;
	load(10, 3);
	assert_int_equal(go(11, "a"), CATALOGUE_APPLIED);
	assert_int_equal(go(11, "c"), CATALOGUE_APPLIED);
	assert_string_equal(fake_text("web.default"), "LOADED 192.0.2.2:80");
	assert_int_equal(go(11, "a"), CATALOGUE_OLD);
	assert_int_equal(come(10, "a", "192.0.2.1"), CATALOGUE_OLD);
	assert_string_equal(fake_text("web.default"), "LOADED 192.0.2.2:80");
}

static void the_same_event_twice_is_one(void **state)
{
	unsigned published;

	(void)state;
	load(10, 1);
	assert_int_equal(come(11, "b", "192.0.2.2"), CATALOGUE_APPLIED);
	published = fake_zone.publish_count;
	come(11, "b", "192.0.2.2");
	assert_int_equal(fake_zone.publish_count, published);
	assert_string_equal(fake_text("web.default"), "LOADED 192.0.2.1:80 192.0.2.2:80");
}

static void the_last_instance_stays_until_it_is_settled(void **state)
{
	(void)state;
	load(10, 1);
	assert_int_equal(go(11, "a"), CATALOGUE_LAST_GONE);
	assert_int_equal(go(11, "a"), CATALOGUE_OLD);
	assert_string_equal(fake_text("web.default"), "LOADED 192.0.2.1:80");
	assert_true(is_live("web.default"));
	assert_true(catalogue_remove_now(catalogue, "default", "web", &live));
	assert_string_equal(fake_text("web.default"), "ABSENT");
	assert_string_equal(fake_text("default"), "ABSENT");
	assert_int_equal(catalogue_service_count(catalogue), 0);
	assert_int_equal(catalogue_instance_count(catalogue), 0);
	assert_false(catalogue_remove_now(catalogue, "default", "web", &live));
}

static void a_restart_changes_nothing_that_is_seen(void **state)
{
	(void)state;
	load(10, 1);
	assert_int_equal(go(11, "a"), CATALOGUE_LAST_GONE);
	assert_int_equal(come(12, "a", "192.0.2.1"), CATALOGUE_APPLIED);
	assert_int_equal(fake_zone.publish_count, 2); /* the second is the namespace's */
	assert_false(catalogue_remove_now(catalogue, "default", "web", &live));
	assert_string_equal(fake_text("web.default"), "LOADED 192.0.2.1:80");
}

static void what_comes_after_the_last_went_stands_alone(void **state)
{
	(void)state;
	load(10, 1);
	go(11, "a");
	assert_int_equal(come(12, "z", "192.0.2.9"), CATALOGUE_APPLIED);
	assert_string_equal(fake_text("web.default"), "LOADED 192.0.2.9:80");
}

static void a_name_that_was_settled_is_not_revived_by_history(void **state)
{
	(void)state;
	list_all(10, true, "default/web");
	load(10, 1);
	go(15, "a");
	catalogue_remove_now(catalogue, "default", "web", &live);
	assert_int_equal(come(14, "a", "192.0.2.1"), CATALOGUE_OLD);
	assert_int_equal(come(15, "a", "192.0.2.1"), CATALOGUE_OLD);
	assert_int_equal(load_at("web", 14, &live, 1), -EAGAIN);
	assert_string_equal(fake_text("web.default"), "ABSENT");
	assert_int_equal(come(16, "a", "192.0.2.1"), CATALOGUE_NEW_NAMESPACE);
	assert_string_equal(fake_text("web.default"), "LISTED");
}

static void an_unusable_instance_keeps_the_name(void **state)
{
	(void)state;
	load(10, 1);
	assert_int_equal(come(11, "b", ""), CATALOGUE_APPLIED);
	assert_int_equal(go(12, "a"), CATALOGUE_APPLIED);
	assert_string_equal(fake_text("web.default"), "LOADED");
	assert_int_equal(catalogue_instance_count(catalogue), 0);
	assert_int_equal(go(13, "b"), CATALOGUE_LAST_GONE);
}

static void an_instance_that_becomes_unusable_is_left_out(void **state)
{
	(void)state;
	load(10, 2);
	assert_int_equal(come(11, "a", "0.0.0.0"), CATALOGUE_APPLIED);
	assert_string_equal(fake_text("web.default"), "LOADED 192.0.2.2:80");
	assert_int_equal(come(12, "a", "192.0.2.5"), CATALOGUE_APPLIED);
	assert_string_equal(fake_text("web.default"), "LOADED 192.0.2.2:80 192.0.2.5:80");
}

static void tags_and_hosts_survive_a_change_beside_them(void **state)
{
	(void)state;
	load(10, 1);
	happen_to("default", "web", 11, false, "b", "host.example", "v1");
	happen_to("default", "web", 12, false, "c", "2001:db8::1", "v1");
	assert_string_equal(fake_text("web.default"),
			    "LOADED 192.0.2.1:80 2001:db8::1:80(v1) host.example:80(v1)");
	go(13, "a");
	assert_string_equal(fake_text("web.default"),
			    "LOADED 2001:db8::1:80(v1) host.example:80(v1)");
}

/* ---- what is held is not the truth ---- */

static void an_event_on_what_only_has_a_lifetime_marks_it(void **state)
{
	(void)state;
	assert_int_equal(load_at("web", 10, &short_lived, 2), 0);
	assert_int_equal(go(11, "a"), CATALOGUE_MARKED);
	assert_string_equal(fake_text("web.default"), "LOADED 192.0.2.2:80");
	assert_int_equal(fake_find("web.default")->times.fresh_until_ms, 0);
	load(11, 1);
	assert_true(is_live("web.default"));
	assert_int_equal(come(12, "b", "192.0.2.2"), CATALOGUE_APPLIED);
	assert_true(is_live("web.default"));
}

static void an_event_after_a_missed_one_does_not_make_it_true(void **state)
{
	(void)state;
	load(10, 2);
	zone_expire_live(&fake_zone, 1000);
	assert_int_equal(come(12, "c", "192.0.2.3"), CATALOGUE_MARKED);
	assert_string_equal(fake_text("web.default"),
			    "LOADED 192.0.2.1:80 192.0.2.2:80 192.0.2.3:80");
	assert_false(is_live("web.default"));
	assert_int_equal(come(13, "d", "192.0.2.4"), CATALOGUE_MARKED);
}

static void a_removal_is_heard_whatever_is_held(void **state)
{
	(void)state;
	assert_int_equal(load_at("web", 10, &short_lived, 1), 0);
	assert_int_equal(go(11, "a"), CATALOGUE_MARKED);
	assert_string_equal(fake_text("web.default"), "LISTED"); /* it may have others by now */
}

static void a_late_reply_does_not_undo_an_event(void **state)
{
	(void)state;
	load(10, 2);
	assert_int_equal(go(12, "a"), CATALOGUE_APPLIED);
	assert_int_equal(load_at("web", 11, &live, 2), 0);
	assert_string_equal(fake_text("web.default"), "LOADED 192.0.2.2:80");
	assert_int_equal(load_at("web", 11, &live, 0), 0);
	assert_string_equal(fake_text("web.default"), "LOADED 192.0.2.2:80");
	load(12, 1);
	assert_string_equal(fake_text("web.default"), "LOADED 192.0.2.1:80");
}

static void a_late_reply_on_a_marked_name_is_asked_again(void **state)
{
	(void)state;
	list_all(10, true, "default/web");
	assert_int_equal(come(12, "b", "192.0.2.2"), CATALOGUE_MARKED);
	assert_int_equal(load_at("web", 11, &live, 1), -EAGAIN);
	assert_string_equal(fake_text("web.default"), "LISTED");
	assert_int_equal(load_at("web", 12, &live, 2), 0);
	assert_string_equal(fake_text("web.default"), "LOADED 192.0.2.1:80 192.0.2.2:80");
}

static void without_events_replies_may_come_from_any_server(void **state)
{
	(void)state;
	load(10, 2);
	go(12, "a");
	zone_set_live(&fake_zone, ZONE_LIVE_NOT, 5);
	assert_int_equal(load_at("web", 8, &short_lived, 1), 0);
	assert_string_equal(fake_text("web.default"), "LOADED 192.0.2.1:80");
}

static void with_a_filter_an_addition_only_marks(void **state)
{
	char filter[] = "\"canary\" not in Tags";

	(void)state;
	config.filter = filter;
	catalogue_configure(catalogue, &config);
	load(10, 2);
	assert_int_equal(go(11, "x"), CATALOGUE_OLD);
	assert_int_equal(go(12, "a"), CATALOGUE_APPLIED);
	assert_string_equal(fake_text("web.default"), "LOADED 192.0.2.2:80");
	assert_int_equal(come(13, "c", "192.0.2.3"), CATALOGUE_MARKED);
	assert_string_equal(fake_text("web.default"), "LOADED 192.0.2.2:80");
	assert_false(is_live("web.default"));
}

static void with_a_filter_replies_older_than_an_event_do_not_count(void **state)
{
	char filter[] = "\"canary\" not in Tags";

	(void)state;
	config.filter = filter;
	catalogue_configure(catalogue, &config);
	load(10, 1);
	assert_int_equal(come(12, "b", "192.0.2.2"), CATALOGUE_MARKED);
	assert_int_equal(fake_find("web.default")->times.fresh_until_ms, 0);
	assert_int_equal(load_at("web", 11, &live, 1), -EAGAIN);
	assert_int_equal(go(13, "a"), CATALOGUE_MARKED);
	assert_int_equal(load_at("web", 12, &live, 2), -EAGAIN);
	assert_string_equal(fake_text("web.default"), "LISTED");
	load(13, 2);
	assert_true(is_live("web.default"));
	assert_int_equal(happen_to("default", "nope", 14, true, "a", "192.0.2.1", NULL),
			 CATALOGUE_OLD);
}

static void a_name_that_may_have_more_does_not_go_by_an_event(void **state)
{
	(void)state;
	load(10, 1);
	zone_expire_live(&fake_zone, 1000000); /* something was missed: who knows what */
	assert_int_equal(go(12, "a"), CATALOGUE_MARKED);
	assert_false(catalogue_remove_now(catalogue, "default", "web", &live));
	assert_string_equal(fake_text("web.default"), "LISTED");
	assert_int_equal(load_at("web", 11, &live, 1), -EAGAIN);
}

static void a_removal_of_one_never_held_leaves_the_rest_in_doubt(void **state)
{
	(void)state;
	load(10, 1);
	zone_expire_live(&fake_zone, 1000000); /* b and c came meanwhile */
	assert_int_equal(go(13, "c"), CATALOGUE_MARKED);
	assert_int_equal(load_at("web", 12, &live, 3), -EAGAIN); /* made before c went */
	assert_false(is_live("web.default"));
	assert_int_equal(load_at("web", 13, &live, 2), 0);
	assert_string_equal(fake_text("web.default"), "LOADED 192.0.2.1:80 192.0.2.2:80");
}

static void what_was_missed_while_the_last_one_went_leaves_it_open_whether_it_is_there(void **state)
{
	(void)state;
	load(10, 1);
	assert_int_equal(go(11, "a"), CATALOGUE_LAST_GONE);
	zone_expire_live(&fake_zone, 1000000);
	assert_false(catalogue_remove_now(catalogue, "default", "web", &live));
	assert_string_equal(fake_text("web.default"), "LISTED");
	assert_int_equal(catalogue_instance_count(catalogue), 0);
	assert_int_equal(load_at("web", 10, &live, 1), -EAGAIN);
	load(12, 1);
	assert_true(is_live("web.default"));
}

static void what_something_else_tells_of_stays_true(void **state)
{
	(void)state;
	load(10, 1);
	zone_expire_live(&fake_zone, 1000000);
	assert_true(catalogue_keep_live(catalogue, "default", "web", &live));
	assert_int_equal(come(12, "b", "192.0.2.2"), CATALOGUE_APPLIED);
	zone_expire_live(&fake_zone, 1000000);
	assert_int_equal(come(13, "c", "192.0.2.3"), CATALOGUE_MARKED);
	assert_false(catalogue_keep_live(catalogue, "default", "web", &live));
	assert_int_equal(fake_find("web.default")->times.fresh_until_ms, 0);
	assert_false(catalogue_keep_live(catalogue, "default", "nope", &live));
	load(13, 3);
	zone_expire_live(&fake_zone, 1000000);
	zone_expire_live(&fake_zone, 1000000); /* missed before */
	assert_false(catalogue_keep_live(catalogue, "default", "web", &live));
}

static void what_was_live_and_expires_counts_as_heard_when_live_ended(void **state)
{
	(void)state;
	load(10, 1);
	zone_expire_live(&fake_zone, 1000000);
	catalogue_expire(catalogue);
	assert_int_equal(fake_find("web.default")->times.fresh_until_ms, 0);
	assert_int_equal(fake_find("web.default")->times.stale_until_ms, 1005000);
}

/* ---- names that are not loaded ---- */

static void a_name_first_seen_in_an_event_is_listed(void **state)
{
	(void)state;
	list_all(10, true, "default/other");
	assert_int_equal(happen_to("default", "web", 11, false, "a", "192.0.2.1", "New"),
			 CATALOGUE_MARKED);
	assert_string_equal(fake_text("web.default"), "LISTED");
	assert_string_equal(fake_text("default"), "LOADED v1 new");
	assert_int_equal(happen_to("default", "old", 10, false, "a", "192.0.2.1", NULL),
			 CATALOGUE_OLD);
	assert_string_equal(fake_text("old.default"), "");
}

static void a_new_namespace_is_told(void **state)
{
	(void)state;
	list_all(10, true, "default/web");
	assert_int_equal(happen_to("Prod", "db", 10, false, "a", "192.0.2.1", NULL), CATALOGUE_OLD);
	assert_int_equal(happen_to("Prod", "db", 11, false, "a", "192.0.2.1", "x"),
			 CATALOGUE_NEW_NAMESPACE);
	assert_string_equal(fake_text("prod"), "LOADED x");
	assert_string_equal(fake_text("db.prod"), "LISTED");
	assert_int_equal(happen_to("Prod", "web", 12, false, "a", "192.0.2.1", NULL),
			 CATALOGUE_MARKED);
	assert_int_equal(happen_to("Prod", "db", 10, false, "b", "192.0.2.2", NULL), CATALOGUE_OLD);
}

static void whether_an_unloaded_name_is_still_there_is_open(void **state)
{
	(void)state;
	list_all(10, true, "default/web");
	assert_int_equal(go(11, "a"), CATALOGUE_MARKED);
	assert_string_equal(fake_text("web.default"), "LISTED");
	assert_int_equal(go(10, "a"), CATALOGUE_OLD);
}

static void a_namespace_goes_with_its_last_name_however_that_went(void **state)
{
	(void)state;
	list_all(10, true, "default/web default/db");
	assert_int_equal(happen_to("default", "web", 11, true, "a", "192.0.2.1", NULL),
			 CATALOGUE_MARKED);
	assert_int_equal(load_at("web", 12, &live, 0), 0);
	assert_string_equal(fake_text("default"), "LOADED v1");
	assert_int_equal(load_at("db", 12, &live, 0), 0);
	assert_string_equal(fake_text("default"), "ABSENT");
}

static void removal_of_an_unknown_name_is_nothing(void **state)
{
	(void)state;
	list_all(10, true, "default/other");
	assert_int_equal(go(11, "a"), CATALOGUE_OLD);
	assert_string_equal(fake_text("web.default"), "");
	assert_int_equal(catalogue_service_count(catalogue), 1);
}

static void events_outside_the_configuration_are_nothing(void **state)
{
	char name[] = "default";
	char *names[] = { name };
	struct json_event bare = { .index = 5 };

	(void)state;
	config.namespace = names;
	config.namespace_count = 1;
	catalogue_configure(catalogue, &config);
	assert_int_equal(happen_to("prod", "db", 11, false, "a", "192.0.2.1", NULL), CATALOGUE_OLD);
	assert_int_equal(happen_to("default", "a.b", 11, false, "a", "192.0.2.1", NULL),
			 CATALOGUE_OLD);
	assert_int_equal(catalogue_event(catalogue, &bare, false, &live), CATALOGUE_OLD);
	assert_int_equal(fake_zone.publish_count, 0);
}

static void a_second_name_that_folds_alike_makes_the_first_unsure(void **state)
{
	(void)state;
	load(10, 1);
	assert_int_equal(happen_to("default", "Web", 11, false, "z", "192.0.2.9", NULL),
			 CATALOGUE_NEW_NAMESPACE);
	assert_string_equal(fake_text("web.default"), "LOADED 192.0.2.1:80");
	assert_int_equal(fake_find("web.default")->times.fresh_until_ms, 0);
	assert_int_equal(load_at("Web", 11, &live, 1), 0);
	assert_true(is_live("web.default"));
}

static void a_failed_event_is_an_error_and_the_name_is_fetched(void **state)
{
	(void)state;
	load(10, 1);
	fake_zone.fail = -ENOMEM;
	assert_int_equal(come(11, "b", "192.0.2.2"), -ENOMEM);
	fake_zone.fail = 0;
	assert_int_equal(come(12, "c", "192.0.2.3"), CATALOGUE_MARKED);
	load(12, 3);
	assert_string_equal(fake_text("web.default"),
			    "LOADED 192.0.2.1:80 192.0.2.2:80 192.0.2.3:80");
	assert_true(is_live("web.default"));
}

/* ---- the list of the whole cluster ---- */

static void a_whole_list_makes_every_name_known(void **state)
{
	(void)state;
	assert_int_equal(list_all(10, true, "default/web prod/db default/api"), 0);
	assert_string_equal(fake_text("web.default"), "LISTED");
	assert_string_equal(fake_text("api.default"), "LISTED");
	assert_string_equal(fake_text("db.prod"), "LISTED");
	assert_string_equal(fake_text("default"), "LOADED v1");
	assert_string_equal(fake_text("prod"), "LOADED v1");
	assert_int_equal(catalogue_service_count(catalogue), 3);
	assert_string_equal(gone_text, "");
}

static void a_name_that_left_the_list_is_told_and_stays(void **state)
{
	(void)state;
	list_all(10, true, "default/web default/api prod/db");
	load(10, 1);
	assert_int_equal(list_all(11, true, "default/api"), 0);
	assert_true(strcmp(gone_text, "default/web;prod/db;") == 0);
	assert_string_equal(fake_text("web.default"), "LOADED 192.0.2.1:80");
	assert_true(catalogue_remove_now(catalogue, "default", "web", &live));
	assert_true(catalogue_remove_now(catalogue, "prod", "db", &live));
	assert_string_equal(fake_text("web.default"), "ABSENT");
	assert_string_equal(fake_text("db.prod"), "ABSENT");
	assert_string_equal(fake_text("prod"), "ABSENT");
	assert_string_equal(fake_text("default"), "LOADED v1");
	assert_int_equal(come(11, "a", "192.0.2.1"), CATALOGUE_OLD);
}

static void a_list_in_part_says_nothing_of_other_namespaces(void **state)
{
	(void)state;
	list_all(10, true, "default/web prod/db");
	list_all(11, false, "default/api");
	assert_string_equal(gone_text, "default/web;");
	assert_false(catalogue_remove_now(catalogue, "prod", "db", &live));
	assert_string_equal(fake_text("db.prod"), "LISTED");
}

static void a_namespace_with_its_own_part_may_be_empty(void **state)
{
	struct catalogue_all *all;

	(void)state;
	list_all(10, true, "default/web prod/db");
	all = catalogue_all_begin(catalogue);
	gone_text[0] = '\0';
	assert_int_equal(catalogue_all_part(all, "prod", 12), 0);
	assert_true(catalogue_all_is_empty(all));
	assert_int_equal(catalogue_all_commit(all, false, &live, on_gone, &gone_text), 0);
	assert_string_equal(gone_text, "prod/db;");
}

static void what_was_heard_after_the_list_stays(void **state)
{
	(void)state;
	list_all(10, true, "default/web");
	happen_to("default", "api", 14, false, "a", "192.0.2.1", NULL);
	assert_int_equal(load_at("db", 13, &live, 1), 0);
	list_all(12, true, "default/web");
	assert_string_equal(gone_text, "");
	list_all(13, true, "default/web");
	assert_string_equal(gone_text, "default/db;");
}

static void a_name_that_comes_back_in_the_list_is_fetched(void **state)
{
	(void)state;
	list_all(10, true, "default/web default/api");
	load(10, 1);
	go(12, "a");
	list_all(11, true, "default/web default/api");
	assert_true(is_live("web.default"));
	list_all(13, true, "default/web default/api");
	assert_false(is_live("web.default"));
	assert_false(catalogue_remove_now(catalogue, "default", "web", &live));
}

static void events_the_list_covers_are_old(void **state)
{
	(void)state;
	list_all(10, true, "default/web");
	list_all(20, true, "default/web");
	assert_int_equal(come(20, "a", "192.0.2.1"), CATALOGUE_OLD);
	assert_int_equal(come(21, "a", "192.0.2.1"), CATALOGUE_MARKED);
}

static void after_a_rewind_smaller_indexes_count(void **state)
{
	(void)state;
	list_all(100, true, "default/web default/api");
	load(100, 2);
	go(110, "a");
	catalogue_rewind(catalogue);
	list_all(50, true, "default/web");
	assert_string_equal(gone_text, "default/api;");
	assert_int_equal(load_at("web", 50, &live, 1), 0);
	assert_string_equal(fake_text("web.default"), "LOADED 192.0.2.1:80");
	assert_int_equal(come(51, "b", "192.0.2.2"), CATALOGUE_APPLIED);
}

static void an_unreadable_list_is_known_as_such(void **state)
{
	struct catalogue_all *all = catalogue_all_begin(catalogue);

	(void)state;
	assert_true(catalogue_all_is_empty(all));
	catalogue_all_add_bad(all, "no ServiceName");
	assert_false(catalogue_all_is_empty(all));
	assert_true(catalogue_all_is_unusable(all));
	catalogue_all_abandon(all);
	catalogue_all_abandon(NULL);
	assert_int_equal(fake_zone.publish_count, 0);
}

static void a_list_kept_half_is_told(void **state)
{
	(void)state;
	fake_zone.fail = -ENOMEM;
	assert_int_equal(list_all(10, true, "default/web"), -ENOMEM);
	fake_zone.fail = 0;
	assert_int_equal(list_all(10, true, "default/web"), 0);
	assert_string_equal(fake_text("web.default"), "LISTED");
}

static void what_is_asked_for_most_is_picked_first(void **state)
{
	struct catalogue_pick picks[4];

	(void)state;
	list_all(10, true, "default/web default/api");
	load(10, 1);
	assert_int_equal(catalogue_pick(catalogue, CATALOGUE_UNLOADED, picks, 4), 1);
	assert_string_equal(picks[0].service, "api");
	assert_int_equal(catalogue_pick(catalogue, CATALOGUE_ASKED, picks, 4), 0);
	fake_zone.asked = 7;
	assert_int_equal(catalogue_pick(catalogue, CATALOGUE_ASKED, picks, 4), 2);
	assert_int_equal(picks[0].asked_count, 7);
	assert_int_equal(catalogue_pick(catalogue, CATALOGUE_ASKED, picks, 1), 1);
	zone_expire_live(&fake_zone, 5);
	assert_int_equal(catalogue_pick(catalogue, CATALOGUE_UNLOADED, picks, 4), 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_catalogue, close_catalogue)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_new_instance_is_published),
		TEST(a_changed_instance_takes_its_own_place),
		TEST(a_removed_instance_is_gone_at_once),
		TEST(what_a_reply_covers_is_old),
		TEST(all_events_of_one_index_count),
		TEST(the_same_event_twice_is_one),
		TEST(the_last_instance_stays_until_it_is_settled),
		TEST(a_restart_changes_nothing_that_is_seen),
		TEST(what_comes_after_the_last_went_stands_alone),
		TEST(a_name_that_was_settled_is_not_revived_by_history),
		TEST(an_unusable_instance_keeps_the_name),
		TEST(an_instance_that_becomes_unusable_is_left_out),
		TEST(tags_and_hosts_survive_a_change_beside_them),
		TEST(an_event_on_what_only_has_a_lifetime_marks_it),
		TEST(an_event_after_a_missed_one_does_not_make_it_true),
		TEST(a_removal_is_heard_whatever_is_held),
		TEST(a_late_reply_does_not_undo_an_event),
		TEST(a_late_reply_on_a_marked_name_is_asked_again),
		TEST(without_events_replies_may_come_from_any_server),
		TEST(with_a_filter_an_addition_only_marks),
		TEST(with_a_filter_replies_older_than_an_event_do_not_count),
		TEST(a_name_that_may_have_more_does_not_go_by_an_event),
		TEST(a_removal_of_one_never_held_leaves_the_rest_in_doubt),
		TEST(what_was_missed_while_the_last_one_went_leaves_it_open_whether_it_is_there),
		TEST(what_something_else_tells_of_stays_true),
		TEST(what_was_live_and_expires_counts_as_heard_when_live_ended),
		TEST(a_name_first_seen_in_an_event_is_listed),
		TEST(a_new_namespace_is_told),
		TEST(whether_an_unloaded_name_is_still_there_is_open),
		TEST(a_namespace_goes_with_its_last_name_however_that_went),
		TEST(removal_of_an_unknown_name_is_nothing),
		TEST(events_outside_the_configuration_are_nothing),
		TEST(a_second_name_that_folds_alike_makes_the_first_unsure),
		TEST(a_failed_event_is_an_error_and_the_name_is_fetched),
		TEST(a_whole_list_makes_every_name_known),
		TEST(a_name_that_left_the_list_is_told_and_stays),
		TEST(a_list_in_part_says_nothing_of_other_namespaces),
		TEST(a_namespace_with_its_own_part_may_be_empty),
		TEST(what_was_heard_after_the_list_stays),
		TEST(a_name_that_comes_back_in_the_list_is_fetched),
		TEST(events_the_list_covers_are_old),
		TEST(after_a_rewind_smaller_indexes_count),
		TEST(an_unreadable_list_is_known_as_such),
		TEST(a_list_kept_half_is_told),
		TEST(what_is_asked_for_most_is_picked_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
