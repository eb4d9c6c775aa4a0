#include "base/sd_notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/str.h"

/* An abstract name ('@') is exactly as long as given: a NUL more would be another name
 * (unix(7)). */
static int fill_address(const char *text, struct sockaddr_un *out, socklen_t *out_length)
{
	size_t length = strlen(text);

	if (text[0] != '/' && text[0] != '@')
		return -EINVAL;
	if (length >= sizeof(out->sun_path))
		return -ENAMETOOLONG;
	*out = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(out->sun_path, text, length);
	if (text[0] == '@')
		out->sun_path[0] = '\0';
	*out_length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
	return 0;
}

int sd_notify_send(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address;
	socklen_t address_length;
	ssize_t sent;
	int fd, rc;

	if (path == NULL || path[0] == '\0')
		return 0;
	rc = fill_address(path, &address, &address_length);
	if (rc < 0)
		return rc;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;

	do {
		sent = sendto(fd, state, strlen(state), MSG_NOSIGNAL,
			      (const struct sockaddr *)&address, address_length);
	} while (sent < 0 && errno == EINTR);
	rc = sent < 0 ? -errno : 0;
	close(fd);
	return rc;
}

uint64_t sd_notify_watchdog_ms(void)
{
	const char *usec_text = getenv("WATCHDOG_USEC"), *pid_text = getenv("WATCHDOG_PID");
	uint64_t usec, pid;

	if (!usec_text || str_parse_uint(usec_text, 1, UINT64_MAX, &usec) < 0)
		return 0;
	if (pid_text &&
	    (str_parse_uint(pid_text, 1, INT32_MAX, &pid) < 0 || (pid_t)pid != getpid()))
		return 0;
	return usec < 1000 ? 1 : usec / 1000;
}
