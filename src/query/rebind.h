/*
 * DNS rebinding: a name of the outside world that leads to an address inside, so that a page from
 * there may talk to what trusts its neighbours. With `rebind-protection` such answers are emptied
 * for clients; our own zones and the domains that have upstreams of their own are not concerned.
 * Pure.
 */
#pragma once

#include <stdbool.h>

#include "dns/answer.h"
#include "dns/image.h"
#include "dns/question.h"

struct config;

/* Whether a record of an upstream's reply (A, AAAA, or the hints of SVCB and HTTPS) holds a
 * loopback, link-local, private or unspecified address, also one of IPv4 inside of IPv6. */
bool rebind_has_private(const struct image *image);

/* Whether this answer is to be kept from a client. */
bool rebind_is_forbidden(const struct config *config, const struct question *question,
			 const struct answer *answer);

/* Takes all records out and says why (RFC 8914 §4.16). */
void rebind_empty(struct answer *answer);
