/*
 * The strict reader of replies for people: one message to records that can be shown. Every record
 * is read once, to its last byte, before any is shown; counts, lengths and pointers are checked
 * before use (RFC 9267). Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;

#define LOOKUP_REPLY_EDE_MAX 8

enum lookup_reply_verdict {
	LOOKUP_REPLY_OK,
	LOOKUP_REPLY_BAD, /* not the reply to this question, or malformed: keep waiting */
	LOOKUP_REPLY_NO_MEMORY,
};

enum lookup_reply_section { LOOKUP_REPLY_ANSWER, LOOKUP_REPLY_AUTHORITY, LOOKUP_REPLY_ADDITIONAL };

struct lookup_reply_record { /* offsets into the reply's packet */
	enum lookup_reply_section section;
	uint16_t owner_at;
	uint16_t type, rr_class;
	uint32_t ttl;
	uint16_t rdata_at, rdata_length;
};

struct lookup_reply_ede {
	uint16_t code;
	uint16_t text_at, text_length;
};

struct lookup_reply {
	uint8_t *packet; /* owned */
	size_t length;
	uint16_t flags; /* bytes 2 and 3 of the header */
	uint16_t rcode; /* with the upper bits of the OPT */
	bool has_edns;
	struct lookup_reply_record *records; /* owned; in the order of the message, no OPT */
	size_t record_count;
	struct lookup_reply_ede ede[LOOKUP_REPLY_EDE_MAX]; /* more than these are left out */
	size_t ede_count;
};

struct lookup_reply_expect { /* the question that went out, class IN */
	uint16_t id, type;
	const uint8_t *name; /* wire form */
	size_t name_length;
};

/* Parses one whole message. Only with OK does `*out` own something. */
enum lookup_reply_verdict lookup_reply_parse(const uint8_t *packet, size_t length,
					     const struct lookup_reply_expect *expect,
					     struct lookup_reply *out);

/* Frees what a reply owns and leaves it empty; an empty one is fine. */
void lookup_reply_deinit(struct lookup_reply *reply);

/* Whether the answer section has a record of this type (ANY: any record). */
bool lookup_reply_has_answer(const struct lookup_reply *reply, uint16_t type);

/* Text for a person or a file: printable ASCII whatever the bytes were (RFC 1035 §5.1). Caller
 * checks out->failed. */
void lookup_reply_put_owner(const struct lookup_reply *reply,
			    const struct lookup_reply_record *record, struct buf *out);
void lookup_reply_put_rdata(const struct lookup_reply *reply,
			    const struct lookup_reply_record *record, struct buf *out);
void lookup_reply_put_ede_text(const struct lookup_reply *reply, const struct lookup_reply_ede *ede,
			       struct buf *out);
