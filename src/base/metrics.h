/*
 * Counters. The table in metrics.c has one row per metric: name, help, type, label. Each thread
 * owns one block and adds to it without a lock (relaxed atomics, one writer); the admin room sums
 * the blocks when it is asked. A row here also needs its line in METRIC_ROWS of metrics.c and its
 * entry in man/nomad-dns.8; tests hold them together.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

struct buf;

/* A histogram: how many took at most 0.25 ms, 0.5 ms … 8.192 s (CoreDNS's buckets), and longer. */
#define METRIC_BUCKETS 17
#define METRIC_BUCKET_US 250

enum metric {
	/* data plane: one writer per worker */
	METRIC_REQUESTS_UDP,
	METRIC_REQUESTS_TCP,
	METRIC_REQUESTS_DROPPED,	/* shorter than a header, or a reply */
	METRIC_REQUESTS_REFUSED_SOURCE, /* not in `allow` */
	METRIC_RESPONSES_FIRST,		/* + stage * METRIC_RCODES + rcode: see metric_response() */
	METRIC_RESPONSES_LAST = METRIC_RESPONSES_FIRST + 4 * 17 - 1,
	METRIC_RESPONSES_TRUNCATED,
	METRIC_RESPONSES_CUT_64K, /* more records than a message holds */
	METRIC_RESPONSES_UNSENT,  /* the kernel refused them, or the client was gone */
	METRIC_QUERIES_EXPIRED,	  /* no answer before the deadline */
	METRIC_QUERIES_OVER_LIMIT,
	METRIC_STALE_NOMAD, /* stale answers by where they came from */
	METRIC_STALE_CACHE,
	METRIC_REQUEST_DURATION, /* a histogram: its buckets, then the sum in microseconds */
	METRIC_REQUEST_DURATION_SUM = METRIC_REQUEST_DURATION + METRIC_BUCKETS,
	METRIC_CACHE_HITS_SUCCESS,
	METRIC_CACHE_HITS_DENIAL,
	METRIC_CACHE_MISSES,
	METRIC_CACHE_EVICTIONS,
	METRIC_CACHE_PREFETCHES, /* refreshed before they expired */
	METRIC_REBINDS_BLOCKED,	 /* answers emptied by rebind-protection */
	METRIC_UDP_KERNEL_DROPS, /* SO_RXQ_OVFL */
	METRIC_TCP_ACCEPTED,
	METRIC_TCP_REFUSED, /* over tcp-max-clients */
	METRIC_TCP_CLOSED_IDLE,
	METRIC_TCP_CLOSED_SLOW,	   /* did not read its answers */
	METRIC_TCP_CLOSED_CROWDED, /* waited, and its address had most */
	METRIC_UPSTREAM_QUERIES_UDP,
	METRIC_UPSTREAM_QUERIES_TCP,
	METRIC_UPSTREAM_TIMEOUTS,
	METRIC_UPSTREAM_REPLIES_BAD, /* wrong id, question, form: ignored */
	METRIC_UPSTREAM_FAILED,	     /* exchanges that ended without an answer */
	METRIC_UPSTREAM_COALESCED,   /* questions that joined an exchange under way */
	METRIC_UPSTREAM_LOOPS,	     /* upstreams found to lead back to us */
	METRIC_UPSTREAM_TLS_FULL,    /* handshakes, by how they ended */
	METRIC_UPSTREAM_TLS_RESUMED,
	METRIC_UPSTREAM_TLS_FAILED,
	/* control plane: the main thread */
	METRIC_NOMAD_REQUESTS_LIST,
	METRIC_NOMAD_REQUESTS_SERVICE,
	METRIC_NOMAD_REQUESTS_HELD,
	METRIC_NOMAD_REQUESTS_STREAM,
	METRIC_NOMAD_FAILURES_CONNECT,
	METRIC_NOMAD_FAILURES_TIMEOUT,
	METRIC_NOMAD_FAILURES_STATUS, /* 5xx */
	METRIC_NOMAD_FAILURES_DENIED, /* 401, 403 */
	METRIC_NOMAD_FAILURES_BODY,   /* not what Nomad says */
	METRIC_NOMAD_DURATION,	      /* a histogram, like the one above */
	METRIC_NOMAD_DURATION_SUM = METRIC_NOMAD_DURATION + METRIC_BUCKETS,
	METRIC_NOMAD_INSTANCES_LEFT_OUT,
	METRIC_NOMAD_EVENTS,
	METRIC_NOMAD_EVENTS_BAD,
	METRIC_NOMAD_STREAM_RESTARTS,
	METRIC_NOMAD_MISSED_CHANGES, /* that neither stream nor alarm told */
	METRIC_NOMAD_FULL_LISTS,
	METRIC_NOMAD_OVER_LIMIT, /* needs refused at a ceiling */
	METRIC_CONFIG_RELOADS_FAILED,
	/* gauges: set, not added; main thread or the worker that owns them */
	METRIC_CACHE_ENTRIES_SUCCESS,
	METRIC_CACHE_ENTRIES_DENIAL,
	METRIC_CACHE_BYTES,
	METRIC_QUERIES_WAITING,
	METRIC_TCP_CLIENTS,
	METRIC_UPSTREAM_CONNECTIONS_TCP, /* open now */
	METRIC_UPSTREAM_CONNECTIONS_TLS,
	METRIC_NOMAD_SERVICES,
	METRIC_NOMAD_INSTANCES,
	METRIC_NOMAD_INDEX,
	METRIC_NOMAD_TIER_STREAM, /* 1 for the tier there is */
	METRIC_NOMAD_TIER_WATCH,
	METRIC_NOMAD_TIER_LOOKUP,
	METRIC_NOMAD_CONNECTED, /* 1 unless Nomad is lost */
	METRIC_CONFIG_RELOAD_OK,
	METRIC_COUNT,
};

/* Which part answered; the label `plugin` of responses_total, as existing dashboards expect. */
enum metric_stage {
	METRIC_STAGE_NONE,
	METRIC_STAGE_NOMAD,
	METRIC_STAGE_CACHE,
	METRIC_STAGE_FORWARD
};
#define METRIC_RCODES 17 /* 0..15 and BADVERS (16) */

struct metrics {
	_Atomic uint64_t value[METRIC_COUNT];
} __attribute__((aligned(64)));

static inline void metrics_add(struct metrics *metrics, enum metric metric, uint64_t amount)
{
	uint64_t old = atomic_load_explicit(&metrics->value[metric], memory_order_relaxed);

	atomic_store_explicit(&metrics->value[metric], old + amount, memory_order_relaxed);
}

static inline void metrics_subtract(struct metrics *metrics, enum metric metric, uint64_t amount)
{
	metrics_add(metrics, metric, 0 - amount);
}

static inline void metrics_set(struct metrics *metrics, enum metric metric, uint64_t value)
{
	atomic_store_explicit(&metrics->value[metric], value, memory_order_relaxed);
}

/* Counts `count` things that took `us` microseconds each; `histogram` is its first bucket. */
static inline void metrics_observe(struct metrics *metrics, enum metric histogram, uint64_t us,
				   uint64_t count)
{
	unsigned bucket = 0;

	if (us > METRIC_BUCKET_US)
		bucket = 64 - (unsigned)__builtin_clzll((us - 1) / METRIC_BUCKET_US);
	if (bucket >= METRIC_BUCKETS)
		bucket = METRIC_BUCKETS - 1;
	metrics_add(metrics, (enum metric)(histogram + bucket), count);
	metrics_add(metrics, (enum metric)(histogram + METRIC_BUCKETS), us * count);
}

static inline enum metric metric_response(enum metric_stage stage, unsigned rcode)
{
	return (enum metric)(METRIC_RESPONSES_FIRST + (unsigned)stage * METRIC_RCODES +
			     (rcode < 16 ? rcode : 16));
}

/*
 * Writes the sum of `count` blocks as a Prometheus text page (version 0.0.4), names under `prefix`,
 * with HELP and TYPE lines, process_* metrics and build_info. Caller checks out->failed.
 */
void metrics_render(const struct metrics *const *blocks, unsigned count, const char *prefix,
		    struct buf *out);
