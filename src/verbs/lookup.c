#include "verbs/lookup.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/buf.h"
#include "base/bytes.h"
#include "config/config.h"
#include "dns/dns.h"
#include "dns/name.h"
#include "verbs/lookup_ask.h"
#include "verbs/lookup_page.h"
#include "verbs/lookup_words.h"

#define QUESTIONS_MAX 3
#define PATIENCE_MS 1000 /* beyond the daemon's own deadline: its SERVFAIL shall still be heard */

enum exit_code { EXIT_FOUND = 0, EXIT_NOTHING = 1, EXIT_FAILED = 2, EXIT_NO_REPLY = 9 };

static const char usage[] = "usage: nomad-dns lookup [--json] [options] NAME [TYPE]\n"
			    "\n"
			    "Asks the daemon that listens on the first `listen` address. TYPE is "
			    "A, AAAA, SRV, TXT … or\n"
			    "TYPE65280; without it A, AAAA and SRV are asked for.\n"
			    "\n"
			    "Exit code: 0 found, 1 no such name or record, 2 the server failed, 9 "
			    "no reply, 64 usage.\n";

struct wishes { /* what the command line says */
	const char *name;
	const char *type;
	bool has_json;
	bool wants_help;
	uint8_t qname[DNS_NAME_MAX];
	size_t qname_length;
	uint16_t types[QUESTIONS_MAX];
	size_t type_count;
};

static int complain(const char *what, const char *about)
{
	fprintf(stderr, "nomad-dns lookup: %s%s%s\n%s", what, *about ? ": " : "", about, usage);
	return EX_USAGE;
}

/* Sorts the arguments into operands and flags. 0, or the exit code. */
static int read_arguments(int argc, char **argv, struct wishes *out)
{
	bool has_flags = true;

	for (int i = 1; i < argc; i++) {
		const char *argument = argv[i];

		if (has_flags && strcmp(argument, "--") == 0)
			has_flags = false;
		else if (has_flags && strcmp(argument, "--json") == 0)
			out->has_json = true;
		else if (has_flags &&
			 (strcmp(argument, "--help") == 0 || strcmp(argument, "-h") == 0))
			out->wants_help = true;
		else if (has_flags && argument[0] == '-')
			return complain("unknown flag (its own is --json)", argument);
		else if (!out->name)
			out->name = argument;
		else if (!out->type)
			out->type = argument;
		else
			return complain("one NAME and one TYPE are enough, this is more", argument);
	}
	if (!out->name && !out->wants_help)
		return complain("which NAME?", "");
	return 0;
}

/* Turns the operands into questions. 0, or the exit code. */
static int read_questions(struct wishes *wishes)
{
	static const uint16_t usual[QUESTIONS_MAX] = { DNS_TYPE_A, DNS_TYPE_AAAA, DNS_TYPE_SRV };
	int length = name_parse(wishes->name, wishes->qname), type;

	if (length < 0)
		return complain("no domain name (labels of 1 to 63 bytes, 255 in all)",
				wishes->name);
	wishes->qname_length = (size_t)length;
	memcpy(wishes->types, usual, sizeof(usual));
	wishes->type_count = QUESTIONS_MAX;
	if (!wishes->type)
		return 0;
	type = lookup_words_parse_type(wishes->type);
	if (type < 0)
		return complain("unknown TYPE (A, AAAA, SRV, TXT … or TYPE1 to TYPE65535)",
				wishes->type);
	wishes->types[0] = (uint16_t)type;
	wishes->type_count = 1;
	return 0;
}

/* Where the daemon is to be found from here. 0 or -EINVAL. */
static int find_server(const struct config *config, struct addr *out)
{
	if (config->listen_count == 0 || config->listen[0].port == 0)
		return -EINVAL;
	*out = config->listen[0];
	if (!addr_is_any(out))
		return 0;
	if (out->family == AF_INET)
		out->bytes[0] = 127;
	out->bytes[out->family == AF_INET ? 3 : 15] = 1;
	return 0;
}

static enum exit_code judge(const struct lookup_answer *answer)
{
	if (answer->error)
		return EXIT_NO_REPLY;
	if (answer->reply.rcode == DNS_NXDOMAIN)
		return EXIT_NOTHING;
	if (answer->reply.rcode != DNS_NOERROR)
		return EXIT_FAILED;
	return lookup_reply_has_answer(&answer->reply, answer->question.type) ? EXIT_FOUND
									      : EXIT_NOTHING;
}

/* Asks one after the other; a server that is silent once is not asked again. Found by one question
 * is found; else the worst outcome counts. */
static enum exit_code ask_all(const struct addr *server, uint64_t timeout_ms,
			      const struct wishes *wishes,
			      struct lookup_answer answers[QUESTIONS_MAX])
{
	enum exit_code worst = EXIT_FOUND;
	bool is_found = false;

	for (size_t i = 0; i < wishes->type_count; i++) {
		const struct lookup_question question = { wishes->qname, wishes->qname_length,
							  wishes->types[i] };
		enum exit_code code;

		if (worst == EXIT_NO_REPLY) {
			answers[i].question = question;
			continue;
		}
		lookup_ask(server, &question, timeout_ms, &answers[i]);
		code = judge(&answers[i]);
		is_found |= code == EXIT_FOUND;
		if (code > worst)
			worst = code;
	}
	return is_found ? EXIT_FOUND : worst;
}

static void say_no_reply(const struct lookup_answer *answers, size_t count, const char *server)
{
	for (size_t i = 0; i < count; i++)
		if (answers[i].error)
			fprintf(stderr,
				"nomad-dns lookup: no reply from %s: %s; is the daemon running, "
				"and "
				"is this its address? Another one: --listen=IP:PORT\n",
				server, strerror(-answers[i].error));
}

static int show(const struct lookup_page *page, bool has_json)
{
	const char *no_color = getenv("NO_COLOR");
	bool has_color = isatty(STDOUT_FILENO) && !(no_color && *no_color);
	int code = page->exit_code;
	struct buf out;

	buf_init(&out, 0);
	if (has_json)
		lookup_page_put_json(page, &out);
	else
		lookup_page_put_text(page, has_color, &out);
	if (out.failed) {
		fputs("nomad-dns lookup: out of memory\n", stderr);
		code = EX_OSERR;
	} else if (fwrite(out.data, 1, out.length, stdout) != out.length || fflush(stdout) != 0) {
		fprintf(stderr, "nomad-dns lookup: cannot write the answer: %s\n", strerror(errno));
		code = EX_IOERR;
	}
	buf_deinit(&out);
	return code;
}

int lookup_run(const struct config *config, int argc, char **argv)
{
	struct lookup_answer answers[QUESTIONS_MAX] = { 0 };
	struct wishes wishes = { 0 };
	char server_text[ADDR_TEXT_MAX];
	struct lookup_page page;
	struct addr server;
	int code = read_arguments(argc, argv, &wishes);

	if (code == 0 && wishes.wants_help) {
		fputs(usage, stdout);
		return 0;
	}
	if (code == 0)
		code = read_questions(&wishes);
	if (code)
		return code;
	if (find_server(config, &server) != 0) {
		fputs("nomad-dns lookup: the port of the first listen address is left to the "
		      "system; "
		      "say which it is: --listen=IP:PORT\n",
		      stderr);
		return EX_CONFIG;
	}
	addr_format(&server, server_text);
	page = (struct lookup_page){ wishes.name, server_text, answers, wishes.type_count, 0 };
	page.exit_code =
		(int)ask_all(&server, config->forward_timeout_ms + PATIENCE_MS, &wishes, answers);
	say_no_reply(answers, wishes.type_count, server_text);
	code = show(&page, wishes.has_json);
	for (size_t i = 0; i < wishes.type_count; i++)
		lookup_reply_deinit(&answers[i].reply);
	return code;
}
