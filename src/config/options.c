/*
 * The table, in the order of --help. A row here also needs its field in struct config, its line in
 * the reference of options, and, if it takes effect at once on reload, someone who reads it then.
 */
#include "config/options.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/str.h"
#include "config/config.h"
#include "config/option_list.h"
#include "config/option_value.h"

#define SECOND_MS UINT64_C(1000)
#define MINUTE_MS (60 * SECOND_MS)
#define HOUR_MS (60 * MINUTE_MS)
#define DAY_MS (24 * HOUR_MS)
#define KIB UINT64_C(1024)
#define GIB (KIB * KIB * KIB)
#define NEAR_DISTANCE 2 /* edits until a name is another one */
#define HELP_COLUMN 34

/* Loopback, link-local, RFC 1918, RFC 4193, RFC 6598. */
#define PRIVATE_NETWORKS                                                                           \
	"127.0.0.0/8,::1,169.254.0.0/16,fe80::/10,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,"        \
	"fc00::/7,100.64.0.0/10"

static const char *const LOG_LEVELS[] = { [LOG_LEVEL_ERROR] = "error",
					  [LOG_LEVEL_WARN] = "warn",
					  [LOG_LEVEL_INFO] = "info",
					  [LOG_LEVEL_DEBUG] = "debug",
					  NULL };
static const char *const LOG_FORMATS[] = {
	[LOG_FORMAT_TEXT] = "text", [LOG_FORMAT_LOGFMT] = "logfmt", [LOG_FORMAT_JSON] = "json", NULL
};
static const char *const LOG_QUERIES[] = { [CONFIG_LOG_QUERIES_OFF] = "off",
					   [CONFIG_LOG_QUERIES_ALL] = "all",
					   [CONFIG_LOG_QUERIES_ERRORS] = "errors",
					   [CONFIG_LOG_QUERIES_NOMAD] = "nomad",
					   NULL };

static const char *const MIRRORS[] = { [CONFIG_MIRROR_AUTO] = "auto",
				       [CONFIG_MIRROR_STREAM] = "stream",
				       [CONFIG_MIRROR_WATCH] = "watch",
				       [CONFIG_MIRROR_LOOKUP] = "lookup",
				       NULL };

const struct option_row option_rows[] = {
	{ .name = "listen",
	  .value = "127.0.0.1:1053",
	  .argument = "ADDR",
	  .allowed = "IP[:port], IPv6 in brackets if a port follows; port 53 if none is given",
	  .help = "answer DNS over UDP and TCP here",
	  .is_repeatable = true,
	  .needs_restart = true,
	  .max = 64,
	  .parse = option_list_add_listen,
	  .clear = option_list_clear_listen },
	{ .name = "nomad-address",
	  .computed = "NOMAD_ADDR, NOMAD_UNIX_ADDR, the task's api.sock or http://127.0.0.1:4646",
	  .argument = "URL",
	  .allowed = "http://HOST[:PORT], https://HOST[:PORT] or unix:///PATH",
	  .help = "Nomad agent to ask; the next one is tried when one fails",
	  .is_repeatable = true,
	  .has_userinfo = true,
	  .max = 16,
	  .parse = option_list_add_nomad_address,
	  .clear = option_list_clear_nomad_address },
	{ .name = "nomad-token-file",
	  .computed = "the credential nomad-token, the task's nomad_token or NOMAD_TOKEN",
	  .argument = "PATH",
	  .allowed = "a path",
	  .help = "file that holds the Nomad token; read again when it changes",
	  .field = offsetof(struct config, nomad_token_file),
	  .parse = option_value_string },
	{ .name = "nomad-http-auth-file",
	  .computed = "NOMAD_HTTP_AUTH",
	  .argument = "PATH",
	  .allowed = "a path",
	  .help = "file that holds user:password for an agent behind a proxy",
	  .field = offsetof(struct config, nomad_http_auth_file),
	  .parse = option_value_string },
	{ .name = "nomad-region",
	  .computed = "the agent's own",
	  .argument = "NAME",
	  .allowed = "the name of a region, at most 128 bytes",
	  .help = "Nomad region to serve",
	  .max = 128,
	  .field = offsetof(struct config, nomad_region),
	  .parse = option_value_string },
	{ .name = "nomad-ca-cert",
	  .fallback_env = "NOMAD_CACERT",
	  .argument = "PATH",
	  .allowed = "a path",
	  .help = "CA certificates (PEM) that vouch for Nomad",
	  .field = offsetof(struct config, nomad_ca_cert),
	  .parse = option_value_string },
	{ .name = "nomad-ca-path",
	  .fallback_env = "NOMAD_CAPATH",
	  .argument = "PATH",
	  .allowed = "a path",
	  .help = "directory of CA certificates that vouch for Nomad",
	  .field = offsetof(struct config, nomad_ca_path),
	  .parse = option_value_string },
	{ .name = "nomad-client-cert",
	  .fallback_env = "NOMAD_CLIENT_CERT",
	  .argument = "PATH",
	  .allowed = "a path",
	  .help = "our certificate (PEM) for a Nomad that asks for one",
	  .field = offsetof(struct config, nomad_client_cert),
	  .parse = option_value_string },
	{ .name = "nomad-client-key",
	  .fallback_env = "NOMAD_CLIENT_KEY",
	  .argument = "PATH",
	  .allowed = "a path",
	  .help = "the key of nomad-client-cert (PEM)",
	  .field = offsetof(struct config, nomad_client_key),
	  .parse = option_value_string },
	{ .name = "nomad-tls-server-name",
	  .fallback_env = "NOMAD_TLS_SERVER_NAME",
	  .argument = "NAME",
	  .allowed = "a host name",
	  .help = "name to expect in Nomad's certificate, such as server.global.nomad",
	  .field = offsetof(struct config, nomad_tls_server_name),
	  .parse = option_value_host_name },
	{ .name = "nomad-tls-skip-verify",
	  .fallback_env = "NOMAD_SKIP_VERIFY",
	  .value = "off",
	  .allowed = "on or off",
	  .help = "do not check Nomad's certificate (dangerous)",
	  .field = offsetof(struct config, nomad_tls_skip_verify),
	  .parse = option_value_bool },
	{ .name = "namespace",
	  .computed = "all that the token may see",
	  .argument = "NAME",
	  .allowed = "the name of a namespace that can be a DNS label, at most 256 of them",
	  .help = "serve only this Nomad namespace",
	  .is_repeatable = true,
	  .max = 256,
	  .parse = option_list_add_namespace,
	  .clear = option_list_clear_namespace },
	{ .name = "filter",
	  .argument = "EXPRESSION",
	  .allowed = "a Nomad filter expression of at most 1024 bytes",
	  .help = "serve only instances that match, such as '\"canary\" not in Tags'",
	  .may_be_empty = true,
	  .max = 1024,
	  .field = offsetof(struct config, filter),
	  .parse = option_value_string },
	{ .name = "zone",
	  .value = "nomad",
	  .argument = "DOMAIN",
	  .allowed = "a domain name, at most 32 of them",
	  .help = "domain the services live under; the first one names PTR targets",
	  .is_repeatable = true,
	  .needs_restart = true,
	  .max = 32,
	  .parse = option_list_add_zone,
	  .clear = option_list_clear_zone },
	{ .name = "reverse",
	  .value = "off",
	  .allowed = "on or off",
	  .help = "answer PTR for instances' addresses",
	  .field = offsetof(struct config, reverse),
	  .parse = option_value_bool },
	{ .name = "ttl",
	  .value = "10s",
	  .argument = "DURATION",
	  .allowed = "a duration from 0 to 1h, in whole seconds",
	  .help = "TTL of records from Nomad",
	  .max = HOUR_MS,
	  .field = offsetof(struct config, ttl_s),
	  .parse = option_value_duration_s },
	{ .name = "negative-ttl",
	  .value = "5s",
	  .argument = "DURATION",
	  .allowed = "a duration from 0 to 1h, in whole seconds",
	  .help = "TTL of names that do not exist",
	  .max = HOUR_MS,
	  .field = offsetof(struct config, negative_ttl_s),
	  .parse = option_value_duration_s },
	{ .name = "mirror",
	  .value = "auto",
	  .argument = "TIER",
	  .allowed = "auto, stream, watch or lookup",
	  .help = "best way to follow Nomad: auto, stream, watch or lookup",
	  .choices = MIRRORS,
	  .field = offsetof(struct config, mirror),
	  .parse = option_value_choice },
	{ .name = "preload",
	  .value = "auto",
	  .argument = "NUMBER",
	  .allowed = "auto, off or a number of names from 0 to 200000",
	  .help = "fetch so many names ahead of questions; auto: all if they are at most 2000",
	  .max = 200000,
	  .field = offsetof(struct config, preload),
	  .parse = option_value_preload },
	{ .name = "settle",
	  .value = "100ms",
	  .argument = "DURATION",
	  .allowed = "a duration from 0 to 10s",
	  .help = "how long a name's last instance must be gone before the name is",
	  .max = 10 * SECOND_MS,
	  .field = offsetof(struct config, settle_ms),
	  .parse = option_value_duration_ms },
	{ .name = "max-stale",
	  .value = "24h",
	  .argument = "DURATION",
	  .allowed = "a duration from 0 to 30d",
	  .help = "how long the last known answers outlive Nomad",
	  .max = 30 * DAY_MS,
	  .field = offsetof(struct config, max_stale_ms),
	  .parse = option_value_duration_ms },
	{ .name = "forward",
	  .value = "/etc/resolv.conf",
	  .argument = "WHERE",
	  .allowed = "IP[:port], tls://IP[:port][#name], the path of a resolv.conf, none, or "
		     "DOMAIN= before one of these",
	  .help = "resolvers for everything else; DOMAIN= for that domain only",
	  .is_repeatable = true,
	  .max = 256,
	  .parse = option_list_add_forward,
	  .clear = option_list_clear_forward },
	{ .name = "forward-timeout",
	  .value = "4s",
	  .argument = "DURATION",
	  .allowed = "a duration from 100ms to 60s",
	  .help = "deadline of a whole query, waiting for Nomad included",
	  .min = 100,
	  .max = MINUTE_MS,
	  .field = offsetof(struct config, forward_timeout_ms),
	  .parse = option_value_duration_ms },
	{ .name = "cache-size",
	  .value = "8MiB",
	  .argument = "SIZE",
	  .allowed = "0, or a size from 64KiB to 16GiB",
	  .help = "memory for forwarded answers, per worker; 0 turns the cache off",
	  .needs_restart = true,
	  .min = 64 * KIB,
	  .max = 16 * GIB,
	  .field = offsetof(struct config, cache_size_bytes),
	  .parse = option_value_size },
	{ .name = "cache-max-ttl",
	  .value = "1h",
	  .argument = "DURATION",
	  .allowed = "a duration from 1s to 7d, in whole seconds",
	  .help = "longest time an answer is cached",
	  .min = SECOND_MS,
	  .max = 7 * DAY_MS,
	  .field = offsetof(struct config, cache_max_ttl_s),
	  .parse = option_value_duration_s },
	{ .name = "cache-min-ttl",
	  .value = "0s",
	  .argument = "DURATION",
	  .allowed = "a duration from 0 to 1h, in whole seconds, and at most cache-max-ttl",
	  .help = "shortest time an answer is cached",
	  .max = HOUR_MS,
	  .field = offsetof(struct config, cache_min_ttl_s),
	  .parse = option_value_duration_s },
	{ .name = "serve-stale",
	  .value = "1h",
	  .argument = "DURATION",
	  .allowed = "a duration from 0 to 7d",
	  .help = "answer with what has expired while no upstream answers; 0: never",
	  .max = 7 * DAY_MS,
	  .field = offsetof(struct config, serve_stale_ms),
	  .parse = option_value_duration_ms },
	{ .name = "allow",
	  .value = PRIVATE_NETWORKS,
	  .computed = "loopback, link-local and private networks, and this host",
	  .argument = "NETWORK",
	  .allowed = "IP or IP/PREFIX, at most 1024 of them",
	  .help = "who may ask; others are refused",
	  .is_repeatable = true,
	  .max = 1024,
	  .parse = option_list_add_allow,
	  .clear = option_list_clear_allow },
	{ .name = "rebind-protection",
	  .value = "off",
	  .allowed = "on or off",
	  .help = "empty answers from upstream that hold private addresses, but for DOMAIN= ones",
	  .field = offsetof(struct config, rebind_protection),
	  .parse = option_value_bool },
	{ .name = "private-zones",
	  .value = "off",
	  .allowed = "on or off",
	  .help = "answer for private reverse zones (RFC 6303) unless a DOMAIN= knows better",
	  .field = offsetof(struct config, private_zones),
	  .parse = option_value_bool },
	{ .name = "hide-version",
	  .value = "off",
	  .allowed = "on or off",
	  .help = "do not answer version.bind",
	  .field = offsetof(struct config, hide_version),
	  .parse = option_value_bool },
	{ .name = "server-id",
	  .computed = "the host's name",
	  .argument = "TEXT",
	  .allowed = "at most 128 bytes; empty: none",
	  .help = "what NSID and id.server say",
	  .may_be_empty = true,
	  .max = 128,
	  .field = offsetof(struct config, server_id),
	  .parse = option_value_string },
	{ .name = "workers",
	  .value = "1",
	  .argument = "NUMBER",
	  .allowed = "a number from 1 to 64",
	  .help = "threads that answer",
	  .needs_restart = true,
	  .min = 1,
	  .max = 64,
	  .field = offsetof(struct config, workers),
	  .parse = option_value_uint },
	{ .name = "reuseport",
	  .value = "off",
	  .allowed = "on or off",
	  .help = "let a second instance use the same addresses, for upgrades without a gap",
	  .needs_restart = true,
	  .field = offsetof(struct config, reuseport),
	  .parse = option_value_bool },
	{ .name = "tcp-max-clients",
	  .value = "256",
	  .argument = "NUMBER",
	  .allowed = "a number from 1 to 65536",
	  .help = "TCP connections at one time",
	  .min = 1,
	  .max = 65536,
	  .field = offsetof(struct config, tcp_max_clients),
	  .parse = option_value_uint },
	{ .name = "tcp-idle-timeout",
	  .value = "10s",
	  .argument = "DURATION",
	  .allowed = "a duration from 1s to 10m",
	  .help = "close a TCP connection after this much silence",
	  .min = SECOND_MS,
	  .max = 10 * MINUTE_MS,
	  .field = offsetof(struct config, tcp_idle_timeout_ms),
	  .parse = option_value_duration_ms },
	{ .name = "admin",
	  .value = "127.0.0.1:9153",
	  .argument = "WHERE",
	  .allowed = "IP[:port], unix:///PATH or off",
	  .help = "metrics, health and readiness over HTTP",
	  .needs_restart = true,
	  .parse = option_value_admin },
	{ .name = "metrics-prefix",
	  .value = "nomad_dns",
	  .argument = "PREFIX",
	  .allowed = "letters, digits and underscores, not a digit first, at most 64",
	  .help = "first part of metric names; 'coredns' keeps existing dashboards working",
	  .max = 64,
	  .field = offsetof(struct config, metrics_prefix),
	  .parse = option_value_metrics_prefix },
	{ .name = "log-level",
	  .value = "info",
	  .argument = "LEVEL",
	  .allowed = "error, warn, info or debug",
	  .help = "what is written to stderr: error, warn, info or debug",
	  .choices = LOG_LEVELS,
	  .field = offsetof(struct config, log_level),
	  .parse = option_value_choice },
	{ .name = "log-format",
	  .value = "text",
	  .argument = "FORM",
	  .allowed = "text, logfmt or json",
	  .help = "form of log lines: text, logfmt or json",
	  .choices = LOG_FORMATS,
	  .field = offsetof(struct config, log_format),
	  .parse = option_value_choice },
	{ .name = "log-queries",
	  .value = "off",
	  .argument = "WHICH",
	  .allowed = "off, all, errors or nomad",
	  .help = "log each query: all, errors, or those about Nomad's names",
	  .choices = LOG_QUERIES,
	  .field = offsetof(struct config, log_queries),
	  .parse = option_value_choice },
	{ .name = "lame-duck",
	  .value = "0s",
	  .argument = "DURATION",
	  .allowed = "a duration from 0 to 10m",
	  .help = "keep serving, but not ready, this long before stopping",
	  .max = 10 * MINUTE_MS,
	  .field = offsetof(struct config, lame_duck_ms),
	  .parse = option_value_duration_ms },
	{ .name = "config",
	  .computed = "/etc/nomad-dns.conf if it is there",
	  .argument = "PATH",
	  .allowed = "the path of a file",
	  .help = "file with options, one 'name = value' a line" },
};

const size_t option_row_count = COUNT_OF(option_rows);

const struct option_row *option_find(const char *name)
{
	for (size_t i = 0; i < COUNT_OF(option_rows); i++) {
		if (strcmp(option_rows[i].name, name) == 0)
			return &option_rows[i];
	}
	return NULL;
}

const char *option_nearest(const char *name)
{
	size_t best = NEAR_DISTANCE + 1;
	const char *nearest = NULL;

	for (size_t i = 0; i < COUNT_OF(option_rows); i++) {
		size_t distance = str_distance(name, option_rows[i].name);

		if (distance < best) {
			best = distance;
			nearest = option_rows[i].name;
		}
	}
	return nearest;
}

static void print_row(struct buf *out, const struct option_row *row)
{
	const char *value = row->computed != NULL ? row->computed : row->value;
	char flag[64];

	snprintf(flag, sizeof(flag), "--%s%s%s", row->name, row->argument ? "=" : "",
		 row->argument ? row->argument : "");
	buf_printf(out, "  %-*s%s%s\n", HELP_COLUMN - 2, flag, row->help,
		   row->is_repeatable ? "; may be repeated" : "");
	if (value != NULL)
		buf_printf(out, "%*s[%s]\n", HELP_COLUMN, "", value);
}

void options_print_help(struct buf *out)
{
	buf_puts(out, "Usage: nomad-dns [VERB] [OPTION]...\n\n"
		      "Answers DNS for the services Nomad knows and forwards the rest.\n\n"
		      "Options, with their defaults in brackets:\n");
	for (size_t i = 0; i < COUNT_OF(option_rows); i++)
		print_row(out, &option_rows[i]);
	buf_printf(out, "  %-*s%s\n", HELP_COLUMN - 2, "--print-config",
		   "print every option with its value and where it came from");
	buf_printf(out, "  %-*s%s\n", HELP_COLUMN - 2, "--version", "print the version");
	buf_printf(out, "  %-*s%s\n", HELP_COLUMN - 2, "--help", "print this text");
	buf_puts(
		out,
		"\nEach option is also an environment variable (NOMAD_DNS_NEGATIVE_TTL=5s, "
		"several\n"
		"values with commas between) and a line of the file (negative-ttl = \"5s\", "
		"several\n"
		"values as [\"a\", \"b\"]). A flag beats the environment, which beats the file.\n");
}
