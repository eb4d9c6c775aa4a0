/*
 * Nomad's body becomes an answer: JSON → catalogue → zone → nomad stage → message. Whatever an
 * instance says of itself (addresses, tags, ports), the reply is one that ldns can read, fits its
 * limit, and is ours. Input: the question's name and type (one byte) on the first line, then the
 * body.
 */
#include <ldns/ldns.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/metrics.h"
#include "config/config.h"
#include "dns/message.h"
#include "dns/name.h"
#include "dns/reply.h"
#include "fuzz/fuzz.h"
#include "nomad/catalogue.h"
#include "nomad/hosts.h"
#include "nomad/json.h"
#include "nomad/nomad_stage.h"
#include "nomad/zone_writer.h"

#define NOW_MS 1000000
#define FAR_MS UINT64_MAX

static struct metrics metrics;
static struct config_zone apex;
static struct config config = { .zone = &apex, .zone_count = 1, .reverse = true, .ttl_s = 10 };
static struct zone *zone;
static struct catalogue *catalogue;
static struct nomad_stage *stage;
static const struct message_identity identity;

static int refuse(void *arg, const struct need *need)
{
	(void)arg;
	(void)need;
	return -EAGAIN;
}

/* Frees everything, and waits for what another thread frees: what is left then is a leak. */
static void tear_down(void)
{
	nomad_stage_free(stage);
	catalogue_free(catalogue);
	zone_free(zone);
}

static void set_up(void)
{
	int length = name_parse("nomad", apex.name);

	apex.length = (uint8_t)length;
	config.references = 1; /* ours, never the last */
	config.negative_ttl_s = 5;
	config.max_stale_ms = 86400000;
	log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	zone_reader_register();
	zone_read_end();
	zone = zone_new(&config);
	catalogue = catalogue_new(zone, &config, &metrics);
	stage = nomad_stage_new(zone, 0, refuse, NULL);
	PROMISE(zone && catalogue && stage);
	nomad_stage_configure(stage, &config);
	zone_set_nomad(zone, ZONE_NOMAD_OK);
	PROMISE(atexit(tear_down) == 0);
}

static void on_bad(void *arg, const char *why)
{
	(void)arg;
	PROMISE(why);
}

static void load(const char *body, size_t length)
{
	const struct zone_times times = { FAR_MS, FAR_MS, FAR_MS, false };
	struct catalogue_update *update = catalogue_begin(catalogue, "default", "web");
	char why[128];

	PROMISE(update);
	if (json_read_service(body, length, catalogue_add, on_bad, update, why, sizeof(why)) == 0)
		PROMISE(catalogue_commit(update, 7, &times) == 0);
	else
		catalogue_abandon(update);
}

static void check_reply(const uint8_t *reply, size_t length)
{
	ldns_pkt *parsed = NULL;

	PROMISE(ldns_wire2pkt(&parsed, reply, length) == LDNS_STATUS_OK);
	ldns_pkt_free(parsed);
}

/* What the pipeline does for instances whose address is a host name: one is found, one fails. */
static void bring_host_addresses(struct hosts *hosts)
{
	PROMISE(hosts->name_count >= 1 && hosts->name_count <= HOSTS_MAX);
	for (unsigned i = 0; i < hosts->name_count; i++)
		PROMISE(name_length(hosts->name[i], DNS_NAME_MAX) == hosts->name_length[i]);
	hosts->address_count = 1;
	hosts->address[0].ttl_s = 7;
	hosts->address[0].addr.family = hosts->type == DNS_TYPE_A ? AF_INET : AF_INET6;
	hosts->address[0].addr.bytes[0] = 10;
	hosts->failed_count = (uint8_t)(hosts->name_count - 1);
	hosts->open_count = 0;
}

static void ask(const char *name_text, uint16_t type)
{
	static uint8_t out[DNS_MESSAGE_MAX];
	uint8_t name[DNS_NAME_MAX], packet[REPLY_QUERY_MAX];
	struct query query = { .deadline_ms = NOW_MS + 4000, .stale_after_ms = NOW_MS + 1800 };
	struct answer answer;

	int name_bytes = name_parse(name_text, name);
	if (name_bytes < 0)
		return;
	size_t length = reply_encode_query(1, DNS_FLAG_RD, name, (size_t)name_bytes, type,
					   DNS_CLASS_IN, true, false, packet);
	if (question_parse(packet, length, &query.question) != QUESTION_OK)
		return;

	answer_init(&answer);
	zone_read_begin();
	enum verdict verdict = nomad_stage_ask(stage, &query, NOW_MS, &answer);
	if (verdict == VERDICT_PENDING && query.hosts) {
		bring_host_addresses(query.hosts);
		verdict = nomad_stage_ask(stage, &query, NOW_MS, &answer);
	}
	if (verdict == VERDICT_ANSWERED || verdict == VERDICT_FAILED) {
		for (size_t limit = DNS_UDP_PLAIN_MAX; limit <= DNS_UDP_EDNS_MAX; limit += 360) {
			struct message_result result = message_encode(
				&query.question, &answer, &identity, NULL, 0, false, limit, out);
			PROMISE(result.length >= DNS_HEADER_BYTES && result.length <= limit);
			check_reply(out, result.length);
		}
		struct message_result whole = message_encode(&query.question, &answer, &identity,
							     NULL, 0, true, DNS_MESSAGE_MAX, out);
		PROMISE(whole.length >= DNS_HEADER_BYTES && !whole.is_truncated);
		check_reply(out, whole.length);
		PROMISE(verdict == VERDICT_FAILED ||
			(load_be16(out + 2) & DNS_RCODE_MASK) != DNS_SERVFAIL);
	}
	zone_read_end();
	hosts_free(query.hosts);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char name[256];

	if (!zone)
		set_up();
	const uint8_t *line_end = memchr(data, '\n', size);
	if (!line_end || line_end == data || (size_t)(line_end - data) > sizeof(name))
		return 0;
	size_t name_bytes = (size_t)(line_end - data) - 1;
	memcpy(name, data + 1, name_bytes);
	name[name_bytes] = '\0';

	load((const char *)line_end + 1, size - (size_t)(line_end - data) - 1);
	ask(name, data[0]);
	ask("web.default.nomad", DNS_TYPE_A);
	ask("web.default.nomad", DNS_TYPE_AAAA);
	ask("web.default.nomad", DNS_TYPE_SRV);
	return 0;
}
