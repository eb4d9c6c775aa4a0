#include "forward/upstream_list.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config/resolv_conf.h"
#include "dns/name.h"
#include "forward/own_address.h"
#include "forward/tls.h"
#include "query/gate.h"

struct report { /* lines for the operator */
	char *text;
	size_t capacity, length;
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
	list->is_by_interface |= bad > 0;
	for (int i = 0; i < count; i++) {
		list->is_by_interface |= found[i].scope_id != 0;
		add_upstream(list, config, forward, &found[i], report);
	}
}

void upstream_format(const struct upstream *upstream, char out[UPSTREAM_TEXT_MAX])
{
	char where[ADDR_TEXT_MAX];

	addr_format(&upstream->addr, where);
	snprintf(out, UPSTREAM_TEXT_MAX, "%s%s%s%s", upstream->is_tls ? "tls://" : "", where,
		 upstream->tls_name[0] ? "#" : "", upstream->tls_name);
}

static void add_refused(struct upstream_list *list, const struct config_forward *forward)
{
	struct config_zone *refused = &list->refused[list->refused_count++];

	refused->length = forward->domain_length;
	memcpy(refused->name, forward->domain, forward->domain_length);
}

/* Names that are answered at home never come as far as the upstreams. */
static void warn_of_idle_domain(const struct config *config, const struct config_forward *forward,
				struct report *report)
{
	char domain[NAME_TEXT_MAX], zone[NAME_TEXT_MAX];

	if (forward->domain_length == 0)
		return;
	name_format(forward->domain, domain);
	if (gate_is_special(forward->domain, forward->domain_length))
		say(report, "forward=%s=… is never used: such names are answered at home", domain);
	for (size_t i = 0; i < config->zone_count; i++) {
		if (!name_is_in(forward->domain, forward->domain_length, config->zone[i].name,
				config->zone[i].length))
			continue;
		name_format(config->zone[i].name, zone);
		say(report, "forward=%s=… is never used: it lies in our own zone %s", domain, zone);
	}
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

static bool has_tls(const struct upstream_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		if (list->upstream[i].is_tls)
			return true;
	}
	return false;
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
	loop_memory_init(&list->loops);
	list->refused = calloc(config->forward_count + 1, sizeof(list->refused[0]));
	if (!list->refused) {
		free(list);
		return NULL;
	}
	for (size_t i = 0; i < config->forward_count; i++) {
		const struct config_forward *forward = &config->forward[i];

		warn_of_idle_domain(config, forward, &report);
		switch (forward->kind) {
		case CONFIG_FORWARD_ADDRESS:
			add_upstream(list, config, forward, &forward->address, &report);
			break;
		case CONFIG_FORWARD_FILE:
			add_file(list, config, forward, &report);
			break;
		case CONFIG_FORWARD_NONE:
			if (forward->domain_length == 0)
				list->forwards_nothing = true;
			else
				add_refused(list, forward);
			break;
		}
	}
	warn_of_clear_text(list, &report);
	if (has_tls(list))
		list->ca_stamp = tls_ca_stamp();
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
	if (!list || atomic_fetch_sub_explicit(&list->references, 1, memory_order_acq_rel) != 1)
		return;
	tls_context_free(list->tls_context);
	free(list->refused);
	free(list);
}

void upstream_list_load_cas(struct upstream_list *list)
{
	if (has_tls(list) && !list->tls_context)
		list->tls_context = tls_context_new();
}

static bool is_same_refused(const struct upstream_list *a, const struct upstream_list *b)
{
	if (a->forwards_nothing != b->forwards_nothing || a->refused_count != b->refused_count)
		return false;
	for (size_t i = 0; i < a->refused_count; i++) {
		if (a->refused[i].length != b->refused[i].length ||
		    memcmp(a->refused[i].name, b->refused[i].name, a->refused[i].length) != 0)
			return false;
	}
	return true;
}

bool upstream_list_same(const struct upstream_list *a, const struct upstream_list *b)
{
	if (a->count != b->count || a->ca_stamp != b->ca_stamp || !is_same_refused(a, b))
		return false;
	for (size_t i = 0; i < a->count; i++) {
		if (!is_same_upstream(&a->upstream[i], &b->upstream[i]))
			return false;
	}
	return true;
}

static bool has_upstream(const struct upstream_list *list, const struct upstream *upstream)
{
	for (size_t i = 0; i < list->count; i++) {
		if (is_same_upstream(&list->upstream[i], upstream))
			return true;
	}
	return false;
}

/* The domains of what one list has and the other has not. */
static void tell_difference(const struct upstream_list *one, const struct upstream_list *other,
			    void (*on_domain)(void *arg, const uint8_t *name, size_t length),
			    void *arg)
{
	static const uint8_t root[1];

	for (size_t i = 0; i < one->count; i++) {
		const struct upstream *upstream = &one->upstream[i];

		if (has_upstream(other, upstream))
			continue;
		if (upstream->domain_length == 0)
			on_domain(arg, root, sizeof(root));
		else
			on_domain(arg, upstream->domain, upstream->domain_length);
	}
	for (size_t i = 0; !is_same_refused(one, other) && i < one->refused_count; i++)
		on_domain(arg, one->refused[i].name, one->refused[i].length);
}

void upstream_list_each_change(const struct upstream_list *before,
			       const struct upstream_list *after,
			       void (*on_domain)(void *arg, const uint8_t *name, size_t length),
			       void *arg)
{
	tell_difference(before, after, on_domain, arg);
	tell_difference(after, before, on_domain, arg);
}

/* The longest domain that holds the name, -1: none; and who has it first. */
static int match(const struct upstream_list *list, const uint8_t *folded, size_t length,
		 unsigned *out_first)
{
	int longest = -1;

	for (size_t i = 0; i < list->count; i++) {
		const struct upstream *upstream = &list->upstream[i];

		if ((int)upstream->domain_length <= longest ||
		    (upstream->domain_length > 0 &&
		     !name_is_in(folded, length, upstream->domain, upstream->domain_length)))
			continue;
		longest = upstream->domain_length;
		*out_first = (unsigned)i;
	}
	return longest;
}

int upstream_list_match(const struct upstream_list *list, const uint8_t *folded, size_t length)
{
	unsigned first;

	return match(list, folded, length, &first);
}

const uint8_t *upstream_route(const struct question *question, size_t *out_length)
{
	size_t first = question->type == DNS_TYPE_DS ? question->folded[0] : 0;

	*out_length = question->name_length;
	if (first == 0)
		return question->folded;
	*out_length -= first + 1;
	return question->folded + first + 1;
}

unsigned upstream_list_group(const struct upstream_list *list, const struct question *question)
{
	size_t length;
	const uint8_t *folded = upstream_route(question, &length);
	unsigned first = 0;

	(void)match(list, folded, length, &first);
	return first;
}

enum upstream_cover upstream_list_cover(const struct upstream_list *list,
					const struct question *question)
{
	size_t length;
	const uint8_t *folded = upstream_route(question, &length);
	int longest = upstream_list_match(list, folded, length);

	for (size_t i = 0; i < list->refused_count; i++) {
		const struct config_zone *refused = &list->refused[i];

		if ((int)refused->length > longest &&
		    name_is_in(folded, length, refused->name, refused->length))
			return UPSTREAM_REFUSED;
	}
	if (longest >= 0)
		return UPSTREAM_COVERED;
	return list->forwards_nothing ? UPSTREAM_REFUSED : UPSTREAM_UNCOVERED;
}

/* Whether `other` has all that `one` has of one domain, by the length of its name. */
static bool has_all_of(const struct upstream_list *other, const struct upstream_list *one,
		       int domain_length, const uint8_t *folded, size_t length)
{
	for (size_t i = 0; i < one->count; i++) {
		const struct upstream *upstream = &one->upstream[i];

		if (upstream->domain_length == domain_length &&
		    (domain_length == 0 ||
		     name_is_in(folded, length, upstream->domain, upstream->domain_length)) &&
		    !has_upstream(other, upstream))
			return false;
	}
	return true;
}

bool upstream_list_same_route(const struct upstream_list *a, const struct upstream_list *b,
			      const struct question *question)
{
	size_t length;
	const uint8_t *folded = upstream_route(question, &length);
	int longest = upstream_list_match(a, folded, length);

	return upstream_list_cover(a, question) == upstream_list_cover(b, question) &&
	       upstream_list_match(b, folded, length) == longest &&
	       has_all_of(a, b, longest, folded, length) &&
	       has_all_of(b, a, longest, folded, length);
}
