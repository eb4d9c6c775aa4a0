/*
 * Who sent a datagram and which address it was sent to, between the kernel's form and ours, for
 * sockets of both families and for those that carry both; and the sending of many. On the hot path.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/addr.h"
#include "query/query.h"

union udp_message_control { /* one message's ancillary data, either way */
	struct cmsghdr alignment;
	uint8_t bytes[CMSG_SPACE(sizeof(struct in6_pktinfo)) +
		      CMSG_SPACE(sizeof(struct in_pktinfo)) + CMSG_SPACE(sizeof(uint32_t))];
};

/* The sender; IPv4-mapped addresses are folded. false: nobody can be answered there. */
bool udp_message_read_peer(const union addr_socket *name, struct addr *peer);

/*
 * The asked address and its interface, and how many datagrams the socket has lost so far
 * (SO_RXQ_OVFL), each as far as the message tells. false: it was sent to a broadcast or multicast
 * address, which is nobody's to answer from.
 */
bool udp_message_read(struct msghdr *message, struct query_client *client, uint32_t *kernel_drops);

/*
 * Makes a reply leave from the address that was asked (RFC 2181 §4.1); `domain` is the socket's
 * family. The interface is only forced where the address means nothing without it; elsewhere the
 * route decides.
 */
void udp_message_write_source(int domain, const struct query_client *client, struct msghdr *message,
			      union udp_message_control *control);

/* The destination as a socket of `domain` takes it. */
socklen_t udp_message_write_peer(int domain, const struct addr *peer, union addr_socket *out);

/*
 * Sends them all. A full send buffer is tried again once: waiting for it would hold up every other
 * client longer than their own retry takes. Any other error concerns one destination (no route, a
 * firewall) and costs only its reply. How many were not sent.
 */
unsigned udp_message_send(int fd, struct mmsghdr *messages, unsigned count);
