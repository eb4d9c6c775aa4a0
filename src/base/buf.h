/*
 * A growable byte buffer for the control plane: HTTP bodies, metrics pages, rendered text. The data
 * plane uses fixed slots instead. A buffer that could not grow, or met its ceiling, remembers it
 * (`failed`) and ignores later appends, so that a writer checks once, at the end. Always
 * NUL-terminated behind `length` once anything was appended.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct buf {
	char *data; /* owned; NULL while empty */
	size_t length;
	size_t capacity;
	size_t limit_bytes; /* ceiling for length; 0: none */
	bool failed;
};

/* Makes an empty buffer in the caller's storage. `limit_bytes` 0 means no ceiling. */
void buf_init(struct buf *buf, size_t limit_bytes);

/* Frees what the buffer holds and leaves it empty, ready for use with the same ceiling. */
void buf_deinit(struct buf *buf);

/* Appends bytes. 0, -ENOMEM, or -EMSGSIZE at the ceiling; on failure nothing of this call is
 * appended. */
int buf_append(struct buf *buf, const void *data, size_t length);

/* Appends a NUL-terminated string. As buf_append. */
int buf_puts(struct buf *buf, const char *text);

/* Appends formatted text. As buf_append. */
int buf_printf(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Appends `text` as the inside of a JSON string (quotes, backslash and control characters escaped).
 * As buf_append. */
int buf_put_json(struct buf *buf, const char *text, size_t length);
