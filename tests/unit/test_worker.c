#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "config/config.h"
#include "forward/upstream.h"
#include "listen/flush.h"
#include "listen/sockets.h"
#include "listen/worker.h"
#include "unit/fake_pipeline.h"

#define PATIENCE_MS 10000 /* then a test has failed */
#define WORKER_INDEX 0

/* ---- the rest of the fake pipeline: one at a time, in the worker's thread ---- */

static struct pipeline *fake;
static bool fake_fails;
static uint64_t fake_asked_while_closing;
static sem_t hear_has_begun, hear_may_go_on;
static atomic_bool hear_blocks;
static atomic_uint heard_count, configured_count, upstreams_count;

struct pipeline *pipeline_open(const struct pipeline_doors *doors, struct config *config)
{
	(void)config;
	if (fake_fails)
		return NULL;
	fake = calloc(1, sizeof(*fake));
	if (fake)
		fake->doors = *doors;
	return fake;
}

struct closing { /* like the real one, it takes a turn of the loop */
	uv_timer_t handle;
	struct pipeline *pipeline;
	uint64_t asked_count;
	void (*closed)(void *);
	void *arg;
};

static void on_fake_closed(uv_handle_t *handle)
{
	struct closing *closing = handle->data;

	fake_asked_while_closing = closing->pipeline->asked_count - closing->asked_count;
	free(closing->pipeline);
	closing->closed(closing->arg);
	free(closing);
}

void pipeline_close(struct pipeline *pipeline, void (*closed)(void *), void *arg)
{
	struct closing *closing = calloc(1, sizeof(*closing));

	if (!closing || uv_timer_init(pipeline->doors.loop, &closing->handle))
		abort();
	closing->handle.data = closing;
	closing->pipeline = pipeline;
	closing->asked_count = pipeline->asked_count;
	closing->closed = closed;
	closing->arg = arg;
	uv_close((uv_handle_t *)&closing->handle, on_fake_closed);
}

/* A word from Nomad: everything that waits is answered. */
void pipeline_hear(struct pipeline *pipeline, const struct need_word *word)
{
	(void)word;
	if (atomic_load(&hear_blocks)) {
		(void)sem_post(&hear_has_begun);
		(void)sem_wait(&hear_may_go_on);
	}
	fake_answer_all(pipeline);
	atomic_fetch_add(&heard_count, 1);
}

void pipeline_configure(struct pipeline *pipeline, struct config *config)
{
	struct need need = { .kind = NEED_SERVICE, .worker = pipeline->doors.worker };

	(void)config;
	(void)pipeline->doors.send_need(pipeline->doors.send_need_arg, &need);
	atomic_fetch_add(&configured_count, 1);
}

void pipeline_set_upstreams(struct pipeline *pipeline, struct upstream_list *list)
{
	(void)pipeline;
	(void)list;
	atomic_fetch_add(&upstreams_count, 1);
}

size_t pipeline_flush(struct pipeline *pipeline, const uint8_t *name, size_t length)
{
	(void)pipeline, (void)name;
	return length;
}

uint32_t pipeline_waiting_count(const struct pipeline *pipeline)
{
	return pipeline->waiting_count;
}

/* ---- the tests' room ---- */

struct room {
	struct config config;
	struct addr listen;
	struct upstream_list *upstreams;
	struct sockets sockets;
	struct mailbox *needs;
	struct worker_setup setup;
	struct worker *worker;
	union addr_socket name;
	socklen_t name_length;
};

/* Bound and set up, but not started. */
static struct room *room_new(void)
{
	struct room *room = calloc(1, sizeof(*room));
	char why[512];

	assert_non_null(room);
	room->upstreams = calloc(1, sizeof(*room->upstreams));
	assert_non_null(room->upstreams);
	fake_fails = false;
	atomic_store(&hear_blocks, false);
	while (sem_trywait(&hear_has_begun) == 0)
		continue;
	atomic_store(&heard_count, 0);
	atomic_store(&configured_count, 0);
	atomic_store(&upstreams_count, 0);
	assert_int_equal(addr_parse_ip("127.0.0.1", &room->listen), 0);
	atomic_store(&room->config.references, 1);
	atomic_store(&room->upstreams->references, 1);
	room->config.listen = &room->listen;
	room->config.listen_count = 1;
	room->config.workers = 1;
	room->config.tcp_max_clients = 16;
	room->config.tcp_idle_timeout_ms = room->config.forward_timeout_ms = 60000;
	assert_int_equal(sockets_bind(&room->sockets, &room->config, why, sizeof(why)), 0);
	room->name_length = addr_to_socket(&room->sockets.one[0].addr, &room->name);
	room->needs = mailbox_new(sizeof(struct need), 8, NULL, NULL);
	assert_non_null(room->needs);
	room->setup = (struct worker_setup){ .index = WORKER_INDEX,
					     .sockets = &room->sockets,
					     .config = &room->config,
					     .upstreams = room->upstreams,
					     .needs = room->needs };
	return room;
}

static struct room *room_open(void)
{
	struct room *room = room_new();
	char why[512] = "";

	room->worker = worker_start(&room->setup, why, sizeof(why));
	assert_non_null(room->worker);
	return room;
}

/* Whatever happened in between, nobody but us holds the configuration and the upstreams now. */
static void room_close(struct room *room)
{
	worker_stop(room->worker);
	assert_int_equal(atomic_load(&room->config.references), 1);
	assert_int_equal(atomic_load(&room->upstreams->references), 1);
	sockets_deinit(&room->sockets);
	mailbox_free(room->needs);
	free(room->upstreams);
	free(room);
}

static int client_of(const struct room *room, int type)
{
	struct timeval patience = { .tv_sec = PATIENCE_MS / 1000 };
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	assert_int_equal(connect(fd, &room->name.sa, room->name_length), 0);
	return fd;
}

static void ask_udp(int fd, uint16_t id, enum fake_order order)
{
	uint8_t message[FAKE_MESSAGE_BYTES];

	fake_message(message, id, order);
	assert_int_equal(send(fd, message, sizeof(message), 0), sizeof(message));
}

static void ask_tcp(int fd, uint16_t id, enum fake_order order)
{
	uint8_t frame[2 + FAKE_MESSAGE_BYTES];

	store_be16(frame, FAKE_MESSAGE_BYTES);
	fake_message(frame + 2, id, order);
	assert_int_equal(send(fd, frame, sizeof(frame), MSG_NOSIGNAL), sizeof(frame));
}

static int udp_reply(int fd)
{
	uint8_t reply[FAKE_MESSAGE_BYTES];

	if (recv(fd, reply, sizeof(reply), 0) != sizeof(reply))
		return -1;
	return load_be16(reply);
}

static int tcp_reply(int fd)
{
	uint8_t frame[2 + FAKE_MESSAGE_BYTES];

	if (recv(fd, frame, sizeof(frame), MSG_WAITALL) != sizeof(frame))
		return -1;
	return load_be16(frame + 2);
}

static void say_word(const struct room *room)
{
	struct worker_message message = { .kind = WORKER_WORD };

	assert_int_equal(worker_tell(room->worker, &message), 0);
}

static uint64_t count_of(const struct room *room, enum metric metric)
{
	return atomic_load(&worker_metrics(room->worker)->value[metric]);
}

/* Waits for another thread without a clock of its own: each look costs a round trip. */
static void round_trip(int fd)
{
	ask_udp(fd, 0xffff, FAKE_ECHO);
	assert_int_equal(udp_reply(fd), 0xffff);
}

static void a_started_worker_answers_over_udp_and_tcp(void **state)
{
	struct room *room = room_open();
	int udp = client_of(room, SOCK_DGRAM), tcp = client_of(room, SOCK_STREAM);

	(void)state;
	ask_udp(udp, 1, FAKE_ECHO);
	assert_int_equal(udp_reply(udp), 1);
	ask_tcp(tcp, 2, FAKE_ECHO);
	assert_int_equal(tcp_reply(tcp), 2);
	assert_int_equal(count_of(room, METRIC_TCP_ACCEPTED), 1);
	assert_int_equal(room->sockets.one[0].fd, -1);
	assert_int_equal(room->sockets.one[1].fd, -1);
	(void)close(udp);
	(void)close(tcp);
	room_close(room);
}

static void sockets_of_other_workers_are_left_alone(void **state)
{
	struct room *room = room_new();
	char why[512];

	(void)state;
	room->sockets.one[1].worker = WORKER_INDEX + 1;
	room->worker = worker_start(&room->setup, why, sizeof(why));
	assert_non_null(room->worker);
	assert_int_equal(room->sockets.one[0].fd, -1);
	assert_true(room->sockets.one[1].fd >= 0);
	room_close(room);
}

static void a_word_from_nomad_reaches_those_that_wait(void **state)
{
	struct room *room = room_open();
	int udp = client_of(room, SOCK_DGRAM), tcp = client_of(room, SOCK_STREAM);

	(void)state;
	ask_tcp(tcp, 2, FAKE_WAIT);
	ask_tcp(tcp, 3, FAKE_ECHO);
	assert_int_equal(tcp_reply(tcp), 3);
	ask_udp(udp, 1, FAKE_WAIT);
	round_trip(udp);
	say_word(room);
	assert_int_equal(udp_reply(udp), 1);
	assert_int_equal(tcp_reply(tcp), 2);
	(void)close(udp);
	(void)close(tcp);
	room_close(room);
}

static void new_configuration_and_upstreams_reach_the_pipeline(void **state)
{
	struct room *room = room_open();
	struct worker_message message = { .kind = WORKER_CONFIG };
	int udp = client_of(room, SOCK_DGRAM);
	struct need need;

	(void)state;
	assert_int_equal(atomic_load(&upstreams_count), 1); /* those of the setup */
	message.config = config_hold(&room->config);
	assert_int_equal(worker_tell(room->worker, &message), 0);
	message.kind = WORKER_UPSTREAMS;
	message.upstreams = upstream_list_hold(room->upstreams);
	assert_int_equal(worker_tell(room->worker, &message), 0);
	while (atomic_load(&upstreams_count) < 2)
		round_trip(udp);
	assert_int_equal(atomic_load(&configured_count), 1);
	assert_int_equal(mailbox_take(room->needs, &need), 0);
	assert_int_equal(need.worker, WORKER_INDEX);
	(void)close(udp);
	room_close(room);
}

static void a_full_box_says_so_and_does_not_keep_the_worker_alive(void **state)
{
	struct room *room = room_open();
	struct worker_message message = { .kind = WORKER_WORD };
	unsigned told = 0;

	(void)state;
	atomic_store(&hear_blocks, true);
	while (worker_tell(room->worker, &message) == 0)
		told++;
	assert_true(told > 0);
	assert_int_equal(worker_tell(room->worker, &message), -EAGAIN);
	worker_ask_stop(room->worker);
	atomic_store(&hear_blocks, false);
	assert_int_equal(sem_post(&hear_may_go_on), 0);
	room_close(room);
	assert_int_equal(atomic_load(&heard_count), told);
}

static void only_a_loop_that_turns_answers_a_ping(void **state)
{
	struct room *room = room_open();
	int udp = client_of(room, SOCK_DGRAM);

	(void)state;
	assert_true(worker_has_answered(room->worker));
	atomic_store(&hear_blocks, true);
	say_word(room);
	assert_int_equal(sem_wait(&hear_has_begun), 0);
	worker_ping(room->worker);
	assert_false(worker_has_answered(room->worker));
	atomic_store(&hear_blocks, false);
	assert_int_equal(sem_post(&hear_may_go_on), 0);
	for (int times = 0; times < 1000 && !worker_has_answered(room->worker); times++)
		round_trip(udp);
	assert_true(worker_has_answered(room->worker));
	(void)close(udp);
	room_close(room);
}

static void messages_after_the_end_are_dropped_with_what_they_hold(void **state)
{
	struct room *room = room_open();
	struct worker_message message = { .kind = WORKER_CONFIG };

	(void)state;
	worker_ask_stop(room->worker);
	while (!worker_has_ended(room->worker))
		(void)poll(NULL, 0, 1);
	message.config = config_hold(&room->config);
	assert_int_equal(worker_tell(room->worker, &message), 0);
	message.kind = WORKER_UPSTREAMS;
	message.upstreams = upstream_list_hold(room->upstreams);
	assert_int_equal(worker_tell(room->worker, &message), 0);
	worker_ask_stop(room->worker);
	assert_int_equal(atomic_load(&configured_count), 0);
	room_close(room); /* looks at the references */
}

static void a_flush_is_reported_to_whoever_waits(void **state)
{
	struct room *room = room_open();
	struct flush *flush = flush_new((const uint8_t *)"\3www", 5, 1);
	struct worker_message message = { .kind = WORKER_FLUSH, .flush = flush };
	size_t count = 0;

	(void)state;
	assert_int_equal(worker_tell(room->worker, &message), 0);
	assert_int_equal(flush_wait(flush, PATIENCE_MS, &count), 0);
	assert_int_equal(count, 5);
	room_close(room);
}

static void a_flush_after_the_end_is_reported_too(void **state)
{
	struct room *room = room_open();
	struct flush *flush = flush_new((const uint8_t *)"", 1, 1);
	struct worker_message message = { .kind = WORKER_FLUSH, .flush = flush };
	size_t count = 1;

	(void)state;
	worker_ask_stop(room->worker);
	while (!worker_has_ended(room->worker))
		(void)poll(NULL, 0, 1);
	assert_int_equal(worker_tell(room->worker, &message), 0);
	room_close(room);
	assert_int_equal(flush_wait(flush, PATIENCE_MS, &count), 0);
	assert_int_equal(count, 0);
}

static void a_stopping_worker_answers_what_waits_and_takes_nothing_new(void **state)
{
	struct room *room = room_open();
	int udp = client_of(room, SOCK_DGRAM), tcp = client_of(room, SOCK_STREAM);
	uint8_t byte;

	(void)state;
	ask_tcp(tcp, 2, FAKE_WAIT);
	ask_tcp(tcp, 3, FAKE_ECHO);
	assert_int_equal(tcp_reply(tcp), 3);
	ask_udp(udp, 1, FAKE_WAIT);
	round_trip(udp);
	worker_ask_stop(room->worker);
	/* Refused once the socket has left its port; until then answered. */
	do {
		ask_udp(udp, 4, FAKE_ECHO);
	} while (recv(udp, &byte, 1, 0) == 1);
	assert_int_equal(errno, ECONNREFUSED);
	assert_false(worker_has_ended(room->worker));
	say_word(room);
	assert_int_equal(udp_reply(udp), 1);
	assert_int_equal(tcp_reply(tcp), 2);
	assert_int_equal(tcp_reply(tcp), -1);
	(void)close(udp);
	(void)close(tcp);
	room_close(room);
}

static void what_waits_in_vain_does_not_hold_up_a_stop(void **state)
{
	struct room *room = room_open();
	int udp = client_of(room, SOCK_DGRAM);

	(void)state;
	ask_udp(udp, 1, FAKE_WAIT);
	round_trip(udp);
	room_close(room);
	(void)close(udp);
}

static void a_worker_that_cannot_start_says_why_and_leaves_the_sockets(void **state)
{
	struct room *room = room_new();
	char why[512] = "";

	(void)state;
	fake_fails = true;
	room->worker = worker_start(&room->setup, why, sizeof(why));
	assert_null(room->worker);
	assert_string_equal(why, "Cannot allocate memory");
	assert_true(room->sockets.one[0].fd >= 0);
	room_close(room);
}

static void a_failed_start_asks_nothing_of_a_closing_pipeline(void **state)
{
	struct room *room = room_new();
	int udp = client_of(room, SOCK_DGRAM);
	char why[512] = "";

	(void)state;
	ask_udp(udp, 1, FAKE_ECHO); /* there before anybody reads */
	(void)close(room->sockets.one[1].fd);
	room->sockets.one[1].fd = 1000000; /* what no loop can take */
	room->worker = worker_start(&room->setup, why, sizeof(why));
	room->sockets.one[1].fd = -1;
	assert_null(room->worker);
	assert_true(why[0] != '\0');
	assert_int_equal(fake_asked_while_closing, 0);
	(void)close(udp);
	room_close(room);
}

/* The blocked signals of the thread with this name, as /proc writes them; false: no such thread. */
static bool read_blocked_signals(const char *name, unsigned long long *out_blocked)
{
	DIR *tasks = opendir("/proc/self/task");
	bool is_found = false;
	struct dirent *entry;

	assert_non_null(tasks);
	while ((entry = readdir(tasks))) {
		char path[512], line[256], found[64] = "";
		FILE *file;

		(void)snprintf(path, sizeof(path), "/proc/self/task/%s/status", entry->d_name);
		file = fopen(path, "re");
		if (!file)
			continue;
		while (fgets(line, sizeof(line), file)) {
			(void)sscanf(line, "Name: %63s", found);
			if (!strcmp(found, name) && sscanf(line, "SigBlk: %llx", out_blocked) == 1)
				is_found = true;
		}
		(void)fclose(file);
	}
	(void)closedir(tasks);
	return is_found;
}

static void the_thread_has_a_name_and_leaves_signals_to_others(void **state)
{
	struct room *room = room_open();
	int udp = client_of(room, SOCK_DGRAM);
	unsigned long long blocked = 0;
	sigset_t mine;

	(void)state;
	round_trip(udp);
	assert_true(read_blocked_signals("dns-worker-0", &blocked));
	assert_true(blocked >> (SIGTERM - 1) & 1);
	assert_true(blocked >> (SIGHUP - 1) & 1);
	assert_true(blocked >> (SIGPIPE - 1) & 1);
	assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &mine), 0);
	assert_false(sigismember(&mine, SIGTERM));
	(void)close(udp);
	room_close(room);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_started_worker_answers_over_udp_and_tcp),
		cmocka_unit_test(sockets_of_other_workers_are_left_alone),
		cmocka_unit_test(a_word_from_nomad_reaches_those_that_wait),
		cmocka_unit_test(new_configuration_and_upstreams_reach_the_pipeline),
		cmocka_unit_test(a_full_box_says_so_and_does_not_keep_the_worker_alive),
		cmocka_unit_test(only_a_loop_that_turns_answers_a_ping),
		cmocka_unit_test(messages_after_the_end_are_dropped_with_what_they_hold),
		cmocka_unit_test(a_flush_is_reported_to_whoever_waits),
		cmocka_unit_test(a_flush_after_the_end_is_reported_too),
		cmocka_unit_test(a_stopping_worker_answers_what_waits_and_takes_nothing_new),
		cmocka_unit_test(what_waits_in_vain_does_not_hold_up_a_stop),
		cmocka_unit_test(a_worker_that_cannot_start_says_why_and_leaves_the_sockets),
		cmocka_unit_test(a_failed_start_asks_nothing_of_a_closing_pipeline),
		cmocka_unit_test(the_thread_has_a_name_and_leaves_signals_to_others),
	};

	if (sem_init(&hear_has_begun, 0, 0) || sem_init(&hear_may_go_on, 0, 0))
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
