#include "forward/era.h"

#include <stdlib.h>

#include "forward/exchange_tcp.h"
#include "forward/loop_check.h"
#include "forward/upstream.h"

struct era *era_open(uv_loop_t *loop, struct metrics *metrics, struct upstream_list *list,
		     uint64_t now_ms, void (*gone)(void *arg), void *arg)
{
	struct era *era = calloc(1, sizeof(*era));

	if (!era)
		return NULL;
	era->health = upstream_health_new(list);
	if (era->health)
		era->pool = exchange_tcp_pool_open(loop, metrics, list);
	if (!era->pool) {
		upstream_health_free(era->health);
		free(era);
		return NULL;
	}
	era->loop_check = loop_check_open(loop, list, era->pool);
	era->open_parts = era->loop_check ? 2 : 1;
	if (era->loop_check)
		loop_check_begin(era->loop_check, now_ms);
	era->gone = gone;
	era->arg = arg;
	era->users = 1;
	return era;
}

struct era *era_hold(struct era *era)
{
	era->users++;
	return era;
}

static void on_part_closed(void *arg)
{
	struct era *era = arg;

	if (--era->open_parts > 0)
		return;
	era->gone(era->arg);
	free(era);
}

void era_drop(struct era *era)
{
	if (!era || --era->users > 0)
		return;
	if (era->loop_check)
		loop_check_close(era->loop_check, on_part_closed, era);
	exchange_tcp_pool_close(era->pool, on_part_closed, era);
	upstream_health_free(era->health);
	era->health = NULL;
}

void era_suspect_loop(struct era *era, uint64_t now_ms)
{
	if (era->loop_check)
		loop_check_suspect(era->loop_check, now_ms);
}
