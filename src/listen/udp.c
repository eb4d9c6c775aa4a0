/*
 * A readable socket is read batch by batch for as long as batches come at least half full: under
 * load that saves most calls of epoll_wait, and when it is quiet costs none. After a bounded number
 * of rounds the loop gets its turn, so that TCP and timers live. A reply is written straight into
 * the slot it is sent from.
 */
#include "listen/udp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "listen/udp_late.h"
#include "listen/udp_message.h"
#include "nomad/zone.h"
#include "pipeline.h"

#define BATCH_COUNT 64	       /* datagrams per system call; more gains nothing measurable */
#define PACKET_SLOT_BYTES 4096 /* no query is longer; a longer datagram is dropped */
#define REPLY_MAX_BYTES 1232   /* what fits every path without fragments (RFC 9715 §3.2) */
#define REPLY_SLOT_BYTES 1280  /* the same, in whole cache lines */
#define ROUNDS_MAX 16	       /* batches before the loop gets its turn */
#define MUTE_ROUNDS_MAX 128    /* more than a socket's queue holds */
#define WARN_EVERY_MS 60000

struct udp_batch {
	struct mmsghdr in[BATCH_COUNT], out[BATCH_COUNT];
	struct iovec in_bytes[BATCH_COUNT], out_bytes[BATCH_COUNT];
	union addr_socket name[BATCH_COUNT];
	union udp_message_control in_control[BATCH_COUNT], out_control[BATCH_COUNT];
	uint8_t reply[BATCH_COUNT][REPLY_SLOT_BYTES] __attribute__((aligned(64)));
	uint8_t packet[BATCH_COUNT][PACKET_SLOT_BYTES];
};

struct udp {
	uv_poll_t poll;
	struct pipeline *pipeline;
	struct metrics *metrics;
	struct udp_batch *batch;
	struct udp_late *late;
	int fd;
	int domain; /* of the socket: an AF_INET6 one may carry IPv4 */
	bool is_wildcard;
	bool is_inherited;
	uint32_t kernel_drops;	    /* SO_RXQ_OVFL: counts from the socket's beginning, and wraps */
	struct query_client client; /* what every client of this socket has in common */
	struct log_brake error_brake;
	void (*closed)(void *);
	void *closed_arg;
};

struct udp_batch *udp_batch_new(void)
{
	/* Mapped, because slots that no burst ever reaches then cost nothing. */
	struct udp_batch *batch = mmap(NULL, sizeof(*batch), PROT_READ | PROT_WRITE,
				       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (batch == MAP_FAILED)
		return NULL;
	for (unsigned i = 0; i < BATCH_COUNT; i++) {
		struct msghdr *in = &batch->in[i].msg_hdr, *out = &batch->out[i].msg_hdr;

		batch->in_bytes[i].iov_base = batch->packet[i];
		batch->in_bytes[i].iov_len = PACKET_SLOT_BYTES;
		in->msg_name = &batch->name[i];
		in->msg_namelen = sizeof(batch->name[i]);
		in->msg_iov = &batch->in_bytes[i];
		in->msg_iovlen = 1;
		in->msg_control = &batch->in_control[i];
		in->msg_controllen = sizeof(batch->in_control[i]);
		batch->out_bytes[i].iov_base = batch->reply[i];
		out->msg_iov = &batch->out_bytes[i];
		out->msg_iovlen = 1;
	}
	return batch;
}

void udp_batch_free(struct udp_batch *batch)
{
	if (batch)
		(void)munmap(batch, sizeof(*batch));
}

/* The ancillary data of a datagram; false: nobody can be answered from where it was sent to. */
static bool read_control(struct udp *udp, struct msghdr *message, struct query_client *client)
{
	uint32_t drops = udp->kernel_drops;
	bool can_answer = udp_message_read(message, client, &drops);

	if (drops != udp->kernel_drops)
		metrics_add(udp->metrics, METRIC_UDP_KERNEL_DROPS,
			    (uint32_t)(drops - udp->kernel_drops));
	udp->kernel_drops = drops;
	return can_answer;
}

static void write_source(const struct udp *udp, const struct query_client *client,
			 struct msghdr *message, union udp_message_control *control)
{
	message->msg_control = NULL;
	message->msg_controllen = 0;
	if (udp->is_wildcard)
		udp_message_write_source(udp->domain, client, message, control);
}

/* Asks the pipeline about datagram `i`. 1: its reply is in out slot `k`; 0: none now. */
static unsigned answer_one(struct udp *udp, unsigned i, unsigned k, uint64_t now_us)
{
	struct udp_batch *batch = udp->batch;
	struct msghdr *in = &batch->in[i].msg_hdr, *out = &batch->out[k].msg_hdr;
	struct query_client client = udp->client;
	bool can_answer = udp_message_read_peer(&batch->name[i], &client.peer);
	size_t length;

	if (in->msg_controllen > 0)
		can_answer &= read_control(udp, in, &client);
	if (!can_answer || (in->msg_flags & MSG_TRUNC)) {
		metrics_add(udp->metrics, METRIC_REQUESTS_DROPPED, 1);
		return 0;
	}
	length = pipeline_ask(udp->pipeline, &client, batch->packet[i], batch->in[i].msg_len,
			      now_us, batch->reply[k], REPLY_MAX_BYTES);
	if (length == 0)
		return 0;
	batch->out_bytes[k].iov_len = length;
	out->msg_name = &batch->name[i];
	out->msg_namelen = in->msg_namelen;
	write_source(udp, &client, out, &batch->out_control[k]);
	return 1;
}

/* One batch from arrival to farewell. The datagrams read, or -errno. */
static int serve_batch(struct udp *udp)
{
	struct udp_batch *batch = udp->batch;
	int count = recvmmsg(udp->fd, batch->in, BATCH_COUNT, MSG_DONTWAIT, NULL);
	unsigned reply_count = 0;
	uint64_t now_us;

	if (count <= 0)
		return count < 0 ? -errno : 0;
	now_us = clock_now_us();
	zone_read_begin();
	for (unsigned i = 0; i < (unsigned)count; i++)
		reply_count += answer_one(udp, i, reply_count, now_us);
	zone_read_end();
	if (reply_count) {
		metrics_add(udp->metrics, METRIC_RESPONSES_UNSENT,
			    udp_message_send(udp->fd, batch->out, reply_count));
		/* One look at the clock for the whole batch. */
		metrics_observe(udp->metrics, METRIC_REQUEST_DURATION, clock_now_us() - now_us,
				reply_count);
	}
	for (unsigned i = 0; i < (unsigned)count; i++) {
		batch->in[i].msg_hdr.msg_namelen = sizeof(batch->name[i]);
		batch->in[i].msg_hdr.msg_controllen = sizeof(batch->in_control[i]);
	}
	return count;
}

static void serve(struct udp *udp, unsigned rounds_max, int again_from_count)
{
	for (unsigned round = 0; round < rounds_max; round++) {
		int count = serve_batch(udp);

		if (count < again_from_count && count != -EINTR)
			break;
	}
}

static void on_readable(uv_poll_t *poll, int status, int events);

/* libuv stops a poll that reports an error; reading SO_ERROR clears it, and the socket goes on. */
static void recover(struct udp *udp)
{
	uint64_t held_count;
	int error = 0;
	socklen_t length = sizeof(error);

	(void)getsockopt(udp->fd, SOL_SOCKET, SO_ERROR, &error, &length);
	if (log_brake_take(&udp->error_brake, uv_now(udp->poll.loop), WARN_EVERY_MS, &held_count))
		log_warn("listen", "error on a UDP socket: %s; reading on", strerror(error));
	(void)uv_poll_start(&udp->poll, UV_READABLE, on_readable);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct udp *udp = poll->data;

	(void)events;
	if (status < 0)
		recover(udp);
	serve(udp, ROUNDS_MAX, BATCH_COUNT / 2);
}

int udp_open(const struct udp_setup *setup, struct udp **out)
{
	struct udp *udp = calloc(1, sizeof(*udp));
	socklen_t length = sizeof(udp->domain);
	int rc;

	if (!udp)
		return -ENOMEM;
	udp->pipeline = setup->pipeline;
	udp->metrics = setup->metrics;
	udp->batch = setup->batch;
	udp->late = setup->late;
	udp->fd = setup->socket->fd;
	udp->is_wildcard = setup->socket->is_wildcard;
	udp->is_inherited = setup->socket->is_inherited;
	udp->client.source = QUERY_UDP;
	udp->client.socket = setup->index;
	udp->client.local = setup->socket->addr;
	if (getsockopt(udp->fd, SOL_SOCKET, SO_DOMAIN, &udp->domain, &length) < 0) {
		rc = -errno;
		goto failed;
	}
	rc = uv_poll_init(setup->loop, &udp->poll, udp->fd);
	if (rc)
		goto failed;
	udp->poll.data = udp;
	/* Cannot fail on a handle that was just initialised. */
	(void)uv_poll_start(&udp->poll, UV_READABLE, on_readable);
	*out = udp;
	return 0;
failed:
	free(udp);
	return rc;
}

void udp_send(struct udp *udp, const struct query_client *client, const uint8_t *reply,
	      size_t length)
{
	struct udp_late_from from = { .fd = udp->fd,
				      .domain = udp->domain,
				      .with_source = udp->is_wildcard };

	if (length > 0) /* else it ended without an answer */
		udp_late_put(udp->late, &from, client, reply, length);
}

/*
 * Connecting a UDP socket takes it out of its port for everybody but the peer; sending with an
 * address still works, and what is queued can still be read. The peer is port 1 of ourselves: a
 * routable address nobody asks from.
 */
static void leave_port(struct udp *udp)
{
	union addr_socket nobody;
	struct addr peer = udp->client.local;
	socklen_t length;

	if (udp->is_wildcard) { /* a loopback address of the same family */
		memset(peer.bytes, 0, sizeof(peer.bytes));
		peer.bytes[peer.family == AF_INET ? 0 : 15] = peer.family == AF_INET ? 127 : 1;
		peer.bytes[3] = peer.family == AF_INET ? 1 : 0;
	}
	peer.port = 1;
	length = udp_message_write_peer(udp->domain, &peer, &nobody);
	/* An address that has gone from the host cannot be connected from, nor asked either. */
	(void)connect(udp->fd, &nobody.sa, length);
}

void udp_mute(struct udp *udp)
{
	(void)uv_poll_stop(&udp->poll);
	if (udp->is_inherited)
		return;
	leave_port(udp);
	serve(udp, MUTE_ROUNDS_MAX, 1);
}

static void on_closed(uv_handle_t *handle)
{
	struct udp *udp = handle->data;
	void (*closed)(void *) = udp->closed;
	void *arg = udp->closed_arg;

	(void)close(udp->fd);
	free(udp);
	closed(arg);
}

void udp_close(struct udp *udp, void (*closed)(void *), void *arg)
{
	udp_late_flush(udp->late);
	udp->closed = closed;
	udp->closed_arg = arg;
	uv_close((uv_handle_t *)&udp->poll, on_closed);
}
