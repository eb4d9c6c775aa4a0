/*
 * How a file looks from outside, to find out later whether another one stands at its path: renamed
 * over, rewritten in place, gone. Two marks that are the same mean the same content, unless
 * somebody wrote twice within one tick of the kernel's clock.
 */
#pragma once

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>

struct file_mark {
	dev_t device;
	ino_t inode;
	off_t size;
	struct timespec modified, changed; /* content; content, name or rights */
};

struct file_mark file_mark_of(const struct stat *status);

/* Of what stands at `path` (links are followed). A file that is not there has the zeroed mark. */
struct file_mark file_mark_at(const char *path);

bool file_mark_is_same(const struct file_mark *a, const struct file_mark *b);
