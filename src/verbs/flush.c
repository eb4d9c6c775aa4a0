#include "verbs/flush.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/bytes.h"
#include "base/str.h"
#include "config/config.h"
#include "dns/name.h"

#define PATIENCE_S 5
#define REPLY_MAX 8192 /* one line behind a head; more is no daemon of ours */
#define ENCODED_MAX (NAME_TEXT_MAX * 3)

static const char usage[] =
	"usage: nomad-dns flush [options] NAME\n"
	"\n"
	"Tells the running daemon, through its admin listener, to forget what "
	"upstreams said about\n"
	"NAME and everything below it (\".\" is everything).\n"
	"\n"
	"Exit code: 0 forgotten, 64 usage, 69 the daemon is not to be reached.\n";

static int complain(const char *what, const char *about)
{
	fprintf(stderr, "nomad-dns flush: %s%s%s\n%s", what, *about ? ": " : "", about, usage);
	return EX_USAGE;
}

static int refuse(const char *where, const char *why)
{
	fprintf(stderr, "nomad-dns flush: the admin listener at %s %s\n", where, why);
	return EX_UNAVAILABLE;
}

/* Percent-encodes all but letters and digits (RFC 3986 §2.1). `out` holds ENCODED_MAX. */
static void encode(const char *text, char *out)
{
	static const char digits[] = "0123456789ABCDEF";

	for (; *text; text++) {
		unsigned char byte = (unsigned char)*text, low = (unsigned char)(byte | 0x20);

		if ((low >= 'a' && low <= 'z') || (byte >= '0' && byte <= '9')) {
			*out++ = (char)byte;
			continue;
		}
		*out++ = '%';
		*out++ = digits[byte >> 4];
		*out++ = digits[byte & 15];
	}
	*out = '\0';
}

static int connect_socket(const struct sockaddr *address, socklen_t length)
{
	struct timeval patience = { .tv_sec = PATIENCE_S };
	int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0), error;

	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (connect(fd, address, length) == 0)
		return fd;
	error = errno;
	close(fd);
	return -error;
}

/* A connection to the admin listener, or -errno. */
static int connect_admin(const struct config *config)
{
	struct addr addr = config->admin_addr;
	union addr_socket address;
	struct sockaddr_un local = { .sun_family = AF_UNIX };

	if (config->admin_path) {
		memcpy(local.sun_path, config->admin_path,
		       min_size(strlen(config->admin_path), sizeof(local.sun_path) - 1));
		return connect_socket((struct sockaddr *)&local, sizeof(local));
	}
	if (addr_is_any(&addr)) {
		addr.bytes[0] = addr.family == AF_INET ? 127 : 0;
		addr.bytes[addr.family == AF_INET ? 3 : 15] = 1;
	}
	return connect_socket(&address.sa, addr_to_socket(&addr, &address));
}

static int send_all(int fd, const char *data, size_t length)
{
	while (length > 0) {
		ssize_t count = send(fd, data, length, MSG_NOSIGNAL);

		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			return -errno;
		data += count;
		length -= (size_t)count;
	}
	return 0;
}

/* Reads until the daemon closes; a string. 0 or -errno. */
static int receive_all(int fd, char *out, size_t capacity)
{
	size_t length = 0;

	for (;;) {
		ssize_t count = recv(fd, out + length, capacity - 1 - length, 0);

		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			return -errno;
		if (count == 0)
			break;
		length += (size_t)count;
		if (length == capacity - 1)
			return -EMSGSIZE;
	}
	out[length] = '\0';
	return strlen(out) == length ? 0 : -EBADMSG;
}

/* Sends the wish; the daemon's reply is in `out`. 0 or -errno. */
static int ask(int fd, const char *name, char out[REPLY_MAX])
{
	char encoded[ENCODED_MAX], request[ENCODED_MAX + 256];
	int length, result;

	encode(name, encoded);
	length = str_format(request, sizeof(request),
			    "POST /v1/flush?name=%s HTTP/1.1\r\nHost: localhost\r\n"
			    "Content-Length: 0\r\nConnection: close\r\n\r\n",
			    encoded);
	if (length < 0)
		return length;
	result = send_all(fd, request, (size_t)length);
	return result ? result : receive_all(fd, out, REPLY_MAX);
}

/* Shows what the daemon said. The exit code. */
static int show(const char *where, const char *reply)
{
	const char *body = strstr(reply, "\r\n\r\n");
	bool is_http = strncmp(reply, "HTTP/1.1 ", 9) == 0;

	if (!body || !is_http)
		return refuse(where, "does not speak HTTP");
	body += 4;
	if (strncmp(reply + 9, "200 ", 4) == 0) {
		fputs(body, stdout);
		return EX_OK;
	}
	fprintf(stderr, "nomad-dns flush: %.3s: %s", reply + 9, body);
	return EX_UNAVAILABLE;
}

int flush_run(const struct config *config, int argc, char **argv)
{
	uint8_t wire[DNS_NAME_MAX];
	char reply[REPLY_MAX];
	int fd, result;

	if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		fputs(usage, stdout);
		return EX_OK;
	}
	if (argc < 2)
		return complain("which NAME?", "");
	if (argc > 2 || argv[1][0] == '-')
		return complain("one NAME is all it takes, this is something else",
				argv[argc > 2 ? 2 : 1]);
	if (name_parse(argv[1], wire) < 0)
		return complain("no domain name (labels of 1 to 63 bytes, 255 in all)", argv[1]);
	if (config->admin_is_off)
		return refuse("off", "cannot be asked: start the daemon with admin=IP:PORT or "
				     "unix:///PATH");
	fd = connect_admin(config);
	if (fd < 0)
		return refuse(config->admin, strerror(-fd));
	result = ask(fd, argv[1], reply);
	close(fd);
	return result ? refuse(config->admin, strerror(-result)) : show(config->admin, reply);
}
