"""Options, files and signals: what is wrong is said in one line, what runs goes on running."""

import os
import shutil
import signal
import socket
import subprocess

import pytest
from fake_upstream import FakeUpstream, address_of
from harness import Client, assert_nxdomain, assert_records, eventually, free_port, rcode, records, run, ttls

import dns.message

USAGE, CONFIG = 64, 78
REDIS = ["192.168.29.76", "192.168.29.77"]


def fails(status, *args, env=None, says=()):
    """It ends with this status and one line that holds these words."""
    done = run(*args, env=env)
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert done.returncode == status, (done.returncode, done.stderr)
    assert len(lines) == 1 and not done.stdout, done.stderr
    for word in says:
        assert word in lines[0], lines[0]


def somewhere():
    """Flags that keep a daemon which starts by mistake away from everything real."""
    return [f"--listen=127.0.0.1:{free_port()}", "--admin=off", "--forward=none", "--nomad-address=http://127.0.0.1:9"]


# ---- flags ----

@pytest.mark.parametrize("flag, says", [
    ("--nonsense", ["nonsense"]), ("--nonsense=1", ["nonsense"]), ("--ttll=1s", ["ttll", "ttl"]), ("-x", ["-x"]),
    ("--ttl=banana", ["ttl", "banana"]), ("--ttl=-1s", ["ttl", "-1s"]), ("--ttl=2h", ["ttl", "2h"]), ("--ttl=", ["ttl"]),
    ("--ttl=10", ["ttl", "10"]), ("--listen=nowhere", ["listen", "nowhere"]), ("--listen=127.0.0.1:99999", ["listen", "99999"]),
    ("--listen=300.1.1.1:53", ["listen"]), ("--zone=", ["zone"]), ("--zone=a..b", ["zone", "a..b"]),
    ("--zone=" + "a" * 64, ["zone"]), ("--nomad-address=127.0.0.1:4646", ["nomad-address", "127.0.0.1:4646"]),
    ("--nomad-address=ftp://127.0.0.1", ["nomad-address"]), ("--nomad-address=unix:///" + "x" * 200, ["nomad-address"]),
    ("--forward=dns.example", ["forward", "dns.example"]), ("--forward=1.2.3.4:0x", ["forward"]),
    ("--zone=" + ".".join(["abcdefg"] * 31), ["zone", "249 bytes of the 255", "give a shorter domain"]),
    ("--cache-size=lots", ["cache-size", "lots"]), ("--allow=10.0.0.0/33", ["allow", "10.0.0.0/33"]),
    ("--log-level=loud", ["log-level", "loud"]), ("--log-format=xml", ["log-format", "xml"]),
    ("--log-queries=some", ["log-queries", "some"]), ("--workers=0", ["workers", "0"]), ("--workers=many", ["workers", "many"]),
    ("--reverse=maybe", ["reverse", "maybe"]), ("--tcp-max-clients=-1", ["tcp-max-clients"]), ("--admin=nowhere", ["admin"]),
])
def test_a_wrong_flag_is_one_line_and_64(flag, says):
    fails(USAGE, *somewhere(), flag, says=says)


def test_an_unknown_verb_is_one_line_and_64():
    fails(USAGE, "dance", says=["dance"])


def test_a_wrong_flag_says_what_is_allowed_and_near():
    done = run(*somewhere(), "--negativ-ttl=1s")
    assert "negative-ttl" in done.stderr


@pytest.mark.parametrize("name, value", [("TTL", "banana"), ("LISTEN", "nowhere"), ("ZONE", "a..b")])
def test_a_wrong_variable_is_one_line_that_names_it(name, value):
    fails(CONFIG, "--admin=off", "--forward=none", env={f"NOMAD_DNS_{name}": value}, says=[f"NOMAD_DNS_{name}", value])


# ---- files ----

@pytest.mark.parametrize("text, says", [
    ("nonsense = 1\n", ["nonsense"]), ('ttl = "banana"\n', ["ttl", "banana"]), ("ttl\n", [":1"]), ('ttl = "1s\n', [":1"]),
    ('# fine\n\nttl = "1s"\nzone = ["nomad", "a..b"]\n', ["zone", "a..b"]), ("\x00\x01\x02\n", []),
    ('zone = ["nomad"\n', []), ("[section]\n", []),
])
def test_a_wrong_file_is_one_line_and_78(tmp_path, text, says):
    path = tmp_path / "nomad-dns.conf"
    path.write_text(text)
    fails(CONFIG, *somewhere(), f"--config={path}", says=[str(path), *says])


def test_a_missing_file_is_one_line(tmp_path):
    done = run(*somewhere(), f"--config={tmp_path}/nosuch.conf")
    assert done.returncode in (USAGE, CONFIG) and f"{tmp_path}/nosuch.conf" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_directory_is_no_file(tmp_path):
    done = run(*somewhere(), f"--config={tmp_path}")
    assert done.returncode in (USAGE, CONFIG) and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("option", ["nomad-token-file", "nomad-ca-cert", "nomad-client-cert", "nomad-http-auth-file"])
def test_a_missing_secret_or_certificate_is_one_line(tmp_path, option):
    more = [f"--nomad-client-key={tmp_path}/nosuch"] if option == "nomad-client-cert" else []
    done = run("--forward=none", "--admin=off", f"--listen=127.0.0.1:{free_port()}", "--nomad-address=https://127.0.0.1:9",
               f"--{option}={tmp_path}/nosuch", *more)
    assert done.returncode in (USAGE, CONFIG), (done.returncode, done.stderr)
    assert f"{tmp_path}/nosuch" in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr


def test_a_taken_port_is_one_line_that_says_who_has_it():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as squatter:
        squatter.bind(("127.0.0.1", 0))
        port = squatter.getsockname()[1]
        done = run(f"--listen=127.0.0.1:{port}", "--admin=off", "--forward=none", "--nomad-address=http://127.0.0.1:9")
        assert done.returncode != 0 and f"127.0.0.1:{port}" in done.stderr and "in use" in done.stderr
        assert len([line for line in done.stderr.splitlines() if "in use" in line]) == 1
        assert str(os.getpid()) in done.stderr


def test_a_taken_tcp_port_is_an_error_too():
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        port = squatter.getsockname()[1]
        done = run(f"--listen=127.0.0.1:{port}", "--admin=off", "--forward=none", "--nomad-address=http://127.0.0.1:9")
        assert done.returncode != 0 and "in use" in done.stderr


def test_two_daemons_do_not_share_a_port(start, nomad):
    daemon = start(nomad=nomad.address)
    done = run(f"--listen=127.0.0.1:{daemon.port}", "--admin=off", "--forward=none", f"--nomad-address={nomad.address}")
    assert done.returncode != 0 and "in use" in done.stderr
    assert str(daemon.process.pid) in done.stderr


# ---- what it says of itself ----

def test_version():
    done = run("--version")
    assert done.returncode == 0 and done.stdout.startswith("nomad-dns ") and not done.stderr


def test_help_names_every_option():
    done = run("--help")
    assert done.returncode == 0 and not done.stderr
    for option in ("--listen", "--nomad-address", "--forward", "--zone", "--negative-ttl", "--allow", "--config"):
        assert option in done.stdout


def test_print_config_names_values_and_origins(tmp_path):
    path = tmp_path / "nomad-dns.conf"
    path.write_text('negative-ttl = "7s"\nttl = "9s"\nzone = ["nomad", "service.corp"]\n')
    done = run("--print-config", f"--config={path}", "--ttl=3s", env={"NOMAD_DNS_MAX_STALE": "2h", "NOMAD_TOKEN": "very-secret"})
    assert done.returncode == 0, done.stderr
    lines = {line.split("=")[0].strip(): line for line in done.stdout.splitlines() if "=" in line}
    assert "3s" in lines["ttl"] and "flag" in lines["ttl"]
    assert "7s" in lines["negative-ttl"] and str(path) in lines["negative-ttl"]
    assert "2h" in lines["max-stale"] and "NOMAD_DNS_MAX_STALE" in lines["max-stale"]
    assert "default" in lines["forward-timeout"]
    assert "service.corp" in done.stdout and "very-secret" not in done.stdout


# ---- sources ----

def test_a_flag_beats_the_variable_beats_the_file_beats_the_default(start, nomad, tmp_path):
    path = tmp_path / "nomad-dns.conf"
    path.write_text('# a file\nttl = "11s"\nnegative-ttl = "12s"\n')

    def ttl_of(*options, env=None):
        client = Client(start(f"--config={path}", *options, nomad=nomad.address, env=env))
        return ttls(client.ask("redis.default.nomad")), ttls(client.ask("x.default.nomad"), "authority")

    assert ttl_of() == ({11}, {12})
    assert ttl_of(env={"NOMAD_DNS_TTL": "13s"}) == ({13}, {12})
    assert ttl_of("--ttl=14s", env={"NOMAD_DNS_TTL": "13s"}) == ({14}, {12})


def test_nomad_s_own_variables(start, nomad):
    daemon = start(env={"NOMAD_ADDR": nomad.address, "NOMAD_NAMESPACE": "prod", "NOMAD_REGION": "global"})
    assert_records(Client(daemon).ask("redis.default.nomad"), "A", *REDIS)


def test_the_token_beside_a_task(start, nomad, tmp_path):
    (tmp_path / "nomad_token").write_text("a.b.c")
    nomad.is_acl = True
    nomad.add_token("a.b.c", "workload")
    daemon = start(nomad=nomad.address, env={"NOMAD_SECRETS_DIR": str(tmp_path)})
    assert_records(Client(daemon).ask("redis.default.nomad"), "A", *REDIS)


# ---- signals ----

def test_hup_takes_up_a_new_configuration(start, nomad, upstream, tmp_path):
    path = tmp_path / "nomad-dns.conf"
    path.write_text('ttl = "2s"\n')
    daemon = start(f"--config={path}", nomad=nomad.address, forward=upstream.address)
    client = Client(daemon)
    assert ttls(client.ask("redis.default.nomad")) == {2}
    path.write_text('ttl = "1s"\nnegative-ttl = "3s"\n')
    daemon.signal(signal.SIGHUP)

    def check():
        assert_nxdomain(client.ask("nosuch.default.nomad"), ttl=3)
        assert ttls(client.ask("web.default.nomad")) == {1}
        assert ttls(client.ask("redis.default.nomad")) == {1}

    eventually(check)


def test_hup_says_what_only_a_restart_changes(start, nomad, upstream, tmp_path):
    path = tmp_path / "nomad-dns.conf"
    path.write_text("workers = 1\n")
    daemon = start(f"--config={path}", nomad=nomad.address, forward=upstream.address)
    path.write_text("workers = 2\n")
    daemon.signal(signal.SIGHUP)

    def check():
        line = next((line for line in daemon.output().splitlines() if "restart" in line), "")
        assert "workers" in line

    eventually(check)


def test_hup_keeps_the_old_configuration_when_the_new_one_is_wrong(start, nomad, upstream, tmp_path):
    path = tmp_path / "nomad-dns.conf"
    path.write_text('ttl = "11s"\n')
    daemon = start(f"--config={path}", nomad=nomad.address, forward=upstream.address)
    client = Client(daemon)
    client.ask("redis.default.nomad")
    path.write_text('ttl = "banana"\n')
    daemon.signal(signal.SIGHUP)

    def check():
        assert "banana" in daemon.output()

    eventually(check)
    assert daemon.is_alive() and ttls(client.ask("redis.default.nomad")) == {11}
    path.unlink()
    daemon.signal(signal.SIGHUP)
    assert ttls(client.ask("web.default.nomad")) == {11} and daemon.is_alive()


def test_hup_again_and_again_loses_nothing(start, nomad, upstream):
    daemon = start(nomad=nomad.address, forward=upstream.address)
    client = Client(daemon)
    client.ask("redis.default.nomad")
    for number in range(100):
        daemon.signal(signal.SIGHUP)
        assert records(client.ask("redis.default.nomad")) == REDIS
        assert rcode(client.ask(f"hup{number}.example.org")) == "NOERROR"


def test_hup_changes_upstreams(start, nomad, upstream, tmp_path):
    path = tmp_path / "nomad-dns.conf"
    path.write_text('forward = ["none"]\n')
    daemon = start(f"--config={path}", nomad=nomad.address, forward=None)
    client = Client(daemon)
    assert rcode(client.ask("www.example.org")) == "REFUSED"
    path.write_text(f'forward = ["{upstream.address}"]\n')
    daemon.signal(signal.SIGHUP)

    def check():
        assert rcode(client.ask("www.example.org")) == "NOERROR"

    eventually(check)


def test_a_domain_with_other_servers_is_asked_for_anew(start, nomad, upstream, tmp_path):
    """What the general upstream said of it was kept for its TTL; a VPN that comes up must not wait for that."""
    path = tmp_path / "nomad-dns.conf"
    path.write_text(f'forward = ["{upstream.address}"]\n')
    upstream.set_mode("nxdomain", "web.consul")
    with FakeUpstream() as consul:
        consul.set_records("web.consul.", "A", "10.9.8.7")
        daemon = start(f"--config={path}", nomad=nomad.address, forward=None)
        client = Client(daemon)
        client.ask("kept.example.org")
        assert rcode(client.ask("web.consul")) == "NXDOMAIN"
        path.write_text(f'forward = ["{upstream.address}", "consul={consul.address}"]\n')
        daemon.signal(signal.SIGHUP)
        eventually(lambda: assert_found(client, "web.consul", "10.9.8.7"))
        client.ask("kept.example.org")
        assert upstream.count("kept.example.org") == 1
        path.write_text(f'forward = ["{upstream.address}", "consul=none"]\n')
        daemon.signal(signal.SIGHUP)
        eventually(lambda: assert_rcode(client, "web.consul", "REFUSED"))
        assert upstream.count("web.consul") == 1


def assert_found(client, name, address):
    assert records(client.ask(name)) == [address]


def assert_rcode(client, name, expected):
    assert rcode(client.ask(name)) == expected


def test_what_needs_a_restart_changes_nowhere_before_it(start, nomad, upstream, tmp_path):
    """Not in one room and not in another: a zone that only the forwarder knew would be denied by nobody and believed of anybody."""
    path = tmp_path / "nomad-dns.conf"
    path.write_text('zone = ["nomad"]\n')
    daemon = start(f"--config={path}", nomad=nomad.address, forward=upstream.address)
    client = Client(daemon)
    path.write_text('zone = ["svc.new"]\nttl = "7s"\n')
    daemon.signal(signal.SIGHUP)

    def check():
        assert "only a restart makes it so: zone" in daemon.output() and "reloaded" in daemon.output()
        assert ttls(client.ask("redis.default.nomad")) == {7}  # the worker has heard of it

    eventually(check)
    assert records(client.ask("a.svc.new")) == [address_of("a.svc.new")]
    assert sorted(records(client.ask("redis.default.nomad"))) == REDIS
    upstream.set_mode("cname-own", "alias.example.org")
    assert "203.0.113.66" not in records(client.ask("alias.example.org"))


def test_a_changed_resolv_conf_is_taken_up_without_a_signal(start, nomad, tmp_path):
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 192.0.2.1\n")
    daemon = start(nomad=nomad.address, forward=str(path))
    assert "upstream resolvers: 192.0.2.1:53" in daemon.output()
    other = tmp_path / "other"
    other.write_text("nameserver 192.0.2.2\nnameserver 192.0.2.3\n")
    other.rename(path)  # as those who write it do

    def check():
        assert "upstream resolvers: 192.0.2.2:53, 192.0.2.3:53" in daemon.output()

    eventually(check)
    path.unlink()
    eventually(lambda: assert_in("no upstream resolver", daemon.output()))
    path.write_text("nameserver 192.0.2.4\n")
    eventually(lambda: assert_in("upstream resolvers: 192.0.2.4:53", daemon.output()))


def test_a_nameserver_behind_an_interface_that_comes_later(start, nomad, tmp_path):
    """`fe80::1%link`: the file stays as it is, and so nothing but the interface tells."""
    link, peer = "nomaddnstest0", "nomaddnstest1"
    create = ["ip", "link", "add", link, "type", "veth", "peer", "name", peer]
    path = tmp_path / "resolv.conf"
    path.write_text(f"nameserver fe80::1%{link}\n")
    daemon = start(nomad=nomad.address, forward=str(path))
    assert "no upstream resolver" in daemon.output()
    if not shutil.which("ip") or subprocess.run(create, capture_output=True, check=False).returncode:
        pytest.skip("interfaces cannot be made here")
    try:
        index = socket.if_nametoindex(link)
        eventually(lambda: assert_in(f"upstream resolvers: [fe80::1%{index}]:53", daemon.output()))
    finally:
        subprocess.run(["ip", "link", "del", link], check=True)


def assert_in(words, text):
    assert words in text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_0(start, nomad, upstream, number):
    daemon = start(nomad=nomad.address, forward=upstream.address)
    Client(daemon).ask("redis.default.nomad")
    daemon.signal(number)
    assert daemon.process.wait(15) == 0


def test_it_ends_with_0_while_nomad_hangs_and_upstreams_are_silent(start, nomad, upstream):
    daemon = start(nomad=nomad.address, forward=upstream.address)
    nomad.fault("hang")
    for name in (b"\x05redis\x07default\x05nomad\x00", b"\x01x\x07timeout\x04mode\x04test\x00"):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(b"\x00\x01\x01\x00\x00\x01" + b"\x00" * 6 + name + b"\x00\x01\x00\x01", ("127.0.0.1", daemon.port))
    eventually(lambda: assert_count(upstream, "x.timeout.mode.test"))
    daemon.signal(signal.SIGTERM)
    assert daemon.process.wait(15) == 0


def test_an_answer_under_way_is_finished_before_the_end(start, nomad, upstream):
    daemon = start(nomad=nomad.address, forward=upstream.address)
    with Client(daemon).connect() as connection:
        query = dns.message.make_query("last.slow=700.mode.test", "A")
        connection.send(query)
        eventually(lambda: assert_count(upstream, "last.slow=700.mode.test"))
        daemon.signal(signal.SIGTERM)
        assert dns.message.from_wire(connection.receive()).id == query.id
    assert daemon.process.wait(15) == 0


def assert_count(upstream, name):
    assert upstream.count(name) >= 1


@pytest.mark.parametrize("workers", [2, 4])
def test_several_workers(start, nomad, upstream, workers):
    client = Client(start(f"--workers={workers}", nomad=nomad.address, forward=upstream.address))
    for number in range(50):
        assert records(client.ask("redis.default.nomad")) == REDIS
        assert records(client.ask("web.prod.nomad", tcp=number % 2 == 0)) == ["10.30.0.11", "10.30.0.12"]
        assert rcode(client.ask(f"worker{number}.example.org")) == "NOERROR"


def test_lookup_verb(start, nomad, upstream):
    daemon = start(nomad=nomad.address, forward=upstream.address)
    done = run("lookup", f"--listen=127.0.0.1:{daemon.port}", "redis.default.nomad")
    assert done.returncode == 0 and "192.168.29.76" in done.stdout, done.stderr
    done = run("lookup", f"--listen=127.0.0.1:{daemon.port}", "nosuch.default.nomad")
    assert done.returncode == 1
