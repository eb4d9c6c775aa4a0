#include "verbs/lookup_words.h"

#include <errno.h>
#include <stddef.h>
#include <strings.h>

#include "base/bytes.h"
#include "base/str.h"
#include "dns/dns.h"

struct word {
	uint16_t number;
	const char *name;
	const char *meaning;
};

/* Types that can be asked for by name; how their data is shown is lookup_reply.c's business. */
static const struct word types[] = {
	{ DNS_TYPE_A, "A", NULL },
	{ DNS_TYPE_NS, "NS", NULL },
	{ DNS_TYPE_CNAME, "CNAME", NULL },
	{ DNS_TYPE_SOA, "SOA", NULL },
	{ DNS_TYPE_PTR, "PTR", NULL },
	{ DNS_TYPE_HINFO, "HINFO", NULL },
	{ 15, "MX", NULL },
	{ DNS_TYPE_TXT, "TXT", NULL },
	{ DNS_TYPE_AAAA, "AAAA", NULL },
	{ DNS_TYPE_SRV, "SRV", NULL },
	{ 35, "NAPTR", NULL },
	{ DNS_TYPE_DNAME, "DNAME", NULL },
	{ DNS_TYPE_OPT, "OPT", NULL },
	{ 43, "DS", NULL },
	{ 44, "SSHFP", NULL },
	{ DNS_TYPE_RRSIG, "RRSIG", NULL },
	{ 47, "NSEC", NULL },
	{ 48, "DNSKEY", NULL },
	{ 50, "NSEC3", NULL },
	{ 52, "TLSA", NULL },
	{ 64, "SVCB", NULL },
	{ 65, "HTTPS", NULL },
	{ DNS_TYPE_TSIG, "TSIG", NULL },
	{ DNS_TYPE_IXFR, "IXFR", NULL },
	{ DNS_TYPE_AXFR, "AXFR", NULL },
	{ DNS_TYPE_ANY, "ANY", NULL },
	{ 257, "CAA", NULL },
};

static const struct word rcodes[] = {
	{ DNS_NOERROR, "NOERROR", "the name exists" },
	{ DNS_FORMERR, "FORMERR", "the server could not read the question" },
	{ DNS_SERVFAIL, "SERVFAIL",
	  "the server could not find out: this says nothing about whether the name exists" },
	{ DNS_NXDOMAIN, "NXDOMAIN", "there is no such name" },
	{ DNS_NOTIMP, "NOTIMP", "the server does not do this kind of request" },
	{ DNS_REFUSED, "REFUSED",
	  "the server does not answer this, or not to this address (options allow and forward)" },
	{ 6, "YXDOMAIN", "a name exists that should not" },
	{ 7, "YXRRSET", "records exist that should not" },
	{ 8, "NXRRSET", "records do not exist that should" },
	{ 9, "NOTAUTH", "the server is not responsible for the name" },
	{ 10, "NOTZONE", "the name is not in the zone" },
	{ DNS_BADVERS, "BADVERS", "the server does not know this version of EDNS" },
	{ 23, "BADCOOKIE", "the server wants its cookie back first" },
};

static const struct word extended_errors[] = {
	{ DNS_EDE_OTHER, "Other Error", "see the text" },
	{ 1, "Unsupported DNSKEY Algorithm", "the answer cannot be validated" },
	{ 2, "Unsupported DS Digest Type", "the answer cannot be validated" },
	{ DNS_EDE_STALE_ANSWER, "Stale Answer",
	  "the source cannot be reached now; this is the last answer it gave" },
	{ 4, "Forged Answer", "a resolver on the way replaced the answer by policy" },
	{ 5, "DNSSEC Indeterminate", "the answer could not be validated" },
	{ 6, "DNSSEC Bogus", "the answer failed validation" },
	{ 7, "Signature Expired", "the answer failed validation" },
	{ 8, "Signature Not Yet Valid", "the answer failed validation" },
	{ 9, "DNSKEY Missing", "the answer failed validation" },
	{ 10, "RRSIGs Missing", "the answer failed validation" },
	{ 11, "No Zone Key Bit Set", "the answer failed validation" },
	{ 12, "NSEC Missing", "the answer failed validation" },
	{ DNS_EDE_CACHED_ERROR, "Cached Error",
	  "it failed a moment ago and was not tried again yet; ask again in a few seconds" },
	{ DNS_EDE_NOT_READY, "Not Ready",
	  "the server has not heard from Nomad since it started; ask again in a moment" },
	{ 15, "Blocked", "the server's operator blocks this name" },
	{ 16, "Censored", "the server has to block this name" },
	{ 17, "Filtered", "this client's own wish blocks this name" },
	{ DNS_EDE_PROHIBITED, "Prohibited", "this address may not ask here (option allow)" },
	{ DNS_EDE_STALE_NXDOMAIN, "Stale NXDOMAIN Answer",
	  "the source cannot be reached now; when it last could, there was no such name" },
	{ 20, "Not Authoritative", "the server is not responsible for the name" },
	{ 21, "Not Supported", "the server does not do this kind of request" },
	{ DNS_EDE_NO_REACHABLE_AUTHORITY, "No Reachable Authority",
	  "who knows the answer, Nomad or the resolvers upstream, cannot be reached" },
	{ DNS_EDE_NETWORK_ERROR, "Network Error", "the network failed on the way upstream" },
	{ 24, "Invalid Data", "the source answered, but with data that makes no sense" },
};

static const struct word *find_word(const struct word *words, size_t count, uint16_t number)
{
	for (size_t i = 0; i < count; i++)
		if (words[i].number == number)
			return &words[i];
	return NULL;
}

int lookup_words_parse_type(const char *text)
{
	static const char generic[] = "TYPE";
	size_t prefix_length = sizeof(generic) - 1;
	uint64_t number;

	for (size_t i = 0; i < COUNT_OF(types); i++)
		if (strcasecmp(types[i].name, text) == 0)
			return types[i].number;
	if (strncasecmp(text, generic, prefix_length) == 0 &&
	    str_parse_uint(text + prefix_length, 1, UINT16_MAX, &number) == 0)
		return (int)number;
	return -EINVAL;
}

static void format_word(const struct word *words, size_t count, uint16_t number,
			const char *generic, char out[LOOKUP_WORDS_MAX])
{
	const struct word *word = find_word(words, count, number);

	if (word)
		str_format(out, LOOKUP_WORDS_MAX, "%s", word->name);
	else
		str_format(out, LOOKUP_WORDS_MAX, "%s%u", generic, number);
}

void lookup_words_format_type(uint16_t type, char out[LOOKUP_WORDS_MAX])
{
	format_word(types, COUNT_OF(types), type, "TYPE", out);
}

void lookup_words_format_rcode(uint16_t rcode, char out[LOOKUP_WORDS_MAX])
{
	format_word(rcodes, COUNT_OF(rcodes), rcode, "RCODE", out);
}

const char *lookup_words_rcode_meaning(uint16_t rcode)
{
	const struct word *word = find_word(rcodes, COUNT_OF(rcodes), rcode);

	return word ? word->meaning : "the server failed in a way this program has no word for";
}

const char *lookup_words_ede_name(uint16_t code)
{
	const struct word *word = find_word(extended_errors, COUNT_OF(extended_errors), code);

	return word ? word->name : "Unassigned";
}

const char *lookup_words_ede_meaning(uint16_t code)
{
	const struct word *word = find_word(extended_errors, COUNT_OF(extended_errors), code);

	return word ? word->meaning : "this program has no word for it";
}
