#include "nomad/http_address.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

#include "base/str.h"
#include "dns/name.h"

#define HOST_MAX 255
#define UNIX_PATH_MAX (sizeof(((struct sockaddr_un *)0)->sun_path) - 1)

struct part {
	const char *at;
	size_t length;
};

struct parts { /* of an http or https address; text borrowed */
	const char *scheme;
	struct part userinfo, host; /* at NULL: none; an IPv6 host with its brackets */
	uint16_t port;
};

static int refuse(char *why, size_t capacity, const char *text, const char *reason)
{
	const char *at = strrchr(text, '@');

	/* What stands before an '@' may be a password. */
	if (at)
		snprintf(why, capacity, "nomad-address …%s: %s", at, reason);
	else
		snprintf(why, capacity, "nomad-address %s: %s", text, reason);
	return -EINVAL;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* A copy with %XX decoded; NULL: out of memory. */
static char *decode(struct part part)
{
	char *out = malloc(part.length + 1);
	size_t at = 0;

	if (!out)
		return NULL;
	for (size_t i = 0; i < part.length; i++) {
		char c = part.at[i];

		if (c == '%' && i + 2 < part.length && hex_digit(part.at[i + 1]) >= 0 &&
		    hex_digit(part.at[i + 2]) >= 0) {
			c = (char)(hex_digit(part.at[i + 1]) * 16 + hex_digit(part.at[i + 2]));
			i += 2;
		}
		out[at++] = c;
	}
	out[at] = '\0';
	return out;
}

static bool is_host(struct part host)
{
	static const char name[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				   "0123456789-._";
	bool is_ip6 = host.length > 2 && host.at[0] == '[';

	if (host.length == 0 || host.length > HOST_MAX)
		return false;
	for (size_t i = is_ip6; i < host.length - is_ip6; i++) {
		if (host.at[i] == '\0' || !strchr(name, host.at[i])) {
			if (!is_ip6 || (host.at[i] != ':' && host.at[i] != '%'))
				return false;
		}
	}
	return true;
}

static int take_port(struct part text, uint16_t *out)
{
	char digits[6];
	uint64_t port;

	if (text.length == 0 || text.length >= sizeof(digits))
		return -EINVAL;
	memcpy(digits, text.at, text.length);
	digits[text.length] = '\0';
	if (str_parse_uint(digits, 1, UINT16_MAX, &port) < 0)
		return -EINVAL;
	*out = (uint16_t)port;
	return 0;
}

/* NULL, or what is wrong. */
static const char *take_apart(const char *text, struct parts *out)
{
	bool is_tls = strncasecmp(text, "https://", 8) == 0;
	struct part rest;
	const char *end;

	if (!is_tls && strncasecmp(text, "http://", 7) != 0)
		return "needs http://, https:// or unix:// in front";
	out->scheme = is_tls ? "https" : "http";
	out->port = is_tls ? 443 : 80;
	rest.at = text + (is_tls ? 8 : 7);
	rest.length = strcspn(rest.at, "/?#");
	end = memrchr(rest.at, '@', rest.length);
	if (end) {
		out->userinfo = (struct part){ rest.at, (size_t)(end - rest.at) };
		rest.length -= (size_t)(end + 1 - rest.at);
		rest.at = end + 1;
	}
	out->host = rest;
	end = rest.length && rest.at[0] == '[' ? memchr(rest.at, ']', rest.length) : NULL;
	if (rest.length && rest.at[0] == '[' && !end)
		return "']' is missing";
	end = memchr(end ? end : rest.at, ':',
		     rest.length - (size_t)((end ? end : rest.at) - rest.at));
	if (end) {
		out->host.length = (size_t)(end - rest.at);
		if (take_port((struct part){ end + 1, rest.length - out->host.length - 1 },
			      &out->port) < 0)
			return "the port must be 1 to 65535";
	}
	return is_host(out->host) ? NULL : "this is no host";
}

static int parse_unix(const char *text, struct http_address *out, char *why, size_t why_capacity)
{
	const char *path = text + strlen("unix://");

	if (path[0] != '/')
		return refuse(why, why_capacity, text, "needs an absolute path: unix:///path");
	if (strlen(path) > UNIX_PATH_MAX)
		return refuse(why, why_capacity, text,
			      "a unix socket's path has at most 107 bytes; mount it nearer");
	out->text = strdup(text);
	out->base = strdup("http://127.0.0.1");
	out->unix_path = strdup(path);
	return out->text && out->base && out->unix_path ? 0 : -ENOMEM;
}

static int compose(const struct parts *parts, const char *name, struct http_address *out)
{
	int host = (int)parts->host.length;

	if (asprintf(&out->text, "%s://%.*s:%u", parts->scheme, host, parts->host.at,
		     (unsigned)parts->port) < 0) {
		out->text = NULL;
		return -ENOMEM;
	}
	out->base = name ? NULL : strdup(out->text);
	if (name && asprintf(&out->base, "https://%s:%u", name, (unsigned)parts->port) < 0)
		out->base = NULL;
	if (name && asprintf(&out->connect_to, "%s:%u:%.*s:%u", name, (unsigned)parts->port, host,
			     parts->host.at, (unsigned)parts->port) < 0) {
		out->connect_to = NULL;
		return -ENOMEM;
	}
	if (!out->base)
		return -ENOMEM;
	if (!parts->userinfo.at)
		return 0;
	out->userinfo = decode(parts->userinfo);
	return out->userinfo ? 0 : -ENOMEM;
}

int http_address_parse(const char *text, const char *tls_server_name, struct http_address *out,
		       char *why, size_t why_capacity)
{
	struct http_address made = { 0 };
	struct parts parts = { 0 };
	const char *problem;
	int rc;

	if (strncasecmp(text, "unix://", 7) == 0) {
		rc = parse_unix(text, &made, why, why_capacity);
		goto out;
	}
	problem = take_apart(text, &parts);
	if (problem)
		return refuse(why, why_capacity, text, problem);
	if (strcmp(parts.scheme, "https") != 0)
		tls_server_name = NULL;
	if (tls_server_name && !name_is_host(tls_server_name, strlen(tls_server_name))) {
		snprintf(why, why_capacity, "nomad-tls-server-name %s is no host name",
			 tls_server_name);
		return -EINVAL;
	}
	rc = compose(&parts, tls_server_name, &made);
out:
	if (rc == -ENOMEM)
		snprintf(why, why_capacity, "out of memory");
	if (rc < 0)
		http_address_deinit(&made);
	else
		*out = made;
	return rc;
}

void http_address_deinit(struct http_address *address)
{
	if (address->userinfo)
		explicit_bzero(address->userinfo, strlen(address->userinfo));
	free(address->text);
	free(address->base);
	free(address->connect_to);
	free(address->unix_path);
	free(address->userinfo);
	memset(address, 0, sizeof(*address));
}
