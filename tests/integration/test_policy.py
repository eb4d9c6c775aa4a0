"""What the operator may forbid: private addresses from outside, questions about private addresses going there."""

import dns.flags
import pytest
from fake_upstream import FakeUpstream, address_of
from harness import Client, eventually, extended_errors, rcode, records

BLOCKED = 15


@pytest.fixture
def protected(start, nomad, upstream):
    with FakeUpstream() as corp:
        corp.set_records("host.corp.example", "A", "10.1.2.3")
        daemon = start("--rebind-protection=on", nomad=nomad.address,
                       forward=[upstream.address, f"corp.example={corp.address}"])
        yield daemon, Client(daemon)


@pytest.mark.parametrize("rdtype, address", [
    ("A", "127.0.0.1"), ("A", "10.1.2.3"), ("A", "169.254.169.254"), ("A", "192.168.0.1"), ("A", "0.0.0.0"),
    ("AAAA", "::1"), ("AAAA", "fe80::1"), ("AAAA", "fd00::1"), ("AAAA", "::ffff:10.0.0.1"),
])
def test_private_addresses_from_outside_are_kept_from_clients(protected, upstream, rdtype, address):
    daemon, client = protected
    upstream.set_records("rebind.example.org", rdtype, address)
    for _ in range(2):  # from upstream, then from the cache
        reply = client.ask("rebind.example.org", rdtype)
        assert rcode(reply) == "NOERROR" and not reply.answer and BLOCKED in extended_errors(reply)
        assert not reply.flags & dns.flags.TC
    assert upstream.count("rebind.example.org") == 1
    assert daemon.metrics()["nomad_dns_rebinds_blocked_total"] == 2


def test_other_answers_pass(protected, upstream):
    _, client = protected
    assert records(client.ask("www.example.org")) == [address_of("www.example.org")]


def test_a_domain_with_servers_of_its_own_may_have_private_addresses(protected):
    _, client = protected
    for _ in range(2):
        assert records(client.ask("host.corp.example")) == ["10.1.2.3"]


def test_our_own_zone_may_have_them_even_by_host_name(protected, nomad, upstream):
    _, client = protected
    upstream.set_records("inside.example.net", "A", "10.9.9.9")
    nomad.register({"ServiceName": "byname", "Address": "inside.example.net", "Port": 80},
                   {"ServiceName": "byaddress", "Address": "192.168.7.7", "Port": 80})

    def check():
        assert records(client.ask("byname.default.nomad")) == ["10.9.9.9"]

    eventually(check)
    assert records(client.ask("byaddress.default.nomad")) == ["192.168.7.7"]
    assert not client.ask("inside.example.net").answer


def test_off_by_default(client, upstream):
    upstream.set_records("rebind.example.org", "A", "127.0.0.1")
    assert records(client.ask("rebind.example.org")) == ["127.0.0.1"]


@pytest.fixture
def private(start, nomad, upstream):
    with FakeUpstream() as site:
        daemon = start("--private-zones=on", nomad=nomad.address,
                       forward=[upstream.address, f"168.192.in-addr.arpa={site.address}"])
        yield site, Client(daemon)


@pytest.mark.parametrize("name", ["1.2.3.10.in-addr.arpa", "1.0.20.172.in-addr.arpa", "1.0.0.127.in-addr.arpa",
                                  "0." * 20 + "0.d.f.ip6.arpa"])
def test_private_reverse_names_are_answered_at_home(private, upstream, name):
    _, client = private
    reply = client.ask(name, "PTR")
    assert rcode(reply) == "NXDOMAIN" and reply.authority[0].rdtype == 6
    assert name.endswith(reply.authority[0].name.to_text().rstrip("."))
    assert upstream.count(name) == 0


def test_who_has_servers_for_a_part_is_asked(private, upstream):
    site, client = private
    reply = client.ask("1.1.168.192.in-addr.arpa", "PTR")
    assert records(reply, "PTR") == ["host.example.net."]
    assert site.count("1.1.168.192.in-addr.arpa") == 1 and upstream.count("1.1.168.192.in-addr.arpa") == 0


def test_public_reverse_names_are_forwarded(private, upstream):
    _, client = private
    assert records(client.ask("1.1.1.1.in-addr.arpa", "PTR"), "PTR") == ["host.example.net."]


def test_names_of_instances_come_first(start, nomad, upstream):
    client = Client(start("--private-zones=on", "--reverse=on", nomad=nomad.address, forward=upstream.address))
    assert rcode(client.ask("redis.default.nomad")) == "NOERROR"
    reply = client.ask("76.29.168.192.in-addr.arpa", "PTR")
    assert records(reply, "PTR"), reply
    assert rcode(client.ask("99.99.168.192.in-addr.arpa", "PTR")) == "NXDOMAIN"
    assert rcode(client.ask("29.168.192.in-addr.arpa", "PTR")) == "NOERROR"


def test_private_reverse_names_are_forwarded_by_default(client, upstream):
    client.ask("1.2.3.10.in-addr.arpa", "PTR")
    assert upstream.count("1.2.3.10.in-addr.arpa") == 1
