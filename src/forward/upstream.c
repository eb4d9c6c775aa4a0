#include "forward/upstream.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config/config.h"
#include "config/resolv_conf.h"
#include "dns/name.h"

#define PATIENCE_FIRST_MS 800
#define PATIENCE_MIN_MS 200
#define PATIENCE_MAX_MS 1500
#define PATIENCE_ROUND_TRIPS 3
#define DOUBT_FIRST_MS 1000
#define DOUBT_MAX_MS 30000
#define PROBE_EVERY_MS 1000
#define RTT_WEIGHT 8 /* a new sample counts one eighth, as TCP's does (RFC 6298 §2.3) */

struct report { /* lines for the operator */
	char *text;
	size_t capacity, length;
};

struct seen {
	bool has_rtt;
	uint64_t rtt_ms;
	unsigned doubts; /* in a row; 0: trusted */
	uint64_t doubted_until_ms;
	uint64_t probed_until_ms; /* one question is out to see whether it is back */
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
		bool is_here = addr_is_any(addr) || addr_is_loopback(addr);

		if (listen->port != addr->port)
			continue;
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

/* When it may be asked first again; 0: now. */
static uint64_t held_back_until(const struct seen *seen, uint64_t now_ms)
{
	uint64_t until_ms = seen->doubted_until_ms > seen->probed_until_ms ? seen->doubted_until_ms
									   : seen->probed_until_ms;

	return until_ms > now_ms ? until_ms : 0;
}

/* The trusted come before the doubted; among the trusted the order of the list counts, among the
 * doubted who is due first. */
static bool is_better(const struct seen *a, const struct seen *b, uint64_t now_ms)
{
	return held_back_until(a, now_ms) < held_back_until(b, now_ms);
}

int upstream_choose(struct upstream_health *health, const uint8_t *folded, size_t length,
		    uint64_t tried, uint64_t now_ms)
{
	const struct upstream_list *list = health->list;
	int domain_length = match_domain(list, folded, length);
	int best = -1;

	for (size_t i = 0; i < list->count && i < UPSTREAM_MAX; i++) {
		const struct upstream *upstream = &list->upstream[i];

		if (domain_length < 0 || upstream->domain_length != domain_length ||
		    (tried >> i & 1))
			continue;
		/* A domain of the same length that holds the name is the same domain; another is
		 * not. */
		if (domain_length > 0 &&
		    !name_is_in(folded, length, upstream->domain, upstream->domain_length))
			continue;
		if (best < 0 || is_better(&health->seen[i], &health->seen[best], now_ms))
			best = (int)i;
	}
	/* The first question after a doubt has passed is a probe: the others do not follow it
	 * until it is answered, or a second later. */
	if (best >= 0 && health->seen[best].doubts > 0 &&
	    held_back_until(&health->seen[best], now_ms) == 0)
		health->seen[best].probed_until_ms = now_ms + PROBE_EVERY_MS;
	return best;
}

uint64_t upstream_patience_ms(const struct upstream_health *health, int upstream)
{
	const struct seen *seen = &health->seen[upstream];
	uint64_t patience_ms = seen->rtt_ms * PATIENCE_ROUND_TRIPS;

	if (!seen->has_rtt)
		return PATIENCE_FIRST_MS;
	if (patience_ms < PATIENCE_MIN_MS)
		return PATIENCE_MIN_MS;
	return patience_ms > PATIENCE_MAX_MS ? PATIENCE_MAX_MS : patience_ms;
}

void upstream_answered(struct upstream_health *health, int upstream, uint64_t took_ms,
		       uint64_t now_ms)
{
	struct seen *seen = &health->seen[upstream];
	bool was_in_time = took_ms <= upstream_patience_ms(health, upstream);

	(void)now_ms;
	if (seen->has_rtt)
		seen->rtt_ms =
			(seen->rtt_ms * (RTT_WEIGHT - 1) + took_ms + RTT_WEIGHT / 2) / RTT_WEIGHT;
	else
		seen->rtt_ms = took_ms;
	seen->has_rtt = true;
	if (was_in_time) {
		seen->doubts = 0;
		seen->doubted_until_ms = 0;
		seen->probed_until_ms = 0;
	}
}

static void doubt(struct seen *seen, uint64_t now_ms)
{
	uint64_t doubt_ms = DOUBT_FIRST_MS;

	/* What was asked before the doubt began says nothing new. */
	if (seen->doubts > 0 && now_ms < seen->doubted_until_ms)
		return;
	for (unsigned i = 0; i < seen->doubts && doubt_ms < DOUBT_MAX_MS; i++)
		doubt_ms *= 2;
	if (doubt_ms > DOUBT_MAX_MS)
		doubt_ms = DOUBT_MAX_MS;
	seen->doubts++;
	seen->doubted_until_ms = now_ms + doubt_ms;
}

void upstream_was_late(struct upstream_health *health, int upstream, uint64_t now_ms)
{
	doubt(&health->seen[upstream], now_ms);
}

void upstream_failed(struct upstream_health *health, int upstream, uint64_t now_ms)
{
	doubt(&health->seen[upstream], now_ms);
}
