"""Everything that is not Nomad's: cache and upstreams."""

import concurrent.futures
import json
import signal
import struct
import threading
import time

import pytest
from fake_upstream import FakeUpstream, address_of
from harness import Client, eventually, extended_errors, is_authoritative, rcode, records, ttls

import dns.edns
import dns.flags
import dns.message
import dns.name

LIE = "203.0.113.66"


@pytest.fixture(scope="module")
def house(open_house):
    return open_house()


@pytest.fixture(scope="module")
def ask(house):
    return house.client.ask


# ---- the plain case ----

@pytest.mark.parametrize("tcp", [False, True])
def test_an_answer_comes_back_as_it_is(house, tcp):
    name = f"plain{tcp}.example.org"
    reply = house.client.ask(name, tcp=tcp)
    assert rcode(reply) == "NOERROR" and records(reply) == [address_of(name)]
    assert reply.flags & dns.flags.RA and not is_authoritative(reply) and not reply.flags & dns.flags.AD
    assert house.upstream.count(name) == 1


def test_the_question_comes_back_exactly_as_it_came(ask):
    for name in ("CaSe.ExAmPlE.oRg", "cAsE.eXaMpLe.OrG"):
        reply = ask(name)
        assert reply.question[0].name.to_text() == name + "." and records(reply) == [address_of("case.example.org")]


@pytest.mark.parametrize("mode, expected, has_soa", [
    ("nxdomain", "NXDOMAIN", True), ("nodata", "NOERROR", True), ("nxdomain-no-soa", "NXDOMAIN", False),
    ("nodata-no-soa", "NOERROR", False), ("servfail", "SERVFAIL", False),
])
def test_rcode_and_sections_come_back(ask, mode, expected, has_soa):
    reply = ask(f"back.{mode}.mode.test")
    assert rcode(reply) == expected and not reply.answer and bool(reply.authority) == has_soa


def test_upstream_s_extended_error_comes_back(ask):
    reply = ask("x.ede.mode.test")
    assert rcode(reply) == "SERVFAIL" and extended_errors(reply).get(6) == "signature is bogus"


@pytest.mark.parametrize("rdtype, data", [("TYPE65280", "\\# 11 01026f7061717565c00cff"), ("CAA", '0 issue "ca.example.net"'),
                                          ("HTTPS", '1 . alpn="h2" ipv4hint="192.0.2.1"'), ("TLSA", "3 1 1 " + "ab" * 32)])
def test_unknown_types_pass_untouched(house, rdtype, data):
    name = f"opaque-{rdtype.lower()}.example.org."
    house.upstream.records[(name, rdtype)] = [data]
    for _ in range(2):
        assert records(house.client.ask(name, rdtype), rdtype) == [data]
    assert house.upstream.count(name) == 1


def test_aliases_come_back_whole(ask):
    reply = ask("x.cname.mode.test")
    assert len(records(reply, "CNAME")) == 3 and records(reply) == [address_of("hop3.example.net")]


def test_hop_by_hop_options_stay_there(ask):
    reply = ask("x.options.mode.test")
    assert rcode(reply) == "NOERROR" and not [option for option in reply.options if option.otype != 15]


def test_a_client_s_options_are_not_passed_on(house):
    options = [dns.edns.ECSOption("192.0.2.0", 24), dns.edns.GenericOption(65001, b"x")]
    house.client.ask("options.example.org", options=options)
    entry = house.upstream.queries("options.example.org")[0]
    assert 8 not in entry["options"] and 65001 not in entry["options"]


def test_upstream_is_asked_with_rd_and_edns(house):
    house.client.ask("form.example.org", edns=None, rd=False)
    entry = house.upstream.queries("form.example.org")[0]
    assert entry["rd"] and entry["has_edns"] and entry["payload"] == 1232 and entry["opcode"] == "QUERY"


def test_ad_only_when_asked_for(house, ask):
    assert not ask("plain.ad.mode.test").flags & dns.flags.AD
    assert ask("wanted.ad.mode.test", want_dnssec=True).flags & dns.flags.AD
    query = dns.message.make_query("bit.ad.mode.test", "A", flags=dns.flags.RD | dns.flags.AD)
    assert house.client.send(query).flags & dns.flags.AD


def test_aa_is_cleared_on_hits(ask):
    ask("x.aa.mode.test")
    assert not is_authoritative(ask("x.aa.mode.test"))


def test_ra_is_set_whatever_upstream_says(ask):
    assert ask("x.no-ra.mode.test").flags & dns.flags.RA


@pytest.mark.parametrize("name, rdtype, expected", [
    ("localhost", "A", ["127.0.0.1"]), ("localhost", "AAAA", ["::1"]), ("LOCALHOST", "A", ["127.0.0.1"]),
    ("foo.localhost", "A", ["127.0.0.1"]),
])
def test_localhost_is_answered_at_home(house, name, rdtype, expected):
    assert records(house.client.ask(name, rdtype), rdtype) == expected
    assert house.upstream.count(name) == 0


@pytest.mark.parametrize("name, expected", [
    ("localhost", "NOERROR"), ("x.invalid", "NXDOMAIN"), ("invalid", "NXDOMAIN"), ("x.onion", "NXDOMAIN"),
    ("abc.def.onion", "NXDOMAIN"), ("resolver.arpa", "NOERROR"), ("_dns.resolver.arpa", None),
])
def test_special_names_are_answered_at_home(house, name, expected):
    reply = house.client.ask(name, "TXT")
    assert not reply.answer and rcode(reply) in ([expected] if expected else ["NOERROR", "NXDOMAIN"])
    assert house.upstream.count(name) == 0


def test_forward_none_is_refused_without_ra(start, nomad):
    reply = Client(start(nomad=nomad.address, forward="none")).ask("www.example.org")
    assert rcode(reply) == "REFUSED" and not reply.flags & dns.flags.RA


# ---- the cache ----

def test_a_hit_asks_nobody_and_ages(house):
    first = house.client.ask("ages.example.org")

    def check():
        again = house.client.ask("ages.example.org")
        assert records(again) == records(first)
        assert max(ttls(again)) < max(ttls(first))

    eventually(check)
    assert house.upstream.count("ages.example.org") == 1


def test_an_entry_expires(house):
    house.client.ask("x.ttl=1.mode.test")

    def check():
        house.client.ask("x.ttl=1.mode.test")
        assert house.upstream.count("x.ttl=1.mode.test") >= 2

    eventually(check)


@pytest.mark.parametrize("mode", ["ttl=0", "nxdomain-no-soa", "nodata-no-soa", "ttl-negative"])
def test_what_must_not_be_cached_is_not(house, mode):
    name = f"uncached.{mode}.mode.test"
    for _ in range(3):
        house.client.ask(name)
    assert house.upstream.count(name) == 3


@pytest.mark.parametrize("mode", ["nxdomain", "nodata", "answer", "cname", "large", "medium", "mixed-ttl"])
def test_what_may_be_cached_is(house, mode):
    name = f"cached.{mode}.mode.test"
    replies = [house.client.ask(name, tcp=True) for _ in range(3)]
    assert house.upstream.count(name, protocol="tcp") + house.upstream.count(name, protocol="udp") <= 2
    assert len({rcode(reply) for reply in replies}) == 1
    assert len({tuple(records(reply)) for reply in replies}) == 1


def test_negative_ttl_is_the_smaller_of_soa_and_minimum(ask):
    reply = ask("smaller.nxdomain.mode.test")
    assert max(ttls(reply, "authority")) <= 300
    again = ask("smaller.nxdomain.mode.test")
    assert max(ttls(again, "authority")) <= 60


def wire_ttls(client, name):
    """Of an A question's ANSWER as it stands in the packet: dnspython gives all of one set the lowest when it parses."""
    wire = client.exchange(dns.message.make_query(name, "A").to_wire())
    at, found = 12 + len(dns.name.from_text(name).to_wire()) + 4, []
    for _ in range(struct.unpack_from("!H", wire, 6)[0]):
        assert wire[at:at + 2] == b"\xc0\x0c"
        ttl, length = struct.unpack_from("!IH", wire, at + 6)
        found.append(ttl)
        at += 12 + length
    return found


def test_one_set_of_records_has_one_ttl(house):
    for _ in range(2):
        found = wire_ttls(house.client, "x.mixed-ttl.mode.test")
        assert len(found) == 2 and max(found) <= 30
        assert wire_ttls(house.client, "x.mixed-ttl=0.mode.test") == [0, 0]


def test_the_longest_ttl_is_capped_from_the_first_answer_on(house):
    for _ in range(2):
        found = wire_ttls(house.client, "long.ttl=604800.mode.test")
        assert len(found) == 1 and max(found) <= 3600


def test_failures_are_remembered_for_a_moment(house):
    for _ in range(20):
        assert rcode(house.client.ask("again.servfail.mode.test")) == "SERVFAIL"
    assert house.upstream.count("again.servfail.mode.test") <= 9


def test_do_and_no_do_are_kept_apart(house):
    house.client.ask("do.example.org")
    house.client.ask("do.example.org", want_dnssec=True)
    assert {entry["do"] for entry in house.upstream.queries("do.example.org")} >= {True}


def test_cache_size_0_turns_it_off(start, nomad, upstream):
    client = Client(start("--cache-size=0", nomad=nomad.address, forward=upstream.address))
    for _ in range(3):
        assert records(client.ask("off.example.org")) == [address_of("off.example.org")]
    assert upstream.count("off.example.org") == 3


def test_many_names_stay_within_the_bound(start, nomad, upstream):
    daemon = start("--cache-size=1MiB", nomad=nomad.address, forward=upstream.address)
    client = Client(daemon)
    client.ask("hot.example.org")
    client.ask("hot.example.org")
    before = daemon.resident_bytes()
    for number in range(6000):
        client.ask(f"n{number}.example.org")
    assert daemon.resident_bytes() < before + (16 << 20)
    upstream.clear_log()
    assert records(client.ask("hot.example.org")) == [address_of("hot.example.org")]
    assert upstream.count("hot.example.org") == 0


# ---- one exchange for many ----

def test_identical_questions_are_one(daemon, upstream):
    name = "together.slow=100.mode.test"
    replies, threads = [], []
    Client(daemon).ask("patience.slow=400.mode.test")  # then only a second of silence is silence, on a busy machine too
    for number in range(50):
        def run(name=name if number % 2 else name.upper()):
            replies.append(Client(daemon).ask(name))
        threads.append(threading.Thread(target=run))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(replies) == 50 and all(records(reply) == [address_of(name)] for reply in replies)
    assert upstream.count(name) == 1


def test_ports_and_ids_are_unpredictable(house):
    for number in range(200):
        house.client.ask(f"dice{number}.example.org")
    entries = [entry for entry in house.upstream.queries(protocol="udp") if entry["name"].startswith("dice")]
    assert len({entry["port"] for entry in entries}) >= 195
    assert len({entry["id"] for entry in entries}) >= 195


# ---- TCP ----

@pytest.mark.parametrize("mode", ["tc-then-tcp", "tc-with-records", "tcp-only"])
def test_tcp_is_used_when_udp_does_not_do(house, mode):
    name = f"x.{mode}.mode.test"
    reply = house.client.ask(name)
    assert rcode(reply) == "NOERROR" and address_of(name) in records(reply)
    assert house.upstream.count(name, protocol="tcp") >= 1


def test_a_large_answer_is_tc_over_udp_and_whole_over_tcp(house):
    reply = house.client.ask("big.large.mode.test")
    assert reply.flags & dns.flags.TC and len(records(reply)) < 200
    assert len(records(house.client.ask("big.large.mode.test", tcp=True))) == 200
    assert len(records(house.client.ask("text.large.mode.test", "TXT", tcp=True), "TXT")) == 100


def test_a_medium_answer_respects_512_bytes(house):
    wire = house.client.exchange(dns.message.make_query("x.medium.mode.test", "A", use_edns=False).to_wire())
    assert len(wire) <= 512 and dns.message.from_wire(wire).flags & dns.flags.TC
    assert len(records(house.client.ask("x.medium.mode.test"))) == 50


@pytest.mark.parametrize("mode", ["tc-loop", "tc-tcp-close", "tc-tcp-hang", "tc-tcp-half"])
def test_tcp_that_fails_is_servfail_in_time(ask, mode):
    reply = ask(f"x.{mode}.mode.test")
    assert rcode(reply) == "SERVFAIL" and not reply.answer


# ---- lies ----

LIES = ["wrong-id", "wrong-question", "wrong-type", "garbage", "short", "qr0", "wrong-opcode", "ptr-loop", "ptr-forward",
        "ptr-chain", "counts-lie", "rdlength-lie", "trailing", "empty-question", "label-64"]


@pytest.mark.parametrize("lie", LIES)
def test_the_truth_after_a_lie_is_delivered(house, lie):
    name = f"truth.{lie}-then-right.mode.test"
    reply = house.client.ask(name)
    assert records(reply) == [address_of(name)], reply
    assert records(house.client.ask(name)) == [address_of(name)]


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_alone_is_servfail_in_time(start, nomad, upstream, lie):
    client = Client(start("--forward-timeout=1500ms", nomad=nomad.address, forward=upstream.address))
    reply = client.ask(f"only.{lie}.mode.test")
    assert rcode(reply) == "SERVFAIL" and not reply.answer
    assert records(client.ask("fine.example.org")) == [address_of("fine.example.org")]


def test_an_answer_from_another_port_is_ignored(ask):
    name = "x.other-port-then-right.mode.test"
    assert records(ask(name)) == [address_of(name)]


def test_records_of_other_names_are_not_believed(house):
    house.client.ask("x.poison.mode.test")
    for name in ("victim.example", "example"):
        reply = house.client.ask(name)
        assert LIE not in records(reply)
    assert house.upstream.count("victim.example") == 1


def test_an_alias_into_our_zone_is_never_believed(house):
    reply = house.client.ask("x.cname-own.mode.test")
    assert LIE not in records(reply)
    assert LIE not in records(house.client.ask("redis.default.nomad"))
    assert house.upstream.count("redis.default.nomad") == 0


def test_a_service_s_host_name_that_is_an_alias_into_our_zone(start, nomad, upstream):
    nomad.register({"ServiceName": "indirect", "Address": "x.cname-own.mode.test", "Port": 1})
    reply = Client(start(nomad=nomad.address, forward=upstream.address)).ask("indirect.default.nomad")
    assert LIE not in records(reply)


def test_the_root_is_forwarded_too(house):
    assert rcode(house.client.ask(".", "NS")) == "NOERROR" and house.upstream.count(".") == 1


def test_a_folded_question_is_accepted(ask):
    assert records(ask("X.wrong-case.mode.test")) == [address_of("x.wrong-case.mode.test")]


def test_duplicate_records_do_no_harm(ask):
    assert rcode(ask("x.duplicate.mode.test")) in ("NOERROR", "SERVFAIL")


@pytest.mark.parametrize("mode", ["formerr-on-edns", "no-edns"])
def test_a_server_without_edns_is_served(ask, mode):
    name = f"x.{mode}.mode.test"
    assert records(ask(name)) == [address_of(name)]


# ---- loss and failure ----

def test_a_single_loss_is_not_noticed(ask):
    name = "x.first-lost.mode.test"
    assert records(ask(name)) == [address_of(name)]


@pytest.mark.parametrize("delay_ms", [1000, 3000])
def test_slow_answers_are_delivered(ask, delay_ms):
    name = f"x.slow={delay_ms}.mode.test"
    assert records(ask(name)) == [address_of(name)]


def test_a_silent_upstream_is_servfail_22_or_23(house):
    begun = time.monotonic()
    reply = house.client.ask("x.timeout.mode.test")
    assert rcode(reply) == "SERVFAIL" and extended_errors(reply).keys() & {22, 23}
    assert time.monotonic() - begun < 7
    assert house.upstream.count("x.timeout.mode.test", protocol="udp") <= 3


def test_upstream_down_is_servfail_and_comes_back(start, nomad, upstream):
    client = Client(start(nomad=nomad.address, forward=upstream.address))
    upstream.down()
    reply = client.ask("down.example.org")
    assert rcode(reply) == "SERVFAIL" and extended_errors(reply).keys() & {22, 23}
    assert rcode(client.ask("redis.default.nomad")) == "NOERROR"
    upstream.up()
    eventually(lambda: assert_address(client, "up.example.org"))


def assert_address(client, name):
    assert records(client.ask(name)) == [address_of(name)]


@pytest.mark.parametrize("mode", ["timeout", "servfail", "refused", "notimp", "formerr", "garbage", "wrong-id", "tc-tcp-hang",
                                  "badvers", "notauth", "referral"])
def test_the_other_upstream_is_asked(start, nomad, mode):
    with FakeUpstream(mode=mode) as bad, FakeUpstream() as good:
        client = Client(start(nomad=nomad.address, forward=[bad.address, good.address]))
        for number in range(5):
            assert_address(client, f"two{number}.example.org")
        assert good.count() >= 5


def test_a_dead_upstream_is_left_alone(start, nomad):
    with FakeUpstream() as dead, FakeUpstream() as good:
        dead.down()
        client = Client(start(nomad=nomad.address, forward=[dead.address, good.address]))
        for number in range(20):
            assert_address(client, f"dead{number}.example.org")


def test_one_broken_name_condemns_no_upstream(start, nomad, upstream):
    client = Client(start("--forward-timeout=1s", nomad=nomad.address, forward=upstream.address))
    for number in range(3):
        client.ask(f"x{number}.timeout.mode.test")
    for number in range(20):
        assert_address(client, f"fine{number}.example.org")


def test_one_domain_goes_elsewhere(start, nomad, upstream):
    with FakeUpstream() as consul, FakeUpstream() as deeper:
        client = Client(start(f"--forward=consul={consul.address}", f"--forward=dc2.consul={deeper.address}",
                              nomad=nomad.address, forward=upstream.address))
        for name in ("web.service.consul", "web.service.dc2.consul", "www.example.org", "notconsul"):
            assert_address(client, name)
        assert (consul.count(), deeper.count(), upstream.count()) == (1, 1, 2)
        assert consul.count("web.service.consul") == 1 and deeper.count("web.service.dc2.consul") == 1


# ---- other upstreams while questions are under way ----

@pytest.fixture
def swap(start, nomad, tmp_path):
    """swap(forward, …) → the daemon with these upstreams, the first time or by a reload."""
    path, daemons = tmp_path / "forward.toml", []

    def begin(*forward):
        path.write_text(f"forward = {json.dumps(forward)}\n")
        if not daemons:
            daemons.append(start("--workers=1", f"--config={path}", nomad=nomad.address, forward=None))
            return daemons[0]
        before = daemons[0].output().count("config: reloaded")
        daemons[0].signal(signal.SIGHUP)

        def is_reloaded():
            assert daemons[0].output().count("config: reloaded") > before

        eventually(is_reloaded)
        return daemons[0]

    yield begin


def test_new_upstreams_answer_what_was_under_way_and_nothing_of_the_old_is_kept(swap, upstream):
    with FakeUpstream() as old, concurrent.futures.ThreadPoolExecutor(2) as askers:
        old.set_records("www.corp.example", "A", "192.0.2.66")
        old.set_mode("hold", "www.corp.example")
        client = Client(swap(old.address))
        before = askers.submit(client.ask, "www.corp.example")
        eventually(lambda: check(old.count("www.corp.example") > 0))
        swap(old.address, f"corp.example={upstream.address}")
        after = askers.submit(client.ask, "www.corp.example")
        mine = [address_of("www.corp.example")]
        assert records(before.result()) == mine and records(after.result()) == mine
        old.release()
        assert records(client.ask("www.corp.example")) == mine
        assert upstream.count("www.corp.example") == 1


def test_who_waits_for_a_silent_upstream_gets_the_answer_of_a_new_one(swap, upstream):
    with FakeUpstream() as old, concurrent.futures.ThreadPoolExecutor(20) as askers:
        old.set_mode("timeout")
        client = Client(swap(old.address))
        waiting = [askers.submit(client.ask, f"{number}.example.org") for number in range(10)]
        eventually(lambda: check(len({entry["name"] for entry in old.queries()}) == 10))
        swap(upstream.address)
        waiting += [askers.submit(client.ask, f"{number}.example.org") for number in range(10)]
        for number, reply in enumerate(waiting):
            assert records(reply.result()) == [address_of(f"{number % 10}.example.org")]
        assert upstream.count() < 20  # one for both who ask


def check(condition):
    assert condition


def test_upstreams_of_a_resolv_conf(start, nomad, upstream, tmp_path):
    path = tmp_path / "resolv.conf"
    path.write_text("# nothing\nsearch example.org\nnameserver 192.0.2.1\noptions ndots:5\n")
    daemon = start("--forward-timeout=300ms", nomad=nomad.address, forward=str(path))
    assert rcode(Client(daemon).ask("www.example.org")) == "SERVFAIL"


def test_an_upstream_that_is_ourselves_is_no_loop(start, nomad, upstream):
    daemon = start("--forward-timeout=1s", nomad=nomad.address, forward=["127.0.0.1:{port}", upstream.address])
    assert_address(Client(daemon), "loop.example.org")


@pytest.mark.parametrize("name", ["nomad", "NOMAD", "x.nomad", "a.b.nomad", "redis.default.nomad", "_x._tcp.y.nomad", "ns.nomad"])
def test_nothing_below_a_zone_is_forwarded_whatever_happens(start, nomad, upstream, name):
    nomad.fault("status=500")
    client = Client(start("--forward-timeout=1s", nomad=nomad.address, forward=upstream.address, until="listening"))
    for rdtype in ("A", "SRV", "NS", "DS", "ANY", "TYPE65280"):
        client.ask(name, rdtype)
    assert upstream.count() == 0
