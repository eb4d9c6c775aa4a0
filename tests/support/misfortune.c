/*
 * Bad luck on order: preloaded into the daemon (LD_PRELOAD), it makes one allocation in so many
 * fail, one send in so many meet a full kernel, and the wall clock show another time. What happens
 * stands in the file that MISFORTUNE_FILE names, which the test has mapped too and changes at will.
 *
 * libcurl's own allocations are spared: 7.88 divides by zero after some of them failed.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct orders {				    /* five 64-bit numbers; the test knows this form */
	_Atomic uint64_t allocation_one_in; /* 0: none fails */
	_Atomic uint64_t send_one_in;
	_Atomic int64_t wall_shift_s;
	_Atomic uint64_t failed_allocations; /* counted here */
	_Atomic uint64_t failed_sends;
};

/* glibc's own names of what stands behind the public ones */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

static struct orders none;
static struct orders *orders = &none;

static uintptr_t spared_from, spared_to; /* the code of libcurl */

static int find_spared(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size, (void)arg;
	if (!strstr(info->dlpi_name, "/libcurl"))
		return 0;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *part = &info->dlpi_phdr[i];

		if (part->p_type != PT_LOAD || !(part->p_flags & PF_X))
			continue;
		spared_from = info->dlpi_addr + part->p_vaddr;
		spared_to = spared_from + part->p_memsz;
	}
	return 1;
}

__attribute__((constructor)) static void map_orders(void)
{
	const char *path = getenv("MISFORTUNE_FILE");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *mapped;

	dl_iterate_phdr(find_spared, NULL);
	if (fd < 0)
		return;
	mapped = mmap(NULL, sizeof(*orders), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (mapped != MAP_FAILED)
		orders = mapped;
}

/* xorshift64, one state a thread; the same threads meet the same luck only by chance. */
static int is_hit(uint64_t one_in)
{
	static __thread uint64_t state __attribute__((tls_model("initial-exec")));

	if (one_in == 0)
		return 0;
	if (state == 0)
		state = (uint64_t)gettid() * UINT64_C(0x9e3779b97f4a7c15) | 1;
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (state >> 11) % one_in == 0;
}

static int is_refused(const void *caller)
{
	uintptr_t at = (uintptr_t)caller;

	if ((at >= spared_from && at < spared_to) || !is_hit(orders->allocation_one_in))
		return 0;
	orders->failed_allocations++;
	errno = ENOMEM;
	return 1;
}

void *malloc(size_t size)
{
	return is_refused(__builtin_return_address(0)) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	return is_refused(__builtin_return_address(0)) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *block, size_t size)
{
	return is_refused(__builtin_return_address(0)) ? NULL : __libc_realloc(block, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
	return is_refused(__builtin_return_address(0)) ? NULL : __libc_memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
	void *block =
		is_refused(__builtin_return_address(0)) ? NULL : __libc_memalign(alignment, size);

	if (!block)
		return ENOMEM;
	*out = block;
	return 0;
}

/* The next library's function of this name, looked up once. */
static void *next_of(const char *name, _Atomic(void *) *kept)
{
	void *found = atomic_load(kept);

	if (!found) {
		found = dlsym(RTLD_NEXT, name);
		atomic_store(kept, found);
	}
	return found;
}

#define NEXT(function)                                                                             \
	static _Atomic(void *) kept;                                                               \
	__typeof__(&(function)) next = (__typeof__(&(function)))next_of(#function, &kept)

static int is_full(void)
{
	if (!is_hit(orders->send_one_in))
		return 0;
	orders->failed_sends++;
	errno = ENOBUFS;
	return 1;
}

int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
	NEXT(sendmmsg);
	return is_full() ? -1 : next(fd, messages, count, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	NEXT(sendmsg);
	return is_full() ? -1 : next(fd, message, flags);
}

ssize_t sendto(int fd, const void *data, size_t length, int flags, const struct sockaddr *to,
	       socklen_t to_length)
{
	NEXT(sendto);
	return is_full() ? -1 : next(fd, data, length, flags, to, to_length);
}

ssize_t send(int fd, const void *data, size_t length, int flags)
{
	NEXT(send);
	return is_full() ? -1 : next(fd, data, length, flags);
}

int clock_gettime(clockid_t clock, struct timespec *out)
{
	NEXT(clock_gettime);
	int rc = next(clock, out);

	if (rc == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		out->tv_sec += (time_t)orders->wall_shift_s;
	return rc;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
	struct timespec now;

	(void)zone;
	clock_gettime(CLOCK_REALTIME, &now);
	*out = (struct timeval){ now.tv_sec, now.tv_nsec / 1000 };
	return 0;
}

time_t time(time_t *out)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (out)
		*out = now.tv_sec;
	return now.tv_sec;
}
