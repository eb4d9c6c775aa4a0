/*
 * Keeps the catalogue true: decides what to ask Nomad, when, and what an answer or its absence
 * means. Tier "stream": all names are listed, and the event stream keeps them true. Tier "watch": a
 * held request wakes on any change, and what is asked for is fetched again. Tier "lookup": GET on
 * demand, one request for any number of askers, kept for `ttl`, refreshed before expiry while asked
 * for; unknown names are judged by one list per namespace and `negative-ttl`. It takes the best
 * that Nomad permits, up to `mirror`, and moves by itself. Knows when Nomad is lost, denied, found
 * again. Main thread.
 *
 * Where to read on (each part has a header, and mirror_parts.h is what the mirror is made of). A
 * need becomes an ask (mirror_ask), asks become calls (mirror_call), whose replies
 * (mirror_call_reply.c) become what we know (mirror_read, mirror_space). Tier "watch": a reply of
 * the alarm (mirror_alarm; of the names in use in a busy cluster: mirror_held, mirror_large,
 * mirror_pace) is a wake (mirror_watch), which asks again for what is in use. Tier "stream", in the
 * order that mirror_sync gives: the frames (mirror_stream) are queued (mirror_queue) until the list
 * has come (mirror_sync_list.c), and then applied (mirror_sync_apply.c) to the catalogue, which
 * puts them into the zone. What no frame tells: mirror_sync_heard.c, mirror_census, mirror_doubt.
 * Beside: mirror_health and mirror_pulse (is it there, at which address), mirror_scope (where we
 * may listen), mirror_tier (which tier that makes), mirror_live (all of it as one, with one clock),
 * mirror_settle, mirror_preload, mirror_pause.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "nomad/need.h"

struct catalogue;
struct config;
struct http;
struct metrics;
struct mirror;
struct zone;

struct mirror_doors { /* how it speaks to the rest; all outlive the mirror */
	uv_loop_t *loop;
	struct http *http;
	struct catalogue *catalogue;
	struct zone *zone;
	struct metrics *metrics;
	void (*say)(void *arg, const struct need_word *word); /* a word for need.worker */
	void *say_arg;
	/* How many questions about Nomad's names were answered so far; NULL: nobody counts them. */
	uint64_t (*count_questions)(void *arg);
	void *count_questions_arg;
	void (*on_state)(void *arg); /* Nomad was found or lost: ready state may have changed */
	void *on_state_arg;
};

struct mirror *mirror_open(const struct mirror_doors *doors, const struct config *config);
void mirror_close(struct mirror *mirror, void (*closed)(void *), void *arg);

/* `is_same`: Nomad is to be followed as before, so what is held and under way stays. */
void mirror_configure(struct mirror *mirror, const struct config *config, bool is_same);

/* A worker needs a name. Ends in one word for each NEED_NAMESPACE and NEED_SERVICE; NEED_REFRESH
 * gets none. */
void mirror_need(struct mirror *mirror, const struct need *need);

/* One good word from Nomad was heard since start. */
bool mirror_is_ready(const struct mirror *mirror);

/* For /ready and logs: "stream, Nomad at http://127.0.0.1:4646" or what is wrong with it. */
void mirror_describe(const struct mirror *mirror, char *out, size_t capacity);
