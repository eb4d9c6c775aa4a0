/*
 * A reply is written front to back into one buffer: header, question, ANSWER, AUTHORITY,
 * ADDITIONAL, OPT. The OPT's size is known first and kept free, so that it is on every reply that
 * owes one. `struct writer` holds where we are; what did not fit is told by the counts, which go
 * into the header last.
 */
#include "dns/message.h"

#include <string.h>

#include "base/bytes.h"

#define POINTER_REACH 0x3fff /* RFC 1035 §4.1.4: 14 bits of offset */
#define SRV_TARGET_AT                                                                              \
	(2 + DNS_RR_FIXED_BYTES +                                                                  \
	 6) /* in a record of ours: short owner, fixed part, three numbers */
#define SHORT_OWNER 2
#define OPTION_HEADER 4
#define COOKIE_CLIENT 8
#define COOKIE_FULL 24 /* RFC 9018 §4: 8 client bytes and a 16-byte server cookie */
#define OPT_FIXED 11
#define EDE_TEXT_MAX 120

struct writer {
	uint8_t *out;
	size_t at;
	size_t end; /* records may reach up to here: the limit less the OPT */
	const struct answer *answer;
	uint16_t answers, authorities, additionals;
	bool changes_ttl;
};

static uint32_t adjust_ttl(const struct answer *answer, uint32_t ttl)
{
	if (answer->ttl_all_s)
		return answer->ttl_all_s;
	if (answer->is_stale) { /* RFC 8767 §4: greater than 0 */
		ttl = min_u32(ttl, answer->ttl_max_s);
		return ttl ? ttl : 1;
	}
	if (ttl == 0)
		return 0;
	ttl = ttl > answer->age_s ? ttl - answer->age_s : 1;
	return min_u32(ttl, answer->ttl_max_s);
}

static void adjust_ttl_at(const struct writer *w, size_t at)
{
	if (w->changes_ttl)
		store_be32(w->out + at, adjust_ttl(w->answer, load_be32(w->out + at)));
}

static bool put_rr(struct writer *w, const uint8_t *rr, size_t length, size_t ttl_offset)
{
	if (length > w->end - w->at)
		return false;
	memcpy(w->out + w->at, rr, length);
	adjust_ttl_at(w, w->at + ttl_offset);
	w->at += length;
	return true;
}

static bool put_soa(struct writer *w)
{
	const struct answer_soa *soa = &w->answer->soa;
	size_t start = w->at;

	if (!put_rr(w, soa->rr, soa->length, soa->ttl_offset))
		return false;
	store_be32(w->out + start + soa->serial_offset, soa->serial);
	return true;
}

static bool put_address(struct writer *w, const struct answer_address *address)
{
	size_t length = address->addr.family == AF_INET ? 4 : 16;
	uint8_t *rr = w->out + w->at;

	if (SHORT_OWNER + DNS_RR_FIXED_BYTES + length > w->end - w->at)
		return false;
	store_be16(rr, DNS_POINTER_TO_QNAME);
	store_be16(rr + 2, length == 4 ? DNS_TYPE_A : DNS_TYPE_AAAA);
	store_be16(rr + 4, DNS_CLASS_IN);
	store_be32(rr + 6, address->ttl_s);
	store_be16(rr + 10, (uint16_t)length);
	memcpy(rr + 12, address->addr.bytes, length);
	adjust_ttl_at(w, w->at + 6);
	w->at += SHORT_OWNER + DNS_RR_FIXED_BYTES + length;
	return true;
}

/* The i-th ANSWER record of a picked answer, counted from the rotation's start. */
static bool put_pick(struct writer *w, uint32_t i, uint32_t total)
{
	const struct answer *a = w->answer;
	uint32_t index = a->rotation + i < total ? a->rotation + i : a->rotation + i - total;
	const struct image_rr *rr;

	if (index >= a->pick_count)
		return put_address(w, &a->addresses[index - a->pick_count]);
	rr = &a->image->rr[a->picks[index]];
	return put_rr(w, image_bytes(a->image) + rr->at, rr->length, rr->ttl_offset);
}

/*
 * Address records of the SRV targets just written from `start` on, each target once (SRV records of
 * one address stand side by side, so the neighbour and, around the rotation's seam, the first one
 * tell). What does not fit stays out.
 */
static void put_targets(struct writer *w, size_t start)
{
	const struct answer *a = w->answer;
	uint32_t first = IMAGE_NO_RR, last = IMAGE_NO_RR;
	size_t srv_at = start;

	for (uint32_t i = 0; i < w->answers; i++) {
		uint32_t index = a->rotation + i < a->pick_count ? a->rotation + i
								 : a->rotation + i - a->pick_count;
		const struct image_rr *srv = &a->image->rr[a->picks[index]];
		size_t target_at = srv_at + SRV_TARGET_AT;
		uint32_t address = srv->address_rr;
		const struct image_rr *rr;

		srv_at += srv->length;
		if (address == IMAGE_NO_RR || address == last || address == first)
			continue;
		rr = &a->image->rr[address];
		if (target_at > POINTER_REACH || rr->length > w->end - w->at)
			return;
		put_rr(w, image_bytes(a->image) + rr->at, rr->length, rr->ttl_offset);
		store_be16(w->out + w->at - rr->length, (uint16_t)(0xc000 | target_at));
		w->additionals++;
		last = address;
		if (first == IMAGE_NO_RR)
			first = address;
	}
}

/* Our own records, picked and rotated. Returns false when ANSWER records were left out. */
static bool put_picked(struct writer *w)
{
	const struct answer *a = w->answer;
	uint32_t total = a->pick_count + a->address_count;
	size_t start = w->at;

	for (uint32_t i = 0; i < total; i++) {
		if (w->answers == UINT16_MAX || !put_pick(w, i, total))
			return false;
		w->answers++;
	}
	if (a->with_targets)
		put_targets(w, start);
	return true;
}

/* Copies records [from, to) of a whole image, which stand side by side. false: they do not fit. */
static bool put_run(struct writer *w, const struct image *image, uint32_t from, uint32_t to)
{
	size_t start, length;

	if (from == to)
		return true;
	start = image->rr[from].at;
	length = image->rr[to - 1].at + image->rr[to - 1].length - start;
	if (length > w->end - w->at)
		return false;
	memcpy(w->out + w->at, image_bytes(image) + start, length);
	for (uint32_t i = from; i < to; i++)
		adjust_ttl_at(w, w->at + image->rr[i].at - start + image->rr[i].ttl_offset);
	w->at += length;
	return true;
}

/*
 * An upstream's reply, in order, so that its compression pointers stay right. false when something
 * that was asked for was left out (RFC 2181 §9: ADDITIONAL was not).
 */
static bool put_whole(struct writer *w)
{
	const struct image *image = w->answer->image;
	uint32_t answers = image->answer_count;
	uint32_t required = answers + image->authority_count;

	if (put_run(w, image, 0, required)) {
		w->answers = image->answer_count;
		w->authorities = image->authority_count;
		if (!w->answer->without_additional && put_run(w, image, required, image->rr_count))
			w->additionals = image->additional_count;
		return true;
	}
	for (uint32_t i = 0; i < required && put_run(w, image, i, i + 1); i++) {
		if (i < answers)
			w->answers++;
		else
			w->authorities++; /* a negative's SOA */
	}
	return false;
}

static size_t put_option(uint8_t *out, uint16_t code, size_t length)
{
	store_be16(out, code);
	store_be16(out + 2, (uint16_t)length);
	return OPTION_HEADER + length;
}

/* RFC 9018 §4: version 1, the time, and SipHash-2-4 over client cookie, those, and the client's
 * address. */
static void make_cookie(const struct question *question, const struct hash_key *key,
			const struct addr *peer, uint32_t now_s, uint8_t out[COOKIE_FULL])
{
	uint8_t input[COOKIE_CLIENT + 8 + 16];
	size_t address_length = peer && peer->family == AF_INET ? 4 : 16;
	uint64_t mac;

	memcpy(out, question->cookie, COOKIE_CLIENT);
	store_be32(out + 8, 0x01000000);
	store_be32(out + 12, now_s);
	memcpy(input, out, 16);
	if (peer)
		memcpy(input + 16, peer->bytes, address_length);
	else
		memset(input + 16, 0, address_length);
	mac = hash_mac(key, input, 16 + address_length);
	for (int i = 0; i < 8; i++) /* little-endian, as the reference implementation writes it */
		out[16 + i] = (uint8_t)(mac >> (8 * i));
}

/* Our OPT with the options that are due, in at most `room` bytes (RFC 6891 §6.1.2). Returns its
 * length. */
static size_t put_opt(const struct question *question, uint16_t rcode, uint16_t ede,
		      const char *ede_text, const struct message_identity *identity,
		      const struct addr *peer, uint32_t now_s, bool over_tcp, size_t room,
		      uint8_t *out)
{
	uint8_t *p = out + OPT_FIXED;
	uint8_t *end = out + room;
	size_t nsid = question->wants_nsid ? strlen(identity->server_id) : 0;

	out[0] = 0;
	store_be16(out + 1, DNS_TYPE_OPT);
	store_be16(out + 3, DNS_UDP_EDNS_MAX);
	out[5] = (uint8_t)(rcode >> 4);
	out[6] = 0; /* version */
	out[7] = question->has_do ? 0x80 : 0;
	out[8] = 0;
	if (question->cookie_length && end - p >= OPTION_HEADER + COOKIE_FULL) {
		make_cookie(question, &identity->cookie_key, peer, now_s, p + OPTION_HEADER);
		p += put_option(p, DNS_OPTION_COOKIE, COOKIE_FULL);
	}
	if (question->wants_keepalive && over_tcp && end - p >= OPTION_HEADER + 2) {
		store_be16(p + OPTION_HEADER, (uint16_t)min_u32(identity->tcp_idle_ds, UINT16_MAX));
		p += put_option(p, DNS_OPTION_KEEPALIVE, 2);
	}
	if (ede != DNS_EDE_NONE && end - p >= OPTION_HEADER + 2) {
		size_t text = ede_text ? strnlen(ede_text, EDE_TEXT_MAX) : 0;

		if (OPTION_HEADER + 2 + text > (size_t)(end - p))
			text = 0;
		store_be16(p + OPTION_HEADER, ede);
		if (text)
			memcpy(p + OPTION_HEADER + 2, ede_text, text);
		p += put_option(p, DNS_OPTION_EDE, 2 + text);
	}
	if (nsid && OPTION_HEADER + nsid <= (size_t)(end - p)) {
		memcpy(p + OPTION_HEADER, identity->server_id, nsid);
		p += put_option(p, DNS_OPTION_NSID, nsid);
	}
	store_be16(out + 9, (uint16_t)(p - out - OPT_FIXED));
	return (size_t)(p - out);
}

/* An extended RCODE needs an OPT to be said in: its lower bits alone are another one, perhaps
 * NOERROR. */
static uint16_t reply_rcode(const struct question *question, const struct answer *answer)
{
	bool is_sayable = question->has_edns || answer->rcode <= DNS_RCODE_MASK;

	return is_sayable ? answer->rcode & DNS_RCODE_MASK : DNS_SERVFAIL;
}

static uint16_t reply_flags(const struct question *question, const struct answer *answer)
{
	uint16_t flags = DNS_FLAG_QR | (question->flags & (DNS_FLAG_RD | DNS_FLAG_CD));

	if (answer->is_authoritative)
		flags |= DNS_FLAG_AA;
	if (!answer->no_recursion)
		flags |= DNS_FLAG_RA;
	/* RFC 6840 §5.8: AD only for who understands it */
	if (answer->is_authentic && (question->has_do || question->flags & DNS_FLAG_AD))
		flags |= DNS_FLAG_AD;
	return flags | reply_rcode(question, answer);
}

static void put_header(uint8_t *out, const struct question *question, uint16_t flags,
		       const struct writer *w, bool has_opt)
{
	store_be16(out, question->id);
	store_be16(out + 2, flags);
	store_be16(out + 4, question->name_length ? 1 : 0);
	store_be16(out + 6, w->answers);
	store_be16(out + 8, w->authorities);
	store_be16(out + 10, (uint16_t)(w->additionals + has_opt));
}

static size_t put_question(uint8_t *out, const struct question *question)
{
	uint8_t *p = out + DNS_HEADER_BYTES;

	if (!question->name_length)
		return DNS_HEADER_BYTES;
	memcpy(p, question->name, question->name_length);
	p += question->name_length;
	store_be16(p, question->type);
	store_be16(p + 2, question->qclass);
	return question_end(question);
}

/* Whether it is an upstream's reply, which is whole or not what it was. */
static bool is_forwarded(const struct answer *answer)
{
	return answer->image && !answer->picks && !answer->address_count;
}

static bool put_sections(struct writer *w)
{
	const struct answer *answer = w->answer;
	bool is_whole = true;

	if (is_forwarded(answer))
		is_whole = put_whole(w);
	else if (answer->picks || answer->address_count)
		is_whole = put_picked(w);
	if (!answer->soa.rr)
		return is_whole;
	if (!put_soa(w))
		return false;
	if (answer->soa_is_answer)
		w->answers++;
	else
		w->authorities++;
	return is_whole;
}

/* Question, sections, and room kept for `opt`. Whether nothing that was asked for was left out. */
static bool put_body(struct writer *w, const struct question *question, size_t limit,
		     size_t opt_length)
{
	w->answers = w->authorities = w->additionals = 0;
	w->at = put_question(w->out, question);
	w->end = limit - opt_length;
	return put_sections(w);
}

struct message_result message_encode(const struct question *question, const struct answer *answer,
				     const struct message_identity *identity,
				     const struct addr *peer, uint32_t now_s, bool over_tcp,
				     size_t limit, uint8_t *out)
{
	struct message_result result = { 0 };
	struct writer w = { .out = out,
			    .answer = answer,
			    .changes_ttl = answer->is_stale || answer->age_s ||
					   answer->ttl_max_s != UINT32_MAX };
	uint16_t flags = reply_flags(question, answer);
	uint8_t opt[DNS_UDP_PLAIN_MAX];
	size_t opt_room = min_size(sizeof(opt), limit - question_end(question));
	size_t opt_length = 0;
	bool is_whole;

	if (question->has_edns)
		opt_length = put_opt(question, answer->rcode, answer->ede, answer->ede_text,
				     identity, peer, now_s, over_tcp, opt_room, opt);
	is_whole = put_body(&w, question, limit, opt_length);
	/* RFC 8914 §3: an explanation goes before any other data. */
	if (!is_whole && opt_length && answer->ede != DNS_EDE_NONE) {
		opt_length = put_opt(question, answer->rcode, DNS_EDE_NONE, NULL, identity, peer,
				     now_s, over_tcp, opt_room, opt);
		is_whole = put_body(&w, question, limit, opt_length);
	}
	/* There is no other transport to ask for the rest over: the options go as well. */
	if (!is_whole && over_tcp && is_forwarded(answer) && opt_length > OPT_FIXED) {
		opt_length = put_opt(question, answer->rcode, DNS_EDE_NONE, NULL, identity, peer,
				     now_s, over_tcp, OPT_FIXED, opt);
		is_whole = put_body(&w, question, limit, opt_length);
	}
	if (!is_whole) {
		result.is_cut = over_tcp;
		result.is_truncated = !over_tcp;
		if (!over_tcp || is_forwarded(answer))
			flags |= DNS_FLAG_TC;
	}
	put_header(out, question, flags, &w, opt_length != 0);
	memcpy(out + w.at, opt, opt_length);
	result.length = w.at + opt_length;
	return result;
}

size_t message_encode_refusal(const struct question *question, enum question_verdict verdict,
			      const struct message_identity *identity, const struct addr *peer,
			      uint32_t now_s, uint8_t out[DNS_UDP_PLAIN_MAX])
{
	static const struct writer nothing;
	size_t at;

	memset(out, 0, DNS_HEADER_BYTES);
	store_be16(out, question->id);
	switch (verdict) {
	case QUESTION_OK:
	case QUESTION_DROP:
		return 0;
	case QUESTION_NOTIMP:
		store_be16(out + 2, DNS_FLAG_QR | (question->flags & DNS_OPCODE_MASK) | DNS_NOTIMP);
		return DNS_HEADER_BYTES;
	case QUESTION_FORMERR:
		store_be16(out + 2, DNS_FLAG_QR | (question->flags & DNS_FLAG_RD) | DNS_FORMERR);
		return DNS_HEADER_BYTES;
	case QUESTION_BADVERS:
	case QUESTION_COOKIE:
		break;
	}
	at = put_question(out, question);
	put_header(out, question, DNS_FLAG_QR | (question->flags & DNS_FLAG_RD), &nothing, true);
	return at + put_opt(question, verdict == QUESTION_BADVERS ? DNS_BADVERS : DNS_NOERROR,
			    DNS_EDE_NONE, NULL, identity, peer, now_s, false,
			    DNS_UDP_PLAIN_MAX - at, out + at);
}
