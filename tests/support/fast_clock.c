/*
 * A clock that runs faster, for tests of what takes minutes: preloaded into the daemon
 * (LD_PRELOAD). The file that FAST_CLOCK_FILE names holds one double, the factor; the test may
 * change it at any time. CLOCK_MONOTONIC and its kin run by it, and waits for events end that much
 * sooner.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S 1000000000LL
#define LOOK_AGAIN_MS 50 /* a wait that began before the factor changed ends soon after */

typedef int get_time(clockid_t clock, struct timespec *out);
typedef int wait_events(int epoll, struct epoll_event *events, int capacity, int timeout_ms,
			const sigset_t *mask);

static get_time *real_get_time;
static wait_events *real_wait;
static const volatile double *factor;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int64_t begun_ns[2], shown_ns[2]; /* monotonic and boot time: when the factor changed last */
static double used[2];

__attribute__((constructor)) static void open_file(void)
{
	const char *path = getenv("FAST_CLOCK_FILE");
	int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	void *memory = MAP_FAILED;

	if (file >= 0)
		memory = mmap(NULL, sizeof(double), PROT_READ, MAP_SHARED, file, 0);
	if (memory != MAP_FAILED)
		factor = memory;
}

static double factor_now(void)
{
	return factor && *factor >= 1 ? *factor : 1;
}

static int64_t hasten(int which, int64_t now_ns)
{
	int64_t shown;

	pthread_mutex_lock(&lock);
	if (used[which] == 0)
		begun_ns[which] = shown_ns[which] = now_ns;
	shown = shown_ns[which] + (int64_t)((double)(now_ns - begun_ns[which]) * used[which]);
	if (used[which] != factor_now()) {
		begun_ns[which] = now_ns;
		shown_ns[which] = shown;
		used[which] = factor_now();
	}
	pthread_mutex_unlock(&lock);
	return shown;
}

int clock_gettime(clockid_t clock, struct timespec *out)
{
	int64_t now_ns;
	int rc;

	if (!real_get_time)
		real_get_time = (get_time *)dlsym(RTLD_NEXT, "clock_gettime");
	rc = real_get_time(clock, out);
	if (rc != 0 || clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE ||
	    clock == CLOCK_PROCESS_CPUTIME_ID || clock == CLOCK_THREAD_CPUTIME_ID)
		return rc;
	now_ns = hasten(clock == CLOCK_BOOTTIME, out->tv_sec * NS_PER_S + out->tv_nsec);
	out->tv_sec = now_ns / NS_PER_S;
	out->tv_nsec = now_ns % NS_PER_S;
	return 0;
}

int epoll_pwait(int epoll, struct epoll_event *events, int capacity, int timeout_ms,
		const sigset_t *mask)
{
	int wait_ms = timeout_ms;

	if (!real_wait)
		real_wait = (wait_events *)dlsym(RTLD_NEXT, "epoll_pwait");
	if (timeout_ms > 0)
		wait_ms = (int)((double)timeout_ms / factor_now()) + 1;
	if (factor && wait_ms > LOOK_AGAIN_MS)
		wait_ms = LOOK_AGAIN_MS; /* libuv looks at the clock then, and waits on */
	return real_wait(epoll, events, capacity, wait_ms, mask);
}

int epoll_wait(int epoll, struct epoll_event *events, int capacity, int timeout_ms)
{
	return epoll_pwait(epoll, events, capacity, timeout_ms, NULL);
}
