/*
 * Internet addresses as values: one struct for IPv4 and IPv6, with or without a port, parsed from
 * and written to text, matched against networks. No name resolution, ever. IPv4-mapped IPv6
 * addresses are folded to IPv4 on the way in.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define ADDR_TEXT_MAX 64 /* "[ffff:...:ffff%4294967295]:65535" and its NUL */

struct addr {
	uint8_t family;	   /* AF_INET, AF_INET6, or 0: none */
	uint16_t port;	   /* host order; 0: none */
	uint32_t scope_id; /* link-local IPv6 only */
	uint8_t bytes[16]; /* network order; the first 4 for AF_INET */
};

struct addr_net {
	struct addr base;
	uint8_t prefix_bits;
};

union addr_socket { /* storage for system calls */
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

/* "192.0.2.1", "2001:db8::1", "[2001:db8::1]", "fe80::1%2" (numeric scope or interface name). 0 or
 * -EINVAL; no port is read. */
int addr_parse_ip(const char *text, struct addr *out);

/* "192.0.2.1:53", "[::1]:53", or an address alone, which gets `default_port`. A bare IPv6 address
 * has no port. 0 or -EINVAL. */
int addr_parse(const char *text, uint16_t default_port, struct addr *out);

/* "10.0.0.0/8", "fd00::/8", or one address (/32, /128). Host bits set: -EINVAL. */
int addr_parse_net(const char *text, struct addr_net *out);

/* "192.0.2.1" or "2001:db8::1". */
void addr_format_ip(const struct addr *addr, char out[ADDR_TEXT_MAX]);

/* "192.0.2.1:53" or "[2001:db8::1]:53". */
void addr_format(const struct addr *addr, char out[ADDR_TEXT_MAX]);

/* Same family and bytes (and scope); the port is not compared. */
bool addr_same_ip(const struct addr *a, const struct addr *b);

/* Whether `addr` is in `net`. */
bool addr_is_in(const struct addr *addr, const struct addr_net *net);

/* 127.0.0.0/8 or ::1. */
bool addr_is_loopback(const struct addr *addr);

/* fe80::/10 or 169.254.0.0/16. */
bool addr_is_link_local(const struct addr *addr);

/* 0.0.0.0 or ::. */
bool addr_is_any(const struct addr *addr);

/* For system calls; returns the length of the socket address. */
socklen_t addr_to_socket(const struct addr *addr, union addr_socket *out);

/* From a system call. 0 or -EAFNOSUPPORT. */
int addr_from_socket(const struct sockaddr *sa, struct addr *out);
