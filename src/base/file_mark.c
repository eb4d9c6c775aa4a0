#include "base/file_mark.h"

struct file_mark file_mark_of(const struct stat *status)
{
	return (struct file_mark){ .device = status->st_dev,
				   .inode = status->st_ino,
				   .size = status->st_size,
				   .modified = status->st_mtim,
				   .changed = status->st_ctim };
}

struct file_mark file_mark_at(const char *path)
{
	struct stat status;

	return stat(path, &status) == 0 ? file_mark_of(&status) : (struct file_mark){ 0 };
}

static bool is_same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

bool file_mark_is_same(const struct file_mark *a, const struct file_mark *b)
{
	return a->device == b->device && a->inode == b->inode && a->size == b->size &&
	       is_same_time(&a->modified, &b->modified) && is_same_time(&a->changed, &b->changed);
}
