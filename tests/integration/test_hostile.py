"""Clients that hold TCP connections and do nothing good with them: nobody else notices."""

import contextlib
import resource
import socket
import struct
import time

import harness
import pytest
from fake_upstream import address_of
from harness import Client, eventually, rcode, records

import dns.message

CROWD = 2000
GROWTH_MAX = 8 << 20
FRESH_MAX_S = 0.1
CONTROL = 200


@pytest.fixture
def many_descriptors():
    """Room for the crowd's own ends, as far as this machine allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CROWD + 500
    if soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            pytest.skip(f"only {hard} descriptors are allowed here, {wanted} are wanted")
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def framed(name, rdtype="A"):
    wire = dns.message.make_query(name, rdtype, use_edns=0).to_wire()
    return struct.pack("!H", len(wire)) + wire


# What a hostile client sends, and how often it tries to.
def idle(connection):
    pass


def half_a_frame(connection):
    connection.send(framed("redis.default.nomad")[:-5])


def length_only(connection):
    connection.send(b"\xff\xff")


def waiting(connection):
    """A question that nobody will ever answer."""
    connection.send(framed(f"x{connection.getsockname()[1]}.timeout.mode.test"))


def never_reading(connection):
    """Large answers, none of which is read."""
    connection.send(framed("big.large.mode.test", "TXT") * 30)


CROWDS = {"idle": [idle], "half a frame": [half_a_frame, length_only], "never reading": [never_reading],
          "waiting": [waiting],
          "all kinds": [idle, half_a_frame, length_only, never_reading, waiting]}


@contextlib.contextmanager
def crowd(daemon, kinds, source="127.0.0.1"):
    """Connections that the kernel has taken, whether or not the daemon has; closed ones are opened no second time."""
    connections = []
    try:
        for number in range(CROWD):
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.bind((source, 0))
            connection.setblocking(False)
            connections.append(connection)
            connection.connect_ex((daemon.host, daemon.port))
        for number, connection in enumerate(connections):
            with contextlib.suppress(OSError):
                kinds[number % len(kinds)](connection)
        yield connections
    finally:
        for connection in connections:
            connection.close()


def ask_fresh(client, name):
    """A new TCP client's answer; how long it took."""
    began = time.monotonic()
    reply = client.ask(name, tcp=True)
    took = time.monotonic() - began
    assert rcode(reply) == "NOERROR"
    return took


def send_queues(daemon):
    """Bytes of answers that the kernel holds for clients, by connection (proc(5): /proc/net/tcp, tx_queue)."""
    with open("/proc/net/tcp", encoding="ascii") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    return [int(row[4].split(":")[0], 16) for row in rows if row[1].endswith(f":{daemon.port:04X}")]


def test_who_never_reads_fills_no_buffers(start, nomad, upstream, many_descriptors):
    """Left alone, the kernel takes 4 MiB of answers for each, out of the unit's MemoryMax."""
    daemon = start("--workers=1", nomad=nomad.address, forward=upstream.address)
    client = Client(daemon)
    client.ask("big.large.mode.test", "TXT", tcp=True)
    before, largest = daemon.resident_bytes(), 0
    with crowd(daemon, [never_reading]) as connections:
        for _ in range(20):
            for connection in connections:
                with contextlib.suppress(OSError):
                    never_reading(connection)
            largest = max([largest, *send_queues(daemon)])
            assert records(client.ask("redis.default.nomad", timeout=2))
        assert daemon.resident_bytes() - before <= GROWTH_MAX
    assert 0 < largest <= 256 << 10, f"{largest >> 10} KiB for one client"


@pytest.mark.parametrize("kinds", CROWDS.values(), ids=CROWDS.keys())
def test_two_thousand_hostile_clients(start, nomad, upstream, many_descriptors, kinds):
    daemon = start("--workers=1", nomad=nomad.address, forward=upstream.address)
    client = Client(daemon)
    client.ask("big.large.mode.test", "TXT", tcp=True)
    for number in range(CONTROL):
        client.ask(f"warm{number}.example.org")
    before, descriptors = daemon.resident_bytes(), daemon.descriptors()
    with crowd(daemon, kinds):
        for number in range(CONTROL):
            reply = client.ask("redis.default.nomad" if number % 2 else "warm1.example.org", timeout=2)
            assert records(reply), "a UDP client noticed"
        waits = sorted(ask_fresh(client, "redis.default.nomad") for _ in range(20))
        if not harness.is_sanitized():
            assert waits[-1] <= 10 * FRESH_MAX_S, f"one new TCP client waited {waits[-1]:.3f} s"
            assert waits[len(waits) // 2] <= FRESH_MAX_S, f"a new TCP client waited {waits[len(waits) // 2]:.3f} s"
        grown = daemon.resident_bytes() - before
        print(f"grown by {grown >> 10} KiB, {daemon.descriptors() - descriptors} descriptors; a new TCP client waits "
              f"{waits[0] * 1000:.1f} to {waits[-1] * 1000:.1f} ms")
        assert grown <= GROWTH_MAX, f"grown by {grown >> 10} KiB"

    def is_over():
        assert daemon.descriptors() <= descriptors + 2
        assert daemon.resident_bytes() - before <= GROWTH_MAX // 2

    eventually(is_over)
    assert records(client.ask("after.example.org", tcp=True)) == [address_of("after.example.org")]


def test_half_a_frame_is_closed_in_time(start, nomad, upstream):
    """tcp-idle-timeout counts from the last whole message, however many bytes drip in meanwhile."""
    daemon = start("--tcp-idle-timeout=1s", nomad=nomad.address, forward=upstream.address)
    with socket.create_connection((daemon.host, daemon.port), timeout=harness.QUERY_S) as dripping:
        began = time.monotonic()
        wire = framed("redis.default.nomad")
        with contextlib.suppress(OSError):
            for byte in wire[:-1]:
                dripping.send(bytes([byte]))
                time.sleep(0.1)
                dripping.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    if not dripping.recv(1):
                        break
                dripping.setblocking(True)
        assert time.monotonic() - began < 3
