#include "config/option_value.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

#include "base/addr.h"
#include "base/str.h"
#include "config/config.h"
#include "config/options.h"
#include "dns/name.h"

#define UNIX_PATH_MAX_BYTES (sizeof(((struct sockaddr_un *)0)->sun_path) - 1)
#define ADMIN_PORT 9153 /* where CoreDNS serves its metrics */

static void *field_of(const struct option_row *row, struct config *config)
{
	return (char *)config + row->field;
}

bool option_value_is_printable(const char *text)
{
	for (; *text != '\0'; text++) {
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			return false;
	}
	return true;
}

static int set_string(char **field, const char *text)
{
	char *copy = strdup(text);

	if (copy == NULL)
		return -ENOMEM;
	free(*field);
	*field = copy;
	return 0;
}

int option_value_string(const struct option_row *row, struct config *config, const char *text,
			char *why, size_t why_capacity)
{
	size_t length = strlen(text);

	if (row->max != 0 && length > row->max) {
		snprintf(why, why_capacity, "it has %zu bytes", length);
		return -EINVAL;
	}
	if (!option_value_is_printable(text)) {
		snprintf(why, why_capacity, "it has control characters");
		return -EINVAL;
	}
	return set_string(field_of(row, config), text);
}

int option_value_bool(const struct option_row *row, struct config *config, const char *text,
		      char *why, size_t why_capacity)
{
	(void)why;
	(void)why_capacity;
	return str_parse_bool(text, field_of(row, config));
}

static int check_range(int rc, uint64_t value, const struct option_row *row, char *why,
		       size_t why_capacity)
{
	if (rc == 0 && value >= row->min && value <= row->max)
		return 0;
	if (rc != -EINVAL)
		snprintf(why, why_capacity, "it is too %s",
			 rc == 0 && value < row->min ? "small" : "large");
	return -EINVAL;
}

int option_value_uint(const struct option_row *row, struct config *config, const char *text,
		      char *why, size_t why_capacity)
{
	uint64_t value = 0;
	int rc = str_parse_uint(text, 0, UINT32_MAX, &value);

	rc = check_range(rc, value, row, why, why_capacity);
	if (rc < 0)
		return rc;
	*(unsigned *)field_of(row, config) = (unsigned)value;
	return 0;
}

/* A size of 0 turns the thing off, whatever the smallest useful one is. */
int option_value_size(const struct option_row *row, struct config *config, const char *text,
		      char *why, size_t why_capacity)
{
	uint64_t value = 0;
	int rc = str_parse_size(text, &value);

	if (rc < 0 || value != 0)
		rc = check_range(rc, value, row, why, why_capacity);
	if (rc < 0)
		return rc;
	*(uint64_t *)field_of(row, config) = value;
	return 0;
}

static int parse_duration(const struct option_row *row, const char *text, uint64_t *out_ms,
			  char *why, size_t why_capacity)
{
	int rc = str_parse_duration_ms(text, out_ms);
	uint64_t number;

	if (rc == -EINVAL && str_parse_uint(text, 0, UINT64_MAX, &number) == 0) {
		snprintf(why, why_capacity, "it has no unit (ms, s, m, h, d)");
		return -EINVAL;
	}
	return check_range(rc, *out_ms, row, why, why_capacity);
}

int option_value_duration_ms(const struct option_row *row, struct config *config, const char *text,
			     char *why, size_t why_capacity)
{
	uint64_t ms = 0;
	int rc = parse_duration(row, text, &ms, why, why_capacity);

	if (rc < 0)
		return rc;
	*(uint64_t *)field_of(row, config) = ms;
	return 0;
}

int option_value_duration_s(const struct option_row *row, struct config *config, const char *text,
			    char *why, size_t why_capacity)
{
	uint64_t ms = 0;
	int rc = parse_duration(row, text, &ms, why, why_capacity);

	if (rc < 0)
		return rc;
	if (ms % 1000 != 0) {
		snprintf(why, why_capacity, "DNS counts in whole seconds");
		return -EINVAL;
	}
	*(uint32_t *)field_of(row, config) = (uint32_t)(ms / 1000);
	return 0;
}

int option_value_choice(const struct option_row *row, struct config *config, const char *text,
			char *why, size_t why_capacity)
{
	(void)why;
	(void)why_capacity;
	for (unsigned i = 0; row->choices[i] != NULL; i++) {
		if (strcasecmp(text, row->choices[i]) == 0) {
			memcpy(field_of(row, config), &i, sizeof(i));
			return 0;
		}
	}
	return -EINVAL;
}

int option_value_host_name(const struct option_row *row, struct config *config, const char *text,
			   char *why, size_t why_capacity)
{
	struct addr addr;

	if (!name_is_host(text, strlen(text)) && addr_parse_ip(text, &addr) < 0) {
		snprintf(why, why_capacity, "it is no host name");
		return -EINVAL;
	}
	return set_string(field_of(row, config), text);
}

int option_value_check_unix_path(const char *path, char *why, size_t why_capacity)
{
	if (path[0] != '/') {
		snprintf(why, why_capacity, "the socket's path does not begin with '/'");
		return -EINVAL;
	}
	if (strlen(path) > UNIX_PATH_MAX_BYTES) {
		snprintf(why, why_capacity,
			 "the socket's path has %zu bytes and the kernel allows %zu; a shorter "
			 "task name or directory helps",
			 strlen(path), UNIX_PATH_MAX_BYTES);
		return -EINVAL;
	}
	return 0;
}

static int set_admin(struct config *config, const char *text, const char *path,
		     const struct addr *addr)
{
	char *path_copy = path == NULL ? NULL : strdup(path);

	if ((path != NULL && path_copy == NULL) || set_string(&config->admin, text) < 0) {
		free(path_copy);
		return -ENOMEM;
	}
	free(config->admin_path);
	config->admin_path = path_copy;
	config->admin_addr = addr == NULL ? (struct addr){ 0 } : *addr;
	config->admin_is_off = path == NULL && addr == NULL;
	return 0;
}

int option_value_admin(const struct option_row *row, struct config *config, const char *text,
		       char *why, size_t why_capacity)
{
	const char *path = strncasecmp(text, "unix://", 7) == 0 ? text + 7 : text;
	struct addr addr;

	(void)row;
	if (strcasecmp(text, "off") == 0)
		return set_admin(config, text, NULL, NULL);
	if (!option_value_is_printable(text)) {
		snprintf(why, why_capacity, "it has control characters");
		return -EINVAL;
	}
	if (path != text || path[0] == '/') {
		if (option_value_check_unix_path(path, why, why_capacity) < 0)
			return -EINVAL;
		return set_admin(config, text, path, NULL);
	}
	if (addr_parse(text, ADMIN_PORT, &addr) < 0)
		return -EINVAL;
	return set_admin(config, text, NULL, &addr);
}

int option_value_metrics_prefix(const struct option_row *row, struct config *config,
				const char *text, char *why, size_t why_capacity)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";

	if (strchr(letters, text[0]) == NULL ||
	    text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789")] !=
		    '\0')
		return -EINVAL;
	return option_value_string(row, config, text, why, why_capacity);
}

int option_value_preload(const struct option_row *row, struct config *config, const char *text,
			 char *why, size_t why_capacity)
{
	uint32_t *field = field_of(row, config);
	uint64_t number = 0;
	int rc;

	if (strcasecmp(text, "auto") == 0) {
		*field = CONFIG_PRELOAD_AUTO;
		return 0;
	}
	if (strcasecmp(text, "off") == 0) {
		*field = 0;
		return 0;
	}
	rc = str_parse_uint(text, 0, UINT32_MAX, &number);
	rc = check_range(rc, number, row, why, why_capacity);
	if (rc < 0)
		return rc;
	*field = (uint32_t)number;
	return 0;
}

void option_value_show(const struct option_row *row, const char *text, char *out, size_t capacity)
{
	const char *at = row != NULL && row->has_userinfo ? strrchr(text, '@') : NULL;
	const char *separator = strstr(text, "://");
	int scheme_length = separator == NULL ? 0 : (int)(separator + 3 - text);

	if (at != NULL && at - text >= scheme_length)
		snprintf(out, capacity, "%.*s***%s", scheme_length, text, at);
	else
		snprintf(out, capacity, "%s", text);
	for (; *out != '\0'; out++) {
		if ((unsigned char)*out < 0x20 || *out == 0x7f)
			*out = '?';
	}
}
