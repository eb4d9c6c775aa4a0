#include "daemon_watchdog.h"

#include "base/log.h"
#include "base/sd_notify.h"
#include "listen/worker.h"

/* Several looks in systemd's patience: one that comes late, on a busy machine, ends nobody. */
#define LOOKS_IN_PATIENCE 4
#define SILENT_LOOKS_SAID 2 /* half of systemd's patience is over */

void daemon_watchdog_init(struct daemon_watchdog *watchdog)
{
	uint64_t patience_ms = sd_notify_watchdog_ms();

	*watchdog = (struct daemon_watchdog){ .look_every_ms = patience_ms / LOOKS_IN_PATIENCE };
	if (patience_ms > 0 && watchdog->look_every_ms == 0)
		watchdog->look_every_ms = 1;
}

void daemon_watchdog_look(struct daemon_watchdog *watchdog, struct worker *const *workers,
			  unsigned worker_count)
{
	for (unsigned i = 0; i < worker_count; i++) {
		if (worker_has_answered(workers[i]))
			continue;
		if (++watchdog->silent_count == SILENT_LOOKS_SAID)
			log_error(
				"daemon",
				"worker %u hangs; systemd will end and restart nomad-dns unless it "
				"comes back; please report this",
				i);
		return;
	}
	if (watchdog->silent_count >= SILENT_LOOKS_SAID)
		log_warn("daemon", "every worker answers again");
	watchdog->silent_count = 0;
	sd_notify_send("WATCHDOG=1");
	for (unsigned i = 0; i < worker_count; i++)
		worker_ping(workers[i]);
}
