/*
 * THE table of options: one row gives the flag, the environment variable, the key in the file, the
 * default, the help text and what is allowed. options.c parses one value into a struct config
 * field; it reads no source itself (config.c does).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct buf;
struct config;

struct option_row {
	const char *name;	  /* "negative-ttl": flag --negative-ttl, environment
				     NOMAD_DNS_NEGATIVE_TTL, key in the file */
	const char *fallback_env; /* Nomad's own variables, "NOMAD_CACERT"; NULL: none */
	const char *value;    /* default as an operator would write it; NULL: none or computed */
	const char *argument; /* "ADDR", "DURATION" … for --help */
	const char *allowed;  /* what errors say: "a duration from 0 to 1h" */
	const char *help;     /* one line */
	bool is_repeatable;
	bool is_secret; /* never printed */
	bool needs_restart;
	int (*parse)(struct config *config, const char *text, char *why, size_t why_capacity);
	void (*clear)(
		struct config *config); /* repeatable: forgets the values of a weaker source */
};

extern const struct option_row option_rows[];
extern const size_t option_row_count;

/* The row of this name, or NULL. */
const struct option_row *option_find(const char *name);

/* The nearest name for "did you mean", or NULL when none is near (edit distance ≤ 2). */
const char *option_nearest(const char *name);

/* Writes the text of --help. */
void options_print_help(struct buf *out);
