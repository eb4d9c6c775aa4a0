/* What is left out: always counted, named in the log once. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/map.h"
#include "base/metrics.h"
#include "nomad/catalogue_parts.h"

#define SAID_MAX 1024	 /* different ones named in the log; later ones are only counted */
#define LOG_TEXT_MAX 100 /* of a stranger's text in a line; a Nomad ID has about 90 bytes */

/* A stranger's text for the log: cut, and nothing but printable ASCII. */
static const char *tame(const char *text, char out[LOG_TEXT_MAX])
{
	size_t at = 0;

	for (; text[at] && at < LOG_TEXT_MAX - 1; at++)
		out[at] = isprint((unsigned char)text[at]) ? text[at] : '?';
	out[at] = '\0';
	return out;
}

/* Whether this was never said before; remembers it. */
static bool is_news(struct catalogue *catalogue, const char *const *parts, size_t count)
{
	uint64_t hash = 0;

	for (size_t i = 0; i < count; i++)
		hash = hash * 31 + hash_bytes(&catalogue->hash_key, parts[i], strlen(parts[i]));
	if (map_find(catalogue->said, &hash, sizeof(hash)) ||
	    map_count(catalogue->said) >= SAID_MAX)
		return false;
	return map_put(catalogue->said, &hash, sizeof(hash), catalogue) == 0;
}

void catalogue_leave_out(struct catalogue *catalogue, const char *namespace, const char *service,
			 const char *id, const char *why)
{
	char n[LOG_TEXT_MAX], s[LOG_TEXT_MAX], i[LOG_TEXT_MAX];
	const char *parts[] = { namespace, service, id, why };

	metrics_add(catalogue->metrics, METRIC_NOMAD_INSTANCES_LEFT_OUT, 1);
	if (!is_news(catalogue, parts, sizeof(parts) / sizeof(parts[0])))
		return;
	tame(namespace, n);
	tame(service, s);
	tame(id, i);
	if (i[0])
		log_warn("nomad", "left out: %s in namespace %s, instance %s: %s", s, n, i, why);
	else
		log_warn("nomad", "left out: %s in namespace %s: %s", s, n, why);
	if (map_count(catalogue->said) == SAID_MAX)
		log_warn("nomad", "more is left out than is worth naming; from now on it is only "
				  "counted");
}
