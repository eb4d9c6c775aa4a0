/*
 * The strict reader of HTTP request heads (RFC 9112 §2–§5): bytes to method, path and query. Bytes
 * from strangers: nothing is read past `length`, nothing is allocated, the time is linear. Bodies,
 * pipelining and line folding are not for us. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dns/dns.h"

#define ADMIN_REQUEST_HEAD_MAX 8192 /* bytes of request line and headers together */

enum admin_request_verdict {
	ADMIN_REQUEST_INCOMPLETE, /* well so far: read on */
	ADMIN_REQUEST_OK,
	ADMIN_REQUEST_BAD,	 /* 400 */
	ADMIN_REQUEST_TOO_LARGE, /* 431: no end within ADMIN_REQUEST_HEAD_MAX */
};

struct admin_text { /* borrowed from the bytes that were parsed; never NUL-terminated */
	const char *data;
	size_t length;
};

struct admin_request {
	struct admin_text method; /* as it came: methods are case-sensitive */
	struct admin_text path;	  /* begins with '/', not decoded; "*" as it is */
	struct admin_text query;  /* what follows the '?'; may be empty */
	struct admin_text host; /* the authority: of an absolute target, else Host; may be empty */
	unsigned minor_version; /* 0 or 1 */
	bool has_origin; /* a web page asks (RFC 6454 §7): browsers say so with every POST */
};

/*
 * Parses what has come so far. Lines end with CRLF or a bare LF (RFC 9112 §2.2). `*out` is filled
 * only with ADMIN_REQUEST_OK; HTTP/1.1 without exactly one Host is BAD (§3.2).
 */
enum admin_request_verdict admin_request_parse(const char *data, size_t length,
					       struct admin_request *out);

/*
 * Whether a request for this authority may be answered. A page in a browser can point its own name
 * at 127.0.0.1 (DNS rebinding) but not make the browser say another: so only IP addresses,
 * "localhost", nothing at all, and `configured` (the `admin` option as given; NULL: none) are
 * accepted, each with or without a port.
 */
bool admin_request_is_host_allowed(struct admin_text host, const char *configured);

/*
 * The domain name in `name=` of a query (percent-encoding undone), folded, in wire form. Its
 * length, or -EINVAL: there is none, or it is no domain name.
 */
int admin_request_find_name(struct admin_text query, uint8_t out[DNS_NAME_MAX]);

/* Whether the two are the same bytes. */
bool admin_text_is(struct admin_text text, const char *other);
