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
#include "nomad/http_head.h"
#include "nomad/http_lines.h"
#include "nomad/http_parts.h"

#define CONNECT_TIMEOUT_MS 2000L
#define ERROR_BODY_MAX_BYTES 4096 /* kept of a stream's reply that is none */

_Static_assert(HTTP_ERROR_CAPACITY >= CURL_ERROR_SIZE, "libcurl writes that much");

/* ---- the end of a request ---- */

void http_easy_close(struct http_request *request)
{
	struct http_lane *lane = request->lane;

	if (request->easy) {
		curl_multi_remove_handle(lane->multi, request->easy);
		curl_easy_cleanup(request->easy);
		http_sockets_sweep(&lane->sockets);
	}
	for (struct curl_slist *line = request->headers; line; line = line->next)
		explicit_bzero(line->data, strlen(line->data));
	curl_slist_free_all(request->headers);
	curl_slist_free_all(request->connect_to);
}

static enum http_failure judge(const struct http_request *request, CURLcode code)
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

/* Of a unix socket curl says that it could not connect to 127.0.0.1, which nobody asked it to. */
static void say_error(const struct http_request *request, CURLcode code, char *out, size_t capacity)
{
	long error = 0;

	if (code == CURLE_COULDNT_CONNECT && request->is_unix)
		curl_easy_getinfo(request->easy, CURLINFO_OS_ERRNO, &error);
	if (error)
		snprintf(out, capacity, "cannot connect to the socket: %s", strerror((int)error));
	else
		snprintf(out, capacity, "%s",
			 request->error[0] ? request->error : curl_easy_strerror(code));
}

static void finish(struct http_request *request, CURLcode code)
{
	struct http_reply reply = { .failure = judge(request, code) };
	curl_off_t took_us = 0;

	if (reply.failure == HTTP_TOO_LARGE)
		snprintf(reply.error, sizeof(reply.error),
			 "the reply is over the ceiling of %u MiB", HTTP_BODY_MAX_BYTES >> 20);
	else if (reply.failure != HTTP_OK)
		say_error(request, code, reply.error, sizeof(reply.error));
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
	http_request_free(request);
}

static void drain(struct http_lane *lane)
{
	struct http_request *request;
	CURLMsg *message;
	int left;

	lane->busy++;
	http_lane_hand_out(lane);
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
	if (!lane->is_ending || what == CURL_POLL_REMOVE)
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
	if (timeout_ms < 0 || lane->is_ending)
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
	struct http_request *request = arg;

	/* What arrives here is decoded: a gzip bomb meets the same ceiling. */
	if (buf_append(&request->body, data, size * count) == 0)
		return size * count;
	request->is_too_large = true;
	return 0;
}

static size_t on_stream(char *data, size_t size, size_t count, void *arg)
{
	struct http_request *request = arg;
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
	struct http_request *request = arg;

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
	if (tls->ca_cert.path || tls->ca_path.path) {
		/* Both are set, or the system's directory would be trusted beside the file. */
		curl_easy_setopt(easy, CURLOPT_CAINFO, tls->ca_cert.path);
		curl_easy_setopt(easy, CURLOPT_CAPATH,
				 tls->ca_cert.path ? NULL : tls->ca_path.path);
	}
	if (tls->client_cert.path) {
		curl_easy_setopt(easy, CURLOPT_SSLCERT, tls->client_cert.path);
		curl_easy_setopt(easy, CURLOPT_SSLKEY, tls->client_key.path);
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

static void set_body(struct http_request *request, uint64_t timeout_ms)
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
static bool set_identity(struct http_request *request, const char *userinfo)
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

static bool set_target(struct http_request *request, const struct http_address *address,
		       const char *path, const char *region)
{
	const char *joint = !region ? "" : strchr(path, '?') ? "&region=" : "?region=";
	CURLcode code;
	char *url;

	if (asprintf(&url, "%s%s%s%s", address->base, path, joint, region ? region : "") < 0)
		return false;
	code = curl_easy_setopt(request->easy, CURLOPT_URL, url);
	free(url);
	request->is_unix = address->unix_path != NULL;
	if (address->unix_path)
		curl_easy_setopt(request->easy, CURLOPT_UNIX_SOCKET_PATH, address->unix_path);
	if (!address->connect_to)
		return code == CURLE_OK;
	request->connect_to = curl_slist_append(NULL, address->connect_to);
	curl_easy_setopt(request->easy, CURLOPT_CONNECT_TO, request->connect_to);
	return code == CURLE_OK && request->connect_to;
}

bool http_easy_open(struct http_request *request, size_t at, const struct http_wanted *wanted)
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
	long connections = kind == HTTP_LANE_HELD ? HTTP_HELD_MAX : HTTP_ORDINARY_MAX;

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
	lane->is_ending = true;
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
