"""The fakes, held against the recordings of a real agent and against dnspython: a lying fake proves nothing."""

import gzip
import http.client
import json
import os
import re
import socket
import ssl
import sys
import threading
import time
import urllib.parse

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import bexpr
from certs import Certificates
from fake_nomad import FAULT_MODES, VERBS, FakeNomad, Refusal, parse_duration, server_context
from fake_upstream import CLOSE, LIES, MODES, FakeUpstream, address6_of, address_of

FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "fixtures")
REAL = os.path.join(FIXTURES, "nomad", "real")


def get(nomad, path, listener=0, headers=None, method="GET", timeout=10):
    """(status, headers, body) of one request on a connection of its own."""
    parts = urllib.parse.urlsplit(nomad.addresses[listener])
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
    try:
        connection.request(method, path, headers=headers or {})
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


def get_raw(nomad, target, headers="", listener=0):
    """The reply as on the wire, without its date. The connection is kept, as the recordings kept it."""
    if nomad.listeners[listener].is_unix:
        client = socket.socket(socket.AF_UNIX)
        client.connect(nomad.listeners[listener].rest)
    else:
        parts = urllib.parse.urlsplit(nomad.addresses[listener])
        client = socket.create_connection((parts.hostname, parts.port))
    with client:
        client.sendall(f"{target} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode())
        client.settimeout(5)
        data = b""
        while True:
            head, end, body = data.partition(b"\r\n\r\n")
            length = re.search(rb"Content-Length: (\d+)", head)
            if end and length and len(body) >= int(length[1]):
                return without_date(data)
            part = client.recv(65536)
            if not part:
                return without_date(data)
            data += part


def without_date(data):
    return re.sub(rb"Date: [^\r]*\r\n", b"", data)


def recording(name):
    with open(os.path.join(REAL, name), "rb") as file:
        return without_date(file.read())


def real_catalogue():
    """What the recordings' agent F held, at index 22."""
    services = []
    for name in ("web-2-instances", "ipv6", "hostname-address", "noport"):
        with open(os.path.join(REAL, f"service-{name}.json"), encoding="utf-8") as file:
            services += json.load(file)
    return {"Services": services}


@pytest.fixture
def nomad():
    with FakeNomad(catalogue=os.path.join(FIXTURES, "demo", "catalogue.json")) as fake:
        yield fake


def test_bodies_and_heads_are_the_recorded_ones():
    with FakeNomad(is_shuffled=False) as fake:
        services = real_catalogue()["Services"]
        fake.register(*services)
        for entry in fake.catalogue.entries.values():
            original = next(row for row in services if row["ID"] == entry["ID"])
            entry.update(CreateIndex=original["CreateIndex"], ModifyIndex=original["ModifyIndex"])
        fake.set_index(22)
        for target, name in {
            "GET /v1/service/web": "service-web-2-instances.http",
            "GET /v1/service/v6svc": "service-ipv6.http",
            "GET /v1/service/Ext-DB": "service-hostname-address.http",
            "GET /v1/service/noport": "service-noport.http",
            "GET /v1/service/nosuch": "service-missing.http",
            "GET /v1/service/web?namespace=nosuch": "service-unknown-namespace.http",
            "GET /v1/service/web?namespace=*": "service-wildcard-namespace.http",
            "GET /v1/services": "services-list-default.http",
            "GET /v1/service/web?index=5&wait=60": "error-400-wait.http",
            "GET /v1/services?index=abc": "error-400-index.http",
            "GET /v1/services?region=mars": "error-500-region.http",
        }.items():
            ours, theirs = get_raw(fake, target), recording(name)
            ours_index = re.sub(rb"X-Nomad-Index: \d+", b"", ours)
            assert ours_index == re.sub(rb"X-Nomad-Index: \d+", b"", theirs), name


def test_an_empty_catalogue_lists_nothing_at_index_1():
    with FakeNomad() as fake:
        assert get_raw(fake, "GET /v1/services") == recording("services-list-empty.http")


def test_errors_are_the_recorded_ones():
    with FakeNomad(acl=True, no_leader_s=0.1) as fake:
        fake.add_token("good", "client", ["prod"])
        assert get_raw(fake, "GET /v1/service/web", "X-Nomad-Token: good\r\n") == recording("error-403-service.http")
        assert get_raw(fake, "GET /v1/services", "X-Nomad-Token: bad\r\n") == recording("error-403-bad-token.http")
        assert get_raw(fake, "POST /v1/services") == recording("error-405-post.http")
        fake.fault("no-leader")
        assert get_raw(fake, "GET /v1/services") == recording("error-500-no-leader-server.http")


def test_the_task_api_wants_a_token_and_sends_no_vary(tmp_path):
    with FakeNomad(listen=[f"unix://{tmp_path}/api.sock"], acl=True) as fake:
        assert get_raw(fake, "GET /v1/services") == recording("taskapi-token-none.http")
        unknown = "X-Nomad-Token: 5ac99172-6161-e873-c0f4-a64836ea72f3\r\n"
        assert get_raw(fake, "GET /v1/services", unknown) == recording("taskapi-token-unknown.http")
        assert get_raw(fake, "GET /v1/services", "X-Nomad-Token: half\r\n") == recording("taskapi-token-malformed.http")
        fake.add_token("a.b.c", "workload")
        reply = get_raw(fake, "GET /v1/services?namespace=prod", "Accept-Encoding: gzip\r\nX-Nomad-Token: a.b.c\r\n")
        assert reply.endswith(b"\r\n\r\n[]") and b"Vary" not in reply and b"gzip" not in reply


def test_a_connection_carries_many_requests(nomad):
    parts = urllib.parse.urlsplit(nomad.address)
    connection = http.client.HTTPConnection(parts.hostname, parts.port)
    for _ in range(3):
        connection.request("GET", "/v1/service/redis")
        assert connection.getresponse().read().startswith(b"[{")
    assert {entry["connection"] for entry in nomad.requests()} == {1}


def test_gzip_only_when_asked(nomad):
    _, headers, body = get(nomad, "/v1/service/redis", headers={"Accept-Encoding": "gzip"})
    assert headers["Content-Encoding"] == "gzip" and len(json.loads(gzip.decompress(body))) == 2
    _, headers, body = get(nomad, "/v1/service/redis")
    assert "Content-Encoding" not in headers and len(json.loads(body)) == 2


def test_names_are_case_sensitive(nomad):
    assert json.loads(get(nomad, "/v1/service/Ext-DB")[2])[0]["Address"] == "db.example.net"
    assert get(nomad, "/v1/service/ext-db")[2] == b"[]"


def test_whole_bodies_are_served_with_the_keys_they_have(nomad):
    assert get(nomad, "/v1/service/example")[2] == (
        b'[{"Address":"1.2.3.4","Namespace":"default","Port":23202,"ServiceName":"example"}]')


def test_a_wildcard_lists_every_namespace_that_has_services(nomad):
    rows = json.loads(get(nomad, "/v1/services?namespace=*")[2])
    assert {row["Namespace"] for row in rows} == {"default", "prod"}


@pytest.mark.parametrize("expression, expected", [
    ('"canary" not in Tags', 2), ('"canary" in Tags', 1), ('Address == "10.20.0.11"', 1), ('Address != "10.20.0.11"', 2),
    ('"v1" in Tags and Port == 24592', 1), ('Tags is empty', 0), ('Tags contains "http" and not (Port == 24592)', 2),
    ('Port == 24592 or Port == 28017', 2), ('Address matches "^10[.]"', 3),
])
def test_filters(nomad, expression, expected):
    body = get(nomad, "/v1/service/web?filter=" + urllib.parse.quote(expression))[2]
    assert len(json.loads(body)) == expected


def test_a_bad_filter_is_a_400(nomad):
    status, _, body = get(nomad, "/v1/service/web?filter=%3D%3D")
    assert status == 400 and body.startswith(b"failed to create result paginator")
    with pytest.raises(bexpr.BadFilter):
        bexpr.parse('Nonsense == "x"')


@pytest.mark.parametrize("text, seconds", [("60s", 60), ("500ms", 0.5), ("1m30s", 90), ("-5s", -5), ("0", 0)])
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


def test_a_bare_number_is_no_duration():
    with pytest.raises(Refusal):
        parse_duration("60")


def blocked(nomad, path):
    """Starts a held request; a function that waits for its reply."""
    result = []
    before = nomad.count()

    def run():
        try:
            result.append(get(nomad, path))
        except http.client.HTTPException:
            result.append(None)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 5
    while nomad.count() == before and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.05)

    def finish(timeout=5):
        thread.join(timeout)
        return result[0] if result else None

    return finish


@pytest.mark.parametrize("path, is_woken", [
    ("/v1/services?namespace=*", True), ("/v1/services?namespace=default", True), ("/v1/services?namespace=~", True),
    ("/v1/service/redis?namespace=default", True), ("/v1/service/nosuch?namespace=default", True),
    ("/v1/service/web?namespace=default", False), ("/v1/services?namespace=prod", False),
])
def test_what_a_change_wakes(nomad, path, is_woken):
    index = nomad.catalogue.index
    finish = blocked(nomad, f"{path}&index={index}&wait=1s")
    begun = time.monotonic()
    nomad.register({"ServiceName": "redis", "Address": "192.168.29.78", "Port": 1})
    status, headers, _ = finish()
    assert status == 200 and int(headers["X-Nomad-Index"]) == index + 1
    assert (time.monotonic() - begun < 0.8) == is_woken


def test_an_index_behind_the_table_returns_at_once(nomad):
    begun = time.monotonic()
    get(nomad, f"/v1/service/web?index={nomad.catalogue.index - 1}&wait=30s")
    assert time.monotonic() - begun < 5


def test_an_identical_registration_moves_nothing(nomad):
    before = nomad.catalogue.index
    nomad.register({"ServiceName": "redis", "Address": "192.168.29.76", "Port": 25395, "Tags": ["primary"]})
    assert nomad.catalogue.index == before
    assert nomad.deregister(ServiceName="redis", Address="192.168.29.76") == 1
    assert nomad.catalogue.index == before + 1


def test_rights():
    with FakeNomad(catalogue=os.path.join(FIXTURES, "demo", "catalogue.json"), acl=True) as fake:
        fake.add_token("m", "management")
        fake.add_token("p", "client", ["prod"])
        fake.add_token("w", "workload")
        as_who = lambda token, path: get(fake, path, headers={"X-Nomad-Token": token} if token else {})
        everywhere = "/v1/services?namespace=*"
        assert len(json.loads(as_who("m", everywhere)[2])) == 2
        assert [row["Namespace"] for row in json.loads(as_who("p", everywhere)[2])] == ["prod"]
        for token in ("w", ""):
            status, headers, body = as_who(token, everywhere)
            assert (status, headers["X-Nomad-Index"], body) == (200, "0", b"[]")
        assert as_who("x", everywhere)[0] == 403
        assert as_who("p", "/v1/services")[0] == 403
        assert as_who("p", "/v1/service/web?namespace=prod")[0] == 200
        assert as_who("w", "/v1/services?namespace=prod")[0] == 200
        assert as_who("w", "/v1/services?namespace=~")[0] == 200
        assert as_who("p", "/v1/services?namespace=~")[0] == 403
        assert as_who("", "/v1/service/web")[0] == 403
        assert as_who("p", "/v1/service/web?namespace=*")[2] == b"[]"
        bearer = get(fake, "/v1/services?namespace=prod", headers={"Authorization": "bearer p"})
        assert bearer[0] == 200


class Stream:
    """A client of the event stream that reads line by line."""

    def __init__(self, nomad, query, token=""):
        parts = urllib.parse.urlsplit(nomad.address)
        self.socket = socket.create_connection((parts.hostname, parts.port), timeout=5)
        self.socket.sendall(f"GET /v1/event/stream?{query} HTTP/1.1\r\nHost: x\r\nX-Nomad-Token: {token}\r\n\r\n".encode())
        self.file = self.socket.makefile("rb")
        self.head = b""
        while not self.head.endswith(b"\r\n\r\n"):
            self.head += self.file.readline()

    def next(self):
        return json.loads(self.file.readline())


def test_the_stream_greets_tells_and_beats():
    with FakeNomad(heartbeat_s=0.3) as fake:
        stream = Stream(fake, "topic=Service&namespace=*")
        assert stream.head == recording("stream-denied.http")
        assert stream.next() == {}
        fake.register({"ServiceName": "web", "Address": "10.0.0.1", "Port": 80})
        frame = stream.next()
        while frame == {}:
            frame = stream.next()
        with open(os.path.join(REAL, "stream-tag-update.ndjson"), encoding="utf-8") as file:
            real = json.loads(file.readlines()[1])
        assert frame.keys() == real.keys() and frame["Events"][0].keys() == real["Events"][0].keys()
        assert frame["Events"][0]["Payload"]["Service"].keys() == real["Events"][0]["Payload"]["Service"].keys()
        fake.deregister(ServiceName="web")
        types = []
        while not types:
            types = [event["Type"] for event in stream.next().get("Events", [])]
        assert types == ["ServiceDeregistration"]
        assert stream.next() == {}


def test_a_stream_from_index_0_replays_what_is_buffered():
    with FakeNomad() as fake:
        for number in range(3):
            fake.register({"ServiceName": "web", "Address": f"10.0.0.{number}", "Port": 80})
        stream = Stream(fake, "topic=Service:web&index=0")
        assert [stream.next().get("Index") for _ in range(4)] == [None, 2, 3, 4]
        exact = Stream(fake, "topic=Service&index=3")
        assert [exact.next().get("Index") for _ in range(3)] == [None, 3, 4]


def frames(stream, count):
    """The next `count` frames that are no heartbeat."""
    found = []
    while len(found) < count:
        frame = stream.next()
        if frame:
            found.append(frame)
    return found


def web(number, **more):
    return {"ServiceName": "web", "Address": f"10.0.{number // 250}.{number % 250 + 1}", "Port": 80, **more}


def test_a_stream_between_two_indexes_starts_at_the_next_and_past_the_tail_at_the_tail():
    with FakeNomad() as fake:
        fake.register(web(1))
        fake.raft_noise(3)
        fake.register(web(2))
        assert frames(Stream(fake, "topic=Service&index=4"), 1)[0]["Index"] == 6
        assert frames(Stream(fake, "topic=Service&index=99"), 1)[0]["Index"] == 6
        fake.raft_noise(100)
        fake.register(web(3))
        assert frames(Stream(fake, "topic=Service&index=1"), 1)[0]["Index"] == 107


def test_one_registration_of_many_services_is_one_frame_and_a_stop_is_many():
    with FakeNomad() as fake:
        stream = Stream(fake, "topic=Service")
        fake.register(*[web(number) for number in range(5)])
        assert len(frames(stream, 1)[0]["Events"]) == 5
        fake.deregister(ServiceName="web", Address="10.0.0.1")
        fake.deregister(ServiceName="web", Address="10.0.0.2")
        assert [frame["Index"] for frame in frames(stream, 2)] == [3, 4]
        fake.deregister("PlanResult", ServiceName="web")
        last = frames(stream, 1)[0]
        assert (last["Index"], len(last["Events"]), last["Events"][0]["Type"]) == (5, 3, "PlanResult")


def test_an_event_that_two_keys_match_comes_twice():
    with FakeNomad() as fake:
        stream = Stream(fake, "topic=Service:web&topic=Service:shop")
        fake.register(web(1, JobID="shop"))
        events = frames(stream, 1)[0]["Events"]
        assert len(events) == 2 and events[0] == events[1]


def test_the_collector_moves_the_index_and_tells_nobody():
    with FakeNomad(heartbeat_s=0.2) as fake:
        fake.register(web(1))
        stream = Stream(fake, "topic=Service&index=99")
        assert frames(stream, 1)
        before = fake.catalogue.index
        fake.deregister(None, ServiceName="web")
        assert fake.catalogue.index == before + 1
        assert [stream.next() for _ in range(2)] == [{}, {}]


def test_a_burst_drops_its_reader_and_the_heart_goes_on():
    with FakeNomad(heartbeat_s=0.2) as fake:
        fake.register(*[web(number) for number in range(150)])
        stream = Stream(fake, "topic=Service&index=99")
        assert len(frames(stream, 1)[0]["Events"]) == 150
        fake.deregister(ServiceName="web")
        assert len(frames(stream, 12)) == 12
        assert [stream.next() for _ in range(3)] == [{}, {}, {}]
        fake.register(web(1))
        assert stream.next() == {}
        assert fake.catalogue.broker.dropped_count == 1 and fake.streams() == 0


def test_bursts_of_a_hundred_arrive_whole():
    with FakeNomad() as fake:
        fake.register(*[web(number) for number in range(100)])
        stream = Stream(fake, "topic=Service&index=99")
        frames(stream, 1)
        fake.deregister(ServiceName="web")
        assert len(frames(stream, 100)) == 100


def test_a_new_namespace_is_missing_from_an_old_wildcard_stream():
    with FakeNomad() as fake:
        old = Stream(fake, "topic=Service&namespace=*")
        assert old.next() == {}
        fake.add_namespace("late")
        fake.register(web(1, Namespace="late"))
        fake.register(web(2))
        assert frames(old, 1)[0]["Events"][0]["Namespace"] == "default"
        young = Stream(fake, "topic=Service&namespace=*")
        assert frames(young, 1)[0]["Events"][0]["Namespace"] == "late"


@pytest.mark.parametrize("version, status, head", [
    ("1.9.5", 500, b"HTTP/1.1 500"), ("1.11.1", 403, b"HTTP/1.1 403"), ("1.11.2", 200, b"HTTP/0.0 200"),
    ("2.0.5", 200, b"HTTP/1.1 200"),
])
def test_how_versions_refuse_a_stream(version, status, head):
    with FakeNomad(acl=True, version=version) as fake:
        fake.add_token("w", "workload")
        fake.denied_stream_open_s = 0.2
        with socket.create_connection(urllib.parse.urlsplit(fake.address).netloc.split(":")) as client:
            client.sendall(b"GET /v1/event/stream?topic=Service HTTP/1.1\r\nX-Nomad-Token: w\r\nConnection: close\r\n\r\n")
            client.settimeout(5)
            data = b""
            while True:
                part = client.recv(65536)
                if not part:
                    break
                data += part
        assert data.startswith(head)
        assert data.endswith(b"Permission denied" if status != 200 else b"\r\n\r\n")


def test_old_versions_send_the_stream_in_chunks_and_say_why_they_end():
    with FakeNomad(version="1.10.0") as fake:
        stream = Stream(fake, "topic=Service")
        assert b"Transfer-Encoding: chunked" in stream.head
        assert [stream.file.readline() for _ in range(3)] == [b"3\r\n", b"{}\n", b"\r\n"]
        fake.end_streams()
        rest = stream.file.read(200)
        assert b"subscription closed by server" in rest and rest.endswith(b"0\r\n\r\n")


def test_a_deleted_token_ends_its_stream_silently():
    with FakeNomad(acl=True, heartbeat_s=0.1) as fake:
        fake.ended_stream_open_s = 0.3
        fake.add_token("p", "client", ["default"])
        parts = urllib.parse.urlsplit(fake.address)
        with socket.create_connection((parts.hostname, parts.port), timeout=5) as client:
            client.sendall(b"GET /v1/event/stream?topic=Service HTTP/1.1\r\nX-Nomad-Token: p\r\n\r\n")
            file = client.makefile("rb")
            while file.readline() != b"{}\n":
                pass
            fake.drop_token("p")
            fake.register(web(1))
            assert set(file.readlines()) <= {b"{}\n"}


def test_a_workload_with_a_policy_may_stream():
    with FakeNomad(acl=True) as fake:
        fake.add_token("w", "workload", ["*"])
        parts = urllib.parse.urlsplit(fake.address)
        with socket.create_connection((parts.hostname, parts.port), timeout=5) as client:
            client.sendall(b"GET /v1/event/stream?topic=Service&namespace=* HTTP/1.1\r\nX-Nomad-Token: w\r\n\r\n")
            file = client.makefile("rb")
            while file.readline() != b"\r\n":
                pass
            assert file.readline() == b"{}\n"


def test_a_restored_snapshot_takes_the_index_back_and_wakes_nobody(nomad):
    snapshot = nomad.snapshot()
    nomad.register({"ServiceName": "redis", "Address": "192.168.29.78", "Port": 1})
    index = nomad.catalogue.index
    stream = Stream(nomad, "topic=Service&index=999999")
    finish = blocked(nomad, f"/v1/services?namespace=*&index={index}&wait=1s")
    begun = time.monotonic()
    nomad.restore(snapshot)
    assert int(finish()[1]["X-Nomad-Index"]) == index - 1 and time.monotonic() - begun > 0.5
    assert len(json.loads(get(nomad, "/v1/service/redis")[2])) == 2
    nomad.ended_stream_open_s = 0.1
    assert nomad.streams() == 0 and stream.next() == {}


def test_a_request_held_across_a_restored_snapshot_ends_with_the_smaller_index(nomad):
    snapshot = nomad.snapshot()
    nomad.register(web(1))
    index = nomad.catalogue.index
    finish = blocked(nomad, f"/v1/services?namespace=~&index={index}&wait=1s")
    nomad.restore(snapshot)
    assert int(finish()[1]["X-Nomad-Index"]) == index - 1


def test_an_index_above_the_table_is_woken_by_no_change(nomad):
    index = nomad.catalogue.index
    finish = blocked(nomad, f"/v1/services?namespace=~&index={index + 50}&wait=1s")
    begun = time.monotonic()
    nomad.register({"ServiceName": "redis", "Address": "192.168.29.78", "Port": 1})
    assert finish()[0] == 200 and time.monotonic() - begun > 0.5


def test_a_killed_agent_comes_back_and_replays(nomad):
    nomad.register(web(7))
    nomad.kill()
    with pytest.raises(ConnectionRefusedError):
        get(nomad, "/v1/services")
    nomad.revive()
    assert frames(Stream(nomad, "topic=Service&index=0"), 1)
    nomad.kill()
    nomad.revive(is_replaying=False)
    stream = Stream(nomad, "topic=Service&index=0")
    assert stream.next() == {}
    nomad.inject('{"half": ')
    assert stream.file.readline() == b'{"half": \n'
    nomad.cut_streams('{"Index":12,"Ev')
    assert stream.file.read() == b'{"Index":12,"Ev'


def test_a_frozen_agent_writes_nothing_and_thaws(nomad):
    finish = blocked(nomad, f"/v1/services?namespace=*&index={nomad.catalogue.index}&wait=30s")
    stream = Stream(nomad, "topic=Service&index=999999")
    assert stream.next() == {}
    nomad.freeze()
    nomad.register(web(1))
    stream.socket.settimeout(0.3)
    with pytest.raises(TimeoutError):
        stream.next()
    assert finish(0.1) is None
    nomad.thaw()
    assert finish()[0] == 200


def test_one_of_two_agents_freezes():
    with FakeNomad(listen=["http://127.0.0.1:0", "http://127.0.0.1:0"]) as fake:
        index = fake.catalogue.index
        stream = Stream(fake, "topic=Service&index=999999")
        finish = blocked(fake, f"/v1/services?namespace=*&index={index}&wait=30s")
        assert stream.next() == {}
        fake.freeze(listener=0)
        fake.register(web(1))
        stream.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            stream.next()
        assert finish(0.1) is None
        assert int(get(fake, "/v1/services", listener=1)[1]["X-Nomad-Index"]) > index
        fake.thaw()
        assert finish()[0] == 200


def test_an_expired_token_ends_its_stream_at_the_next_event():
    with FakeNomad(acl=True, heartbeat_s=0.1) as fake:
        fake.add_token("w", "workload", ["*"])
        stream = Stream(fake, "topic=Service&namespace=*", token="w")
        assert stream.next() == {}
        fake.expire_token("w")
        assert get(fake, "/v1/services", headers={"X-Nomad-Token": "w"})[0] == 403
        assert stream.next() == {} and stream.next() == {}
        fake.ended_stream_open_s = 0.3
        fake.register(web(1))
        assert {line.strip() for line in stream.file} <= {b"{}"}


def test_a_late_reply_is_as_true_as_when_it_was_asked_for(nomad):
    index = nomad.catalogue.index
    nomad.fault("late=500", path="/v1/service/web")
    finish = blocked(nomad, "/v1/service/web")
    nomad.register(web(1))
    status, headers, body = finish()
    assert status == 200 and int(headers["X-Nomad-Index"]) == index and b'"10.0.0.2"' not in body


def test_a_follower_s_stream_lags_behind_the_table(nomad):
    stream = Stream(nomad, "topic=Service&index=999999")
    assert stream.next() == {}
    nomad.lag_streams(0.3)
    finish = blocked(nomad, f"/v1/services?namespace=~&index={nomad.catalogue.index}&wait=5s")
    begun = time.monotonic()
    nomad.register(web(1))
    assert finish()[0] == 200 and time.monotonic() - begun < 0.3
    assert stream.next()["Index"] == nomad.catalogue.index and time.monotonic() - begun >= 0.3


def test_a_star_beside_other_keys_is_a_key_like_them(nomad):
    stream = Stream(nomad, "topic=Service:web&topic=Service&index=999999")
    assert stream.next() == {}
    nomad.register({"ServiceName": "redis", "Address": "192.168.29.78", "Port": 1})
    nomad.register(web(1))
    assert [event["Payload"]["Service"]["ServiceName"] for event in stream.next()["Events"]] == ["web"]


def test_the_alarm_may_sleep_through_a_change(nomad):
    nomad.deafen_alarm()
    finish = blocked(nomad, f"/v1/services?namespace=~&index={nomad.catalogue.index}&wait=1s")
    begun = time.monotonic()
    nomad.register(web(1))
    assert finish()[0] == 200 and time.monotonic() - begun > 0.5


def test_streams_count_no_connection_and_traffic_counts_bytes():
    with FakeNomad(connections_max=2) as fake:
        streams = [Stream(fake, "topic=Service") for _ in range(4)]
        assert get(fake, "/v1/services")[0] == 200
        assert get(fake, "/v1/services?namespace=~")[0] == 200
        assert all(stream.next() == {} for stream in streams)
        traffic = fake.traffic()
        assert traffic["stream"]["requests"] == 4 and traffic["list"]["requests"] == 2
        assert traffic["list"]["sent_bytes"] > 200 and traffic["list"]["received_bytes"] > 60


def test_a_service_moves_and_a_namespace_goes(nomad):
    assert nomad.deregister(ServiceName="nosuch") == 0
    nomad.move("redis", "default", "prod")
    assert get(nomad, "/v1/service/redis")[2] == b"[]"
    assert len(json.loads(get(nomad, "/v1/service/redis?namespace=prod")[2])) == 2
    nomad.drop_namespace("prod")
    assert get(nomad, "/v1/services?namespace=prod")[2] == b"[]"
    assert "prod" not in nomad.catalogue.namespaces


def test_another_certificate_from_now_on(tmp_path):
    made = Certificates(tmp_path)
    with FakeNomad(listen=["https://127.0.0.1:0"], tls_context=server_context(made.server[1], made.server[0])) as fake:
        parts = urllib.parse.urlsplit(fake.address)
        address = (parts.hostname, parts.port)
        first = ssl.get_server_certificate(address)
        fake.replace_tls(server_context(made.misnamed[1], made.misnamed[0]))
        assert ssl.get_server_certificate(address) != first


def test_a_refused_listener_comes_back_at_its_address(nomad):
    nomad.fault("refuse")
    with pytest.raises(ConnectionRefusedError):
        get(nomad, "/v1/services")
    nomad.clear_faults()
    assert get(nomad, "/v1/services")[0] == 200


@pytest.mark.parametrize("mode, expected", [
    ("status=500", 500), ("status=403", 403), ("status=404", 404), ("status=429", 429), ("status=301", 301),
    ("html", b"<!DOCTYPE"), ("empty", b""), ("shape={}", b"{}"), ("cut-json", b"[{"),
])
def test_faults_that_are_still_http(nomad, mode, expected):
    nomad.fault(mode, times=1)
    status, _, body = get(nomad, "/v1/service/redis")
    if isinstance(expected, int):
        assert status == expected
    else:
        assert status == 200 and body.startswith(expected)
    assert len(json.loads(get(nomad, "/v1/service/redis")[2])) == 2


@pytest.mark.parametrize("mode", ["truncated", "bad-chunk", "close", "reset", "not-http", "old-http", "huge-header"])
def test_faults_that_are_no_http(nomad, mode):
    nomad.fault(mode)
    with pytest.raises((http.client.HTTPException, ConnectionError, ValueError)):
        get(nomad, "/v1/service/redis")


def test_false_indexes(nomad):
    nomad.fault("index=0", times=1)
    assert get(nomad, "/v1/services")[1]["X-Nomad-Index"] == "0"
    nomad.fault("no-index", times=1)
    assert "X-Nomad-Index" not in get(nomad, "/v1/services")[1]
    nomad.fault("wildcard-empty", times=1)
    status, headers, body = get(nomad, "/v1/services?namespace=*")
    assert (status, headers["X-Nomad-Index"], body) == (200, "0", b"[]")


def test_large_bodies(nomad):
    nomad.fault("huge=2")
    assert len(get(nomad, "/v1/service/redis")[2]) > 2 << 20
    nomad.clear_faults()
    nomad.fault("gzip-bomb=4")
    _, headers, body = get(nomad, "/v1/service/redis")
    assert headers["Content-Encoding"] == "gzip" and len(body) < 100000
    assert len(gzip.decompress(body)) == (4 << 20) + 2


def test_a_hanging_agent_lets_go_when_healed(nomad):
    nomad.fault("hang")
    finish = blocked(nomad, "/v1/services")
    assert finish(0.1) is None
    nomad.clear_faults()
    assert get(nomad, "/v1/services")[0] == 200


def test_no_leader_answers_stale_readers(nomad):
    nomad.fault("no-leader")
    status, headers, _ = get(nomad, "/v1/services?stale")
    assert status == 200 and headers["X-Nomad-Knownleader"] == "false"


def test_every_fault_has_a_name_in_the_table():
    assert all(callable(row[0]) for row in FAULT_MODES.values())
    with pytest.raises(ValueError):
        FakeNomad().fault("nonsense")


def test_the_control_channel(nomad):
    with FakeNomad(control="127.0.0.1:0") as fake:
        parts = urllib.parse.urlsplit(fake.control_address)

        def control(method, path, body=None):
            connection = http.client.HTTPConnection(parts.hostname, parts.port)
            connection.request(method, path, json.dumps(body) if body is not None else None)
            response = connection.getresponse()
            return response.status, json.loads(response.read())

        assert control("POST", "/control/register", {"ServiceName": "a", "Address": "10.0.0.1"}) == (200, {"Index": 2})
        assert control("GET", "/control/state")[1]["Index"] == 2
        assert control("POST", "/control/fault", {"mode": "status=500"})[0] == 200
        assert get(fake, "/v1/services")[0] == 500
        assert control("DELETE", "/control/fault")[0] == 200
        assert get(fake, "/v1/services")[0] == 200
        assert control("GET", "/control/counts")[1] == {"/v1/services?namespace=default": 2}
        assert control("POST", "/control/deregister", {"ServiceName": "a"})[1] == {"Removed": 1}
        assert control("POST", "/control/fault", {"mode": "nonsense"})[0] == 400
        assert control("GET", "/control/nonsense")[0] == 404
        assert control("POST", "/control/snapshot", {})[0] == 200
        assert control("POST", "/control/namespace", {"Name": "late"})[0] == 200
        assert control("POST", "/control/restore")[0] == 200
        assert control("GET", "/control/state")[1]["Namespaces"] == ["default"]
        assert control("POST", "/control/noise", {"Count": 3})[0] == 200
        assert control("GET", "/control/traffic")[1]["list"]["requests"] == 2
        assert {"kill", "revive", "cut-streams", "silence-streams"} <= VERBS.keys()


# ---- the upstream ----

def ask(upstream, name, rdtype="A", tcp=False, timeout=2, edns=0):
    query = dns.message.make_query(name, rdtype, use_edns=edns)
    where = dict(where=upstream.host, port=upstream.port, timeout=timeout)
    return dns.query.tcp(query, **where) if tcp else dns.query.udp(query, **where)


@pytest.fixture
def upstream():
    with FakeUpstream() as fake:
        yield fake


@pytest.mark.parametrize("tcp", [False, True])
def test_any_name_has_an_address(upstream, tcp):
    reply = ask(upstream, "www.example.org", tcp=tcp)
    assert reply.answer[0][0].to_text() == address_of("www.example.org")
    assert ask(upstream, "www.example.org", "AAAA", tcp=tcp).answer[0][0].to_text() == address6_of("www.example.org")


def test_configured_records_win(upstream):
    upstream.set_records("db.example.net", "A", "192.0.2.10", "192.0.2.11")
    assert len(ask(upstream, "db.example.net").answer[0]) == 2


def test_the_root_is_a_name_too(upstream):
    assert ask(upstream, ".", "NS").authority and ask(upstream, "org", "NS").authority


@pytest.mark.parametrize("mode, rcode, has_soa", [
    ("nxdomain", "NXDOMAIN", True), ("nodata", "NOERROR", True), ("nxdomain-no-soa", "NXDOMAIN", False),
    ("nodata-no-soa", "NOERROR", False), ("servfail", "SERVFAIL", False), ("refused", "REFUSED", False),
])
def test_negative_modes(upstream, mode, rcode, has_soa):
    reply = ask(upstream, f"x.{mode}.mode.test")
    assert dns.rcode.to_text(reply.rcode()) == rcode and not reply.answer and bool(reply.authority) == has_soa


def test_a_mode_set_for_a_name_is_that_name_s_alone(upstream):
    upstream.set_mode("servfail", "bad.example")
    assert ask(upstream, "bad.example").rcode() == dns.rcode.SERVFAIL
    assert ask(upstream, "good.example").rcode() == dns.rcode.NOERROR


def test_formerr_while_there_is_an_opt(upstream):
    assert ask(upstream, "x.formerr-on-edns.mode.test").rcode() == dns.rcode.FORMERR
    assert ask(upstream, "x.formerr-on-edns.mode.test", edns=False).answer


def test_tc_and_what_comes_over_tcp(upstream):
    assert ask(upstream, "x.tc-then-tcp.mode.test").flags & dns.flags.TC
    assert ask(upstream, "x.tc-then-tcp.mode.test", tcp=True).answer
    assert ask(upstream, "x.large.mode.test").flags & dns.flags.TC
    assert len(ask(upstream, "x.large.mode.test", tcp=True).answer[0]) == 200
    for mode in ("tc-tcp-close", "tc-tcp-half"):
        with pytest.raises((EOFError, dns.exception.DNSException, ConnectionError)):
            ask(upstream, f"x.{mode}.mode.test", tcp=True)


def test_silence(upstream):
    for mode in ("timeout", "tcp-only", "first-lost"):
        with pytest.raises(dns.exception.Timeout):
            ask(upstream, f"x.{mode}.mode.test", timeout=0.2)
    assert ask(upstream, "x.first-lost.mode.test").answer


def raw_replies(upstream, name, count):
    """What arrives on the wire for one question, from any port."""
    query = dns.message.make_query(name, "A", use_edns=0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(2)
        client.sendto(query.to_wire(), (upstream.host, upstream.port))
        return query, [client.recvfrom(4096) for _ in range(count)]


@pytest.mark.parametrize("lie", sorted(LIES))
def test_a_lie_and_then_the_truth(upstream, lie):
    query, replies = raw_replies(upstream, f"x.{lie}-then-right.mode.test", 2)
    truth = dns.message.from_wire(replies[1][0])
    assert query.is_response(truth) and truth.answer[0][0].to_text() == address_of(f"x.{lie}-then-right.mode.test")
    with pytest.raises((dns.exception.DNSException, AssertionError)):
        forged = dns.message.from_wire(replies[0][0])
        assert query.is_response(forged) and forged.answer


def test_a_forgery_from_another_port(upstream):
    _, replies = raw_replies(upstream, "x.other-port-then-right.mode.test", 2)
    assert replies[0][1][1] != upstream.port and replies[1][1][1] == upstream.port


def test_an_unknown_type_comes_back_as_it_is(upstream):
    reply = ask(upstream, "x.unknown-type.mode.test", "TYPE65280")
    assert reply.answer[0][0].to_text().startswith("\\# 11 0102")


def test_aliases_ttls_flags_and_options(upstream):
    assert [rrset.rdtype for rrset in ask(upstream, "x.cname.mode.test").answer][:2] == [dns.rdatatype.CNAME] * 2
    assert ask(upstream, "x.ttl=0.mode.test").answer[0].ttl == 0
    assert ask(upstream, "x.ad.mode.test").flags & dns.flags.AD
    assert ask(upstream, "x.ede.mode.test").options[0].code == 6
    assert len(ask(upstream, "x.options.mode.test").options) == 4
    assert ask(upstream, "x.no-edns.mode.test").edns < 0
    _, replies = raw_replies(upstream, "x.duplicate.mode.test", 1)
    assert replies[0][0].count(bytes(map(int, address_of("x.duplicate.mode.test").split(".")))) == 3
    _, replies = raw_replies(upstream, "x.mixed-ttl.mode.test", 1)
    assert len(dns.message.from_wire(replies[0][0]).answer[0]) == 2


def test_every_mode_answers_or_is_silent_over_both_transports(upstream):
    for mode in MODES:
        for rdtype in ("A", "MX"):
            query = dns.message.make_query(f"y.{mode}.mode.test", rdtype, use_edns=0).to_wire()
            for protocol in ("udp", "tcp"):
                for send in upstream.call(upstream.judge, query, protocol, ("127.0.0.1", 9)):
                    assert send is CLOSE or len(send.data) <= 65535, mode


def test_the_log_knows_ports_ids_and_flags(upstream):
    ask(upstream, "Log.Example")
    ask(upstream, "log.example", tcp=True)
    first, second = upstream.queries("log.example")
    assert (first["protocol"], second["protocol"]) == ("udp", "tcp")
    assert first["case"] == "Log.Example." and first["has_edns"] and first["rd"]
    assert upstream.count("log.example") == 2 and upstream.count("other.example") == 0


def test_down_and_up_again(upstream):
    upstream.down()
    with pytest.raises((ConnectionError, dns.exception.DNSException)):
        ask(upstream, "x.example", tcp=True, timeout=0.3)
    upstream.up()
    assert ask(upstream, "x.example").answer
