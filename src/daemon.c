#include "daemon.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sysexits.h>

#include "admin/admin.h"
#include "base/descriptors.h"
#include "base/log.h"
#include "base/mailbox.h"
#include "base/sd_notify.h"
#include "config/config.h"
#include "daemon_parts.h"
#include "daemon_reserve.h"
#include "forward/upstream.h"
#include "listen/worker.h"
#include "nomad/catalogue.h"
#include "nomad/http.h"
#include "nomad/mirror.h"
#include "nomad/zone.h"
#include "nomad/zone_writer.h"

#define NEEDS_BOX 4096	     /* needs of all workers on their way to us */
#define HOUSEKEEPING_MS 2000 /* looks at files that may have changed, and systemd's status line */
#define READY_AFTER_MS 5000  /* systemd hears READY then, even without a word from Nomad */

static void wake_for_needs(void *arg)
{
	uv_async_send(arg);
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
	close_handle((uv_handle_t *)&d->watchdog_timer);
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
				      .say = daemon_say,
				      .say_arg = d,
				      .count_questions = daemon_count_questions,
				      .count_questions_arg = d,
				      .on_state = daemon_on_nomad_state,
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
	upstream_list_load_cas(d->upstreams);
	daemon_say_upstreams(d->upstreams, report);
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
	uv_async_init(&d->loop, &d->needs_came, daemon_on_needs);
	uv_signal_init(&d->loop, &d->on_hup);
	uv_signal_init(&d->loop, &d->on_term);
	uv_signal_init(&d->loop, &d->on_int);
	uv_timer_init(&d->loop, &d->housekeeping);
	uv_timer_init(&d->loop, &d->ready_timer);
	uv_timer_init(&d->loop, &d->stop_timer);
	uv_timer_init(&d->loop, &d->words_timer);
	uv_timer_init(&d->loop, &d->watchdog_timer);
	d->needs_came.data = d->on_hup.data = d->on_term.data = d->on_int.data = d;
	d->housekeeping.data = d->ready_timer.data = d->stop_timer.data = d->words_timer.data = d;
	d->watchdog_timer.data = d;
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
	struct admin_doors admin = { .loop = &d->loop,
				     .is_ready = daemon_is_ready,
				     .metrics = daemon_write_metrics,
				     .flush = daemon_flush,
				     .arg = d };
	int code = open_nomad(d);

	if (code == 0)
		code = start_workers(d);
	if (code)
		return code;
	say_listening(d);
	d->admin = admin_open(&admin, d->config);
	uv_signal_start(&d->on_hup, daemon_on_reload, SIGHUP);
	uv_signal_start(&d->on_term, on_stop, SIGTERM);
	uv_signal_start(&d->on_int, on_stop, SIGINT);
	uv_timer_start(&d->housekeeping, daemon_on_housekeeping, HOUSEKEEPING_MS, HOUSEKEEPING_MS);
	uv_timer_start(&d->ready_timer, daemon_on_ready_timer, READY_AFTER_MS, 0);
	daemon_files_init(&d->files, d->config);
	daemon_watchdog_init(&d->watchdog);
	if (d->watchdog.look_every_ms)
		uv_timer_start(&d->watchdog_timer, daemon_on_watchdog_timer, 0,
			       d->watchdog.look_every_ms);
	d->phase = PHASE_RUNNING;
	daemon_on_nomad_state(d);
	return 0;
}

/* Before anything else: no core with a token in it, no second heap per thread, a broken pipe is an
 * error code, as many descriptors as we may have. */
static void settle_process(void)
{
	struct rlimit no_core = { 0, 0 };

	prctl(PR_SET_DUMPABLE, 0);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	setrlimit(RLIMIT_CORE, &no_core);
	mallopt(M_ARENA_MAX, 2); /* glibc would give each thread its own */
	setenv("UV_THREADPOOL_SIZE", "1", 0);
	signal(SIGPIPE, SIG_IGN);
	daemon_reserve_install();
	descriptors_raise();
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
