/* Names: wire → text → wire and text → wire → text give back what went in, and ldns reads our text
 * as the same name. */
#include <ldns/ldns.h>
#include <string.h>

#include "dns/name.h"
#include "fuzz/fuzz.h"

static void check_wire(const uint8_t *name, size_t length)
{
	char text[NAME_TEXT_MAX];
	uint8_t again[DNS_NAME_MAX], folded[DNS_NAME_MAX];
	const uint8_t root = 0;

	PROMISE(length <= DNS_NAME_MAX);
	PROMISE(name_length(name, length) == length);
	PROMISE(name_length(name, length - 1) == 0);

	size_t text_length = name_format(name, text);
	PROMISE(text_length < NAME_TEXT_MAX && text_length == strlen(text));
	PROMISE(name_parse(text, again) == (int)length);
	PROMISE(memcmp(again, name, length) == 0);

	name_fold(name, length, folded);
	PROMISE(name_length(folded, length) == length);
	for (size_t i = 0; i < length; i++)
		PROMISE(folded[i] == name_fold_byte(name[i]));
	PROMISE(name_count_labels(folded) == name_count_labels(name));
	PROMISE(name_count_labels(name) <= DNS_LABELS_MAX);
	PROMISE(name_is_in(folded, length, &root, 1));
	PROMISE(name_is_in(folded, length, folded, length));

	ldns_rdf *other = ldns_dname_new_frm_str(text);
	PROMISE(other);
	PROMISE(ldns_rdf_size(other) == length);
	PROMISE(memcmp(ldns_rdf_data(other), name, length) == 0);
	ldns_rdf_deep_free(other);
}

static void check_text(const uint8_t *data, size_t size)
{
	uint8_t name[DNS_NAME_MAX];
	char *text = malloc(size + 1);

	if (!text)
		return;
	memcpy(text, data, size);
	text[size] = '\0';
	int length = name_parse(text, name);
	if (length > 0)
		check_wire(name, (size_t)length);
	else
		PROMISE(length < 0);
	if (name_is_label((const char *)data, size)) {
		PROMISE(length == (int)size + 2);
		PROMISE(size >= 1 && size <= DNS_LABEL_MAX);
	}
	if (name_is_host((const char *)data, size))
		PROMISE(length > 0);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t length = name_length(data, size);

	if (length)
		check_wire(data, length);
	check_text(data, size);
	return 0;
}
