#include "base/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

static const uint8_t MAPPED_PREFIX[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

static bool is_mapped(const uint8_t bytes[16])
{
	return memcmp(bytes, MAPPED_PREFIX, sizeof(MAPPED_PREFIX)) == 0;
}

/* An IPv6 address, or the IPv4 address mapped into it (RFC 4291 §2.5.5.2). */
static void set_v6(struct addr *addr, const uint8_t bytes[16], uint32_t scope_id)
{
	*addr = (struct addr){ .family = AF_INET6 };
	if (is_mapped(bytes)) {
		addr->family = AF_INET;
		memcpy(addr->bytes, bytes + sizeof(MAPPED_PREFIX), 4);
		return;
	}
	memcpy(addr->bytes, bytes, 16);
	if (addr_is_link_local(addr))
		addr->scope_id = scope_id;
}

static int parse_scope(const char *text, uint32_t *out_scope_id)
{
	uint64_t number;
	unsigned index;

	if (str_parse_uint(text, 1, UINT32_MAX, &number) == 0) {
		*out_scope_id = (uint32_t)number;
		return 0;
	}
	if (text[0] == '\0' || strlen(text) >= IF_NAMESIZE)
		return -EINVAL;
	index = if_nametoindex(text);
	if (index == 0)
		return -EINVAL;
	*out_scope_id = index;
	return 0;
}

/* "2001:db8::1" or "fe80::1%2", without brackets. */
static int parse_v6(char *text, struct addr *out)
{
	char *scope = strchr(text, '%');
	uint32_t scope_id = 0;
	struct in6_addr in6;
	struct addr addr;

	if (scope != NULL)
		*scope++ = '\0';
	if (inet_pton(AF_INET6, text, &in6) != 1)
		return -EINVAL;
	if (scope != NULL && parse_scope(scope, &scope_id) < 0)
		return -EINVAL;
	set_v6(&addr, in6.s6_addr, scope_id);
	if (scope_id != addr.scope_id)
		return -EINVAL;
	*out = addr;
	return 0;
}

/* The address in the first `length` bytes of `text`, brackets allowed around IPv6. */
static int parse_ip_part(const char *text, size_t length, struct addr *out)
{
	bool is_bracketed = length >= 2 && text[0] == '[' && text[length - 1] == ']';
	char copy[ADDR_TEXT_MAX];
	struct in_addr in4;

	if (is_bracketed) {
		text++;
		length -= 2;
	}
	if (length >= sizeof(copy))
		return -EINVAL;
	memcpy(copy, text, length);
	copy[length] = '\0';

	if (!is_bracketed && inet_pton(AF_INET, copy, &in4) == 1) {
		*out = (struct addr){ .family = AF_INET };
		memcpy(out->bytes, &in4, 4);
		return 0;
	}
	return parse_v6(copy, out);
}

int addr_parse_ip(const char *text, struct addr *out)
{
	return parse_ip_part(text, strlen(text), out);
}

int addr_parse(const char *text, uint16_t default_port, struct addr *out)
{
	const char *colon = strrchr(text, ':'), *bracket = strrchr(text, ']');
	uint64_t port = default_port;
	size_t length = strlen(text);
	struct addr addr;
	int rc;

	/* The last colon belongs to a port behind a bracket, or when it is the only one. */
	if (colon != NULL &&
	    (bracket != NULL ? colon == bracket + 1 : strchr(text, ':') == colon)) {
		if (str_parse_uint(colon + 1, 0, UINT16_MAX, &port) < 0)
			return -EINVAL;
		length = (size_t)(colon - text);
	}
	rc = parse_ip_part(text, length, &addr);
	if (rc < 0)
		return rc;
	addr.port = (uint16_t)port;
	*out = addr;
	return 0;
}

static unsigned family_bits(uint8_t family)
{
	return family == AF_INET ? 32 : 128;
}

static bool has_host_bits(const struct addr_net *net)
{
	for (unsigned bit = net->prefix_bits; bit < family_bits(net->base.family); bit++) {
		if (net->base.bytes[bit / 8] & 0x80u >> bit % 8)
			return true;
	}
	return false;
}

int addr_parse_net(const char *text, struct addr_net *out)
{
	const char *slash = strchr(text, '/');
	size_t length = slash == NULL ? strlen(text) : (size_t)(slash - text);
	bool is_v6_text = memchr(text, ':', length) != NULL;
	struct addr_net net;
	uint64_t bits;

	if (text[0] == '[' || parse_ip_part(text, length, &net.base) < 0)
		return -EINVAL;
	bits = family_bits(net.base.family);
	if (slash != NULL) {
		/* A mapped network counts its prefix in IPv6 bits. */
		unsigned extra = is_v6_text && net.base.family == AF_INET ? 96 : 0;

		if (str_parse_uint(slash + 1, extra, bits + extra, &bits) < 0)
			return -EINVAL;
		bits -= extra;
	}
	net.prefix_bits = (uint8_t)bits;
	if (has_host_bits(&net))
		return -EINVAL;
	*out = net;
	return 0;
}

void addr_format_ip(const struct addr *addr, char out[ADDR_TEXT_MAX])
{
	size_t length;

	if (inet_ntop(addr->family, addr->bytes, out, ADDR_TEXT_MAX) == NULL) {
		snprintf(out, ADDR_TEXT_MAX, "-");
		return;
	}
	length = strlen(out);
	if (addr->scope_id != 0)
		snprintf(out + length, ADDR_TEXT_MAX - length, "%%%u", addr->scope_id);
}

void addr_format(const struct addr *addr, char out[ADDR_TEXT_MAX])
{
	char ip[ADDR_TEXT_MAX];

	addr_format_ip(addr, ip);
	/* An address is at most INET6_ADDRSTRLEN + 11 bytes: brackets and port always fit. */
	if (addr->family == AF_INET6)
		snprintf(out, ADDR_TEXT_MAX, "[%.*s]:%u", ADDR_TEXT_MAX - 9, ip, addr->port);
	else
		snprintf(out, ADDR_TEXT_MAX, "%.*s:%u", ADDR_TEXT_MAX - 9, ip, addr->port);
}

bool addr_same_ip(const struct addr *a, const struct addr *b)
{
	return a->family == b->family && a->scope_id == b->scope_id &&
	       memcmp(a->bytes, b->bytes, a->family == AF_INET ? 4 : 16) == 0;
}

bool addr_is_in(const struct addr *addr, const struct addr_net *net)
{
	unsigned whole = net->prefix_bits / 8, rest = net->prefix_bits % 8;

	if (addr->family != net->base.family)
		return false;
	if (net->base.scope_id != 0 && net->base.scope_id != addr->scope_id)
		return false;
	if (memcmp(addr->bytes, net->base.bytes, whole) != 0)
		return false;
	return rest == 0 || (addr->bytes[whole] ^ net->base.bytes[whole]) >> (8 - rest) == 0;
}

bool addr_is_loopback(const struct addr *addr)
{
	static const uint8_t loopback6[16] = { [15] = 1 };

	if (addr->family == AF_INET)
		return addr->bytes[0] == 127;
	return addr->family == AF_INET6 && memcmp(addr->bytes, loopback6, 16) == 0;
}

bool addr_is_link_local(const struct addr *addr)
{
	if (addr->family == AF_INET)
		return addr->bytes[0] == 169 && addr->bytes[1] == 254;
	return addr->family == AF_INET6 && addr->bytes[0] == 0xfe &&
	       (addr->bytes[1] & 0xc0) == 0x80;
}

bool addr_is_any(const struct addr *addr)
{
	static const uint8_t zero[16];

	if (addr->family == AF_INET)
		return memcmp(addr->bytes, zero, 4) == 0;
	return addr->family == AF_INET6 && memcmp(addr->bytes, zero, 16) == 0;
}

socklen_t addr_to_socket(const struct addr *addr, union addr_socket *out)
{
	memset(out, 0, sizeof(*out));
	if (addr->family == AF_INET6) {
		out->in6.sin6_family = AF_INET6;
		out->in6.sin6_port = htons(addr->port);
		out->in6.sin6_scope_id = addr->scope_id;
		memcpy(&out->in6.sin6_addr, addr->bytes, 16);
		return sizeof(out->in6);
	}
	out->in.sin_family = AF_INET;
	out->in.sin_port = htons(addr->port);
	memcpy(&out->in.sin_addr, addr->bytes, 4);
	return sizeof(out->in);
}

int addr_from_socket(const struct sockaddr *sa, struct addr *out)
{
	if (sa->sa_family == AF_INET) {
		struct sockaddr_in in;

		memcpy(&in, sa, sizeof(in));
		*out = (struct addr){ .family = AF_INET, .port = ntohs(in.sin_port) };
		memcpy(out->bytes, &in.sin_addr, 4);
		return 0;
	}
	if (sa->sa_family == AF_INET6) {
		struct sockaddr_in6 in6;

		memcpy(&in6, sa, sizeof(in6));
		set_v6(out, in6.sin6_addr.s6_addr, in6.sin6_scope_id);
		out->port = ntohs(in6.sin6_port);
		return 0;
	}
	return -EAFNOSUPPORT;
}
