"""Upstreams that lead back to us: straight, or by way of real resolvers. Found, named, never fatal."""

import os
import shutil
import socket
import subprocess
import threading

import dns.message
import pytest
from fake_upstream import FakeUpstream, address_of
from harness import Client, eventually, extended_errors, free_port, rcode, records

PATH = os.environ.get("PATH", "") + os.pathsep + "/usr/sbin"


def tool(name):
    found = shutil.which(name, path=PATH)
    if not found:
        pytest.skip(f"not installed: {name} (make deps)")
    return found


class Relay:
    """A forwarder of the simplest kind: each question in lower case to the next, or as it came, and each reply back."""

    def __init__(self, port, to_port, folds=True):
        self.folds = folds
        self.asked = []  # as they came
        self.front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.front.bind(("127.0.0.1", port))
        self.back = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.back.bind(("127.0.0.1", 0))
        self.to = ("127.0.0.1", to_port)
        self.askers = {}
        self.threads = [threading.Thread(target=run, daemon=True) for run in (self.forth, self.home)]
        for thread in self.threads:
            thread.start()

    def forth(self):
        while True:
            wire, peer = self.front.recvfrom(4096)
            if not wire:
                return
            self.askers[wire[:2]] = peer
            self.asked.append(dns.message.from_wire(wire).question[0].name.to_text())
            self.back.sendto(wire[:12] + wire[12:].lower() if self.folds else wire, self.to)

    def home(self):
        while True:
            wire = self.back.recv(4096)
            if not wire:
                return
            self.front.sendto(wire, self.askers[wire[:2]])

    def stop(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
            for one in (self.front, self.back):
                end.sendto(b"", one.getsockname())
        for thread in self.threads:
            thread.join()
        self.front.close()
        self.back.close()


class Process:
    def __init__(self, folder, *args):
        self.log = open(folder / f"{os.path.basename(args[0])}.log", "wb")
        self.process = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def stop(self):
        self.process.terminate()
        self.process.wait(10)
        self.log.close()


def dnsmasq(folder, port, to_port):
    return Process(folder, tool("dnsmasq"), "--keep-in-foreground", "--conf-file=/dev/null", f"--port={port}", "--no-resolv",
                   "--no-hosts", "--listen-address=127.0.0.1", "--bind-interfaces", f"--server=127.0.0.1#{to_port}",
                   "--pid-file=", "--user=root" if os.geteuid() == 0 else "--user=nobody", "--log-facility=-")


def unbound(folder, port, to_port):
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
  module-config: "iterator"
  do-not-query-localhost: no
forward-zone:
  name: "."
  forward-addr: 127.0.0.1@{to_port}
remote-control:
  control-enable: no
""")
    return Process(folder, tool("unbound"), "-d", "-c", str(folder / "unbound.conf"))


def relay(_, port, to_port):
    return Relay(port, to_port)


def mirror(_, port, to_port):
    return Relay(port, to_port, folds=False)


WAYS = {"relay": relay, "mirror": mirror, "dnsmasq": dnsmasq, "unbound": unbound}


@pytest.fixture
def between():
    """between(way, …): what stands between; all are stopped afterwards."""
    standing = []

    def begin(way, folder, port, to_port):
        standing.append(WAYS[way](folder, port, to_port))
        return standing[-1]

    yield begin
    for one in standing:
        one.stop()


def assert_found(daemon, port):
    lines = [line for line in daemon.output().splitlines() if "leads back" in line]
    assert len(lines) == 1 and f"127.0.0.1:{port}" in lines[0], daemon.output()
    assert daemon.metrics()["nomad_dns_forward_loops_total"] == 1


@pytest.mark.parametrize("way", WAYS)
def test_a_loop_is_found_at_start(start, nomad, between, tmp_path, way):
    port, own = free_port(), free_port()
    between(way, tmp_path, port, own)
    daemon = start(f"--listen=127.0.0.1:{own}", nomad=nomad.address, forward=f"127.0.0.1:{port}")
    client = Client(daemon)

    def check():  # a question too early meets the loop itself, and is the reason to look for it again
        reply = client.ask("a.b", timeout=8)  # few letters: their case tells nothing
        assert rcode(reply) == "SERVFAIL" and "leads back" in str(extended_errors(reply))

    eventually(check)
    assert_found(daemon, port)
    assert rcode(client.ask("redis.default.nomad")) == "NOERROR"


def test_a_loop_that_comes_later_is_found_when_questions_fail(start, nomad, between, tmp_path):
    port = free_port()
    daemon = start("--forward-timeout=1s", nomad=nomad.address, forward=f"127.0.0.1:{port}")
    client = Client(daemon)
    assert rcode(client.ask("a.b")) == "SERVFAIL"
    between("dnsmasq", tmp_path, port, daemon.port)
    numbers = iter(range(1000))

    def check():
        client.ask(f"{next(numbers)}.b")
        assert_found(daemon, port)

    eventually(check)


def test_a_question_that_comes_straight_back_ends_at_once_and_its_loop_is_found(start, nomad, between, tmp_path):
    port = free_port()
    daemon = start(nomad=nomad.address, forward=f"127.0.0.1:{port}")
    client = Client(daemon)
    between("mirror", tmp_path, port, daemon.port)
    numbers = iter(range(1000))

    def check():
        reply = client.ask(f"a-name-with-letters-enough-{next(numbers)}.example.org", timeout=1)
        assert rcode(reply) == "SERVFAIL" and "leads back" in str(extended_errors(reply))
        assert_found(daemon, port)

    eventually(check)


def test_whoever_saw_the_case_of_a_question_can_condemn_no_upstream(start, nomad, between, tmp_path, upstream):
    port = free_port()
    seen = between("mirror", tmp_path, port, upstream.port).asked
    daemon = start(nomad=nomad.address, forward=f"127.0.0.1:{port}")
    client = Client(daemon)
    name = "a-name-with-letters-enough.example.org"
    assert rcode(client.ask(name, "AAAA")) == "NOERROR"
    replayed = client.ask(next(one for one in seen if one.lower() == f"{name}."))
    assert rcode(replayed) == "SERVFAIL" and "leads back" in str(extended_errors(replayed))
    assert records(client.ask("other.example.org")) == [address_of("other.example.org")]
    assert records(client.ask(name)) == [address_of(name)]
    assert "leads back" not in daemon.output()


def test_another_upstream_takes_over(start, nomad, between, tmp_path, upstream):
    port, own = free_port(), free_port()
    between("relay", tmp_path, port, own)
    daemon = start(f"--listen=127.0.0.1:{own}", nomad=nomad.address, forward=[f"127.0.0.1:{port}", upstream.address])
    client = Client(daemon)
    eventually(lambda: assert_found(daemon, port))
    for number in range(5):
        assert records(client.ask(f"{number}.b")) == [address_of(f"{number}.b")]


def test_an_upstream_of_one_domain_is_looked_into_by_a_name_of_that_domain(start, nomad, between, tmp_path, upstream):
    port, own = free_port(), free_port()
    between("relay", tmp_path, port, own)
    daemon = start(f"--listen=127.0.0.1:{own}", f"--forward=consul=127.0.0.1:{port}", nomad=nomad.address,
                   forward=upstream.address)
    client = Client(daemon)
    eventually(lambda: assert_found(daemon, port))
    assert rcode(client.ask("web.consul")) == "SERVFAIL"
    assert records(client.ask("a.b")) == [address_of("a.b")]


def test_what_an_upstream_sees_of_it_is_one_name_that_belongs_to_nobody(start, nomad, upstream):
    daemon = start("--workers=3", nomad=nomad.address, forward=upstream.address)
    client = Client(daemon)
    for number in range(20):
        client.ask(f"n{number}.example.org")
    assert len(upstream.loop_checks) == 1
    label, _, rest = upstream.loop_checks[0].partition(".")
    assert len(label) == 32 and rest == "nomad-dns-loop-check.example."


def test_an_outage_is_no_loop_and_starts_no_storm(start, nomad):
    with FakeUpstream() as fake:
        fake.set_mode("servfail")
        daemon = start(nomad=nomad.address, forward=fake.address)
        client = Client(daemon)
        for number in range(30):
            assert rcode(client.ask(f"n{number}.example.org")) == "SERVFAIL"
        assert len(fake.loop_checks) <= 8  # after 0, 1, 3, 7 s and so on
        assert "leads back" not in daemon.output()
