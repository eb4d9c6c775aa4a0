/*
 * What fills the options nobody gave: the variables Nomad's own tools read, what Nomad and systemd
 * leave in a task's or unit's directories, the defaults of the table. NOMAD_NAMESPACE and
 * NOMAD_REGION are not read: inside a task they are the job's own.
 */
#pragma once

struct config_build;

/* 0, or -EINVAL with the problem filled. */
int config_default_put(struct config_build *build);
