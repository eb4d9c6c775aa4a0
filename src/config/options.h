/*
 * THE table of options: one row gives the flag, the environment variable, the key in the file, the
 * default, the help text and what is allowed. A row's parser (option_value.h, option_list.h) turns
 * one value into a struct config field; no source is read here (config.c does).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct config;

#define OPTION_NAME_MAX 63
#define OPTION_VALUE_MAX 4095 /* bytes of one value, from any source */

struct option_row {
	const char *name;	  /* "negative-ttl": flag --negative-ttl, environment
				     NOMAD_DNS_NEGATIVE_TTL, key in the file */
	const char *fallback_env; /* Nomad's own variable, "NOMAD_CACERT"; NULL: none or computed */
	const char *value;	  /* default as an operator would write it (repeatable: commas
				     between); NULL: none or computed */
	const char *computed;	  /* what --help says of a default that has no `value` */
	const char *argument; /* "ADDR", "DURATION" … for --help; NULL: a boolean, on if named */
	const char *allowed;  /* what errors say: "a duration from 0 to 1h" */
	const char *help;     /* one line */
	bool is_repeatable;
	bool may_be_empty;
	bool has_userinfo;  /* a URL: what stands before its '@' is never printed */
	bool needs_restart; /* its field is one of config_keep_restart's */
	size_t field;	    /* offsetof(struct config, …), for parsers of a plain field */
	uint64_t min, max;  /* of a number; of a repeatable, how many values (0: no such bound) */
	const char *const *choices; /* by value of the field's enum; NULL ends them */
	/* 0 or -errno; -EINVAL may say more in `why`. */
	int (*parse)(const struct option_row *row, struct config *config, const char *text,
		     char *why, size_t why_capacity);
	void (*clear)(
		struct config *config); /* repeatable: forgets the values of a weaker source */
};

extern const struct option_row option_rows[];
extern const size_t option_row_count;

/* The row of this name, or NULL. */
const struct option_row *option_find(const char *name);

/* The nearest name for "did you mean", or NULL when none is near (edit distance ≤ 2). */
const char *option_nearest(const char *name);
