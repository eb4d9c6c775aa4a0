"""How the scripted upstream answers: one row of MODES per way of answering, with what a forwarder should make of it.

A row says what goes out, what the client of a forwarder in between should see (REPLIES of forward_proof.py), whether
that may be answered from the cache the second time (None: either way is right), and how many questions may come
upstream over UDP and TCP before the client has its reply. A new case is a row, and the function that sends it.
"""

import collections
import random
import struct
import zlib

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset

UDP_MAX_BYTES = 1232
MODE_ZONE = dns.name.from_text("mode.test.")
LATER_S = 0.2  # between the lie and the truth
CLOSE = object()  # sent in place of bytes: end the TCP connection
VICTIM = "victim.example."
OWN = "redis.default.nomad."
LIE = "203.0.113.66"


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


def mode_no_edns(asked):
    reply = fill(reply_to(asked), asked)
    reply.use_edns(False)
    return [Send(fit(reply, asked))]


def without_edns_right(rcode):
    """A bare refusal of any question with an OPT."""
    def mode(asked):
        if asked.message.edns < 0:
            return [right(asked)]
        return [Send(struct.pack("!HHHHHH", asked.message.id, 0x8080 | rcode, 0, 0, 0, 0))]
    return mode


def mode_edns_silent(asked):
    return [] if asked.message.edns >= 0 else [right(asked)]


def mode_badvers_on_edns(asked):
    return mode_badvers(asked) if asked.message.edns >= 0 else [right(asked)]


def mode_edns_size(asked):
    """An OPT that claims to take as many bytes as it is told."""
    reply = fill(reply_to(asked), asked)
    if asked.message.edns >= 0:
        reply.use_edns(0, 0, int(asked.args or 0))
    return [Send(fit(reply, asked))]


def mode_edns_version(asked):
    wire = fill(reply_to(asked), asked)
    if asked.message.edns >= 0:
        wire.use_edns(1, 0, UDP_MAX_BYTES)
    return [Send(fit(wire, asked))]


def mode_two_opts(asked):
    wire = fill(reply_to(asked), asked).to_wire()
    if asked.message.edns < 0:
        return [Send(wire)]
    counts = struct.unpack_from("!4H", wire, 4)
    return [Send(wire[:4] + struct.pack("!4H", *counts[:3], counts[3] + 1) + wire[12:] + wire[-11:])]


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


def mode_tc_records_tcp_close(asked):
    """Half an answer over UDP, and no other half: what came must not pass for the whole."""
    if not asked.is_udp:
        return [CLOSE]
    reply = fill(reply_to(asked), asked)
    reply.flags |= dns.flags.TC
    return [Send(reply)]


def mode_oversize(asked):
    """Three kilobytes over UDP, whatever was asked for: in fragments, where the network has them."""
    reply = reply_to(asked)
    add(reply.answer, asked.name, asked.upstream.ttl, "A", *[f"10.81.{n // 250}.{n % 250 + 1}" for n in range(190)])
    return [Send(reply)]


def mode_tcp_only(asked):
    return [] if asked.is_udp else [right(asked)]


def mode_loss(asked):
    """That many of a hundred answers over UDP are lost."""
    asked.upstream.dice = getattr(asked.upstream, "dice", None) or random.Random(1)
    lost = asked.is_udp and asked.upstream.dice.randrange(100) < int(asked.args or 20)
    return [] if lost else [right(asked)]


def mode_hold(asked):
    """Held back until release()."""
    return [Send(right(asked).data, delay_s=None)]


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
        add(reply.answer, name or asked.name, 300, "A", LIE)
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
    "wrong-class": lambda asked: in_class_chaos(forged(asked), asked),
    "two-questions": lambda asked: header(asked, 2, 1) + question_wire(asked) + b"\x01z\x00\x00\x01\x00\x01" + b"\xc0\x0c" + a_tail(),
    "header-only": lambda asked: header(asked, 0, 0),
    "label-64": lambda asked: header(asked, 1, 1) + question_wire(asked) + b"\x40" + b"a" * 64 + b"\x00" + a_tail(),
}


def in_class_chaos(wire, asked):
    at = 12 + len(question_wire(asked)) - 2
    return wire[:at] + b"\x00\x03" + wire[at + 2:]


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


def mode_case_guessed(asked):
    """A forger who knows everything but the case of the question as it went out (0x20)."""
    if not asked.is_udp or asked.nth() > 1:
        return [right(asked)]
    return [Send(forged(asked, dns.name.from_text(asked.key))), right(asked, LATER_S)]


def mode_other_port_then_right(asked):
    if not asked.is_udp:
        return [right(asked)]
    return [Send(forged(asked), is_other_port=True), right(asked, LATER_S)]


def mode_cross_socket(asked):
    """To this question's socket: a forgery that fits the newest other question under way, id and name alike."""
    sends = [right(asked, LATER_S)]
    others = [entry for entry in asked.upstream.log if entry["mode"] == "slow" and entry["protocol"] == "udp"]
    if others and asked.is_udp:
        query = dns.message.make_query(others[-1]["case"], "A")
        query.id = others[-1]["id"]
        reply = dns.message.make_response(query, recursion_available=True)
        add(reply.answer, dns.name.from_text(others[-1]["case"]), 300, "A", LIE)
        sends.insert(0, Send(reply))
    return sends


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
    add(reply.answer, asked.name, 300, "CNAME", OWN)
    add(reply.answer, dns.name.from_text(OWN), 300, "A", LIE)
    return [Send(reply)]


def mode_cname_loop(asked):
    reply = reply_to(asked)
    add(reply.answer, asked.name, 300, "CNAME", "loop.example.")
    add(reply.answer, dns.name.from_text("loop.example."), 300, "CNAME", asked.name.to_text())
    return [Send(reply)]


def cname_chain(count, backwards=False):
    def mode(asked):
        reply = reply_to(asked)
        hops = [asked.name] + [dns.name.from_text(f"hop{number}.test.") for number in range(1, count + 1)]
        for here, there in zip(hops, hops[1:]):
            add(reply.answer, here, 300, "CNAME", there.to_text())
        fill(reply, asked, hops[-1])
        if backwards:
            reply.answer.reverse()
        return [Send(fit(reply, asked))]
    return mode


def mode_cname_long(asked):
    """More hops than anybody has."""
    reply = reply_to(asked)
    hops = [asked.name] + [dns.name.from_text(f"hop{number}.example.net.") for number in range(1, 40)]
    for here, there in zip(hops, hops[1:]):
        add(reply.answer, here, 300, "CNAME", there.to_text())
    fill(reply, asked, hops[-1])
    return [Send(fit(reply, asked))]


def mode_unrelated(asked):
    """The right question, and then an address of some other name."""
    reply = reply_to(asked)
    add(reply.answer, dns.name.from_text(VICTIM), 3600, "A", LIE)
    return [Send(reply)]


def mode_poison(asked):
    """Beside the answer: records of a name that was not asked for, in the section told, or in each."""
    reply = fill(reply_to(asked), asked)
    sections = [asked.args] if asked.args else ["answer", "authority", "additional"]
    for section in sections:
        add(getattr(reply, section), dns.name.from_text(VICTIM), 3600, "A", LIE)
    if "authority" in sections:
        add(reply.authority, dns.name.from_text("example."), 3600, "NS", "ns.evil.example.")
        add(reply.additional, dns.name.from_text("ns.evil.example."), 3600, "A", LIE)
    return [Send(reply)]


def mode_junk_first(asked):
    """In each section something of another name, then what belongs there."""
    reply = reply_to(asked)
    victim = dns.name.from_text(VICTIM)
    add(reply.answer, victim, 3600, "A", LIE)
    fill(reply, asked)
    add(reply.authority, dns.name.from_text("example."), 3600, "NS", "ns.evil.example.")
    add(reply.authority, MODE_ZONE, 300, "NS", "ns.mode.test.")
    add(reply.additional, victim, 3600, "A", LIE)
    add(reply.additional, dns.name.from_text("ns.mode.test."), 300, "A", "192.0.2.53")
    return [Send(reply)]


def mode_uncompressed(asked):
    """Two addresses, whose owner is written out each time as the question came."""
    record = asked.name.to_wire() + a_tail()[:-4]
    addresses = [bytes(int(part) for part in address_of(asked.name).split(".")), bytes([192, 0, 2, 1])]
    return [Send(header(asked, 1, 2) + question_wire(asked) + b"".join(record + address for address in addresses))]


def mode_poison_own(asked):
    """Beside the answer: an address for a name of ours."""
    reply = fill(reply_to(asked), asked)
    add(reply.answer, dns.name.from_text(OWN), 300, "A", LIE)
    add(reply.additional, dns.name.from_text(OWN), 300, "A", LIE)
    return [Send(reply)]


def mode_foreign_soa(asked):
    """A negative answer with the SOA of a zone that the name is not in."""
    reply = reply_to(asked, dns.rcode.NXDOMAIN)
    add(reply.authority, dns.name.from_text(VICTIM), 3600, "SOA", "ns.evil.example. a.evil.example. 1 1 1 1 3600")
    return [Send(reply)]


def mode_kilobytes(asked):
    """TXT records, as many thousand bytes as told."""
    reply = reply_to(asked)
    for number in range(int(asked.args or 4) * 1000 // 212):
        add(reply.answer, asked.name, asked.upstream.ttl, "TXT", '"%04d %s"' % (number, "x" * 190))
    return [Send(fit(reply, asked))]


def mode_addresses(asked):
    """One set of that many addresses."""
    reply = reply_to(asked)
    count = int(asked.args or 100)
    add(reply.answer, asked.name, asked.upstream.ttl, "A", *[f"10.80.{n // 250}.{n % 250 + 1}" for n in range(count)])
    return [Send(fit(reply, asked))]


def mode_dnskey(asked):
    """Keys and their signature, as many thousand bytes as told (KeyTrap's shape)."""
    reply = reply_to(asked)
    for number in range(int(asked.args or 4) * 1000 // 300):
        reply.answer.append(dns.rrset.from_rdata(asked.name, 300, dns.rdata.GenericRdata(
            dns.rdataclass.IN, dns.rdatatype.DNSKEY, struct.pack("!HBB", 256, 3, 8) + struct.pack("!H", number) * 128)))
    return [Send(fit(reply, asked))]


def mode_glue(asked):
    """Name servers of the name, their addresses, and one nobody has named."""
    reply = reply_to(asked)
    add(reply.answer, asked.name, 300, "NS", "ns1.example.net.", "ns2.example.net.")
    for name, address in (("ns1", "192.0.2.1"), ("evil", LIE), ("ns2", "192.0.2.2")):
        add(reply.additional, dns.name.from_text(f"{name}.example.net."), 300, "A", address)
    return [Send(reply)]


def mode_ghost(asked):
    """With each answer the name servers of its zone, for longer each time (Phoenix domains)."""
    reply = fill(reply_to(asked), asked, ttl=60)
    if asked.type == dns.rdatatype.A:
        add(reply.authority, MODE_ZONE, 86400 + len(asked.upstream.log), "NS", "ns.mode.test.")
        add(reply.additional, dns.name.from_text("ns.mode.test."), 86400, "A", LIE)
    return [Send(reply)]


def mode_ecs(asked):
    """A client subnet (RFC 7871) that nobody has asked for, and an answer for that subnet only."""
    reply = fill(reply_to(asked), asked)
    if asked.message.edns >= 0:
        reply.use_edns(0, 0, UDP_MAX_BYTES, options=[dns.edns.ECSOption("192.0.2.0", 24, 24)])
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


def mode_ttl_long(asked):
    return [Send(fill(reply_to(asked), asked, ttl=604800))]


def mode_ttl_negative(asked):
    wire = bytearray(fill(reply_to(asked), asked).to_wire())
    at = wire.rfind(struct.pack("!I", asked.upstream.ttl))
    wire[at:at + 4] = b"\x80\x00\x00\x01"
    return [Send(bytes(wire))]


def mode_mixed_ttl(asked):
    """The TTL told (30), and 3,000."""
    reply = reply_to(asked)
    add(reply.answer, asked.name, int(asked.args or 30), "A", "10.79.0.1")
    wire = bytearray(reply.to_wire())
    wire[6:8] = b"\x00\x02"
    opt = asked.message.edns >= 0
    tail = bytes(wire[-11:]) if opt else b""
    body = bytes(wire[:-11]) if opt else bytes(wire)
    return [Send(body + b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x0b\xb8\x00\x04\x0a\x4f\x00\x02" + tail)]


def mode_duplicate(asked):
    """The same record three times over."""
    wire = fill(reply_to(asked), asked).to_wire()
    at = 12 + len(question_wire(asked))
    record = wire[at:at + 16]
    return [Send(wire[:6] + b"\x00\x03" + wire[8:at] + record * 3 + wire[at + 16:])]


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


def mode_referral(asked):
    reply = reply_to(asked)
    reply.flags &= ~dns.flags.RA
    add(reply.authority, asked.name.parent(), 300, "NS", "ns.example.net.")
    return [Send(reply)]


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


# ---- the table ----

# send: how it answers. text: in words. reply: what the client should see. is_cached: the second time nobody is asked.
# udp, tcp: questions allowed upstream meanwhile. before: what is done to the upstream first. rdtype: what is asked.
Mode = collections.namedtuple("Mode", "send text reply is_cached udp tcp before rdtype",
                              defaults=["right", True, 3, 0, None, "A"])

# A value after "=" arrives as asked.args.
MODES = {
    # honest
    "answer": Mode(mode_answer, "an address for any name, computed from the name", udp=1),
    "nxdomain": Mode(mode_nxdomain, "no such name, with SOA", "nxdomain", udp=1),
    "nodata": Mode(mode_nodata, "no such type, with SOA", "nodata", udp=1),
    "nxdomain-no-soa": Mode(rcode_mode(dns.rcode.NXDOMAIN), "no such name, no SOA", "nxdomain", False, 1),
    "nodata-no-soa": Mode(rcode_mode(dns.rcode.NOERROR), "nothing at all", "nodata", False, 1),
    "cname": Mode(mode_cname, "an alias of an alias of an alias", "aliased", udp=1),
    "unknown-type": Mode(mode_unknown_type, "opaque data of the asked type", "opaque", udp=1, rdtype="TYPE65280"),
    "ad": Mode(flag_mode(dns.flags.AD), "claims to have validated", udp=1),
    "aa": Mode(flag_mode(dns.flags.AA), "claims authority", udp=1),
    "no-ra": Mode(mode_no_ra, "does not offer recursion", is_cached=None),
    "options": Mode(mode_options, "EDNS options of its own", "no-options", udp=1),
    "ttl": Mode(mode_ttl, "that TTL (0 if not told)", is_cached=False, udp=1),
    "ttl-long": Mode(mode_ttl_long, "a TTL of a week", udp=1),
    "ttl-negative": Mode(mode_ttl_negative, "a TTL with the top bit set", is_cached=False, udp=1),
    "mixed-ttl": Mode(mode_mixed_ttl, "one set of records with two TTLs", "one-ttl", udp=1),
    "duplicate": Mode(mode_duplicate, "the same record three times", "single", udp=1),
    "ede": Mode(mode_ede, "SERVFAIL with an extended error", "ede", None, 3, 3),
    "ecs": Mode(mode_ecs, "a client subnet option that nobody asked for", "no-options", udp=1),
    "glue": Mode(mode_glue, "name servers, their addresses, and a stranger's", "glue", udp=1, rdtype="NS"),
    "ghost": Mode(mode_ghost, "with each answer the zone's name servers, for longer each time", "no-ghost", udp=1),
    # failures, said
    "servfail": Mode(rcode_mode(dns.rcode.SERVFAIL), "SERVFAIL", "failure", True, 3, 3),
    "servfail-first": Mode(mode_servfail_first, "SERVFAIL, then the answer", "right-or-failure", None, 3, 1),
    "refused": Mode(rcode_mode(dns.rcode.REFUSED), "REFUSED", "failure", True, 3, 3),
    "notimp": Mode(rcode_mode(dns.rcode.NOTIMP), "NOTIMP", "failure", True, 3, 3),
    "formerr": Mode(rcode_mode(dns.rcode.FORMERR), "FORMERR", "failure", True, 3, 3),
    "notauth": Mode(rcode_mode(dns.rcode.NOTAUTH), "NOTAUTH", "failure", True, 3, 3),
    "referral": Mode(mode_referral, "no recursion, and who may know", "servfail", True, 3, 3),
    # EDNS
    "formerr-on-edns": Mode(without_edns_right(1), "a bare FORMERR while there is an OPT", udp=3, tcp=1),
    "notimp-on-edns": Mode(without_edns_right(4), "a bare NOTIMP while there is an OPT", udp=3, tcp=1),
    "badvers-on-edns": Mode(mode_badvers_on_edns, "BADVERS while there is an OPT", "right-or-failure", None, 3, 3),
    "badvers": Mode(mode_badvers, "BADVERS", "servfail", True, 3, 3),
    "no-edns": Mode(mode_no_edns, "answers, leaves the OPT out", udp=1),
    "edns-silent": Mode(mode_edns_silent, "silent while there is an OPT", "right-or-failure", None, 3, 3),
    "edns-size": Mode(mode_edns_size, "an OPT that takes as many bytes as told (0)", udp=1),
    "edns-version": Mode(mode_edns_version, "an OPT of version 1", "right-or-failure", None, 3, 3),
    "two-opts": Mode(mode_two_opts, "two OPTs", "failure", None, 3, 3),
    # TCP
    "tc-then-tcp": Mode(mode_tc_then_tcp, "TC over UDP, the answer over TCP", tcp=1),
    "tc-with-records": Mode(mode_tc_with_records, "TC with some records, all over TCP", "with-more", tcp=1),
    "tc-loop": Mode(mode_tc_loop, "TC over TCP too", "failure", None, 3, 3),
    "tc-tcp-close": Mode(tc_then(lambda asked: [CLOSE]), "TC, then TCP closes", "failure", None, 3, 3),
    "tc-tcp-hang": Mode(tc_then(lambda asked: []), "TC, then TCP says nothing", "failure", None, 3, 3),
    "tc-tcp-half": Mode(tc_then(mode_tcp_half), "TC, then half a message", "failure", None, 3, 3),
    "tc-tcp-refused": Mode(mode_tc_loop, "TC, and nobody listens on TCP", "failure", None, 3, 3, "refuse_tcp"),
    "tc-records-tcp-close": Mode(mode_tc_records_tcp_close, "TC with some records, then TCP closes", "failure", None, 3, 3),
    "oversize": Mode(mode_oversize, "three kilobytes over UDP that nobody asked for", "many", None, 3, 3),
    "tcp-only": Mode(mode_tcp_only, "silent over UDP", udp=3, tcp=3),
    # silence
    "timeout": Mode(lambda asked: [], "silent", "failure", True, 3, 3),
    "icmp": Mode(lambda asked: [], "nobody listens at all", "failure", None, 0, 0, "down"),
    "first-lost": Mode(mode_first_lost, "the first question over each transport is lost", udp=3, tcp=3),
    "loss": Mode(mode_loss, "that many of a hundred answers over UDP are lost", udp=3, tcp=3),
    "slow": Mode(mode_slow, "the answer after that many ms", udp=3, tcp=3),
    "hold": Mode(mode_hold, "the answer once it is released", None, None),
    # lies that come before the truth, or beside it
    "wrong-case": Mode(mode_wrong_case, "the question comes back in lower case", udp=3, tcp=1),
    "case-guessed-then-right": Mode(mode_case_guessed, "a forgery in lower case, then the answer", udp=3, tcp=1),
    "other-port-then-right": Mode(mode_other_port_then_right, "a forgery from another port, then the answer"),
    "other-port": Mode(lambda asked: [Send(forged(asked), is_other_port=True)] if asked.is_udp else [],
                       "only a forgery from another port", "failure", None, 3, 3),
    "cross-socket-then-right": Mode(mode_cross_socket, "a forgery for another question under way, to this one's socket",
                                    "cross"),
    "cname-own": Mode(mode_cname_own, "an alias into our zone, with a forged address", "no-lie", None, 3, 1),
    "cname-loop": Mode(mode_cname_loop, "an alias of itself", "no-lie", None, 3, 3),
    "cname-long": Mode(mode_cname_long, "forty aliases in a row", "servfail", True, 3, 3),
    "cname-thirty": Mode(cname_chain(30), "thirty aliases in a row", "chained", udp=1),
    "cname-backwards": Mode(cname_chain(12, backwards=True), "twelve aliases, the last one first", "chained", udp=1),
    "unrelated": Mode(mode_unrelated, "the address of some other name", "no-lie", None, 3, 3),
    "poison": Mode(mode_poison, "records of names not asked for, in the section told or in each", "clean", udp=1),
    "junk-first": Mode(mode_junk_first, "in each section something of another name, then what belongs there",
                       "good-beside-junk", udp=1),
    "uncompressed": Mode(mode_uncompressed, "owners written out in the case of the question", "our-case", udp=1),
    "poison-own": Mode(mode_poison_own, "records of a name of ours", "clean", None, 3, 1),
    "foreign-soa": Mode(mode_foreign_soa, "a negative answer with the SOA of another zone", "clean-negative", None, 3, 3),
    # size
    "medium": Mode(mode_medium, "more than 512 bytes", "many", udp=1),
    "large": Mode(mode_large, "more than 1,232 bytes", "many", tcp=1),
    "kilobytes": Mode(mode_kilobytes, "that many thousand bytes", "many", tcp=1, rdtype="TXT"),
    "addresses": Mode(mode_addresses, "one set of that many addresses", "many", tcp=1),
    "dnskey": Mode(mode_dnskey, "that many thousand bytes of keys", "many", tcp=1, rdtype="DNSKEY"),
}
for _name, _lie in LIES.items():
    MODES[_name] = Mode(lambda asked, lie=_lie: [Send(lie(asked))], f"only a lie: {_name}", "failure", None, 3, 3)
    MODES[f"{_name}-then-right"] = Mode(lambda asked, lie=_lie: [Send(lie(asked)), right(asked, LATER_S)],
                                        f"{_name}, then the answer", tcp=1)
    # In a stream nobody but the upstream can have said it: it is not waited for anything better there.
    MODES[f"tcp-{_name}"] = Mode(tc_then(lambda asked, lie=_lie: [Send(lie(asked))]), f"TC, then {_name} over TCP", "failure",
                                 None, 3, 3)

# What is proven: each mode as it is, or with these values.
VALUES = {"slow": [100, 1000, 3000], "ttl": [0], "loss": [20, 50], "poison": ["answer", "authority", "additional"],
          "kilobytes": [4, 60], "addresses": [100, 4090], "dnskey": [4, 60], "edns-size": [0, 512, 65535], "hold": []}
CASES = [case for name in MODES for case in ([f"{name}={value}" for value in VALUES[name]] if name in VALUES else [name])]
