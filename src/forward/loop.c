#include "forward/loop.h"

#include <string.h>

#include "dns/question.h"
#include "forward/upstream_list.h"

#define LETTERS_MIN 16	 /* with fewer the case may be the same by chance */
#define LETTERS_EITHER 4 /* upper and lower: people type one or the other */
#define PAUSE_MIN_MS 1000
#define PAUSE_MAX_MS 64000
#define PAUSE_KNOWN_MS 600000 /* after that the next pause is the first again */
#define RANDOM_DIGITS 32

static const uint8_t LABEL[] = "\x14nomad-dns-loop-check"; /* without its final NUL */
static const uint8_t NOBODY[] = "\7example";		   /* with it: the root */

void loop_memory_init(struct loop_memory *memory)
{
	hash_random(&memory->secret, sizeof(memory->secret));
}

bool loop_is_known(const struct upstream *upstream, uint64_t now_ms)
{
	return now_ms < atomic_load_explicit(&upstream->loop.until_ms, memory_order_relaxed);
}

static bool has_telling_case(const uint8_t *name, size_t length)
{
	unsigned upper_count = 0, lower_count = 0;

	for (size_t i = 0; i < length; i++) {
		upper_count += name[i] >= 'A' && name[i] <= 'Z';
		lower_count += name[i] >= 'a' && name[i] <= 'z';
	}
	return upper_count + lower_count >= LETTERS_MIN && upper_count >= LETTERS_EITHER &&
	       lower_count >= LETTERS_EITHER;
}

static _Atomic uint64_t *place_of(struct upstream_list *list, uint64_t hash)
{
	return &list->loops.asked[hash >> 32 & (LOOP_ASKED - 1)];
}

void loop_note_asked(struct upstream_list *list, const uint8_t *name, size_t length)
{
	uint64_t hash;

	if (!has_telling_case(name, length))
		return;
	hash = hash_mac(&list->loops.secret, name, length);
	atomic_store_explicit(place_of(list, hash), hash, memory_order_relaxed);
}

bool loop_is_suspected(struct upstream_list *list, const struct question *question)
{
	uint64_t hash;

	if (!has_telling_case(question->name, question->name_length))
		return false;
	hash = hash_mac(&list->loops.secret, question->name, question->name_length);
	return atomic_load_explicit(place_of(list, hash), memory_order_relaxed) == hash;
}

/* What stands behind the random label. Its length; 0: there is no room for it. */
static size_t write_suffix(const struct upstream *upstream, uint8_t out[DNS_NAME_MAX])
{
	const uint8_t *below = upstream->domain_length ? upstream->domain : NOBODY;
	size_t below_length = upstream->domain_length ? upstream->domain_length : sizeof(NOBODY);
	size_t label_length = sizeof(LABEL) - 1;

	if (1 + RANDOM_DIGITS + label_length + below_length > DNS_NAME_MAX)
		return 0;
	memcpy(out, LABEL, label_length);
	memcpy(out + label_length, below, below_length);
	return label_length + below_length;
}

static void write_digits(const uint64_t bits[2], uint8_t out[RANDOM_DIGITS])
{
	for (unsigned i = 0; i < RANDOM_DIGITS; i++)
		out[i] = (uint8_t) "0123456789abcdef"[bits[i / 16] >> i % 16 * 4 & 15];
}

static bool is_its_name(const struct upstream *upstream, const uint8_t *folded, size_t length,
			uint64_t now_ms)
{
	const struct loop_mark *mark = &upstream->loop;
	uint64_t sent_ms = atomic_load_explicit(&mark->sent_ms, memory_order_acquire);
	uint64_t bits[2] = { atomic_load_explicit(&mark->sent[0], memory_order_relaxed),
			     atomic_load_explicit(&mark->sent[1], memory_order_relaxed) };
	uint8_t digits[RANDOM_DIGITS], suffix[DNS_NAME_MAX];
	size_t suffix_length = write_suffix(upstream, suffix);

	if (sent_ms == 0 || now_ms >= sent_ms + LOOP_LISTEN_MS || suffix_length == 0 ||
	    length != 1 + RANDOM_DIGITS + suffix_length ||
	    memcmp(folded + 1 + RANDOM_DIGITS, suffix, suffix_length) != 0)
		return false;
	write_digits(bits, digits);
	return memcmp(folded + 1, digits, RANDOM_DIGITS) == 0;
}

static int find_by_name(const struct upstream_list *list, const uint8_t *folded, size_t length,
			uint64_t now_ms)
{
	if (folded[0] != RANDOM_DIGITS || length < 1 + RANDOM_DIGITS + sizeof(LABEL) ||
	    memcmp(folded + 1 + RANDOM_DIGITS, LABEL, sizeof(LABEL) - 1) != 0)
		return -1;
	for (size_t i = 0; i < list->count; i++) {
		if (is_its_name(&list->upstream[i], folded, length, now_ms))
			return (int)i;
	}
	return -1;
}

int loop_find(struct upstream_list *list, const struct question *question, uint64_t now_ms,
	      bool *out_is_new)
{
	int upstream = find_by_name(list, question->folded, question->name_length, now_ms);
	struct loop_mark *mark;

	if (upstream < 0)
		return -1;
	mark = &list->upstream[upstream].loop;
	atomic_store_explicit(&mark->until_ms, now_ms + LOOP_KEPT_MS, memory_order_relaxed);
	*out_is_new = !atomic_exchange(&mark->is_said, true);
	return upstream;
}

bool loop_is_check_due(struct upstream_list *list, uint64_t now_ms)
{
	struct loop_memory *memory = &list->loops;
	uint64_t due_ms = atomic_load_explicit(&memory->check_due_ms, memory_order_relaxed);
	uint64_t pause_ms = atomic_load_explicit(&memory->check_pause_ms, memory_order_relaxed) * 2;

	if (now_ms < due_ms)
		return false;
	if (pause_ms < PAUSE_MIN_MS || now_ms >= due_ms + PAUSE_KNOWN_MS)
		pause_ms = PAUSE_MIN_MS;
	if (pause_ms > PAUSE_MAX_MS)
		pause_ms = PAUSE_MAX_MS;
	if (!atomic_compare_exchange_strong(&memory->check_due_ms, &due_ms, now_ms + pause_ms))
		return false; /* another worker does it */
	atomic_store_explicit(&memory->check_pause_ms, pause_ms, memory_order_relaxed);
	return true;
}

size_t loop_make_name(struct upstream *upstream, uint64_t now_ms, uint8_t out[DNS_NAME_MAX])
{
	struct loop_mark *mark = &upstream->loop;
	uint8_t suffix[DNS_NAME_MAX];
	size_t suffix_length = write_suffix(upstream, suffix);
	uint64_t bits[2];

	if (suffix_length == 0)
		return 0;
	hash_random(bits, sizeof(bits));
	atomic_store_explicit(&mark->sent[0], bits[0], memory_order_relaxed);
	atomic_store_explicit(&mark->sent[1], bits[1], memory_order_relaxed);
	atomic_store_explicit(&mark->sent_ms, now_ms, memory_order_release);
	out[0] = RANDOM_DIGITS;
	write_digits(bits, out + 1);
	memcpy(out + 1 + RANDOM_DIGITS, suffix, suffix_length);
	return 1 + RANDOM_DIGITS + suffix_length;
}

bool loop_has_ended(struct upstream *upstream, uint64_t now_ms)
{
	return !loop_is_known(upstream, now_ms) && atomic_exchange(&upstream->loop.is_said, false);
}
