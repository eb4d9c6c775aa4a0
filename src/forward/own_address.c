#include "forward/own_address.h"

#include <ifaddrs.h>

bool own_address_is_here(const struct addr *addr)
{
	struct ifaddrs *all;
	struct addr own;
	bool is_here = false;

	if (getifaddrs(&all))
		return false;
	for (const struct ifaddrs *at = all; at && !is_here; at = at->ifa_next)
		is_here = at->ifa_addr && addr_from_socket(at->ifa_addr, &own) == 0 &&
			  addr_same_ip(&own, addr);
	freeifaddrs(all);
	return is_here;
}
