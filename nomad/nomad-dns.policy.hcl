# What nomad-dns may read, for clusters with ACLs.
#
# As a Nomad job (the rules are attached to it; -namespace and -job say where the job runs):
#   nomad acl policy apply -namespace default -job nomad-dns nomad-dns nomad-dns.policy.hcl
# As a system service (the token's SecretID goes into /etc/nomad-dns/token, see systemd/):
#   nomad acl policy apply nomad-dns nomad-dns.policy.hcl
#   nomad acl token create -name nomad-dns -type client -policy nomad-dns
#
# read-job is the narrowest capability that covers services; its holder can read job specifications too.
# It is needed in every namespace: the event stream of all namespaces is refused if one of them denies
# it. To serve some only, name them here and in the option `namespace`.
namespace "*" {
  capabilities = ["read-job"]
}
