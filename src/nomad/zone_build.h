/*
 * From instances to one zone name: records encoded once, and for every owner below the service
 * (itself, its instances' addresses, its tags) the list of records that answer for it. Pure; the
 * zone publishes what this builds.
 */
#pragma once

#include "base/addr.h"
#include "dns/dns.h"
#include "nomad/zone_writer.h"

#define ZONE_RR_COUNT_MAX (UINT16_MAX - 1) /* picks are 16 bits: what is beyond is left out */

/* One name without sets (not LOADED, a namespace's, a reverse one), with room for text and picks.
 * Caller frees with zone_name_free. NULL: out of memory. */
struct zone_name *zone_build_bare(enum zone_kind kind, enum zone_state state, const uint8_t *owner,
				  size_t length, const struct zone_times *times, size_t text_bytes,
				  size_t pick_count);

/* A loaded service with owner `<service>.<namespace>.<zone>`. NULL: out of memory. */
struct zone_name *zone_build_service(const uint8_t *owner, size_t length, uint32_t ttl_s,
				     const struct zone_times *times,
				     const struct zone_instance *instances, size_t count);

/* `labels[0].labels[1]….<suffix>` as a folded wire name. Its length, or 0 when a label or the name
 * is too long. */
size_t zone_build_owner(const char *const *labels, size_t count, const uint8_t *suffix,
			size_t suffix_length, uint8_t out[DNS_NAME_MAX]);

/* The label of an instance's own name: "192-168-29-76", "2001-0db8-0000-…". Its length. */
size_t zone_build_address_label(const struct addr *addr, char out[DNS_LABEL_MAX + 1]);

void zone_name_free(struct zone_name *name);
