"""Every exchange that was recorded from a real agent, byte for byte over real HTTP, and what DNS says after it.

The streams among the recordings are replayed by tests/unit/test_replay.c; here are the replies to GET.
"""

import gzip
import io
import json
import pathlib
import socket
import threading
from http.client import HTTPResponse

import pytest
from harness import Client, extended_errors, rcode

REAL = pathlib.Path(__file__).parents[2] / "fixtures/nomad/real"
STALE = 3
LIST, LIST_OF_ALL, SERVICE = "/v1/services", "namespace=*", "/v1/service/"  # parts of a path
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


def recorded(name):
    return (REAL / f"{name}.http").read_bytes()


class Recorded(io.BytesIO):
    """As much of a socket as http.client reads from."""

    def makefile(self, *_):
        return self


def list_with(service):
    """A list that goes with a recorded service."""
    body = json.dumps([{"Namespace": "default", "Services": [{"ServiceName": service, "Tags": []}]}]).encode()
    return (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Nomad-Index: 40\r\nX-Nomad-Knownleader: true\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body)) + body


def body_of(name):
    """The body of a recorded reply, as Python reads it."""
    reply = HTTPResponse(Recorded(recorded(name)))
    reply.begin()
    data = reply.read()
    return json.loads(gzip.decompress(data) if reply.getheader("Content-Encoding") == "gzip" else data)


class Tape:
    """Answers each GET with the recording for its path, and anything else with an empty 404."""

    def __init__(self, replies, speaks_first=None):
        self.replies = replies
        self.speaks_first = speaks_first
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.asked = []
        threading.Thread(target=self.accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with connection:
            if self.speaks_first:
                connection.sendall(self.speaks_first)
                return
            head = b""
            while b"\r\n\r\n" not in head:
                data = connection.recv(65536)
                if not data:
                    return
                head += data
            path = head.split(b" ")[1].decode()
            self.asked.append(path)
            reply = next((reply for part, reply in self.replies if part in path.replace("%2A", "*")), NOT_FOUND)
            connection.sendall(reply)  # and closed: each recording is one exchange


@pytest.fixture
def play(start):
    """A daemon in the lookup tier in front of a tape; then its client."""
    tapes = []

    def begin(replies, *options, **args):
        tape = Tape(replies, **args)
        tapes.append(tape)
        return Client(start("--mirror=lookup", "--preload=off", *options, nomad=tape.address, forward="none", until="listening"))

    yield begin
    for tape in tapes:
        tape.listener.close()


def answers(client, name, rdtype):
    """What is in ANSWER, as text."""
    reply = client.ask(name, rdtype)
    return rcode(reply), sorted(record.to_text() for rrset in reply.answer for record in rrset), extended_errors(reply)


@pytest.mark.parametrize("name, is_stale", [
    ("service-web-2-instances", False), ("service-stale", False), ("service-blocking-timeout", False),
    ("service-blocked-through-leader-loss", False), ("service-blocked-through-snapshot-restore", False),
    ("service-no-leader-stale-server", True), ("service-ipv6", False), ("service-noport", False),
    ("service-hostname-address", False),
])
def test_a_service(play, name, is_stale):
    entries = body_of(name)
    service = entries[0]["ServiceName"]
    client = play([(SERVICE, recorded(name)), (LIST, list_with(service))])
    addresses = sorted({entry["Address"] for entry in entries})
    for rdtype, is_wanted in (("A", lambda text: ":" not in text and text[-1].isdigit()), ("AAAA", lambda text: ":" in text)):
        code, found, errors = answers(client, f"{service}.default.nomad", rdtype)
        wanted = [address for address in addresses if is_wanted(address)]
        if not any(address[-1].isalpha() and ":" not in address for address in addresses):  # those need the forwarder
            assert (code, found) == ("NOERROR", wanted)
        assert (STALE in errors) == is_stale or not found
    _, found, _ = answers(client, f"{service}.default.nomad", "SRV")
    assert sorted(text.split()[2] for text in found) == sorted({str(entry["Port"]) for entry in entries if entry["Port"]})


@pytest.mark.parametrize("name", ["service-missing", "service-unknown-namespace", "service-wildcard-namespace"])
def test_no_such_service(play, name):
    assert body_of(name) == []
    client = play([(SERVICE, recorded(name)), (LIST, recorded("services-list-default"))])
    assert answers(client, "nosuch.default.nomad", "A")[:2] == ("NXDOMAIN", [])


@pytest.mark.parametrize("name", ["services-list-default", "services-list-gzip", "services-list-empty", "services-list-wildcard",
                                  "services-wildcard-management", "services-wildcard-restricted", "taskapi-services-workload-identity"])
def test_a_list(play, name):
    """A namespace with services exists; a name it does not list does not, and needs no GET of its own to know."""
    listed = [space["Namespace"] for space in body_of(name)]
    client = play([(SERVICE, recorded("service-missing")), (LIST, recorded(name))])
    assert rcode(client.ask("nosuch.default.nomad")) == "NXDOMAIN"
    assert rcode(client.ask("default.nomad")) == ("NOERROR" if "default" in listed else "NXDOMAIN")


@pytest.mark.parametrize("name", ["services-wildcard-workload-identity", "services-wildcard-anonymous"])
def test_an_empty_list_with_index_0_denies_nothing(play, name):
    """It says that this token may read no list of all, not that there is nothing."""
    assert body_of(name) == [] and b"X-Nomad-Index: 0" in recorded(name)
    entries = body_of("service-web-2-instances")
    client = play([(SERVICE, recorded("service-web-2-instances")), (LIST_OF_ALL, recorded(name)), (LIST, list_with("web"))])
    assert answers(client, "web.default.nomad", "A")[:2] == ("NOERROR", sorted({entry["Address"] for entry in entries}))


def test_without_a_leader_all_is_stale(play):
    recording = "service-no-leader-stale-server"
    service = body_of(recording)[0]["ServiceName"]
    client = play([(SERVICE, recorded(recording)), (LIST, recorded("services-wildcard-no-leader-stale-server"))])
    code, found, errors = answers(client, f"{service}.default.nomad", "A")
    assert code == "NOERROR" and found and STALE in errors


@pytest.mark.parametrize("name", sorted(path.stem for path in REAL.glob("*.http")
                                        if path.stem.startswith(("error-4", "error-5", "taskapi-token-"))))
def test_an_error_is_neither_a_denial_nor_an_empty_answer(play, name):
    if name == "error-429":  # written before any request was read
        client = play([], "--forward-timeout=2s", speaks_first=recorded(name))
    else:
        client = play([("/", recorded(name))], "--forward-timeout=2s")
    code, found, errors = answers(client, "web.default.nomad", "A")
    assert code == "SERVFAIL" and not found and errors


def test_every_recorded_reply_is_played():
    """A new recording is a row here, or a stream in tests/unit/test_replay.c."""
    text = pathlib.Path(__file__).read_text(encoding="utf-8") + (
        pathlib.Path(__file__).parents[1] / "unit/test_replay.c").read_text(encoding="utf-8")
    for path in REAL.glob("*.http"):
        is_error = path.stem.startswith(("error-", "taskapi-token-"))
        assert is_error or path.stem in text, f"{path.name} is used by no test"
