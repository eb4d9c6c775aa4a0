/*
 * The verb `flush NAME`: tells the running daemon, through its admin listener, to forget what
 * upstreams said about a name and everything below it. It is a client: it blocks.
 */
#pragma once

struct config;

/*
 * `argv[0]` is the verb; its one operand follows, every option of the daemon having been taken out
 * before. What the daemon says goes to stdout, complaints to stderr. Returns the exit code: 0
 * forgotten, 64 usage, 69 the daemon is not to be reached or said no.
 */
int flush_run(const struct config *config, int argc, char **argv);
