#include "base/clock.h"

#include <time.h>

static uint64_t read_clock_us(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t clock_now_ms(void)
{
	return read_clock_us(CLOCK_BOOTTIME) / 1000;
}

uint64_t clock_now_us(void)
{
	return read_clock_us(CLOCK_BOOTTIME);
}

uint64_t clock_awake_us(void)
{
	return read_clock_us(CLOCK_MONOTONIC);
}

uint64_t clock_wall_s(void)
{
	return read_clock_us(CLOCK_REALTIME) / 1000000;
}
