/* What the kernel says about this process, as Prometheus' process_* metrics. Control plane only: it
 * reads /proc. */
#pragma once

struct buf;

/* Appends the process_* families; what cannot be read is left out. Caller checks out->failed. */
void process_render_metrics(struct buf *out);
