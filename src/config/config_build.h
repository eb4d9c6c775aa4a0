/*
 * A configuration under construction: takes values one by one from whatever source, weakest source
 * first, remembers where each came from, and turns the whole into a struct config once it holds
 * together. The first problem ends it.
 */
#pragma once

#include <stdbool.h>

struct config;
struct config_problem;
struct option_row;

/* Weakest first. */
enum config_source {
	CONFIG_SOURCE_NONE,
	CONFIG_SOURCE_DEFAULT, /* ours, or from Nomad's own variables */
	CONFIG_SOURCE_FILE,
	CONFIG_SOURCE_ENVIRONMENT,
	CONFIG_SOURCE_FLAG,
};

struct config_setting; /* one option's values so far */

struct config_build {
	struct config *config;		 /* owned until config_build_finish */
	struct config_setting *settings; /* owned; by row of the options table */
	char *const *environment;	 /* borrowed */
	struct config_problem *problem;
};

/* 0 or -ENOMEM. */
int config_build_init(struct config_build *build, char *const *environment,
		      struct config_problem *problem);

/* Frees what was not handed out. */
void config_build_deinit(struct config_build *build);

/*
 * Takes one value. `origin` is for the operator: "flag --ttl", "environment NOMAD_DNS_TTL",
 * "/etc/nomad-dns.conf:7". A repeatable option collects the values of one source and forgets those
 * of a weaker one. 0, or -EINVAL with the problem filled.
 */
int config_build_put(struct config_build *build, const struct option_row *row,
		     enum config_source source, const char *origin, const char *value);

/* The same, for `value` with commas between several values if the option is repeatable. */
int config_build_put_list(struct config_build *build, const struct option_row *row,
			  enum config_source source, const char *origin, const char *value);

/* Notes a value that is kept elsewhere (a secret, the path of the file itself): it is only
 * printed, as a comment. */
int config_build_note(struct config_build *build, const struct option_row *row,
		      enum config_source source, const char *origin, const char *value);

/* From which source the option has its values. */
enum config_source config_build_source(const struct config_build *build,
				       const struct option_row *row);

/* The environment's variable; NULL if it is not set or empty. */
const char *config_build_variable(const struct config_build *build, const char *name);

/* Fills the problem and returns -EINVAL. */
int config_build_fail(struct config_build *build, int exit_code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Checks options against each other and writes config->origin_text. The configuration with one
 * reference, or NULL with the problem filled. */
struct config *config_build_finish(struct config_build *build);
