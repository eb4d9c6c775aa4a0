/*
 * The only file that knows OpenSSL. Its queue of errors is per thread and not ours alone: it is
 * emptied before each call and read right after it.
 */
#include "forward/tls.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/str.h"

#define WHY_MAX 200
#define SCRATCH_BYTES 1024
#define HASH_DIGITS 8

struct tls_context {
	SSL_CTX *ssl;
};

struct tls {
	SSL *ssl;
	BIO *from_network, *to_network; /* the session's */
	struct tls_ticket *ticket;
	char why[WHY_MAX];
};

/* Called when a session can be resumed later: after the handshake, with TLS 1.3 some time after. */
static int on_new_session(SSL *ssl, SSL_SESSION *session)
{
	struct tls *tls = SSL_get_app_data(ssl);

	SSL_SESSION_free(tls->ticket->session);
	tls->ticket->session = session;
	return 1; /* the reference is ours now */
}

/* Each file of a directory that c_rehash has named by its subject: 1a2b3c4d.0. */
static void load_directory(SSL_CTX *ssl, const char *path)
{
	DIR *directory = opendir(path);
	struct dirent *entry;
	char file[PATH_MAX];

	while (directory && (entry = readdir(directory))) {
		if (strspn(entry->d_name, "0123456789abcdef") == HASH_DIGITS &&
		    entry->d_name[HASH_DIGITS] == '.' && entry->d_name[HASH_DIGITS + 1] != 'r' &&
		    str_format(file, sizeof(file), "%s/%s", path, entry->d_name) > 0)
			SSL_CTX_load_verify_file(ssl, file);
	}
	if (directory)
		closedir(directory);
}

/* Calls `each` with every directory of SSL_CERT_DIR or the default. */
static void walk_directories(void (*each)(void *arg, const char *path), void *arg)
{
	const char *from = getenv(X509_get_default_cert_dir_env());
	char path[PATH_MAX];

	if (!from)
		from = X509_get_default_cert_dir();
	while (*from) {
		size_t length = strcspn(from, ":");

		if (str_format(path, sizeof(path), "%.*s", (int)length, from) > 0)
			each(arg, path);
		from += length + (from[length] == ':');
	}
}

static const char *ca_file(void)
{
	const char *path = getenv(X509_get_default_cert_file_env());

	return path ? path : X509_get_default_cert_file();
}

static void load_one_directory(void *arg, const char *path)
{
	load_directory(arg, path);
}

/* OpenSSL's own way would look into the directory at each handshake. Where there is nothing, no
 * certificate will be believed, and that is said by name then. */
static void load_cas(SSL_CTX *ssl)
{
	SSL_CTX_load_verify_file(ssl, ca_file());
	walk_directories(load_one_directory, ssl);
}

static void stamp_path(void *arg, const char *path)
{
	uint64_t *stamp = arg;
	struct stat about;

	if (stat(path, &about))
		return;
	*stamp = *stamp * 31 + (uint64_t)about.st_ino;
	*stamp = *stamp * 31 + (uint64_t)about.st_size;
	*stamp = *stamp * 31 + (uint64_t)about.st_mtim.tv_sec;
	*stamp = *stamp * 31 + (uint64_t)about.st_mtim.tv_nsec;
}

uint64_t tls_ca_stamp(void)
{
	uint64_t stamp = 1;

	stamp_path(&stamp, ca_file());
	walk_directories(stamp_path, &stamp);
	return stamp;
}

static SSL_CTX *make_context(void)
{
	SSL_CTX *ssl = SSL_CTX_new(TLS_client_method());

	if (!ssl)
		return NULL;
	if (SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION) != 1) {
		SSL_CTX_free(ssl);
		return NULL;
	}
	SSL_CTX_set_options(ssl, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER, NULL);
	load_cas(ssl);
	SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(ssl, on_new_session);
	return ssl;
}

struct tls_context *tls_context_new(void)
{
	struct tls_context *context = calloc(1, sizeof(*context));

	ERR_clear_error();
	if (context)
		context->ssl = make_context();
	ERR_clear_error();
	if (!context || context->ssl)
		return context;
	free(context);
	return NULL;
}

void tls_context_free(struct tls_context *context)
{
	if (!context)
		return;
	SSL_CTX_free(context->ssl);
	free(context);
}

void tls_ticket_forget(struct tls_ticket *ticket)
{
	SSL_SESSION_free(ticket->session);
	ticket->session = NULL;
}

/* RFC 8310 §8.1: whom the certificate must name. 1 or 0, as OpenSSL has it. */
static int expect_peer(SSL *ssl, const char *name, const struct addr *addr)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(ssl);

	if (!name[0])
		return X509_VERIFY_PARAM_set1_ip(param, addr->bytes,
						 addr->family == AF_INET ? 4 : 16);
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return SSL_set1_host(ssl, name) == 1 && SSL_set_tlsext_host_name(ssl, name) == 1;
}

static struct tls *fail_new(struct tls *tls)
{
	ERR_clear_error();
	SSL_free(tls->ssl);
	free(tls);
	return NULL;
}

struct tls *tls_new(struct tls_context *context, const char *name, const struct addr *addr,
		    struct tls_ticket *ticket)
{
	struct tls *tls = calloc(1, sizeof(*tls));

	if (!tls)
		return NULL;
	tls->ticket = ticket;
	tls->ssl = SSL_new(context->ssl);
	if (!tls->ssl)
		return fail_new(tls);
	SSL_set_app_data(tls->ssl, tls);
	tls->from_network = BIO_new(BIO_s_mem());
	tls->to_network = BIO_new(BIO_s_mem());
	if (!tls->from_network || !tls->to_network) {
		BIO_free(tls->from_network);
		BIO_free(tls->to_network);
		return fail_new(tls);
	}
	SSL_set_bio(tls->ssl, tls->from_network, tls->to_network);
	SSL_set_connect_state(tls->ssl);
	if (expect_peer(tls->ssl, name, addr) != 1)
		return fail_new(tls);
	/* One that does not fit any more only makes a whole handshake. */
	if (ticket->session)
		SSL_set_session(tls->ssl, ticket->session);
	ERR_clear_error();
	return tls;
}

void tls_free(struct tls *tls)
{
	if (!tls)
		return;
	SSL_free(tls->ssl);
	ERR_clear_error();
	free(tls);
}

int tls_feed(struct tls *tls, const uint8_t *bytes, size_t length)
{
	if (length > INT_MAX)
		return -ENOMEM;
	return BIO_write(tls->from_network, bytes, (int)length) == (int)length ? 0 : -ENOMEM;
}

const uint8_t *tls_pending(const struct tls *tls, size_t *out_length)
{
	char *bytes = NULL;
	long length = BIO_get_mem_data(tls->to_network, &bytes);

	*out_length = length > 0 ? (size_t)length : 0;
	return length > 0 ? (const uint8_t *)bytes : NULL;
}

void tls_sent(struct tls *tls, size_t length)
{
	uint8_t scratch[SCRATCH_BYTES];

	while (length > 0) {
		size_t part = length < sizeof(scratch) ? length : sizeof(scratch);

		if (BIO_read(tls->to_network, scratch, (int)part) != (int)part)
			return;
		length -= part;
	}
}

/* Puts into words what the last call left behind; the first words stay. */
static int fail(struct tls *tls)
{
	unsigned long error = ERR_peek_error();
	long verified = SSL_get_verify_result(tls->ssl);
	const char *reason = ERR_reason_error_string(error);

	if (tls->why[0])
		return -EPROTO;
	if (verified != X509_V_OK)
		str_format(tls->why, sizeof(tls->why), "its certificate is refused: %s",
			   X509_verify_cert_error_string(verified));
	else if (ERR_GET_REASON(error) == SSL_R_WRONG_VERSION_NUMBER)
		str_format(tls->why, sizeof(tls->why),
			   "what answers there speaks no TLS (wrong version number)");
	else
		str_format(tls->why, sizeof(tls->why), "TLS failed: %s",
			   reason ? reason : "the connection was cut");
	return -EPROTO;
}

/* What a call that did not succeed means. */
static int result_of(struct tls *tls, int returned)
{
	int error = SSL_get_error(tls->ssl, returned);

	if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
		return -EAGAIN;
	if (error == SSL_ERROR_ZERO_RETURN)
		return 0;
	return fail(tls);
}

int tls_shake_hands(struct tls *tls)
{
	int returned;

	ERR_clear_error();
	returned = SSL_do_handshake(tls->ssl);
	if (returned == 1)
		return 0;
	returned = result_of(tls, returned);
	return returned ? returned : fail(tls);
}

bool tls_is_resumed(const struct tls *tls)
{
	return SSL_session_reused(tls->ssl);
}

ssize_t tls_read(struct tls *tls, uint8_t *out, size_t capacity)
{
	size_t length = 0;

	ERR_clear_error();
	if (SSL_read_ex(tls->ssl, out, capacity, &length) == 1)
		return (ssize_t)length;
	return result_of(tls, 0);
}

int tls_write(struct tls *tls, const uint8_t *bytes, size_t length)
{
	size_t written = 0;

	ERR_clear_error();
	if (SSL_write_ex(tls->ssl, bytes, length, &written) == 1 && written == length)
		return 0;
	return fail(tls);
}

void tls_end(struct tls *tls)
{
	ERR_clear_error();
	/* In the middle of a handshake OpenSSL would call this an error. */
	if (SSL_is_init_finished(tls->ssl))
		SSL_shutdown(tls->ssl);
	ERR_clear_error();
}

const char *tls_why(const struct tls *tls)
{
	return tls->why;
}
