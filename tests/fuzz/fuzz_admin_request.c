/* Heads of HTTP requests: what is handed out lies inside the head, and a request is never complete
 * before its last line is. */
#include <string.h>

#include "admin/admin_request.h"
#include "dns/name.h"
#include "fuzz/fuzz.h"

static void check_inside(struct admin_text text, const char *data, size_t size)
{
	if (!text.length)
		return;
	PROMISE(text.data >= data && text.data + text.length <= data + size);
	for (size_t i = 0; i < text.length; i++)
		PROMISE(text.data[i] > ' ' && text.data[i] != 127);
}

/* A name that is found is a whole one. */
static void check_name(struct admin_text query)
{
	uint8_t name[DNS_NAME_MAX];
	int length = admin_request_find_name(query, name);

	if (length >= 0)
		PROMISE(length > 0 && name_length(name, sizeof(name)) == (size_t)length);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	const char *data = (const char *)bytes;
	struct admin_request request;
	enum admin_request_verdict verdict = admin_request_parse(data, size, &request);

	if (verdict == ADMIN_REQUEST_INCOMPLETE)
		PROMISE(size <= ADMIN_REQUEST_HEAD_MAX);
	if (verdict == ADMIN_REQUEST_OK) {
		check_inside(request.method, data, size);
		if (!admin_text_is(request.path, "/")) /* "http://host" has no path of its own */
			check_inside(request.path, data, size);
		check_inside(request.query, data, size);
		PROMISE(request.method.length > 0 && request.path.length > 0);
		PROMISE(request.path.data[0] == '/' || request.path.data[0] == '*');
		PROMISE(request.minor_version <= 1);
		admin_request_is_host_allowed(request.host, "127.0.0.1:9153");
		check_name(request.query);
	}
	/* A head that is read on grows well or goes bad; what was bad stays bad. */
	for (size_t part = size > 256 ? size - 256 : 0; part < size; part++) {
		struct admin_request early;
		enum admin_request_verdict before = admin_request_parse(data, part, &early);

		if (before != ADMIN_REQUEST_INCOMPLETE)
			PROMISE(before == verdict);
	}
	return 0;
}
