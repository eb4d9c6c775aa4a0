#include "nomad/sets.h"

#include <string.h>

bool sets_has_tag(const struct zone_name *namespace, const uint8_t *label, uint8_t length)
{
	for (uint32_t at = 0; at < namespace->text_length; at += namespace->text[at] + 1u) {
		if (namespace->text[at] == length &&
		    memcmp(namespace->text + at + 1, label, length) == 0)
			return true;
	}
	return false;
}

static int compare_label(const struct zone_name *name, const struct zone_set *set,
			 const struct place *place)
{
	size_t shorter =
		set->label_length < place->label_length ? set->label_length : place->label_length;
	int order = memcmp(name->text + set->label_at, place->label, shorter);

	return order ? order : (int)set->label_length - (int)place->label_length;
}

/* The set of a label below the service, an address before a tag (with `only_tag`, the tag). NULL:
 * there is none. */
static const struct zone_set *find_set(const struct zone_name *name, const struct place *place,
				       bool only_tag)
{
	uint32_t low = 1, high = name->set_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (compare_label(name, &name->sets[middle], place) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < name->set_count && compare_label(name, &name->sets[low], place) == 0; low++) {
		if (!only_tag || name->sets[low].is_tag)
			return &name->sets[low];
	}
	return NULL;
}

const struct zone_set *sets_find(const struct zone_name *name, const struct place *place)
{
	switch (place->kind) {
	case PLACE_SERVICE:
	case PLACE_SRV:
		return &name->sets[0];
	case PLACE_BELOW:
		return find_set(name, place, false);
	case PLACE_SRV_TAG:
		return find_set(name, place, true);
	case PLACE_APEX:
	case PLACE_SERVER:
	case PLACE_NAMESPACE:
	case PLACE_UNDERSCORE:
	case PLACE_NOWHERE:
		break;
	}
	return NULL;
}
