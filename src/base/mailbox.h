/*
 * A bounded queue of fixed-size messages between two threads: many may put, one takes. Messages are
 * copied in and out; no pointer with an owner crosses unless the message type says who owns it
 * then. `wake` is called by the putter, outside the lock, when the box goes from empty to not empty
 * (uv_async_send fits). Not on the path of a cache or zone hit.
 */
#pragma once

#include <stddef.h>

struct mailbox;

/* A box of `capacity` messages of `message_bytes`; `wake` may be NULL. NULL when out of memory. */
struct mailbox *mailbox_new(size_t message_bytes, size_t capacity, void (*wake)(void *),
			    void *wake_arg);

/* Frees the box; messages still inside are lost (the owner takes what owns memory first). */
void mailbox_free(struct mailbox *box);

/* Copies a message in. 0, or -EAGAIN when the box is full. */
int mailbox_put(struct mailbox *box, const void *message);

/* Copies the oldest message out. 0, or -EAGAIN when the box is empty. */
int mailbox_take(struct mailbox *box, void *out_message);
