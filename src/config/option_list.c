#include "config/option_list.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/addr.h"
#include "base/str.h"
#include "config/config.h"
#include "config/options.h"
#include "dns/name.h"

#define DNS_PORT 53
#define DNS_TLS_PORT 853 /* RFC 7858 §3.1 */
#define TLS_SCHEME "tls://"

/* What the shortest target of an SRV record has in front of the zone: an IPv6 address written out
 * (39 letters), a service and a namespace of one letter, each with its length. */
#define ROOM_BELOW_ZONE_BYTES (40u + 2u + 2u)

int option_list_add_listen(const struct option_row *row, struct config *config, const char *text,
			   char *why, size_t why_capacity)
{
	struct addr addr, *grown;

	(void)row;
	if (addr_parse(text, DNS_PORT, &addr) < 0) {
		snprintf(why, why_capacity, "it is no IP address with an optional port");
		return -EINVAL;
	}
	for (size_t i = 0; i < config->listen_count; i++) {
		if (addr_same_ip(&config->listen[i], &addr) && addr.port != 0 &&
		    config->listen[i].port == addr.port) {
			snprintf(why, why_capacity, "it is given twice");
			return -EINVAL;
		}
	}
	grown = reallocarray(config->listen, config->listen_count + 1, sizeof(*grown));
	if (grown == NULL)
		return -ENOMEM;
	config->listen = grown;
	config->listen[config->listen_count++] = addr;
	return 0;
}

void option_list_clear_listen(struct config *config)
{
	free(config->listen);
	config->listen = NULL;
	config->listen_count = 0;
}

int option_list_add_allow(const struct option_row *row, struct config *config, const char *text,
			  char *why, size_t why_capacity)
{
	struct addr_net net, *grown;

	(void)row;
	if (strcasecmp(text, "self") == 0) {
		config->allow_self = true;
		return 0;
	}
	if (addr_parse_net(text, &net) < 0) {
		snprintf(why, why_capacity, "it is no network, or has bits set behind its prefix");
		return -EINVAL;
	}
	grown = reallocarray(config->allow, config->allow_count + 1, sizeof(*grown));
	if (grown == NULL)
		return -ENOMEM;
	config->allow = grown;
	config->allow[config->allow_count++] = net;
	return 0;
}

void option_list_clear_allow(struct config *config)
{
	free(config->allow);
	config->allow = NULL;
	config->allow_count = 0;
	config->allow_self = false;
}

static int append_string(char ***list, size_t *count, const char *text)
{
	char **grown = reallocarray(*list, *count + 1, sizeof(*grown));

	if (grown == NULL)
		return -ENOMEM;
	*list = grown;
	grown[*count] = strdup(text);
	if (grown[*count] == NULL)
		return -ENOMEM;
	++*count;
	return 0;
}

static void clear_strings(char ***list, size_t *count)
{
	for (size_t i = 0; i < *count; i++)
		free((*list)[i]);
	free(*list);
	*list = NULL;
	*count = 0;
}

/* "host", "host:4646", "192.0.2.1:4646", "[2001:db8::1]:4646". */
static bool is_host_and_port(const char *text)
{
	char host[DNS_NAME_MAX + 1];
	const char *colon = strrchr(text, ':');
	struct addr addr;
	uint64_t port;
	size_t length;

	if (text[0] == '[' || strspn(text, "0123456789.") == strcspn(text, ":"))
		return addr_parse(text, 1, &addr) == 0 && addr.port != 0 &&
		       strchr(text, '%') == NULL;
	length = colon == NULL ? strlen(text) : (size_t)(colon - text);
	if (colon != NULL && str_parse_uint(colon + 1, 1, UINT16_MAX, &port) < 0)
		return false;
	if (length >= sizeof(host))
		return false;
	memcpy(host, text, length);
	host[length] = '\0';
	return name_is_host(host, length);
}

/* "http://[userinfo@]host[:port][/path]"; the path means nothing to Nomad's API and is dropped. */
static int add_http_address(struct config *config, const char *scheme, const char *authority,
			    char *why, size_t why_capacity)
{
	size_t length = strcspn(authority, "/?#");
	char copy[OPTION_VALUE_MAX + 1], address[OPTION_VALUE_MAX + 16];
	const char *host;

	if (authority[length] == '?' || authority[length] == '#' || length >= sizeof(copy)) {
		snprintf(why, why_capacity, "only a host and a port may follow the scheme");
		return -EINVAL;
	}
	memcpy(copy, authority, length);
	copy[length] = '\0';
	host = strrchr(copy, '@');
	host = host == NULL ? copy : host + 1;
	if (!is_host_and_port(host)) {
		snprintf(why, why_capacity, "its host or port is none");
		return -EINVAL;
	}
	if (str_format(address, sizeof(address), "%s://%s", scheme, copy) < 0)
		return -EINVAL;
	return append_string(&config->nomad_address, &config->nomad_address_count, address);
}

int option_list_add_nomad_address(const struct option_row *row, struct config *config,
				  const char *text, char *why, size_t why_capacity)
{
	static const char *const schemes[] = { "http", "https" };
	const char *separator = strstr(text, "://");

	(void)row;
	if (!option_value_is_printable(text) || strchr(text, ' ') != NULL) {
		snprintf(why, why_capacity, "it has blanks or control characters");
		return -EINVAL;
	}
	if (separator == NULL) {
		snprintf(why, why_capacity, "it does not begin with http://, https:// or unix://");
		return -EINVAL;
	}
	if (strncasecmp(text, "unix://", 7) == 0) {
		char address[OPTION_VALUE_MAX + 1];

		if (option_value_check_unix_path(text + 7, why, why_capacity) < 0)
			return -EINVAL;
		snprintf(address, sizeof(address), "unix://%s", text + 7);
		return append_string(&config->nomad_address, &config->nomad_address_count, address);
	}
	for (size_t i = 0; i < 2; i++) {
		size_t length = strlen(schemes[i]);

		if ((size_t)(separator - text) == length &&
		    strncasecmp(text, schemes[i], length) == 0)
			return add_http_address(config, schemes[i], separator + 3, why,
						why_capacity);
	}
	snprintf(why, why_capacity, "its scheme is none of ours");
	return -EINVAL;
}

void option_list_clear_nomad_address(struct config *config)
{
	clear_strings(&config->nomad_address, &config->nomad_address_count);
}

int option_list_add_namespace(const struct option_row *row, struct config *config, const char *text,
			      char *why, size_t why_capacity)
{
	(void)row;
	if (strcmp(text, "*") == 0) {
		snprintf(why, why_capacity, "leave the option out to serve every namespace");
		return -EINVAL;
	}
	if (!name_is_label(text, strlen(text))) {
		snprintf(why, why_capacity, "it cannot be a label of a DNS name");
		return -EINVAL;
	}
	for (size_t i = 0; i < config->namespace_count; i++) {
		if (strcmp(config->namespace[i], text) == 0) {
			snprintf(why, why_capacity, "it is given twice");
			return -EINVAL;
		}
	}
	return append_string(&config->namespace, &config->namespace_count, text);
}

void option_list_clear_namespace(struct config *config)
{
	clear_strings(&config->namespace, &config->namespace_count);
}

/* A domain name other than the root, folded. */
static int parse_domain(const char *text, uint8_t out[DNS_NAME_MAX], uint8_t *out_length)
{
	uint8_t name[DNS_NAME_MAX];
	int length = name_parse(text, name);

	if (length <= 1)
		return -EINVAL;
	name_fold(name, (size_t)length, out);
	*out_length = (uint8_t)length;
	return 0;
}

int option_list_add_zone(const struct option_row *row, struct config *config, const char *text,
			 char *why, size_t why_capacity)
{
	struct config_zone zone, *grown;

	(void)row;
	if (parse_domain(text, zone.name, &zone.length) < 0) {
		snprintf(why, why_capacity, "it is no domain name below the root");
		return -EINVAL;
	}
	if (zone.length > DNS_NAME_MAX - ROOM_BELOW_ZONE_BYTES) {
		snprintf(why, why_capacity,
			 "it has %u bytes of the %u a name may have, and %u must be left for the "
			 "services below it; give a shorter domain",
			 zone.length, DNS_NAME_MAX, ROOM_BELOW_ZONE_BYTES);
		return -EINVAL;
	}
	for (size_t i = 0; i < config->zone_count; i++) {
		if (config->zone[i].length == zone.length &&
		    memcmp(config->zone[i].name, zone.name, zone.length) == 0) {
			snprintf(why, why_capacity, "it is given twice");
			return -EINVAL;
		}
	}
	grown = reallocarray(config->zone, config->zone_count + 1, sizeof(*grown));
	if (grown == NULL)
		return -ENOMEM;
	config->zone = grown;
	config->zone[config->zone_count++] = zone;
	return 0;
}

void option_list_clear_zone(struct config *config)
{
	free(config->zone);
	config->zone = NULL;
	config->zone_count = 0;
}

/* Letters, digits and hyphens between dots: what certificates and SNI speak of (RFC 6066 §3). */
static bool is_host_name(const char *text)
{
	uint8_t name[DNS_NAME_MAX];

	return text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				 "0123456789-.")] == '\0' &&
	       strlen(text) < CONFIG_TLS_NAME_MAX && name_parse(text, name) > 1;
}

/* What follows "tls://": IP[:port][#name]. */
static int parse_forward_tls(const char *text, struct config_forward *out, char *why,
			     size_t why_capacity)
{
	const char *hash = strchr(text, '#');
	char where[ADDR_TEXT_MAX];
	int length = (int)(hash ? (size_t)(hash - text) : strnlen(text, sizeof(where)));

	if (str_format(where, sizeof(where), "%.*s", length, text) < 0 ||
	    addr_parse(where, DNS_TLS_PORT, &out->address) < 0 || out->address.port == 0 ||
	    addr_is_any(&out->address)) {
		snprintf(why, why_capacity,
			 "after tls:// stands no IP address with an optional port; the name in "
			 "the server's certificate goes behind it, as in "
			 "tls://192.0.2.1#dns.example");
		return -EINVAL;
	}
	if (hash && !is_host_name(hash + 1)) {
		snprintf(why, why_capacity, "what stands after '#' is no host name");
		return -EINVAL;
	}
	out->kind = CONFIG_FORWARD_ADDRESS;
	out->is_tls = true;
	if (hash)
		str_format(out->tls_name, sizeof(out->tls_name), "%s", hash + 1);
	/* Certificates are written without the root's dot. */
	length = (int)strlen(out->tls_name);
	if (length > 0 && out->tls_name[length - 1] == '.')
		out->tls_name[length - 1] = '\0';
	return 0;
}

/* What follows an optional "DOMAIN=": "none", a path, or an address. */
static int parse_forward_target(const char *text, struct config_forward *out, char *why,
				size_t why_capacity)
{
	if (strcmp(text, "none") == 0) {
		out->kind = CONFIG_FORWARD_NONE;
		return 0;
	}
	if (text[0] == '/') {
		out->kind = CONFIG_FORWARD_FILE;
		out->path = strdup(text);
		return out->path == NULL ? -ENOMEM : 0;
	}
	if (strncasecmp(text, TLS_SCHEME, strlen(TLS_SCHEME)) == 0)
		return parse_forward_tls(text + strlen(TLS_SCHEME), out, why, why_capacity);
	out->kind = CONFIG_FORWARD_ADDRESS;
	if (addr_parse(text, DNS_PORT, &out->address) < 0 || out->address.port == 0 ||
	    addr_is_any(&out->address)) {
		snprintf(why, why_capacity,
			 "'%.80s' is no IP address with an optional port (names are not resolved)",
			 text);
		return -EINVAL;
	}
	return 0;
}

int option_list_add_forward(const struct option_row *row, struct config *config, const char *text,
			    char *why, size_t why_capacity)
{
	const char *equals = text[0] == '/' ? NULL : strchr(text, '=');
	struct config_forward forward = { 0 }, *grown;
	int rc;

	(void)row;
	if (!option_value_is_printable(text)) {
		snprintf(why, why_capacity, "it has control characters");
		return -EINVAL;
	}
	if (equals != NULL) {
		char domain[NAME_TEXT_MAX];

		if (str_format(domain, sizeof(domain), "%.*s", (int)(equals - text), text) < 0 ||
		    parse_domain(domain, forward.domain, &forward.domain_length) < 0) {
			snprintf(why, why_capacity, "what stands before '=' is no domain name");
			return -EINVAL;
		}
		text = equals + 1;
	}
	rc = parse_forward_target(text, &forward, why, why_capacity);
	if (rc < 0)
		return rc;
	grown = reallocarray(config->forward, config->forward_count + 1, sizeof(*grown));
	if (grown == NULL) {
		free(forward.path);
		return -ENOMEM;
	}
	config->forward = grown;
	config->forward[config->forward_count++] = forward;
	return 0;
}

void option_list_clear_forward(struct config *config)
{
	for (size_t i = 0; i < config->forward_count; i++)
		free(config->forward[i].path);
	free(config->forward);
	config->forward = NULL;
	config->forward_count = 0;
}
