/*
 * The life of pools and of the room. New addresses or certificates are a new pool; of the old one
 * each lane ends with its last request, so no connection made under old certificates is used for
 * anything that begins after a reload, and none stays open for nothing.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nomad/http_parts.h"

/* ---- the end of a pool ---- */

static void free_pool(struct http_pool *pool)
{
	list_remove(&pool->link);
	http_settings_deinit(&pool->settings);
	free(pool);
}

/* With the last handle goes the pool, with the last pool the room. */
void http_pool_on_closed(struct http_pool *pool)
{
	struct http *http = pool->http;

	for (int i = 0; i < HTTP_LANE_COUNT; i++) {
		const struct http_lane *lane = &pool->lanes[i];

		if (!lane->is_ending || lane->timer_is_open || lane->sockets.handle_count > 0)
			return;
	}
	free_pool(pool);
	if (!http->is_closing || !list_is_empty(&http->pools))
		return;
	http_library_close();
	if (http->closed)
		http->closed(http->closed_arg);
	free(http);
}

void http_pool_settle(struct http_pool *pool)
{
	for (int i = 0; pool->is_retired && i < HTTP_LANE_COUNT; i++) {
		struct http_lane *lane = &pool->lanes[i];

		if (!lane->is_ending && lane->request_count == 0 && lane->busy == 0)
			http_lane_close(lane);
	}
}

static void retire(struct http_pool *pool)
{
	pool->is_retired = true;
	http_pool_settle(pool);
}

/* ---- the making of a pool ---- */

static int take_settings(struct http_settings *out, const struct config *config, char *why,
			 size_t why_capacity)
{
	snprintf(why, why_capacity, "out of memory");
	return http_settings_init(out, config, why, why_capacity);
}

static void swap_settings(struct http_settings *a, struct http_settings *b)
{
	struct http_settings kept = *a;

	*a = *b;
	*b = kept;
}

/* Without settings yet. NULL with `why`. */
static struct http_pool *make_pool(struct http *http, char *why, size_t why_capacity)
{
	struct http_pool *pool = calloc(1, sizeof(*pool));
	bool is_whole = true;

	snprintf(why, why_capacity, "out of memory");
	if (!pool)
		return NULL;
	pool->http = http;
	list_init(&pool->link);
	for (int i = 0; i < HTTP_LANE_COUNT; i++)
		is_whole &= http_lane_init(&pool->lanes[i]) == 0;
	for (int i = 0; i < HTTP_LANE_COUNT; i++) {
		if (is_whole)
			http_lane_open(&pool->lanes[i], pool, (enum http_lane_kind)i);
		else
			http_lane_deinit(&pool->lanes[i]);
	}
	if (!is_whole) {
		free_pool(pool);
		return NULL;
	}
	list_append(&http->pools, &pool->link);
	return pool;
}

/* ---- the room ---- */

struct http *http_open(uv_loop_t *loop, const struct config *config, char *why, size_t why_capacity)
{
	struct http *http = calloc(1, sizeof(*http));
	struct http_settings settings = { 0 };

	if (!http || !http_library_open()) {
		snprintf(why, why_capacity, "out of memory");
		free(http);
		return NULL;
	}
	http->loop = loop;
	list_init(&http->pools);
	if (take_settings(&settings, config, why, why_capacity) == 0)
		http->pool = make_pool(http, why, why_capacity);
	if (http->pool) {
		http->pool->settings = settings;
		return http;
	}
	http_settings_deinit(&settings);
	http_library_close();
	free(http);
	return NULL;
}

int http_configure(struct http *http, const struct config *config, char *why, size_t why_capacity)
{
	struct http_pool *pool = http->pool, *next = NULL;
	struct http_settings settings = { 0 };
	int rc = take_settings(&settings, config, why, why_capacity);

	if (rc == 0 && !http_settings_same_way(&pool->settings, &settings)) {
		next = make_pool(http, why, why_capacity);
		rc = next ? 0 : -ENOMEM;
	}
	if (rc == 0) {
		http->has_new_token |= http_settings_differ(&pool->settings, &settings);
		swap_settings(&(next ? next : pool)->settings, &settings);
	}
	http_settings_deinit(&settings);
	if (next) {
		http->pool = next;
		retire(pool);
	}
	return rc;
}

void http_close(struct http *http, void (*closed)(void *), void *arg)
{
	http->is_closing = true;
	http->closed = closed;
	http->closed_arg = arg;
	list_for_each_safe (link, &http->pools) {
		struct http_pool *pool = list_entry(link, struct http_pool, link);

		for (int i = 0; i < HTTP_LANE_COUNT; i++)
			http_lane_cancel_all(&pool->lanes[i]);
		retire(pool);
	}
}

void http_cancel(struct http *http, uint64_t id)
{
	if (id == 0)
		return;
	list_for_each (link, &http->pools) {
		struct http_pool *pool = list_entry(link, struct http_pool, link);

		for (int i = 0; i < HTTP_LANE_COUNT; i++) {
			if (!http_lane_cancel(&pool->lanes[i], id))
				continue;
			http_pool_settle(pool);
			return;
		}
	}
}

static size_t count_in_flight(const struct http *http, int first_lane)
{
	size_t count = 0;

	list_for_each (link, &http->pools) {
		const struct http_pool *pool = list_entry(link, struct http_pool, link);

		for (int i = first_lane; i < HTTP_LANE_COUNT; i++)
			count += pool->lanes[i].request_count;
	}
	return count;
}

size_t http_in_flight(const struct http *http)
{
	return count_in_flight(http, HTTP_LANE_ORDINARY);
}

size_t http_held_in_flight(const struct http *http)
{
	return count_in_flight(http, HTTP_LANE_HELD);
}

size_t http_address_count(const struct http *http)
{
	return http->pool->settings.address_count;
}

const char *http_address_text(const struct http *http, size_t address)
{
	return http->pool->settings.addresses[address % http->pool->settings.address_count].text;
}

bool http_refresh_token(struct http *http)
{
	bool is_new = http_settings_refresh(&http->pool->settings) || http->has_new_token;

	http->has_new_token = false;
	return is_new;
}
