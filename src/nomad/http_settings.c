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

static int copy(const char *from, char **out)
{
	*out = from ? strdup(from) : NULL;
	return from && !*out ? -ENOMEM : 0;
}

/* The file must be there now; what stands in it libcurl reads for each connection. */
static int copy_path(const char *what, const char *path, char **out, char *why, size_t why_capacity)
{
	if (path && access(path, R_OK) < 0) {
		snprintf(why, why_capacity, "cannot read %s %s: %s", what, path, strerror(errno));
		return -EINVAL;
	}
	return copy(path, out);
}

static int take_tls(struct http_settings *settings, const struct config *config, char *why,
		    size_t why_capacity)
{
	int rc = copy_path("nomad-ca-cert", config->nomad_ca_cert, &settings->ca_cert, why,
			   why_capacity);

	if (rc == 0)
		rc = copy_path("nomad-ca-path", config->nomad_ca_path, &settings->ca_path, why,
			       why_capacity);
	if (rc == 0)
		rc = copy_path("nomad-client-cert", config->nomad_client_cert,
			       &settings->client_cert, why, why_capacity);
	if (rc == 0)
		rc = copy_path("nomad-client-key", config->nomad_client_key, &settings->client_key,
			       why, why_capacity);
	if (rc == 0 && !settings->client_cert != !settings->client_key) {
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
	free(settings->ca_cert);
	free(settings->ca_path);
	free(settings->client_cert);
	free(settings->client_key);
	memset(settings, 0, sizeof(*settings));
}

static bool is_other(const struct http_secret *a, const struct http_secret *b)
{
	return !a->text || !b->text ? a->text != b->text : strcmp(a->text, b->text) != 0;
}

bool http_settings_differ(const struct http_settings *a, const struct http_settings *b)
{
	return is_other(&a->token, &b->token) || is_other(&a->auth, &b->auth);
}

bool http_settings_refresh(struct http_settings *settings)
{
	bool is_new = http_secret_refresh(&settings->auth);

	return http_secret_refresh(&settings->token) || is_new;
}
