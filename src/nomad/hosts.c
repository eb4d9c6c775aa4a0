#include "nomad/hosts.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

struct hosts *hosts_new(uint16_t type)
{
	struct hosts *hosts = malloc(sizeof(*hosts));

	if (!hosts)
		return NULL;
	hosts->type = type;
	hosts->name_count = hosts->open_count = hosts->failed_count = 0;
	hosts->address_count = 0;
	return hosts;
}

void hosts_free(struct hosts *hosts)
{
	free(hosts);
}

bool hosts_add_name(struct hosts *hosts, const uint8_t *name, uint8_t length)
{
	if (hosts->name_count == HOSTS_MAX)
		return false;
	hosts->name_length[hosts->name_count] = length;
	memcpy(hosts->name[hosts->name_count++], name, length);
	hosts->open_count++;
	return true;
}

static void add_address(struct hosts *hosts, const struct addr *addr, uint32_t ttl_s)
{
	for (uint32_t i = 0; i < hosts->address_count; i++) {
		struct answer_address *known = &hosts->address[i];

		if (!addr_same_ip(&known->addr, addr))
			continue;
		known->ttl_s = min_u32(known->ttl_s, ttl_s);
		return;
	}
	if (hosts->address_count < HOSTS_ADDRESSES_MAX)
		hosts->address[hosts->address_count++] = (struct answer_address){ *addr, ttl_s };
}

/* The TTL a client of that answer would see, `ttl_max_s` at most. */
static uint32_t ttl_of(const struct answer *answer, uint32_t ttl_s, uint32_t ttl_max_s)
{
	if (!answer->is_stale && ttl_s)
		ttl_s = ttl_s > answer->age_s ? ttl_s - answer->age_s : 1;
	if (answer->ttl_all_s)
		ttl_s = answer->ttl_all_s;
	ttl_s = min_u32(ttl_s, answer->ttl_max_s);
	if (answer->is_stale && ttl_s == 0)
		ttl_s = 1; /* RFC 8767 §4 */
	return min_u32(ttl_s, ttl_max_s);
}

static void take_rr(struct hosts *hosts, const struct answer *answer, uint32_t index,
		    uint32_t ttl_max_s)
{
	const struct image_rr *rr = &answer->image->rr[index];
	const uint8_t *fixed = image_rr_bytes(answer->image, index) + rr->ttl_offset - 4;
	uint16_t length = load_be16(fixed + 8);
	struct addr addr = { 0 };

	if (load_be16(fixed) != hosts->type || length != (hosts->type == DNS_TYPE_A ? 4 : 16))
		return;
	addr.family = hosts->type == DNS_TYPE_A ? AF_INET : AF_INET6;
	memcpy(addr.bytes, fixed + DNS_RR_FIXED_BYTES, length);
	add_address(hosts, &addr, ttl_of(answer, load_be32(fixed + 4), ttl_max_s));
}

/* An upstream's ANSWER may lead through aliases; none of its addresses outlives one of them. */
static void take_chain(struct hosts *hosts, const struct answer *answer, uint32_t ttl_max_s)
{
	const struct image *image = answer->image;

	for (uint32_t i = 0; i < image->answer_count; i++) {
		const uint8_t *fixed = image_rr_bytes(image, i) + image->rr[i].ttl_offset - 4;

		if (load_be16(fixed) == DNS_TYPE_CNAME)
			ttl_max_s = ttl_of(answer, load_be32(fixed + 4), ttl_max_s);
	}
	for (uint32_t i = 0; i < image->answer_count; i++)
		take_rr(hosts, answer, i, ttl_max_s);
}

void hosts_take(struct hosts *hosts, const struct answer *answer, uint32_t ttl_max_s)
{
	hosts->open_count--;
	if (answer->rcode != DNS_NOERROR && answer->rcode != DNS_NXDOMAIN) {
		hosts->failed_count++;
		return;
	}
	for (uint32_t i = 0; answer->picks && i < answer->pick_count; i++)
		take_rr(hosts, answer, answer->picks[i], ttl_max_s);
	if (answer->image && !answer->picks)
		take_chain(hosts, answer, ttl_max_s);
	for (uint32_t i = 0; i < answer->address_count; i++)
		add_address(hosts, &answer->addresses[i].addr,
			    ttl_of(answer, answer->addresses[i].ttl_s, ttl_max_s));
}

void hosts_leave_out(struct hosts *hosts, const struct image *image, const uint16_t *picks,
		     uint32_t count)
{
	size_t length = hosts->type == DNS_TYPE_A ? 4 : 16;
	uint32_t kept = 0;

	for (uint32_t i = 0; i < hosts->address_count; i++) {
		bool is_there = false;

		for (uint32_t k = 0; k < count && !is_there; k++) {
			const struct image_rr *rr = &image->rr[picks[k]];
			const uint8_t *data = image_rr_bytes(image, picks[k]) + rr->length - length;

			is_there = memcmp(data, hosts->address[i].addr.bytes, length) == 0;
		}
		if (!is_there)
			hosts->address[kept++] = hosts->address[i];
	}
	hosts->address_count = kept;
}

uint32_t hosts_min_ttl(const struct hosts *hosts)
{
	uint32_t ttl_s = UINT32_MAX;

	for (uint32_t i = 0; i < hosts->address_count; i++)
		ttl_s = min_u32(ttl_s, hosts->address[i].ttl_s);
	return ttl_s;
}
