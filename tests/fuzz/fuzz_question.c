/* Queries of strangers: the parser's promises, and that whatever reply is due is well-formed, small
 * enough, and one that ldns can read. */
#include <ldns/ldns.h>
#include <string.h>

#include "base/bytes.h"
#include "dns/message.h"
#include "dns/name.h"
#include "dns/question.h"
#include "fuzz/fuzz.h"

static const struct message_identity identity = {
	.cookie_key = { 1, 2 },
	.server_id = "fuzz",
	.tcp_idle_ds = 100,
};
static const struct addr peer = { .family = 2, .port = 4242, .bytes = { 127, 0, 0, 1 } };

static void check_question(const struct question *question, size_t length)
{
	PROMISE(question_end(question) <= length);
	PROMISE(name_length(question->name, question->name_length) == question->name_length);
	PROMISE(name_count_labels(question->name) == question->label_count);
	for (unsigned i = 0; i < question->name_length; i++)
		PROMISE(question->folded[i] == name_fold_byte(question->name[i]));
	PROMISE(question->udp_limit >= DNS_UDP_PLAIN_MAX);
	PROMISE(question->udp_limit <= DNS_UDP_EDNS_MAX);
	PROMISE(question->has_edns || question->udp_limit == DNS_UDP_PLAIN_MAX);
	PROMISE(question->cookie_length == 0 || question->cookie_length == 8 ||
		(question->cookie_length >= 16 && question->cookie_length <= QUESTION_COOKIE_MAX));
}

static void check_reply(const uint8_t *packet, const uint8_t *reply, size_t length)
{
	ldns_pkt *parsed = NULL;

	PROMISE(length >= DNS_HEADER_BYTES);
	PROMISE(memcmp(reply, packet, 2) == 0);
	PROMISE(load_be16(reply + 2) & DNS_FLAG_QR);
	PROMISE(ldns_wire2pkt(&parsed, reply, length) == LDNS_STATUS_OK);
	ldns_pkt_free(parsed);
}

static void check_answers(const uint8_t *packet, const struct question *question)
{
	static uint8_t out[DNS_MESSAGE_MAX];
	struct answer answer;
	struct message_result result;

	answer_init(&answer);
	answer.rcode = DNS_NXDOMAIN;
	answer.ede = DNS_EDE_STALE_NXDOMAIN;
	answer.ede_text = "fuzz";
	result = message_encode(question, &answer, &identity, &peer, 1700000000, false,
				question->udp_limit, out);
	PROMISE(result.length <= question->udp_limit);
	check_reply(packet, out, result.length);

	answer_fail(&answer, 0, DNS_EDE_OTHER, "fuzz");
	result = message_encode(question, &answer, &identity, NULL, 1700000000, true,
				DNS_MESSAGE_MAX, out);
	check_reply(packet, out, result.length);
	PROMISE((load_be16(out + 2) & DNS_RCODE_MASK) == DNS_SERVFAIL);
	PROMISE(load_be16(out + 4) == 1);
	PROMISE(memcmp(out + DNS_HEADER_BYTES, question->name, question->name_length) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t out[DNS_UDP_PLAIN_MAX];
	struct question question;
	enum question_verdict verdict = question_parse(data, size, &question);

	if (size < DNS_HEADER_BYTES || (data[2] & 0x80))
		PROMISE(verdict == QUESTION_DROP);
	if (verdict == QUESTION_OK) {
		PROMISE(question.name_length > 0);
		check_question(&question, size);
		check_answers(data, &question);
		return 0;
	}
	size_t length =
		message_encode_refusal(&question, verdict, &identity, &peer, 1700000000, out);
	PROMISE(length <= sizeof(out));
	if (verdict == QUESTION_DROP)
		PROMISE(length == 0);
	else
		check_reply(data, out, length);
	return 0;
}
