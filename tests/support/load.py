"""Many questions over UDP without a DNS library in the way: for benchmarks and for tests that count."""

import os
import select
import socket
import struct
import time

A, SRV = 1, 33


def free_port():
    """A port of 127.0.0.1 that was free a moment ago, for UDP and TCP."""
    for _ in range(100):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
            udp.bind(("127.0.0.1", 0))
            try:
                tcp.bind(udp.getsockname())
            except OSError:
                continue
            return udp.getsockname()[1]
    raise RuntimeError("no port is free on 127.0.0.1")


def question(name, qtype=A, ident=0):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label)
    return struct.pack("!HH4H", ident, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", qtype, 1)


def rcode(reply):
    return reply[3] & 15


def answer_count(reply):
    return struct.unpack_from("!H", reply, 6)[0]


def connect(port):
    asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    asker.connect(("127.0.0.1", port))
    return asker


def ask(port, name, qtype=A, timeout_s=5.0):
    """One question, one reply; None when there is none in time."""
    with connect(port) as asker:
        asker.settimeout(timeout_s)
        try:
            asker.send(question(name, qtype, 7))
            return asker.recv(65535)
        except (TimeoutError, ConnectionRefusedError):
            return None


def ask_all(port, asked, window=32, timeout_s=5.0):
    """Asks each (name, type) with at most `window` under way. The replies in the order asked; None: none in time."""
    replies = [None] * len(asked)
    with connect(port) as asker:
        asker.setblocking(False)
        try:
            ask_through(asker, asked, replies, window, timeout_s)
        except ConnectionRefusedError:
            pass  # nobody listens (any more)
    return replies


def ask_through(asker, asked, replies, window, timeout_s):
    waiting = {}
    following = 0
    while waiting or following < len(asked):
        while len(waiting) < window and following < len(asked):
            asker.send(question(*asked[following], following & 0xFFFF))
            waiting[following & 0xFFFF] = following
            following += 1
        ready, _, _ = select.select([asker], [], [], timeout_s)
        if not ready:
            return
        while True:
            try:
                reply = asker.recv(65535)
            except BlockingIOError:
                break
            place = waiting.pop(struct.unpack_from("!H", reply)[0], None)
            if place is not None:
                replies[place] = reply


def cpu_ns(pid):
    """Time on a CPU of all threads of a process, by the scheduler's own account."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{thread}/schedstat") as file:
                total += int(file.read().split()[0])
        except OSError:
            pass  # it ended in between
    return total
