/*
 * A question takes three steps here. place_find says what its name means; judge_name says what is
 * known of it and whether that may be answered now; then the records are chosen. Only judge.c knows
 * about time, outages and Nomad's word.
 */
#include "nomad/nomad_stage.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/metrics.h"
#include "config/config.h"
#include "dns/name.h"
#include "nomad/hosts.h"
#include "nomad/judge.h"
#include "nomad/place.h"
#include "nomad/sets.h"
#include "nomad/waits.h"
#include "nomad/zone_settings.h"

struct nomad_stage {
	struct zone *zone;
	uint8_t worker;
	nomad_stage_send *send;
	void *send_arg;
	struct hash_dice dice;
	struct waits *waits;
	struct answer_address *listen[2]; /* A and AAAA of ns.<zone>: the addresses we listen on */
	uint32_t listen_count[2];
	struct answer_address asked; /* or the one that was asked */
};

/* A GET takes a few ms; who would join one that is older gets the last good answer. */
#define PATIENCE_MS 500

static const uint16_t PICK_NS[] = { 0 };
static const uint16_t PICK_HINFO[] = { 1 };

/* ---- making ---- */

static void forget_listen(struct nomad_stage *stage)
{
	for (int i = 0; i < 2; i++) {
		free(stage->listen[i]);
		stage->listen[i] = NULL;
		stage->listen_count[i] = 0;
	}
}

struct nomad_stage *nomad_stage_new(struct zone *zone, uint8_t worker, nomad_stage_send *send,
				    void *send_arg)
{
	struct nomad_stage *stage = calloc(1, sizeof(*stage));

	if (!stage)
		return NULL;
	stage->zone = zone;
	stage->worker = worker;
	stage->send = send;
	stage->send_arg = send_arg;
	stage->waits = waits_new();
	hash_dice_init(&stage->dice);
	if (stage->waits)
		return stage;
	free(stage);
	return NULL;
}

void nomad_stage_free(struct nomad_stage *stage)
{
	if (!stage)
		return;
	forget_listen(stage);
	waits_free(stage->waits);
	free(stage);
}

/* Each address once, on however many ports we listen there (RFC 2181 §5). */
static void add_listen(struct nomad_stage *stage, int which, const struct addr *addr,
		       uint32_t ttl_s)
{
	for (uint32_t i = 0; i < stage->listen_count[which]; i++) {
		if (addr_same_ip(&stage->listen[which][i].addr, addr))
			return;
	}
	stage->listen[which][stage->listen_count[which]++] =
		(struct answer_address){ *addr, ttl_s };
}

void nomad_stage_configure(struct nomad_stage *stage, const struct config *config)
{
	forget_listen(stage);
	for (int i = 0; i < 2; i++)
		stage->listen[i] = calloc(config->listen_count + 1, sizeof(*stage->listen[i]));
	for (size_t i = 0; i < config->listen_count; i++) {
		int which = config->listen[i].family == AF_INET6;

		if (stage->listen[which] && !addr_is_any(&config->listen[i]))
			add_listen(stage, which, &config->listen[i], config->ttl_s);
	}
}

/* Asks the control plane to renew what is about to get old; once per version of the name. */
static void refresh(struct nomad_stage *stage, struct zone_name *name, const struct place *place)
{
	struct need need;

	if (atomic_load_explicit(&name->refresh_asked, memory_order_relaxed))
		return;
	atomic_store_explicit(&name->refresh_asked, true, memory_order_relaxed);
	place_need(place, NEED_REFRESH, stage->worker, &need);
	if (stage->send(stage->send_arg, &need) < 0)
		atomic_store_explicit(&name->refresh_asked, false, memory_order_relaxed);
}

/* ---- what is answered ---- */

static void put_soa(const struct nomad_stage *stage, const struct zone_apex *apex,
		    struct answer *out)
{
	out->soa = (struct answer_soa){
		.rr = apex->soa_rr,
		.length = apex->soa_length,
		.ttl_offset = apex->soa_ttl_offset,
		.serial_offset = apex->soa_serial_offset,
		.serial = zone_serial(stage->zone),
	};
}

static enum verdict say_nodata(const struct nomad_stage *stage, const struct zone_apex *apex,
			       struct answer *out)
{
	put_soa(stage, apex, out);
	return VERDICT_ANSWERED;
}

static enum verdict say_nxdomain(const struct nomad_stage *stage, const struct query *query,
				 const struct zone_apex *apex, struct answer *out)
{
	enum verdict verdict = judge_denial(query, out);

	if (verdict == VERDICT_ANSWERED)
		put_soa(stage, apex, out);
	return verdict;
}

static enum verdict say_picks(struct nomad_stage *stage, const struct zone_apex *apex,
			      const struct image *image, const uint16_t *picks, uint32_t count,
			      struct answer *out)
{
	if (count == 0)
		return say_nodata(stage, apex, out);
	out->image = image;
	out->picks = picks;
	out->pick_count = count;
	out->rotation = count > 1 ? hash_dice_roll(&stage->dice) % count : 0;
	return VERDICT_ANSWERED;
}

static enum verdict say_any(struct nomad_stage *stage, const struct zone_apex *apex,
			    struct answer *out)
{
	return say_picks(stage, apex, apex->records, PICK_HINFO, 1, out);
}

/* The zone's own two names, which need no Nomad. */
static enum verdict ask_apex(struct nomad_stage *stage, const struct query *query,
			     const struct zone_apex *apex, struct answer *out)
{
	switch (query->question.type) {
	case DNS_TYPE_SOA:
		out->soa_is_answer = true;
		return say_nodata(stage, apex, out);
	case DNS_TYPE_NS:
		return say_picks(stage, apex, apex->records, PICK_NS, 1, out);
	case DNS_TYPE_ANY:
		return say_any(stage, apex, out);
	default:
		return say_nodata(stage, apex, out);
	}
}

static enum verdict ask_server(struct nomad_stage *stage, const struct query *query,
			       const struct zone_apex *apex, struct answer *out)
{
	uint16_t type = query->question.type;
	int which = type == DNS_TYPE_AAAA;

	if (type == DNS_TYPE_ANY)
		return say_any(stage, apex, out);
	if (type != DNS_TYPE_A && type != DNS_TYPE_AAAA)
		return say_nodata(stage, apex, out);
	if (query->client.local.family == (which ? AF_INET6 : AF_INET) &&
	    !addr_is_any(&query->client.local)) {
		stage->asked = (struct answer_address){ query->client.local,
							zone_settings(stage->zone)->ttl_s };
		out->addresses = &stage->asked;
		out->address_count = 1;
		return VERDICT_ANSWERED;
	}
	out->addresses = stage->listen[which];
	out->address_count = stage->listen_count[which];
	return out->address_count ? VERDICT_ANSWERED : say_nodata(stage, apex, out);
}

/* <namespace>.<zone> and what stands directly below it in front of RFC 2782 forms: names without
 * records. */
static enum verdict ask_namespace(struct nomad_stage *stage, const struct query *query,
				  const struct place *place, const struct zone_apex *apex,
				  uint64_t now_ms, struct answer *out)
{
	const struct zone_name *name = zone_find(stage->zone, place->owner, place->owner_length);
	enum verdict verdict = judge_name(stage->zone, query, name, now_ms, out);
	bool is_there;

	if (verdict != VERDICT_ANSWERED)
		return verdict;
	is_there = name && name->state == ZONE_LOADED;
	if (is_there && place->kind == PLACE_UNDERSCORE)
		is_there = (place->label_length == 3 && (memcmp(place->label, "tcp", 3) == 0 ||
							 memcmp(place->label, "udp", 3) == 0)) ||
			   sets_has_tag(name, place->label, place->label_length);
	if (!is_there)
		return say_nxdomain(stage, query, apex, out);
	return query->question.type == DNS_TYPE_ANY ? say_any(stage, apex, out)
						    : say_nodata(stage, apex, out);
}

/* Starts to resolve the host names of a set; the pipeline asks for them while the query waits. */
static enum verdict want_hosts(struct query *query, const struct zone_name *name,
			       const struct zone_set *set, struct answer *out)
{
	query->hosts = hosts_new(query->question.type);
	if (!query->hosts) {
		answer_fail(out, METRIC_STAGE_NOMAD, DNS_EDE_OTHER, "out of memory");
		return VERDICT_FAILED;
	}
	for (uint16_t i = 0; i < set->host_count; i++) {
		const struct zone_host *host = &name->hosts[name->picks[set->host_at + i]];

		if (!hosts_add_name(query->hosts, name->text + host->name_at, host->name_length))
			break;
	}
	return VERDICT_PENDING;
}

/* A or AAAA: the instances' own addresses, and those of their host names once they have come. */
static enum verdict say_addresses(struct nomad_stage *stage, struct query *query,
				  const struct zone_apex *apex, const struct zone_name *name,
				  const struct zone_set *set, struct answer *out)
{
	bool is_a = query->question.type == DNS_TYPE_A;
	const uint16_t *picks = name->picks + (is_a ? set->a_at : set->aaaa_at);
	uint32_t count = is_a ? set->a_count : set->aaaa_count;
	struct hosts *hosts = query->hosts;

	if (set->host_count && !hosts && query->client.source != QUERY_INSIDE)
		return want_hosts(query, name, set, out);
	if (!hosts)
		return say_picks(stage, apex, name->image, picks, count, out);
	if (hosts->open_count)
		return VERDICT_PENDING;
	hosts_leave_out(hosts, name->image, picks, count);
	if (count + hosts->address_count == 0) {
		if (hosts->failed_count == 0)
			return say_nodata(stage, apex, out);
		answer_fail(out, METRIC_STAGE_NOMAD, DNS_EDE_NO_REACHABLE_AUTHORITY,
			    "the instance's host name cannot be resolved");
		return VERDICT_FAILED;
	}
	out->image = name->image;
	out->picks = picks;
	out->pick_count = count;
	out->addresses = hosts->address;
	out->address_count = hosts->address_count;
	/* one set has one TTL (RFC 2181 §5.2), and some clients believe the first record's */
	out->ttl_max_s = min_u32(out->ttl_max_s, hosts_min_ttl(hosts));
	out->rotation = hash_dice_roll(&stage->dice) % (count + hosts->address_count);
	return VERDICT_ANSWERED;
}

static enum verdict say_set(struct nomad_stage *stage, struct query *query,
			    const struct place *place, const struct zone_apex *apex,
			    const struct zone_name *name, struct answer *out)
{
	const struct zone_set *set = sets_find(name, place);
	bool is_srv_form = place->kind == PLACE_SRV || place->kind == PLACE_SRV_TAG;
	enum verdict verdict;

	if (!set)
		return say_nxdomain(stage, query, apex, out);
	switch (query->question.type) {
	case DNS_TYPE_A:
	case DNS_TYPE_AAAA:
		return is_srv_form ? say_nodata(stage, apex, out)
				   : say_addresses(stage, query, apex, name, set, out);
	case DNS_TYPE_SRV:
		verdict = say_picks(stage, apex, name->image, name->picks + set->srv_at,
				    set->srv_count, out);
		out->with_targets = set->srv_count > 0;
		return verdict;
	case DNS_TYPE_ANY:
		return say_any(stage, apex, out);
	default:
		return say_nodata(stage, apex, out);
	}
}

/*
 * A service that the table does not hold, in a namespace whose list is at hand: it does not exist.
 * So random names cost no request (an ABSENT namespace has no services at all).
 */
static enum verdict judge_by_list(const struct nomad_stage *stage, const struct query *query,
				  const struct place *place, uint64_t now_ms, struct answer *out)
{
	size_t length;
	const uint8_t *owner = place_namespace(place, &length);

	return judge_name(stage->zone, query, zone_find(stage->zone, owner, length), now_ms, out);
}

static enum verdict ask_service(struct nomad_stage *stage, struct query *query,
				const struct place *place, const struct zone_apex *apex,
				uint64_t now_ms, struct answer *out)
{
	struct zone_name *name = zone_find(stage->zone, place->owner, place->owner_length);
	enum verdict verdict;

	if (!name) {
		verdict = judge_by_list(stage, query, place, now_ms, out);
		return verdict == VERDICT_ANSWERED ? say_nxdomain(stage, query, apex, out)
						   : verdict;
	}
	if (query->turns == 0 && name->state != ZONE_ABSENT)
		atomic_store_explicit(
			&name->asked_count,
			atomic_load_explicit(&name->asked_count, memory_order_relaxed) + 1,
			memory_order_relaxed);
	verdict = judge_name(stage->zone, query, name, now_ms, out);
	if (verdict == VERDICT_PENDING && name->state == ZONE_ABSENT)
		verdict = judge_by_list(stage, query, place, now_ms, out);
	if (verdict != VERDICT_ANSWERED)
		return verdict;
	if (name->state == ZONE_ABSENT)
		return say_nxdomain(stage, query, apex, out);
	if (now_ms >= atomic_load_explicit(&name->refresh_from_ms, memory_order_relaxed) &&
	    !out->is_stale)
		refresh(stage, name, place);
	return say_set(stage, query, place, apex, name, out);
}

/* A reverse name of an address we know from Nomad; any other is forwarded. */
static enum verdict ask_reverse(struct nomad_stage *stage, const struct query *query,
				struct answer *out)
{
	const struct question *question = &query->question;
	const struct zone_name *name;

	if (!zone_settings(stage->zone)->reverse || question->type != DNS_TYPE_PTR)
		return VERDICT_PASS;
	name = zone_find(stage->zone, question->folded, question->name_length);
	if (!name || name->kind != ZONE_REVERSE)
		return VERDICT_PASS;
	if (zone_nomad(stage->zone) == ZONE_NOMAD_LOST)
		judge_mark_stale(out, DNS_EDE_STALE_ANSWER);
	return say_picks(stage, NULL, name->image, name->picks, name->image->rr_count, out);
}

enum verdict nomad_stage_ask(struct nomad_stage *stage, struct query *query, uint64_t now_ms,
			     struct answer *out)
{
	const struct question *question = &query->question;
	const struct zone_apex *apex =
		zone_apex_of(zone_settings(stage->zone), question->folded, question->name_length);
	struct place place;

	answer_init(out);
	out->stage = METRIC_STAGE_NOMAD;
	out->is_authoritative = true;
	if (!apex)
		return ask_reverse(stage, query, out);
	place_find(question->folded, question->name_length, apex, &place);
	switch (place.kind) {
	case PLACE_APEX:
		return ask_apex(stage, query, apex, out);
	case PLACE_SERVER:
		return ask_server(stage, query, apex, out);
	case PLACE_NOWHERE:
		return say_nxdomain(stage, query, apex, out);
	case PLACE_NAMESPACE:
	case PLACE_UNDERSCORE:
		return ask_namespace(stage, query, &place, apex, now_ms, out);
	case PLACE_SERVICE:
	case PLACE_BELOW:
	case PLACE_SRV:
	case PLACE_SRV_TAG:
		return ask_service(stage, query, &place, apex, now_ms, out);
	}
	return VERDICT_PASS;
}

enum verdict nomad_stage_wait(struct nomad_stage *stage, struct query *query, uint64_t now_ms,
			      struct answer *out)
{
	const struct question *question = &query->question;
	const struct zone_apex *apex =
		zone_apex_of(zone_settings(stage->zone), question->folded, question->name_length);
	struct place place;
	struct need need;
	bool is_new = false;
	enum verdict verdict;

	if (query->hosts && query->hosts->open_count)
		return VERDICT_PENDING;
	place_find(question->folded, question->name_length, apex, &place);
	place_need(&place, place.has_service ? NEED_SERVICE : NEED_NAMESPACE, stage->worker, &need);
	if (waits_age_ms(stage->waits, &need, now_ms) >= PATIENCE_MS) {
		/* Nomad is slow with this very name: what was known is better than joining. */
		query->nomad_outcome = NEED_LATE;
		verdict = nomad_stage_ask(stage, query, now_ms, out);
		if (verdict == VERDICT_ANSWERED || (query->hosts && query->hosts->open_count))
			return verdict;
	}
	if (waits_add(stage->waits, &need, query, now_ms, &is_new) == 0 &&
	    (!is_new || stage->send(stage->send_arg, &need) == 0)) {
		query->nomad_outcome = NEED_NONE;
		return VERDICT_PENDING;
	}
	if (is_new)
		waits_undo(stage->waits, &need);
	query->nomad_outcome = NEED_OVER_LIMIT;
	return nomad_stage_ask(stage, query, now_ms, out); /* stale if we can, else FAILED */
}

void nomad_stage_hear(struct nomad_stage *stage, const struct need_word *word,
		      void (*wake)(void *arg, struct query *query), void *arg)
{
	struct list waiting, *link;

	waits_take(stage->waits, &word->need, &waiting);
	while ((link = list_pop(&waiting))) {
		struct query *query = list_entry(link, struct query, by_cause);

		query->nomad_outcome = word->outcome;
		query->turns++;
		wake(arg, query);
	}
}
