/*
 * The door of the corridor: what is answered, or refused, from the question alone, before any stage
 * is asked: askers who may not ask, classes and types we do not serve, CHAOS, and the special names
 * that never leave the host. Read-only for the worker; built from a configuration.
 */
#pragma once

#include <stdbool.h>

#include "dns/answer.h"
#include "dns/message.h"
#include "query/query.h"

struct config;
struct gate;

/* Borrows `config`, which outlives it. NULL: out of memory. */
struct gate *gate_new(const struct config *config);
void gate_free(struct gate *gate);

/* ANSWERED with what the door says, or PASS: the pipeline's business. */
enum verdict gate_ask(const struct gate *gate, const struct query *query, struct answer *out);

/* Behind the first stage, which knows the reverse names of instances: ANSWERED for the private
 * reverse zones with `private-zones`, or PASS. */
enum verdict gate_ask_private(const struct gate *gate, const struct query *query,
			      struct answer *out);

/* Whether this address may ask at all. */
bool gate_admits(const struct gate *gate, const struct addr *peer, const struct addr *local);

const struct message_identity *gate_identity(const struct gate *gate);

/* Whether a folded name never leaves the host: localhost, invalid, onion, resolver.arpa and what is
 * below them. */
bool gate_is_special(const uint8_t *folded, size_t length);
