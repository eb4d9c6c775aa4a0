/*
 * The mirror between a fake http, a fake zone and a clock that only moves when told to. The
 * catalogue is the real one. Include it in one file of a test.
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "config/config.h"
#include "nomad/catalogue.h"
#include "nomad/http.h"
#include "nomad/mirror.h"
#include "nomad/mirror_parts.h"
#include "unit/fake_zone.h"

/* ---- the clock ---- */

static uint64_t now_ms;

uint64_t clock_now_ms(void)
{
	return now_ms;
}

uint64_t clock_now_us(void)
{
	return now_ms * 1000;
}

uint64_t clock_wall_s(void)
{
	return now_ms / 1000;
}

/* ---- the http door ---- */

#define REQUESTS_MAX 4096

struct request {
	uint64_t id; /* 0: over */
	bool is_held;
	http_line *on_line; /* a stream */
	size_t address;
	char path[300];
	uint64_t timeout_ms;
	http_done *done;
	void *arg;
};

struct http {
	struct request requests[REQUESTS_MAX];
	size_t count, address_count;
	bool has_new_token, is_out_of_memory;
};

static struct http fake_http;

uint64_t http_get(struct http *http, size_t address, const char *path, uint64_t timeout_ms,
		  http_done *done, void *arg)
{
	struct request *request = &http->requests[http->count];

	if (http->is_out_of_memory)
		return 0;
	assert_in_range(http->count, 0, REQUESTS_MAX - 1);
	http->count++;
	*request = (struct request){ .id = http->count,
				     .address = address,
				     .timeout_ms = timeout_ms,
				     .done = done,
				     .arg = arg };
	snprintf(request->path, sizeof(request->path), "%s", path);
	return request->id;
}

uint64_t http_get_held(struct http *http, size_t address, const char *path, uint64_t timeout_ms,
		       http_done *done, void *arg)
{
	uint64_t id = http_get(http, address, path, timeout_ms, done, arg);

	if (id)
		http->requests[id - 1].is_held = true;
	return id;
}

uint64_t http_stream(struct http *http, size_t address, const char *path, http_line *on_line,
		     http_done *on_end, void *arg)
{
	uint64_t id = http_get_held(http, address, path, 0, on_end, arg);

	if (id)
		http->requests[id - 1].on_line = on_line;
	return id;
}

void http_cancel(struct http *http, uint64_t id)
{
	if (id)
		http->requests[id - 1].id = 0;
}

size_t http_in_flight(const struct http *http)
{
	size_t count = 0;

	for (size_t i = 0; i < http->count; i++)
		count += http->requests[i].id != 0;
	return count;
}

size_t http_held_in_flight(const struct http *http)
{
	size_t count = 0;

	for (size_t i = 0; i < http->count; i++)
		count += http->requests[i].id != 0 && http->requests[i].is_held;
	return count;
}

bool http_refresh_token(struct http *http)
{
	bool is_new = http->has_new_token;

	http->has_new_token = false;
	return is_new;
}

size_t http_address_count(const struct http *http)
{
	return http->address_count;
}

const char *http_address_text(const struct http *http, size_t address)
{
	(void)http;
	return address ? "http://192.0.2.2:4646" : "http://192.0.2.1:4646";
}

/* ---- the rest of the house ---- */

static uv_loop_t loop;
static struct metrics metrics;
static struct config config;
static struct catalogue *catalogue;
static struct mirror *mirror;
static struct need_word words[2048];
static size_t word_count;
static unsigned state_changes;
static uint64_t questions;

static inline void on_word(void *arg, const struct need_word *word)
{
	(void)arg;
	words[word_count++ % 2048] = *word;
}

static inline void on_state(void *arg)
{
	(void)arg;
	state_changes++;
}

static inline uint64_t count_questions(void *arg)
{
	(void)arg;
	return questions;
}

static inline void open_mirror(void)
{
	struct mirror_doors doors = { .loop = &loop,
				      .http = &fake_http,
				      .catalogue = NULL,
				      .zone = &fake_zone,
				      .metrics = &metrics,
				      .say = on_word,
				      .count_questions = count_questions,
				      .on_state = on_state };

	catalogue = catalogue_new(&fake_zone, &config, &metrics);
	doors.catalogue = catalogue;
	mirror = mirror_open(&doors, &config);
	assert_non_null(mirror);
	/* Chance has no place here: two names in one bucket, or a wait that is a fifth longer. */
	memset(&mirror->pause_key, 0, sizeof(mirror->pause_key));
	mirror->dice.state = 1;
}

static inline int set_up(void **state)
{
	(void)state;
	memset(&fake_zone, 0, sizeof(fake_zone));
	memset(&fake_http, 0, sizeof(fake_http));
	memset(&metrics, 0, sizeof(metrics));
	memset(&config, 0, sizeof(config));
	questions = 0;
	fake_http.address_count = 1;
	config.ttl_s = 10;
	config.negative_ttl_s = 5;
	config.max_stale_ms = 3600000;
	config.mirror = CONFIG_MIRROR_LOOKUP;
	now_ms = 1000000;
	word_count = 0;
	state_changes = 0;
	return uv_loop_init(&loop);
}

static inline int tear_down(void **state)
{
	(void)state;
	mirror_close(mirror, NULL, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	catalogue_free(catalogue);
	assert_int_equal(http_in_flight(&fake_http), 0);
	return uv_loop_close(&loop) == 0 ? 0 : -1;
}

/* ---- short forms ---- */

static inline struct request *find_request(const char *path)
{
	for (size_t i = 0; i < fake_http.count; i++) {
		struct request *request = &fake_http.requests[i];

		if (request->id && strcmp(request->path, path) == 0)
			return request;
	}
	return NULL;
}

/* Answers what was asked at that address. */
static inline void answer_at(size_t address, const char *path, const char *body, uint64_t index)
{
	for (size_t i = 0; i < fake_http.count; i++) {
		struct request *request = &fake_http.requests[i];
		struct http_reply reply = { .status = 200,
					    .has_index = true,
					    .index = index,
					    .knows_leader = true,
					    .body = body,
					    .body_length = strlen(body) };

		if (!request->id || request->address != address || strcmp(request->path, path) != 0)
			continue;
		request->id = 0;
		request->done(request->arg, &reply);
		return;
	}
	fail_msg("not asked at address %zu: %s", address, path);
}

/* How many are under way there. */
static inline unsigned open_at(size_t address)
{
	unsigned count = 0;

	for (size_t i = 0; i < fake_http.count; i++)
		count += fake_http.requests[i].id && fake_http.requests[i].address == address;
	return count;
}

/* How often this path was asked, ever. */
static inline unsigned asked(const char *path)
{
	unsigned count = 0;

	for (size_t i = 0; i < fake_http.count; i++)
		count += strcmp(fake_http.requests[i].path, path) == 0;
	return count;
}

static inline void deliver(const char *path, struct http_reply *reply)
{
	struct request *request = find_request(path);

	if (!request)
		fail_msg("not asked: %s", path);
	request->id = 0;
	request->done(request->arg, reply);
}

static inline struct http_reply good(const char *body, uint64_t index)
{
	return (struct http_reply){ .status = 200,
				    .has_index = true,
				    .index = index,
				    .knows_leader = true,
				    .body = body,
				    .body_length = strlen(body) };
}

static inline void answer(const char *path, const char *body, uint64_t index)
{
	struct http_reply reply = good(body, index);

	deliver(path, &reply);
}

static inline void answer_status(const char *path, long status, uint64_t retry_after_s)
{
	struct http_reply reply = { .status = status,
				    .knows_leader = true,
				    .retry_after_s = retry_after_s,
				    .body = "words",
				    .body_length = 5 };

	deliver(path, &reply);
}

static inline void answer_failure(const char *path, enum http_failure failure)
{
	struct http_reply reply = { .failure = failure, .error = "it failed", .body = "" };

	deliver(path, &reply);
}

static inline void need_of(uint8_t worker, enum need_kind kind, const char *namespace,
			   const char *service)
{
	struct need need = { .kind = (uint8_t)kind, .worker = worker };

	need.namespace_length = (uint8_t)strlen(namespace);
	memcpy(need.namespace_label, namespace, need.namespace_length);
	need.service_length = (uint8_t)strlen(service);
	memcpy(need.service_label, service, need.service_length);
	mirror_need(mirror, &need);
}

static inline void need(enum need_kind kind, const char *namespace, const char *service)
{
	need_of(0, kind, namespace, service);
}

static inline enum need_outcome last_word(void)
{
	return word_count ? words[(word_count - 1) % 2048].outcome : NEED_NONE;
}

static inline void advance(uint64_t ms)
{
	now_ms += ms;
	mirror_tick(mirror, now_ms);
}

static inline uint64_t metric(enum metric which)
{
	return atomic_load(&metrics.value[which]);
}

#define LIST "/v1/services?namespace=default"
#define WEB "/v1/service/web?namespace=default"
#define PROBE "/v1/service/nomad-dns-probe?namespace=default"
#define PROBE_ANY "/v1/service/nomad-dns-probe?namespace=*"
#define LIST_WEB                                                                                   \
	"[{\"Namespace\":\"default\",\"Services\":[{\"ServiceName\":\"web\",\"Tags\":[]}]}]"
#define ONE(address) "[{\"ID\":\"a\",\"Address\":\"" address "\",\"Port\":80}]"

/* A mirror that has heard the list of `default` with `web` in it. */
static inline void open_listed(void)
{
	open_mirror();
	answer(LIST, LIST_WEB, 10);
}

/* The same with web's instances. */
static inline void open_loaded(void)
{
	open_listed();
	need(NEED_SERVICE, "default", "web");
	answer(WEB, ONE("192.0.2.1"), 11);
	assert_int_equal(last_word(), NEED_CAME);
}

/* The same, and then Nomad is gone. */
static inline void open_lost(void)
{
	open_loaded();
	need(NEED_SERVICE, "default", "web");
	answer_failure(WEB, HTTP_CONNECT);
	assert_int_equal(last_word(), NEED_LOST);
}
