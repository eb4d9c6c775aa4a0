#include "nomad/http_secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECRET_BYTES_MAX 16384 /* a workload identity has about 1,000 */
#define UUID_LENGTH 36

void http_secret_wipe(char **text)
{
	if (*text)
		explicit_bzero(*text, strlen(*text));
	free(*text);
	*text = NULL;
}

char *http_secret_as_header(const struct http_secret *secret, const char *name)
{
	char *line;

	return asprintf(&line, "%s: %s", name, secret->text) < 0 ? NULL : line;
}

bool http_secret_is_half(const char *text)
{
	size_t length = strlen(text), dots = 0;

	if (strncmp(text, "eyJ", 3) == 0) { /* {" in base64: a JWT */
		for (const char *at = text; *at; at++) {
			if (*at == '.' && (at[1] == '.' || at[1] == '\0'))
				return true;
			dots += *at == '.';
		}
		return dots != 2;
	}
	return length > 8 && length < UUID_LENGTH && text[8] == '-' &&
	       strspn(text, "0123456789abcdefABCDEF-") == length;
}

/* Takes line ends and blanks off the end. false: empty, or with bytes no header may carry. */
static bool trim(char *text, size_t length)
{
	while (length > 0 && (unsigned char)text[length - 1] <= ' ')
		length--;
	text[length] = '\0';
	for (size_t i = 0; i < length; i++) {
		if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
			return false;
	}
	return length > 0;
}

/* The secret in `file`, or NULL with errno set (EBADMSG: empty or unusable). */
static char *read_all(int file)
{
	char *text = malloc(SECRET_BYTES_MAX + 1);
	size_t length = 0;
	ssize_t got = 0;
	int saved;

	if (!text)
		return NULL;
	text[0] = '\0';
	while (length < SECRET_BYTES_MAX &&
	       (got = read(file, text + length, SECRET_BYTES_MAX - length)) > 0)
		length += (size_t)got;
	saved = got < 0 ? errno : length == SECRET_BYTES_MAX ? EFBIG : 0;
	text[length] = '\0';
	if (saved == 0 && (strlen(text) != length || !trim(text, length)))
		saved = EBADMSG;
	if (saved == 0)
		return text;
	explicit_bzero(text, length);
	free(text);
	errno = saved;
	return NULL;
}

static void remember(struct http_secret *secret, const struct stat *status)
{
	secret->mark = file_mark_of(status);
	secret->has_read = true;
}

/* Reads the file into a new text, NULL with errno set. The description is taken before the text, so
 * that a change in between is seen the next time. */
static char *read_file(const struct http_secret *secret, struct stat *out_status)
{
	int file = open(secret->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char *text = NULL;
	int saved;

	if (file < 0)
		return NULL;
	if (fstat(file, out_status) == 0)
		text = read_all(file);
	saved = errno;
	close(file);
	errno = saved;
	return text;
}

static const char *reason(int error)
{
	if (error == EBADMSG)
		return "it is empty, or holds something that is no single line of text";
	if (error == EFBIG)
		return "it has more than 16 KiB";
	return strerror(error);
}

int http_secret_init(struct http_secret *secret, const char *what, const char *path,
		     const char *text, char *why, size_t why_capacity)
{
	struct stat status;
	struct http_secret made = { 0 };

	if (path) {
		made.path = strdup(path);
		made.text = made.path ? read_file(&made, &status) : NULL;
		if (!made.text) {
			snprintf(why, why_capacity, "cannot read %s %s: %s", what, path,
				 reason(errno));
			http_secret_deinit(&made);
			return -EINVAL;
		}
		if (!http_secret_is_half(made.text))
			remember(&made, &status);
	} else if (text && text[0]) {
		made.text = strdup(text);
		if (!made.text || !trim(made.text, strlen(made.text))) {
			snprintf(why, why_capacity, "%s: its value cannot be used", what);
			http_secret_deinit(&made);
			return -EINVAL;
		}
	}
	*secret = made;
	return 0;
}

void http_secret_deinit(struct http_secret *secret)
{
	http_secret_wipe(&secret->text);
	free(secret->path);
	memset(secret, 0, sizeof(*secret));
}

bool http_secret_refresh(struct http_secret *secret)
{
	struct file_mark mark;
	struct stat status;
	char *text;
	bool is_other;

	if (!secret->path)
		return false;
	mark = file_mark_at(secret->path);
	if (secret->has_read && file_mark_is_same(&mark, &secret->mark))
		return false;
	text = read_file(secret, &status);
	if (!text)
		return false;
	if (http_secret_is_half(text)) {
		http_secret_wipe(&text);
		return false;
	}
	remember(secret, &status);
	is_other = !secret->text || strcmp(secret->text, text) != 0;
	http_secret_wipe(&secret->text);
	secret->text = text;
	return is_other;
}
