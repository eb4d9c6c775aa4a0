/*
 * The ldns door: encodes the records that we say ourselves (trusted input, control plane; see
 * pitfalls in CONTRIBUTING: ldns never reads what strangers send). Each function writes one
 * self-contained record whose owner is 0xc00c, the question's name, or for the SOA in AUTHORITY the
 * zone's name written out. No compression in RDATA.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "dns/dns.h"

#define RECORDS_RR_MAX (DNS_NAME_MAX * 3 + DNS_RR_FIXED_BYTES + 32)
#define RECORDS_SHORT_OWNER 2 /* bytes of the owner 0xc00c */

/* A or AAAA by the address's family (RFC 1035 §3.4.1, RFC 3596 §2.2). Returns the length, or
 * -ENOMEM. */
int records_address(const struct addr *address, uint32_t ttl_s, uint8_t out[RECORDS_RR_MAX]);

/* SRV (RFC 2782) to a wire-form target. Returns the length, or -ENOMEM/-EINVAL. */
int records_srv(uint16_t priority, uint16_t weight, uint16_t port, const uint8_t *target,
		uint32_t ttl_s, uint8_t out[RECORDS_RR_MAX]);

/* PTR (RFC 1035 §3.3.12). As above. */
int records_ptr(const uint8_t *target, uint32_t ttl_s, uint8_t out[RECORDS_RR_MAX]);

/* NS with the owner 0xc00c. As above. */
int records_ns(const uint8_t *target, uint32_t ttl_s, uint8_t out[RECORDS_RR_MAX]);

/*
 * The zone's SOA (RFC 1035 §3.3.13), owner written out, names under the zone: ns.<zone>,
 * hostmaster.<zone>. The serial stands at *out_serial_at from the record's start, so that it can
 * move without a new record.
 */
int records_soa(const uint8_t *zone, uint32_t serial, uint32_t negative_ttl_s,
		size_t *out_serial_at, uint8_t out[RECORDS_RR_MAX]);

/* The one HINFO of RFC 8482 §4.2: "RFC8482" "". */
int records_any_hinfo(uint32_t ttl_s, uint8_t out[RECORDS_RR_MAX]);

/* TXT with one string of at most 255 bytes, class CH (RFC 4892 §3) or IN. */
int records_txt(uint16_t qclass, const char *text, uint32_t ttl_s, uint8_t out[RECORDS_RR_MAX]);

/* The version of the ldns that is loaded. Static text. */
const char *records_library_version(void);
