/*
 * Two walks over the packet: the first checks every byte that a later reader will trust, the second
 * fills the image, whose size is known by then. Nothing is allocated by what a header claims.
 */
#include "dns/reply.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "dns/dns.h"
#include "dns/name.h"
#include "dns/wire.h"

#define RR_MIN_BYTES (1 + DNS_RR_FIXED_BYTES) /* root owner, no RDATA */
#define OPT_BYTES RR_MIN_BYTES
#define EDNS_DO 0x8000
#define EDE_TEXT_MAX 120    /* a sentence; more is cut */
#define TTL_MAX 0x7fffffffu /* RFC 2181 §8: anything above counts as 0 */
#define KIN_MAX 16
#define CHAIN_WALKS_MAX 8   /* a CNAME chain in order needs one; a shuffled one a few */
#define TYPE_META_FIRST 249 /* TKEY; up to 255 no records of data (RFC 6895 §3.1) */

enum section { ANSWER, AUTHORITY, ADDITIONAL, SECTIONS };

struct scan {
	struct wire wire;
	uint16_t counts[SECTIONS]; /* as the header claims, then as kept */
	uint32_t kept_count;
	size_t kept_end; /* behind the last record that is kept */
	bool is_cut; /* an OPT, a TSIG or a name of ours was met: it and what follows is dropped */
	bool has_opt;
	uint16_t upper_rcode; /* bits 4–11 */
	uint16_t ede;
	size_t ede_text_at, ede_text_length;
};

/* RFC 8914 §2: a code and perhaps some text, which may or may not end in a NUL. */
static void take_ede(struct scan *scan, size_t at, size_t length)
{
	const char *text = (const char *)scan->wire.packet + at + 2;

	scan->ede = load_be16(scan->wire.packet + at);
	scan->ede_text_at = at + 2;
	scan->ede_text_length = strnlen(text, min_size(length - 2, EDE_TEXT_MAX));
}

/* RFC 6891 §6.1.2: options fill the RDATA exactly. */
static bool parse_opt(struct scan *scan, const struct wire_rr *rr)
{
	size_t at = rr->rdata_at;

	if (scan->has_opt || scan->wire.packet[rr->at] != 0)
		return false;
	scan->has_opt = true;
	scan->upper_rcode = (uint16_t)(rr->ttl_s >> 24);
	while (at < rr->end) {
		size_t option_length;

		if (rr->end - at < 4)
			return false;
		option_length = load_be16(scan->wire.packet + at + 2);
		if (rr->end - at - 4 < option_length)
			return false;
		if (load_be16(scan->wire.packet + at) == DNS_OPTION_EDE) {
			if (option_length < 2)
				return false;
			if (scan->ede == DNS_EDE_NONE)
				take_ede(scan, at + 4, option_length);
		}
		at += 4 + option_length;
	}
	return true;
}

/* Whether a record claims something of a name that only we know. */
static bool is_of_ours(const struct scan *scan, const struct wire_rr *rr,
		       const struct reply_expect *expect)
{
	uint8_t owner[DNS_NAME_MAX];

	return expect->is_ours && expect->is_ours(expect->is_ours_arg, owner,
						  wire_expand_name(&scan->wire, rr->at, owner));
}

/* Whether a record may stand where it stands; takes notice of what ends the image. */
static bool accept_rr(struct scan *scan, const struct wire_rr *rr, enum section section,
		      const struct reply_expect *expect)
{
	if (rr->type == DNS_TYPE_OPT) {
		scan->is_cut = true;
		return section == ADDITIONAL && parse_opt(scan, rr);
	}
	if (rr->type == DNS_TYPE_TSIG || rr->type == TYPE_META_FIRST) {
		scan->is_cut = true;
		return section == ADDITIONAL;
	}
	if (rr->type == 0 || (rr->type > TYPE_META_FIRST && rr->type <= DNS_TYPE_ANY))
		return false;
	if (rr->class != expect->qclass && expect->qclass != DNS_CLASS_ANY)
		return false;
	if (!wire_check_rdata(&scan->wire, rr))
		return false;
	scan->is_cut |= is_of_ours(scan, rr, expect);
	return true;
}

/* Checks all sections up to the packet's last byte; leaves in `scan` what is kept. */
static bool check_sections(struct scan *scan, size_t at, const struct reply_expect *expect)
{
	size_t claimed =
		(size_t)scan->counts[ANSWER] + scan->counts[AUTHORITY] + scan->counts[ADDITIONAL];

	if (claimed * RR_MIN_BYTES > scan->wire.length - at)
		return false;
	scan->kept_end = at;
	for (enum section section = ANSWER; section < SECTIONS; section++) {
		uint16_t kept = 0;

		for (unsigned i = 0; i < scan->counts[section]; i++) {
			struct wire_rr rr;

			if (!wire_check_rr(&scan->wire, at, &rr) ||
			    !accept_rr(scan, &rr, section, expect))
				return false;
			at = rr.end;
			if (scan->is_cut)
				continue;
			scan->kept_end = at;
			kept++;
		}
		scan->counts[section] = kept;
		scan->kept_count += kept;
	}
	return at == scan->wire.length;
}

static bool is_same_name(const uint8_t *a, const uint8_t *b, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if (name_fold_byte(a[i]) != name_fold_byte(b[i]))
			return false;
	}
	return true;
}

/* RFC 5452 §9.1: id, QR, opcode and the whole question must be those that went out. OK, OTHER_CASE
 * or BAD. */
static enum reply_verdict judge_question(const uint8_t *packet, size_t length,
					 const struct reply_expect *expect)
{
	size_t end = (size_t)DNS_HEADER_BYTES + expect->name_length;
	unsigned flags;

	if (length < DNS_HEADER_BYTES)
		return REPLY_BAD;
	flags = load_be16(packet + 2);
	if (load_be16(packet) != expect->id || !(flags & DNS_FLAG_QR) || (flags & DNS_OPCODE_MASK))
		return REPLY_BAD;
	/* A server that knows no EDNS may refuse it by a bare header (RFC 6891 §7). */
	if (load_be16(packet + 4) == 0)
		return length == DNS_HEADER_BYTES && load_be32(packet + 6) == 0 &&
				       load_be16(packet + 10) == 0 && !(flags & DNS_FLAG_TC) &&
				       ((flags & DNS_RCODE_MASK) == DNS_FORMERR ||
					(flags & DNS_RCODE_MASK) == DNS_NOTIMP)
			       ? REPLY_OK
			       : REPLY_BAD;
	if (load_be16(packet + 4) != 1 || length < end + 4 ||
	    !is_same_name(packet + DNS_HEADER_BYTES, expect->name, expect->name_length) ||
	    load_be16(packet + end) != expect->type ||
	    load_be16(packet + end + 2) != expect->qclass)
		return REPLY_BAD;
	if (expect->match_case &&
	    memcmp(packet + DNS_HEADER_BYTES, expect->name, expect->name_length) != 0)
		return REPLY_OTHER_CASE;
	return REPLY_OK;
}

struct kin { /* the names a question leads to: its own and those of its aliases */
	uint8_t name[KIN_MAX][DNS_NAME_MAX];
	size_t length[KIN_MAX];
	unsigned count;
};

static bool is_kin(const struct kin *kin, const uint8_t *name, size_t length)
{
	for (unsigned i = 0; i < kin->count; i++) {
		if (kin->length[i] == length && memcmp(kin->name[i], name, length) == 0)
			return true;
	}
	return false;
}

/* A DNAME stands above the names it moves (RFC 6672). */
static bool is_above_kin(const struct kin *kin, const uint8_t *name, size_t length)
{
	for (unsigned i = 0; i < kin->count; i++) {
		if (name_is_in(kin->name[i], kin->length[i], name, length))
			return true;
	}
	return false;
}

/* One walk over ANSWER. Whether an alias was found that is new. */
static bool gather_kin(const struct scan *scan, size_t at, struct kin *kin)
{
	uint8_t name[DNS_NAME_MAX];
	bool has_grown = false;
	struct wire_rr rr;
	size_t length;

	for (unsigned i = 0; i < scan->counts[ANSWER] && kin->count < KIN_MAX; i++, at = rr.end) {
		wire_read_rr(&scan->wire, at, &rr);
		if (rr.type != DNS_TYPE_CNAME)
			continue;
		length = wire_expand_name(&scan->wire, at, name);
		if (!is_kin(kin, name, length))
			continue;
		length = wire_expand_name(&scan->wire, rr.rdata_at, name);
		if (is_kin(kin, name, length))
			continue;
		memcpy(kin->name[kin->count], name, length);
		kin->length[kin->count++] = length;
		has_grown = true;
	}
	return has_grown;
}

/* RFC 2181 §5.4.1: what stands in ANSWER about a name that was not asked for, directly or by an
 * alias, is a lie or a mistake; so may be what follows it. */
static void cut_unrelated(struct scan *scan, size_t from, const struct reply_expect *expect)
{
	struct kin kin = { .count = 1, .length = { expect->name_length } };
	uint8_t owner[DNS_NAME_MAX];
	size_t at = from, length;
	struct wire_rr rr;

	name_fold(expect->name, expect->name_length, kin.name[0]);
	for (unsigned i = 0; i < CHAIN_WALKS_MAX && gather_kin(scan, from, &kin); i++)
		;
	for (uint16_t i = 0; i < scan->counts[ANSWER]; i++, at = rr.end) {
		wire_read_rr(&scan->wire, at, &rr);
		length = wire_expand_name(&scan->wire, at, owner);
		if (is_kin(&kin, owner, length) ||
		    ((rr.type == DNS_TYPE_DNAME || rr.type == DNS_TYPE_RRSIG) &&
		     is_above_kin(&kin, owner, length)))
			continue;
		scan->counts[ANSWER] = i;
		scan->counts[AUTHORITY] = scan->counts[ADDITIONAL] = 0;
		scan->kept_count = i;
		scan->kept_end = at;
		return;
	}
}

/* The second walk. The packet is known to be sound. */
static struct image *build_image(const struct scan *scan, size_t from)
{
	size_t byte_count = scan->kept_end - from, at = from;
	size_t text_length = scan->ede_text_length;
	struct image *image =
		malloc(image_size(scan->kept_count, (uint32_t)byte_count) + text_length + 1);
	uint8_t *bytes;

	if (!image)
		return NULL;
	*image = (struct image){ .ede_text_length = (uint16_t)text_length,
				 .byte_count = (uint32_t)byte_count,
				 .rr_count = scan->kept_count,
				 .answer_count = scan->counts[ANSWER],
				 .authority_count = scan->counts[AUTHORITY],
				 .additional_count = scan->counts[ADDITIONAL],
				 .ede = scan->ede };
	bytes = (uint8_t *)(image->rr + image->rr_count);
	memcpy(bytes, scan->wire.packet + from, byte_count);
	memcpy(bytes + byte_count, scan->wire.packet + scan->ede_text_at, text_length);
	bytes[byte_count + text_length] = '\0';
	for (uint32_t i = 0; i < image->rr_count; i++) {
		struct wire_rr rr;

		wire_read_rr(&scan->wire, at, &rr);
		image->rr[i] = (struct image_rr){ .at = (uint32_t)(at - from),
						  .length = (uint16_t)(rr.end - at),
						  .ttl_offset = (uint16_t)(rr.fixed_at + 4 - at),
						  .address_rr = IMAGE_NO_RR };
		store_be32(bytes + (rr.fixed_at + 4 - from), rr.ttl_s);
		at = rr.end;
	}
	return image;
}

struct chain { /* where the CNAMEs of ANSWER lead */
	uint8_t name[DNS_NAME_MAX];
	size_t length;
	bool is_answered; /* a record of the type asked for stands at its end */
};

/* One walk over ANSWER. Whether the chain grew. Leaves in *out_end where ANSWER ends. */
static bool follow_chain(const struct scan *scan, size_t at, uint16_t type, struct chain *chain,
			 size_t *out_end)
{
	uint8_t owner[DNS_NAME_MAX];
	bool has_grown = false;
	struct wire_rr rr;

	for (unsigned i = 0; i < scan->counts[ANSWER]; i++, at = rr.end) {
		wire_read_rr(&scan->wire, at, &rr);
		if (rr.type != type && type != DNS_TYPE_ANY && rr.type != DNS_TYPE_CNAME)
			continue;
		if (wire_expand_name(&scan->wire, at, owner) != chain->length ||
		    memcmp(owner, chain->name, chain->length) != 0)
			continue;
		if (rr.type == type || type == DNS_TYPE_ANY) {
			chain->is_answered = true;
			continue;
		}
		chain->length = wire_expand_name(&scan->wire, rr.rdata_at, chain->name);
		has_grown = true;
	}
	*out_end = at;
	return has_grown;
}

/* RFC 2308 §3, §5: the SOA of a zone that holds `name` says how long its absence may be kept. */
static uint32_t find_negative_ttl(const struct scan *scan, size_t at, const struct chain *chain)
{
	uint8_t owner[DNS_NAME_MAX];
	size_t length;
	struct wire_rr rr;

	for (unsigned i = 0; i < scan->counts[AUTHORITY]; i++, at = rr.end) {
		uint32_t minimum_s;

		wire_read_rr(&scan->wire, at, &rr);
		if (rr.type != DNS_TYPE_SOA)
			continue;
		length = wire_expand_name(&scan->wire, at, owner);
		if (!name_is_in(chain->name, chain->length, owner, length))
			continue;
		minimum_s = load_be32(scan->wire.packet + rr.end - 4);
		return min_u32(rr.ttl_s, minimum_s > TTL_MAX ? 0 : minimum_s);
	}
	return 0;
}

static void judge_ttls(const struct scan *scan, size_t from, const struct reply_expect *expect,
		       struct reply *out)
{
	const struct image *image = out->image;
	struct chain chain = { .length = expect->name_length };
	size_t answer_end = from;

	name_fold(expect->name, expect->name_length, chain.name);
	for (unsigned i = 0; i < CHAIN_WALKS_MAX; i++) {
		if (!follow_chain(scan, from, expect->type, &chain, &answer_end))
			break;
	}
	for (uint32_t i = 0; i < image->answer_count; i++) {
		uint32_t ttl_s = load_be32(image_rr_bytes(image, i) + image->rr[i].ttl_offset);

		out->positive_ttl = i == 0 ? ttl_s : min_u32(out->positive_ttl, ttl_s);
	}
	out->is_negative =
		image->rcode == DNS_NXDOMAIN || (image->rcode == DNS_NOERROR && !chain.is_answered);
	if (out->is_negative)
		out->negative_ttl = find_negative_ttl(scan, answer_end, &chain);
}

enum reply_verdict reply_parse(const uint8_t *packet, size_t length,
			       const struct reply_expect *expect, struct reply *out)
{
	struct scan scan = { .wire = { .packet = packet, .length = length }, .ede = DNS_EDE_NONE };
	struct reply reply = { 0 };
	enum reply_verdict verdict;
	unsigned flags;
	size_t from;

	if (length > DNS_MESSAGE_MAX)
		return REPLY_BAD;
	verdict = judge_question(packet, length, expect);
	if (verdict != REPLY_OK)
		return verdict;
	flags = load_be16(packet + 2);
	if (flags & DNS_FLAG_TC)
		return REPLY_TRUNCATED;
	from = DNS_HEADER_BYTES;
	if (load_be16(packet + 4) == 1) {
		from = wire_check_name(&scan.wire, from, length);
		if (from == 0)
			return REPLY_BAD;
		from += 4;
	}
	for (unsigned i = 0; i < SECTIONS; i++)
		scan.counts[i] = load_be16(packet + 6 + i * 2);
	if (!check_sections(&scan, from, expect))
		return REPLY_BAD;
	cut_unrelated(&scan, from, expect);
	reply.image = build_image(&scan, from);
	if (!reply.image)
		return REPLY_NO_MEMORY;
	reply.image->flags = flags & DNS_FLAG_AD;
	reply.image->rcode = (uint16_t)((unsigned)scan.upper_rcode << 4 | (flags & DNS_RCODE_MASK));
	reply.has_edns = scan.has_opt;
	judge_ttls(&scan, from, expect, &reply);
	*out = reply;
	return REPLY_OK;
}

size_t reply_encode_query(uint16_t id, uint16_t flags, const uint8_t *name, size_t name_length,
			  uint16_t type, uint16_t qclass, bool with_edns, bool with_do,
			  uint8_t out[REPLY_QUERY_MAX])
{
	uint8_t *at = out + DNS_HEADER_BYTES;

	memset(out, 0, DNS_HEADER_BYTES);
	store_be16(out, id);
	store_be16(out + 2, (uint16_t)(DNS_FLAG_RD | (flags & (DNS_FLAG_CD | DNS_FLAG_AD))));
	store_be16(out + 4, 1);
	memcpy(at, name, name_length);
	at += name_length;
	store_be16(at, type);
	store_be16(at + 2, qclass);
	at += 4;
	if (!with_edns)
		return (size_t)(at - out);
	store_be16(out + 10, 1);
	memset(at, 0, OPT_BYTES);
	store_be16(at + 1, DNS_TYPE_OPT);
	store_be16(at + 3, DNS_UDP_EDNS_MAX);
	store_be16(at + 7, with_do ? EDNS_DO : 0);
	return (size_t)(at - out) + OPT_BYTES;
}
