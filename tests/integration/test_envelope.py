"""The envelope: what a message gets for its form, whatever it asks. One test for each row of the contract."""

import os
import random
import socket
import struct
import time

import pytest
from harness import (Client, assert_nodata, assert_nxdomain, assert_records, bare_header, eventually, extended_errors, rcode,
                     records)

import dns.edns
import dns.flags
import dns.message
import dns.rcode

FORMERR, NOTIMP, REFUSED = 1, 4, 5
NSID, COOKIE = 3, 10


def instance(name, address, port=8080, **more):
    return {"ServiceName": name, "Address": address, "Port": port, **more}


SERVICES = [
    *[instance("mid", f"10.47.0.{n}", 8000 + n) for n in range(1, 23)],
    *[instance("big", f"10.48.0.{n}", 8000 + n) for n in range(1, 201)],
]


@pytest.fixture(scope="module")
def house(open_house):
    return open_house("--server-id=the-server", services=SERVICES)


@pytest.fixture(scope="module")
def ask(house):
    return house.client.ask


def wire_of(name="redis.default.nomad", rdtype="A", edns=False, **args):
    return dns.message.make_query(name, rdtype, use_edns=edns, **args).to_wire()


def opt(options=b"", version=0, flags=0, payload=1232, owner=b"\x00"):
    return owner + struct.pack("!HHBBHH", 41, payload, 0, version, flags, len(options)) + options


def option(code, data):
    return struct.pack("!HH", code, len(data)) + data


def with_additional(wire, *records_wire):
    return wire[:10] + struct.pack("!H", len(records_wire)) + wire[12:] + b"".join(records_wire)


# ---- not a question ----

@pytest.mark.parametrize("length", [0, 1, 2, 11])
def test_shorter_than_a_header_gets_nothing(house, length):
    assert house.client.exchange(wire_of()[:length], timeout=0.3) is None


def test_a_reply_gets_nothing(house):
    wire = bytearray(wire_of())
    wire[2] |= 0x80
    assert house.client.exchange(bytes(wire), timeout=0.3) is None
    wire[2] |= 0x28
    assert house.client.exchange(bytes(wire), timeout=0.3) is None


@pytest.mark.parametrize("opcode", [1, 2, 3, 4, 5, 6, 7, 15])
def test_other_opcodes_are_notimp_with_a_bare_header(house, opcode):
    wire = bytearray(wire_of(edns=0))
    wire[2] = wire[2] & 0x87 | opcode << 3
    bare_header(house.client.exchange(bytes(wire)), wire, NOTIMP)
    wire[4:6] = b"\x00\x07"
    bare_header(house.client.exchange(bytes(wire)), wire, NOTIMP)
    wire[2:4] = bytes([opcode << 3 | 0x07, 0xF0])
    reply = house.client.exchange(bytes(wire))
    bare_header(reply, wire, NOTIMP)


@pytest.mark.parametrize("wire", [
    pytest.param(wire_of()[:4] + b"\x00\x00" + wire_of()[6:12], id="no question"),
    pytest.param(wire_of()[:4] + b"\x00\x02" + wire_of()[6:] + wire_of()[12:], id="two questions"),
    pytest.param(wire_of()[:4] + b"\xff\xff" + wire_of()[6:], id="65535 questions"),
    pytest.param(wire_of() + b"garbage", id="trailing garbage"),
    pytest.param(with_additional(wire_of(), opt()) + b"\x00", id="trailing zero"),
    pytest.param(wire_of()[:12] + b"\xc0\x0c\x00\x01\x00\x01", id="pointer to itself"),
    pytest.param(wire_of()[:12] + b"\x05redis\xc0\x0c\x00\x01\x00\x01", id="pointer back"),
    pytest.param(wire_of()[:12] + b"\x05redis\xc0\xff\x00\x01\x00\x01", id="pointer forward"),
    pytest.param(wire_of()[:12] + b"\x40" + b"a" * 64 + b"\x00\x00\x01\x00\x01", id="label of 64"),
    pytest.param(wire_of()[:12] + b"\x80" + b"a" * 64 + b"\x00\x00\x01\x00\x01", id="label type 10"),
    pytest.param(wire_of()[:12] + (b"\x3f" + b"a" * 63) * 4 + b"\x00\x00\x01\x00\x01", id="name of 257"),
    pytest.param(wire_of()[:12] + b"\x05red", id="cut in the name"),
    pytest.param(wire_of()[:-3], id="cut in the type"),
    pytest.param(wire_of()[:10] + b"\x00\x01" + wire_of()[12:], id="promised OPT is missing"),
    pytest.param(with_additional(wire_of(), opt(option(COOKIE, b"1234567"))), id="cookie of 7"),
    pytest.param(with_additional(wire_of(), opt(option(COOKIE, b"123456789"))), id="cookie of 9"),
    pytest.param(with_additional(wire_of(), opt(option(COOKIE, b"1" * 41))), id="cookie of 41"),
])
def test_malformed_is_formerr_with_a_bare_header(house, wire):
    bare_header(house.client.exchange(wire), wire, FORMERR)


def test_no_question_with_a_cookie_is_answered(house):
    wire = with_additional(wire_of()[:4] + b"\x00\x00" + wire_of()[6:12], opt(option(COOKIE, b"12345678")))
    reply = dns.message.from_wire(house.client.exchange(wire))
    assert rcode(reply) == "NOERROR" and not reply.question
    assert cookie_of(reply)[:8] == b"12345678" and len(cookie_of(reply)) == 24


# ---- flags ----

def test_rd_0_is_served_and_comes_back_as_it_came(house, ask):
    for rd in (True, False):
        reply = ask("redis.default.nomad", rd=rd)
        assert rcode(reply) == "NOERROR" and bool(reply.flags & dns.flags.RD) == rd
        reply = ask(f"rd{rd}.example.org", rd=rd)
        assert rcode(reply) == "NOERROR" and bool(reply.flags & dns.flags.RD) == rd
    assert all(entry["rd"] for entry in house.upstream.queries())


@pytest.mark.parametrize("flag", [0x0400, 0x0020, 0x0010, 0x0080, 0x0200, 0x0040])
def test_odd_flags_change_nothing(house, flag):
    wire = bytearray(wire_of())
    struct.pack_into("!H", wire, 2, 0x0100 | flag)
    reply = dns.message.from_wire(house.client.exchange(bytes(wire)))
    assert_records(reply, "A", "192.168.29.76", "192.168.29.77")
    assert not reply.flags & 0x0040 and not reply.flags & dns.flags.TC


def test_zone_answers_never_claim_validation(ask):
    reply = ask("redis.default.nomad", want_dnssec=True)
    assert not reply.flags & dns.flags.AD


# ---- who and what ----

def test_asker_not_allowed_is_refused_18(start, nomad, upstream):
    client = Client(start("--allow=10.0.0.0/8", nomad=nomad.address, forward=upstream.address, until="ready"))
    for name in ("redis.default.nomad", "www.example.org"):
        reply = client.ask(name)
        assert rcode(reply) == "REFUSED" and 18 in extended_errors(reply) and not reply.answer
        query = wire_of(name)
        plain = client.exchange(query)
        assert len(plain) <= len(query) and plain[3] & 0x0F == REFUSED
        assert rcode(client.ask(name, tcp=True)) == "REFUSED"
    assert upstream.count() == 0


@pytest.mark.parametrize("name", ["version.bind", "version.server", "id.server", "hostname.bind", "VERSION.bind"])
def test_chaos_names_are_answered(ask, name):
    reply = ask(name, "TXT", rdclass="CH")
    assert rcode(reply) == "NOERROR" and len(records(reply, "TXT")) == 1


def test_chaos_says_who_we_are(ask):
    assert records(ask("id.server", "TXT", rdclass="CH"), "TXT") == ['"the-server"']
    assert "nomad-dns" in records(ask("version.bind", "TXT", rdclass="CH"), "TXT")[0]


def test_chaos_is_refused_with_hide_version(start, nomad):
    client = Client(start("--hide-version", nomad=nomad.address))
    assert rcode(client.ask("version.bind", "TXT", rdclass="CH")) == "REFUSED"


@pytest.mark.parametrize("rdclass", ["CH", "HS", "ANY", "CLASS65280"])
def test_other_classes_are_refused(ask, rdclass):
    assert rcode(ask("redis.default.nomad", "A", rdclass=rdclass)) == "REFUSED"


@pytest.mark.parametrize("rdtype", [252, 251])
def test_zone_transfers_are_refused(house, rdtype):
    for name in ("nomad", "redis.default.nomad", "example.org"):
        wire = wire_of(name)[:-4] + struct.pack("!HH", rdtype, 1)
        assert house.client.exchange(wire)[3] & 0x0F == REFUSED
        with house.client.connect() as connection:
            connection.send(wire)
            assert connection.receive()[3] & 0x0F == REFUSED
    assert not [entry for entry in house.upstream.queries() if entry["type"] in ("AXFR", "IXFR")]


# ---- EDNS ----

def test_edns_version_above_0_is_badvers(house):
    for options in (b"", option(100, b"x"), option(NSID, b""), option(COOKIE, b"12345678")):
        wire = house.client.exchange(with_additional(wire_of("nomad", "SOA"), opt(options, version=1)))
        reply = dns.message.from_wire(wire)
        assert reply.rcode() == dns.rcode.BADVERS and reply.edns == 0 and not reply.answer and not reply.authority


def test_two_opts_and_an_opt_off_the_root_are_formerr(house):
    for wire in (with_additional(wire_of(), opt(), opt()), with_additional(wire_of(), opt(owner=b"\x01x\x00"))):
        assert house.client.exchange(wire)[3] & 0x0F == FORMERR


@pytest.mark.parametrize("name, rdtype", [
    ("redis.default.nomad", "A"), ("redis.default.nomad", "TXT"), ("nosuch.default.nomad", "A"),
    ("www.example.org", "A"), ("x.nxdomain.mode.test", "A"), ("x.servfail.mode.test", "A"), ("x.no-edns.mode.test", "A"),
])
@pytest.mark.parametrize("wants_dnssec", [False, True])
def test_opt_is_echoed_with_our_size_and_do_as_asked(ask, name, rdtype, wants_dnssec):
    reply = ask(name, rdtype, want_dnssec=wants_dnssec, payload=4096)
    assert reply.edns == 0 and reply.payload == 1232
    assert reply.ednsflags & 0xFFFF == (0x8000 if wants_dnssec else 0)


@pytest.mark.parametrize("name", ["redis.default.nomad", "nosuch.default.nomad", "www.example.org", "x.servfail.mode.test"])
def test_no_opt_no_opt_in_the_reply(ask, name):
    assert ask(name, edns=None).edns < 0


def test_unknown_options_are_ignored(house):
    wire = with_additional(wire_of(), opt(option(100, b"whatever") + option(65001, b"") + option(8, b"\0\1\x18\0\1\2\3")))
    reply = dns.message.from_wire(house.client.exchange(wire))
    assert_records(reply, "A", "192.168.29.76", "192.168.29.77")
    assert not reply.options


def test_a_keepalive_with_a_time_in_a_question_is_formerr(ask):
    assert rcode(ask("redis.default.nomad", tcp=True, options=[dns.edns.GenericOption(11, b"\x00\x10")])) == "FORMERR"
    reply = ask("redis.default.nomad", tcp=True, options=[dns.edns.GenericOption(11, b"")])
    assert_records(reply, "A", "192.168.29.76", "192.168.29.77")


def test_a_keepalive_over_udp_is_ignored_whatever_it_says(ask):
    for data in (b"", b"\x00", b"\x00\x10", b"x" * 40):
        reply = ask("redis.default.nomad", options=[dns.edns.GenericOption(11, data)])
        assert_records(reply, "A", "192.168.29.76", "192.168.29.77")
        assert not reply.options


def test_an_option_longer_than_the_opt_is_formerr(house):
    wire = with_additional(wire_of(), opt(struct.pack("!HH", 100, 9) + b"x"))
    assert house.client.exchange(wire)[3] & 0x0F == FORMERR


@pytest.mark.parametrize("name", ["redis.default.nomad", "www.example.org", "nosuch.default.nomad"])
def test_nsid_is_answered_when_asked(ask, name):
    reply = ask(name, options=[dns.edns.GenericOption(NSID, b"")])
    assert [option.data for option in reply.options if option.otype == NSID] == [b"the-server"]
    assert not [option for option in ask(name).options if option.otype == NSID]


def cookie_of(reply):
    return next((option.data for option in reply.options if option.otype == COOKIE), None)


def test_cookies_are_answered_and_believed(ask):
    mine = os.urandom(8)
    first = cookie_of(ask("redis.default.nomad", options=[dns.edns.GenericOption(COOKIE, mine)]))
    assert first[:8] == mine and len(first) == 24
    second = ask("redis.default.nomad", options=[dns.edns.GenericOption(COOKIE, first)])
    assert rcode(second) == "NOERROR" and cookie_of(second)[:8] == mine
    forged = ask("redis.default.nomad", options=[dns.edns.GenericOption(COOKIE, mine + b"x" * 16)])
    assert rcode(forged) in ("NOERROR", "BADCOOKIE") and cookie_of(forged)[8:] != b"x" * 16
    other = cookie_of(ask("redis.default.nomad", options=[dns.edns.GenericOption(COOKIE, os.urandom(8))]))
    assert other[16:] != first[16:]


@pytest.mark.parametrize("payload", [0, 1, 511])
def test_a_size_below_512_is_512(house, payload):
    reply = house.client.exchange(with_additional(wire_of("big.default.nomad"), opt(payload=payload)))
    assert 400 < len(reply) <= 512


# ---- sizes ----

def test_without_opt_512_bytes(house):
    wire = house.client.exchange(wire_of("big.default.nomad"))
    reply = dns.message.from_wire(wire)
    assert len(wire) <= 512 and reply.flags & dns.flags.TC
    assert len(records(reply)) == (512 - len(wire_of("big.default.nomad"))) // 16


@pytest.mark.parametrize("payload", [1232, 4096, 65535])
def test_never_more_than_1232_bytes_over_udp(house, payload):
    wire = house.client.exchange(with_additional(wire_of("big.default.nomad"), opt(payload=payload)))
    reply = dns.message.from_wire(wire)
    assert len(wire) <= 1232 and reply.flags & dns.flags.TC
    assert len(records(reply)) == (1232 - len(wire_of("big.default.nomad")) - 11) // 16


def test_additional_is_dropped_first_without_tc(ask):
    reply = ask("mid.default.nomad", "SRV")
    assert not reply.flags & dns.flags.TC
    assert len(records(reply, "SRV")) == 22 and len(records(reply, "A", "additional")) < 22
    whole = ask("mid.default.nomad", "SRV", tcp=True)
    assert len(records(whole, "SRV")) == 22 and len(records(whole, "A", "additional")) == 22


def test_then_tc_with_as_many_whole_answers_as_fit(ask):
    reply = ask("big.default.nomad", "SRV")
    assert reply.flags & dns.flags.TC and 10 < len(records(reply, "SRV")) < 200 and not reply.additional
    whole = ask("big.default.nomad", "SRV", tcp=True)
    assert not whole.flags & dns.flags.TC and len(records(whole, "SRV")) == 200


def test_negatives_keep_their_soa(ask):
    long_name = ".".join(["x" * 60] * 3 + ["default", "nomad"])
    assert_nxdomain(ask(long_name, edns=None))
    assert_nodata(ask("big.default.nomad", "TXT", edns=None))


# ---- TCP ----

def test_tcp_answers_the_same(ask):
    assert_records(ask("redis.default.nomad", tcp=True), "A", "192.168.29.76", "192.168.29.77")
    assert_nxdomain(ask("nosuch.default.nomad", tcp=True))


def test_tcp_many_on_one_connection_in_one_write(house):
    queries = [dns.message.make_query(name, "A") for name in
               ["redis.default.nomad", "web.default.nomad", "www.example.org", "nosuch.default.nomad"] * 10]
    with house.client.connect() as connection:
        connection.send(*queries)
        replies = {dns.message.from_wire(connection.receive()).id for _ in queries}
    assert replies == {query.id for query in queries}


def test_tcp_in_single_bytes(house):
    query = dns.message.make_query("redis.default.nomad", "A")
    wire = query.to_wire()
    with house.client.connect() as connection:
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in struct.pack("!H", len(wire)) + wire:
            connection.socket.sendall(bytes([byte]))
        assert query.is_response(dns.message.from_wire(connection.receive()))


def test_tcp_answers_out_of_order(house):
    slow = dns.message.make_query("order.slow=1500.mode.test", "A")
    quick = dns.message.make_query("redis.default.nomad", "A")
    with house.client.connect() as connection:
        connection.send(slow, quick)
        assert dns.message.from_wire(connection.receive()).id == quick.id
        assert dns.message.from_wire(connection.receive()).id == slow.id


def test_tcp_half_closed_by_the_client_still_gets_its_answers(house):
    query = dns.message.make_query("half.slow=300.mode.test", "A")
    with house.client.connect() as connection:
        connection.send(query)
        connection.socket.shutdown(socket.SHUT_WR)
        assert dns.message.from_wire(connection.receive()).id == query.id
        assert connection.receive() is None


def test_tcp_idle_connections_are_closed(start, nomad):
    client = Client(start("--tcp-idle-timeout=1s", nomad=nomad.address))
    with client.connect(timeout=20) as connection, client.connect(timeout=20) as half:
        half.socket.sendall(b"\x00\x20half")
        assert connection.receive() is None
        assert half.receive() is None
    assert_records(client.ask("redis.default.nomad", tcp=True), "A", "192.168.29.76", "192.168.29.77")


def test_tcp_too_many_connections_hurt_nobody(start, nomad):
    client = Client(start("--tcp-max-clients=8", "--tcp-idle-timeout=1s", nomad=nomad.address))
    crowd = [client.connect() for _ in range(40)]
    try:
        assert_records(client.ask("redis.default.nomad"), "A", "192.168.29.76", "192.168.29.77")
    finally:
        for connection in crowd:
            connection.socket.close()
    eventually(lambda: assert_records(client.ask("web.prod.nomad", tcp=True), "A", "10.30.0.11", "10.30.0.12"))


def test_tcp_one_slow_reader_never_holds_up_another(house):
    query = dns.message.make_query("big.default.nomad", "SRV").to_wire()
    with house.client.connect() as lazy:
        lazy.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.socket.settimeout(0.2)
        frames = (struct.pack("!H", len(query)) + query) * 100
        try:
            for _ in range(50):
                lazy.socket.sendall(frames)
        except (socket.timeout, ConnectionError):
            pass
        for tcp in (False, True):
            begun = time.monotonic()
            assert_records(house.client.ask("redis.default.nomad", tcp=tcp), "A", "192.168.29.76", "192.168.29.77")
            assert time.monotonic() - begun < 3
    assert house.daemon.is_alive()


def test_tcp_rubbish_ends_a_connection_and_nothing_else(house):
    for rubbish in (b"\x00\x00", b"\x00\x05abcde", b"GET / HTTP/1.1\r\n\r\n", os.urandom(4000), b"\xff\xff" + b"\x00" * 65535):
        with house.client.connect() as connection:
            connection.socket.sendall(rubbish)
    assert_records(house.client.ask("redis.default.nomad", tcp=True), "A", "192.168.29.76", "192.168.29.77")


# ---- addresses ----

def test_wildcard_bind_replies_from_the_address_that_was_asked(start, nomad):
    daemon = start(nomad=nomad.address, listen="0.0.0.0:{port}")
    for host in ("127.0.0.1", "127.0.0.2", "127.1.2.3"):
        client = Client(daemon, host)
        assert_records(client.ask("redis.default.nomad"), "A", "192.168.29.76", "192.168.29.77")
        assert_records(client.ask("ns.nomad"), "A", host)
        assert_records(client.ask("redis.default.nomad", tcp=True), "A", "192.168.29.76", "192.168.29.77")


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on loopback here")
def test_ipv6_listening_address(start, nomad):
    daemon = start(nomad=nomad.address, host="::1")
    client = Client(daemon)
    assert_records(client.ask("redis.default.nomad"), "A", "192.168.29.76", "192.168.29.77")
    assert_records(client.ask("ns.nomad", "AAAA"), "AAAA", "::1")
    assert_records(client.ask("redis.default.nomad", tcp=True), "A", "192.168.29.76", "192.168.29.77")


# ---- hostile ----

def test_random_packets_do_no_harm(house):
    dice = random.Random(5)
    seeds = [wire_of(), wire_of("nosuch.default.nomad", "SRV", edns=0), wire_of("www.example.org", "TXT", edns=0)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(3000):
            wire = bytearray(dice.choice(seeds))
            for _ in range(dice.randrange(1, 6)):
                wire[dice.randrange(len(wire))] = dice.randrange(256)
            sender.sendto(bytes(wire[:dice.randrange(len(wire) + 1)]), (house.daemon.host, house.daemon.port))
    assert_records(house.client.ask("redis.default.nomad"), "A", "192.168.29.76", "192.168.29.77")
    assert house.daemon.is_alive()
