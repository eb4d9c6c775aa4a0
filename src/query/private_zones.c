#include "query/private_zones.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/str.h"
#include "config/config.h"
#include "dns/name.h"
#include "dns/records.h"

#define TTL_S 3600	  /* these answers never change */
#define LABELS_OF_ADDR4 6 /* 1.0.0.127.in-addr.arpa */
#define LABELS_OF_ADDR6 34
#define NAME_BYTES_MAX 80 /* 32 nibbles below ip6.arpa take 74 */
#define SOA_BYTES_MAX 288
#define TEXT_BYTES_MAX 96

/* RFC 6303 §4, RFC 7793 §4; "%u" is each number from `first` to `last`. */
static const struct {
	const char *name;
	unsigned first, last;
} ROWS[] = {
	{ "10.in-addr.arpa", 0, 0 },
	{ "%u.172.in-addr.arpa", 16, 31 },
	{ "168.192.in-addr.arpa", 0, 0 },
	{ "%u.100.in-addr.arpa", 64, 127 },
	{ "0.in-addr.arpa", 0, 0 },
	{ "127.in-addr.arpa", 0, 0 },
	{ "254.169.in-addr.arpa", 0, 0 },
	{ "2.0.192.in-addr.arpa", 0, 0 },
	{ "100.51.198.in-addr.arpa", 0, 0 },
	{ "113.0.203.in-addr.arpa", 0, 0 },
	{ "255.255.255.255.in-addr.arpa", 0, 0 },
	{ "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa", 0, 0 },
	{ "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa", 0, 0 },
	{ "d.f.ip6.arpa", 0, 0 },
	{ "8.e.f.ip6.arpa", 0, 0 },
	{ "9.e.f.ip6.arpa", 0, 0 },
	{ "a.e.f.ip6.arpa", 0, 0 },
	{ "b.e.f.ip6.arpa", 0, 0 },
	{ "8.b.d.0.1.0.0.2.ip6.arpa", 0, 0 },
};

struct private_zone {
	uint8_t name_length;
	uint16_t soa_length, serial_at;
	uint8_t name[NAME_BYTES_MAX];
	uint8_t soa[SOA_BYTES_MAX];
};

struct private_zones {
	size_t count;
	struct private_zone zone[];
};

static const uint8_t IN_ADDR_ARPA[] = "\7in-addr\4arpa";
static const uint8_t IP6_ARPA[] = "\3ip6\4arpa";

static bool make_zone(const char *pattern, unsigned number, struct private_zone *out)
{
	char text[TEXT_BYTES_MAX];
	const char *rest = strstr(pattern, "%u");
	uint8_t name[DNS_NAME_MAX], soa[RECORDS_RR_MAX];
	size_t serial_at = 0;
	int name_bytes, soa_bytes;

	if (rest)
		(void)str_format(text, sizeof(text), "%u%s", number, rest + 2);
	else
		(void)str_format(text, sizeof(text), "%s", pattern);
	name_bytes = name_parse(text, name);
	if (name_bytes <= 0 || name_bytes > NAME_BYTES_MAX)
		return false;
	soa_bytes = records_soa(name, 1, TTL_S, &serial_at, soa);
	if (soa_bytes <= 0 || soa_bytes > SOA_BYTES_MAX)
		return false;
	out->name_length = (uint8_t)name_bytes;
	out->soa_length = (uint16_t)soa_bytes;
	out->serial_at = (uint16_t)serial_at;
	memcpy(out->name, name, (size_t)name_bytes);
	memcpy(out->soa, soa, (size_t)soa_bytes);
	return true;
}

struct private_zones *private_zones_new(void)
{
	struct private_zones *zones;
	size_t count = 0;

	for (size_t i = 0; i < COUNT_OF(ROWS); i++)
		count += ROWS[i].last - ROWS[i].first + 1;
	zones = calloc(1, sizeof(*zones) + count * sizeof(zones->zone[0]));
	if (!zones)
		return NULL;
	for (size_t i = 0; i < COUNT_OF(ROWS); i++) {
		for (unsigned number = ROWS[i].first; number <= ROWS[i].last; number++) {
			if (!make_zone(ROWS[i].name, number, &zones->zone[zones->count++])) {
				free(zones);
				return NULL;
			}
		}
	}
	return zones;
}

void private_zones_free(struct private_zones *zones)
{
	free(zones);
}

static const struct private_zone *find_zone(const struct private_zones *zones,
					    const struct question *question)
{
	for (size_t i = 0; i < zones->count; i++) {
		const struct private_zone *zone = &zones->zone[i];

		if (name_is_in(question->folded, question->name_length, zone->name,
			       zone->name_length))
			return zone;
	}
	return NULL;
}

enum nearness { NOBODY, BELOW, AT_OR_ABOVE };

/* Where a `forward=DOMAIN=` of this part of the zone stands, seen from the question. */
static enum nearness find_forward(const struct config *config, const struct private_zone *zone,
				  const struct question *question)
{
	enum nearness nearness = NOBODY;

	for (size_t i = 0; i < config->forward_count; i++) {
		const struct config_forward *forward = &config->forward[i];

		if (forward->domain_length < zone->name_length)
			continue;
		if (name_is_in(question->folded, question->name_length, forward->domain,
			       forward->domain_length))
			return AT_OR_ABOVE;
		if (name_is_in(forward->domain, forward->domain_length, question->folded,
			       question->name_length))
			nearness = BELOW;
	}
	return nearness;
}

/* Names of parts of an address, under which Nomad's instances may have a name (`reverse`). */
static bool may_have_names_below(const struct config *config, const struct question *question)
{
	bool is_4 = name_is_in(question->folded, question->name_length, IN_ADDR_ARPA,
			       sizeof(IN_ADDR_ARPA));

	return config->reverse &&
	       name_count_labels(question->folded) < (is_4 ? LABELS_OF_ADDR4 : LABELS_OF_ADDR6);
}

enum verdict private_zones_ask(const struct private_zones *zones, const struct config *config,
			       const struct question *question, struct answer *out)
{
	const struct private_zone *zone;
	enum nearness forward;
	bool is_top;

	if (!name_is_in(question->folded, question->name_length, IN_ADDR_ARPA,
			sizeof(IN_ADDR_ARPA)) &&
	    !name_is_in(question->folded, question->name_length, IP6_ARPA, sizeof(IP6_ARPA)))
		return VERDICT_PASS;
	zone = find_zone(zones, question);
	if (!zone)
		return VERDICT_PASS;
	forward = find_forward(config, zone, question);
	if (forward == AT_OR_ABOVE)
		return VERDICT_PASS;
	is_top = question->name_length == zone->name_length;
	answer_init(out);
	out->is_authoritative = true;
	/* RFC 8020: an NXDOMAIN would deny what is below as well */
	out->rcode = is_top || forward == BELOW || may_have_names_below(config, question)
			     ? DNS_NOERROR
			     : DNS_NXDOMAIN;
	out->soa_is_answer = is_top && question->type == DNS_TYPE_SOA;
	out->soa = (struct answer_soa){ .rr = zone->soa,
					.length = zone->soa_length,
					.ttl_offset = (uint16_t)(zone->name_length + 4u),
					.serial_offset = zone->serial_at,
					.serial = 1 };
	return VERDICT_ANSWERED;
}
