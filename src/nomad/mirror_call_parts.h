/*
 * The inside of a call, shared by its two files: mirror_call.c makes it, puts it in line, asks and
 * ends it; mirror_call_reply.c says what came back means, and leaves in one of three ways: the call
 * is asked again here, goes on elsewhere, or ends. Nobody else includes this.
 */
#pragma once

#include <stdbool.h>

#include "nomad/mirror_call.h"

/* mirror_call_reply.c: an http_done, of a leg. The call may be gone when it returns. */
void mirror_call_on_reply(void *arg, const struct http_reply *reply);

/* mirror_call.c: cancels what is under way and asks anew at call->address. 0 or -ENOMEM. */
int mirror_call_ask_again(struct call *call);

/* One request failed. The other one may still have a word; a server that answers with an error is
 * asked again for a stale one, since only a leader may have been missing; else the next address is
 * asked. Without one the call ends. */
void mirror_call_fail_leg(struct call *call, const struct leg *leg, bool is_server_error);

/* Tells everybody, frees it, and lets the next in line begin. */
void mirror_call_end(struct call *call, enum call_result result);
