/*
 * The configured zones as answers need them: each apex with its SOA, NS and the HINFO for ANY,
 * encoded once, the longest name first. Pure; the zone replaces them as a whole, under RCU.
 */
#pragma once

#include "nomad/zone.h"

struct config;

/* Values of `config`, for the zones of `zones`. Caller frees with zone_settings_free. NULL: out of
 * memory. */
struct zone_settings *zone_settings_make(const struct config *config, const struct config *zones);

void zone_settings_free(struct zone_settings *settings);
