/* Response headers, line by line: the ceiling holds, and a status line begins anew. */
#include <string.h>

#include "fuzz/fuzz.h"
#include "nomad/http_head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct http_head head, again;
	size_t given = 0;

	http_head_init(&head);
	for (size_t at = 0; at < size;) {
		const uint8_t *line_end = memchr(data + at, '\n', size - at);
		size_t length = line_end ? (size_t)(line_end - data) + 1 - at : size - at;

		/* A copy of its own, so that a byte read past the line is seen. */
		char *line = malloc(length);
		if (!line)
			return 0;
		memcpy(line, data + at, length);
		bool is_taken = http_head_take(&head, line, length);
		free(line);
		given += length;
		if (!is_taken) {
			PROMISE(given > HTTP_HEAD_MAX_BYTES);
			return 0;
		}
		PROMISE(head.byte_count == given && given <= HTTP_HEAD_MAX_BYTES);
		at += length;
	}
	static const char status[] = "HTTP/1.1 200 OK\r\n";
	http_head_init(&again);
	if (http_head_take(&head, status, sizeof(status) - 1))
		PROMISE(head.has_index == again.has_index && head.index == again.index &&
			head.knows_leader == again.knows_leader);
	return 0;
}
