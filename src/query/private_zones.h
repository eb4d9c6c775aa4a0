/*
 * The reverse zones of addresses that mean something only nearby (RFC 6303, RFC 7793): empty, and
 * answered at home with `private-zones`, so that questions about them do not leave the host.
 * Whoever has servers for a part of them says so with `forward=DOMAIN=…`: the longest match wins.
 * Pure.
 */
#pragma once

#include "dns/answer.h"
#include "dns/question.h"
#include "query/query.h"

struct config;
struct private_zones;

/* NULL: out of memory. */
struct private_zones *private_zones_new(void);
void private_zones_free(struct private_zones *zones);

/* ANSWERED (NXDOMAIN below, NODATA at the top, with the SOA), or PASS. The answer borrows from
 * `zones`. */
enum verdict private_zones_ask(const struct private_zones *zones, const struct config *config,
			       const struct question *question, struct answer *out);
