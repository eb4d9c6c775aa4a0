/*
 * Files that change under a running daemon (resolv.conf, token, certificates): looked at every two
 * seconds by stat(2), which follows links and survives renames, where inotify would have to watch
 * every directory on the way.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/file_mark.h"

struct config;

#define DAEMON_FILES_MAX 32

enum daemon_files_kind { DAEMON_FILES_RESOLV_CONF = 1, DAEMON_FILES_NOMAD = 2 };

struct daemon_files {
	size_t count;
	struct daemon_file {
		const char *path; /* borrowed from the configuration */
		enum daemon_files_kind kind;
		struct file_mark mark;
	} file[DAEMON_FILES_MAX];
};

/* Remembers how the configuration's files look now. */
void daemon_files_init(struct daemon_files *files, const struct config *config);

/* Looks again: the kinds of files that changed since the last look, or'ed together. */
unsigned daemon_files_look(struct daemon_files *files);
