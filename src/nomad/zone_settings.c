/* See zone_settings.h. The records that do not depend on Nomad are encoded here, once a reload. */
#include "nomad/zone_settings.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "dns/name.h"
#include "dns/records.h"
#include "nomad/zone_build.h"

static int make_apex(struct zone_apex *apex, const struct config_zone *zone, uint32_t ttl_s,
		     uint32_t negative_ttl_s)
{
	struct image_builder builder = { 0 };
	uint8_t rr[RECORDS_RR_MAX], server[DNS_NAME_MAX];
	const char *label[] = { "ns" };
	size_t serial_at = 0;
	int length = records_soa(zone->name, 0, negative_ttl_s, &serial_at, rr);

	if (length < 0)
		return length;
	if ((size_t)length > sizeof(apex->soa_rr))
		return -ENAMETOOLONG;
	apex->length = zone->length;
	memcpy(apex->name, zone->name, zone->length);
	memcpy(apex->soa_rr, rr, (size_t)length);
	apex->soa_length = (uint16_t)length;
	apex->soa_ttl_offset = (uint16_t)(zone->length + 4);
	apex->soa_serial_offset = (uint16_t)serial_at;
	if (zone_build_owner(label, 1, zone->name, zone->length, server) == 0)
		return -ENAMETOOLONG;
	length = records_ns(server, ttl_s, rr);
	if (length > 0)
		image_builder_add(&builder, rr, (size_t)length, RECORDS_SHORT_OWNER);
	length = records_any_hinfo(ttl_s, rr);
	if (length > 0)
		image_builder_add(&builder, rr, (size_t)length, RECORDS_SHORT_OWNER);
	apex->records = image_builder_finish(&builder);
	return apex->records && apex->records->rr_count == 2 ? 0 : -ENOMEM;
}

void zone_settings_free(struct zone_settings *settings)
{
	if (!settings)
		return;
	for (size_t i = 0; i < settings->apex_count; i++)
		free(settings->apex[i].records);
	free(settings);
}

static int compare_apexes(const void *a, const void *b)
{
	return (int)((const struct zone_apex *)b)->length -
	       (int)((const struct zone_apex *)a)->length;
}

struct zone_settings *zone_settings_make(const struct config *config, const struct config *zones)
{
	struct zone_settings *settings =
		calloc(1, sizeof(*settings) + zones->zone_count * sizeof(settings->apex[0]));

	if (!settings)
		return NULL;
	settings->ttl_s = config->ttl_s;
	settings->negative_ttl_s = config->negative_ttl_s;
	settings->max_stale_ms = config->max_stale_ms;
	settings->reverse = config->reverse;
	for (size_t i = 0; i < zones->zone_count; i++) {
		settings->apex_count = i + 1;
		if (make_apex(&settings->apex[i], &zones->zone[i], config->ttl_s,
			      config->negative_ttl_s) < 0) {
			zone_settings_free(settings);
			return NULL;
		}
	}
	memcpy(settings->first, zones->zone[0].name, zones->zone[0].length);
	settings->first_length = zones->zone[0].length;
	qsort(settings->apex, settings->apex_count, sizeof(settings->apex[0]), compare_apexes);
	return settings;
}

const struct zone_apex *zone_apex_of(const struct zone_settings *settings, const uint8_t *folded,
				     size_t length)
{
	for (size_t i = 0; i < settings->apex_count; i++) {
		const struct zone_apex *apex = &settings->apex[i];

		if (name_is_in(folded, length, apex->name, apex->length))
			return apex;
	}
	return NULL;
}
