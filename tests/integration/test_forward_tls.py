"""DNS over TLS to upstreams: who is believed, what is never sent in clear, how connections are kept."""

import signal
import ssl
import threading

import pytest
from certs import make_certificate, run
from fake_dot import FakeDot
from fake_upstream import FakeUpstream, address_of
from harness import Client, eventually, extended_errors, rcode, records

import dns.flags
import dns.message
import dns.query


@pytest.fixture(scope="module")
def named(certificates, tmp_path_factory):
    """Certificates of the CA that differ in whom they name, and one that has expired."""
    folder = tmp_path_factory.mktemp("named")
    ca = certificates.ca
    for suffix in (".pem", ".key"):
        (folder / f"ca{suffix}").write_bytes(open(ca[:-len(".pem")] + suffix, "rb").read())
    named = {
        "dns": make_certificate(str(folder), "ca", "dns", "DNS:dns.example"),
        "address": make_certificate(str(folder), "ca", "address", "IP:127.0.0.1"),
        "wild": make_certificate(str(folder), "ca", "wild", "DNS:*.resolver.example"),
    }
    named["expired"] = make_expired(folder)
    return named


def make_expired(folder):
    """`openssl ca` is the one that takes dates."""
    (folder / "index.txt").write_text("")
    (folder / "ca.cnf").write_text(f"""[ca]
default_ca = this
[this]
database = {folder}/index.txt
new_certs_dir = {folder}
rand_serial = yes
default_md = sha256
policy = any
x509_extensions = ext
[any]
commonName = supplied
[ext]
subjectAltName = DNS:dns.example,IP:127.0.0.1
""")
    key, request, certificate = (str(folder / f"expired.{suffix}") for suffix in ("key", "csr", "pem"))
    run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=expired", "-keyout", key,
        "-out", request)
    run("ca", "-batch", "-config", str(folder / "ca.cnf"), "-cert", str(folder / "ca.pem"), "-keyfile",
        str(folder / "ca.key"), "-in", request, "-out", certificate, "-notext", "-startdate", "20200101000000Z",
        "-enddate", "20200201000000Z")
    return key, certificate


@pytest.fixture
def dot():
    """dot(certificate, …) → FakeDot, started; all are stopped afterwards."""
    fakes = []

    def begin(certificate, **args):
        fakes.append(FakeDot(certificate, **args).start())
        return fakes[-1]

    yield begin
    for fake in fakes:
        fake.stop()


@pytest.fixture
def over_tls(start, nomad, certificates):
    """over_tls(forward, …) → Client of a daemon that trusts the tests' CA."""

    def begin(*forward, ca=None, options=()):
        daemon = start("--workers=1", *options, nomad=nomad.address, forward=list(forward),
                       env={"SSL_CERT_FILE": ca or certificates.ca, "SSL_CERT_DIR": "/nonexistent"})
        client = Client(daemon)
        client.daemon = daemon
        return client

    return begin


def ask_all(client, names, **args):
    """Asks all at once over one socket; name → reply, of those that came."""
    replies = {}

    def ask(name):
        replies[name] = client.ask(name, **args)

    threads = [threading.Thread(target=ask, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return replies


def assert_answered(client, name):
    assert records(client.ask(name)) == [address_of(name)]


def assert_asked(fake, count):
    assert fake.count() == count


def assert_closed(fake):
    assert not any(seen["is_open"] for seen in fake.seen())


# ---- who is believed ----

@pytest.mark.parametrize("certificate, name", [("dns", "dns.example"), ("dns", "DNS.Example."), ("address", None),
                                               ("wild", "a.resolver.example")])
def test_the_right_certificate_is_believed(dot, over_tls, named, certificate, name):
    fake = dot(named[certificate])
    client = over_tls(fake.forward(name))
    assert records(client.ask("www.example.org")) == [address_of("www.example.org")]
    [seen] = fake.seen()
    assert seen["version"] in ("TLSv1.2", "TLSv1.3")
    assert seen["sni"] == (name and name.rstrip("."))
    assert fake.count(protocol="udp") == 0


def refused(dot, over_tls, certificate, why, name=None, ca=None, **args):
    fake = dot(certificate, **args)
    client = over_tls(fake.forward(name), ca=ca)
    for _ in range(3):
        reply = client.ask("www.example.org")
        assert rcode(reply) == "SERVFAIL" and extended_errors(reply)
    lines = [line for line in client.daemon.output().splitlines() if "cannot be used" in line]
    assert len(lines) == 1 and fake.forward(name) in lines[0] and why in lines[0], client.daemon.output()
    assert fake.count() == 0, "something was asked all the same"
    return fake


def test_another_name_is_refused(dot, over_tls, named):
    refused(dot, over_tls, named["dns"], "hostname mismatch", "other.example")


def test_without_a_name_the_address_must_be_there(dot, over_tls, named):
    refused(dot, over_tls, named["dns"], "IP address mismatch")


def test_the_address_does_not_stand_for_the_name(dot, over_tls, named):
    refused(dot, over_tls, named["address"], "hostname mismatch", "dns.example")


def test_another_ca_is_refused(dot, over_tls, certificates):
    refused(dot, over_tls, certificates.other_server, "unable to get local issuer certificate")


def test_no_ca_at_all_is_refused(dot, over_tls, certificates):
    refused(dot, over_tls, certificates.server, "issuer certificate", ca="/nonexistent/ca.pem")


def test_an_expired_certificate_is_refused(dot, over_tls, named):
    refused(dot, over_tls, named["expired"], "expired", "dns.example")


def test_clear_text_on_the_tls_port_is_refused(dot, over_tls, named):
    refused(dot, over_tls, named["dns"], "", "dns.example", trouble="clear")


def test_an_old_tls_is_refused(dot, over_tls, named):
    refused(dot, over_tls, named["dns"], "", "dns.example", tls_max=ssl.TLSVersion.TLSv1_1)


def test_a_server_that_hangs_up_is_said(dot, over_tls, named):
    refused(dot, over_tls, named["dns"], "", "dns.example", trouble="eof")


def test_a_handshake_that_never_ends_is_given_up(dot, over_tls, named):
    refused(dot, over_tls, named["dns"], "handshake", "dns.example", trouble="mute")


def test_it_says_when_it_works_again(dot, over_tls, named):
    fake = dot(named["dns"])
    client = over_tls(fake.forward("dns.example"))
    fake.down()
    assert rcode(client.ask("a.example.org")) == "SERVFAIL"
    fake.up()
    eventually(lambda: assert_answered(client, "b.example.org"))
    assert client.daemon.output().count("cannot be used") == 1
    assert client.daemon.output().count("works again") == 1


# ---- the CAs ----

def trust(path, ca):
    path.write_bytes(open(ca, "rb").read())
    return str(path)


def test_the_cas_are_read_at_start_and_no_later(dot, over_tls, named, certificates, tmp_path):
    """Nothing is read while questions are answered: a file that goes away is not missed."""
    fake = dot(named["dns"])
    path = tmp_path / "trusted.pem"
    client = over_tls(fake.forward("dns.example"), ca=trust(path, certificates.ca))
    path.unlink()
    assert_answered(client, "www.example.org")


def test_other_cas_count_from_the_next_reload_on(dot, over_tls, named, certificates, tmp_path):
    fake = dot(named["dns"])
    path = tmp_path / "trusted.pem"
    client = over_tls(fake.forward("dns.example"), ca=trust(path, certificates.other_ca))
    assert rcode(client.ask("a.example.org")) == "SERVFAIL" and fake.count() == 0
    trust(path, certificates.ca)
    client.daemon.process.send_signal(signal.SIGHUP)
    eventually(lambda: assert_answered(client, "b.example.org"))


def test_a_directory_of_cas_is_read_too(dot, start, nomad, named, certificates, tmp_path):
    fake = dot(named["dns"])
    trust(tmp_path / "ca.pem", certificates.ca)
    run("rehash", str(tmp_path))
    client = Client(start("--workers=1", nomad=nomad.address, forward=fake.forward("dns.example"),
                          env={"SSL_CERT_FILE": "/nonexistent", "SSL_CERT_DIR": f"/nonexistent:{tmp_path}"}))
    for path in tmp_path.iterdir():
        if path.is_symlink():
            path.unlink()
    assert_answered(client, "www.example.org")


# ---- what is counted ----

def test_handshakes_and_connections_are_counted(dot, over_tls, named):
    good, bad = dot(named["dns"]), dot(named["expired"])
    client = over_tls(bad.forward("dns.example"), good.forward("dns.example"))

    def counts():
        metrics = client.daemon.metrics()
        family = "nomad_dns_forward_tls_handshakes_total"
        return ([metrics[f'{family}{{result="{result}"}}'] for result in ("full", "resumed", "failed")],
                metrics['nomad_dns_forward_connections{proto="tls"}'])

    assert_answered(client, "a.example.org")
    assert counts() == ([1, 0, 1], 1)
    good.hang_up()

    def is_closed():
        assert counts()[1] == 0

    eventually(is_closed)
    assert_answered(client, "b.example.org")
    (full, resumed, failed), is_open = counts()
    assert (full, resumed, is_open) == (1, 1, 1) and failed >= 1


# ---- what else is told ----

def test_ad_of_a_tls_upstream_is_kept(dot, over_tls, named):
    fake = dot(named["dns"])
    client = over_tls(fake.forward("dns.example"))
    assert client.ask("x.ad.mode.test", want_dnssec=True).flags & dns.flags.AD


def test_questions_are_padded(dot, over_tls, named):
    fake = dot(named["dns"])
    client = over_tls(fake.forward("dns.example"))
    for name in ("a.example.org", "b" * 60 + ".example.org", ".".join(["c" * 50] * 4)):
        assert rcode(client.ask(name)) == "NOERROR"
    assert all(12 in entry["options"] for entry in fake.queries())
    assert all(length % 128 == 0 for seen in fake.seen() for length in seen["blocks"])


def test_the_next_upstream_is_asked(dot, over_tls, named):
    bad, good = dot(named["expired"]), dot(named["dns"])
    client = over_tls(bad.forward("dns.example"), good.forward("dns.example"))
    assert records(client.ask("www.example.org")) == [address_of("www.example.org")]
    assert bad.count() == 0


def test_one_in_clear_beside_it_is_warned_of(dot, over_tls, named):
    secret = dot(named["dns"])
    with FakeUpstream() as clear:
        client = over_tls(secret.forward("dns.example"), clear.address)
        assert rcode(client.ask("www.example.org")) == "NOERROR"
        assert clear.count() == 0 and "in clear" in client.daemon.output()


def test_one_domain_goes_over_tls(dot, over_tls, named):
    secret = dot(named["dns"])
    with FakeUpstream() as clear:
        client = over_tls("secret.example=" + secret.forward("dns.example"), clear.address)
        assert rcode(client.ask("www.secret.example")) == "NOERROR" and rcode(client.ask("www.example")) == "NOERROR"
        assert secret.count() == 1 and clear.count() == 1 and clear.count("www.secret.example") == 0


# ---- connections ----

def test_one_connection_carries_many(dot, over_tls, named):
    fake = dot(named["dns"])
    client = over_tls(fake.forward("dns.example"))
    names = [f"n{number}.example.org" for number in range(100)]
    replies = ask_all(client, names)
    assert all(records(replies[name]) == [address_of(name)] for name in names)
    assert len(fake.seen()) == 1 and fake.count() == 100


def test_answers_may_come_in_any_order(dot, over_tls, named):
    fake = dot(named["dns"], batch=10)
    client = over_tls(fake.forward("dns.example"))
    names = [f"n{number}.example.org" for number in range(10)]
    replies = ask_all(client, names)
    assert all(records(replies[name]) == [address_of(name)] for name in names)
    assert len(fake.seen()) == 1


def test_a_slow_name_holds_up_nobody(dot, over_tls, named):
    fake = dot(named["dns"])
    client = over_tls(fake.forward("dns.example"))
    names = ["x.slow=2000.mode.test"] + [f"n{number}.example.org" for number in range(5)]
    done = []
    threads = [threading.Thread(target=lambda name=name: (client.ask(name), done.append(name))) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done[-1] == names[0] and len(done) == 6


@pytest.mark.parametrize("close_after", [1, 3])
def test_a_server_that_takes_few_questions_answers_all(dot, over_tls, named, close_after):
    fake = dot(named["dns"], close_after=close_after)
    client = over_tls(fake.forward("dns.example"))
    names = [f"n{number}.example.org" for number in range(12)]
    replies = ask_all(client, names)
    assert all(records(replies[name]) == [address_of(name)] for name in names), client.daemon.output()


def test_a_connection_that_was_closed_is_resumed(dot, over_tls, named):
    fake = dot(named["dns"])
    client = over_tls(fake.forward("dns.example"))
    assert rcode(client.ask("a.example.org")) == "NOERROR"
    fake.hang_up()
    eventually(lambda: assert_closed(fake))
    assert rcode(client.ask("b.example.org")) == "NOERROR"
    assert [seen["resumed"] for seen in fake.seen()] == [False, True]
    assert "cannot be used" not in client.daemon.output()


def test_questions_open_on_a_connection_that_ends_are_sent_once_more(dot, over_tls, named):
    fake = dot(named["dns"])
    client = over_tls(fake.forward("dns.example"))
    names = [f"n{number}.slow=500.mode.test" for number in range(20)]
    asking = threading.Thread(target=lambda: replies.update(ask_all(client, names)))
    replies = {}
    asking.start()
    eventually(lambda: assert_asked(fake, len(names)))
    fake.hang_up()
    asking.join()
    assert all(records(replies[name]) == [address_of(name)] for name in names), client.daemon.output()
    assert fake.count() == 2 * len(names) and len(fake.seen()) == 2


def test_half_an_answer_is_none(dot, over_tls, named):
    fake = dot(named["dns"])
    client = over_tls(fake.forward("dns.example"))
    reply = client.ask("x.tc-tcp-half.mode.test")
    assert rcode(reply) == "SERVFAIL"
    assert rcode(client.ask("good.example.org")) == "NOERROR"


@pytest.mark.parametrize("lie", ["wrong-id", "wrong-question", "qr0", "garbage", "ptr-loop", "counts-lie"])
def test_a_lie_is_not_believed_and_the_next_name_is_answered(dot, over_tls, named, lie):
    fake = dot(named["dns"])
    client = over_tls(fake.forward("dns.example"))
    assert rcode(client.ask(f"x.{lie}.mode.test")) == "SERVFAIL"
    assert records(client.ask("good.example.org")) == [address_of("good.example.org")]
    assert fake.count(f"x.{lie}.mode.test") <= 3


def test_large_answers_come_whole(dot, over_tls, named):
    fake = dot(named["dns"])
    client = over_tls(fake.forward("dns.example"))
    assert len(records(client.ask("x.large.mode.test", tcp=True))) == 200
    assert len(records(client.ask("y.large.mode.test", "TXT", tcp=True), "TXT")) == 100


# ---- the same over TCP in clear ----

def test_tcp_connections_are_kept(start, nomad):
    with FakeUpstream(mode="tc-then-tcp") as fake:
        client = Client(start("--workers=1", nomad=nomad.address, forward=fake.address))
        names = [f"n{number}.example.org" for number in range(50)]
        replies = ask_all(client, names)
        assert all(records(replies[name]) == [address_of(name)] for name in names)
        assert len({entry["port"] for entry in fake.queries(protocol="tcp")}) <= 2
