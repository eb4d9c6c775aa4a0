/* The response headers we read, line by line as they come. Private to http. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_HEAD_MAX_BYTES (64u << 10)

struct http_head {
	size_t byte_count; /* of all lines so far, 1xx replies and trailers included */
	bool has_index;
	uint64_t index;
	bool knows_leader;
	uint64_t retry_after_s;
};

void http_head_init(struct http_head *head);

/* Takes one line as it came, line end included. A status line begins anew. false: too many bytes.
 */
bool http_head_take(struct http_head *head, const char *line, size_t length);
