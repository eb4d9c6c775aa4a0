/*
 * The libcurl door: GET requests to the Nomad agent on the control plane's loop (libcurl's multi
 * interface over libuv). It knows addresses, tokens, TLS, time limits and ceilings; it knows no
 * names. One `http` per configuration; requests are heap objects with an id; each ends in exactly
 * one callback, never from inside http_get. Held requests and streams have connections of their
 * own, so that what waits for minutes never keeps an ordinary request waiting.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct config;
struct http;

#define HTTP_BODY_MAX_BYTES (16u << 20) /* after decoding */

enum http_failure {
	HTTP_OK,      /* a reply with a status, whatever it is */
	HTTP_CONNECT, /* no connection, or TLS said no */
	HTTP_TIMEOUT,
	HTTP_PROTOCOL, /* cut short, bad chunk, HTTP/0.0 */
	HTTP_TOO_LARGE,
	HTTP_CANCELLED,
};

struct http_reply {
	enum http_failure failure;
	char error[256]; /* for the operator, when failure is not HTTP_OK */
	long status;
	bool has_index;
	uint64_t index;		/* X-Nomad-Index, as text, never through a double */
	bool knows_leader;	/* X-Nomad-KnownLeader; true when absent */
	uint64_t retry_after_s; /* 0: none */
	uint64_t took_us;	/* connecting included */
	const char *body;	/* borrowed for the callback */
	size_t body_length;
};

typedef void http_done(void *arg, const struct http_reply *reply);

/* One line of a stream, without its end; borrowed. May http_cancel its own stream. */
typedef void http_line(void *arg, const char *line, size_t length);

/* Opens the room on `loop`. NULL with `why` filled when TLS files or the token cannot be used. */
struct http *http_open(uv_loop_t *loop, const struct config *config, char *why,
		       size_t why_capacity);

/* Cancels what is under way (callbacks with HTTP_CANCELLED), then calls `closed` once everything of
 * the loop is free. */
void http_close(struct http *http, void (*closed)(void *), void *arg);

/* Takes over a new configuration for later requests (addresses, TLS, token). Connections stay where
 * neither addresses nor anything of TLS has changed, files included. 0, or -errno with `why`; the
 * old one stays then. */
int http_configure(struct http *http, const struct config *config, char *why, size_t why_capacity);

/* Number of configured agent addresses, and one's text without userinfo. */
size_t http_address_count(const struct http *http);
const char *http_address_text(const struct http *http, size_t address);

/*
 * Starts GET `path` ("/v1/service/web?namespace=default", already escaped) at one agent address.
 * `timeout_ms` covers the whole request. Adds region, token and basic auth by itself. Returns an
 * id, or 0 when out of memory.
 */
uint64_t http_get(struct http *http, size_t address, const char *path, uint64_t timeout_ms,
		  http_done *done, void *arg);

/* As http_get, for a request that Nomad holds until something changes (`index` and `wait` in
 * `path`). 0 too when the ceiling of held requests and streams is met. */
uint64_t http_get_held(struct http *http, size_t address, const char *path, uint64_t timeout_ms,
		       http_done *done, void *arg);

/*
 * GET whose body is read line by line as it comes, in plain text. No limit on time but that of
 * connecting: the caller watches for silence and cancels. A line over HTTP_BODY_MAX_BYTES ends it
 * with HTTP_TOO_LARGE, an unfinished last line is dropped, and the body of a status other than 200
 * comes in `on_end` (its first bytes). Returns as http_get_held.
 */
uint64_t http_stream(struct http *http, size_t address, const char *path, http_line *on_line,
		     http_done *on_end, void *arg);

/* Ends a request early, without a callback. Unknown ids are ignored. */
void http_cancel(struct http *http, uint64_t id);

/* Reads the token file again if it changed (mtime, size or inode). true: there is a different token
 * than at the last call, whoever noticed it. */
bool http_refresh_token(struct http *http);

/* Requests under way, held ones and streams too; and those alone. */
size_t http_in_flight(const struct http *http);
size_t http_held_in_flight(const struct http *http);

/* Percent-escapes one path part or query value into `out`. The length, or -ENAMETOOLONG. */
int http_escape(const char *text, size_t length, char *out, size_t capacity);

/* The version of the libcurl and what it was built with that is loaded. Static text. */
const char *http_library_version(void);
