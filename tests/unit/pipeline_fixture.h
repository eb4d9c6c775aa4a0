/*
 * The corridor with stages that do what the name says. The first label is the order; names under
 * "nomad" are the first stage's. They stand in for the real stages by defining the same functions.
 */
#pragma once

#include <errno.h>
#include <uv.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "cache/cache_stage.h"
#include "forward/forward_stage.h"
#include "nomad/hosts.h"
#include "nomad/nomad_stage.h"
#include "pipeline.h"
#include "unit/support.h"

#define SENT_MAX 16

struct nomad_stage {
	struct list waiting;
};

struct cache_stage {
	bool takes_replies; /* and has "many" from then on */
	unsigned forgotten_count;
	struct image *kept;
	uint64_t retry_ms;
	unsigned failure_count;
};

struct forward_stage {
	bool has_other_upstreams;
	unsigned flush_count;
	struct forward_doors doors;
	struct list waiting;
	uv_timer_t handle;
	void (*closed)(void *);
	void *closed_arg;
};

static struct nomad_stage nomad;
static struct cache_stage cache;
static struct forward_stage forward;
static char trace[64]; /* which stages were asked: N, C, F */
static const char *host_names[4];
static unsigned host_count;
static struct answer_address fixed = { { .family = AF_INET, .bytes = { 10, 0, 0, 1 } }, 10 };

static inline void leave_trace(char letter)
{
	size_t length = strlen(trace);

	if (length + 1 < sizeof(trace))
		trace[length] = letter;
}

static inline bool is_order(const struct query *query, const char *order)
{
	return query->question.folded[0] == strlen(order) &&
	       memcmp(query->question.folded + 1, order, strlen(order)) == 0;
}

static inline enum verdict say_address(struct answer *out, enum metric_stage stage)
{
	answer_init(out);
	out->stage = (uint8_t)stage;
	out->addresses = &fixed;
	out->address_count = 1;
	return VERDICT_ANSWERED;
}

static inline enum verdict say_fail(struct answer *out, enum metric_stage stage)
{
	answer_fail(out, (uint8_t)stage, DNS_EDE_NO_REACHABLE_AUTHORITY, NULL);
	return VERDICT_FAILED;
}

/* ---- the first stage ---- */

struct nomad_stage *nomad_stage_new(struct zone *zone, uint8_t worker, nomad_stage_send *send,
				    void *send_arg)
{
	(void)zone, (void)worker, (void)send, (void)send_arg;
	list_init(&nomad.waiting);
	return &nomad;
}

void nomad_stage_free(struct nomad_stage *stage)
{
	assert_true(!stage || list_is_empty(&stage->waiting));
}

void nomad_stage_configure(struct nomad_stage *stage, const struct config *config)
{
	(void)stage, (void)config;
}

static inline enum verdict ask_hosts(struct query *query, struct answer *out)
{
	if (!query->hosts) {
		query->hosts = hosts_new(query->question.type);
		assert_non_null(query->hosts);
		for (unsigned i = 0; i < host_count; i++) {
			uint8_t wire[DNS_NAME_MAX];
			size_t length = wire_name(host_names[i], wire);

			assert_true(hosts_add_name(query->hosts, wire, (uint8_t)length));
		}
		return VERDICT_PENDING;
	}
	if (query->hosts->open_count)
		return VERDICT_PENDING;
	if (query->hosts->address_count == 0)
		return say_fail(out, METRIC_STAGE_NOMAD);
	say_address(out, METRIC_STAGE_NOMAD);
	out->addresses = query->hosts->address;
	out->address_count = query->hosts->address_count;
	return VERDICT_ANSWERED;
}

enum verdict nomad_stage_ask(struct nomad_stage *stage, struct query *query, uint64_t now_ms,
			     struct answer *out)
{
	const uint8_t *name = query->question.folded;
	size_t length = query->question.name_length;
	bool has_come = query->nomad_outcome == NEED_CAME;

	(void)stage, (void)now_ms;
	assert_int_equal(query->stage, QUERY_AT_NOMAD);
	leave_trace('N');
	if (length < 7 || memcmp(name + length - 7, "\5nomad", 7) != 0)
		return VERDICT_PASS;
	if (is_order(query, "host"))
		return ask_hosts(query, out);
	if (is_order(query, "fail"))
		return say_fail(out, METRIC_STAGE_NOMAD);
	if (is_order(query, "now"))
		return say_address(out, METRIC_STAGE_NOMAD);
	if (is_order(query, "stale") && query->nomad_outcome == NEED_LATE) {
		say_address(out, METRIC_STAGE_NOMAD);
		out->is_stale = true;
		out->ede = DNS_EDE_STALE_ANSWER;
		return VERDICT_ANSWERED;
	}
	if (is_order(query, "stalehost") && query->nomad_outcome == NEED_LATE)
		return ask_hosts(query, out);
	if (is_order(query, "twice") && query->turns < 2)
		return VERDICT_PENDING;
	if (has_come)
		return say_address(out, METRIC_STAGE_NOMAD);
	return query->nomad_outcome == NEED_NONE ? VERDICT_PENDING
						 : say_fail(out, METRIC_STAGE_NOMAD);
}

enum verdict nomad_stage_wait(struct nomad_stage *stage, struct query *query, uint64_t now_ms,
			      struct answer *out)
{
	(void)now_ms;
	assert_true(query->id != 0);
	assert_true(list_is_empty(&query->by_cause));
	if (query->hosts && query->hosts->open_count)
		return VERDICT_PENDING;
	if (is_order(query, "ceiling"))
		return say_fail(out, METRIC_STAGE_NOMAD);
	query->nomad_outcome = NEED_NONE;
	list_append(&stage->waiting, &query->by_cause);
	return VERDICT_PENDING;
}

void nomad_stage_hear(struct nomad_stage *stage, const struct need_word *word,
		      void (*wake)(void *arg, struct query *query), void *arg)
{
	struct list woken, *link;

	list_init(&woken);
	while ((link = list_pop(&stage->waiting)))
		list_append(&woken, link);
	while ((link = list_pop(&woken))) {
		struct query *query = list_entry(link, struct query, by_cause);

		query->nomad_outcome = word->outcome;
		query->turns++;
		wake(arg, query);
	}
}

/* ---- the second stage ---- */

struct cache_stage *cache_stage_new(const struct config *config, struct metrics *metrics)
{
	(void)config, (void)metrics;
	cache = (struct cache_stage){ 0 };
	return &cache;
}

void cache_stage_free(struct cache_stage *stage)
{
	(void)stage;
}

void cache_stage_configure(struct cache_stage *stage, const struct config *config)
{
	(void)stage, (void)config;
}

enum verdict cache_stage_ask(struct cache_stage *stage, const struct query *query, uint64_t now_ms,
			     struct answer *out, bool *out_is_due)
{
	(void)now_ms;
	leave_trace('C');
	if (is_order(query, "due"))
		*out_is_due = true;
	return is_order(query, "hit") || is_order(query, "due") ||
			       (stage->takes_replies && is_order(query, "many"))
		       ? say_address(out, METRIC_STAGE_CACHE)
		       : VERDICT_PASS;
}

/* "old…": there is something expired. */
enum verdict cache_stage_ask_stale(struct cache_stage *stage, const struct query *query,
				   uint64_t now_ms, uint64_t retry_ms, struct answer *out)
{
	(void)now_ms;
	stage->retry_ms = retry_ms;
	if (memcmp(query->question.folded + 1, "old", 3) != 0)
		return VERDICT_PASS;
	say_address(out, METRIC_STAGE_CACHE);
	out->is_stale = true;
	out->ttl_all_s = 30;
	out->ede = DNS_EDE_STALE_ANSWER;
	return VERDICT_ANSWERED;
}

bool cache_stage_is_last_word(const struct image *image)
{
	return image->rcode == DNS_NOERROR || image->rcode == DNS_NXDOMAIN;
}

void cache_stage_note_failure(struct cache_stage *stage, const struct question *question,
			      uint64_t now_ms)
{
	(void)question, (void)now_ms;
	stage->failure_count++;
}

size_t cache_stage_expire(struct cache_stage *stage, const uint8_t *name, size_t length,
			  uint64_t now_ms)
{
	(void)stage, (void)name, (void)now_ms;
	return length;
}

size_t cache_stage_flush(struct cache_stage *stage, const uint8_t *name, size_t length)
{
	(void)stage, (void)name;
	return length;
}

const struct image *cache_stage_keep(struct cache_stage *stage, const struct question *question,
				     struct reply *from, uint64_t now_ms, uint32_t *out_ttl_max_s)
{
	(void)question, (void)now_ms;
	*out_ttl_max_s = UINT32_MAX;
	assert_null(stage->kept);
	stage->kept = from->image;
	return stage->kept;
}

bool cache_stage_has_kept(const struct cache_stage *stage)
{
	return stage->takes_replies;
}

void cache_stage_forget_failures(struct cache_stage *stage)
{
	stage->forgotten_count++;
}

void cache_stage_release(struct cache_stage *stage)
{
	free(stage->kept);
	stage->kept = NULL;
}

/* ---- the third stage ---- */

struct forward_stage *forward_stage_open(const struct forward_doors *doors,
					 const struct config *config)
{
	(void)config;
	forward = (struct forward_stage){ .doors = *doors };
	list_init(&forward.waiting);
	uv_timer_init(doors->loop, &forward.handle);
	return &forward;
}

static inline void on_handle_closed(uv_handle_t *handle)
{
	(void)handle;
	forward.closed(forward.closed_arg);
}

void forward_stage_close(struct forward_stage *stage, void (*closed)(void *), void *arg)
{
	assert_true(list_is_empty(&stage->waiting));
	stage->closed = closed;
	stage->closed_arg = arg;
	uv_close((uv_handle_t *)&stage->handle, on_handle_closed);
}

void forward_stage_configure(struct forward_stage *stage, const struct config *config)
{
	(void)stage, (void)config;
}

bool forward_stage_set_upstreams(struct forward_stage *stage, struct upstream_list *list)
{
	(void)list;
	return stage->has_other_upstreams;
}

void forward_stage_flush(struct forward_stage *stage, const uint8_t *name, size_t length)
{
	(void)name, (void)length;
	stage->flush_count++;
}

enum verdict forward_stage_ask(struct forward_stage *stage, struct query *query, uint64_t now_ms,
			       struct answer *out)
{
	(void)stage, (void)now_ms;
	leave_trace('F');
	if (is_order(query, "down") || is_order(query, "oldfail"))
		return say_fail(out, METRIC_STAGE_FORWARD);
	if (!is_order(query, "refused"))
		return VERDICT_PENDING;
	answer_init(out);
	out->stage = METRIC_STAGE_FORWARD;
	out->rcode = DNS_REFUSED;
	return VERDICT_ANSWERED;
}

enum verdict forward_stage_wait(struct forward_stage *stage, struct query *query, uint64_t now_ms,
				struct answer *out)
{
	(void)now_ms;
	assert_true(query->id != 0);
	assert_int_equal(query->stage, QUERY_AT_FORWARD);
	if (is_order(query, "ceiling") || is_order(query, "oldceiling"))
		return say_fail(out, METRIC_STAGE_FORWARD);
	list_append(&stage->waiting, &query->by_cause);
	return VERDICT_PENDING;
}

static inline void take_waiting(struct list *out, const char *order)
{
	list_init(out);
	list_for_each_safe (link, &forward.waiting) {
		if (!is_order(list_entry(link, struct query, by_cause), order))
			continue;
		list_remove(link);
		list_append(out, link);
	}
}

/* The upstream answers all that wait with this order: 192.0.2.<last>, TTL 300, RCODE `rcode`. */
static inline void upstream_answers(const char *order, uint8_t last, uint16_t rcode)
{
	uint8_t rr[16] = { 0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4, 192, 0, 2, last };
	struct image_builder builder = { 0 };
	struct question question = { 0 };
	struct reply from = { 0 };
	struct list waiting, *link;

	if (rcode == DNS_NOERROR)
		image_builder_add(&builder, rr, sizeof(rr), 2);
	from.image = image_builder_finish(&builder);
	assert_non_null(from.image);
	from.image->rcode = rcode;
	take_waiting(&waiting, order);
	forward.doors.on_reply(forward.doors.arg, &question, &from);
	while ((link = list_pop(&waiting)))
		forward.doors.on_waiter(forward.doors.arg,
					list_entry(link, struct query, by_cause));
	forward.doors.on_end(forward.doors.arg);
}

static inline void upstream_fails(const char *order)
{
	struct question question = { 0 };
	struct list waiting, *link;

	take_waiting(&waiting, order);
	forward.doors.on_reply(forward.doors.arg, &question, NULL);
	while ((link = list_pop(&waiting)))
		forward.doors.on_failed(forward.doors.arg, list_entry(link, struct query, by_cause),
					DNS_EDE_NETWORK_ERROR, "no upstream answers");
	forward.doors.on_end(forward.doors.arg);
}

/* ---- the corridor between them ---- */

static uv_loop_t loop;
static uv_timer_t guard;
static struct metrics metrics;
static struct config config;
static struct config_zone zones[1];
static struct addr_net allow[1];
static struct pipeline *pipeline;
static unsigned closed_count, sent_count;
static struct {
	struct query_client client;
	size_t length;
	uint8_t bytes[2048];
} sent[SENT_MAX];
static uint8_t reply[DNS_MESSAGE_MAX];
static size_t reply_length;

static inline int no_need(void *arg, const struct need *need)
{
	(void)arg, (void)need;
	return 0;
}

static inline void on_send(void *arg, const struct query_client *client, const uint8_t *bytes,
			   size_t length)
{
	assert_ptr_equal(arg, &sent);
	if (sent_count < SENT_MAX && length <= sizeof(sent[0].bytes)) {
		sent[sent_count].client = *client;
		sent[sent_count].length = length;
		memcpy(sent[sent_count].bytes, bytes, length);
	}
	sent_count++;
}

static inline void on_closed(void *arg)
{
	assert_ptr_equal(arg, &closed_count);
	closed_count++;
}

static inline int set_up(void **state)
{
	struct pipeline_doors doors = { .loop = &loop,
					.metrics = &metrics,
					.send_need = no_need,
					.send = on_send,
					.send_arg = &sent };

	(void)state;
	zones[0] = hand_made_zone("nomad");
	hand_made_config(&config, zones, 1);
	assert_int_equal(addr_parse_net("127.0.0.0/8", &allow[0]), 0);
	config.allow = allow;
	config.allow_count = 1;
	memset(&metrics, 0, sizeof(metrics));
	memset(trace, 0, sizeof(trace));
	host_count = closed_count = sent_count = 0;
	cache.failure_count = 0;
	assert_int_equal(uv_loop_init(&loop), 0);
	uv_timer_init(&loop, &guard);
	pipeline = pipeline_open(&doors, &config);
	return pipeline ? 0 : -1;
}

static inline void close_pipeline(void)
{
	pipeline_close(pipeline, on_closed, &closed_count);
	pipeline = NULL;
	while (closed_count == 0 && uv_run(&loop, UV_RUN_ONCE))
		continue;
	assert_int_equal(closed_count, 1);
}

static inline int tear_down(void **state)
{
	(void)state;
	if (pipeline)
		close_pipeline();
	uv_close((uv_handle_t *)&guard, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
	return config.references == 1000 ? 0 : -1;
}

static inline struct query_client a_client(enum query_source source)
{
	return (struct query_client){ .source = source,
				      .socket = 7,
				      .connection = 77,
				      .peer = ip("127.0.0.2"),
				      .local = ip("127.0.0.1") };
}

/* Asks as a client; the reply, if there is one now, is in reply[]. */
static inline size_t ask_as(enum query_source source, const struct packet *packet)
{
	struct query_client client = a_client(source);
	size_t capacity = source == QUERY_TCP ? DNS_MESSAGE_MAX : DNS_UDP_EDNS_MAX;

	zone_read_begin();
	reply_length = pipeline_ask(pipeline, &client, packet->bytes, packet->length,
				    clock_now_us(), reply, capacity);
	zone_read_end();
	return reply_length;
}

static inline size_t ask(const char *name)
{
	struct packet packet = packet_query(name, DNS_TYPE_A, DNS_CLASS_IN);

	packet_opt(&packet, 1232, 0, NULL, 0);
	return ask_as(QUERY_UDP, &packet);
}

static inline void hear(enum need_outcome outcome)
{
	struct need_word word = { .outcome = (uint8_t)outcome };

	zone_read_begin();
	pipeline_hear(pipeline, &word);
	zone_read_end();
}

static inline void on_guard(uv_timer_t *timer)
{
	(void)timer;
	fail_msg("it did not happen within 20 s");
}

/* Lets time pass until so many replies were sent. */
static inline void run_until_sent(unsigned count)
{
	uv_timer_start(&guard, on_guard, 20000, 0);
	while (sent_count < count)
		uv_run(&loop, UV_RUN_ONCE);
	uv_timer_stop(&guard);
}

static inline uint64_t metric(enum metric which)
{
	return metrics.value[which];
}

static inline unsigned rcode_of(const uint8_t *bytes)
{
	return load_be16(bytes + 2) & DNS_RCODE_MASK;
}

/* The one late reply, which must be an answer with this address. */
static inline void expect_sent(unsigned index, const char *address)
{
	struct addr addr = ip(address);

	assert_true(index < sent_count);
	assert_int_equal(rcode_of(sent[index].bytes), DNS_NOERROR);
	assert_true(load_be16(sent[index].bytes + 6) >= 1);
	assert_non_null(memmem(sent[index].bytes, sent[index].length, addr.bytes, 4));
}

static inline void expect_sent_servfail(unsigned index, uint16_t ede)
{
	size_t length = 0;
	const uint8_t *option;

	assert_true(index < sent_count);
	assert_int_equal(rcode_of(sent[index].bytes), DNS_SERVFAIL);
	option = find_option(sent[index].bytes, sent[index].length, DNS_OPTION_EDE, &length);
	assert_non_null(option);
	assert_int_equal(load_be16(option), ede);
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
