/*
 * Counts allocations and locks per thread, for the test that a hit costs none: preloaded into the
 * daemon (LD_PRELOAD), it writes its counters into the file that ALLOC_COUNT_FILE names, which the
 * test has mapped too. The file holds SLOTS slots; a thread takes the next one at its first call.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define SLOTS 64

struct slot { /* five 64-bit numbers; the test knows this form */
	_Atomic uint64_t thread;
	_Atomic uint64_t allocations; /* malloc, calloc, realloc, aligned_alloc, posix_memalign */
	_Atomic uint64_t frees;	      /* of something */
	_Atomic uint64_t locks;	      /* pthread mutex and rwlock */
	_Atomic uint64_t waits;	      /* condition variables */
};

/* glibc's own names of what stands behind the public ones */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *block);

static struct slot *slots;
static struct slot spare; /* before the file is there, and for threads past the last slot */
static atomic_uint next_slot;
static __thread struct slot *own __attribute__((tls_model("initial-exec")));

__attribute__((constructor)) static void map_counters(void)
{
	const char *path = getenv("ALLOC_COUNT_FILE");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;

	if (fd < 0)
		return;
	void *mapped =
		mmap(NULL, SLOTS * sizeof(struct slot), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (mapped != MAP_FAILED)
		slots = mapped;
}

static struct slot *mine(void)
{
	if (own)
		return own;
	if (!slots)
		return &spare;
	unsigned number = atomic_fetch_add(&next_slot, 1);
	own = number < SLOTS ? &slots[number] : &spare;
	own->thread = (uint64_t)gettid();
	return own;
}

void *malloc(size_t size)
{
	mine()->allocations++;
	return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	mine()->allocations++;
	return __libc_calloc(count, size);
}

void *realloc(void *block, size_t size)
{
	mine()->allocations++;
	return __libc_realloc(block, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
	mine()->allocations++;
	return __libc_memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
	mine()->allocations++;
	void *block = __libc_memalign(alignment, size);
	if (!block)
		return 12; /* ENOMEM */
	*out = block;
	return 0;
}

void free(void *block)
{
	if (block)
		mine()->frees++;
	__libc_free(block);
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

#define COUNTED(name, object, counter)                                                             \
	int name(object *one)                                                                      \
	{                                                                                          \
		static _Atomic(void *) kept;                                                       \
		int (*next)(object *) = (int (*)(object *))next_of(#name, &kept);                  \
		mine()->counter++;                                                                 \
		return next(one);                                                                  \
	}

COUNTED(pthread_mutex_lock, pthread_mutex_t, locks)
COUNTED(pthread_mutex_trylock, pthread_mutex_t, locks)
COUNTED(pthread_rwlock_rdlock, pthread_rwlock_t, locks)
COUNTED(pthread_rwlock_wrlock, pthread_rwlock_t, locks)

int pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex)
{
	static _Atomic(void *) kept;
	int (*next)(pthread_cond_t *, pthread_mutex_t *) =
		(int (*)(pthread_cond_t *, pthread_mutex_t *))next_of("pthread_cond_wait", &kept);

	mine()->waits++;
	return next(condition, mutex);
}
