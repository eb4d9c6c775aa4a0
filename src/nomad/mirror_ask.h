/*
 * What workers want to know of one name, with all who wait for it: `mirror_need` (mirror.h) joins
 * or makes an ask, the ask makes calls. It knows no HTTP and reads no reply. This file owns the
 * asks; an ask owns its waiters, and drops its calls when it ends before them. Each waiter hears
 * one word.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/list.h"
#include "dns/dns.h"
#include "nomad/mirror_call.h"

struct mirror;
struct need;

struct ask {
	struct list link; /* in mirror->asks */
	struct mirror *mirror;
	char namespace_label[DNS_LABEL_MAX + 1];
	char service_label[DNS_LABEL_MAX + 1]; /* "": the namespace's list */
	struct need *waiters;
	size_t waiter_count, waiter_capacity;
	struct list followers;	   /* of a list: the service asks that wait for it */
	struct list follower_link; /* of a service */
	size_t open_calls;
	enum call_result worst;
	bool was_useless; /* Nomad answered, and asking again at once is no use */
};

/* The ask for a namespace's list (folded label), made and queued if it is not under way. NULL: the
 * namespace is not to be asked about (outside, or too many new ones), or out of memory. */
struct ask *mirror_ask_list(struct mirror *mirror, const char *namespace_label);

/* Fetches a name (exact or folded) again, for nobody in particular. */
void mirror_ask_refresh(struct mirror *mirror, const char *namespace, const char *service);

/* The need for that. false: these names have no place in DNS. */
bool mirror_ask_make_need(const char *namespace, const char *service, struct need *out);

/* All of them, at once: Nomad is not there. */
void mirror_ask_end_all(struct mirror *mirror);

/* `on_end` of every call that has an ask; the last one ends the ask. */
void mirror_ask_on_call_end(struct call *call, enum call_result result);
