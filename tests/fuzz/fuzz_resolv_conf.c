/* resolv.conf: never more servers than fit, and each is an address that can be written and read. */
#include "base/addr.h"
#include "config/resolv_conf.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct addr servers[RESOLV_CONF_MAX];
	unsigned bad = 0;
	size_t count = resolv_conf_parse((const char *)data, size, servers, &bad);

	PROMISE(count <= RESOLV_CONF_MAX);
	for (size_t i = 0; i < count; i++) {
		char text[ADDR_TEXT_MAX];
		struct addr again;

		PROMISE(servers[i].port == 53);
		addr_format(&servers[i], text);
		PROMISE(addr_parse(text, 0, &again) == 0);
		PROMISE(addr_same_ip(&servers[i], &again) && again.port == 53);
	}
	return 0;
}
