/*
 * Which resolvers to ask: the list built from `forward` and resolv.conf, and the choice among them
 * by what was seen of each (late, failing, refusing). Pure: no socket, time is an argument. A list
 * is immutable and shared by reference count; the memory of how each upstream behaves is each
 * worker's own.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "config/config.h"
#include "dns/dns.h"

struct upstream_list {
	atomic_uint references;
	bool forwards_nothing; /* forward=none */
	size_t count;
	struct upstream {
		struct addr addr;
		uint8_t domain_length; /* 0: every name */
		uint8_t domain[DNS_NAME_MAX];
		bool is_tls;			    /* RFC 7858: nothing goes there in clear */
		char tls_name[CONFIG_TLS_NAME_MAX]; /* of its certificate; empty: the address */
		atomic_bool is_refused;		    /* the log says that TLS does not work there */
	} upstream[];
};

#define UPSTREAM_MAX 64 /* bits of a `tried` mask; more are reported and left out */

/*
 * Builds the list: resolv.conf files are read now, our own listen addresses dropped (each said in
 * `out_report`, one line each, for the log). An unreadable file is reported and contributes
 * nothing. NULL: out of memory.
 */
struct upstream_list *upstream_list_new(const struct config *config, char *out_report,
					size_t capacity);
struct upstream_list *upstream_list_hold(struct upstream_list *list);
void upstream_list_drop(struct upstream_list *list);
bool upstream_list_same(const struct upstream_list *a, const struct upstream_list *b);

/* "192.0.2.1:53", "tls://192.0.2.1:853#dns.example". */
#define UPSTREAM_TEXT_MAX (ADDR_TEXT_MAX + CONFIG_TLS_NAME_MAX + 8)
void upstream_format(const struct upstream *upstream, char out[UPSTREAM_TEXT_MAX]);

/* Whether any upstream of the list is meant for this folded name. */
bool upstream_list_covers(const struct upstream_list *list, const uint8_t *folded, size_t length);

/* What one worker has seen of the upstreams of one list. */
struct upstream_health;

/* Holds the list for as long as it lives. NULL: out of memory. */
struct upstream_health *upstream_health_new(struct upstream_list *list);
void upstream_health_free(struct upstream_health *health);
const struct upstream_list *upstream_health_list(const struct upstream_health *health);

/*
 * The upstream to ask next for a folded name: the longest matching domain's servers; those that
 * answered lately first, none that `tried` (a bit per index below 64) holds already. Its index, or
 * -1 when all were tried or none match.
 */
int upstream_choose(struct upstream_health *health, const uint8_t *folded, size_t length,
		    uint64_t tried, uint64_t now_ms);

/* How long to wait for this one before the next is asked as well, in ms: 200…1,500, and 800 while
 * nothing is known. */
uint64_t upstream_patience_ms(const struct upstream_health *health, int upstream);

/*
 * What came of asking: any reply, however late; none within the patience; an error of the network,
 * or a server that refuses to serve. One that was late or failed is asked after the others for 1 s,
 * doubling to 30 s while that goes on, then tried again with one question a second; a reply in
 * time ends it.
 */
void upstream_answered(struct upstream_health *health, int upstream, uint64_t took_ms,
		       uint64_t now_ms);
void upstream_was_late(struct upstream_health *health, int upstream, uint64_t now_ms);
void upstream_failed(struct upstream_health *health, int upstream, uint64_t now_ms);
