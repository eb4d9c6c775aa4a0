#include "verbs/version.h"

#include <stdio.h>

#include <uv.h>

#include "dns/records.h"
#include "nomad/http.h"
#include "nomad/json.h"

int version_print(void)
{
	puts("nomad-dns " VERSION);
	printf("%s\nlibuv/%s\ncJSON/%s\nldns/%s\n", http_library_version(), uv_version_string(),
	       json_library_version(), records_library_version());
	return 0;
}
