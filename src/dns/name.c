#include "dns/name.h"

#include <errno.h>
#include <string.h>

#define HOST_TEXT_MAX 253 /* a name of 255 wire bytes, written without its final dot */

void name_fold(const uint8_t *name, size_t length, uint8_t *out)
{
	for (size_t i = 0; i < length; i++)
		out[i] = name_fold_byte(name[i]);
}

bool name_is_same(const uint8_t *a, const uint8_t *b, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if (name_fold_byte(a[i]) != name_fold_byte(b[i]))
			return false;
	}
	return true;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Reads one byte of a label, escaped or plain. Returns how much text it took, or 0. */
static size_t parse_byte(const char *text, uint8_t *out)
{
	unsigned value;

	if (text[0] != '\\') {
		*out = (uint8_t)text[0];
		return 1;
	}
	if (!is_digit(text[1])) {
		*out = (uint8_t)text[1];
		return text[1] ? 2 : 0;
	}
	if (!is_digit(text[2]) || !is_digit(text[3]))
		return 0;
	value = (unsigned)(text[1] - '0') * 100 + (unsigned)(text[2] - '0') * 10 +
		(unsigned)(text[3] - '0');
	if (value > UINT8_MAX)
		return 0;
	*out = (uint8_t)value;
	return 4;
}

int name_parse(const char *text, uint8_t out[DNS_NAME_MAX])
{
	uint8_t name[DNS_NAME_MAX];
	size_t label_at = 0, length = 1; /* the open label's length byte, the bytes written */
	size_t label_length, taken;

	if (strcmp(text, ".") == 0) {
		out[0] = 0;
		return 1;
	}
	while (*text) {
		if (*text != '.') {
			if (length >= DNS_NAME_MAX - 1)
				return -EINVAL;
			taken = parse_byte(text, &name[length]);
			if (taken == 0)
				return -EINVAL;
			length++;
			text += taken;
			if (length - label_at - 1 > DNS_LABEL_MAX)
				return -EINVAL;
			continue;
		}
		label_length = length - label_at - 1;
		if (label_length == 0 || length >= DNS_NAME_MAX)
			return -EINVAL;
		name[label_at] = (uint8_t)label_length;
		label_at = length++;
		text++;
	}
	label_length = length - label_at - 1;
	if (label_at == 0 && label_length == 0)
		return -EINVAL;
	name[label_at] = (uint8_t)label_length;
	if (label_length > 0)
		name[length++] = 0;
	memcpy(out, name, length);
	return (int)length;
}

/* Writes one byte of a label as text; returns how much. */
static size_t format_byte(uint8_t byte, char *out)
{
	if (byte <= ' ' || byte >= 0x7f) {
		out[0] = '\\';
		out[1] = (char)('0' + byte / 100);
		out[2] = (char)('0' + byte / 10 % 10);
		out[3] = (char)('0' + byte % 10);
		return 4;
	}
	if (strchr(".\\\"();@$", byte)) {
		out[0] = '\\';
		out[1] = (char)byte;
		return 2;
	}
	out[0] = (char)byte;
	return 1;
}

size_t name_format(const uint8_t *name, char out[NAME_TEXT_MAX])
{
	size_t at = 0;

	if (*name == 0)
		out[at++] = '.';
	while (*name) {
		uint8_t label_length = *name++;

		if (at > 0)
			out[at++] = '.';
		while (label_length-- > 0)
			at += format_byte(*name++, out + at);
	}
	out[at] = '\0';
	return at;
}

size_t name_length(const uint8_t *name, size_t limit)
{
	size_t at = 0;

	if (limit > DNS_NAME_MAX)
		limit = DNS_NAME_MAX;
	while (at < limit) {
		if (name[at] == 0)
			return at + 1;
		if (name[at] > DNS_LABEL_MAX)
			return 0;
		at += (size_t)name[at] + 1;
	}
	return 0;
}

bool name_is_in(const uint8_t *name, size_t name_length, const uint8_t *zone, size_t zone_length)
{
	size_t at = 0;

	if (name_length < zone_length)
		return false;
	/* Only where a label begins may the zone begin: "xnomad" is not in "nomad". */
	while (at < name_length - zone_length)
		at += (size_t)name[at] + 1;
	return at == name_length - zone_length && memcmp(name + at, zone, zone_length) == 0;
}

unsigned name_count_labels(const uint8_t *name)
{
	unsigned count = 0;

	for (; *name; name += *name + 1)
		count++;
	return count;
}

static bool is_label_byte(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
	       c == '_';
}

bool name_is_label(const char *text, size_t length)
{
	if (length == 0 || length > DNS_LABEL_MAX)
		return false;
	for (size_t i = 0; i < length; i++) {
		if (!is_label_byte(text[i]))
			return false;
	}
	return true;
}

bool name_is_host(const char *text, size_t length)
{
	bool is_numeric = true;
	size_t label_at = 0;

	if (length > 0 && text[length - 1] == '.')
		length--;
	if (length == 0 || length > HOST_TEXT_MAX)
		return false;
	for (size_t i = 0; i <= length; i++) {
		if (i < length && text[i] != '.')
			continue;
		if (!name_is_label(text + label_at, i - label_at))
			return false;
		is_numeric = true;
		for (size_t k = label_at; k < i; k++)
			is_numeric = is_numeric && is_digit(text[k]);
		label_at = i + 1;
	}
	/* RFC 3696 §2: no top-level domain is all digits; what ends so is an address, or meant to
	 * be one. */
	return !is_numeric;
}
