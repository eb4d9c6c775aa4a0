#include "config/config_build.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/buf.h"
#include "base/str.h"
#include "config/config.h"
#include "config/option_value.h"
#include "config/options.h"

#define ORIGIN_MAX 160
#define SHOWN_VALUE_MAX 120 /* of a value in an error; the whole line stays readable */

struct config_setting {
	enum config_source source;
	bool is_note;	/* said in a comment only: no value of the file */
	bool is_partly; /* what is printed is not all of the value */
	size_t count;
	char origin[ORIGIN_MAX]; /* of the first value */
	struct buf text;	 /* the values in the file's syntax, commas between */
};

int config_build_init(struct config_build *build, char *const *environment,
		      struct config_problem *problem)
{
	*build = (struct config_build){ .environment = environment, .problem = problem };
	*problem = (struct config_problem){ .exit_code = EX_OSERR, .text = "out of memory" };
	build->config = calloc(1, sizeof(*build->config));
	build->settings = calloc(option_row_count, sizeof(*build->settings));
	if (build->config == NULL || build->settings == NULL) {
		config_build_deinit(build);
		return -ENOMEM;
	}
	atomic_init(&build->config->references, 1);
	return 0;
}

void config_build_deinit(struct config_build *build)
{
	for (size_t i = 0; build->settings != NULL && i < option_row_count; i++)
		buf_deinit(&build->settings[i].text);
	free(build->settings);
	config_drop(build->config);
	*build = (struct config_build){ .environment = build->environment,
					.problem = build->problem };
}

const char *config_build_variable(const struct config_build *build, const char *name)
{
	size_t length = strlen(name);

	for (char *const *p = build->environment; p != NULL && *p != NULL; p++) {
		if (strncmp(*p, name, length) == 0 && (*p)[length] == '=')
			return (*p)[length + 1] == '\0' ? NULL : *p + length + 1;
	}
	return NULL;
}

int config_build_fail(struct config_build *build, int exit_code, const char *format, ...)
{
	char *text = build->problem->text;
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(build->problem->text), format, args);
	va_end(args);
	for (; *text != '\0'; text++) {
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = '?';
	}
	build->problem->exit_code = exit_code;
	return -EINVAL;
}

static int fail_memory(struct config_build *build)
{
	return config_build_fail(build, EX_OSERR, "out of memory");
}

static int exit_code_of(enum config_source source)
{
	return source == CONFIG_SOURCE_FLAG ? EX_USAGE : EX_CONFIG;
}

static struct config_setting *setting_of(const struct config_build *build,
					 const struct option_row *row)
{
	return &build->settings[row - option_rows];
}

enum config_source config_build_source(const struct config_build *build,
				       const struct option_row *row)
{
	return setting_of(build, row)->source;
}

static int fail_value(struct config_build *build, const struct option_row *row,
		      enum config_source source, const char *origin, const char *value,
		      const char *why)
{
	char shown[SHOWN_VALUE_MAX];

	option_value_show(row, value, shown, sizeof(shown));
	return config_build_fail(build, exit_code_of(source), "%s = \"%s\" (%s)%s%s; allowed: %s",
				 row->name, shown, origin,
				 why[0] != '\0' ? ": " : " is not allowed", why, row->allowed);
}

static bool is_boolean(const struct option_row *row)
{
	return row->argument == NULL;
}

/* Whether a file can say it: `shown` hides nothing, and every byte is part of a character. */
static bool is_whole(const char *value, const char *shown)
{
	size_t length = strlen(value);
	char piece[STR_JSON_MAX];

	for (size_t at = 0; at < length;) {
		at += str_escape_json(value + at, length - at, piece);
		if (strcmp(piece, "\\ufffd") == 0) /* stands for a byte that is none */
			return false;
	}
	return strcmp(value, shown) == 0;
}

/* One value as the file would have it: a boolean or number bare, anything else quoted. */
static void put_value_text(struct config_setting *setting, const struct option_row *row,
			   const char *value)
{
	struct buf *out = &setting->text;
	bool is_on;

	if (is_boolean(row) && str_parse_bool(value, &is_on) == 0) {
		buf_puts(out, is_on ? "true" : "false");
	} else if (value[0] != '\0' && value[strspn(value, "0123456789")] == '\0') {
		buf_puts(out, value);
	} else {
		char shown[OPTION_VALUE_MAX + 1];

		option_value_show(row, value, shown, sizeof(shown));
		setting->is_partly = setting->is_partly || !is_whole(value, shown);
		buf_puts(out, "\"");
		buf_put_json(out, shown, strlen(shown));
		buf_puts(out, "\"");
	}
}

/* Makes the setting one of `source`: what a weaker one said is forgotten. */
static void start_source(struct config_build *build, const struct option_row *row,
			 enum config_source source, const char *origin)
{
	struct config_setting *setting = setting_of(build, row);

	if (row->clear != NULL && setting->source != source)
		row->clear(build->config);
	if (setting->source != source || !row->is_repeatable) {
		buf_deinit(&setting->text);
		setting->count = 0;
		setting->is_partly = false;
	}
	setting->source = source;
	if (setting->count == 0) /* the name of a file may have any byte */
		option_value_show(NULL, origin, setting->origin, sizeof(setting->origin));
}

int config_build_put(struct config_build *build, const struct option_row *row,
		     enum config_source source, const char *origin, const char *value)
{
	struct config_setting *setting = setting_of(build, row);
	char why[256] = "";
	int rc;

	if (strlen(value) > OPTION_VALUE_MAX)
		return fail_value(build, row, source, origin, value, "it is too long");
	if (value[0] == '\0' && !row->may_be_empty)
		return fail_value(build, row, source, origin, value, "it is empty");
	start_source(build, row, source, origin);
	if (row->is_repeatable && setting->count >= row->max)
		return fail_value(build, row, source, origin, value, "there are too many of them");
	rc = row->parse(row, build->config, value, why, sizeof(why));
	if (rc == -ENOMEM)
		return fail_memory(build);
	if (rc < 0)
		return fail_value(build, row, source, origin, value, why);

	if (setting->count++ > 0)
		buf_puts(&setting->text, ", ");
	put_value_text(setting, row, value);
	return setting->text.failed ? fail_memory(build) : 0;
}

int config_build_put_list(struct config_build *build, const struct option_row *row,
			  enum config_source source, const char *origin, const char *value)
{
	char *copy, *rest, *piece;
	int rc = 0;

	if (!row->is_repeatable)
		return config_build_put(build, row, source, origin, value);
	copy = rest = strdup(value);
	if (copy == NULL)
		return fail_memory(build);
	while (rc == 0 && (piece = strsep(&rest, ",")) != NULL) {
		size_t length;

		piece += strspn(piece, " \t");
		length = strlen(piece);
		while (length > 0 && strchr(" \t", piece[length - 1]) != NULL)
			piece[--length] = '\0';
		rc = config_build_put(build, row, source, origin, piece);
	}
	free(copy);
	return rc;
}

int config_build_note(struct config_build *build, const struct option_row *row,
		      enum config_source source, const char *origin, const char *value)
{
	struct config_setting *setting = setting_of(build, row);
	char shown[OPTION_VALUE_MAX + 1];

	start_source(build, row, source, origin);
	setting->is_note = true;
	option_value_show(NULL, value, shown, sizeof(shown));
	buf_puts(&setting->text, shown);
	return setting->text.failed ? fail_memory(build) : 0;
}

static const char *origin_of(const struct config_build *build, const char *name)
{
	return setting_of(build, option_find(name))->origin;
}

/* A certificate is of no use without its key, nor the key without it. */
static int check_client_pair(struct config_build *build)
{
	const struct config *config = build->config;
	const char *given = config->nomad_client_cert ? "nomad-client-cert" : "nomad-client-key";
	const char *missing = config->nomad_client_cert ? "nomad-client-key" : "nomad-client-cert";

	if ((config->nomad_client_cert == NULL) == (config->nomad_client_key == NULL))
		return 0;
	return config_build_fail(build,
				 exit_code_of(config_build_source(build, option_find(given))),
				 "%s (%s) is given without %s: both are needed", given,
				 origin_of(build, given), missing);
}

/* "none" leaves nothing for the same names to go to. */
static int check_forward(struct config_build *build)
{
	const struct config *config = build->config;

	for (size_t i = 0; i < config->forward_count; i++) {
		const struct config_forward *a = &config->forward[i];

		for (size_t j = 0; a->kind == CONFIG_FORWARD_NONE && j < config->forward_count;
		     j++) {
			const struct config_forward *b = &config->forward[j];

			if (j == i || a->domain_length != b->domain_length ||
			    memcmp(a->domain, b->domain, a->domain_length) != 0)
				continue;
			return config_build_fail(
				build,
				exit_code_of(config_build_source(build, option_find("forward"))),
				"forward (%s) says none and something else for the same names; "
				"allowed: one of them",
				origin_of(build, "forward"));
		}
	}
	return 0;
}

static int check_cache_ttls(struct config_build *build)
{
	const struct option_row *min_row = option_find("cache-min-ttl");
	const struct option_row *max_row = option_find("cache-max-ttl");
	enum config_source source = config_build_source(build, min_row);

	if (build->config->cache_min_ttl_s <= build->config->cache_max_ttl_s)
		return 0;
	if (config_build_source(build, max_row) > source)
		source = config_build_source(build, max_row);
	return config_build_fail(build, exit_code_of(source),
				 "cache-min-ttl = %us (%s) is more than cache-max-ttl = %us (%s)",
				 build->config->cache_min_ttl_s, setting_of(build, min_row)->origin,
				 build->config->cache_max_ttl_s,
				 setting_of(build, max_row)->origin);
}

static void print_setting(struct buf *out, const struct option_row *row,
			  const struct config_setting *setting)
{
	const char *text = setting->text.data;

	if (text == NULL) {
		buf_printf(out, "# %s  # not set\n", row->name);
		return;
	}
	buf_printf(
		out, "%s%s = %s%s%s  # %s%s\n", setting->is_note || setting->is_partly ? "# " : "",
		row->name, row->is_repeatable ? "[" : "", text, row->is_repeatable ? "]" : "",
		setting->origin, setting->is_partly ? "; as a file it would not say the same" : "");
}

/* Moves the texts into the configuration: the whole for the operator, each for comparing. */
static int keep_texts(struct config_build *build)
{
	struct config *config = build->config;
	struct buf page;

	buf_init(&page, 0);
	for (size_t i = 0; i < option_row_count; i++)
		print_setting(&page, &option_rows[i], &build->settings[i]);
	if (page.failed) {
		buf_deinit(&page);
		return fail_memory(build);
	}
	config->origin_text = page.data;

	config->option_texts = calloc(option_row_count, sizeof(*config->option_texts));
	if (config->option_texts == NULL)
		return fail_memory(build);
	config->option_count = option_row_count;
	for (size_t i = 0; i < option_row_count; i++) {
		config->option_texts[i] = build->settings[i].text.data;
		buf_init(&build->settings[i].text, 0);
	}
	return 0;
}

struct config *config_build_finish(struct config_build *build)
{
	struct config *config = build->config;

	if (check_client_pair(build) < 0 || check_forward(build) < 0 ||
	    check_cache_ttls(build) < 0 || keep_texts(build) < 0)
		return NULL;
	build->config = NULL;
	return config;
}
