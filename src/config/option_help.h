/*
 * --help, made of the table of options.
 */
#pragma once

struct buf;

/* Writes every option with its argument, meaning and default; out->failed when memory runs out. */
void option_help_print(struct buf *out);
