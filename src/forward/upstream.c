#include "forward/upstream.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config/config.h"
#include "config/resolv_conf.h"
#include "dns/name.h"
#include "forward/own_address.h"

/* Two retries and a handshake fit into 300 ms, and a resolver that has to look further, 150 ms say,
 * is asked once. */
#define PATIENCE_MIN_MS 170
#define RETRY_PATIENCE_MIN_MS 45
/* For one that has never answered: it is slow rather than lossy. */
#define RETRY_PATIENCE_UNKNOWN_MS 600
#define PATIENCE_MAX_MS 1500
#define PROBE_EVERY_MS 1000
#define SETBACKS_MAX 8	       /* more say nothing new */
#define REFUSALS_OF_ONE_NAME 2 /* in a row; one more and it is the server */
#define IN_CLEAR_RANK 1000     /* beyond all other ranks */
#define SLOW_MS 150	       /* behind twice the fastest */
#define FOLDING_KEPT_MS 600000 /* then it is asked in mixed case again */
#define OUTLIER_FLOOR_MS 100
#define LOOP_LETTERS_MIN 16   /* with fewer the case may be the same by chance */
#define LOOP_LETTERS_EITHER 4 /* upper and lower: people type one or the other */
#define LOOP_KEPT_MS 30000
#define INDEX_MASK (UPSTREAM_MAX - 1)

struct report { /* lines for the operator */
	char *text;
	size_t capacity, length;
};

struct seen {
	bool has_rtt;
	uint64_t rtt_ms, variation_ms; /* smoothed, as TCP's (RFC 6298 §2) */
	unsigned setbacks;	       /* since its last answer; 0: trusted */
	unsigned refusals;	       /* in a row */
	uint64_t probe_due_ms;
	uint64_t folds_case_until_ms;
};

struct upstream_health {
	struct upstream_list *list;
	struct seen seen[]; /* one per upstream */
};

__attribute__((format(printf, 2, 3))) static void say(struct report *report, const char *format,
						      ...)
{
	size_t room = report->capacity - report->length;
	va_list arguments;
	int written;

	if (room < 2)
		return;
	va_start(arguments, format);
	written = vsnprintf(report->text + report->length, room - 1, format, arguments);
	va_end(arguments);
	if (written < 0)
		return;
	report->length += (size_t)written < room - 1 ? (size_t)written : room - 2;
	report->text[report->length++] = '\n';
	report->text[report->length] = '\0';
}

/* Whether asking `addr` would be asking ourselves. */
static bool is_own(const struct config *config, const struct addr *addr)
{
	for (size_t i = 0; i < config->listen_count; i++) {
		const struct addr *listen = &config->listen[i];
		bool listens_anywhere = addr_is_any(listen);
		bool is_here;

		if (listen->port != addr->port)
			continue;
		is_here = addr_is_any(addr) || addr_is_loopback(addr) ||
			  (listens_anywhere && own_address_is_here(addr));
		if (addr_same_ip(listen, addr) || (listens_anywhere && is_here) ||
		    (addr_is_any(addr) && addr_is_loopback(listen)))
			return true;
	}
	return false;
}

static bool is_same_upstream(const struct upstream *a, const struct upstream *b)
{
	return addr_same_ip(&a->addr, &b->addr) && a->addr.port == b->addr.port &&
	       a->domain_length == b->domain_length &&
	       memcmp(a->domain, b->domain, a->domain_length) == 0 && a->is_tls == b->is_tls &&
	       strcasecmp(a->tls_name, b->tls_name) == 0;
}

static void add_upstream(struct upstream_list *list, const struct config *config,
			 const struct config_forward *forward, const struct addr *addr,
			 struct report *report)
{
	struct upstream *upstream = &list->upstream[list->count];
	char text[ADDR_TEXT_MAX];

	addr_format(addr, text);
	if (is_own(config, addr)) {
		say(report, "upstream %s left out: it is this daemon's own address", text);
		return;
	}
	if (list->count == UPSTREAM_MAX) {
		say(report, "upstream %s left out: %d upstreams are the most", text, UPSTREAM_MAX);
		return;
	}
	*upstream = (struct upstream){ .addr = *addr,
				       .domain_length = forward->domain_length,
				       .is_tls = forward->is_tls };
	memcpy(upstream->domain, forward->domain, forward->domain_length);
	memcpy(upstream->tls_name, forward->tls_name, sizeof(upstream->tls_name));
	for (size_t i = 0; i < list->count; i++) {
		if (is_same_upstream(&list->upstream[i], upstream))
			return;
	}
	list->count++;
}

static void add_file(struct upstream_list *list, const struct config *config,
		     const struct config_forward *forward, struct report *report)
{
	struct addr found[RESOLV_CONF_MAX];
	unsigned bad = 0;
	int count = resolv_conf_load(forward->path, found, &bad);

	if (count < 0) {
		say(report, "cannot read upstreams from %s: %s", forward->path, strerror(-count));
		return;
	}
	if (bad > 0)
		say(report, "%s: %u nameserver lines make no sense and were skipped", forward->path,
		    bad);
	if (count == 0)
		say(report, "%s names no upstream resolver", forward->path);
	for (int i = 0; i < count; i++)
		add_upstream(list, config, forward, &found[i], report);
}

void upstream_format(const struct upstream *upstream, char out[UPSTREAM_TEXT_MAX])
{
	char where[ADDR_TEXT_MAX];

	addr_format(&upstream->addr, where);
	snprintf(out, UPSTREAM_TEXT_MAX, "%s%s%s%s", upstream->is_tls ? "tls://" : "", where,
		 upstream->tls_name[0] ? "#" : "", upstream->tls_name);
}

/* Whoever lists both may not know that names leave in clear whenever TLS does not work. */
static void warn_of_clear_text(const struct upstream_list *list, struct report *report)
{
	char over_tls[UPSTREAM_TEXT_MAX], in_clear[UPSTREAM_TEXT_MAX];

	for (size_t i = 0; i < list->count * list->count; i++) {
		const struct upstream *a = &list->upstream[i / list->count];
		const struct upstream *b = &list->upstream[i % list->count];

		if (!a->is_tls || b->is_tls || a->domain_length != b->domain_length ||
		    memcmp(a->domain, b->domain, a->domain_length) != 0)
			continue;
		upstream_format(a, over_tls);
		upstream_format(b, in_clear);
		say(report,
		    "the same names go to %s and, when that does not answer, to %s in clear",
		    over_tls, in_clear);
		return;
	}
}

struct upstream_list *upstream_list_new(const struct config *config, char *out_report,
					size_t capacity)
{
	/* One place more than is kept: where the next candidate is written before it is judged. */
	struct upstream_list *list =
		calloc(1, sizeof(*list) + (UPSTREAM_MAX + 1) * sizeof(list->upstream[0]));
	struct report report = { .text = out_report, .capacity = out_report ? capacity : 0 };
	struct upstream_list *fitted;

	if (!list)
		return NULL;
	if (report.capacity > 0)
		out_report[0] = '\0';
	atomic_init(&list->references, 1);
	hash_random(&list->secret, sizeof(list->secret));
	for (size_t i = 0; i < config->forward_count; i++) {
		const struct config_forward *forward = &config->forward[i];

		switch (forward->kind) {
		case CONFIG_FORWARD_ADDRESS:
			add_upstream(list, config, forward, &forward->address, &report);
			break;
		case CONFIG_FORWARD_FILE:
			add_file(list, config, forward, &report);
			break;
		case CONFIG_FORWARD_NONE:
			list->forwards_nothing = true;
			break;
		}
	}
	warn_of_clear_text(list, &report);
	fitted = realloc(list, sizeof(*list) + list->count * sizeof(list->upstream[0]));
	return fitted ? fitted : list;
}

struct upstream_list *upstream_list_hold(struct upstream_list *list)
{
	atomic_fetch_add_explicit(&list->references, 1, memory_order_relaxed);
	return list;
}

void upstream_list_drop(struct upstream_list *list)
{
	if (list && atomic_fetch_sub_explicit(&list->references, 1, memory_order_acq_rel) == 1)
		free(list);
}

bool upstream_list_same(const struct upstream_list *a, const struct upstream_list *b)
{
	if (a->forwards_nothing != b->forwards_nothing || a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++) {
		if (!is_same_upstream(&a->upstream[i], &b->upstream[i]))
			return false;
	}
	return true;
}

/* The length of the longest domain of the list that holds the name (0: the general upstreams), or
 * -1 when no upstream is meant for it. */
static int match_domain(const struct upstream_list *list, const uint8_t *folded, size_t length)
{
	int longest = -1;

	for (size_t i = 0; i < list->count; i++) {
		const struct upstream *upstream = &list->upstream[i];

		if ((int)upstream->domain_length <= longest)
			continue;
		if (upstream->domain_length == 0 ||
		    name_is_in(folded, length, upstream->domain, upstream->domain_length))
			longest = upstream->domain_length;
	}
	return longest;
}

bool upstream_list_covers(const struct upstream_list *list, const uint8_t *folded, size_t length)
{
	return match_domain(list, folded, length) >= 0;
}

struct upstream_health *upstream_health_new(struct upstream_list *list)
{
	struct upstream_health *health =
		calloc(1, sizeof(*health) + list->count * sizeof(health->seen[0]));

	if (health)
		health->list = upstream_list_hold(list);
	return health;
}

void upstream_health_free(struct upstream_health *health)
{
	if (!health)
		return;
	upstream_list_drop(health->list);
	free(health);
}

const struct upstream_list *upstream_health_list(const struct upstream_health *health)
{
	return health->list;
}

/* Whether an upstream is meant for a name whose longest domain of the list has that length. */
static bool is_meant_for(const struct upstream *upstream, int domain_length, const uint8_t *folded,
			 size_t length)
{
	if ((int)upstream->domain_length != domain_length)
		return false;
	/* A domain of the same length that holds the name is the same domain; another is not. */
	return domain_length == 0 ||
	       name_is_in(folded, length, upstream->domain, upstream->domain_length);
}

/* The shortest round trip among the trusted that are meant for the name; UINT64_MAX: unknown. */
static uint64_t find_fastest(const struct upstream_health *health, int domain_length,
			     const uint8_t *folded, size_t length)
{
	const struct upstream_list *list = health->list;
	uint64_t fastest_ms = UINT64_MAX;

	for (size_t i = 0; i < list->count; i++) {
		const struct seen *seen = &health->seen[i];

		if (seen->has_rtt && seen->setbacks == 0 && seen->rtt_ms < fastest_ms &&
		    is_meant_for(&list->upstream[i], domain_length, folded, length))
			fastest_ms = seen->rtt_ms;
	}
	return fastest_ms;
}

static bool is_slow(const struct seen *seen, uint64_t fastest_ms)
{
	return seen->has_rtt && fastest_ms != UINT64_MAX && seen->rtt_ms > fastest_ms * 2 + SLOW_MS;
}

/* Less is better; among equals the order of the list counts. One that was asked already is asked
 * again before one that has long been silent. */
static unsigned rank(const struct seen *seen, bool was_asked, uint64_t fastest_ms)
{
	return seen->setbacks * 2 + (was_asked ? 4 : 0) + (is_slow(seen, fastest_ms) ? 3 : 0);
}

int upstream_choose(const struct upstream_health *health, const uint8_t *folded, size_t length,
		    uint64_t excluded, uint64_t asked, uint64_t now_ms)
{
	const struct upstream_list *list = health->list;
	int domain_length = match_domain(list, folded, length);
	uint64_t fastest_ms = find_fastest(health, domain_length, folded, length);
	unsigned best_rank = 0;
	int best = -1;

	for (size_t i = 0; i < list->count && i < UPSTREAM_MAX; i++) {
		unsigned its_rank = rank(&health->seen[i], asked >> i & 1, fastest_ms);

		/* Whoever lists TLS wants it: in clear is for when that was tried in vain. */
		if (!list->upstream[i].is_tls)
			its_rank += IN_CLEAR_RANK;
		if ((excluded >> i & 1) || now_ms < list->upstream[i].leads_back_until_ms ||
		    !is_meant_for(&list->upstream[i], domain_length, folded, length))
			continue;
		if (best < 0 || its_rank < best_rank) {
			best = (int)i;
			best_rank = its_rank;
		}
	}
	return best;
}

int upstream_choose_probe(struct upstream_health *health, const uint8_t *folded, size_t length,
			  int chosen, uint64_t now_ms)
{
	const struct upstream_list *list = health->list;
	int domain_length = match_domain(list, folded, length);
	uint64_t fastest_ms = find_fastest(health, domain_length, folded, length);

	for (size_t i = 0; i < list->count && i < UPSTREAM_MAX; i++) {
		struct seen *seen = &health->seen[i];

		if ((int)i == chosen || now_ms < seen->probe_due_ms ||
		    (chosen >= 0 && list->upstream[chosen].is_tls && !list->upstream[i].is_tls) ||
		    now_ms < list->upstream[i].leads_back_until_ms ||
		    (seen->setbacks == 0 && !is_slow(seen, fastest_ms)) ||
		    !is_meant_for(&list->upstream[i], domain_length, folded, length))
			continue;
		seen->probe_due_ms = now_ms + PROBE_EVERY_MS;
		return (int)i;
	}
	return -1;
}

static uint64_t clamp_patience(uint64_t patience_ms, uint64_t least_ms)
{
	if (patience_ms < least_ms)
		return least_ms;
	return patience_ms > PATIENCE_MAX_MS ? PATIENCE_MAX_MS : patience_ms;
}

uint64_t upstream_patience_ms(const struct upstream_health *health, int upstream)
{
	const struct seen *seen = &health->seen[upstream];

	return clamp_patience(seen->rtt_ms * 3 + seen->variation_ms * 4, PATIENCE_MIN_MS);
}

uint64_t upstream_retry_patience_ms(const struct upstream_health *health, int upstream)
{
	const struct seen *seen = &health->seen[upstream];

	if (!seen->has_rtt)
		return RETRY_PATIENCE_UNKNOWN_MS;
	return clamp_patience((seen->rtt_ms * 3 + seen->variation_ms * 4) / 2,
			      RETRY_PATIENCE_MIN_MS);
}

/* One late answer alone must not make the next loss cost a second: what is far out counts in
 * part, and if it goes on it counts soon. */
static void take_round_trip(struct seen *seen, uint64_t took_ms)
{
	uint64_t most_ms = seen->rtt_ms * 4 + OUTLIER_FLOOR_MS, off_ms;

	if (!seen->has_rtt) {
		seen->has_rtt = true;
		seen->rtt_ms = took_ms;
		seen->variation_ms = took_ms / 2;
		return;
	}
	if (took_ms > most_ms)
		took_ms = most_ms;
	off_ms = took_ms > seen->rtt_ms ? took_ms - seen->rtt_ms : seen->rtt_ms - took_ms;
	seen->variation_ms = (seen->variation_ms * 3 + off_ms) / 4;
	if (took_ms > seen->rtt_ms)
		seen->rtt_ms = (seen->rtt_ms * 7 + took_ms + 4) / 8;
	else
		seen->rtt_ms = (seen->rtt_ms * 3 + took_ms) / 4;
}

static void take_setback(struct seen *seen)
{
	if (seen->setbacks < SETBACKS_MAX)
		seen->setbacks++;
}

void upstream_answered(struct upstream_health *health, int upstream, uint64_t took_ms)
{
	struct seen *seen = &health->seen[upstream];

	take_round_trip(seen, took_ms);
	if (seen->setbacks > 0)
		seen->probe_due_ms = 0; /* the next doubt may be looked into at once */
	seen->setbacks = 0;
	seen->refusals = 0;
}

void upstream_refused(struct upstream_health *health, int upstream, uint64_t took_ms)
{
	struct seen *seen = &health->seen[upstream];

	take_round_trip(seen, took_ms);
	if (seen->refusals < REFUSALS_OF_ONE_NAME)
		seen->refusals++;
	else
		take_setback(seen);
}

void upstream_was_late(struct upstream_health *health, int upstream)
{
	take_setback(&health->seen[upstream]);
}

void upstream_failed(struct upstream_health *health, int upstream)
{
	take_setback(&health->seen[upstream]);
}

bool upstream_folds_case(const struct upstream_health *health, int upstream, uint64_t now_ms)
{
	return now_ms < health->seen[upstream].folds_case_until_ms;
}

void upstream_has_folded(struct upstream_health *health, int upstream, uint64_t now_ms)
{
	health->seen[upstream].folds_case_until_ms = now_ms + FOLDING_KEPT_MS;
}

static bool has_telling_case(const uint8_t *name, size_t length)
{
	unsigned upper_count = 0, lower_count = 0;

	for (size_t i = 0; i < length; i++) {
		upper_count += name[i] >= 'A' && name[i] <= 'Z';
		lower_count += name[i] >= 'a' && name[i] <= 'z';
	}
	return upper_count + lower_count >= LOOP_LETTERS_MIN &&
	       upper_count >= LOOP_LETTERS_EITHER && lower_count >= LOOP_LETTERS_EITHER;
}

void upstream_note_asked(struct upstream_health *health, int upstream, const uint8_t *name,
			 size_t length)
{
	struct upstream_list *list = health->list;
	uint64_t hash;

	if (!has_telling_case(name, length))
		return;
	hash = hash_mac(&list->secret, name, length);
	atomic_store_explicit(&list->asked[hash >> 32 & (UPSTREAM_ASKED - 1)],
			      (hash & ~(uint64_t)INDEX_MASK) | (unsigned)upstream,
			      memory_order_relaxed);
}

int upstream_find_loop(struct upstream_health *health, const uint8_t *name, size_t length,
		       uint64_t now_ms)
{
	struct upstream_list *list = health->list;
	uint64_t hash, asked;

	if (!has_telling_case(name, length))
		return -1;
	hash = hash_mac(&list->secret, name, length);
	asked = atomic_load_explicit(&list->asked[hash >> 32 & (UPSTREAM_ASKED - 1)],
				     memory_order_relaxed);
	if ((asked ^ hash) & ~(uint64_t)INDEX_MASK)
		return -1;
	list->upstream[asked & INDEX_MASK].leads_back_until_ms = now_ms + LOOP_KEPT_MS;
	return (int)(asked & INDEX_MASK);
}
