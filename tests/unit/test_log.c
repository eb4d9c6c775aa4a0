#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

#define CAPTURE_MAX 4096

/* stderr for the time of one test. */
static struct {
	int saved_fd;
	int read_fd;
	char text[CAPTURE_MAX];
} capture;

static void set_journal_stream(int fd)
{
	char text[64];
	struct stat st;

	fstat(fd, &st);
	snprintf(text, sizeof(text), "%llu:%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM", text, 1);
}

static void capture_fds(const int fds[2])
{
	capture.saved_fd = dup(STDERR_FILENO);
	capture.read_fd = fds[0];
	dup2(fds[1], STDERR_FILENO);
	close(fds[1]);
	unsetenv("JOURNAL_STREAM");
	log_setup(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
}

static void capture_pipe(void)
{
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	capture_fds(fds);
}

/* Ends the capture; what was written. */
static const char *captured(void)
{
	ssize_t length;

	fcntl(capture.read_fd, F_SETFL, O_NONBLOCK);
	length = read(capture.read_fd, capture.text, sizeof(capture.text) - 1);
	capture.text[length > 0 ? length : 0] = '\0';
	dup2(capture.saved_fd, STDERR_FILENO);
	close(capture.saved_fd);
	close(capture.read_fd);
	return capture.text;
}

static void plain_line_has_time_level_and_room(void **state)
{
	const char *text;

	(void)state;
	capture_pipe();
	log_warn("nomad", "lost %s after %d", "it", 3);
	text = captured();
	assert_int_equal(strlen(text),
			 strlen("2026-01-31T23:59:59.999Z warn nomad: lost it after 3\n"));
	assert_int_equal(text[10], 'T');
	assert_int_equal(text[23], 'Z');
	assert_string_equal(text + 24, " warn nomad: lost it after 3\n");
}

static void journal_line_has_a_priority_and_no_time(void **state)
{
	(void)state;
	capture_pipe();
	set_journal_stream(STDERR_FILENO);
	log_setup(LOG_LEVEL_DEBUG, LOG_FORMAT_TEXT);
	log_error("a", "1");
	log_warn("a", "2");
	log_info("a", "3");
	log_debug("a", "4");
	assert_string_equal(captured(), "<3>a: 1\n<4>a: 2\n<6>a: 3\n<7>a: 4\n");
}

static void another_stream_is_not_the_journal(void **state)
{
	(void)state;
	capture_pipe();
	set_journal_stream(capture.saved_fd);
	log_setup(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	log_info("a", "x");
	assert_non_null(strstr(captured(), "Z info a: x\n"));
}

static void garbage_in_journal_stream_is_not_the_journal(void **state)
{
	(void)state;
	capture_pipe();
	setenv("JOURNAL_STREAM", "1:2:3x", 1);
	log_setup(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	log_info("a", "x");
	assert_non_null(strstr(captured(), "Z info a: x\n"));
}

static void line_below_the_threshold_is_not_written(void **state)
{
	(void)state;
	capture_pipe();
	log_setup(LOG_LEVEL_WARN, LOG_FORMAT_TEXT);
	log_info("a", "x");
	assert_false(log_is_on(LOG_LEVEL_INFO));
	assert_true(log_is_on(LOG_LEVEL_WARN));
	assert_string_equal(captured(), "");
}

static void control_characters_cannot_forge_a_line(void **state)
{
	(void)state;
	capture_pipe();
	log_info("a", "x\nerror fake: y\x1b[2J");
	assert_non_null(strstr(captured(), " a: x\\x0aerror fake: y\\x1b[2J\n"));
}

static void logfmt_quotes_the_message(void **state)
{
	const char *text;

	(void)state;
	capture_pipe();
	log_setup(LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT);
	log_info("listen", "say \"hi\"\n");
	text = captured();
	assert_int_equal(strncmp(text, "time=2", 6), 0);
	assert_non_null(strstr(text, " level=info room=listen msg=\"say \\\"hi\\\"\\n\"\n"));
}

static void json_line_is_json(void **state)
{
	cJSON *json;

	(void)state;
	capture_pipe();
	log_setup(LOG_LEVEL_INFO, LOG_FORMAT_JSON);
	log_error("listen", "say \"hi\"\\ \xff");
	json = cJSON_Parse(captured());
	assert_non_null(json);
	assert_string_equal(cJSON_GetObjectItem(json, "level")->valuestring, "error");
	assert_string_equal(cJSON_GetObjectItem(json, "room")->valuestring, "listen");
	assert_string_equal(cJSON_GetObjectItem(json, "msg")->valuestring,
			    "say \"hi\"\\ \xef\xbf\xbd");
	cJSON_Delete(json);
}

static void long_line_is_cut_and_still_json(void **state)
{
	char message[4000];
	cJSON *json;

	(void)state;
	memset(message, '"', sizeof(message));
	message[sizeof(message) - 1] = '\0';
	capture_pipe();
	log_setup(LOG_LEVEL_INFO, LOG_FORMAT_JSON);
	log_info("a", "%s", message);
	captured();
	assert_in_range(strlen(capture.text), 1000, 1023);
	assert_int_equal(capture.text[strlen(capture.text) - 1], '\n');
	json = cJSON_Parse(capture.text);
	assert_non_null(json);
	cJSON_Delete(json);
}

static void long_text_line_is_cut_at_1023_bytes(void **state)
{
	char message[4000];

	(void)state;
	memset(message, 'x', sizeof(message));
	message[sizeof(message) - 1] = '\0';
	capture_pipe();
	log_info("a", "%s", message);
	captured();
	assert_int_equal(strlen(capture.text), 1023);
	assert_int_equal(capture.text[1022], '\n');
}

static void full_pipe_drops_the_line_and_counts_it(void **state)
{
	uint64_t before = log_dropped_count();
	char page[4096];
	int flags;

	(void)state;
	memset(page, 'x', sizeof(page));
	capture_pipe();
	flags = fcntl(STDERR_FILENO, F_GETFL);
	fcntl(STDERR_FILENO, F_SETFL, flags | O_NONBLOCK);
	while (write(STDERR_FILENO, page, sizeof(page)) > 0)
		;
	fcntl(STDERR_FILENO, F_SETFL, flags);
	log_info("a", "never seen");
	captured();
	assert_int_equal(log_dropped_count(), before + 1);
	assert_null(strstr(capture.text, "never seen"));
}

static void full_socket_drops_the_line_and_counts_it(void **state)
{
	uint64_t before = log_dropped_count();
	char page[4096];
	int fds[2];

	(void)state;
	memset(page, 'x', sizeof(page));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	capture_fds(fds);
	while (send(STDERR_FILENO, page, sizeof(page), MSG_DONTWAIT) > 0)
		;
	log_info("a", "never seen");
	captured();
	assert_int_equal(log_dropped_count(), before + 1);
}

static void line_reaches_a_socket(void **state)
{
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	capture_fds(fds);
	log_info("a", "x");
	assert_non_null(strstr(captured(), " info a: x\n"));
}

static void reader_that_left_is_survived(void **state)
{
	uint64_t before = log_dropped_count();

	(void)state;
	capture_pipe();
	close(capture.read_fd);
	capture.read_fd = open("/dev/null", O_RDONLY);
	log_info("a", "x");
	captured();
	assert_int_equal(log_dropped_count(), before + 1);
}

static void errno_survives_a_line(void **state)
{
	(void)state;
	capture_pipe();
	errno = ENOTTY;
	log_info("a", "x");
	assert_int_equal(errno, ENOTTY);
	captured();
}

static void brake_lets_one_through_per_interval(void **state)
{
	struct log_brake brake = { 0 };
	uint64_t held = 99;

	(void)state;
	assert_true(log_brake_take(&brake, 1000, 500, &held));
	assert_int_equal(held, 0);
	held = 99;
	assert_false(log_brake_take(&brake, 1001, 500, &held));
	assert_false(log_brake_take(&brake, 1499, 500, &held));
	assert_int_equal(held, 99);
	assert_true(log_brake_take(&brake, 1500, 500, &held));
	assert_int_equal(held, 2);
	assert_true(log_brake_take(&brake, 9000, 500, &held));
	assert_int_equal(held, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_line_has_time_level_and_room),
		cmocka_unit_test(journal_line_has_a_priority_and_no_time),
		cmocka_unit_test(another_stream_is_not_the_journal),
		cmocka_unit_test(garbage_in_journal_stream_is_not_the_journal),
		cmocka_unit_test(line_below_the_threshold_is_not_written),
		cmocka_unit_test(control_characters_cannot_forge_a_line),
		cmocka_unit_test(logfmt_quotes_the_message),
		cmocka_unit_test(json_line_is_json),
		cmocka_unit_test(long_line_is_cut_and_still_json),
		cmocka_unit_test(long_text_line_is_cut_at_1023_bytes),
		cmocka_unit_test(full_pipe_drops_the_line_and_counts_it),
		cmocka_unit_test(full_socket_drops_the_line_and_counts_it),
		cmocka_unit_test(line_reaches_a_socket),
		cmocka_unit_test(reader_that_left_is_survived),
		cmocka_unit_test(errno_survives_a_line),
		cmocka_unit_test(brake_lets_one_through_per_interval),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
