"""What Nomad has, as it changes, and questions in the background that count every answer lost.

Truth drives a FakeNomad and remembers when which address came and went. Load asks for known, unknown, cached and new
external names all the while and holds each reply against it. Lost is: no reply within five seconds; a negative or a
failure for what Nomad has; an instance answered later than a second after Nomad took it away, unless Nomad was out of
reach; an external name that fails.
"""

import bisect
import contextlib
import os
import re
import select
import socket
import struct
import sys
import threading
import time

A, OPT, SOA = 1, 41, 6
NOERROR, SERVFAIL, NXDOMAIN = 0, 2, 3
EDE = 15
STALE_NXDOMAIN = 19

LABEL = re.compile(r"[A-Za-z0-9_-]{1,63}")
RATE = int(os.environ.get("NOMAD_DNS_LOAD", "1000"))  # questions a second
REPLY_S = 5.0       # glibc's first timeout
REMOVAL_S = 1.0     # a removed instance may be answered this long
RETURN_S = 2.0      # and this long after Nomad came back


def question(name, qtype=A, ident=0):
    """With an OPT record, so that extended errors come back."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label)
    return (struct.pack("!HH4H", ident, 0x0100, 1, 0, 0, 1) + labels + b"\0" + struct.pack("!HH", qtype, 1)
            + struct.pack("!BHHIH", 0, OPT, 1232, 0, 0))


def widen(asker):
    """One socket stands for many clients here: what waited together may come back together."""
    for option in (33, socket.SO_RCVBUF):  # SO_RCVBUFFORCE, for root
        with contextlib.suppress(OSError):
            asker.setsockopt(socket.SOL_SOCKET, option, 1 << 22)
            return


def skip_name(wire, at):
    while wire[at]:
        if wire[at] >= 0xC0:
            return at + 2
        at += wire[at] + 1
    return at + 1


class Answer:
    """As much of a reply as the counting needs."""

    def __init__(self, wire):
        self.rcode = wire[3] & 15
        self.is_cut = bool(wire[2] & 2)
        counts = struct.unpack_from("!4H", wire, 4)
        self.addresses = set()
        self.errors = set()
        self.ttl = None
        at = skip_name(wire, 12) + 4 if counts[0] else 12
        for number in range(sum(counts[1:])):
            at = skip_name(wire, at)
            rdtype, _, ttl, length = struct.unpack_from("!HHIH", wire, at)
            at += 10
            if rdtype == A and number < counts[1]:
                self.addresses.add(socket.inet_ntoa(wire[at:at + 4]))
                self.ttl = ttl
            elif rdtype == OPT:
                self.read_options(wire[at:at + length])
            at += length

    def read_options(self, data):
        at = 0
        while at + 4 <= len(data):
            code, length = struct.unpack_from("!HH", data, at)
            if code == EDE and length >= 2:
                self.errors.add(struct.unpack_from("!H", data, at + 4)[0])
            at += 4 + length

    def __repr__(self):
        return f"rcode {self.rcode} {sorted(self.addresses)} EDE {sorted(self.errors)}"


def is_usable(address):
    try:
        return socket.inet_aton(address) != bytes(4) and address.count(".") == 3
    except OSError:
        return False


class Truth:
    """The catalogue's history, by DNS name. Changes go through it."""

    def __init__(self, nomad, zone="nomad"):
        self.nomad = nomad
        self.zone = zone
        self.lock = threading.Lock()
        self.history = {}   # name → ([when a change began], [when it was made], [sets of addresses after it])
        self.outages = []   # [begin, end or None, how long after the end]
        self.removal_s = REMOVAL_S
        self.note()

    def current(self):
        """name → addresses, as Nomad has it now."""

        def look():
            found = {}
            for namespace, services in self.nomad.catalogue.tree.items():
                for service, entries in services.items():
                    if not LABEL.fullmatch(service):
                        continue
                    name = f"{service}.{namespace}.{self.zone}".lower()
                    found.setdefault(name, set()).update(
                        entry["Address"] for entry in entries.values() if is_usable(entry["Address"]))
            return found

        return self.nomad.call(look)

    def note(self, begun=None):
        """What is true from now on; what came of a change that began earlier was already seen then, or not yet."""
        now = time.monotonic()
        begun = now if begun is None else begun
        found = self.current()
        with self.lock:
            for name in self.history.keys() - found.keys():
                self.add(name, begun, frozenset())
            for name, addresses in found.items():
                self.add(name, begun, frozenset(addresses))

    def add(self, name, begun, addresses):
        begins, ends, states = self.history.setdefault(name, ([], [], []))
        if not states or states[-1] != addresses:
            begins.append(begun)
            ends.append(time.monotonic())
            states.append(addresses)

    @contextlib.contextmanager
    def changing(self):
        """Changes of the fake; until the end of it both what was and what will be may be answered."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self.note(begun)

    def do(self, change, *args, **kwargs):
        """Any change of the fake, and what came of it."""
        with self.changing():
            return change(*args, **kwargs)

    def register(self, *entries):
        return self.do(self.nomad.register, *entries)

    def deregister(self, *args, **match):
        return self.do(self.nomad.deregister, *args, **match)

    @contextlib.contextmanager
    def outage(self, return_s=RETURN_S):
        """While Nomad cannot say anything, the last word stands; so it does for a moment after it is back."""
        with self.lock:
            self.outages.append([time.monotonic(), None, return_s])
        try:
            yield
        finally:
            with self.lock:
                self.outages[-1][1] = time.monotonic()

    def since(self, moment, until, removal_s):
        """From when on an answer given in [moment, until] may date."""
        start = moment - removal_s
        for begin, end, return_s in reversed(self.outages):
            if (end is None or start <= end + return_s) and begin <= until:
                start = min(start, begin - removal_s)
        return start

    def states(self, name, start, end):
        """The sets of addresses there were at any moment of [start, end]."""
        begins, ends, states = self.history.get(name, ([], [], []))
        first = bisect.bisect_left(ends, start) - 1
        last = bisect.bisect_right(begins, end)
        found = states[max(first, 0):last]
        return found if first >= 0 else [frozenset(), *found]

    def judge(self, name, answer, sent, received, removal_s=None):
        """None, or what is wrong with the answer to a question for a name of the zone. To be asked when no change is under
        way any more: until then what it brings is not known here."""
        with self.lock:
            states = self.states(name, self.since(sent, received, removal_s or self.removal_s), received)
        allowed = set().union(*states)
        if answer.addresses - allowed:
            return f"gone: {sorted(answer.addresses - allowed)}"
        if not answer.addresses and all(states):
            return "wrong negative" if answer.rcode in (NOERROR, NXDOMAIN) else f"rcode {answer.rcode}"
        return None

    def names(self):
        with self.lock:
            return [name for name, (_, _, states) in self.history.items() if states[-1]]

    def differences(self, port, timeout_s=REPLY_S):
        """[(name, expected, answer)] where DNS says something else than Nomad has."""
        with self.lock:
            expected = {name: states[-1] for name, (_, _, states) in self.history.items()}
        answers = ask_all(port, list(expected), timeout_s)
        wrong = []
        for name, addresses in expected.items():
            answer = answers.get(name)
            is_right = answer and (answer.addresses == addresses or answer.is_cut and answer.addresses <= addresses)
            if not is_right or answer.rcode != (NOERROR if addresses else NXDOMAIN):
                wrong.append((name, sorted(addresses), answer))
        return wrong

    def converge(self, port, within_s, slack_s=0.0):
        """Asks until DNS equals Nomad; the seconds it took. The slack is for machines that are busy."""
        begun = time.monotonic()
        while True:
            asked = time.monotonic()
            wrong = self.differences(port)
            if not wrong:
                return asked - begun
            assert asked - begun < within_s + slack_s, f"not right after {within_s} s: {len(wrong)} names, {wrong[:4]}"
            time.sleep(0.01)


def ask_all(port, names, timeout_s=REPLY_S, window=64):
    """name → Answer, for those that were answered."""
    answers = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.connect(("127.0.0.1", port))
        asker.setblocking(False)
        waiting, following = {}, 0
        try:
            while waiting or following < len(names):
                while len(waiting) < window and following < len(names):
                    asker.send(question(names[following], A, following & 0xFFFF))
                    waiting[following & 0xFFFF] = names[following]
                    following += 1
                if not select.select([asker], [], [], timeout_s)[0]:
                    break
                with contextlib.suppress(BlockingIOError):
                    while True:
                        wire = asker.recv(65535)
                        name = waiting.pop(struct.unpack_from("!H", wire)[0], None)
                        if name:
                            answers[name] = Answer(wire)
        except ConnectionRefusedError:
            pass
    return answers


class Load(threading.Thread):
    """Questions at a steady rate until stop(), which gives the tally."""

    def __init__(self, port, truth, rate=RATE, is_external=True, unknown=("nosuch", "default"), known=None):
        super().__init__(daemon=True)
        self.truth = truth
        self.port = port
        self.rate = rate
        self.is_external = is_external
        self.unknown = unknown
        self.known = known
        self.is_over = threading.Event()
        self.waiting = {}
        self.answered = []  # to known names, judged at the end: see Truth.judge
        self.lost = []
        self.unknown_failures = []
        self.counts = {"known": 0, "unknown": 0, "cached": 0, "cold": 0}
        self.latencies = []
        self.sequence = 0
        self.turn = 0
        self.place = 0
        sys.setswitchinterval(0.001)
        self.start()

    def run(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            widen(asker)
            asker.connect(("127.0.0.1", self.port))
            asker.setblocking(False)
            following = time.monotonic()
            while not self.is_over.is_set():
                now = time.monotonic()
                due = min(int((now - following) * self.rate), self.rate)
                for _ in range(due):
                    self.send(asker)
                following += due / self.rate
                self.receive(asker, 0.005)
                self.expire(time.monotonic() - REPLY_S)
            ends = time.monotonic() + REPLY_S
            while self.waiting and time.monotonic() < ends:
                self.receive(asker, 0.05)
            self.expire(time.monotonic() + 1)

    def choose(self):
        """known, unknown, cached and cold names: 8, 5, 6 and 1 of 20."""
        self.turn += 1
        place = self.turn % 20
        if place < 8 or (not self.is_external and place > 12):
            names = self.known or self.truth.names()
            if names:
                self.place += 1
                return "known", names[self.place % len(names)]
        if place < 13 or not self.is_external:
            service, namespace = self.unknown
            return "unknown", f"{service}{self.turn % 500}.{namespace}.{self.truth.zone}"
        if place < 19:
            return "cached", f"often{place}.example.net"
        return "cold", f"once{self.turn}.example.net"

    def send(self, asker):
        kind, name = self.choose()
        self.sequence = (self.sequence + 1) & 0xFFFF
        self.waiting[self.sequence] = (kind, name, time.monotonic())
        self.counts[kind] += 1
        try:
            asker.send(question(name, A, self.sequence))
        except OSError:
            pass  # then no reply comes, which is counted

    def receive(self, asker, seconds):
        try:
            if not select.select([asker], [], [], seconds)[0]:
                return
            while True:
                wire = asker.recv(65535)
                entry = self.waiting.pop(struct.unpack_from("!H", wire)[0], None)
                if entry:
                    self.judge(*entry, Answer(wire), time.monotonic())
        except (BlockingIOError, ConnectionRefusedError):
            pass

    def expire(self, before):
        for ident in [ident for ident, entry in self.waiting.items() if entry[2] < before]:
            kind, name, sent = self.waiting.pop(ident)
            self.lost.append((kind, name, "no reply", sent))

    def judge(self, kind, name, sent, answer, received):
        self.latencies.append(received - sent)
        why = None
        if kind == "known":
            self.answered.append((name, answer, sent, received, self.truth.removal_s))
        elif kind == "unknown":
            if answer.rcode == NOERROR:
                why = "made up"
            elif answer.rcode != NXDOMAIN:
                self.unknown_failures.append((name, answer, sent))
        elif answer.rcode != NOERROR or not answer.addresses:
            why = f"external: {answer}"
        if why:
            self.lost.append((kind, name, f"{why}; {answer}", sent))

    def stop(self):
        """Ends it and gives the tally; asserts nothing."""
        self.is_over.set()
        self.join()
        for name, answer, sent, received, removal_s in self.answered:
            why = self.truth.judge(name, answer, sent, received, removal_s)
            if why:
                self.lost.append(("known", name, f"{why}; {answer}", sent))
        self.answered.clear()
        self.lost.sort(key=lambda entry: entry[3])
        ordered = sorted(self.latencies)
        return {"sent": sum(self.counts.values()), "lost": len(self.lost), **self.counts,
                "p99_ms": 1000 * ordered[len(ordered) * 99 // 100] if ordered else None,
                "worst_ms": 1000 * ordered[-1] if ordered else None,
                "unknown_failures": len(self.unknown_failures)}
