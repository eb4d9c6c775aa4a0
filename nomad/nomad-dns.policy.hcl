# What nomad-dns may read, for clusters with ACLs.
#
# As a system service (the token's SecretID goes into /etc/nomad-dns/token, see systemd/):
#   nomad acl policy apply nomad-dns nomad-dns.policy.hcl
#   nomad acl token create -name nomad-dns -type client -policy nomad-dns
# As a Nomad job a task's own identity may read any service by its name; the list of all of them takes
# this policy, attached to the job (-namespace and -job say where the job runs):
#   nomad acl policy apply -namespace default -job nomad-dns nomad-dns nomad-dns.policy.hcl
#
# read-job is the narrowest capability that covers services; its holder can read job specifications too.
# A namespace that is left out here is one whose names cannot be known: they are SERVFAIL, unless the
# option `namespace` says which ones there are to serve.
namespace "*" {
  capabilities = ["read-job"]
}
