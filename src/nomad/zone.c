/*
 * One RCU hash table for all kinds of names. A change builds a new name, puts it in the old one's
 * place and frees the old one after a grace period. With several configured zones a service stands
 * once in each: names inside records are the zone's that was asked.
 */
#include "nomad/zone.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "config/config.h"
#include "dns/name.h"
#include "nomad/zone_build.h"
#include "nomad/zone_reverse.h"
#include "nomad/zone_settings.h"
#include "nomad/zone_terms.h"
#include "nomad/zone_writer.h"

#define BUCKETS_START 64
#define BUCKETS_MAX (1u << 18)

struct zone {
	struct cds_lfht *table;
	size_t name_count, bucket_count;
	struct hash_key key;
	struct config *first_config;	/* ours; whose zones we serve until a restart */
	struct zone_settings *settings; /* RCU */
	atomic_int nomad;
	_Atomic uint64_t index;
	struct zone_terms terms;
	_Atomic uint64_t names_end;
};

static void free_settings_rcu(struct rcu_head *head)
{
	zone_settings_free(caa_container_of(head, struct zone_settings, rcu));
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
	zone->settings = zone_settings_make(config, config);
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
	zone_settings_free(zone->settings);
	config_drop(zone->first_config);
	free(zone);
}

int zone_configure(struct zone *zone, const struct config *config)
{
	struct zone_settings *next = zone_settings_make(config, zone->first_config);
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
	/* One store ends or begins it for every name of the term. */
	if (live != ZONE_LIVE_NOT)
		zone_terms_set_end(&zone->terms, ZONE_LIVE);
	else if (is_live(zone))
		zone_terms_set_end(&zone->terms, now_ms);
}

void zone_expire_live(struct zone *zone, uint64_t now_ms)
{
	bool was_live = is_live(zone);

	if (was_live)
		zone_terms_set_end(&zone->terms, now_ms);
	zone_terms_next(&zone->terms, was_live);
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
			name = zone_build_bare(ZONE_SERVICE, state, owner, length, times, 0, 0);
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
		name = zone_build_bare(ZONE_NAMESPACE, state, owner, length, times, text, 0);
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

int zone_publish_reverse(struct zone *zone, const struct addr *address, const char *const *names,
			 size_t name_count)
{
	const struct zone_settings *settings = zone->settings;
	uint8_t owner[DNS_NAME_MAX];
	size_t length = zone_reverse_owner(address, owner), target_count;
	struct zone_name *name;
	uint8_t **targets = zone_reverse_targets(settings, names, name_count, &target_count);

	if (!targets)
		return -ENOMEM;
	if (target_count == 0) {
		free(targets);
		remove_name(zone, owner, length);
		return 0;
	}
	name = zone_reverse_build(owner, length, settings->ttl_s, (const uint8_t *const *)targets,
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
	return zone_terms_now(&zone->terms);
}

uint64_t zone_live_end(const struct zone *zone, unsigned term)
{
	return zone_terms_end(&zone->terms, term);
}

uint64_t zone_names_end(const struct zone *zone)
{
	return atomic_load_explicit(&zone->names_end, memory_order_acquire);
}

uint32_t zone_serial(const struct zone *zone)
{
	return (uint32_t)atomic_load_explicit(&zone->index, memory_order_relaxed);
}
