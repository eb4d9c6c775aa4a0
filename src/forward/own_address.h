/*
 * Whether an address is one of this host's: who listens on all of them listens there.
 */
#pragma once

#include <stdbool.h>

#include "base/addr.h"

bool own_address_is_here(const struct addr *addr);
