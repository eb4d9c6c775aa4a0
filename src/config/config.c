#include "config/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "config/option_list.h"
#include "config/options.h"

struct config *config_hold(struct config *config)
{
	atomic_fetch_add_explicit(&config->references, 1, memory_order_relaxed);
	return config;
}

/* A secret does not stay in freed memory. */
static void free_secret(char *secret)
{
	if (secret != NULL)
		explicit_bzero(secret, strlen(secret));
	free(secret);
}

static void free_config(struct config *config)
{
	option_list_clear_listen(config);
	option_list_clear_allow(config);
	option_list_clear_nomad_address(config);
	option_list_clear_namespace(config);
	option_list_clear_zone(config);
	option_list_clear_forward(config);
	free(config->nomad_token_file);
	free_secret(config->nomad_token);
	free(config->nomad_http_auth_file);
	free_secret(config->nomad_http_auth);
	free(config->nomad_region);
	free(config->nomad_ca_cert);
	free(config->nomad_ca_path);
	free(config->nomad_client_cert);
	free(config->nomad_client_key);
	free(config->nomad_tls_server_name);
	free(config->filter);
	free(config->server_id);
	free(config->admin);
	free(config->admin_path);
	free(config->metrics_prefix);
	for (size_t i = 0; i < config->option_count; i++)
		free(config->option_texts[i]);
	free(config->option_texts);
	free(config->origin_text);
	free(config);
}

void config_drop(struct config *config)
{
	if (config == NULL)
		return;
	if (atomic_fetch_sub_explicit(&config->references, 1, memory_order_acq_rel) == 1)
		free_config(config);
}

static bool is_same_text(const char *a, const char *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return strcmp(a, b) == 0;
}

bool config_same_options(const struct config *now, const struct config *next,
			 const char *const *names)
{
	for (; *names; names++) {
		for (size_t i = 0; i < now->option_count && i < next->option_count; i++) {
			if (strcmp(option_rows[i].name, *names) == 0 &&
			    !is_same_text(now->option_texts[i], next->option_texts[i]))
				return false;
		}
	}
	return true;
}

void config_restart_differences(const struct config *now, const struct config *next, char *out,
				size_t capacity)
{
	size_t used = 0;

	if (capacity == 0)
		return;
	out[0] = '\0';
	for (size_t i = 0; i < now->option_count && i < next->option_count; i++) {
		int length;

		if (!option_rows[i].needs_restart ||
		    is_same_text(now->option_texts[i], next->option_texts[i]))
			continue;
		length = str_format(out + used, capacity - used, "%s%s", used > 0 ? ", " : "",
				    option_rows[i].name);
		if (length < 0) {
			out[used] = '\0';
			return;
		}
		used += (size_t)length;
	}
}

static int keep_text(char **to, const char *from)
{
	char *copy = from ? strdup(from) : NULL;

	if (from && !copy)
		return -ENOMEM;
	free(*to);
	*to = copy;
	return 0;
}

static void *copy_list(const void *from, size_t count, size_t size)
{
	void *copy = calloc(count ? count : 1, size);

	if (copy && count > 0)
		memcpy(copy, from, count * size);
	return copy;
}

int config_keep_restart(struct config *next, const struct config *now)
{
	struct addr *listen = copy_list(now->listen, now->listen_count, sizeof(*listen));
	struct config_zone *zone = copy_list(now->zone, now->zone_count, sizeof(*zone));

	if (!listen || !zone) {
		free(listen);
		free(zone);
		return -ENOMEM;
	}
	free(next->listen);
	free(next->zone);
	next->listen = listen;
	next->listen_count = now->listen_count;
	next->zone = zone;
	next->zone_count = now->zone_count;
	next->workers = now->workers;
	next->reuseport = now->reuseport;
	next->admin_is_off = now->admin_is_off;
	next->admin_addr = now->admin_addr;
	if (keep_text(&next->admin, now->admin) < 0 ||
	    keep_text(&next->admin_path, now->admin_path) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < now->option_count && i < next->option_count; i++) {
		if (option_rows[i].needs_restart &&
		    keep_text(&next->option_texts[i], now->option_texts[i]) < 0)
			return -ENOMEM;
	}
	return 0;
}
