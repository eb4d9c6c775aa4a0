/*
 * The life of pools and of the room. A new configuration is a new pool; the old one ends with its
 * last request, so no connection made under old certificates outlives a reload.
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

	if (!pool->is_ending)
		return;
	for (int i = 0; i < HTTP_LANE_COUNT; i++) {
		if (pool->lanes[i].timer_is_open || pool->lanes[i].sockets.handle_count > 0)
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
	if (!pool->is_retired || pool->is_ending)
		return;
	for (int i = 0; i < HTTP_LANE_COUNT; i++) {
		if (pool->lanes[i].request_count > 0 || pool->lanes[i].busy > 0)
			return;
	}
	pool->is_ending = true;
	for (int i = 0; i < HTTP_LANE_COUNT; i++)
		http_lane_close(&pool->lanes[i]);
}

static void retire(struct http_pool *pool)
{
	pool->is_retired = true;
	http_pool_settle(pool);
}

/* ---- the making of a pool ---- */

/* NULL with `why`. */
static struct http_pool *make_pool(struct http *http, const struct config *config, char *why,
				   size_t why_capacity)
{
	struct http_pool *pool = calloc(1, sizeof(*pool));
	bool is_whole = true;

	snprintf(why, why_capacity, "out of memory");
	if (!pool)
		return NULL;
	pool->http = http;
	list_init(&pool->link);
	if (http_settings_init(&pool->settings, config, why, why_capacity) < 0) {
		free_pool(pool);
		return NULL;
	}
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

	if (!http || !http_library_open()) {
		snprintf(why, why_capacity, "out of memory");
		free(http);
		return NULL;
	}
	http->loop = loop;
	list_init(&http->pools);
	http->pool = make_pool(http, config, why, why_capacity);
	if (http->pool)
		return http;
	http_library_close();
	free(http);
	return NULL;
}

int http_configure(struct http *http, const struct config *config, char *why, size_t why_capacity)
{
	struct http_pool *next = make_pool(http, config, why, why_capacity);

	if (!next)
		return -EINVAL;
	http->has_new_token |= http_settings_differ(&http->pool->settings, &next->settings);
	retire(http->pool);
	http->pool = next;
	return 0;
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
