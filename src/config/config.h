/*
 * The configuration as values: what the options table (options.h) yields once every source was
 * read. Immutable after config_load; shared between threads by reference count, replaced whole on
 * reload. Lists are arrays with counts; everything is owned by the struct.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/log.h"
#include "dns/dns.h"

struct config_zone {
	uint8_t length;		    /* with the root label */
	uint8_t name[DNS_NAME_MAX]; /* folded wire form */
};

#define CONFIG_TLS_NAME_MAX 254 /* a host name and its NUL */

enum config_forward_kind { CONFIG_FORWARD_ADDRESS, CONFIG_FORWARD_FILE, CONFIG_FORWARD_NONE };

struct config_forward { /* one value of `forward` */
	enum config_forward_kind kind;
	uint8_t domain_length; /* 0: every name; else the folded wire form of the domain sent there
				*/
	uint8_t domain[DNS_NAME_MAX];
	struct addr address; /* ADDRESS */
	bool is_tls;	     /* over TLS (RFC 7858), never in clear */
	/* Whom its certificate must name; empty: the address. */
	char tls_name[CONFIG_TLS_NAME_MAX];
	char *path; /* FILE: a resolv.conf */
};

enum config_log_queries {
	CONFIG_LOG_QUERIES_OFF,
	CONFIG_LOG_QUERIES_ALL,
	CONFIG_LOG_QUERIES_ERRORS,
	CONFIG_LOG_QUERIES_NOMAD
};

enum config_mirror { /* the highest tier to use */
		     CONFIG_MIRROR_AUTO,
		     CONFIG_MIRROR_STREAM,
		     CONFIG_MIRROR_WATCH,
		     CONFIG_MIRROR_LOOKUP,
};

#define CONFIG_PRELOAD_AUTO UINT32_MAX /* catalogues up to 2,000 names */

struct config {
	atomic_uint references;

	struct addr *listen;
	size_t listen_count;
	unsigned workers;
	bool reuseport;
	unsigned tcp_max_clients;
	uint64_t tcp_idle_timeout_ms;
	struct addr_net *allow;
	size_t allow_count;
	bool allow_self; /* the host itself may ask, from any of its addresses: source = the address
			    asked */

	char **nomad_address; /* "http://…", "https://…", "unix:///path" */
	size_t nomad_address_count;
	char *nomad_token_file; /* NULL: none */
	char *nomad_token;	/* from NOMAD_TOKEN only; NULL: none. Never printed */
	char *nomad_http_auth_file;
	char *nomad_http_auth; /* from NOMAD_HTTP_AUTH only. Never printed */
	char *nomad_region;    /* NULL: the agent's own */
	char *nomad_ca_cert, *nomad_ca_path, *nomad_client_cert, *nomad_client_key,
		*nomad_tls_server_name;
	bool nomad_tls_skip_verify;
	char **namespace;
	size_t namespace_count; /* 0: all the token may see */
	char *filter;		/* NULL: none */

	struct config_zone *zone;
	size_t zone_count; /* ≥ 1; in the order given: the first names PTR targets */
	bool reverse;
	uint32_t ttl_s, negative_ttl_s;
	enum config_mirror mirror;
	uint32_t preload; /* names to fetch ahead of questions; 0: off; or CONFIG_PRELOAD_AUTO */
	uint64_t settle_ms;
	uint64_t max_stale_ms;

	struct config_forward *forward;
	size_t forward_count;
	uint64_t forward_timeout_ms;
	uint64_t cache_size_bytes; /* per worker; 0: off */
	uint32_t cache_max_ttl_s, cache_min_ttl_s;
	uint64_t serve_stale_ms; /* how long a forwarded answer outlives its TTL; 0: not at all */

	bool rebind_protection; /* private addresses from upstream are kept from clients */
	bool private_zones;	/* RFC 6303: private reverse zones are answered at home */
	bool hide_version;
	char *server_id; /* "" : none */

	char *admin; /* "off", "IP:port" or "unix:///path" as given */
	bool admin_is_off;
	struct addr admin_addr; /* family 0: a unix socket */
	char *admin_path;	/* unix socket path; NULL otherwise */
	char *metrics_prefix;
	enum log_level log_level;
	enum log_format log_format;
	enum config_log_queries log_queries;
	uint64_t lame_duck_ms;

	/* What --print-config prints: one "name = value  # origin" line per option, no secrets. */
	char *origin_text;
	char **option_texts; /* the values alone, by row of the table; NULL: not set */
	size_t option_count;
};

struct config_problem { /* one line for the operator: what, why, what to do */
	int exit_code;	/* 64 usage, 78 configuration, 71 out of memory */
	char text[512];
};

/*
 * Builds a configuration from flags, environment, file and defaults, in that order of precedence.
 * `argv` holds only flags (no verb). NULL on failure, with `problem` filled. The caller holds one
 * reference.
 */
struct config *config_load(int argc, char *const *argv, char *const *environment,
			   struct config_problem *problem);

/* Another holder; returns its argument. Safe from any thread. */
struct config *config_hold(struct config *config);

/* Ends one holder's use; the last one frees. NULL is fine. */
void config_drop(struct config *config);

/* Options that differ and only take effect at a restart, as "listen, workers"; empty if none. */
void config_restart_differences(const struct config *now, const struct config *next, char *out,
				size_t capacity);

/* Whether all options of these names (NULL ends them) say the same in both. */
bool config_same_options(const struct config *now, const struct config *next,
			 const char *const *names);

/*
 * Options that only take effect at a restart get in `next` the values they have in `now`, so that a
 * reload leaves every room with the same ones. Checklist: a row with `needs_restart` has its field
 * here. 0, or -ENOMEM: `next` is half changed and not to be used.
 */
int config_keep_restart(struct config *next, const struct config *now);
