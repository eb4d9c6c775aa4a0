#include "config/resolv_conf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DNS_PORT 53
#define FILE_MAX_BYTES (64u << 10) /* far more than 16 servers and their comments need */
#define WORD_MAX 128
#define RESOLVED_CONF "/run/systemd/resolve/resolv.conf"

struct word {
	const char *text;
	size_t length;
};

/* The next word of the line, moving *p behind it; length 0 at its end. */
static struct word next_word(const char **p, const char *end)
{
	struct word word;

	while (*p < end && (**p == ' ' || **p == '\t' || **p == '\r'))
		++*p;
	word.text = *p;
	while (*p < end && **p != ' ' && **p != '\t' && **p != '\r')
		++*p;
	word.length = (size_t)(*p - word.text);
	return word;
}

/* glibc reads the address up to the first blank and passes over what follows. */
static bool parse_server(struct word word, struct addr *out)
{
	char text[WORD_MAX];

	if (word.length == 0 || word.length >= sizeof(text) ||
	    memchr(word.text, '\0', word.length) != NULL)
		return false;
	memcpy(text, word.text, word.length);
	text[word.length] = '\0';
	if (text[0] == '[' || addr_parse_ip(text, out) < 0)
		return false;
	/* To a resolver, 0.0.0.0 and :: are the host itself (resolv.conf(5) of glibc). */
	if (addr_is_any(out)) {
		bool is_v4 = out->family == AF_INET;

		addr_parse_ip(is_v4 ? "127.0.0.1" : "::1", out);
	}
	out->port = DNS_PORT;
	return true;
}

static bool is_listed(const struct addr *list, size_t count, const struct addr *addr)
{
	for (size_t i = 0; i < count; i++) {
		if (addr_same_ip(&list[i], addr))
			return true;
	}
	return false;
}

size_t resolv_conf_parse(const char *text, size_t length, struct addr out[RESOLV_CONF_MAX],
			 unsigned *out_bad)
{
	const char *p = text, *end = text + length;
	size_t count = 0;
	unsigned bad = 0;

	while (p < end) {
		const char *newline = memchr(p, '\n', (size_t)(end - p));
		const char *line_end = newline == NULL ? end : newline;
		struct word keyword = next_word(&p, line_end);
		struct addr addr;

		if (keyword.length == strlen("nameserver") &&
		    memcmp(keyword.text, "nameserver", keyword.length) == 0) {
			if (!parse_server(next_word(&p, line_end), &addr))
				bad++;
			else if (count < RESOLV_CONF_MAX && !is_listed(out, count, &addr))
				out[count++] = addr;
		}
		p = newline == NULL ? end : newline + 1;
	}
	*out_bad = bad;
	return count;
}

static int load_file(const char *path, struct addr out[RESOLV_CONF_MAX], unsigned *out_bad)
{
	FILE *file = fopen(path, "re");
	char *text = NULL;
	size_t length;
	int rc;

	if (file == NULL)
		return -errno;
	text = malloc(FILE_MAX_BYTES);
	if (text == NULL) {
		fclose(file);
		return -ENOMEM;
	}
	length = fread(text, 1, FILE_MAX_BYTES, file);
	rc = ferror(file) ? -EIO : (int)resolv_conf_parse(text, length, out, out_bad);
	free(text);
	fclose(file);
	return rc;
}

/* systemd-resolved's stubs, 127.0.0.53 and 127.0.0.54 (systemd-resolved.service(8)). */
static bool is_stub(const struct addr *addr)
{
	static const uint8_t stub[3] = { 127, 0, 0 };

	return addr->family == AF_INET && memcmp(addr->bytes, stub, 3) == 0 &&
	       (addr->bytes[3] == 53 || addr->bytes[3] == 54);
}

int resolv_conf_load(const char *path, struct addr out[RESOLV_CONF_MAX], unsigned *out_bad)
{
	struct addr behind[RESOLV_CONF_MAX];
	int count = load_file(path, out, out_bad), behind_count;
	unsigned behind_bad;

	if (count <= 0)
		return count;
	for (int i = 0; i < count; i++) {
		if (!is_stub(&out[i]))
			return count;
	}
	/* The stub may send its questions to us: go to what stands behind it. */
	behind_count = load_file(RESOLVED_CONF, behind, &behind_bad);
	if (behind_count <= 0)
		return count;
	memcpy(out, behind, (size_t)behind_count * sizeof(*out));
	*out_bad = behind_bad;
	return behind_count;
}
