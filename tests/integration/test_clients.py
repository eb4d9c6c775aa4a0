"""Real clients: dig, kdig and dnspython's resolver."""

import json
import shutil
import subprocess

import pytest
from fake_upstream import address_of
from harness import assert_records, records

import dns.message
import dns.query
import dns.resolver


@pytest.fixture(scope="module")
def house(open_house):
    return open_house()


def tool(name):
    return pytest.mark.skipif(not shutil.which(name), reason=f"{name} is not here")


def run(*args):
    done = subprocess.run(args, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def dig(house, *args):
    return run("dig", f"@{house.daemon.host}", "-p", str(house.daemon.port), "+time=6", "+tries=1", *args)


def kdig(house, *args):
    return run("kdig", f"@{house.daemon.host}", "-p", str(house.daemon.port), "+timeout=6", "+retry=0", *args)


@tool("dig")
@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
@pytest.mark.parametrize("more", ["+edns", "+noedns", "+dnssec", "+nsid", "+cookie", "+norec", "+cdflag", "+adflag",
                                  "+subnet=192.0.2.0/24", "+padding=128", "+bufsize=512", "+expire", "+keepalive"])
def test_dig(house, transport, more):
    output = dig(house, "redis.default.nomad", transport, more)
    assert "status: NOERROR" in output and "192.168.29.76" in output and "192.168.29.77" in output
    assert "WARNING" not in output and "BAD" not in output and "malformed" not in output.lower(), output


@tool("dig")
def test_dig_negatives_and_external(house):
    assert "status: NXDOMAIN" in dig(house, "nosuch.default.nomad")
    nodata = dig(house, "redis.default.nomad", "HTTPS")
    assert "status: NOERROR" in nodata and "ANSWER: 0" in nodata and "SOA" in nodata
    assert address_of("www.example.org") in dig(house, "www.example.org", "+short")


@tool("dig")
def test_dig_srv_shows_targets_and_addresses(house):
    output = dig(house, "redis.default.nomad", "SRV")
    assert "10 10 25395 192-168-29-76.redis.default.nomad." in output and ";; ADDITIONAL SECTION:" in output


@tool("dig")
def test_dig_many_on_one_connection(house):
    names = [part for number in range(20) for part in (f"many{number}.example.org", "A")]
    output = dig(house, "+tcp", "+keepopen", "+short", *names)
    assert len(output.split()) == 20


@tool("dig")
def test_dig_chaos_and_any(house):
    assert "nomad-dns" in dig(house, "version.bind", "TXT", "CH", "+short")
    assert "RFC8482" in dig(house, "redis.default.nomad", "ANY")


@tool("dig")
def test_dig_zone_transfer_is_refused(house):
    done = subprocess.run(["dig", f"@{house.daemon.host}", "-p", str(house.daemon.port), "nomad", "AXFR"],
                          capture_output=True, text=True, timeout=30, check=False)
    assert "Transfer failed" in done.stdout


@tool("kdig")
@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
@pytest.mark.parametrize("more", ["+edns", "+noedns", "+dnssec", "+nsid", "+cookie", "+padding=64", "+ednsopt=65001:00ff"])
def test_kdig(house, transport, more):
    output = kdig(house, "redis.default.nomad", transport, more)
    assert "status: NOERROR" in output and "192.168.29.76" in output and "192.168.29.77" in output
    assert "WARNING" not in output and "ERROR" not in output.replace("NOERROR", ""), output


@tool("kdig")
def test_kdig_json_is_the_same_answer(house):
    answer = json.loads(kdig(house, "redis.default.nomad", "SRV", "+json"))
    answer = answer[0] if isinstance(answer, list) else answer
    assert answer["RCODE"] == 0 and answer["AA"] == 1


@tool("kdig")
def test_kdig_badvers(house):
    assert "BADVERS" in kdig(house, "redis.default.nomad", "+edns=1")


def resolver_of(house):
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port, resolver.lifetime = [house.daemon.host], house.daemon.port, 8
    return resolver


def test_dnspython_resolver(house):
    resolver = resolver_of(house)
    assert sorted(str(record) for record in resolver.resolve("multi.default.nomad", "A")) == ["1.2.3.4", "1.2.3.5", "1.2.3.6"]
    assert str(resolver.resolve("v6svc.default.nomad", "AAAA")[0]) == "2001:db8::10"
    assert resolver.resolve("web.default.nomad", "SRV").rrset.ttl == 10
    with pytest.raises(dns.resolver.NXDOMAIN):
        resolver.resolve("nosuch.default.nomad", "A")
    with pytest.raises(dns.resolver.NoAnswer):
        resolver.resolve("redis.default.nomad", "TXT")
    assert str(resolver.resolve("www.example.org", "A", tcp=True)[0]) == address_of("www.example.org")


def test_udp_with_fallback_to_tcp(house):
    query = dns.message.make_query("fallback.large.mode.test", "A", use_edns=0)
    reply, used_tcp = dns.query.udp_with_fallback(query, house.daemon.host, 8, house.daemon.port)
    assert used_tcp and len(records(reply)) == 200


def test_pipelining_200_questions_over_one_connection(house):
    queries = [dns.message.make_query("redis.default.nomad" if number % 2 else f"pipe{number}.example.org", "A")
               for number in range(200)]
    for number, query in enumerate(queries):
        query.id = number  # random ones meet each other every fourth time
    with house.client.connect() as connection:
        connection.send(*queries)
        replies = [dns.message.from_wire(connection.receive()) for _ in queries]
    by_id = {query.id: query for query in queries}
    for reply in replies:
        assert by_id[reply.id].is_response(reply) and reply.answer


def test_one_socket_for_many_questions_over_udp(house):
    for _ in range(50):
        assert_records(house.client.ask("redis.default.nomad"), "A", "192.168.29.76", "192.168.29.77")
