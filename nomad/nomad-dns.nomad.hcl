# nomad-dns as a system job: one beside each client agent, of every node pool.
#
#   nomad job run nomad-dns.nomad.hcl
#   dig @127.0.0.1 -p 1053 SERVICE.default.nomad
#
# With ACLs the task's own identity may read services; nomad-dns.policy.hcl says when it needs more.
#
# Wants Nomad 1.6 or later (1.5.1 without the line node_pool).
# Keep the job and task names short: the Task API's socket is a path, and a path may have 107 bytes.
#
# Point your hosts' resolvers at it for *.nomad only. A host whose one name server is a Nomad job cannot
# start that job: it could not find the artifact's or the image's host.

variable "driver" {
  type        = string
  default     = "exec"
  description = "exec (isolated, the agent runs as root) or raw_exec (to be enabled on the clients; no isolation)"
}

variable "command" {
  type        = string
  default     = "/usr/local/sbin/nomad-dns"
  description = "The binary: where the package puts it on the host, or local/nomad-dns when it comes by artifact_source"
}

variable "artifact_source" {
  type        = string
  default     = ""
  description = "URL of an archive that holds the binary, with ?checksum=sha256:...; empty: it is installed on the hosts"
}

variable "datacenters" {
  type    = list(string)
  default = ["*"]
}

variable "options" {
  type        = list(string)
  default     = ["--listen=127.0.0.1:1053"]
  description = "Flags of nomad-dns, see nomad-dns --help; the port in here and port \"dns\" below belong together"
}

job "nomad-dns" {
  type        = "system"
  datacenters = var.datacenters
  node_pool   = "all" # the default would be the pool "default" alone
  priority    = 80    # what others find their services by comes first

  constraint {
    attribute = "${attr.kernel.name}"
    value     = "linux"
  }

  # One node after the other. Before Nomad 1.11 a system job has no deployments, and this means: stop,
  # start, wait for stagger, next node.
  update {
    max_parallel     = 1
    stagger          = "15s"
    health_check     = "checks"
    min_healthy_time = "5s"
    healthy_deadline = "2m"
    auto_revert      = true
  }

  group "dns" {
    shutdown_delay = "1s" # out of the catalogue first, then down

    # Known to the scheduler, so that nobody else is given them. The daemon binds what its options say.
    network {
      mode = "host"

      port "dns" {
        static = 1053
      }

      port "admin" {
        static = 9153
      }
    }

    # A crash is answered at once and without end: there is no better place to move a system job to.
    restart {
      attempts = 10
      interval = "1m"
      delay    = "1s"
      mode     = "delay"
    }

    # The admin server listens on loopback; the address is what the checks below inherit.
    service {
      name     = "nomad-dns"
      provider = "nomad"
      port     = "admin"
      address  = "127.0.0.1"
      tags     = ["admin"]

      # Whether the program runs. Only this one restarts it.
      check {
        name     = "health"
        type     = "http"
        path     = "/health"
        interval = "10s"
        timeout  = "2s"

        check_restart {
          limit = 3
          grace = "30s"
        }
      }

      # Whether it knows Nomad's services. It gates deployments and restarts nothing: when Nomad's servers
      # are away this fails on every node, while the last known answers are still being given.
      check {
        name     = "ready"
        type     = "http"
        path     = "/ready"
        interval = "10s"
        timeout  = "2s"
      }
    }

    task "dns" {
      driver       = var.driver
      kill_signal  = "SIGTERM"
      kill_timeout = "5s"

      config {
        command = var.command
        args    = var.options
      }

      dynamic "artifact" {
        for_each = var.artifact_source == "" ? [] : [var.artifact_source]

        content {
          source      = artifact.value
          destination = "local/"
        }
      }

      # The daemon finds both by itself: the Task API's socket and the token for it. The token lives as
      # long as the allocation.
      identity {
        env  = true
        file = true
      }

      resources {
        cpu    = 100
        memory = 128
      }
    }
  }
}
