#include "unit/nomad_fixture.h"

#include "dns/records.h"

#define A DNS_TYPE_A
#define AAAA DNS_TYPE_AAAA
#define SRV DNS_TYPE_SRV

static void expect_one(const char *text)
{
	assert_int_equal(rcode(), DNS_NOERROR);
	assert_true(is_authoritative());
	assert_int_equal(answer_count(), 1);
	assert_string_equal(nth_text(answers(), 0), text);
}

static void known(void)
{
	publish_namespace(ZONE_LOADED, fresh_for(10000));
	publish_redis(fresh_for(10000));
}

/* ---- names outside, and the zone's own ---- */

static void names_outside_every_zone_pass(void **state)
{
	(void)state;
	assert_int_equal(ask("www.example.com", A), VERDICT_PASS);
	assert_int_equal(ask("nomad.example.com", A), VERDICT_PASS);
	assert_int_equal(ask(".", DNS_TYPE_NS), VERDICT_PASS);
	assert_int_equal(ask("xnomad", A), VERDICT_PASS);
}

static void the_apex_has_soa_and_ns(void **state)
{
	(void)state;
	zone_set_nomad(zone, ZONE_NOMAD_SILENT); /* which it needs no Nomad for */
	assert_int_equal(ask("nomad", DNS_TYPE_SOA), VERDICT_ANSWERED);
	expect_one(SOA_TEXT);
	assert_int_equal(ldns_rr_list_rr_count(ldns_pkt_authority(pkt)), 0);
	assert_int_equal(ask("nomad", DNS_TYPE_NS), VERDICT_ANSWERED);
	expect_one("nomad. 10 IN NS ns.nomad.");
	assert_int_equal(ask("NOMAD", DNS_TYPE_ANY), VERDICT_ANSWERED);
	expect_one("NOMAD. 10 IN HINFO \"RFC8482\" \"\"");
	assert_int_equal(ask("nomad", A), VERDICT_ANSWERED);
	expect_nodata();
	assert_int_equal(ask("nomad", DNS_TYPE_TXT), VERDICT_ANSWERED);
	expect_nodata();
}

static void each_zone_speaks_for_itself(void **state)
{
	(void)state;
	known();
	assert_int_equal(ask("example.nomad", DNS_TYPE_NS), VERDICT_ANSWERED);
	expect_one("example.nomad. 10 IN NS ns.example.nomad.");
	assert_int_equal(ask("10-0-0-2.redis.default.example.nomad", SRV), VERDICT_ANSWERED);
	expect_one("10-0-0-2.redis.default.example.nomad. 10 IN SRV 10 10 6379 "
		   "10-0-0-2.redis.default.example.nomad.");
	assert_int_equal(ask("redis.default.example.nomad", DNS_TYPE_TXT), VERDICT_ANSWERED);
	assert_string_equal(nth_text(ldns_pkt_authority(pkt), 0),
			    "example.nomad. 5 IN SOA ns.example.nomad. hostmaster.example.nomad. "
			    "4711 3600 600 86400 5");
}

static void the_name_server_has_the_address_that_was_asked(void **state)
{
	(void)state;
	assert_int_equal(ask("ns.nomad", A), VERDICT_ANSWERED);
	expect_one("ns.nomad. 10 IN A 192.0.2.53");
	assert_int_equal(ask("ns.nomad", AAAA), VERDICT_ANSWERED);
	expect_one("ns.nomad. 10 IN AAAA ::1");
	assert_int_equal(ask("ns.nomad", DNS_TYPE_ANY), VERDICT_ANSWERED);
	expect_one("ns.nomad. 10 IN HINFO \"RFC8482\" \"\"");
	assert_int_equal(ask("ns.nomad", SRV), VERDICT_ANSWERED);
	expect_nodata();
}

static void an_address_we_listen_on_twice_is_one_address(void **state)
{
	(void)state;
	listens[0] = listens[2] = ip("127.0.0.1");
	listens[2].port = 1053;
	listens[3] = ip("0.0.0.0");
	config.listen_count = 4;
	nomad_stage_configure(stage, &config);
	make_query("ns.nomad", A);
	query.client.local = ip("::1");
	assert_int_equal(ask_on(NOW), VERDICT_ANSWERED);
	expect_one("ns.nomad. 10 IN A 127.0.0.1");
}

static void an_unknown_asked_address_is_none(void **state)
{
	(void)state;
	make_query("ns.nomad", A);
	query.client.local = ip("0.0.0.0");
	assert_int_equal(ask_on(NOW), VERDICT_ANSWERED);
	expect_one("ns.nomad. 10 IN A 127.0.0.1");
}

static void a_name_server_of_the_other_family_is_nodata(void **state)
{
	(void)state;
	config.listen_count = 1;
	nomad_stage_configure(stage, &config);
	assert_int_equal(ask("ns.nomad", AAAA), VERDICT_ANSWERED);
	expect_nodata();
}

static void what_cannot_exist_is_nxdomain_whatever_nomad_does(void **state)
{
	(void)state;
	zone_set_nomad(zone, ZONE_NOMAD_LOST);
	assert_int_equal(ask("a.b.redis.default.nomad", A), VERDICT_ANSWERED);
	expect_nxdomain();
	assert_int_equal(ede(), DNS_EDE_NONE);
	assert_int_equal(ask("sp ace.default.nomad", A), VERDICT_ANSWERED);
	expect_nxdomain();
	assert_int_equal(need_count, 0);
}

/* ---- empty non-terminals ---- */

static void a_namespace_exists_without_records(void **state)
{
	(void)state;
	known();
	assert_int_equal(ask("default.nomad", A), VERDICT_ANSWERED);
	expect_nodata();
	assert_int_equal(ask("default.nomad", DNS_TYPE_SOA), VERDICT_ANSWERED);
	expect_nodata();
	assert_int_equal(ask("default.nomad", DNS_TYPE_ANY), VERDICT_ANSWERED);
	assert_string_equal(nth_text(answers(), 0), "default.nomad. 10 IN HINFO \"RFC8482\" \"\"");
}

static void names_above_rfc_2782_forms_exist_with_them(void **state)
{
	static const char *const there[] = { "_tcp.default.nomad", "_udp.default.nomad",
					     "_primary.default.nomad", "_WEB.default.nomad" };
	static const char *const not_there[] = { "_redis.default.nomad", "_tc.default.nomad",
						 "_tcpx.default.nomad", "_we.default.nomad" };

	(void)state;
	known();
	for (size_t i = 0; i < COUNT_OF(there); i++) {
		assert_int_equal(ask(there[i], SRV), VERDICT_ANSWERED);
		expect_nodata();
	}
	for (size_t i = 0; i < COUNT_OF(not_there); i++) {
		assert_int_equal(ask(not_there[i], SRV), VERDICT_ANSWERED);
		expect_nxdomain();
	}
}

static void an_unknown_namespace_is_asked_for(void **state)
{
	(void)state;
	assert_int_equal(ask("_tcp.prod.nomad", SRV), VERDICT_PENDING);
	assert_int_equal(wait_at(NOW), VERDICT_PENDING);
	assert_int_equal(needs[0].kind, NEED_NAMESPACE);
	assert_int_equal(needs[0].namespace_length, 4);
	assert_int_equal(needs[0].service_length, 0);
}

/* ---- services ---- */

static void srv_has_every_address_and_port_and_their_addresses(void **state)
{
	(void)state;
	known();
	for (int i = 0; i < 20; i++) { /* for whatever rotation */
		assert_int_equal(ask("redis.default.nomad", SRV), VERDICT_ANSWERED);
		assert_int_equal(answer_count(), 3);
		assert_true(has_text(answers(), "redis.default.nomad. 10 IN SRV 10 10 6379 "
						"10-0-0-1.redis.default.nomad."));
		assert_true(has_text(answers(), "redis.default.nomad. 10 IN SRV 10 10 6380 "
						"10-0-0-1.redis.default.nomad."));
		assert_true(has_text(answers(), "redis.default.nomad. 10 IN SRV 10 10 6379 "
						"10-0-0-2.redis.default.nomad."));
		assert_int_equal(ldns_rr_list_rr_count(ldns_pkt_additional(pkt)), 2);
		assert_true(has_text(ldns_pkt_additional(pkt),
				     "10-0-0-1.redis.default.nomad. 10 IN A 10.0.0.1"));
		assert_true(has_text(ldns_pkt_additional(pkt),
				     "10-0-0-2.redis.default.nomad. 10 IN A 10.0.0.2"));
	}
}

static void the_order_changes_from_reply_to_reply(void **state)
{
	unsigned first[2] = { 0 };

	(void)state;
	known();
	for (int i = 0; i < 200; i++) {
		ask("redis.default.nomad", A);
		first[strstr(nth_text(answers(), 0), "10.0.0.2") != NULL]++;
	}
	assert_true(first[0] > 20 && first[1] > 20);
}

static void an_srv_target_has_its_own_address_and_ports(void **state)
{
	(void)state;
	known();
	assert_int_equal(ask("10-0-0-1.redis.default.nomad", A), VERDICT_ANSWERED);
	expect_one("10-0-0-1.redis.default.nomad. 10 IN A 10.0.0.1");
	assert_int_equal(ask("10-0-0-1.redis.default.nomad", SRV), VERDICT_ANSWERED);
	assert_int_equal(answer_count(), 2);
	assert_int_equal(ask("10-0-0-1.redis.default.nomad", AAAA), VERDICT_ANSWERED);
	expect_nodata();
	assert_int_equal(ask("10-0-0-3.redis.default.nomad", A), VERDICT_ANSWERED);
	expect_nxdomain();
}

static void a_tag_has_the_instances_that_carry_it(void **state)
{
	(void)state;
	known();
	assert_int_equal(ask("PRIMARY.redis.default.nomad", A), VERDICT_ANSWERED);
	expect_one("PRIMARY.redis.default.nomad. 10 IN A 10.0.0.1");
	assert_int_equal(ask("primar.redis.default.nomad", A), VERDICT_ANSWERED);
	expect_nxdomain();
	assert_int_equal(ask("primaryx.redis.default.nomad", A), VERDICT_ANSWERED);
	expect_nxdomain();
}

static void rfc_2782_forms_have_srv_alone(void **state)
{
	static const char *const names[] = { "_redis._tcp.default.nomad",
					     "_redis._udp.default.nomad",
					     "_REDIS._Primary.default.nomad" };

	(void)state;
	known();
	for (size_t i = 0; i < COUNT_OF(names); i++) {
		assert_int_equal(ask(names[i], SRV), VERDICT_ANSWERED);
		assert_int_equal(answer_count(), i == 2 ? 2 : 3);
		assert_int_equal(ask(names[i], A), VERDICT_ANSWERED);
		expect_nodata();
		assert_int_equal(ask(names[i], DNS_TYPE_TXT), VERDICT_ANSWERED);
		expect_nodata();
		assert_int_equal(ask(names[i], DNS_TYPE_ANY), VERDICT_ANSWERED);
		assert_int_equal(answer_count(), 1);
	}
	assert_int_equal(ask("_redis._nope.default.nomad", SRV), VERDICT_ANSWERED);
	expect_nxdomain();
}

static void tags_that_look_like_something_else(void **state)
{
	static const char *const tags[] = { "tcp", "10-0-0-1" };
	const struct zone_instance instances[] = {
		{ .addr = ip("10.0.0.1"), .port = 1 },
		{ .addr = ip("10.0.0.2"), .port = 2, .tags = tags, .tag_count = 2 },
	};

	(void)state;
	publish_at("web", ZONE_LOADED, fresh_for(10000), instances, 2);
	assert_int_equal(ask("10-0-0-1.web.default.nomad", A), VERDICT_ANSWERED);
	expect_one("10-0-0-1.web.default.nomad. 10 IN A 10.0.0.1"); /* the address wins */
	assert_int_equal(ask("_web._10-0-0-1.default.nomad", SRV), VERDICT_ANSWERED);
	expect_one("_web._10-0-0-1.default.nomad. 10 IN SRV 10 10 2 10-0-0-2.web.default.nomad.");
	assert_int_equal(ask("tcp.web.default.nomad", A), VERDICT_ANSWERED);
	expect_one("tcp.web.default.nomad. 10 IN A 10.0.0.2");
	assert_int_equal(ask("_web._tcp.default.nomad", SRV), VERDICT_ANSWERED);
	assert_int_equal(answer_count(), 2);
}

static void an_address_is_no_tag(void **state)
{
	(void)state;
	known();
	assert_int_equal(ask("_redis._10-0-0-1.default.nomad", SRV), VERDICT_ANSWERED);
	expect_nxdomain();
}

static void other_types_are_nodata(void **state)
{
	static const uint16_t types[] = { AAAA,		DNS_TYPE_TXT, 15,	    64,
					  65,		DNS_TYPE_NS,  DNS_TYPE_SOA, DNS_TYPE_CNAME,
					  DNS_TYPE_PTR, 43,	      65280 };

	(void)state;
	known();
	for (size_t i = 0; i < COUNT_OF(types); i++) {
		assert_int_equal(ask("redis.default.nomad", types[i]), VERDICT_ANSWERED);
		expect_nodata();
	}
}

static void any_is_one_hinfo(void **state)
{
	(void)state;
	known();
	assert_int_equal(ask("redis.default.nomad", DNS_TYPE_ANY), VERDICT_ANSWERED);
	expect_one("redis.default.nomad. 10 IN HINFO \"RFC8482\" \"\"");
	assert_int_equal(ask("nope.default.nomad", DNS_TYPE_ANY), VERDICT_ANSWERED);
	expect_nxdomain();
}

static void instances_without_use_are_nodata(void **state)
{
	(void)state;
	publish_at("redis", ZONE_LOADED, fresh_for(10000), NULL, 0);
	assert_int_equal(ask("redis.default.nomad", A), VERDICT_ANSWERED);
	expect_nodata();
	assert_int_equal(ask("redis.default.nomad", SRV), VERDICT_ANSWERED);
	expect_nodata();
}

/* ---- instances that are host names ---- */

static void publish_db(void)
{
	const struct zone_instance instances[] = {
		{ .host = "a.example.com", .port = 5432 },
		{ .host = "b.example.com", .port = 5432 },
		{ .addr = ip("10.0.0.1"), .port = 5432 },
	};

	publish_at("db", ZONE_LOADED, fresh_for(10000), instances, 3);
}

static struct answer_address resolved;

static void bring(const char *address, uint32_t ttl_s, uint16_t code)
{
	struct answer came;

	answer_init(&came);
	came.rcode = code;
	if (address) {
		resolved = (struct answer_address){ ip(address), ttl_s };
		came.addresses = &resolved;
		came.address_count = 1;
	}
	hosts_take(query.hosts, &came, 10);
}

static void host_names_are_to_be_resolved_first(void **state)
{
	(void)state;
	publish_db();
	assert_int_equal(ask("db.default.nomad", A), VERDICT_PENDING);
	assert_non_null(query.hosts);
	assert_int_equal(query.hosts->type, A);
	assert_int_equal(query.hosts->name_count, 2);
	assert_memory_equal(query.hosts->name[0], "\1a\7example\3com", 15);
	assert_int_equal(wait_at(NOW), VERDICT_PENDING);
	assert_int_equal(need_count, 0); /* it is not Nomad it waits for */
}

static void resolved_hosts_answer_with_the_other_instances(void **state)
{
	(void)state;
	publish_db();
	ask("db.default.nomad", A);
	bring("192.0.2.1", 300, 0);
	assert_int_equal(ask_on(NOW), VERDICT_PENDING); /* one is still open */
	bring("10.0.0.1", 300, 0);			/* which an instance has as well */
	assert_int_equal(ask_on(NOW), VERDICT_ANSWERED);
	assert_int_equal(answer_count(), 2);
	assert_true(has_text(answers(), "db.default.nomad. 10 IN A 192.0.2.1"));
	assert_true(has_text(answers(), "db.default.nomad. 10 IN A 10.0.0.1"));
}

static void all_records_have_the_smallest_ttl(void **state)
{
	(void)state;
	publish_db();
	ask("db.default.nomad", A);
	bring("192.0.2.1", 3, 0);
	bring("192.0.2.2", 300, 0);
	assert_int_equal(ask_on(NOW), VERDICT_ANSWERED);
	assert_int_equal(answer_count(), 3);
	for (size_t i = 0; i < 3; i++) /* RFC 2181 §5.2: one set, one TTL */
		assert_int_equal(ldns_rr_ttl(ldns_rr_list_rr(answers(), i)), 3);
}

static void unresolvable_hosts_leave_the_others(void **state)
{
	(void)state;
	publish_db();
	ask("db.default.nomad", A);
	bring(NULL, 0, DNS_SERVFAIL);
	bring(NULL, 0, DNS_NXDOMAIN);
	assert_int_equal(ask_on(NOW), VERDICT_ANSWERED);
	expect_one("db.default.nomad. 10 IN A 10.0.0.1");
}

static void hosts_without_records_are_nodata(void **state)
{
	(void)state;
	publish_db();
	ask("db.default.nomad", AAAA);
	bring(NULL, 0, DNS_NOERROR);
	bring(NULL, 0, DNS_NXDOMAIN);
	assert_int_equal(ask_on(NOW), VERDICT_ANSWERED);
	expect_nodata();
}

static void hosts_that_all_fail_are_servfail(void **state)
{
	(void)state;
	publish_db();
	ask("db.default.nomad", AAAA);
	bring(NULL, 0, DNS_SERVFAIL);
	bring(NULL, 0, DNS_REFUSED);
	assert_int_equal(ask_on(NOW), VERDICT_FAILED);
	expect_servfail(DNS_EDE_NO_REACHABLE_AUTHORITY);
}

static void an_expired_name_waits_for_nomad_with_its_hosts_in_hand(void **state)
{
	(void)state;
	publish_db();
	ask("db.default.nomad", A);
	bring("192.0.2.1", 300, 0);
	bring("192.0.2.2", 300, 0);
	assert_int_equal(ask_on(NOW + 10000), VERDICT_PENDING);
	assert_int_equal(wait_at(NOW + 10000), VERDICT_PENDING);
	assert_int_equal(need_count, 1);
	hear(NEED_LOST);
	assert_int_equal(ask_on(NOW + 10000), VERDICT_ANSWERED);
	assert_int_equal(answer_count(), 3);
	assert_int_equal(ede(), DNS_EDE_STALE_ANSWER);
}

static void the_srv_target_of_a_host_is_its_name(void **state)
{
	(void)state;
	publish_db();
	assert_int_equal(ask("db.default.nomad", SRV), VERDICT_ANSWERED);
	assert_int_equal(answer_count(), 3);
	assert_true(has_text(answers(), "db.default.nomad. 10 IN SRV 10 10 5432 a.example.com."));
	assert_int_equal(ldns_rr_list_rr_count(ldns_pkt_additional(pkt)), 1);
}

static void one_step_and_no_loop(void **state)
{
	(void)state;
	publish_db();
	make_query("db.default.nomad", A);
	query.client.source = QUERY_INSIDE; /* another instance's host name is in our own zone */
	assert_int_equal(ask_on(NOW), VERDICT_ANSWERED);
	expect_one("db.default.nomad. 10 IN A 10.0.0.1");
	assert_null(query.hosts);
}

static void more_hosts_than_the_ceiling_are_left_out(void **state)
{
	struct zone_instance instances[12];
	char text[12][16];

	(void)state;
	memset(instances, 0, sizeof(instances));
	for (unsigned i = 0; i < 12; i++) {
		snprintf(text[i], sizeof(text[i]), "h%u.example", i);
		instances[i].host = text[i];
	}
	publish_at("db", ZONE_LOADED, fresh_for(10000), instances, 12);
	assert_int_equal(ask("db.default.nomad", A), VERDICT_PENDING);
	assert_int_equal(query.hosts->name_count, HOSTS_MAX);
	assert_int_equal(query.hosts->open_count, HOSTS_MAX);
}

/* ---- reverse names ---- */

static void with_reverse(bool is_on)
{
	static const char *const names[] = { "redis.default", "web.default" };
	struct addr addr = ip("10.0.0.1");

	config.reverse = is_on;
	assert_int_equal(zone_configure(zone, &config), 0);
	assert_int_equal(zone_publish_reverse(zone, &addr, names, 2), 0);
}

static void reverse_names_are_forwarded_unless_asked_for(void **state)
{
	(void)state;
	with_reverse(false);
	assert_int_equal(ask("1.0.0.10.in-addr.arpa", DNS_TYPE_PTR), VERDICT_PASS);
}

static void a_known_address_has_its_services(void **state)
{
	(void)state;
	with_reverse(true);
	assert_int_equal(ask("1.0.0.10.IN-ADDR.arpa", DNS_TYPE_PTR), VERDICT_ANSWERED);
	assert_int_equal(answer_count(), 2);
	assert_true(has_text(answers(), "1.0.0.10.IN-ADDR.arpa. 10 IN PTR redis.default.nomad."));
	assert_true(has_text(answers(), "1.0.0.10.IN-ADDR.arpa. 10 IN PTR web.default.nomad."));
	zone_set_nomad(zone, ZONE_NOMAD_LOST);
	assert_int_equal(ask("1.0.0.10.in-addr.arpa", DNS_TYPE_PTR), VERDICT_ANSWERED);
	assert_int_equal(ede(), DNS_EDE_STALE_ANSWER);
}

static void other_reverse_names_and_types_are_forwarded(void **state)
{
	(void)state;
	with_reverse(true);
	assert_int_equal(ask("2.0.0.10.in-addr.arpa", DNS_TYPE_PTR), VERDICT_PASS);
	assert_int_equal(ask("0.0.10.in-addr.arpa", DNS_TYPE_PTR), VERDICT_PASS);
	assert_int_equal(ask("1.0.0.10.in-addr.arpa", DNS_TYPE_ANY), VERDICT_PASS);
	assert_int_equal(ask("1.0.0.10.in-addr.arpa", DNS_TYPE_TXT), VERDICT_PASS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(names_outside_every_zone_pass),
		TEST(the_apex_has_soa_and_ns),
		TEST(each_zone_speaks_for_itself),
		TEST(the_name_server_has_the_address_that_was_asked),
		TEST(an_address_we_listen_on_twice_is_one_address),
		TEST(an_unknown_asked_address_is_none),
		TEST(a_name_server_of_the_other_family_is_nodata),
		TEST(what_cannot_exist_is_nxdomain_whatever_nomad_does),
		TEST(a_namespace_exists_without_records),
		TEST(names_above_rfc_2782_forms_exist_with_them),
		TEST(an_unknown_namespace_is_asked_for),
		TEST(srv_has_every_address_and_port_and_their_addresses),
		TEST(the_order_changes_from_reply_to_reply),
		TEST(an_srv_target_has_its_own_address_and_ports),
		TEST(a_tag_has_the_instances_that_carry_it),
		TEST(rfc_2782_forms_have_srv_alone),
		TEST(tags_that_look_like_something_else),
		TEST(an_address_is_no_tag),
		TEST(other_types_are_nodata),
		TEST(any_is_one_hinfo),
		TEST(instances_without_use_are_nodata),
		TEST(host_names_are_to_be_resolved_first),
		TEST(resolved_hosts_answer_with_the_other_instances),
		TEST(all_records_have_the_smallest_ttl),
		TEST(unresolvable_hosts_leave_the_others),
		TEST(hosts_without_records_are_nodata),
		TEST(hosts_that_all_fail_are_servfail),
		TEST(an_expired_name_waits_for_nomad_with_its_hosts_in_hand),
		TEST(the_srv_target_of_a_host_is_its_name),
		TEST(one_step_and_no_loop),
		TEST(more_hosts_than_the_ceiling_are_left_out),
		TEST(reverse_names_are_forwarded_unless_asked_for),
		TEST(a_known_address_has_its_services),
		TEST(other_reverse_names_and_types_are_forwarded),
	};

	return RUN(tests);
}
