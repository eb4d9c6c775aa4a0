"""Runs the real binary and asks it: Daemon, Client, and what tests say about replies."""

import http.client
import os
import signal
import socket
import struct
import subprocess
import time

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
BINARY = os.environ.get("NOMAD_DNS_BIN", os.path.join(ROOT, "build", "nomad-dns"))
FIXTURES = os.path.join(ROOT, "fixtures")
DEMO = os.path.join(FIXTURES, "demo", "catalogue.json")

PATIENCE_S = 20.0  # for things that must happen; generous, because machines may be busy
QUERY_S = 8.0  # nomad-dns answers within 4 s, whatever happens


def eventually(check, timeout=PATIENCE_S, interval=0.02):
    """Repeats `check` until it raises no AssertionError; its result."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            return check()
        except (AssertionError, ConnectionError, dns.exception.Timeout):
            if time.monotonic() > deadline:
                raise
            time.sleep(interval)


def free_port(host="127.0.0.1"):
    """A port that is free for UDP and TCP just now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for _ in range(100):
        with socket.socket(family, socket.SOCK_STREAM) as tcp, socket.socket(family, socket.SOCK_DGRAM) as udp:
            tcp.bind((host, 0))
            port = tcp.getsockname()[1]
            try:
                udp.bind((host, port))
            except OSError:
                continue
            return port
    raise OSError("no port is free for both UDP and TCP")


def environment(more=None):
    """What the binary inherits: nothing of the caller's Nomad, but the sanitizers' options."""
    names = ("PATH", "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS", "LLVM_PROFILE_FILE")
    return {**{name: os.environ[name] for name in names if name in os.environ}, **(more or {})}


def is_sanitized():
    """Whether the binary carries the address sanitizer, whose memory says nothing about ours."""
    with open(BINARY, "rb") as file:
        return b"__asan_init" in file.read()


class Daemon:
    """One nomad-dns of a test's own. start() returns when it is ready; stop() wants exit status 0."""

    def __init__(self, folder, *options, nomad=None, forward="none", env=None, host="127.0.0.1", listen=None,
                 admin=None, descriptors=None):
        self.folder = str(folder)
        self.host = host
        self.options = list(options)
        self.nomad = nomad
        self.forward = forward
        self.listen = listen
        self.admin_spec = admin
        self.descriptors_max = descriptors
        self.env = environment(env)
        self.log_path = os.path.join(self.folder, "nomad-dns-%d.log" % (time.monotonic_ns()))
        self.process = None
        self.port = None
        self.admin_port = None

    def arguments(self):
        bracketed = f"[{self.host}]" if ":" in self.host else self.host
        args = [f"--listen={self.listen.format(port=self.port) if self.listen else f'{bracketed}:{self.port}'}"]
        args.append(f"--admin={self.admin_spec or f'127.0.0.1:{self.admin_port}'}")
        for address in self.nomad if isinstance(self.nomad, (list, tuple)) else [self.nomad]:
            if address:
                args.append(f"--nomad-address={address}")
        if self.forward:
            for address in self.forward if isinstance(self.forward, (list, tuple)) else [self.forward]:
                args.append(f"--forward={address.format(port=self.port)}")
        return args + self.options

    def limits(self):
        """The command that runs the binary with less than it would have."""
        return ["prlimit", f"--nofile={self.descriptors_max}"] if self.descriptors_max else []

    def spawn(self):
        """Starts it and waits for nothing."""
        self.port = free_port(self.host)
        self.admin_port = free_port()
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([*self.limits(), BINARY, *self.arguments()], env=self.env,
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder)
        return self

    def start(self, until="ready"):
        """`until`: "ready" (GET /ready says so) or "listening" (it answers a question)."""
        for attempt in range(3):
            self.spawn()
            try:
                eventually(self.check_ready if until == "ready" else self.check_listening)
                return self
            except (AssertionError, OSError, dns.exception.DNSException):
                is_taken = "in use" in self.output()
                status = self.process.poll()
                if attempt < 2 and is_taken:
                    self.kill()
                    continue
                self.kill()
                raise AssertionError(f"nomad-dns is not {until} (exit status {status}):\n{self.output()}") from None
        return self

    def check_ready(self):
        if self.process.poll() is not None:
            raise OSError("it ended")
        status, body = self.admin("/ready")
        assert status == 200, body

    def check_listening(self):
        if self.process.poll() is not None:
            raise OSError("it ended")
        Client(self).ask("version.bind", "TXT", rdclass="CH", timeout=0.5)

    def admin(self, path, method="GET", body=None):
        """(status, body) of the admin server."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=5)
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def metrics(self):
        """name{labels} → value."""
        status, body = self.admin("/metrics")
        assert status == 200
        rows = [line.rsplit(" ", 1) for line in body.splitlines() if line and not line.startswith("#")]
        return {name: float(value) for name, value in rows}

    def output(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def signal(self, number):
        self.process.send_signal(number)

    def is_alive(self):
        return self.process.poll() is None

    def resident_bytes(self):
        """Of the process; 0 under the address sanitizer."""
        if is_sanitized():
            return 0
        with open(f"/proc/{self.process.pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
        if self.process:
            self.process.wait()

    def stop(self):
        """SIGTERM; the exit status must be 0."""
        if not self.process:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"nomad-dns did not stop within 15 s of SIGTERM:\n{self.output()}") from None
        assert status == 0, f"nomad-dns ended with {status}:\n{self.output()}"


def run(*args, env=None, timeout=15):
    """The binary, run to its end: CompletedProcess with text."""
    return subprocess.run([BINARY, *args], env=environment(env), stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=timeout, check=False)


class Client:
    """Asks one server over UDP or TCP and checks that the reply is to the question."""

    def __init__(self, daemon, host=None):
        self.host = host or daemon.host
        self.port = daemon.port

    def ask(self, name, rdtype="A", tcp=False, timeout=QUERY_S, edns=0, rdclass="IN", rd=True, **args):
        query = dns.message.make_query(name, rdtype, rdclass, use_edns=edns if edns is not None else False, **args)
        if not rd:
            query.flags &= ~dns.flags.RD
        return self.send(query, tcp, timeout)

    def send(self, query, tcp=False, timeout=QUERY_S):
        where = dict(where=self.host, port=self.port, timeout=timeout)
        return dns.query.tcp(query, **where) if tcp else dns.query.udp(query, **where)

    def exchange(self, wire, timeout=QUERY_S):
        """Raw bytes over UDP; the raw reply, or None when none comes."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as client:
            client.settimeout(timeout)
            client.connect((self.host, self.port))
            client.send(wire)
            try:
                return client.recv(65535)
            except socket.timeout:
                return None

    def connect(self, timeout=QUERY_S):
        return Tcp(self.host, self.port, timeout)


class Tcp:
    """A TCP connection with framed messages."""

    def __init__(self, host, port, timeout):
        self.socket = socket.create_connection((host, port), timeout=timeout)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, *messages):
        """All in one write."""
        data = b""
        for message in messages:
            wire = message if isinstance(message, bytes) else message.to_wire()
            data += struct.pack("!H", len(wire)) + wire
        self.socket.sendall(data)

    def receive(self):
        """The next message as bytes; None at the end of the connection."""
        head = self.exactly(2)
        return self.exactly(struct.unpack("!H", head)[0]) if head else None

    def exactly(self, count):
        data = b""
        while len(data) < count:
            try:
                part = self.socket.recv(count - len(data))
            except ConnectionResetError:
                return None
            if not part:
                return None
            data += part
        return data


# ---- what tests say about replies ----

def records(reply, rdtype="A", section="answer"):
    """The texts of all records of this type, sorted."""
    wanted = dns.rdatatype.from_text(rdtype)
    return sorted(record.to_text() for rrset in getattr(reply, section) if rrset.rdtype == wanted for record in rrset)


def ttls(reply, section="answer"):
    return {rrset.ttl for rrset in getattr(reply, section)}


def rcode(reply):
    return dns.rcode.to_text(reply.rcode())


def extended_errors(reply):
    """{code: text} of the EDE options."""
    return {int(option.code): option.text or "" for option in reply.options if option.otype == dns.edns.OptionType.EDE}


def is_authoritative(reply):
    return bool(reply.flags & dns.flags.AA)


def assert_negative(reply, expected_rcode, zone="nomad.", ttl=None):
    """NXDOMAIN or NODATA of ours: AA, nothing in ANSWER, the zone's SOA in AUTHORITY."""
    assert rcode(reply) == expected_rcode, reply
    assert not reply.answer and is_authoritative(reply), reply
    assert len(reply.authority) == 1, reply
    soa = reply.authority[0]
    assert soa.rdtype == dns.rdatatype.SOA and soa.name == dns.name.from_text(zone), reply
    if ttl is not None:
        assert soa.ttl == ttl and soa[0].minimum == ttl, reply


def assert_nodata(reply, zone="nomad.", ttl=None):
    assert_negative(reply, "NOERROR", zone, ttl)


def assert_nxdomain(reply, zone="nomad.", ttl=None):
    assert_negative(reply, "NXDOMAIN", zone, ttl)


def assert_records(reply, rdtype, *texts):
    assert rcode(reply) == "NOERROR" and is_authoritative(reply), reply
    assert records(reply, rdtype) == sorted(texts), reply


def bare_header(wire, query, expected_rcode):
    """A reply of twelve bytes: the ID, QR, the rcode, no section."""
    assert wire is not None, "no reply"
    assert len(wire) == 12, wire.hex()
    assert wire[:2] == query[:2] and wire[2] & 0x80, wire.hex()
    assert wire[3] & 0x0F == expected_rcode, wire.hex()
    assert wire[4:] == bytes(8), wire.hex()
