#include "nomad/http_settings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "config/config.h"
#include "nomad/http.h"

int http_escape(const char *text, size_t length, char *out, size_t capacity)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789-._~"; /* RFC 3986 §2.3 */
	static const char digits[] = "0123456789ABCDEF";
	size_t at = 0;

	for (size_t i = 0; i < length; i++) {
		unsigned char c = (unsigned char)text[i];
		bool is_plain = c != '\0' && strchr(plain, c);

		if (at + (is_plain ? 1 : 3) >= capacity)
			return -ENAMETOOLONG;
		if (is_plain) {
			out[at++] = (char)c;
			continue;
		}
		out[at++] = '%';
		out[at++] = digits[c >> 4];
		out[at++] = digits[c & 15];
	}
	if (at >= capacity)
		return -ENAMETOOLONG;
	out[at] = '\0';
	return (int)at;
}

/* The file must be there now; what stands in it libcurl reads for each connection. */
static int take_file(struct http_file *file, const char *what, const char *path, char *why,
		     size_t why_capacity)
{
	if (!path)
		return 0;
	if (access(path, R_OK) < 0) {
		snprintf(why, why_capacity, "cannot read %s %s: %s", what, path, strerror(errno));
		return -EINVAL;
	}
	file->mark = file_mark_at(path);
	file->path = strdup(path);
	return file->path ? 0 : -ENOMEM;
}

static int take_tls(struct http_settings *settings, const struct config *config, char *why,
		    size_t why_capacity)
{
	const struct {
		struct http_file *file;
		const char *what, *path;
	} rows[] = {
		{ &settings->ca_cert, "nomad-ca-cert", config->nomad_ca_cert },
		{ &settings->ca_path, "nomad-ca-path", config->nomad_ca_path },
		{ &settings->client_cert, "nomad-client-cert", config->nomad_client_cert },
		{ &settings->client_key, "nomad-client-key", config->nomad_client_key },
	};
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < sizeof(rows) / sizeof(rows[0]); i++)
		rc = take_file(rows[i].file, rows[i].what, rows[i].path, why, why_capacity);
	if (rc == 0 && !settings->client_cert.path != !settings->client_key.path) {
		snprintf(why, why_capacity,
			 "nomad-client-cert and nomad-client-key only work together");
		rc = -EINVAL;
	}
	settings->skip_verify = config->nomad_tls_skip_verify;
	if (settings->skip_verify)
		log_warn("nomad",
			 "nomad-tls-skip-verify is on: whoever stands between us and Nomad "
			 "can read the token and make up answers");
	return rc;
}

static int take_addresses(struct http_settings *settings, const struct config *config, char *why,
			  size_t why_capacity)
{
	size_t count = config->nomad_address_count;

	if (count == 0) {
		snprintf(why, why_capacity, "no nomad-address");
		return -EINVAL;
	}
	settings->addresses = calloc(count, sizeof(*settings->addresses));
	if (!settings->addresses)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		struct http_address *address = &settings->addresses[i];
		int rc = http_address_parse(config->nomad_address[i], config->nomad_tls_server_name,
					    address, why, why_capacity);

		if (rc < 0)
			return rc;
		settings->address_count = i + 1;
	}
	return 0;
}

static int take_region(struct http_settings *settings, const char *region)
{
	size_t capacity = region ? strlen(region) * 3 + 1 : 0;

	if (!region || !region[0])
		return 0;
	settings->region = malloc(capacity);
	if (!settings->region)
		return -ENOMEM;
	http_escape(region, strlen(region), settings->region, capacity);
	return 0;
}

int http_settings_init(struct http_settings *settings, const struct config *config, char *why,
		       size_t why_capacity)
{
	int rc = take_addresses(settings, config, why, why_capacity);

	if (rc == 0)
		rc = take_tls(settings, config, why, why_capacity);
	if (rc == 0)
		rc = take_region(settings, config->nomad_region);
	if (rc == 0)
		rc = http_secret_init(&settings->token, "nomad-token-file",
				      config->nomad_token_file, config->nomad_token, why,
				      why_capacity);
	if (rc == 0)
		rc = http_secret_init(&settings->auth, "nomad-http-auth-file",
				      config->nomad_http_auth_file, config->nomad_http_auth, why,
				      why_capacity);
	return rc;
}

void http_settings_deinit(struct http_settings *settings)
{
	for (size_t i = 0; i < settings->address_count; i++)
		http_address_deinit(&settings->addresses[i]);
	free(settings->addresses);
	http_secret_deinit(&settings->token);
	http_secret_deinit(&settings->auth);
	free(settings->region);
	free(settings->ca_cert.path);
	free(settings->ca_path.path);
	free(settings->client_cert.path);
	free(settings->client_key.path);
	memset(settings, 0, sizeof(*settings));
}

/* Of texts that may be NULL. */
static bool is_same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

bool http_settings_differ(const struct http_settings *a, const struct http_settings *b)
{
	return !is_same_text(a->token.text, b->token.text) ||
	       !is_same_text(a->auth.text, b->auth.text);
}

static bool is_same_file(const struct http_file *a, const struct http_file *b)
{
	return is_same_text(a->path, b->path) && file_mark_is_same(&a->mark, &b->mark);
}

static bool is_same_address(const struct http_address *a, const struct http_address *b)
{
	return is_same_text(a->base, b->base) && is_same_text(a->connect_to, b->connect_to) &&
	       is_same_text(a->unix_path, b->unix_path);
}

bool http_settings_same_way(const struct http_settings *a, const struct http_settings *b)
{
	if (a->address_count != b->address_count || a->skip_verify != b->skip_verify)
		return false;
	for (size_t i = 0; i < a->address_count; i++) {
		if (!is_same_address(&a->addresses[i], &b->addresses[i]))
			return false;
	}
	/* What stands in a directory of CAs may change without its mark. */
	return (a->ca_cert.path || !a->ca_path.path) && is_same_file(&a->ca_cert, &b->ca_cert) &&
	       is_same_file(&a->ca_path, &b->ca_path) &&
	       is_same_file(&a->client_cert, &b->client_cert) &&
	       is_same_file(&a->client_key, &b->client_key);
}

bool http_settings_refresh(struct http_settings *settings)
{
	bool is_new = http_secret_refresh(&settings->auth);

	return http_secret_refresh(&settings->token) || is_new;
}
