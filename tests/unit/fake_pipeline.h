/*
 * A pipeline that does what the message says, for the tests of what stands in front of it. Byte 4
 * of a message is the order: echo it, stay silent, keep it waiting, or answer with a lot. It stands
 * in for the real one by defining the same functions.
 */
#pragma once

#include <stdbool.h>
#include <string.h>

#include "base/metrics.h"
#include "pipeline.h"

#define FAKE_MESSAGE_BYTES 12
#define FAKE_WAITING_MAX 4096
#define FAKE_BIG_BYTES 60000

enum fake_order { FAKE_ECHO = 'E', FAKE_SILENT = 'S', FAKE_WAIT = 'W', FAKE_BIG = 'B' };

struct fake_waiting {
	struct query_client client;
	uint8_t message[FAKE_MESSAGE_BYTES];
};

struct pipeline {
	struct pipeline_doors doors;
	uint64_t asked_count;
	uint32_t waiting_count;
	struct query_client last;
	size_t last_length;
	uint64_t last_now_us;
	struct fake_waiting waiting[FAKE_WAITING_MAX];
};

static inline void fake_message(uint8_t out[FAKE_MESSAGE_BYTES], uint16_t id, enum fake_order order)
{
	memset(out, 0, FAKE_MESSAGE_BYTES);
	out[0] = (uint8_t)(id >> 8);
	out[1] = (uint8_t)id;
	out[4] = (uint8_t)order;
}

/* What the answer to it begins with. */
static inline void fake_reply(uint8_t out[FAKE_MESSAGE_BYTES], const uint8_t *message)
{
	memcpy(out, message, FAKE_MESSAGE_BYTES);
	out[2] |= 0x80;
}

size_t pipeline_ask(struct pipeline *pipeline, const struct query_client *client,
		    const uint8_t *packet, size_t length, uint64_t now_us, uint8_t *out,
		    size_t capacity)
{
	size_t reply_length = length < capacity ? length : capacity;

	pipeline->asked_count++;
	pipeline->last = *client;
	pipeline->last_length = length;
	pipeline->last_now_us = now_us;
	if (length < FAKE_MESSAGE_BYTES || packet[4] == FAKE_SILENT)
		return 0;
	if (packet[4] == FAKE_WAIT) {
		struct fake_waiting *one;

		if (pipeline->waiting_count == FAKE_WAITING_MAX)
			return 0;
		one = &pipeline->waiting[pipeline->waiting_count++];
		one->client = *client;
		memcpy(one->message, packet, FAKE_MESSAGE_BYTES);
		return 0;
	}
	memcpy(out, packet, reply_length);
	if (packet[4] == FAKE_BIG) {
		reply_length = FAKE_BIG_BYTES < capacity ? FAKE_BIG_BYTES : capacity;
		memset(out + FAKE_MESSAGE_BYTES, 'b', reply_length - FAKE_MESSAGE_BYTES);
	}
	out[2] |= 0x80;
	return reply_length;
}

/* Answers the `index`th of those that wait, with `length` bytes. */
static inline void fake_answer(struct pipeline *pipeline, uint32_t index, size_t length)
{
	static uint8_t reply[UINT16_MAX];
	struct fake_waiting *one = &pipeline->waiting[index];

	memset(reply, 'l', sizeof(reply));
	fake_reply(reply, one->message);
	pipeline->doors.send(pipeline->doors.send_arg, &one->client, reply, length);
}

static inline void fake_answer_all(struct pipeline *pipeline)
{
	uint32_t count = pipeline->waiting_count;

	pipeline->waiting_count = 0;
	for (uint32_t i = 0; i < count; i++)
		fake_answer(pipeline, i, FAKE_MESSAGE_BYTES);
}
