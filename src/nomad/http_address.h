/*
 * One configured agent address, taken apart: what to connect to, what to call it in URLs and logs,
 * and who to say we are. Private to http. Pure.
 */
#pragma once

#include <stddef.h>

struct http_address {
	char *text;	  /* for people, without userinfo: "https://10.0.0.1:4646" */
	char *base;	  /* what a URL begins with; its host is the name TLS verifies */
	char *connect_to; /* "name:port:host:port" when base names another host; else NULL */
	char *unix_path;  /* NULL: TCP */
	char *userinfo;	  /* "user:password", percent-decoded; NULL: none */
};

/*
 * "http://host:port", "https://…", "unix:///path"; a path behind a host is dropped, as Nomad's own
 * client does. `tls_server_name` may be NULL. 0, -EINVAL with `why`, or -ENOMEM.
 */
int http_address_parse(const char *text, const char *tls_server_name, struct http_address *out,
		       char *why, size_t why_capacity);

/* Frees what it holds; userinfo is wiped. Zeroed is fine. */
void http_address_deinit(struct http_address *address);
