/*
 * Every byte that a later reader will trust is checked first; then reply_trim says which records
 * are kept, and reply_image writes them. Nothing is allocated by what a header claims.
 */
#include "dns/reply.h"

#include <stddef.h>
#include <string.h>

#include "base/bytes.h"
#include "dns/dns.h"
#include "dns/name.h"
#include "dns/reply_parts.h"
#include "dns/wire.h"

#define OPT_BYTES REPLY_RR_MIN_BYTES
#define EDNS_DO 0x8000
#define EDE_TEXT_MAX 120    /* a sentence; more is cut */
#define TTL_MAX 0x7fffffffu /* RFC 2181 §8: anything above counts as 0 */
#define TYPE_META_FIRST 249 /* TKEY; up to 255 no records of data (RFC 6895 §3.1) */

/* RFC 8914 §2: a code and perhaps some text, which may or may not end in a NUL. */
static void take_ede(struct reply_scan *scan, size_t at, size_t length)
{
	const char *text = (const char *)scan->wire.packet + at + 2;

	scan->ede = load_be16(scan->wire.packet + at);
	scan->ede_text_at = at + 2;
	scan->ede_text_length = strnlen(text, min_size(length - 2, EDE_TEXT_MAX));
}

/* RFC 6891 §6.1.2: options fill the RDATA exactly. */
static bool parse_opt(struct reply_scan *scan, const struct wire_rr *rr)
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

/* Whether a record may stand where it stands. */
static bool accept_rr(struct reply_scan *scan, const struct wire_rr *rr, enum reply_section section)
{
	uint16_t qclass = scan->expect->qclass;

	if (rr->type == DNS_TYPE_CNAME && section == REPLY_ANSWER &&
	    ++scan->cname_count > REPLY_CNAMES_MAX)
		return false;
	if (rr->type == DNS_TYPE_OPT)
		return section == REPLY_ADDITIONAL && parse_opt(scan, rr);
	if (rr->type == DNS_TYPE_TSIG || rr->type == TYPE_META_FIRST)
		return section == REPLY_ADDITIONAL;
	if (rr->type == 0 || (rr->type > TYPE_META_FIRST && rr->type <= DNS_TYPE_ANY))
		return false;
	if (rr->class != qclass && qclass != DNS_CLASS_ANY)
		return false;
	return wire_check_rdata(&scan->wire, rr);
}

/* Checks all sections up to the packet's last byte. */
static bool check_sections(struct reply_scan *scan)
{
	size_t claimed = (size_t)scan->counts[REPLY_ANSWER] + scan->counts[REPLY_AUTHORITY] +
			 scan->counts[REPLY_ADDITIONAL];
	size_t at = scan->from;

	if (claimed * REPLY_RR_MIN_BYTES > scan->wire.length - at)
		return false;
	for (enum reply_section section = REPLY_ANSWER; section < REPLY_SECTIONS; section++) {
		for (unsigned i = 0; i < scan->counts[section]; i++) {
			struct wire_rr rr;

			if (!wire_check_rr(&scan->wire, at, &rr) || !accept_rr(scan, &rr, section))
				return false;
			at = rr.end;
		}
	}
	return at == scan->wire.length;
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
	    !name_is_same(packet + DNS_HEADER_BYTES, expect->name, expect->name_length) ||
	    load_be16(packet + end) != expect->type ||
	    load_be16(packet + end + 2) != expect->qclass)
		return REPLY_BAD;
	if (expect->match_case &&
	    memcmp(packet + DNS_HEADER_BYTES, expect->name, expect->name_length) != 0)
		return REPLY_OTHER_CASE;
	return REPLY_OK;
}

/* The next record that is kept and of that section. */
static bool next_kept(const struct reply_scan *scan, struct reply_cursor *cursor,
		      enum reply_section section, struct wire_rr *out)
{
	while (reply_next(scan, cursor, out) && cursor->section <= section) {
		if (cursor->section == section && reply_is_kept(scan, cursor->index))
			return true;
	}
	return false;
}

/* Whether a record of the type asked for stands at the end of the aliases. */
static bool is_answered(const struct reply_scan *scan)
{
	uint16_t type = scan->expect->type;
	struct reply_cursor cursor = { 0 };
	struct wire_rr rr;

	while (next_kept(scan, &cursor, REPLY_ANSWER, &rr)) {
		if ((rr.type == type || type == DNS_TYPE_ANY) &&
		    wire_is_same_name(&scan->wire, rr.at, scan->end_at))
			return true;
	}
	return false;
}

/* Records, and none of them of the type asked for or an alias: passed on it would read as "there is
 * none". */
static bool is_beside_the_question(const struct reply_scan *scan, const struct image *image)
{
	return image->rcode == DNS_NOERROR && scan->counts[REPLY_ANSWER] > 0 &&
	       scan->end_at == DNS_HEADER_BYTES && !is_answered(scan);
}

/* An alias and nothing behind it, not even that there is nothing: servers that know no more (RFC
 * 1034 §4.3.2) leave the rest to the resolver. The alias itself is as good as any record. */
static bool is_alias_alone(const struct reply_scan *scan, const struct image *image)
{
	return image->rcode == DNS_NOERROR && image->answer_count > 0 &&
	       image->answer_count == scan->counts[REPLY_ANSWER] &&
	       scan->counts[REPLY_AUTHORITY] == 0;
}

/* RFC 2308 §3, §5: the SOA of a zone that holds `name` says how long its absence may be kept. */
static uint32_t find_negative_ttl(const struct reply_scan *scan)
{
	struct reply_cursor cursor = { 0 };
	uint8_t owner[DNS_NAME_MAX], end[DNS_NAME_MAX];
	size_t end_length = 0, length;
	struct wire_rr rr;

	if (scan->counts[REPLY_AUTHORITY] > 0)
		end_length = wire_expand_name(&scan->wire, scan->end_at, end);
	while (next_kept(scan, &cursor, REPLY_AUTHORITY, &rr)) {
		uint32_t minimum_s;

		if (rr.type != DNS_TYPE_SOA)
			continue;
		length = wire_expand_name(&scan->wire, rr.at, owner);
		if (!name_is_in(end, end_length, owner, length))
			continue;
		minimum_s = load_be32(scan->wire.packet + rr.end - 4);
		return min_u32(rr.ttl_s, minimum_s > TTL_MAX ? 0 : minimum_s);
	}
	return 0;
}

/* Of records [from, to); UINT32_MAX: there are none. */
static uint32_t lowest_ttl(const struct image *image, uint32_t from, uint32_t to)
{
	uint32_t lowest_s = UINT32_MAX;

	for (uint32_t i = from; i < to; i++)
		lowest_s = min_u32(lowest_s,
				   load_be32(image_rr_bytes(image, i) + image->rr[i].ttl_offset));
	return lowest_s;
}

static void judge_ttls(const struct reply_scan *scan, struct reply *out)
{
	struct image *image = out->image;
	uint32_t answers = image->answer_count, required = answers + image->authority_count;
	uint32_t authority_ttl_s = lowest_ttl(image, answers, required);

	image->additional_ttl_s = lowest_ttl(image, required, image->rr_count);
	if (answers > 0)
		out->positive_ttl = min_u32(lowest_ttl(image, 0, answers), authority_ttl_s);
	out->is_negative =
		image->rcode == DNS_NXDOMAIN || (image->rcode == DNS_NOERROR && !is_answered(scan));
	if (out->is_negative)
		out->negative_ttl = is_alias_alone(scan, image)
					    ? out->positive_ttl
					    : min_u32(find_negative_ttl(scan), authority_ttl_s);
}

/* Whether it only says who may know: no answer, and no word that there is none (RFC 2308 §2.2). */
static bool is_referral(const struct reply_scan *scan, const struct image *image, unsigned flags)
{
	struct reply_cursor cursor = { 0 };
	bool has_ns = false;
	struct wire_rr rr;

	if ((flags & (DNS_FLAG_AA | DNS_FLAG_RA)) || image->rcode != DNS_NOERROR ||
	    scan->counts[REPLY_ANSWER] > 0)
		return false;
	while (reply_next(scan, &cursor, &rr) && cursor.section <= REPLY_AUTHORITY) {
		if (rr.type == DNS_TYPE_SOA)
			return false;
		has_ns |= rr.type == DNS_TYPE_NS;
	}
	return has_ns;
}

/* Most of a scan are bits about a large message: for a small one few of them are cleared. */
static void begin(struct reply_scan *scan, const uint8_t *packet, size_t length,
		  const struct reply_expect *expect)
{
	memset(scan, 0, offsetof(struct reply_scan, kept));
	memset(scan->kept, 0, length / REPLY_RR_MIN_BYTES / 8 + 1);
	wire_init(&scan->wire, packet, length);
	scan->expect = expect;
	scan->ede = DNS_EDE_NONE;
	scan->from = DNS_HEADER_BYTES;
	for (unsigned i = 0; i < REPLY_SECTIONS; i++)
		scan->counts[i] = load_be16(packet + 6 + i * 2);
}

/* Leaves in `scan` where the records begin. */
static bool check_question(struct reply_scan *scan)
{
	const uint8_t *packet = scan->wire.packet;

	if (load_be16(packet + 4) == 0)
		return true;
	scan->from = wire_check_name(&scan->wire, scan->from, scan->wire.length);
	if (scan->from == 0)
		return false;
	scan->from += 4;
	return true;
}

enum reply_verdict reply_parse(const uint8_t *packet, size_t length,
			       const struct reply_expect *expect, struct reply *out)
{
	struct reply_scan scan;
	struct reply reply = { 0 };
	enum reply_verdict verdict;
	unsigned flags;
	bool is_bad;

	if (length > DNS_MESSAGE_MAX)
		return REPLY_BAD;
	verdict = judge_question(packet, length, expect);
	if (verdict != REPLY_OK)
		return verdict;
	flags = load_be16(packet + 2);
	if (flags & DNS_FLAG_TC)
		return REPLY_TRUNCATED;
	begin(&scan, packet, length, expect);
	if (!check_question(&scan) || !check_sections(&scan))
		return REPLY_BAD;
	reply_trim(&scan);
	reply.image = reply_make_image(&scan, &is_bad);
	if (!reply.image)
		return is_bad ? REPLY_BAD : REPLY_NO_MEMORY;
	/* What upstream vouched for was its whole answer. */
	if (scan.kept_counts[REPLY_ANSWER] == scan.counts[REPLY_ANSWER])
		reply.image->flags = flags & DNS_FLAG_AD;
	reply.image->rcode = (uint16_t)((unsigned)scan.upper_rcode << 4 | (flags & DNS_RCODE_MASK));
	reply.has_edns = scan.has_opt;
	reply.is_unfit = scan.is_cut || is_beside_the_question(&scan, reply.image);
	reply.is_referral = is_referral(&scan, reply.image, flags);
	judge_ttls(&scan, &reply);
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
