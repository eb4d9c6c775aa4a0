/* What a good reply says, made the truth. Nothing is kept of a body that does not hold to its end.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "nomad/catalogue.h"
#include "nomad/json.h"
#include "nomad/mirror_parts.h"

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

static int read_service(struct call *call, const struct http_reply *reply, bool is_stale)
{
	struct mirror *mirror = call->mirror;
	struct catalogue *catalogue = mirror->doors.catalogue;
	struct catalogue_update *update =
		catalogue_begin(catalogue, call->namespace, call->service);
	struct zone_times times;
	char why[128] = "";
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
	times = mirror_times(mirror, !catalogue_is_empty(update), !reply->knows_leader);
	if (is_stale && reply->has_index &&
	    catalogue_keep_newer(catalogue, call->namespace, call->service, reply->index, &times)) {
		catalogue_abandon(update);
		return 0;
	}
	return catalogue_commit(update, reply->index, &times);
}

static int commit_list(struct call *call, const struct http_reply *reply, bool is_stale,
		       struct catalogue_listing *listing)
{
	struct mirror *mirror = call->mirror;
	const char *label = call->ask->namespace_label;
	bool is_absent = catalogue_list_is_empty(listing);
	struct zone_times times = mirror_times(mirror, false, !reply->knows_leader);
	uint64_t known_index = 0;
	int rc;

	mirror_space_is_listed(mirror, label, 0, &known_index);
	if (is_stale && reply->has_index && reply->index < known_index) {
		catalogue_list_abandon(listing);
		rc = catalogue_list_keep(mirror->doors.catalogue, label, &times);
		return rc < 0 ? rc : mirror_space_extend(mirror, label, times.fresh_until_ms);
	}
	rc = catalogue_list_commit(listing, reply->index, &times);
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

int mirror_read(struct call *call, const struct http_reply *reply, bool is_stale)
{
	struct mirror *mirror = call->mirror;
	uint64_t held;
	int rc;

	if (!call->ask)
		rc = read_probe(call, reply);
	else if (call->service)
		rc = read_service(call, reply, is_stale);
	else
		rc = read_list(call, reply, is_stale);
	if (rc < 0)
		return rc;
	if (!reply->has_index &&
	    log_brake_take(&mirror->index_brake, clock_now_ms(), UINT64_MAX / 2, &held))
		log_warn("nomad", "%s: a reply without X-Nomad-Index: is something between us?",
			 http_address_text(mirror->doors.http, call->address));
	if (reply->has_index && reply->index > mirror->index) {
		mirror->index = reply->index;
		zone_set_index(mirror->doors.zone, reply->index);
		metrics_set(mirror->doors.metrics, METRIC_NOMAD_INDEX, reply->index);
	}
	return 0;
}
