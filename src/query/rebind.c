#include "query/rebind.h"

#include <string.h>

#include "base/bytes.h"
#include "config/config.h"
#include "dns/dns.h"
#include "dns/name.h"

#define POINTER_BITS 0xc0
#define SVC_IPV4HINT 4 /* RFC 9460 §14.3.2 */
#define SVC_IPV6HINT 6
#define ADDR4_BYTES 4
#define ADDR6_BYTES 16

struct net {
	uint8_t bits;
	uint8_t bytes[ADDR6_BYTES];
};

static const struct net NETS4[] = {
	{ 8, { 0 } },	      /* "this host": Linux connects it to loopback */
	{ 8, { 10 } },	      /* RFC 1918 */
	{ 10, { 100, 64 } },  /* RFC 6598 */
	{ 8, { 127 } },	      /* loopback */
	{ 16, { 169, 254 } }, /* link-local */
	{ 12, { 172, 16 } },  /* RFC 1918 */
	{ 16, { 192, 168 } }, /* RFC 1918 */
};

static const struct net NETS6[] = {
	{ 128, { 0 } },		/* unspecified */
	{ 128, { [15] = 1 } },	/* loopback */
	{ 7, { 0xfc } },	/* RFC 4193 */
	{ 10, { 0xfe, 0x80 } }, /* link-local */
	{ 10, { 0xfe, 0xc0 } }, /* site-local, once (RFC 3879) */
};

/* Before an IPv4 address: mapped, compatible (RFC 4291 §2.5.5), NAT64 (RFC 6052 §2.1). */
static const uint8_t EMBEDS4[][ADDR6_BYTES - ADDR4_BYTES] = {
	{ [10] = 0xff, [11] = 0xff },
	{ 0 },
	{ 0x00, 0x64, 0xff, 0x9b },
};

static bool is_in(const uint8_t *address, const struct net *net)
{
	unsigned whole = net->bits / 8, rest = net->bits % 8;

	if (memcmp(address, net->bytes, whole) != 0)
		return false;
	return rest == 0 || (address[whole] ^ net->bytes[whole]) >> (8 - rest) == 0;
}

static bool is_private4(const uint8_t *address)
{
	for (size_t i = 0; i < COUNT_OF(NETS4); i++) {
		if (is_in(address, &NETS4[i]))
			return true;
	}
	return false;
}

static bool is_private6(const uint8_t *address)
{
	for (size_t i = 0; i < COUNT_OF(NETS6); i++) {
		if (is_in(address, &NETS6[i]))
			return true;
	}
	for (size_t i = 0; i < COUNT_OF(EMBEDS4); i++) {
		if (memcmp(address, EMBEDS4[i], sizeof(EMBEDS4[i])) == 0)
			return is_private4(address + sizeof(EMBEDS4[i]));
	}
	return false;
}

static bool any_private(const uint8_t *at, size_t length, size_t address_bytes)
{
	for (; length >= address_bytes; at += address_bytes, length -= address_bytes) {
		if (address_bytes == ADDR4_BYTES ? is_private4(at) : is_private6(at))
			return true;
	}
	return false;
}

/* RFC 9460 §2.2: priority, target, then key, length, value. */
static bool has_private_hint(const uint8_t *rdata, size_t length)
{
	size_t at = 2;

	while (at < length && rdata[at] != 0 && rdata[at] < POINTER_BITS)
		at += 1u + rdata[at];
	at += at < length && rdata[at] >= POINTER_BITS ? 2 : 1;
	while (at + 4 <= length) {
		unsigned key = load_be16(rdata + at);
		size_t value_length = load_be16(rdata + at + 2);

		at += 4;
		if (value_length > length - at)
			return false;
		if (key == SVC_IPV4HINT && any_private(rdata + at, value_length, ADDR4_BYTES))
			return true;
		if (key == SVC_IPV6HINT && any_private(rdata + at, value_length, ADDR6_BYTES))
			return true;
		at += value_length;
	}
	return false;
}

bool rebind_has_private(const struct image *image)
{
	for (uint32_t i = 0; i < image->rr_count; i++) {
		const uint8_t *fixed = image_rr_bytes(image, i) + image->rr[i].ttl_offset - 4;
		const uint8_t *rdata = fixed + DNS_RR_FIXED_BYTES;
		size_t length = load_be16(fixed + 8);
		bool is_private = false;

		switch (load_be16(fixed)) {
		case DNS_TYPE_A:
			is_private = length == ADDR4_BYTES && is_private4(rdata);
			break;
		case DNS_TYPE_AAAA:
			is_private = length == ADDR6_BYTES && is_private6(rdata);
			break;
		case DNS_TYPE_SVCB:
		case DNS_TYPE_HTTPS:
			is_private = has_private_hint(rdata, length);
			break;
		}
		if (is_private)
			return true;
	}
	return false;
}

bool rebind_is_forbidden(const struct config *config, const struct question *question,
			 const struct answer *answer)
{
	if (!config->rebind_protection || !answer->image || !answer->image->has_private)
		return false;
	for (size_t i = 0; i < config->forward_count; i++) {
		const struct config_forward *forward = &config->forward[i];

		if (forward->domain_length && name_is_in(question->folded, question->name_length,
							 forward->domain, forward->domain_length))
			return false;
	}
	return true;
}

void rebind_empty(struct answer *answer)
{
	answer->image = NULL;
	answer->picks = NULL;
	answer->pick_count = 0;
	answer->is_authentic = false;
	answer->ede = DNS_EDE_BLOCKED;
	answer->ede_text = "a private address from upstream (rebind-protection)";
}
