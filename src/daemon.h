/*
 * The program as one struct: rooms in the order they start; stopping is the exact reverse. It wires
 * rooms together and decides nothing about DNS or Nomad.
 */
#pragma once

struct config;

/* What started us, so that SIGHUP can read it all again. Borrowed for the daemon's life. */
struct daemon_origin {
	int argc; /* flags only: no program name, no verb */
	char *const *argv;
	char *const *environment;
};

/*
 * Runs until SIGTERM or SIGINT. Takes a reference of its own. Returns the exit code (sysexits): 0,
 * 69 when nothing can be bound, 77 when that is for want of a permission, 71 for the system's
 * refusals; the reason was logged.
 */
int daemon_run(struct config *config, const struct daemon_origin *origin);
