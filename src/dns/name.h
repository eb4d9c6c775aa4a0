/*
 * Domain names in uncompressed wire form: length bytes and labels, ended by the root label.
 * "Folded" means that ASCII capitals are lower case (RFC 4343); comparison and keys use folded
 * names, replies the name as it came. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dns/dns.h"

#define NAME_TEXT_MAX (DNS_NAME_MAX * 4 + 1) /* every byte as \DDD */

/* ASCII lower case of one byte, as DNS folds it. */
static inline uint8_t name_fold_byte(uint8_t byte)
{
	return (uint8_t)(byte - 'A') < 26 ? (uint8_t)(byte | 0x20) : byte;
}

/* Copies `length` bytes of a valid wire name, folded. Length bytes (≤ 63) are never letters, so
 * they survive. */
void name_fold(const uint8_t *name, size_t length, uint8_t *out);

/* Whether two names of that length differ in case at most. */
bool name_is_same(const uint8_t *a, const uint8_t *b, size_t length);

/*
 * Text ("redis.default.nomad", final dot optional, \DDD and \X escapes) to wire form. Returns the
 * length with the root label, or -EINVAL (empty label, label over 63, name over 255, bad escape).
 * `out` holds DNS_NAME_MAX bytes.
 */
int name_parse(const char *text, uint8_t out[DNS_NAME_MAX]);

/* Wire form to text without a final dot ("." for the root). Special bytes are escaped. Returns the
 * text's length. */
size_t name_format(const uint8_t *name, char out[NAME_TEXT_MAX]);

/* The length of a valid uncompressed wire name, with its root label; 0 if it does not end within
 * `limit` bytes. */
size_t name_length(const uint8_t *name, size_t limit);

/* Whether folded `name` is `zone` or below it (both folded wire names with their lengths). */
bool name_is_in(const uint8_t *name, size_t name_length, const uint8_t *zone, size_t zone_length);

/* Number of labels, the root not counted. */
unsigned name_count_labels(const uint8_t *name);

/* Whether text is a label of ours: 1–63 of letters, digits, '-' and '_' (compared by length: a NUL
 * inside is no label). */
bool name_is_label(const char *text, size_t length);

/* Whether text is a host name an SRV may point to: labels of ours, at most 253 bytes, not an IP
 * address. Final dot allowed. */
bool name_is_host(const char *text, size_t length);
