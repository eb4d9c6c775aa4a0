"""Scarcity and churn: few descriptors, many changes, addresses that are not there yet."""

import socket
import threading

from fake_upstream import address_of
from harness import Client, assert_nodata, assert_nxdomain, assert_records, eventually, free_port, rcode, records

REDIS = ["192.168.29.76", "192.168.29.77"]
QUICK = ["--ttl=1s", "--negative-ttl=1s"]


def instance(name, address, port=8080, **more):
    return {"ServiceName": name, "Address": address, "Port": port, **more}


def test_few_descriptors_are_used_up_by_tcp_and_udp_does_not_notice(start, nomad, upstream):
    daemon = start(*QUICK, "--tcp-idle-timeout=1s", nomad=nomad.address, forward=upstream.address, descriptors=48)
    client = Client(daemon)
    assert_records(client.ask("redis.default.nomad"), "A", *REDIS)
    crowd = []
    try:
        for _ in range(100):
            connection = socket.socket()
            connection.setblocking(False)
            connection.connect_ex((daemon.host, daemon.port))
            crowd.append(connection)
        for _ in range(20):
            assert records(client.ask("redis.default.nomad")) == REDIS
    finally:
        for connection in crowd:
            connection.close()

    def check():
        assert_records(client.ask("redis.default.nomad", tcp=True), "A", *REDIS)
        assert records(client.ask("after.example.org")) == [address_of("after.example.org")]

    eventually(check)


def test_many_cold_names_at_once_with_few_descriptors(start, nomad, upstream):
    client = Client(start(nomad=nomad.address, forward=upstream.address, descriptors=48))
    replies = []

    def run(number):
        replies.append(client.ask(f"few{number}.slow=200.mode.test"))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(replies) == 100 and {rcode(reply) for reply in replies} <= {"NOERROR", "SERVFAIL"}
    eventually(lambda: assert_records_of(client, "afterwards.example.org"))


def assert_records_of(client, name):
    assert records(client.ask(name)) == [address_of(name)]


def test_an_address_that_appears_later_can_be_listened_on(start, nomad):
    port = free_port()
    daemon = start(f"--listen=192.0.2.53:{port}", nomad=nomad.address)
    assert_records(Client(daemon).ask("redis.default.nomad"), "A", *REDIS)


def test_flapping_ends_in_the_final_state(start, nomad, upstream):
    client = Client(start("--ttl=0s", "--negative-ttl=0s", nomad=nomad.address, forward=upstream.address))
    for number in range(300):
        nomad.register(instance("flap", "10.70.0.1", 1000 + number))
        client.ask("flap.default.nomad")
        nomad.deregister(ServiceName="flap")
    eventually(lambda: assert_nxdomain(client.ask("flap.default.nomad")))
    nomad.register(instance("flap", "10.70.0.2"))
    eventually(lambda: assert_records(client.ask("flap.default.nomad"), "A", "10.70.0.2"))


def test_a_catalogue_that_shrinks_to_nothing(start, nomad, upstream):
    client = Client(start(*QUICK, nomad=nomad.address, forward=upstream.address))
    for name in ("redis", "web", "v6svc", "noport", "ext-db"):
        client.ask(f"{name}.default.nomad")
    nomad.deregister()

    def check():
        for name in ("redis", "web", "v6svc", "noport", "ext-db"):
            assert_nxdomain(client.ask(f"{name}.default.nomad"))
        assert_nxdomain(client.ask("default.nomad"))

    eventually(check)
    nomad.register(instance("redis", "10.71.0.1"))
    eventually(lambda: assert_records(client.ask("redis.default.nomad"), "A", "10.71.0.1"))
    eventually(lambda: assert_nodata(client.ask("default.nomad")))


def test_a_name_that_appears_is_found_after_negative_ttl(start, nomad, upstream):
    client = Client(start(*QUICK, nomad=nomad.address, forward=upstream.address))
    assert_nxdomain(client.ask("late.default.nomad"))
    assert_nxdomain(client.ask("late.fresh.nomad"))
    nomad.register(instance("late", "10.72.0.1"))
    nomad.register(instance("late", "10.72.0.2", Namespace="fresh"))  # a job is in one namespace
    eventually(lambda: assert_records(client.ask("late.default.nomad"), "A", "10.72.0.1"))
    eventually(lambda: assert_records(client.ask("late.fresh.nomad"), "A", "10.72.0.2"))


def test_changes_of_tags_ports_and_addresses_are_followed(start, nomad, upstream):
    client = Client(start(*QUICK, nomad=nomad.address, forward=upstream.address))
    assert_records(client.ask("primary.redis.default.nomad"), "A", "192.168.29.76")
    nomad.deregister(ServiceName="redis")
    nomad.register(instance("redis", "192.168.29.76", 7000, Tags=["replica"]),
                   instance("redis", "2001:db8::99", 7001, Tags=["primary"]))

    def check():
        assert_nodata(client.ask("primary.redis.default.nomad"))
        assert_records(client.ask("primary.redis.default.nomad", "AAAA"), "AAAA", "2001:db8::99")
        assert_records(client.ask("replica.redis.default.nomad"), "A", "192.168.29.76")
        assert_nxdomain(client.ask("192-168-29-77.redis.default.nomad"))
        assert_records(client.ask("192-168-29-76.redis.default.nomad", "SRV"), "SRV",
                       "10 10 7000 192-168-29-76.redis.default.nomad.")

    eventually(check)


def test_killed_and_started_again(start, nomad, upstream):
    daemon = start(nomad=nomad.address, forward=upstream.address)
    daemon.process.kill()
    daemon.process.wait()
    daemon.process = None
    again = start(nomad=nomad.address, forward=upstream.address)
    assert_records(Client(again).ask("redis.default.nomad"), "A", *REDIS)
