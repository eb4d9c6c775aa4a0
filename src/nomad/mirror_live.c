/*
 * The parts that keep the mirror live, as one: how they begin and end, and the clock they share,
 * which runs only when one of them has something to do.
 */
#include "nomad/mirror_live.h"

#include "base/clock.h"
#include "nomad/mirror_alarm.h"
#include "nomad/mirror_census.h"
#include "nomad/mirror_health.h"
#include "nomad/mirror_large.h"
#include "nomad/mirror_parts.h"
#include "nomad/mirror_preload.h"
#include "nomad/mirror_pulse.h"
#include "nomad/mirror_scope.h"
#include "nomad/mirror_settle.h"
#include "nomad/mirror_sync.h"
#include "nomad/mirror_tier.h"
#include "nomad/mirror_watch.h"

#define TOKEN_LOOK_MS 2000

/* ---- time ---- */

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* What was refused may be granted to another token. */
static uint64_t look_for_token(struct mirror *mirror, uint64_t now_ms)
{
	bool is_refused =
		mirror->sync.phase == SYNC_REFUSED || mirror->alarm.state == ALARM_REFUSED;

	if (!is_refused)
		return UINT64_MAX;
	if (now_ms < mirror->token_at_ms)
		return mirror->token_at_ms;
	mirror->token_at_ms = now_ms + TOKEN_LOOK_MS;
	mirror_health_look_for_token(mirror);
	return mirror->token_at_ms;
}

static void start(struct mirror *mirror)
{
	mirror->must_renew = false;
	mirror_alarm_start(mirror);
	if (mirror->ceiling <= CONFIG_MIRROR_STREAM && !mirror->is_large)
		mirror_sync_start(mirror);
}

static void renew(struct mirror *mirror)
{
	mirror->must_renew = false;
	if (mirror->sync.phase == SYNC_LIVE && mirror->alarm.state == ALARM_ARMED)
		return;
	if (mirror_scope_reset(mirror) || mirror->sync.phase != SYNC_LIVE)
		start(mirror);
	else
		mirror_alarm_start(mirror);
}

uint64_t mirror_live_tick(struct mirror *mirror, uint64_t now_ms)
{
	uint64_t next_ms = UINT64_MAX;

	if (mirror->is_closing)
		return UINT64_MAX;
	next_ms = mirror_pulse_tick(mirror, now_ms);
	if (mirror->back_index)
		mirror_sync_back(mirror, mirror->back_index);
	if (mirror->ceiling == CONFIG_MIRROR_LOOKUP)
		return earlier(next_ms, mirror_scope_tick(mirror, now_ms));
	next_ms = earlier(next_ms, look_for_token(mirror, now_ms));
	if (mirror->must_renew)
		renew(mirror);
	next_ms = earlier(next_ms, mirror_alarm_tick(mirror, now_ms));
	next_ms = earlier(next_ms, mirror_sync_tick(mirror, now_ms));
	next_ms = earlier(next_ms, mirror_census_tick(mirror, now_ms));
	next_ms = earlier(next_ms, mirror_watch_tick(mirror, now_ms));
	next_ms = earlier(next_ms, mirror_preload_tick(mirror, now_ms));
	next_ms = earlier(next_ms, mirror_large_tick(mirror, now_ms));
	next_ms = earlier(next_ms, mirror_scope_tick(mirror, now_ms));
	return earlier(next_ms, mirror_tier_tick(mirror, now_ms));
}

static void on_live_timer(uv_timer_t *timer)
{
	struct mirror *mirror = timer->data;
	uint64_t now_ms = clock_now_ms();
	uint64_t next_ms =
		earlier(mirror_live_tick(mirror, now_ms), mirror_settle_tick(mirror, now_ms));

	now_ms = clock_now_ms();
	if (next_ms == UINT64_MAX || mirror->is_closing)
		return;
	uv_timer_start(timer, on_live_timer, next_ms > now_ms ? next_ms - now_ms : 1, 0);
}

void mirror_live_arm(struct mirror *mirror)
{
	if (!mirror->is_closing && mirror->open_handles)
		uv_timer_start(&mirror->live_timer, on_live_timer, 0, 0);
}

/* ---- life ---- */

static void take_config(struct mirror *mirror, const struct config *config)
{
	mirror->ceiling = config->mirror;
	mirror->settle.pause_ms = config->settle_ms;
	mirror->preload.limit = config->preload;
	mirror_scope_configure(mirror, config);
}

bool mirror_live_open(struct mirror *mirror, const struct config *config)
{
	take_config(mirror, config);
	mirror->sync.must_list = true;
	mirror->tier.since_ms = clock_now_ms();
	pace_init(&mirror->large.pace, mirror->tier.since_ms);
	return mirror_settle_init(mirror) && mirror_watch_init(mirror);
}

void mirror_live_start(struct mirror *mirror)
{
	mirror_tier_publish(mirror);
	if (mirror->ceiling != CONFIG_MIRROR_LOOKUP)
		start(mirror);
}

static void stop(struct mirror *mirror)
{
	mirror_alarm_stop(mirror);
	mirror_sync_stop(mirror);
	mirror_large_stop(mirror);
	mirror_watch_stop(mirror);
	mirror_pulse_stop(mirror);
	mirror_scope_stop(mirror);
}

void mirror_live_configure(struct mirror *mirror, const struct config *config)
{
	if (config->mirror != mirror->ceiling)
		mirror->tier.has_said = false;
	stop(mirror);
	mirror_expire_live(mirror);
	take_config(mirror, config);
	mirror_live_start(mirror);
}

void mirror_live_close(struct mirror *mirror)
{
	stop(mirror);
}

void mirror_live_free(struct mirror *mirror)
{
	mirror_watch_forget(mirror);
	mirror_settle_forget(mirror);
	mirror_preload_forget(mirror);
}

void mirror_live_renew(struct mirror *mirror)
{
	if (mirror->ceiling == CONFIG_MIRROR_LOOKUP || mirror->is_closing)
		return;
	mirror->must_renew = true;
	mirror_live_arm(mirror);
}

void mirror_live_found(struct mirror *mirror)
{
	if (mirror->ceiling == CONFIG_MIRROR_LOOKUP || mirror->is_closing)
		return;
	if (mirror->alarm.state == ALARM_REFUSED && !mirror_scope_reset(mirror))
		mirror_alarm_start(mirror);
	if (mirror->alarm.state == ALARM_WAITING)
		mirror_alarm_start(mirror);
	mirror_large_again(mirror);
	if (mirror->sync.phase == SYNC_REFUSED)
		mirror_sync_start(mirror);
	else
		mirror_sync_retry(mirror);
	mirror_live_arm(mirror);
}
