/*
 * The configured zones as answers need them: each apex with its SOA, NS and the HINFO for ANY,
 * encoded once, the longest name first. Pure; the zone owns them and replaces them as a whole,
 * under RCU: readers get them from zone_settings().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <urcu/urcu-qsbr.h>

#include "dns/dns.h"
#include "dns/image.h"

struct config;

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

/* Values of `config`, for the zones of `zones`. Caller frees with zone_settings_free. NULL: out of
 * memory. */
struct zone_settings *zone_settings_make(const struct config *config, const struct config *zones);

void zone_settings_free(struct zone_settings *settings);

/* The zone a folded name is in: the longest configured one; NULL: none. */
const struct zone_apex *zone_apex_of(const struct zone_settings *settings, const uint8_t *folded,
				     size_t length);
