/* Replies of upstreams: every record of the image lies inside it, and the image written into a
 * reply of ours is read back as the same records. */
#include <string.h>

#include "base/bytes.h"
#include "dns/message.h"
#include "dns/name.h"
#include "dns/question.h"
#include "dns/reply.h"
#include "fuzz/fuzz.h"
#include "query/rebind.h"

static void check_image(const struct image *image)
{
	uint32_t end = 0;

	PROMISE(image->rr_count ==
		(uint32_t)image->answer_count + image->authority_count + image->additional_count);
	for (uint32_t i = 0; i < image->rr_count; i++) {
		const struct image_rr *rr = &image->rr[i];
		const uint8_t *bytes = image_rr_bytes(image, i);

		PROMISE(rr->at == end);
		end = rr->at + rr->length;
		PROMISE(end <= image->byte_count);
		PROMISE(rr->ttl_offset >= 5 && rr->ttl_offset + 6 <= rr->length);
		PROMISE(rr->ttl_offset + 6 + load_be16(bytes + rr->ttl_offset + 4) == rr->length);
		PROMISE(load_be16(bytes + rr->ttl_offset - 4) != DNS_TYPE_OPT);
		PROMISE(rr->address_rr == IMAGE_NO_RR);
	}
	PROMISE(end == image->byte_count);
	if (!image->rr_count)
		PROMISE(image_min_ttl(image) == UINT32_MAX);
}

/* The reply as a client would get it, at every size a client may name. */
static void check_way_out(const struct reply_expect *expect, const struct image *image)
{
	static const struct message_identity identity;
	static uint8_t out[DNS_MESSAGE_MAX];
	uint8_t query[REPLY_QUERY_MAX];
	struct question question;
	struct answer answer;
	struct reply again;

	size_t length =
		reply_encode_query(expect->id, DNS_FLAG_RD, expect->name, expect->name_length,
				   expect->type, expect->qclass, true, false, query);
	PROMISE(length <= sizeof(query));
	if (question_parse(query, length, &question) != QUESTION_OK)
		return; /* a type or class no client of ours may ask for */

	answer_init(&answer);
	answer.image = image;
	answer.rcode = image->rcode;
	for (size_t limit = DNS_UDP_PLAIN_MAX; limit <= DNS_UDP_EDNS_MAX; limit += 240) {
		struct message_result result =
			message_encode(&question, &answer, &identity, NULL, 0, false, limit, out);
		PROMISE(result.length >= DNS_HEADER_BYTES && result.length <= limit);
	}

	struct message_result whole =
		message_encode(&question, &answer, &identity, NULL, 0, true, DNS_MESSAGE_MAX, out);
	if (whole.is_cut || whole.is_truncated)
		return;
	PROMISE(reply_parse(out, whole.length, expect, &again) == REPLY_OK);
	PROMISE(again.image->rr_count == image->rr_count);
	PROMISE(again.image->answer_count == image->answer_count);
	PROMISE(again.image->rcode == image->rcode);
	PROMISE(again.image->byte_count == image->byte_count);
	free(again.image);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reply_expect expect = { 0 };
	struct reply reply;

	if (size < DNS_HEADER_BYTES)
		return 0;
	/* The question that went out is the one that the packet claims to answer. */
	size_t length = name_length(data + DNS_HEADER_BYTES, size - DNS_HEADER_BYTES);
	if (!length || DNS_HEADER_BYTES + length + 4 > size)
		return 0;
	expect.id = load_be16(data);
	expect.name = data + DNS_HEADER_BYTES;
	expect.name_length = (uint8_t)length;
	expect.type = load_be16(data + DNS_HEADER_BYTES + length);
	expect.qclass = load_be16(data + DNS_HEADER_BYTES + length + 2);
	expect.match_case = size & 1;

	if (reply_parse(data, size, &expect, &reply) == REPLY_OK) {
		check_image(reply.image);
		(void)rebind_has_private(reply.image); /* looks into RDATA */
		check_way_out(&expect, reply.image);
		free(reply.image);
	}

	expect.id ^= 0x5555;
	PROMISE(reply_parse(data, size, &expect, &reply) == REPLY_BAD);
	return 0;
}
