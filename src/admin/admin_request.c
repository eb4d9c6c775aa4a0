#include "admin/admin_request.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "base/addr.h"
#include "dns/name.h"

/* RFC 9110 §5.6.2: what a method or a header's name is made of. */
static bool is_token_byte(char byte)
{
	static const char others[] = "!#$%&'*+-.^_`|~";

	if ((byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
	    (byte >= 'a' && byte <= 'z'))
		return true;
	return byte != '\0' && strchr(others, byte) != NULL;
}

/* Visible ASCII: what a target is made of. */
static bool is_visible(char byte)
{
	return byte > ' ' && byte < 0x7f;
}

/* RFC 9110 §5.5: a value has no control characters but the tab. */
static bool is_value_byte(char byte)
{
	unsigned char value = (unsigned char)byte;

	return value == '\t' || (value >= ' ' && value != 0x7f);
}

/* The first blank line's end: the length of the head, or 0. */
static size_t find_head_end(const char *data, size_t length)
{
	const char *end = data + length, *at = data;

	while (at < end && (at = memchr(at, '\n', (size_t)(end - at)))) {
		at++;
		if (at < end && *at == '\n')
			return (size_t)(at + 1 - data);
		if (end - at >= 2 && at[0] == '\r' && at[1] == '\n')
			return (size_t)(at + 2 - data);
	}
	return 0;
}

/* Takes the next line off `rest`, without its end. The caller knows that there is one. */
static struct admin_text take_line(struct admin_text *rest)
{
	const char *newline = memchr(rest->data, '\n', rest->length);
	struct admin_text line = { rest->data, (size_t)(newline - rest->data) };

	rest->length -= line.length + 1;
	rest->data = newline + 1;
	if (line.length && line.data[line.length - 1] == '\r')
		line.length--;
	return line;
}

static size_t count_while(struct admin_text text, bool (*belongs)(char))
{
	size_t count = 0;

	while (count < text.length && belongs(text.data[count]))
		count++;
	return count;
}

static struct admin_text cut_front(struct admin_text text, size_t count)
{
	return (struct admin_text){ text.data + count, text.length - count };
}

static bool starts_with(struct admin_text text, const char *prefix)
{
	size_t length = strlen(prefix);

	return text.length >= length && strncasecmp(text.data, prefix, length) == 0;
}

bool admin_text_is(struct admin_text text, const char *other)
{
	return text.length == strlen(other) && memcmp(text.data, other, text.length) == 0;
}

/* RFC 9112 §3.2: "/path?query", "http://authority/path?query" or "*". */
static bool parse_target(struct admin_text target, struct admin_request *out)
{
	static const char scheme[] = "http://";
	const char *mark;

	if (memchr(target.data, '#', target.length))
		return false;
	if (starts_with(target, scheme)) {
		target = cut_front(target, sizeof(scheme) - 1);
		mark = memchr(target.data, '/', target.length);
		out->host = target;
		out->host.length = mark ? (size_t)(mark - target.data) : target.length;
		if (out->host.length == 0 || memchr(out->host.data, '?', out->host.length))
			return false;
		target = cut_front(target, out->host.length);
		if (target.length == 0)
			target = (struct admin_text){ "/", 1 };
	}
	if (target.data[0] != '/' && !admin_text_is(target, "*"))
		return false;
	mark = memchr(target.data, '?', target.length);
	out->path = target;
	out->query = cut_front(target, target.length);
	if (mark) {
		out->path.length = (size_t)(mark - target.data);
		out->query = cut_front(target, out->path.length + 1);
	}
	return true;
}

/* "GET /metrics HTTP/1.1", with single spaces. */
static bool parse_request_line(struct admin_text line, struct admin_request *out)
{
	struct admin_text target;

	out->method = line;
	out->method.length = count_while(line, is_token_byte);
	line = cut_front(line, out->method.length);
	if (out->method.length == 0 || line.length == 0 || line.data[0] != ' ')
		return false;
	line = cut_front(line, 1);
	target = line;
	target.length = count_while(line, is_visible);
	line = cut_front(line, target.length);
	if (admin_text_is(line, " HTTP/1.1"))
		out->minor_version = 1;
	else if (admin_text_is(line, " HTTP/1.0"))
		out->minor_version = 0;
	else
		return false;
	return target.length > 0 && parse_target(target, out);
}

/* "Name: value". A folded line begins with a space and so has no name: BAD (RFC 9112 §5.2). */
static bool parse_header(struct admin_text line, struct admin_text *out_name,
			 struct admin_text *out_value)
{
	struct admin_text name = line, value;

	name.length = count_while(line, is_token_byte);
	if (name.length == 0 || name.length == line.length || line.data[name.length] != ':')
		return false;
	value = cut_front(line, name.length + 1);
	if (count_while(value, is_value_byte) != value.length)
		return false;
	while (value.length && (value.data[0] == ' ' || value.data[0] == '\t'))
		value = cut_front(value, 1);
	while (value.length &&
	       (value.data[value.length - 1] == ' ' || value.data[value.length - 1] == '\t'))
		value.length--;
	*out_name = name;
	*out_value = value;
	return true;
}

static enum admin_request_verdict parse_head(struct admin_text head, struct admin_request *out)
{
	struct admin_request request = { .host = { head.data, 0 } };
	struct admin_text line = take_line(&head), name, value, host = { 0 };
	unsigned host_count = 0;

	if (!parse_request_line(line, &request))
		return ADMIN_REQUEST_BAD;
	for (line = take_line(&head); line.length > 0; line = take_line(&head)) {
		if (!parse_header(line, &name, &value))
			return ADMIN_REQUEST_BAD;
		if (name.length == 4 && starts_with(name, "host")) {
			host = value;
			host_count++;
		}
		request.has_origin |= name.length == 6 && starts_with(name, "origin");
	}
	if (host_count > 1 || (host_count == 0 && request.minor_version == 1))
		return ADMIN_REQUEST_BAD;
	if (host_count == 1 && request.host.length == 0)
		request.host = host;
	*out = request;
	return ADMIN_REQUEST_OK;
}

enum admin_request_verdict admin_request_parse(const char *data, size_t length,
					       struct admin_request *out)
{
	size_t head_length;

	if (length == 0)
		return ADMIN_REQUEST_INCOMPLETE;
	/* Whoever speaks TLS, or sends blank lines, learns it now and not at the deadline. */
	if (!is_token_byte(data[0]))
		return ADMIN_REQUEST_BAD;
	head_length = find_head_end(data, length < ADMIN_REQUEST_HEAD_MAX ? length
									  : ADMIN_REQUEST_HEAD_MAX);
	if (head_length == 0)
		return length < ADMIN_REQUEST_HEAD_MAX ? ADMIN_REQUEST_INCOMPLETE
						       : ADMIN_REQUEST_TOO_LARGE;
	return parse_head((struct admin_text){ data, head_length }, out);
}

static int hex_value(char digit)
{
	if (digit >= '0' && digit <= '9')
		return digit - '0';
	digit = (char)(digit | 0x20);
	return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

/* Undoes percent-encoding (RFC 3986 §2.1). False: not well-formed, a NUL, or too long. */
static bool decode(struct admin_text text, char *out, size_t capacity)
{
	size_t length = 0;

	for (size_t i = 0; i < text.length; i++) {
		int byte = (unsigned char)text.data[i];

		if (byte == '%') {
			int high = i + 2 < text.length ? hex_value(text.data[i + 1]) : -1;
			int low = i + 2 < text.length ? hex_value(text.data[i + 2]) : -1;

			if (high < 0 || low < 0)
				return false;
			byte = high << 4 | low;
			i += 2;
		}
		if (byte == 0 || length + 1 >= capacity)
			return false;
		out[length++] = (char)byte;
	}
	out[length] = '\0';
	return true;
}

int admin_request_find_name(struct admin_text query, uint8_t out[DNS_NAME_MAX])
{
	static const char key[] = "name=";
	uint8_t wire[DNS_NAME_MAX];
	char text[NAME_TEXT_MAX];
	int length = -EINVAL;

	while (query.length) {
		const char *mark = memchr(query.data, '&', query.length);
		struct admin_text pair = query;

		pair.length = mark ? (size_t)(mark - query.data) : query.length;
		query = cut_front(query, pair.length + (mark ? 1 : 0));
		if (pair.length < strlen(key) || memcmp(pair.data, key, strlen(key)) != 0)
			continue;
		if (!decode(cut_front(pair, strlen(key)), text, sizeof(text)))
			return -EINVAL;
		length = name_parse(text, wire);
		break;
	}
	if (length > 0)
		name_fold(wire, (size_t)length, out);
	return length;
}

/* Cuts ":port" off "host:port" and "[address]:port"; false if what follows the colon is no port. */
static bool cut_port(struct admin_text *host)
{
	const char *colon = host->length ? memrchr(host->data, ':', host->length) : NULL;
	size_t at;

	if (!colon || host->data[host->length - 1] == ']')
		return true;
	at = (size_t)(colon - host->data);
	for (size_t i = at + 1; i < host->length; i++)
		if (host->data[i] < '0' || host->data[i] > '9')
			return false;
	host->length = at;
	return true;
}

static bool is_ip_address(struct admin_text host)
{
	bool has_brackets = host.length > 2 && host.data[0] == '[';
	char text[ADDR_TEXT_MAX];
	struct addr addr;

	if (has_brackets) {
		if (host.data[host.length - 1] != ']')
			return false;
		host = cut_front(host, 1);
		host.length--;
	}
	/* No scope: it is no part of a Host, and its name would be looked up among interfaces. */
	if (host.length == 0 || host.length >= sizeof(text) ||
	    memchr(host.data, '%', host.length) || memchr(host.data, '\0', host.length))
		return false;
	memcpy(text, host.data, host.length);
	text[host.length] = '\0';
	return addr_parse_ip(text, &addr) == 0;
}

bool admin_request_is_host_allowed(struct admin_text host, const char *configured)
{
	struct admin_text name = host, own;

	if (host.length == 0)
		return true;
	if (!cut_port(&name))
		return false;
	if (name.length == strlen("localhost") && starts_with(name, "localhost"))
		return true;
	if (is_ip_address(name))
		return true;
	if (!configured)
		return false;
	own = (struct admin_text){ configured, strlen(configured) };
	if (host.length == own.length && starts_with(host, configured))
		return true;
	return cut_port(&own) && own.length > 0 && name.length == own.length &&
	       strncasecmp(name.data, own.data, own.length) == 0;
}
