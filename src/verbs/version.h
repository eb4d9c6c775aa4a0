/* `--version`: ours, and those of the libraries that are really loaded: what a bug report needs. */
#pragma once

/* Prints to stdout. Returns the exit code, 0. */
int version_print(void);
