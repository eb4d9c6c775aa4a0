#include "admin/admin_pages.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "admin/admin.h"
#include "base/buf.h"
#include "base/bytes.h"
#include "dns/name.h"

static const char plain_text[] = "text/plain; charset=utf-8";
static const char prometheus_text[] = "text/plain; version=0.0.4; charset=utf-8";

/* A route writes its body and says the status. */
struct route {
	const char *method;
	const char *path;
	const char *content_type;
	const char *help;
	unsigned (*write)(const struct admin_doors *doors, const struct admin_request *request,
			  struct buf *body);
};

static unsigned write_index(const struct admin_doors *doors, const struct admin_request *request,
			    struct buf *body);
static unsigned write_health(const struct admin_doors *doors, const struct admin_request *request,
			     struct buf *body);
static unsigned write_ready(const struct admin_doors *doors, const struct admin_request *request,
			    struct buf *body);
static unsigned write_metrics(const struct admin_doors *doors, const struct admin_request *request,
			      struct buf *body);
static unsigned write_flush(const struct admin_doors *doors, const struct admin_request *request,
			    struct buf *body);

/* A row here also needs its line in README and a test. */
static const struct route routes[] = {
	{ "GET", "/", plain_text, "this list", write_index },
	{ "GET", "/health", plain_text, "200 while the program runs", write_health },
	{ "GET", "/ready", plain_text,
	  "200 when it can answer, else 503 and why, one reason a line", write_ready },
	{ "GET", "/metrics", prometheus_text, "counters for Prometheus", write_metrics },
	{ "POST", "/v1/flush", plain_text,
	  "POST ?name=NAME: forget what upstreams said about it and all below", write_flush },
};

static unsigned refuse(unsigned status, const char *why, struct buf *body)
{
	buf_puts(body, why);
	return status;
}

static unsigned write_index(const struct admin_doors *doors, const struct admin_request *request,
			    struct buf *body)
{
	(void)doors, (void)request;
	buf_puts(body, "nomad-dns " VERSION "\n\n");
	for (size_t i = 0; i < COUNT_OF(routes); i++)
		buf_printf(body, "%-9s %s\n", routes[i].path, routes[i].help);
	return 200;
}

static unsigned write_health(const struct admin_doors *doors, const struct admin_request *request,
			     struct buf *body)
{
	(void)doors, (void)request;
	buf_puts(body, "OK\n");
	return 200;
}

static unsigned write_ready(const struct admin_doors *doors, const struct admin_request *request,
			    struct buf *body)
{
	struct buf lines;
	bool is_ready;

	(void)request;
	buf_init(&lines, ADMIN_REPLY_MAX_BYTES);
	is_ready = doors->is_ready(doors->arg, &lines);
	if (is_ready)
		buf_puts(body, "OK\n");
	if (lines.length)
		buf_append(body, lines.data, lines.length);
	else if (!is_ready)
		buf_puts(body, "not ready\n");
	body->failed |= lines.failed;
	buf_deinit(&lines);
	return is_ready ? 200 : 503;
}

static unsigned write_metrics(const struct admin_doors *doors, const struct admin_request *request,
			      struct buf *body)
{
	(void)request;
	doors->metrics(doors->arg, body);
	return 200;
}

static unsigned write_flush(const struct admin_doors *doors, const struct admin_request *request,
			    struct buf *body)
{
	uint8_t name[DNS_NAME_MAX];
	int length = admin_request_find_name(request->query, name);
	char text[NAME_TEXT_MAX];
	ssize_t count;

	if (length < 0)
		return refuse(400, "?name=NAME is missing, or is no domain name\n", body);
	count = doors->flush(doors->arg, name, (size_t)length);
	if (count < 0)
		return refuse(503, "the workers did not answer in time; try again\n", body);
	name_format(name, text);
	buf_printf(body, "%zd %s forgotten of %s and below\n", count,
		   count == 1 ? "entry" : "entries", text);
	return 200;
}

static const struct route *find_route(struct admin_text path)
{
	for (size_t i = 0; i < COUNT_OF(routes); i++)
		if (admin_text_is(path, routes[i].path))
			return &routes[i];
	return NULL;
}

static const char *status_reason(unsigned status)
{
	switch (status) {
	case 200:
		return "OK";
	case 400:
		return "Bad Request";
	case 403:
		return "Forbidden";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 431:
		return "Request Header Fields Too Large";
	case 503:
		return "Service Unavailable";
	}
	return "Internal Server Error";
}

/* The form RFC 9110 §5.6.7 asks for; English whatever the locale. */
static void format_date(uint64_t wall_s, char *out, size_t capacity)
{
	static const char days[][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
	static const char months[][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
					  "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	time_t seconds = (time_t)wall_s;
	struct tm tm;

	out[0] = '\0';
	if (gmtime_r(&seconds, &tm))
		snprintf(out, capacity, "%s, %02d %s %d %02d:%02d:%02d GMT", days[tm.tm_wday],
			 tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min,
			 tm.tm_sec);
}

/* A page in a browser may send a POST anywhere, loopback included, but not without naming its
 * origin. */
static bool may_change(const struct admin_request *request, bool is_local)
{
	return is_local && !request->has_origin;
}

/* Judges the request and writes the body. */
static unsigned write_body(const struct admin_doors *doors, enum admin_request_verdict verdict,
			   const struct admin_request *request, const char *configured,
			   bool is_local, const struct route **out_route, struct buf *body)
{
	const struct route *route;

	switch (verdict) {
	case ADMIN_REQUEST_OK:
		break;
	case ADMIN_REQUEST_TOO_LARGE:
		return refuse(431, "the request's head is over 8 KiB\n", body);
	case ADMIN_REQUEST_INCOMPLETE:
	case ADMIN_REQUEST_BAD:
		return refuse(400, "this is no HTTP/1.0 or HTTP/1.1 request\n", body);
	}
	if (configured && !admin_request_is_host_allowed(request->host, configured))
		return refuse(400,
			      "this host name is not accepted here (a web page could have sent "
			      "you): ask by IP address or as localhost\n",
			      body);
	route = find_route(request->path);
	if (!route)
		return refuse(404, "no such page; / lists those there are\n", body);
	*out_route = route;
	if (!admin_text_is(request->method, route->method)) {
		buf_printf(body, "%s only\n", route->method);
		return 405;
	}
	if (strcmp(route->method, "GET") != 0 && !may_change(request, is_local))
		return refuse(403,
			      "changes are for programs on this host: ask on loopback or a unix "
			      "socket, not from a web page\n",
			      body);
	return route->write(doors, request, body);
}

unsigned admin_pages_answer(const struct admin_doors *doors, enum admin_request_verdict verdict,
			    const struct admin_request *request, const char *configured,
			    bool is_local, uint64_t wall_s, struct buf *out)
{
	bool is_head = verdict == ADMIN_REQUEST_OK && admin_text_is(request->method, "HEAD");
	const struct route *route = NULL;
	char date[64];
	struct buf body;
	unsigned status;

	buf_init(&body, ADMIN_REPLY_MAX_BYTES);
	status = write_body(doors, verdict, request, configured, is_local, &route, &body);
	format_date(wall_s, date, sizeof(date));
	buf_printf(out, "HTTP/1.1 %u %s\r\n", status, status_reason(status));
	if (date[0])
		buf_printf(out, "Date: %s\r\n", date);
	buf_printf(out, "Content-Type: %s\r\nContent-Length: %zu\r\n",
		   status == 200 || status == 503 ? route->content_type : plain_text, body.length);
	if (status == 405)
		buf_printf(out, "Allow: %s\r\n", route->method);
	buf_puts(out, "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
		      "Connection: close\r\n\r\n");
	/* RFC 9110 §9.3.2: not even a refusal of HEAD has a body. */
	if (body.length && !is_head)
		buf_append(out, body.data, body.length);
	out->failed |= body.failed;
	buf_deinit(&body);
	return status;
}

const char admin_pages_no_memory[] = "HTTP/1.1 503 Service Unavailable\r\n"
				     "Content-Length: 0\r\n"
				     "Connection: close\r\n\r\n";
