/*
 * The room itself: its life, its configuration, its clock, and what all its parts need. Needs
 * become asks in mirror_ask.c, asks become calls in mirror_call.c.
 */
#include "nomad/mirror.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/map.h"
#include "base/str.h"
#include "config/config.h"
#include "dns/name.h"
#include "nomad/catalogue.h"
#include "nomad/http.h"
#include "nomad/mirror_ask.h"
#include "nomad/mirror_call.h"
#include "nomad/mirror_health.h"
#include "nomad/mirror_live.h"
#include "nomad/mirror_parts.h"
#include "nomad/mirror_pause.h"
#include "nomad/mirror_scope.h"
#include "nomad/mirror_settle.h"
#include "nomad/mirror_space.h"
#include "nomad/mirror_tier.h"
#include "nomad/zone.h"
#include "nomad/zone_writer.h"

#define TICK_MS 100	      /* while anything is under way or planned */
#define REFRESH_AT_PERCENT 80 /* of its life an answer in use is renewed */
#define FRESH_MS_MIN 50	      /* with ttl=0: those who waited shall find what came */

/* ---- what all parts need ---- */

struct zone_times mirror_times(const struct mirror *mirror, bool is_there, bool is_leaderless)
{
	uint64_t now_ms = clock_now_ms();
	uint64_t life_ms = is_there ? mirror->ttl_ms : mirror->negative_ttl_ms;
	uint64_t fresh_ms = life_ms < FRESH_MS_MIN ? FRESH_MS_MIN : life_ms;
	uint64_t stale_ms = mirror->max_stale_ms < fresh_ms ? fresh_ms : mirror->max_stale_ms;

	return (struct zone_times){ .refresh_from_ms = now_ms + fresh_ms * REFRESH_AT_PERCENT / 100,
				    .fresh_until_ms = now_ms + fresh_ms,
				    .stale_until_ms = now_ms + stale_ms,
				    .is_leaderless = is_leaderless };
}

struct zone_times mirror_times_live(const struct mirror *mirror)
{
	struct zone_times times = mirror_times(mirror, true, false);

	times.refresh_from_ms = times.fresh_until_ms = ZONE_LIVE;
	return times;
}

void mirror_expire_live(struct mirror *mirror)
{
	zone_expire_live(mirror->doors.zone, clock_now_ms());
	mirror_space_expire(mirror);
}

uint64_t mirror_jitter(struct mirror *mirror, uint64_t ms)
{
	uint64_t percent = 100 - MIRROR_JITTER_PERCENT +
			   hash_dice_roll(&mirror->dice) % (2 * MIRROR_JITTER_PERCENT + 1);

	return ms * percent / 100;
}

void mirror_take_index(struct mirror *mirror, uint64_t index)
{
	if (index <= mirror->index)
		return;
	mirror->index = index;
	zone_set_index(mirror->doors.zone, index);
	metrics_set(mirror->doors.metrics, METRIC_NOMAD_INDEX, index);
}

void mirror_fold(const char *text, char out[SCOPE_NAME_MAX])
{
	size_t length = strnlen(text, SCOPE_NAME_MAX - 1);

	name_fold((const uint8_t *)text, length, (uint8_t *)out);
	out[length] = '\0';
}

/* ---- time ---- */

void mirror_tick(struct mirror *mirror, uint64_t now_ms)
{
	list_for_each (link, &mirror->active)
		mirror_call_tick(list_entry(link, struct call, link), now_ms);
	mirror_health_tick(mirror, now_ms);
	mirror_live_tick(mirror, now_ms);
	mirror_settle_tick(mirror, now_ms);
}

static void on_timer(uv_timer_t *timer)
{
	struct mirror *mirror = timer->data;

	mirror_tick(mirror, clock_now_ms());
	if (list_is_empty(&mirror->active) && !mirror->health.probe_at_ms)
		uv_timer_stop(timer);
}

void mirror_arm(struct mirror *mirror)
{
	if (!uv_is_active((uv_handle_t *)&mirror->timer))
		uv_timer_start(&mirror->timer, on_timer, TICK_MS, TICK_MS);
}

/* ---- the room ---- */

static char *make_filter(const char *filter)
{
	size_t capacity = filter ? strlen(filter) * 3 + sizeof("&filter=") : 1;
	char *text = malloc(capacity);

	if (!text)
		return NULL;
	text[0] = '\0';
	if (filter && filter[0]) {
		memcpy(text, "&filter=", 8);
		http_escape(filter, strlen(filter), text + 8, capacity - 8);
	}
	return text;
}

/* Where the probe asks until there is a namespace in use. */
static const char *first_home(const struct config *config)
{
	for (size_t i = 0; i < config->namespace_count; i++) {
		if (name_is_label(config->namespace[i], strlen(config->namespace[i])))
			return config->namespace[i];
	}
	return "default";
}

static void take_times(struct mirror *mirror, const struct config *config)
{
	mirror->ttl_ms = (uint64_t)config->ttl_s * 1000;
	mirror->negative_ttl_ms = (uint64_t)config->negative_ttl_s * 1000;
	mirror->max_stale_ms = config->max_stale_ms;
}

/* false: out of memory, and nothing has changed. */
static bool take_config(struct mirror *mirror, const struct config *config)
{
	char *filter = make_filter(config->filter);

	if (!filter)
		return false;
	if (mirror->filter && strcmp(mirror->filter, filter) != 0)
		mirror->filter_turn++;
	free(mirror->filter);
	mirror->filter = filter;
	take_times(mirror, config);
	snprintf(mirror->home, sizeof(mirror->home), "%s", first_home(config));
	mirror->address = 0;
	return true;
}

static void free_mirror(struct mirror *mirror)
{
	mirror_live_free(mirror);
	mirror_space_forget(mirror);
	map_free(mirror->ask_by_key);
	free(mirror->filter);
	free(mirror);
}

/* Ready means that Nomad said one good word: the list of the namespace that is asked about first,
 * unless all lists are about to come. */
static void say_hello(struct mirror *mirror)
{
	char label[DNS_LABEL_MAX + 1] = "";

	if (mirror->ceiling != CONFIG_MIRROR_LOOKUP) {
		mirror_health_probe_now(mirror);
		return;
	}
	name_fold((const uint8_t *)mirror->home, strlen(mirror->home), (uint8_t *)label);
	if (mirror_ask_list(mirror, label))
		mirror_call_pump(mirror);
	else
		mirror_health_probe_now(mirror);
}

struct mirror *mirror_open(const struct mirror_doors *doors, const struct config *config)
{
	struct mirror *mirror = calloc(1, sizeof(*mirror));

	if (!mirror)
		return NULL;
	mirror->doors = *doors;
	hash_random(&mirror->pause_key, sizeof(mirror->pause_key));
	list_init(&mirror->asks);
	list_init(&mirror->active);
	list_init(&mirror->urgent);
	list_init(&mirror->leisure);
	mirror->ask_by_key = map_new();
	hash_dice_init(&mirror->dice);
	if (!mirror_space_init(mirror) || !mirror->ask_by_key || !take_config(mirror, config) ||
	    !mirror_live_open(mirror, config)) {
		free_mirror(mirror);
		return NULL;
	}
	uv_timer_init(doors->loop, &mirror->timer);
	uv_timer_init(doors->loop, &mirror->live_timer);
	mirror->timer.data = mirror->live_timer.data = mirror;
	mirror->open_handles = 2;
	mirror_health_init(mirror);
	say_hello(mirror);
	mirror_live_start(mirror);
	return mirror;
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct mirror *mirror = handle->data;
	void (*closed)(void *) = mirror->closed;
	void *arg = mirror->closed_arg;

	if (--mirror->open_handles)
		return;
	free_mirror(mirror);
	if (closed)
		closed(arg);
}

void mirror_close(struct mirror *mirror, void (*closed)(void *), void *arg)
{
	mirror->is_closing = true;
	mirror->closed = closed;
	mirror->closed_arg = arg;
	mirror_live_close(mirror);
	mirror_ask_end_all(mirror);
	if (mirror->health.probe)
		mirror_call_drop(mirror->health.probe);
	uv_close((uv_handle_t *)&mirror->live_timer, on_timer_closed);
	uv_close((uv_handle_t *)&mirror->timer, on_timer_closed);
}

/* Whoever reloads wants what has failed to be tried again, and nothing else disturbed. */
static void go_on(struct mirror *mirror, const struct config *config, uint64_t old_ttl_ms)
{
	take_times(mirror, config);
	mirror_pause_forget(mirror);
	if (mirror->ttl_ms < old_ttl_ms) /* what was promised for longer is fetched again */
		catalogue_expire(mirror->doors.catalogue);
	if (!mirror_tier_is_best(mirror)) {
		mirror_space_renew(mirror);
		mirror_live_renew(mirror);
	}
	if (mirror->health.state != ZONE_NOMAD_OK || mirror->health.is_holding)
		mirror_health_probe_now(mirror);
}

void mirror_configure(struct mirror *mirror, const struct config *config, bool is_same)
{
	char *old_filter = strdup(mirror->filter);
	uint64_t old_ttl_ms = mirror->ttl_ms;

	if (is_same) {
		go_on(mirror, config, old_ttl_ms);
	} else if (take_config(mirror, config)) {
		mirror_space_renew(mirror);
		mirror_pause_forget(mirror); /* another filter may be a good one */
		mirror_live_configure(mirror, config);
		/* What was fetched under another filter, or promised for longer, is fetched again.
		 */
		if (!old_filter || strcmp(old_filter, mirror->filter) != 0 ||
		    mirror->ttl_ms < old_ttl_ms)
			catalogue_expire(mirror->doors.catalogue);
		if (mirror->health.state != ZONE_NOMAD_OK || mirror->health.is_holding)
			mirror_health_probe_now(mirror);
	} else {
		log_error("nomad", "out of memory: ttl and filter stay as they were");
	}
	free(old_filter);
}

bool mirror_is_ready(const struct mirror *mirror)
{
	return mirror->health.is_ready;
}

void mirror_describe(const struct mirror *mirror, char *out, size_t capacity)
{
	const struct health *health = &mirror->health;
	const char *address = http_address_text(mirror->doors.http, mirror->address);
	const char *tier = mirror_tier_text(mirror_tier(mirror));
	const char *why = mirror_tier_why(mirror);
	char duration[32];

	str_format_duration_ms((clock_now_ms() - health->since_ms) / 1000 * 1000, duration,
			       sizeof(duration));
	switch (health->state) {
	case ZONE_NOMAD_SILENT:
		snprintf(out, capacity, "no word yet from Nomad at %s: %s", address,
			 health->reason);
		break;
	case ZONE_NOMAD_OK:
		if (health->is_holding)
			snprintf(out, capacity, "%s, but %s does not answer like Nomad: %s", tier,
				 address, health->reason);
		else
			snprintf(out, capacity, "%s, Nomad at %s%s%s%s%s", tier, address,
				 mirror->is_leaderless ? ", which knows no leader" : "",
				 why[0] ? " (no event stream: " : "", why, why[0] ? ")" : "");
		break;
	case ZONE_NOMAD_LOST:
		snprintf(out, capacity, "%s for %s: %s",
			 health->is_ready ? "Nomad is lost" : "no word yet from Nomad", duration,
			 health->reason);
		break;
	case ZONE_NOMAD_DENIED:
		snprintf(out, capacity, "Nomad at %s refuses the token: %s", address,
			 health->reason);
		break;
	}
}
