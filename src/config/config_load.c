/*
 * Where values come from: the file, the environment and the flags, put in this order, so that the
 * stronger one has the last word and everything given is checked. Nomad's own variables and the
 * defaults only fill what nobody gave.
 */
#include "config/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "config/config_build.h"
#include "config/config_default.h"
#include "config/config_file.h"
#include "config/options.h"

#define DEFAULT_FILE "/etc/nomad-dns.conf"
#define ENVIRONMENT_PREFIX "NOMAD_DNS_"
#define ORIGIN_TEXT_MAX 160

struct flag {
	const struct option_row *row;
	const char *value; /* borrowed from argv */
};

struct loader {
	struct config_build build;
	struct flag *flags; /* owned */
	size_t flag_count;
};

/* ---- flags ---- */

/* Splits "--name=value"; `out_value` is NULL if there is no '='. */
static int read_flag_name(struct loader *loader, const char *arg, const struct option_row **out_row,
			  const char **out_value)
{
	const char *name = arg + (arg[0] == '-' && arg[1] == '-' ? 2 : 1);
	size_t length = strcspn(name, "=");
	char copy[OPTION_NAME_MAX + 1];
	const char *nearest;

	if (arg[0] != '-' || length == 0)
		return config_build_fail(&loader->build, EX_USAGE,
					 "unexpected argument '%.100s'; options are --NAME=VALUE",
					 arg);
	snprintf(copy, sizeof(copy), "%.*s", (int)length, name);
	*out_row = length > OPTION_NAME_MAX ? NULL : option_find(copy);
	if (*out_row == NULL) {
		nearest = option_nearest(copy);
		return config_build_fail(&loader->build, EX_USAGE, "unknown option --%s%s%s%s",
					 copy, nearest != NULL ? "; did you mean --" : "",
					 nearest != NULL ? nearest : "",
					 nearest != NULL ? "?" : "; --help lists them");
	}
	*out_value = name[length] == '=' ? name + length + 1 : NULL;
	return 0;
}

static int read_flags(struct loader *loader, int argc, char *const *argv)
{
	loader->flags = calloc((size_t)argc + 1, sizeof(*loader->flags));
	if (loader->flags == NULL)
		return config_build_fail(&loader->build, EX_OSERR, "out of memory");
	for (int i = 0; i < argc; i++) {
		struct flag *flag = &loader->flags[loader->flag_count];
		int rc = read_flag_name(loader, argv[i], &flag->row, &flag->value);

		if (rc < 0)
			return rc;
		if (flag->value == NULL && flag->row->argument == NULL)
			flag->value = "on";
		else if (flag->value == NULL && i + 1 < argc && argv[i + 1][0] != '-')
			flag->value = argv[++i];
		else if (flag->value == NULL)
			return config_build_fail(
				&loader->build, EX_USAGE,
				"%s (flag --%s) needs a value: --%s=%s; allowed: %s",
				flag->row->name, flag->row->name, flag->row->name,
				flag->row->argument, flag->row->allowed);
		loader->flag_count++;
	}
	return 0;
}

static int put_flags(struct loader *loader)
{
	char origin[ORIGIN_TEXT_MAX];
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < loader->flag_count; i++) {
		const struct flag *flag = &loader->flags[i];

		snprintf(origin, sizeof(origin), "flag --%s", flag->row->name);
		if (flag->row->parse != NULL)
			rc = config_build_put(&loader->build, flag->row, CONFIG_SOURCE_FLAG, origin,
					      flag->value);
	}
	return rc;
}

/* ---- the environment ---- */

/* "NEGATIVE_TTL" of `length` bytes to "negative-ttl"; lower case in a variable is no name of
 * ours. */
static void fold_variable(const char *text, size_t length, char out[OPTION_NAME_MAX + 1])
{
	size_t i = 0;

	for (; i < length && i < OPTION_NAME_MAX; i++) {
		char c = text[i];

		if (c >= 'A' && c <= 'Z')
			out[i] = (char)(c + ('a' - 'A'));
		else if (c == '_')
			out[i] = '-';
		else
			out[i] = (c >= '0' && c <= '9') ? c : '?';
	}
	out[i] = '\0';
}

static int fail_variable(struct loader *loader, const char *variable, size_t length,
			 const char *name)
{
	const char *nearest = option_nearest(name);
	char suggestion[OPTION_NAME_MAX + 1] = "";

	for (size_t i = 0; nearest != NULL && i <= strlen(nearest); i++) {
		char c = nearest[i];

		suggestion[i] = c == '-' ? '_' : c >= 'a' && c <= 'z' ? (char)(c - ('a' - 'A')) : c;
	}
	return config_build_fail(&loader->build, EX_CONFIG, "unknown variable %.*s%s%s%s",
				 length > 100 ? 100 : (int)length, variable,
				 nearest != NULL ? "; did you mean " ENVIRONMENT_PREFIX : "",
				 suggestion, nearest != NULL ? "?" : "; --help lists the options");
}

static int put_environment(struct loader *loader)
{
	size_t prefix_length = strlen(ENVIRONMENT_PREFIX);
	int rc = 0;

	for (char *const *p = loader->build.environment; rc == 0 && p != NULL && *p != NULL; p++) {
		size_t length = strcspn(*p, "=");
		char name[OPTION_NAME_MAX + 1], origin[ORIGIN_TEXT_MAX];
		const struct option_row *row;
		const char *value;

		if (strncmp(*p, ENVIRONMENT_PREFIX, prefix_length) != 0 || (*p)[length] != '=')
			continue;
		fold_variable(*p + prefix_length, length - prefix_length, name);
		row = length - prefix_length > OPTION_NAME_MAX ? NULL : option_find(name);
		if (row == NULL)
			return fail_variable(loader, *p, length, name);
		value = *p + length + 1;
		/* Job files and unit files leave variables empty to say "not set". */
		if (row->parse == NULL || (value[0] == '\0' && !row->may_be_empty))
			continue;
		snprintf(origin, sizeof(origin), "environment %.*s", (int)length, *p);
		rc = config_build_put_list(&loader->build, row, CONFIG_SOURCE_ENVIRONMENT, origin,
					   value);
	}
	return rc;
}

/* ---- the file ---- */

struct file_context {
	struct loader *loader;
	const char *path;
};

static int on_file_value(void *arg, const struct config_file_value *value)
{
	const struct file_context *file = arg;
	struct config_build *build = &file->loader->build;
	const struct option_row *row = option_find(value->name);
	const char *nearest = row == NULL ? option_nearest(value->name) : NULL;
	char origin[ORIGIN_TEXT_MAX];

	snprintf(origin, sizeof(origin), "%.100s:%u", file->path, value->line);
	if (row == NULL)
		return config_build_fail(
			build, EX_CONFIG, "unknown option %s (%s)%s%s%s", value->name, origin,
			nearest != NULL ? "; did you mean " : "", nearest != NULL ? nearest : "",
			nearest != NULL ? "?" : "; --help lists them");
	if (row->parse == NULL)
		return config_build_fail(
			build, EX_CONFIG,
			"%s (%s) cannot be set in the file itself; allowed: a flag "
			"or a variable",
			row->name, origin);
	if (value->text == NULL)
		return config_build_fail(build, EX_CONFIG,
					 "%s (%s) is an empty list: leave the option out for its "
					 "default; allowed: %s",
					 row->name, origin, row->allowed);
	if (!row->is_repeatable && value->is_in_list)
		return config_build_fail(build, EX_CONFIG,
					 "%s (%s) takes one value, not a list; allowed: %s",
					 row->name, origin, row->allowed);
	if (!row->is_repeatable && config_build_source(build, row) == CONFIG_SOURCE_FILE)
		return config_build_fail(build, EX_CONFIG, "%s (%s) is given twice in the file",
					 row->name, origin);
	return config_build_put(build, row, CONFIG_SOURCE_FILE, origin, value->text);
}

static int parse_file(struct loader *loader, const char *path, FILE *stream, char *text)
{
	struct file_context context = { .loader = loader, .path = path };
	struct config_file_error error = { 0 };
	size_t length = fread(text, 1, CONFIG_FILE_MAX_BYTES + 1, stream);
	int rc;

	if (ferror(stream))
		return config_build_fail(&loader->build, EX_CONFIG,
					 "config = \"%.200s\" cannot be read: %s", path,
					 strerror(errno));
	rc = config_file_parse(text, length, on_file_value, &context, &error);
	if (rc < 0 && error.line != 0)
		return config_build_fail(&loader->build, EX_CONFIG, "%.200s:%u: %s", path,
					 error.line, error.why);
	return rc;
}

static int read_file(struct loader *loader, const char *path, const char *origin, bool is_optional)
{
	FILE *stream = fopen(path, "re");
	char *text;
	int rc;

	if (stream == NULL && is_optional && (errno == ENOENT || errno == ENOTDIR))
		return 0;
	if (stream == NULL)
		return config_build_fail(&loader->build, EX_CONFIG,
					 "config = \"%.200s\" (%s) cannot be opened: %s; allowed: "
					 "the path of a file",
					 path, origin, strerror(errno));
	text = malloc(CONFIG_FILE_MAX_BYTES + 1);
	if (text == NULL) {
		fclose(stream);
		return config_build_fail(&loader->build, EX_OSERR, "out of memory");
	}
	rc = parse_file(loader, path, stream, text);
	free(text);
	fclose(stream);
	if (rc < 0)
		return rc;
	return config_build_note(&loader->build, option_find("config"), CONFIG_SOURCE_DEFAULT,
				 origin, path);
}

static int put_file(struct loader *loader)
{
	const char *variable = config_build_variable(&loader->build, ENVIRONMENT_PREFIX "CONFIG");
	const char *path = NULL;

	for (size_t i = 0; i < loader->flag_count; i++) {
		if (strcmp(loader->flags[i].row->name, "config") == 0)
			path = loader->flags[i].value;
	}
	if (path != NULL && path[0] == '\0')
		return config_build_fail(&loader->build, EX_USAGE,
					 "config = \"\" (flag --config) is empty; allowed: the "
					 "path of a file");
	if (path != NULL)
		return read_file(loader, path, "flag --config", false);
	if (variable != NULL)
		return read_file(loader, variable, "environment " ENVIRONMENT_PREFIX "CONFIG",
				 false);
	return read_file(loader, DEFAULT_FILE, "default", true);
}

struct config *config_load(int argc, char *const *argv, char *const *environment,
			   struct config_problem *problem)
{
	struct loader loader = { 0 };
	struct config *config = NULL;

	if (config_build_init(&loader.build, environment, problem) < 0)
		return NULL;
	if (read_flags(&loader, argc, argv) == 0 && put_file(&loader) == 0 &&
	    put_environment(&loader) == 0 && put_flags(&loader) == 0 &&
	    config_default_put(&loader.build) == 0)
		config = config_build_finish(&loader.build);
	free(loader.flags);
	config_build_deinit(&loader.build);
	return config;
}
