/* argv → verb → configuration → daemon_run. No logic. */
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include <uv.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "config/config.h"
#include "config/option_help.h"
#include "daemon.h"
#include "verbs/flush.h"
#include "verbs/lookup.h"
#include "verbs/version.h"

extern char **environ;

#define ARGUMENTS_MAX 64

struct verb {
	const char *name;
	const char *help;
	int (*run)(int argc, char **argv); /* NULL: a client of the daemon */
	int (*run_client)(const struct config *config, int argc, char **argv);
};

static int complain(const struct config_problem *problem)
{
	fprintf(stderr, "nomad-dns: %s\n", problem->text);
	return problem->exit_code;
}

static int run_serve(int argc, char **argv)
{
	struct daemon_origin origin = { argc, argv, environ };
	struct config_problem problem;
	struct config *config = config_load(argc, argv, environ, &problem);
	int code;

	if (!config)
		return complain(&problem);
	code = daemon_run(config, &origin);
	config_drop(config);
	return code;
}

/* Options (--name=value) configure; the rest, the verb itself first, is the client's. */
static int run_client(const struct verb *verb, int argc, char **argv)
{
	char *options[ARGUMENTS_MAX], *operands[ARGUMENTS_MAX + 1] = { (char *)verb->name };
	int option_count = 0, operand_count = 1, code;
	struct config_problem problem;
	struct config *config;

	for (int i = 0; i < argc && i < ARGUMENTS_MAX; i++) {
		if (argv[i][0] == '-' && strchr(argv[i], '='))
			options[option_count++] = argv[i];
		else
			operands[operand_count++] = argv[i];
	}
	config = config_load(option_count, options, environ, &problem);
	if (!config)
		return complain(&problem);
	code = verb->run_client(config, operand_count, operands);
	config_drop(config);
	return code;
}

static int run_print_config(int argc, char **argv)
{
	struct config_problem problem;
	struct config *config = config_load(argc, argv, environ, &problem);

	if (!config)
		return complain(&problem);
	fputs(config->origin_text, stdout);
	config_drop(config);
	return EX_OK;
}

static const struct verb VERBS[] = {
	{ "serve", "answer questions until stopped (the default)", run_serve, NULL },
	{ "lookup", "ask the running daemon: lookup NAME [TYPE]", NULL, lookup_run },
	{ "flush", "make its cache forget a name and all below: flush NAME", NULL, flush_run },
};

static int run_help(void)
{
	struct buf text;

	buf_init(&text, 0);
	buf_puts(
		&text,
		"nomad-dns answers DNS questions from Nomad's services and forwards all others.\n\n"
		"usage: nomad-dns [verb] [options]\n\nverbs:\n");
	for (size_t i = 0; i < COUNT_OF(VERBS); i++)
		buf_printf(&text, "  %-10s %s\n", VERBS[i].name, VERBS[i].help);
	buf_puts(&text, "\n");
	option_help_print(&text);
	fputs(text.failed ? "nomad-dns: out of memory\n" : text.data, stdout);
	buf_deinit(&text);
	return EX_OK;
}

/* Takes `name` out of the arguments. true: it was there. */
static bool take_flag(int *argc, char **argv, const char *name)
{
	for (int i = 0; i < *argc; i++) {
		if (strcmp(argv[i], name) != 0)
			continue;
		memmove(&argv[i], &argv[i + 1], (size_t)(*argc - i) * sizeof(*argv));
		(*argc)--;
		return true;
	}
	return false;
}

int main(int argc, char **argv)
{
	const struct verb *verb = &VERBS[0];

	argc--;
	argv++;
	if (take_flag(&argc, argv, "--help") || take_flag(&argc, argv, "-h"))
		return run_help();
	if (take_flag(&argc, argv, "--version"))
		return version_print();
	if (argc && argv[0][0] != '-') {
		for (verb = VERBS; verb < VERBS + COUNT_OF(VERBS); verb++) {
			if (strcmp(argv[0], verb->name) == 0)
				break;
		}
		if (verb == VERBS + COUNT_OF(VERBS)) {
			fprintf(stderr,
				"nomad-dns: unknown verb '%s'; the verbs are serve, lookup and "
				"flush (see "
				"--help)\n",
				argv[0]);
			return EX_USAGE;
		}
		argc--;
		argv++;
	}
	if (take_flag(&argc, argv, "--print-config"))
		return run_print_config(argc, argv);
	return verb->run ? verb->run(argc, argv) : run_client(verb, argc, argv);
}
