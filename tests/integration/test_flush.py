"""`nomad-dns flush NAME`: what upstreams said about a name and all below it is forgotten, in every worker."""

import http.client
import threading

import pytest
from fake_upstream import address_of
from harness import Client, eventually, rcode, records, run


def flush(daemon, *args):
    return run("flush", f"--admin={daemon.admin_spec or f'127.0.0.1:{daemon.admin_port}'}", *args)


@pytest.fixture(params=[1, 3])
def daemon(request, start, nomad, upstream):
    return start(f"--workers={request.param}", nomad=nomad.address, forward=upstream.address)


def test_a_name_and_all_below_is_asked_for_again(daemon, client, upstream):
    for _ in range(20 if "--workers=3" in daemon.options else 2):
        for name in ("example.org", "www.example.org", "www.other.org"):
            assert rcode(client.ask(name)) == "NOERROR"
    before = {name: upstream.count(name) for name in ("example.org", "www.example.org", "www.other.org")}
    done = flush(daemon, "Example.ORG")
    held = before["example.org"] + before["www.example.org"]
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{held} entries forgotten of example.org and below\n"
    again = flush(daemon, "example.org")
    assert again.returncode == 0 and again.stdout.startswith("0 entries")
    client.ask("www.example.org")
    assert upstream.count("www.example.org") == before["www.example.org"] + 1


def test_what_is_under_way_is_not_kept(daemon, client, upstream):
    """Its answer is older than the flush: who waits gets it, and nobody after him."""
    name = "late.example.org"
    upstream.set_mode("hold", name)
    replies = []
    waiting = threading.Thread(target=lambda: replies.append(client.ask(name)))
    waiting.start()

    def is_asked():
        assert upstream.count(name) >= 1

    eventually(is_asked)
    assert flush(daemon, "example.org").returncode == 0
    upstream.set_mode("answer", name)
    upstream.release()
    waiting.join()
    assert records(replies[0]) == [address_of(name)]
    asked = upstream.count(name)
    upstream.set_records(name, "A", "192.0.2.99")
    assert records(client.ask(name)) == ["192.0.2.99"] and upstream.count(name) > asked


def test_the_root_is_everything(daemon, client):
    client.ask("one.example.org")
    client.ask("two.example.net")
    assert flush(daemon, ".").stdout == "2 entries forgotten of . and below\n"


def test_over_a_unix_socket(start, nomad, upstream, tmp_path):
    daemon = start(admin=f"unix://{tmp_path}/admin.sock", nomad=nomad.address, forward=upstream.address,
                   until="listening")
    Client(daemon).ask("www.example.org")
    done = flush(daemon, "www.example.org")
    assert done.returncode == 0 and done.stdout.startswith("1 entry "), done.stderr


def test_what_goes_wrong_is_said(start, nomad):
    daemon = start(nomad=nomad.address)
    assert flush(daemon, "a..b").returncode == 64
    assert flush(daemon).returncode == 64
    assert flush(daemon, "a", "b").returncode == 64
    off = run("flush", "--admin=off", "x")
    assert off.returncode == 69 and "admin" in off.stderr
    daemon.stop()
    gone = flush(daemon, "x")
    assert gone.returncode == 69 and "refused" in gone.stderr


def test_a_web_page_cannot(start, nomad):
    daemon = start(nomad=nomad.address)
    for headers, status in (({"Origin": "https://evil.example"}, 403), ({"Host": "evil.example"}, 400), ({}, 200)):
        connection = http.client.HTTPConnection("127.0.0.1", daemon.admin_port, timeout=5)
        connection.request("POST", "/v1/flush?name=example.org", headers=headers)
        assert connection.getresponse().status == status
        connection.close()
    assert daemon.admin("/v1/flush?name=example.org")[0] == 405
