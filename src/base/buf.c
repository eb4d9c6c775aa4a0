#include "base/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

#define BUF_CAPACITY_MIN 256

void buf_init(struct buf *buf, size_t limit_bytes)
{
	*buf = (struct buf){ .limit_bytes = limit_bytes };
}

void buf_deinit(struct buf *buf)
{
	free(buf->data);
	buf_init(buf, buf->limit_bytes);
}

static int fail(struct buf *buf, int error)
{
	buf->failed = true;
	return error;
}

/* Makes room for `more` bytes and a NUL behind them. */
static int reserve(struct buf *buf, size_t more)
{
	size_t needed, capacity = buf->capacity ? buf->capacity : BUF_CAPACITY_MIN;
	char *data;

	if (buf->failed)
		return buf->limit_bytes ? -EMSGSIZE : -ENOMEM;
	if (buf->limit_bytes &&
	    (buf->length > buf->limit_bytes || more > buf->limit_bytes - buf->length))
		return fail(buf, -EMSGSIZE);
	if (more > SIZE_MAX / 4 - buf->length)
		return fail(buf, -ENOMEM);
	needed = buf->length + more + 1;
	if (needed <= buf->capacity)
		return 0;

	while (capacity < needed)
		capacity *= 2;
	data = realloc(buf->data, capacity);
	if (data == NULL)
		return fail(buf, -ENOMEM);
	buf->data = data;
	buf->capacity = capacity;
	return 0;
}

int buf_append(struct buf *buf, const void *data, size_t length)
{
	int rc = reserve(buf, length);

	if (rc < 0)
		return rc;
	if (length > 0)
		memcpy(buf->data + buf->length, data, length);
	buf->length += length;
	buf->data[buf->length] = '\0';
	return 0;
}

int buf_puts(struct buf *buf, const char *text)
{
	return buf_append(buf, text, strlen(text));
}

int buf_printf(struct buf *buf, const char *format, ...)
{
	va_list args;
	int length, rc;

	va_start(args, format);
	length = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (length < 0)
		return fail(buf, -ENOMEM);

	rc = reserve(buf, (size_t)length);
	if (rc < 0)
		return rc;
	va_start(args, format);
	vsnprintf(buf->data + buf->length, (size_t)length + 1, format, args);
	va_end(args);
	buf->length += (size_t)length;
	return 0;
}

int buf_put_json(struct buf *buf, const char *text, size_t length)
{
	size_t start = buf->length;
	int rc = buf_append(buf, "", 0);

	for (size_t at = 0; rc == 0 && at < length;) {
		char piece[STR_JSON_MAX];

		at += str_escape_json(text + at, length - at, piece);
		rc = buf_puts(buf, piece);
	}
	if (rc < 0 && buf->length > start) {
		buf->length = start;
		buf->data[start] = '\0';
	}
	return rc;
}
