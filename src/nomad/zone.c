/*
 * One RCU hash table for all kinds of names. A change builds a new name, puts it in the old one's
 * place and frees the old one after a grace period. With several configured zones a service stands
 * once in each: names inside records are the zone's that was asked.
 */
#include "nomad/zone.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "config/config.h"
#include "dns/name.h"
#include "dns/records.h"
#include "nomad/zone_build.h"

#define BUCKETS_START 64
#define BUCKETS_MAX (1u << 18)
#define TERMS 64 /* how many ends of live terms are remembered */

struct zone {
	struct cds_lfht *table;
	size_t name_count, bucket_count;
	struct hash_key key;
	struct config *first_config;	/* ours; whose zones we serve until a restart */
	struct zone_settings *settings; /* RCU */
	atomic_int nomad;
	_Atomic uint64_t index;
	atomic_uint term;
	_Atomic uint64_t term_end[TERMS];
	_Atomic uint64_t names_end;
};

/* ---- settings ---- */

static int make_apex(struct zone_apex *apex, const struct config_zone *zone, uint32_t ttl_s,
		     uint32_t negative_ttl_s)
{
	struct image_builder builder = { 0 };
	uint8_t rr[RECORDS_RR_MAX], server[DNS_NAME_MAX];
	const char *label[] = { "ns" };
	size_t serial_at = 0;
	int length = records_soa(zone->name, 0, negative_ttl_s, &serial_at, rr);

	if (length < 0)
		return length;
	if ((size_t)length > sizeof(apex->soa_rr))
		return -ENAMETOOLONG;
	apex->length = zone->length;
	memcpy(apex->name, zone->name, zone->length);
	memcpy(apex->soa_rr, rr, (size_t)length);
	apex->soa_length = (uint16_t)length;
	apex->soa_ttl_offset = (uint16_t)(zone->length + 4);
	apex->soa_serial_offset = (uint16_t)serial_at;
	if (zone_build_owner(label, 1, zone->name, zone->length, server) == 0)
		return -ENAMETOOLONG;
	length = records_ns(server, ttl_s, rr);
	if (length > 0)
		image_builder_add(&builder, rr, (size_t)length, RECORDS_SHORT_OWNER);
	length = records_any_hinfo(ttl_s, rr);
	if (length > 0)
		image_builder_add(&builder, rr, (size_t)length, RECORDS_SHORT_OWNER);
	apex->records = image_builder_finish(&builder);
	return apex->records && apex->records->rr_count == 2 ? 0 : -ENOMEM;
}

static void free_settings(struct zone_settings *settings)
{
	if (!settings)
		return;
	for (size_t i = 0; i < settings->apex_count; i++)
		free(settings->apex[i].records);
	free(settings);
}

static void free_settings_rcu(struct rcu_head *head)
{
	free_settings(caa_container_of(head, struct zone_settings, rcu));
}

static int compare_apexes(const void *a, const void *b)
{
	return (int)((const struct zone_apex *)b)->length -
	       (int)((const struct zone_apex *)a)->length;
}

/* Values of `config`, for the zones of `zones`. NULL: out of memory. */
static struct zone_settings *make_settings(const struct config *config, const struct config *zones)
{
	struct zone_settings *settings =
		calloc(1, sizeof(*settings) + zones->zone_count * sizeof(settings->apex[0]));

	if (!settings)
		return NULL;
	settings->ttl_s = config->ttl_s;
	settings->negative_ttl_s = config->negative_ttl_s;
	settings->max_stale_ms = config->max_stale_ms;
	settings->reverse = config->reverse;
	for (size_t i = 0; i < zones->zone_count; i++) {
		settings->apex_count = i + 1;
		if (make_apex(&settings->apex[i], &zones->zone[i], config->ttl_s,
			      config->negative_ttl_s) < 0) {
			free_settings(settings);
			return NULL;
		}
	}
	memcpy(settings->first, zones->zone[0].name, zones->zone[0].length);
	settings->first_length = zones->zone[0].length;
	qsort(settings->apex, settings->apex_count, sizeof(settings->apex[0]), compare_apexes);
	return settings;
}

/* ---- the table ---- */

struct wanted {
	const uint8_t *owner;
	size_t length;
};

static int matches(struct cds_lfht_node *node, const void *key)
{
	const struct zone_name *name = caa_container_of(node, struct zone_name, node);
	const struct wanted *wanted = key;

	return name->owner_length == wanted->length &&
	       memcmp(name->owner, wanted->owner, wanted->length) == 0;
}

static void free_name_rcu(struct rcu_head *head)
{
	zone_name_free(caa_container_of(head, struct zone_name, rcu));
}

struct zone_name *zone_find(const struct zone *zone, const uint8_t *owner, size_t length)
{
	struct wanted wanted = { owner, length };
	struct cds_lfht_iter iter;
	struct cds_lfht_node *node;

	cds_lfht_lookup(zone->table, hash_bytes(&zone->key, owner, length), matches, &wanted,
			&iter);
	node = cds_lfht_iter_get_node(&iter);
	return node ? caa_container_of(node, struct zone_name, node) : NULL;
}

/* One bucket for each name: left to itself the library waits until eight share one, and each of
 * them costs every reader and writer that passes a cache miss. */
static void make_room(struct zone *zone)
{
	if (zone->name_count <= zone->bucket_count || zone->bucket_count >= BUCKETS_MAX)
		return;
	zone->bucket_count *= 2;
	cds_lfht_resize(zone->table, zone->bucket_count);
}

static void put_name(struct zone *zone, struct zone_name *name)
{
	struct wanted wanted = { name->owner, name->owner_length };
	struct cds_lfht_node *old;

	cds_lfht_node_init(&name->node);
	atomic_store_explicit(&name->live_term, zone_term(zone), memory_order_relaxed);
	zone_read_begin();
	old = cds_lfht_add_replace(zone->table, hash_bytes(&zone->key, wanted.owner, wanted.length),
				   matches, &wanted, &name->node);
	if (old) {
		struct zone_name *gone = caa_container_of(old, struct zone_name, node);

		atomic_fetch_add_explicit(
			&name->asked_count,
			atomic_load_explicit(&gone->asked_count, memory_order_relaxed),
			memory_order_relaxed);
		urcu_qsbr_call_rcu(&gone->rcu, free_name_rcu);
	}
	zone_read_end();
	zone->name_count += !old;
	make_room(zone);
}

static void remove_name(struct zone *zone, const uint8_t *owner, size_t length)
{
	struct zone_name *name;

	zone_read_begin();
	name = zone_find(zone, owner, length);
	if (name && cds_lfht_del(zone->table, &name->node) == 0) {
		urcu_qsbr_call_rcu(&name->rcu, free_name_rcu);
		zone->name_count--;
	}
	zone_read_end();
}

struct zone *zone_new(struct config *config)
{
	struct zone *zone = calloc(1, sizeof(*zone));

	if (!zone)
		return NULL;
	hash_random(&zone->key, sizeof(zone->key));
	zone->first_config = config_hold(config);
	zone->settings = make_settings(config, config);
	zone->bucket_count = BUCKETS_START;
	zone->table = cds_lfht_new_flavor(BUCKETS_START, BUCKETS_START, BUCKETS_MAX, 0,
					  &urcu_qsbr_flavor, NULL);
	if (zone->settings && zone->table)
		return zone;
	zone_free(zone);
	return NULL;
}

void zone_free(struct zone *zone)
{
	struct cds_lfht_iter iter;
	struct cds_lfht_node *node;

	if (!zone)
		return;
	if (zone->table) {
		zone_read_begin();
		cds_lfht_for_each(zone->table, &iter, node)
		{
			struct zone_name *name = caa_container_of(node, struct zone_name, node);

			cds_lfht_del(zone->table, node);
			urcu_qsbr_call_rcu(&name->rcu, free_name_rcu);
		}
		zone_read_end();
		urcu_qsbr_barrier();
		cds_lfht_destroy(zone->table, NULL);
	}
	free_settings(zone->settings);
	config_drop(zone->first_config);
	free(zone);
}

int zone_configure(struct zone *zone, const struct config *config)
{
	struct zone_settings *next = make_settings(config, zone->first_config);
	struct zone_settings *old = zone->settings;

	if (!next)
		return -ENOMEM;
	rcu_assign_pointer(zone->settings, next);
	urcu_qsbr_call_rcu(&old->rcu, free_settings_rcu);
	return 0;
}

void zone_set_nomad(struct zone *zone, enum zone_nomad state)
{
	atomic_store_explicit(&zone->nomad, (int)state, memory_order_relaxed);
}

void zone_set_index(struct zone *zone, uint64_t index)
{
	if (index > atomic_load_explicit(&zone->index, memory_order_relaxed))
		atomic_store_explicit(&zone->index, index, memory_order_relaxed);
}

/* ---- live ---- */

/* One store ends or begins it for every name of the term. */
static void set_term_end(struct zone *zone, uint64_t end)
{
	atomic_store_explicit(&zone->term_end[zone_term(zone) % TERMS], end, memory_order_release);
}

static bool is_live(const struct zone *zone)
{
	return zone_live_end(zone, zone_term(zone)) == ZONE_LIVE;
}

void zone_set_live(struct zone *zone, enum zone_live live, uint64_t now_ms)
{
	if (live == ZONE_LIVE_NAMES)
		atomic_store_explicit(&zone->names_end, ZONE_LIVE, memory_order_release);
	else if (zone_names_end(zone) == ZONE_LIVE)
		atomic_store_explicit(&zone->names_end, now_ms, memory_order_release);
	if (live != ZONE_LIVE_NOT)
		set_term_end(zone, ZONE_LIVE);
	else if (is_live(zone))
		set_term_end(zone, now_ms);
}

void zone_expire_live(struct zone *zone, uint64_t now_ms)
{
	unsigned next = zone_term(zone) + 1;
	bool was_live = is_live(zone);

	if (was_live)
		set_term_end(zone, now_ms);
	atomic_store_explicit(&zone->term_end[next % TERMS], was_live ? ZONE_LIVE : 0,
			      memory_order_release);
	atomic_store_explicit(&zone->term, next, memory_order_release);
}

/* ---- publishing ---- */

/* The owner of a service (or, with service_label NULL, a namespace) in one zone; 0: it has no name
 * there, or a longer zone hides it. */
static size_t owner_in(const struct zone_settings *settings, size_t at, const char *namespace_label,
		       const char *service_label, uint8_t out[DNS_NAME_MAX])
{
	const char *labels[] = { service_label, namespace_label };
	const struct zone_apex *apex = &settings->apex[at];
	size_t length = service_label
				? zone_build_owner(labels, 2, apex->name, apex->length, out)
				: zone_build_owner(labels + 1, 1, apex->name, apex->length, out);

	return length && zone_apex_of(settings, out, length) == apex ? length : 0;
}

int zone_publish_service(struct zone *zone, const char *namespace_label, const char *service_label,
			 enum zone_state state, const struct zone_times *times,
			 const struct zone_instance *instances, size_t instance_count)
{
	const struct zone_settings *settings = zone->settings;
	uint8_t owner[DNS_NAME_MAX];

	for (size_t i = 0; i < settings->apex_count; i++) {
		size_t length = owner_in(settings, i, namespace_label, service_label, owner);
		struct zone_name *name;

		if (length == 0)
			continue;
		if (state == ZONE_LOADED)
			name = zone_build_service(owner, length, settings->ttl_s, times, instances,
						  instance_count);
		else
			name = zone_build_bare(ZONE_SERVICE, state, owner, length, times, 0);
		if (!name)
			return -ENOMEM;
		put_name(zone, name);
	}
	return 0;
}

static size_t put_labels(uint8_t *out, const char *const *labels, size_t count)
{
	size_t at = 0;

	for (size_t i = 0; i < count; i++) {
		size_t length = strlen(labels[i]);

		if (!name_is_label(labels[i], length))
			continue;
		if (out) {
			out[at] = (uint8_t)length;
			name_fold((const uint8_t *)labels[i], length, out + at + 1);
		}
		at += length + 1;
	}
	return at;
}

int zone_publish_namespace(struct zone *zone, const char *namespace_label, enum zone_state state,
			   const struct zone_times *times, const char *const *tags,
			   size_t tag_count)
{
	const struct zone_settings *settings = zone->settings;
	size_t text = put_labels(NULL, tags, tag_count);
	uint8_t owner[DNS_NAME_MAX];

	for (size_t i = 0; i < settings->apex_count; i++) {
		size_t length = owner_in(settings, i, namespace_label, NULL, owner);
		struct zone_name *name;

		if (length == 0)
			continue;
		name = zone_build_bare(ZONE_NAMESPACE, state, owner, length, times, text);
		if (!name)
			return -ENOMEM;
		put_labels(name->text, tags, tag_count);
		put_name(zone, name);
	}
	return 0;
}

bool zone_touch_service(struct zone *zone, const char *namespace_label, const char *service_label,
			const struct zone_times *times)
{
	const struct zone_settings *settings = zone->settings;
	uint8_t owner[DNS_NAME_MAX];
	bool found = false;

	zone_read_begin();
	for (size_t i = 0; i < settings->apex_count; i++) {
		size_t length = owner_in(settings, i, namespace_label, service_label, owner);
		struct zone_name *name = length ? zone_find(zone, owner, length) : NULL;

		if (!name)
			continue;
		atomic_store_explicit(&name->refresh_from_ms, times->refresh_from_ms,
				      memory_order_relaxed);
		atomic_store_explicit(&name->stale_until_ms, times->stale_until_ms,
				      memory_order_relaxed);
		atomic_store_explicit(&name->is_leaderless, times->is_leaderless,
				      memory_order_relaxed);
		atomic_store_explicit(&name->live_term, zone_term(zone), memory_order_relaxed);
		atomic_store_explicit(&name->fresh_until_ms, times->fresh_until_ms,
				      memory_order_release);
		atomic_store_explicit(&name->refresh_asked, false, memory_order_release);
		found = true;
	}
	zone_read_end();
	return found;
}

void zone_withdraw(struct zone *zone, const char *namespace_label, const char *service_label)
{
	const struct zone_settings *settings = zone->settings;
	uint8_t owner[DNS_NAME_MAX];

	for (size_t i = 0; i < settings->apex_count; i++) {
		size_t length = owner_in(settings, i, namespace_label, service_label, owner);

		if (length)
			remove_name(zone, owner, length);
	}
}

/* RFC 1035 §3.5, RFC 3596 §2.5. The length of the owner's wire form. */
static size_t reverse_owner(const struct addr *address, uint8_t out[DNS_NAME_MAX])
{
	char text[NAME_TEXT_MAX];
	size_t at = 0;
	int length;

	if (address->family == AF_INET) {
		const uint8_t *b = address->bytes;

		snprintf(text, sizeof(text), "%u.%u.%u.%u.in-addr.arpa", b[3], b[2], b[1], b[0]);
	} else {
		for (int i = 15; i >= 0; i--) {
			int written = snprintf(text + at, sizeof(text) - at, "%x.%x.",
					       address->bytes[i] & 15, address->bytes[i] >> 4);
			at += (size_t)written;
		}
		snprintf(text + at, sizeof(text) - at, "ip6.arpa");
	}
	length = name_parse(text, out);
	return length > 0 ? (size_t)length : 0;
}

/* Names relative to the first zone as targets; *out_count may be smaller where one is too long.
 * NULL: out of memory. */
static uint8_t **make_targets(const struct zone_settings *settings, const char *const *names,
			      size_t count, size_t *out_count)
{
	uint8_t(*storage)[DNS_NAME_MAX];
	uint8_t **targets = malloc((count + 1) * (sizeof(*targets) + sizeof(*storage)));
	uint8_t relative[DNS_NAME_MAX];

	*out_count = 0;
	if (!targets)
		return NULL;
	storage = (uint8_t(*)[DNS_NAME_MAX])(targets + count);
	for (size_t i = 0; i < count; i++) {
		int length = name_parse(names[i], relative);

		if (length < 0 || (size_t)length - 1 + settings->first_length > DNS_NAME_MAX)
			continue;
		name_fold(relative, (size_t)length - 1, storage[i]);
		memcpy(storage[i] + length - 1, settings->first, settings->first_length);
		targets[(*out_count)++] = storage[i];
	}
	return targets;
}

int zone_publish_reverse(struct zone *zone, const struct addr *address, const char *const *names,
			 size_t name_count)
{
	const struct zone_settings *settings = zone->settings;
	uint8_t owner[DNS_NAME_MAX];
	size_t length = reverse_owner(address, owner), target_count;
	struct zone_name *name;
	uint8_t **targets = make_targets(settings, names, name_count, &target_count);

	if (!targets)
		return -ENOMEM;
	if (target_count == 0) {
		free(targets);
		remove_name(zone, owner, length);
		return 0;
	}
	name = zone_build_reverse(owner, length, settings->ttl_s, (const uint8_t *const *)targets,
				  target_count);
	free(targets);
	if (!name)
		return -ENOMEM;
	put_name(zone, name);
	return 0;
}

unsigned long zone_take_asked(struct zone *zone, const char *namespace_label,
			      const char *service_label)
{
	const struct zone_settings *settings = zone->settings;
	uint8_t owner[DNS_NAME_MAX];
	unsigned long asked = 0;

	zone_read_begin();
	for (size_t i = 0; i < settings->apex_count; i++) {
		size_t length = owner_in(settings, i, namespace_label, service_label, owner);
		struct zone_name *name = length ? zone_find(zone, owner, length) : NULL;

		if (name)
			asked += atomic_exchange_explicit(&name->asked_count, 0,
							  memory_order_relaxed);
	}
	zone_read_end();
	return asked;
}

/* ---- reading ---- */

void zone_reader_register(void)
{
	urcu_qsbr_register_thread();
	urcu_qsbr_thread_offline();
}

void zone_reader_unregister(void)
{
	urcu_qsbr_unregister_thread();
}

const struct zone_settings *zone_settings(const struct zone *zone)
{
	return rcu_dereference(zone->settings);
}

enum zone_nomad zone_nomad(const struct zone *zone)
{
	return (enum zone_nomad)atomic_load_explicit(&zone->nomad, memory_order_relaxed);
}

unsigned zone_term(const struct zone *zone)
{
	return atomic_load_explicit(&zone->term, memory_order_acquire);
}

uint64_t zone_live_end(const struct zone *zone, unsigned term)
{
	if (zone_term(zone) - term >= TERMS)
		return 0;
	return atomic_load_explicit(&zone->term_end[term % TERMS], memory_order_acquire);
}

uint64_t zone_names_end(const struct zone *zone)
{
	return atomic_load_explicit(&zone->names_end, memory_order_acquire);
}

uint32_t zone_serial(const struct zone *zone)
{
	return (uint32_t)atomic_load_explicit(&zone->index, memory_order_relaxed);
}

const struct zone_apex *zone_apex_of(const struct zone_settings *settings, const uint8_t *folded,
				     size_t length)
{
	for (size_t i = 0; i < settings->apex_count; i++) {
		const struct zone_apex *apex = &settings->apex[i];

		if (name_is_in(folded, length, apex->name, apex->length))
			return apex;
	}
	return NULL;
}
