#include "nomad/http_head.h"

#include <string.h>
#include <strings.h>

#define RETRY_AFTER_MAX_S 3600

void http_head_init(struct http_head *head)
{
	*head = (struct http_head){ .knows_leader = true };
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The value of the header called `name` (with its colon), without blanks around it; NULL: this is
 * another one. */
static const char *value_of(const char *line, size_t length, const char *name, size_t *out_length)
{
	size_t name_length = strlen(name);

	if (length < name_length || strncasecmp(line, name, name_length) != 0)
		return NULL;
	line += name_length;
	length -= name_length;
	while (length > 0 && is_blank(line[length - 1]))
		length--;
	while (length > 0 && is_blank(*line)) {
		line++;
		length--;
	}
	*out_length = length;
	return line;
}

/* Digits and nothing else, below 2^64. */
static bool read_number(const char *text, size_t length, uint64_t *out)
{
	uint64_t value = 0;

	if (length == 0)
		return false;
	for (size_t i = 0; i < length; i++) {
		unsigned digit = (unsigned)text[i] - '0';

		if (digit > 9 || value > (UINT64_MAX - digit) / 10)
			return false;
		value = value * 10 + digit;
	}
	*out = value;
	return true;
}

bool http_head_take(struct http_head *head, const char *line, size_t length)
{
	size_t byte_count = head->byte_count + length, value_length;
	const char *value;

	if (byte_count > HTTP_HEAD_MAX_BYTES)
		return false;
	if (length >= 5 && strncasecmp(line, "HTTP/", 5) == 0)
		http_head_init(head);
	head->byte_count = byte_count;
	if ((value = value_of(line, length, "X-Nomad-Index:", &value_length)))
		head->has_index = read_number(value, value_length, &head->index);
	else if ((value = value_of(line, length, "X-Nomad-KnownLeader:", &value_length)))
		head->knows_leader = !(value_length == 5 && strncasecmp(value, "false", 5) == 0);
	else if ((value = value_of(line, length, "Retry-After:", &value_length)) &&
		 read_number(value, value_length, &head->retry_after_s) &&
		 head->retry_after_s > RETRY_AFTER_MAX_S)
		head->retry_after_s = RETRY_AFTER_MAX_S;
	return true;
}
