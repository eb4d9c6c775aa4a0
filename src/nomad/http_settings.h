/* What a configuration says about the way to Nomad, copied and checked. Private to http. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/file_mark.h"
#include "nomad/http_address.h"
#include "nomad/http_secret.h"

struct config;

struct http_file {
	char *path; /* NULL: none */
	struct file_mark mark;
};

struct http_settings {
	struct http_address *addresses;
	size_t address_count; /* >= 1 */
	struct http_secret token, auth;
	char *region; /* escaped; NULL: none */
	struct http_file ca_cert, ca_path, client_cert, client_key;
	bool skip_verify;
};

/* Fills a zeroed struct. 0, -EINVAL with `why`, or -ENOMEM; on failure it still wants its deinit.
 */
int http_settings_init(struct http_settings *settings, const struct config *config, char *why,
		       size_t why_capacity);
void http_settings_deinit(struct http_settings *settings);

/* Whether the two have different secrets. */
bool http_settings_differ(const struct http_settings *a, const struct http_settings *b);

/* Whether a connection made under `a` is as good under `b`: the same addresses, and the same files
 * and rules of TLS. Secrets and region go with each request, so they do not count. */
bool http_settings_same_way(const struct http_settings *a, const struct http_settings *b);

/* Reads the files of secrets that changed. true: there is a different one now. */
bool http_settings_refresh(struct http_settings *settings);
