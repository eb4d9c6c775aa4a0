/* Configuration files: every value is a string with a name and a line that exists, lists are marked
 * as lists, and an error says where it is and what it is. */
#include <string.h>

#include "config/config_file.h"
#include "fuzz/fuzz.h"

#define NAME_MAX_BYTES 63
#define VALUE_MAX_BYTES 4095

struct seen {
	unsigned line_count;
	unsigned last_line;
	size_t value_count;
	size_t stop_at; /* the callback ends the parse there; 0: never */
};

static int on_value(void *arg, const struct config_file_value *value)
{
	struct seen *seen = arg;

	PROMISE(value->name && *value->name);
	PROMISE(strlen(value->name) <= NAME_MAX_BYTES);
	PROMISE(value->line >= 1 && value->line <= seen->line_count);
	PROMISE(value->line >= seen->last_line);
	if (value->text)
		PROMISE(strlen(value->text) <= VALUE_MAX_BYTES);
	else
		PROMISE(value->is_in_list && value->is_first);
	PROMISE(value->is_in_list || value->is_first);
	seen->last_line = value->line;
	seen->value_count++;
	return seen->value_count == seen->stop_at ? 42 : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	struct seen seen = { .line_count = 1 }, again = { .line_count = 1 };
	struct config_file_error error = { 0 };

	for (size_t i = 0; i < size; i++)
		seen.line_count += data[i] == '\n';
	int status = config_file_parse(text, size, on_value, &seen, &error);
	PROMISE(status <= 0);
	if (status < 0) {
		PROMISE(error.line >= 1 && error.line <= seen.line_count);
		PROMISE(error.why[0] && memchr(error.why, '\0', sizeof(error.why)));
	}
	if (seen.value_count) {
		again.line_count = seen.line_count;
		again.stop_at = seen.value_count;
		PROMISE(config_file_parse(text, size, on_value, &again, &error) == 42);
	}
	return 0;
}
