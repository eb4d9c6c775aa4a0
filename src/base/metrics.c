/*
 * METRIC_ROWS is the page: rows of one family follow each other, the first of them writes HELP and
 * TYPE. Names and labels are those CoreDNS uses where it has the same thing, so that existing
 * dashboards work. dns_responses_total has a row for each pair of stage and rcode and is computed.
 */
#include "base/metrics.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/log.h"
#include "base/process.h"

enum row_kind { ROW_COUNTER, ROW_GAUGE, ROW_GAUGE_MAX /* blocks do not add up */ };

struct metric_row {
	enum metric metric;
	enum row_kind kind;
	const char *name;
	const char *label; /* `type="success"`; NULL: none */
	const char *help;
};

static const struct metric_row METRIC_ROWS[] = {
	{ METRIC_REQUESTS_UDP, ROW_COUNTER, "dns_requests_total", "proto=\"udp\"",
	  "DNS requests received." },
	{ METRIC_REQUESTS_TCP, ROW_COUNTER, "dns_requests_total", "proto=\"tcp\"", NULL },
	{ METRIC_REQUESTS_DROPPED, ROW_COUNTER, "dns_requests_dropped_total", NULL,
	  "Packets that were no request: shorter than a header, or a reply." },
	{ METRIC_REQUESTS_REFUSED_SOURCE, ROW_COUNTER, "dns_requests_refused_total", NULL,
	  "Requests from an address that is not allowed to ask." },
	{ METRIC_RESPONSES_TRUNCATED, ROW_COUNTER, "dns_responses_truncated_total", NULL,
	  "Responses over UDP that told the client to ask again over TCP." },
	{ METRIC_RESPONSES_CUT_64K, ROW_COUNTER, "dns_responses_cut_total", NULL,
	  "Responses with fewer records than there are, because a message holds no more." },
	{ METRIC_RESPONSES_UNSENT, ROW_COUNTER, "dns_responses_unsent_total", NULL,
	  "Responses that could not be sent or whose client was gone." },
	{ METRIC_QUERIES_WAITING, ROW_GAUGE, "queries_waiting", NULL,
	  "Queries waiting for Nomad or an upstream resolver." },
	{ METRIC_QUERIES_EXPIRED, ROW_COUNTER, "queries_expired_total", NULL,
	  "Queries that got no answer before their deadline." },
	{ METRIC_QUERIES_OVER_LIMIT, ROW_COUNTER, "queries_over_limit_total", NULL,
	  "Queries refused because too many were waiting." },
	{ METRIC_STALE_NOMAD, ROW_COUNTER, "stale_answers_total", "source=\"nomad\"",
	  "Answers given from data past its time because the source was unreachable." },
	{ METRIC_STALE_CACHE, ROW_COUNTER, "stale_answers_total", "source=\"cache\"", NULL },
	{ METRIC_CACHE_HITS_SUCCESS, ROW_COUNTER, "cache_hits_total", "type=\"success\"",
	  "Questions answered from the cache." },
	{ METRIC_CACHE_HITS_DENIAL, ROW_COUNTER, "cache_hits_total", "type=\"denial\"", NULL },
	{ METRIC_CACHE_MISSES, ROW_COUNTER, "cache_misses_total", NULL,
	  "Questions not found in the cache." },
	{ METRIC_CACHE_EVICTIONS, ROW_COUNTER, "cache_evictions_total", NULL,
	  "Cache entries removed to make room." },
	{ METRIC_CACHE_PREFETCHES, ROW_COUNTER, "cache_prefetches_total", NULL,
	  "Cache entries asked for anew before they expired." },
	{ METRIC_REBINDS_BLOCKED, ROW_COUNTER, "rebinds_blocked_total", NULL,
	  "Answers from upstream emptied because they held a private address." },
	{ METRIC_CACHE_ENTRIES_SUCCESS, ROW_GAUGE, "cache_entries", "type=\"success\"",
	  "Entries in the cache." },
	{ METRIC_CACHE_ENTRIES_DENIAL, ROW_GAUGE, "cache_entries", "type=\"denial\"", NULL },
	{ METRIC_CACHE_BYTES, ROW_GAUGE, "cache_bytes", NULL, "Bytes the cache's entries take." },
	{ METRIC_UDP_KERNEL_DROPS, ROW_COUNTER, "udp_kernel_drops_total", NULL,
	  "Packets the kernel dropped because the receive buffer was full." },
	{ METRIC_TCP_CLIENTS, ROW_GAUGE, "tcp_clients", NULL, "TCP clients connected." },
	{ METRIC_TCP_ACCEPTED, ROW_COUNTER, "tcp_accepted_total", NULL,
	  "TCP connections accepted." },
	{ METRIC_TCP_REFUSED, ROW_COUNTER, "tcp_refused_total", NULL,
	  "TCP connections closed at once because tcp-max-clients was reached." },
	{ METRIC_TCP_CLOSED_IDLE, ROW_COUNTER, "tcp_closed_total", "reason=\"idle\"",
	  "TCP connections we closed." },
	{ METRIC_TCP_CLOSED_SLOW, ROW_COUNTER, "tcp_closed_total", "reason=\"slow\"", NULL },
	{ METRIC_TCP_CLOSED_CROWDED, ROW_COUNTER, "tcp_closed_total", "reason=\"crowded\"", NULL },
	{ METRIC_UPSTREAM_QUERIES_UDP, ROW_COUNTER, "forward_requests_total", "proto=\"udp\"",
	  "Queries sent to upstream resolvers." },
	{ METRIC_UPSTREAM_QUERIES_TCP, ROW_COUNTER, "forward_requests_total", "proto=\"tcp\"",
	  NULL },
	{ METRIC_UPSTREAM_TIMEOUTS, ROW_COUNTER, "forward_timeouts_total", NULL,
	  "Queries an upstream resolver did not answer in time." },
	{ METRIC_UPSTREAM_REPLIES_BAD, ROW_COUNTER, "forward_bad_replies_total", NULL,
	  "Packets from upstream ignored: wrong id, question or form." },
	{ METRIC_UPSTREAM_FAILED, ROW_COUNTER, "forward_failures_total", NULL,
	  "Questions no upstream resolver answered." },
	{ METRIC_UPSTREAM_COALESCED, ROW_COUNTER, "forward_coalesced_total", NULL,
	  "Questions that joined an identical one already under way." },
	{ METRIC_UPSTREAM_TLS_FULL, ROW_COUNTER, "forward_tls_handshakes_total", "result=\"full\"",
	  "TLS handshakes with upstream resolvers; those failed that met no connection, too." },
	{ METRIC_UPSTREAM_TLS_RESUMED, ROW_COUNTER, "forward_tls_handshakes_total",
	  "result=\"resumed\"", NULL },
	{ METRIC_UPSTREAM_TLS_FAILED, ROW_COUNTER, "forward_tls_handshakes_total",
	  "result=\"failed\"", NULL },
	{ METRIC_UPSTREAM_CONNECTIONS_TCP, ROW_GAUGE, "forward_connections", "proto=\"tcp\"",
	  "Connections to upstream resolvers that are open." },
	{ METRIC_UPSTREAM_CONNECTIONS_TLS, ROW_GAUGE, "forward_connections", "proto=\"tls\"",
	  NULL },
	{ METRIC_UPSTREAM_LOOPS, ROW_COUNTER, "forward_loops_total", NULL,
	  "How often an upstream resolver was found to lead back to this one." },
	{ METRIC_NOMAD_REQUESTS_LIST, ROW_COUNTER, "nomad_requests_total", "endpoint=\"services\"",
	  "HTTP requests sent to Nomad." },
	{ METRIC_NOMAD_REQUESTS_SERVICE, ROW_COUNTER, "nomad_requests_total",
	  "endpoint=\"service\"", NULL },
	{ METRIC_NOMAD_REQUESTS_HELD, ROW_COUNTER, "nomad_requests_total", "endpoint=\"held\"",
	  NULL },
	{ METRIC_NOMAD_REQUESTS_STREAM, ROW_COUNTER, "nomad_requests_total", "endpoint=\"stream\"",
	  NULL },
	{ METRIC_NOMAD_FAILURES_CONNECT, ROW_COUNTER, "nomad_failures_total", "reason=\"connect\"",
	  "HTTP requests to Nomad that failed." },
	{ METRIC_NOMAD_FAILURES_TIMEOUT, ROW_COUNTER, "nomad_failures_total", "reason=\"timeout\"",
	  NULL },
	{ METRIC_NOMAD_FAILURES_STATUS, ROW_COUNTER, "nomad_failures_total", "reason=\"status\"",
	  NULL },
	{ METRIC_NOMAD_FAILURES_DENIED, ROW_COUNTER, "nomad_failures_total", "reason=\"denied\"",
	  NULL },
	{ METRIC_NOMAD_FAILURES_BODY, ROW_COUNTER, "nomad_failures_total", "reason=\"body\"",
	  NULL },
	{ METRIC_NOMAD_INSTANCES_LEFT_OUT, ROW_COUNTER, "nomad_instances_left_out_total", NULL,
	  "Instances that cannot be expressed in DNS." },
	{ METRIC_NOMAD_EVENTS, ROW_COUNTER, "nomad_events_total", NULL,
	  "Events of Nomad's stream that were read." },
	{ METRIC_NOMAD_EVENTS_BAD, ROW_COUNTER, "nomad_events_bad_total", NULL,
	  "Events of Nomad's stream that made no sense and were passed over." },
	{ METRIC_NOMAD_STREAM_RESTARTS, ROW_COUNTER, "nomad_stream_restarts_total", NULL,
	  "How often the event stream ended or could not be believed any more." },
	{ METRIC_NOMAD_MISSED_CHANGES, ROW_COUNTER, "nomad_missed_changes_total", NULL,
	  "Changes that the event stream did not tell within a second." },
	{ METRIC_NOMAD_FULL_LISTS, ROW_COUNTER, "nomad_full_lists_total", NULL,
	  "How often all names were listed." },
	{ METRIC_NOMAD_OVER_LIMIT, ROW_COUNTER, "nomad_over_limit_total", NULL,
	  "Lookups refused because too many were open." },
	{ METRIC_NOMAD_SERVICES, ROW_GAUGE, "nomad_services", NULL, "Services known." },
	{ METRIC_NOMAD_INSTANCES, ROW_GAUGE, "nomad_instances", NULL, "Service instances known." },
	{ METRIC_NOMAD_INDEX, ROW_GAUGE_MAX, "nomad_index", NULL, "Last index seen from Nomad." },
	{ METRIC_NOMAD_TIER_STREAM, ROW_GAUGE_MAX, "nomad_tier", "tier=\"stream\"",
	  "1 for the way Nomad is followed now." },
	{ METRIC_NOMAD_TIER_WATCH, ROW_GAUGE_MAX, "nomad_tier", "tier=\"watch\"", NULL },
	{ METRIC_NOMAD_TIER_LOOKUP, ROW_GAUGE_MAX, "nomad_tier", "tier=\"lookup\"", NULL },
	{ METRIC_NOMAD_CONNECTED, ROW_GAUGE_MAX, "nomad_connected", NULL,
	  "1 while Nomad answers, 0 while it is lost." },
	{ METRIC_CONFIG_RELOADS_FAILED, ROW_COUNTER, "config_reload_failures_total", NULL,
	  "Reloads refused because the new configuration was bad." },
	{ METRIC_CONFIG_RELOAD_OK, ROW_GAUGE_MAX, "config_last_reload_successful", NULL,
	  "1 if the last reload succeeded." },
};

struct metric_histogram {
	enum metric metric;
	const char *name;
	const char *help;
};

static const struct metric_histogram METRIC_HISTOGRAMS[] = {
	{ METRIC_REQUEST_DURATION, "dns_request_duration_seconds",
	  "How long DNS requests took, from being read to their response being sent." },
	{ METRIC_NOMAD_DURATION, "nomad_request_duration_seconds",
	  "How long HTTP requests to Nomad took that it answered at once, connecting included." },
};

static const char *const RCODE_NAMES[METRIC_RCODES] = {
	"NOERROR",    "FORMERR",    "SERVFAIL",	  "NXDOMAIN",	"NOTIMP",  "REFUSED",
	"YXDOMAIN",   "YXRRSET",    "NXRRSET",	  "NOTAUTH",	"NOTZONE", "DSOTYPENI",
	"RESERVED12", "RESERVED13", "RESERVED14", "RESERVED15", "BADVERS",
};

static const char *const STAGE_NAMES[] = {
	[METRIC_STAGE_NONE] = "none",
	[METRIC_STAGE_NOMAD] = "nomad",
	[METRIC_STAGE_CACHE] = "cache",
	[METRIC_STAGE_FORWARD] = "forward",
};

static uint64_t fold_blocks(const struct metrics *const *blocks, unsigned count, enum metric metric,
			    enum row_kind kind)
{
	uint64_t total = 0;

	for (unsigned i = 0; i < count; i++) {
		uint64_t value =
			atomic_load_explicit(&blocks[i]->value[metric], memory_order_relaxed);

		if (kind != ROW_GAUGE_MAX)
			total += value;
		else if (value > total)
			total = value;
	}
	return total;
}

static void put_head(struct buf *out, const char *prefix, const char *name, const char *help,
		     const char *type)
{
	buf_printf(out, "# HELP %s_%s %s\n# TYPE %s_%s %s\n", prefix, name, help, prefix, name,
		   type);
}

/* Pairs that never happened are left out: 68 series would mostly say nothing. */
static void put_responses(const struct metrics *const *blocks, unsigned count, const char *prefix,
			  struct buf *out)
{
	put_head(out, prefix, "dns_responses_total",
		 "DNS responses, by rcode and by the part that answered.", "counter");
	for (unsigned stage = 0; stage < COUNT_OF(STAGE_NAMES); stage++) {
		for (unsigned rcode = 0; rcode < METRIC_RCODES; rcode++) {
			enum metric metric = metric_response((enum metric_stage)stage, rcode);
			uint64_t value = fold_blocks(blocks, count, metric, ROW_COUNTER);

			if (value == 0)
				continue;
			buf_printf(out,
				   "%s_dns_responses_total{rcode=\"%s\",plugin=\"%s\"} %" PRIu64
				   "\n",
				   prefix, RCODE_NAMES[rcode], STAGE_NAMES[stage], value);
		}
	}
}

static void put_rows(const struct metrics *const *blocks, unsigned count, const char *prefix,
		     struct buf *out)
{
	const char *family = "";

	for (size_t i = 0; i < COUNT_OF(METRIC_ROWS); i++) {
		const struct metric_row *row = &METRIC_ROWS[i];
		uint64_t value = fold_blocks(blocks, count, row->metric, row->kind);

		if (strcmp(family, row->name) != 0)
			put_head(out, prefix, row->name, row->help,
				 row->kind == ROW_COUNTER ? "counter" : "gauge");
		family = row->name;
		if (row->label == NULL)
			buf_printf(out, "%s_%s %" PRIu64 "\n", prefix, row->name, value);
		else
			buf_printf(out, "%s_%s{%s} %" PRIu64 "\n", prefix, row->name, row->label,
				   value);
	}
}

static void put_histogram(const struct metrics *const *blocks, unsigned count, const char *prefix,
			  const struct metric_histogram *histogram, struct buf *out)
{
	uint64_t total = 0, sum_us;

	put_head(out, prefix, histogram->name, histogram->help, "histogram");
	for (unsigned i = 0; i < METRIC_BUCKETS; i++) {
		enum metric bucket = (enum metric)(histogram->metric + i);

		total += fold_blocks(blocks, count, bucket, ROW_COUNTER);
		buf_printf(out, "%s_%s_bucket{le=\"", prefix, histogram->name);
		if (i < METRIC_BUCKETS - 1)
			buf_printf(out, "%g", (METRIC_BUCKET_US << i) / 1e6);
		else
			buf_puts(out, "+Inf");
		buf_printf(out, "\"} %" PRIu64 "\n", total);
	}
	sum_us = fold_blocks(blocks, count, (enum metric)(histogram->metric + METRIC_BUCKETS),
			     ROW_COUNTER);
	buf_printf(out, "%s_%s_sum %.6f\n%s_%s_count %" PRIu64 "\n", prefix, histogram->name,
		   (double)sum_us / 1e6, prefix, histogram->name, total);
}

void metrics_render(const struct metrics *const *blocks, unsigned count, const char *prefix,
		    struct buf *out)
{
	put_head(out, prefix, "build_info", "The version that runs.", "gauge");
	buf_printf(out, "%s_build_info{version=\"%s\"} 1\n", prefix, VERSION);
	put_rows(blocks, count, prefix, out);
	put_responses(blocks, count, prefix, out);
	for (size_t i = 0; i < COUNT_OF(METRIC_HISTOGRAMS); i++)
		put_histogram(blocks, count, prefix, &METRIC_HISTOGRAMS[i], out);
	put_head(out, prefix, "log_lines_dropped_total",
		 "Log lines dropped because writing them would have blocked.", "counter");
	buf_printf(out, "%s_log_lines_dropped_total %" PRIu64 "\n", prefix, log_dropped_count());
	process_render_metrics(out);
}
