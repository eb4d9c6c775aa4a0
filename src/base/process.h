/* This process: what the kernel says about it, as Prometheus' process_* metrics, and its memory.
 * Control plane only: it reads /proc, and holds up whoever allocates. */
#pragma once

struct buf;

/* Appends the process_* families; what cannot be read is left out. Caller checks out->failed. */
void process_render_metrics(struct buf *out);

/*
 * Gives memory that is free inside the heap back to the kernel, once it is 1 MiB more than was left
 * after the last time: what a crowd needed may lie between blocks that stay. To be called now and
 * then.
 */
void process_return_memory(void);
