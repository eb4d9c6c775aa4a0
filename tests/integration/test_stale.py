"""Answers that grow old: served while upstream fails (RFC 8767), refreshed before they expire while it does not."""

import time

import pytest
from fake_upstream import address_of
from harness import Client, eventually, extended_errors, rcode, records, ttls

STALE, STALE_NXDOMAIN = 3, 19


@pytest.fixture
def patient(start, nomad, upstream):
    """A daemon whose entries expire after a second."""
    def begin(*options):
        daemon = start("--cache-max-ttl=1s", *options, nomad=nomad.address, forward=upstream.address)
        return daemon, Client(daemon)
    return begin


def learn_and_expire(client, upstream, name, mode="answer"):
    upstream.set_mode(mode, name)
    client.ask(name)
    time.sleep(1.1)


def assert_stale(reply, name, daemon=None):
    assert rcode(reply) == "NOERROR" and records(reply) == [address_of(name)]
    assert set(ttls(reply)) == {30} and STALE in extended_errors(reply)


@pytest.mark.parametrize("failure", ["servfail", "refused"])
def test_a_failed_refresh_is_bridged(patient, upstream, failure):
    daemon, client = patient()
    name = f"{failure}.example.org"
    learn_and_expire(client, upstream, name)
    upstream.set_mode(failure, name)
    assert_stale(client.ask(name), name)
    asked = upstream.count(name)
    for _ in range(5):
        assert_stale(client.ask(name), name)
    assert upstream.count(name) == asked, "a failed refresh was tried again at once"
    stale = [value for key, value in daemon.metrics().items() if "stale_answers_total" in key and "cache" in key]
    assert stale == [6]


def test_a_dead_upstream_is_bridged(patient, upstream):
    daemon, client = patient()
    learn_and_expire(client, upstream, "dead.example.org")
    upstream.stop()
    assert_stale(client.ask("dead.example.org"), "dead.example.org")
    assert rcode(client.ask("never-seen.example.org")) == "SERVFAIL"


def test_a_stale_nxdomain_says_so(patient, upstream):
    _, client = patient()
    learn_and_expire(client, upstream, "gone.example.org", "nxdomain")
    upstream.set_mode("servfail", "gone.example.org")
    reply = client.ask("gone.example.org")
    assert rcode(reply) == "NXDOMAIN" and STALE_NXDOMAIN in extended_errors(reply)
    assert set(ttls(reply, "authority")) == {30}


def test_a_late_refresh_is_bridged_and_goes_on(patient, upstream):
    _, client = patient("--forward-timeout=2s")
    name = "late.example.org"
    learn_and_expire(client, upstream, name)
    upstream.set_records(name, "A", "192.0.2.99")
    upstream.set_mode("slow=1500", name)
    assert_stale(client.ask(name), name)
    assert_stale(client.ask(name), name)

    def check():
        assert records(client.ask(name)) == ["192.0.2.99"]

    eventually(check)


def test_without_serve_stale_a_failure_is_a_failure(patient, upstream):
    _, client = patient("--serve-stale=0")
    learn_and_expire(client, upstream, "off.example.org")
    upstream.set_mode("servfail", "off.example.org")
    reply = client.ask("off.example.org")
    assert rcode(reply) == "SERVFAIL" and not records(reply)


def test_a_fresh_answer_replaces_a_stale_one(patient, upstream):
    _, client = patient()
    name = "back.example.org"
    learn_and_expire(client, upstream, name)
    upstream.set_mode("nxdomain", name)
    reply = client.ask(name)
    assert rcode(reply) == "NXDOMAIN" and not extended_errors(reply)


@pytest.mark.parametrize("mode", ["ttl=0", "nxdomain-no-soa"])
def test_an_answer_that_may_not_be_kept_ends_the_old_one_all_the_same(patient, upstream, mode):
    _, client = patient()
    name = "moved.example.org"
    learn_and_expire(client, upstream, name)
    upstream.set_mode(mode, name)
    assert not extended_errors(client.ask(name))
    upstream.set_mode("servfail", name)
    assert rcode(client.ask(name)) == "SERVFAIL"


def test_a_popular_name_is_refreshed_before_it_expires(start, nomad, upstream):
    daemon = start("--cache-max-ttl=10s", nomad=nomad.address, forward=upstream.address)
    client = Client(daemon)
    for _ in range(3):
        client.ask("popular.example.org")
    client.ask("rare.example.org")
    time.sleep(9.2)
    assert max(ttls(client.ask("popular.example.org"))) <= 1
    client.ask("rare.example.org")

    def check():
        assert upstream.count("popular.example.org") == 2
        assert max(ttls(client.ask("popular.example.org"))) > 5

    eventually(check)
    assert upstream.count("rare.example.org") == 1
    assert daemon.metrics()["nomad_dns_cache_prefetches_total"] == 1
