/* This process: what the kernel says about it, as Prometheus' process_* metrics, its memory, its
 * threads. Control plane only but for the last: it reads /proc, and holds up whoever allocates. */
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

/*
 * Asks the scheduler for slices of 0.1 ms for the calling thread: when it wakes, it comes before
 * those on its core that compute (our own reading of large bodies, say), without more time in all.
 * From Linux 6.12 on; on older kernels, or where it is not permitted (our systemd unit keeps
 * @resources shut), nothing changes.
 */
void process_hurry_thread(void);
