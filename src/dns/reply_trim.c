/*
 * Who sends a reply may put into it what he likes; whoever is behind us may believe it. So only
 * what belongs to the question is kept (RFC 2181 §5.4.1, RFC 5452 §6):
 *
 *   ANSWER      records of the name that was asked for and of those its aliases lead to, each once
 *   AUTHORITY   SOA, NS and DS of zones that hold one of these names, and the proofs of a signed
 *               such zone (RFC 4035 §3.1.3)
 *   ADDITIONAL  addresses of these names, and of the hosts that kept records name; their signatures
 *
 * None of them when it is about a name that only we know. What is bounded here is bounded so that a
 * hostile packet costs no more than a large one.
 */
#include <string.h>

#include "base/bytes.h"
#include "dns/name.h"
#include "dns/reply_parts.h"

#define KIN_MAX (REPLY_CHAIN_MAX + 1)
#define ZONES_MAX 8    /* signed ones that say something; with aliases, one for each hop */
#define HOSTS_MAX 256  /* further ones lose their addresses; the client asks for them */
#define LOOKS_MAX 8192 /* comparisons of hosts' names with equal hashes */
#define TWINS_APART_MAX 16
/* Further records of these sections are dropped: no zone has so many servers, no answer so many
 * addresses beside it. */
#define AUTHORITY_MAX 256
#define ADDITIONAL_MAX 1024
#define STRANGERS_MAX 64 /* in ANSWER; what stands behind so many is not looked at */

struct names { /* folded */
	uint8_t name[KIN_MAX][DNS_NAME_MAX];
	size_t length[KIN_MAX];
	unsigned count;
};

#define OWNERS 256 /* of which is remembered whether they are kin */

struct trim {
	struct reply_scan *scan;
	uint8_t has_owner[OWNERS / 8]; /* a bit for each of … */
	struct {
		uint16_t label_at; /* of the name's first label */
		bool is_kin;
	} owner[OWNERS];
	struct names kin; /* the names a question leads to: its own and those of its aliases */
	size_t kin_at[KIN_MAX]; /* where they stand */
	bool is_kin_ours[KIN_MAX];
	unsigned stranger_count;
	struct names zones; /* that hold one of them, and say so by an SOA or a signature */
	unsigned host_count, looks;
	struct {
		uint32_t hash;
		uint32_t at;
	} host[HOSTS_MAX]; /* names that kept records point to */
	unsigned twin_count;
	struct wire_rr twin[TWINS_APART_MAX]; /* the last of ANSWER that were kept, in a ring */
};

bool reply_next(const struct reply_scan *scan, struct reply_cursor *cursor, struct wire_rr *out)
{
	if (!cursor->has_begun)
		cursor->next_at = scan->from;
	else
		cursor->index++;
	cursor->has_begun = true;
	while (cursor->section < REPLY_SECTIONS &&
	       cursor->in_section == scan->counts[cursor->section]) {
		cursor->section++;
		cursor->in_section = 0;
	}
	if (cursor->section == REPLY_SECTIONS)
		return false;
	wire_read_rr(&scan->wire, cursor->next_at, out);
	cursor->next_at = out->end;
	cursor->in_section++;
	return true;
}

static bool holds(const struct names *names, const uint8_t *name, size_t length)
{
	for (unsigned i = 0; i < names->count; i++) {
		if (names->length[i] == length && memcmp(names->name[i], name, length) == 0)
			return true;
	}
	return false;
}

static void add(struct names *names, const uint8_t *name, size_t length, unsigned max)
{
	if (names->count == max || holds(names, name, length))
		return;
	memcpy(names->name[names->count], name, length);
	names->length[names->count++] = length;
}

/* Whether one of the names is `zone` or below it. */
static bool is_above(const struct names *names, const uint8_t *zone, size_t length)
{
	for (unsigned i = 0; i < names->count; i++) {
		if (name_is_in(names->name[i], names->length[i], zone, length))
			return true;
	}
	return false;
}

/* Whether `name` is in one of the zones. */
static bool is_below(const struct names *zones, const uint8_t *name, size_t length)
{
	for (unsigned i = 0; i < zones->count; i++) {
		if (name_is_in(name, length, zones->name[i], zones->length[i]))
			return true;
	}
	return false;
}

/* Whether a name is one that only we know. */
static bool is_ours(const struct trim *trim, const uint8_t *name, size_t length)
{
	const struct reply_expect *expect = trim->scan->expect;

	return expect->is_ours && expect->is_ours(expect->is_ours_arg, name, length);
}

struct alias {
	size_t owner_at, target_at;
};

/* The aliases of ANSWER, in any order. How many. */
static unsigned find_aliases(const struct trim *trim, struct alias out[REPLY_CNAMES_MAX])
{
	struct reply_cursor cursor = { 0 };
	unsigned count = 0;
	struct wire_rr rr;

	if (trim->scan->cname_count == 0)
		return 0;
	while (reply_next(trim->scan, &cursor, &rr) && cursor.section == REPLY_ANSWER) {
		if (rr.type == DNS_TYPE_CNAME)
			out[count++] = (struct alias){ rr.at, rr.rdata_at };
	}
	return count;
}

static void add_kin(struct trim *trim, size_t at)
{
	uint8_t name[DNS_NAME_MAX];
	size_t length = wire_expand_name(&trim->scan->wire, at, name);
	unsigned count = trim->kin.count;

	if (holds(&trim->kin, name, length))
		return;
	if (count == KIN_MAX) {
		trim->scan->is_cut = true;
		return;
	}
	trim->kin_at[count] = at;
	trim->is_kin_ours[count] = is_ours(trim, name, length);
	add(&trim->kin, name, length, KIN_MAX);
}

/* Follows the aliases from the name that was asked for to their end. */
static void gather_kin(struct trim *trim)
{
	struct alias alias[REPLY_CNAMES_MAX];
	unsigned count = find_aliases(trim, alias);

	add_kin(trim, DNS_HEADER_BYTES);
	for (unsigned at = 0; at < trim->kin.count; at++) {
		for (unsigned i = 0; i < count && !trim->is_kin_ours[at]; i++) {
			if (wire_is_same_name(&trim->scan->wire, alias[i].owner_at,
					      trim->kin_at[at]))
				add_kin(trim, alias[i].target_at);
		}
	}
}

/* An alias is the answer itself to who asks for it or for all there is. */
static size_t find_end(const struct trim *trim)
{
	uint16_t type = trim->scan->expect->type;
	bool is_answer = type == DNS_TYPE_CNAME || type == DNS_TYPE_ANY;

	return trim->kin_at[is_answer ? 0 : trim->kin.count - 1];
}

/* Whether the owner is one of the names that the question leads to, and not one of ours. */
static bool is_kin(struct trim *trim, size_t owner_at)
{
	const struct wire *wire = &trim->scan->wire;
	size_t label_at = wire_follow(wire, owner_at), place = label_at % OWNERS;
	bool found = false;

	if ((trim->has_owner[place / 8] >> place % 8 & 1) &&
	    trim->owner[place].label_at == label_at)
		return trim->owner[place].is_kin;
	for (unsigned i = 0; i < trim->kin.count && !found; i++)
		found = !trim->is_kin_ours[i] && wire_is_same_name(wire, label_at, trim->kin_at[i]);
	trim->has_owner[place / 8] |= (uint8_t)(1 << place % 8);
	trim->owner[place].label_at = (uint16_t)label_at;
	trim->owner[place].is_kin = found;
	return found;
}

static uint16_t type_covered(const struct trim *trim, const struct wire_rr *rr)
{
	return load_be16(trim->scan->wire.packet + rr->rdata_at);
}

static bool is_same_record(const struct trim *trim, const struct wire_rr *a,
			   const struct wire_rr *b)
{
	const uint8_t *packet = trim->scan->wire.packet;
	size_t bytes = a->end - a->rdata_at;

	if (a->type != b->type || a->ttl_s != b->ttl_s || b->end - b->rdata_at != bytes ||
	    memcmp(packet + a->rdata_at, packet + b->rdata_at, bytes) != 0)
		return false;
	return wire_is_same_name(&trim->scan->wire, a->at, b->at);
}

/* RFC 2181 §5: no record twice. They stand close together where they do. */
static bool is_twin(struct trim *trim, const struct wire_rr *rr)
{
	unsigned known = trim->twin_count < TWINS_APART_MAX ? trim->twin_count : TWINS_APART_MAX;

	for (unsigned i = 0; i < known; i++) {
		if (is_same_record(trim, &trim->twin[i], rr))
			return true;
	}
	trim->twin[trim->twin_count++ % TWINS_APART_MAX] = *rr;
	return false;
}

/* A DNAME stands above the names it moves (RFC 6672). */
static bool is_dname_of_kin(const struct trim *trim, const struct wire_rr *rr)
{
	uint8_t owner[DNS_NAME_MAX];
	size_t length;

	if (rr->type != DNS_TYPE_DNAME && rr->type != DNS_TYPE_RRSIG)
		return false;
	length = wire_expand_name(&trim->scan->wire, rr->at, owner);
	return is_above(&trim->kin, owner, length) && !is_ours(trim, owner, length);
}

static bool belongs_to_answer(struct trim *trim, const struct wire_rr *rr)
{
	return (is_kin(trim, rr->at) || is_dname_of_kin(trim, rr)) && !is_twin(trim, rr);
}

static bool is_of_a_zone(uint16_t type)
{
	return type == DNS_TYPE_SOA || type == DNS_TYPE_NS || type == DNS_TYPE_DS;
}

static bool is_proof(uint16_t type)
{
	return type == DNS_TYPE_NSEC || type == DNS_TYPE_NSEC3;
}

/* A signature by a zone that holds one of the names, on what is its own. */
static bool is_signature_of_kin(const struct trim *trim, const struct wire_rr *rr,
				const uint8_t *owner, size_t length, uint8_t out_signer[],
				size_t *out_length)
{
	size_t names_at[2];

	wire_find_names(&trim->scan->wire, rr, names_at);
	*out_length = wire_expand_name(&trim->scan->wire, names_at[0], out_signer);
	return is_above(&trim->kin, out_signer, *out_length) &&
	       name_is_in(owner, length, out_signer, *out_length);
}

static bool belongs_to_authority(const struct trim *trim, const struct wire_rr *rr,
				 const uint8_t *owner, size_t length)
{
	uint8_t signer[DNS_NAME_MAX];
	size_t signer_length;
	uint16_t covered;

	if (is_of_a_zone(rr->type))
		return is_above(&trim->kin, owner, length);
	if (is_proof(rr->type))
		return is_below(&trim->zones, owner, length);
	if (rr->type != DNS_TYPE_RRSIG)
		return false;
	covered = type_covered(trim, rr);
	if (!is_proof(covered) && !(is_of_a_zone(covered) && is_above(&trim->kin, owner, length)))
		return false;
	return is_signature_of_kin(trim, rr, owner, length, signer, &signer_length);
}

/* The zones whose proofs are of use. */
static void gather_zones(struct trim *trim)
{
	struct reply_cursor cursor = { 0 };
	uint8_t owner[DNS_NAME_MAX], signer[DNS_NAME_MAX];
	size_t length, signer_length;
	struct wire_rr rr;

	if (trim->scan->counts[REPLY_AUTHORITY] == 0)
		return;
	while (reply_next(trim->scan, &cursor, &rr) && cursor.section <= REPLY_AUTHORITY) {
		if (cursor.section != REPLY_AUTHORITY || cursor.in_section > AUTHORITY_MAX ||
		    (rr.type != DNS_TYPE_SOA && rr.type != DNS_TYPE_RRSIG))
			continue;
		length = wire_expand_name(&trim->scan->wire, rr.at, owner);
		if (is_ours(trim, owner, length) || !belongs_to_authority(trim, &rr, owner, length))
			continue;
		if (rr.type == DNS_TYPE_SOA) {
			add(&trim->zones, owner, length, ZONES_MAX);
			continue;
		}
		if (is_signature_of_kin(trim, &rr, owner, length, signer, &signer_length))
			add(&trim->zones, signer, signer_length, ZONES_MAX);
	}
}

static uint32_t hash_name(const uint8_t *name, size_t length)
{
	uint32_t hash = 2166136261u; /* FNV-1a: whoever makes them collide runs into LOOKS_MAX */

	for (size_t i = 0; i < length; i++)
		hash = (hash ^ name[i]) * 16777619u;
	return hash;
}

static bool points_to_host(uint16_t type)
{
	return type == DNS_TYPE_NS || type == DNS_TYPE_MX || type == DNS_TYPE_SRV ||
	       type == DNS_TYPE_SVCB || type == DNS_TYPE_HTTPS || type == DNS_TYPE_NAPTR ||
	       type == DNS_TYPE_KX || type == DNS_TYPE_AFSDB || type == DNS_TYPE_RT;
}

/* A record that is kept may name a host whose addresses are of use. */
static void note_host(struct trim *trim, const struct wire_rr *rr)
{
	uint8_t name[DNS_NAME_MAX];
	size_t names_at[2], length;

	if (!points_to_host(rr->type) || trim->host_count == HOSTS_MAX)
		return;
	wire_find_names(&trim->scan->wire, rr, names_at);
	length = wire_expand_name(&trim->scan->wire, names_at[0], name);
	trim->host[trim->host_count].at = (uint32_t)names_at[0];
	trim->host[trim->host_count++].hash = hash_name(name, length);
}

static bool is_host(struct trim *trim, const uint8_t *name, size_t length)
{
	uint32_t hash = hash_name(name, length);
	uint8_t host[DNS_NAME_MAX];

	for (unsigned i = 0; i < trim->host_count; i++) {
		if (trim->host[i].hash != hash)
			continue;
		if (trim->looks++ == LOOKS_MAX) {
			trim->host_count = 0;
			return false;
		}
		if (wire_expand_name(&trim->scan->wire, trim->host[i].at, host) == length &&
		    memcmp(host, name, length) == 0)
			return true;
	}
	return false;
}

static bool belongs_to_additional(struct trim *trim, const struct wire_rr *rr, const uint8_t *owner,
				  size_t length)
{
	uint16_t type = rr->type == DNS_TYPE_RRSIG ? type_covered(trim, rr) : rr->type;

	return (type == DNS_TYPE_A || type == DNS_TYPE_AAAA) &&
	       (holds(&trim->kin, owner, length) || is_host(trim, owner, length));
}

static bool belongs(struct trim *trim, const struct reply_cursor *cursor, const struct wire_rr *rr)
{
	uint8_t owner[DNS_NAME_MAX];
	size_t length;

	switch (cursor->section) {
	case REPLY_ANSWER:
		if (trim->stranger_count > STRANGERS_MAX)
			return false;
		if (belongs_to_answer(trim, rr))
			return true;
		trim->stranger_count += !is_kin(trim, rr->at);
		trim->scan->is_cut |= trim->stranger_count > STRANGERS_MAX;
		return false;
	case REPLY_AUTHORITY:
		if (cursor->in_section > AUTHORITY_MAX)
			return false;
		length = wire_expand_name(&trim->scan->wire, rr->at, owner);
		return !is_ours(trim, owner, length) &&
		       belongs_to_authority(trim, rr, owner, length);
	case REPLY_ADDITIONAL:
		if (cursor->in_section > ADDITIONAL_MAX)
			return false;
		length = wire_expand_name(&trim->scan->wire, rr->at, owner);
		return !is_ours(trim, owner, length) &&
		       belongs_to_additional(trim, rr, owner, length);
	case REPLY_SECTIONS:
		return false;
	}
	return false;
}

size_t reply_echo_length(const struct reply_scan *scan, size_t at)
{
	const uint8_t *asked = scan->wire.packet + DNS_HEADER_BYTES;
	uint8_t owner[DNS_NAME_MAX], folded[DNS_NAME_MAX];
	size_t length = wire_spell_name(&scan->wire, at, owner);
	size_t left = scan->expect->name_length;

	if (length == 1)
		return 0;
	while (left > length) {
		left -= (size_t)*asked + 1;
		asked += (size_t)*asked + 1;
	}
	if (left != length)
		return 0;
	if (left < scan->expect->name_length) {
		name_fold(owner, length, folded);
		return memcmp(owner, asked, length) == 0 && memcmp(owner, folded, length) != 0
			       ? length
			       : 0;
	}
	return name_is_same(owner, asked, length) ? length : 0;
}

static void keep(struct reply_scan *scan, const struct reply_cursor *cursor,
		 const struct wire_rr *rr)
{
	scan->is_ragged |= scan->kept_end != rr->at;
	/* A pointer leads to the question as a rule: then it comes back as it is. */
	if (scan->wire.packet[rr->at] <= DNS_LABEL_MAX && reply_echo_length(scan, rr->at))
		scan->is_ragged = true;
	scan->kept[cursor->index / 8] |= (uint8_t)(1 << cursor->index % 8);
	scan->kept_counts[cursor->section]++;
	scan->kept_end = rr->end;
}

void reply_trim(struct reply_scan *scan)
{
	struct trim trim;
	struct reply_cursor cursor = { 0 };
	struct wire_rr rr;

	trim.scan = scan;
	trim.kin.count = trim.zones.count = trim.host_count = trim.looks = trim.twin_count = 0;
	trim.stranger_count = 0;
	scan->kept_end = scan->from;
	if (scan->from == DNS_HEADER_BYTES) /* a header and nothing else */
		return;
	memset(trim.has_owner, 0, sizeof(trim.has_owner));
	gather_kin(&trim);
	scan->end_at = find_end(&trim);
	gather_zones(&trim);
	while (reply_next(scan, &cursor, &rr)) {
		if (rr.type == DNS_TYPE_OPT || !belongs(&trim, &cursor, &rr))
			continue;
		keep(scan, &cursor, &rr);
		if (cursor.section != REPLY_ADDITIONAL)
			note_host(&trim, &rr);
	}
}
