/*
 * From the text of one value to a field of struct config: the parsers the rows of the options table
 * point to. Each returns 0, -ENOMEM, or -EINVAL with what is wrong with the text in `why` (empty:
 * the row's `allowed` says it all); the configuration is untouched on failure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct config;
struct option_row;

#define OPTION_PARSER(name)                                                                        \
	int name(const struct option_row *row, struct config *config, const char *text, char *why, \
		 size_t why_capacity)

/* Plain fields, by row->field, min, max and choices. */
OPTION_PARSER(option_value_string);
OPTION_PARSER(option_value_bool);
OPTION_PARSER(option_value_uint);
OPTION_PARSER(option_value_size);
OPTION_PARSER(option_value_duration_ms);
OPTION_PARSER(option_value_duration_s);
OPTION_PARSER(option_value_choice);

/* Fields of their own. */
OPTION_PARSER(option_value_host_name);
OPTION_PARSER(option_value_admin);
OPTION_PARSER(option_value_metrics_prefix);
OPTION_PARSER(option_value_preload);

/* No control characters. */
bool option_value_is_printable(const char *text);

/* Whether a unix socket can have this path: absolute, at most 107 bytes (unix(7)). 0 or -EINVAL. */
int option_value_check_unix_path(const char *path, char *why, size_t why_capacity);

/* `text` as it may be printed: userinfo of a URL hidden, control characters replaced, cut to
 * `capacity`. */
void option_value_show(const struct option_row *row, const char *text, char *out, size_t capacity);
