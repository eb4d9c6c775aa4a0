/*
 * Which of a service's record sets a place in the zone means: all instances, those at an address,
 * those with a tag. Pure; what is returned is borrowed from the name.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "nomad/place.h"
#include "nomad/zone.h"

/* The set that a place at or below the service's name asks for. NULL: there is none, and the place
 * does not exist. */
const struct zone_set *sets_find(const struct zone_name *name, const struct place *place);

/* Whether any service of the namespace carries the (folded) tag. */
bool sets_has_tag(const struct zone_name *namespace, const uint8_t *label, uint8_t length);
