"""A validating unbound behind us, a signed zone in front of us: what it needs to validate comes through unharmed."""

import os
import re
import shutil
import subprocess

import harness
import pytest
from fake_nomad import FakeNomad
from harness import Client, eventually, extended_errors, free_port, rcode, records

import dns.flags
import dns.rdatatype

TOOLS = ("nsd", "ldns-keygen", "ldns-signzone", "unbound")
PATH = os.environ.get("PATH", "") + os.pathsep + "/usr/sbin"
MISSING = [tool for tool in TOOLS if not shutil.which(tool, path=PATH)]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (make deps)")

KEY_SIGNING_KEYS = 4  # so many that DNSKEY does not fit a datagram
ZONES = {"nsec.example": [], "nsec3.example": ["-n", "-a", "1", "-t", "5", "-s", "ab12"]}
RECORDS = """$ORIGIN {zone}.
$TTL 300
@ IN SOA ns hostmaster 1 3600 600 86400 60
@ IN NS ns
ns IN A 192.0.2.53
good IN A 192.0.2.1
good IN TXT "good as gold"
broken IN A 192.0.2.66
alias IN CNAME good
*.wild IN A 192.0.2.7
deep.below.ent IN A 192.0.2.8
opaque IN TYPE65280 \\# 4 01020304
many IN TXT {many}
"""


def tool(name):
    return shutil.which(name, path=PATH)


class Process:
    host = "127.0.0.1"

    def __init__(self, port, log, *args):
        self.port = port
        self.log = open(log, "wb")
        self.process = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def until(self, name, rdtype):
        def answers():
            assert self.process.poll() is None, open(self.log.name, encoding="utf-8").read()
            assert rcode(Client(self).ask(name, rdtype, timeout=1)) == "NOERROR"

        eventually(answers)
        return self

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


def sign(folder, zone, options):
    """Signs the zone, then breaks one record behind the signer's back. The trust anchors."""
    def keygen(*more):
        done = subprocess.run([tool("ldns-keygen"), "-a", "RSASHA256", "-b", "2048", "-r", "/dev/urandom", *more, zone],
                              cwd=folder, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    keys = [keygen("-k") for _ in range(KEY_SIGNING_KEYS)] + [keygen()]
    (folder / zone).write_text(RECORDS.format(zone=zone, many=" ".join(f'"{"x" * 200}{n}"' for n in range(20))))
    subprocess.run([tool("ldns-signzone"), *options, "-f", f"{zone}.signed", zone, *keys], cwd=folder, check=True,
                   capture_output=True)
    text = (folder / f"{zone}.signed").read_text()
    broken = re.sub(r"192\.0\.2\.66\b", "192.0.2.67", text)
    assert broken != text
    (folder / f"{zone}.signed").write_text(broken)
    return [(folder / f"{key}.key").read_text().split(";")[0].strip() for key in keys[:KEY_SIGNING_KEYS]]


def serve(folder):
    port = free_port()
    zones = "".join(f'zone:\n  name: {zone}\n  zonefile: {folder}/{zone}.signed\n' for zone in ZONES)
    (folder / "nsd.conf").write_text(f"""server:
  ip-address: 127.0.0.1@{port}
  username: ""
  chroot: ""
  zonesdir: "{folder}"
  pidfile: "{folder}/nsd.pid"
  xfrdfile: "{folder}/xfrd.state"
  zonelistfile: "{folder}/zone.list"
  database: ""
  server-count: 1
  verbosity: 1
remote-control:
  control-enable: no
{zones}""")
    process = Process(port, folder / "nsd.log", tool("nsd"), "-d", "-c", str(folder / "nsd.conf"))
    return process.until("good.nsec.example", "A")


def validate(folder, upstream_port, anchors):
    port = free_port()
    lines = "".join(f"  trust-anchor: '{anchor}'\n" for anchor in anchors)
    (folder / "unbound.conf").write_text(f"""server:
  interface: 127.0.0.1@{port}
  do-ip6: no
  username: ""
  chroot: ""
  directory: "{folder}"
  pidfile: ""
  use-syslog: no
  do-daemonize: no
  num-threads: 1
  module-config: "validator iterator"
  do-not-query-localhost: no
  access-control: 127.0.0.0/8 allow
  val-log-level: 2
  ede: yes
{lines}forward-zone:
  name: "."
  forward-addr: 127.0.0.1@{upstream_port}
remote-control:
  control-enable: no
""")
    process = Process(port, folder / "unbound.log", tool("unbound"), "-d", "-c", str(folder / "unbound.conf"))
    return process.until("localhost", "A")


class Chain:
    """NSD ← nomad-dns ← unbound."""

    def __init__(self, folder):
        self.stack = [FakeNomad(catalogue=harness.DEMO).start()]
        try:
            anchors = [anchor for zone, options in ZONES.items() for anchor in sign(folder, zone, options)]
            self.authority = self.hold(serve(folder))
            self.daemon = self.hold(harness.Daemon(folder, nomad=self.stack[0].address,
                                                   forward=f"127.0.0.1:{self.authority.port}").start())
            self.validator = self.hold(validate(folder, self.daemon.port, anchors))
        except BaseException:
            self.close()
            raise
        self.ask = Client(self.validator).ask
        self.ask_us = Client(self.daemon).ask

    def hold(self, part):
        self.stack.append(part)
        return part

    def close(self):
        for part in reversed(self.stack):
            part.stop()


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    chain = Chain(tmp_path_factory.mktemp("signed"))
    yield chain
    chain.close()


def is_valid(reply):
    return bool(reply.flags & dns.flags.AD)


@pytest.fixture(params=sorted(ZONES))
def zone(request):
    return request.param


@pytest.mark.parametrize("name, rdtype, expected", [
    ("good", "A", ["192.0.2.1"]), ("good", "TXT", ['"good as gold"']), ("alias", "A", ["192.0.2.1"]),
    ("any.wild", "A", ["192.0.2.7"]), ("deep.below.ent", "A", ["192.0.2.8"]), ("opaque", "TYPE65280", ["\\# 4 01020304"]),
])
def test_good_names_validate(chain, zone, name, rdtype, expected):
    reply = chain.ask(f"{name}.{zone}", rdtype, want_dnssec=True)
    assert rcode(reply) == "NOERROR" and records(reply, rdtype) == expected and is_valid(reply), reply


@pytest.mark.parametrize("name, rdtype, expected", [
    ("missing", "A", "NXDOMAIN"), ("a.b.c.missing", "A", "NXDOMAIN"), ("good", "MX", "NOERROR"), ("below.ent", "A", "NOERROR"),
    ("any.wild", "MX", "NOERROR"),
])
def test_what_is_not_there_is_proven(chain, zone, name, rdtype, expected):
    reply = chain.ask(f"{name}.{zone}", rdtype, want_dnssec=True)
    assert rcode(reply) == expected and not reply.answer and is_valid(reply), reply


def test_a_broken_name_is_servfail(chain, zone):
    reply = chain.ask(f"broken.{zone}", want_dnssec=True)
    assert rcode(reply) == "SERVFAIL" and not reply.answer, reply
    assert extended_errors(reply).keys() & {6, 7}, reply


def test_cd_brings_the_broken_name_unvalidated(chain, zone):
    reply = chain.ask(f"broken.{zone}", flags=dns.flags.RD | dns.flags.CD, want_dnssec=True)
    assert records(reply) == ["192.0.2.67"] and not is_valid(reply)


def test_keys_too_large_for_a_datagram_validate(chain, zone):
    reply = chain.ask(zone, "DNSKEY", tcp=True, want_dnssec=True)
    assert len(records(reply, "DNSKEY")) == KEY_SIGNING_KEYS + 1 and is_valid(reply)
    ours = chain.ask_us(zone, "DNSKEY", want_dnssec=True)
    assert ours.flags & dns.flags.TC
    assert len(records(chain.ask_us(zone, "DNSKEY", tcp=True, want_dnssec=True), "DNSKEY")) == KEY_SIGNING_KEYS + 1


def test_a_large_record_validates(chain, zone):
    reply = chain.ask(f"many.{zone}", "TXT", tcp=True, want_dnssec=True)
    assert rcode(reply) == "NOERROR" and len(reply.answer[0][0].strings) == 20 and is_valid(reply)


def test_what_the_cache_holds_validates_too(chain, zone):
    """The second asker is told what the first was: signatures with DO, none without."""
    for _ in range(2):
        with_signatures = chain.ask_us(f"good.{zone}", want_dnssec=True)
        without = chain.ask_us(f"good.{zone}")
        assert records(with_signatures, "RRSIG") and records(with_signatures) == ["192.0.2.1"]
        assert not records(without, "RRSIG") and records(without) == ["192.0.2.1"]


def test_a_negative_from_the_cache_keeps_its_proof(chain, zone):
    proofs = []
    for _ in range(2):
        reply = chain.ask_us(f"nothing.{zone}", want_dnssec=True)
        assert rcode(reply) == "NXDOMAIN"
        proofs.append(sorted((rrset.name.to_text(), dns.rdatatype.to_text(rrset.rdtype)) for rrset in reply.authority))
    assert proofs[0] == proofs[1] and {"SOA", "RRSIG"} <= {rdtype for _, rdtype in proofs[0]}
    assert {rdtype for _, rdtype in proofs[0]} & {"NSEC", "NSEC3"}


def test_names_of_ours_pass_a_validator_that_has_no_anchor_for_them(chain):
    reply = chain.ask("redis.default.nomad", want_dnssec=True)
    assert rcode(reply) == "NOERROR" and len(records(reply)) == 2 and not is_valid(reply)
