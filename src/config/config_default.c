#include "config/config_default.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/str.h"
#include "config/config.h"
#include "config/config_build.h"
#include "config/options.h"

#define DEFAULT_NOMAD "http://127.0.0.1:4646"
#define DEFAULT_FORWARD "/etc/resolv.conf"
#define PATH_TEXT_MAX 4096
#define ORIGIN_TEXT_MAX 160
#define SECRET_MAX_BYTES 16384 /* what fits a request header */

static int put_default(struct config_build *build, const char *name, const char *origin,
		       const char *value)
{
	return config_build_put(build, option_find(name), CONFIG_SOURCE_DEFAULT, origin, value);
}

static bool is_open(const struct config_build *build, const char *name)
{
	return config_build_source(build, option_find(name)) == CONFIG_SOURCE_NONE;
}

/* Joins the directory a variable names and a file in it; whether that file is there. */
static bool find_file_in(const struct config_build *build, const char *variable, const char *file,
			 char out[PATH_TEXT_MAX])
{
	const char *directory = config_build_variable(build, variable);

	if (directory == NULL || str_format(out, PATH_TEXT_MAX, "%s/%s", directory, file) < 0)
		return false;
	return access(out, F_OK) == 0;
}

static int put_nomad_address(struct config_build *build)
{
	const char *address = config_build_variable(build, "NOMAD_ADDR");
	const char *unix_address = config_build_variable(build, "NOMAD_UNIX_ADDR");
	char path[PATH_TEXT_MAX], text[PATH_TEXT_MAX + 8];

	if (!is_open(build, "nomad-address"))
		return 0;
	if (address != NULL)
		return put_default(build, "nomad-address", "environment NOMAD_ADDR", address);
	if (unix_address != NULL)
		return put_default(build, "nomad-address", "environment NOMAD_UNIX_ADDR",
				   unix_address);
	if (find_file_in(build, "NOMAD_SECRETS_DIR", "api.sock", path)) {
		snprintf(text, sizeof(text), "unix://%s", path);
		return put_default(build, "nomad-address", "environment NOMAD_SECRETS_DIR", text);
	}
	return put_default(build, "nomad-address", "default", DEFAULT_NOMAD);
}

/* Keeps a secret from a variable, without the blanks and line ends a shell may leave around it. */
static int keep_secret(struct config_build *build, const char *name, const char *variable,
		       char **field)
{
	const char *text = config_build_variable(build, variable);
	char origin[ORIGIN_TEXT_MAX];
	size_t length;

	if (text == NULL)
		return 0;
	text += strspn(text, " \t\r\n");
	length = strlen(text);
	while (length > 0 && strchr(" \t\r\n", text[length - 1]) != NULL)
		length--;
	if (length == 0)
		return 0;
	for (size_t i = 0; i < length; i++) {
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f || length > SECRET_MAX_BYTES)
			return config_build_fail(
				build, EX_CONFIG,
				"%s (environment %s) is too long or has control "
				"characters; allowed: one line of at most %d bytes",
				name, variable, SECRET_MAX_BYTES);
	}
	*field = strndup(text, length);
	if (*field == NULL)
		return config_build_fail(build, EX_OSERR, "out of memory");
	snprintf(origin, sizeof(origin), "environment %s", variable);
	return config_build_note(build, option_find(name), CONFIG_SOURCE_DEFAULT, origin, "(set)");
}

static int put_token(struct config_build *build)
{
	char path[PATH_TEXT_MAX];

	if (!is_open(build, "nomad-token-file"))
		return 0;
	if (find_file_in(build, "CREDENTIALS_DIRECTORY", "nomad-token", path))
		return put_default(build, "nomad-token-file", "environment CREDENTIALS_DIRECTORY",
				   path);
	if (find_file_in(build, "NOMAD_SECRETS_DIR", "nomad_token", path))
		return put_default(build, "nomad-token-file", "environment NOMAD_SECRETS_DIR",
				   path);
	return keep_secret(build, "nomad-token-file", "NOMAD_TOKEN", &build->config->nomad_token);
}

static int put_http_auth(struct config_build *build)
{
	if (!is_open(build, "nomad-http-auth-file"))
		return 0;
	return keep_secret(build, "nomad-http-auth-file", "NOMAD_HTTP_AUTH",
			   &build->config->nomad_http_auth);
}

static int put_server_id(struct config_build *build)
{
	const struct option_row *row = option_find("server-id");
	char name[129] = ""; /* the longest server-id and its NUL */

	if (!is_open(build, "server-id"))
		return 0;
	if (gethostname(name, sizeof(name) - 1) != 0)
		name[0] = '\0';
	for (const char *p = name; *p != '\0'; p++) {
		if (*p <= 0x20 || *p == 0x7f)
			name[0] = '\0';
	}
	return config_build_put(build, row, CONFIG_SOURCE_DEFAULT, "default: the host's name",
				name);
}

/* Values for single domains leave everything else where it went before. */
static int put_forward_rest(struct config_build *build)
{
	const struct config *config = build->config;
	const struct option_row *row = option_find("forward");

	for (size_t i = 0; i < config->forward_count; i++) {
		if (config->forward[i].domain_length == 0)
			return 0;
	}
	return config_build_put(build, row, config_build_source(build, row), "default",
				DEFAULT_FORWARD);
}

static int put_row_default(struct config_build *build, const struct option_row *row)
{
	const char *value =
		row->fallback_env != NULL ? config_build_variable(build, row->fallback_env) : NULL;
	char origin[ORIGIN_TEXT_MAX];
	bool is_on;

	/* Nomad's own tools pass over a boolean they cannot read; so do we. */
	if (value != NULL && row->argument == NULL && str_parse_bool(value, &is_on) < 0)
		value = NULL;
	if (value != NULL) {
		snprintf(origin, sizeof(origin), "environment %s", row->fallback_env);
		return config_build_put(build, row, CONFIG_SOURCE_DEFAULT, origin, value);
	}
	if (row->value == NULL)
		return 0;
	return config_build_put_list(build, row, CONFIG_SOURCE_DEFAULT, "default", row->value);
}

int config_default_put(struct config_build *build)
{
	static int (*const computed[])(struct config_build *) = { put_nomad_address, put_token,
								  put_http_auth, put_server_id,
								  put_forward_rest };
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < option_row_count; i++) {
		if (is_open(build, option_rows[i].name))
			rc = put_row_default(build, &option_rows[i]);
	}
	for (size_t i = 0; rc == 0 && i < COUNT_OF(computed); i++)
		rc = computed[i](build);
	return rc;
}
