#include "config/option_help.h"

#include <stdio.h>

#include "base/buf.h"
#include "config/options.h"

#define HELP_COLUMN 34

static void print_row(struct buf *out, const struct option_row *row)
{
	const char *value = row->computed != NULL ? row->computed : row->value;
	char flag[64];

	snprintf(flag, sizeof(flag), "--%s%s%s", row->name, row->argument ? "=" : "",
		 row->argument ? row->argument : "");
	buf_printf(out, "  %-*s%s%s\n", HELP_COLUMN - 2, flag, row->help,
		   row->is_repeatable ? "; may be repeated" : "");
	if (value != NULL)
		buf_printf(out, "%*s[%s]\n", HELP_COLUMN, "", value);
}

void option_help_print(struct buf *out)
{
	buf_puts(out, "options, with their defaults in brackets:\n");
	for (size_t i = 0; i < option_row_count; i++)
		print_row(out, &option_rows[i]);
	buf_printf(out, "  %-*s%s\n", HELP_COLUMN - 2, "--print-config",
		   "print every option with its value and where it came from");
	buf_printf(out, "  %-*s%s\n", HELP_COLUMN - 2, "--version", "print the version");
	buf_printf(out, "  %-*s%s\n", HELP_COLUMN - 2, "--help", "print this text");
	buf_puts(
		out,
		"\nEach option is also an environment variable (NOMAD_DNS_NEGATIVE_TTL=5s, "
		"several\n"
		"values with commas between) and a line of the file (negative-ttl = \"5s\", "
		"several\n"
		"values as [\"a\", \"b\"]). A flag beats the environment, which beats the file.\n");
}
