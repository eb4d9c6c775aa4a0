"""What becomes of answers while Nomad is down, slow, wrong, hostile or of another opinion about the token."""

import os
import threading

import pytest
from fake_nomad import FakeNomad, server_context
from harness import (DEMO, PATIENCE_S, Client, assert_nxdomain, assert_records, eventually, extended_errors,
                     rcode, records)

REDIS = ["192.168.29.76", "192.168.29.77"]
WEB = ["10.20.0.11", "10.20.0.12", "10.20.0.13"]
QUICK = ["--ttl=1s", "--negative-ttl=1s"]
DATA = "/v1/service"  # the prefix of /v1/services and of /v1/service/:name


def instance(name, address, port=8080, **more):
    return {"ServiceName": name, "Address": address, "Port": port, **more}


class Load:
    """Questions in the background; stop() gives all replies."""

    def __init__(self, client, names):
        self.replies = []
        self.errors = []
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self.run, args=(client, names), daemon=True)
        self.thread.start()

    def run(self, client, names):
        while not self.is_over.is_set():
            for name in names:
                try:
                    self.replies.append((name, client.ask(name)))
                except Exception as error:  # whatever it is, it is an answer lost
                    self.errors.append((name, repr(error)))
                self.is_over.wait(0.01)

    def stop(self):
        self.is_over.set()
        self.thread.join()
        assert not self.errors, self.errors[:3]
        return self.replies


# ---- nothing known is ever lost ----

FAULTS = ["refuse", "hang", "close", "reset", "status=500", "status=503", "status=403", "status=401", "status=404",
          "status=501", "status=429", "status=301", "truncated", "cut-json", "bad-chunk", "garbage", "not-http",
          "old-http", "html", "empty", "shape={}", "shape=null", "shape=[1]", 'shape=[{"Services":"x"}]',
          'shape=[{"Address":1,"ServiceName":[],"Port":"x"}]', "huge", "gzip-bomb", "drip", "huge-header",
          "no-leader"]


@pytest.mark.parametrize("mode", FAULTS)
def test_a_known_service_stays_known(start, nomad, upstream, mode):
    client = Client(start(*QUICK, nomad=nomad.address, forward=upstream.address))
    assert_records(client.ask("redis.default.nomad"), "A", *REDIS)
    nomad.fault(mode, path=DATA)
    nomad.clear_log()

    def check():
        reply = client.ask("redis.default.nomad")
        assert records(reply) == REDIS and rcode(reply) == "NOERROR", f"lost: {reply}"
        assert nomad.count() >= (1 if mode != "refuse" else 0)
        return reply

    for _ in range(3):
        eventually(check)
    if mode == "refuse":
        eventually(lambda: assert_stale(client))


def assert_stale(client):
    reply = client.ask("redis.default.nomad")
    assert records(reply) == REDIS and 3 in extended_errors(reply)


@pytest.mark.parametrize("mode", FAULTS)
def test_it_recovers_by_itself(start, nomad, upstream, mode):
    client = Client(start(*QUICK, nomad=nomad.address, forward=upstream.address))
    client.ask("redis.default.nomad")
    nomad.fault(mode, path=DATA)
    reply = client.ask("web.default.nomad")
    assert rcode(reply) in ("SERVFAIL", "NOERROR") and (records(reply) in ([], WEB)), reply
    assert rcode(reply) == "SERVFAIL" or records(reply), "an empty NOERROR hides the fault"
    nomad.clear_faults()
    nomad.register(instance("redis", "192.168.29.78", 1, Tags=[]))

    def check():
        assert_records(client.ask("web.default.nomad"), "A", *WEB)
        reply = client.ask("redis.default.nomad")
        assert_records(reply, "A", *REDIS, "192.168.29.78")
        assert not extended_errors(reply)

    eventually(check, 2 * PATIENCE_S)


@pytest.mark.parametrize("mode", ["refuse", "hang", "status=500", "status=403", "status=429", "truncated", "garbage", "html",
                                  "empty", "close", "huge", "drip"])
def test_an_unknown_name_is_servfail_never_a_denial(start, nomad, upstream, mode):
    client = Client(start("--forward-timeout=2s", nomad=nomad.address, forward=upstream.address))
    client.ask("redis.default.nomad")
    nomad.fault(mode, path=DATA)
    reply = client.ask("api.prod.nomad")
    assert rcode(reply) == "SERVFAIL" and extended_errors(reply) and not reply.answer and not reply.authority


@pytest.mark.parametrize("mode", ["hang", "status=500", "status=429", "garbage", "close", "truncated"])
def test_a_failing_nomad_is_not_hammered(start, nomad, upstream, mode):
    client = Client(start(*QUICK, "--forward-timeout=500ms", nomad=nomad.address, forward=upstream.address))
    client.ask("redis.default.nomad")
    nomad.fault(mode, path=DATA)
    nomad.clear_log()
    for number in range(200):
        client.ask(f"{'redis' if number % 2 else 'web'}.default.nomad")
    assert nomad.count() <= 60, f"{nomad.count()} requests for 200 questions"


def test_outage_loses_no_answer(start, nomad, upstream):
    client = Client(start(*QUICK, nomad=nomad.address, forward=upstream.address))
    for name in ("redis.default.nomad", "web.default.nomad"):
        client.ask(name)
    load = Load(client, ["redis.default.nomad", "web.default.nomad"])
    for _ in range(3):
        nomad.fault("refuse")
        eventually(lambda: assert_stale(client))
        nomad.clear_faults()
        eventually(lambda: assert_found_again(client))
    replies = load.stop()
    expected = {"redis.default.nomad": REDIS, "web.default.nomad": WEB}
    lost = [reply for name, reply in replies if records(reply) != expected[name]]
    assert not lost and len(replies) > 100, lost[:1]


def assert_found_again(client):
    reply = client.ask("redis.default.nomad")
    assert records(reply) == REDIS and not extended_errors(reply)


def test_external_names_do_not_notice(start, nomad, upstream):
    client = Client(start(*QUICK, nomad=nomad.address, forward=upstream.address))
    for number, mode in enumerate(["hang", "huge", "drip", "garbage"]):
        nomad.fault(mode)
        for turn in range(10):
            assert rcode(client.ask(f"n{number}-{turn}.example.org", timeout=2)) == "NOERROR"
        nomad.clear_faults()


def test_a_restart_of_the_agent_is_survived(start, nomad, upstream):
    client = Client(start(*QUICK, nomad=nomad.address, forward=upstream.address))
    client.ask("redis.default.nomad")
    nomad.drop_connections()
    nomad.register(instance("redis", "192.168.29.78", 1))
    eventually(lambda: assert_records(client.ask("redis.default.nomad"), "A", *REDIS, "192.168.29.78"))


def test_memory_and_descriptors_come_back(start, nomad, upstream):
    daemon = start(*QUICK, "--forward-timeout=500ms", nomad=nomad.address, forward=upstream.address)
    client = Client(daemon)
    client.ask("redis.default.nomad")
    before, descriptors = daemon.resident_bytes(), daemon.descriptors()
    for mode in ("huge", "gzip-bomb", "hang", "drip", "huge-header"):
        nomad.fault(mode, path=DATA)
        for number in range(5):
            client.ask(f"x{number}.default.nomad")
            client.ask("redis.default.nomad")
        assert daemon.resident_bytes() < before + (64 << 20), mode
        nomad.clear_faults()
    eventually(lambda: assert_found_again(client))

    def check():
        assert daemon.descriptors() <= descriptors + 4

    eventually(check)


# ---- the index ----

@pytest.mark.parametrize("mode", ["no-index", "index=0", "index=18446744073709551615", "index=-1", "index=nonsense"])
def test_a_false_index_neither_stops_updates_nor_spins(start, nomad, upstream, mode):
    client = Client(start(*QUICK, nomad=nomad.address, forward=upstream.address))
    nomad.fault(mode)
    client.ask("redis.default.nomad")
    nomad.register(instance("redis", "192.168.29.78", 1))

    def check():
        assert "192.168.29.78" in records(client.ask("redis.default.nomad")) or rcode(
            client.ask("redis.default.nomad")) == "NOERROR"

    eventually(check)
    nomad.clear_log()
    for _ in range(50):
        client.ask("redis.default.nomad")
    assert nomad.count() < 50
    nomad.clear_faults()
    eventually(lambda: assert_records(client.ask("redis.default.nomad"), "A", *REDIS, "192.168.29.78"))


def test_an_index_that_goes_back_is_followed(start, nomad, upstream):
    client = Client(start(*QUICK, nomad=nomad.address, forward=upstream.address))
    client.ask("redis.default.nomad")
    nomad.deregister(ServiceName="redis", Address="192.168.29.77")
    nomad.set_index(5)
    eventually(lambda: assert_records(client.ask("redis.default.nomad"), "A", "192.168.29.76"))


def test_an_empty_wildcard_list_with_index_0_removes_nothing(start, nomad, upstream):
    client = Client(start(*QUICK, nomad=nomad.address, forward=upstream.address))
    client.ask("redis.default.nomad")
    nomad.fault("wildcard-empty")
    for _ in range(3):
        assert_records(client.ask("redis.default.nomad"), "A", *REDIS)
        assert_records(client.ask("web.default.nomad"), "A", *WEB)


# ---- single flight ----

def ask_at_once(client, names):
    """One thread each, released together; replies in order."""
    replies = [None] * len(names)
    gate = threading.Barrier(len(names))

    def run(number, name):
        gate.wait()
        replies[number] = client.ask(name)

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(names)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return replies


def test_100_cold_questions_are_one_list_and_one_get(start, nomad, upstream):
    client = Client(start(nomad=nomad.address, forward=upstream.address))
    nomad.fault("slow=500", path=DATA)
    nomad.clear_log()
    for reply in ask_at_once(client, ["redis.default.nomad"] * 100):
        assert_records(reply, "A", *REDIS)
    assert nomad.count("/v1/service/redis") == 1
    assert nomad.count("/v1/services") <= 1


def test_random_names_cost_one_list_per_namespace_and_negative_ttl(start, nomad, upstream):
    client = Client(start("--mirror=lookup", "--negative-ttl=60s", nomad=nomad.address, forward=upstream.address))
    client.ask("redis.default.nomad")
    client.ask("api.prod.nomad")
    nomad.clear_log()
    for number in range(300):
        assert_nxdomain(client.ask(f"random{number}.{'default' if number % 2 else 'prod'}.nomad"))
    assert nomad.count("/v1/services") <= 2
    assert nomad.count("/v1/service/") == 0


def test_random_names_at_once(start, nomad, upstream):
    client = Client(start("--negative-ttl=60s", nomad=nomad.address, forward=upstream.address))
    nomad.fault("slow=300", path=DATA)
    nomad.clear_log()
    for reply in ask_at_once(client, [f"random{number}.default.nomad" for number in range(60)]):
        assert_nxdomain(reply)
    assert nomad.count("/v1/services") <= 2
    assert nomad.count("/v1/service/") == 0


def test_random_namespaces_are_bounded(start, nomad, upstream):
    """Each costs a list of its own, so a sweep of them meets a limit that nothing known notices."""
    client = Client(start("--ttl=60s", "--negative-ttl=60s", nomad=nomad.address, forward=upstream.address))
    client.ask("redis.default.nomad")
    nomad.clear_log()
    for number in range(200):
        reply = client.ask(f"www.random{number % 100}.nomad")
        assert rcode(reply) == "NXDOMAIN" or (rcode(reply) == "SERVFAIL" and extended_errors(reply))
        assert_records(client.ask("redis.default.nomad"), "A", *REDIS)
    assert nomad.count() <= 100
    eventually(lambda: assert_nxdomain(client.ask("www.another.nomad")))


def test_a_warm_name_costs_no_request_per_question(start, nomad, upstream):
    client = Client(start("--mirror=lookup", "--ttl=60s", nomad=nomad.address, forward=upstream.address))
    client.ask("redis.default.nomad")
    nomad.clear_log()
    for _ in range(200):
        client.ask("redis.default.nomad")
        client.ask("redis.default.nomad", "SRV")
        client.ask("primary.redis.default.nomad")
        client.ask("redis.default.nomad", "AAAA")
    assert nomad.count() == 0


def test_mixed_case_services_are_fetched_by_their_exact_name(start, nomad, upstream):
    client = Client(start(nomad=nomad.address, forward=upstream.address))
    assert_records(client.ask("EXT-db.default.nomad"), "A", "192.0.2.10")
    assert nomad.count("/v1/service/Ext-DB") == 1 and nomad.count("/v1/service/ext-db") == 0


# ---- what is sent to Nomad ----

def test_region_filter_and_gzip_are_asked_for(start, nomad, upstream):
    client = Client(start('--filter="canary" not in Tags', "--nomad-region=global", nomad=nomad.address,
                          forward=upstream.address))
    assert_records(client.ask("web.default.nomad"), "A", "10.20.0.11", "10.20.0.12")
    entry = nomad.requests("/v1/service/web")[0]
    assert entry["region"] == "global" and ["filter", '"canary" not in Tags'] in entry["query"]
    assert "gzip" in entry["accept_encoding"] and "deflate" not in entry["accept_encoding"]


def test_connections_are_reused(start, nomad, upstream):
    client = Client(start("--ttl=0s", "--negative-ttl=0s", nomad=nomad.address, forward=upstream.address))
    for _ in range(30):
        client.ask("redis.default.nomad")
        client.ask("web.prod.nomad")
    assert len({entry["connection"] for entry in nomad.requests()}) <= 8


def test_a_proxy_in_the_environment_is_ignored(start, nomad, upstream):
    trap = {"http_proxy": "http://127.0.0.1:9", "ALL_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
    client = Client(start(nomad=nomad.address, forward=upstream.address, env=trap))
    assert_records(client.ask("redis.default.nomad"), "A", *REDIS)


def test_a_redirect_is_not_followed_and_the_token_stays_here(start, nomad, upstream):
    with FakeNomad(catalogue=DEMO) as other:
        nomad.fault("status=301", path=DATA, location=other.address + "/v1/services")
        client = Client(start(nomad=nomad.address, forward=upstream.address, env={"NOMAD_TOKEN": "secret-token"},
                              until="listening"))
        assert rcode(client.ask("redis.default.nomad")) == "SERVFAIL"
        assert other.count() == 0


# ---- tokens ----

GOOD, BETTER = "11111111-2222-3333-4444-555555555555", "99999999-2222-3333-4444-555555555555"


@pytest.fixture
def guarded(nomad):
    nomad.is_acl = True
    nomad.add_token(GOOD, "client", ["*"])
    return nomad


def test_the_token_of_a_file_is_sent(start, guarded, upstream, tmp_path):
    path = tmp_path / "token"
    path.write_text(GOOD + "\n")
    daemon = start(f"--nomad-token-file={path}", nomad=guarded.address, forward=upstream.address)
    assert_records(Client(daemon).ask("redis.default.nomad"), "A", *REDIS)
    assert guarded.requests("/v1/service/redis")[0]["token"] == GOOD


@pytest.mark.parametrize("how", ["in place", "rename"])
def test_a_rotated_token_is_taken_up(start, guarded, upstream, tmp_path, how):
    path = tmp_path / "token"
    path.write_text(GOOD)
    client = Client(start(*QUICK, f"--nomad-token-file={path}", nomad=guarded.address, forward=upstream.address))
    client.ask("redis.default.nomad")
    guarded.add_token(BETTER, "client", ["*"])
    guarded.drop_token(GOOD)
    if how == "in place":
        path.write_text(BETTER)
    else:
        (tmp_path / "next").write_text(BETTER)
        os.replace(tmp_path / "next", path)

    def check():
        assert_records(client.ask("web.prod.nomad"), "A", "10.30.0.11", "10.30.0.12")
        assert not extended_errors(client.ask("redis.default.nomad"))

    eventually(check)
    assert guarded.requests()[-1]["token"] == BETTER


def test_the_token_is_nowhere_to_be_seen(start, guarded, upstream, tmp_path):
    path = tmp_path / "token"
    path.write_text(GOOD)
    daemon = start(f"--nomad-token-file={path}", "--log-level=debug", "--log-queries=all", nomad=guarded.address,
                   forward=upstream.address)
    client = Client(daemon)
    client.ask("redis.default.nomad")
    guarded.drop_token(GOOD)
    client.ask("web.prod.nomad")
    guarded.fault("refuse")
    client.ask("api.prod.nomad")
    for page in ("/metrics", "/ready", "/health", "/v1/config", "/v1/services"):
        assert GOOD not in daemon.admin(page)[1]
    assert GOOD not in daemon.output()
    with open(f"/proc/{daemon.process.pid}/cmdline", "rb") as file:
        assert GOOD.encode() not in file.read()


def test_basic_auth_comes_from_a_file(start, nomad, upstream, tmp_path):
    path = tmp_path / "auth"
    path.write_text("user:secret\n")
    client = Client(start(f"--nomad-http-auth-file={path}", nomad=nomad.address, forward=upstream.address))
    client.ask("redis.default.nomad")
    assert nomad.requests("/v1/service/redis")[0]["authorization"] == "Basic dXNlcjpzZWNyZXQ="


# ---- addresses ----

def test_a_unix_socket(start, upstream, tmp_path):
    with FakeNomad(catalogue=DEMO, listen=[f"unix://{tmp_path}/api.sock"], acl=True) as nomad:
        nomad.add_token("a.b.c", "workload")
        client = Client(start(nomad=nomad.address, forward=upstream.address, env={"NOMAD_TOKEN": "a.b.c"}))
        assert_records(client.ask("redis.default.nomad"), "A", *REDIS)
        assert_records(client.ask("web.prod.nomad"), "A", "10.30.0.11", "10.30.0.12")
        assert_nxdomain(client.ask("nosuch.prod.nomad"))


def test_a_unix_socket_that_goes_and_comes_back(start, upstream, tmp_path):
    with FakeNomad(catalogue=DEMO, listen=[f"unix://{tmp_path}/api.sock"]) as nomad:
        client = Client(start(*QUICK, nomad=nomad.address, forward=upstream.address, env={"NOMAD_TOKEN": "any"}))
        client.ask("redis.default.nomad")
        nomad.fault("refuse")
        eventually(lambda: assert_stale(client))
        nomad.clear_faults()
        eventually(lambda: assert_found_again(client))


def test_the_next_address_is_tried(start, nomad, upstream):
    with FakeNomad() as dead:
        dead.fault("refuse")
        client = Client(start(*QUICK, nomad=[dead.address, nomad.address], forward=upstream.address))
        assert_records(client.ask("redis.default.nomad"), "A", *REDIS)
        assert not extended_errors(client.ask("redis.default.nomad"))


def test_the_next_address_is_tried_when_one_dies_later(start, nomad, upstream):
    with FakeNomad(catalogue=DEMO) as second:
        client = Client(start(*QUICK, nomad=[nomad.address, second.address], forward=upstream.address))
        client.ask("redis.default.nomad")
        nomad.fault("refuse")
        second.register(instance("redis", "192.168.29.79", 1))
        eventually(lambda: assert_records(client.ask("redis.default.nomad"), "A", *REDIS, "192.168.29.79"))


def tls_nomad(pair, client_ca=None):
    return FakeNomad(catalogue=DEMO, listen=["https://127.0.0.1:0"], tls_context=server_context(pair[1], pair[0], client_ca))


def test_tls(start, upstream, certificates):
    with tls_nomad(certificates.server) as nomad:
        client = Client(start(f"--nomad-ca-cert={certificates.ca}", nomad=nomad.address, forward=upstream.address))
        assert_records(client.ask("redis.default.nomad"), "A", *REDIS)


def test_tls_with_client_certificates(start, upstream, certificates):
    with tls_nomad(certificates.server, certificates.ca) as nomad:
        key, certificate = certificates.client
        client = Client(start(f"--nomad-ca-cert={certificates.ca}", f"--nomad-client-cert={certificate}",
                              f"--nomad-client-key={key}", nomad=nomad.address, forward=upstream.address))
        assert_records(client.ask("redis.default.nomad"), "A", *REDIS)


def test_tls_server_name(start, upstream, certificates):
    with tls_nomad(certificates.misnamed) as nomad:
        options = [f"--nomad-ca-cert={certificates.ca}", "--nomad-tls-server-name=server.global.nomad"]
        client = Client(start(*options, nomad=nomad.address, forward=upstream.address))
        assert_records(client.ask("redis.default.nomad"), "A", *REDIS)


def test_tls_skip_verify(start, upstream, certificates):
    with tls_nomad(certificates.server) as nomad:
        client = Client(start("--nomad-tls-skip-verify", nomad=nomad.address, forward=upstream.address))
        assert_records(client.ask("redis.default.nomad"), "A", *REDIS)


def refusal(start, upstream, address, *options):
    """What a daemon that must not believe this Nomad answers."""
    client = Client(start(*options, nomad=address, forward=upstream.address, until="listening",
                          env={"NOMAD_TOKEN": "secret-token"}))
    reply = client.ask("redis.default.nomad")
    assert rcode(reply) == "SERVFAIL" and 14 in extended_errors(reply) and not reply.answer


def test_tls_wrong_ca_is_refused(start, upstream, certificates):
    with tls_nomad(certificates.server) as nomad:
        refusal(start, upstream, nomad.address, f"--nomad-ca-cert={certificates.other_ca}")
        assert nomad.count() == 0


def test_tls_unknown_ca_is_refused(start, upstream, certificates):
    with tls_nomad(certificates.server) as nomad:
        refusal(start, upstream, nomad.address)
        assert nomad.count() == 0


def test_tls_wrong_name_is_refused(start, upstream, certificates):
    with tls_nomad(certificates.misnamed) as nomad:
        refusal(start, upstream, nomad.address, f"--nomad-ca-cert={certificates.ca}")
        assert nomad.count() == 0


def test_tls_without_the_client_certificate_is_refused(start, upstream, certificates):
    with tls_nomad(certificates.server, certificates.ca) as nomad:
        refusal(start, upstream, nomad.address, f"--nomad-ca-cert={certificates.ca}")
        assert nomad.count() == 0


def test_plain_text_on_a_tls_address_is_refused(start, nomad, upstream, certificates):
    refusal(start, upstream, nomad.address.replace("http:", "https:"), f"--nomad-ca-cert={certificates.ca}")
    assert nomad.count() == 0


# ---- quantity ----

def test_many_instances(start, nomad, upstream):
    nomad.register(*[instance("many", f"10.90.{n // 250}.{n % 250 + 1}", 1000 + n) for n in range(1500)])
    client = Client(start(nomad=nomad.address, forward=upstream.address))
    assert len(records(client.ask("many.default.nomad", tcp=True))) == 1500
    assert_records(client.ask("10-90-5-250.many.default.nomad", "SRV"), "SRV",
                   "10 10 2499 10-90-5-250.many.default.nomad.")


def test_many_services(start, nomad, upstream):
    nomad.register(*[instance(f"svc{n}", f"10.91.{n // 250}.{n % 250 + 1}") for n in range(3000)])
    client = Client(start(nomad=nomad.address, forward=upstream.address))
    for number in (0, 1234, 2999):
        assert_records(client.ask(f"svc{number}.default.nomad"), "A", f"10.91.{number // 250}.{number % 250 + 1}")
    assert_nxdomain(client.ask("svc3000.default.nomad"))


@pytest.mark.parametrize("tags", [None, [], ["x" * 63], ["x" * 64], ["\u0000"], ["ünïcode"], ['quote"<&>'], [""]])
def test_odd_tags(start, nomad, upstream, tags):
    nomad.register(instance("odd", "10.92.0.1", Tags=tags))
    client = Client(start(nomad=nomad.address, forward=upstream.address))
    assert_records(client.ask("odd.default.nomad"), "A", "10.92.0.1")


@pytest.mark.parametrize("body", [
    '[{"ServiceName":"re\\u0000dis","Address":"10.9.9.9","Port":1,"Namespace":"default"}]',
    '[{"ServiceName":"redis","Address":"10.9.9.9\\u0000","Port":1,"Namespace":"default"}]',
    '[{"ServiceName":"redis","Address":"10.9.9.9","Port":1e99,"Namespace":"default"}]',
    '[{"ServiceName":"other","Address":"10.9.9.9","Port":1,"Namespace":"default"}]',
    "[" * 5000, '[{"Tags":' + "[" * 2000, '[{"a":{"b":' * 800, "[{}]", '[{"Address":"10.9.9.9"}', "[]garbage", "\ufeff[]",
], ids=range(11))
def test_hostile_json(start, nomad, upstream, body):
    client = Client(start("--mirror=lookup", *QUICK, nomad=nomad.address, forward=upstream.address))
    assert_records(client.ask("web.default.nomad"), "A", *WEB)
    nomad.fault("body", body=body, path="/v1/service/redis")
    reply = client.ask("redis.default.nomad")
    assert rcode(reply) in ("SERVFAIL", "NOERROR", "NXDOMAIN")
    nomad.clear_faults()
    eventually(lambda: assert_records(client.ask("redis.default.nomad"), "A", *REDIS))
