/*
 * What the catalogue's files share, and nobody else sees. A `name` is one DNS name (folded) and
 * owns the services behind it; a `service` is one exact (namespace, service) of Nomad; a `space` is
 * one exact namespace that has services.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/list.h"
#include "dns/dns.h"
#include "nomad/catalogue.h"

struct map;
struct reverse;

#define CATALOGUE_KEY_MAX (2 * DNS_LABEL_MAX + 2)
#define CATALOGUE_NO_HOST UINT32_MAX

struct held_instance {
	uint64_t id; /* hash of what identifies it */
	uint8_t bytes[16];
	uint32_t host_at; /* in the text; CATALOGUE_NO_HOST: bytes[] count */
	uint32_t tags_at; /* in the tag offsets */
	uint16_t tag_count, port;
	uint8_t family;
	bool is_left_out; /* unusable: it keeps the service in being, and that is all */
};

struct held { /* the instances of a service, one block: equal bytes are equal content */
	size_t byte_count;
	uint32_t count, usable_count, tag_count;
	struct held_instance at[]; /* sorted by id; then tag_count offsets into the text; then the
				      text */
};

struct service {
	struct list by_space, by_name;
	struct name *name;
	struct space *space;
	struct held *held;    /* owned; NULL: listed, never fetched */
	uint64_t index;	      /* of the reply that said what is held, or that it exists */
	uint64_t event_index; /* of the last event that counted; one index may hold several */
	struct zone_times times;
	unsigned term;	  /* the zone's, when the times were said */
	bool is_marked;	  /* an event told more than is held */
	bool is_going;	  /* its last instance went, or it left the list: records stay until it is
			     settled */
	uint64_t listing; /* the last list it stood in */
	char exact[];
};

struct name {
	struct list services;
	bool is_published;	/* the zone holds exactly what we hold */
	struct addr *addresses; /* only with `reverse`: sorted, distinct; owned */
	size_t address_count;
	uint8_t namespace_length, key_length;
	char key[]; /* folded: namespace NUL service NUL */
};

struct space {
	struct list services;
	char *tags; /* owned: "a" NUL "b" NUL …, folded and distinct */
	size_t tags_length;
	uint32_t tag_count;
	struct map *tags_seen; /* the same, for events; NULL: no event has asked */
	uint64_t index;	       /* of its list; 0: none yet */
	bool is_shown;	       /* the zone has it as a namespace with services */
	char exact[];
};

struct catalogue {
	struct zone *zone;
	struct metrics *metrics;
	struct map *names;  /* key → struct name */
	struct map *spaces; /* exact namespace → struct space */
	struct map *absents;
	struct list absents_oldest_first;
	struct map *said;	 /* what the log was told once */
	struct reverse *reverse; /* NULL: off */
	char **allowed;		 /* namespaces, exact; none: all */
	size_t allowed_count;
	bool has_filter; /* then only Nomad knows which instances count */
	uint64_t max_stale_ms;
	uint64_t names_index; /* of the list of all names; 0: none yet */
	uint32_t ttl_s;	      /* what the published records say */
	uint64_t listing;
	struct hash_key hash_key;
	size_t service_count, instance_count;
};

static inline const char *catalogue_name_service(const struct name *name)
{
	return name->key + name->namespace_length + 1;
}

/* The offsets and the text of a block. */
static inline const uint32_t *catalogue_tag_offsets(const struct held *held)
{
	return (const uint32_t *)(const void *)(held->at + held->count);
}

static inline const char *catalogue_text(const struct held *held)
{
	return (const char *)(catalogue_tag_offsets(held) + held->tag_count);
}

/* The index that what is known of a service is true of. */
static inline uint64_t catalogue_asof(const struct service *service)
{
	return service->event_index > service->index ? service->event_index : service->index;
}

/* ---- collecting ---- */

struct draft {
	struct held_instance instance; /* host_at, tags_at: in the update's text */
	uint32_t sequence;
};

struct catalogue_update {
	struct catalogue *catalogue;
	struct draft *drafts;
	size_t count, capacity;
	size_t over_limit_count;
	struct buf text; /* hosts and tags, each with its NUL */
	bool has_seen;	 /* anything at all, usable or not */
	bool has_read;	 /* one that is a registration, usable or not */
	bool has_bad;	 /* one that is none */
	bool has_name;	 /* both names are labels of an allowed namespace */
	bool is_whole;	 /* all names of the namespace are known */
	const char *service;
	char namespace[]; /* the service's name stands behind it */
};

/* catalogue_draft.c: starts from what is held. 0 or -ENOMEM. */
int catalogue_refill(struct catalogue_update *update, const struct held *held);
/* Takes one out, by what identifies it. false: it is not there. */
bool catalogue_take_out(struct catalogue_update *update, const struct json_instance *instance);
size_t catalogue_update_count(const struct catalogue_update *update);
/* catalogue_update.c: gives a service what was collected. *out_is_same: it had just that. 0 or
 * -ENOMEM. */
int catalogue_replace(struct catalogue_update *update, struct service *service, bool *out_is_same);

/* catalogue_list.c: as catalogue_list_commit, but names that are gone are only marked as going, and
 * noted: namespace NUL service NUL. */
int catalogue_list_settle(struct catalogue_listing *listing, uint64_t index,
			  const struct zone_times *times, struct buf *gone);
void catalogue_tell_gone(const struct buf *gone, catalogue_gone *on_gone, void *arg);
/* Notes the tags of one instance in its namespace. true: there is a new one. */
bool catalogue_note_tags(struct space *space, const struct json_instance *instance);

/* catalogue_publish.c */
int catalogue_publish_name(struct catalogue *catalogue, struct name *name, bool is_changed);
int catalogue_publish_listed(struct catalogue *catalogue, struct name *name,
			     const struct zone_times *times);
int catalogue_publish_absent(struct catalogue *catalogue, const char *key, size_t key_length,
			     uint64_t index, const struct zone_times *times);
int catalogue_publish_space(struct catalogue *catalogue, const char *namespace_label,
			    const struct zone_times *times);
/* A service of `key` went: if it was the last of its namespace, that is gone too. */
void catalogue_leave_space(struct catalogue *catalogue, struct space *space, const char *key,
			   const struct zone_times *times);
uint64_t catalogue_absent_index(const struct catalogue *catalogue, const char *key,
				size_t key_length);
bool catalogue_forget_absent(struct catalogue *catalogue, const char *key, size_t key_length);
void catalogue_rewind_absents(struct catalogue *catalogue);
void catalogue_publish_again(struct catalogue *catalogue); /* everything: records look different */

/* catalogue_event.c: what is held is no longer the truth. */
void catalogue_mark_service(struct catalogue *catalogue, struct service *service);

/* catalogue.c: finding, making and removing. The finders return NULL when there is none, the makers
 * when out of memory. */
struct service *catalogue_find_service(const struct catalogue *catalogue, const char *namespace,
				       const char *service);
struct service *catalogue_make_service(struct catalogue *catalogue, const char *namespace,
				       const char *service);
int catalogue_remove_service(struct catalogue *catalogue, struct service *service);
size_t catalogue_key(const char *namespace, const char *service, char out[CATALOGUE_KEY_MAX]);
void catalogue_count(struct catalogue *catalogue);

/* catalogue_log.c: counts one left out, and names it in the log unless it was named before. Text is
 * a stranger's. */
void catalogue_leave_out(struct catalogue *catalogue, const char *namespace, const char *service,
			 const char *id, const char *why);

/* catalogue_reverse.c: address → names, kept in step with what is published. */
struct reverse *reverse_new(struct zone *zone);			 /* NULL: out of memory */
void reverse_free(struct reverse *reverse);			 /* tells the zone nothing */
void reverse_update(struct reverse *reverse, struct name *name); /* from its services */
void reverse_drop(struct reverse *reverse, struct name *name);
void reverse_publish_again(struct reverse *reverse);
