#include "listen/udp_late.h"

#include <string.h>
#include <sys/mman.h>

#include "base/metrics.h"
#include "listen/udp_message.h"

#define LATE_COUNT 64	      /* replies per system call */
#define REPLY_SLOT_BYTES 1280 /* 1,232 in whole cache lines */

struct udp_late {
	uv_idle_t idle; /* active while there is something to send: then the loop does not wait */
	struct metrics *metrics;
	unsigned count;
	int fd[LATE_COUNT];
	struct mmsghdr out[LATE_COUNT];
	struct iovec bytes[LATE_COUNT];
	union addr_socket name[LATE_COUNT];
	union udp_message_control control[LATE_COUNT];
	uint8_t reply[LATE_COUNT][REPLY_SLOT_BYTES] __attribute__((aligned(64)));
};

void udp_late_flush(struct udp_late *late)
{
	unsigned unsent_count = 0, to;

	for (unsigned from = 0; from < late->count; from = to) {
		to = from + 1;
		while (to < late->count && late->fd[to] == late->fd[from])
			to++;
		unsent_count += udp_message_send(late->fd[from], late->out + from, to - from);
	}
	late->count = 0;
	(void)uv_idle_stop(&late->idle);
	if (unsent_count > 0)
		metrics_add(late->metrics, METRIC_RESPONSES_UNSENT, unsent_count);
}

static void on_idle(uv_idle_t *idle)
{
	udp_late_flush(idle->data);
}

struct udp_late *udp_late_open(uv_loop_t *loop, struct metrics *metrics)
{
	/* Mapped, because slots that no flock ever reaches then cost nothing. */
	struct udp_late *late = mmap(NULL, sizeof(*late), PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (late == MAP_FAILED)
		return NULL;
	late->metrics = metrics;
	(void)uv_idle_init(loop, &late->idle); /* cannot fail */
	late->idle.data = late;
	return late;
}

void udp_late_put(struct udp_late *late, const struct udp_late_from *from,
		  const struct query_client *client, const uint8_t *reply, size_t length)
{
	unsigned k = late->count;
	struct msghdr *message = &late->out[k].msg_hdr;

	if (length > REPLY_SLOT_BYTES) { /* no client has asked for one */
		metrics_add(late->metrics, METRIC_RESPONSES_UNSENT, 1);
		return;
	}
	memcpy(late->reply[k], reply, length);
	late->fd[k] = from->fd;
	late->bytes[k] = (struct iovec){ .iov_base = late->reply[k], .iov_len = length };
	*message = (struct msghdr){ .msg_name = &late->name[k],
				    .msg_iov = &late->bytes[k],
				    .msg_iovlen = 1 };
	message->msg_namelen = udp_message_write_peer(from->domain, &client->peer, &late->name[k]);
	if (from->with_source)
		udp_message_write_source(from->domain, client, message, &late->control[k]);
	if (k == 0)
		(void)uv_idle_start(&late->idle, on_idle); /* nor can this */
	if (++late->count == LATE_COUNT)
		udp_late_flush(late);
}

static void on_closed(uv_handle_t *handle)
{
	(void)munmap(handle->data, sizeof(struct udp_late));
}

void udp_late_close(struct udp_late *late)
{
	udp_late_flush(late);
	uv_close((uv_handle_t *)&late->idle, on_closed);
}
