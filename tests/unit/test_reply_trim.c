#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reply_fixture.h"

#define SIGNED(covered, signer) covered " 8 2 300 20300101000000 20200101000000 1 " signer " AAAA"
#define SHOWN(covered, signer) SIGNED(covered, signer) "\n"

static void what_belongs_comes_back_whole(void **state)
{
	struct reply_said said = {
		.name = "www.example.",
		.type = DNS_TYPE_A,
		.records = { { "www.example. 300 IN A 192.0.2.1",
			       "www.example. 300 IN A 192.0.2.2" },
			     { "example. 300 IN NS ns.example.", "example. 300 IN NS ns.other." },
			     { "ns.example. 300 IN A 192.0.2.53", "ns.other. 300 IN AAAA ::1" } },
	};

	(void)state;
	reply_expect_text(&said, "www.example. 300 IN A 192.0.2.1\n"
				 "www.example. 300 IN A 192.0.2.2\n-\n"
				 "example. 300 IN NS ns.example.\n"
				 "example. 300 IN NS ns.other.\n-\n"
				 "ns.example. 300 IN A 192.0.2.53\n"
				 "ns.other. 300 IN AAAA ::1\n-\n");
}

static void what_follows_a_record_of_another_name_is_kept(void **state)
{
	struct reply_said said = {
		.name = "www.example.",
		.type = DNS_TYPE_A,
		.records = { { "victim.test. 300 IN A 203.0.113.66",
			       "www.example. 300 IN A 192.0.2.1" },
			     { "test. 300 IN NS ns.victim.test.",
			       "example. 300 IN NS ns.example." },
			     { "ns.victim.test. 300 IN A 203.0.113.66",
			       "ns.example. 300 IN A 192.0.2.53" } },
	};

	(void)state;
	reply_expect_text(&said, "www.example. 300 IN A 192.0.2.1\n-\n"
				 "example. 300 IN NS ns.example.\n-\n"
				 "ns.example. 300 IN A 192.0.2.53\n-\n");
}

static void addresses_in_authority_are_dropped(void **state)
{
	struct reply_said said = {
		.name = "www.example.",
		.type = DNS_TYPE_A,
		.records = { { "www.example. 300 IN A 192.0.2.1" },
			     { "www.example. 300 IN A 203.0.113.66",
			       "www.example. 300 IN CNAME victim.test." } },
	};

	(void)state;
	reply_expect_text(&said, "www.example. 300 IN A 192.0.2.1\n-\n-\n-\n");
}

static void zones_below_or_beside_the_name_are_dropped(void **state)
{
	struct reply_said said = {
		.name = "www.example.",
		.type = DNS_TYPE_A,
		.rcode = DNS_NXDOMAIN,
		.records = { { NULL },
			     { "below.www.example. 300 IN NS ns.test.",
			       "test. 300 IN SOA ns.test. a.test. 1 2 3 4 5",
			       "example. 300 IN SOA ns.test. a.test. 1 2 3 4 5",
			       ". 300 IN NS a.root.test." } },
	};

	(void)state;
	reply_expect_text(&said, "-\nexample. 300 IN SOA ns.test. a.test. 1 2 3 4 5\n"
				 ". 300 IN NS a.root.test.\n-\n-\n");
}

static void zones_of_an_alias_s_target_are_kept(void **state)
{
	struct reply_said said = {
		.name = "www.example.",
		.type = DNS_TYPE_A,
		.records = { { "www.example. 300 IN CNAME a.test." },
			     { "test. 300 IN SOA ns.test. a.test. 1 2 3 4 5" } },
	};

	(void)state;
	reply_expect_text(&said, "www.example. 300 IN CNAME a.test.\n-\n"
				 "test. 300 IN SOA ns.test. a.test. 1 2 3 4 5\n-\n-\n");
}

static void an_alias_into_our_zone_leads_no_further(void **state)
{
	struct reply_said said = {
		.name = "www.example.",
		.type = DNS_TYPE_A,
		.records = { { "www.example. 300 IN CNAME redis.nomad.",
			       "redis.nomad. 300 IN CNAME victim.test.",
			       "victim.test. 300 IN A 203.0.113.66" },
			     { "nomad. 300 IN SOA ns.nomad. a.nomad. 1 2 3 4 5" },
			     { "redis.nomad. 300 IN A 203.0.113.66" } },
	};

	(void)state;
	reply_expect_text(&said, "www.example. 300 IN CNAME redis.nomad.\n-\n-\n-\n");
}

static void addresses_of_mail_and_service_hosts_are_kept(void **state)
{
	struct reply_said said = {
		.name = "_x._tcp.example.",
		.type = DNS_TYPE_SRV,
		.records = { { "_x._tcp.example. 300 IN SRV 1 2 3 host.test." },
			     { NULL },
			     { "host.test. 300 IN A 192.0.2.1", "host.test. 300 IN AAAA ::1",
			       "host.test. 300 IN TXT \"no address\"",
			       "other.test. 300 IN A 203.0.113.66" } },
	};

	(void)state;
	reply_expect_text(&said, "_x._tcp.example. 300 IN SRV 1 2 3 host.test.\n-\n-\n"
				 "host.test. 300 IN A 192.0.2.1\nhost.test. 300 IN AAAA ::1\n-\n");
}

static void a_host_of_a_record_that_is_dropped_is_none(void **state)
{
	struct reply_said said = {
		.name = "www.example.",
		.type = DNS_TYPE_A,
		.records = { { "www.example. 300 IN A 192.0.2.1" },
			     { "test. 300 IN NS victim.test." },
			     { "victim.test. 300 IN A 203.0.113.66" } },
	};

	(void)state;
	reply_expect_text(&said, "www.example. 300 IN A 192.0.2.1\n-\n-\n-\n");
}

static void proofs_of_a_signed_zone_are_kept(void **state)
{
	struct reply_said said = {
		.name = "no.example.",
		.type = DNS_TYPE_A,
		.rcode = DNS_NXDOMAIN,
		.records = { { NULL },
			     { "example. 300 IN SOA ns.example. a.example. 1 2 3 4 5",
			       "example. 300 IN RRSIG " SIGNED("SOA", "example."),
			       "mail.example. 300 IN NSEC www.example. A RRSIG NSEC",
			       "mail.example. 300 IN RRSIG " SIGNED("NSEC", "example."),
			       "a.test. 300 IN NSEC z.test. A RRSIG NSEC",
			       "a.test. 300 IN RRSIG " SIGNED("NSEC", "test."),
			       "a.test. 300 IN RRSIG " SIGNED("NSEC", "example.") } },
	};

	(void)state;
	reply_expect_text(
		&said,
		"-\nexample. 300 IN SOA ns.example. a.example. 1 2 3 4 5\n"
		"example. 300 IN RRSIG " SHOWN(
			"SOA", "example.") "mail.example. 300 IN NSEC www.example. A RRSIG NSEC \n"
					   "mail.example. 300 IN RRSIG " SHOWN(
						   "NSEC", "example.") "-\n-\n");
}

static void proof_of_a_wildcard_needs_no_soa(void **state)
{
	struct reply_said said = {
		.name = "any.wild.example.",
		.type = DNS_TYPE_A,
		.records = { { "any.wild.example. 300 IN A 192.0.2.1",
			       "any.wild.example. 300 IN RRSIG " SIGNED("A", "example.") },
			     { "*.wild.example. 300 IN NSEC z.example. A RRSIG NSEC",
			       "*.wild.example. 300 IN RRSIG " SIGNED("NSEC", "example.") } },
	};

	(void)state;
	reply_expect_text(
		&said,
		"any.wild.example. 300 IN A 192.0.2.1\n"
		"any.wild.example. 300 IN RRSIG " SHOWN(
			"A", "example.") "-\n"
					 "*.wild.example. 300 IN NSEC z.example. A RRSIG NSEC \n"
					 "*.wild.example. 300 IN RRSIG " SHOWN(
						 "NSEC", "example.") "-\n-\n");
}

static void the_same_record_comes_back_once(void **state)
{
	struct reply_said said = {
		.name = "www.example.",
		.type = DNS_TYPE_A,
		.records = { { "www.example. 300 IN A 192.0.2.1", "www.example. 300 IN A 192.0.2.2",
			       "www.example. 300 IN A 192.0.2.1" } },
	};

	(void)state;
	reply_expect_text(&said, "www.example. 300 IN A 192.0.2.1\n"
				 "www.example. 300 IN A 192.0.2.2\n-\n-\n-\n");
}

/* Some thousand hosts and as many addresses, each of another: linear, however they are mixed. */
static void hosts_beyond_the_bound_lose_their_addresses(void **state)
{
	static uint8_t wire[DNS_MESSAGE_MAX];
	static const uint8_t head[] = "\x12\x34\x81\x80\0\1\0\0\0\0\0\0\7example\0\0\2\0\1";
	struct reply_expect expect;
	size_t at = sizeof(head) - 1;
	unsigned count = 1000;
	struct reply reply;

	(void)state;
	memcpy(wire, head, at);
	store_be16(wire + 6, (uint16_t)count);
	store_be16(wire + 10, (uint16_t)count);
	for (unsigned i = 0; i < count; i++, at += 19) { /* NS n.example. */
		memcpy(wire + at, "\xc0\x0c\0\2\0\1\0\0\1\x2c\0\7\4aaaa\xc0\x0c", 19);
		store_be32(wire + at + 13,
			   0x61616161 + i % 26 + (i / 26 % 26 << 8) + (i / 676 << 16));
	}
	for (unsigned i = 0; i < count; i++, at += 21) {
		memcpy(wire + at, "\4aaaa\xc0\x0c\0\1\0\1\0\0\1\x2c\0\4\1\1\1\1", 21);
		store_be32(wire + at + 1,
			   0x61616161 + i % 26 + (i / 26 % 26 << 8) + (i / 676 << 16));
	}
	expect = reply_expect_of(wire, at);
	assert_int_equal(reply_parse(wire, at, &expect, &reply), REPLY_OK);
	assert_int_equal(reply.image->answer_count, count);
	assert_int_equal(reply.image->additional_count, 256);
	free(reply.image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_belongs_comes_back_whole),
		cmocka_unit_test(what_follows_a_record_of_another_name_is_kept),
		cmocka_unit_test(addresses_in_authority_are_dropped),
		cmocka_unit_test(zones_below_or_beside_the_name_are_dropped),
		cmocka_unit_test(zones_of_an_alias_s_target_are_kept),
		cmocka_unit_test(an_alias_into_our_zone_leads_no_further),
		cmocka_unit_test(addresses_of_mail_and_service_hosts_are_kept),
		cmocka_unit_test(a_host_of_a_record_that_is_dropped_is_none),
		cmocka_unit_test(proofs_of_a_signed_zone_are_kept),
		cmocka_unit_test(proof_of_a_wildcard_needs_no_soa),
		cmocka_unit_test(the_same_record_comes_back_once),
		cmocka_unit_test(hosts_beyond_the_bound_lose_their_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
