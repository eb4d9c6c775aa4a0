#include "nomad/http_socket.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

struct socket_entry {
	uv_poll_t poll;
	struct list link;
	struct http_sockets *sockets;
	int fd;
	ino_t inode; /* which socket the number stands for */
	bool is_ours;
};

void http_sockets_init(struct http_sockets *sockets, uv_loop_t *loop)
{
	*sockets = (struct http_sockets){ .loop = loop };
	list_init(&sockets->open);
}

static struct socket_entry *find(const struct http_sockets *sockets, int fd)
{
	list_for_each (link, &sockets->open) {
		struct socket_entry *entry = list_entry(link, struct socket_entry, link);

		if (entry->fd == fd)
			return entry;
	}
	return NULL;
}

static void on_poll_closed(uv_handle_t *handle)
{
	struct socket_entry *entry = handle->data;
	struct http_sockets *sockets = entry->sockets;

	free(entry);
	sockets->handle_count--;
	sockets->on_closed(sockets->arg);
}

static void close_entry(struct socket_entry *entry)
{
	list_remove(&entry->link);
	uv_poll_stop(&entry->poll);
	uv_close((uv_handle_t *)&entry->poll, on_poll_closed);
}

/* 0: there is no such descriptor (any more). */
static ino_t inode_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 ? st.st_ino : 0;
}

static int add(struct http_sockets *sockets, int fd, bool is_ours)
{
	struct socket_entry *entry = find(sockets, fd);
	int rc;

	if (entry) /* the number was reused before libcurl told us */
		close_entry(entry);
	entry = calloc(1, sizeof(*entry));
	if (!entry)
		return -ENOMEM;
	rc = uv_poll_init(sockets->loop, &entry->poll, fd);
	if (rc < 0) {
		free(entry);
		return rc;
	}
	entry->poll.data = entry;
	entry->sockets = sockets;
	entry->fd = fd;
	entry->inode = inode_of(fd);
	entry->is_ours = is_ours;
	list_append(&sockets->open, &entry->link);
	sockets->handle_count++;
	return 0;
}

int http_sockets_open(struct http_sockets *sockets, int family, int type, int protocol)
{
	int fd = socket(family, type | SOCK_CLOEXEC, protocol);

	if (fd < 0)
		return -1;
	if (add(sockets, fd, true) == 0)
		return fd;
	close(fd);
	return -1;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct socket_entry *entry = poll->data;

	entry->sockets->on_ready(entry->sockets->arg, entry->fd, events & UV_READABLE,
				 events & UV_WRITABLE, status < 0);
}

void http_sockets_watch(struct http_sockets *sockets, int fd, bool to_read, bool to_write)
{
	struct socket_entry *entry = find(sockets, fd);
	int events = (to_read ? UV_READABLE : 0) | (to_write ? UV_WRITABLE : 0);

	if (!entry && events && add(sockets, fd, false) == 0)
		entry = find(sockets, fd);
	if (!entry)
		return;
	if (events)
		uv_poll_start(&entry->poll, events, on_poll);
	else if (entry->is_ours)
		uv_poll_stop(&entry->poll);
	else
		close_entry(entry);
}

int http_sockets_close(struct http_sockets *sockets, int fd)
{
	struct socket_entry *entry = find(sockets, fd);

	if (entry)
		close_entry(entry);
	return close(fd);
}

void http_sockets_sweep(struct http_sockets *sockets)
{
	list_for_each_safe (link, &sockets->open) {
		struct socket_entry *entry = list_entry(link, struct socket_entry, link);

		if (inode_of(entry->fd) != entry->inode)
			close_entry(entry);
	}
}
