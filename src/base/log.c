/*
 * A line is built on the stack and leaves in one system call. Whether stderr would block is asked
 * first; O_NONBLOCK is not set, because the file description is shared with whoever started us.
 */
#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/str.h"

#define LINE_MAX_BYTES 1023 /* with its newline */
#define TIME_TEXT_MAX 32    /* "2026-01-31T23:59:59.999Z" */

enum sink { SINK_UNKNOWN, SINK_FILE, SINK_SOCKET, SINK_JOURNAL };

static atomic_int threshold = LOG_LEVEL_INFO;
static atomic_int line_format = LOG_FORMAT_TEXT;
static atomic_int known_sink = SINK_UNKNOWN;
static atomic_ullong dropped_count;
static pthread_mutex_t write_lock = PTHREAD_MUTEX_INITIALIZER;

static const struct {
	const char *name;
	char priority; /* sd-daemon(3) */
} LEVELS[] = {
	[LOG_LEVEL_ERROR] = { "error", '3' },
	[LOG_LEVEL_WARN] = { "warn", '4' },
	[LOG_LEVEL_INFO] = { "info", '6' },
	[LOG_LEVEL_DEBUG] = { "debug", '7' },
};

/* stderr is the journal when $JOURNAL_STREAM holds its device and inode (systemd.exec(5)). */
static bool is_journal(const struct stat *st)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	char *end;

	if (stream == NULL)
		return false;
	device = strtoull(stream, &end, 10);
	if (end == stream || *end != ':')
		return false;
	stream = end + 1;
	inode = strtoull(stream, &end, 10);
	return end != stream && *end == '\0' && device == st->st_dev && inode == st->st_ino;
}

static enum sink find_sink(void)
{
	struct stat st;

	if (fstat(STDERR_FILENO, &st) != 0)
		return SINK_FILE;
	if (is_journal(&st))
		return SINK_JOURNAL;
	return S_ISSOCK(st.st_mode) ? SINK_SOCKET : SINK_FILE;
}

void log_setup(enum log_level level, enum log_format format)
{
	atomic_store(&threshold, (int)level);
	atomic_store(&line_format, (int)format);
	atomic_store(&known_sink, (int)find_sink());
}

bool log_is_on(enum log_level level)
{
	return (int)level <= atomic_load_explicit(&threshold, memory_order_relaxed);
}

struct line {
	char text[LINE_MAX_BYTES + 1];
	size_t length;
	size_t limit; /* what must follow still fits behind it */
};

static bool put_text(struct line *line, const char *text)
{
	size_t length = strlen(text);

	if (length > line->limit - line->length)
		return false;
	memcpy(line->text + line->length, text, length);
	line->length += length;
	return true;
}

/* Escaped as in JSON, which is also how logfmt quotes; stops at the last whole character. */
static void put_escaped(struct line *line, const char *text)
{
	char piece[STR_JSON_MAX];
	size_t rest = strlen(text);

	while (rest > 0) {
		size_t taken = str_escape_json(text, rest, piece);

		if (!put_text(line, piece))
			return;
		text += taken;
		rest -= taken;
	}
}

/* Control characters are escaped, so that no input can forge a line or move a cursor. */
static void put_plain(struct line *line, const char *text)
{
	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text;
		char piece[8] = { *text, '\0' };

		if (c < 0x20 || c == 0x7f)
			snprintf(piece, sizeof(piece), "\\x%02x", c);
		if (!put_text(line, piece))
			return;
	}
}

static void format_time(char out[TIME_TEXT_MAX])
{
	struct timespec now;
	struct tm tm;
	size_t length;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	length = strftime(out, TIME_TEXT_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(out + length, TIME_TEXT_MAX - length, ".%03ldZ", now.tv_nsec / 1000000);
}

static void put_text_line(struct line *line, enum log_level level, const char *room,
			  const char *message, enum sink sink)
{
	char head[64 + TIME_TEXT_MAX], time_text[TIME_TEXT_MAX];

	if (sink == SINK_JOURNAL) {
		snprintf(head, sizeof(head), "<%c>%.32s: ", LEVELS[level].priority, room);
	} else {
		format_time(time_text);
		snprintf(head, sizeof(head), "%s %s %.32s: ", time_text, LEVELS[level].name, room);
	}
	put_text(line, head);
	put_plain(line, message);
}

/* What stands around time, level, room and message. */
struct quoting {
	const char *before_time, *before_level, *before_room, *before_message, *after_message;
};

static const struct quoting LOGFMT = { "time=", " level=", " room=", " msg=\"", "\"" };
static const struct quoting JSON = { "{\"time\":\"", "\",\"level\":\"", "\",\"room\":\"",
				     "\",\"msg\":\"", "\"}" };

static void put_quoted_line(struct line *line, enum log_level level, const char *room,
			    const char *message, const struct quoting *q)
{
	char head[128 + TIME_TEXT_MAX], time_text[TIME_TEXT_MAX];

	format_time(time_text);
	snprintf(head, sizeof(head), "%s%s%s%s%s%.32s%s", q->before_time, time_text,
		 q->before_level, LEVELS[level].name, q->before_room, room, q->before_message);
	line->limit -= strlen(q->after_message);
	put_text(line, head);
	put_escaped(line, message);
	line->limit += strlen(q->after_message);
	put_text(line, q->after_message);
}

/* Whether the line went out. A socket can be told not to wait; anything else is asked first. */
static bool write_line(const struct line *line, enum sink sink)
{
	struct pollfd out = { .fd = STDERR_FILENO, .events = POLLOUT };
	ssize_t written = -1;

	if (sink == SINK_SOCKET || sink == SINK_JOURNAL) {
		do {
			written = send(STDERR_FILENO, line->text, line->length,
				       MSG_DONTWAIT | MSG_NOSIGNAL);
		} while (written < 0 && errno == EINTR);
		if (written >= 0 || errno != ENOTSOCK)
			return written >= 0;
	}

	/* One writer at a time: between the question and the write nobody else of us fills it. */
	pthread_mutex_lock(&write_lock);
	if (poll(&out, 1, 0) == 1 && out.revents == POLLOUT) {
		do {
			written = write(STDERR_FILENO, line->text, line->length);
		} while (written < 0 && errno == EINTR);
	}
	pthread_mutex_unlock(&write_lock);
	return written >= 0;
}

static enum sink current_sink(void)
{
	enum sink sink = (enum sink)atomic_load_explicit(&known_sink, memory_order_relaxed);

	if (sink == SINK_UNKNOWN) {
		sink = find_sink();
		atomic_store(&known_sink, (int)sink);
	}
	return sink;
}

void log_write(enum log_level level, const char *room, const char *format, ...)
{
	struct line line = { .limit = LINE_MAX_BYTES - 1 };
	char message[LINE_MAX_BYTES + 1];
	enum sink sink;
	int saved_errno = errno;
	va_list args;

	if (!log_is_on(level))
		return;
	va_start(args, format);
	if (vsnprintf(message, sizeof(message), format, args) < 0)
		message[0] = '\0';
	va_end(args);

	sink = current_sink();
	switch ((enum log_format)atomic_load_explicit(&line_format, memory_order_relaxed)) {
	case LOG_FORMAT_TEXT:
		put_text_line(&line, level, room, message, sink);
		break;
	case LOG_FORMAT_LOGFMT:
		put_quoted_line(&line, level, room, message, &LOGFMT);
		break;
	case LOG_FORMAT_JSON:
		put_quoted_line(&line, level, room, message, &JSON);
		break;
	}
	line.text[line.length++] = '\n';
	if (!write_line(&line, sink))
		atomic_fetch_add_explicit(&dropped_count, 1, memory_order_relaxed);
	errno = saved_errno;
}

uint64_t log_dropped_count(void)
{
	return atomic_load_explicit(&dropped_count, memory_order_relaxed);
}

bool log_brake_take(struct log_brake *brake, uint64_t now_ms, uint64_t every_ms,
		    uint64_t *out_held_count)
{
	if (now_ms < brake->next_ms) {
		brake->held_count++;
		return false;
	}
	*out_held_count = brake->held_count;
	brake->held_count = 0;
	brake->next_ms = now_ms + every_ms;
	return true;
}
