/*
 * Who has asked for what: requests are heap objects with an id, in the list of their lane. Nothing
 * here enters libcurl but the two ends, http_easy_open and http_easy_close.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "nomad/http_parts.h"

#define TOKEN_LOOK_EVERY_MS 1000

void http_request_free(struct http_request *request)
{
	list_remove(&request->link);
	request->lane->request_count--;
	http_easy_close(request);
	buf_deinit(&request->body);
	http_lines_deinit(&request->lines);
	free(request);
}

/* ---- lines of streams ---- */

/* Hands out the whole lines of a stream. The callback may cancel anything, this stream too. */
static void hand_out(struct http_request *request)
{
	const char *line;
	size_t length;

	request->is_handing_out = true;
	while (!request->is_cancelled && http_lines_next(&request->lines, &line, &length))
		request->on_line(request->arg, line, length);
	request->is_handing_out = false;
	if (request->is_cancelled)
		http_request_free(request);
}

static struct http_request *find_lines(const struct http_lane *lane)
{
	list_for_each (link, &lane->requests) {
		struct http_request *request = list_entry(link, struct http_request, link);

		if (http_lines_has_next(&request->lines) && !request->is_handing_out)
			return request;
	}
	return NULL;
}

void http_lane_hand_out(struct http_lane *lane)
{
	struct http_request *request;

	while ((request = find_lines(lane)))
		hand_out(request);
}

/* ---- beginning and ending ---- */

static uint64_t start(struct http *http, enum http_lane_kind kind, size_t address,
		      const struct http_wanted *wanted)
{
	struct http_lane *lane = &http->pool->lanes[kind];
	uint64_t now_ms = clock_now_ms();
	struct http_request *request;

	if (http->is_closing || (kind == HTTP_LANE_HELD && lane->request_count >= HTTP_HELD_MAX))
		return 0;
	if (now_ms - http->token_looked_ms >= TOKEN_LOOK_EVERY_MS) {
		http->token_looked_ms = now_ms;
		http->has_new_token |= http_settings_refresh(&http->pool->settings);
	}
	request = calloc(1, sizeof(*request));
	if (!request)
		return 0;
	request->lane = lane;
	request->done = wanted->done;
	request->on_line = wanted->on_line;
	request->arg = wanted->arg;
	http_head_init(&request->head);
	buf_init(&request->body, HTTP_BODY_MAX_BYTES);
	http_lines_init(&request->lines, HTTP_BODY_MAX_BYTES);
	list_append(&lane->requests, &request->link);
	lane->request_count++;
	/* A reload may have left fewer addresses than the caller remembers. */
	if (!http_easy_open(request, address % http->pool->settings.address_count, wanted)) {
		http_request_free(request);
		return 0;
	}
	request->id = ++http->last_id;
	return request->id;
}

uint64_t http_get(struct http *http, size_t address, const char *path, uint64_t timeout_ms,
		  http_done *done, void *arg)
{
	struct http_wanted wanted = {
		.path = path, .timeout_ms = timeout_ms, .done = done, .arg = arg
	};

	return start(http, HTTP_LANE_ORDINARY, address, &wanted);
}

uint64_t http_get_held(struct http *http, size_t address, const char *path, uint64_t timeout_ms,
		       http_done *done, void *arg)
{
	struct http_wanted wanted = {
		.path = path, .timeout_ms = timeout_ms, .done = done, .arg = arg
	};

	return start(http, HTTP_LANE_HELD, address, &wanted);
}

uint64_t http_stream(struct http *http, size_t address, const char *path, http_line *on_line,
		     http_done *on_end, void *arg)
{
	struct http_wanted wanted = {
		.path = path, .on_line = on_line, .done = on_end, .arg = arg
	};

	return start(http, HTTP_LANE_HELD, address, &wanted);
}

bool http_lane_cancel(struct http_lane *lane, uint64_t id)
{
	list_for_each (link, &lane->requests) {
		struct http_request *request = list_entry(link, struct http_request, link);

		if (request->id != id)
			continue;
		request->id = 0;
		if (request->is_handing_out)
			request->is_cancelled = true; /* freed when its callback returns */
		else
			http_request_free(request);
		return true;
	}
	return false;
}

void http_lane_cancel_all(struct http_lane *lane)
{
	static const struct http_reply cancelled = {
		.failure = HTTP_CANCELLED, .error = "cancelled", .knows_leader = true, .body = ""
	};
	struct list *link;

	while ((link = list_pop(&lane->requests))) {
		struct http_request *request = list_entry(link, struct http_request, link);

		if (!request->is_cancelled) {
			request->id = 0;
			request->done(request->arg, &cancelled);
		}
		if (request->is_handing_out)
			request->is_cancelled = true;
		else
			http_request_free(request);
	}
}
