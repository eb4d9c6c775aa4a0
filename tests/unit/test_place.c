#include "unit/support.h"

#include "nomad/place.h"

static struct place place;
static uint8_t folded[DNS_NAME_MAX];
static uint8_t length;

static void find_wire(const char *zone)
{
	static struct zone_apex apex;

	apex.length = (uint8_t)wire_name(zone, apex.name);
	memset(&place, 0xee, sizeof(place));
	place_find(folded, length, &apex, &place);
}

static enum place_kind find_in(const char *name, const char *zone)
{
	uint8_t wire[DNS_NAME_MAX];

	length = (uint8_t)wire_name(name, wire);
	name_fold(wire, length, folded);
	find_wire(zone);
	return place.kind;
}

static enum place_kind find(const char *name)
{
	return find_in(name, "nomad");
}

static void expect_owner(const char *name)
{
	uint8_t wire[DNS_NAME_MAX];
	size_t wire_length = wire_name(name, wire);

	assert_int_equal(place.owner_length, wire_length);
	assert_memory_equal(place.owner, wire, wire_length);
}

static void expect_label(const char *label)
{
	assert_non_null(place.label);
	assert_int_equal(place.label_length, strlen(label));
	assert_memory_equal(place.label, label, strlen(label));
}

static void expect_need(const char *namespace, const char *service)
{
	struct need need;

	memset(&need, 0xee, sizeof(need));
	place_need(&place, NEED_SERVICE, 3, &need);
	assert_int_equal(need.kind, NEED_SERVICE);
	assert_int_equal(need.worker, 3);
	assert_int_equal(need.namespace_length, strlen(namespace));
	assert_memory_equal(need.namespace_label, namespace, strlen(namespace));
	assert_int_equal(need.service_length, strlen(service));
	assert_memory_equal(need.service_label, service, strlen(service));
}

static void the_zone_is_the_apex(void **state)
{
	(void)state;
	assert_int_equal(find("nomad"), PLACE_APEX);
	assert_int_equal(find("NOMAD"), PLACE_APEX);
	assert_int_equal(find_in("service.nomad", "service.nomad"), PLACE_APEX);
}

static void ns_is_the_name_server(void **state)
{
	(void)state;
	assert_int_equal(find("ns.nomad"), PLACE_SERVER);
	assert_int_equal(find("NS.nomad"), PLACE_SERVER);
	assert_int_equal(find("ns1.nomad"), PLACE_NAMESPACE);
}

static void one_label_is_a_namespace(void **state)
{
	size_t namespace_length;
	const uint8_t *namespace;

	(void)state;
	assert_int_equal(find("Default.nomad"), PLACE_NAMESPACE);
	assert_false(place.has_service);
	assert_null(place.label);
	expect_owner("default.nomad");
	namespace = place_namespace(&place, &namespace_length);
	assert_ptr_equal(namespace, place.owner);
	assert_int_equal(namespace_length, 15);
	expect_need("default", "");
}

static void two_labels_are_a_service(void **state)
{
	size_t namespace_length;
	const uint8_t *namespace;

	(void)state;
	assert_int_equal(find("Redis.Default.nomad"), PLACE_SERVICE);
	assert_true(place.has_service);
	assert_null(place.label);
	expect_owner("redis.default.nomad");
	namespace = place_namespace(&place, &namespace_length);
	assert_int_equal(namespace_length, 15);
	assert_memory_equal(namespace, "\7default\5nomad", 15);
	expect_need("default", "redis");
}

static void a_namespace_called_ns_lives_below_the_name_server(void **state)
{
	(void)state;
	assert_int_equal(find("redis.ns.nomad"), PLACE_SERVICE);
	expect_owner("redis.ns.nomad");
	expect_need("ns", "redis");
	assert_int_equal(find("a.redis.ns.nomad"), PLACE_BELOW);
	assert_int_equal(find("_tcp.ns.nomad"), PLACE_UNDERSCORE);
	expect_owner("ns.nomad");
}

static void three_labels_are_below_a_service(void **state)
{
	(void)state;
	assert_int_equal(find("Primary.redis.default.nomad"), PLACE_BELOW);
	expect_owner("redis.default.nomad");
	expect_label("primary");
	expect_need("default", "redis");
	assert_int_equal(find("192-168-29-76.redis.default.nomad"), PLACE_BELOW);
	expect_label("192-168-29-76");
}

static void a_tag_called_tcp_has_its_plain_form(void **state)
{
	(void)state;
	assert_int_equal(find("tcp.redis.default.nomad"), PLACE_BELOW);
	expect_label("tcp");
}

static void rfc_2782_forms_are_the_service_itself(void **state)
{
	(void)state;
	assert_int_equal(find("_redis._tcp.default.nomad"), PLACE_SRV);
	expect_owner("redis.default.nomad");
	expect_need("default", "redis");
	assert_int_equal(find("_Redis._UDP.Default.nomad"), PLACE_SRV);
	expect_owner("redis.default.nomad");
	assert_int_equal(find("_redis._tcp.ns.nomad"), PLACE_SRV);
	expect_owner("redis.ns.nomad");
}

static void other_protocols_are_tags(void **state)
{
	(void)state;
	assert_int_equal(find("_redis._Primary.default.nomad"), PLACE_SRV_TAG);
	expect_owner("redis.default.nomad");
	expect_label("primary");
	expect_need("default", "redis");
	assert_int_equal(find("_redis._tcpx.default.nomad"), PLACE_SRV_TAG);
	expect_label("tcpx");
	assert_int_equal(find("_redis._tc.default.nomad"), PLACE_SRV_TAG);
	assert_int_equal(find("_redis.__tcp.default.nomad"), PLACE_SRV_TAG);
	expect_label("_tcp");
}

static void one_underscore_makes_no_rfc_2782_form(void **state)
{
	(void)state;
	assert_int_equal(find("_primary.redis.default.nomad"), PLACE_BELOW);
	expect_owner("redis.default.nomad");
	expect_label("_primary");
	assert_int_equal(find("redis._tcp.default.nomad"), PLACE_BELOW);
	expect_owner("_tcp.default.nomad");
}

static void a_lone_underscore_is_a_label(void **state)
{
	(void)state;
	assert_int_equal(find("_.redis.default.nomad"), PLACE_BELOW);
	expect_label("_");
	assert_int_equal(find("_redis._.default.nomad"), PLACE_BELOW);
	assert_int_equal(find("_.default.nomad"), PLACE_SERVICE);
}

static void a_name_above_rfc_2782_forms_asks_for_its_namespace(void **state)
{
	(void)state;
	assert_int_equal(find("_tcp.Default.nomad"), PLACE_UNDERSCORE);
	assert_false(place.has_service);
	expect_owner("default.nomad");
	expect_label("tcp");
	expect_need("default", "");
	assert_int_equal(find("_primary.default.nomad"), PLACE_UNDERSCORE);
	expect_label("primary");
}

static void a_service_of_63_characters_is_a_service(void **state)
{
	char name[128], expected[160];

	(void)state;
	memset(name, 's', 63);
	snprintf(name + 63, sizeof(name) - 63, ".default.nomad");
	assert_int_equal(find(name), PLACE_SERVICE);
	expect_owner(name);
	snprintf(expected, sizeof(expected), "tag.%s", name);
	assert_int_equal(find(expected), PLACE_BELOW);
	expect_owner(name);
}

static void the_longest_rfc_2782_form_has_62_characters(void **state)
{
	char name[128];

	(void)state;
	memset(name, 's', 63);
	name[0] = '_';
	snprintf(name + 63, sizeof(name) - 63, "._tcp.default.nomad");
	assert_int_equal(find(name), PLACE_SRV);
	assert_int_equal(place.owner[0], 62);
}

static void deeper_names_are_nowhere(void **state)
{
	(void)state;
	assert_int_equal(find("a.b.redis.default.nomad"), PLACE_NOWHERE);
	assert_int_equal(find("x._redis._tcp.default.nomad"), PLACE_NOWHERE);
	assert_int_equal(find("1.2.3.4.5.6.7.8.9.nomad"), PLACE_NOWHERE);
	assert_null(place.label);
	assert_int_equal(place.owner_length, 0);
}

static void a_longer_zone_moves_the_forms_down(void **state)
{
	(void)state;
	assert_int_equal(find_in("redis.default.service.nomad", "service.nomad"), PLACE_SERVICE);
	expect_owner("redis.default.service.nomad");
	assert_int_equal(find_in("_redis._tcp.default.service.nomad", "service.nomad"), PLACE_SRV);
	expect_owner("redis.default.service.nomad");
}

static void labels_that_nomad_cannot_mean_are_nowhere(void **state)
{
	static const char *const names[] = {
		"a\\.b.nomad",
		"red is.default.nomad",
		"redis.de\\000fault.nomad",
		"red/is.default.nomad",
		"*.redis.default.nomad",
		"_red\\.is._tcp.default.nomad",
		"_redis._t%g.default.nomad",
		"_t\\255g.default.nomad",
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(names); i++)
		assert_int_equal(find(names[i]), PLACE_NOWHERE);
}

static void names_of_255_bytes_are_no_overrun(void **state)
{
	(void)state;
	length = 255;
	memset(folded, 'a', sizeof(folded));
	folded[0] = folded[64] = folded[128] = 63; /* below a zone of 255 - 192 bytes */
	folded[192] = 61;
	folded[254] = 0;
	find_wire("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
	assert_int_equal(place.kind, PLACE_BELOW);
	assert_int_equal(place.owner_length, 255 - 64);
	folded[1] = folded[65] = '_';
	find_wire("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
	assert_int_equal(place.kind, PLACE_SRV_TAG);
	assert_int_equal(place.owner_length, 255 - 64 - 1);
	assert_int_equal(name_length(place.owner, place.owner_length), place.owner_length);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_zone_is_the_apex),
		cmocka_unit_test(ns_is_the_name_server),
		cmocka_unit_test(one_label_is_a_namespace),
		cmocka_unit_test(two_labels_are_a_service),
		cmocka_unit_test(a_namespace_called_ns_lives_below_the_name_server),
		cmocka_unit_test(three_labels_are_below_a_service),
		cmocka_unit_test(a_tag_called_tcp_has_its_plain_form),
		cmocka_unit_test(rfc_2782_forms_are_the_service_itself),
		cmocka_unit_test(other_protocols_are_tags),
		cmocka_unit_test(one_underscore_makes_no_rfc_2782_form),
		cmocka_unit_test(a_lone_underscore_is_a_label),
		cmocka_unit_test(a_name_above_rfc_2782_forms_asks_for_its_namespace),
		cmocka_unit_test(a_service_of_63_characters_is_a_service),
		cmocka_unit_test(the_longest_rfc_2782_form_has_62_characters),
		cmocka_unit_test(deeper_names_are_nowhere),
		cmocka_unit_test(a_longer_zone_moves_the_forms_down),
		cmocka_unit_test(labels_that_nomad_cannot_mean_are_nowhere),
		cmocka_unit_test(names_of_255_bytes_are_no_overrun),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
