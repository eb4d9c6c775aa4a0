/* One line per answered query, when the operator asks for it (`log-queries`), in the form CoreDNS
 * made common. */
#pragma once

#include "config/config.h"
#include "dns/answer.h"
#include "query/query.h"

/* Writes the line if `which` wants one for this answer. `reply_bytes` is the reply's length,
 * `now_us` monotonic. */
void query_log_write(enum config_log_queries which, const struct query *query,
		     const struct answer *answer, uint16_t reply_flags, size_t reply_bytes,
		     uint64_t now_us);
