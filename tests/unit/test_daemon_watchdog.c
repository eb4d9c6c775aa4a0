#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "daemon_watchdog.h"
#include "listen/worker.h"

#define WORKERS 3

/* Workers without a thread: they answer when a test says so. */
struct worker {
	unsigned ping_count;
	bool answers;
};

static struct worker worker[WORKERS];
static struct worker *workers[WORKERS] = { &worker[0], &worker[1], &worker[2] };
static struct daemon_watchdog watchdog;
static int systemd;

void worker_ping(struct worker *one)
{
	one->ping_count++;
}

bool worker_has_answered(const struct worker *one)
{
	return one->answers;
}

static int set_up(void **state)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char name[64];

	(void)state;
	snprintf(name, sizeof(name), "@nomad-dns-test-%d", (int)getpid());
	memcpy(address.sun_path + 1, name + 1, strlen(name) - 1);
	systemd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (bind(systemd, (struct sockaddr *)&address,
		 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))) != 0)
		return -1;
	setenv("NOTIFY_SOCKET", name, 1);
	setenv("WATCHDOG_USEC", "10000000", 1);
	unsetenv("WATCHDOG_PID");
	for (size_t i = 0; i < WORKERS; i++)
		worker[i] = (struct worker){ .answers = true };
	daemon_watchdog_init(&watchdog);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	close(systemd);
	return 0;
}

/* How many signs of life systemd got since the last call. */
static unsigned signs(void)
{
	unsigned count = 0;
	char text[64];
	ssize_t length;

	while ((length = recv(systemd, text, sizeof(text) - 1, 0)) >= 0) {
		text[length] = '\0';
		assert_string_equal(text, "WATCHDOG=1");
		count++;
	}
	return count;
}

static void look(void)
{
	daemon_watchdog_look(&watchdog, workers, WORKERS);
}

static void looks_are_several_in_the_patience_of_systemd(void **state)
{
	(void)state;
	assert_int_equal(watchdog.look_every_ms, 2500);
	setenv("WATCHDOG_USEC", "1000", 1);
	daemon_watchdog_init(&watchdog);
	assert_int_equal(watchdog.look_every_ms, 1);
	unsetenv("WATCHDOG_USEC");
	daemon_watchdog_init(&watchdog);
	assert_int_equal(watchdog.look_every_ms, 0);
}

static void each_look_says_that_all_live_and_asks_them_anew(void **state)
{
	(void)state;
	look();
	look();
	assert_int_equal(signs(), 2);
	for (size_t i = 0; i < WORKERS; i++)
		assert_int_equal(worker[i].ping_count, 2);
}

static void one_silent_worker_stops_the_signs_until_it_answers(void **state)
{
	(void)state;
	for (size_t i = 0; i < WORKERS; i++) {
		worker[i].answers = false;
		for (int times = 0; times < 5; times++)
			look();
		assert_int_equal(signs(), 0);
		worker[i].answers = true;
		look();
		assert_int_equal(signs(), 1);
	}
}

static size_t count_in(const char *text, const char *words)
{
	size_t count = 0;

	while ((text = strstr(text, words))) {
		count++;
		text++;
	}
	return count;
}

static void a_silent_worker_is_named_once(void **state)
{
	FILE *log_file = tmpfile();
	int saved = dup(STDERR_FILENO);
	char text[2048];
	size_t length;

	(void)state;
	assert_non_null(log_file);
	assert_true(dup2(fileno(log_file), STDERR_FILENO) >= 0);
	log_setup(LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT);
	worker[1].answers = false;
	for (int times = 0; times < 6; times++)
		look();
	worker[1].answers = true;
	look();
	look();
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	close(saved);
	rewind(log_file);
	length = fread(text, 1, sizeof(text) - 1, log_file);
	text[length] = '\0';
	fclose(log_file);
	assert_int_equal(count_in(text, "hangs"), 1);
	assert_int_equal(count_in(text, "worker 1 hangs"), 1);
	assert_int_equal(count_in(text, "every worker answers again"), 1);
}

static void a_look_that_is_merely_early_is_not_worth_a_word(void **state)
{
	(void)state;
	worker[2].answers = false;
	look();
	worker[2].answers = true;
	look();
	assert_int_equal(watchdog.silent_count, 0);
	assert_int_equal(signs(), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(looks_are_several_in_the_patience_of_systemd,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(each_look_says_that_all_live_and_asks_them_anew,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(one_silent_worker_stops_the_signs_until_it_answers,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_silent_worker_is_named_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_look_that_is_merely_early_is_not_worth_a_word,
						set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
