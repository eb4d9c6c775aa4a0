/*
 * The DNS view of what Nomad knows, as its readers see it: owner name → immutable record sets,
 * already encoded. liburcu (QSBR) makes each change one pointer swap and reading free. A service
 * with everything below it (tags, instances' addresses) is one name. Who writes: zone_writer.h.
 *
 * Readers run between zone_read_begin and zone_read_end on a registered thread; what they were
 * given is valid until zone_read_end.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <urcu/urcu-qsbr.h>
#include <urcu/rculfhash.h>

#include "dns/image.h"

struct zone;
struct zone_settings;

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
	uint8_t *text; /* labels, host names; NAMESPACE: tags seen, folded, length-prefixed */
	uint32_t text_length;
};

enum zone_nomad {		     /* what the control plane last knew of Nomad as a whole */
		  ZONE_NOMAD_SILENT, /* not a word since start */
		  ZONE_NOMAD_OK,
		  ZONE_NOMAD_LOST,
		  ZONE_NOMAD_DENIED, /* it answers, but refuses the token everywhere */
};

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

/* What answers look like (zone_settings.h); how Nomad is; the SOA serial. */
const struct zone_settings *zone_settings(const struct zone *zone);
enum zone_nomad zone_nomad(const struct zone *zone);
uint32_t zone_serial(const struct zone *zone);

/* The term that is now: what is published with ZONE_LIVE belongs to it. */
unsigned zone_term(const struct zone *zone);

/* When a term of live names ended: ZONE_LIVE if it has not, 0 if it never was live. Of one long ago
 * a little later than it was (zone_terms.h). */
uint64_t zone_live_end(const struct zone *zone, unsigned term);

/* The same for "every name there is stands in the zone". */
uint64_t zone_names_end(const struct zone *zone);

/* The name with this folded owner; NULL: nothing known. */
struct zone_name *zone_find(const struct zone *zone, const uint8_t *owner, size_t length);
