#include "listen/tcp_crowd.h"

#include <string.h>

void tcp_crowd_init(struct tcp_crowd *crowd)
{
	memset(crowd, 0, sizeof(*crowd));
	hash_random(&crowd->secret, sizeof(crowd->secret));
}

static unsigned place_of(const struct tcp_crowd *crowd, const struct addr *peer)
{
	return hash_bytes(&crowd->secret, peer->bytes, sizeof(peer->bytes)) % TCP_CROWD_PLACES;
}

void tcp_crowd_enter(struct tcp_crowd *crowd, const struct addr *peer)
{
	crowd->count[place_of(crowd, peer)]++;
}

void tcp_crowd_leave(struct tcp_crowd *crowd, const struct addr *peer)
{
	crowd->count[place_of(crowd, peer)]--;
}

uint32_t tcp_crowd_largest(const struct tcp_crowd *crowd)
{
	uint32_t largest = 0;

	for (unsigned i = 0; i < TCP_CROWD_PLACES; i++) {
		if (crowd->count[i] > largest)
			largest = crowd->count[i];
	}
	return largest;
}

uint32_t tcp_crowd_count(const struct tcp_crowd *crowd, const struct addr *peer)
{
	return crowd->count[place_of(crowd, peer)];
}
