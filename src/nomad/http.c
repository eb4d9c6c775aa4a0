/*
 * libcurl's multi_socket interface over libuv: lanes and the requests in them. libcurl is entered
 * from the loop only: http_get adds a handle and returns, the rest happens in timer and socket
 * events. After each entry the lines of streams are handed out, and then the messages of finished
 * transfers are drained: callbacks run outside libcurl, so they may start and cancel what they
 * like.
 */
#include "nomad/http.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "base/buf.h"
#include "base/clock.h"
#include "nomad/http_head.h"
#include "nomad/http_lines.h"
#include "nomad/http_parts.h"

/* Nomad allows 100 connections per client address, shared by the whole host. */
#define ORDINARY_MAX 8L
#define HELD_MAX 16L
#define CONNECT_TIMEOUT_MS 2000L
#define TOKEN_LOOK_EVERY_MS 1000
#define ERROR_BODY_MAX_BYTES 4096 /* kept of a stream's reply that is none */

struct request {
	struct list link;
	struct http_lane *lane;
	uint64_t id;
	CURL *easy;
	struct curl_slist *headers, *connect_to;
	struct buf body;
	struct http_lines lines; /* of a stream, instead */
	struct http_head head;
	bool is_too_large;
	char error[CURL_ERROR_SIZE];
	http_done *done;
	http_line *on_line; /* NULL: no stream */
	bool is_handing_out, is_cancelled;
	void *arg;
};

struct wanted { /* what a request is to be */
	const char *path;
	uint64_t timeout_ms;
	http_line *on_line;
	http_done *done;
	void *arg;
};

/* ---- the end of a request ---- */

static void free_request(struct request *request)
{
	struct http_lane *lane = request->lane;

	list_remove(&request->link);
	lane->request_count--;
	if (request->easy) {
		curl_multi_remove_handle(lane->multi, request->easy);
		curl_easy_cleanup(request->easy);
		http_sockets_sweep(&lane->sockets);
	}
	for (struct curl_slist *line = request->headers; line; line = line->next)
		explicit_bzero(line->data, strlen(line->data));
	curl_slist_free_all(request->headers);
	curl_slist_free_all(request->connect_to);
	buf_deinit(&request->body);
	http_lines_deinit(&request->lines);
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
	curl_off_t took_us = 0;

	if (reply.failure == HTTP_TOO_LARGE)
		snprintf(reply.error, sizeof(reply.error),
			 "the reply is over the ceiling of %u MiB", HTTP_BODY_MAX_BYTES >> 20);
	else if (reply.failure != HTTP_OK)
		snprintf(reply.error, sizeof(reply.error), "%s",
			 request->error[0] ? request->error : curl_easy_strerror(code));
	curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &reply.status);
	curl_easy_getinfo(request->easy, CURLINFO_TOTAL_TIME_T, &took_us);
	reply.took_us = (uint64_t)took_us;
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

/* ---- lines ---- */

/* Hands out the whole lines of a stream. The callback may cancel anything, this stream too. */
static void hand_out(struct request *request)
{
	const char *line;
	size_t length;

	request->is_handing_out = true;
	while (!request->is_cancelled && http_lines_next(&request->lines, &line, &length))
		request->on_line(request->arg, line, length);
	request->is_handing_out = false;
	if (request->is_cancelled)
		free_request(request);
}

static struct request *find_lines(const struct http_lane *lane)
{
	list_for_each (link, &lane->requests) {
		struct request *request = list_entry(link, struct request, link);

		if (http_lines_has_next(&request->lines) && !request->is_handing_out)
			return request;
	}
	return NULL;
}

static void drain(struct http_lane *lane)
{
	struct request *request;
	CURLMsg *message;
	int left;

	lane->busy++;
	while ((request = find_lines(lane)))
		hand_out(request);
	while ((message = curl_multi_info_read(lane->multi, &left))) {
		CURLcode code = message->data.result;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&request);
		finish(request, code);
	}
	lane->busy--;
	http_pool_settle(lane->pool);
}

/* ---- between libcurl and libuv ---- */

static curl_socket_t on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct http_lane *lane = arg;

	(void)purpose;
	return http_sockets_open(&lane->sockets, address->family, address->socktype,
				 address->protocol); /* -1 is CURL_SOCKET_BAD */
}

static int on_close_socket(void *arg, curl_socket_t fd)
{
	return http_sockets_close(&((struct http_lane *)arg)->sockets, fd);
}

static int on_watch_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
	struct http_lane *lane = arg;

	(void)easy;
	(void)socket_arg;
	if (!lane->pool->is_ending || what == CURL_POLL_REMOVE)
		http_sockets_watch(&lane->sockets, fd,
				   what == CURL_POLL_IN || what == CURL_POLL_INOUT,
				   what == CURL_POLL_OUT || what == CURL_POLL_INOUT);
	return 0;
}

static void on_timer(uv_timer_t *timer);

static void start_timer(struct http_lane *lane, long timeout_ms)
{
	uv_update_time(lane->pool->http->loop);
	uv_timer_start(&lane->timer, on_timer, (uint64_t)timeout_ms, 0);
}

/* Only notes the time: libcurl must not be entered from here. */
static int on_set_timer(CURLM *multi, long timeout_ms, void *arg)
{
	struct http_lane *lane = arg;

	(void)multi;
	if (timeout_ms < 0 || lane->pool->is_ending)
		uv_timer_stop(&lane->timer);
	else
		start_timer(lane, timeout_ms);
	return 0;
}

static void act(struct http_lane *lane, curl_socket_t fd, int events)
{
	int running = 0;

	curl_multi_socket_action(lane->multi, fd, events, &running);
	http_sockets_sweep(&lane->sockets);
	drain(lane);
}

static void on_timer(uv_timer_t *timer)
{
	struct http_lane *lane = timer->data;
	long next_ms = -1;

	lane->busy++;
	act(lane, CURL_SOCKET_TIMEOUT, 0);
	lane->busy--;
	/* libcurl does not repeat a time it has told, and a timer may fire a little early. */
	if (!uv_is_active((uv_handle_t *)timer) && lane->request_count > 0 &&
	    curl_multi_timeout(lane->multi, &next_ms) == CURLM_OK && next_ms >= 0)
		start_timer(lane, next_ms > 0 ? next_ms : 1);
	http_pool_settle(lane->pool);
}

static void on_socket_ready(void *arg, int fd, bool can_read, bool can_write, bool has_failed)
{
	int events = (can_read ? CURL_CSELECT_IN : 0) | (can_write ? CURL_CSELECT_OUT : 0);

	/* With IN beside it libcurl reads, and finds out what the error was. */
	act(arg, fd, has_failed ? CURL_CSELECT_ERR | CURL_CSELECT_IN : events);
}

/* ---- what comes in ---- */

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
	struct request *request = arg;

	/* What arrives here is decoded: a gzip bomb meets the same ceiling. */
	if (buf_append(&request->body, data, size * count) == 0)
		return size * count;
	request->is_too_large = true;
	return 0;
}

static size_t on_stream(char *data, size_t size, size_t count, void *arg)
{
	struct request *request = arg;
	size_t length = size * count, room = ERROR_BODY_MAX_BYTES - request->body.length;
	long status = 0;

	curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &status);
	if (status != 200) {
		buf_append(&request->body, data, length < room ? length : room);
		return length;
	}
	if (http_lines_add(&request->lines, data, length) == 0)
		return length;
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

/* ---- a request ---- */

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

static void set_transport(CURL *easy, struct http_lane *lane)
{
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(easy, CURLOPT_PROXY, ""); /* $http_proxy is not meant for the agent */
	curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L); /* the token goes nowhere else */
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "nomad-dns/" VERSION);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
	/* Without it the end of a request would wait for the resolver's thread. */
	curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
	curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, lane);
	curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, on_close_socket);
	curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, lane);
}

static void set_body(struct request *request, uint64_t timeout_ms)
{
	CURL *easy = request->easy;

	curl_easy_setopt(easy, CURLOPT_WRITEDATA, request);
	if (request->on_line) {
		curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_stream);
		return; /* no gzip: older agents buffer it */
	}
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "gzip");
	curl_easy_setopt(easy, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)HTTP_BODY_MAX_BYTES);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
}

/* Who we say we are. Userinfo of the address wins over nomad-http-auth-file, as in Nomad's client.
 */
static bool set_identity(struct request *request, const char *userinfo)
{
	const struct http_settings *settings = &request->lane->pool->settings;
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

static bool set_up(struct request *request, size_t at, const struct wanted *wanted)
{
	const struct http_settings *settings = &request->lane->pool->settings;
	const struct http_address *address = &settings->addresses[at];
	CURL *easy = request->easy = curl_easy_init();

	if (!easy)
		return false;
	set_transport(easy, request->lane);
	set_tls(easy, settings);
	set_body(request, wanted->timeout_ms);
	curl_easy_setopt(easy, CURLOPT_PRIVATE, request);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, request->error);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, request);
	return set_identity(request, address->userinfo) &&
	       set_target(request, address, wanted->path, settings->region) &&
	       curl_multi_add_handle(request->lane->multi, easy) == CURLM_OK;
}

static uint64_t start(struct http *http, enum http_lane_kind kind, size_t address,
		      const struct wanted *wanted)
{
	struct http_lane *lane = &http->pool->lanes[kind];
	uint64_t now_ms = clock_now_ms();
	struct request *request;

	if (http->is_closing || (kind == HTTP_LANE_HELD && lane->request_count >= HELD_MAX))
		return 0;
	if (now_ms - http->token_looked_ms >= TOKEN_LOOK_EVERY_MS) {
		http->token_looked_ms = now_ms;
		http->has_new_token |= http_settings_refresh(&http->pool->settings);
	}
	request = calloc(1, sizeof(*request));
	if (!request)
		return 0;
	request->lane = lane;
	request->done = wanted->done;
	request->on_line = wanted->on_line;
	request->arg = wanted->arg;
	http_head_init(&request->head);
	buf_init(&request->body, HTTP_BODY_MAX_BYTES);
	http_lines_init(&request->lines, HTTP_BODY_MAX_BYTES);
	list_append(&lane->requests, &request->link);
	lane->request_count++;
	/* A reload may have left fewer addresses than the caller remembers. */
	if (!set_up(request, address % http->pool->settings.address_count, wanted)) {
		free_request(request);
		return 0;
	}
	request->id = ++http->last_id;
	return request->id;
}

uint64_t http_get(struct http *http, size_t address, const char *path, uint64_t timeout_ms,
		  http_done *done, void *arg)
{
	struct wanted wanted = { .path = path, .timeout_ms = timeout_ms, .done = done, .arg = arg };

	return start(http, HTTP_LANE_ORDINARY, address, &wanted);
}

uint64_t http_get_held(struct http *http, size_t address, const char *path, uint64_t timeout_ms,
		       http_done *done, void *arg)
{
	struct wanted wanted = { .path = path, .timeout_ms = timeout_ms, .done = done, .arg = arg };

	return start(http, HTTP_LANE_HELD, address, &wanted);
}

uint64_t http_stream(struct http *http, size_t address, const char *path, http_line *on_line,
		     http_done *on_end, void *arg)
{
	struct wanted wanted = { .path = path, .on_line = on_line, .done = on_end, .arg = arg };

	return start(http, HTTP_LANE_HELD, address, &wanted);
}

bool http_lane_cancel(struct http_lane *lane, uint64_t id)
{
	list_for_each (link, &lane->requests) {
		struct request *request = list_entry(link, struct request, link);

		if (request->id != id)
			continue;
		request->id = 0;
		if (request->is_handing_out)
			request->is_cancelled = true; /* freed when its callback returns */
		else
			free_request(request);
		return true;
	}
	return false;
}

void http_lane_cancel_all(struct http_lane *lane)
{
	static const struct http_reply cancelled = {
		.failure = HTTP_CANCELLED, .error = "cancelled", .knows_leader = true, .body = ""
	};
	struct list *link;

	while ((link = list_pop(&lane->requests))) {
		struct request *request = list_entry(link, struct request, link);

		if (!request->is_cancelled) {
			request->id = 0;
			request->done(request->arg, &cancelled);
		}
		if (request->is_handing_out)
			request->is_cancelled = true;
		else
			free_request(request);
	}
}

/* ---- the life of a lane ---- */

static void on_handle_closed(void *arg)
{
	http_pool_on_closed(((struct http_lane *)arg)->pool);
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct http_lane *lane = handle->data;

	lane->timer_is_open = false;
	on_handle_closed(lane);
}

int http_lane_init(struct http_lane *lane)
{
	lane->multi = curl_multi_init();
	return lane->multi ? 0 : -ENOMEM;
}

void http_lane_deinit(struct http_lane *lane)
{
	if (lane->multi)
		curl_multi_cleanup(lane->multi);
}

void http_lane_open(struct http_lane *lane, struct http_pool *pool, enum http_lane_kind kind)
{
	long connections = kind == HTTP_LANE_HELD ? HELD_MAX : ORDINARY_MAX;

	lane->pool = pool;
	list_init(&lane->requests);
	http_sockets_init(&lane->sockets, pool->http->loop);
	lane->sockets.on_ready = on_socket_ready;
	lane->sockets.on_closed = on_handle_closed;
	lane->sockets.arg = lane;
	curl_multi_setopt(lane->multi, CURLMOPT_SOCKETFUNCTION, on_watch_socket);
	curl_multi_setopt(lane->multi, CURLMOPT_SOCKETDATA, lane);
	curl_multi_setopt(lane->multi, CURLMOPT_TIMERFUNCTION, on_set_timer);
	curl_multi_setopt(lane->multi, CURLMOPT_TIMERDATA, lane);
	curl_multi_setopt(lane->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, connections);
	curl_multi_setopt(lane->multi, CURLMOPT_MAXCONNECTS, connections);
	uv_timer_init(pool->http->loop, &lane->timer);
	lane->timer.data = lane;
	lane->timer_is_open = true;
}

void http_lane_close(struct http_lane *lane)
{
	curl_multi_cleanup(lane->multi); /* closes the idle connections through on_close_socket */
	lane->multi = NULL;
	http_sockets_sweep(&lane->sockets);
	uv_close((uv_handle_t *)&lane->timer, on_timer_closed);
}

/* ---- the library ---- */

bool http_library_open(void)
{
	return curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
}

void http_library_close(void)
{
	curl_global_cleanup();
}

const char *http_library_version(void)
{
	return curl_version();
}
