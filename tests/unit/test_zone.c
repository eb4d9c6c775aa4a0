#include "unit/support.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "nomad/zone.h"
#include "nomad/zone_settings.h"
#include "nomad/zone_writer.h"

static struct config config;
static struct config_zone zones[2];
static struct zone *zone;
static const struct zone_times times = { 100, 200, 300, false };

static int set_up(void **state)
{
	(void)state;
	zones[0] = hand_made_zone("nomad");
	zones[1] = hand_made_zone("service.nomad");
	zone = zone_new(hand_made_config(&config, zones, 2));
	return zone ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	zone_free(zone);
	zone = NULL;
	return config.references == 1000 ? 0 : -1;
}

static struct zone_instance at(const char *address)
{
	return (struct zone_instance){ .addr = ip(address), .port = 80 };
}

static void publish(const char *service, const char *address)
{
	struct zone_instance instance = at(address);

	assert_int_equal(
		zone_publish_service(zone, "default", service, ZONE_LOADED, &times, &instance, 1),
		0);
}

static struct zone_name *find(const char *text)
{
	uint8_t wire[DNS_NAME_MAX];
	size_t length = wire_name(text, wire);

	return zone_find(zone, wire, length);
}

static uint8_t last_byte(const struct zone_name *name)
{
	uint16_t pick = name->picks[name->sets[0].a_at];

	return image_rr_bytes(name->image, pick)[15];
}

static const char *apex_of(const char *text)
{
	static char out[NAME_TEXT_MAX];
	const struct zone_apex *apex;
	uint8_t wire[DNS_NAME_MAX];
	size_t length = wire_name(text, wire);

	apex = zone_apex_of(zone_settings(zone), wire, length);
	if (!apex)
		return NULL;
	name_format(apex->name, out);
	return out;
}

static void the_longest_zone_wins(void **state)
{
	(void)state;
	assert_string_equal(apex_of("redis.default.nomad"), "nomad");
	assert_string_equal(apex_of("redis.default.service.nomad"), "service.nomad");
	assert_string_equal(apex_of("service.nomad"), "service.nomad");
	assert_string_equal(apex_of("xservice.nomad"), "nomad");
	assert_null(apex_of("nomad.example.com"));
	assert_null(apex_of("xnomad"));
	assert_null(apex_of("."));
}

static void a_service_stands_in_every_zone(void **state)
{
	(void)state;
	publish("redis", "10.0.0.1");
	zone_read_begin();
	assert_non_null(find("redis.default.nomad"));
	assert_non_null(find("redis.default.service.nomad"));
	assert_null(find("redis.default"));
	assert_null(find("redi.default.nomad"));
	assert_int_equal(find("redis.default.nomad")->kind, ZONE_SERVICE);
	assert_int_equal(last_byte(find("redis.default.service.nomad")), 1);
	zone_read_end();
}

static void publishing_again_replaces(void **state)
{
	(void)state;
	publish("redis", "10.0.0.1");
	publish("redis", "10.0.0.2");
	zone_read_begin();
	assert_int_equal(last_byte(find("redis.default.nomad")), 2);
	zone_read_end();
	zone_publish_service(zone, "default", "redis", ZONE_ABSENT, &times, NULL, 0);
	zone_read_begin();
	assert_int_equal(find("redis.default.nomad")->state, ZONE_ABSENT);
	assert_null(find("redis.default.nomad")->image);
	zone_read_end();
}

static void what_a_reader_found_lives_until_it_is_done(void **state)
{
	struct zone_name *name;

	(void)state;
	publish("redis", "10.0.0.1");
	zone_read_begin();
	name = find("redis.default.nomad");
	assert_int_equal(last_byte(name), 1);
	zone_read_end();
	publish("redis", "10.0.0.2");
	urcu_qsbr_barrier(); /* the old one is freed by now; a sanitizer knows if twice */
	zone_read_begin();
	assert_int_equal(last_byte(find("redis.default.nomad")), 2);
	zone_read_end();
}

static void withdrawing_takes_a_name_out_of_every_zone(void **state)
{
	(void)state;
	publish("redis", "10.0.0.1");
	publish("web", "10.0.0.2");
	zone_withdraw(zone, "default", "redis");
	zone_withdraw(zone, "default", "redis");
	zone_withdraw(zone, "default", "never");
	zone_read_begin();
	assert_null(find("redis.default.nomad"));
	assert_null(find("redis.default.service.nomad"));
	assert_non_null(find("web.default.nomad"));
	zone_read_end();
}

static void many_names_come_and_go(void **state)
{
	char service[16], name[40];

	(void)state;
	for (unsigned i = 0; i < 3000; i++) {
		snprintf(service, sizeof(service), "svc%u", i);
		publish(service, "10.0.0.1");
		if (i % 3 == 0)
			zone_withdraw(zone, "default", service);
	}
	zone_read_begin();
	for (unsigned i = 0; i < 3000; i++) {
		snprintf(name, sizeof(name), "svc%u.default.service.nomad", i);
		assert_int_equal(find(name) != NULL, i % 3 != 0);
	}
	zone_read_end();
}

static void a_namespace_knows_the_tags_seen_in_it(void **state)
{
	static const char *const tags[] = { "Primary", "no label.", "b" };
	struct zone_name *name;

	(void)state;
	assert_int_equal(zone_publish_namespace(zone, "default", ZONE_LOADED, &times, tags, 3), 0);
	publish("default", "10.0.0.1"); /* a service of the same name is something else */
	zone_read_begin();
	name = find("default.nomad");
	assert_non_null(name);
	assert_int_equal(name->kind, ZONE_NAMESPACE);
	assert_int_equal(name->text_length, 10);
	assert_memory_equal(name->text, "\7primary\1b", 10);
	zone_read_end();
	zone_withdraw(zone, "default", NULL);
	zone_read_begin();
	assert_null(find("default.nomad"));
	assert_non_null(find("default.default.nomad"));
	zone_read_end();
}

static void touching_moves_the_times_alone(void **state)
{
	const struct zone_times later = { 1100, UINT64_MAX, 1300, true };
	struct zone_name *name;

	(void)state;
	publish("redis", "10.0.0.1");
	zone_read_begin();
	name = find("redis.default.nomad");
	name->refresh_asked = true;
	name->asked_count = 5;
	zone_read_end();
	assert_true(zone_touch_service(zone, "default", "redis", &later));
	assert_false(zone_touch_service(zone, "default", "web", &later));
	zone_read_begin();
	assert_ptr_equal(find("redis.default.nomad"), name);
	assert_int_equal(name->refresh_from_ms, 1100);
	assert_true(name->fresh_until_ms == UINT64_MAX);
	assert_int_equal(name->stale_until_ms, 1300);
	assert_true(name->is_leaderless);
	assert_false(name->refresh_asked);
	assert_int_equal(name->asked_count, 5);
	assert_int_equal(find("redis.default.service.nomad")->stale_until_ms, 1300);
	zone_read_end();
}

static void asking_is_counted_across_zones_and_versions(void **state)
{
	(void)state;
	publish("redis", "10.0.0.1");
	zone_read_begin();
	find("redis.default.nomad")->asked_count = 3;
	find("redis.default.service.nomad")->asked_count = 4;
	zone_read_end();
	publish("redis", "10.0.0.2");
	assert_int_equal(zone_take_asked(zone, "default", "redis"), 7);
	assert_int_equal(zone_take_asked(zone, "default", "redis"), 0);
	assert_int_equal(zone_take_asked(zone, "default", "web"), 0);
}

static void the_serial_follows_the_index_and_never_goes_back(void **state)
{
	(void)state;
	assert_int_equal(zone_serial(zone), 0);
	zone_set_index(zone, 4711);
	zone_set_index(zone, 12);
	assert_int_equal(zone_serial(zone), 4711);
	zone_set_index(zone, 0x100000002);
	assert_int_equal(zone_serial(zone), 2);
}

static void nomad_is_silent_at_first(void **state)
{
	(void)state;
	assert_int_equal(zone_nomad(zone), ZONE_NOMAD_SILENT);
	zone_set_nomad(zone, ZONE_NOMAD_LOST);
	assert_int_equal(zone_nomad(zone), ZONE_NOMAD_LOST);
}

static void each_apex_has_its_soa_and_ns(void **state)
{
	const struct zone_settings *settings = zone_settings(zone);
	const struct zone_apex *apex = &settings->apex[0];

	(void)state;
	assert_int_equal(settings->apex_count, 2);
	assert_int_equal(settings->first_length, 7);
	assert_memory_equal(settings->first, "\5nomad", 7);
	assert_memory_equal(apex->name, "\7service\5nomad", 15);
	assert_memory_equal(apex->soa_rr, apex->name, 15);
	assert_int_equal(load_be32(apex->soa_rr + apex->soa_ttl_offset), 5);
	assert_int_equal(load_be32(apex->soa_rr + apex->soa_serial_offset + 16), 5);
	assert_memory_equal(image_rr_bytes(apex->records, 0) + 12, "\2ns\7service\5nomad", 18);
}

static void a_new_configuration_changes_ttls(void **state)
{
	struct config next;

	(void)state;
	hand_made_config(&next, zones, 1); /* one zone less: that needs a restart */
	next.ttl_s = 60;
	next.negative_ttl_s = 1;
	next.max_stale_ms = 1;
	next.reverse = true;
	assert_int_equal(zone_configure(zone, &next), 0);
	publish("redis", "10.0.0.1");
	zone_read_begin();
	assert_int_equal(zone_settings(zone)->apex_count, 2);
	assert_int_equal(zone_settings(zone)->ttl_s, 60);
	assert_true(zone_settings(zone)->reverse);
	assert_int_equal(load_be32(zone_settings(zone)->apex[1].soa_rr +
				   zone_settings(zone)->apex[1].soa_ttl_offset),
			 1);
	assert_int_equal(image_min_ttl(find("redis.default.nomad")->image), 60);
	zone_read_end();
}

static void a_name_too_long_for_a_zone_has_none_there(void **state)
{
	char longest[64];

	(void)state;
	memset(longest, 'l', 63);
	longest[63] = '\0';
	tear_down(state);
	zones[0] = hand_made_zone("a234567890123456789012345678901234567890.nomad");
	zones[1] = hand_made_zone(
		"b2345678901234567890123456789012345678901234567890."
		"b2345678901234567890123456789012"
		"345678901234567890.b2345678901234567890123456789012345678901234567890.nomad");
	zone = zone_new(hand_made_config(&config, zones, 2));
	assert_non_null(zone);
	publish(longest, "10.0.0.1");
	assert_int_equal(zone_publish_service(zone, longest, longest, ZONE_LISTED, &times, NULL, 0),
			 0);
	zone_read_begin();
	assert_non_null(zone_settings(zone));
	zone_read_end();
	zone_withdraw(zone, longest, longest);
}

static void the_longest_possible_zone_works(void **state)
{
	char text[256];

	(void)state;
	tear_down(state);
	memset(text, 'z', sizeof(text));
	text[60] = text[121] = text[182] = '.';
	text[242] = '\0'; /* 244 bytes: hostmaster. in front makes 255 */
	zones[0] = hand_made_zone(text);
	assert_int_equal(zones[0].length, 244);
	zone = zone_new(hand_made_config(&config, zones, 1));
	assert_non_null(zone);
	assert_int_equal(zone_settings(zone)->apex[0].soa_length, 244 + 10 + 247 + 255 + 20);
}

/* ---- reverse names ---- */

static void reverse_names_are_found_by_their_address(void **state)
{
	static const char *const names[] = { "redis.default", "Web.Default" };
	struct addr v4 = ip("10.1.2.3"), v6 = ip("2001:db8::abcd");
	struct zone_name *name;

	(void)state;
	assert_int_equal(zone_publish_reverse(zone, &v4, names, 2), 0);
	assert_int_equal(zone_publish_reverse(zone, &v6, names, 1), 0);
	zone_read_begin();
	name = find("3.2.1.10.in-addr.arpa");
	assert_non_null(name);
	assert_int_equal(name->kind, ZONE_REVERSE);
	assert_int_equal(name->image->rr_count, 2);
	assert_memory_equal(image_rr_bytes(name->image, 0) + 12, "\5redis\7default\5nomad", 21);
	assert_memory_equal(image_rr_bytes(name->image, 1) + 12, "\3web\7default\5nomad", 19);
	assert_non_null(find("d.c.b.a.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2"
			     ".ip6.arpa"));
	zone_read_end();
	assert_int_equal(zone_publish_reverse(zone, &v4, NULL, 0), 0);
	zone_read_begin();
	assert_null(find("3.2.1.10.in-addr.arpa"));
	zone_read_end();
}

static void an_address_whose_names_are_too_long_has_no_reverse_name(void **state)
{
	struct addr v4 = ip("10.1.2.3");
	char text[256];
	const char *const names[] = { text }, *const fine[] = { "redis.default" };

	(void)state;
	memset(text, 'n', sizeof(text));
	text[60] = text[121] = text[182] = '.';
	text[250] = '\0';
	text[240] = '.';
	assert_int_equal(zone_publish_reverse(zone, &v4, fine, 1), 0);
	assert_int_equal(zone_publish_reverse(zone, &v4, names, 1), 0);
	zone_read_begin();
	assert_null(find("3.2.1.10.in-addr.arpa"));
	zone_read_end();
}

/* ---- readers beside a writer ---- */

#define HAMMER_CHANGES 100000

static atomic_bool hammer_ends;
static atomic_ulong hammer_bad, hammer_seen;

/* Both records of a version end with the same byte: a reader that sees two versions at once knows.
 */
static void *hammer(void *arg)
{
	(void)arg;
	zone_reader_register();
	while (!atomic_load(&hammer_ends)) {
		struct zone_name *name;

		zone_read_begin();
		name = find("redis.default.nomad");
		if (name && name->state == ZONE_LOADED) {
			const uint16_t *picks = name->picks + name->sets[0].a_at;
			uint8_t first = image_rr_bytes(name->image, picks[0])[15];
			uint8_t second = image_rr_bytes(name->image, picks[1])[15];

			if (name->sets[0].a_count != 2 || first != second ||
			    zone_settings(zone)->apex_count != 2)
				atomic_fetch_add(&hammer_bad, 1);
			atomic_fetch_add(&hammer_seen, 1);
		}
		zone_read_end();
	}
	zone_reader_unregister();
	return NULL;
}

static void publish_pair(uint8_t last)
{
	struct zone_instance instances[2] = { { .port = 80 }, { .port = 80 } };

	instances[0].addr = (struct addr){ .family = AF_INET, .bytes = { 10, 0, 1, last } };
	instances[1].addr = (struct addr){ .family = AF_INET, .bytes = { 10, 0, 2, last } };
	zone_publish_service(zone, "default", "redis", ZONE_LOADED, &times, instances, 2);
}

static void readers_see_either_the_old_or_the_new(void **state)
{
	pthread_t thread;

	(void)state;
	hammer_ends = false;
	hammer_bad = hammer_seen = 0;
	assert_int_equal(pthread_create(&thread, NULL, hammer, NULL), 0);
	for (unsigned i = 0; i < HAMMER_CHANGES; i++) {
		switch (i % 16) {
		case 13:
			zone_withdraw(zone, "default", "redis");
			break;
		case 14:
			zone_publish_service(zone, "default", "redis", ZONE_ABSENT, &times, NULL,
					     0);
			break;
		case 15:
			zone_configure(zone, &config);
			break;
		default:
			publish_pair((uint8_t)i);
			break;
		}
	}
	publish_pair(0);
	for (unsigned long seen = atomic_load(&hammer_seen); seen == atomic_load(&hammer_seen);)
		sched_yield(); /* a busy machine may not have let it run yet */
	atomic_store(&hammer_ends, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(hammer_bad, 0);
	assert_true(hammer_seen > 0);
}

/* A term ends every 100 ms. */
static void pass_terms(unsigned from, unsigned to)
{
	for (unsigned term = from; term < to; term++)
		zone_expire_live(zone, 1000 + 100ull * term);
}

static void ends_of_the_last_terms_are_known_exactly(void **state)
{
	(void)state;
	zone_set_live(zone, ZONE_LIVE_HELD, 500);
	pass_terms(0, 1000);
	assert_int_equal(zone_term(zone), 1000);
	assert_true(zone_live_end(zone, 1000) == ZONE_LIVE);
	for (unsigned term = 1000 - 60; term < 1000; term++)
		assert_int_equal(zone_live_end(zone, term), 1000 + 100 * term);
}

static void end_of_an_old_term_is_never_too_early_and_little_too_late(void **state)
{
	static const unsigned ages[] = { 1,	 63,	  64,	   65,	    254,    255,   256,
					 1000,	 4079,	  4080,	   4096,    5000,   65279, 65536,
					 100000, 1000000, 1048576, 1100000, 2999999 };

	(void)state;
	zone_set_live(zone, ZONE_LIVE_HELD, 500);
	pass_terms(0, 3000000);
	for (size_t i = 0; i < sizeof(ages) / sizeof(ages[0]); i++) {
		uint64_t end = 1000 + 100ull * (3000000 - ages[i]);

		assert_in_range(zone_live_end(zone, 3000000 - ages[i]), end,
				end + 100ull * ages[i] / 15);
	}
}

static void term_that_was_never_live_has_no_end(void **state)
{
	(void)state;
	pass_terms(0, 10);
	assert_int_equal(zone_live_end(zone, 3), 0);
	zone_set_live(zone, ZONE_LIVE_HELD, 5000);
	zone_set_live(zone, ZONE_LIVE_NOT, 6000);
	assert_int_equal(zone_live_end(zone, 10), 6000);
	zone_set_live(zone, ZONE_LIVE_HELD, 7000); /* nothing was missed */
	assert_true(zone_live_end(zone, 10) == ZONE_LIVE);
	zone_expire_live(zone, 8000);
	assert_int_equal(zone_live_end(zone, 10), 8000);
	zone_set_live(zone, ZONE_LIVE_NOT, 9000);
	pass_terms(0, 1000);
	assert_int_equal(zone_live_end(zone, 10), 9000); /* of its block */
}

int main(void)
{
	int failed;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_longest_zone_wins, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_service_stands_in_every_zone, set_up, tear_down),
		cmocka_unit_test_setup_teardown(publishing_again_replaces, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_a_reader_found_lives_until_it_is_done, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(withdrawing_takes_a_name_out_of_every_zone, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(many_names_come_and_go, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_namespace_knows_the_tags_seen_in_it, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(touching_moves_the_times_alone, set_up, tear_down),
		cmocka_unit_test_setup_teardown(asking_is_counted_across_zones_and_versions, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(the_serial_follows_the_index_and_never_goes_back,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(nomad_is_silent_at_first, set_up, tear_down),
		cmocka_unit_test_setup_teardown(each_apex_has_its_soa_and_ns, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_new_configuration_changes_ttls, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_name_too_long_for_a_zone_has_none_there, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(the_longest_possible_zone_works, set_up, tear_down),
		cmocka_unit_test_setup_teardown(reverse_names_are_found_by_their_address, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(
			an_address_whose_names_are_too_long_has_no_reverse_name, set_up, tear_down),
		cmocka_unit_test_setup_teardown(ends_of_the_last_terms_are_known_exactly, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(
			end_of_an_old_term_is_never_too_early_and_little_too_late, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(term_that_was_never_live_has_no_end, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(readers_see_either_the_old_or_the_new, set_up,
						tear_down),
	};

	zone_reader_register();
	zone_read_end();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	zone_reader_unregister();
	return failed;
}
