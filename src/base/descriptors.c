#include "base/descriptors.h"

#include <sys/resource.h>

#define FIXED                                                                                      \
	64 /* listening sockets, event queues, Nomad, admin clients, files, TCP to upstreams */

void descriptors_raise(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur >= DESCRIPTORS_MAX)
		return;
	limit.rlim_cur = limit.rlim_max < DESCRIPTORS_MAX ? limit.rlim_max : DESCRIPTORS_MAX;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

unsigned descriptors_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur > DESCRIPTORS_MAX)
		return DESCRIPTORS_MAX;
	return (unsigned)limit.rlim_cur;
}

struct descriptors_plan descriptors_plan(unsigned limit, unsigned tcp_clients_wanted)
{
	unsigned fixed = limit / 2 < FIXED ? limit / 2 : FIXED;
	unsigned left = limit - fixed;
	unsigned tcp_clients = tcp_clients_wanted < left / 2 ? tcp_clients_wanted : left / 2;

	return (struct descriptors_plan){ .tcp_clients = tcp_clients,
					  .upstream_sockets = left - tcp_clients };
}
