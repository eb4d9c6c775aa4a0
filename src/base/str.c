#include "base/str.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/bytes.h"

#define DISTANCE_MAX 63 /* longest word compared; the rows live on the stack */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Reads digits at *text and moves it behind them. 0, -EINVAL (no digit) or -ERANGE. */
static int read_digits(const char **text, uint64_t *out_value)
{
	uint64_t value = 0;
	const char *p = *text;

	if (!is_digit(*p))
		return -EINVAL;
	for (; is_digit(*p); p++) {
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value))
			return -ERANGE;
	}
	*text = p;
	*out_value = value;
	return 0;
}

struct duration_unit {
	const char *suffix;
	uint64_t ms;
};

/* Largest first; "ms" stands before "m" so that it is found first. */
static const struct duration_unit DURATION_UNITS[] = {
	{ "d", 86400000 }, { "h", 3600000 }, { "ms", 1 }, { "m", 60000 }, { "s", 1000 },
};

static const struct duration_unit *find_duration_unit(const char *text)
{
	for (size_t i = 0; i < COUNT_OF(DURATION_UNITS); i++) {
		const char *suffix = DURATION_UNITS[i].suffix;

		if (strncmp(text, suffix, strlen(suffix)) == 0)
			return &DURATION_UNITS[i];
	}
	return NULL;
}

int str_parse_duration_ms(const char *text, uint64_t *out_ms)
{
	uint64_t total_ms = 0, previous_ms = UINT64_MAX;
	bool is_too_big = false;

	if (strcmp(text, "0") == 0) {
		*out_ms = 0;
		return 0;
	}
	do {
		const struct duration_unit *unit;
		uint64_t value = 0;
		int rc = read_digits(&text, &value);

		if (rc < 0)
			return rc;
		unit = find_duration_unit(text);
		if (unit == NULL || unit->ms >= previous_ms)
			return -EINVAL;
		if (__builtin_mul_overflow(value, unit->ms, &value) ||
		    __builtin_add_overflow(total_ms, value, &total_ms))
			is_too_big = true;
		previous_ms = unit->ms;
		text += strlen(unit->suffix);
	} while (*text != '\0');
	if (is_too_big)
		return -ERANGE;
	*out_ms = total_ms;
	return 0;
}

int str_parse_size(const char *text, uint64_t *out_bytes)
{
	static const struct {
		const char *suffix;
		uint64_t bytes;
	} units[] = {
		{ "", 1 },	    { "B", 1 },	    { "KiB", 1 << 10 }, { "MiB", 1 << 20 },
		{ "GiB", 1 << 30 }, { "KB", 1000 }, { "MB", 1000000 },	{ "GB", 1000000000 },
	};
	uint64_t value = 0;
	int rc = read_digits(&text, &value);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < COUNT_OF(units); i++) {
		if (strcasecmp(text, units[i].suffix) != 0)
			continue;
		if (__builtin_mul_overflow(value, units[i].bytes, &value))
			return -ERANGE;
		*out_bytes = value;
		return 0;
	}
	return -EINVAL;
}

int str_parse_bool(const char *text, bool *out_value)
{
	static const struct {
		const char *text;
		bool value;
	} words[] = {
		{ "on", true },	 { "off", false }, { "true", true }, { "false", false },
		{ "yes", true }, { "no", false },  { "1", true },    { "0", false },
	};

	for (size_t i = 0; i < COUNT_OF(words); i++) {
		if (strcasecmp(text, words[i].text) == 0) {
			*out_value = words[i].value;
			return 0;
		}
	}
	return -EINVAL;
}

int str_parse_uint(const char *text, uint64_t min, uint64_t max, uint64_t *out_value)
{
	uint64_t value = 0;
	size_t digits = strspn(text, "0123456789");
	int rc;

	if (digits == 0 || text[digits] != '\0')
		return -EINVAL;
	rc = read_digits(&text, &value);
	if (rc < 0)
		return rc;
	if (value < min || value > max)
		return -ERANGE;
	*out_value = value;
	return 0;
}

void str_format_duration_ms(uint64_t ms, char *out, size_t capacity)
{
	static const struct duration_unit units[] = {
		{ "h", 3600000 }, { "m", 60000 }, { "s", 1000 }, { "ms", 1 }
	};
	size_t used = 0;

	if (capacity == 0)
		return;
	snprintf(out, capacity, "0s");
	for (size_t i = 0; i < COUNT_OF(units); i++) {
		uint64_t amount = ms / units[i].ms;
		int length;

		if (amount == 0)
			continue;
		ms %= units[i].ms;
		length = snprintf(out + used, capacity - used, "%llu%s", (unsigned long long)amount,
				  units[i].suffix);
		if (length < 0 || (size_t)length >= capacity - used)
			return;
		used += (size_t)length;
	}
}

void str_format_size(uint64_t bytes, char *out, size_t capacity)
{
	static const char *const suffixes[] = { "", "KiB", "MiB", "GiB" };
	size_t i = 0;

	while (bytes != 0 && bytes % 1024 == 0 && i + 1 < COUNT_OF(suffixes)) {
		bytes /= 1024;
		i++;
	}
	if (capacity > 0)
		snprintf(out, capacity, "%llu%s", (unsigned long long)bytes, suffixes[i]);
}

size_t str_distance(const char *a, const char *b)
{
	size_t a_length = strnlen(a, DISTANCE_MAX + 1), b_length = strnlen(b, DISTANCE_MAX + 1);
	size_t row[DISTANCE_MAX + 1];

	if (a_length > DISTANCE_MAX || b_length > DISTANCE_MAX)
		return SIZE_MAX;
	for (size_t j = 0; j <= b_length; j++)
		row[j] = j;
	for (size_t i = 1; i <= a_length; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= b_length; j++) {
			size_t changed = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			row[j] = min_size(changed, min_size(row[j], row[j - 1]) + 1);
		}
	}
	return row[b_length];
}

int str_format(char *out, size_t capacity, const char *format, ...)
{
	va_list args;
	int length;

	va_start(args, format);
	length = vsnprintf(out, capacity, format, args);
	va_end(args);
	if (length < 0 || (size_t)length >= capacity)
		return -ENAMETOOLONG;
	return length;
}

/* The length of the UTF-8 character `text` begins with (RFC 3629 §4), 0 if it is none. */
static size_t measure_utf8(const unsigned char *text, size_t length)
{
	unsigned char low = 0x80, high = 0xbf;
	size_t size;

	if (text[0] < 0x80)
		return 1;
	if (text[0] < 0xc2 || text[0] > 0xf4)
		return 0;
	size = text[0] < 0xe0 ? 2 : text[0] < 0xf0 ? 3 : 4;
	if (length < size)
		return 0;

	/* Overlong forms, surrogates and what lies past U+10FFFF show in the second byte. */
	if (text[0] == 0xe0)
		low = 0xa0;
	else if (text[0] == 0xed)
		high = 0x9f;
	else if (text[0] == 0xf0)
		low = 0x90;
	else if (text[0] == 0xf4)
		high = 0x8f;
	if (text[1] < low || text[1] > high)
		return 0;
	for (size_t i = 2; i < size; i++) {
		if ((text[i] & 0xc0) != 0x80)
			return 0;
	}
	return size;
}

size_t str_escape_json(const char *text, size_t length, char out[STR_JSON_MAX])
{
	unsigned char c = (unsigned char)text[0];
	size_t size = measure_utf8((const unsigned char *)text, length);

	if (size == 0)
		snprintf(out, STR_JSON_MAX, "\\ufffd");
	else if (c == '"' || c == '\\')
		snprintf(out, STR_JSON_MAX, "\\%c", c);
	else if (c == '\n')
		snprintf(out, STR_JSON_MAX, "\\n");
	else if (c == '\t')
		snprintf(out, STR_JSON_MAX, "\\t");
	else if (c < 0x20 || c == 0x7f)
		snprintf(out, STR_JSON_MAX, "\\u%04x", c);
	else {
		memcpy(out, text, size);
		out[size] = '\0';
	}
	return size == 0 ? 1 : size;
}
