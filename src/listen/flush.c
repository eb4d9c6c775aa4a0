#include "listen/flush.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MS_PER_S 1000
#define NS_PER_MS 1000000
#define NS_PER_S 1000000000

struct flush {
	pthread_mutex_t lock;
	pthread_cond_t has_reported;
	unsigned holders; /* the asker, and the workers that have not reported */
	bool is_awaited;  /* the asker is one of them */
	size_t dropped_count;
	size_t length;
	uint8_t name[DNS_NAME_MAX];
};

struct flush *flush_new(const uint8_t *name, size_t length, unsigned worker_count)
{
	struct flush *flush = calloc(1, sizeof(*flush));
	pthread_condattr_t attributes;

	if (!flush)
		return NULL;
	(void)pthread_mutex_init(&flush->lock, NULL); /* none of these can fail on Linux */
	(void)pthread_condattr_init(&attributes);
	(void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&flush->has_reported, &attributes);
	(void)pthread_condattr_destroy(&attributes);
	flush->holders = worker_count + 1;
	flush->is_awaited = true;
	flush->length = length;
	memcpy(flush->name, name, length);
	return flush;
}

const uint8_t *flush_name(const struct flush *flush, size_t *out_length)
{
	*out_length = flush->length;
	return flush->name;
}

/* Unlocks, and frees when nobody is left. */
static void let_go(struct flush *flush)
{
	bool is_last = --flush->holders == 0;

	(void)pthread_mutex_unlock(&flush->lock);
	if (!is_last)
		return;
	(void)pthread_cond_destroy(&flush->has_reported);
	(void)pthread_mutex_destroy(&flush->lock);
	free(flush);
}

void flush_report(struct flush *flush, size_t dropped_count)
{
	(void)pthread_mutex_lock(&flush->lock);
	flush->dropped_count += dropped_count;
	if (flush->is_awaited)
		(void)pthread_cond_signal(&flush->has_reported);
	let_go(flush);
}

static struct timespec deadline_in(uint64_t timeout_ms)
{
	struct timespec at;

	(void)clock_gettime(CLOCK_MONOTONIC, &at);
	at.tv_sec += (time_t)(timeout_ms / MS_PER_S);
	at.tv_nsec += (long)(timeout_ms % MS_PER_S) * NS_PER_MS;
	if (at.tv_nsec >= NS_PER_S) {
		at.tv_sec++;
		at.tv_nsec -= NS_PER_S;
	}
	return at;
}

int flush_wait(struct flush *flush, uint64_t timeout_ms, size_t *out_dropped_count)
{
	struct timespec deadline = deadline_in(timeout_ms);
	int result = 0;

	(void)pthread_mutex_lock(&flush->lock);
	while (flush->holders > 1 && result == 0)
		result = pthread_cond_timedwait(&flush->has_reported, &flush->lock, &deadline);
	result = flush->holders > 1 ? -ETIMEDOUT : 0;
	*out_dropped_count = flush->dropped_count;
	flush->is_awaited = false;
	let_go(flush);
	return result;
}
