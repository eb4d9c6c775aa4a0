"""Which way the mirror takes for which token, how it climbs and comes down, and what each tier answers and costs."""

import os
import time

import pytest
from background import Truth
from fake_nomad import FakeNomad, server_context
from harness import (PATIENCE_S, Client, assert_nxdomain, assert_records, eventually, extended_errors, rcode,
                     records, ttls)
from scene import CONVERGE_S, REPORT, SLACK_S, await_tier, instance, services

UUID = "11111111-2222-3333-4444-555555555555"
OTHER_UUID = "99999999-2222-3333-4444-555555555555"
IDLE_S = float(os.environ.get("NOMAD_DNS_IDLE", "0"))
TIERS = ["stream", "watch", "lookup"]


@pytest.fixture
def open_nomad():
    """open_nomad(**FakeNomad's) → one with svc0 … svc11, six each in default and prod."""
    fakes = []

    def begin(count=12, **args):
        fake = FakeNomad(catalogue={"Services": services(count)}, **args).start()
        fakes.append(fake)
        return fake

    yield begin
    for fake in fakes:
        fake.stop()


@pytest.fixture
def begin(start, upstream, open_nomad):
    """begin(*options, nomad=…) → (daemon, client, nomad, truth), ready, at the tier wanted."""

    def run(*options, nomad=None, tier=None, until="ready", **args):
        nomad = nomad or open_nomad()
        daemon = start(*options, nomad=nomad.addresses, forward=upstream.address, until=until, **args)
        if tier:
            await_tier(daemon, tier, timeout=2 * PATIENCE_S)
        return daemon, Client(daemon), nomad, Truth(nomad)

    return run


def assert_follows(daemon, nomad, namespace="prod", service="svc1"):
    """A change is answered long before any ttl would have let it."""
    client = Client(daemon)
    name = f"{service}.{namespace}.nomad"
    before = records(client.ask(name))
    nomad.register(instance(service, "10.99.0.1", Namespace=namespace))
    eventually(lambda: assert_records(client.ask(name), "A", "10.99.0.1", *before))
    nomad.deregister(ServiceName=service, Namespace=namespace, Address="10.99.0.1")
    eventually(lambda: assert_records(client.ask(name), "A", *before))


# ---- what each token gets ----

TOKENS = {
    "ACLs off": (None, (), "stream"),
    "management": ("management", (), "stream"),
    "read-job everywhere": ("client", ["*"], "stream"),
    "read-job in each namespace there is": ("client", ["default", "prod"], "stream"),
    "default workload identity": ("workload", (), "watch"),
    "workload identity with a policy": ("workload", ["*"], "stream"),
}


@pytest.mark.parametrize("kind", TOKENS)
def test_the_best_tier_the_token_allows(begin, open_nomad, kind):
    token_kind, read, expected = TOKENS[kind]
    nomad = open_nomad(acl=bool(token_kind))
    if token_kind:
        nomad.add_token(UUID, token_kind, read)
    daemon, _, _, truth = begin("--ttl=60s", "--negative-ttl=60s", nomad=nomad, tier=expected, env={"NOMAD_TOKEN": UUID})
    truth.converge(daemon.port, CONVERGE_S, SLACK_S)
    assert_follows(daemon, nomad)
    assert expected in daemon.admin("/ready")[1]
    eventually(lambda: assert_said(daemon, f"following Nomad by {expected}"))


@pytest.mark.parametrize("ceiling, expected", [("auto", "stream"), ("watch", "watch"), ("lookup", "lookup")])
def test_a_token_for_some_namespaces(begin, open_nomad, ceiling, expected):
    nomad = open_nomad(acl=True)
    nomad.add_token(UUID, "client", ["prod"])
    times = ["--ttl=1s", "--negative-ttl=1s"] if ceiling == "lookup" else ["--ttl=60s", "--negative-ttl=60s"]
    daemon, client, _, _ = begin(*times, f"--mirror={ceiling}", nomad=nomad, tier=expected, env={"NOMAD_TOKEN": UUID})
    assert "refuses" not in daemon.admin("/ready")[1]
    eventually(lambda: assert_records(client.ask("svc1.prod.nomad"), "A", "10.10.0.2", "10.11.0.2"))
    assert_follows(daemon, nomad)
    assert_nxdomain(client.ask("nosuch.prod.nomad"))
    reply = client.ask("svc0.default.nomad")
    assert rcode(reply) == "SERVFAIL" and extended_errors(reply), reply


def assert_seen(client, nomad, name, address, **more):
    """The seconds until what Nomad has just got is answered."""
    service, namespace, _ = name.split(".")
    nomad.register(instance(service, address, Namespace=namespace, **more))
    begun = time.monotonic()
    eventually(lambda: assert_records(client.ask(name), "A", address))
    return time.monotonic() - begun


@pytest.mark.parametrize("read", [["prod", "fresh"], ["fresh"]])
def test_the_first_service_of_a_readable_namespace(begin, open_nomad, read):
    """Until then no list shows that it may be read."""
    nomad = open_nomad(acl=True)
    nomad.add_namespace("fresh")
    nomad.add_token(UUID, "client", read)
    daemon, client, _, _ = begin("--ttl=60s", "--negative-ttl=60s", nomad=nomad, env={"NOMAD_TOKEN": UUID})
    await_tier(daemon, "stream", "watch", timeout=2 * PATIENCE_S)
    assert_nxdomain(client.ask("web.fresh.nomad"))
    await_tier(daemon, "stream", "watch", timeout=2 * PATIENCE_S)
    eventually(lambda: assert_nxdomain(client.ask("web.fresh.nomad")))
    taken_s = assert_seen(client, nomad, "web.fresh.nomad", "10.42.0.1")
    assert taken_s < 1 + SLACK_S
    assert_follows(daemon, nomad, "fresh", "web")


def test_a_configured_namespace_that_may_not_be_read_harms_no_other(begin, open_nomad):
    nomad = open_nomad(acl=True)
    nomad.add_namespace("third")
    nomad.add_token(UUID, "client", ["prod"])
    daemon, client, _, _ = begin("--ttl=60s", "--negative-ttl=60s", "--namespace=default", "--namespace=prod", nomad=nomad,
                                 tier="stream", env={"NOMAD_TOKEN": UUID})
    assert_follows(daemon, nomad)
    assert rcode(client.ask("svc0.default.nomad")) == "SERVFAIL"
    assert_nxdomain(client.ask("web.third.nomad"))
    nomad.add_token(UUID, "client", ["prod", "default"])
    eventually(lambda: assert_records(client.ask("svc0.default.nomad"), "A", "10.10.0.1", "10.11.0.1"))
    eventually(lambda: assert_follows(daemon, nomad, "default", "svc0"))


def test_rights_that_grow_and_shrink(begin, open_nomad):
    nomad = open_nomad(acl=True)
    nomad.add_namespace("third")
    nomad.register(instance("web", "10.43.0.1", Namespace="third"))
    nomad.add_token(UUID, "client", ["prod"])
    daemon, client, _, _ = begin("--ttl=60s", "--negative-ttl=1s", nomad=nomad, tier="stream", env={"NOMAD_TOKEN": UUID})
    assert rcode(client.ask("web.third.nomad")) == "SERVFAIL"
    nomad.add_token(UUID, "client", ["prod", "third"])
    eventually(lambda: assert_records(client.ask("web.third.nomad"), "A", "10.43.0.1"))
    await_tier(daemon, "stream", timeout=2 * PATIENCE_S)
    eventually(lambda: assert_follows(daemon, nomad, "third", "web"))
    nomad.add_token(UUID, "client", ["third"])
    nomad.register(instance("web", "10.43.0.9", 81, Namespace="third"))
    eventually(lambda: assert_records(client.ask("web.third.nomad"), "A", "10.43.0.1", "10.43.0.9"))
    assert_follows(daemon, nomad, "third", "web")


@pytest.mark.parametrize("read, expected", [(["*"], "stream"), (["prod"], "stream")])
def test_the_anonymous_policy(begin, open_nomad, read, expected):
    nomad = open_nomad(acl=True)
    nomad.allow_anonymous(read)
    daemon, _, _, _ = begin("--ttl=60s", nomad=nomad, tier=expected)
    assert_follows(daemon, nomad)


def test_nobody_without_a_policy(begin, open_nomad):
    daemon, client, _, _ = begin(nomad=open_nomad(acl=True), until="listening")
    eventually(lambda: assert_said(daemon, "refuses the token"))
    reply = client.ask("svc0.default.nomad")
    assert rcode(reply) == "SERVFAIL" and 0 in extended_errors(reply)
    assert "refuses the token" in daemon.admin("/ready")[1]


def test_a_token_that_is_half_written_for_a_while(begin, open_nomad, tmp_path):
    """Nomad writes it in place; the Task API takes what it finds for a server's own error."""
    nomad = open_nomad(listen=[f"unix://{tmp_path}/api.sock"], acl=True)
    first, second = "aaa.bbb.ccc", "ddd.eee.fff"
    nomad.add_token(first, "workload", ["*"])
    path = tmp_path / "nomad_token"
    path.write_text(first)
    daemon, client, _, truth = begin("--ttl=1s", f"--nomad-token-file={path}", nomad=nomad, tier="stream")
    truth.converge(daemon.port, CONVERGE_S, SLACK_S)
    path.write_text("ddd.e")
    nomad.add_token(second, "workload", ["*"])
    nomad.drop_token(first)
    nomad.drop_connections()
    eventually(lambda: assert_at_least(nomad.count(status=500), 1))
    assert len(records(client.ask("svc0.default.nomad"))) == 2
    path.write_text(second)
    truth.register(instance("svc0", "10.98.0.1"))
    truth.converge(daemon.port, CONVERGE_S, SLACK_S)
    await_tier(daemon, "stream", timeout=2 * PATIENCE_S)


@pytest.mark.parametrize("policy, expected", [((), "watch"), (["*"], "stream")])
def test_the_task_api_with_a_rotated_token(begin, open_nomad, tmp_path, policy, expected):
    nomad = open_nomad(listen=[f"unix://{tmp_path}/api.sock"], acl=True)
    first, second = "aaa.bbb.ccc", "ddd.eee.fff"
    nomad.add_token(first, "workload", policy)
    path = tmp_path / "nomad_token"
    path.write_text(first)
    daemon, client, _, truth = begin("--ttl=1s", f"--nomad-token-file={path}", nomad=nomad, tier=expected)
    assert_follows(daemon, nomad)
    nomad.add_token(second, "workload", policy)
    path.write_text("ddd.e")
    nomad.drop_token(first)
    path.write_text(second)
    truth.register(instance("svc0", "10.98.0.1"))
    truth.converge(daemon.port, 5, SLACK_S)
    await_tier(daemon, expected, timeout=2 * PATIENCE_S)
    assert_follows(daemon, nomad)
    assert nomad.requests(token=second)


def test_mutual_tls(begin, open_nomad, certificates):
    context = server_context(certificates.server[1], certificates.server[0], certificates.ca)
    nomad = open_nomad(listen=["https://127.0.0.1:0"], tls_context=context)
    key, certificate = certificates.client
    daemon, _, _, truth = begin(f"--nomad-ca-cert={certificates.ca}", f"--nomad-client-cert={certificate}",
                                f"--nomad-client-key={key}", nomad=nomad, tier="stream")
    truth.converge(daemon.port, CONVERGE_S, SLACK_S)
    assert_follows(daemon, nomad)


@pytest.mark.parametrize("version, kind, expected", [
    ("1.9.5", "workload", "watch"), ("1.9.5", "management", "stream"), ("1.10.0", "workload", "watch"),
    ("1.10.0", "management", "stream"), ("1.11.2", "management", "watch"), ("2.0.5", "workload", "watch"),
])
def test_what_old_versions_allow(begin, open_nomad, version, kind, expected):
    nomad = open_nomad(acl=True, version=version)
    nomad.add_token(UUID, kind)
    daemon, _, _, truth = begin("--ttl=60s", nomad=nomad, tier=expected, env={"NOMAD_TOKEN": UUID})
    truth.converge(daemon.port, CONVERGE_S, SLACK_S)
    assert_follows(daemon, nomad)


def test_without_an_event_broker(begin, open_nomad):
    nomad = open_nomad()
    nomad.has_event_broker = False
    daemon, _, _, _ = begin("--ttl=60s", nomad=nomad, tier="watch")
    assert_follows(daemon, nomad)


@pytest.mark.parametrize("limit", TIERS)
def test_the_operator_sets_the_ceiling(begin, limit):
    daemon, _, nomad, truth = begin("--ttl=1s", "--negative-ttl=1s", f"--mirror={limit}", tier=limit)
    truth.converge(daemon.port, CONVERGE_S, SLACK_S)
    assert_follows(daemon, nomad)
    traffic = nomad.traffic()
    assert ("stream" in traffic) == (limit == "stream")
    assert limit != "lookup" or not {"alarm", "held"} & traffic.keys()


# ---- up and down ----

def test_it_climbs_with_a_new_token(begin, open_nomad, tmp_path):
    nomad = open_nomad(acl=True)
    nomad.add_token(UUID, "workload")
    path = tmp_path / "token"
    path.write_text(UUID)
    daemon, _, _, truth = begin("--ttl=60s", f"--nomad-token-file={path}", nomad=nomad, tier="watch")
    nomad.add_token(OTHER_UUID, "client", ["*"])
    path.write_text(OTHER_UUID)
    await_tier(daemon, "stream", timeout=2 * PATIENCE_S)
    assert_follows(daemon, nomad)
    truth.converge(daemon.port, CONVERGE_S, SLACK_S)


def test_it_comes_down_when_the_policy_goes(begin, open_nomad):
    nomad = open_nomad(acl=True)
    nomad.add_token(UUID, "workload", ["*"])
    daemon, _, _, truth = begin("--ttl=60s", nomad=nomad, tier="stream", env={"NOMAD_TOKEN": UUID})
    nomad.add_token(UUID, "workload")
    truth.register(instance("svc0", "10.98.0.1"))
    await_tier(daemon, "watch", timeout=3 * PATIENCE_S)
    truth.converge(daemon.port, CONVERGE_S, SLACK_S)
    assert_follows(daemon, nomad)


def test_it_climbs_when_the_agent_is_upgraded_and_comes_down_again(begin, open_nomad):
    nomad = open_nomad(version="1.11.2")
    daemon, _, _, truth = begin("--ttl=60s", nomad=nomad, tier="watch")
    nomad.kill()
    nomad.revive(version="2.0.5")
    await_tier(daemon, "stream", timeout=3 * PATIENCE_S)
    nomad.kill()
    nomad.revive(version="1.11.2")
    await_tier(daemon, "watch", timeout=3 * PATIENCE_S)
    truth.register(instance("svc0", "10.98.0.1"))
    truth.converge(daemon.port, CONVERGE_S, SLACK_S)


def test_it_climbs_when_a_leader_is_elected(begin, open_nomad):
    nomad = open_nomad(no_leader_s=0.5)
    nomad.fault("no-leader")
    daemon, _, _, truth = begin("--ttl=1s", nomad=nomad, until="listening")
    nomad.clear_faults()
    await_tier(daemon, "stream", timeout=3 * PATIENCE_S)
    truth.converge(daemon.port, CONVERGE_S, SLACK_S)


def test_a_change_of_tier_is_one_line(begin, open_nomad):
    nomad = open_nomad()
    daemon, _, _, _ = begin("--ttl=60s", nomad=nomad, tier="stream")
    lines = [line for line in daemon.output().splitlines() if "following Nomad by" in line]
    assert len(lines) == 1 and "stream" in lines[0], lines


# ---- namespaces that come, and without end ----

@pytest.mark.parametrize("tier", ["stream", "watch"])
def test_a_new_namespace_is_answered_within_a_second(begin, open_nomad, tier):
    """A stream of all namespaces freezes their list: only the alarm tells, and a question then asks Nomad."""
    nomad = open_nomad()
    daemon, client, _, truth = begin("--ttl=60s", "--negative-ttl=60s", f"--mirror={tier}", nomad=nomad, tier=tier)
    truth.converge(daemon.port, CONVERGE_S, SLACK_S)
    taken = []
    for number in range(5):
        name = f"web.late{number}.nomad"
        assert_nxdomain(client.ask(name))
        taken.append(assert_seen(client, nomad, name, "10.44.0.1"))
    assert sorted(taken)[2] < 1.0, taken
    if REPORT:
        with open(REPORT, "a", encoding="utf-8") as file:
            file.write(f"new namespace, {tier}: " + " ".join(f"{seconds * 1000:.1f} ms" for seconds in taken) + "\n")
    assert_follows(daemon, nomad, "late0", "web")


def test_a_change_in_a_new_namespace_is_not_lost_behind_another(begin, open_nomad):
    """The alarm tells of the second one only, and the stream has that; so the stream has to know the namespace by then."""
    nomad = open_nomad()
    daemon, client, _, truth = begin("--ttl=60s", "--negative-ttl=60s", nomad=nomad, tier="stream")
    for number in range(3):
        before = nomad.count("/v1/event/stream")
        nomad.add_namespace(f"late{number}")
        eventually(lambda: assert_more(nomad, before))
        await_tier(daemon, "stream")
        nomad.call(lambda: [nomad.register(instance("web", "10.60.0.1", Namespace=f"late{number}")),
                            nomad.register(instance("svc0", f"10.60.1.{number + 1}"))])
        eventually(lambda: assert_records(client.ask(f"web.late{number}.nomad"), "A", "10.60.0.1"), 5)
    truth.note()
    truth.converge(daemon.port, CONVERGE_S, SLACK_S)
    lists = [entry["query"] for entry in nomad.requests("/v1/services") if ["namespace", "*"] in entry["query"]]
    assert len(lists) == 1, "a namespace more is no reason to list everything"


def assert_more(nomad, streams):
    assert nomad.count("/v1/event/stream") > streams


def test_many_namespaces_stay_under_the_agent_s_limit(begin, open_nomad):
    """The alarm is not permitted to a token of some namespaces; a hundred connections would lock everybody out."""
    nomad = open_nomad(acl=True, connections_max=40)
    spaces = [f"space{number}" for number in range(30)]
    nomad.register(*[instance("web", f"10.40.0.{number + 1}", Namespace=name) for number, name in enumerate(spaces)])
    nomad.add_token(UUID, "client", ["space*"])
    daemon, client, _, _ = begin("--ttl=60s", "--negative-ttl=60s", nomad=nomad, tier="watch", env={"NOMAD_TOKEN": UUID})
    eventually(lambda: assert_said(daemon, "the token may read more than 8 namespaces, but not all of them"))
    for number, name in enumerate(spaces):
        eventually(lambda: assert_records(client.ask(f"web.{name}.nomad"), "A", f"10.40.0.{number + 1}"))
    for number in (0, 29):
        assert_follows(daemon, nomad, spaces[number], "web")
    open_now = nomad.call(lambda: sum(len(listener.writers) for listener in nomad.listeners))
    assert open_now <= 12 and nomad.count(status=429) == 0


# ---- settle ----

def poll(client, name, seconds):
    """Every answer within a stretch of time: sets of addresses."""
    seen = []
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        seen.append(tuple(records(client.ask(name))))
    return seen


@pytest.mark.parametrize("tier", ["stream", "watch"])
def test_a_restart_is_never_seen(begin, tier):
    """A restarted service is gone for 3–67 ms; a client would keep that NXDOMAIN for seconds."""
    daemon, client, nomad, _ = begin("--ttl=60s", "--settle=2s", f"--mirror={tier}", tier=tier)
    name = "only.default.nomad"
    nomad.register(instance("only", "10.41.0.1"))
    eventually(lambda: assert_records(client.ask(name), "A", "10.41.0.1"))
    for _ in range(5):
        nomad.deregister(ServiceName="only")
        seen = poll(client, name, 0.05)
        nomad.register(instance("only", "10.41.0.1"))
        seen += poll(client, name, 0.2)
        assert set(seen) == {("10.41.0.1",)}


@pytest.mark.parametrize("tier", ["stream", "watch"])
@pytest.mark.parametrize("settle", ["0", "100ms", "1s"])
def test_the_last_instance_goes_after_settle(begin, tier, settle):
    daemon, client, nomad, _ = begin("--ttl=60s", f"--settle={settle}", f"--mirror={tier}", tier=tier)
    nomad.register(instance("only", "10.41.0.1"))
    eventually(lambda: assert_records(client.ask("only.default.nomad"), "A", "10.41.0.1"))
    nomad.deregister(ServiceName="only")
    if settle == "1s":
        assert set(poll(client, "only.default.nomad", 0.3)) == {("10.41.0.1",)}
    eventually(lambda: assert_nxdomain(client.ask("only.default.nomad")))


@pytest.mark.parametrize("tier", ["stream", "watch"])
def test_a_removal_heard_before_an_outage_stays_in_force(begin, tier):
    daemon, client, nomad, _ = begin("--ttl=1s", "--settle=1s", f"--mirror={tier}", tier=tier)
    assert records(client.ask("svc0.default.nomad")) and records(client.ask("svc2.default.nomad"))
    nomad.deregister(ServiceName="svc0")
    poll(client, "svc0.default.nomad", 0.3)  # long enough to have heard it, and shorter than settle
    nomad.kill()
    eventually(lambda: assert_absent(client.ask("svc0.default.nomad")))
    assert records(client.ask("svc2.default.nomad"))


def assert_absent(reply):
    assert rcode(reply) == "NXDOMAIN", reply


def test_fewer_but_some_is_at_once(begin):
    daemon, client, nomad, _ = begin("--ttl=60s", "--settle=10s", tier="stream")
    assert len(records(client.ask("svc0.default.nomad"))) == 2
    nomad.deregister(ServiceName="svc0", Address="10.10.0.1")
    eventually(lambda: assert_records(client.ask("svc0.default.nomad"), "A", "10.11.0.1"), 5)


# ---- Nomad lost ----

@pytest.mark.parametrize("tier", TIERS)
def test_what_is_answered_while_nomad_is_lost(begin, tier):
    daemon, client, nomad, _ = begin("--ttl=1s", "--negative-ttl=1s", f"--mirror={tier}", tier=tier)
    known, unknown = "svc0.default.nomad", "nosuch.default.nomad"
    assert records(client.ask(known))
    nomad.kill()

    def check():
        reply = client.ask(known)
        assert len(records(reply)) == 2 and 3 in extended_errors(reply) and max(ttls(reply)) <= 30

    eventually(check)
    reply = client.ask(unknown)
    if tier == "stream":
        assert rcode(reply) == "NXDOMAIN" and 19 in extended_errors(reply), reply
        assert rcode(client.ask("x.nowhere.nomad")) == "NXDOMAIN"
    else:
        assert rcode(reply) in ("SERVFAIL", "NXDOMAIN") and extended_errors(reply), reply
    nomad.revive()

    def check_back():
        reply = client.ask(known)
        assert len(records(reply)) == 2 and not extended_errors(reply)
        assert_nxdomain(client.ask(unknown))

    eventually(check_back)


@pytest.mark.parametrize("tier", TIERS)
def test_what_is_known_ends_with_max_stale(begin, tier):
    daemon, client, nomad, _ = begin("--ttl=1s", "--max-stale=2s", f"--mirror={tier}", tier=tier)
    assert records(client.ask("svc0.default.nomad"))
    nomad.kill()

    def check():
        reply = client.ask("svc0.default.nomad")
        assert rcode(reply) == "SERVFAIL" and extended_errors(reply), reply

    eventually(check)
    nomad.revive()
    eventually(lambda: assert_records(client.ask("svc0.default.nomad"), "A", "10.10.0.1", "10.11.0.1"))


def test_a_name_never_loaded_is_no_denial_in_an_outage(begin):
    daemon, client, nomad, _ = begin("--ttl=1s", "--preload=off", tier="stream")
    nomad.kill()
    reply = client.ask("svc0.default.nomad")
    assert rcode(reply) == "SERVFAIL" and extended_errors(reply), reply
    assert rcode(client.ask("nosuch.default.nomad")) == "NXDOMAIN"


# ---- scope ----

@pytest.mark.parametrize("tier", TIERS)
def test_the_namespace_option_in_every_tier(begin, tier):
    daemon, client, nomad, _ = begin("--ttl=1s", "--namespace=prod", f"--mirror={tier}", tier=tier)
    assert_records(client.ask("svc1.prod.nomad"), "A", "10.10.0.2", "10.11.0.2")
    assert_nxdomain(client.ask("svc0.default.nomad"))
    assert_follows(daemon, nomad)
    nomad.register(instance("svc0", "10.97.0.1"))
    assert_nxdomain(client.ask("svc0.default.nomad"))
    assert not [entry for entry in nomad.requests("/v1/service/") if entry["namespace"] == "default"
                and entry["path"] == "/v1/service/svc0"]


@pytest.mark.parametrize("tier", TIERS)
def test_the_filter_in_every_tier(begin, tier):
    daemon, client, nomad, _ = begin("--ttl=1s", "--negative-ttl=1s", '--filter="canary" not in Tags', f"--mirror={tier}",
                                     tier=tier)
    name = "svc0.default.nomad"
    both = ["10.10.0.1", "10.11.0.1"]
    assert_records(client.ask(name), "A", *both)
    nomad.register(instance("svc0", "10.96.0.1", Tags=["canary"], ID="one"))
    nomad.register(instance("svc0", "10.96.0.2", ID="two"))
    eventually(lambda: assert_records(client.ask(name), "A", "10.96.0.2", *both))
    nomad.register(instance("svc0", "10.96.0.1", Tags=[], ID="one"))
    eventually(lambda: assert_records(client.ask(name), "A", "10.96.0.1", "10.96.0.2", *both))
    nomad.register(instance("svc0", "10.96.0.1", Tags=["canary"], ID="one"))
    eventually(lambda: assert_records(client.ask(name), "A", "10.96.0.2", *both))
    nomad.register(instance("hidden", "10.96.0.3", Tags=["canary"]))
    eventually(lambda: assert_nxdomain(client.ask("hidden.default.nomad")))


@pytest.mark.parametrize("tier", ["stream", "watch"])
def test_the_region_is_in_every_request(begin, tier):
    daemon, client, nomad, _ = begin("--nomad-region=global", f"--mirror={tier}", tier=tier)
    client.ask("svc0.default.nomad")
    assert {entry["region"] for entry in nomad.requests() if entry["path"].startswith(("/v1/service", "/v1/event"))} == {"global"}


@pytest.mark.parametrize("option, words", [
    ("--filter=Tags ===", "failed to read filter expression"), ("--nomad-region=mars", "No path to region"),
])
def test_what_nomad_rejects_is_reported_in_its_own_words(begin, option, words):
    daemon, client, _, _ = begin(option, until="listening")
    assert rcode(client.ask("svc0.default.nomad")) == "SERVFAIL"
    eventually(lambda: assert_said(daemon, words))


def assert_said(daemon, words):
    assert words in daemon.output(), daemon.output()[-2000:]


# ---- preloading ----

@pytest.mark.parametrize("preload, least, most", [("auto", 12, 40), ("off", 0, 0), ("5", 5, 8)])
def test_preloading(begin, preload, least, most):
    daemon, _, nomad, truth = begin("--ttl=60s", f"--preload={preload}", tier="stream")

    def loaded():
        return len({(entry["namespace"], entry["path"]) for entry in nomad.requests("/v1/service/svc", kind="get")}
                   | {(entry["namespace"], entry["path"]) for entry in nomad.requests("/v1/service/")
                      if entry["path"].startswith("/v1/service/svc")})

    eventually(lambda: assert_at_least(loaded(), least))
    time.sleep(0.5)
    assert loaded() <= most
    truth.converge(daemon.port, CONVERGE_S, SLACK_S)


def assert_at_least(value, least):
    assert value >= least, value


def test_a_preloaded_name_needs_no_request(begin):
    daemon, client, nomad, _ = begin("--ttl=60s", "--preload=auto", tier="stream")
    eventually(lambda: assert_at_least(
        sum(entry["path"].startswith("/v1/service/svc") for entry in nomad.requests("/v1/service/")), 12))
    time.sleep(0.3)
    nomad.clear_log()
    for number in range(12):
        assert len(records(client.ask(f"svc{number}.{('default', 'prod')[number % 2]}.nomad"))) == 2
    assert nomad.count("/v1/service/") == 0


# ---- what it costs ----

@pytest.mark.skipif(not IDLE_S, reason="test_mirror_time.py does it with a faster clock; NOMAD_DNS_IDLE=600 takes ten minutes")
def test_idle_costs_two_requests_a_minute(begin, open_nomad):
    """Both tiers side by side, after the start's own requests."""
    fakes = {tier: open_nomad() for tier in ("stream", "watch")}
    for tier, nomad in fakes.items():
        daemon, _, _, truth = begin(f"--mirror={tier}", nomad=nomad, tier=tier)
        truth.converge(daemon.port, CONVERGE_S, SLACK_S)
    time.sleep(3)
    for nomad in fakes.values():
        nomad.clear_log()
    time.sleep(IDLE_S)
    for tier, nomad in fakes.items():
        asked = [(entry["path"], entry["query"]) for entry in nomad.requests()]
        print(f"{tier}: {len(asked)} requests in {IDLE_S:.0f} s")
        assert len(asked) <= max(1, 2 * IDLE_S / 60), (tier, asked)


def test_an_event_costs_no_request(begin):
    """A change of a loaded name comes whole with its event; the alarm beside it wakes, and that is all."""
    daemon, client, nomad, truth = begin("--ttl=60s", tier="stream")
    truth.converge(daemon.port, CONVERGE_S, SLACK_S)
    time.sleep(2)
    nomad.clear_log()
    for number in range(20):
        truth.register(instance("svc0", f"10.95.0.{number + 1}"))
        truth.converge(daemon.port, CONVERGE_S, SLACK_S)
    kinds = nomad.traffic()
    assert kinds.get("get", {"requests": 0})["requests"] <= 4 and "list" not in kinds, kinds
