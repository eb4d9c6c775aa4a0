/*
 * The DNS view of what Nomad knows: owner name → immutable record sets, already encoded. The
 * control plane writes, the workers read; liburcu (QSBR) makes each change one pointer swap and
 * reading free. Names are published one at a time: a service with everything below it (tags,
 * instances' addresses) is one name, so one change costs one rebuild.
 *
 * Readers run between zone_read_begin and zone_read_end on a registered thread; what they were
 * given is valid until zone_read_end. Writer functions are the main thread's only.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <urcu/urcu-qsbr.h>
#include <urcu/rculfhash.h>

#include "base/hash.h"
#include "dns/answer.h"
#include "dns/image.h"

struct zone;

enum zone_kind {
	ZONE_SERVICE,	/* <service>.<namespace>.<zone> */
	ZONE_NAMESPACE, /* <namespace>.<zone> */
	ZONE_REVERSE,	/* d.c.b.a.in-addr.arpa, nibbles.ip6.arpa */
};

enum zone_state {
	ZONE_ABSENT, /* known not to exist (until fresh_until_ms) */
	ZONE_LISTED, /* service: exists, its instances were not fetched yet */
	ZONE_LOADED, /* its records are here */
	ZONE_DENIED, /* Nomad refuses the token for it (until fresh_until_ms) */
};

/* The records of one owner: the service itself, one of its tags, or one of its instances'
 * addresses. */
struct zone_set {
	uint32_t label_at; /* in text[]; label_length 0: the service itself */
	uint8_t label_length;
	bool is_tag; /* else an address, or the service itself */
	uint16_t host_count;
	uint32_t host_at;		/* in picks[]: indexes of hosts[] */
	uint32_t a_at, aaaa_at, srv_at; /* in picks[]: indexes of records in the image */
	uint16_t a_count, aaaa_count, srv_count;
};

struct zone_host { /* a host name that stands for an instance's address; wire form in text[] */
	uint32_t name_at;
	uint8_t name_length;
};

/* fresh_until_ms of what is true whatever Nomad says, and of what a live mirror keeps true: that is
 * fresh while the zone is live, and counts as heard last when that ended. */
#define ZONE_ALWAYS UINT64_MAX
#define ZONE_LIVE (UINT64_MAX - 1)

struct zone_name {
	struct cds_lfht_node node;
	struct rcu_head rcu;
	enum zone_kind kind;
	enum zone_state state;
	atomic_bool is_leaderless;	  /* said by a server that knew no leader: mark it stale */
	_Atomic uint64_t refresh_from_ms; /* from then on an asker has it refreshed */
	_Atomic uint64_t fresh_until_ms;  /* the truth until then, ZONE_LIVE or ZONE_ALWAYS */
	_Atomic uint64_t stale_until_ms;  /* then not even a lost Nomad makes it an answer */
	atomic_uint live_term;		  /* ZONE_LIVE: the term it was published in */
	atomic_bool refresh_asked;	  /* one refresh per version of the name */
	atomic_ulong asked_count;	  /* for preloading and refreshing: is it in use? */
	uint8_t owner_length;
	uint8_t *owner; /* folded wire form; in the block behind the struct, as the arrays are */
	struct image *image; /* owned; NULL: none */
	/* sets[0] is the service itself, the others sorted by label, an address before a tag */
	uint32_t set_count;
	uint16_t host_count;
	struct zone_set *sets;
	struct zone_host *hosts;
	uint16_t *picks;
	uint8_t *text; /* labels and host names; NAMESPACE: the tags seen, as length-prefixed folded
			  labels */
	uint32_t text_length;
};

#define ZONE_SOA_MAX 776 /* the longest zone (244 bytes), two names below it, fixed parts */

struct zone_apex { /* one configured zone */
	uint8_t length;
	uint8_t name[DNS_NAME_MAX]; /* folded wire form */
	uint8_t soa_rr[ZONE_SOA_MAX];
	uint16_t soa_length, soa_ttl_offset, soa_serial_offset;
	struct image *records; /* owner 0xc00c: [0] NS, [1] HINFO for ANY */
};

struct zone_settings { /* what answers look like; replaced as a whole on reload */
	struct rcu_head rcu;
	uint32_t ttl_s, negative_ttl_s;
	uint64_t max_stale_ms;
	bool reverse;
	uint8_t first_length; /* the zone given first: PTR targets are in it */
	uint8_t first[DNS_NAME_MAX];
	size_t apex_count;
	struct zone_apex apex[]; /* longest name first, so that the first match is the longest */
};

enum zone_nomad {		     /* what the control plane last knew of Nomad as a whole */
		  ZONE_NOMAD_SILENT, /* not a word since start */
		  ZONE_NOMAD_OK,
		  ZONE_NOMAD_LOST,
		  ZONE_NOMAD_DENIED, /* it answers, but refuses the token everywhere */
};

enum zone_live {		  /* what the control plane keeps true by itself */
		 ZONE_LIVE_NOT,	  /* nothing: what has live times is no longer fresh */
		 ZONE_LIVE_HELD,  /* what has live times */
		 ZONE_LIVE_NAMES, /* that, and every name there is stands in the zone */
};

/* ---- the writer's side: main thread ---- */

struct config;

/* An empty zone for the configured zones; takes a reference of its own. NULL when out of memory. */
struct zone *zone_new(struct config *config);

/* Frees everything. No reader may be left. */
void zone_free(struct zone *zone);

/* Takes over ttl, negative-ttl, max-stale, reverse of a new configuration. 0 or -ENOMEM (then the
 * old ones stay). */
int zone_configure(struct zone *zone, const struct config *config);

/* Tells readers how Nomad is, and the index the SOA serial grows with (never goes back). */
void zone_set_nomad(struct zone *zone, enum zone_nomad state);
void zone_set_index(struct zone *zone, uint64_t index);

/* Live begins or ends, for all names at once. Beginning again makes what was live true again: right
 * only if nothing was missed, else zone_expire_live comes first. */
void zone_set_live(struct zone *zone, enum zone_live live, uint64_t now_ms);

/* Something may have changed: what has live times so far counts as heard last now, and only what is
 * published from here on is live. */
void zone_expire_live(struct zone *zone, uint64_t now_ms);

/* One usable instance, as the catalogue hands it over. Text is borrowed for the call. */
struct zone_instance {
	struct addr addr; /* family 0: `host` is meant; its port is not used */
	const char *host; /* host name without its final dot; NULL if addr is set */
	uint16_t port;	  /* 0: none */
	const char *const *tags;
	size_t tag_count; /* tags that are no label are passed over */
};

struct zone_times {
	uint64_t refresh_from_ms, fresh_until_ms, stale_until_ms;
	bool is_leaderless;
};

/*
 * Publishes a service (folded labels) in every configured zone: ZONE_LOADED with these instances
 * (none of them usable: the name exists and has no records), or ZONE_LISTED, ZONE_ABSENT,
 * ZONE_DENIED without. Replaces what was there. 0 or -ENOMEM (then the old name stays).
 */
int zone_publish_service(struct zone *zone, const char *namespace_label, const char *service_label,
			 enum zone_state state, const struct zone_times *times,
			 const struct zone_instance *instances, size_t instance_count);

/* Publishes a namespace: ZONE_LOADED (it has services; `tags` are those seen in it, for _tag
 * forms), ZONE_ABSENT, ZONE_DENIED. */
int zone_publish_namespace(struct zone *zone, const char *namespace_label, enum zone_state state,
			   const struct zone_times *times, const char *const *tags,
			   size_t tag_count);

/* Only moves the times of a published service whose records did not change. false: there is no such
 * name. */
bool zone_touch_service(struct zone *zone, const char *namespace_label, const char *service_label,
			const struct zone_times *times);

/* Takes a service or (service_label NULL) a namespace out: nothing is known of it any more. */
void zone_withdraw(struct zone *zone, const char *namespace_label, const char *service_label);

/* PTR targets of an address (names relative to the first zone: "redis.default"); count 0 withdraws.
 * 0 or -ENOMEM. */
int zone_publish_reverse(struct zone *zone, const struct addr *address, const char *const *names,
			 size_t name_count);

/* How often a service was asked since the last call (all zones together); resets the count. */
unsigned long zone_take_asked(struct zone *zone, const char *namespace_label,
			      const char *service_label);

/* ---- the reader's side: workers, between begin and end ---- */

/* Once per thread, before and after its life as a reader. */
void zone_reader_register(void);
void zone_reader_unregister(void);

static inline void zone_read_begin(void)
{
	urcu_qsbr_thread_online();
}

static inline void zone_read_end(void)
{
	urcu_qsbr_thread_offline();
}

const struct zone_settings *zone_settings(const struct zone *zone);
enum zone_nomad zone_nomad(const struct zone *zone);
uint32_t zone_serial(const struct zone *zone);

/* The term that is now: what is published with ZONE_LIVE belongs to it. */
unsigned zone_term(const struct zone *zone);

/* When a term of live names ended: ZONE_LIVE if it has not, 0 if that is too long ago to be
 * remembered or it never was. */
uint64_t zone_live_end(const struct zone *zone, unsigned term);

/* The same for "every name there is stands in the zone". */
uint64_t zone_names_end(const struct zone *zone);

/* The zone a folded name is in: the longest configured one; NULL: none. */
const struct zone_apex *zone_apex_of(const struct zone_settings *settings, const uint8_t *folded,
				     size_t length);

/* The name with this folded owner; NULL: nothing known. */
struct zone_name *zone_find(const struct zone *zone, const uint8_t *owner, size_t length);
