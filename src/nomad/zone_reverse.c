#include "nomad/zone_reverse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dns/name.h"
#include "dns/records.h"
#include "nomad/zone_build.h"

size_t zone_reverse_owner(const struct addr *address, uint8_t out[DNS_NAME_MAX])
{
	char text[NAME_TEXT_MAX];
	size_t at = 0;
	int length;

	if (address->family == AF_INET) {
		const uint8_t *b = address->bytes;

		snprintf(text, sizeof(text), "%u.%u.%u.%u.in-addr.arpa", b[3], b[2], b[1], b[0]);
	} else {
		for (int i = 15; i >= 0; i--) {
			int written = snprintf(text + at, sizeof(text) - at, "%x.%x.",
					       address->bytes[i] & 15, address->bytes[i] >> 4);
			at += (size_t)written;
		}
		snprintf(text + at, sizeof(text) - at, "ip6.arpa");
	}
	length = name_parse(text, out);
	return length > 0 ? (size_t)length : 0;
}

uint8_t **zone_reverse_targets(const struct zone_settings *settings, const char *const *names,
			       size_t count, size_t *out_count)
{
	uint8_t(*storage)[DNS_NAME_MAX];
	uint8_t **targets = malloc((count + 1) * (sizeof(*targets) + sizeof(*storage)));
	uint8_t relative[DNS_NAME_MAX];

	*out_count = 0;
	if (!targets)
		return NULL;
	storage = (uint8_t(*)[DNS_NAME_MAX])(targets + count);
	for (size_t i = 0; i < count; i++) {
		int length = name_parse(names[i], relative);

		if (length < 0 || (size_t)length - 1 + settings->first_length > DNS_NAME_MAX)
			continue;
		name_fold(relative, (size_t)length - 1, storage[i]);
		memcpy(storage[i] + length - 1, settings->first, settings->first_length);
		targets[(*out_count)++] = storage[i];
	}
	return targets;
}

struct zone_name *zone_reverse_build(const uint8_t *owner, size_t length, uint32_t ttl_s,
				     const uint8_t *const *targets, size_t count)
{
	struct image_builder builder = { 0 };
	uint8_t rr[RECORDS_RR_MAX];
	struct zone_name *name;

	if (count > ZONE_RR_COUNT_MAX)
		count = ZONE_RR_COUNT_MAX;
	name = zone_build_bare(ZONE_REVERSE, ZONE_LOADED, owner, length, NULL, 0, count);
	if (!name)
		return NULL;
	for (size_t i = 0; i < count; i++) {
		int rr_length = records_ptr(targets[i], ttl_s, rr);

		if (rr_length < 0)
			builder.failed = 1;
		else
			image_builder_add(&builder, rr, (size_t)rr_length, RECORDS_SHORT_OWNER);
		name->picks[i] = (uint16_t)i;
	}
	name->image = image_builder_finish(&builder);
	if (name->image)
		return name;
	zone_name_free(name);
	return NULL;
}
