#include "base/mailbox.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct mailbox {
	pthread_mutex_t lock;
	void (*wake)(void *);
	void *wake_arg;
	size_t message_bytes;
	size_t capacity;
	size_t first; /* index of the oldest message */
	size_t count;
	char *messages; /* a ring */
};

struct mailbox *mailbox_new(size_t message_bytes, size_t capacity, void (*wake)(void *),
			    void *wake_arg)
{
	struct mailbox *box;

	if (message_bytes == 0 || capacity == 0)
		return NULL;
	box = calloc(1, sizeof(*box));
	if (box == NULL)
		return NULL;
	box->messages = calloc(capacity, message_bytes);
	if (box->messages == NULL || pthread_mutex_init(&box->lock, NULL) != 0) {
		free(box->messages);
		free(box);
		return NULL;
	}
	box->wake = wake;
	box->wake_arg = wake_arg;
	box->message_bytes = message_bytes;
	box->capacity = capacity;
	return box;
}

void mailbox_free(struct mailbox *box)
{
	if (box == NULL)
		return;
	pthread_mutex_destroy(&box->lock);
	free(box->messages);
	free(box);
}

int mailbox_put(struct mailbox *box, const void *message)
{
	bool was_empty;
	size_t at;

	pthread_mutex_lock(&box->lock);
	if (box->count == box->capacity) {
		pthread_mutex_unlock(&box->lock);
		return -EAGAIN;
	}
	at = (box->first + box->count) % box->capacity;
	memcpy(box->messages + at * box->message_bytes, message, box->message_bytes);
	was_empty = box->count++ == 0;
	pthread_mutex_unlock(&box->lock);

	if (was_empty && box->wake != NULL)
		box->wake(box->wake_arg);
	return 0;
}

int mailbox_take(struct mailbox *box, void *out_message)
{
	pthread_mutex_lock(&box->lock);
	if (box->count == 0) {
		pthread_mutex_unlock(&box->lock);
		return -EAGAIN;
	}
	memcpy(out_message, box->messages + box->first * box->message_bytes, box->message_bytes);
	box->first = (box->first + 1) % box->capacity;
	box->count--;
	pthread_mutex_unlock(&box->lock);
	return 0;
}
