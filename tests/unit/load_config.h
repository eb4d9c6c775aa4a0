/* What the tests of the configuration share: loading one from words, in a directory of the test's
 * own. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "config/config.h"
#include "dns/name.h"

#define ARGUMENTS_MAX 16

static struct config_problem problem;
static char directory[64]; /* of one test's files */
static char conf_path[128];

static inline int make_directory(void **state)
{
	(void)state;
	snprintf(directory, sizeof(directory), "/tmp/nomad-dns-test-XXXXXX");
	if (mkdtemp(directory) == NULL)
		return -1;
	snprintf(conf_path, sizeof(conf_path), "%s/nomad-dns.conf", directory);
	return 0;
}

static inline int remove_directory(void **state)
{
	static const char *const files[] = { "nomad-dns.conf", "api.sock", "nomad_token",
					     "nomad-token" };
	char path[160];

	(void)state;
	for (size_t i = 0; i < COUNT_OF(files); i++) {
		snprintf(path, sizeof(path), "%s/%s", directory, files[i]);
		unlink(path);
	}
	return rmdir(directory);
}

static inline void write_file(const char *name, const char *text)
{
	char path[160];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

/* Arguments and variables as words with one blank between; the file as conf_path if not NULL. */
static inline struct config *load(const char *flags, const char *variables, const char *file)
{
	char words[4096], *rest = words, *word, *argv[ARGUMENTS_MAX], *environment[ARGUMENTS_MAX];
	char config_flag[160];
	int argc = 0, count = 0;

	if (file != NULL) {
		write_file("nomad-dns.conf", file);
		snprintf(config_flag, sizeof(config_flag), "--config=%s", conf_path);
		argv[argc++] = config_flag;
	}
	snprintf(words, sizeof(words), "%s|%s", flags, variables);
	rest = strchr(words, '|');
	*rest++ = '\0';
	while ((word = strsep(&rest, " ")) != NULL && count + 1 < ARGUMENTS_MAX) {
		if (word[0] != '\0')
			environment[count++] = word;
	}
	environment[count] = NULL;
	rest = words;
	while ((word = strsep(&rest, " ")) != NULL && argc < ARGUMENTS_MAX) {
		if (word[0] != '\0')
			argv[argc++] = word;
	}
	problem = (struct config_problem){ 0 };
	return config_load(argc, argv, environment, &problem);
}

static inline struct config *load_well(const char *flags, const char *variables, const char *file)
{
	struct config *config = load(flags, variables, file);

	if (config == NULL)
		print_error("%s\n", problem.text);
	assert_non_null(config);
	return config;
}

static inline void assert_problem(int exit_code, const char *text)
{
	if (strstr(problem.text, text) == NULL)
		print_error("'%s' does not say '%s'\n", problem.text, text);
	assert_non_null(strstr(problem.text, text));
	assert_null(strchr(problem.text, '\n'));
	assert_int_equal(problem.exit_code, exit_code);
}

static inline void assert_flag_fails(const char *flags, const char *text)
{
	assert_null(load(flags, "", NULL));
	assert_problem(64, text);
}

static inline void assert_prints(const struct config *config, const char *line)
{
	if (strstr(config->origin_text, line) == NULL)
		print_error("'%s' is not in:\n%s\n", line, config->origin_text);
	assert_non_null(strstr(config->origin_text, line));
}

static inline void assert_addr(const struct addr *addr, const char *expected)
{
	char text[ADDR_TEXT_MAX];

	addr_format(addr, text);
	assert_string_equal(text, expected);
}

static inline void assert_name(const uint8_t *name, const char *expected)
{
	char text[NAME_TEXT_MAX];

	name_format(name, text);
	assert_string_equal(text, expected);
}
