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
#include "base/hash.h"
#include "config/config.h"
#include "dns/dns.h"

#define UPSTREAM_ASKED 256 /* places for what was asked lately; a power of two */

struct upstream_list {
	atomic_uint references;
	struct hash_key secret;
	/* Names as they went out, hashed, and to whom: one that comes back to any worker in the
	 * very same case has gone in a circle. */
	_Atomic uint64_t asked[UPSTREAM_ASKED];
	bool forwards_nothing; /* forward=none */
	size_t count;
	struct upstream {
		struct addr addr;
		uint8_t domain_length; /* 0: every name */
		uint8_t domain[DNS_NAME_MAX];
		bool is_tls;			      /* RFC 7858: nothing goes there in clear */
		char tls_name[CONFIG_TLS_NAME_MAX];   /* of its certificate; empty: the address */
		_Atomic uint64_t leads_back_until_ms; /* to ourselves: not asked before that */
		atomic_bool is_refused; /* the log says that TLS does not work there */
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
 * The upstream to ask next for a folded name: of the longest matching domain's servers, the first
 * of the list that is trusted and not much slower than the fastest; else the one with the fewest
 * setbacks since it last answered. None of those that `excluded` holds (a bit per index); those
 * that `asked` holds come after others that may answer, and none that leads back to us. Its index,
 * or -1.
 */
int upstream_choose(const struct upstream_health *health, const uint8_t *folded, size_t length,
		    uint64_t excluded, uint64_t asked, uint64_t now_ms);

/*
 * One that is passed over (it was late, failed, is slow) and meant for this name too: it is sent
 * the question that goes to `chosen` as well, to see whether it is back, and nobody waits for it.
 * At most one a second each, but the first doubt is looked into at once: a single bad name
 * condemns no upstream. -1: none is due.
 */
int upstream_choose_probe(struct upstream_health *health, const uint8_t *folded, size_t length,
			  int chosen, uint64_t now_ms);

/* How long to wait for this one before the question is sent again, in ms: 170…1,500 by its round
 * trips; and how long then, when something was lost already: 45…1,500, and 600 for one of which
 * nothing is known. */
uint64_t upstream_patience_ms(const struct upstream_health *health, int upstream);
uint64_t upstream_retry_patience_ms(const struct upstream_health *health, int upstream);

/*
 * What came of asking: any answer, however late, which ends all doubt; a reply that refuses
 * (SERVFAIL, REFUSED: a few in a row are a setback, for one or two may lie with the name); none
 * within the patience; an error of the network.
 */
void upstream_answered(struct upstream_health *health, int upstream, uint64_t took_ms);
void upstream_refused(struct upstream_health *health, int upstream, uint64_t took_ms);
void upstream_was_late(struct upstream_health *health, int upstream);
void upstream_failed(struct upstream_health *health, int upstream);

/* Whether it is known to give the question back in another case than it came (then it is asked in
 * lower case); remembered for 10 minutes. */
bool upstream_folds_case(const struct upstream_health *health, int upstream, uint64_t now_ms);
void upstream_has_folded(struct upstream_health *health, int upstream, uint64_t now_ms);

/* A name goes out in a case of its own. One with few letters could come in that case by chance: it
 * is not noted. */
void upstream_note_asked(struct upstream_health *health, int upstream, const uint8_t *name,
			 size_t length);

/* The upstream by way of which this question, in the case it came in, has come back to us; it is
 * not asked for 30 s. -1: none. */
int upstream_find_loop(struct upstream_health *health, const uint8_t *name, size_t length,
		       uint64_t now_ms);
