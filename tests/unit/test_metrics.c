#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/map.h"
#include "base/metrics.h"

static struct metrics blocks[2];

static int clear_blocks(void **state)
{
	(void)state;
	for (unsigned i = 0; i < METRIC_COUNT; i++) {
		metrics_set(&blocks[0], (enum metric)i, 0);
		metrics_set(&blocks[1], (enum metric)i, 0);
	}
	return 0;
}

/* The page without what changes by itself (process_*), which stands at its end. */
static char *render_stable(void)
{
	const struct metrics *const list[] = { &blocks[0], &blocks[1] };
	struct buf page;
	char *process;

	buf_init(&page, 0);
	metrics_render(list, 2, "p", &page);
	assert_false(page.failed);
	process = strstr(page.data, "# HELP process_");
	assert_non_null(process);
	*process = '\0';
	return page.data;
}

static void assert_page_has(const char *line)
{
	char *page = render_stable();

	if (strstr(page, line) == NULL)
		print_error("the page has no line '%s'\n", line);
	assert_non_null(strstr(page, line));
	free(page);
}

static void every_metric_is_on_the_page(void **state)
{
	char *zero = render_stable();

	(void)state;
	for (unsigned i = 0; i < METRIC_COUNT; i++) {
		char *page;

		metrics_set(&blocks[0], (enum metric)i, 7);
		page = render_stable();
		if (strcmp(page, zero) == 0)
			print_error("metric %u has no row\n", i);
		assert_string_not_equal(page, zero);
		free(page);
		metrics_set(&blocks[0], (enum metric)i, 0);
	}
	free(zero);
}

static void blocks_are_summed(void **state)
{
	(void)state;
	metrics_add(&blocks[0], METRIC_REQUESTS_UDP, 2);
	metrics_add(&blocks[1], METRIC_REQUESTS_UDP, 3);
	metrics_set(&blocks[0], METRIC_TCP_CLIENTS, 4);
	metrics_set(&blocks[1], METRIC_TCP_CLIENTS, 5);
	assert_page_has("\np_dns_requests_total{proto=\"udp\"} 5\n");
	assert_page_has("\np_tcp_clients 9\n");
}

static void what_does_not_add_up_is_the_largest(void **state)
{
	(void)state;
	metrics_set(&blocks[0], METRIC_NOMAD_INDEX, 40);
	metrics_set(&blocks[1], METRIC_NOMAD_INDEX, 30);
	metrics_set(&blocks[0], METRIC_CONFIG_RELOAD_OK, 1);
	metrics_set(&blocks[1], METRIC_CONFIG_RELOAD_OK, 1);
	assert_page_has("\np_nomad_index 40\n");
	assert_page_has("\np_config_last_reload_successful 1\n");
}

static void responses_are_named_by_rcode_and_stage(void **state)
{
	(void)state;
	metrics_add(&blocks[0], metric_response(METRIC_STAGE_NOMAD, 3), 1);
	metrics_add(&blocks[0], metric_response(METRIC_STAGE_FORWARD, 0), 2);
	metrics_add(&blocks[0], metric_response(METRIC_STAGE_NONE, 16), 3);
	metrics_add(&blocks[0], metric_response(METRIC_STAGE_CACHE, 2), 4);
	assert_page_has("\np_dns_responses_total{rcode=\"NXDOMAIN\",plugin=\"nomad\"} 1\n");
	assert_page_has("\np_dns_responses_total{rcode=\"NOERROR\",plugin=\"forward\"} 2\n");
	assert_page_has("\np_dns_responses_total{rcode=\"BADVERS\",plugin=\"none\"} 3\n");
	assert_page_has("\np_dns_responses_total{rcode=\"SERVFAIL\",plugin=\"cache\"} 4\n");
}

static void response_that_never_happened_has_no_series(void **state)
{
	char *page = render_stable();

	(void)state;
	assert_null(strstr(page, "\np_dns_responses_total{"));
	assert_non_null(strstr(page, "# TYPE p_dns_responses_total counter\n"));
	free(page);
}

static void rcode_beyond_the_table_stays_inside_it(void **state)
{
	(void)state;
	assert_int_equal(metric_response(METRIC_STAGE_FORWARD, 4095), METRIC_RESPONSES_LAST);
}

static void names_existing_dashboards_ask_for_are_there(void **state)
{
	(void)state;
	assert_page_has("\np_cache_hits_total{type=\"success\"} 0\n");
	assert_page_has("\np_cache_hits_total{type=\"denial\"} 0\n");
	assert_page_has("\np_cache_misses_total 0\n");
	assert_page_has("\np_cache_entries{type=\"denial\"} 0\n");
	assert_page_has("\np_build_info{version=\"" VERSION "\"} 1\n");
}

static char histogram; /* stands for a family of this type */

/* The length of the name of a sample's family: a histogram has its samples under three names. */
static size_t sample_family(const char *line, struct map *families)
{
	static const char *const endings[] = { "_bucket", "_sum", "_count" };
	size_t length = strcspn(line, " {");

	for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
		size_t ending = strlen(endings[i]);

		if (length > ending && strncmp(line + length - ending, endings[i], ending) == 0 &&
		    map_find(families, line, length - ending) == &histogram)
			return length - ending;
	}
	return length;
}

/* A family said twice, or one sample before its TYPE, makes a scraper refuse the whole page. */
static void each_family_has_one_help_and_one_type_before_its_samples(void **state)
{
	const struct metrics *const list[] = { &blocks[0], &blocks[1] };
	struct map *families = map_new();
	struct buf page;
	char *line, *rest;

	(void)state;
	buf_init(&page, 0);
	metrics_render(list, 2, "p", &page);
	rest = page.data;
	while ((line = strsep(&rest, "\n")) != NULL && line[0] != '\0') {
		size_t length = sample_family(line, families);

		if (strncmp(line, "# HELP ", 7) == 0) {
			continue;
		} else if (strncmp(line, "# TYPE ", 7) == 0) {
			length = strcspn(line + 7, " ");
			assert_null(map_find(families, line + 7, length));
			map_put(families, line + 7, length,
				strcmp(line + 7 + length, " histogram") == 0 ? (void *)&histogram
									     : (void *)families);
		} else {
			assert_non_null(map_find(families, line, length));
		}
	}
	map_free(families);
	buf_deinit(&page);
}

static void durations_fall_into_buckets_and_add_up(void **state)
{
	(void)state;
	metrics_observe(&blocks[0], METRIC_REQUEST_DURATION, 0, 1);
	metrics_observe(&blocks[0], METRIC_REQUEST_DURATION, 250, 2);
	metrics_observe(&blocks[1], METRIC_REQUEST_DURATION, 251, 4);
	metrics_observe(&blocks[0], METRIC_REQUEST_DURATION, 500, 8);
	metrics_observe(&blocks[0], METRIC_REQUEST_DURATION, 501, 16);
	metrics_observe(&blocks[1], METRIC_REQUEST_DURATION, 8192000, 32);
	metrics_observe(&blocks[1], METRIC_REQUEST_DURATION, 8192001, 64);
	metrics_observe(&blocks[0], METRIC_REQUEST_DURATION, UINT64_C(1) << 40, 128);
	assert_page_has("# TYPE p_dns_request_duration_seconds histogram\n");
	assert_page_has("\np_dns_request_duration_seconds_bucket{le=\"0.00025\"} 3\n");
	assert_page_has("\np_dns_request_duration_seconds_bucket{le=\"0.0005\"} 15\n");
	assert_page_has("\np_dns_request_duration_seconds_bucket{le=\"0.001\"} 31\n");
	assert_page_has("\np_dns_request_duration_seconds_bucket{le=\"4.096\"} 31\n");
	assert_page_has("\np_dns_request_duration_seconds_bucket{le=\"8.192\"} 63\n");
	assert_page_has("\np_dns_request_duration_seconds_bucket{le=\"+Inf\"} 255\n");
	assert_page_has("\np_dns_request_duration_seconds_count 255\n");
}

static void durations_are_summed_in_seconds(void **state)
{
	(void)state;
	metrics_observe(&blocks[0], METRIC_NOMAD_DURATION, 1500000, 2);
	metrics_observe(&blocks[1], METRIC_NOMAD_DURATION, 1, 1);
	assert_page_has("\np_nomad_request_duration_seconds_sum 3.000001\n");
	assert_page_has("\np_nomad_request_duration_seconds_count 3\n");
	assert_page_has("\np_dns_request_duration_seconds_count 0\n");
}

static void process_numbers_are_there(void **state)
{
	static const char *const names[] = {
		"process_cpu_seconds_total",
		"process_resident_memory_bytes",
		"process_virtual_memory_bytes",
		"process_open_fds",
		"process_max_fds",
		"process_start_time_seconds",
	};
	const struct metrics *const list[] = { &blocks[0] };
	struct buf page;

	(void)state;
	buf_init(&page, 0);
	metrics_render(list, 1, "p", &page);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char start[64];
		const char *at;

		snprintf(start, sizeof(start), "\n%s ", names[i]);
		at = strstr(page.data, start);
		assert_non_null(at);
		assert_true(strtod(at + strlen(start), NULL) >= 0);
	}
	buf_deinit(&page);
}

static void ceiling_of_the_buffer_is_noticed(void **state)
{
	const struct metrics *const list[] = { &blocks[0] };
	struct buf page;

	(void)state;
	buf_init(&page, 100);
	metrics_render(list, 1, "p", &page);
	assert_true(page.failed);
	buf_deinit(&page);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(every_metric_is_on_the_page, clear_blocks),
		cmocka_unit_test_setup(blocks_are_summed, clear_blocks),
		cmocka_unit_test_setup(what_does_not_add_up_is_the_largest, clear_blocks),
		cmocka_unit_test_setup(responses_are_named_by_rcode_and_stage, clear_blocks),
		cmocka_unit_test_setup(response_that_never_happened_has_no_series, clear_blocks),
		cmocka_unit_test_setup(rcode_beyond_the_table_stays_inside_it, clear_blocks),
		cmocka_unit_test_setup(names_existing_dashboards_ask_for_are_there, clear_blocks),
		cmocka_unit_test_setup(each_family_has_one_help_and_one_type_before_its_samples,
				       clear_blocks),
		cmocka_unit_test_setup(durations_fall_into_buckets_and_add_up, clear_blocks),
		cmocka_unit_test_setup(durations_are_summed_in_seconds, clear_blocks),
		cmocka_unit_test_setup(process_numbers_are_there, clear_blocks),
		cmocka_unit_test_setup(ceiling_of_the_buffer_is_noticed, clear_blocks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
