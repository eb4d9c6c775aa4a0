/*
 * Instances are sorted by address and port first. Then equal addresses stand side by side, so "each
 * once" (RFC 2181 §5) is a look at the neighbour, everywhere below. Records are numbered as they
 * are encoded; the sets hold those numbers.
 */
#include "nomad/zone_build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "dns/name.h"
#include "dns/records.h"

#define SRV_PRIORITY 10
#define SRV_WEIGHT 10
#define NONE UINT16_MAX

struct sorted { /* one instance and what was made of it */
	const struct zone_instance *instance;
	uint16_t address_rr, srv_rr, host;
};

struct tagged { /* one tag of one instance */
	const char *label;
	uint32_t sorted_index;
};

/* Everything that grows while a service is built; `picks` and `sets` are sized for the worst case
 * at the start. */
struct build {
	struct sorted *sorted;
	size_t count;
	struct tagged *tagged;
	size_t tagged_count;
	struct zone_set *sets;
	size_t set_count;
	struct zone_host *hosts;
	size_t host_count;
	uint16_t *picks;
	size_t pick_count;
	uint8_t *text;
	size_t text_length;
	struct image_builder image;
};

size_t zone_build_owner(const char *const *labels, size_t count, const uint8_t *suffix,
			size_t suffix_length, uint8_t out[DNS_NAME_MAX])
{
	size_t at = 0;

	for (size_t i = 0; i < count; i++) {
		size_t length = strlen(labels[i]);

		if (length == 0 || length > DNS_LABEL_MAX ||
		    at + 1 + length + suffix_length > DNS_NAME_MAX)
			return 0;
		out[at++] = (uint8_t)length;
		name_fold((const uint8_t *)labels[i], length, out + at);
		at += length;
	}
	if (at + suffix_length > DNS_NAME_MAX)
		return 0;
	memcpy(out + at, suffix, suffix_length);
	return at + suffix_length;
}

size_t zone_build_address_label(const struct addr *addr, char out[DNS_LABEL_MAX + 1])
{
	const uint8_t *b = addr->bytes;
	int length;

	if (addr->family == AF_INET)
		length = snprintf(out, DNS_LABEL_MAX + 1, "%u-%u-%u-%u", b[0], b[1], b[2], b[3]);
	else
		length = snprintf(out, DNS_LABEL_MAX + 1, "%04x-%04x-%04x-%04x-%04x-%04x-%04x-%04x",
				  load_be16(b), load_be16(b + 2), load_be16(b + 4),
				  load_be16(b + 6), load_be16(b + 8), load_be16(b + 10),
				  load_be16(b + 12), load_be16(b + 14));
	return (size_t)length;
}

static int compare_places(const struct zone_instance *a, const struct zone_instance *b)
{
	int order = (int)a->addr.family - (int)b->addr.family;

	if (order)
		return order;
	if (a->addr.family == 0)
		return strcasecmp(a->host, b->host);
	return memcmp(a->addr.bytes, b->addr.bytes, sizeof(a->addr.bytes));
}

static int compare_sorted(const void *a, const void *b)
{
	const struct zone_instance *x = ((const struct sorted *)a)->instance;
	const struct zone_instance *y = ((const struct sorted *)b)->instance;
	int order = compare_places(x, y);

	return order ? order : (int)x->port - (int)y->port;
}

static int compare_tagged(const void *a, const void *b)
{
	const struct tagged *x = a, *y = b;
	int order = strcasecmp(x->label, y->label);

	if (order)
		return order;
	return x->sorted_index < y->sorted_index ? -1 : x->sorted_index > y->sorted_index;
}

/*
 * The two kinds of records that a service has many of are written by hand: a change of a service
 * with a thousand instances encodes two thousand, and ldns would allocate thirty times for each.
 * Tests hold them against ldns. Both return the length.
 */
static size_t write_head(uint16_t type, uint32_t ttl_s, size_t rdata_length, uint8_t *out)
{
	store_be16(out, DNS_POINTER_TO_QNAME);
	store_be16(out + 2, type);
	store_be16(out + 4, DNS_CLASS_IN);
	store_be32(out + 6, ttl_s);
	store_be16(out + 10, (uint16_t)rdata_length);
	return RECORDS_SHORT_OWNER + DNS_RR_FIXED_BYTES;
}

static size_t write_address(const struct addr *addr, uint32_t ttl_s, uint8_t out[RECORDS_RR_MAX])
{
	bool is_ipv4 = addr->family == AF_INET;
	size_t length = is_ipv4 ? 4 : 16;
	size_t at = write_head(is_ipv4 ? DNS_TYPE_A : DNS_TYPE_AAAA, ttl_s, length, out);

	memcpy(out + at, addr->bytes, length);
	return at + length;
}

/* RFC 2782. */
static size_t write_srv(uint16_t port, const uint8_t *target, uint32_t ttl_s,
			uint8_t out[RECORDS_RR_MAX])
{
	size_t length = name_length(target, DNS_NAME_MAX);
	size_t at = write_head(DNS_TYPE_SRV, ttl_s, 6 + length, out);

	store_be16(out + at, SRV_PRIORITY);
	store_be16(out + at + 2, SRV_WEIGHT);
	store_be16(out + at + 4, port);
	memcpy(out + at + 6, target, length);
	return at + 6 + length;
}

static uint16_t add_text_name(struct build *b, const char *host, size_t *out_length)
{
	uint8_t wire[DNS_NAME_MAX];
	int length = name_parse(host, wire);

	if (length < 0)
		return NONE;
	b->hosts[b->host_count] = (struct zone_host){ .name_at = (uint32_t)b->text_length,
						      .name_length = (uint8_t)length };
	name_fold(wire, (size_t)length, b->text + b->text_length);
	b->text_length += (size_t)length;
	*out_length = (size_t)length;
	return (uint16_t)b->host_count++;
}

static uint16_t add_srv(struct build *b, uint16_t port, const uint8_t *target, uint32_t ttl_s,
			uint16_t address_rr)
{
	uint8_t rr[RECORDS_RR_MAX];
	size_t length = write_srv(port, target, ttl_s, rr);
	uint32_t index = image_builder_add(&b->image, rr, length, RECORDS_SHORT_OWNER);

	if (index != IMAGE_NO_RR && address_rr != NONE)
		image_builder_link(&b->image, index, address_rr);
	return (uint16_t)index;
}

/* Encodes what one instance needs that its neighbour before it has not encoded yet. */
static void add_records(struct build *b, size_t i, const uint8_t *owner, size_t owner_length,
			uint32_t ttl_s)
{
	struct sorted *s = &b->sorted[i];
	const struct sorted *before = i ? s - 1 : NULL;
	const struct zone_instance *instance = s->instance;
	bool same_place = before && compare_places(before->instance, instance) == 0;
	uint8_t target[DNS_NAME_MAX], rr[RECORDS_RR_MAX];
	char label[DNS_LABEL_MAX + 1];
	const char *labels[] = { label };
	bool has_target = true;
	size_t length;

	s->address_rr = s->srv_rr = s->host = NONE;
	if (same_place) {
		s->address_rr = before->address_rr;
		s->host = before->host;
	}
	if (instance->addr.family == 0) {
		size_t host_length = 0;

		if (!same_place)
			s->host = add_text_name(b, instance->host, &host_length);
		if (s->host == NONE)
			return;
		memcpy(target, b->text + b->hosts[s->host].name_at, b->hosts[s->host].name_length);
	} else {
		if (!same_place) {
			length = write_address(&instance->addr, ttl_s, rr);
			s->address_rr = (uint16_t)image_builder_add(&b->image, rr, length,
								    RECORDS_SHORT_OWNER);
		}
		zone_build_address_label(&instance->addr, label);
		has_target = zone_build_owner(labels, 1, owner, owner_length, target) != 0;
	}
	if (same_place && before->instance->port == instance->port)
		s->srv_rr = before->srv_rr;
	else if (instance->port != 0 && has_target)
		s->srv_rr = add_srv(b, instance->port, target, ttl_s, s->address_rr);
}

/* Appends what `member` says of the chosen instances, each number once (equal ones are neighbours).
 */
static uint32_t pick(struct build *b, const uint32_t *chosen, size_t first, size_t count,
		     size_t member, int family, uint16_t *out_count)
{
	uint32_t start = (uint32_t)b->pick_count;
	uint16_t last = NONE;

	for (size_t i = 0; i < count; i++) {
		const struct sorted *s = &b->sorted[chosen ? chosen[i] : first + i];
		uint16_t value = *(const uint16_t *)((const char *)s + member);

		if (value == NONE || value == last)
			continue;
		if (family >= 0 && s->instance->addr.family != family)
			continue;
		b->picks[b->pick_count++] = last = value;
	}
	*out_count = (uint16_t)(b->pick_count - start);
	return start;
}

/* A set over `count` instances: those numbered in `chosen`, or a run of the sorted ones from
 * `first`. */
static void add_set(struct build *b, const char *label, bool is_tag, const uint32_t *chosen,
		    size_t first, size_t count)
{
	struct zone_set *set = &b->sets[b->set_count++];
	size_t length = strlen(label);

	*set = (struct zone_set){ .label_at = (uint32_t)b->text_length,
				  .label_length = (uint8_t)length,
				  .is_tag = is_tag };
	name_fold((const uint8_t *)label, length, b->text + b->text_length);
	b->text_length += length;
	set->a_at = pick(b, chosen, first, count, offsetof(struct sorted, address_rr), AF_INET,
			 &set->a_count);
	set->aaaa_at = pick(b, chosen, first, count, offsetof(struct sorted, address_rr), AF_INET6,
			    &set->aaaa_count);
	set->srv_at =
		pick(b, chosen, first, count, offsetof(struct sorted, srv_rr), -1, &set->srv_count);
	set->host_at =
		pick(b, chosen, first, count, offsetof(struct sorted, host), -1, &set->host_count);
}

static void add_address_sets(struct build *b)
{
	char label[DNS_LABEL_MAX + 1];
	size_t end;

	for (size_t i = 0; i < b->count; i = end) {
		for (end = i + 1; end < b->count; end++) {
			if (compare_places(b->sorted[i].instance, b->sorted[end].instance) != 0)
				break;
		}
		if (b->sorted[i].instance->addr.family == 0)
			continue;
		zone_build_address_label(&b->sorted[i].instance->addr, label);
		add_set(b, label, false, NULL, i, end - i);
	}
}

static void add_tag_sets(struct build *b, uint32_t *chosen)
{
	size_t end;

	qsort(b->tagged, b->tagged_count, sizeof(*b->tagged), compare_tagged);
	for (size_t i = 0; i < b->tagged_count; i = end) {
		size_t count = 0;

		for (end = i; end < b->tagged_count; end++) {
			if (strcasecmp(b->tagged[i].label, b->tagged[end].label) != 0)
				break;
			chosen[count++] = b->tagged[end].sorted_index;
		}
		add_set(b, b->tagged[i].label, true, chosen, 0, count);
	}
}

static const uint8_t *sorting_text; /* qsort has no argument; the control plane is one thread */

static int compare_sets(const void *a, const void *b)
{
	const struct zone_set *x = a, *y = b;
	size_t shorter = x->label_length < y->label_length ? x->label_length : y->label_length;
	int order = memcmp(sorting_text + x->label_at, sorting_text + y->label_at, shorter);

	if (order == 0)
		order = (int)x->label_length - (int)y->label_length;
	return order ? order : (int)x->is_tag - (int)y->is_tag;
}

/* Sizes everything for the worst case. false: out of memory. */
static bool build_start(struct build *b, const struct zone_instance *instances, size_t count,
			uint32_t **out_chosen)
{
	size_t tags = 0, text = 0;

	for (size_t i = 0; i < count; i++) {
		text += DNS_NAME_MAX; /* a host name or an address label */
		for (size_t t = 0; t < instances[i].tag_count; t++) {
			tags++;
			text += DNS_LABEL_MAX;
		}
	}
	b->sorted = calloc(count + 1, sizeof(*b->sorted));
	b->tagged = calloc(tags + 1, sizeof(*b->tagged));
	b->sets = calloc(1 + count + tags, sizeof(*b->sets));
	b->hosts = calloc(count + 1, sizeof(*b->hosts));
	b->picks = calloc(3 * (2 * count + tags) + 3, sizeof(*b->picks));
	b->text = calloc(text + 1, 1);
	*out_chosen = calloc(tags + 1, sizeof(**out_chosen));
	if (!b->sorted || !b->tagged || !b->sets || !b->hosts || !b->picks || !b->text ||
	    !*out_chosen)
		return false;
	b->count = count;
	for (size_t i = 0; i < count; i++)
		b->sorted[i].instance = &instances[i];
	qsort(b->sorted, count, sizeof(*b->sorted), compare_sorted);
	for (size_t i = 0; i < count; i++) {
		const struct zone_instance *instance = b->sorted[i].instance;

		for (size_t t = 0; t < instance->tag_count; t++) {
			if (name_is_label(instance->tags[t], strlen(instance->tags[t])))
				b->tagged[b->tagged_count++] =
					(struct tagged){ .label = instance->tags[t],
							 .sorted_index = (uint32_t)i };
		}
	}
	return true;
}

static void build_end(struct build *b, uint32_t *chosen)
{
	free(b->sorted);
	free(b->tagged);
	free(b->sets);
	free(b->hosts);
	free(b->picks);
	free(b->text);
	free(chosen);
}

static size_t align_up(size_t size)
{
	return (size + 7) & ~(size_t)7;
}

/* A name with room behind it for its owner and its four arrays. NULL: out of memory. */
static struct zone_name *make_name(enum zone_kind kind, enum zone_state state, const uint8_t *owner,
				   size_t length, const struct zone_times *times,
				   const struct build *b)
{
	size_t sets = align_up(b->set_count * sizeof(*b->sets));
	size_t hosts = align_up(b->host_count * sizeof(*b->hosts));
	size_t picks = align_up(b->pick_count * sizeof(*b->picks));
	struct zone_name *name =
		calloc(1, align_up(sizeof(*name)) + sets + hosts + picks + b->text_length + length);
	char *p;

	if (!name)
		return NULL;
	p = (char *)name + align_up(sizeof(*name));
	name->kind = kind;
	name->state = state;
	name->owner_length = (uint8_t)length;
	if (times) {
		atomic_store_explicit(&name->refresh_from_ms, times->refresh_from_ms,
				      memory_order_relaxed);
		atomic_store_explicit(&name->fresh_until_ms, times->fresh_until_ms,
				      memory_order_relaxed);
		atomic_store_explicit(&name->stale_until_ms, times->stale_until_ms,
				      memory_order_relaxed);
		atomic_store_explicit(&name->is_leaderless, times->is_leaderless,
				      memory_order_relaxed);
	}
	name->sets = (struct zone_set *)p;
	name->hosts = (struct zone_host *)(p + sets);
	name->picks = (uint16_t *)(p + sets + hosts);
	name->text = (uint8_t *)(p + sets + hosts + picks);
	name->owner = name->text + b->text_length;
	memcpy(name->owner, owner, length);
	name->set_count = (uint32_t)b->set_count;
	name->host_count = (uint16_t)b->host_count;
	name->text_length = (uint32_t)b->text_length;
	if (b->sets)
		memcpy(name->sets, b->sets, b->set_count * sizeof(*b->sets));
	if (b->hosts)
		memcpy(name->hosts, b->hosts, b->host_count * sizeof(*b->hosts));
	if (b->picks)
		memcpy(name->picks, b->picks, b->pick_count * sizeof(*b->picks));
	if (b->text)
		memcpy(name->text, b->text, b->text_length);
	return name;
}

struct zone_name *zone_build_bare(enum zone_kind kind, enum zone_state state, const uint8_t *owner,
				  size_t length, const struct zone_times *times, size_t text_bytes,
				  size_t pick_count)
{
	struct build room = { .text_length = text_bytes, .pick_count = pick_count };

	return make_name(kind, state, owner, length, times, &room);
}

struct zone_name *zone_build_service(const uint8_t *owner, size_t length, uint32_t ttl_s,
				     const struct zone_times *times,
				     const struct zone_instance *instances, size_t count)
{
	struct build b = { 0 };
	uint32_t *chosen = NULL;
	struct zone_name *name = NULL;
	struct image *image = NULL;

	if (count > ZONE_RR_COUNT_MAX / 2)
		count = ZONE_RR_COUNT_MAX / 2;
	if (!build_start(&b, instances, count, &chosen))
		goto out;
	for (size_t i = 0; i < count; i++)
		add_records(&b, i, owner, length, ttl_s);
	add_set(&b, "", false, NULL, 0, count);
	add_address_sets(&b);
	add_tag_sets(&b, chosen);
	sorting_text = b.text;
	qsort(b.sets + 1, b.set_count - 1, sizeof(*b.sets), compare_sets);
	image = image_builder_finish(&b.image);
	if (!image)
		goto out;
	name = make_name(ZONE_SERVICE, ZONE_LOADED, owner, length, times, &b);
	if (name)
		name->image = image;
	else
		free(image);
out:
	build_end(&b, chosen);
	return name;
}

void zone_name_free(struct zone_name *name)
{
	if (!name)
		return;
	free(name->image);
	free(name);
}
