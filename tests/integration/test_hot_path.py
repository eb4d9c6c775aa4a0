"""A hit costs no allocation and no lock: counted inside the daemon, thread by thread, while it answers.

tests/support/alloc_count.c is preloaded into the daemon and writes its counters into a file that this test has mapped.
"""

import mmap
import os
import shutil
import signal
import struct
import subprocess
import sys
import time

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
SUPPORT = os.path.join(HERE, "..", "support")
sys.path.insert(0, SUPPORT)

import load
from fake_nomad import FakeNomad
from fake_upstream import FakeUpstream

BINARY = os.environ.get("NOMAD_DNS_BIN", os.path.join(HERE, "..", "..", "build", "nomad-dns"))
SLOTS = 64
SLOT = struct.Struct("=5Q")  # thread, allocations, frees, locks, waits: struct slot of alloc_count.c
QUESTIONS = 10_000


class Counters:
    """The file that the preloaded library counts in."""

    def __init__(self, path):
        self.path = path
        with open(path, "w+b") as file:
            file.truncate(SLOTS * SLOT.size)
            self.memory = mmap.mmap(file.fileno(), SLOTS * SLOT.size)

    def read(self):
        """Thread → its counts."""
        rows = (SLOT.unpack_from(self.memory, number * SLOT.size) for number in range(SLOTS))
        return {row[0]: dict(zip(("allocations", "frees", "locks", "waits"), row[1:])) for row in rows if row[0]}


def is_sanitized(binary):
    with open(binary, "rb") as file:
        return b"__asan_init" in file.read()


@pytest.fixture(scope="module")
def counter_library(tmp_path_factory):
    if is_sanitized(BINARY):
        pytest.skip("a sanitizer's own allocator cannot be counted")
    compiler = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc")
    library = tmp_path_factory.mktemp("count") / "alloc_count.so"
    subprocess.run([compiler, "-O2", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", library,
                    os.path.join(SUPPORT, "alloc_count.c")], check=True)
    return library


class Daemon:
    def __init__(self, process, port, counters, upstream):
        self.process = process
        self.upstream = upstream
        self.port = port
        self.counters = counters

    def cpu_by_thread(self):
        found = {}
        for thread in os.listdir(f"/proc/{self.process.pid}/task"):
            with open(f"/proc/{self.process.pid}/task/{thread}/schedstat") as file:
                found[int(thread)] = int(file.read().split()[0])
        return found

    def wait_for(self, name, deadline_s=10):
        until = time.monotonic() + deadline_s
        while time.monotonic() < until:
            reply = load.ask(self.port, name, timeout_s=1)
            if reply and load.rcode(reply) == 0 and load.answer_count(reply):
                return
        pytest.fail(f"no answer for {name} within {deadline_s} s")

    def count_during(self, asked):
        """Asks; returns the worker's counts before and after, and all replies. The worker is who worked."""
        cpu, counts = self.cpu_by_thread(), self.counters.read()
        replies = load.ask_all(self.port, asked)
        # The kernel drops packets of a loopback that others flood (softnet_stat): those are asked again, as a client would.
        lost = [place for place, reply in enumerate(replies) if reply is None]
        for place, reply in zip(lost, load.ask_all(self.port, [asked[place] for place in lost])):
            replies[place] = reply
        after, cpu_after = self.counters.read(), self.cpu_by_thread()
        worker = max(cpu_after, key=lambda thread: cpu_after[thread] - cpu.get(thread, 0))
        return counts.get(worker), after.get(worker), replies


@pytest.fixture
def daemon(counter_library, tmp_path):
    counters = Counters(tmp_path / "counts")
    port = load.free_port()
    with FakeNomad() as nomad, FakeUpstream() as upstream:
        nomad.register({"ServiceName": "redis", "Address": "192.0.2.1", "Port": 6379, "Tags": ["primary"]},
                       {"ServiceName": "redis", "Address": "192.0.2.2", "Port": 6379, "Tags": ["replica"]})
        process = subprocess.Popen(
            [BINARY, f"--listen=127.0.0.1:{port}", f"--nomad-address={nomad.address}", "--admin=off", "--ttl=1h",
             f"--forward={upstream.address}", "--log-level=warn"],
            env={"PATH": os.environ["PATH"], "LD_PRELOAD": str(counter_library), "ALLOC_COUNT_FILE": str(counters.path)})
        try:
            yield Daemon(process, port, counters, upstream)
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0


def check_hits(daemon, name, qtype):
    daemon.wait_for(name)
    load.ask_all(daemon.port, [(name, qtype)] * 200)  # whatever is set up once, is set up now
    before, after, replies = daemon.count_during([(name, qtype)] * QUESTIONS)
    assert all(replies), f"{replies.count(None)} of {QUESTIONS} questions had no reply"
    assert all(load.rcode(reply) == 0 and load.answer_count(reply) for reply in replies)
    assert before and before["allocations"] > 0, "the counter does not see the worker at all"
    assert after == before, f"{QUESTIONS} hits cost the worker something"


@pytest.mark.parametrize("qtype", [load.A, load.SRV])
def test_a_hit_of_the_zone_allocates_nothing_and_takes_no_lock(daemon, qtype):
    check_hits(daemon, "redis.default.nomad", qtype)


def test_a_negative_of_the_zone_allocates_nothing_and_takes_no_lock(daemon):
    daemon.wait_for("redis.default.nomad")
    absent = [("absent.default.nomad", load.A)]
    load.ask_all(daemon.port, absent * 200)
    before, after, replies = daemon.count_during(absent * QUESTIONS)
    assert all(reply and load.rcode(reply) == 3 for reply in replies)
    assert before and after == before


def test_a_hit_of_the_cache_allocates_nothing_and_takes_no_lock(daemon):
    check_hits(daemon, "www.example.org", load.A)


def test_what_has_expired_allocates_nothing_and_takes_no_lock(daemon):
    """While the upstream is down; the first one to ask has found that out."""
    name = "www.ttl=1.mode.test"
    daemon.wait_for(name)
    daemon.upstream.down()
    until = time.monotonic() + 10
    while not is_stale(load.ask(daemon.port, name, timeout_s=5)):
        assert time.monotonic() < until, "never stale"
    check_hits(daemon, name, load.A)
    assert is_stale(load.ask(daemon.port, name))


def is_stale(reply):
    return struct.pack("!HHIH", load.A, 1, 30, 4) in reply  # RFC 8767 §4: its TTL was 1 s


def test_the_counter_sees_what_a_miss_costs(daemon):
    daemon.wait_for("www.example.org")
    before, after, replies = daemon.count_during([(f"cold-{number}.example.org", load.A) for number in range(500)])
    assert all(replies)
    assert after["allocations"] > before["allocations"]
