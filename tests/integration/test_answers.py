"""What a name under a zone is answered with: one test for each row of the contract."""

import pytest
from harness import (Client, assert_nodata, assert_nxdomain, assert_records, eventually, extended_errors,
                     is_authoritative, rcode, records, ttls)

import dns.flags
import dns.message
import dns.name
import dns.rdatatype

LONG = "a" * 63
LONG_6 = "2001-0db8-0000-0000-0000-0000-0000-0010"


def instance(name, address, port=8080, **more):
    return {"ServiceName": name, "Address": address, "Port": port, **more}


SERVICES = [
    instance("Twin", "10.40.0.1"), instance("twin", "10.40.0.2"),
    instance("odd", "10.41.0.1", 9100), instance("odd", "", 9101), instance("odd", "free text ${x}", 9102),
    instance("odd", "10.41.0.2", 70000), instance("odd", "fe80::1", 9103), instance("odd", "0.0.0.0", 9104),
    instance("odd", "10.41.0.3", -1),
    instance("unusable", "", 9100), instance("unusable", "-1.bad_host name", 9101),
    instance("dup", "10.42.0.1", 1001, JobID="one"), instance("dup", "10.42.0.1", 1002),
    instance("dup", "10.42.0.1", 1001, JobID="two", ID="second"),
    instance("tagged", "10.43.0.1", Tags=["Blue", "with space"]), instance("tagged", "10.43.0.2", Tags=["blue", "tcp"]),
    instance("tagged", "10.43.0.3", Tags=["under_score"]),
    instance("lookalike", "10.44.0.1"), instance("lookalike", "10.44.0.2", Tags=["10-44-0-1"]),
    instance(LONG, "10.45.0.1"), instance("b" * 70, "10.45.0.2"), instance("white space", "10.45.0.3"),
    instance("my_svc", "10.45.0.4"),
    instance("web", "10.46.0.1", Namespace="ns"), instance("web", "10.46.0.2", Namespace="n" * 70),
    *[instance("mid", f"10.47.0.{n}", 8000 + n) for n in range(1, 23)],
    *[instance("big", f"10.48.0.{n}", 8000 + n) for n in range(1, 201)],
    instance("exttwo", "db.example.net", 5432), instance("exttwo", "10.49.0.1", 5433),
    instance("extempty", "empty.example.net"), instance("extbroken", "broken.example.net"),
    instance("exthalf", "broken.example.net"), instance("exthalf", "db.example.net"),
    instance("extshort", "short.example.net"), instance("extdot", "db.example.net."),
    instance("inward", "redis.default.nomad", 6379), instance("loopy", "loopy.default.nomad", 1),
    instance("mutual", "mutual2.default.nomad", 1), instance("mutual2", "mutual.default.nomad", 1),
]


@pytest.fixture(scope="module")
def house(open_house):
    house = open_house(services=SERVICES)
    house.upstream.set_mode("nodata", "empty.example.net")
    house.upstream.set_mode("servfail", "broken.example.net")
    house.upstream.set_mode("ttl=3", "short.example.net")
    return house


@pytest.fixture(scope="module")
def ask(house):
    return house.client.ask


# ---- names under a zone ----

def test_service_is_every_instance(ask):
    assert_records(ask("redis.default.nomad"), "A", "192.168.29.76", "192.168.29.77")


def test_service_of_another_namespace(ask):
    assert_records(ask("web.prod.nomad"), "A", "10.30.0.11", "10.30.0.12")


def test_names_compare_without_case_and_come_back_as_asked(ask):
    reply = ask("ReDiS.dEfAuLt.NoMaD")
    assert_records(reply, "A", "192.168.29.76", "192.168.29.77")
    assert reply.question[0].name.labels[0] == b"ReDiS" and reply.question[0].name.labels[2] == b"NoMaD"
    assert reply.answer[0].name.labels[0] == b"ReDiS"


def test_upper_case_in_nomad_is_found(ask):
    assert_records(ask("ext-db.default.nomad"), "A", "192.0.2.10")


@pytest.mark.parametrize("name, addresses", [
    ("primary.redis", ["192.168.29.76"]), ("REPLICA.redis", ["192.168.29.77"]), ("canary.web", ["10.20.0.13"]),
    ("blue.tagged", ["10.43.0.1", "10.43.0.2"]), ("under_score.tagged", ["10.43.0.3"]),
])
def test_tag_is_the_instances_that_carry_it(ask, name, addresses):
    assert_records(ask(f"{name}.default.nomad"), "A", *addresses)


def test_tag_that_is_no_label_has_no_name(ask):
    assert_nxdomain(ask(dns.name.Name([b"with space", b"tagged", b"default", b"nomad", b""])))


def test_unknown_tag_is_nxdomain(ask):
    assert_nxdomain(ask("purple.tagged.default.nomad"))


def test_address_is_the_instance_there(ask):
    assert_records(ask("192-168-29-76.redis.default.nomad"), "A", "192.168.29.76")
    assert_records(ask("192-168-29-77.redis.default.nomad", "SRV"), "SRV",
                   "10 10 21880 192-168-29-77.redis.default.nomad.")


def test_ipv6_address_is_written_in_full(ask):
    assert_records(ask(f"{LONG_6}.v6svc.default.nomad", "AAAA"), "AAAA", "2001:db8::10")
    assert_nodata(ask(f"{LONG_6}.v6svc.default.nomad", "A"))


def test_address_no_instance_has_is_nxdomain(ask):
    assert_nxdomain(ask("192-168-29-99.redis.default.nomad"))


def test_address_wins_over_a_tag_that_looks_like_it(ask):
    assert_records(ask("10-44-0-1.lookalike.default.nomad"), "A", "10.44.0.1")


@pytest.mark.parametrize("protocol", ["_tcp", "_udp"])
def test_rfc_2782_form(ask, protocol):
    name = f"_redis.{protocol}.default.nomad"
    assert_records(ask(name, "SRV"), "SRV", "10 10 21880 192-168-29-77.redis.default.nomad.",
                   "10 10 25395 192-168-29-76.redis.default.nomad.")
    assert_nodata(ask(name, "A"))
    assert_nodata(ask(name, "TXT"))


def test_rfc_2782_form_with_a_tag(ask):
    assert_records(ask("_redis._primary.default.nomad", "SRV"), "SRV",
                   "10 10 25395 192-168-29-76.redis.default.nomad.")
    assert_nodata(ask("_redis._primary.default.nomad", "A"))
    assert_nxdomain(ask("_redis._purple.default.nomad", "SRV"))


def test_a_tag_called_tcp_has_no_rfc_2782_form(ask):
    assert len(records(ask("_tagged._tcp.default.nomad", "SRV"), "SRV")) == 3
    assert_records(ask("tcp.tagged.default.nomad"), "A", "10.43.0.2")


@pytest.mark.parametrize("name", ["default.nomad", "prod.nomad", "_tcp.default.nomad", "_udp.prod.nomad"])
def test_empty_non_terminals_exist(ask, name):
    assert_nodata(ask(name))
    assert_nodata(ask(name, "SRV"))


def test_namespace_without_services_does_not_exist(ask):
    assert_nxdomain(ask("empty.nomad"))
    assert_nxdomain(ask("nosuch.nomad"))
    assert_nxdomain(ask("_tcp.nosuch.nomad"))


def test_below_an_instance_there_is_nothing(ask):
    assert_nxdomain(ask("x.192-168-29-76.redis.default.nomad"))
    assert_nxdomain(ask("a.b.c.d.e.redis.default.nomad"))


def test_apex_has_soa_and_ns(house, ask):
    reply = ask("nomad", "SOA")
    soa = reply.answer[0][0]
    assert is_authoritative(reply) and str(soa.mname) == "ns.nomad." and str(soa.rname) == "hostmaster.nomad."
    assert (soa.refresh, soa.retry, soa.expire, soa.minimum) == (3600, 600, 86400, 5)
    assert_records(ask("nomad", "NS"), "NS", "ns.nomad.")
    for rdtype in ("A", "AAAA", "TXT", "SRV"):
        assert_nodata(ask("nomad", rdtype))


def test_name_server_is_the_address_that_was_asked(ask):
    assert_records(ask("ns.nomad", "A"), "A", "127.0.0.1")
    assert_nodata(ask("ns.nomad", "AAAA"))
    assert_nodata(ask("ns.nomad", "TXT"))


def test_a_namespace_called_ns_lives_below_it(ask):
    assert_records(ask("web.ns.nomad"), "A", "10.46.0.1")


def test_soa_serial_grows_with_nomad_s_index(daemon, nomad, client):
    def serial():
        return client.ask("redis.default.nomad", "TXT").authority[0][0].serial

    before = serial()
    for number in range(5):
        nomad.register(instance("redis", f"192.168.30.{number}"))
    client.ask("fresh.default.nomad")

    def check():
        client.ask(f"x{serial()}.prod.nomad")
        assert serial() > before

    eventually(check)


def test_reverse_names_we_know(start, nomad, upstream):
    nomad.register(instance("redis", "10.66.0.1"), instance("cache", "10.66.0.1"))
    client = Client(start("--reverse=on", nomad=nomad.address, forward=upstream.address))
    client.ask("redis.default.nomad")
    client.ask("cache.default.nomad")
    client.ask("v6svc.default.nomad")
    reply = client.ask("1.0.66.10.in-addr.arpa", "PTR")
    assert_records(reply, "PTR", "cache.default.nomad.", "redis.default.nomad.")
    v6 = client.ask("0.1.0.0" + ".0" * 20 + ".8.b.d.0.1.0.0.2.ip6.arpa", "PTR")
    assert_records(v6, "PTR", "v6svc.default.nomad.")


def test_reverse_names_we_do_not_know_are_forwarded(start, nomad, upstream):
    client = Client(start("--reverse=on", nomad=nomad.address, forward=upstream.address))
    client.ask("redis.default.nomad")
    assert records(client.ask("9.9.9.10.in-addr.arpa", "PTR"), "PTR") == ["host.example.net."]
    client.ask("76.29.168.192.in-addr.arpa", "TXT")
    assert upstream.count("76.29.168.192.in-addr.arpa") == 1


def test_reverse_is_off_by_default(house, ask):
    ask("redis.default.nomad")
    assert records(ask("76.29.168.192.in-addr.arpa", "PTR"), "PTR") == ["host.example.net."]


def test_records_are_in_the_zone_that_was_asked(start, nomad, upstream):
    client = Client(start("--zone=nomad", "--zone=service.corp.example", nomad=nomad.address, forward=upstream.address))
    reply = client.ask("redis.default.service.corp.example", "SRV")
    assert records(reply, "SRV")[0].endswith(".redis.default.service.corp.example.")
    assert_nxdomain(client.ask("nosuch.default.service.corp.example"), "service.corp.example.")
    assert str(client.ask("service.corp.example", "SOA").answer[0][0].mname) == "ns.service.corp.example."
    assert_records(client.ask("redis.default.nomad"), "A", "192.168.29.76", "192.168.29.77")


def test_the_longest_zone_wins(start, nomad, upstream):
    nomad.register(instance("web", "10.67.0.1", Namespace="service"), instance("api", "10.67.0.2", Namespace="web"))
    daemon = start("--zone=nomad", "--zone=service.nomad", nomad=nomad.address, forward=upstream.address)
    client = Client(daemon)
    assert_records(client.ask("api.web.service.nomad"), "A", "10.67.0.2")
    assert_nodata(client.ask("web.service.nomad"), "service.nomad.")
    assert str(client.ask("service.nomad", "SOA").answer[0].name) == "service.nomad."


def test_names_that_collide_once_folded_are_one(ask):
    assert_records(ask("twin.default.nomad"), "A", "10.40.0.1", "10.40.0.2")


def test_a_service_of_63_letters_has_a_name(ask):
    assert_records(ask(f"{LONG}.default.nomad"), "A", "10.45.0.1")


def test_what_is_no_label_has_no_name_and_hurts_nobody(ask):
    assert_nxdomain(ask(dns.name.Name([b"white space", b"default", b"nomad", b""])))
    assert_records(ask("my_svc.default.nomad"), "A", "10.45.0.4")


def test_not_found_after_the_filter_is_nxdomain(start, nomad, upstream):
    nomad.register(instance("onlycanary", "10.68.0.1", Tags=["canary"]))
    client = Client(start('--filter="canary" not in Tags', nomad=nomad.address, forward=upstream.address))
    assert_records(client.ask("web.default.nomad"), "A", "10.20.0.11", "10.20.0.12")
    assert_nxdomain(client.ask("canary.web.default.nomad"))
    assert_nxdomain(client.ask("onlycanary.default.nomad"))


def test_outside_the_namespaces_is_nxdomain(start, nomad, upstream):
    client = Client(start("--namespace=prod", nomad=nomad.address, forward=upstream.address))
    assert_records(client.ask("web.prod.nomad"), "A", "10.30.0.11", "10.30.0.12")
    assert_nxdomain(client.ask("redis.default.nomad"))
    assert_nxdomain(client.ask("default.nomad"))
    assert_nxdomain(client.ask("example.com.nomad"))
    assert nomad.count(namespace="default", path="/v1/service/redis") == 0


def test_instances_but_none_usable_is_nodata(ask):
    assert_nodata(ask("unusable.default.nomad"))
    assert_nodata(ask("unusable.default.nomad", "SRV"))


# ---- answers ----

def test_a_and_aaaa(ask):
    reply = ask("dual.default.nomad")
    assert_records(reply, "A", "192.0.2.20")
    assert reply.flags & dns.flags.RA and not reply.authority
    assert_records(ask("dual.default.nomad", "AAAA"), "AAAA", "2001:db8::20")


def test_one_record_per_distinct_address(ask):
    assert_records(ask("dup.default.nomad"), "A", "10.42.0.1")


def test_order_is_rotated(ask):
    first = {ask("web.default.nomad").answer[0][0].to_text() for _ in range(40)}
    assert len(first) > 1


def test_classic_bodies(ask):
    assert_records(ask("example.default.nomad"), "A", "1.2.3.4")
    assert_records(ask("multi.default.nomad"), "A", "1.2.3.4", "1.2.3.5", "1.2.3.6")
    assert_records(ask("fakeipv6.default.nomad", "AAAA"), "AAAA", "1:2:3::4")
    assert_nodata(ask("fakeipv6.default.nomad", "A"))
    assert_nxdomain(ask("nonexistent.default.nomad"))
    assert_records(ask("example.default.nomad", "SRV"), "SRV", "10 10 23202 1-2-3-4.example.default.nomad.")


def test_srv_has_the_port_the_target_and_its_address(ask):
    reply = ask("redis.default.nomad", "SRV")
    assert_records(reply, "SRV", "10 10 21880 192-168-29-77.redis.default.nomad.",
                   "10 10 25395 192-168-29-76.redis.default.nomad.")
    assert records(reply, "A", "additional") == ["192.168.29.76", "192.168.29.77"]
    assert {str(rrset.name) for rrset in reply.additional} == {
        "192-168-29-76.redis.default.nomad.", "192-168-29-77.redis.default.nomad."}


def test_srv_one_record_per_address_and_port(ask):
    reply = ask("dup.default.nomad", "SRV")
    assert_records(reply, "SRV", "10 10 1001 10-42-0-1.dup.default.nomad.", "10 10 1002 10-42-0-1.dup.default.nomad.")
    assert records(reply, "A", "additional") == ["10.42.0.1"]


def test_srv_of_ipv6_has_aaaa_in_additional(ask):
    reply = ask("v6svc.default.nomad", "SRV")
    assert_records(reply, "SRV", f"10 10 8443 {LONG_6}.v6svc.default.nomad.")
    assert records(reply, "AAAA", "additional") == ["2001:db8::10"]


def test_srv_of_a_tag_has_the_service_s_targets(ask):
    assert_records(ask("primary.redis.default.nomad", "SRV"), "SRV", "10 10 25395 192-168-29-76.redis.default.nomad.")


def test_srv_target_is_never_compressed(house):
    query = dns.message.make_query("redis.default.nomad", "SRV", use_edns=0).to_wire()
    wire = house.client.exchange(query)
    target = dns.name.from_text("192-168-29-76.redis.default.nomad.").to_wire()
    assert target in wire


def test_instances_without_a_port_have_no_srv(ask):
    assert_records(ask("noport.default.nomad"), "A", "192.0.2.7")
    assert_nodata(ask("noport.default.nomad", "SRV"))


def test_host_name_address_becomes_records_of_the_service_s_own_name(ask):
    reply = ask("ext-db.default.nomad")
    assert_records(reply, "A", "192.0.2.10")
    assert [rrset.rdtype for rrset in reply.answer] == [dns.rdatatype.A]
    assert ttls(reply) == {10}
    assert_records(ask("ext-db.default.nomad", "AAAA"), "AAAA", "2001:db8::d")


def test_host_name_beside_addresses(ask):
    assert_records(ask("exttwo.default.nomad"), "A", "10.49.0.1", "192.0.2.10")


def test_host_name_s_ttl_counts_when_smaller(ask):
    reply = ask("extshort.default.nomad")
    assert rcode(reply) == "NOERROR" and max(ttls(reply)) <= 3


def test_host_name_is_the_target_of_srv(ask):
    assert_records(ask("ext-db.default.nomad", "SRV"), "SRV", "10 10 5432 db.example.net.")
    assert_records(ask("exttwo.default.nomad", "SRV"), "SRV", "10 10 5432 db.example.net.",
                   "10 10 5433 10-49-0-1.exttwo.default.nomad.")


def test_host_name_may_end_in_a_dot(ask):
    assert_records(ask("extdot.default.nomad"), "A", "192.0.2.10")


def test_some_hosts_unresolvable_leaves_the_others(ask):
    assert_records(ask("exthalf.default.nomad"), "A", "192.0.2.10")


def test_no_host_has_such_records_is_nodata(ask):
    assert_nodata(ask("extempty.default.nomad"))


def test_all_hosts_failing_is_servfail(ask):
    assert rcode(ask("extbroken.default.nomad")) == "SERVFAIL"


def test_host_name_in_our_own_zone_one_step(house, ask):
    assert_records(ask("inward.default.nomad"), "A", "192.168.29.76", "192.168.29.77")
    assert house.upstream.count("redis.default.nomad") == 0


@pytest.mark.parametrize("name", ["loopy", "mutual"])
def test_host_names_in_a_loop_end(house, ask, name):
    reply = ask(f"{name}.default.nomad")
    assert rcode(reply) in ("NOERROR", "SERVFAIL") and not reply.answer
    assert house.upstream.count(f"{name}.default.nomad") == 0


def test_unusable_instances_are_left_out_the_others_stay(ask):
    assert_records(ask("odd.default.nomad", "SRV"), "SRV", "10 10 9100 10-41-0-1.odd.default.nomad.")
    addresses = records(ask("odd.default.nomad"), "A")
    assert addresses == ["10.41.0.1"]
    assert_nodata(ask("odd.default.nomad", "AAAA"))


@pytest.mark.parametrize("rdtype", ["AAAA", "TXT", "MX", "HTTPS", "SVCB", "NS", "SOA", "CNAME", "DS", "TYPE65280"])
def test_known_name_without_such_a_record_is_nodata(ask, rdtype):
    assert_nodata(ask("redis.default.nomad", rdtype), ttl=5)


def test_any_is_a_hinfo(ask):
    reply = ask("redis.default.nomad", "ANY")
    assert_records(reply, "HINFO", '"RFC8482" ""')
    assert len(reply.answer) == 1


@pytest.mark.parametrize("name", ["nosuch.default.nomad", "redis.prod.nomad", "nosuch.nosuch.nomad", "www.example.com.nomad"])
def test_unknown_name_is_nxdomain(ask, name):
    for rdtype in ("A", "AAAA", "SRV", "TXT"):
        assert_nxdomain(ask(name, rdtype), ttl=5)


def test_names_under_a_zone_are_never_forwarded(house, ask):
    for name in ("nosuch.nomad", "a.b.c.nomad", "NOMAD", "ns.nomad", "_x._y.default.nomad", "Example.Com.Nomad"):
        ask(name)
        ask(name, "TYPE65280")
    assert [entry["name"] for entry in house.upstream.queries() if entry["name"].endswith("nomad.")] == []


def test_names_that_only_look_like_the_zone_are_forwarded(house, ask):
    ask("www.notnomad")
    ask("nomad.example.org")
    assert house.upstream.count("www.notnomad") == 1 and house.upstream.count("nomad.example.org") == 1


def test_ttl_is_10_s_and_5_s(ask):
    assert ttls(ask("web.default.nomad")) == {10}
    reply = ask("web.default.nomad", "SRV")
    assert ttls(reply) == {10} and ttls(reply, "additional") == {10}
    assert ttls(ask("web.default.nomad", "TXT"), "authority") == {5}


def test_ttl_and_negative_ttl_are_options(start, nomad, upstream):
    client = Client(start("--ttl=42s", "--negative-ttl=7s", nomad=nomad.address, forward=upstream.address))
    assert ttls(client.ask("web.default.nomad")) == {42}
    assert_nxdomain(client.ask("nosuch.default.nomad"), ttl=7)


def test_ttl_0_is_honoured(start, nomad, upstream):
    client = Client(start("--ttl=0s", "--negative-ttl=0s", nomad=nomad.address, forward=upstream.address))
    assert ttls(client.ask("web.default.nomad")) == {0}
    assert_nxdomain(client.ask("nosuch.default.nomad"), ttl=0)
    nomad.register(instance("nosuch", "10.69.0.1"))
    eventually(lambda: assert_records(client.ask("nosuch.default.nomad"), "A", "10.69.0.1"))


# ---- when Nomad is not there ----

def test_a_name_not_yet_known_is_asked_for_and_waited_for(start, nomad, upstream):
    nomad.fault("slow=700", path="/v1/service")
    client = Client(start(nomad=nomad.address, forward=upstream.address))
    assert_records(client.ask("redis.default.nomad"), "A", "192.168.29.76", "192.168.29.77")


def test_nomad_too_slow_for_the_deadline_is_servfail(start, nomad, upstream):
    client = Client(start("--forward-timeout=1s", nomad=nomad.address, forward=upstream.address))
    nomad.fault("hang", path="/v1/service")
    reply = client.ask("redis.default.nomad")
    assert rcode(reply) == "SERVFAIL" and extended_errors(reply) and not reply.answer


def test_nomad_lost_known_name_is_the_last_good_answer(start, nomad, upstream):
    client = Client(start("--ttl=1s", nomad=nomad.address, forward=upstream.address))
    client.ask("redis.default.nomad")
    nomad.fault("refuse")

    def check():
        reply = client.ask("redis.default.nomad")
        assert_records(reply, "A", "192.168.29.76", "192.168.29.77")
        assert 3 in extended_errors(reply) and ttls(reply) == {1}

    eventually(check)


@pytest.mark.parametrize("ttl, expected", [("0s", 1), ("60s", 30)])
def test_nomad_lost_ttl_is_at_least_1_and_at_most_30(start, nomad, upstream, ttl, expected):
    client = Client(start(f"--ttl={ttl}", nomad=nomad.address, forward=upstream.address))
    client.ask("redis.default.nomad")
    nomad.fault("refuse")

    def check():
        client.ask("never-seen-before.prod.nomad")
        reply = client.ask("redis.default.nomad")
        assert_records(reply, "A", "192.168.29.76", "192.168.29.77")
        assert 3 in extended_errors(reply) and ttls(reply) == {expected}

    eventually(check)


def test_nomad_lost_until_max_stale(start, nomad, upstream):
    client = Client(start("--ttl=1s", "--max-stale=2s", nomad=nomad.address, forward=upstream.address))
    client.ask("redis.default.nomad")
    nomad.fault("refuse")

    def check():
        reply = client.ask("redis.default.nomad")
        assert rcode(reply) == "SERVFAIL" and 22 in extended_errors(reply)

    eventually(check)


def test_nomad_lost_name_never_seen_is_servfail_22(start, nomad, upstream):
    client = Client(start(nomad=nomad.address, forward=upstream.address))
    client.ask("redis.default.nomad")
    nomad.fault("refuse")
    reply = client.ask("web.prod.nomad")
    assert rcode(reply) == "SERVFAIL" and 22 in extended_errors(reply) and not reply.answer and not reply.authority


def test_token_refused_known_name_is_the_last_good_answer(start, nomad, upstream):
    client = Client(start("--ttl=1s", nomad=nomad.address, forward=upstream.address))
    client.ask("redis.default.nomad")
    nomad.fault("status=403")

    def check():
        reply = client.ask("redis.default.nomad")
        assert_records(reply, "A", "192.168.29.76", "192.168.29.77")
        assert 3 in extended_errors(reply)

    eventually(check)


def test_token_refused_other_names_are_servfail_0(start, nomad, upstream):
    nomad.fault("status=403")
    client = Client(start(nomad=nomad.address, forward=upstream.address, until="listening"))

    def check():
        reply = client.ask("redis.default.nomad")
        assert rcode(reply) == "SERVFAIL" and not reply.answer
        assert "token" in extended_errors(reply).get(0, "").lower(), reply

    eventually(check)


def test_token_for_some_namespaces_fails_search_list_names(start, nomad, upstream):
    nomad.is_acl = True
    nomad.add_token("only-prod", "client", ["prod"])
    token = {"NOMAD_TOKEN": "only-prod"}
    client = Client(start(nomad=nomad.address, forward=upstream.address, env=token, until="listening"))
    eventually(lambda: assert_records(client.ask("web.prod.nomad"), "A", "10.30.0.11", "10.30.0.12"))
    assert rcode(client.ask("example.com.nomad")) == "SERVFAIL"
    narrow = Client(start("--namespace=prod", nomad=nomad.address, forward=upstream.address, env=token))
    assert_nxdomain(narrow.ask("example.com.nomad"))
    assert_records(narrow.ask("web.prod.nomad"), "A", "10.30.0.11", "10.30.0.12")


def test_before_the_first_word_servfail_14(start, nomad, upstream):
    nomad.fault("refuse")
    client = Client(start(nomad=nomad.address, forward=upstream.address, until="listening"))
    reply = client.ask("redis.default.nomad")
    assert rcode(reply) == "SERVFAIL" and 14 in extended_errors(reply)
    assert rcode(client.ask("www.example.org")) == "NOERROR"
    nomad.clear_faults()
    eventually(lambda: assert_records(client.ask("redis.default.nomad"), "A", "192.168.29.76", "192.168.29.77"))


def test_a_deregistration_is_fewer_records(start, nomad, upstream):
    client = Client(start("--ttl=1s", nomad=nomad.address, forward=upstream.address))
    assert_records(client.ask("web.prod.nomad"), "A", "10.30.0.11", "10.30.0.12")
    nomad.deregister(ServiceName="web", Namespace="prod", Address="10.30.0.11")
    eventually(lambda: assert_records(client.ask("web.prod.nomad"), "A", "10.30.0.12"))
    nomad.deregister(ServiceName="web", Namespace="prod")
    eventually(lambda: assert_nxdomain(client.ask("web.prod.nomad")))


def test_a_removal_heard_before_an_outage_stays_in_force(start, nomad, upstream):
    client = Client(start("--ttl=1s", "--negative-ttl=1s", nomad=nomad.address, forward=upstream.address))
    client.ask("web.prod.nomad")
    nomad.deregister(ServiceName="web", Namespace="prod")
    eventually(lambda: assert_nxdomain(client.ask("web.prod.nomad")))
    nomad.fault("refuse")

    def check():
        reply = client.ask("redis.default.nomad")
        assert extended_errors(reply)

    eventually(check)
    assert not client.ask("web.prod.nomad").answer


def test_no_leader_is_asked_again_with_stale(start, nomad, upstream):
    client = Client(start("--ttl=1s", nomad=nomad.address, forward=upstream.address))
    assert rcode(client.ask("redis.default.nomad")) == "NOERROR"
    nomad.fault("no-leader")
    reply = client.ask("web.prod.nomad")
    assert_records(reply, "A", "10.30.0.11", "10.30.0.12")
    assert 3 in extended_errors(reply)
    assert nomad.count("/v1/service/web", is_stale=True) >= 1


def test_more_than_64_kib_as_many_whole_records_as_fit(start, nomad, upstream):
    nomad.register(*[instance("vast", f"10.{80 + n // 62500}.{n // 250 % 250}.{n % 250 + 1}") for n in range(5000)])
    client = Client(start(nomad=nomad.address, forward=upstream.address))
    first = client.ask("vast.default.nomad", tcp=True)
    assert rcode(first) == "NOERROR" and 3900 <= len(records(first)) < 5000

    def check():
        assert records(client.ask("vast.default.nomad", tcp=True)) != records(first)

    eventually(check)
