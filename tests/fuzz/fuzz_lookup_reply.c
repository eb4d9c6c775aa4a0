/* Replies read for people: every record lies inside the packet, and what is printed is printable.
 */
#include <string.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "dns/dns.h"
#include "dns/name.h"
#include "fuzz/fuzz.h"
#include "verbs/lookup_reply.h"

static void check_printed(struct buf *text)
{
	PROMISE(!text->failed);
	for (size_t i = 0; i < text->length; i++)
		PROMISE(text->data[i] >= ' ' && text->data[i] < 127);
	buf_deinit(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct lookup_reply_expect expect;
	struct lookup_reply reply;
	struct buf text;

	if (size < DNS_HEADER_BYTES)
		return 0;
	/* The question that went out is the one that the packet claims to answer. */
	expect.name = data + DNS_HEADER_BYTES;
	expect.name_length = name_length(expect.name, size - DNS_HEADER_BYTES);
	if (!expect.name_length || DNS_HEADER_BYTES + expect.name_length + 4 > size)
		return 0;
	expect.id = load_be16(data);
	expect.type = load_be16(expect.name + expect.name_length);
	if (lookup_reply_parse(data, size, &expect, &reply) != LOOKUP_REPLY_OK)
		return 0;

	buf_init(&text, 0);
	PROMISE(reply.length == size && memcmp(reply.packet, data, size) == 0);
	for (size_t i = 0; i < reply.record_count; i++) {
		const struct lookup_reply_record *record = &reply.records[i];

		PROMISE(record->type != DNS_TYPE_OPT);
		PROMISE((size_t)record->rdata_at + record->rdata_length <= size);
		lookup_reply_put_owner(&reply, record, &text);
		check_printed(&text);
		lookup_reply_put_rdata(&reply, record, &text);
		check_printed(&text);
	}
	PROMISE(reply.ede_count <= LOOKUP_REPLY_EDE_MAX);
	for (size_t i = 0; i < reply.ede_count; i++) {
		PROMISE((size_t)reply.ede[i].text_at + reply.ede[i].text_length <= size);
		lookup_reply_put_ede_text(&reply, &reply.ede[i], &text);
		check_printed(&text);
	}
	lookup_reply_deinit(&reply);
	return 0;
}
