/*
 * Instances whose Nomad address is a host name: the addresses of those names, collected for one
 * waiting query. The pipeline asks for each name (cache → forward, or our own zone, one step) and
 * brings what came; the nomad stage then answers with all of them as records of the service's own
 * name. Heap, owned by the query.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "dns/answer.h"

#define HOSTS_MAX 8	       /* names resolved for one question; more are left out */
#define HOSTS_ADDRESSES_MAX 64 /* records they may bring together */

struct hosts {
	uint16_t type; /* A or AAAA */
	uint8_t name_count;
	uint8_t open_count;   /* names whose answer has not come yet */
	uint8_t failed_count; /* names nobody could resolve now */
	uint8_t name_length[HOSTS_MAX];
	uint8_t name[HOSTS_MAX][DNS_NAME_MAX];
	uint32_t address_count;
	struct answer_address address[HOSTS_ADDRESSES_MAX];
};

struct hosts *hosts_new(uint16_t type); /* NULL: out of memory */
void hosts_free(struct hosts *hosts);

/* One more folded wire name to resolve. false: there are enough. */
bool hosts_add_name(struct hosts *hosts, const uint8_t *name, uint8_t length);

/* What came for one of the names: its addresses are copied, each once; TTLs as a client would see
 * them, at most `ttl_max_s`. */
void hosts_take(struct hosts *hosts, const struct answer *answer, uint32_t ttl_max_s);

/* Forgets the addresses that the picked A or AAAA records of `image` hold already (RFC 2181 §5). */
void hosts_leave_out(struct hosts *hosts, const struct image *image, const uint16_t *picks,
		     uint32_t count);

/* The smallest TTL of the addresses; UINT32_MAX when there are none. */
uint32_t hosts_min_ttl(const struct hosts *hosts);
