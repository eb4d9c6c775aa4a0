/*
 * TLS as a client of resolvers (RFC 7858, 8310): the door to OpenSSL. A `struct tls` is one session
 * between two memories: bytes of the network go in and out on one side, text on the other. It knows
 * no socket, and it is never without verification: TLS 1.2 at least, the chain up to a CA of the
 * system (or of SSL_CERT_FILE, SSL_CERT_DIR), and the name or the address in the certificate.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/addr.h"

struct tls;

/*
 * What sessions share, from any thread: above all the CAs, as the files have them now. Reading them
 * takes up to some tenths of a second, so it is nothing for a thread that answers questions; later
 * no file is read any more. NULL: out of memory.
 */
struct tls_context;
struct tls_context *tls_context_new(void);
void tls_context_free(struct tls_context *context); /* sessions may outlive it */

/* Changes when the files of the CAs do. */
uint64_t tls_ca_stamp(void);

/* One server's memory, with which the next session to it resumes (RFC 8446 §2.2). Zeroed is empty;
 * outlives its sessions, and never serves another server or name. */
struct tls_ticket {
	void *session;
};
void tls_ticket_forget(struct tls_ticket *ticket);

/* A session as client. `name` is asked for (SNI) and must be in the certificate; if it is empty the
 * address must be. NULL: out of memory. */
struct tls *tls_new(struct tls_context *context, const char *name, const struct addr *addr,
		    struct tls_ticket *ticket);
void tls_free(struct tls *tls);

/* Bytes that came from the network. 0 or -ENOMEM. */
int tls_feed(struct tls *tls, const uint8_t *bytes, size_t length);

/* Bytes for the network, borrowed until the next call; NULL and 0 when there are none. tls_sent
 * takes away those that left. */
const uint8_t *tls_pending(const struct tls *tls, size_t *out_length);
void tls_sent(struct tls *tls, size_t length);

/* 0: the handshake is done; -EAGAIN: it waits for the network; -EPROTO: it failed, see tls_why. */
int tls_shake_hands(struct tls *tls);

/* Whether the handshake, which is done, was a short one: the session was resumed. */
bool tls_is_resumed(const struct tls *tls);

/* Text: its length; 0: the server has ended the session; -EAGAIN: none yet; -EPROTO: see tls_why.
 */
ssize_t tls_read(struct tls *tls, uint8_t *out, size_t capacity);

/* All of it, into what is pending. 0 or -EPROTO. */
int tls_write(struct tls *tls, const uint8_t *bytes, size_t length);

/* Says goodbye, into what is pending: the server can keep the session for later. */
void tls_end(struct tls *tls);

/* Why it failed, for the operator: "its certificate is refused: certificate has expired". */
const char *tls_why(const struct tls *tls);
