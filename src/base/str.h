/* Text to value and back, with whole-input checks: trailing garbage is an error everywhere. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* "10s", "250ms", "5m", "1h", "2h30m", "0" -> milliseconds. 0, -EINVAL (not a duration) or -ERANGE.
 */
int str_parse_duration_ms(const char *text, uint64_t *out_ms);

/* "8MiB", "64KiB", "1GiB", "8MB", "4096" -> bytes. 0, -EINVAL or -ERANGE. */
int str_parse_size(const char *text, uint64_t *out_bytes);

/* "on/off", "true/false", "yes/no", "1/0". 0 or -EINVAL. */
int str_parse_bool(const char *text, bool *out_value);

/* Decimal digits only, within [min, max]. 0, -EINVAL or -ERANGE. */
int str_parse_uint(const char *text, uint64_t min, uint64_t max, uint64_t *out_value);

/* Writes a duration the way an operator would ("10s", "250ms", "1h"); always terminates. */
void str_format_duration_ms(uint64_t ms, char *out, size_t capacity);

/* Writes a size the way an operator would ("8MiB", "4096"); always terminates. */
void str_format_size(uint64_t bytes, char *out, size_t capacity);

/* Levenshtein distance, for "did you mean"; inputs longer than 63 bytes count as infinitely far
 * (SIZE_MAX). */
size_t str_distance(const char *a, const char *b);

/* snprintf that tells nothing lost from cut: the length written, or -ENAMETOOLONG when it did not
 * fit. */
int str_format(char *out, size_t capacity, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#define STR_JSON_MAX 8 /* "\u001f" and its NUL, rounded up */

/*
 * Writes the first character of `text` (length ≥ 1) as it stands inside a JSON string: quotes,
 * backslash and control characters escaped, a byte that is no UTF-8 as U+FFFD. Returns how many
 * bytes of `text` it took; `out` is terminated.
 */
size_t str_escape_json(const char *text, size_t length, char out[STR_JSON_MAX]);
