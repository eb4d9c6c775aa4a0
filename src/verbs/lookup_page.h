/* How the answers to a lookup are shown: a table with sentences for people, JSON for programs.
 * Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct buf;
struct lookup_answer;

struct lookup_page {
	const char *name;   /* as text */
	const char *server; /* "127.0.0.1:1053" */
	const struct lookup_answer *answers;
	size_t answer_count;
	int exit_code;
};

/* Caller checks out->failed. */
void lookup_page_put_text(const struct lookup_page *page, bool has_color, struct buf *out);
void lookup_page_put_json(const struct lookup_page *page, struct buf *out);
