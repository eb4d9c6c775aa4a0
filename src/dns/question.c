/*
 * One pass over the packet, front to back: header, question, then the records behind it, of which
 * only OPT and TSIG are looked into. A query is small and uncompressed; what is not is refused, so
 * there is nothing to follow and no loop.
 */
#include "dns/question.h"

#include <string.h>

#include "base/bytes.h"
#include "dns/name.h"

#define OPT_FIXED_BYTES (1 + DNS_RR_FIXED_BYTES)
#define COOKIE_CLIENT_BYTES 8
#define COOKIE_SERVER_MIN 8 /* RFC 7873 §4 */

/* Reads QNAME as it came and folded. Its length, or 0: a pointer, a bad label, or past the end. */
static size_t read_name(const uint8_t *packet, size_t length, struct question *out)
{
	const uint8_t *name = packet + DNS_HEADER_BYTES;
	size_t limit = min_size(length - DNS_HEADER_BYTES, DNS_NAME_MAX);
	size_t at = 0;
	uint8_t labels = 0;

	for (;;) {
		if (at >= limit || name[at] > DNS_LABEL_MAX)
			return 0;
		if (name[at] == 0)
			break;
		at += (size_t)name[at] + 1;
		labels++;
	}
	at++;
	memcpy(out->name, name, at);
	name_fold(name, at, out->folded);
	out->label_count = labels;
	return at;
}

static bool read_option(uint16_t code, const uint8_t *data, uint16_t length, struct question *out)
{
	switch (code) {
	case DNS_OPTION_NSID:
		out->wants_nsid = true;
		return true;
	case DNS_OPTION_KEEPALIVE: /* RFC 7828 §3.2.1: a client sends it empty */
		out->wants_keepalive = true;
		out->has_bad_keepalive |= length != 0;
		return true;
	case DNS_OPTION_COOKIE:
		if (length != COOKIE_CLIENT_BYTES &&
		    (length < COOKIE_CLIENT_BYTES + COOKIE_SERVER_MIN ||
		     length > QUESTION_COOKIE_MAX))
			return false;
		if (out->cookie_length == 0) { /* RFC 7873 §5.2: the first one counts */
			out->cookie_length = (uint8_t)length;
			memcpy(out->cookie, data, length);
		}
		return true;
	default:
		return true;
	}
}

/* `rr` is an OPT record behind its one-byte owner. false: an option runs past the end or is
 * malformed. */
static bool read_opt(const uint8_t *fixed, const uint8_t *data, uint16_t length,
		     struct question *out)
{
	uint16_t size = load_be16(fixed + 2);
	size_t at = 0;

	out->has_edns = true;
	out->has_do = (fixed[6] & 0x80) != 0;
	out->udp_limit = size < DNS_UDP_PLAIN_MAX  ? DNS_UDP_PLAIN_MAX
			 : size > DNS_UDP_EDNS_MAX ? DNS_UDP_EDNS_MAX
						   : size;
	while (at < length) {
		uint16_t code, option_length;

		if (length - at < 4)
			return false;
		code = load_be16(data + at);
		option_length = load_be16(data + at + 2);
		at += 4;
		if (option_length > length - at ||
		    !read_option(code, data + at, option_length, out))
			return false;
		at += option_length;
	}
	return true;
}

/* The length of a record's owner name, which may be compressed; 0 if it runs past the end. */
static size_t skip_owner(const uint8_t *packet, size_t length, size_t at)
{
	size_t start = at;

	while (at < length) {
		uint8_t byte = packet[at];

		if (byte == 0)
			return at + 1 - start;
		if ((byte & 0xc0) == 0xc0)
			return at + 2 <= length ? at + 2 - start : 0;
		if (byte > DNS_LABEL_MAX)
			return 0;
		at += (size_t)byte + 1;
	}
	return 0;
}

/*
 * Walks the records behind the question. EDNS version trouble is reported only once the whole
 * message has proved to be well-formed. Clients send no records but OPT and TSIG; others (an IXFR's
 * SOA) are stepped over.
 */
static enum question_verdict read_records(const uint8_t *packet, size_t length, size_t at,
					  struct question *out)
{
	uint32_t before_additional = (uint32_t)load_be16(packet + 6) + load_be16(packet + 8);
	uint32_t count = before_additional + load_be16(packet + 10);
	bool bad_version = false;

	for (uint32_t i = 0; i < count; i++) {
		size_t owner = skip_owner(packet, length, at);
		const uint8_t *fixed = packet + at + owner;
		uint16_t type, data_length;

		if (owner == 0 || length - at - owner < DNS_RR_FIXED_BYTES)
			return QUESTION_FORMERR;
		type = load_be16(fixed);
		data_length = load_be16(fixed + 8);
		if (data_length > length - at - owner - DNS_RR_FIXED_BYTES)
			return QUESTION_FORMERR;
		if (type == DNS_TYPE_OPT) {
			/* RFC 6891 §6.1.1: one OPT, at the root, in ADDITIONAL */
			if (out->has_edns || packet[at] != 0 || i < before_additional)
				return QUESTION_FORMERR;
			bad_version = fixed[5] != 0;
			/* of a version we do not know, the options may mean anything */
			if (!read_opt(fixed, fixed + DNS_RR_FIXED_BYTES,
				      bad_version ? 0 : data_length, out))
				return QUESTION_FORMERR;
		}
		if (type == DNS_TYPE_TSIG)
			out->has_tsig = true;
		at += owner + DNS_RR_FIXED_BYTES + data_length;
	}
	if (at != length)
		return QUESTION_FORMERR;
	return bad_version ? QUESTION_BADVERS : QUESTION_OK;
}

enum question_verdict question_parse(const uint8_t *packet, size_t length, struct question *out)
{
	size_t at = DNS_HEADER_BYTES;
	uint16_t question_count;
	enum question_verdict verdict;

	memset(out, 0, offsetof(struct question, name));
	out->udp_limit = DNS_UDP_PLAIN_MAX;
	if (length < DNS_HEADER_BYTES)
		return QUESTION_DROP;
	out->id = load_be16(packet);
	out->flags = load_be16(packet + 2);
	if (out->flags & DNS_FLAG_QR)
		return QUESTION_DROP;
	if (out->flags & DNS_OPCODE_MASK)
		return QUESTION_NOTIMP;
	question_count = load_be16(packet + 4);
	if (question_count > 1)
		return QUESTION_FORMERR;
	if (question_count == 1) {
		size_t name = read_name(packet, length, out);

		if (name == 0 || length - at - name < 4)
			return QUESTION_FORMERR;
		at += name;
		out->type = load_be16(packet + at);
		out->qclass = load_be16(packet + at + 2);
		at += 4;
		out->name_length = (uint8_t)name;
	}
	verdict = read_records(packet, length, at, out);
	if (question_count == 1)
		return verdict;
	return verdict == QUESTION_OK && out->cookie_length ? QUESTION_COOKIE : QUESTION_FORMERR;
}
