"""The operator's window."""

import os
import socket

import pytest
from harness import Client, assert_records, eventually


@pytest.fixture(scope="module")
def house(open_house):
    return open_house()


def test_health(house):
    assert house.daemon.admin("/health")[0] == 200


def test_ready_says_how_nomad_is_reached(house):
    assert house.daemon.admin("/ready")[0] == 200


def test_ready_is_503_before_the_first_word_from_nomad(start, nomad):
    nomad.fault("refuse")
    daemon = start(nomad=nomad.address, until="listening")
    status, body = daemon.admin("/ready")
    assert status == 503 and "nomad" in body.lower()
    assert daemon.admin("/health")[0] == 200
    nomad.clear_faults()
    eventually(daemon.check_ready)


def test_metrics_are_prometheus_text_and_count(house):
    before = house.daemon.metrics()
    assert all(name.startswith(("nomad_dns_", "process_")) for name in before), sorted(before)
    for _ in range(20):
        house.client.ask("redis.default.nomad")
        house.client.ask("www.example.org")
    after = house.daemon.metrics()
    assert any(value >= before.get(name, 0) + 40 for name, value in after.items() if "requests_total" in name)


def test_metrics_page_is_well_formed(house):
    _, page = house.daemon.admin("/metrics")
    types = {}
    for line in page.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in types, f"{name} is declared twice"
            types[name] = kind
        elif line and not line.startswith("#"):
            name = line.split("{")[0].split(" ")[0]
            stem = name
            for suffix in ("_bucket", "_sum", "_count"):
                if name.endswith(suffix) and types.get(name[: -len(suffix)]) in ("histogram", "summary"):
                    stem = name[: -len(suffix)]
            assert stem in types, f"{name} has no TYPE"
            float(line.rsplit(" ", 1)[1])


def test_every_answer_has_a_duration_once(start, nomad, upstream):
    daemon = start(nomad=nomad.address, forward=upstream.address)
    client = Client(daemon)
    upstream.set_mode("slow=400", "late.example.net")
    client.ask("late.example.net")
    client.ask("late.example.net", tcp=True)
    for _ in range(5):
        client.ask("redis.default.nomad")
        client.ask("redis.default.nomad", tcp=True)
    client.exchange(bytes(12))  # no question at all: refused, and counted too

    def check():
        metrics = daemon.metrics()
        answers = sum(value for name, value in metrics.items() if "_dns_responses_total{" in name)
        assert metrics["nomad_dns_dns_request_duration_seconds_count"] == answers >= 13
        late = answers - metrics['nomad_dns_dns_request_duration_seconds_bucket{le="0.256"}']
        assert late == 1, "the one that waited"
        assert metrics["nomad_dns_dns_request_duration_seconds_sum"] >= 0.4
        assert metrics["nomad_dns_nomad_request_duration_seconds_count"] >= 1

    eventually(check)


def test_metrics_prefix(start, nomad):
    daemon = start("--metrics-prefix=coredns", nomad=nomad.address)
    names = daemon.metrics()
    assert any(name.startswith("coredns_") for name in names)
    assert not any(name.startswith("nomad_dns_") for name in names)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS"])
def test_only_get(house, method):
    assert house.daemon.admin("/health", method)[0] == 405


def test_unknown_path_is_404(house):
    assert house.daemon.admin("/nonsense")[0] == 404
    assert house.daemon.admin("/")[0] in (200, 404)


@pytest.mark.parametrize("garbage", [
    b"\r\n\r\n", b"GET\r\n\r\n", b"GET /health\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"A" * 100000 + b"\r\n\r\n",
    b"GET /" + b"x" * 60000 + b" HTTP/1.1\r\n\r\n", b"GET /health HTTP/1.1\r\n" + b"X: y\r\n" * 20000 + b"\r\n",
    b"GET /health HTTP/9.9\r\n\r\n", b"GET /\x00health HTTP/1.1\r\n\r\n", os.urandom(2000), b"",
], ids=range(11))
def test_garbage_does_no_harm(house, garbage):
    with socket.create_connection(("127.0.0.1", house.daemon.admin_port), timeout=5) as client:
        try:
            client.sendall(garbage)
            client.shutdown(socket.SHUT_WR)
            while client.recv(4096):
                pass
        except OSError:
            pass
    assert house.daemon.admin("/health")[0] == 200


@pytest.mark.parametrize("host, status", [
    ("localhost", 200), ("127.0.0.1", 200), ("localhost:9153", 200), ("rebound.example", 400), ("127.0.0.1.example", 400),
])
def test_a_web_page_cannot_read_it_through_a_name_of_its_own(house, host, status):
    with socket.create_connection(("127.0.0.1", house.daemon.admin_port), timeout=5) as client:
        client.sendall(f"GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert client.recv(4096).startswith(b"HTTP/1.1 %d" % status)


def test_silent_connections_do_not_block_the_window_for_ever(house):
    crowd = [socket.create_connection(("127.0.0.1", house.daemon.admin_port)) for _ in range(64)]
    try:
        assert_records(house.client.ask("redis.default.nomad"), "A", "192.168.29.76", "192.168.29.77")
    finally:
        for client in crowd:
            client.close()
    eventually(lambda: house.daemon.admin("/health"))


def test_a_taken_port_is_a_warning_and_tried_again(start, nomad):
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        port = squatter.getsockname()[1]
        daemon = start(nomad=nomad.address, admin=f"127.0.0.1:{port}", until="listening")
        assert_records(Client(daemon).ask("redis.default.nomad"), "A", "192.168.29.76", "192.168.29.77")
        squatter.close()
        daemon.admin_port = port
        eventually(daemon.check_ready)


def test_a_unix_socket(start, nomad, tmp_path):
    path = tmp_path / "admin.sock"
    start(admin=f"unix://{path}", nomad=nomad.address, until="listening")

    def check():
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            client.connect(str(path))
            client.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert client.recv(4096).startswith(b"HTTP/1.1 200")

    def patient():
        try:
            check()
        except FileNotFoundError as error:
            raise AssertionError from error

    eventually(patient)
