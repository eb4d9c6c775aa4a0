/*
 * A strict JSON scanner (RFC 8259): walks text and finds where values end, without building
 * anything. Private to json.c, which hands what it found to cJSON. All functions that can fail
 * return -EINVAL and leave the first reason in `why`.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_scan {
	const char *begin, *at, *end;
	bool has_nul; /* a "\u0000" was seen; the caller clears it per element */
	const char *why;
};

struct json_slice {
	const char *at;
	size_t length;
};

int json_scan_refuse(struct json_scan *scan, const char *why);

void json_scan_space(struct json_scan *scan);

/* Takes one character if it is the next one. */
bool json_scan_take(struct json_scan *scan, char wanted);

/* Skips one value, the space before it included; `depth` counts what it is nested in. */
int json_scan_value(struct json_scan *scan, unsigned depth);

/* Takes `"key" :` and leaves the scan at the value. The key is raw, without its quotes. */
int json_scan_key(struct json_scan *scan, struct json_slice *out_key);

/* The value of a key among the members of an object; the first of a key wins. at NULL: there is
 * none, or what stands before it is malformed. */
struct json_slice json_scan_member(struct json_slice object, const char *wanted);

/* A raft index, digit by digit: a double would lose the last ones. false: it is none. */
bool json_scan_index(struct json_slice slice, uint64_t *out_index);

/* Behind an element: 1 if another follows, 0 if `close` ended the list, or -EINVAL. */
int json_scan_separator(struct json_scan *scan, char close);
