/*
 * The inside of the daemon, shared by its two files: daemon.c starts, runs and stops the rooms;
 * daemon_news.c is what happens in between (words for workers, readiness, reload, changed files).
 */
#pragma once

#include <sys/types.h>
#include <uv.h>

#include "base/metrics.h"
#include "daemon_files.h"
#include "daemon_watchdog.h"
#include "listen/sockets.h"
#include "nomad/need.h"

struct admin;
struct buf;
struct catalogue;
struct daemon_origin;
struct http;
struct mailbox;
struct mirror;
struct upstream_list;
struct worker;
struct zone;

enum daemon_phase { PHASE_STARTING, PHASE_RUNNING, PHASE_LAME_DUCK, PHASE_STOPPING };

struct daemon {
	/* rooms, in the order they start */
	const struct daemon_origin *origin;
	struct config *config;
	struct metrics metrics; /* the control plane's own */
	struct sockets sockets;
	uv_loop_t loop;
	struct zone *zone;
	struct http *http;
	struct catalogue *catalogue;
	struct mailbox *needs;
	uv_async_t needs_came;
	struct mirror *mirror;
	struct upstream_list *upstreams;
	struct worker **workers;
	unsigned worker_count;
	struct admin *admin;
	uv_signal_t on_hup, on_term, on_int;
	uv_timer_t housekeeping, ready_timer, stop_timer, words_timer, watchdog_timer;
	/* state */
	enum daemon_phase phase;
	bool said_ready; /* to systemd */
	struct daemon_files files;
	struct daemon_watchdog watchdog;
	struct need_word *held; /* words that found a full box, oldest first */
	size_t held_count;
	uint64_t config_owed, upstreams_owed; /* to these workers (bits): their box was full */
	unsigned open_rooms;		      /* while closing */
};

/* Callbacks that the rooms are given. */
void daemon_say(void *arg, const struct need_word *word);
void daemon_on_needs(uv_async_t *async);
bool daemon_is_ready(void *arg, struct buf *out);
void daemon_write_metrics(void *arg, struct buf *out);
uint64_t daemon_count_questions(void *arg); /* about Nomad's names, answered so far */
ssize_t daemon_flush(void *arg, const uint8_t *name, size_t length);
void daemon_on_nomad_state(void *arg);
void daemon_on_reload(uv_signal_t *signal, int number);
void daemon_on_housekeeping(uv_timer_t *timer);
void daemon_on_ready_timer(uv_timer_t *timer);
void daemon_on_watchdog_timer(uv_timer_t *timer);

/* Logs the upstream resolvers, and `report` (changed by this) line by line as warnings. */
void daemon_say_upstreams(const struct upstream_list *list, char *report);
