#!/usr/bin/python3
"""A resolver that answers as it is told: honestly, late, wrongly or not at all.

How it answers a name is a row of the table MODES. The mode is the one set for that name, else the one a name brings
along (`anything.nxdomain.mode.test`, `anything.slow=300.mode.test`), else the default. Tests use the class:

    with FakeUpstream() as upstream:
        upstream.address                         # "127.0.0.1:PORT", UDP and TCP
        upstream.set_mode("servfail", "example.org")
        upstream.count("example.org")            # questions seen; upstream.queries() has ports, IDs and flags

From a shell: `fake_upstream.py --listen 127.0.0.1:5300 --mode answer --control 127.0.0.1:0`; the control address takes
POST /control/mode {"mode": …, "name": …}, GET and DELETE /control/log, GET /control/counts.
"""

import argparse
import asyncio
import collections
import json
import os
import signal
import struct
import sys
import time
import zlib

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from loop_thread import LoopThread, serve_control

UDP_MAX_BYTES = 1232
MODE_ZONE = dns.name.from_text("mode.test.")
LATER_S = 0.2  # between the lie and the truth
CLOSE = object()  # sent in place of bytes: end the TCP connection
VICTIM = "victim.example."


class Asked:
    """One question as it arrived."""

    def __init__(self, upstream, wire, protocol, peer):
        self.upstream = upstream
        self.wire = wire
        self.message = dns.message.from_wire(wire)
        self.protocol = protocol
        self.peer = peer
        question = self.message.question[0]
        self.name = question.name
        self.type = question.rdtype
        self.args = None

    @property
    def key(self):
        return self.name.to_text().lower()

    @property
    def is_udp(self):
        return self.protocol == "udp"

    def nth(self):
        """1 for the first time this name and type are asked over this transport."""
        return sum(1 for entry in self.upstream.log if entry["name"] == self.key and entry["protocol"] == self.protocol
                   and entry["type"] == dns.rdatatype.to_text(self.type))


class Send:
    """One packet to be sent, now or later, from the right socket or from another."""

    def __init__(self, data, delay_s=0.0, is_other_port=False):
        self.data = data.to_wire(max_size=65535) if isinstance(data, dns.message.Message) else data
        self.delay_s = delay_s
        self.is_other_port = is_other_port


# ---- honest answers ----

def reply_to(asked, rcode=dns.rcode.NOERROR):
    reply = dns.message.make_response(asked.message, recursion_available=True, our_payload=UDP_MAX_BYTES)
    reply.set_rcode(rcode)
    return reply


def add(section, name, ttl, rdtype, *texts):
    section.append(dns.rrset.from_text_list(name, ttl, "IN", rdtype, list(texts)))


def add_soa(reply, asked, ttl=300, minimum=60):
    labels = asked.name.labels
    zone = dns.name.Name(labels[-2:]) if len(labels) > 2 else asked.name
    below = zone.to_text().lstrip(".")
    add(reply.authority, zone, ttl, "SOA", f"ns.{below} hostmaster.{below} 1 3600 600 86400 {minimum}")


def address_of(name):
    """The A record any name has here; tests compute it too."""
    return "198.51.100.%d" % (zlib.crc32(str(name).lower().rstrip(".").encode()) % 250 + 1)


def address6_of(name):
    return "2001:db8:51::%x" % (zlib.crc32(str(name).lower().rstrip(".").encode()) % 65000 + 1)


def fill(reply, asked, name=None, ttl=None):
    """Records of any name: configured ones, else deterministic ones by type; unknown types have none."""
    name = name or asked.name
    ttl = asked.upstream.ttl if ttl is None else ttl
    rdtype = dns.rdatatype.to_text(asked.type)
    known = asked.upstream.records.get((name.to_text().lower(), rdtype))
    if known is not None:
        add(reply.answer, name, ttl, rdtype, *known)
    elif rdtype == "A":
        add(reply.answer, name, ttl, "A", address_of(name))
    elif rdtype == "AAAA":
        add(reply.answer, name, ttl, "AAAA", address6_of(name))
    elif rdtype == "TXT":
        add(reply.answer, name, ttl, "TXT", '"text of %s"' % name.to_text().lower())
    elif rdtype == "MX":
        add(reply.answer, name, ttl, "MX", f"10 mail.{name}")
    elif rdtype == "PTR":
        add(reply.answer, name, ttl, "PTR", "host.example.net.")
    else:
        add_soa(reply, asked)
    return reply


def fit(reply, asked):
    """Over UDP what does not fit becomes a bare TC."""
    wire = reply.to_wire(max_size=65535)
    limit = max(512, min(asked.message.payload, 4096)) if asked.message.edns >= 0 else 512
    if asked.is_udp and len(wire) > limit:
        short = reply_to(asked)
        short.flags |= dns.flags.TC
        return short.to_wire()
    return wire


def right(asked, delay_s=0.0):
    return Send(fit(fill(reply_to(asked), asked), asked), delay_s)


def truncated(asked):
    reply = reply_to(asked)
    reply.flags |= dns.flags.TC
    return Send(reply)


# ---- modes ----

def mode_answer(asked):
    return [right(asked)]


def mode_nxdomain(asked):
    reply = reply_to(asked, dns.rcode.NXDOMAIN)
    add_soa(reply, asked)
    return [Send(reply)]


def mode_nodata(asked):
    reply = reply_to(asked)
    add_soa(reply, asked)
    return [Send(reply)]


def rcode_mode(rcode):
    return lambda asked: [Send(reply_to(asked, rcode))]


def mode_formerr_on_edns(asked):
    if asked.message.edns < 0:
        return [right(asked)]
    return [Send(struct.pack("!HHHHHH", asked.message.id, 0x8081, 0, 0, 0, 0))]


def mode_no_edns(asked):
    reply = fill(reply_to(asked), asked)
    reply.use_edns(False)
    return [Send(fit(reply, asked))]


def mode_badvers(asked):
    reply = reply_to(asked)
    reply.use_edns(0)
    reply.set_rcode(dns.rcode.BADVERS)
    return [Send(reply)]


def mode_tc_then_tcp(asked):
    return [truncated(asked) if asked.is_udp else right(asked)]


def mode_tc_with_records(asked):
    reply = fill(reply_to(asked), asked)
    if asked.is_udp:
        reply.flags |= dns.flags.TC
        return [Send(reply)]
    add(reply.answer, asked.name, asked.upstream.ttl, "A", "203.0.113.1", "203.0.113.2")
    return [Send(reply)]


def mode_tc_loop(asked):
    return [truncated(asked)]


def tc_then(tcp):
    return lambda asked: [truncated(asked)] if asked.is_udp else tcp(asked)


def mode_tcp_half(asked):
    wire = fill(reply_to(asked), asked).to_wire()
    return [Send(wire[:len(wire) // 2]), CLOSE]


def mode_tcp_only(asked):
    return [] if asked.is_udp else [right(asked)]


def mode_first_lost(asked):
    return [] if asked.nth() == 1 else [right(asked)]


def mode_servfail_first(asked):
    return rcode_mode(dns.rcode.SERVFAIL)(asked) if asked.nth() == 1 else [right(asked)]


def mode_slow(asked):
    return [right(asked, int(asked.args or 500) / 1000)]


def changed_id(asked):
    wire = bytearray(forged(asked))
    wire[0:2] = struct.pack("!H", asked.message.id ^ 0x5555)
    return bytes(wire)


def forged(asked, name=None, rdtype="A"):
    """An answer with an address nobody here has: seeing it means having believed a lie."""
    query = dns.message.make_query(name or asked.name, rdtype)
    query.id = asked.message.id
    reply = dns.message.make_response(query, recursion_available=True)
    if rdtype == "A":
        add(reply.answer, name or asked.name, 300, "A", "203.0.113.66")
    return reply.to_wire()


def flagged(wire, clear, put):
    flags = struct.unpack_from("!H", wire, 2)[0]
    return wire[:2] + struct.pack("!H", flags & ~clear & 0xFFFF | put) + wire[4:]


LIES = {
    "wrong-id": changed_id,
    "wrong-question": lambda asked: forged(asked, dns.name.from_text("wrong.example.")),
    "wrong-type": lambda asked: forged(asked, rdtype="MX"),
    "garbage": lambda asked: struct.pack("!H", asked.message.id) + bytes(range(7, 200)),
    "short": lambda asked: struct.pack("!HH", asked.message.id, 0x8180),
    "qr0": lambda asked: flagged(forged(asked), 0x8000, 0),
    "wrong-opcode": lambda asked: flagged(forged(asked), 0x7800, 0x2000),
    "ptr-loop": lambda asked: header(asked, 1, 1) + b"\xc0\x0c\x00\x01\x00\x01" + b"\xc0\x0c" + a_tail(),
    "ptr-forward": lambda asked: header(asked, 1, 1) + question_wire(asked) + b"\xc0\xff" + a_tail(),
    "ptr-chain": lambda asked: header(asked, 1, 1) + question_wire(asked) + pointer_chain(asked) + a_tail(),
    "counts-lie": lambda asked: header(asked, 1, 65535, 65535, 65535) + question_wire(asked) + b"\xc0\x0c" + a_tail(),
    "rdlength-lie": lambda asked: header(asked, 1, 1) + question_wire(asked)
    + b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x01\x2c\xff\xff\xcb\x00\x71\x42",
    "trailing": lambda asked: forged(asked) + b"trailing bytes",
    "empty-question": lambda asked: header(asked, 0, 1) + asked.name.to_wire() + a_tail(),
    "label-64": lambda asked: header(asked, 1, 1) + question_wire(asked) + b"\x40" + b"a" * 64 + b"\x00" + a_tail(),
}


def header(asked, questions, answers, authority=0, additional=0):
    return struct.pack("!HHHHHH", asked.message.id, 0x8180, questions, answers, authority, additional)


def question_wire(asked):
    return asked.name.to_wire() + struct.pack("!HH", asked.type, 1)


def a_tail():
    return b"\x00\x01\x00\x01\x00\x00\x01\x2c\x00\x04\xcb\x00\x71\x42"


def pointer_chain(asked):
    """A name of 200 pointers, each to the one before."""
    at = 12 + len(question_wire(asked))
    chain = b"".join(struct.pack("!H", 0xC000 | (at + 2 * number - 2 if number else 12)) for number in range(200))
    return chain + struct.pack("!H", 0xC000 | (at + 2 * 199))


def mode_wrong_case(asked):
    """The question comes back folded, as some old servers do."""
    query = dns.message.from_wire(asked.wire)
    query.question[0].name = dns.name.from_text(asked.name.to_text().lower())
    reply = dns.message.make_response(query, recursion_available=True)
    fill(reply, asked, query.question[0].name)
    wire = reply.to_wire(max_size=65535)
    return [Send(wire)]


def mode_other_port_then_right(asked):
    if not asked.is_udp:
        return [right(asked)]
    return [Send(forged(asked), is_other_port=True), right(asked, LATER_S)]


def mode_unknown_type(asked):
    reply = reply_to(asked)
    reply.answer.append(dns.rrset.from_rdata(asked.name, asked.upstream.ttl, dns.rdata.GenericRdata(
        dns.rdataclass.IN, asked.type, b"\x01\x02opaque\xc0\x0c\xff")))
    return [Send(reply)]


def mode_cname(asked):
    reply = reply_to(asked)
    hops = [asked.name] + [dns.name.from_text(f"hop{number}.example.net.") for number in (1, 2, 3)]
    for here, there in zip(hops, hops[1:]):
        add(reply.answer, here, asked.upstream.ttl, "CNAME", there.to_text())
    fill(reply, asked, hops[-1])
    return [Send(fit(reply, asked))]


def mode_cname_own(asked):
    """An alias into a zone that is none of the upstream's, with an address it has no right to."""
    reply = reply_to(asked)
    add(reply.answer, asked.name, 300, "CNAME", "redis.default.nomad.")
    add(reply.answer, dns.name.from_text("redis.default.nomad."), 300, "A", "203.0.113.66")
    return [Send(reply)]


def mode_poison(asked):
    """Beside the answer: records of a name that was not asked for, in every section."""
    reply = fill(reply_to(asked), asked)
    add(reply.answer, dns.name.from_text(VICTIM), 3600, "A", "203.0.113.66")
    add(reply.authority, dns.name.from_text("example."), 3600, "NS", "ns.evil.example.")
    add(reply.additional, dns.name.from_text(VICTIM), 3600, "A", "203.0.113.66")
    return [Send(reply)]


def mode_large(asked):
    """Too much for 1,232 bytes: TC, then all of it over TCP."""
    reply = reply_to(asked)
    if asked.type == dns.rdatatype.A:
        add(reply.answer, asked.name, asked.upstream.ttl, "A", *[f"10.77.{n // 250}.{n % 250 + 1}" for n in range(200)])
    else:
        add(reply.answer, asked.name, asked.upstream.ttl, "TXT", *['"%03d %s"' % (n, "x" * 200) for n in range(100)])
    return [Send(fit(reply, asked))]


def mode_medium(asked):
    """Between 512 and 1,232 bytes."""
    reply = reply_to(asked)
    add(reply.answer, asked.name, asked.upstream.ttl, "A", *[f"10.78.0.{n + 1}" for n in range(50)])
    return [Send(fit(reply, asked))]


def mode_ttl(asked):
    return [Send(fill(reply_to(asked), asked, ttl=int(asked.args or 0)))]


def mode_ttl_negative(asked):
    wire = bytearray(fill(reply_to(asked), asked).to_wire())
    at = wire.rfind(struct.pack("!I", asked.upstream.ttl))
    wire[at:at + 4] = b"\x80\x00\x00\x01"
    return [Send(bytes(wire))]


def mode_mixed_ttl(asked):
    reply = reply_to(asked)
    add(reply.answer, asked.name, 30, "A", "10.79.0.1")
    wire = bytearray(reply.to_wire())
    wire[6:8] = b"\x00\x02"
    opt = asked.message.edns >= 0
    tail = bytes(wire[-11:]) if opt else b""
    body = bytes(wire[:-11]) if opt else bytes(wire)
    return [Send(body + b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x0b\xb8\x00\x04\x0a\x4f\x00\x02" + tail)]


def mode_duplicate(asked):
    wire = bytearray(forged(asked))
    record = b"\xc0\x0c" + a_tail()
    at = 12 + len(question_wire(asked)) + len(record)
    wire[6:8] = b"\x00\x02"
    return [Send(bytes(wire[:at]) + record + bytes(wire[at:]))]


def mode_ede(asked):
    reply = reply_to(asked, dns.rcode.SERVFAIL)
    if asked.message.edns >= 0:
        reply.use_edns(0, 0, UDP_MAX_BYTES, options=[dns.edns.EDEOption(dns.edns.EDECode(6), "signature is bogus")])
    return [Send(reply)]


def flag_mode(flag):
    def mode(asked):
        reply = fill(reply_to(asked), asked)
        reply.flags |= flag
        return [Send(fit(reply, asked))]
    return mode


def mode_no_ra(asked):
    reply = fill(reply_to(asked), asked)
    reply.flags &= ~dns.flags.RA
    return [Send(reply)]


def mode_options(asked):
    """Hop-by-hop and unknown options of the upstream's own: none may reach a client."""
    reply = fill(reply_to(asked), asked)
    if asked.message.edns >= 0:
        reply.use_edns(0, 0, UDP_MAX_BYTES, options=[
            dns.edns.GenericOption(3, b"upstream"), dns.edns.GenericOption(100, b"unknown"),
            dns.edns.GenericOption(11, b"\x00\x64"), dns.edns.GenericOption(12, b"\x00" * 8)])
    return [Send(reply)]


# name: (how it answers, what it is); a value after "=" arrives as asked.args
MODES = {
    "answer": (mode_answer, "an address for any name, computed from the name"),
    "nxdomain": (mode_nxdomain, "no such name, with SOA"),
    "nodata": (mode_nodata, "no such type, with SOA"),
    "nxdomain-no-soa": (rcode_mode(dns.rcode.NXDOMAIN), "no such name, no SOA"),
    "nodata-no-soa": (rcode_mode(dns.rcode.NOERROR), "nothing at all"),
    "servfail": (rcode_mode(dns.rcode.SERVFAIL), "SERVFAIL"),
    "refused": (rcode_mode(dns.rcode.REFUSED), "REFUSED"),
    "notimp": (rcode_mode(dns.rcode.NOTIMP), "NOTIMP"),
    "formerr": (rcode_mode(dns.rcode.FORMERR), "FORMERR"),
    "formerr-on-edns": (mode_formerr_on_edns, "a bare FORMERR while there is an OPT"),
    "no-edns": (mode_no_edns, "answers, leaves the OPT out"),
    "badvers": (mode_badvers, "BADVERS"),
    "tc-then-tcp": (mode_tc_then_tcp, "TC over UDP, the answer over TCP"),
    "tc-with-records": (mode_tc_with_records, "TC with some records, all over TCP"),
    "tc-loop": (mode_tc_loop, "TC over TCP too"),
    "tc-tcp-close": (tc_then(lambda asked: [CLOSE]), "TC, then TCP closes"),
    "tc-tcp-hang": (tc_then(lambda asked: []), "TC, then TCP says nothing"),
    "tc-tcp-half": (tc_then(mode_tcp_half), "TC, then half a message"),
    "tcp-only": (mode_tcp_only, "silent over UDP"),
    "timeout": (lambda asked: [], "silent"),
    "first-lost": (mode_first_lost, "the first question over each transport is lost"),
    "servfail-first": (mode_servfail_first, "SERVFAIL, then the answer"),
    "slow": (mode_slow, "the answer after that many ms"),
    "wrong-case": (mode_wrong_case, "the question comes back in lower case"),
    "other-port-then-right": (mode_other_port_then_right, "a forgery from another port, then the answer"),
    "unknown-type": (mode_unknown_type, "opaque data of the asked type"),
    "cname": (mode_cname, "an alias of an alias of an alias"),
    "cname-own": (mode_cname_own, "an alias into our zone, with a forged address"),
    "poison": (mode_poison, "records of names not asked for"),
    "large": (mode_large, "more than 1,232 bytes"),
    "medium": (mode_medium, "more than 512 bytes"),
    "ttl": (mode_ttl, "that TTL (0 if not told)"),
    "ttl-negative": (mode_ttl_negative, "a TTL with the top bit set"),
    "mixed-ttl": (mode_mixed_ttl, "one set of records with two TTLs"),
    "duplicate": (mode_duplicate, "the same record twice"),
    "ede": (mode_ede, "SERVFAIL with an extended error"),
    "ad": (flag_mode(dns.flags.AD), "claims to have validated"),
    "aa": (flag_mode(dns.flags.AA), "claims authority"),
    "no-ra": (mode_no_ra, "does not offer recursion"),
    "options": (mode_options, "EDNS options of its own"),
}
for _name, _lie in LIES.items():
    MODES[_name] = (lambda asked, lie=_lie: [Send(lie(asked))], f"only a lie: {_name}")
    MODES[f"{_name}-then-right"] = (lambda asked, lie=_lie: [Send(lie(asked)), right(asked, LATER_S)],
                                    f"{_name}, then the answer")


class FakeUpstream(LoopThread):
    """The resolver. `records` are texts by (name, type); every other name has a computed address."""

    def __init__(self, listen="127.0.0.1:0", mode="answer", records=None, ttl=300, control=None):
        super().__init__()
        self.host, _, port = listen.rpartition(":")
        self.host = self.host.strip("[]")
        self.port = int(port)
        self.default_mode = mode
        self.modes = {}
        self.records = {}
        self.ttl = ttl
        self.log = []
        self.control_spec = control
        self.control_address = None
        self.control_server = None
        self.tcp_server = None
        self.udp = None
        self.other_udp = None
        self.check(mode)
        for (name, rdtype), texts in (records or {}).items():
            self.set_records(name, rdtype, *texts)

    @staticmethod
    def check(mode):
        if mode.partition("=")[0] not in MODES:
            raise ValueError(f"unknown mode {mode!r}; there are: {', '.join(sorted(MODES))}")

    @property
    def address(self):
        return f"{self.host}:{self.port}"

    def set_mode(self, mode, name=None):
        """For one name, or for all that have none of their own."""
        self.check(mode)

        def apply():
            if name is None:
                self.default_mode = mode
            else:
                self.modes[dns.name.from_text(name).to_text().lower()] = mode

        self.call(apply)

    def set_records(self, name, rdtype, *texts):
        self.call(self.records.__setitem__, (dns.name.from_text(name).to_text().lower(), rdtype), texts)

    def queries(self, name=None, **match):
        """The log: dicts with name, type, protocol, port, id, has_edns, payload, do, ad, cd, rd, time."""

        def look():
            wanted = dns.name.from_text(name).to_text().lower() if name else None
            return [dict(entry) for entry in self.log if (wanted is None or entry["name"] == wanted)
                    and all(entry.get(key) == value for key, value in match.items())]

        return self.call(look)

    def count(self, name=None, **match):
        return len(self.queries(name, **match))

    def clear_log(self):
        self.call(self.log.clear)

    def down(self):
        """Closes the sockets: questions meet ICMP and refused connections."""
        self.wait(self.unlisten())

    def up(self):
        self.wait(self.listen())

    # ---- sockets ----

    async def open(self):
        await self.listen()
        if self.control_spec:
            host, _, port = self.control_spec.rpartition(":")
            self.control_server = await serve_control(host, int(port), self.control)
            self.control_address = "http://%s:%d" % self.control_server.sockets[0].getsockname()[:2]

    async def listen(self):
        """UDP and TCP on one port; the kernel chooses it when told 0, until both are free."""
        for _ in range(50):
            self.tcp_server = await asyncio.start_server(self.on_tcp, self.host, self.port)
            port = self.tcp_server.sockets[0].getsockname()[1]
            try:
                self.udp, _ = await self.loop.create_datagram_endpoint(lambda: Udp(self), (self.host, port))
            except OSError:
                self.tcp_server.close()
                if self.port:
                    raise
                continue
            self.port = port
            self.other_udp, _ = await self.loop.create_datagram_endpoint(asyncio.DatagramProtocol, (self.host, 0))
            return
        raise OSError("no port is free for both UDP and TCP")

    async def unlisten(self):
        if self.udp:
            self.udp.close()
            self.other_udp.close()
            self.tcp_server.close()
            await self.tcp_server.wait_closed()
            self.udp = None
            await asyncio.sleep(0)

    async def close(self):
        await self.unlisten()
        if self.control_server:
            self.control_server.close()

    async def on_tcp(self, reader, writer):
        peer = writer.get_extra_info("peername")
        sending = set()
        try:
            while True:
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                wire = await reader.readexactly(length)
                task = self.loop.create_task(self.answer_tcp(wire, peer, writer))
                sending.add(task)
                task.add_done_callback(sending.discard)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            for task in sending:
                task.cancel()
            writer.close()

    async def answer_tcp(self, wire, peer, writer):
        for send in self.judge(wire, "tcp", peer):
            if send is CLOSE:
                writer.close()
                return
            await asyncio.sleep(send.delay_s)
            writer.write(struct.pack("!H", len(send.data)) + send.data)

    def on_udp(self, wire, peer):
        for send in self.judge(wire, "udp", peer):
            if send is CLOSE:
                continue
            transport = self.other_udp if send.is_other_port else self.udp
            self.loop.call_later(send.delay_s, lambda t=transport, s=send: t.is_closing() or t.sendto(s.data, peer))

    # ---- one question ----

    def judge(self, wire, protocol, peer):
        """Logs it and has its mode answer."""
        try:
            asked = Asked(self, wire, protocol, peer)
        except Exception as error:  # dnspython raises many kinds; a bad question is a finding of its own
            self.log.append({"name": None, "protocol": protocol, "error": repr(error), "wire": wire.hex()})
            return []
        message = asked.message
        mode, _, asked.args = self.mode_of(asked.name).partition("=")
        self.log.append({
            "name": asked.key, "case": asked.name.to_text(), "type": dns.rdatatype.to_text(asked.type),
            "protocol": protocol, "port": peer[1], "id": message.id, "mode": mode, "time": time.monotonic(),
            "opcode": dns.opcode.to_text(message.opcode()), "has_edns": message.edns >= 0, "payload": message.payload,
            "options": [int(option.otype) for option in message.options], "do": bool(message.ednsflags & dns.flags.DO),
            "rd": bool(message.flags & dns.flags.RD), "ad": bool(message.flags & dns.flags.AD),
            "cd": bool(message.flags & dns.flags.CD),
        })
        return MODES[mode][0](asked)

    def mode_of(self, name):
        known = self.modes.get(name.to_text().lower())
        if known:
            return known
        if name.is_subdomain(MODE_ZONE) and len(name) > len(MODE_ZONE):
            label = name.labels[-len(MODE_ZONE) - 1].decode("ascii", "replace").lower()
            if label.partition("=")[0] in MODES:
                return label
        return self.default_mode

    def control(self, request):
        action = (request.method, request.path)
        if action == ("POST", "/control/mode"):
            body = json.loads(request.body)
            self.set_mode(body["mode"], body.get("name"))
            return {}
        if action == ("GET", "/control/log"):
            return self.log
        if action == ("DELETE", "/control/log"):
            self.log.clear()
            return {}
        if action == ("GET", "/control/counts"):
            return dict(collections.Counter(f"{entry['name']} {entry.get('type')}" for entry in self.log))
        raise LookupError(f"{request.method} {request.path} is not here")


class Udp(asyncio.DatagramProtocol):
    def __init__(self, upstream):
        self.upstream = upstream

    def datagram_received(self, data, addr):
        self.upstream.on_udp(data, addr)


def main():
    parser = argparse.ArgumentParser(description="A resolver that answers as it is told.")
    parser.add_argument("--listen", default="127.0.0.1:0", help="HOST:PORT, UDP and TCP")
    parser.add_argument("--mode", default="answer", help="; ".join(f"{name}: {row[1]}" for name, row in MODES.items()))
    parser.add_argument("--record", action="append", default=[], metavar="NAME TYPE TEXT", help="repeatable")
    parser.add_argument("--ttl", type=int, default=300)
    parser.add_argument("--control", default="127.0.0.1:0", help="HOST:PORT of the control channel")
    args = parser.parse_args()
    upstream = FakeUpstream(listen=args.listen, mode=args.mode, ttl=args.ttl, control=args.control)
    for text in args.record:
        name, rdtype, data = text.split(" ", 2)
        upstream.set_records(name, rdtype, data)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    with upstream:
        print(f"listening {upstream.address}", flush=True)
        print(f"control {upstream.control_address}", flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    main()
