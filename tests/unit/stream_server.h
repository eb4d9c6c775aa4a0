/*
 * A server of streams, in clear or over TLS, that follows a script: one string a connection, one
 * letter a step. It runs in threads of its own and blocks; its replies are the questions
 * themselves.
 *
 *   e  echoes a frame             2  reads two frames, echoes the second, then the first
 *   b  echoes one byte by byte    h  reads a frame, sends half of it
 *   r  reads a frame              w  waits for the client's end
 *   s  sends a frame of 3 bytes   x  echoes a frame with another question
 *   t  sends text that is no TLS  (before the handshake: the first letter of a script)
 *   m  says nothing at all until the client's end (likewise)
 *
 * At the end of its script it closes the connection.
 */
#pragma once

#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/bytes.h"

#define STREAM_FRAME_MAX (2 + 65535)
#define STREAM_CONNECTIONS_MAX 8

struct stream_server;

struct stream_connection {
	struct stream_server *server;
	const char *script;
	pthread_t thread;
	int fd;
	SSL *ssl; /* NULL: in clear */
	bool was_resumed;
	unsigned frames; /* read */
};

struct stream_server {
	int fd;
	struct addr addr;
	SSL_CTX *context; /* NULL: in clear */
	pthread_t thread;
	struct stream_connection connection[STREAM_CONNECTIONS_MAX];
	unsigned script_count, accepted;
};

/* ---- certificates ---- */

struct stream_identity {
	EVP_PKEY *key;
	X509 *certificate;
	char path[64]; /* of the certificate: its own CA */
};

static inline void identity_make(struct stream_identity *identity, const char *names)
{
	X509 *x = X509_new();
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, names);
	FILE *file;
	int fd;

	identity->key = EVP_EC_gen("P-256");
	assert_non_null(identity->key);
	assert_non_null(extension);
	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
	X509_gmtime_adj(X509_getm_notBefore(x), -3600);
	X509_gmtime_adj(X509_getm_notAfter(x), 3600);
	X509_set_pubkey(x, identity->key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
				   (const unsigned char *)"throwaway", -1, -1, 0);
	X509_set_issuer_name(x, X509_get_subject_name(x));
	X509_add_ext(x, extension, -1);
	X509_EXTENSION_free(extension);
	assert_true(X509_sign(x, identity->key, EVP_sha256()) > 0);
	identity->certificate = x;
	strncpy(identity->path, "/tmp/stream-server-XXXXXX", sizeof(identity->path) - 1);
	fd = mkstemp(identity->path);
	assert_true(fd >= 0);
	file = fdopen(fd, "w");
	PEM_write_X509(file, x);
	fclose(file);
}

static inline void identity_free(struct stream_identity *identity)
{
	unlink(identity->path);
	X509_free(identity->certificate);
	EVP_PKEY_free(identity->key);
}

/* ---- one connection ---- */

static inline bool stream_get(struct stream_connection *c, uint8_t *out, size_t length)
{
	while (length > 0) {
		ssize_t got =
			c->ssl ? SSL_read(c->ssl, out, (int)length) : read(c->fd, out, length);

		if (got <= 0)
			return false;
		out += got;
		length -= (size_t)got;
	}
	return true;
}

static inline void stream_put(struct stream_connection *c, const uint8_t *bytes, size_t length)
{
	while (length > 0) {
		ssize_t sent = c->ssl ? SSL_write(c->ssl, bytes, (int)length)
				      : send(c->fd, bytes, length, MSG_NOSIGNAL);

		if (sent <= 0)
			return;
		bytes += sent;
		length -= (size_t)sent;
	}
}

/* Its length, or 0 at the end of the stream. */
static inline size_t stream_get_frame(struct stream_connection *c, uint8_t *out)
{
	if (!stream_get(c, out, 2) || !stream_get(c, out + 2, load_be16(out)))
		return 0;
	c->frames++;
	return 2 + (size_t)load_be16(out);
}

/* Whether the connection goes on. */
static inline bool stream_step(struct stream_connection *c, char step, uint8_t *frame)
{
	static const uint8_t short_frame[] = { 0, 3, 1, 2, 3 };
	uint8_t *second;
	size_t length, second_length;

	if (step == 's') {
		stream_put(c, short_frame, sizeof(short_frame));
		return true;
	}
	length = stream_get_frame(c, frame);
	switch (step) {
	case 'e':
		stream_put(c, frame, length);
		break;
	case 'b':
		for (size_t i = 0; i < length; i++)
			stream_put(c, frame + i, 1);
		break;
	case 'x':
		frame[2 + 12 + 1] ^= 1;
		stream_put(c, frame, length);
		break;
	case '2':
		second = malloc(STREAM_FRAME_MAX);
		second_length = stream_get_frame(c, second);
		stream_put(c, second, second_length);
		stream_put(c, frame, length);
		free(second);
		break;
	case 'h':
		stream_put(c, frame, length / 2);
		break;
	case 'w':
		while (stream_get_frame(c, frame) > 0)
			;
		break;
	}
	return length > 0;
}

static inline bool stream_shake_hands(struct stream_connection *c)
{
	if (!c->server->context)
		return true;
	c->ssl = SSL_new(c->server->context);
	SSL_set_fd(c->ssl, c->fd);
	if (SSL_accept(c->ssl) != 1)
		return false;
	c->was_resumed = SSL_session_reused(c->ssl);
	return true;
}

static inline void *stream_run(void *arg)
{
	struct stream_connection *c = arg;
	uint8_t *frame = malloc(STREAM_FRAME_MAX);

	if (c->script[0] == 't') {
		stream_put(c, (const uint8_t *)"HTTP/1.1 400 Bad Request\r\n\r\n", 28);
		stream_step(c, 'w', frame);
	} else if (c->script[0] == 'm') {
		while (read(c->fd, frame, 1) > 0)
			;
	} else if (stream_shake_hands(c)) {
		for (const char *step = c->script; *step; step++) {
			if (!stream_step(c, *step, frame))
				break;
		}
	}
	if (c->ssl)
		SSL_shutdown(c->ssl);
	SSL_free(c->ssl);
	free(frame);
	/* What came unread would turn the end into a reset. */
	shutdown(c->fd, SHUT_WR);
	return NULL;
}

/* ---- all of them ---- */

static inline void *stream_accept(void *arg)
{
	struct stream_server *server = arg;

	while (server->accepted < server->script_count) {
		struct stream_connection *c = &server->connection[server->accepted];

		c->fd = accept(server->fd, NULL, NULL);
		if (c->fd < 0)
			break;
		c->server = server;
		pthread_create(&c->thread, NULL, stream_run, c);
		server->accepted++;
	}
	return NULL;
}

/* `scripts` ends with NULL. */
static inline void stream_server_open(struct stream_server *server,
				      const struct stream_identity *identity,
				      const char *const *scripts)
{
	struct sockaddr_in where = { .sin_family = AF_INET,
				     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(where);

	memset(server, 0, sizeof(*server));
	for (; scripts[server->script_count]; server->script_count++)
		server->connection[server->script_count].script = scripts[server->script_count];
	server->fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(server->fd, (struct sockaddr *)&where, length), 0);
	assert_int_equal(listen(server->fd, 8), 0);
	getsockname(server->fd, (struct sockaddr *)&where, &length);
	addr_from_socket((struct sockaddr *)&where, &server->addr);
	if (identity) {
		server->context = SSL_CTX_new(TLS_server_method());
		SSL_CTX_use_certificate(server->context, identity->certificate);
		SSL_CTX_use_PrivateKey(server->context, identity->key);
	}
	pthread_create(&server->thread, NULL, stream_accept, server);
}

/* Ends the threads. The client has closed its connections. */
static inline void stream_server_close(struct stream_server *server)
{
	shutdown(server->fd, SHUT_RDWR);
	pthread_join(server->thread, NULL);
	close(server->fd);
	for (unsigned i = 0; i < server->accepted; i++) {
		pthread_join(server->connection[i].thread, NULL);
		close(server->connection[i].fd);
	}
	SSL_CTX_free(server->context);
}
