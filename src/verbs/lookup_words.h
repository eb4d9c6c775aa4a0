/* Numbers of the protocol and the words people use for them. Tables, nothing else. */
#pragma once

#include <stdint.h>

#define LOOKUP_WORDS_MAX 16 /* "TYPE65535", and room */

/* "a", "SRV", "TYPE65280" to a number: 1–65535, or -EINVAL. */
int lookup_words_parse_type(const char *text);

/* "SRV", or "TYPE65280" (RFC 3597 §5). */
void lookup_words_format_type(uint16_t type, char out[LOOKUP_WORDS_MAX]);

/* "NXDOMAIN", or "RCODE30". */
void lookup_words_format_rcode(uint16_t rcode, char out[LOOKUP_WORDS_MAX]);

/* What an RCODE says to whoever asked, as a sentence without its full stop. */
const char *lookup_words_rcode_meaning(uint16_t rcode);

/* The name IANA gives an extended error (RFC 8914 §4), and what it means here. Never NULL. */
const char *lookup_words_ede_name(uint16_t code);
const char *lookup_words_ede_meaning(uint16_t code);
