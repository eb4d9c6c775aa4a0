/*
 * The cJSON door: Nomad's bodies to plain structs. The array is handed to cJSON one element at a
 * time, so memory does not grow with the body. Whole body or nothing: one malformed byte anywhere
 * is an error, and nothing was delivered to keep. A NUL in a string ("\u0000") is handed out as the
 * byte 1, which no name has either, so that it never shortens one. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_instance {	/* GET /v1/service/:name, one ServiceRegistration; text borrowed for the
			   callback */
	const char *id; /* "" when absent: address and port identify it then */
	const char *service, *namespace, *node_id, *datacenter, *job_id, *alloc_id;
	const char *address;
	double port; /* as said: range is the catalogue's business; NaN when it is no number */
	const char *const *tags;
	size_t tag_count;
	uint64_t create_index, modify_index;
};

/* Called per element; a return ≠ 0 stops the walk and is returned. */
typedef int json_on_instance(void *arg, const struct json_instance *instance);

/*
 * Reads the body of GET /v1/service/:name. 0, -EINVAL (not what Nomad says; out_why tells where),
 * -ENOMEM, or the callback's value. An element that is no object, or lacks an Address string, goes
 * to `on_bad` and is passed over.
 */
int json_read_service(const char *body, size_t length, json_on_instance *on_instance,
		      void (*on_bad)(void *arg, const char *why), void *arg, char *why,
		      size_t why_capacity);

struct json_listed { /* GET /v1/services: one name of one namespace */
	const char *namespace, *service;
	const char *const *tags;
	size_t tag_count;
};

typedef int json_on_listed(void *arg, const struct json_listed *listed);

/* Reads the body of GET /v1/services, one service at a time. As json_read_service. */
int json_read_services(const char *body, size_t length, json_on_listed *on_listed,
		       void (*on_bad)(void *arg, const char *why), void *arg, char *why,
		       size_t why_capacity);

struct json_event { /* one event of GET /v1/event/stream; text borrowed for the callback */
	const char *topic, *type, *key, *namespace;
	uint64_t index; /* exact */
	bool has_service;
	struct json_instance service; /* Payload.Service, the object as it was stored last */
};

typedef int json_on_event(void *arg, const struct json_event *event);

/*
 * Reads one line of the event stream: `{}` (a heartbeat) has no events. *out_index is the frame's
 * index, 0 when it has none. All events are delivered, twice where they stand twice, and none of a
 * malformed line; one without an Index goes to `on_bad`. As json_read_service.
 */
int json_read_frame(const char *line, size_t length, json_on_event *on_event,
		    void (*on_bad)(void *arg, const char *why), void *arg, uint64_t *out_index,
		    char *why, size_t why_capacity);

/* Only the frame's index, found without building anything; 0: there is none. Whether the rest of
 * the line makes sense is not judged. */
uint64_t json_frame_index(const char *line, size_t length);

/* The version of the cJSON that is loaded. Static text. */
const char *json_library_version(void);
