/* Bodies of Nomad: whatever comes, what is handed out are strings and counts that can be read. */
#include <string.h>

#include "fuzz/fuzz.h"
#include "nomad/json.h"

struct seen {
	size_t count;
	size_t bytes;
};

static void read_text(struct seen *seen, const char *text)
{
	PROMISE(text);
	seen->bytes += strlen(text);
}

static int on_instance(void *arg, const struct json_instance *instance)
{
	struct seen *seen = arg;

	seen->count++;
	read_text(seen, instance->id);
	read_text(seen, instance->service);
	read_text(seen, instance->namespace);
	read_text(seen, instance->node_id);
	read_text(seen, instance->datacenter);
	read_text(seen, instance->job_id);
	read_text(seen, instance->alloc_id);
	read_text(seen, instance->address);
	for (size_t i = 0; i < instance->tag_count; i++)
		read_text(seen, instance->tags[i]);
	return 0;
}

static int on_listed(void *arg, const struct json_listed *listed)
{
	struct seen *seen = arg;

	seen->count++;
	read_text(seen, listed->namespace);
	read_text(seen, listed->service);
	for (size_t i = 0; i < listed->tag_count; i++)
		read_text(seen, listed->tags[i]);
	return 0;
}

static int on_event(void *arg, const struct json_event *event)
{
	read_text(arg, event->topic);
	read_text(arg, event->type);
	read_text(arg, event->key);
	read_text(arg, event->namespace);
	return event->has_service ? on_instance(arg, &event->service) : 0;
}

static void on_bad(void *arg, const char *why)
{
	(void)arg;
	PROMISE(why && *why);
}

static int read_body(const uint8_t *data, size_t size, struct seen *seen)
{
	char why[256] = "";
	const char *body = (const char *)data + 1;
	uint64_t index = 0;

	if (data[0] & 2)
		return json_read_frame(body, size - 1, on_event, on_bad, seen, &index, why,
				       sizeof(why));
	if (data[0] & 1)
		return json_read_services(body, size - 1, on_listed, on_bad, seen, why,
					  sizeof(why));
	return json_read_service(body, size - 1, on_instance, on_bad, seen, why, sizeof(why));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct seen once = { 0 }, twice = { 0 };

	if (size < 1)
		return 0;
	int status = read_body(data, size, &once);
	PROMISE(status <= 0);
	PROMISE(read_body(data, size, &twice) == status);
	PROMISE(once.count == twice.count && once.bytes == twice.bytes);
	PROMISE(once.count <= size);
	return 0;
}
