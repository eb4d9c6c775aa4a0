#include "unit/message_fixture.h"

/* ---- picked records ---- */

static void each_record_comes_once_for_every_rotation(void **state)
{
	(void)state;
	for (unsigned count = 1; count <= 7; count++) {
		pick_addresses(count);
		for (unsigned rotation = 0; rotation < count; rotation++) {
			answer.rotation = rotation;
			encode_udp();
			assert_int_equal(answers(), count);
			for (unsigned i = 0; i < count; i++) {
				char expected[64];

				snprintf(expected, sizeof(expected),
					 "Redis.default.nomad. 10 IN A 10.0.0.%u",
					 (rotation + i) % count);
				assert_string_equal(nth_text(ldns_pkt_answer(pkt), i), expected);
			}
		}
		free(image);
		image = NULL;
	}
}

static void resolved_addresses_rotate_with_the_picks(void **state)
{
	struct answer_address addresses[] = { { ip("192.0.2.1"), 7 }, { ip("192.0.2.2"), 8 } };

	(void)state;
	pick_addresses(2);
	answer.addresses = addresses;
	answer.address_count = 2;
	for (unsigned rotation = 0; rotation < 4; rotation++) {
		answer.rotation = rotation;
		encode_udp();
		assert_int_equal(answers(), 4);
		assert_true(
			has_text(ldns_pkt_answer(pkt), "Redis.default.nomad. 10 IN A 10.0.0.0"));
		assert_true(
			has_text(ldns_pkt_answer(pkt), "Redis.default.nomad. 10 IN A 10.0.0.1"));
		assert_true(
			has_text(ldns_pkt_answer(pkt), "Redis.default.nomad. 7 IN A 192.0.2.1"));
		assert_true(
			has_text(ldns_pkt_answer(pkt), "Redis.default.nomad. 8 IN A 192.0.2.2"));
	}
	assert_string_equal(nth_text(ldns_pkt_answer(pkt), 0),
			    "Redis.default.nomad. 8 IN A 192.0.2.2");
}

static void addresses_alone_are_an_answer(void **state)
{
	struct answer_address address = { ip("2001:db8::7"), 3 };

	(void)state;
	question = ask_question("ns.nomad", DNS_TYPE_AAAA);
	answer.addresses = &address;
	answer.address_count = 1;
	encode_udp();
	assert_string_equal(nth_text(ldns_pkt_answer(pkt), 0), "ns.nomad. 3 IN AAAA 2001:db8::7");
}

/* Two addresses, two ports each, a host name between them. */
static void build_targets(void)
{
	uint32_t one = add_address(1), two = add_address(2);

	picks[0] = (uint16_t)add_srv(80, "db.example.com", IMAGE_NO_RR);
	picks[1] = (uint16_t)add_srv(81, "10-0-0-1.redis.default.nomad", one);
	picks[2] = (uint16_t)add_srv(82, "10-0-0-1.redis.default.nomad", one);
	picks[3] = (uint16_t)add_srv(81, "10-0-0-2.redis.default.nomad", two);
	picks[4] = (uint16_t)add_srv(82, "10-0-0-2.redis.default.nomad", two);
	image = image_builder_finish(&builder);
	answer.image = image;
	answer.picks = picks;
	answer.pick_count = 5;
	answer.with_targets = true;
	question = ask_question("redis.default.nomad", DNS_TYPE_SRV);
	question.udp_limit = 1232;
}

static void each_target_has_its_address_once_for_every_rotation(void **state)
{
	(void)state;
	build_targets();
	for (unsigned rotation = 0; rotation < 5; rotation++) {
		answer.rotation = rotation;
		encode_udp();
		assert_int_equal(answers(), 5);
		assert_int_equal(additionals(), 2);
		assert_true(has_text(ldns_pkt_additional(pkt),
				     "10-0-0-1.redis.default.nomad. 10 IN A 10.0.0.1"));
		assert_true(has_text(ldns_pkt_additional(pkt),
				     "10-0-0-2.redis.default.nomad. 10 IN A 10.0.0.2"));
	}
}

static void additional_goes_first_and_silently(void **state)
{
	char saved[sizeof(identity.server_id)];
	size_t room;

	(void)state;
	memcpy(saved, identity.server_id, sizeof(saved));
	build_targets();
	encode(false, 512);
	room = 512 - result.length - 11 - 4; /* what an OPT with an NSID leaves when all fits */
	wants_edns(512);
	question.wants_nsid = true;
	for (unsigned over = 0; over <= 32; over++) {
		memset(identity.server_id, 'n', room + over);
		identity.server_id[room + over] = '\0';
		encode(false, 512);
		assert_int_equal(answers(), 5);
		assert_int_equal(additionals(), over == 0 ? 2 : over <= 16 ? 1 : 0);
		assert_false(flags() & DNS_FLAG_TC);
	}
	memcpy(identity.server_id, saved, sizeof(saved));
}

/* ---- truncation ---- */

static void too_many_records_are_whole_ones_and_tc(void **state)
{
	(void)state;
	pick_addresses(60);
	encode_udp();
	assert_true(result.is_truncated);
	assert_false(result.is_cut);
	assert_true(flags() & DNS_FLAG_TC);
	assert_int_equal(answers(), (512 - question_end(&question)) / 16);
	answer.rotation = 59; /* and begin where the rotation says */
	encode_udp();
	assert_string_equal(nth_text(ldns_pkt_answer(pkt), 0),
			    "Redis.default.nomad. 10 IN A 10.0.0.59");
	assert_string_equal(nth_text(ldns_pkt_answer(pkt), 1),
			    "Redis.default.nomad. 10 IN A 10.0.0.0");
}

static void the_opt_has_its_place_in_a_full_reply(void **state)
{
	(void)state;
	pick_addresses(60);
	wants_edns(512);
	encode_udp();
	assert_true(result.is_truncated);
	assert_true(ldns_pkt_edns(pkt));
	assert_int_equal(answers(), (512 - 11 - question_end(&question)) / 16);
}

static void an_explanation_goes_before_any_record(void **state)
{
	size_t fits, length;

	(void)state;
	wants_edns(512);
	fits = (512 - 11 - question_end(&question)) / 16;
	pick_addresses((unsigned)fits);
	answer.ede = DNS_EDE_OTHER;
	answer.ede_text = "a sentence that has no room beside the records";
	encode_udp();
	assert_false(result.is_truncated);
	assert_int_equal(answers(), fits);
	assert_null(find_option(reply, result.length, DNS_OPTION_EDE, &length));
	answer.pick_count = 1;
	encode_udp();
	assert_non_null(find_option(reply, result.length, DNS_OPTION_EDE, &length));
}

static void what_just_fits_is_whole(void **state)
{
	size_t fits = (512 - question_end(&question)) / 16;

	(void)state;
	pick_addresses((unsigned)fits);
	encode_udp();
	assert_int_equal(answers(), fits);
	assert_false(flags() & DNS_FLAG_TC);
}

static void over_tcp_everything_comes(void **state)
{
	(void)state;
	pick_addresses(4000);
	encode(true, DNS_MESSAGE_MAX);
	assert_int_equal(answers(), 4000);
	assert_false(result.is_cut || result.is_truncated);
}

static void over_64_kib_as_many_as_fit_come_without_tc(void **state)
{
	(void)state;
	pick_addresses(5000);
	answer.rotation = 4999;
	wants_edns(1232);
	encode(true, DNS_MESSAGE_MAX);
	assert_true(result.is_cut);
	assert_false(result.is_truncated);
	assert_false(flags() & DNS_FLAG_TC);
	assert_int_equal(answers(), (65535 - 11 - question_end(&question)) / 16);
	assert_string_equal(nth_text(ldns_pkt_answer(pkt), 0),
			    "Redis.default.nomad. 10 IN A 10.0.19.135");
}

static void targets_beyond_the_reach_of_a_pointer_stay_out(void **state)
{
	enum { COUNT = 600 };
	unsigned pairs = 0;

	(void)state;
	for (unsigned i = 0; i < COUNT; i++)
		add_address(i);
	for (unsigned i = 0; i < COUNT; i++) {
		char target[80];

		snprintf(target, sizeof(target), "10-0-%u-%u.redis.default.nomad", i / 256,
			 i % 256);
		picks[i] = (uint16_t)add_srv(80, target, i);
	}
	image = image_builder_finish(&builder);
	answer.image = image;
	answer.picks = picks;
	answer.pick_count = COUNT;
	answer.with_targets = true;
	encode(true, DNS_MESSAGE_MAX);
	assert_int_equal(answers(), COUNT);
	assert_true(additionals() > 100 && additionals() < COUNT);
	for (size_t i = 0; i < additionals(); i++) { /* each leads to its own target */
		const ldns_rr *srv = ldns_rr_list_rr(ldns_pkt_answer(pkt), i);
		const ldns_rr *address = ldns_rr_list_rr(ldns_pkt_additional(pkt), i);

		pairs += ldns_dname_compare(ldns_rr_rdf(srv, 3), ldns_rr_owner(address)) == 0;
	}
	assert_int_equal(pairs, additionals());
}

static void a_negative_has_its_soa_in_authority(void **state)
{
	(void)state;
	answer.rcode = DNS_NXDOMAIN;
	answer.is_authoritative = true;
	put_soa();
	wants_edns(512);
	encode_udp();
	assert_int_equal(flags(), 0x8000 | DNS_FLAG_AA | DNS_FLAG_RD | DNS_FLAG_RA | 3);
	assert_int_equal(authorities(), 1);
	assert_string_equal(nth_text(ldns_pkt_authority(pkt), 0),
			    "nomad. 5 IN SOA ns.nomad. hostmaster.nomad. 4711 3600 600 86400 5");
}

static void an_asked_soa_is_the_answer(void **state)
{
	(void)state;
	put_soa();
	answer.soa_is_answer = true;
	encode_udp();
	assert_int_equal(answers(), 1);
	assert_int_equal(authorities(), 0);
}

static void a_refusal_is_no_larger_than_question_and_opt(void **state)
{
	(void)state;
	answer.rcode = DNS_REFUSED;
	answer.ede = DNS_EDE_PROHIBITED;
	encode_udp();
	assert_int_equal(result.length, question_end(&question));
	wants_edns(1232);
	encode_udp();
	assert_int_equal(result.length, question_end(&question) + 11 + 6);
}

/* ---- an upstream's reply ---- */

static void add_whole(unsigned addresses, unsigned rdata_bytes, unsigned authority_count)
{
	static uint8_t big[4096];

	for (unsigned i = 0; i < addresses; i++)
		add_address(i);
	for (unsigned i = 0; i < authority_count; i++) {
		if (i == 0) { /* the SOA */
			put_soa();
			image_builder_add(&builder, answer.soa.rr, answer.soa.length,
					  (size_t)answer.soa.ttl_offset - 4);
			answer.soa.rr = NULL;
			continue;
		}
		memcpy(big, "\300\14\377\1\0\1\0\0\0\12", 10);
		store_be16(big + 10, (uint16_t)rdata_bytes);
		image_builder_add(&builder, big, 12 + rdata_bytes, 2);
	}
}

static void finish_whole(unsigned answer_count, unsigned authority_count, unsigned additional_count)
{
	image = image_builder_finish(&builder);
	assert_non_null(image);
	image->answer_count = (uint16_t)answer_count;
	image->authority_count = (uint16_t)authority_count;
	image->additional_count = (uint16_t)additional_count;
	answer.image = image;
}

static void a_whole_reply_keeps_its_sections(void **state)
{
	(void)state;
	add_whole(2, 20, 2);
	add_address(77);
	finish_whole(2, 2, 1);
	wants_edns(1232);
	answer.age_s = 4;
	encode_udp();
	assert_int_equal(answers(), 2);
	assert_int_equal(authorities(), 2);
	assert_int_equal(additionals(), 1);
	assert_string_equal(nth_text(ldns_pkt_additional(pkt), 0),
			    "Redis.default.nomad. 6 IN A 10.0.0.77");
}

static void a_whole_reply_goes_without_what_has_run_out(void **state)
{
	(void)state;
	add_whole(2, 20, 2);
	add_address(77);
	finish_whole(2, 2, 1);
	wants_edns(1232);
	answer.age_s = 4;
	answer.without_additional = true;
	encode_udp();
	assert_int_equal(answers(), 2);
	assert_int_equal(authorities(), 2);
	assert_int_equal(additionals(), 0);
	assert_true(ldns_pkt_edns(pkt));
	assert_false(flags() & DNS_FLAG_TC);
}

static void a_whole_reply_loses_additional_first(void **state)
{
	(void)state;
	add_whole(20, 0, 0);
	for (unsigned i = 0; i < 20; i++)
		add_address(i);
	finish_whole(20, 0, 20);
	encode_udp();
	assert_int_equal(answers(), 20);
	assert_int_equal(additionals(), 0);
	assert_false(flags() & DNS_FLAG_TC);
}

#define FILLS_ALL 4093 /* addresses that leave 10 bytes of 64 KiB */

static void a_reply_of_64_kib_is_whole_beside_a_bare_opt(void **state)
{
	size_t length;

	(void)state;
	add_whole(FILLS_ALL - 1, 0, 0);
	finish_whole(FILLS_ALL - 1, 0, 0);
	wants_edns(1232);
	question.wants_nsid = question.has_do = true;
	question.cookie_length = 8;
	answer.ede = DNS_EDE_OTHER;
	encode(true, DNS_MESSAGE_MAX);
	assert_int_equal(answers(), FILLS_ALL - 1);
	assert_true(ldns_pkt_edns(pkt));
	assert_true(ldns_pkt_edns_do(pkt));
	assert_null(find_option(reply, result.length, DNS_OPTION_COOKIE, &length));
	assert_false(result.is_cut || result.is_truncated);
	assert_false(flags() & DNS_FLAG_TC);
}

/* A part of an upstream's set is not to be taken for all of it (RFC 2181 §9). */
static void a_reply_of_64_kib_that_leaves_no_room_for_an_opt_has_tc(void **state)
{
	(void)state;
	add_whole(FILLS_ALL, 0, 0);
	finish_whole(FILLS_ALL, 0, 0);
	encode(true, DNS_MESSAGE_MAX);
	assert_int_equal(answers(), FILLS_ALL);
	assert_false(flags() & DNS_FLAG_TC);
	wants_edns(1232);
	encode(true, DNS_MESSAGE_MAX);
	assert_int_equal(answers(), FILLS_ALL - 1);
	assert_true(ldns_pkt_edns(pkt));
	assert_true(result.is_cut && !result.is_truncated);
	assert_true(flags() & DNS_FLAG_TC);
}

static void a_whole_reply_is_cut_between_answers(void **state)
{
	(void)state;
	add_whole(60, 20, 1);
	finish_whole(60, 1, 0);
	encode_udp();
	assert_true(flags() & DNS_FLAG_TC);
	assert_int_equal(answers(), (512 - question_end(&question)) / 16);
	assert_int_equal(authorities(), 0);
}

static void an_upstreams_negative_keeps_its_soa(void **state)
{
	(void)state;
	add_whole(0, 700, 3); /* SOA and two records that prove the denial */
	finish_whole(0, 3, 0);
	wants_edns(512);
	encode_udp();
	assert_true(flags() & DNS_FLAG_TC);
	assert_int_equal(authorities(), 1);
	assert_string_equal(nth_text(ldns_pkt_authority(pkt), 0),
			    "nomad. 5 IN SOA ns.nomad. hostmaster.nomad. 0 3600 600 86400 5");
}

static void an_image_without_records_is_an_empty_reply(void **state)
{
	(void)state;
	finish_whole(0, 0, 0);
	encode_udp();
	assert_int_equal(result.length, question_end(&question));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(each_record_comes_once_for_every_rotation),
		TEST(resolved_addresses_rotate_with_the_picks),
		TEST(addresses_alone_are_an_answer),
		TEST(each_target_has_its_address_once_for_every_rotation),
		TEST(additional_goes_first_and_silently),
		TEST(too_many_records_are_whole_ones_and_tc),
		TEST(the_opt_has_its_place_in_a_full_reply),
		TEST(an_explanation_goes_before_any_record),
		TEST(what_just_fits_is_whole),
		TEST(over_tcp_everything_comes),
		TEST(over_64_kib_as_many_as_fit_come_without_tc),
		TEST(targets_beyond_the_reach_of_a_pointer_stay_out),
		TEST(a_negative_has_its_soa_in_authority),
		TEST(an_asked_soa_is_the_answer),
		TEST(a_refusal_is_no_larger_than_question_and_opt),
		TEST(a_whole_reply_keeps_its_sections),
		TEST(a_whole_reply_goes_without_what_has_run_out),
		TEST(a_whole_reply_loses_additional_first),
		TEST(a_reply_of_64_kib_is_whole_beside_a_bare_opt),
		TEST(a_reply_of_64_kib_that_leaves_no_room_for_an_opt_has_tc),
		TEST(a_whole_reply_is_cut_between_answers),
		TEST(an_upstreams_negative_keeps_its_soa),
		TEST(an_image_without_records_is_an_empty_reply),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
