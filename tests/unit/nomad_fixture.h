/*
 * A nomad stage over a zone that the test fills, with a control plane that only writes down what it
 * is asked. Time is whatever the test says. Answers are judged as the bytes a client would get.
 */
#pragma once

#include "unit/support.h"

#include "base/metrics.h"
#include "dns/message.h"
#include "nomad/hosts.h"
#include "nomad/nomad_stage.h"
#include "nomad/zone_writer.h"

#define NOW 1000000u /* ms */
#define NEEDS_MAX 64

static struct config config;
static struct config_zone zones[2];
static struct addr listens[4];
static struct zone *zone;
static struct nomad_stage *stage;
static struct need needs[NEEDS_MAX]; /* what the control plane was asked */
static unsigned need_count;
static int send_result;
static struct query query;
static struct answer answer;
static uint8_t reply[DNS_MESSAGE_MAX];
static size_t reply_length;
static ldns_pkt *pkt;
static unsigned woken_count;

static inline int send_need(void *arg, const struct need *need)
{
	assert_ptr_equal(arg, &needs);
	if (send_result < 0)
		return send_result;
	assert_true(need_count < NEEDS_MAX);
	needs[need_count++] = *need;
	return 0;
}

static inline int set_up(void **state)
{
	(void)state;
	zones[0] = hand_made_zone("nomad");
	zones[1] = hand_made_zone("example.nomad");
	hand_made_config(&config, zones, 2);
	config.listen = listens;
	listens[0] = ip("127.0.0.1");
	listens[1] = ip("::1");
	config.listen_count = 2;
	need_count = woken_count = 0;
	send_result = 0;
	zone = zone_new(&config);
	stage = nomad_stage_new(zone, 3, send_need, &needs);
	assert_non_null(zone);
	assert_non_null(stage);
	nomad_stage_configure(stage, &config);
	zone_set_nomad(zone, ZONE_NOMAD_OK);
	zone_set_index(zone, 4711);
	return 0;
}

static inline int tear_down(void **state)
{
	(void)state;
	hosts_free(query.hosts);
	query.hosts = NULL;
	nomad_stage_free(stage);
	zone_free(zone);
	ldns_pkt_free(pkt);
	pkt = NULL;
	return config.references == 1000 ? 0 : -1;
}

/* ---- what Nomad has said ---- */

static inline struct zone_times fresh_for(uint64_t ms)
{
	return (struct zone_times){ NOW + ms * 4 / 5, NOW + ms, NOW + ms + 60000, false };
}

static inline void publish_at(const char *service, enum zone_state state, struct zone_times times,
			      const struct zone_instance *instances, size_t count)
{
	assert_int_equal(
		zone_publish_service(zone, "default", service, state, &times, instances, count), 0);
}

/* redis.default: two addresses, one with two ports and the tag "primary". */
static inline void publish_redis(struct zone_times times)
{
	static const char *const tags[] = { "Primary" };
	const struct zone_instance instances[] = {
		{ .addr = ip("10.0.0.1"), .port = 6379, .tags = tags, .tag_count = 1 },
		{ .addr = ip("10.0.0.1"), .port = 6380, .tags = tags, .tag_count = 1 },
		{ .addr = ip("10.0.0.2"), .port = 6379 },
	};

	publish_at("redis", ZONE_LOADED, times, instances, COUNT_OF(instances));
}

static inline void publish_namespace(enum zone_state state, struct zone_times times)
{
	static const char *const tags[] = { "Primary", "web" };

	assert_int_equal(zone_publish_namespace(zone, "default", state, &times, tags, 2), 0);
}

/* ---- asking ---- */

static inline void encode_answer(void)
{
	static const struct message_identity identity;

	query.question.has_edns = true;
	reply_length = message_encode(&query.question, &answer, &identity, NULL, 0, true,
				      DNS_MESSAGE_MAX, reply)
			       .length;
	ldns_pkt_free(pkt);
	pkt = read_reply(reply, reply_length);
}

static inline void make_query(const char *name, uint16_t type)
{
	hosts_free(query.hosts);
	memset(&query, 0, sizeof(query));
	query.question = ask_question(name, type);
	query.client.local = ip("192.0.2.53");
	list_init(&query.by_cause);
}

/* Asks again what `query` holds. */
static inline enum verdict ask_on(uint64_t now_ms)
{
	enum verdict verdict;

	memset(&answer, 0xee, sizeof(answer));
	zone_read_begin();
	verdict = nomad_stage_ask(stage, &query, now_ms, &answer);
	if (verdict == VERDICT_ANSWERED || verdict == VERDICT_FAILED)
		encode_answer();
	zone_read_end();
	return verdict;
}

static inline enum verdict ask_at(const char *name, uint16_t type, uint64_t now_ms)
{
	make_query(name, type);
	return ask_on(now_ms);
}

static inline enum verdict ask(const char *name, uint16_t type)
{
	return ask_at(name, type, NOW);
}

static inline enum verdict wait_at(uint64_t now_ms)
{
	enum verdict verdict;

	zone_read_begin();
	verdict = nomad_stage_wait(stage, &query, now_ms, &answer);
	if (verdict == VERDICT_ANSWERED || verdict == VERDICT_FAILED)
		encode_answer();
	zone_read_end();
	return verdict;
}

static inline void on_wake(void *arg, struct query *woken)
{
	assert_ptr_equal(arg, &woken_count);
	assert_true(list_is_empty(&woken->by_cause));
	woken_count++;
}

/* Nomad's word on the need sent last. */
static inline void hear(enum need_outcome outcome)
{
	struct need_word word = { .outcome = (uint8_t)outcome };

	assert_true(need_count > 0);
	word.need = needs[need_count - 1];
	nomad_stage_hear(stage, &word, on_wake, &woken_count);
}

/* Asks, waits for Nomad's word, and asks again: for names that nothing is known of. */
static inline enum verdict ask_and_hear(const char *name, uint16_t type, enum need_outcome outcome)
{
	assert_int_equal(ask(name, type), VERDICT_PENDING);
	assert_int_equal(wait_at(NOW), VERDICT_PENDING);
	hear(outcome);
	return ask_on(NOW);
}

/* ---- judging ---- */

static inline uint16_t rcode(void)
{
	return load_be16(reply + 2) & DNS_RCODE_MASK;
}

static inline bool is_authoritative(void)
{
	return load_be16(reply + 2) & DNS_FLAG_AA;
}

static inline uint16_t ede(void)
{
	size_t length = 0;
	const uint8_t *option = find_option(reply, reply_length, DNS_OPTION_EDE, &length);

	return option ? load_be16(option) : DNS_EDE_NONE;
}

static inline const ldns_rr_list *answers(void)
{
	return ldns_pkt_answer(pkt);
}

static inline size_t answer_count(void)
{
	return ldns_rr_list_rr_count(answers());
}

static inline uint32_t ttl_of_first(void)
{
	return ldns_rr_ttl(ldns_rr_list_rr(answers(), 0));
}

#define SOA_TEXT "nomad. 5 IN SOA ns.nomad. hostmaster.nomad. 4711 3600 600 86400 5"

static inline void expect_negative(uint16_t expected)
{
	assert_int_equal(rcode(), expected);
	assert_int_equal(answer_count(), 0);
	assert_true(is_authoritative());
	assert_int_equal(ldns_rr_list_rr_count(ldns_pkt_authority(pkt)), 1);
	assert_string_equal(nth_text(ldns_pkt_authority(pkt), 0), SOA_TEXT);
}

static inline void expect_nodata(void)
{
	expect_negative(DNS_NOERROR);
}

static inline void expect_nxdomain(void)
{
	expect_negative(DNS_NXDOMAIN);
}

static inline void expect_servfail(uint16_t code)
{
	assert_int_equal(rcode(), DNS_SERVFAIL);
	assert_int_equal(ede(), code);
	assert_int_equal(answer_count(), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* Tests run on a reader's thread that does not read between questions. */
#define RUN(tests)                                                                                 \
	({                                                                                         \
		int failed_count;                                                                  \
		zone_reader_register();                                                            \
		zone_read_end();                                                                   \
		failed_count = cmocka_run_group_tests(tests, NULL, NULL);                          \
		zone_reader_unregister();                                                          \
		failed_count;                                                                      \
	})
