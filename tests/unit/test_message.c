#include "unit/message_fixture.h"

/* ---- header and question ---- */

static void the_question_goes_back_as_it_came(void **state)
{
	(void)state;
	encode_udp();
	assert_int_equal(load_be16(reply), 0x1234);
	assert_memory_equal(reply + 12, "\5Redis\7default\5nomad", 21);
	assert_int_equal(load_be16(reply + 4), 1);
	assert_int_equal(result.length, question_end(&question));
}

static void of_the_flags_only_rd_and_cd_come_back(void **state)
{
	(void)state;
	question.flags = 0x07ff; /* all but QR and the opcode */
	answer.rcode = DNS_NXDOMAIN;
	encode_udp();
	assert_int_equal(flags(), 0x8000 | DNS_FLAG_RD | DNS_FLAG_RA | DNS_FLAG_CD | 3);
	question.flags = 0;
	encode_udp();
	assert_int_equal(flags(), 0x8000 | DNS_FLAG_RA | 3);
}

static void aa_and_ra_are_as_the_answer_says(void **state)
{
	(void)state;
	answer.is_authoritative = true;
	answer.no_recursion = true;
	encode_udp();
	assert_int_equal(flags(), 0x8000 | DNS_FLAG_AA | DNS_FLAG_RD);
}

static void ad_is_for_who_understands_it(void **state)
{
	(void)state;
	answer.is_authentic = true;
	encode_udp();
	assert_false(flags() & DNS_FLAG_AD);
	question.flags |= DNS_FLAG_AD;
	encode_udp();
	assert_true(flags() & DNS_FLAG_AD);
	question.flags = 0;
	question.has_do = true;
	encode_udp();
	assert_true(flags() & DNS_FLAG_AD);
	answer.is_authentic = false;
	encode_udp();
	assert_false(flags() & DNS_FLAG_AD);
}

static void an_extended_rcode_without_opt_is_servfail(void **state)
{
	(void)state;
	answer.rcode = DNS_BADVERS; /* the lower bits alone would say NOERROR */
	encode_udp();
	assert_int_equal(flags() & DNS_RCODE_MASK, DNS_SERVFAIL);
	wants_edns(1232);
	encode_udp();
	assert_int_equal(flags() & DNS_RCODE_MASK, 0);
	assert_int_equal(ldns_pkt_edns_extended_rcode(pkt), 1);
}

/* ---- OPT ---- */

static void an_opt_comes_back_to_who_sent_one(void **state)
{
	(void)state;
	encode_udp();
	assert_false(ldns_pkt_edns(pkt));
	wants_edns(900);
	encode_udp();
	assert_true(ldns_pkt_edns(pkt));
	assert_int_equal(ldns_pkt_edns_udp_size(pkt), 1232);
	assert_int_equal(ldns_pkt_edns_version(pkt), 0);
	assert_false(ldns_pkt_edns_do(pkt));
	assert_null(ldns_pkt_edns_data(pkt));
	question.has_do = true;
	answer.rcode = DNS_SERVFAIL;
	encode_udp();
	assert_true(ldns_pkt_edns_do(pkt));
	assert_int_equal(ldns_pkt_edns_z(pkt) & 0x7fff, 0);
}

static void an_extended_error_says_why(void **state)
{
	const uint8_t *ede;
	size_t length = 0;

	(void)state;
	answer_fail(&answer, 0, DNS_EDE_NOT_READY, "no word yet");
	encode_udp();
	assert_null(find_option(reply, result.length, DNS_OPTION_EDE, &length));
	wants_edns(1232);
	encode_udp();
	ede = find_option(reply, result.length, DNS_OPTION_EDE, &length);
	assert_non_null(ede);
	assert_int_equal(length, 2 + 11);
	assert_memory_equal(ede, "\0\16no word yet", 13);
	answer.ede = DNS_EDE_OTHER; /* 0 is a code too */
	answer.ede_text = NULL;
	encode_udp();
	ede = find_option(reply, result.length, DNS_OPTION_EDE, &length);
	assert_non_null(ede);
	assert_int_equal(length, 2);
	assert_int_equal(load_be16(ede), 0);
}

static void nsid_is_told_when_asked(void **state)
{
	size_t length = 0;
	const uint8_t *nsid;

	(void)state;
	wants_edns(1232);
	encode_udp();
	assert_null(find_option(reply, result.length, DNS_OPTION_NSID, &length));
	question.wants_nsid = true;
	encode_udp();
	nsid = find_option(reply, result.length, DNS_OPTION_NSID, &length);
	assert_non_null(nsid);
	assert_int_equal(length, 6);
	assert_memory_equal(nsid, "node-1", 6);
}

static void keepalive_is_told_over_tcp_only(void **state)
{
	size_t length = 0;
	const uint8_t *keepalive;

	(void)state;
	wants_edns(1232);
	question.wants_keepalive = true;
	encode_udp();
	assert_null(find_option(reply, result.length, DNS_OPTION_KEEPALIVE, &length));
	encode(true, DNS_MESSAGE_MAX);
	keepalive = find_option(reply, result.length, DNS_OPTION_KEEPALIVE, &length);
	assert_non_null(keepalive);
	assert_int_equal(length, 2);
	assert_int_equal(load_be16(keepalive), 100);
}

static void all_options_fit_beside_the_longest_name(void **state)
{
	struct message_identity saved = identity;
	char name[255];

	(void)state;
	memset(name, 'x', sizeof(name));
	name[63] = name[127] = name[191] = '.';
	name[253] = '\0';
	question = ask_question(name, DNS_TYPE_A);
	assert_int_equal(question.name_length, 255);
	memset(identity.server_id, 's', sizeof(identity.server_id) - 1);
	wants_edns(512);
	question.wants_nsid = question.wants_keepalive = true;
	question.cookie_length = 8;
	answer_fail(&answer, 0, DNS_EDE_NOT_READY, "a reason");
	encode(false, 512);
	assert_true(ldns_pkt_edns(pkt));
	encode(true, DNS_MESSAGE_MAX);
	assert_true(ldns_pkt_edns(pkt));
	identity = saved;
}

/* ---- cookies: RFC 9018 appendix A ---- */

static uint64_t little_endian(const uint8_t *bytes)
{
	uint64_t value = 0;

	for (int i = 7; i >= 0; i--)
		value = value << 8 | bytes[i];
	return value;
}

static void check_cookie(const char *secret, const char *client, const char *address,
			 uint32_t now_s, const char *server)
{
	uint8_t out[512], key[16], expected[24];
	size_t length = 0, reply_length;
	const uint8_t *cookie;

	for (int i = 0; i < 16; i++)
		assert_int_equal(sscanf(secret + i * 2, "%2hhx", &key[i]), 1);
	for (int i = 0; i < 8; i++)
		assert_int_equal(sscanf(client + i * 2, "%2hhx", &expected[i]), 1);
	for (int i = 0; i < 16; i++)
		assert_int_equal(sscanf(server + i * 2, "%2hhx", &expected[8 + i]), 1);
	identity.cookie_key = (struct hash_key){ little_endian(key), little_endian(key + 8) };
	wants_edns(1232);
	question.cookie_length = 8;
	memcpy(question.cookie, expected, 8);
	peer = ip(address);
	reply_length =
		message_encode(&question, &answer, &identity, &peer, now_s, false, 512, out).length;
	cookie = find_option(out, reply_length, DNS_OPTION_COOKIE, &length);
	assert_non_null(cookie);
	assert_int_equal(length, 24);
	assert_memory_equal(cookie, expected, 24);
}

static void cookies_are_those_of_the_rfc(void **state)
{
	static const char secret[] = "e5e973e5a6b2a43f48e7dc849e37bfcf";

	(void)state;
	check_cookie(secret, "2464c4abcf10c957", "198.51.100.100", 1559731985,
		     "010000005cf79f111f8130c3eee29480");
	check_cookie(secret, "2464c4abcf10c957", "198.51.100.100", 1559734385,
		     "010000005cf7a871d4a564a1442aca77");
	check_cookie(secret, "fc93fc62807ddb86", "203.0.113.203", 1559734700,
		     "010000005cf7a9acf73a7810aca2381e");
	check_cookie("445536bcd2513298075a5d379663c962", "22681ab97d52c298",
		     "2001:db8:220:1:59de:d0f4:8769:82b8", 1559741961,
		     "010000005cf7c609a6bb79d16625507a");
}

/* ---- TTLs ---- */

static uint32_t ttl_after(uint32_t ttl_s)
{
	struct answer_address address = { ip("192.0.2.1"), ttl_s };

	answer.addresses = &address;
	answer.address_count = 1;
	encode_udp();
	return ldns_rr_ttl(ldns_rr_list_rr(ldns_pkt_answer(pkt), 0));
}

static void a_ttl_ages_down_to_one(void **state)
{
	(void)state;
	answer.age_s = 10;
	assert_int_equal(ttl_after(300), 290);
	assert_int_equal(ttl_after(11), 1);
	assert_int_equal(ttl_after(10), 1);
	assert_int_equal(ttl_after(3), 1);
	assert_int_equal(ttl_after(0), 0);
	answer.age_s = UINT32_MAX;
	assert_int_equal(ttl_after(300), 1);
}

static void a_ceiling_holds_for_every_ttl(void **state)
{
	(void)state;
	answer.ttl_max_s = 60;
	assert_int_equal(ttl_after(300), 60);
	assert_int_equal(ttl_after(59), 59);
	assert_int_equal(ttl_after(0), 0);
}

static void a_stale_ttl_is_between_one_and_thirty(void **state)
{
	(void)state;
	answer.is_stale = true;
	answer.ttl_max_s = 30;
	answer.age_s = 100000;
	assert_int_equal(ttl_after(300), 30);
	assert_int_equal(ttl_after(10), 10);
	assert_int_equal(ttl_after(0), 1);
}

static void without_age_nothing_changes(void **state)
{
	(void)state;
	assert_int_equal(ttl_after(0), 0);
	assert_int_equal(ttl_after(UINT32_MAX), UINT32_MAX);
}

static void the_soa_of_a_stale_negative_lives_a_second_at_least(void **state)
{
	static uint8_t rr[RECORDS_RR_MAX];

	(void)state;
	put_soa();
	memcpy(rr, answer.soa.rr, answer.soa.length);
	store_be32(rr + answer.soa.ttl_offset, 0);
	answer.soa.rr = rr;
	answer.is_stale = true;
	answer.ttl_max_s = 30;
	encode_udp();
	assert_int_equal(ldns_rr_ttl(ldns_rr_list_rr(ldns_pkt_authority(pkt), 0)), 1);
}

/* ---- what the pipeline never sees ---- */

static void refuse(enum question_verdict verdict)
{
	uint8_t *out = malloc(DNS_UDP_PLAIN_MAX);

	assert_non_null(out);
	result.length =
		message_encode_refusal(&question, verdict, &identity, &peer, 1559731985, out);
	memcpy(reply, out, result.length);
	free(out);
}

static void nothing_is_said_to_what_is_dropped(void **state)
{
	(void)state;
	refuse(QUESTION_DROP);
	assert_int_equal(result.length, 0);
	refuse(QUESTION_OK);
	assert_int_equal(result.length, 0);
}

static void notimp_is_a_bare_header_with_the_opcode(void **state)
{
	(void)state;
	question.flags = 0x2fff;
	wants_edns(1232);
	refuse(QUESTION_NOTIMP);
	assert_int_equal(result.length, 12);
	assert_memory_equal(reply, "\x12\x34\xa8\4\0\0\0\0\0\0\0\0", 12);
}

static void formerr_is_a_bare_header(void **state)
{
	(void)state;
	question.flags = 0x07ff;
	wants_edns(1232);
	refuse(QUESTION_FORMERR);
	assert_int_equal(result.length, 12);
	assert_memory_equal(reply, "\x12\x34\x81\1\0\0\0\0\0\0\0\0", 12);
}

static void badvers_has_the_question_and_an_opt(void **state)
{
	(void)state;
	wants_edns(1232);
	question.has_do = true;
	refuse(QUESTION_BADVERS);
	pkt = read_reply(reply, result.length);
	assert_int_equal(flags(), 0x8100);
	assert_int_equal(load_be16(reply + 4), 1);
	assert_int_equal(ldns_pkt_edns_extended_rcode(pkt), 1);
	assert_int_equal(ldns_pkt_edns_version(pkt), 0);
	assert_true(ldns_pkt_edns_do(pkt));
}

static void a_lone_cookie_is_answered_by_a_full_one(void **state)
{
	const uint8_t *cookie;
	size_t length = 0;

	(void)state;
	wants_edns(1232);
	question.name_length = 0;
	question.cookie_length = 8;
	memcpy(question.cookie, "AAAAAAAA", 8);
	refuse(QUESTION_COOKIE);
	assert_int_equal(flags(), 0x8100);
	assert_int_equal(load_be16(reply + 4), 0);
	assert_int_equal(load_be16(reply + 10), 1);
	assert_int_equal(result.length, 12 + 11 + 4 + 24);
	cookie = find_option(reply, result.length, DNS_OPTION_COOKIE, &length);
	assert_non_null(cookie);
	assert_memory_equal(cookie, "AAAAAAAA\1\0\0\0", 12);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_question_goes_back_as_it_came),
		TEST(of_the_flags_only_rd_and_cd_come_back),
		TEST(aa_and_ra_are_as_the_answer_says),
		TEST(ad_is_for_who_understands_it),
		TEST(an_extended_rcode_without_opt_is_servfail),
		TEST(an_opt_comes_back_to_who_sent_one),
		TEST(an_extended_error_says_why),
		TEST(nsid_is_told_when_asked),
		TEST(keepalive_is_told_over_tcp_only),
		TEST(all_options_fit_beside_the_longest_name),
		TEST(cookies_are_those_of_the_rfc),
		TEST(a_ttl_ages_down_to_one),
		TEST(a_ceiling_holds_for_every_ttl),
		TEST(a_stale_ttl_is_between_one_and_thirty),
		TEST(without_age_nothing_changes),
		TEST(the_soa_of_a_stale_negative_lives_a_second_at_least),
		TEST(nothing_is_said_to_what_is_dropped),
		TEST(notimp_is_a_bare_header_with_the_opcode),
		TEST(formerr_is_a_bare_header),
		TEST(badvers_has_the_question_and_an_opt),
		TEST(a_lone_cookie_is_answered_by_a_full_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
