/*
 * Every function builds one ldns record with the root as owner, lets ldns encode it, and swaps the
 * one-byte owner for the one the caller wants. Costs some thirty allocations a record, which is why
 * it lives on the control plane.
 */
#include "dns/records.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <ldns/ldns.h>

#include "base/bytes.h"
#include "dns/name.h"

static const uint8_t OWNER_QNAME[] = { DNS_POINTER_TO_QNAME >> 8, DNS_POINTER_TO_QNAME & 0xff };

static ldns_rdf *make_name(const uint8_t *name)
{
	return ldns_rdf_new_frm_data(LDNS_RDF_TYPE_DNAME, name_length(name, DNS_NAME_MAX), name);
}

static ldns_rdf *make_u32(uint32_t value)
{
	return ldns_native2rdf_int32(LDNS_RDF_TYPE_INT32, value);
}

static ldns_rdf *make_u16(uint16_t value)
{
	return ldns_native2rdf_int16(LDNS_RDF_TYPE_INT16, value);
}

static ldns_rdf *make_string(const char *text)
{
	uint8_t bytes[256];
	size_t length = strnlen(text, 255);

	bytes[0] = (uint8_t)length;
	memcpy(bytes + 1, text, length);
	return ldns_rdf_new_frm_data(LDNS_RDF_TYPE_STR, length + 1, bytes);
}

/*
 * Encodes one record of `count` RDATA fields, which it takes over. Returns its length, or -ENOMEM.
 * A field that is NULL could not be made for want of memory.
 */
static int encode(const uint8_t *owner, size_t owner_length, uint16_t type, uint16_t rrclass,
		  uint32_t ttl_s, ldns_rdf *const *fields, size_t count,
		  uint8_t out[RECORDS_RR_MAX])
{
	static const uint8_t root[] = { 0 };
	ldns_rr *rr = ldns_rr_new();
	ldns_rdf *root_name = make_name(root);
	uint8_t *wire = NULL;
	size_t length = 0;
	bool whole = rr && root_name;
	int result = -ENOMEM;

	for (size_t i = 0; i < count; i++) {
		if (rr && fields[i] && ldns_rr_push_rdf(rr, fields[i]))
			continue;
		ldns_rdf_deep_free(fields[i]);
		whole = false;
	}
	if (!whole) {
		ldns_rdf_deep_free(root_name);
		goto out;
	}
	ldns_rr_set_owner(rr, root_name);
	ldns_rr_set_type(rr, type);
	ldns_rr_set_class(rr, rrclass);
	ldns_rr_set_ttl(rr, ttl_s);
	if (ldns_rr2wire(&wire, rr, LDNS_SECTION_ANSWER, &length) != LDNS_STATUS_OK)
		goto out;
	if (length - 1 + owner_length > RECORDS_RR_MAX)
		goto out;
	memcpy(out, owner, owner_length);
	memcpy(out + owner_length, wire + 1, length - 1);
	result = (int)(owner_length + length - 1);
out:
	free(wire);
	ldns_rr_free(rr);
	return result;
}

static int encode_short(uint16_t type, uint32_t ttl_s, ldns_rdf *const *fields, size_t count,
			uint8_t out[RECORDS_RR_MAX])
{
	return encode(OWNER_QNAME, sizeof(OWNER_QNAME), type, DNS_CLASS_IN, ttl_s, fields, count,
		      out);
}

int records_address(const struct addr *address, uint32_t ttl_s, uint8_t out[RECORDS_RR_MAX])
{
	bool is_ipv4 = address->family == AF_INET;
	ldns_rdf *field = ldns_rdf_new_frm_data(is_ipv4 ? LDNS_RDF_TYPE_A : LDNS_RDF_TYPE_AAAA,
						is_ipv4 ? 4 : 16, address->bytes);

	return encode_short(is_ipv4 ? DNS_TYPE_A : DNS_TYPE_AAAA, ttl_s, &field, 1, out);
}

int records_srv(uint16_t priority, uint16_t weight, uint16_t port, const uint8_t *target,
		uint32_t ttl_s, uint8_t out[RECORDS_RR_MAX])
{
	ldns_rdf *fields[] = { make_u16(priority), make_u16(weight), make_u16(port),
			       make_name(target) };

	return encode_short(DNS_TYPE_SRV, ttl_s, fields, COUNT_OF(fields), out);
}

int records_ptr(const uint8_t *target, uint32_t ttl_s, uint8_t out[RECORDS_RR_MAX])
{
	ldns_rdf *field = make_name(target);

	return encode_short(DNS_TYPE_PTR, ttl_s, &field, 1, out);
}

int records_ns(const uint8_t *target, uint32_t ttl_s, uint8_t out[RECORDS_RR_MAX])
{
	ldns_rdf *field = make_name(target);

	return encode_short(DNS_TYPE_NS, ttl_s, &field, 1, out);
}

/* `label` in front of `zone`; NULL when out of memory or too long a name. */
static ldns_rdf *make_name_below(const char *label, const uint8_t *zone)
{
	uint8_t name[DNS_NAME_MAX];
	size_t label_length = strlen(label), zone_length = name_length(zone, DNS_NAME_MAX);

	if (1 + label_length + zone_length > sizeof(name))
		return NULL;
	name[0] = (uint8_t)label_length;
	memcpy(name + 1, label, label_length);
	memcpy(name + 1 + label_length, zone, zone_length);
	return make_name(name);
}

int records_soa(const uint8_t *zone, uint32_t serial, uint32_t negative_ttl_s,
		size_t *out_serial_at, uint8_t out[RECORDS_RR_MAX])
{
	enum { REFRESH_S = 3600, RETRY_S = 600, EXPIRE_S = 86400, TIMERS_BYTES = 20 };
	ldns_rdf *fields[] = { make_name_below("ns", zone),
			       make_name_below("hostmaster", zone),
			       make_u32(serial),
			       make_u32(REFRESH_S),
			       make_u32(RETRY_S),
			       make_u32(EXPIRE_S),
			       make_u32(negative_ttl_s) };
	int length = encode(zone, name_length(zone, DNS_NAME_MAX), DNS_TYPE_SOA, DNS_CLASS_IN,
			    negative_ttl_s, fields, COUNT_OF(fields), out);

	if (length > 0)
		*out_serial_at = (size_t)length - TIMERS_BYTES;
	return length;
}

int records_any_hinfo(uint32_t ttl_s, uint8_t out[RECORDS_RR_MAX])
{
	ldns_rdf *fields[] = { make_string("RFC8482"), make_string("") };

	return encode_short(DNS_TYPE_HINFO, ttl_s, fields, COUNT_OF(fields), out);
}

int records_txt(uint16_t qclass, const char *text, uint32_t ttl_s, uint8_t out[RECORDS_RR_MAX])
{
	ldns_rdf *field = make_string(text);

	return encode(OWNER_QNAME, sizeof(OWNER_QNAME), DNS_TYPE_TXT, qclass, ttl_s, &field, 1,
		      out);
}

const char *records_library_version(void)
{
	return ldns_version();
}
