/* Values as operators write them: addresses, networks, URLs, durations, sizes. What was understood
 * is understood the same way once it was written by us. */
#include <string.h>

#include "base/addr.h"
#include "base/str.h"
#include "fuzz/fuzz.h"
#include "nomad/http_address.h"

static void check_addresses(const char *text)
{
	struct addr addr, again;
	struct addr_net net;
	char written[ADDR_TEXT_MAX];

	if (addr_parse(text, 53, &addr) == 0) {
		PROMISE(addr.family == AF_INET || addr.family == AF_INET6);
		addr_format(&addr, written);
		PROMISE(addr_parse(written, 53, &again) == 0);
		PROMISE(addr_same_ip(&addr, &again) && addr.port == again.port);

		union addr_socket socket;
		PROMISE(addr_to_socket(&addr, &socket) > 0);
		PROMISE(addr_from_socket(&socket.sa, &again) == 0);
		PROMISE(addr_same_ip(&addr, &again) && addr.port == again.port);
	}
	if (addr_parse_ip(text, &addr) == 0) {
		addr_format_ip(&addr, written);
		PROMISE(addr_parse_ip(written, &again) == 0 && addr_same_ip(&addr, &again));
	}
	if (addr_parse_net(text, &net) == 0) {
		PROMISE(net.prefix_bits <= (net.base.family == AF_INET ? 32 : 128));
		PROMISE(addr_is_in(&net.base, &net));
	}
}

static void check_quantities(const char *text)
{
	uint64_t value, again;
	char written[64];

	if (str_parse_duration_ms(text, &value) == 0) {
		str_format_duration_ms(value, written, sizeof(written));
		PROMISE(str_parse_duration_ms(written, &again) == 0 && again == value);
	}
	if (str_parse_size(text, &value) == 0) {
		str_format_size(value, written, sizeof(written));
		PROMISE(str_parse_size(written, &again) == 0 && again == value);
	}
	if (str_parse_uint(text, 3, 70000, &value) == 0)
		PROMISE(value >= 3 && value <= 70000);
	PROMISE(str_distance(text, text) == (strlen(text) > 63 ? SIZE_MAX : 0));
	PROMISE(str_distance(text, "listen") == str_distance("listen", text));
}

static void check_url(const char *text)
{
	struct http_address address = { 0 };
	char why[256] = "";

	int status = http_address_parse(text, NULL, &address, why, sizeof(why));
	if (status == 0) {
		PROMISE(address.text && address.base);
		PROMISE(!address.userinfo || !strchr(address.text, '@')); /* never shown */
		http_address_deinit(&address);
	} else {
		PROMISE(why[0] && memchr(why, '\0', sizeof(why)));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	check_addresses(text);
	check_quantities(text);
	check_url(text);
	free(text);
	return 0;
}
