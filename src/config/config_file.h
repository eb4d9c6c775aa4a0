/*
 * The form of the configuration file: `name = value` lines, strings in double quotes, lists in
 * brackets, `#` comments: what HCL and TOML have in common, and bare words besides. Pure: text to
 * values, safe for any bytes; what the names mean is not known here.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define CONFIG_FILE_MAX_BYTES (1u << 20)

struct config_file_value { /* borrowed for the callback */
	const char *name;
	const char *text; /* NULL: the list is empty */
	unsigned line;	  /* where the value stands, from 1 */
	bool is_in_list;
	bool is_first; /* of its list, or no list */
};

struct config_file_error {
	unsigned line;
	char why[160];
};

/* Called for each value in order; anything but 0 ends the parse. */
typedef int config_file_found(void *arg, const struct config_file_value *value);

/*
 * 0; -EINVAL with `error` filled; or what the callback returned. Text over CONFIG_FILE_MAX_BYTES is
 * an error, and so are names over 63 and values over 4,095 bytes.
 */
int config_file_parse(const char *text, size_t length, config_file_found *found, void *arg,
		      struct config_file_error *error);
