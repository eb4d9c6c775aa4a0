"""Other resolvers in front of us, with `nomad` sent our way, and behind us, as our upstream."""

import shutil
import subprocess

import pytest
from fake_upstream import address_of
from harness import Client, eventually, free_port, rcode, records


class Resolver:
    """unbound or dnsmasq on a port of its own; looks like a Daemon to Client."""

    host = "127.0.0.1"

    def __init__(self, folder):
        self.folder = folder
        self.port = free_port()
        self.log = open(folder / "resolver.log", "wb")
        self.process = None

    def run(self, *args):
        self.process = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        client = Client(self)

        def answers():
            assert self.process.poll() is None, (self.folder / "resolver.log").read_text()
            client.ask("localhost", timeout=0.5)

        eventually(answers)
        return self

    def stop(self):
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()


def unbound(resolver, rules):
    path = resolver.folder / "unbound.conf"
    path.write_text(f"""server:
  interface: 127.0.0.1@{resolver.port}
  do-ip6: no
  username: ""
  chroot: ""
  directory: "{resolver.folder}"
  pidfile: "{resolver.folder}/unbound.pid"
  use-syslog: no
  do-daemonize: no
  module-config: "iterator"
  do-not-query-localhost: no
  domain-insecure: "nomad"
  local-zone: "test." nodefault
  access-control: 127.0.0.0/8 allow
  num-threads: 1
{rules}
remote-control:
  control-enable: no
""")
    return resolver.run(shutil.which("unbound"), "-d", "-c", str(path))


def dnsmasq(resolver, *rules):
    return resolver.run(shutil.which("dnsmasq"), "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
                        "--no-daemon", f"--port={resolver.port}", "--listen-address=127.0.0.1", "--bind-interfaces",
                        f"--pid-file={resolver.folder}/dnsmasq.pid", *rules)


FRONTS = {
    "unbound stub": lambda resolver, port: unbound(
        resolver, f"stub-zone:\n  name: nomad\n  stub-addr: 127.0.0.1@{port}\n"),
    "unbound forward": lambda resolver, port: unbound(
        resolver, f"forward-zone:\n  name: nomad\n  forward-addr: 127.0.0.1@{port}\n"
                  f"forward-zone:\n  name: .\n  forward-addr: 127.0.0.1@{port}\n"),
    "dnsmasq": lambda resolver, port: dnsmasq(resolver, f"--server=/nomad/127.0.0.1#{port}", f"--server=127.0.0.1#{port}"),
}
BACKS = {
    "unbound": lambda resolver: unbound(
        resolver, '  local-zone: "up.example." static\n  local-data: "www.up.example. 300 A 192.0.2.99"\n'
                  '  local-data: "www.up.example. 300 TXT hello"\n'
                  + "".join(f'  local-data: "many.up.example. 300 A 10.99.0.{n}"\n' for n in range(1, 150))),
    "dnsmasq": lambda resolver: dnsmasq(
        resolver, "--host-record=www.up.example,192.0.2.99", "--txt-record=www.up.example,hello", "--local=/up.example/",
        "--local-ttl=300", *[f"--host-record=many.up.example,10.99.0.{n}" for n in range(1, 150)]),
}


def needs(name):
    if not shutil.which(name.split()[0]):
        pytest.skip(f"{name} is not here")


@pytest.fixture
def resolver(tmp_path):
    resolver = Resolver(tmp_path)
    yield resolver
    resolver.stop()


@pytest.mark.parametrize("front", FRONTS)
def test_in_front_of_us(start, nomad, upstream, resolver, front):
    needs(front)
    nomad.register(*[{"ServiceName": "big", "Address": f"10.98.0.{n}", "Port": 1000 + n} for n in range(1, 200)])
    daemon = start(nomad=nomad.address, forward=upstream.address)
    client = Client(FRONTS[front](resolver, daemon.port))
    reply = eventually(lambda: succeed(client.ask("redis.default.nomad")))
    assert records(reply) == ["192.168.29.76", "192.168.29.77"]
    assert records(client.ask("v6svc.default.nomad", "AAAA"), "AAAA") == ["2001:db8::10"]
    assert len(records(client.ask("redis.default.nomad", "SRV"), "SRV")) == 2
    nodata = client.ask("redis.default.nomad", "AAAA")
    assert rcode(nodata) == "NOERROR" and not nodata.answer
    assert rcode(client.ask("redis.default.nomad", "TXT")) == "NOERROR"
    for _ in range(2):
        assert rcode(client.ask("nosuch.default.nomad")) == "NXDOMAIN"
    assert rcode(client.ask("default.nomad")) == "NOERROR"
    assert records(client.ask("ext-db.default.nomad")) == ["192.0.2.10"]
    assert records(client.ask("ReDiS.DeFaUlT.nOmAd")) == ["192.168.29.76", "192.168.29.77"]
    assert len(records(client.ask("big.default.nomad", tcp=True))) == 199
    assert records(client.ask("10-98-0-7.big.default.nomad")) == ["10.98.0.7"]
    if "stub" not in front:
        assert records(client.ask("www.example.org")) == [address_of("www.example.org")]


def succeed(reply):
    assert rcode(reply) == "NOERROR" and reply.answer
    return reply


@pytest.mark.parametrize("front", ["unbound forward", "dnsmasq"])
def test_a_change_is_seen_through_the_front(start, nomad, upstream, resolver, front):
    needs(front)
    daemon = start("--ttl=1s", "--negative-ttl=1s", nomad=nomad.address, forward=upstream.address)
    client = Client(FRONTS[front](resolver, daemon.port))
    eventually(lambda: succeed(client.ask("redis.default.nomad")))
    nomad.deregister(ServiceName="redis", Address="192.168.29.77")

    def check():
        assert records(client.ask("redis.default.nomad")) == ["192.168.29.76"]

    eventually(check)


@pytest.mark.parametrize("back", BACKS)
def test_behind_us(start, nomad, resolver, back):
    needs(back)
    BACKS[back](resolver)
    client = Client(start(nomad=nomad.address, forward=f"127.0.0.1:{resolver.port}"))
    for tcp in (False, True):
        assert records(client.ask("www.up.example", tcp=tcp)) == ["192.0.2.99"]
    assert records(client.ask("www.up.example", "TXT"), "TXT") == ['"hello"']
    assert rcode(client.ask("nosuch.up.example")) == "NXDOMAIN"
    nodata = client.ask("www.up.example", "MX")
    assert rcode(nodata) == "NOERROR" and not nodata.answer
    assert len(records(client.ask("many.up.example", tcp=True))) >= 149
    assert records(client.ask("redis.default.nomad")) == ["192.168.29.76", "192.168.29.77"]
