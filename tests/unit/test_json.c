#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nomad/json.h"

#define SEEN_MAX 8

struct seen { /* what the callbacks were given, as text */
	char lines[SEEN_MAX][256];
	size_t count, bad_count;
	double port;
	uint64_t modify_index;
	int answer; /* what the callback returns */
};

static void note(struct seen *seen, const char *text, const char *const *tags, size_t tag_count)
{
	char *line = seen->lines[seen->count < SEEN_MAX ? seen->count : SEEN_MAX - 1];
	size_t length = (size_t)snprintf(line, sizeof(seen->lines[0]), "%s", text);

	for (size_t i = 0; i < tag_count; i++)
		length += (size_t)snprintf(line + length, sizeof(seen->lines[0]) - length, " %s",
					   tags[i]);
	seen->count++;
}

static int on_instance(void *arg, const struct json_instance *instance)
{
	struct seen *seen = arg;
	char text[200];

	snprintf(text, sizeof(text), "%s/%s/%s@%s", instance->namespace, instance->service,
		 instance->id, instance->address);
	seen->port = instance->port;
	seen->modify_index = instance->modify_index;
	note(seen, text, instance->tags, instance->tag_count);
	return seen->answer;
}

static int on_listed(void *arg, const struct json_listed *listed)
{
	struct seen *seen = arg;
	char text[200];

	snprintf(text, sizeof(text), "%s/%s", listed->namespace, listed->service);
	note(seen, text, listed->tags, listed->tag_count);
	return seen->answer;
}

static void on_bad(void *arg, const char *why)
{
	struct seen *seen = arg;

	assert_non_null(why);
	seen->bad_count++;
}

/* The body goes in without a NUL behind it, so that a sanitizer sees an overread. */
static int read_instances(const char *body, size_t length, struct seen *seen)
{
	char *copy = malloc(length ? length : 1), why[128] = "";
	int rc;

	memcpy(copy, body, length);
	rc = json_read_service(copy, length, on_instance, on_bad, seen, why, sizeof(why));
	free(copy);
	assert_int_equal(rc == -EINVAL, why[0] != '\0');
	return rc;
}

static int read_list(const char *body, struct seen *seen)
{
	char why[128] = "";

	return json_read_services(body, strlen(body), on_listed, on_bad, seen, why, sizeof(why));
}

#define INSTANCE(address, port)                                                                    \
	"{\"Address\":\"" address                                                                  \
	"\",\"AllocID\":\"a\",\"CreateIndex\":10,\"Datacenter\":\"dc1\","                          \
	"\"ID\":\"id1\",\"JobID\":\"j\",\"ModifyIndex\":12,\"Namespace\":\"default\","             \
	"\"NodeID\":\"n\",\"Port\":" port ",\"ServiceName\":\"web\",\"Tags\":[\"v1\",\"http\"]}"

static void registration_becomes_a_struct(void **state)
{
	struct seen seen = { 0 };
	const char *body = "[" INSTANCE("192.0.2.1", "8080") "]";

	(void)state;
	assert_int_equal(read_instances(body, strlen(body), &seen), 0);
	assert_int_equal(seen.count, 1);
	assert_string_equal(seen.lines[0], "default/web/id1@192.0.2.1 v1 http");
	assert_true(seen.port == 8080);
	assert_int_equal(seen.modify_index, 12);
}

static void empty_array_has_no_elements(void **state)
{
	struct seen seen = { 0 };

	(void)state;
	assert_int_equal(read_instances("[]", 2, &seen), 0);
	assert_int_equal(read_instances(" [ ] \n", 6, &seen), 0);
	assert_int_equal(seen.count + seen.bad_count, 0);
}

static void null_tags_are_none(void **state)
{
	struct seen seen = { 0 };
	const char *body = "[{\"Address\":\"\",\"ID\":\"x\",\"Tags\":null}]";

	(void)state;
	assert_int_equal(read_instances(body, strlen(body), &seen), 0);
	assert_string_equal(seen.lines[0], "//x@");
}

static void port_that_is_no_number_is_nan(void **state)
{
	struct seen seen = { 0 };
	const char *body = "[" INSTANCE("192.0.2.1", "\"80\"") "]";

	(void)state;
	assert_int_equal(read_instances(body, strlen(body), &seen), 0);
	assert_true(isnan(seen.port));
}

static void huge_port_is_delivered_as_said(void **state)
{
	struct seen seen = { 0 };
	const char *body = "[" INSTANCE("192.0.2.1", "1e300") "]";

	(void)state;
	assert_int_equal(read_instances(body, strlen(body), &seen), 0);
	assert_true(seen.port > 1e299);
}

static void escaped_nul_never_shortens_a_string(void **state)
{
	struct seen seen = { 0 };
	const char *body = "[" INSTANCE("192.0.2.1\\u0000x",
					"1") "," INSTANCE("\\\\u0000\\\\\\u0000", "1") "]";

	(void)state;
	assert_int_equal(read_instances(body, strlen(body), &seen), 0);
	assert_int_equal(seen.count, 2);
	assert_string_equal(seen.lines[0], "default/web/id1@192.0.2.1\001x v1 http");
	assert_string_equal(seen.lines[1], "default/web/id1@\\u0000\\\001 v1 http");
}

static void key_with_an_escaped_nul_is_another_key(void **state)
{
	struct seen seen = { 0 };
	const char *body = "[{\"Address\\u0000\":\"192.0.2.1\",\"Address\":\"192.0.2.2\"}]";

	(void)state;
	assert_int_equal(read_instances(body, strlen(body), &seen), 0);
	assert_string_equal(seen.lines[0], "//@192.0.2.2");
}

static void element_that_is_no_object_is_passed_over(void **state)
{
	struct seen seen = { 0 };
	const char *body = "[7, null, [], \"x\", {}, {\"address\":\"192.0.2.1\"}, " INSTANCE(
		"192.0.2.2", "1") "]";

	(void)state;
	assert_int_equal(read_instances(body, strlen(body), &seen), 0);
	assert_int_equal(seen.bad_count, 6);
	assert_int_equal(seen.count, 1);
}

static void first_of_two_equal_keys_wins(void **state)
{
	struct seen seen = { 0 };
	const char *body = "[{\"Address\":\"192.0.2.1\",\"Address\":\"192.0.2.2\",\"ID\":\"x\"}]";

	(void)state;
	assert_int_equal(read_instances(body, strlen(body), &seen), 0);
	assert_string_equal(seen.lines[0], "//x@192.0.2.1");
}

static void malformed_bodies_are_refused(void **state)
{
	static const char *const bodies[] = {
		"",
		"null",
		"{}",
		"[",
		"[}",
		"[,]",
		"[{}",
		"[{},]",
		"[{}]x",
		"[{}] []",
		"[{\"a\":01}]",
		"[{\"a\":1.}]",
		"[{\"a\":-}]",
		"[{\"a\":+1}]",
		"[{\"a\":1e}]",
		"[{\"a\":nul}]",
		"[{\"a\" 1}]",
		"[{\"a\":1,}]",
		"[{a:1}]",
		"[\"abc]",
		"[\"\\x\"]",
		"[\"\\u12\"]",
		"[\"\\u12g4\"]",
		"[\"\\ud800\"]",
		"[\"\\ud800\\u0041\"]",
		"[\"\\udc00\"]",
		"[\"tab\tinside\"]",
		"<html>no</html>",
		"Permission denied",
		"[1234567890123456789012345678901234567890123456789012345678901]",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		struct seen seen = { 0 };

		if (read_instances(bodies[i], strlen(bodies[i]), &seen) != -EINVAL)
			fail_msg("accepted: %s", bodies[i]);
	}
}

static void every_cut_body_is_refused(void **state)
{
	const char *body = "[" INSTANCE("192.0.2.1", "8080") "," INSTANCE("\\u00e9\\n", "1") "]";

	(void)state;
	for (size_t length = 0; length < strlen(body); length++) {
		struct seen seen = { 0 };

		assert_int_equal(read_instances(body, length, &seen), -EINVAL);
	}
}

static void raw_nul_is_refused(void **state)
{
	struct seen seen = { 0 };

	(void)state;
	assert_int_equal(read_instances("[\"a\0b\"]", 7, &seen), -EINVAL);
	assert_int_equal(read_instances("[]\0", 3, &seen), -EINVAL);
}

static void deep_nesting_is_refused(void **state)
{
	enum { DEPTH = 100000 };
	char *body = malloc(DEPTH);
	struct seen seen = { 0 };

	(void)state;
	memset(body, '[', DEPTH);
	assert_int_equal(read_instances(body, DEPTH, &seen), -EINVAL);
	free(body);
}

static void value_of_the_callback_ends_the_walk(void **state)
{
	struct seen seen = { .answer = -ENOMEM };
	const char *body = "[" INSTANCE("192.0.2.1", "1") "," INSTANCE("192.0.2.2", "1") "]";

	(void)state;
	assert_int_equal(read_instances(body, strlen(body), &seen), -ENOMEM);
	assert_int_equal(seen.count, 1);
}

static void list_gives_each_name_with_its_namespace(void **state)
{
	struct seen seen = { 0 };

	(void)state;
	assert_int_equal(
		read_list("[{\"Namespace\":\"prod\",\"Services\":[{\"ServiceName\":\"web\","
			  "\"Tags\":[\"a\",\"b\"]},{\"ServiceName\":\"Redis\",\"Tags\":[]}]},"
			  "{\"Services\":[{\"Tags\":null,\"ServiceName\":\"db\"}],"
			  "\"Namespace\":\"default\"}]",
			  &seen),
		0);
	assert_int_equal(seen.count, 3);
	assert_string_equal(seen.lines[0], "prod/web a b");
	assert_string_equal(seen.lines[1], "prod/Redis");
	assert_string_equal(seen.lines[2], "default/db");
}

static void listed_element_without_a_name_is_passed_over(void **state)
{
	struct seen seen = { 0 };

	(void)state;
	assert_int_equal(read_list("[7,{},{\"Namespace\":\"x\"},{\"Namespace\":7,\"Services\":[]},"
				   "{\"Namespace\":\"x\",\"Services\":[7,{},{\"ServiceName\":7},"
				   "{\"ServiceName\":\"ok\"}]}]",
				   &seen),
			 0);
	assert_int_equal(seen.bad_count, 7);
	assert_int_equal(seen.count, 1);
	assert_string_equal(seen.lines[0], "x/ok");
}

static void escaped_nul_shortens_no_listed_name(void **state)
{
	struct seen seen = { 0 };

	(void)state;
	assert_int_equal(read_list("[{\"Namespace\":\"a\\u0000b\",\"Services\":[{\"ServiceName\":"
				   "\"re\\u0000dis\",\"Tags\":[\"\\u0000\"]}]}]",
				   &seen),
			 0);
	assert_string_equal(seen.lines[0], "a\001b/re\001dis \001");
}

static void malformed_list_is_refused(void **state)
{
	struct seen seen = { 0 };

	(void)state;
	assert_int_equal(
		read_list("[{\"Namespace\":\"x\",\"Services\":[{\"ServiceName\":\"a\"}]", &seen),
		-EINVAL);
	assert_int_equal(read_list("[{\"Namespace\":\"x\",\"Services\":[{]}]", &seen), -EINVAL);
}

/* ---- frames ---- */

static int on_event(void *arg, const struct json_event *event)
{
	struct seen *seen = arg;
	char text[240];

	snprintf(text, sizeof(text), "%s %s %s %llu %s@%s:%g", event->topic, event->type,
		 event->namespace, (unsigned long long)event->index,
		 event->has_service ? event->service.service : "-",
		 event->has_service ? event->service.address : "",
		 event->has_service ? event->service.port : 0);
	note(seen, text, event->service.tags, event->service.tag_count);
	return seen->answer;
}

static int read_frame(const char *line, size_t length, struct seen *seen, uint64_t *out_index)
{
	char *copy = malloc(length ? length : 1), why[128] = "";
	int rc;

	memcpy(copy, line, length);
	rc = json_read_frame(copy, length, on_event, on_bad, seen, out_index, why, sizeof(why));
	free(copy);
	assert_int_equal(rc == -EINVAL, why[0] != '\0');
	return rc;
}

#define EVENT(index)                                                                               \
	"{\"Topic\":\"Service\",\"Type\":\"ServiceRegistration\",\"Key\":\"k\",\"Namespace\":"     \
	"\"n\","                                                                                   \
	"\"Index\":" index                                                                         \
	",\"FilterKeys\":[\"j\",\"web\"],\"Payload\":{\"Service\":{\"ID\":\"i\","                  \
	"\"ServiceName\":\"web\",\"Namespace\":\"n\",\"Address\":\"192.0.2.1\",\"Port\":80,"       \
	"\"Tags\":[\"v1\"]}}}"
#define FRAME(index, events) "{\"Index\":" index ",\"Events\":[" events "]}"

static void heartbeat_has_no_events(void **state)
{
	static const char *const beats[] = { "{}", " {} ", "{\"Events\":null,\"Index\":0}",
					     "{\"Events\":[]}" };

	(void)state;
	for (size_t i = 0; i < sizeof(beats) / sizeof(beats[0]); i++) {
		struct seen seen = { 0 };
		uint64_t index = 99;

		assert_int_equal(read_frame(beats[i], strlen(beats[i]), &seen, &index), 0);
		assert_int_equal(index, 0);
		assert_int_equal(seen.count, 0);
	}
}

static void event_comes_with_its_registration(void **state)
{
	static const char line[] = FRAME("43", EVENT("43"));
	struct seen seen = { 0 };
	uint64_t index = 0;

	(void)state;
	assert_int_equal(read_frame(line, sizeof(line) - 1, &seen, &index), 0);
	assert_int_equal(index, 43);
	assert_int_equal(seen.count, 1);
	assert_string_equal(seen.lines[0], "Service ServiceRegistration n 43 web@192.0.2.1:80 v1");
}

static void index_of_a_frame_is_exact(void **state)
{
	static const char line[] = FRAME("9007199254740993", EVENT("18446744073709551615"));
	struct seen seen = { 0 };
	uint64_t index = 0;

	(void)state;
	assert_int_equal(read_frame(line, sizeof(line) - 1, &seen, &index), 0);
	assert_true(index == 9007199254740993u);
	assert_non_null(strstr(seen.lines[0], " 18446744073709551615 "));
}

static void event_that_stands_twice_is_delivered_twice(void **state)
{
	static const char line[] = FRAME("5", EVENT("5") "," EVENT("5"));
	struct seen seen = { 0 };
	uint64_t index = 0;

	(void)state;
	assert_int_equal(read_frame(line, sizeof(line) - 1, &seen, &index), 0);
	assert_int_equal(seen.count, 2);
}

static void event_without_a_usable_index_is_passed_over(void **state)
{
	static const char *const lines[] = {
		FRAME("5", "7"),
		FRAME("5", "{}"),
		FRAME("5", "[]"),
		FRAME("5", EVENT("-1")),
		FRAME("5", EVENT("1.5")),
		FRAME("5", EVENT("1e3")),
		FRAME("5", EVENT("18446744073709551616")),
		FRAME("5", EVENT("\"5\"")),
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct seen seen = { 0 };
		uint64_t index = 0;

		assert_int_equal(read_frame(lines[i], strlen(lines[i]), &seen, &index), 0);
		assert_int_equal(seen.count, 0);
		assert_int_equal(seen.bad_count, 1);
	}
}

static void event_without_a_registration_is_delivered_without(void **state)
{
	static const char *const lines[] = {
		FRAME("5", "{\"Index\":5}"),
		FRAME("5", "{\"Index\":5,\"Payload\":7}"),
		FRAME("5", "{\"Index\":5,\"Payload\":{}}"),
		FRAME("5", "{\"Index\":5,\"Payload\":{\"Service\":null}}"),
		FRAME("5", "{\"Index\":5,\"Payload\":{\"Service\":{}}}"),
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct seen seen = { 0 };
		uint64_t index = 0;

		assert_int_equal(read_frame(lines[i], strlen(lines[i]), &seen, &index), 0);
		assert_int_equal(seen.count, 1);
		assert_non_null(strstr(seen.lines[0], " 5 -@"));
	}
}

static void lines_that_are_no_frame_are_refused(void **state)
{
	static const char *const lines[] = { "",
					     "[]",
					     "7",
					     "Permission denied",
					     "{}{}",
					     "{\"Index\":-1}",
					     "{} x",
					     "{\"Index\":\"5\",\"Events\":[]}",
					     "{\"Events\":{}}" };

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct seen seen = { 0 };
		uint64_t index = 77;

		assert_int_equal(read_frame(lines[i], strlen(lines[i]), &seen, &index), -EINVAL);
		assert_int_equal(index, 77);
		assert_int_equal(seen.count + seen.bad_count, 0);
	}
}

static void every_cut_frame_delivers_nothing(void **state)
{
	static const char line[] = FRAME("5", EVENT("5") "," EVENT("5"));

	(void)state;
	for (size_t length = 0; length < sizeof(line) - 1; length++) {
		struct seen seen = { 0 };
		uint64_t index = 0;

		assert_int_equal(read_frame(line, length, &seen, &index), -EINVAL);
		assert_int_equal(seen.count, 0);
	}
}

static void value_of_the_callback_ends_a_frame(void **state)
{
	static const char line[] = FRAME("5", EVENT("5") "," EVENT("5"));
	struct seen seen = { .answer = -ENOMEM };
	uint64_t index = 0;

	(void)state;
	assert_int_equal(read_frame(line, sizeof(line) - 1, &seen, &index), -ENOMEM);
	assert_int_equal(seen.count, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(registration_becomes_a_struct),
		cmocka_unit_test(empty_array_has_no_elements),
		cmocka_unit_test(null_tags_are_none),
		cmocka_unit_test(port_that_is_no_number_is_nan),
		cmocka_unit_test(huge_port_is_delivered_as_said),
		cmocka_unit_test(escaped_nul_never_shortens_a_string),
		cmocka_unit_test(key_with_an_escaped_nul_is_another_key),
		cmocka_unit_test(element_that_is_no_object_is_passed_over),
		cmocka_unit_test(first_of_two_equal_keys_wins),
		cmocka_unit_test(malformed_bodies_are_refused),
		cmocka_unit_test(every_cut_body_is_refused),
		cmocka_unit_test(raw_nul_is_refused),
		cmocka_unit_test(deep_nesting_is_refused),
		cmocka_unit_test(value_of_the_callback_ends_the_walk),
		cmocka_unit_test(list_gives_each_name_with_its_namespace),
		cmocka_unit_test(listed_element_without_a_name_is_passed_over),
		cmocka_unit_test(escaped_nul_shortens_no_listed_name),
		cmocka_unit_test(malformed_list_is_refused),
		cmocka_unit_test(heartbeat_has_no_events),
		cmocka_unit_test(event_comes_with_its_registration),
		cmocka_unit_test(index_of_a_frame_is_exact),
		cmocka_unit_test(event_that_stands_twice_is_delivered_twice),
		cmocka_unit_test(event_without_a_usable_index_is_passed_over),
		cmocka_unit_test(event_without_a_registration_is_delivered_without),
		cmocka_unit_test(lines_that_are_no_frame_are_refused),
		cmocka_unit_test(every_cut_frame_delivers_nothing),
		cmocka_unit_test(value_of_the_callback_ends_a_frame),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
