/* Finds where JSON values end (RFC 8259, strictly) and judges what stands in them; builds nothing.
 * See json_scan.h. */
#include "nomad/json_scan.h"

#include <errno.h>
#include <string.h>

#define DEPTH_MAX 32	    /* Nomad nests 4 deep */
#define NUMBER_BYTES_MAX 60 /* cJSON copies a number into 64 bytes */

int json_scan_refuse(struct json_scan *scan, const char *why)
{
	if (!scan->why)
		scan->why = why;
	return -EINVAL;
}

void json_scan_space(struct json_scan *scan)
{
	while (scan->at < scan->end &&
	       (*scan->at == ' ' || *scan->at == '\t' || *scan->at == '\n' || *scan->at == '\r'))
		scan->at++;
}

bool json_scan_take(struct json_scan *scan, char wanted)
{
	if (scan->at >= scan->end || *scan->at != wanted)
		return false;
	scan->at++;
	return true;
}

/* The four digits behind "\u"; -1 if they are none. */
static int take_hex4(struct json_scan *scan)
{
	int value = 0;

	if (scan->end - scan->at < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		char c = *scan->at++;

		if (c >= '0' && c <= '9')
			value = value * 16 + (c - '0');
		else if (c >= 'a' && c <= 'f')
			value = value * 16 + (c - 'a' + 10);
		else if (c >= 'A' && c <= 'F')
			value = value * 16 + (c - 'A' + 10);
		else
			return -1;
	}
	return value;
}

static int skip_unicode_escape(struct json_scan *scan)
{
	int unit = take_hex4(scan);

	if (unit < 0 || (unit >= 0xdc00 && unit <= 0xdfff))
		return json_scan_refuse(scan, "bad \\u escape");
	if (unit == 0)
		scan->has_nul = true;
	if (unit < 0xd800 || unit > 0xdbff)
		return 0;
	if (!json_scan_take(scan, '\\') || !json_scan_take(scan, 'u'))
		return json_scan_refuse(scan, "half a surrogate pair");
	unit = take_hex4(scan);
	if (unit < 0xdc00 || unit > 0xdfff)
		return json_scan_refuse(scan, "half a surrogate pair");
	return 0;
}

static int skip_string(struct json_scan *scan)
{
	if (!json_scan_take(scan, '"'))
		return json_scan_refuse(scan, "a string was expected");
	while (scan->at < scan->end) {
		unsigned char c = (unsigned char)*scan->at++;

		if (c == '"')
			return 0;
		if (c < 0x20)
			return json_scan_refuse(scan, "control character in a string");
		if (c != '\\')
			continue;
		if (scan->at >= scan->end)
			break;
		c = (unsigned char)*scan->at++;
		if (c == 'u') {
			if (skip_unicode_escape(scan) < 0)
				return -EINVAL;
		} else if (c == '\0' || !strchr("\"\\/bfnrt", c)) {
			return json_scan_refuse(scan, "bad escape");
		}
	}
	return json_scan_refuse(scan, "the body ends inside a string");
}

static size_t skip_digits(struct json_scan *scan)
{
	const char *begin = scan->at;

	while (scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9')
		scan->at++;
	return (size_t)(scan->at - begin);
}

static int skip_number(struct json_scan *scan)
{
	const char *begin = scan->at;

	json_scan_take(scan, '-');
	if (!json_scan_take(scan, '0') && skip_digits(scan) == 0)
		return json_scan_refuse(scan, "a value was expected");
	if (json_scan_take(scan, '.') && skip_digits(scan) == 0)
		return json_scan_refuse(scan, "bad number");
	if (json_scan_take(scan, 'e') || json_scan_take(scan, 'E')) {
		if (!json_scan_take(scan, '+'))
			json_scan_take(scan, '-');
		if (skip_digits(scan) == 0)
			return json_scan_refuse(scan, "bad number");
	}
	if (scan->at - begin > NUMBER_BYTES_MAX)
		return json_scan_refuse(scan, "number too long");
	return 0;
}

static int skip_literal(struct json_scan *scan, const char *text)
{
	size_t length = strlen(text);

	if ((size_t)(scan->end - scan->at) < length || memcmp(scan->at, text, length) != 0)
		return json_scan_refuse(scan, "a value was expected");
	scan->at += length;
	return 0;
}

/*
 * Behind an element: 1 if another follows, 0 if `close` ended the list, -EINVAL otherwise.
 */
int json_scan_separator(struct json_scan *scan, char close)
{
	json_scan_space(scan);
	if (json_scan_take(scan, ','))
		return 1;
	if (json_scan_take(scan, close))
		return 0;
	return json_scan_refuse(scan, scan->at < scan->end ? "',' or the end of a list was expected"
							   : "the body ends too early");
}

/* Takes `"key" :` and leaves the scan at the value. The key is raw, without its quotes. */
int json_scan_key(struct json_scan *scan, struct json_slice *out_key)
{
	const char *begin;

	json_scan_space(scan);
	begin = scan->at + 1;
	if (skip_string(scan) < 0)
		return -EINVAL;
	out_key->at = begin;
	out_key->length = (size_t)(scan->at - 1 - begin);
	json_scan_space(scan);
	if (!json_scan_take(scan, ':'))
		return json_scan_refuse(scan, "':' was expected");
	json_scan_space(scan);
	return 0;
}

static int skip_array(struct json_scan *scan, unsigned depth)
{
	int more;

	json_scan_space(scan);
	if (json_scan_take(scan, ']'))
		return 0;
	do {
		if (json_scan_value(scan, depth) < 0)
			return -EINVAL;
		more = json_scan_separator(scan, ']');
	} while (more > 0);
	return more;
}

static int skip_object(struct json_scan *scan, unsigned depth)
{
	struct json_slice key;
	int more;

	json_scan_space(scan);
	if (json_scan_take(scan, '}'))
		return 0;
	do {
		if (json_scan_key(scan, &key) < 0 || json_scan_value(scan, depth) < 0)
			return -EINVAL;
		more = json_scan_separator(scan, '}');
	} while (more > 0);
	return more;
}

int json_scan_value(struct json_scan *scan, unsigned depth)
{
	json_scan_space(scan);
	if (scan->at >= scan->end)
		return json_scan_refuse(scan, "the body ends too early");
	if (depth >= DEPTH_MAX)
		return json_scan_refuse(scan, "nested too deeply");
	switch (*scan->at) {
	case '{':
		scan->at++;
		return skip_object(scan, depth + 1);
	case '[':
		scan->at++;
		return skip_array(scan, depth + 1);
	case '"':
		return skip_string(scan);
	case 't':
		return skip_literal(scan, "true");
	case 'f':
		return skip_literal(scan, "false");
	case 'n':
		return skip_literal(scan, "null");
	default:
		return skip_number(scan);
	}
}

struct json_slice json_scan_member(struct json_slice object, const char *wanted)
{
	struct json_scan scan = { .at = object.at + 1, .end = object.at + object.length };
	struct json_slice key, value = { NULL, 0 };

	json_scan_space(&scan);
	if (*object.at != '{' || json_scan_take(&scan, '}'))
		return value;
	do {
		value = (struct json_slice){ NULL, 0 };
		if (json_scan_key(&scan, &key) < 0)
			break;
		value.at = scan.at;
		if (json_scan_value(&scan, 1) < 0)
			return (struct json_slice){ NULL, 0 };
		value.length = (size_t)(scan.at - value.at);
		if (key.length == strlen(wanted) && memcmp(key.at, wanted, key.length) == 0)
			return value;
	} while (json_scan_separator(&scan, '}') > 0);
	return (struct json_slice){ NULL, 0 };
}

bool json_scan_index(struct json_slice slice, uint64_t *out_index)
{
	uint64_t index = 0;

	if (slice.length == 0)
		return false;
	for (size_t i = 0; i < slice.length; i++) {
		unsigned digit = (unsigned)(unsigned char)slice.at[i] - '0';

		if (digit > 9 || index > (UINT64_MAX - digit) / 10)
			return false;
		index = index * 10 + digit;
	}
	*out_index = index;
	return true;
}
