/*
 * One question to one server, as a client asks it: UDP, once more if nothing comes, TCP if the
 * reply was cut. Blocks until there is an answer or the time is up.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "verbs/lookup_reply.h"

struct addr;

struct lookup_question {
	const uint8_t *name; /* wire form; outlives the answer */
	size_t name_length;
	uint16_t type;
};

struct lookup_answer {
	struct lookup_question question;
	bool is_asked;		   /* false: nobody tried */
	int error;		   /* 0: `reply` is filled; else -ETIMEDOUT, -ECONNREFUSED … */
	int tcp_error;		   /* the reply was cut, and the whole one could not be had: why */
	bool is_over_tcp;	   /* how the reply came */
	uint64_t took_us;	   /* from the first packet to this reply */
	unsigned bad_count;	   /* packets that were no reply to this question */
	struct lookup_reply reply; /* owned */
};

/* Fills `*out` whatever happens; the caller ends it with lookup_reply_deinit(&out->reply). */
void lookup_ask(const struct addr *server, const struct lookup_question *question,
		uint64_t timeout_ms, struct lookup_answer *out);
