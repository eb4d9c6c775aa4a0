#include "admin/admin_socket.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 16 /* connections the kernel keeps for us while all places are taken */

static int new_socket(int family)
{
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd < 0 ? -errno : fd;
}

static int open_tcp(const struct addr *addr)
{
	union addr_socket name;
	socklen_t length = addr_to_socket(addr, &name);
	int yes = 1, fd = new_socket(addr->family), error;

	if (fd < 0)
		return fd;
	/* Only for what lingers in TIME_WAIT after a restart: two listeners never share a port. */
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) == 0 &&
	    bind(fd, &name.sa, length) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	error = -errno;
	close(fd);
	return error;
}

static int fill_unix_name(const char *path, struct sockaddr_un *out)
{
	size_t length = strlen(path);

	if (length == 0 || length >= sizeof(out->sun_path))
		return length ? -ENAMETOOLONG : -ENOENT;
	memset(out, 0, sizeof(*out));
	out->sun_family = AF_UNIX;
	memcpy(out->sun_path, path, length);
	return 0;
}

/* Makes room at a path that is taken: 0 when the file was a dead process's and is gone. */
static int remove_stale_file(const struct sockaddr_un *name)
{
	struct stat status;
	int fd, error = 0;

	if (lstat(name->sun_path, &status) != 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(status.st_mode))
		return -ENOTSOCK;
	fd = new_socket(AF_UNIX);
	if (fd < 0)
		return fd;
	if (connect(fd, (const struct sockaddr *)name, sizeof(*name)) == 0 || errno == EAGAIN)
		error = -EADDRINUSE; /* EAGAIN: somebody listens, with a full backlog */
	else if (errno != ECONNREFUSED && errno != ENOENT)
		error = -errno;
	close(fd);
	if (error == 0 && unlink(name->sun_path) != 0 && errno != ENOENT)
		error = -errno;
	return error;
}

static int bind_unix(int fd, const struct sockaddr_un *name)
{
	int error;

	if (bind(fd, (const struct sockaddr *)name, sizeof(*name)) == 0)
		return 0;
	if (errno != EADDRINUSE)
		return -errno;
	error = remove_stale_file(name);
	if (error)
		return error;
	return bind(fd, (const struct sockaddr *)name, sizeof(*name)) == 0 ? 0 : -errno;
}

static int open_unix(const char *path, struct admin_socket *out)
{
	struct sockaddr_un name;
	struct stat status;
	int error = fill_unix_name(path, &name), fd;

	if (error)
		return error;
	fd = new_socket(AF_UNIX);
	if (fd < 0)
		return fd;
	/* On Linux the file takes its mode from the socket: no moment at which others may connect.
	 */
	error = fchmod(fd, S_IRUSR | S_IWUSR) == 0 ? bind_unix(fd, &name) : -errno;
	if (error)
		goto out;
	if (lstat(path, &status) != 0 || listen(fd, BACKLOG) != 0) {
		error = -errno;
		unlink(path);
		goto out;
	}
	*out = (struct admin_socket){ fd, status.st_dev, status.st_ino };
	return 0;
out:
	close(fd);
	return error;
}

int admin_socket_open(const struct addr *addr, const char *path, struct admin_socket *out)
{
	int fd;

	if (path)
		return open_unix(path, out);
	fd = open_tcp(addr);
	if (fd < 0)
		return fd;
	*out = (struct admin_socket){ .fd = fd };
	return 0;
}

void admin_socket_remove_file(const struct admin_socket *socket, const char *path)
{
	struct stat status;

	if (path && lstat(path, &status) == 0 && S_ISSOCK(status.st_mode) &&
	    status.st_dev == socket->device && status.st_ino == socket->inode)
		unlink(path);
}
