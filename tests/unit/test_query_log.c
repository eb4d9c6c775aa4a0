#include "unit/support.h"

#include <unistd.h>

#include "base/log.h"
#include "base/metrics.h"
#include "query/query_log.h"

static struct query query;
static struct answer answer;
static int saved_stderr, pipe_ends[2];
static char line[2048];

static int set_up(void **state)
{
	(void)state;
	memset(&query, 0, sizeof(query));
	query.question = ask_question("redis.default.nomad", DNS_TYPE_A);
	query.arrived_us = 1000000;
	query.client.peer = ip("192.0.2.7");
	query.client.peer.port = 4242;
	answer_init(&answer);
	answer.stage = METRIC_STAGE_NOMAD;
	log_setup(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	saved_stderr = dup(STDERR_FILENO);
	return pipe(pipe_ends);
}

static int tear_down(void **state)
{
	(void)state;
	close(saved_stderr);
	close(pipe_ends[0]);
	close(pipe_ends[1]);
	return 0;
}

/* What the log says about it; "" if it is silent. */
static const char *log_as(enum config_log_queries which)
{
	ssize_t length;

	assert_int_equal(dup2(pipe_ends[1], STDERR_FILENO), STDERR_FILENO);
	query_log_write(which, &query, &answer, 0x8580, 53, 1002500);
	assert_int_equal(dup2(saved_stderr, STDERR_FILENO), STDERR_FILENO);
	assert_int_equal(write(pipe_ends[1], "\n", 1), 1); /* so that reading never waits */
	length = read(pipe_ends[0], line, sizeof(line) - 1);
	assert_true(length > 0);
	line[length - 1] = '\0';
	return line;
}

static void a_line_has_the_form_dashboards_know(void **state)
{
	(void)state;
	assert_non_null(
		strstr(log_as(CONFIG_LOG_QUERIES_ALL),
		       "192.0.2.7:4242 - 4660 \"A IN redis.default.nomad. udp 37 false 512\" "
		       "NOERROR qr,aa,rd,ra 53 0.002500s\n"));
}

static void numbers_without_a_name_are_told_as_numbers(void **state)
{
	(void)state;
	query.question.type = 65280;
	query.question.qclass = 4;
	query.client.source = QUERY_TCP;
	query.question.has_do = true;
	answer.rcode = 23;
	assert_non_null(
		strstr(log_as(CONFIG_LOG_QUERIES_ALL),
		       "\"TYPE65280 CLASS4 redis.default.nomad. tcp 37 true 512\" RCODE23 "));
}

static void the_root_is_one_dot(void **state)
{
	(void)state;
	query.question = ask_question(".", DNS_TYPE_NS);
	assert_non_null(strstr(log_as(CONFIG_LOG_QUERIES_ALL), "\"NS IN . udp 17 "));
}

static void only_what_is_wanted_is_written(void **state)
{
	(void)state;
	assert_string_equal(log_as(CONFIG_LOG_QUERIES_OFF), "");
	assert_string_equal(log_as(CONFIG_LOG_QUERIES_ERRORS), "");
	assert_string_not_equal(log_as(CONFIG_LOG_QUERIES_NOMAD), "");
	answer.rcode = DNS_NXDOMAIN;
	assert_string_equal(log_as(CONFIG_LOG_QUERIES_ERRORS), "");
	answer.rcode = DNS_SERVFAIL;
	assert_string_not_equal(log_as(CONFIG_LOG_QUERIES_ERRORS), "");
	answer.stage = METRIC_STAGE_CACHE;
	assert_string_equal(log_as(CONFIG_LOG_QUERIES_NOMAD), "");
}

static void our_own_questions_are_not_written(void **state)
{
	(void)state;
	query.client.source = QUERY_INSIDE;
	assert_string_equal(log_as(CONFIG_LOG_QUERIES_ALL), "");
}

static void a_name_cannot_break_its_line(void **state)
{
	(void)state;
	query.question = ask_question("a\\010b\\\"c\\000\\255.nomad", DNS_TYPE_A);
	log_as(CONFIG_LOG_QUERIES_ALL);
	assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
	assert_non_null(strstr(line, "a\\010b"));
	for (const char *p = line; *p; p++)
		assert_true(*p == '\n' || (*p >= ' ' && *p <= '~'));
}

static void the_longest_name_is_no_overrun(void **state)
{
	(void)state;
	query.question.name_length = 255;
	memset(query.question.name, 1, sizeof(query.question.name)); /* labels of one \001 */
	query.question.name[254] = 0;
	assert_string_not_equal(log_as(CONFIG_LOG_QUERIES_ALL), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_line_has_the_form_dashboards_know, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(numbers_without_a_name_are_told_as_numbers, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(the_root_is_one_dot, set_up, tear_down),
		cmocka_unit_test_setup_teardown(only_what_is_wanted_is_written, set_up, tear_down),
		cmocka_unit_test_setup_teardown(our_own_questions_are_not_written, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_name_cannot_break_its_line, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_longest_name_is_no_overrun, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
