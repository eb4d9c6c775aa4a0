/*
 * The verb `lookup NAME [TYPE]`: asks the running daemon, as any client would, over UDP and then
 * TCP if need be, and shows what it said and what that means. It is a client: it blocks, and knows
 * nothing of the daemon but its address.
 */
#pragma once

struct config;

/*
 * `argv[0]` is the verb; what follows are its operands and own flags (--json, --help), every option
 * of the daemon having been taken out before. Asks the first `listen` address (of a wildcard, the
 * loopback address of its family). Results go to stdout, complaints to stderr. Returns the exit
 * code: 0 found, 1 no such name or no such records, 2 any other RCODE, 9 no reply (as dig), 64
 * usage.
 */
int lookup_run(const struct config *config, int argc, char **argv);
