/*
 * A secret that lives in a file and may change there: Nomad's token, an HTTP password. Nomad writes
 * its token in place (truncate, then write), so a reader can meet half a token; then the old one
 * stays and the file is looked at again. Private to http; never printed; wiped when freed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/file_mark.h"

struct http_secret {
	char *path;    /* NULL: it does not come from a file */
	char *text;    /* NULL: there is none */
	bool has_read; /* the file with that mark is what `text` holds */
	struct file_mark mark;
};

/*
 * Reads the secret: the file if `path` is given, else `text` (may be NULL: none). 0, or -EINVAL
 * with `why`; `what` names it there ("nomad-token-file").
 */
int http_secret_init(struct http_secret *secret, const char *what, const char *path,
		     const char *text, char *why, size_t why_capacity);
void http_secret_deinit(struct http_secret *secret);

/* Reads the file again if it is another one than before. true: there is a different secret now. */
bool http_secret_refresh(struct http_secret *secret);

/* Whether text is the beginning of a token rather than one: a UUID has 36 characters, a JWT three
 * parts. */
bool http_secret_is_half(const char *text);

/* "Name: secret" on the heap, to be wiped by the caller; NULL: out of memory. */
char *http_secret_as_header(const struct http_secret *secret, const char *name);

/* Overwrites and frees a text (NULL is fine), and sets it to NULL. */
void http_secret_wipe(char **text);
