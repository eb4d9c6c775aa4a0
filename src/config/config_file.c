#include "config/config_file.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "config/options.h"

struct reader {
	const char *p, *end;
	unsigned line;
	config_file_found *found;
	void *arg;
	struct config_file_error *error;
	char name[OPTION_NAME_MAX + 1];
	char value[OPTION_VALUE_MAX + 1];
};

__attribute__((format(printf, 2, 3))) static int fail(struct reader *r, const char *format, ...)
{
	va_list args;

	r->error->line = r->line;
	va_start(args, format);
	vsnprintf(r->error->why, sizeof(r->error->why), format, args);
	va_end(args);
	return -EINVAL;
}

/* The next byte, or -1 at the end. */
static int peek(const struct reader *r)
{
	return r->p < r->end ? (unsigned char)*r->p : -1;
}

static bool is_word_byte(int c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c > 0 && strchr("-_.:/+%@*", c) != NULL);
}

static void skip_blanks(struct reader *r)
{
	while (peek(r) == ' ' || peek(r) == '\t' || peek(r) == '\r')
		r->p++;
}

/* Blanks, comments and ends of lines. */
static void skip_lines(struct reader *r)
{
	for (;;) {
		skip_blanks(r);
		if (peek(r) == '#') {
			while (peek(r) >= 0 && peek(r) != '\n')
				r->p++;
		}
		if (peek(r) != '\n')
			return;
		r->line++;
		r->p++;
	}
}

static int describe_unexpected(struct reader *r, const char *wanted)
{
	int c = peek(r);

	if (c < 0)
		return fail(r, "the file ends where %s should be", wanted);
	if (c == '\n')
		return fail(r, "the line ends where %s should be", wanted);
	if (c > 0x20 && c < 0x7f)
		return fail(r, "'%c' stands where %s should be", c, wanted);
	return fail(r, "byte 0x%02x stands where %s should be", (unsigned)c, wanted);
}

static int read_name(struct reader *r)
{
	size_t length = 0;

	if (peek(r) == '[' || peek(r) == '{')
		return fail(r, "sections are not supported: write 'name = value' lines");
	while (is_word_byte(peek(r))) {
		if (length == OPTION_NAME_MAX)
			return fail(r, "the name is longer than %d bytes", OPTION_NAME_MAX);
		r->name[length++] = *r->p++;
	}
	r->name[length] = '\0';
	return length == 0 ? describe_unexpected(r, "a name") : 0;
}

static int put_byte(struct reader *r, size_t *length, int c)
{
	if (*length == OPTION_VALUE_MAX)
		return fail(r, "the value is longer than %d bytes", OPTION_VALUE_MAX);
	r->value[(*length)++] = (char)c;
	return 0;
}

static int read_word(struct reader *r)
{
	size_t length = 0;
	int rc = 0;

	while (rc == 0 && is_word_byte(peek(r)))
		rc = put_byte(r, &length, *r->p++);
	r->value[length] = '\0';
	if (rc == 0 && length == 0)
		return describe_unexpected(r, "a value (put it in double quotes)");
	return rc;
}

static int put_utf8(struct reader *r, size_t *length, uint32_t code)
{
	int rc = 0;

	if (code < 0x80)
		return put_byte(r, length, (int)code);
	if (code < 0x800) {
		rc = put_byte(r, length, (int)(0xc0 | code >> 6));
	} else if (code < 0x10000) {
		rc = put_byte(r, length, (int)(0xe0 | code >> 12));
		if (rc == 0)
			rc = put_byte(r, length, (int)(0x80 | (code >> 6 & 0x3f)));
	} else {
		rc = put_byte(r, length, (int)(0xf0 | code >> 18));
		for (unsigned shift = 12; rc == 0 && shift >= 6; shift -= 6)
			rc = put_byte(r, length, (int)(0x80 | (code >> shift & 0x3f)));
	}
	return rc < 0 ? rc : put_byte(r, length, (int)(0x80 | (code & 0x3f)));
}

/* What follows \u (4 digits) or \U (8 digits). */
static int read_code_point(struct reader *r, unsigned digits, size_t *length)
{
	uint32_t code = 0;

	for (unsigned i = 0; i < digits; i++, r->p++) {
		int c = peek(r);

		if (c >= '0' && c <= '9')
			code = code << 4 | (uint32_t)(c - '0');
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			code = code << 4 | (uint32_t)((c | 0x20) - 'a' + 10);
		else
			return fail(r, "\\%c needs %u hexadecimal digits", digits == 4 ? 'u' : 'U',
				    digits);
	}
	if (code == 0 || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
		return fail(r, "U+%04X is no character", code);
	return put_utf8(r, length, code);
}

static int read_escape(struct reader *r, size_t *length)
{
	int c = peek(r);

	if (c < 0)
		return fail(r, "the string does not end");
	r->p++;
	switch (c) {
	case '"':
	case '\\':
		return put_byte(r, length, c);
	case 'n':
		return put_byte(r, length, '\n');
	case 't':
		return put_byte(r, length, '\t');
	case 'r':
		return put_byte(r, length, '\r');
	case 'u':
		return read_code_point(r, 4, length);
	case 'U':
		return read_code_point(r, 8, length);
	}
	return fail(r, "an unknown escape; \\\\ is a backslash");
}

static int read_string(struct reader *r)
{
	size_t length = 0;
	int rc = 0;

	r->p++;
	while (rc == 0) {
		int c = peek(r);

		if (c < 0 || c == '\n')
			return fail(r, "the string does not end on its line");
		r->p++;
		if (c == '"')
			break;
		if (c == '\\')
			rc = read_escape(r, &length);
		else if ((c < 0x20 && c != '\t') || c == 0x7f)
			rc = fail(r, "a control character stands in a string");
		else
			rc = put_byte(r, &length, c);
	}
	r->value[length] = '\0';
	return rc;
}

static int read_value(struct reader *r)
{
	return peek(r) == '"' ? read_string(r) : read_word(r);
}

static int report(struct reader *r, bool is_in_list, bool is_first, bool is_empty)
{
	struct config_file_value value = {
		.name = r->name,
		.text = is_empty ? NULL : r->value,
		.line = r->line,
		.is_in_list = is_in_list,
		.is_first = is_first,
	};

	return r->found(r->arg, &value);
}

/* "[a, b,]", over any number of lines. */
static int read_list(struct reader *r)
{
	bool is_first = true;
	int rc;

	r->p++;
	skip_lines(r);
	if (peek(r) == ']') {
		r->p++;
		return report(r, true, true, true);
	}
	for (;;) {
		if (peek(r) == '[')
			return fail(r, "a list cannot hold a list");
		rc = read_value(r);
		if (rc == 0)
			rc = report(r, true, is_first, false);
		if (rc != 0)
			return rc;
		is_first = false;

		skip_lines(r);
		if (peek(r) == ',') {
			r->p++;
			skip_lines(r);
		} else if (peek(r) != ']') {
			return describe_unexpected(r, "',' or ']'");
		}
		if (peek(r) == ']') {
			r->p++;
			return 0;
		}
	}
}

static int read_entry(struct reader *r)
{
	int rc = read_name(r);

	if (rc < 0)
		return rc;
	skip_blanks(r);
	if (peek(r) == '{')
		return fail(r, "sections are not supported: write 'name = value' lines");
	if (peek(r) != '=')
		return describe_unexpected(r, "'='");
	r->p++;
	skip_blanks(r);
	if (peek(r) == '[') {
		rc = read_list(r);
	} else {
		rc = read_value(r);
		if (rc == 0)
			rc = report(r, false, true, false);
	}
	if (rc != 0)
		return rc;

	skip_blanks(r);
	if (peek(r) >= 0 && peek(r) != '\n' && peek(r) != '#')
		return describe_unexpected(r, "the end of the line");
	return 0;
}

int config_file_parse(const char *text, size_t length, config_file_found *found, void *arg,
		      struct config_file_error *error)
{
	struct reader r = {
		.p = text,
		.end = text + length,
		.line = 1,
		.found = found,
		.arg = arg,
		.error = error,
	};
	int rc = 0;

	if (length > CONFIG_FILE_MAX_BYTES)
		return fail(&r, "the file is larger than 1 MiB");
	if (length >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) /* a byte order mark */
		r.p += 3;
	for (;;) {
		skip_lines(&r);
		if (peek(&r) < 0)
			return 0;
		rc = read_entry(&r);
		if (rc != 0)
			return rc;
	}
}
