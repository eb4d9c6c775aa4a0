#include "nomad/place.h"

#include <string.h>

#include "dns/name.h"

#define FORM_LABELS_MAX 3 /* the deepest form has three labels in front of the zone */

static bool is_underscored(const uint8_t *label)
{
	return label[0] > 1 && label[1] == '_';
}

static bool is_text(const uint8_t *label, const char *text)
{
	return label[0] == strlen(text) && memcmp(label + 1, text, label[0]) == 0;
}

/* The owner to look up is the name itself from `label` on. */
static void take_owner(struct place *out, const uint8_t *label, const uint8_t *folded,
		       uint8_t length)
{
	out->owner_length = (uint8_t)(length - (label - folded));
	memcpy(out->owner, label, out->owner_length);
}

/* The owner of an RFC 2782 form: the first label without its '_', and what follows the second. */
static void join_owner(struct place *out, const uint8_t *service, const uint8_t *rest,
		       const uint8_t *end)
{
	uint8_t service_length = (uint8_t)(service[0] - 1);

	out->owner[0] = service_length;
	memcpy(out->owner + 1, service + 2, service_length);
	memcpy(out->owner + 1 + service_length, rest, (size_t)(end - rest));
	out->owner_length = (uint8_t)(1 + service_length + (end - rest));
}

static void set_service(struct place *out)
{
	out->has_service = true;
	out->namespace_at = (uint8_t)(out->owner[0] + 1);
}

static void set_label(struct place *out, const uint8_t *label, unsigned skip)
{
	out->label = label + 1 + skip;
	out->label_length = (uint8_t)(label[0] - skip);
}

static void find_three(const uint8_t *const labels[], const uint8_t *folded, uint8_t length,
		       struct place *out)
{
	if (!is_underscored(labels[0]) || !is_underscored(labels[1])) {
		out->kind = PLACE_BELOW;
		take_owner(out, labels[1], folded, length);
		set_label(out, labels[0], 0);
	} else {
		bool is_protocol = is_text(labels[1], "_tcp") || is_text(labels[1], "_udp");

		out->kind = is_protocol ? PLACE_SRV : PLACE_SRV_TAG;
		join_owner(out, labels[0], labels[2], folded + length);
		set_label(out, labels[1], 1);
	}
	set_service(out);
}

void place_find(const uint8_t *folded, uint8_t length, const struct zone_apex *apex,
		struct place *out)
{
	const uint8_t *labels[FORM_LABELS_MAX] = { 0 };
	const uint8_t *zone = folded + length - apex->length;
	unsigned count = 0;

	out->kind = PLACE_NOWHERE;
	out->label = NULL;
	out->label_length = 0;
	out->owner_length = 0;
	out->has_service = false;
	out->service_at = out->namespace_at = 0;
	for (const uint8_t *label = folded; label < zone; label += label[0] + 1) {
		/* what Nomad could not call so, nobody needs to ask it for */
		if (count == FORM_LABELS_MAX || !name_is_label((const char *)label + 1, label[0]))
			return;
		labels[count++] = label;
	}
	switch (count) {
	case 0:
		out->kind = PLACE_APEX;
		break;
	case 1:
		out->kind = is_text(labels[0], "ns") ? PLACE_SERVER : PLACE_NAMESPACE;
		take_owner(out, labels[0], folded, length);
		break;
	case 2:
		if (is_underscored(labels[0])) {
			out->kind = PLACE_UNDERSCORE;
			take_owner(out, labels[1], folded, length);
			set_label(out, labels[0], 1);
			break;
		}
		out->kind = PLACE_SERVICE;
		take_owner(out, labels[0], folded, length);
		set_service(out);
		break;
	default:
		find_three(labels, folded, length, out);
		break;
	}
}

void place_need(const struct place *place, enum need_kind kind, uint8_t worker, struct need *out)
{
	const uint8_t *namespace = place->owner + place->namespace_at;

	memset(out, 0, sizeof(*out));
	out->kind = (uint8_t)kind;
	out->worker = worker;
	out->namespace_length = namespace[0];
	memcpy(out->namespace_label, namespace + 1, namespace[0]);
	if (!place->has_service)
		return;
	out->service_length = place->owner[0];
	memcpy(out->service_label, place->owner + 1, place->owner[0]);
}
