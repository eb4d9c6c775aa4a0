#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>

#include "base/mailbox.h"

#define PUTTERS 4
#define MESSAGES_EACH 20000

static void count_wake(void *arg)
{
	++*(int *)arg;
}

static void messages_come_out_in_the_order_they_went_in(void **state)
{
	struct mailbox *box = mailbox_new(sizeof(int), 3, NULL, NULL);
	int out, next = 0;

	(void)state;
	for (int i = 0; i < 10; i += 2) {
		int second = i + 1;

		assert_int_equal(mailbox_put(box, &i), 0);
		assert_int_equal(mailbox_put(box, &second), 0);
		for (int j = 0; j < 2; j++) {
			assert_int_equal(mailbox_take(box, &out), 0);
			assert_int_equal(out, next++);
		}
	}
	mailbox_free(box);
}

static void full_box_refuses(void **state)
{
	struct mailbox *box = mailbox_new(sizeof(int), 2, NULL, NULL);
	int message = 1, out;

	(void)state;
	assert_int_equal(mailbox_put(box, &message), 0);
	assert_int_equal(mailbox_put(box, &message), 0);
	assert_int_equal(mailbox_put(box, &message), -EAGAIN);
	assert_int_equal(mailbox_take(box, &out), 0);
	assert_int_equal(mailbox_put(box, &message), 0);
	mailbox_free(box);
}

static void empty_box_gives_nothing(void **state)
{
	struct mailbox *box = mailbox_new(sizeof(int), 2, NULL, NULL);
	int out = 7;

	(void)state;
	assert_int_equal(mailbox_take(box, &out), -EAGAIN);
	assert_int_equal(out, 7);
	mailbox_free(box);
	mailbox_free(NULL);
}

static void only_the_first_message_wakes(void **state)
{
	int wakes = 0, message = 1, out;
	struct mailbox *box = mailbox_new(sizeof(int), 4, count_wake, &wakes);

	(void)state;
	mailbox_put(box, &message);
	mailbox_put(box, &message);
	assert_int_equal(wakes, 1);
	mailbox_take(box, &out);
	mailbox_put(box, &message);
	assert_int_equal(wakes, 1);
	mailbox_take(box, &out);
	mailbox_take(box, &out);
	mailbox_put(box, &message);
	assert_int_equal(wakes, 2);
	mailbox_free(box);
}

static void box_for_nothing_is_not_made(void **state)
{
	(void)state;
	assert_null(mailbox_new(0, 4, NULL, NULL));
	assert_null(mailbox_new(4, 0, NULL, NULL));
}

struct note {
	unsigned putter, number;
};

struct putter {
	struct mailbox *box;
	unsigned id;
};

static void *put_notes(void *arg)
{
	struct putter *putter = arg;

	for (unsigned i = 0; i < MESSAGES_EACH; i++) {
		struct note note = { putter->id, i };

		while (mailbox_put(putter->box, &note) == -EAGAIN)
			sched_yield();
	}
	return NULL;
}

static void nothing_is_lost_between_threads(void **state)
{
	struct mailbox *box = mailbox_new(sizeof(struct note), 16, NULL, NULL);
	struct putter putters[PUTTERS];
	pthread_t threads[PUTTERS];
	unsigned next[PUTTERS] = { 0 };
	unsigned taken = 0, misordered = 0;

	(void)state;
	for (unsigned i = 0; i < PUTTERS; i++) {
		putters[i] = (struct putter){ box, i };
		assert_int_equal(pthread_create(&threads[i], NULL, put_notes, &putters[i]), 0);
	}
	while (taken < PUTTERS * MESSAGES_EACH) {
		struct note note;

		if (mailbox_take(box, &note) == -EAGAIN) {
			sched_yield();
			continue;
		}
		misordered += note.number != next[note.putter]++;
		taken++;
	}
	for (unsigned i = 0; i < PUTTERS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(misordered, 0);
	mailbox_free(box);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_come_out_in_the_order_they_went_in),
		cmocka_unit_test(full_box_refuses),
		cmocka_unit_test(empty_box_gives_nothing),
		cmocka_unit_test(only_the_first_message_wakes),
		cmocka_unit_test(box_for_nothing_is_not_made),
		cmocka_unit_test(nothing_is_lost_between_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
