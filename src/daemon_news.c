#include "daemon_parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mailbox.h"
#include "base/process.h"
#include "base/sd_notify.h"
#include "base/str.h"
#include "config/config.h"
#include "daemon.h"
#include "dns/name.h"
#include "forward/upstream.h"
#include "listen/flush.h"
#include "listen/worker.h"
#include "nomad/catalogue.h"
#include "nomad/http.h"
#include "nomad/mirror.h"
#include "nomad/zone_writer.h"

#define WORDS_HELD_MAX 65536 /* words for a worker whose box is full */
#define RETRY_WORDS_MS 5
#define FLUSH_WAIT_MS 1000 /* a cache of gigabytes takes tens of milliseconds */

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
void daemon_say(void *arg, const struct need_word *word)
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

void daemon_on_needs(uv_async_t *async)
{
	struct daemon *d = async->data;
	struct need need;

	while (mailbox_take(d->needs, &need) == 0)
		mirror_need(d->mirror, &need);
}

/* ---- readiness ---- */

bool daemon_is_ready(void *arg, struct buf *out)
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

void daemon_on_ready_timer(uv_timer_t *timer)
{
	tell_systemd_ready(timer->data);
}

void daemon_on_watchdog_timer(uv_timer_t *timer)
{
	struct daemon *d = timer->data;

	daemon_watchdog_look(&d->watchdog, d->workers, d->worker_count);
}

void daemon_on_nomad_state(void *arg)
{
	struct daemon *d = arg;

	if (mirror_is_ready(d->mirror))
		tell_systemd_ready(d);
	if (d->said_ready)
		tell_systemd_status(d);
}

uint64_t daemon_count_questions(void *arg)
{
	const struct daemon *d = arg;
	uint64_t count = 0;

	for (unsigned i = 0; i < d->worker_count; i++) {
		const struct metrics *metrics = worker_metrics(d->workers[i]);

		for (unsigned code = 0; code < METRIC_RCODES; code++)
			count += atomic_load_explicit(
				&metrics->value[metric_response(METRIC_STAGE_NOMAD, code)],
				memory_order_relaxed);
	}
	return count;
}

void daemon_write_metrics(void *arg, struct buf *out)
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

/* ---- the operator's wish ---- */

/* Waits for the workers, who need a moment: queries are answered meanwhile, only news of Nomad wait
 * along. Entries forgotten, or -errno. */
ssize_t daemon_flush(void *arg, const uint8_t *name, size_t length)
{
	struct daemon *d = arg;
	struct flush *flush;
	size_t dropped_count;
	int result;

	if (d->phase != PHASE_RUNNING)
		return -EAGAIN;
	flush = flush_new(name, length, d->worker_count);
	if (!flush)
		return -ENOMEM;
	for (unsigned i = 0; i < d->worker_count; i++) {
		struct worker_message message = { .kind = WORKER_FLUSH, .flush = flush };

		if (worker_tell(d->workers[i], &message) < 0)
			flush_report(flush, 0);
	}
	result = flush_wait(flush, FLUSH_WAIT_MS, &dropped_count);
	return result < 0 ? result : (ssize_t)dropped_count;
}

/* ---- changes while running ---- */

/* The newest configuration or list of upstreams, to one worker. Whether its box took it. */
static bool tell_worker(struct daemon *d, unsigned worker, enum worker_message_kind kind)
{
	struct worker_message message = { .kind = kind };

	if (kind == WORKER_CONFIG)
		message.config = config_hold(d->config);
	else
		message.upstreams = upstream_list_hold(d->upstreams);
	if (worker_tell(d->workers[worker], &message) == 0)
		return true;
	if (kind == WORKER_CONFIG)
		config_drop(message.config);
	else
		upstream_list_drop(message.upstreams);
	return false;
}

/* Tells those of `*owed`; who cannot be told stays owed. */
static void tell_owed(struct daemon *d, enum worker_message_kind kind, uint64_t *owed)
{
	for (unsigned i = 0; *owed && i < d->worker_count; i++) {
		if ((*owed >> i & 1) && tell_worker(d, i, kind))
			*owed &= ~(UINT64_C(1) << i);
	}
}

static void tell_all(struct daemon *d, enum worker_message_kind kind, uint64_t *owed)
{
	*owed = d->worker_count < 64 ? (UINT64_C(1) << d->worker_count) - 1 : UINT64_MAX;
	tell_owed(d, kind, owed);
	if (*owed)
		log_warn("daemon", "a worker's box is full; it is told again in a moment");
}

void daemon_say_upstreams(const struct upstream_list *list, char *report)
{
	char text[UPSTREAM_TEXT_MAX], domain[NAME_TEXT_MAX], line[512] = "";
	size_t at = 0;
	int written;

	for (char *rest = report, *one; (one = strsep(&rest, "\n"));) {
		if (*one)
			log_warn("forward", "%s", one);
	}
	for (size_t i = 0; i < list->count && at < sizeof(line) - 1; i++) {
		const struct upstream *one = &list->upstream[i];

		upstream_format(one, text);
		domain[0] = '\0';
		if (one->domain_length > 0)
			name_format(one->domain, domain);
		written = str_format(line + at, sizeof(line) - at, "%s%s%s%s", at ? ", " : "",
				     domain, domain[0] ? "=" : "", text);
		at = written < 0 ? sizeof(line) : at + (size_t)written;
	}
	if (list->forwards_nothing && list->count > 0)
		log_info("forward", "upstream resolvers: %s; all other names are refused", line);
	else if (list->forwards_nothing)
		log_info("forward", "names outside our zones are refused (forward=none)");
	else if (list->count == 0)
		log_warn("forward",
			 "no upstream resolver: names outside our zones are answered SERVFAIL; "
			 "set --forward=ADDRESS");
	else
		log_info("forward", "upstream resolvers: %s", line);
	for (size_t i = 0; i < list->refused_count; i++) {
		name_format(list->refused[i].name, domain);
		log_info("forward", "names below %s are refused (forward=%s=none)", domain, domain);
	}
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
	upstream_list_load_cas(next);
	upstream_list_drop(d->upstreams);
	d->upstreams = next;
	daemon_say_upstreams(next, report);
	tell_all(d, WORKER_UPSTREAMS, &d->upstreams_owed);
}

/* Where, as whom and how Nomad is followed. */
static const char *const nomad_options[] = {
	"nomad-address",
	"nomad-token-file",
	"nomad-http-auth-file",
	"nomad-region",
	"nomad-ca-cert",
	"nomad-ca-path",
	"nomad-client-cert",
	"nomad-client-key",
	"nomad-tls-server-name",
	"nomad-tls-skip-verify",
	"namespace",
	"filter",
	"mirror",
	"preload",
	"settle",
	NULL,
};

/* Whether it is in effect now. Takes `next` over. */
static bool apply_config(struct daemon *d, struct config *next)
{
	char why[512], differences[256];
	bool is_same = config_same_options(d->config, next, nomad_options);

	config_restart_differences(d->config, next, differences, sizeof(differences));
	if (differences[0])
		log_warn("config", "changed, but only a restart makes it so: %s", differences);
	if (config_keep_restart(next, d->config) < 0) {
		log_error("config", "out of memory: the old configuration stays");
		config_drop(next);
		return false;
	}
	if (http_configure(d->http, next, why, sizeof(why)) < 0)
		log_error("config", "%s; the connection to Nomad stays as it was", why);
	if (zone_configure(d->zone, next) < 0)
		log_error("config", "out of memory: TTLs stay as they were");
	catalogue_configure(d->catalogue, next);
	mirror_configure(d->mirror, next, is_same);
	log_setup(next->log_level, next->log_format);
	config_drop(d->config);
	d->config = next;
	daemon_files_init(&d->files, next);
	renew_upstreams(d);
	tell_all(d, WORKER_CONFIG, &d->config_owed);
	return true;
}

void daemon_on_reload(uv_signal_t *signal, int number)
{
	struct daemon *d = signal->data;
	struct config_problem problem;
	struct config *next;
	char state[64];

	(void)number;
	snprintf(state, sizeof(state), "RELOADING=1\nMONOTONIC_USEC=%llu",
		 (unsigned long long)clock_awake_us());
	sd_notify_send(state);
	next = config_load(d->origin->argc, d->origin->argv, d->origin->environment, &problem);
	if (next && apply_config(d, next)) {
		metrics_set(&d->metrics, METRIC_CONFIG_RELOAD_OK, 1);
		log_info("config", "reloaded");
	} else {
		metrics_set(&d->metrics, METRIC_CONFIG_RELOAD_OK, 0);
		metrics_add(&d->metrics, METRIC_CONFIG_RELOADS_FAILED, 1);
		if (!next)
			log_error("config", "not reloaded, the old configuration stays: %s",
				  problem.text);
	}
	sd_notify_send("READY=1");
}

void daemon_on_housekeeping(uv_timer_t *timer)
{
	struct daemon *d = timer->data;
	unsigned changed = daemon_files_look(&d->files);
	char why[512];

	tell_owed(d, WORKER_CONFIG, &d->config_owed);
	tell_owed(d, WORKER_UPSTREAMS, &d->upstreams_owed);
	if (changed & DAEMON_FILES_RESOLV_CONF || d->upstreams->is_by_interface)
		renew_upstreams(d);
	if (changed & DAEMON_FILES_NOMAD &&
	    http_configure(d->http, d->config, why, sizeof(why)) < 0)
		log_warn("nomad", "%s; what we had stays", why);
	if (d->said_ready)
		tell_systemd_status(d);
	process_return_memory();
}
