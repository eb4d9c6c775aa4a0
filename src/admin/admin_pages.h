/*
 * What the operator can ask for: a table of routes, and the whole reply to one request as bytes.
 * Pure but for the doors it calls; it knows no socket.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "admin/admin_request.h"

struct admin_doors;
struct buf;

#define ADMIN_REPLY_MAX_BYTES                                                                      \
	(8u << 20) /* ceiling of one page: a catalogue's metrics are ~100 KiB */

/*
 * Writes head and body of the reply to a verdict that is not INCOMPLETE; `request` counts only with
 * OK, `configured` is as in admin_request_is_host_allowed, but NULL stands for a unix socket, which
 * no web page can reach: there any host will do. `is_local`: asked from this host, so changes are
 * allowed. `wall_s` goes into the Date header.
 * Caller checks out->failed. Returns the status code.
 */
unsigned admin_pages_answer(const struct admin_doors *doors, enum admin_request_verdict verdict,
			    const struct admin_request *request, const char *configured,
			    bool is_local, uint64_t wall_s, struct buf *out);

/* The reply when memory ran out while writing one: needs none itself. */
extern const char admin_pages_no_memory[];
