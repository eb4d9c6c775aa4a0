#include "query/query_log.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/metrics.h"
#include "dns/name.h"

struct number_name {
	uint16_t number;
	const char *name;
};

static const struct number_name TYPES[] = {
	{ DNS_TYPE_A, "A" },
	{ DNS_TYPE_NS, "NS" },
	{ DNS_TYPE_CNAME, "CNAME" },
	{ DNS_TYPE_SOA, "SOA" },
	{ DNS_TYPE_PTR, "PTR" },
	{ DNS_TYPE_HINFO, "HINFO" },
	{ DNS_TYPE_TXT, "TXT" },
	{ DNS_TYPE_AAAA, "AAAA" },
	{ DNS_TYPE_SRV, "SRV" },
	{ 15, "MX" },
	{ 43, "DS" },
	{ 48, "DNSKEY" },
	{ 64, "SVCB" },
	{ 65, "HTTPS" },
	{ DNS_TYPE_ANY, "ANY" },
	{ DNS_TYPE_AXFR, "AXFR" },
	{ DNS_TYPE_IXFR, "IXFR" },
};

static const struct number_name RCODES[] = {
	{ DNS_NOERROR, "NOERROR" },   { DNS_FORMERR, "FORMERR" }, { DNS_SERVFAIL, "SERVFAIL" },
	{ DNS_NXDOMAIN, "NXDOMAIN" }, { DNS_NOTIMP, "NOTIMP" },	  { DNS_REFUSED, "REFUSED" },
	{ DNS_BADVERS, "BADVERS" },
};

/* The name of a number, or `prefix` and the number (RFC 3597 §5). */
static const char *name_of(const struct number_name *table, size_t count, uint16_t number,
			   const char *prefix, char out[16])
{
	for (size_t i = 0; i < count; i++) {
		if (table[i].number == number)
			return table[i].name;
	}
	snprintf(out, 16, "%s%u", prefix, number);
	return out;
}

static void format_flags(uint16_t flags, char out[32])
{
	static const struct number_name names[] = {
		{ DNS_FLAG_QR, "qr" }, { DNS_FLAG_AA, "aa" }, { DNS_FLAG_TC, "tc" },
		{ DNS_FLAG_RD, "rd" }, { DNS_FLAG_RA, "ra" }, { DNS_FLAG_AD, "ad" },
		{ DNS_FLAG_CD, "cd" },
	};
	size_t at = 0;

	out[0] = '\0';
	for (size_t i = 0; i < COUNT_OF(names); i++) {
		if (flags & names[i].number)
			at += (size_t)snprintf(out + at, 32 - at, "%s%s", at ? "," : "",
					       names[i].name);
	}
}

static bool is_wanted(enum config_log_queries which, const struct answer *answer)
{
	switch (which) {
	case CONFIG_LOG_QUERIES_OFF:
		return false;
	case CONFIG_LOG_QUERIES_ALL:
		return true;
	case CONFIG_LOG_QUERIES_ERRORS:
		return answer->rcode != DNS_NOERROR && answer->rcode != DNS_NXDOMAIN;
	case CONFIG_LOG_QUERIES_NOMAD:
		return answer->stage == METRIC_STAGE_NOMAD;
	}
	return false;
}

void query_log_write(enum config_log_queries which, const struct query *query,
		     const struct answer *answer, uint16_t reply_flags, size_t reply_bytes,
		     uint64_t now_us)
{
	const struct question *question = &query->question;
	char peer[ADDR_TEXT_MAX], name[NAME_TEXT_MAX], flags[32], type[16], rcode[16], qclass[16];
	static const struct number_name classes[] = { { DNS_CLASS_IN, "IN" },
						      { DNS_CLASS_CH, "CH" } };

	if (query->client.source == QUERY_INSIDE || !is_wanted(which, answer))
		return;
	addr_format(&query->client.peer, peer);
	name_format(question->name, name);
	format_flags(reply_flags, flags);
	log_info("query", "%s - %u \"%s %s %s. %s %zu %s %u\" %s %s %zu %.6fs", peer, question->id,
		 name_of(TYPES, COUNT_OF(TYPES), question->type, "TYPE", type),
		 name_of(classes, COUNT_OF(classes), question->qclass, "CLASS", qclass),
		 strcmp(name, ".") == 0 ? "" : name,
		 query->client.source == QUERY_TCP ? "tcp" : "udp", question_end(question),
		 question->has_do ? "true" : "false", question->udp_limit,
		 name_of(RCODES, COUNT_OF(RCODES), answer->rcode, "RCODE", rcode), flags,
		 reply_bytes, (double)(now_us - query->arrived_us) / 1e6);
}
