#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "base/bytes.h"
#include "listen/tcp_frame.h"

static struct tcp_frame_stream stream;
static const uint8_t *message;
static size_t length;

static int start_empty(void **state)
{
	(void)state;
	tcp_frame_init(&stream);
	message = NULL;
	length = 0;
	return 0;
}

static void feed(const void *bytes, size_t count)
{
	size_t space;
	uint8_t *place = tcp_frame_space(&stream, &space);

	assert_true(space >= count);
	memcpy(place, bytes, count);
	tcp_frame_fill(&stream, count);
}

/* A frame of `size` bytes, all `fill`. */
static void feed_frame(size_t size, uint8_t fill)
{
	uint8_t frame[TCP_FRAME_PREFIX_BYTES + TCP_FRAME_MESSAGE_MAX];

	store_be16(frame, (uint16_t)size);
	memset(frame + TCP_FRAME_PREFIX_BYTES, fill, size);
	feed(frame, TCP_FRAME_PREFIX_BYTES + size);
}

static void nothing_is_a_partial_message(void **state)
{
	(void)state;
	assert_int_equal(tcp_frame_next(&stream, &message, &length), TCP_FRAME_PARTIAL);
	feed("\0", 1);
	assert_int_equal(tcp_frame_next(&stream, &message, &length), TCP_FRAME_PARTIAL);
	assert_null(message);
}

static void a_whole_message_comes_out_without_its_prefix(void **state)
{
	(void)state;
	feed_frame(12, 'a');
	assert_int_equal(tcp_frame_next(&stream, &message, &length), TCP_FRAME_WHOLE);
	assert_int_equal(length, 12);
	assert_memory_equal(message, "aaaaaaaaaaaa", 12);
	assert_int_equal(tcp_frame_next(&stream, &message, &length), TCP_FRAME_PARTIAL);
}

static void messages_come_out_in_order_and_with_their_own_bytes(void **state)
{
	(void)state;
	feed_frame(20, 'a');
	feed_frame(12, 'b');
	feed_frame(30, 'c');
	assert_int_equal(tcp_frame_next(&stream, &message, &length), TCP_FRAME_WHOLE);
	assert_int_equal(length, 20);
	assert_int_equal(message[19], 'a');
	assert_int_equal(tcp_frame_next(&stream, &message, &length), TCP_FRAME_WHOLE);
	assert_int_equal(length, 12);
	assert_int_equal(message[0], 'b');
	assert_int_equal(tcp_frame_next(&stream, &message, &length), TCP_FRAME_WHOLE);
	assert_int_equal(length, 30);
	assert_int_equal(message[29], 'c');
}

static void a_message_in_single_bytes_is_whole_with_the_last(void **state)
{
	uint8_t frame[2 + 12] = { 0, 12, 'x' };

	(void)state;
	for (size_t i = 0; i < sizeof(frame); i++) {
		assert_int_equal(tcp_frame_next(&stream, &message, &length), TCP_FRAME_PARTIAL);
		feed(frame + i, 1);
	}
	assert_int_equal(tcp_frame_next(&stream, &message, &length), TCP_FRAME_WHOLE);
	assert_memory_equal(message, frame + 2, 12);
}

static void a_message_cut_by_the_end_of_the_room_is_moved_and_completed(void **state)
{
	uint8_t rest[12];

	(void)state;
	feed_frame(4000, 'a');
	feed("\0\x20xx", 4); /* a message of 32 bytes, two of them here */
	assert_int_equal(tcp_frame_next(&stream, &message, &length), TCP_FRAME_WHOLE);
	assert_int_equal(tcp_frame_next(&stream, &message, &length), TCP_FRAME_PARTIAL);
	memset(rest, 'y', sizeof(rest));
	feed(rest, 12);
	feed(rest, 12);
	assert_int_equal(tcp_frame_next(&stream, &message, &length), TCP_FRAME_PARTIAL);
	feed(rest, 6);
	assert_int_equal(tcp_frame_next(&stream, &message, &length), TCP_FRAME_WHOLE);
	assert_int_equal(length, 32);
	assert_memory_equal(message, "xxyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy", 32);
}

static void less_than_a_header_is_short(void **state)
{
	(void)state;
	for (uint8_t size = 0; size < 12; size++) {
		uint8_t prefix[2] = { 0, size };

		tcp_frame_init(&stream);
		feed(prefix, 2);
		assert_int_equal(tcp_frame_next(&stream, &message, &length), TCP_FRAME_SHORT);
	}
}

static void the_longest_message_fits_and_one_byte_more_is_long(void **state)
{
	(void)state;
	feed_frame(TCP_FRAME_MESSAGE_MAX, 'a');
	assert_int_equal(tcp_frame_next(&stream, &message, &length), TCP_FRAME_WHOLE);
	assert_int_equal(length, TCP_FRAME_MESSAGE_MAX);
	feed("\x10\x01", 2);
	assert_int_equal(tcp_frame_next(&stream, &message, &length), TCP_FRAME_LONG);
}

static void there_is_room_whenever_a_message_is_partial(void **state)
{
	uint8_t prefix[2] = { TCP_FRAME_MESSAGE_MAX >> 8, TCP_FRAME_MESSAGE_MAX & 0xff };
	size_t space, fed = 0;

	(void)state;
	feed(prefix, 2);
	while (tcp_frame_next(&stream, &message, &length) == TCP_FRAME_PARTIAL) {
		(void)tcp_frame_space(&stream, &space);
		assert_true(space > 0);
		feed("z", 1);
		fed++;
	}
	assert_int_equal(fed, TCP_FRAME_MESSAGE_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(nothing_is_a_partial_message, start_empty),
		cmocka_unit_test_setup(a_whole_message_comes_out_without_its_prefix, start_empty),
		cmocka_unit_test_setup(messages_come_out_in_order_and_with_their_own_bytes,
				       start_empty),
		cmocka_unit_test_setup(a_message_in_single_bytes_is_whole_with_the_last,
				       start_empty),
		cmocka_unit_test_setup(a_message_cut_by_the_end_of_the_room_is_moved_and_completed,
				       start_empty),
		cmocka_unit_test_setup(less_than_a_header_is_short, start_empty),
		cmocka_unit_test_setup(the_longest_message_fits_and_one_byte_more_is_long,
				       start_empty),
		cmocka_unit_test_setup(there_is_room_whenever_a_message_is_partial, start_empty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
