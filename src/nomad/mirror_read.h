/*
 * What a reply says, made the truth: bodies go through json into the catalogue, or into the list or
 * the scout that waits for them. How long it is true for follows from the tier and from what the
 * reply's headers say. It decides nothing about the call, and keeps nothing.
 */
#pragma once

#include <stdbool.h>

struct call;
struct http_reply;

/*
 * A reply with status 200 becomes what we know. `is_stale`: it was asked for so, any server may
 * have given it. 0, -EINVAL (not what Nomad says; call->error tells), -EACCES (the way Nomad says
 * "no access" with status 200), -EAGAIN (an event has overtaken it: ask again) or -ENOMEM.
 */
int mirror_read(struct call *call, const struct http_reply *reply, bool is_stale);
