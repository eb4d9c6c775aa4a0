/*
 * One line per event, to stderr, by whoever decides. `error`: someone must act; `warn`: coped;
 * `info`: a state changed; `debug`: per query. Text lines carry journald priorities when stderr is
 * the journal ($JOURNAL_STREAM). Writing never blocks a loop: a line that cannot be written at once
 * is dropped and counted. Safe from any thread. A token never appears in a line; callers do not
 * pass one.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_LOGFMT, LOG_FORMAT_JSON };

/* Sets threshold and form. Callable at any time from the main thread; before the first call: info,
 * text. */
void log_setup(enum log_level level, enum log_format format);

/* Whether a line of `level` would be written: the guard for what is costly to format. */
bool log_is_on(enum log_level level);

/* Writes one line; `room` is the part of the program that speaks ("nomad", "listen"). A line over
 * 1,023 bytes is cut. */
void log_write(enum log_level level, const char *room, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#define log_error(room, ...) log_write(LOG_LEVEL_ERROR, room, __VA_ARGS__)
#define log_warn(room, ...) log_write(LOG_LEVEL_WARN, room, __VA_ARGS__)
#define log_info(room, ...) log_write(LOG_LEVEL_INFO, room, __VA_ARGS__)
#define log_debug(room, ...) log_write(LOG_LEVEL_DEBUG, room, __VA_ARGS__)

/* Lines dropped since start because stderr would have blocked. */
uint64_t log_dropped_count(void);

/*
 * A brake for a message that may repeat: `log_brake_take` says whether to write now (at most once
 * per `every_ms`), and how many were held back since the last one. Caller's storage, one owner;
 * zeroed is ready.
 */
struct log_brake {
	uint64_t next_ms;
	uint64_t held_count;
};

bool log_brake_take(struct log_brake *brake, uint64_t now_ms, uint64_t every_ms,
		    uint64_t *out_held_count);
