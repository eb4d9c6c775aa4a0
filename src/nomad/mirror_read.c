/* Nothing is kept of a body that does not hold to its end, and emptiness needs more proof. */
#include "nomad/mirror_read.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "nomad/catalogue.h"
#include "nomad/http.h"
#include "nomad/json.h"
#include "nomad/mirror_ask.h"
#include "nomad/mirror_call.h"
#include "nomad/mirror_parts.h"
#include "nomad/mirror_scope.h"
#include "nomad/mirror_settle.h"
#include "nomad/mirror_space.h"
#include "nomad/mirror_sync.h"
#include "nomad/mirror_tier.h"
#include "nomad/mirror_watch.h"
#include "nomad/zone_writer.h"

#define OVERTAKEN_MS 50
#define PARTLY_READ_MS 1000 /* then it is asked for again, whatever the tier */
#define BETWEEN_MS 500 /* while the mirror is about to be live, what it says shall not be older */

/* An index of 0 stands for "no readable namespace", never for a state of the table; and emptiness
 * is only believed with an index beside it. */
static int judge_empty(struct call *call, const struct http_reply *reply)
{
	if (!reply->has_index) {
		snprintf(call->error, sizeof(call->error), "an empty list without X-Nomad-Index");
		return -EINVAL;
	}
	return reply->index == 0 ? -EACCES : 0;
}

static int wrong_body(struct call *call, const char *why)
{
	snprintf(call->error, sizeof(call->error), "an unusable body: %s", why);
	return -EINVAL;
}

struct probed {
	bool has_seen, has_bad;
};

static int on_probe_instance(void *arg, const struct json_instance *instance)
{
	(void)instance;
	((struct probed *)arg)->has_seen = true;
	return 0;
}

static void on_probe_bad(void *arg, const char *why)
{
	(void)why;
	((struct probed *)arg)->has_bad = true;
}

static int read_probe(struct call *call, const struct http_reply *reply)
{
	struct probed probed = { false, false };
	char why[128] = "there is no registration in it";
	int rc = json_read_service(reply->body, reply->body_length, on_probe_instance, on_probe_bad,
				   &probed, why, sizeof(why));

	if (rc == -EINVAL || probed.has_bad)
		return wrong_body(call, why);
	return rc < 0 || probed.has_seen ? rc : judge_empty(call, reply);
}

static struct zone_times shorten(struct zone_times times, uint64_t life_ms)
{
	uint64_t until_ms = clock_now_ms() + life_ms;

	if (until_ms < times.fresh_until_ms)
		times.fresh_until_ms = times.refresh_from_ms = until_ms;
	return times;
}

/* How long what was read is the truth: until something says otherwise, if something would. */
static struct zone_times times_of(const struct call *call, const struct http_reply *reply,
				  bool is_stale, bool is_there)
{
	struct mirror *mirror = call->mirror;
	bool is_ordered = reply->has_index && reply->knows_leader;
	bool is_held = call->is_kept || mirror_tier_holds(mirror, call->namespace, reply->index);
	struct zone_times times = mirror_times(mirror, is_there, !reply->knows_leader);

	/* The alarm tells what came behind an index, whoever knew that; a stream has told it. */
	if (is_ordered && is_held && (!is_stale || mirror_tier(mirror) == TIER_WATCH)) {
		if (call->service && is_there)
			mirror_watch_note(mirror, call->namespace, call->service);
		return mirror_times_live(mirror);
	}
	if (mirror_tier_is_trying(mirror))
		times = shorten(times, BETWEEN_MS);
	/* A change has overtaken it: it is only good for those who wait for it. */
	if (is_ordered && !is_held && mirror_tier(mirror) != TIER_LOOKUP &&
	    mirror_scope_holds(&mirror->scope, call->namespace))
		times = shorten(times, OVERTAKEN_MS);
	return times;
}

static int read_service(struct call *call, const struct http_reply *reply, bool is_stale)
{
	struct mirror *mirror = call->mirror;
	struct catalogue *catalogue = mirror->doors.catalogue;
	struct catalogue_update *update =
		catalogue_begin(catalogue, call->namespace, call->service);
	struct zone_times times;
	char why[128] = "", label[SCOPE_NAME_MAX];
	int rc = -ENOMEM;

	if (update)
		rc = json_read_service(reply->body, reply->body_length, catalogue_add,
				       catalogue_add_bad, update, why, sizeof(why));
	if (rc == -EINVAL)
		rc = wrong_body(call, why);
	if (rc == 0 && catalogue_is_unusable(update))
		rc = wrong_body(call, "there is no registration in it");
	if (rc == 0 && catalogue_is_empty(update))
		rc = judge_empty(call, reply);
	if (rc < 0) {
		catalogue_abandon(update);
		return rc;
	}
	if (catalogue_is_empty(update) &&
	    !mirror_settle_is_over(mirror, call->namespace, call->service)) {
		catalogue_abandon(update);
		return 0;
	}
	if (!catalogue_is_empty(update))
		mirror_settle_cancel(mirror, call->namespace, call->service);
	times = catalogue_has_bad(update)
			? shorten(mirror_times(mirror, true, !reply->knows_leader), PARTLY_READ_MS)
			: times_of(call, reply, is_stale, !catalogue_is_empty(update));
	if (is_stale && reply->has_index &&
	    catalogue_keep_newer(catalogue, call->namespace, call->service, reply->index, &times)) {
		catalogue_abandon(update);
		return 0;
	}
	mirror_fold(call->namespace, label);
	if (mirror_tier_knows_all(mirror, label))
		catalogue_know_names(update);
	/* Without an index it cannot be put in order, and counts as the newest. */
	return catalogue_commit(
		update, reply->has_index && reply->index ? reply->index : mirror->index, &times);
}

static int commit_list(struct call *call, const struct http_reply *reply, bool is_stale,
		       struct catalogue_listing *listing)
{
	struct mirror *mirror = call->mirror;
	const char *label = call->ask->namespace_label;
	bool is_absent = catalogue_list_is_empty(listing);
	struct zone_times times = times_of(call, reply, is_stale, false);
	struct settle_word word = { .mirror = mirror };
	uint64_t known_index = 0;
	int rc;

	/* The stream that is there may be older than this namespace: its absence follows from the
	 * list of all names, for as long as that is good. */
	if (is_absent && mirror_tier(mirror) == TIER_STREAM && mirror->scope.is_all)
		times.fresh_until_ms = times.refresh_from_ms = clock_now_ms() + OVERTAKEN_MS;
	mirror_space_is_listed(mirror, label, 0, &known_index);
	if (is_stale && reply->has_index && reply->index < known_index) {
		catalogue_list_abandon(listing);
		rc = catalogue_list_keep(mirror->doors.catalogue, label, &times);
		return rc < 0 ? rc : mirror_space_extend(mirror, label, times.fresh_until_ms);
	}
	word.times = times;
	rc = catalogue_list_commit(listing, reply->index, &times, mirror_settle_listed, &word);
	if (rc < 0)
		return rc;
	return mirror_space_listed(mirror, label, reply->index, is_absent, times.fresh_until_ms);
}

static int read_list(struct call *call, const struct http_reply *reply, bool is_stale)
{
	struct catalogue_listing *listing =
		catalogue_list_begin(call->mirror->doors.catalogue, call->namespace);
	char why[128] = "";
	int rc = -ENOMEM;

	if (listing)
		rc = json_read_services(reply->body, reply->body_length, catalogue_list_add,
					catalogue_list_add_bad, listing, why, sizeof(why));
	if (rc == -EINVAL)
		rc = wrong_body(call, why);
	if (rc == 0 && catalogue_list_is_unusable(listing))
		rc = wrong_body(call, "something in it is no list of names");
	if (rc == 0 && catalogue_list_is_empty(listing))
		rc = judge_empty(call, reply);
	if (rc == 0)
		return commit_list(call, reply, is_stale, listing);
	catalogue_list_abandon(listing);
	return rc;
}

static int read_all(struct call *call, const struct http_reply *reply, bool is_stale)
{
	struct sync *sync = &call->mirror->sync;
	const char *namespace = strcmp(call->namespace, "*") == 0 ? NULL : call->namespace;
	char why[128] = "";
	int rc = 0;

	if (!sync->listing)
		return -ENOMEM; /* an attempt of before spoilt it */
	if (is_stale && reply->index < sync->index)
		return wrong_body(call, "a list from a server that lags behind");
	rc = catalogue_all_part(sync->listing, namespace, reply->index);
	if (rc == 0)
		rc = json_read_services(reply->body, reply->body_length, catalogue_all_add,
					catalogue_all_add_bad, sync->listing, why, sizeof(why));
	if (rc == -EINVAL)
		rc = wrong_body(call, why);
	if (rc == 0 && catalogue_all_is_unusable(sync->listing))
		rc = wrong_body(call, "something in it is no list of names");
	if (rc == 0 && (reply->index == 0 || catalogue_all_is_empty(sync->listing)))
		rc = judge_empty(call, reply);
	if (rc < 0)
		mirror_sync_drop_list(call->mirror);
	return rc;
}

static int read_scout(struct call *call, const struct http_reply *reply)
{
	char why[128] = "";
	int rc = mirror_scope_read(call->mirror, reply->body, reply->body_length, why, sizeof(why));

	if (rc == -EINVAL)
		rc = wrong_body(call, why);
	return rc < 0 || reply->index > 0 ? rc : judge_empty(call, reply);
}

static int read_kind(struct call *call, const struct http_reply *reply, bool is_stale)
{
	switch (call->kind) {
	case CALL_KIND_LIST:
		return read_list(call, reply, is_stale);
	case CALL_KIND_SERVICE:
		return read_service(call, reply, is_stale);
	case CALL_KIND_PROBE:
		return read_probe(call, reply);
	case CALL_KIND_ALL:
		return read_all(call, reply, is_stale);
	case CALL_KIND_SCOUT:
		return read_scout(call, reply);
	}
	return -EINVAL;
}

int mirror_read(struct call *call, const struct http_reply *reply, bool is_stale)
{
	struct mirror *mirror = call->mirror;
	uint64_t held;
	int rc = read_kind(call, reply, is_stale);
	if (rc < 0)
		return rc;
	if (!reply->has_index &&
	    log_brake_take(&mirror->index_brake, clock_now_ms(), UINT64_MAX / 2, &held))
		log_warn("nomad", "%s: a reply without X-Nomad-Index: is something between us?",
			 http_address_text(mirror->doors.http, call->address));
	if (reply->has_index) {
		mirror_take_index(mirror, reply->index);
		if (mirror->scope.is_all)
			mirror_sync_heard(mirror, reply->index);
	}
	return 0;
}
