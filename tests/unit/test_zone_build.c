#include "unit/support.h"

#include "dns/records.h"
#include "nomad/zone_build.h"
#include "nomad/zone_reverse.h"

static struct zone_name *name;
static const struct zone_times times = { 100, 200, 300, true };

static int tear_down(void **state)
{
	(void)state;
	zone_name_free(name);
	name = NULL;
	return 0;
}

static struct zone_instance at(const char *address, uint16_t port)
{
	struct zone_instance instance = { .port = port };

	if (addr_parse_ip(address, &instance.addr) < 0)
		instance.host = address;
	return instance;
}

static struct zone_instance tagged(const char *address, uint16_t port, const char *const *tags,
				   size_t tag_count)
{
	struct zone_instance instance = at(address, port);

	instance.tags = tags;
	instance.tag_count = tag_count;
	return instance;
}

static void build_as(const char *owner, const struct zone_instance *instances, size_t count)
{
	uint8_t wire[DNS_NAME_MAX];
	size_t length = wire_name(owner, wire);

	zone_name_free(name);
	name = zone_build_service(wire, length, 10, &times, instances, count);
	assert_non_null(name);
}

static void build(const struct zone_instance *instances, size_t count)
{
	build_as("redis.default.nomad", instances, count);
}

static const struct zone_set *find_set(const char *label, bool is_tag)
{
	const struct zone_set *found = NULL;

	for (uint32_t i = 0; i < name->set_count; i++) {
		const struct zone_set *set = &name->sets[i];

		if (set->is_tag != is_tag || set->label_length != strlen(label) ||
		    memcmp(name->text + set->label_at, label, set->label_length) != 0)
			continue;
		assert_null(found); /* no set stands twice */
		found = set;
	}
	return found;
}

static const struct zone_set *need_set(const char *label, bool is_tag)
{
	const struct zone_set *set = find_set(label, is_tag);

	if (!set)
		fail_msg("no set %s", label);
	return set;
}

/* A record of the image as text, with its owner made "o.nomad". */
static const char *record(uint32_t index)
{
	struct packet packet = packet_query("o.nomad", DNS_TYPE_A, DNS_CLASS_IN);
	const char *text;
	ldns_pkt *pkt;

	assert_true(index < name->image->rr_count);
	packet_put(&packet, image_rr_bytes(name->image, index), name->image->rr[index].length);
	packet.bytes[2] |= 0x80;
	packet.bytes[7] = 1;
	pkt = read_reply(packet.bytes, packet.length);
	text = nth_text(ldns_pkt_answer(pkt), 0);
	ldns_pkt_free(pkt);
	return text;
}

static void expect_picks(uint32_t from, uint16_t count, const char *const *texts, size_t text_count)
{
	assert_int_equal(count, text_count);
	for (uint16_t i = 0; i < count; i++)
		assert_string_equal(record(name->picks[from + i]), texts[i]);
}

#define EXPECT(set, member, ...)                                                                   \
	do {                                                                                       \
		const char *const texts[] = { __VA_ARGS__ };                                       \
		expect_picks((set)->member##_at, (set)->member##_count, texts, COUNT_OF(texts));   \
	} while (0)

static void expect_no_records(const struct zone_set *set)
{
	assert_int_equal(set->a_count + set->aaaa_count + set->srv_count + set->host_count, 0);
}

static const char *host_of(const struct zone_set *set, uint16_t index)
{
	static char text[NAME_TEXT_MAX];
	const struct zone_host *host;

	assert_true(index < set->host_count);
	host = &name->hosts[name->picks[set->host_at + index]];
	assert_int_equal(name_length(name->text + host->name_at, host->name_length),
			 host->name_length);
	name_format(name->text + host->name_at, text);
	return text;
}

/* ---- what a name is ---- */

static void a_service_without_usable_instances_has_no_records(void **state)
{
	(void)state;
	build(NULL, 0);
	assert_int_equal(name->kind, ZONE_SERVICE);
	assert_int_equal(name->state, ZONE_LOADED);
	assert_non_null(name->image);
	assert_int_equal(name->image->rr_count, 0);
	assert_int_equal(name->set_count, 1);
	expect_no_records(&name->sets[0]);
}

static void the_times_are_the_names(void **state)
{
	(void)state;
	build(NULL, 0);
	assert_int_equal(name->refresh_from_ms, 100);
	assert_int_equal(name->fresh_until_ms, 200);
	assert_int_equal(name->stale_until_ms, 300);
	assert_true(name->is_leaderless);
	assert_false(name->refresh_asked);
	assert_int_equal(name->asked_count, 0);
}

static void a_bare_name_has_its_owner_and_state(void **state)
{
	uint8_t wire[DNS_NAME_MAX];
	size_t length = wire_name("default.nomad", wire);

	(void)state;
	name = zone_build_bare(ZONE_NAMESPACE, ZONE_DENIED, wire, length, &times, 12, 0);
	assert_non_null(name);
	assert_int_equal(name->kind, ZONE_NAMESPACE);
	assert_int_equal(name->state, ZONE_DENIED);
	assert_int_equal(name->owner_length, length);
	assert_memory_equal(name->owner, wire, length);
	assert_null(name->image);
	assert_int_equal(name->set_count, 0);
	assert_int_equal(name->text_length, 12);
	memset(name->text, 'x', 12); /* a sanitizer knows whether it is ours */
}

/* ---- addresses and ports ---- */

static void an_address_stands_once_however_many_ports_it_has(void **state)
{
	const struct zone_instance instances[] = {
		at("10.0.0.2", 80),
		at("10.0.0.1", 81),
		at("10.0.0.1", 80),
		at("10.0.0.2", 80),
	};

	(void)state;
	build(instances, COUNT_OF(instances));
	EXPECT(&name->sets[0], a, "o.nomad. 10 IN A 10.0.0.1", "o.nomad. 10 IN A 10.0.0.2");
	EXPECT(&name->sets[0], srv, "o.nomad. 10 IN SRV 10 10 80 10-0-0-1.redis.default.nomad.",
	       "o.nomad. 10 IN SRV 10 10 81 10-0-0-1.redis.default.nomad.",
	       "o.nomad. 10 IN SRV 10 10 80 10-0-0-2.redis.default.nomad.");
	assert_int_equal(name->sets[0].aaaa_count, 0);
	assert_int_equal(name->image->rr_count, 5);
}

static void the_families_keep_apart(void **state)
{
	const struct zone_instance instances[] = { at("2001:db8::1", 80), at("10.0.0.1", 80) };

	(void)state;
	build(instances, COUNT_OF(instances));
	EXPECT(&name->sets[0], a, "o.nomad. 10 IN A 10.0.0.1");
	EXPECT(&name->sets[0], aaaa, "o.nomad. 10 IN AAAA 2001:db8::1");
	EXPECT(&name->sets[0], srv, "o.nomad. 10 IN SRV 10 10 80 10-0-0-1.redis.default.nomad.",
	       "o.nomad. 10 IN SRV 10 10 80 "
	       "2001-0db8-0000-0000-0000-0000-0000-0001.redis.default.nomad.");
}

static void each_address_has_a_name_of_its_own(void **state)
{
	const struct zone_instance instances[] = {
		at("10.0.0.1", 80),
		at("10.0.0.1", 81),
		at("10.0.0.2", 80),
		at("2001:db8::1", 0),
	};
	const struct zone_set *set;

	(void)state;
	build(instances, COUNT_OF(instances));
	set = need_set("10-0-0-1", false);
	EXPECT(set, a, "o.nomad. 10 IN A 10.0.0.1");
	EXPECT(set, srv, "o.nomad. 10 IN SRV 10 10 80 10-0-0-1.redis.default.nomad.",
	       "o.nomad. 10 IN SRV 10 10 81 10-0-0-1.redis.default.nomad.");
	set = need_set("10-0-0-2", false);
	EXPECT(set, a, "o.nomad. 10 IN A 10.0.0.2");
	set = need_set("2001-0db8-0000-0000-0000-0000-0000-0001", false);
	EXPECT(set, aaaa, "o.nomad. 10 IN AAAA 2001:db8::1");
	assert_int_equal(set->srv_count + set->a_count, 0);
	assert_int_equal(name->set_count, 4);
}

static void an_srv_leads_to_its_targets_address(void **state)
{
	const struct zone_instance instances[] = { at("10.0.0.1", 80), at("10.0.0.2", 80),
						   at("2001:db8::1", 81), at("db.example.com", 9) };
	const struct zone_set *all;

	(void)state;
	build(instances, COUNT_OF(instances));
	all = &name->sets[0];
	assert_int_equal(all->srv_count, 4);
	for (uint16_t i = 0; i < all->srv_count; i++) {
		uint32_t address = name->image->rr[name->picks[all->srv_at + i]].address_rr;
		const char *srv = record(name->picks[all->srv_at + i]);

		if (strstr(srv, "db.example.com")) {
			assert_int_equal(address, IMAGE_NO_RR);
			continue;
		}
		if (strstr(srv, " 10-0-0-1."))
			assert_string_equal(record(address), "o.nomad. 10 IN A 10.0.0.1");
		else if (strstr(srv, " 10-0-0-2."))
			assert_string_equal(record(address), "o.nomad. 10 IN A 10.0.0.2");
		else
			assert_string_equal(record(address), "o.nomad. 10 IN AAAA 2001:db8::1");
	}
}

static void without_a_port_there_is_no_srv(void **state)
{
	const struct zone_instance instances[] = { at("10.0.0.1", 0), at("10.0.0.1", 80),
						   at("10.0.0.2", 0) };

	(void)state;
	build(instances, COUNT_OF(instances));
	EXPECT(&name->sets[0], a, "o.nomad. 10 IN A 10.0.0.1", "o.nomad. 10 IN A 10.0.0.2");
	EXPECT(&name->sets[0], srv, "o.nomad. 10 IN SRV 10 10 80 10-0-0-1.redis.default.nomad.");
	assert_int_equal(need_set("10-0-0-2", false)->srv_count, 0);
}

static void address_labels_are_written_out(void **state)
{
	char label[DNS_LABEL_MAX + 1];
	struct addr v4 = ip("1.2.3.255"), v6 = ip("2001:db8:ffff::"), any = ip("::");

	(void)state;
	assert_int_equal(zone_build_address_label(&v4, label), 9);
	assert_string_equal(label, "1-2-3-255");
	assert_int_equal(zone_build_address_label(&v6, label), 39);
	assert_string_equal(label, "2001-0db8-ffff-0000-0000-0000-0000-0000");
	zone_build_address_label(&any, label);
	assert_null(strstr(label, "--"));
}

/* ---- tags ---- */

static void a_tag_has_the_instances_that_carry_it(void **state)
{
	static const char *const primary[] = { "Primary", "a_b" }, *const replica[] = { "replica" };
	const struct zone_instance instances[] = {
		tagged("10.0.0.1", 80, primary, 2),
		tagged("10.0.0.2", 80, replica, 1),
		tagged("10.0.0.3", 80, replica, 1),
	};

	(void)state;
	build(instances, COUNT_OF(instances));
	EXPECT(need_set("primary", true), a, "o.nomad. 10 IN A 10.0.0.1");
	EXPECT(need_set("replica", true), a, "o.nomad. 10 IN A 10.0.0.2",
	       "o.nomad. 10 IN A 10.0.0.3");
	EXPECT(need_set("replica", true), srv,
	       "o.nomad. 10 IN SRV 10 10 80 10-0-0-2.redis.default.nomad.",
	       "o.nomad. 10 IN SRV 10 10 80 10-0-0-3.redis.default.nomad.");
	need_set("a_b", true);
}

static void tags_that_fold_alike_are_one(void **state)
{
	static const char *const one[] = { "Web", "web", "WEB" }, *const two[] = { "wEb" };
	const struct zone_instance instances[] = { tagged("10.0.0.2", 80, two, 1),
						   tagged("10.0.0.1", 80, one, 3) };

	(void)state;
	build(instances, COUNT_OF(instances));
	EXPECT(need_set("web", true), a, "o.nomad. 10 IN A 10.0.0.1", "o.nomad. 10 IN A 10.0.0.2");
	assert_int_equal(need_set("web", true)->srv_count, 2);
}

static void a_tag_that_is_no_label_has_no_name(void **state)
{
	static const char *const tags[] = {
		"",
		"a.b",
		"traefik.enable=true",
		"with blank",
		"\xc3\xa4",
		"0123456789012345678901234567890123456789012345678901234567890123",
		"012345678901234567890123456789012345678901234567890123456789012",
	};
	const struct zone_instance instance = tagged("10.0.0.1", 80, tags, COUNT_OF(tags));

	(void)state;
	build(&instance, 1);
	assert_int_equal(name->set_count, 3); /* itself, its address, the 63-byte tag */
	need_set(tags[6], true);
}

static void an_address_stands_before_a_tag_that_looks_like_it(void **state)
{
	static const char *const tags[] = { "10-0-0-1" };
	const struct zone_instance instances[] = { at("10.0.0.1", 80),
						   tagged("10.0.0.2", 80, tags, 1) };

	(void)state;
	build(instances, COUNT_OF(instances));
	EXPECT(need_set("10-0-0-1", false), a, "o.nomad. 10 IN A 10.0.0.1");
	EXPECT(need_set("10-0-0-1", true), a, "o.nomad. 10 IN A 10.0.0.2");
	assert_true(find_set("10-0-0-1", false) < find_set("10-0-0-1", true));
}

static void sets_are_sorted_by_label(void **state)
{
	static const char *const tags[] = { "zz", "z", "a", "10-0-0-1", "m-1", "m", "_x" };
	const struct zone_instance instances[] = { tagged("10.0.0.1", 80, tags, COUNT_OF(tags)),
						   at("9.0.0.1", 1), at("100.0.0.1", 1) };

	(void)state;
	build(instances, COUNT_OF(instances));
	for (uint32_t i = 2; i < name->set_count; i++) {
		const struct zone_set *a = &name->sets[i - 1], *b = &name->sets[i];
		char left[64] = { 0 }, right[64] = { 0 };

		memcpy(left, name->text + a->label_at, a->label_length);
		memcpy(right, name->text + b->label_at, b->label_length);
		assert_true(strcmp(left, right) < 0 ||
			    (strcmp(left, right) == 0 && !a->is_tag && b->is_tag));
	}
}

/* ---- host names ---- */

static void a_host_name_is_kept_to_be_resolved(void **state)
{
	const struct zone_instance instances[] = { at("DB.example.com", 5432), at("10.0.0.1", 80) };

	(void)state;
	build(instances, COUNT_OF(instances));
	assert_int_equal(name->sets[0].host_count, 1);
	assert_string_equal(host_of(&name->sets[0], 0), "db.example.com");
	assert_int_equal(name->sets[0].a_count, 1);
	EXPECT(&name->sets[0], srv, "o.nomad. 10 IN SRV 10 10 5432 db.example.com.",
	       "o.nomad. 10 IN SRV 10 10 80 10-0-0-1.redis.default.nomad.");
	assert_int_equal(name->set_count, 2);
}

static void a_host_name_stands_once_however_it_is_written(void **state)
{
	static const char *const tags[] = { "t" };
	const struct zone_instance instances[] = {
		tagged("db.example.com", 1, tags, 1),
		tagged("DB.Example.com", 2, tags, 1),
		at("db.example.com", 1),
		at("db.example.co", 1),
		at("DB.EXAMPLE.COM", 2),
	};

	(void)state;
	build(instances, COUNT_OF(instances));
	assert_int_equal(name->sets[0].host_count, 2);
	assert_string_equal(host_of(&name->sets[0], 0), "db.example.co");
	assert_string_equal(host_of(&name->sets[0], 1), "db.example.com");
	EXPECT(&name->sets[0], srv, "o.nomad. 10 IN SRV 10 10 1 db.example.co.",
	       "o.nomad. 10 IN SRV 10 10 1 db.example.com.",
	       "o.nomad. 10 IN SRV 10 10 2 db.example.com.");
	assert_int_equal(need_set("t", true)->host_count, 1);
	assert_int_equal(need_set("t", true)->srv_count, 2);
}

static void a_host_without_port_is_resolved_all_the_same(void **state)
{
	const struct zone_instance instance = at("db.example.com", 0);

	(void)state;
	build(&instance, 1);
	assert_int_equal(name->sets[0].host_count, 1);
	assert_int_equal(name->sets[0].srv_count, 0);
	assert_int_equal(name->image->rr_count, 0);
}

static void a_host_that_is_no_name_is_left_out(void **state)
{
	const struct zone_instance instances[] = { at("..", 80), at("10.0.0.1", 80) };

	(void)state;
	build(instances, COUNT_OF(instances));
	assert_int_equal(name->sets[0].host_count, 0);
	assert_int_equal(name->sets[0].srv_count, 1);
}

/* ---- many, and long ---- */

static void three_hundred_instances_with_tags_are_all_there(void **state)
{
	enum { COUNT = 300, TAGS = 20 };
	static struct zone_instance instances[COUNT];
	static char text[TAGS][16];
	const char *tags[TAGS];
	uint8_t seen[COUNT] = { 0 };

	(void)state;
	for (unsigned i = 0; i < TAGS; i++) {
		snprintf(text[i], sizeof(text[i]), "tag-%u", i);
		tags[i] = text[i];
	}
	for (unsigned i = 0; i < COUNT; i++) {
		unsigned number = (i * 7) % COUNT; /* in no order */

		instances[i] = (struct zone_instance){
			.addr = { .family = AF_INET, .bytes = { 10, 1 } },
			.port = 80,
			.tags = tags,
			.tag_count = number % (TAGS + 1),
		};
		store_be16(instances[i].addr.bytes + 2, (uint16_t)number);
	}
	build(instances, COUNT);
	assert_int_equal(name->sets[0].a_count, COUNT);
	assert_int_equal(name->sets[0].srv_count, COUNT);
	assert_int_equal(name->set_count, 1 + COUNT + TAGS);
	for (unsigned i = 0; i < COUNT; i++) {
		uint16_t pick = name->picks[name->sets[0].a_at + i];
		const uint8_t *rr = image_rr_bytes(name->image, pick);

		assert_false(seen[load_be16(rr + 14)]++);
	}
	for (unsigned i = 0; i < TAGS; i++) {
		unsigned carriers = 0;

		for (unsigned k = 0; k < COUNT; k++)
			carriers += k % (TAGS + 1) > i;
		assert_int_equal(need_set(tags[i], true)->a_count, carriers);
		assert_int_equal(need_set(tags[i], true)->srv_count, carriers);
	}
}

static void what_16_bits_do_not_number_is_left_out(void **state)
{
	enum { COUNT = 33000 };
	struct zone_instance *instances = calloc(COUNT, sizeof(*instances));

	(void)state;
	assert_non_null(instances);
	for (unsigned i = 0; i < COUNT; i++) {
		instances[i].addr = (struct addr){ .family = AF_INET, .bytes = { 10, 1 } };
		store_be16(instances[i].addr.bytes + 2, (uint16_t)i);
		instances[i].port = 80;
	}
	build(instances, COUNT);
	assert_int_equal(name->sets[0].a_count, 32767);
	assert_int_equal(name->sets[0].srv_count, 32767);
	assert_true(name->image->rr_count < UINT16_MAX);
	free(instances);
}

static void a_target_too_long_for_a_name_leaves_no_srv(void **state)
{
	const struct zone_instance instances[] = { at("10.0.0.1", 80), at("2001:db8::1", 80) };
	char owner[256];

	(void)state;
	for (unsigned bytes = 210; bytes <= 255; bytes++) {
		bool has_v4 = bytes + 9 <= 255, has_v6 = bytes + 40 <= 255;

		memset(owner, 'o', sizeof(owner));
		owner[40] = owner[91] = owner[142] = owner[196] = '.';
		owner[bytes - 2] = '\0';
		build_as(owner, instances, 2);
		assert_int_equal(name->owner_length, bytes);
		assert_int_equal(name->sets[0].a_count, 1);
		assert_int_equal(name->sets[0].aaaa_count, 1);
		assert_int_equal(name->sets[0].srv_count, has_v4 + has_v6);
	}
}

static void an_owner_is_labels_on_a_suffix(void **state)
{
	const char *const labels[] = { "Redis", "Default" }, *const empty[] = { "" };
	char longest[65];
	const char *const one[] = { longest };
	uint8_t out[DNS_NAME_MAX], suffix[DNS_NAME_MAX];
	size_t suffix_length = wire_name("nomad", suffix);

	(void)state;
	memset(longest, 'l', 64);
	longest[64] = '\0';
	assert_int_equal(zone_build_owner(labels, 2, suffix, suffix_length, out), 21);
	assert_memory_equal(out, "\5redis\7default\5nomad", 21);
	assert_int_equal(zone_build_owner(empty, 1, suffix, suffix_length, out), 0);
	assert_int_equal(zone_build_owner(one, 1, suffix, suffix_length, out), 0);
	longest[63] = '\0';
	assert_int_equal(zone_build_owner(one, 1, suffix, suffix_length, out), 71);
	memset(suffix, 1, sizeof(suffix)); /* 95 labels of one byte */
	suffix[190] = 0;
	assert_int_equal(zone_build_owner(one, 1, suffix, 191, out), 255);
	assert_int_equal(zone_build_owner(one, 1, suffix, 192, out), 0);
}

static void reverse_names_have_every_target(void **state)
{
	uint8_t targets[2][DNS_NAME_MAX], owner[DNS_NAME_MAX];
	const uint8_t *const pointers[] = { targets[0], targets[1] };
	size_t length = wire_name("1.0.0.10.in-addr.arpa", owner);

	(void)state;
	wire_name("a.default.nomad", targets[0]);
	wire_name("b.default.nomad", targets[1]);
	name = zone_reverse_build(owner, length, 10, pointers, 2);
	assert_non_null(name);
	assert_int_equal(name->kind, ZONE_REVERSE);
	assert_int_equal(name->image->rr_count, 2);
	assert_string_equal(record(name->picks[0]), "o.nomad. 10 IN PTR a.default.nomad.");
	assert_string_equal(record(name->picks[1]), "o.nomad. 10 IN PTR b.default.nomad.");
}

static void expect_rr(const uint8_t *rr, int length)
{
	assert_true(length > 0);
	for (uint32_t i = 0; i < name->image->rr_count; i++) {
		if (name->image->rr[i].length == (uint16_t)length &&
		    memcmp(image_rr_bytes(name->image, i), rr, (size_t)length) == 0)
			return;
	}
	fail_msg("no record is as ldns writes it");
}

static void records_are_what_ldns_would_write(void **state)
{
	static const char *const addresses[] = { "192.0.2.1", "2001:db8::1" };
	static const char *const targets[] = {
		"192-0-2-1.redis.default.nomad",
		"2001-0db8-0000-0000-0000-0000-0000-0001.redis.default.nomad"
	};
	const struct zone_instance instances[] = { at(addresses[0], 80), at(addresses[1], 65535) };
	uint8_t rr[RECORDS_RR_MAX], target[DNS_NAME_MAX];

	(void)state;
	build(instances, COUNT_OF(instances));
	assert_int_equal(name->image->rr_count, 4);
	for (size_t i = 0; i < COUNT_OF(instances); i++) {
		expect_rr(rr, records_address(&instances[i].addr, 10, rr));
		wire_name(targets[i], target);
		expect_rr(rr, records_srv(10, 10, instances[i].port, target, 10, rr));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(a_service_without_usable_instances_has_no_records,
					  tear_down),
		cmocka_unit_test_teardown(the_times_are_the_names, tear_down),
		cmocka_unit_test_teardown(a_bare_name_has_its_owner_and_state, tear_down),
		cmocka_unit_test_teardown(an_address_stands_once_however_many_ports_it_has,
					  tear_down),
		cmocka_unit_test_teardown(the_families_keep_apart, tear_down),
		cmocka_unit_test_teardown(each_address_has_a_name_of_its_own, tear_down),
		cmocka_unit_test_teardown(an_srv_leads_to_its_targets_address, tear_down),
		cmocka_unit_test_teardown(without_a_port_there_is_no_srv, tear_down),
		cmocka_unit_test_teardown(address_labels_are_written_out, tear_down),
		cmocka_unit_test_teardown(a_tag_has_the_instances_that_carry_it, tear_down),
		cmocka_unit_test_teardown(tags_that_fold_alike_are_one, tear_down),
		cmocka_unit_test_teardown(a_tag_that_is_no_label_has_no_name, tear_down),
		cmocka_unit_test_teardown(an_address_stands_before_a_tag_that_looks_like_it,
					  tear_down),
		cmocka_unit_test_teardown(sets_are_sorted_by_label, tear_down),
		cmocka_unit_test_teardown(a_host_name_is_kept_to_be_resolved, tear_down),
		cmocka_unit_test_teardown(a_host_name_stands_once_however_it_is_written, tear_down),
		cmocka_unit_test_teardown(a_host_without_port_is_resolved_all_the_same, tear_down),
		cmocka_unit_test_teardown(a_host_that_is_no_name_is_left_out, tear_down),
		cmocka_unit_test_teardown(three_hundred_instances_with_tags_are_all_there,
					  tear_down),
		cmocka_unit_test_teardown(what_16_bits_do_not_number_is_left_out, tear_down),
		cmocka_unit_test_teardown(a_target_too_long_for_a_name_leaves_no_srv, tear_down),
		cmocka_unit_test_teardown(an_owner_is_labels_on_a_suffix, tear_down),
		cmocka_unit_test_teardown(reverse_names_have_every_target, tear_down),
		cmocka_unit_test_teardown(records_are_what_ldns_would_write, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
