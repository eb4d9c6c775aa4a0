"""What the machine may do to a daemon: no memory, a full kernel, a jumping clock, a pause, a reader that is gone."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import load
import misfortune
import pytest
from background import Load, Truth
from fake_nomad import FakeNomad
from fake_upstream import address_of
from harness import (BINARY, Client, assert_nxdomain, assert_records, environment, eventually, free_port, is_sanitized,
                     rcode, records, ttls)

from scene import instance, services

import dns.exception

REDIS = ["192.168.29.76", "192.168.29.77"]


@pytest.fixture
def nomad():
    """Names with plain addresses, all of which Truth can judge."""
    with FakeNomad(catalogue={"Services": services(12) + [instance("redis", address) for address in REDIS]}) as fake:
        yield fake


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    if is_sanitized():
        pytest.skip("a sanitizer has an allocator of its own")
    return misfortune.build(str(tmp_path_factory.mktemp("misfortune")))


@pytest.fixture
def luck(library, tmp_path):
    return misfortune.Misfortune(library, str(tmp_path))


# ---- a full kernel (ENOBUFS) ----

def test_an_answer_the_kernel_does_not_take_is_tried_again_or_counted(start, nomad, luck):
    daemon = start(nomad=nomad.address, env=luck.environment())
    client = Client(daemon)
    assert_records(client.ask("redis.default.nomad"), "A", *REDIS)
    asked = answered = unsent = 0
    with luck.lasting(send_one_in=2):
        while not (unsent and answered):
            replies = load.ask_all(daemon.port, [("redis.default.nomad", load.A)] * 20, window=20, timeout_s=2)
            asked += 20
            answered += sum(reply is not None for reply in replies)
            unsent = daemon.metrics()["nomad_dns_dns_responses_unsent_total"]
            assert answered + unsent == asked
            assert asked < 1000, "no send fails twice in a row"
    assert_records(client.ask("redis.default.nomad"), "A", *REDIS)


def test_sends_that_fail_everywhere_are_got_over(start, nomad, upstream, luck):
    daemon = start("--workers=2", nomad=nomad.address, forward=upstream.address, env=luck.environment())
    client = Client(daemon)
    with luck.lasting(send_one_in=3):
        for number in range(60):
            try:
                client.ask(f"full{number}.example.org", timeout=0.1, tcp=number % 4 == 0)
            except (dns.exception.Timeout, OSError, EOFError):
                pass
    assert luck.count("failed_sends") > 0
    eventually(lambda: assert_records(client.ask("redis.default.nomad", tcp=True), "A", *REDIS))
    assert records(client.ask("afterwards.example.org")) == [address_of("afterwards.example.org")]


# ---- no memory (ENOMEM) ----

def ask_for_everything(daemon, seconds):
    """Hits, misses, negatives, TCP, metrics, reloads: whatever allocates."""
    ends = time.monotonic() + seconds
    client = Client(daemon)
    turn = 0
    while time.monotonic() < ends:
        turn += 1
        cold = [(f"cold{turn}-{number}.example.org", load.A) for number in range(150)]
        absent = [(f"absent{turn}-{number}.default.nomad", load.A) for number in range(50)]
        load.ask_all(daemon.port, cold + absent + [("redis.default.nomad", load.SRV)] * 10, window=64, timeout_s=0.1)
        for name in (f"tcp{turn}.example.org", "svc1.prod.nomad", f"large{turn}.tc-then-tcp.mode.test"):
            with contextlib.suppress(dns.exception.DNSException, OSError, EOFError):
                client.ask(name, tcp=True, timeout=0.05)
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
            daemon.admin("/metrics")
        if turn % 5 == 0:
            daemon.signal(signal.SIGHUP)
        assert daemon.is_alive(), daemon.output()[-3000:]


@pytest.mark.parametrize("one_in", [1000, 20, 3])
def test_allocations_that_fail_cost_answers_never_the_process(start, nomad, upstream, luck, one_in):
    seconds = float(os.environ.get("NOMAD_DNS_MISFORTUNE_S", "4"))
    daemon = start("--workers=2", nomad=nomad.address, forward=upstream.address, env=luck.environment())
    client = Client(daemon)
    is_over = threading.Event()

    def churn():
        number = 0
        while not is_over.wait(0.01):
            number += 1
            nomad.register({"ServiceName": f"churn{number % 50}", "Address": f"10.9.0.{number % 250}", "Port": number})
            nomad.deregister(ServiceName=f"churn{(number + 25) % 50}")

    churner = threading.Thread(target=churn)
    churner.start()
    try:
        with luck.lasting(allocation_one_in=one_in):
            ask_for_everything(daemon, seconds)
    finally:
        is_over.set()
        churner.join()
    assert luck.count("failed_allocations") > 0
    print(f"1 in {one_in}: {luck.count('failed_allocations')} allocations failed")
    nomad.register({"ServiceName": "after", "Address": "10.9.9.9", "Port": 1})
    eventually(lambda: assert_records(client.ask("after.default.nomad"), "A", "10.9.9.9"))
    eventually(lambda: assert_records(client.ask("redis.default.nomad"), "A", *REDIS))
    assert records(client.ask("after.example.org")) == [address_of("after.example.org")]
    assert records(client.ask("after-tcp.example.org", tcp=True)) == [address_of("after-tcp.example.org")]
    truth = Truth(nomad)
    truth.converge(daemon.port, 2.0, 10.0)


# ---- the wall clock jumps ----

@pytest.mark.parametrize("shift_s", [3600, -3600, 10 * 365 * 86400, -10 * 365 * 86400])
def test_a_jump_of_the_wall_clock_changes_no_lifetime(start, nomad, upstream, luck, shift_s):
    daemon = start("--ttl=1h", "--negative-ttl=1h", nomad=nomad.address, forward=upstream.address, env=luck.environment())
    client = Client(daemon)
    upstream.set_mode("ttl=0", "short.example.org")
    client.ask("kept.example.org")
    assert_records(client.ask("redis.default.nomad"), "A", *REDIS)
    luck.order(wall_shift_s=shift_s)
    reply = client.ask("kept.example.org")
    assert upstream.count("kept.example.org") == 1 and ttls(reply) <= set(range(250, 301)), "a hit, of the same age"
    client.ask("short.example.org")
    client.ask("short.example.org")
    assert upstream.count("short.example.org") == 2, "nothing lives longer either"
    nomad.register({"ServiceName": "late", "Address": "10.9.8.7", "Port": 1})
    eventually(lambda: assert_records(client.ask("late.default.nomad"), "A", "10.9.8.7"))
    assert_nxdomain(client.ask("nosuch.default.nomad"))
    assert daemon.admin("/ready")[0] == 200


# ---- a pause, of the process or of its whole machine ----

def test_a_pause_is_no_storm_and_nothing_stays_lost(start, nomad, upstream):
    daemon = start(nomad=nomad.address, forward=upstream.address)
    client = Client(daemon)
    client.ask("redis.default.nomad")
    client.ask("patience.slow=400.mode.test")  # from now on only a second of silence is silence, on a busy machine too
    truth = Truth(nomad)
    nomad.clear_log()
    daemon.signal(signal.SIGSTOP)
    askers = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(50)]
    try:
        for number, asker in enumerate(askers):
            asker.settimeout(8)
            asker.connect((daemon.host, daemon.port))
            query = dns.message.make_query("redis.default.nomad" if number % 2 else "paused.example.org", "A")
            asker.send(query.to_wire())
        for number in range(20):
            truth.register({"ServiceName": f"paused{number}", "Address": f"10.8.0.{number + 1}", "Port": 1})
        time.sleep(2)
    finally:
        daemon.signal(signal.SIGCONT)
    for asker in askers:
        assert rcode(dns.message.from_wire(asker.recv(4096))) == "NOERROR"
        asker.close()
    truth.converge(daemon.port, 2.0, 8.0)
    assert upstream.count("paused.example.org") == 1
    assert nomad.count() < 60, "the changes of the pause, and no more"


# ---- nobody reads the log ----

def test_a_log_that_nobody_reads_holds_up_no_answer(nomad, upstream):
    port, admin_port = free_port(), free_port()
    process = subprocess.Popen([BINARY, f"--listen=127.0.0.1:{port}", f"--admin=127.0.0.1:{admin_port}", "--log-queries=all",
                                f"--nomad-address={nomad.address}", f"--forward={upstream.address}"],
                               env=environment(), stderr=subprocess.PIPE)
    try:
        check_answers_and_drops(process, port, admin_port)
    finally:
        process.send_signal(signal.SIGTERM)
        process.stderr.close()
        assert process.wait(15) == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
def test_a_full_disk_under_the_log_holds_up_no_answer(nomad, upstream):
    port, admin_port = free_port(), free_port()
    with open("/dev/full", "wb") as full:
        process = subprocess.Popen([BINARY, f"--listen=127.0.0.1:{port}", f"--admin=127.0.0.1:{admin_port}",
                                    "--log-queries=all", f"--nomad-address={nomad.address}", f"--forward={upstream.address}"],
                                   env=environment(), stderr=full)
    try:
        check_answers_and_drops(process, port, admin_port)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0


class Target:
    host = "127.0.0.1"

    def __init__(self, port):
        self.port = port


def check_answers_and_drops(process, port, admin_port):
    client = Client(Target(port))
    eventually(lambda: assert_records(client.ask("redis.default.nomad", timeout=1), "A", *REDIS))
    for number in range(3000):  # 64 KiB of pipe hold fewer lines
        assert records(client.ask("redis.default.nomad")) == REDIS
    assert process.poll() is None
    connection = http.client.HTTPConnection("127.0.0.1", admin_port, timeout=5)
    connection.request("GET", "/metrics")
    page = connection.getresponse().read().decode()
    connection.close()
    dropped = [line for line in page.splitlines() if line.startswith("nomad_dns_log_lines_dropped_total ")]
    assert float(dropped[0].split()[1]) > 0


# ---- reloads and ends under load ----

def test_a_hundred_reloads_good_and_bad_under_load_lose_nothing(start, nomad, upstream, tmp_path):
    path = tmp_path / "nomad-dns.conf"
    good = ['ttl = "10s"\n', 'ttl = "9s"\nserve-stale = "2h"\nrebind-protection = false\n']
    path.write_text(good[0])
    daemon = start(f"--config={path}", "--workers=2", nomad=nomad.address, forward=upstream.address)
    truth = Truth(nomad)
    background = Load(daemon.port, truth)
    try:
        for number in range(100):
            path.write_text('ttl = "banana"\n' if number % 3 == 2 else good[number % 2])
            reloads = reload_count(daemon)
            daemon.signal(signal.SIGHUP)
            eventually(lambda before=reloads: assert_more(reload_count(daemon), before))
    finally:
        tally = background.stop()
    assert not background.lost, background.lost[:5]
    assert tally["sent"] > 100
    assert daemon.metrics()["nomad_dns_config_reload_failures_total"] == 33


def reload_count(daemon):
    output = daemon.output()
    return output.count("config: reloaded") + output.count("not reloaded")


def assert_more(now, before):
    assert now > before


def test_what_was_asked_before_the_end_is_answered(start, nomad, upstream):
    """SIGTERM while 200 questions a worker wait: all that came before it are answered, then it ends with 0."""
    daemon = start("--workers=2", nomad=nomad.address, forward=upstream.address)
    upstream.set_mode("slow=700")
    askers = []
    for number in range(200):
        asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        asker.settimeout(8)
        asker.connect((daemon.host, daemon.port))
        asker.send(dns.message.make_query(f"end{number}.example.org", "A").to_wire())
        askers.append(asker)
    eventually(lambda: assert_more(upstream.count(), 199))
    daemon.signal(signal.SIGTERM)
    for asker in askers:
        assert rcode(dns.message.from_wire(asker.recv(4096))) == "NOERROR"
        asker.close()
    assert daemon.process.wait(15) == 0


def test_with_systemd_s_sockets_a_restart_loses_no_question(nomad, upstream, tmp_path):
    """The sockets stay open in between, as under a .socket unit: what comes then waits in them."""
    udp, tcp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket()
    port = free_port()
    udp.bind(("127.0.0.1", port))
    tcp.bind(("127.0.0.1", port))
    tcp.listen()
    truth = Truth(nomad)
    process = inherit(udp, tcp, nomad, upstream, tmp_path)
    eventually(lambda: assert_records(Client(Target(port)).ask("redis.default.nomad", timeout=1), "A", *REDIS))
    background = Load(port, truth)
    try:
        for _ in range(3):
            sent = sum(background.counts.values())
            process.send_signal(signal.SIGTERM)
            assert process.wait(15) == 0
            process = inherit(udp, tcp, nomad, upstream, tmp_path)
            eventually(lambda: assert_records(Client(Target(port)).ask("redis.default.nomad", tcp=True), "A", *REDIS))
            eventually(lambda before=sent: assert_more(sum(background.counts.values()), before + 100))
    finally:
        background.stop()
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
        udp.close()
        tcp.close()
    assert not background.lost, background.lost[:5]


AS_SYSTEMD = """
import fcntl, os, sys
sockets = [fcntl.fcntl(int(text), fcntl.F_DUPFD, 10) for text in sys.argv[1:3]]
for number, descriptor in enumerate(sockets):
    os.dup2(descriptor, 3 + number)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="2")
os.execv(sys.argv[3], sys.argv[3:])
"""


def inherit(udp, tcp, nomad, upstream, folder):
    """Starts it as systemd does: its sockets are descriptors 3 and 4."""
    with open(folder / "inherited.log", "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-c", AS_SYSTEMD, str(udp.fileno()), str(tcp.fileno()), BINARY, "--admin=off",
             f"--nomad-address={nomad.address}", f"--forward={upstream.address}"],
            env=environment(), pass_fds=(udp.fileno(), tcp.fileno()), stdout=log, stderr=log)
