#include "verbs/lookup_reply.h"

#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/buf.h"
#include "base/bytes.h"
#include "dns/dns.h"
#include "dns/name.h"

#define SMALLEST_RECORD (1 + DNS_RR_FIXED_BYTES) /* the root as owner, no data */
#define POINTER_MARK 0xc0
#define TYPE_MX 15

/* What is left of a piece of the message. Nothing is taken that is not there. */
struct cursor {
	const uint8_t *packet;
	size_t at, end;
};

static bool take(struct cursor *cursor, size_t count, size_t *out_at)
{
	if (cursor->end - cursor->at < count)
		return false;
	*out_at = cursor->at;
	cursor->at += count;
	return true;
}

/*
 * Reads a name that may end in a pointer (RFC 1035 §4.1.4) and writes it out in full. A pointer
 * must lead in front of the part it ends: so every part begins before the last one, and the way
 * ends.
 */
static bool take_name(struct cursor *cursor, uint8_t out[DNS_NAME_MAX], size_t *out_length)
{
	size_t at = cursor->at, end = cursor->end, part = at, length = 0;
	bool has_jumped = false;

	for (;;) {
		size_t step, target;

		if (at >= end)
			return false;
		step = (size_t)cursor->packet[at] + 1;
		if (cursor->packet[at] >= POINTER_MARK) {
			if (end - at < 2)
				return false;
			target = load_be16(cursor->packet + at) & 0x3fff;
			if (target < DNS_HEADER_BYTES || target >= part)
				return false;
			if (!has_jumped)
				cursor->at = at + 2;
			has_jumped = true;
			/* What a pointer leads to ends before the part that held it. */
			end = part;
			at = part = target;
			continue;
		}
		if (step > DNS_LABEL_MAX + 1 || end - at < step || DNS_NAME_MAX - length < step)
			return false;
		memcpy(out + length, cursor->packet + at, step);
		length += step;
		at += step;
		if (step == 1)
			break;
	}
	if (!has_jumped)
		cursor->at = at;
	*out_length = length;
	return true;
}

/* --- data as text --- */

static void put_escaped(const uint8_t *bytes, size_t length, const char *special, struct buf *out)
{
	for (size_t i = 0; i < length; i++) {
		char byte = (char)bytes[i];

		if (bytes[i] < ' ' || bytes[i] > '~')
			buf_printf(out, "\\%03u", bytes[i]);
		else
			buf_printf(out, strchr(special, byte) ? "\\%c" : "%c", byte);
	}
}

static bool put_name(struct cursor *cursor, struct buf *out)
{
	uint8_t name[DNS_NAME_MAX];
	char text[NAME_TEXT_MAX];
	size_t length;

	if (!take_name(cursor, name, &length))
		return false;
	name_format(name, text);
	buf_puts(out, text);
	return true;
}

static bool put_uint16(struct cursor *cursor, struct buf *out)
{
	size_t at;

	if (!take(cursor, 2, &at))
		return false;
	buf_printf(out, "%u ", load_be16(cursor->packet + at));
	return true;
}

static bool put_uint32(struct cursor *cursor, struct buf *out)
{
	size_t at;

	if (!take(cursor, 4, &at))
		return false;
	buf_printf(out, " %u", load_be32(cursor->packet + at));
	return true;
}

/* One <character-string> in quotes (RFC 1035 §3.3). */
static bool put_string(struct cursor *cursor, struct buf *out)
{
	size_t at, length;

	if (!take(cursor, 1, &at))
		return false;
	length = cursor->packet[at];
	if (!take(cursor, length, &at))
		return false;
	buf_puts(out, "\"");
	put_escaped(cursor->packet + at, length, "\"\\", out);
	buf_puts(out, "\"");
	return true;
}

static bool put_strings(struct cursor *cursor, struct buf *out)
{
	if (!put_string(cursor, out))
		return false;
	while (cursor->at < cursor->end) {
		buf_puts(out, " ");
		if (!put_string(cursor, out))
			return false;
	}
	return true;
}

static bool put_address(struct cursor *cursor, uint8_t family, size_t length, struct buf *out)
{
	struct addr addr = { .family = family };
	char text[ADDR_TEXT_MAX];
	size_t at;

	if (!take(cursor, length, &at))
		return false;
	memcpy(addr.bytes, cursor->packet + at, length);
	addr_format_ip(&addr, text);
	buf_puts(out, text);
	return true;
}

/* RFC 3597 §5: any data of any type. */
static bool put_unknown(struct cursor *cursor, struct buf *out)
{
	buf_printf(out, "\\# %zu", cursor->end - cursor->at);
	if (cursor->at < cursor->end)
		buf_puts(out, " ");
	for (; cursor->at < cursor->end; cursor->at++)
		buf_printf(out, "%02x", cursor->packet[cursor->at]);
	return true;
}

static bool put_soa(struct cursor *cursor, struct buf *out)
{
	if (!put_name(cursor, out))
		return false;
	buf_puts(out, " ");
	if (!put_name(cursor, out))
		return false;
	for (int i = 0; i < 5; i++) /* serial, refresh, retry, expire, minimum */
		if (!put_uint32(cursor, out))
			return false;
	return true;
}

static bool put_typed(struct cursor *cursor, uint16_t type, struct buf *out)
{
	switch (type) {
	case DNS_TYPE_A:
		return put_address(cursor, AF_INET, 4, out);
	case DNS_TYPE_AAAA:
		return put_address(cursor, AF_INET6, 16, out);
	case DNS_TYPE_NS:
	case DNS_TYPE_CNAME:
	case DNS_TYPE_PTR:
	case DNS_TYPE_DNAME:
		return put_name(cursor, out);
	case TYPE_MX:
		return put_uint16(cursor, out) && put_name(cursor, out);
	case DNS_TYPE_SRV:
		return put_uint16(cursor, out) && put_uint16(cursor, out) &&
		       put_uint16(cursor, out) && put_name(cursor, out);
	case DNS_TYPE_SOA:
		return put_soa(cursor, out);
	case DNS_TYPE_TXT:
	case DNS_TYPE_HINFO:
		return put_strings(cursor, out);
	default:
		return put_unknown(cursor, out);
	}
}

/* False if the data is not what its type says, or longer. */
static bool put_data(const uint8_t *packet, const struct lookup_reply_record *record,
		     struct buf *out)
{
	struct cursor cursor = { packet, record->rdata_at,
				 (size_t)record->rdata_at + record->rdata_length };

	if (record->rr_class != DNS_CLASS_IN)
		return put_unknown(&cursor, out);
	return put_typed(&cursor, record->type, out) && cursor.at == cursor.end;
}

/* --- reading --- */

/* RFC 6891 §6.1.3 and RFC 8914 §2. */
static bool read_opt(const struct lookup_reply_record *record, struct lookup_reply *reply)
{
	struct cursor cursor = { reply->packet, record->rdata_at,
				 (size_t)record->rdata_at + record->rdata_length };

	if (reply->has_edns || record->section != LOOKUP_REPLY_ADDITIONAL ||
	    reply->packet[record->owner_at] != 0)
		return false;
	reply->has_edns = true;
	reply->rcode = (uint16_t)(reply->rcode | (record->ttl >> 24) << 4);
	while (cursor.at < cursor.end) {
		size_t at, length;
		uint16_t code;

		if (!take(&cursor, 4, &at))
			return false;
		code = load_be16(reply->packet + at);
		length = load_be16(reply->packet + at + 2);
		if (!take(&cursor, length, &at))
			return false;
		if (code != DNS_OPTION_EDE)
			continue;
		if (length < 2)
			return false;
		if (reply->ede_count < LOOKUP_REPLY_EDE_MAX)
			reply->ede[reply->ede_count++] =
				(struct lookup_reply_ede){ load_be16(reply->packet + at),
							   (uint16_t)(at + 2),
							   (uint16_t)(length - 2) };
	}
	return true;
}

static bool read_record(struct cursor *cursor, struct lookup_reply_record *out)
{
	uint8_t owner[DNS_NAME_MAX];
	size_t owner_at = cursor->at, owner_length, at, rdata_at;

	if (!take_name(cursor, owner, &owner_length) || !take(cursor, DNS_RR_FIXED_BYTES, &at))
		return false;
	out->owner_at = (uint16_t)owner_at;
	out->type = load_be16(cursor->packet + at);
	out->rr_class = load_be16(cursor->packet + at + 2);
	out->ttl = load_be32(cursor->packet + at + 4);
	out->rdata_length = load_be16(cursor->packet + at + 8);
	if (!take(cursor, out->rdata_length, &rdata_at))
		return false;
	out->rdata_at = (uint16_t)rdata_at;
	return true;
}

/* RFC 5452 §9.1. A server that could not read the question may leave it out of an error. */
static bool is_reply_to(struct cursor *cursor, const struct lookup_reply_expect *expect)
{
	const uint8_t *packet = cursor->packet;
	uint16_t flags = load_be16(packet + 2);
	uint8_t name[DNS_NAME_MAX], folded[2][DNS_NAME_MAX];
	size_t length, at;

	if (load_be16(packet) != expect->id || !(flags & DNS_FLAG_QR) || (flags & DNS_OPCODE_MASK))
		return false;
	if (load_be16(packet + 4) == 0)
		return (flags & DNS_RCODE_MASK) != DNS_NOERROR && load_be16(packet + 6) == 0 &&
		       load_be16(packet + 8) == 0;
	if (load_be16(packet + 4) != 1 || !take_name(cursor, name, &length) ||
	    !take(cursor, 4, &at) || length != expect->name_length)
		return false;
	name_fold(name, length, folded[0]);
	name_fold(expect->name, length, folded[1]);
	return memcmp(folded[0], folded[1], length) == 0 &&
	       load_be16(packet + at) == expect->type && load_be16(packet + at + 2) == DNS_CLASS_IN;
}

/* `scratch` receives each record's text, for whether it can be written and not to be kept. */
static bool read_sections(struct cursor *cursor, struct lookup_reply *reply, struct buf *scratch)
{
	for (unsigned section = 0; section < 3; section++) {
		unsigned count = load_be16(reply->packet + 6 + 2 * section);

		for (; count > 0; count--) {
			struct lookup_reply_record record = {
				.section = (enum lookup_reply_section)section
			};

			if (!read_record(cursor, &record))
				return false;
			if (record.type == DNS_TYPE_OPT) {
				if (!read_opt(&record, reply))
					return false;
				continue;
			}
			scratch->length = 0;
			if (!put_data(reply->packet, &record, scratch))
				return false;
			reply->records[reply->record_count++] = record;
		}
	}
	return cursor->at == cursor->end;
}

enum lookup_reply_verdict lookup_reply_parse(const uint8_t *packet, size_t length,
					     const struct lookup_reply_expect *expect,
					     struct lookup_reply *out)
{
	struct cursor cursor = { packet, DNS_HEADER_BYTES, length };
	enum lookup_reply_verdict verdict = LOOKUP_REPLY_BAD;
	struct lookup_reply reply = { .length = length };
	struct buf scratch;

	if (length < DNS_HEADER_BYTES || length > DNS_MESSAGE_MAX || !is_reply_to(&cursor, expect))
		return LOOKUP_REPLY_BAD;
	buf_init(&scratch, 0);
	reply.flags = load_be16(packet + 2);
	reply.rcode = reply.flags & DNS_RCODE_MASK;
	/* Room by what the packet can hold, never by what its counts say. */
	reply.records = calloc(length / SMALLEST_RECORD + 1, sizeof(reply.records[0]));
	reply.packet = malloc(length);
	if (!reply.records || !reply.packet) {
		verdict = LOOKUP_REPLY_NO_MEMORY;
		goto out;
	}
	memcpy(reply.packet, packet, length);
	cursor.packet = reply.packet;
	if (!read_sections(&cursor, &reply, &scratch))
		goto out;
	if (scratch.failed) {
		verdict = LOOKUP_REPLY_NO_MEMORY;
		goto out;
	}
	buf_deinit(&scratch);
	*out = reply;
	return LOOKUP_REPLY_OK;
out:
	buf_deinit(&scratch);
	lookup_reply_deinit(&reply);
	return verdict;
}

void lookup_reply_deinit(struct lookup_reply *reply)
{
	free(reply->packet);
	free(reply->records);
	memset(reply, 0, sizeof(*reply));
}

bool lookup_reply_has_answer(const struct lookup_reply *reply, uint16_t type)
{
	for (size_t i = 0; i < reply->record_count; i++)
		if (reply->records[i].section == LOOKUP_REPLY_ANSWER &&
		    (type == DNS_TYPE_ANY || reply->records[i].type == type))
			return true;
	return false;
}

void lookup_reply_put_owner(const struct lookup_reply *reply,
			    const struct lookup_reply_record *record, struct buf *out)
{
	struct cursor cursor = { reply->packet, record->owner_at, reply->length };

	put_name(&cursor, out);
}

void lookup_reply_put_rdata(const struct lookup_reply *reply,
			    const struct lookup_reply_record *record, struct buf *out)
{
	put_data(reply->packet, record, out);
}

void lookup_reply_put_ede_text(const struct lookup_reply *reply, const struct lookup_reply_ede *ede,
			       struct buf *out)
{
	put_escaped(reply->packet + ede->text_at, ede->text_length, "\\", out);
}
