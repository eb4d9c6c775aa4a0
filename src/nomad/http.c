/*
 * libcurl's multi_socket interface over libuv. Everything a configuration decides lives in a
 * `pool`: the multi handle with its connections, the addresses, TLS and secrets. A new
 * configuration is a new pool; the old one ends with its last request, so no connection made under
 * old certificates outlives a reload.
 *
 * libcurl is entered from the loop only: http_get adds a handle and returns, the rest happens in
 * timer and socket events. After each entry the messages of finished transfers are drained.
 */
#include "nomad/http.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/list.h"
#include "nomad/http_head.h"
#include "nomad/http_settings.h"
#include "nomad/http_socket.h"

#define CONNECTIONS_MAX 8L /* Nomad allows 100 per client address, shared by the whole host */
#define CONNECT_TIMEOUT_MS 2000L
#define TOKEN_LOOK_EVERY_MS 1000

struct pool {
	struct http *http;
	struct list link; /* in http->pools */
	CURLM *multi;
	uv_timer_t timer;
	bool timer_is_open;
	struct http_sockets sockets;
	struct list requests;
	size_t request_count;
	unsigned busy;	 /* inside a drain: not to be ended under its feet */
	bool is_retired; /* ends with its last request */
	bool is_ending;
	struct http_settings settings;
};

struct http {
	uv_loop_t *loop;
	struct pool *pool; /* for new requests */
	struct list pools; /* it and the retired ones */
	uint64_t last_id;
	uint64_t token_looked_ms;
	bool has_new_token; /* one that nobody was told about */
	bool is_closing;
	void (*closed)(void *);
	void *closed_arg;
};

struct request {
	struct list link;
	struct pool *pool;
	uint64_t id;
	CURL *easy;
	struct curl_slist *headers, *connect_to;
	struct buf body;
	struct http_head head;
	bool is_too_large;
	char error[CURL_ERROR_SIZE];
	http_done *done;
	void *arg;
};

/* ---- the end of a pool ---- */

static void free_pool(struct pool *pool)
{
	list_remove(&pool->link);
	http_settings_deinit(&pool->settings);
	free(pool);
}

/* A handle is gone from the loop; with its last one goes the pool, with the last pool the room. */
static void on_handle_closed(void *arg)
{
	struct pool *pool = arg;
	struct http *http = pool->http;

	if (!pool->is_ending || pool->timer_is_open || pool->sockets.handle_count > 0)
		return;
	free_pool(pool);
	if (!http->is_closing || !list_is_empty(&http->pools))
		return;
	curl_global_cleanup();
	if (http->closed)
		http->closed(http->closed_arg);
	free(http);
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct pool *pool = handle->data;

	pool->timer_is_open = false;
	on_handle_closed(pool);
}

static void settle_pool(struct pool *pool)
{
	if (!pool->is_retired || pool->is_ending || pool->request_count > 0 || pool->busy > 0)
		return;
	pool->is_ending = true;
	curl_multi_cleanup(pool->multi); /* closes the idle connections through on_close_socket */
	uv_close((uv_handle_t *)&pool->timer, on_timer_closed);
}

/* ---- the end of a request ---- */

static void free_request(struct request *request)
{
	struct pool *pool = request->pool;

	list_remove(&request->link);
	pool->request_count--;
	if (request->easy) {
		curl_multi_remove_handle(pool->multi, request->easy);
		curl_easy_cleanup(request->easy);
	}
	for (struct curl_slist *line = request->headers; line; line = line->next)
		explicit_bzero(line->data, strlen(line->data));
	curl_slist_free_all(request->headers);
	curl_slist_free_all(request->connect_to);
	buf_deinit(&request->body);
	free(request);
}

static enum http_failure judge(const struct request *request, CURLcode code)
{
	curl_off_t sent_us = 0;

	switch ((int)code) {
	case CURLE_OK:
		return HTTP_OK;
	case CURLE_OPERATION_TIMEDOUT:
		curl_easy_getinfo(request->easy, CURLINFO_PRETRANSFER_TIME_T, &sent_us);
		return sent_us > 0 ? HTTP_TIMEOUT : HTTP_CONNECT;
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_CONNECT:
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CIPHER:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_PEER_FAILED_VERIFICATION:
		return HTTP_CONNECT;
	case CURLE_FILESIZE_EXCEEDED:
		return HTTP_TOO_LARGE;
	default:
		return request->is_too_large ? HTTP_TOO_LARGE : HTTP_PROTOCOL;
	}
}

static void finish(struct request *request, CURLcode code)
{
	struct http_reply reply = { .failure = judge(request, code) };

	if (reply.failure == HTTP_TOO_LARGE)
		snprintf(reply.error, sizeof(reply.error),
			 "the reply is over the ceiling of %u MiB", HTTP_BODY_MAX_BYTES >> 20);
	else if (reply.failure != HTTP_OK)
		snprintf(reply.error, sizeof(reply.error), "%s",
			 request->error[0] ? request->error : curl_easy_strerror(code));
	curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &reply.status);
	reply.has_index = request->head.has_index;
	reply.index = request->head.index;
	reply.knows_leader = request->head.knows_leader;
	reply.retry_after_s = request->head.retry_after_s;
	reply.body = request->body.data ? request->body.data : "";
	reply.body_length = request->body.length;
	request->id = 0; /* from here on it cannot be cancelled */
	request->done(request->arg, &reply);
	free_request(request);
}

static void drain(struct pool *pool)
{
	CURLMsg *message;
	int left;

	pool->busy++;
	while ((message = curl_multi_info_read(pool->multi, &left))) {
		CURLcode code = message->data.result;
		struct request *request = NULL;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&request);
		finish(request, code);
	}
	pool->busy--;
	settle_pool(pool);
}

/* ---- between libcurl and libuv ---- */

static curl_socket_t on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct pool *pool = arg;

	(void)purpose;
	return http_sockets_open(&pool->sockets, address->family, address->socktype,
				 address->protocol); /* -1 is CURL_SOCKET_BAD */
}

static int on_close_socket(void *arg, curl_socket_t fd)
{
	return http_sockets_close(&((struct pool *)arg)->sockets, fd);
}

static int on_watch_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
	struct pool *pool = arg;

	(void)easy;
	(void)socket_arg;
	if (!pool->is_ending || what == CURL_POLL_REMOVE)
		http_sockets_watch(&pool->sockets, fd,
				   what == CURL_POLL_IN || what == CURL_POLL_INOUT,
				   what == CURL_POLL_OUT || what == CURL_POLL_INOUT);
	return 0;
}

static void on_timer(uv_timer_t *timer);

static void start_timer(struct pool *pool, long timeout_ms)
{
	uv_update_time(pool->http->loop);
	uv_timer_start(&pool->timer, on_timer, (uint64_t)timeout_ms, 0);
}

/* Only notes the time: libcurl must not be entered from here. */
static int on_set_timer(CURLM *multi, long timeout_ms, void *arg)
{
	struct pool *pool = arg;

	(void)multi;
	if (timeout_ms < 0 || pool->is_ending)
		uv_timer_stop(&pool->timer);
	else
		start_timer(pool, timeout_ms);
	return 0;
}

static void act(struct pool *pool, curl_socket_t fd, int events)
{
	int running = 0;

	curl_multi_socket_action(pool->multi, fd, events, &running);
	drain(pool);
}

static void on_timer(uv_timer_t *timer)
{
	struct pool *pool = timer->data;
	long next_ms = -1;

	pool->busy++;
	act(pool, CURL_SOCKET_TIMEOUT, 0);
	pool->busy--;
	/* libcurl does not repeat a time it has told, and a timer may fire a little early. */
	if (!uv_is_active((uv_handle_t *)timer) && pool->request_count > 0 &&
	    curl_multi_timeout(pool->multi, &next_ms) == CURLM_OK && next_ms >= 0)
		start_timer(pool, next_ms > 0 ? next_ms : 1);
	settle_pool(pool);
}

static void on_socket_ready(void *arg, int fd, bool can_read, bool can_write, bool has_failed)
{
	int events = (can_read ? CURL_CSELECT_IN : 0) | (can_write ? CURL_CSELECT_OUT : 0);

	/* With IN beside it libcurl reads, and finds out what the error was. */
	act(arg, fd, has_failed ? CURL_CSELECT_ERR | CURL_CSELECT_IN : events);
}

/* ---- a request ---- */

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
	struct request *request = arg;

	/* What arrives here is decoded: a gzip bomb meets the same ceiling. */
	if (buf_append(&request->body, data, size * count) == 0)
		return size * count;
	request->is_too_large = true;
	return 0;
}

static size_t on_header(char *line, size_t size, size_t count, void *arg)
{
	struct request *request = arg;

	if (http_head_take(&request->head, line, size * count))
		return size * count;
	request->is_too_large = true;
	return 0;
}

static void set_tls(CURL *easy, const struct http_settings *tls)
{
	curl_easy_setopt(easy, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, tls->skip_verify ? 0L : 1L);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, tls->skip_verify ? 0L : 2L);
	/* Parsed certificates would be kept for a day, and sessions outlive them. */
	curl_easy_setopt(easy, CURLOPT_CA_CACHE_TIMEOUT, 0L);
	curl_easy_setopt(easy, CURLOPT_SSL_SESSIONID_CACHE, 0L);
	if (tls->ca_cert || tls->ca_path) {
		/* Both are set, or the system's directory would be trusted beside the file. */
		curl_easy_setopt(easy, CURLOPT_CAINFO, tls->ca_cert);
		curl_easy_setopt(easy, CURLOPT_CAPATH, tls->ca_cert ? NULL : tls->ca_path);
	}
	if (tls->client_cert) {
		curl_easy_setopt(easy, CURLOPT_SSLCERT, tls->client_cert);
		curl_easy_setopt(easy, CURLOPT_SSLKEY, tls->client_key);
	}
}

static void set_transport(CURL *easy, struct pool *pool, uint64_t timeout_ms)
{
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(easy, CURLOPT_PROXY, ""); /* $http_proxy is not meant for the agent */
	curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L); /* the token goes nowhere else */
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "nomad-dns/" VERSION);
	curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "gzip");
	curl_easy_setopt(easy, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)HTTP_BODY_MAX_BYTES);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
	/* Without it the end of a request would wait for the resolver's thread. */
	curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, pool);
	curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, on_close_socket);
	curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, pool);
}

/* Who we say we are. Userinfo of the address wins over nomad-http-auth-file, as in Nomad's client.
 */
static bool set_identity(struct request *request, const char *userinfo)
{
	const struct http_settings *settings = &request->pool->settings;
	const char *login = userinfo ? userinfo : settings->auth.text;
	char *line;

	if (login && curl_easy_setopt(request->easy, CURLOPT_USERPWD, login) != CURLE_OK)
		return false;
	curl_easy_setopt(request->easy, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
	if (!settings->token.text)
		return true;
	line = http_secret_as_header(&settings->token, "X-Nomad-Token");
	request->headers = line ? curl_slist_append(NULL, line) : NULL;
	http_secret_wipe(&line);
	curl_easy_setopt(request->easy, CURLOPT_HTTPHEADER, request->headers);
	return request->headers != NULL;
}

static bool set_target(struct request *request, const struct http_address *address,
		       const char *path, const char *region)
{
	const char *joint = !region ? "" : strchr(path, '?') ? "&region=" : "?region=";
	CURLcode code;
	char *url;

	if (asprintf(&url, "%s%s%s%s", address->base, path, joint, region ? region : "") < 0)
		return false;
	code = curl_easy_setopt(request->easy, CURLOPT_URL, url);
	free(url);
	if (address->unix_path)
		curl_easy_setopt(request->easy, CURLOPT_UNIX_SOCKET_PATH, address->unix_path);
	if (!address->connect_to)
		return code == CURLE_OK;
	request->connect_to = curl_slist_append(NULL, address->connect_to);
	curl_easy_setopt(request->easy, CURLOPT_CONNECT_TO, request->connect_to);
	return code == CURLE_OK && request->connect_to;
}

static bool set_up(struct request *request, size_t at, const char *path, uint64_t timeout_ms)
{
	const struct http_settings *settings = &request->pool->settings;
	const struct http_address *address = &settings->addresses[at];
	CURL *easy = request->easy = curl_easy_init();

	if (!easy)
		return false;
	set_transport(easy, request->pool, timeout_ms);
	set_tls(easy, settings);
	curl_easy_setopt(easy, CURLOPT_PRIVATE, request);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, request->error);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, request);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, request);
	return set_identity(request, address->userinfo) &&
	       set_target(request, address, path, settings->region) &&
	       curl_multi_add_handle(request->pool->multi, easy) == CURLM_OK;
}

uint64_t http_get(struct http *http, size_t address, const char *path, uint64_t timeout_ms,
		  http_done *done, void *arg)
{
	struct pool *pool = http->pool;
	uint64_t now_ms = clock_now_ms();
	struct request *request;

	if (http->is_closing)
		return 0;
	if (now_ms - http->token_looked_ms >= TOKEN_LOOK_EVERY_MS) {
		http->token_looked_ms = now_ms;
		http->has_new_token |= http_settings_refresh(&http->pool->settings);
	}
	request = calloc(1, sizeof(*request));
	if (!request)
		return 0;
	request->pool = pool;
	request->done = done;
	request->arg = arg;
	http_head_init(&request->head);
	buf_init(&request->body, HTTP_BODY_MAX_BYTES);
	list_append(&pool->requests, &request->link);
	pool->request_count++;
	/* A reload may have left fewer addresses than the caller remembers. */
	if (!set_up(request, address % pool->settings.address_count, path, timeout_ms)) {
		free_request(request);
		return 0;
	}
	request->id = ++http->last_id;
	return request->id;
}

uint64_t http_get_held(struct http *http, size_t address, const char *path, uint64_t timeout_ms,
		       http_done *done, void *arg)
{
	return http_get(http, address, path, timeout_ms, done, arg);
}

uint64_t http_stream(struct http *http, size_t address, const char *path, http_line *on_line,
		     http_done *on_end, void *arg)
{
	(void)http, (void)address, (void)path, (void)on_line, (void)on_end, (void)arg;
	return 0;
}

size_t http_held_in_flight(const struct http *http)
{
	(void)http;
	return 0;
}

void http_cancel(struct http *http, uint64_t id)
{
	if (id == 0)
		return;
	list_for_each (pool_link, &http->pools) {
		struct pool *pool = list_entry(pool_link, struct pool, link);

		list_for_each (link, &pool->requests) {
			struct request *request = list_entry(link, struct request, link);

			if (request->id != id)
				continue;
			free_request(request);
			settle_pool(pool);
			return;
		}
	}
}

size_t http_in_flight(const struct http *http)
{
	size_t count = 0;

	list_for_each (link, &http->pools)
		count += list_entry(link, struct pool, link)->request_count;
	return count;
}

/* ---- the making of a pool ---- */

static int open_multi(struct pool *pool)
{
	pool->multi = curl_multi_init();
	if (!pool->multi)
		return -ENOMEM;
	curl_multi_setopt(pool->multi, CURLMOPT_SOCKETFUNCTION, on_watch_socket);
	curl_multi_setopt(pool->multi, CURLMOPT_SOCKETDATA, pool);
	curl_multi_setopt(pool->multi, CURLMOPT_TIMERFUNCTION, on_set_timer);
	curl_multi_setopt(pool->multi, CURLMOPT_TIMERDATA, pool);
	curl_multi_setopt(pool->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, CONNECTIONS_MAX);
	curl_multi_setopt(pool->multi, CURLMOPT_MAXCONNECTS, CONNECTIONS_MAX);
	return 0;
}

/* NULL with `why`. */
static struct pool *make_pool(struct http *http, const struct config *config, char *why,
			      size_t why_capacity)
{
	struct pool *pool = calloc(1, sizeof(*pool));
	int rc = -ENOMEM;

	snprintf(why, why_capacity, "out of memory");
	if (!pool)
		return NULL;
	pool->http = http;
	list_init(&pool->link);
	list_init(&pool->requests);
	http_sockets_init(&pool->sockets, http->loop);
	pool->sockets.on_ready = on_socket_ready;
	pool->sockets.on_closed = on_handle_closed;
	pool->sockets.arg = pool;
	rc = http_settings_init(&pool->settings, config, why, why_capacity);
	if (rc == 0)
		rc = open_multi(pool);
	if (rc < 0) {
		free_pool(pool);
		return NULL;
	}
	uv_timer_init(http->loop, &pool->timer);
	pool->timer.data = pool;
	pool->timer_is_open = true;
	list_append(&http->pools, &pool->link);
	return pool;
}

/* ---- the room ---- */

struct http *http_open(uv_loop_t *loop, const struct config *config, char *why, size_t why_capacity)
{
	struct http *http = calloc(1, sizeof(*http));

	if (!http || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
		snprintf(why, why_capacity, "out of memory");
		free(http);
		return NULL;
	}
	http->loop = loop;
	list_init(&http->pools);
	http->pool = make_pool(http, config, why, why_capacity);
	if (http->pool)
		return http;
	curl_global_cleanup();
	free(http);
	return NULL;
}

static void retire(struct pool *pool)
{
	pool->is_retired = true;
	settle_pool(pool);
}

int http_configure(struct http *http, const struct config *config, char *why, size_t why_capacity)
{
	struct pool *next = make_pool(http, config, why, why_capacity);

	if (!next)
		return -EINVAL;
	http->has_new_token |= http_settings_differ(&http->pool->settings, &next->settings);
	retire(http->pool);
	http->pool = next;
	return 0;
}

static void cancel_all(struct pool *pool)
{
	static const struct http_reply cancelled = {
		.failure = HTTP_CANCELLED, .error = "cancelled", .knows_leader = true, .body = ""
	};

	while (!list_is_empty(&pool->requests)) {
		struct request *request = list_entry(pool->requests.next, struct request, link);

		request->id = 0;
		request->done(request->arg, &cancelled);
		free_request(request);
	}
}

void http_close(struct http *http, void (*closed)(void *), void *arg)
{
	http->is_closing = true;
	http->closed = closed;
	http->closed_arg = arg;
	list_for_each_safe (link, &http->pools) {
		struct pool *pool = list_entry(link, struct pool, link);

		cancel_all(pool);
		retire(pool);
	}
}

size_t http_address_count(const struct http *http)
{
	return http->pool->settings.address_count;
}

const char *http_address_text(const struct http *http, size_t address)
{
	return http->pool->settings.addresses[address % http->pool->settings.address_count].text;
}

bool http_refresh_token(struct http *http)
{
	bool is_new = http_settings_refresh(&http->pool->settings) || http->has_new_token;

	http->has_new_token = false;
	return is_new;
}

const char *http_library_version(void)
{
	return curl_version();
}
