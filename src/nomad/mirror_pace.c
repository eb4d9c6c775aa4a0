#include "nomad/mirror_pace.h"

#define WINDOW_MS 60000
#define SECOND_MS 1000
#define BUSY_CHANGES 120 /* in a window: two a second */
#define BURST_MAX 10	 /* that count of a second */
#define CALM_WAKES 30	 /* in a window; of one change a second, half are told */
#define CALM_WINDOWS 5

void pace_init(struct pace *pace, uint64_t now_ms)
{
	*pace = (struct pace){ .window_ms = now_ms, .second_ms = now_ms };
}

void pace_count(struct pace *pace, uint64_t now_ms)
{
	if (now_ms >= pace->second_ms + SECOND_MS) {
		pace->second_ms = now_ms;
		pace->in_second = 0;
	}
	if (pace->in_second++ < BURST_MAX)
		pace->changes++;
}

enum pace_word pace_look(struct pace *pace, bool is_large, uint64_t now_ms)
{
	enum pace_word word = PACE_NONE;

	if (now_ms < pace->window_ms + WINDOW_MS)
		return PACE_NONE;
	if (!is_large && pace->changes > BUSY_CHANGES && now_ms < pace->window_ms + 2 * WINDOW_MS)
		word = PACE_BUSY;
	pace->calm_windows = is_large && pace->changes < CALM_WAKES ? pace->calm_windows + 1 : 0;
	if (pace->calm_windows >= CALM_WINDOWS)
		word = PACE_CALM;
	pace->changes = 0;
	pace->window_ms = now_ms;
	return word;
}

uint64_t pace_next_ms(const struct pace *pace, bool is_large)
{
	return is_large || pace->changes ? pace->window_ms + WINDOW_MS : UINT64_MAX;
}
