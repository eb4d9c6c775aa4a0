#include "daemon.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <uv.h>

#include "admin/admin.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mailbox.h"
#include "base/metrics.h"
#include "base/sd_notify.h"
#include "config/config.h"
#include "daemon_files.h"
#include "forward/upstream.h"
#include "listen/sockets.h"
#include "listen/worker.h"
#include "nomad/catalogue.h"
#include "nomad/http.h"
#include "nomad/mirror.h"
#include "nomad/need.h"
#include "nomad/zone.h"

#define NEEDS_BOX 4096	     /* needs of all workers on their way to us */
#define WORDS_HELD_MAX 65536 /* words for a worker whose box is full */
#define HOUSEKEEPING_MS 2000 /* DAEMON_FILES_EVERY_MS and systemd's status line */
#define READY_AFTER_MS 5000  /* systemd hears READY then, even without a word from Nomad */
#define RETRY_WORDS_MS 5

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
	uv_timer_t housekeeping, ready_timer, stop_timer, words_timer;
	/* state */
	enum daemon_phase phase;
	bool said_ready; /* to systemd */
	struct daemon_files files;
	struct need_word *held; /* words that found a full box, oldest first */
	size_t held_count;
	unsigned open_rooms; /* while closing */
};

/* ---- words for the workers ---- */

static bool tell_word(struct daemon *d, const struct need_word *word)
{
	struct worker_message message = { .kind = WORKER_WORD, .word = *word };

	return word->need.worker >= d->worker_count ||
	       worker_tell(d->workers[word->need.worker], &message) == 0;
}

static void on_words_timer(uv_timer_t *timer)
{
	struct daemon *d = timer->data;
	size_t told = 0;

	while (told < d->held_count && tell_word(d, &d->held[told]))
		told++;
	memmove(d->held, d->held + told, (d->held_count - told) * sizeof(*d->held));
	d->held_count -= told;
	if (d->held_count == 0)
		uv_timer_stop(&d->words_timer);
}

/* A word must not get lost: who asks for the same name later joins those who wait for it. */
static void say(void *arg, const struct need_word *word)
{
	struct daemon *d = arg;

	if (d->held_count == 0 && tell_word(d, word))
		return;
	if (!d->held)
		d->held = malloc(WORDS_HELD_MAX * sizeof(*d->held)); /* touched as it fills */
	if (!d->held || d->held_count == WORDS_HELD_MAX) {
		log_error("daemon", "a worker does not take its messages; a name may stay "
				    "unanswered until a restart");
		return;
	}
	d->held[d->held_count++] = *word;
	if (!uv_is_active((uv_handle_t *)&d->words_timer))
		uv_timer_start(&d->words_timer, on_words_timer, RETRY_WORDS_MS, RETRY_WORDS_MS);
}

static void wake_for_needs(void *arg)
{
	uv_async_send(arg);
}

static void on_needs(uv_async_t *async)
{
	struct daemon *d = async->data;
	struct need need;

	while (mailbox_take(d->needs, &need) == 0)
		mirror_need(d->mirror, &need);
}

/* ---- readiness ---- */

static bool is_ready(void *arg, struct buf *out)
{
	struct daemon *d = arg;
	char text[256];
	bool ready = d->phase == PHASE_RUNNING && mirror_is_ready(d->mirror);

	if (d->phase == PHASE_LAME_DUCK || d->phase == PHASE_STOPPING)
		buf_puts(out, "stopping\n");
	if (d->phase == PHASE_STARTING)
		buf_puts(out, "starting\n");
	mirror_describe(d->mirror, text, sizeof(text));
	buf_printf(out, "%s\n", text);
	return ready;
}

static void tell_systemd_status(struct daemon *d)
{
	char state[320], text[256];

	mirror_describe(d->mirror, text, sizeof(text));
	snprintf(state, sizeof(state), "STATUS=%s; %zu services known", text,
		 catalogue_service_count(d->catalogue));
	sd_notify_send(state);
}

static void tell_systemd_ready(struct daemon *d)
{
	if (d->said_ready)
		return;
	d->said_ready = true;
	uv_timer_stop(&d->ready_timer);
	sd_notify_send("READY=1");
	tell_systemd_status(d);
}

static void on_ready_timer(uv_timer_t *timer)
{
	tell_systemd_ready(timer->data);
}

static void on_nomad_state(void *arg)
{
	struct daemon *d = arg;

	if (mirror_is_ready(d->mirror))
		tell_systemd_ready(d);
	if (d->said_ready)
		tell_systemd_status(d);
}

static void write_metrics(void *arg, struct buf *out)
{
	struct daemon *d = arg;
	const struct metrics **blocks = calloc(d->worker_count + 1, sizeof(*blocks));

	if (!blocks)
		return;
	metrics_set(&d->metrics, METRIC_NOMAD_SERVICES, catalogue_service_count(d->catalogue));
	metrics_set(&d->metrics, METRIC_NOMAD_INSTANCES, catalogue_instance_count(d->catalogue));
	blocks[0] = &d->metrics;
	for (unsigned i = 0; i < d->worker_count; i++)
		blocks[i + 1] = worker_metrics(d->workers[i]);
	metrics_render(blocks, d->worker_count + 1, d->config->metrics_prefix, out);
	free(blocks);
}

/* ---- changes while running ---- */

static void tell_all(struct daemon *d, enum worker_message_kind kind)
{
	for (unsigned i = 0; i < d->worker_count; i++) {
		struct worker_message message = { .kind = kind };

		if (kind == WORKER_CONFIG)
			message.config = config_hold(d->config);
		else
			message.upstreams = upstream_list_hold(d->upstreams);
		if (worker_tell(d->workers[i], &message) == 0)
			continue;
		log_error("daemon", "worker %u does not take its messages; it keeps what it had",
			  i);
		if (kind == WORKER_CONFIG)
			config_drop(message.config);
		else
			upstream_list_drop(message.upstreams);
	}
}

static void say_upstreams(const struct upstream_list *list, char *report)
{
	char text[ADDR_TEXT_MAX], line[512] = "";
	size_t at = 0;

	for (char *rest = report, *one; (one = strsep(&rest, "\n"));) {
		if (*one)
			log_warn("forward", "%s", one);
	}
	for (size_t i = 0; i < list->count && at < sizeof(line) - ADDR_TEXT_MAX - 2; i++) {
		addr_format(&list->upstream[i].addr, text);
		at += (size_t)snprintf(line + at, sizeof(line) - at, "%s%s", at ? ", " : "", text);
	}
	if (list->forwards_nothing)
		log_info("forward", "names outside our zones are refused (forward=none)");
	else if (list->count == 0)
		log_warn("forward",
			 "no upstream resolver: names outside our zones are answered SERVFAIL; "
			 "set --forward=ADDRESS");
	else
		log_info("forward", "upstream resolvers: %s", line);
}

/* Builds the list of upstreams anew; if it differs, everybody gets it. */
static void renew_upstreams(struct daemon *d)
{
	char report[1024] = "";
	struct upstream_list *next = upstream_list_new(d->config, report, sizeof(report));

	if (!next) {
		log_error("forward",
			  "out of memory: the list of upstream resolvers stays as it is");
		return;
	}
	if (upstream_list_same(next, d->upstreams)) {
		upstream_list_drop(next);
		return;
	}
	upstream_list_drop(d->upstreams);
	d->upstreams = next;
	say_upstreams(next, report);
	tell_all(d, WORKER_UPSTREAMS);
}

static void apply_config(struct daemon *d, struct config *next)
{
	char why[512], differences[256];

	config_restart_differences(d->config, next, differences, sizeof(differences));
	if (differences[0])
		log_warn("config", "changed, but only a restart makes it so: %s", differences);
	if (http_configure(d->http, next, why, sizeof(why)) < 0)
		log_error("config", "%s; the connection to Nomad stays as it was", why);
	if (zone_configure(d->zone, next) < 0)
		log_error("config", "out of memory: TTLs stay as they were");
	catalogue_configure(d->catalogue, next);
	mirror_configure(d->mirror, next);
	log_setup(next->log_level, next->log_format);
	config_drop(d->config);
	d->config = next;
	daemon_files_init(&d->files, next);
	renew_upstreams(d);
	tell_all(d, WORKER_CONFIG);
}

static void on_reload(uv_signal_t *signal, int number)
{
	struct daemon *d = signal->data;
	struct config_problem problem;
	struct config *next;
	char state[64];

	(void)number;
	snprintf(state, sizeof(state), "RELOADING=1\nMONOTONIC_USEC=%llu",
		 (unsigned long long)clock_now_us());
	sd_notify_send(state);
	next = config_load(d->origin->argc, d->origin->argv, d->origin->environment, &problem);
	if (next) {
		apply_config(d, next);
		metrics_set(&d->metrics, METRIC_CONFIG_RELOAD_OK, 1);
		log_info("config", "reloaded");
	} else {
		metrics_set(&d->metrics, METRIC_CONFIG_RELOAD_OK, 0);
		metrics_add(&d->metrics, METRIC_CONFIG_RELOADS_FAILED, 1);
		log_error("config", "not reloaded, the old configuration stays: %s", problem.text);
	}
	sd_notify_send("READY=1");
}

static void on_housekeeping(uv_timer_t *timer)
{
	struct daemon *d = timer->data;
	unsigned changed = daemon_files_look(&d->files);
	char why[512];

	if (changed & DAEMON_FILES_RESOLV_CONF)
		renew_upstreams(d);
	if (changed & DAEMON_FILES_NOMAD &&
	    http_configure(d->http, d->config, why, sizeof(why)) < 0)
		log_warn("nomad", "%s; what we had stays", why);
	if (d->said_ready)
		tell_systemd_status(d);
}

/* ---- stopping: the reverse of starting ---- */

static void on_room_closed(void *arg)
{
	struct daemon *d = arg;

	d->open_rooms--;
}

static void close_handle(uv_handle_t *handle)
{
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

static void on_workers_stopping(uv_timer_t *timer)
{
	struct daemon *d = timer->data;

	for (unsigned i = 0; i < d->worker_count; i++) {
		if (!worker_has_ended(d->workers[i]))
			return;
	}
	uv_stop(&d->loop);
}

/* The loop keeps turning while workers finish: what they wait for comes through it. */
static void stop_workers(struct daemon *d)
{
	enum { LOOK_EVERY_MS = 5 };

	d->phase = PHASE_STOPPING;
	for (unsigned i = 0; i < d->worker_count; i++)
		worker_ask_stop(d->workers[i]);
	uv_timer_start(&d->stop_timer, on_workers_stopping, 0, LOOK_EVERY_MS);
}

static void on_lame_duck_over(uv_timer_t *timer)
{
	stop_workers(timer->data);
}

static void on_stop(uv_signal_t *signal, int number)
{
	struct daemon *d = signal->data;

	(void)number;
	if (d->phase == PHASE_STOPPING)
		return;
	sd_notify_send("STOPPING=1\nSTATUS=stopping");
	log_info("daemon", "stopping");
	if (d->config->lame_duck_ms && d->phase == PHASE_RUNNING) {
		d->phase = PHASE_LAME_DUCK;
		uv_timer_start(&d->stop_timer, on_lame_duck_over, d->config->lame_duck_ms, 0);
		return;
	}
	stop_workers(d);
}

static void stop_rooms(struct daemon *d)
{
	for (unsigned i = 0; i < d->worker_count; i++)
		worker_stop(d->workers[i]);
	d->worker_count = 0;
	close_handle((uv_handle_t *)&d->on_hup);
	close_handle((uv_handle_t *)&d->on_term);
	close_handle((uv_handle_t *)&d->on_int);
	close_handle((uv_handle_t *)&d->housekeeping);
	close_handle((uv_handle_t *)&d->ready_timer);
	close_handle((uv_handle_t *)&d->stop_timer);
	close_handle((uv_handle_t *)&d->words_timer);
	close_handle((uv_handle_t *)&d->needs_came);
	if (d->admin) {
		d->open_rooms++;
		admin_close(d->admin, on_room_closed, d);
	}
	if (d->mirror) {
		d->open_rooms++;
		mirror_close(d->mirror, on_room_closed, d);
		while (d->open_rooms && uv_run(&d->loop, UV_RUN_ONCE))
			continue;
	}
	if (d->http) {
		d->open_rooms++;
		http_close(d->http, on_room_closed, d);
	}
	while (uv_run(&d->loop, UV_RUN_DEFAULT))
		continue;
}

static void free_rooms(struct daemon *d)
{
	int left = uv_loop_close(&d->loop);

	if (left < 0)
		log_error("daemon", "a handle was left open: %s", uv_strerror(left));
	catalogue_free(d->catalogue);
	zone_free(d->zone);
	zone_reader_unregister();
	upstream_list_drop(d->upstreams);
	mailbox_free(d->needs);
	sockets_deinit(&d->sockets);
	config_drop(d->config);
	free(d->workers);
	free(d->held);
}

/* ---- starting ---- */

static int open_nomad(struct daemon *d)
{
	struct mirror_doors doors = { .loop = &d->loop,
				      .metrics = &d->metrics,
				      .say = say,
				      .say_arg = d,
				      .on_state = on_nomad_state,
				      .on_state_arg = d };
	char why[512] = "out of memory";

	d->zone = zone_new(d->config);
	d->catalogue = d->zone ? catalogue_new(d->zone, d->config, &d->metrics) : NULL;
	d->http = d->catalogue ? http_open(&d->loop, d->config, why, sizeof(why)) : NULL;
	if (!d->http) {
		log_error("nomad", "%s", why);
		return EX_CONFIG;
	}
	doors.http = d->http;
	doors.catalogue = d->catalogue;
	doors.zone = d->zone;
	d->mirror = mirror_open(&doors, d->config);
	return d->mirror ? 0 : EX_OSERR;
}

static int start_workers(struct daemon *d)
{
	char report[1024] = "", why[512] = "out of memory";

	d->upstreams = upstream_list_new(d->config, report, sizeof(report));
	d->needs = mailbox_new(sizeof(struct need), NEEDS_BOX, wake_for_needs, &d->needs_came);
	d->workers = calloc(d->config->workers, sizeof(*d->workers));
	if (!d->upstreams || !d->needs || !d->workers)
		return EX_OSERR;
	say_upstreams(d->upstreams, report);
	for (unsigned i = 0; i < d->config->workers; i++) {
		struct worker_setup setup = { .index = (uint8_t)i,
					      .zone = d->zone,
					      .sockets = &d->sockets,
					      .config = d->config,
					      .upstreams = d->upstreams,
					      .needs = d->needs };

		d->workers[i] = worker_start(&setup, why, sizeof(why));
		if (!d->workers[i]) {
			log_error("listen", "cannot start worker %u: %s", i, why);
			return EX_OSERR;
		}
		d->worker_count++;
	}
	return 0;
}

static void init_handles(struct daemon *d)
{
	uv_async_init(&d->loop, &d->needs_came, on_needs);
	uv_signal_init(&d->loop, &d->on_hup);
	uv_signal_init(&d->loop, &d->on_term);
	uv_signal_init(&d->loop, &d->on_int);
	uv_timer_init(&d->loop, &d->housekeeping);
	uv_timer_init(&d->loop, &d->ready_timer);
	uv_timer_init(&d->loop, &d->stop_timer);
	uv_timer_init(&d->loop, &d->words_timer);
	d->needs_came.data = d->on_hup.data = d->on_term.data = d->on_int.data = d;
	d->housekeeping.data = d->ready_timer.data = d->stop_timer.data = d->words_timer.data = d;
}

static void say_listening(const struct daemon *d)
{
	char text[ADDR_TEXT_MAX];

	for (size_t i = 0; i < d->sockets.count; i++) {
		const struct sockets_one *one = &d->sockets.one[i];

		if (one->is_tcp || one->worker)
			continue;
		addr_format(&one->addr, text);
		log_info("listen", "answering on %s, UDP and TCP", text);
	}
}

static int start_rooms(struct daemon *d)
{
	struct admin_doors admin = {
		.loop = &d->loop, .is_ready = is_ready, .metrics = write_metrics, .arg = d
	};
	int code = open_nomad(d);

	if (code == 0)
		code = start_workers(d);
	if (code)
		return code;
	say_listening(d);
	d->admin = admin_open(&admin, d->config);
	uv_signal_start(&d->on_hup, on_reload, SIGHUP);
	uv_signal_start(&d->on_term, on_stop, SIGTERM);
	uv_signal_start(&d->on_int, on_stop, SIGINT);
	uv_timer_start(&d->housekeeping, on_housekeeping, HOUSEKEEPING_MS, HOUSEKEEPING_MS);
	uv_timer_start(&d->ready_timer, on_ready_timer, READY_AFTER_MS, 0);
	daemon_files_init(&d->files, d->config);
	d->phase = PHASE_RUNNING;
	on_nomad_state(d);
	return 0;
}

/* Before anything else: no core with a token in it, no second heap per thread, a broken pipe is an
 * error code. */
static void settle_process(void)
{
	struct rlimit no_core = { 0, 0 };

	prctl(PR_SET_DUMPABLE, 0);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	setrlimit(RLIMIT_CORE, &no_core);
	mallopt(M_ARENA_MAX, 2); /* glibc would give each thread its own */
	setenv("UV_THREADPOOL_SIZE", "1", 0);
	signal(SIGPIPE, SIG_IGN);
}

int daemon_run(struct config *config, const struct daemon_origin *origin)
{
	struct daemon *d = calloc(1, sizeof(*d));
	char why[512];
	int result, code;

	if (!d)
		return EX_OSERR;
	settle_process();
	d->origin = origin;
	d->config = config_hold(config);
	log_setup(config->log_level, config->log_format);
	metrics_set(&d->metrics, METRIC_CONFIG_RELOAD_OK, 1);
	result = sockets_bind(&d->sockets, config, why, sizeof(why));
	if (result < 0) {
		log_error("listen", "%s", why);
		config_drop(d->config);
		free(d);
		return result == -EACCES || result == -EPERM ? EX_NOPERM : EX_UNAVAILABLE;
	}
	uv_loop_init(&d->loop);
	zone_reader_register();
	init_handles(d);
	code = start_rooms(d);
	if (code == 0)
		uv_run(&d->loop, UV_RUN_DEFAULT);
	stop_rooms(d);
	free_rooms(d);
	if (code == 0)
		log_info("daemon", "stopped");
	free(d);
	return code;
}
