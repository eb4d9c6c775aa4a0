#include "forward/works.h"

#include <string.h>

#include "base/bytes.h"
#include "dns/dns.h"

#define KEY_MAX (DNS_NAME_MAX + 5)

void works_init(struct works *works)
{
	*works = (struct works){ 0 };
	hash_random(&works->secret, sizeof(works->secret));
	list_init(&works->all);
}

static bool has_cd(const struct question *question)
{
	return question->flags & DNS_FLAG_CD;
}

uint64_t works_hash(const struct works *works, const struct question *question)
{
	uint8_t key[KEY_MAX];

	store_be16(key, question->type);
	store_be16(key + 2, question->qclass);
	key[4] = (uint8_t)((question->has_do ? 1 : 0) | (has_cd(question) ? 2 : 0));
	memcpy(key + 5, question->folded, question->name_length);
	return hash_bytes(&works->secret, key, (size_t)question->name_length + 5);
}

static bool is_same_question(const struct question *a, const struct question *b)
{
	return a->type == b->type && a->qclass == b->qclass && a->has_do == b->has_do &&
	       has_cd(a) == has_cd(b) && a->name_length == b->name_length &&
	       memcmp(a->folded, b->folded, a->name_length) == 0;
}

struct works_entry *works_find(const struct works *works, uint64_t hash,
			       const struct question *question)
{
	struct works_entry *entry = works->bucket[hash % WORKS_BUCKETS];

	while (entry && (entry->hash != hash || !is_same_question(&entry->question, question)))
		entry = entry->next;
	return entry;
}

void works_add(struct works *works, struct works_entry *entry)
{
	struct works_entry **bucket = &works->bucket[entry->hash % WORKS_BUCKETS];

	entry->next = *bucket;
	*bucket = entry;
	entry->is_joinable = true;
	list_append(&works->all, &entry->by_works);
}

void works_hide(struct works *works, struct works_entry *entry)
{
	struct works_entry **link = &works->bucket[entry->hash % WORKS_BUCKETS];

	if (!entry->is_joinable)
		return;
	while (*link != entry)
		link = &(*link)->next;
	*link = entry->next;
	entry->is_joinable = false;
}

void works_remove(struct works *works, struct works_entry *entry)
{
	works_hide(works, entry);
	list_remove(&entry->by_works);
}
