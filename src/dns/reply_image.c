/*
 * As a rule all that is kept stands side by side and is copied as it is. Where something was
 * dropped from among it, or an owner has to change, each record is written anew: a name points to
 * what the sender had it point to, as far as that is still there, and brings along what is not.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "dns/image.h"
#include "dns/reply_parts.h"

#define POINTER 0xc000

struct copy {
	const struct reply_scan *scan;
	uint8_t *out;
	size_t at, capacity;
	bool is_full;
	/* Where in the new message a label of the old one stands; 0: nowhere that can be pointed
	 * to. */
	uint16_t moved_to[WIRE_POINTABLE];
};

static void put(struct copy *copy, const void *bytes, size_t length)
{
	if (length > copy->capacity - copy->at) {
		copy->is_full = true;
		return;
	}
	memcpy(copy->out + copy->at, bytes, length);
	copy->at += length;
}

static void put_pointer(struct copy *copy, size_t to)
{
	uint8_t bytes[2];

	store_be16(bytes, (uint16_t)(POINTER | to));
	put(copy, bytes, sizeof(bytes));
}

static void move_label(struct copy *copy, size_t from, size_t to)
{
	if (from < WIRE_POINTABLE && to < WIRE_POINTABLE)
		copy->moved_to[from] = (uint16_t)to;
}

static void put_name(struct copy *copy, size_t at)
{
	const struct wire *wire = &copy->scan->wire;

	for (at = wire_follow(wire, at); wire->packet[at] != 0; at = wire_follow(wire, at)) {
		size_t label_bytes = (size_t)wire->packet[at] + 1;

		if (at < WIRE_POINTABLE && copy->moved_to[at]) {
			put_pointer(copy, copy->moved_to[at]);
			return;
		}
		move_label(copy, at, copy->scan->from + copy->at);
		put(copy, wire->packet + at, label_bytes);
		at += label_bytes;
	}
	put(copy, "", 1);
}

/* The labels of the name at `at` stand at `to` from now on. */
static void move_name(struct copy *copy, size_t at, size_t to)
{
	const struct wire *wire = &copy->scan->wire;

	for (at = wire_follow(wire, at); wire->packet[at] != 0; at = wire_follow(wire, at)) {
		size_t label_bytes = (size_t)wire->packet[at] + 1;

		if (at < WIRE_POINTABLE && copy->moved_to[at] == to) /* and all behind it */
			return;
		move_label(copy, at, to);
		at += label_bytes;
		to += label_bytes;
	}
}

static void put_owner(struct copy *copy, size_t at)
{
	size_t echo_length = reply_echo_length(copy->scan, at);
	size_t question_end = (size_t)DNS_HEADER_BYTES + copy->scan->expect->name_length;

	if (!echo_length) {
		put_name(copy, at);
		return;
	}
	move_name(copy, at, question_end - echo_length);
	put_pointer(copy, question_end - echo_length);
}

/* RDATA with its names, whatever their new length. */
static void put_rdata(struct copy *copy, const struct wire_rr *rr)
{
	const struct wire *wire = &copy->scan->wire;
	size_t names_at[2], at = rr->rdata_at;
	unsigned count = wire_find_names(wire, rr, names_at);

	for (unsigned i = 0; i < count; i++) {
		put(copy, wire->packet + at, names_at[i] - at);
		put_name(copy, names_at[i]);
		at = wire_skip_name(wire, names_at[i]);
	}
	put(copy, wire->packet + at, rr->end - at);
}

static void copy_rr(struct copy *copy, const struct wire_rr *rr, struct image_rr *out)
{
	size_t start = copy->at, fixed_at;

	put_owner(copy, rr->at);
	fixed_at = copy->at;
	put(copy, copy->scan->wire.packet + rr->fixed_at, DNS_RR_FIXED_BYTES);
	put_rdata(copy, rr);
	if (copy->is_full)
		return;
	store_be32(copy->out + fixed_at + 4, rr->ttl_s);
	store_be16(copy->out + fixed_at + 8, (uint16_t)(copy->at - fixed_at - DNS_RR_FIXED_BYTES));
	*out = (struct image_rr){ .at = (uint32_t)start,
				  .length = (uint16_t)(copy->at - start),
				  .ttl_offset = (uint16_t)(fixed_at + 4 - start),
				  .address_rr = IMAGE_NO_RR };
}

/* False: they do not fit. */
static bool copy_anew(const struct reply_scan *scan, struct image *image, uint8_t *bytes)
{
	struct copy copy = { .scan = scan, .out = bytes, .capacity = image->byte_count };
	struct reply_cursor cursor = { 0 };
	struct wire_rr rr;
	uint32_t i = 0;

	/* The question stays where it is. */
	move_name(&copy, DNS_HEADER_BYTES, DNS_HEADER_BYTES);
	while (i < image->rr_count && reply_next(scan, &cursor, &rr)) {
		if (reply_is_kept(scan, cursor.index))
			copy_rr(&copy, &rr, &image->rr[i++]);
	}
	image->byte_count = (uint32_t)copy.at;
	return !copy.is_full;
}

static void copy_as_it_is(const struct reply_scan *scan, struct image *image, uint8_t *bytes)
{
	struct reply_cursor cursor = { 0 };
	struct wire_rr rr;

	memcpy(bytes, scan->wire.packet + scan->from, image->byte_count);
	for (uint32_t i = 0; i < image->rr_count && reply_next(scan, &cursor, &rr); i++) {
		image->rr[i] = (struct image_rr){ .at = (uint32_t)(rr.at - scan->from),
						  .length = (uint16_t)(rr.end - rr.at),
						  .ttl_offset = (uint16_t)(rr.fixed_at + 4 - rr.at),
						  .address_rr = IMAGE_NO_RR };
		store_be32(bytes + (rr.fixed_at + 4 - scan->from), rr.ttl_s);
	}
}

/* The text of the EDE stands behind the bytes. Returns what is needed no more. */
static struct image *finish(const struct reply_scan *scan, struct image *image, uint8_t *bytes)
{
	size_t text_length = scan->ede_text_length;
	struct image *fitted;

	memcpy(bytes + image->byte_count, scan->wire.packet + scan->ede_text_at, text_length);
	bytes[image->byte_count + text_length] = '\0';
	if (!scan->is_ragged)
		return image;
	fitted = realloc(image, image_size(image->rr_count, image->byte_count) + text_length + 1);
	return fitted ? fitted : image;
}

struct image *reply_make_image(const struct reply_scan *scan, bool *out_is_bad)
{
	const uint16_t *counts = scan->kept_counts;
	uint32_t rr_count =
		(uint32_t)counts[REPLY_ANSWER] + counts[REPLY_AUTHORITY] + counts[REPLY_ADDITIONAL];
	/* Written anew they are hardly ever longer; room for what names may bring along. */
	size_t byte_count =
		scan->is_ragged ? DNS_MESSAGE_MAX - scan->from : scan->kept_end - scan->from;
	struct image *image =
		malloc(image_size(rr_count, (uint32_t)byte_count) + scan->ede_text_length + 1);
	uint8_t *bytes;

	*out_is_bad = false;
	if (!image)
		return NULL;
	*image = (struct image){ .ede_text_length = (uint16_t)scan->ede_text_length,
				 .byte_count = (uint32_t)byte_count,
				 .rr_count = rr_count,
				 .answer_count = counts[REPLY_ANSWER],
				 .authority_count = counts[REPLY_AUTHORITY],
				 .additional_count = counts[REPLY_ADDITIONAL],
				 .ede = scan->ede };
	bytes = (uint8_t *)(image->rr + rr_count);
	if (!scan->is_ragged) {
		copy_as_it_is(scan, image, bytes);
	} else if (!copy_anew(scan, image, bytes)) {
		free(image);
		*out_is_bad = true;
		return NULL;
	}
	return finish(scan, image, bytes);
}
