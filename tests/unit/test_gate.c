#include "unit/support.h"

#include "query/gate.h"

static struct config config;
static struct config_zone zones[1];
static struct addr_net allow[4];
static struct gate *gate;
static struct query query;
static struct answer answer;
static uint8_t reply[2048];
static size_t reply_length;
static ldns_pkt *pkt;

static void make(void)
{
	gate_free(gate);
	gate = gate_new(&config);
	assert_non_null(gate);
}

static int set_up(void **state)
{
	(void)state;
	zones[0] = hand_made_zone("nomad");
	hand_made_config(&config, zones, 1);
	assert_int_equal(addr_parse_net("127.0.0.0/8", &allow[0]), 0);
	assert_int_equal(addr_parse_net("::1", &allow[1]), 0);
	config.allow = allow;
	config.allow_count = 2;
	config.server_id = (char *)"node-1";
	make();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	gate_free(gate);
	gate = NULL;
	ldns_pkt_free(pkt);
	pkt = NULL;
	return 0;
}

static enum verdict ask_on(void)
{
	enum verdict verdict;

	memset(&answer, 0xee, sizeof(answer));
	verdict = gate_ask(gate, &query, &answer);
	if (verdict != VERDICT_ANSWERED)
		return verdict;
	reply_length = message_encode(&query.question, &answer, gate_identity(gate), NULL, 0, false,
				      1232, reply)
			       .length;
	ldns_pkt_free(pkt);
	pkt = read_reply(reply, reply_length);
	return verdict;
}

static enum verdict ask_class(const char *name, uint16_t type, uint16_t qclass)
{
	memset(&query, 0, sizeof(query));
	query.question = ask_question(name, type);
	query.question.qclass = qclass;
	query.question.has_edns = true;
	query.client.peer = ip("127.0.0.1");
	query.client.local = ip("127.0.0.1");
	return ask_on();
}

static enum verdict ask(const char *name, uint16_t type)
{
	return ask_class(name, type, DNS_CLASS_IN);
}

static uint16_t rcode(void)
{
	return load_be16(reply + 2) & DNS_RCODE_MASK;
}

static bool has_ede(uint16_t code)
{
	size_t length = 0;
	const uint8_t *option = find_option(reply, reply_length, DNS_OPTION_EDE, &length);

	return option && load_be16(option) == code;
}

static const char *first_answer(void)
{
	return nth_text(ldns_pkt_answer(pkt), 0);
}

static size_t answers(void)
{
	return ldns_rr_list_rr_count(ldns_pkt_answer(pkt));
}

static bool admits(const char *peer, const char *local)
{
	struct addr from = ip(peer), to = ip(local);

	return gate_admits(gate, &from, &to);
}

/* ---- who may ask ---- */

static void those_in_allow_may_ask(void **state)
{
	(void)state;
	assert_true(admits("127.0.0.1", "127.0.0.53"));
	assert_true(admits("127.255.255.255", "127.0.0.1"));
	assert_true(admits("::1", "::1"));
	assert_false(admits("128.0.0.1", "127.0.0.1"));
	assert_false(admits("::2", "::1"));
	assert_false(admits("192.0.2.1", "192.0.2.1"));
}

static void with_self_the_host_itself_may_ask(void **state)
{
	(void)state;
	config.allow_self = true;
	assert_true(admits("192.0.2.1", "192.0.2.1"));
	assert_true(admits("2001:db8::1", "2001:db8::1"));
	assert_false(admits("192.0.2.1", "192.0.2.2"));
	assert_false(admits("2001:db8::1", "2001:db8::2"));
	assert_false(admits("192.0.2.1", "2001:db8::1"));
}

static void others_are_refused_with_a_reason(void **state)
{
	(void)state;
	assert_int_equal(ask("redis.default.nomad", DNS_TYPE_A), VERDICT_PASS);
	query.client.peer = ip("192.0.2.1");
	assert_int_equal(ask_on(), VERDICT_ANSWERED);
	assert_int_equal(rcode(), DNS_REFUSED);
	assert_true(has_ede(DNS_EDE_PROHIBITED));
	assert_int_equal(reply_length, question_end(&query.question) + 11 + 6);
	ask_class("version.bind", DNS_TYPE_TXT, DNS_CLASS_CH);
	query.client.peer = ip("192.0.2.1");
	assert_int_equal(ask_on(), VERDICT_ANSWERED);
	assert_int_equal(rcode(), DNS_REFUSED);
	assert_int_equal(answers(), 0);
}

/* ---- classes and types ---- */

static void ordinary_questions_pass(void **state)
{
	static const uint16_t types[] = { 1,  2,  5,  6,   12,	16,  28,  33,	43,
					  48, 64, 65, 127, 255, 256, 257, 65535 };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(types); i++)
		assert_int_equal(ask("www.example.com", types[i]), VERDICT_PASS);
}

static void requests_of_another_kind_are_refused(void **state)
{
	static const uint16_t types[] = { 0, 41, 128, 249, 250, 251, 252, 253, 254 };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(types); i++) {
		assert_int_equal(ask("redis.default.nomad", types[i]), VERDICT_ANSWERED);
		assert_int_equal(rcode(), DNS_REFUSED);
	}
}

static void other_classes_are_refused(void **state)
{
	static const uint16_t classes[] = { 0, 2, 4, 254, 255, 65535 };

	(void)state;
	for (size_t i = 0; i < COUNT_OF(classes); i++) {
		assert_int_equal(ask_class("www.example.com", DNS_TYPE_A, classes[i]),
				 VERDICT_ANSWERED);
		assert_int_equal(rcode(), DNS_REFUSED);
	}
}

static void a_signed_question_is_refused(void **state)
{
	(void)state;
	ask("www.example.com", DNS_TYPE_A);
	query.question.has_tsig = true;
	assert_int_equal(ask_on(), VERDICT_ANSWERED);
	assert_int_equal(rcode(), DNS_REFUSED);
}

/* ---- CHAOS ---- */

static void chaos_tells_version_and_name(void **state)
{
	(void)state;
	assert_int_equal(ask_class("version.bind", DNS_TYPE_TXT, DNS_CLASS_CH), VERDICT_ANSWERED);
	assert_non_null(strstr(first_answer(), "version.bind. 0 CH TXT \"nomad-dns "));
	assert_int_equal(ask_class("VERSION.server", DNS_TYPE_TXT, DNS_CLASS_CH), VERDICT_ANSWERED);
	assert_non_null(strstr(first_answer(), "nomad-dns "));
	assert_int_equal(ask_class("id.server", DNS_TYPE_TXT, DNS_CLASS_CH), VERDICT_ANSWERED);
	assert_string_equal(first_answer(), "id.server. 0 CH TXT \"node-1\"");
	assert_int_equal(ask_class("hostname.bind", DNS_TYPE_TXT, DNS_CLASS_CH), VERDICT_ANSWERED);
	assert_string_equal(first_answer(), "hostname.bind. 0 CH TXT \"node-1\"");
}

static void other_chaos_is_refused(void **state)
{
	(void)state;
	ask_class("version.bind", DNS_TYPE_A, DNS_CLASS_CH);
	assert_int_equal(rcode(), DNS_REFUSED);
	ask_class("authors.bind", DNS_TYPE_TXT, DNS_CLASS_CH);
	assert_int_equal(rcode(), DNS_REFUSED);
	ask_class("x.version.bind", DNS_TYPE_TXT, DNS_CLASS_CH);
	assert_int_equal(rcode(), DNS_REFUSED);
	ask_class("redis.default.nomad", DNS_TYPE_TXT, DNS_CLASS_CH);
	assert_int_equal(rcode(), DNS_REFUSED);
}

static void a_hidden_version_is_refused(void **state)
{
	(void)state;
	config.hide_version = true;
	make();
	ask_class("version.bind", DNS_TYPE_TXT, DNS_CLASS_CH);
	assert_int_equal(rcode(), DNS_REFUSED);
	assert_int_equal(answers(), 0);
	ask_class("id.server", DNS_TYPE_TXT, DNS_CLASS_CH);
	assert_int_equal(rcode(), DNS_REFUSED);
}

static void without_a_server_id_there_is_none_to_tell(void **state)
{
	(void)state;
	config.server_id = (char *)"";
	make();
	ask_class("id.server", DNS_TYPE_TXT, DNS_CLASS_CH);
	assert_int_equal(rcode(), DNS_REFUSED);
	ask_class("version.bind", DNS_TYPE_TXT, DNS_CLASS_CH);
	assert_int_equal(rcode(), DNS_NOERROR);
	assert_string_equal(gate_identity(gate)->server_id, "");
}

/* ---- names that never leave the host ---- */

static void localhost_is_here(void **state)
{
	(void)state;
	assert_int_equal(ask("LocalHost", DNS_TYPE_A), VERDICT_ANSWERED);
	assert_string_equal(first_answer(), "LocalHost. 3600 IN A 127.0.0.1");
	assert_int_equal(ask("a.b.localhost", DNS_TYPE_AAAA), VERDICT_ANSWERED);
	assert_string_equal(first_answer(), "a.b.localhost. 3600 IN AAAA ::1");
	assert_int_equal(ask("localhost", DNS_TYPE_TXT), VERDICT_ANSWERED);
	assert_int_equal(rcode(), DNS_NOERROR);
	assert_int_equal(answers(), 0);
	assert_string_equal(nth_text(ldns_pkt_authority(pkt), 0),
			    "localhost. 3600 IN SOA ns.localhost. hostmaster.localhost. 1 3600 600 "
			    "86400 3600");
}

static void what_does_not_exist_anywhere_is_nxdomain(void **state)
{
	static const char *const names[] = {
		"invalid", "x.Invalid", "onion",
		"duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad.onion"
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(names); i++) {
		assert_int_equal(ask(names[i], DNS_TYPE_A), VERDICT_ANSWERED);
		assert_int_equal(rcode(), DNS_NXDOMAIN);
		assert_true(load_be16(reply + 2) & DNS_FLAG_AA);
		assert_int_equal(ldns_rr_list_rr_count(ldns_pkt_authority(pkt)), 1);
	}
}

static void designated_resolvers_there_are_none(void **state)
{
	(void)state;
	assert_int_equal(ask("_dns.resolver.arpa", 64), VERDICT_ANSWERED);
	assert_int_equal(rcode(), DNS_NOERROR);
	assert_int_equal(answers(), 0);
	assert_non_null(strstr(nth_text(ldns_pkt_authority(pkt), 0), "resolver.arpa. 3600 IN SOA"));
}

static void names_that_only_look_alike_pass(void **state)
{
	(void)state;
	assert_int_equal(ask("notlocalhost", DNS_TYPE_A), VERDICT_PASS);
	assert_int_equal(ask("localhost.example.com", DNS_TYPE_A), VERDICT_PASS);
	assert_int_equal(ask("xonion", DNS_TYPE_A), VERDICT_PASS);
	assert_int_equal(ask("arpa", DNS_TYPE_A), VERDICT_PASS);
	assert_int_equal(ask("resolver.arpa.example", DNS_TYPE_A), VERDICT_PASS);
}

static void our_own_questions_meet_special_names_alone(void **state)
{
	(void)state;
	ask("localhost", DNS_TYPE_A);
	query.client.source = QUERY_INSIDE;
	memset(&query.client.peer, 0, sizeof(query.client.peer));
	assert_int_equal(ask_on(), VERDICT_ANSWERED);
	assert_int_equal(answers(), 1);
	query.question = ask_question("www.example.com", DNS_TYPE_A);
	assert_int_equal(ask_on(), VERDICT_PASS);
}

static void the_identity_is_the_configurations(void **state)
{
	char longest[400];

	(void)state;
	assert_string_equal(gate_identity(gate)->server_id, "node-1");
	assert_int_equal(gate_identity(gate)->tcp_idle_ds, 100);
	memset(longest, 'i', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	config.server_id = longest;
	make();
	assert_int_equal(strlen(gate_identity(gate)->server_id), 255);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(those_in_allow_may_ask, set_up, tear_down),
		cmocka_unit_test_setup_teardown(with_self_the_host_itself_may_ask, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(others_are_refused_with_a_reason, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(ordinary_questions_pass, set_up, tear_down),
		cmocka_unit_test_setup_teardown(requests_of_another_kind_are_refused, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(other_classes_are_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_signed_question_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(chaos_tells_version_and_name, set_up, tear_down),
		cmocka_unit_test_setup_teardown(other_chaos_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_hidden_version_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(without_a_server_id_there_is_none_to_tell, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(localhost_is_here, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_does_not_exist_anywhere_is_nxdomain, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(designated_resolvers_there_are_none, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(names_that_only_look_alike_pass, set_up, tear_down),
		cmocka_unit_test_setup_teardown(our_own_questions_meet_special_names_alone, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(the_identity_is_the_configurations, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
