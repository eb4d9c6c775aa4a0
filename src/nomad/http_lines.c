#include "nomad/http_lines.h"

#include <errno.h>
#include <string.h>

#define KEEP_BYTES 65536 /* a larger buffer is given back when it is empty */

void http_lines_init(struct http_lines *lines, size_t line_max_bytes)
{
	*lines = (struct http_lines){ .line_max_bytes = line_max_bytes };
	buf_init(&lines->text, 0); /* counted line by line */
}

void http_lines_deinit(struct http_lines *lines)
{
	buf_deinit(&lines->text);
	lines->at = lines->line_length = 0;
}

int http_lines_add(struct http_lines *lines, const char *data, size_t length)
{
	const char *first = memchr(data, '\n', length);
	size_t more = first ? (size_t)(first - data) : length;
	int rc;

	if (lines->line_length + more > lines->line_max_bytes)
		return -EMSGSIZE;
	rc = buf_append(&lines->text, data, length);
	if (rc < 0)
		return rc;
	if (first)
		lines->line_length =
			(size_t)(data + length - (const char *)memrchr(data, '\n', length)) - 1;
	else
		lines->line_length += more;
	return 0;
}

/* What was handed out goes, in one move however many lines it was. */
static void shift(struct http_lines *lines)
{
	struct buf *text = &lines->text;

	if (lines->at == 0)
		return;
	text->length -= lines->at;
	if (text->length == 0 && text->capacity > KEEP_BYTES)
		buf_deinit(text);
	else
		memmove(text->data, text->data + lines->at, text->length);
	lines->at = 0;
}

bool http_lines_next(struct http_lines *lines, const char **out_line, size_t *out_length)
{
	const char *line, *end;

	if (!http_lines_has_next(lines)) {
		shift(lines);
		return false;
	}
	line = lines->text.data + lines->at;
	end = memchr(line, '\n', lines->text.length - lines->at);
	*out_line = line;
	*out_length = (size_t)(end - line);
	lines->at += *out_length + 1;
	return true;
}
