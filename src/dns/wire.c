#include "dns/wire.h"

#include <string.h>

#include "base/bytes.h"
#include "dns/name.h"

#define POINTER_MASK 0xc0
#define TTL_MAX 0x7fffffffu
#define TAIL_ANY 0xff

/* RDATA of the types that hold names: fixed bytes, character strings, names, and what is behind.
 * Senders compress more of them than RFC 3597 §4 allows. All others are opaque. */
static const struct rdata_shape {
	uint16_t type;
	uint8_t prefix, strings, names, tail;
} rdata_shapes[] = {
	{ DNS_TYPE_NS, 0, 0, 1, 0 },
	{ 3, 0, 0, 1, 0 }, /* MD */
	{ 4, 0, 0, 1, 0 }, /* MF */
	{ DNS_TYPE_CNAME, 0, 0, 1, 0 },
	{ DNS_TYPE_SOA, 0, 0, 2, 20 },
	{ 7, 0, 0, 1, 0 }, /* MB */
	{ 8, 0, 0, 1, 0 }, /* MG */
	{ 9, 0, 0, 1, 0 }, /* MR */
	{ DNS_TYPE_PTR, 0, 0, 1, 0 },
	{ 14, 0, 0, 2, 0 },	    /* MINFO */
	{ 15, 2, 0, 1, 0 },	    /* MX */
	{ 17, 0, 0, 2, 0 },	    /* RP */
	{ 18, 2, 0, 1, 0 },	    /* AFSDB */
	{ 21, 2, 0, 1, 0 },	    /* RT */
	{ 23, 0, 0, 1, 0 },	    /* NSAP-PTR */
	{ 24, 18, 0, 1, TAIL_ANY }, /* SIG */
	{ 26, 2, 0, 2, 0 },	    /* PX */
	{ 30, 0, 0, 1, TAIL_ANY },  /* NXT */
	{ DNS_TYPE_SRV, 6, 0, 1, 0 },
	{ 35, 4, 3, 1, 0 }, /* NAPTR */
	{ 36, 2, 0, 1, 0 }, /* KX */
	{ DNS_TYPE_DNAME, 0, 0, 1, 0 },
	{ DNS_TYPE_RRSIG, 18, 0, 1, TAIL_ANY },
	{ 47, 0, 0, 1, TAIL_ANY }, /* NSEC */
	{ 58, 0, 0, 2, 0 },	   /* TALINK */
	{ 64, 2, 0, 1, TAIL_ANY }, /* SVCB */
	{ 65, 2, 0, 1, TAIL_ANY }, /* HTTPS */
	{ 107, 2, 0, 1, 0 },	   /* LP */
};

static size_t pointer_at(const struct wire *wire, size_t at)
{
	return load_be16(wire->packet + at) & (WIRE_POINTABLE - 1);
}

/* From here on, later names may point to these labels. */
static void mark_labels(struct wire *wire, size_t at)
{
	for (;;) {
		uint8_t byte = wire->packet[at];

		if (at >= WIRE_POINTABLE)
			return;
		wire->label_at[at / 8] |= (uint8_t)(1 << at % 8);
		if (byte == 0 || byte > DNS_LABEL_MAX)
			return;
		at += (size_t)byte + 1;
	}
}

void wire_init(struct wire *wire, const uint8_t *packet, size_t length)
{
	size_t pointable = length < WIRE_POINTABLE ? length : WIRE_POINTABLE;

	wire->packet = packet;
	wire->length = length;
	memset(wire->label_at, 0, (pointable + 7) / 8);
}

static bool is_label(const struct wire *wire, size_t at)
{
	return at < wire->length && (wire->label_at[at / 8] >> at % 8 & 1);
}

size_t wire_check_name(struct wire *wire, size_t at, size_t limit)
{
	size_t from = at, behind = 0, expanded = 0;
	unsigned hops = 0;

	/* A pointer to a label of a name that was checked: its end is known to be good. */
	if (at + 1 < limit && (wire->packet[at] & POINTER_MASK) == POINTER_MASK) {
		size_t to = pointer_at(wire, at);

		if (is_label(wire, to) && wire->packet[to] <= DNS_LABEL_MAX) {
			mark_labels(wire, at);
			return at + 2;
		}
	}
	while (at < limit) {
		uint8_t byte = wire->packet[at];

		if (byte == 0) {
			mark_labels(wire, from);
			return behind ? behind : at + 1;
		}
		if (byte <= DNS_LABEL_MAX) {
			expanded += (size_t)byte + 1;
			at += (size_t)byte + 1;
			if (expanded >= DNS_NAME_MAX)
				return 0;
			continue;
		}
		if ((byte & POINTER_MASK) != POINTER_MASK || at + 1 >= limit)
			return 0;
		if (!behind)
			behind = at + 2;
		at = pointer_at(wire, at);
		if (!is_label(wire, at) || ++hops > DNS_LABELS_MAX)
			return 0;
	}
	return 0;
}

size_t wire_follow(const struct wire *wire, size_t at)
{
	while (wire->packet[at] > DNS_LABEL_MAX)
		at = pointer_at(wire, at);
	return at;
}

bool wire_is_same_name(const struct wire *wire, size_t a, size_t b)
{
	const uint8_t *packet = wire->packet;

	for (;;) {
		size_t label_bytes;

		a = wire_follow(wire, a);
		b = wire_follow(wire, b);
		if (a == b)
			return true;
		label_bytes = (size_t)packet[a] + 1;
		if (packet[a] != packet[b] || !name_is_same(packet + a, packet + b, label_bytes))
			return false;
		if (packet[a] == 0)
			return true;
		a += label_bytes;
		b += label_bytes;
	}
}

size_t wire_skip_name(const struct wire *wire, size_t at)
{
	while (wire->packet[at] != 0) {
		if (wire->packet[at] > DNS_LABEL_MAX)
			return at + 2;
		at += (size_t)wire->packet[at] + 1;
	}
	return at + 1;
}

size_t wire_spell_name(const struct wire *wire, size_t at, uint8_t out[DNS_NAME_MAX])
{
	size_t length = 0;

	while (wire->packet[at] != 0) {
		size_t label_bytes = (size_t)wire->packet[at] + 1;

		if (wire->packet[at] > DNS_LABEL_MAX) {
			at = pointer_at(wire, at);
			continue;
		}
		memcpy(out + length, wire->packet + at, label_bytes);
		length += label_bytes;
		at += label_bytes;
	}
	out[length++] = 0;
	return length;
}

size_t wire_expand_name(const struct wire *wire, size_t at, uint8_t out[DNS_NAME_MAX])
{
	size_t length = wire_spell_name(wire, at, out);

	name_fold(out, length, out);
	return length;
}

static void read_fixed(const struct wire *wire, size_t at, size_t fixed_at, struct wire_rr *out)
{
	const uint8_t *fixed = wire->packet + fixed_at;

	*out = (struct wire_rr){ .at = at,
				 .fixed_at = fixed_at,
				 .rdata_at = fixed_at + DNS_RR_FIXED_BYTES,
				 .end = fixed_at + DNS_RR_FIXED_BYTES + load_be16(fixed + 8),
				 .type = load_be16(fixed),
				 .class = load_be16(fixed + 2),
				 .ttl_s = load_be32(fixed + 4) };
	if (out->ttl_s > TTL_MAX && out->type != DNS_TYPE_OPT)
		out->ttl_s = 0;
}

bool wire_check_rr(struct wire *wire, size_t at, struct wire_rr *out)
{
	size_t fixed_at = wire_check_name(wire, at, wire->length);

	if (fixed_at == 0 || wire->length - fixed_at < DNS_RR_FIXED_BYTES)
		return false;
	read_fixed(wire, at, fixed_at, out);
	return out->end <= wire->length;
}

void wire_read_rr(const struct wire *wire, size_t at, struct wire_rr *out)
{
	read_fixed(wire, at, wire_skip_name(wire, at), out);
}

static const struct rdata_shape *find_shape(uint16_t type)
{
	for (size_t i = 0; i < COUNT_OF(rdata_shapes); i++) {
		if (rdata_shapes[i].type == type)
			return &rdata_shapes[i];
	}
	return NULL;
}

bool wire_check_rdata(struct wire *wire, const struct wire_rr *rr)
{
	const struct rdata_shape *shape = find_shape(rr->type);
	size_t at = rr->rdata_at;

	if (rr->class == DNS_CLASS_IN && rr->type == DNS_TYPE_A)
		return rr->end - at == 4;
	if (rr->class == DNS_CLASS_IN && rr->type == DNS_TYPE_AAAA)
		return rr->end - at == 16;
	if (!shape)
		return true;
	at += shape->prefix;
	for (unsigned i = 0; i < shape->strings; i++) {
		if (at >= rr->end)
			return false;
		at += (size_t)wire->packet[at] + 1;
	}
	for (unsigned i = 0; i < shape->names; i++) {
		at = wire_check_name(wire, at, rr->end);
		if (at == 0)
			return false;
	}
	if (shape->tail == TAIL_ANY)
		return at <= rr->end;
	return at + shape->tail == rr->end;
}

unsigned wire_find_names(const struct wire *wire, const struct wire_rr *rr, size_t out_at[2])
{
	const struct rdata_shape *shape = find_shape(rr->type);
	size_t at = rr->rdata_at;

	if (!shape)
		return 0;
	at += shape->prefix;
	for (unsigned i = 0; i < shape->strings; i++)
		at += (size_t)wire->packet[at] + 1;
	for (unsigned i = 0; i < shape->names; i++) {
		out_at[i] = at;
		at = wire_skip_name(wire, at);
	}
	return shape->names;
}
