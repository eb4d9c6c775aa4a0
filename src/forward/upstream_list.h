/*
 * Which resolvers there are: the list built from `forward` and resolv.conf. Pure but for the files
 * it reads. A list is shared by reference count and does not change, except for its atomics: what
 * all workers need to know of an upstream at once.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "config/config.h"
#include "dns/dns.h"
#include "dns/question.h"
#include "forward/loop.h"

struct tls_context;

struct upstream_list {
	atomic_uint references;
	struct loop_memory loops;
	struct tls_context
		*tls_context;  /* NULL: upstream_list_load_cas was not called, or had no need to */
	uint64_t ca_stamp;     /* of the CAs' files; 0: no upstream wants TLS */
	bool forwards_nothing; /* forward=none */
	struct config_zone *refused; /* forward=DOMAIN=none: nobody is asked about what is there */
	size_t refused_count;
	/* A file names servers by the interface they are behind (fe80::1%eth0): it may come later,
	 * or come back under another number, and the file stays as it is. */
	bool is_by_interface;
	size_t count;
	struct upstream {
		struct addr addr;
		uint8_t domain_length; /* 0: every name */
		uint8_t domain[DNS_NAME_MAX];
		bool is_tls;			    /* RFC 7858: nothing goes there in clear */
		char tls_name[CONFIG_TLS_NAME_MAX]; /* of its certificate; empty: the address */
		struct loop_mark loop;
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

/* Reads the CAs, if an upstream wants TLS (tls.h), before the list is anybody else's. */
void upstream_list_load_cas(struct upstream_list *list);
struct upstream_list *upstream_list_hold(struct upstream_list *list);
void upstream_list_drop(struct upstream_list *list);

/* Whether they are the same upstreams, in the same order, with the same CAs. */
bool upstream_list_same(const struct upstream_list *a, const struct upstream_list *b);

/* "192.0.2.1:53", "tls://192.0.2.1:853#dns.example". */
#define UPSTREAM_TEXT_MAX (ADDR_TEXT_MAX + CONFIG_TLS_NAME_MAX + 8)
void upstream_format(const struct upstream *upstream, char out[UPSTREAM_TEXT_MAX]);

/* Tells each domain (folded; the root: all other names) that has other upstreams in `after` than in
 * `before`, some perhaps twice. */
void upstream_list_each_change(const struct upstream_list *before,
			       const struct upstream_list *after,
			       void (*on_domain)(void *arg, const uint8_t *name, size_t length),
			       void *arg);

/* The name that decides who is asked: the question's own (folded), but DS lives in the parent (RFC
 * 4035 §3.1.4.1), so for DS it is that above. */
const uint8_t *upstream_route(const struct question *question, size_t *out_length);

enum upstream_cover {
	UPSTREAM_COVERED,   /* some upstream of the list is meant for the name */
	UPSTREAM_REFUSED,   /* "none" is: nobody may be asked */
	UPSTREAM_UNCOVERED, /* there is none */
};
enum upstream_cover upstream_list_cover(const struct upstream_list *list,
					const struct question *question);

/* Whether both lists mean the same upstreams for a question, in whatever order. */
bool upstream_list_same_route(const struct upstream_list *a, const struct upstream_list *b,
			      const struct question *question);

/* The length of the longest domain of the list that holds the name (0: the general upstreams), or
 * -1 when no upstream is meant for it. */
int upstream_list_match(const struct upstream_list *list, const uint8_t *folded, size_t length);

/* The first of the upstreams that are meant for a question: a number for them all, below
 * UPSTREAM_MAX. 0 also when none is. */
unsigned upstream_list_group(const struct upstream_list *list, const struct question *question);
