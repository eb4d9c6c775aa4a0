/*
 * /proc/net/{udp,tcp}{,6} tells the inodes of the sockets on a port, /proc/PID/fd/N who has them
 * open. The kernel writes an address there as 32-bit words in host order, in hexadecimal.
 */
#include "listen/holder.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/bytes.h"
#include "base/str.h"

#define INODES_MAX 16	    /* sockets on one port we look for: the first few name the culprit */
#define ADDRESS_HEX_MAX 33  /* an IPv6 address in hexadecimal, and its NUL */
#define TCP_STATE_LISTEN 10 /* as in the column "st" */
#define LINE_BYTES 512

struct inodes {
	unsigned long inode[INODES_MAX];
	unsigned count;
};

static void address_to_hex(const struct addr *addr, char out[ADDRESS_HEX_MAX])
{
	unsigned words = addr->family == AF_INET6 ? 4 : 1;

	for (unsigned i = 0; i < words; i++) {
		uint32_t word;

		memcpy(&word, addr->bytes + 4 * (size_t)i, sizeof(word));
		(void)snprintf(out + 8 * (size_t)i, ADDRESS_HEX_MAX - 8 * (size_t)i, "%08X", word);
	}
}

static bool is_zeros(const char *hex)
{
	return hex[strspn(hex, "0")] == '\0';
}

/* One line: "sl local:port remote:port st tx:rx tr:when retrnsmt uid timeout inode …". */
static bool parse_line(const char *line, char address[ADDRESS_HEX_MAX], unsigned *out_port,
		       unsigned *out_state, unsigned long *out_inode)
{
	return sscanf(line, " %*[0-9]: %32[0-9A-F]:%4X %*[0-9A-F]:%*4X %2X %*s %*s %*s %*s %*s %lu",
		      address, out_port, out_state, out_inode) == 4;
}

static void collect_inodes(const char *path, const struct addr *addr, bool is_tcp,
			   bool is_same_family, struct inodes *inodes)
{
	char wanted[ADDRESS_HEX_MAX], found[ADDRESS_HEX_MAX], line[LINE_BYTES];
	unsigned port, state;
	unsigned long inode;
	FILE *file = fopen(path, "re");

	if (!file)
		return;
	address_to_hex(addr, wanted);
	while (inodes->count < INODES_MAX && fgets(line, sizeof(line), file)) {
		if (!parse_line(line, found, &port, &state, &inode) || port != addr->port)
			continue;
		if (is_tcp && state != TCP_STATE_LISTEN)
			continue;
		if (is_zeros(found) ||
		    (is_same_family && (addr_is_any(addr) || !strcmp(found, wanted))))
			inodes->inode[inodes->count++] = inode;
	}
	(void)fclose(file);
}

static bool has_one_open(const char *pid, const struct inodes *inodes)
{
	char path[PATH_MAX], target[64];
	struct dirent *entry;
	bool has = false;
	DIR *fds;

	if (str_format(path, sizeof(path), "/proc/%s/fd", pid) < 0)
		return false;
	fds = opendir(path);
	if (!fds)
		return false;
	while (!has && (entry = readdir(fds))) {
		ssize_t length = readlinkat(dirfd(fds), entry->d_name, target, sizeof(target) - 1);
		unsigned long inode;

		if (length < 0)
			continue;
		target[length] = '\0';
		if (sscanf(target, "socket:[%lu]", &inode) != 1)
			continue;
		for (unsigned i = 0; i < inodes->count; i++)
			has |= inodes->inode[i] == inode;
	}
	(void)closedir(fds);
	return has;
}

/* A process chooses its own name: only what is safe in a log line is taken over. */
static void read_name(const char *pid, char out[HOLDER_NAME_MAX])
{
	char path[PATH_MAX];
	FILE *file = NULL;

	out[0] = '\0';
	if (str_format(path, sizeof(path), "/proc/%s/comm", pid) >= 0)
		file = fopen(path, "re");
	if (file && !fgets(out, HOLDER_NAME_MAX, file))
		out[0] = '\0';
	if (file)
		(void)fclose(file);
	out[strcspn(out, "\n")] = '\0';
	for (char *c = out; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	if (!out[0])
		(void)str_format(out, HOLDER_NAME_MAX, "?");
}

static int find_process(const struct inodes *inodes, struct holder *out)
{
	struct dirent *entry;
	int rc = -ENOENT;
	DIR *proc = opendir("/proc");

	if (!proc)
		return -ENOENT;
	while (rc && (entry = readdir(proc))) {
		uint64_t pid;

		if (str_parse_uint(entry->d_name, 1, INT_MAX, &pid) ||
		    !has_one_open(entry->d_name, inodes))
			continue;
		out->pid = (pid_t)pid;
		read_name(entry->d_name, out->name);
		rc = 0;
	}
	(void)closedir(proc);
	return rc;
}

int holder_find(const struct addr *addr, bool is_tcp, struct holder *out)
{
	const char *v4 = is_tcp ? "/proc/net/tcp" : "/proc/net/udp";
	const char *v6 = is_tcp ? "/proc/net/tcp6" : "/proc/net/udp6";
	struct inodes inodes = { .count = 0 };

	if (addr->family == AF_INET)
		collect_inodes(v4, addr, is_tcp, true, &inodes);
	/* A dual-stack socket on [::] holds the IPv4 port too. */
	if (!inodes.count)
		collect_inodes(v6, addr, is_tcp, addr->family == AF_INET6, &inodes);
	return inodes.count ? find_process(&inodes, out) : -ENOENT;
}
