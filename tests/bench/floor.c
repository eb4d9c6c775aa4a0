/*
 * The floor under every UDP responder: receives a batch, turns each question into a reply with one
 * fixed A record, sends the batch. Looks nothing up, checks next to nothing. What a real server
 * costs above this is its own.
 *
 *   floor PORT      (on 127.0.0.1, until killed)
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define BATCH 64
#define SLOT_BYTES 1232
#define HEADER_BYTES 12

static const unsigned char record[] = { 0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 10, 0, 4, 192, 0, 2, 1 };

/* Length of the reply made of the question in `packet`, in place; 0: none. */
static size_t answer(unsigned char *packet, size_t length)
{
	size_t at = HEADER_BYTES;

	if (length < HEADER_BYTES + 5 || packet[2] & 0x80)
		return 0;
	while (at < length && packet[at] && packet[at] < 64)
		at += packet[at] + 1u;
	at += 5;
	if (at > length || at + sizeof(record) > SLOT_BYTES)
		return 0;
	packet[2] = (unsigned char)(packet[2] | 0x80);
	packet[3] = 0;
	memset(packet + 4, 0, HEADER_BYTES - 4);
	packet[5] = packet[7] = 1;
	memcpy(packet + at, record, sizeof(record));
	return at + sizeof(record);
}

int main(int argc, char **argv)
{
	static unsigned char slots[BATCH][SLOT_BYTES];
	static struct sockaddr_in peers[BATCH];
	static struct iovec parts[BATCH];
	static struct mmsghdr in[BATCH], out[BATCH];
	struct sockaddr_in own = { .sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	own.sin_port = htons(argc > 1 ? (unsigned short)strtoul(argv[1], NULL, 10) : 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&own, sizeof(own)) != 0) {
		perror("floor");
		return 1;
	}
	for (;;) {
		for (int i = 0; i < BATCH; i++) {
			parts[i] = (struct iovec){ slots[i], SLOT_BYTES };
			in[i].msg_hdr = (struct msghdr){ .msg_name = &peers[i],
							 .msg_namelen = sizeof(peers[i]),
							 .msg_iov = &parts[i],
							 .msg_iovlen = 1 };
		}
		int count = recvmmsg(fd, in, BATCH, MSG_WAITFORONE, NULL);
		unsigned ready = 0;
		for (int i = 0; i < count; i++) {
			parts[i].iov_len = answer(slots[i], in[i].msg_len);
			if (parts[i].iov_len)
				out[ready++].msg_hdr = in[i].msg_hdr;
		}
		for (unsigned sent = 0; sent < ready;) {
			int done = sendmmsg(fd, out + sent, ready - sent, 0);
			sent += done > 0 ? (unsigned)done : 1;
		}
	}
}
