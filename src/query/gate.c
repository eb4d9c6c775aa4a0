#include "query/gate.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/metrics.h"
#include "config/config.h"
#include "dns/name.h"
#include "dns/records.h"
#include "query/private_zones.h"

#define SPECIAL_TTL_S 3600 /* these answers never change */

enum special_kind { SPECIAL_LOCALHOST, SPECIAL_NXDOMAIN, SPECIAL_NODATA };

/* Names that never leave the host, with everything below them. */
static const struct special {
	uint8_t length;
	const char *name; /* folded wire form; the literal's final NUL is the root label */
	enum special_kind kind;
} SPECIALS[] = {
	{ 11, "\x09localhost", SPECIAL_LOCALHOST }, /* RFC 6761 §6.3 */
	{ 9, "\x07invalid", SPECIAL_NXDOMAIN },	    /* RFC 6761 §6.4 */
	{ 7, "\x05onion", SPECIAL_NXDOMAIN },	    /* RFC 7686 §2 */
	{ 15,
	  "\x08resolver\x04"
	  "arpa",
	  SPECIAL_NODATA }, /* RFC 9462 §6.4 */
};

static const struct {
	const char *name;
	bool is_id;
} CHAOS[] = {
	{ "version.bind", false },
	{ "version.server", false },
	{ "id.server", true },
	{ "hostname.bind", true },
};

struct gate {
	const struct config *config;
	struct message_identity identity;
	uint8_t chaos_name[COUNT_OF(CHAOS)][DNS_NAME_MAX];
	struct image *chaos_text[2]; /* version, id; NULL: not told */
	struct answer_soa soa[COUNT_OF(SPECIALS)];
	uint8_t soa_rr[COUNT_OF(SPECIALS)][128];
	struct answer_address localhost[2];
	struct private_zones *private_zones; /* NULL: off */
};

static const uint16_t PICK_FIRST[] = { 0 };

static struct image *make_chaos(const char *text)
{
	struct image_builder builder = { 0 };
	uint8_t rr[RECORDS_RR_MAX];
	int length = records_txt(DNS_CLASS_CH, text, 0, rr);

	if (length < 0)
		return NULL;
	image_builder_add(&builder, rr, (size_t)length, RECORDS_SHORT_OWNER);
	return image_builder_finish(&builder);
}

static bool make_special(struct gate *gate, size_t i)
{
	uint8_t rr[RECORDS_RR_MAX];
	size_t serial_at = 0;
	int length =
		records_soa((const uint8_t *)SPECIALS[i].name, 1, SPECIAL_TTL_S, &serial_at, rr);

	if (length < 0 || (size_t)length > sizeof(gate->soa_rr[i]))
		return false;
	memcpy(gate->soa_rr[i], rr, (size_t)length);
	gate->soa[i] = (struct answer_soa){ .rr = gate->soa_rr[i],
					    .length = (uint16_t)length,
					    .ttl_offset = (uint16_t)(SPECIALS[i].length + 4),
					    .serial_offset = (uint16_t)serial_at,
					    .serial = 1 };
	return true;
}

struct gate *gate_new(const struct config *config)
{
	struct gate *gate = calloc(1, sizeof(*gate));
	bool is_whole = gate;

	if (!gate)
		return NULL;
	gate->config = config;
	hash_random(&gate->identity.cookie_key, sizeof(gate->identity.cookie_key));
	memcpy(gate->identity.server_id, config->server_id,
	       min_size(strlen(config->server_id), sizeof(gate->identity.server_id) - 1));
	gate->identity.tcp_idle_ds = (uint32_t)(config->tcp_idle_timeout_ms / 100);
	for (size_t i = 0; i < COUNT_OF(CHAOS); i++)
		is_whole = name_parse(CHAOS[i].name, gate->chaos_name[i]) > 0 && is_whole;
	if (!config->hide_version) {
		gate->chaos_text[0] = make_chaos("nomad-dns " VERSION);
		is_whole = gate->chaos_text[0] && is_whole;
		if (config->server_id[0]) {
			gate->chaos_text[1] = make_chaos(config->server_id);
			is_whole = gate->chaos_text[1] && is_whole;
		}
	}
	for (size_t i = 0; i < COUNT_OF(SPECIALS); i++)
		is_whole = make_special(gate, i) && is_whole;
	if (config->private_zones) {
		gate->private_zones = private_zones_new();
		is_whole = gate->private_zones && is_whole;
	}
	gate->localhost[0] =
		(struct answer_address){ { .family = AF_INET, .bytes = { 127, 0, 0, 1 } },
					 SPECIAL_TTL_S };
	gate->localhost[1] = (struct answer_address){ { .family = AF_INET6, .bytes = { [15] = 1 } },
						      SPECIAL_TTL_S };
	if (is_whole)
		return gate;
	gate_free(gate);
	return NULL;
}

void gate_free(struct gate *gate)
{
	if (!gate)
		return;
	private_zones_free(gate->private_zones);
	free(gate->chaos_text[0]);
	free(gate->chaos_text[1]);
	free(gate);
}

const struct message_identity *gate_identity(const struct gate *gate)
{
	return &gate->identity;
}

bool gate_admits(const struct gate *gate, const struct addr *peer, const struct addr *local)
{
	const struct config *config = gate->config;

	for (size_t i = 0; i < config->allow_count; i++) {
		if (addr_is_in(peer, &config->allow[i]))
			return true;
	}
	return config->allow_self && addr_same_ip(peer, local);
}

static enum verdict refuse(struct answer *out, uint16_t ede, const char *text)
{
	out->rcode = DNS_REFUSED;
	out->ede = ede;
	out->ede_text = text;
	return VERDICT_ANSWERED;
}

/* RFC 4892 §3: the server's name and version, in class CHAOS. */
static enum verdict ask_chaos(const struct gate *gate, const struct question *question,
			      struct answer *out)
{
	for (size_t i = 0; i < COUNT_OF(CHAOS); i++) {
		const struct image *text = gate->chaos_text[CHAOS[i].is_id];

		if (!text || (question->type != DNS_TYPE_TXT && question->type != DNS_TYPE_ANY) ||
		    strlen(CHAOS[i].name) + 2 != question->name_length ||
		    memcmp(gate->chaos_name[i], question->folded, question->name_length) != 0)
			continue;
		out->is_authoritative = true;
		out->image = text;
		out->picks = PICK_FIRST;
		out->pick_count = 1;
		return VERDICT_ANSWERED;
	}
	return refuse(out, DNS_EDE_NONE, NULL);
}

/* The row of a folded name that never leaves the host; NULL: it is none. */
static const struct special *find_special(const uint8_t *folded, size_t length)
{
	for (size_t i = 0; i < COUNT_OF(SPECIALS); i++) {
		if (name_is_in(folded, length, (const uint8_t *)SPECIALS[i].name,
			       SPECIALS[i].length))
			return &SPECIALS[i];
	}
	return NULL;
}

bool gate_is_special(const uint8_t *folded, size_t length)
{
	return find_special(folded, length);
}

static enum verdict ask_special(const struct gate *gate, const struct question *question,
				struct answer *out)
{
	const struct special *special = find_special(question->folded, question->name_length);
	bool is_address = question->type == DNS_TYPE_A || question->type == DNS_TYPE_AAAA;

	if (!special)
		return VERDICT_PASS;
	out->is_authoritative = true;
	if (special->kind == SPECIAL_LOCALHOST && is_address) {
		out->addresses = &gate->localhost[question->type == DNS_TYPE_AAAA];
		out->address_count = 1;
		return VERDICT_ANSWERED;
	}
	out->rcode = special->kind == SPECIAL_NXDOMAIN ? DNS_NXDOMAIN : DNS_NOERROR;
	out->soa = gate->soa[special - SPECIALS];
	return VERDICT_ANSWERED;
}

/* OPT and the types that are no data but a request of another kind (RFC 6895 §3.1), ANY excepted.
 */
static bool is_meta_type(uint16_t type)
{
	return type == DNS_TYPE_OPT || type == 0 || (type >= 128 && type < DNS_TYPE_ANY);
}

enum verdict gate_ask(const struct gate *gate, const struct query *query, struct answer *out)
{
	const struct question *question = &query->question;

	answer_init(out);
	if (query->client.source == QUERY_INSIDE)
		return ask_special(gate, question, out);
	if (!gate_admits(gate, &query->client.peer, &query->client.local))
		return refuse(out, DNS_EDE_PROHIBITED, NULL);
	if (question->qclass == DNS_CLASS_CH)
		return ask_chaos(gate, question, out);
	/* a TSIG we cannot check would be broken by our own OPT on the way upstream (RFC 8945) */
	if (question->qclass != DNS_CLASS_IN || is_meta_type(question->type) || question->has_tsig)
		return refuse(out, DNS_EDE_NONE, NULL);
	return ask_special(gate, question, out);
}

enum verdict gate_ask_private(const struct gate *gate, const struct query *query,
			      struct answer *out)
{
	if (!gate->private_zones)
		return VERDICT_PASS;
	return private_zones_ask(gate->private_zones, gate->config, &query->question, out);
}
