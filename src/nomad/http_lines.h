/*
 * Cuts a stream into lines as it comes in, in pieces of any size. Private to http. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

struct http_lines {
	struct buf text; /* what was not handed out yet, and, until the last line was, what was */
	size_t at;	 /* where the next line begins */
	size_t line_length; /* of the unfinished last line */
	size_t line_max_bytes;
};

void http_lines_init(struct http_lines *lines, size_t line_max_bytes);
void http_lines_deinit(struct http_lines *lines);

/* Takes what came in. 0, -ENOMEM, or -EMSGSIZE: the line is too long. */
int http_lines_add(struct http_lines *lines, const char *data, size_t length);

/* The next whole line without its end, borrowed until the next call. false: there is none yet. */
bool http_lines_next(struct http_lines *lines, const char **out_line, size_t *out_length);

static inline bool http_lines_has_next(const struct http_lines *lines)
{
	return lines->text.length - lines->at > lines->line_length;
}
