#include "base/process.h"

#include <dirent.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"

#define RETURN_BYTES (1u << 20)
#define HURRY_SLICE_NS 100000	 /* the shortest that the kernel grants */
#define STAT_START_TIME_FIELD 22 /* proc(5), /proc/pid/stat: in clock ticks since boot */

static pthread_once_t start_time_once = PTHREAD_ONCE_INIT;
static double start_time_s; /* 0: unknown */

static double read_clock_s(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static bool read_text(const char *path, char *out, size_t capacity)
{
	FILE *file = fopen(path, "re");
	size_t length;

	if (file == NULL)
		return false;
	length = fread(out, 1, capacity - 1, file);
	fclose(file);
	out[length] = '\0';
	return length > 0;
}

/* From the boot clock, not from btime: a sandbox (ProcSubset=pid) hides /proc/stat. Read once, so
 * that an adjusted wall clock does not look like a restart. */
static void read_start_time(void)
{
	unsigned long long ticks;
	char text[1024], *p;

	if (!read_text("/proc/self/stat", text, sizeof(text)))
		return;
	p = strrchr(text, ')'); /* field 2 may hold anything, blanks and brackets too */
	for (int field = 2; p != NULL && field < STAT_START_TIME_FIELD; field++)
		p = strchr(p + 1, ' ');
	if (p == NULL || sscanf(p, "%llu", &ticks) != 1)
		return;
	start_time_s = read_clock_s(CLOCK_REALTIME) - read_clock_s(CLOCK_BOOTTIME) +
		       (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

static void put_gauge(struct buf *out, const char *name, const char *help, double value)
{
	buf_printf(out, "# HELP process_%s %s\n# TYPE process_%s gauge\nprocess_%s %.15g\n", name,
		   help, name, name, value);
}

static void put_memory(struct buf *out)
{
	unsigned long long size_pages, resident_pages;
	double page_bytes = (double)sysconf(_SC_PAGESIZE);
	char text[256];

	if (!read_text("/proc/self/statm", text, sizeof(text)) ||
	    sscanf(text, "%llu %llu", &size_pages, &resident_pages) != 2)
		return;
	put_gauge(out, "resident_memory_bytes", "Resident memory size in bytes.",
		  (double)resident_pages * page_bytes);
	put_gauge(out, "virtual_memory_bytes", "Virtual memory size in bytes.",
		  (double)size_pages * page_bytes);
}

static double timeval_s(struct timeval tv)
{
	return (double)tv.tv_sec + (double)tv.tv_usec / 1e6;
}

static void put_cpu(struct buf *out)
{
	struct rusage usage;

	if (getrusage(RUSAGE_SELF, &usage) != 0)
		return;
	buf_printf(out,
		   "# HELP process_cpu_seconds_total Total user and system CPU time spent in "
		   "seconds.\n# TYPE process_cpu_seconds_total counter\n"
		   "process_cpu_seconds_total %.6f\n",
		   timeval_s(usage.ru_utime) + timeval_s(usage.ru_stime));
}

static void put_fds(struct buf *out)
{
	DIR *dir = opendir("/proc/self/fd");
	struct rlimit limit;
	int count = -3; /* ".", ".." and the directory itself */

	if (dir != NULL) {
		while (readdir(dir) != NULL)
			count++;
		closedir(dir);
		put_gauge(out, "open_fds", "Number of open file descriptors.", count);
	}
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	put_gauge(out, "max_fds", "Maximum number of open file descriptors.",
		  (double)limit.rlim_cur);
}

void process_render_metrics(struct buf *out)
{
	put_cpu(out);
	put_memory(out);
	put_fds(out);
	pthread_once(&start_time_once, read_start_time);
	if (start_time_s > 0)
		put_gauge(out, "start_time_seconds",
			  "Start time of the process since unix epoch in seconds.", start_time_s);
}

#ifdef __GLIBC__
/* Memory of ours that is there and holds nothing: what is resident less what is in use. */
static size_t count_idle_bytes(void)
{
	struct mallinfo2 heap = mallinfo2();
	size_t used_bytes = heap.uordblks + heap.hblkhd, resident_bytes = 0;
	unsigned long size, resident, shared;
	FILE *file = fopen("/proc/self/statm", "re");

	if (!file)
		return 0;
	if (fscanf(file, "%lu %lu %lu", &size, &resident, &shared) == 3 && resident > shared)
		resident_bytes = (resident - shared) * (size_t)sysconf(_SC_PAGESIZE);
	(void)fclose(file);
	return resident_bytes > used_bytes ? resident_bytes - used_bytes : 0;
}
#endif

void process_return_memory(void)
{
#ifdef __GLIBC__
	static size_t left_bytes; /* idle, and not to be had back */
	size_t idle_bytes = count_idle_bytes();

	if (idle_bytes < left_bytes)
		left_bytes = idle_bytes;
	if (idle_bytes - left_bytes < RETURN_BYTES)
		return;
	(void)malloc_trim(0);
	left_bytes = count_idle_bytes();
#endif
}

/* sched_setattr(2), which glibc has no function for until 2.41. */
struct thread_attr {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime_ns, deadline_ns, period_ns;
};

void process_hurry_thread(void)
{
	struct thread_attr attr = { .size = sizeof(attr),
				    .policy = SCHED_OTHER,
				    .nice = getpriority(PRIO_PROCESS, 0),
				    .runtime_ns = HURRY_SLICE_NS };

	/* Who runs us under another policy knows better. */
	if (sched_getscheduler(0) == SCHED_OTHER)
		(void)syscall(SYS_sched_setattr, 0, &attr, 0);
}
