#include "listen/udp_message.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"

static const uint8_t mapped_prefix[12] = { [10] = 0xff, [11] = 0xff };

static void set_ipv4(struct addr *addr, const void *bytes)
{
	addr->family = AF_INET;
	memset(addr->bytes, 0, sizeof(addr->bytes));
	memcpy(addr->bytes, bytes, 4);
}

/* IPv4-mapped addresses, as dual-stack sockets see them, are folded to IPv4. */
static void set_ipv6(struct addr *addr, const struct in6_addr *in6)
{
	if (memcmp(in6, mapped_prefix, sizeof(mapped_prefix)) == 0) {
		set_ipv4(addr, in6->s6_addr + sizeof(mapped_prefix));
		return;
	}
	addr->family = AF_INET6;
	memcpy(addr->bytes, in6, sizeof(addr->bytes));
}

bool udp_message_read_peer(const union addr_socket *name, struct addr *peer)
{
	if (name->sa.sa_family == AF_INET) {
		peer->port = ntohs(name->in.sin_port);
		set_ipv4(peer, &name->in.sin_addr);
	} else if (name->sa.sa_family == AF_INET6) {
		peer->port = ntohs(name->in6.sin6_port);
		peer->scope_id = name->in6.sin6_scope_id;
		set_ipv6(peer, &name->in6.sin6_addr);
	} else {
		return false;
	}
	return peer->port != 0;
}

/* The asked address; false if it was a broadcast or multicast address, which is nobody's to answer
 * from. */
static bool read_pktinfo4(const struct cmsghdr *control, struct query_client *client)
{
	struct in_pktinfo info;

	memcpy(&info, CMSG_DATA(control), sizeof(info));
	set_ipv4(&client->local, &info.ipi_addr);
	client->interface = (uint32_t)info.ipi_ifindex;
	return info.ipi_addr.s_addr == info.ipi_spec_dst.s_addr;
}

static bool read_pktinfo6(const struct cmsghdr *control, struct query_client *client)
{
	struct in6_pktinfo info;

	memcpy(&info, CMSG_DATA(control), sizeof(info));
	set_ipv6(&client->local, &info.ipi6_addr);
	client->interface = info.ipi6_ifindex;
	if (IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr))
		client->local.scope_id = info.ipi6_ifindex;
	return client->local.family == AF_INET ? !IN_MULTICAST(load_be32(client->local.bytes))
					       : !IN6_IS_ADDR_MULTICAST(&info.ipi6_addr);
}

bool udp_message_read(struct msghdr *message, struct query_client *client, uint32_t *kernel_drops)
{
	bool can_answer = true;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL)
			memcpy(kernel_drops, CMSG_DATA(c), sizeof(*kernel_drops));
		else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO)
			can_answer = read_pktinfo4(c, client);
		else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO)
			can_answer = read_pktinfo6(c, client);
	}
	return can_answer;
}

static void write_cmsg(struct msghdr *message, union udp_message_control *control, int level,
		       int type, const void *data, size_t length)
{
	control->alignment.cmsg_level = level;
	control->alignment.cmsg_type = type;
	control->alignment.cmsg_len = CMSG_LEN(length);
	memcpy(CMSG_DATA(&control->alignment), data, length);
	message->msg_control = control;
	message->msg_controllen = CMSG_SPACE(length);
}

void udp_message_write_source(int domain, const struct query_client *client, struct msghdr *message,
			      union udp_message_control *control)
{
	uint32_t interface = addr_is_link_local(&client->local) ? client->interface : 0;

	if (domain == AF_INET) {
		struct in_pktinfo info = { .ipi_ifindex = (int)interface };

		memcpy(&info.ipi_spec_dst, client->local.bytes, 4);
		write_cmsg(message, control, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
	} else {
		struct in6_pktinfo info = { .ipi6_ifindex = interface };

		if (client->local.family == AF_INET) {
			memcpy(info.ipi6_addr.s6_addr, mapped_prefix, sizeof(mapped_prefix));
			memcpy(info.ipi6_addr.s6_addr + 12, client->local.bytes, 4);
		} else {
			memcpy(&info.ipi6_addr, client->local.bytes, 16);
		}
		write_cmsg(message, control, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
	}
}

socklen_t udp_message_write_peer(int domain, const struct addr *peer, union addr_socket *out)
{
	if (domain == AF_INET || peer->family != AF_INET)
		return addr_to_socket(peer, out);
	memset(out, 0, sizeof(*out));
	out->in6.sin6_family = AF_INET6;
	out->in6.sin6_port = htons(peer->port);
	memcpy(out->in6.sin6_addr.s6_addr, mapped_prefix, sizeof(mapped_prefix));
	memcpy(out->in6.sin6_addr.s6_addr + sizeof(mapped_prefix), peer->bytes, 4);
	return sizeof(out->in6);
}

static bool is_kernel_busy(int error)
{
	return error == EAGAIN || error == ENOBUFS || error == ENOMEM;
}

unsigned udp_message_send(int fd, struct mmsghdr *messages, unsigned count)
{
	bool has_retried = false;
	unsigned tried = 0, refused = 0;

	while (tried < count) {
		int rc = sendmmsg(fd, messages + tried, count - tried, MSG_DONTWAIT);

		if (rc > 0) {
			tried += (unsigned)rc;
		} else if (rc < 0 && errno == EINTR) {
			continue;
		} else if (rc < 0 && is_kernel_busy(errno)) {
			if (has_retried)
				break;
			has_retried = true;
		} else {
			refused++;
			tried++;
		}
	}
	return refused + count - tried;
}
