/*
 * Reverse names: the owner of an address, and its PTR records to names of the first zone. Pure.
 */
#pragma once

#include "base/addr.h"
#include "dns/dns.h"
#include "nomad/zone.h"
#include "nomad/zone_settings.h"

/* RFC 1035 §3.5, RFC 3596 §2.5. The length of the owner's wire form. */
size_t zone_reverse_owner(const struct addr *address, uint8_t out[DNS_NAME_MAX]);

/* Names relative to the first zone as targets, one block; *out_count may be smaller where one is
 * too long. Caller frees. NULL: out of memory. */
uint8_t **zone_reverse_targets(const struct zone_settings *settings, const char *const *names,
			       size_t count, size_t *out_count);

/* PTR records for a reverse owner. Caller frees with zone_name_free. NULL: out of memory. */
struct zone_name *zone_reverse_build(const uint8_t *owner, size_t length, uint32_t ttl_s,
				     const uint8_t *const *targets, size_t count);
