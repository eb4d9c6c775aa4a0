"""The live mirror under every fault, asked for known, unknown and external names all the while: nothing is lost.

What "lost" means stands in tests/support/background.py. NOMAD_DNS_LOAD sets the questions a second (1,000),
NOMAD_DNS_REPORT names a file for a line per fault: seconds, seconds until right again, questions, lost, p99, worst.
"""

import time

import pytest
from background import Truth
from fake_nomad import FakeNomad, server_context
from harness import PATIENCE_S, Client, extended_errors, rcode
from scene import CHANGED, CONVERGE_S, SLACK_S, Scene, await_tier, instance, services

TOKENS = ["11111111-2222-3333-4444-555555555555", "99999999-2222-3333-4444-555555555555"]
FEW = 200  # questions a second where several tests run for the same fault
ERROR_RETURN_S = 4.0    # an agent that answers with errors is asked again after 1 s, 2 s, …


@pytest.fixture
def open_scene(start, upstream):
    """open_scene(*options, nomad={…}, …) → Scene with the stream up and every name asked once."""
    scenes = []

    def begin(*options, count=24, nomad=None, **args):
        scene = Scene(start, upstream, count, **(nomad or {}))
        scenes.append(scene)
        return scene.open(*options, **args)

    yield begin
    for scene in scenes:
        scene.close()


def is_stale(scene):
    name = next(name for name in scene.truth.names())
    return 3 in extended_errors(scene.client.ask(name))


# ---- Nomad gone, and back ----

def killed(scene, is_replaying=True):
    with scene.truth.outage():
        scene.nomad.kill()
        scene.until(lambda: is_stale(scene))
        scene.change()
        scene.nomad.revive(is_replaying)


def killed_without_a_log(scene):
    killed(scene, is_replaying=False)


def restarted_quickly(scene):
    with scene.truth.outage():
        scene.nomad.kill()
        scene.nomad.revive()
    scene.change()


def hanging(scene):
    with scene.truth.outage():
        scene.nomad.freeze()
        scene.nomad.clear_log()
        scene.change()
        scene.until(lambda: is_stale(scene))
        assert scene.nomad.count() < 60
        scene.nomad.thaw()


def leader_lost(scene):
    """Nothing can change without a leader; whoever asks waits 5 s for a 500."""
    with scene.truth.outage():
        scene.nomad.fault("no-leader")
        time.sleep(10)
        scene.nomad.clear_faults()
    scene.change()


# ---- Nomad answers with something else ----

def failing(mode, path="/", per_second=12, **args):
    def row(scene):
        with scene.truth.outage(ERROR_RETURN_S):
            scene.nomad.fault(mode, path=path, **args)
            scene.nomad.drop_connections()
            scene.change()
            scene.assert_patient(2, 2 * per_second + 20)
            scene.nomad.clear_faults()

    return row


def false_index(mode):
    def row(scene):
        with scene.truth.outage(ERROR_RETURN_S):
            scene.nomad.fault(mode, path=CHANGED)
            scene.nomad.drop_connections()
            scene.change()
            scene.assert_patient(2, 150)
            scene.nomad.clear_faults()
        scene.change()

    return row


def instant_polls(scene):
    scene.nomad.fault("instant", path="/v1/services")
    scene.change()
    scene.assert_patient(3, 3 * 12 + 20)
    scene.change()
    scene.truth.converge(scene.port, CONVERGE_S, SLACK_S)
    scene.nomad.clear_faults()


def restored(scene):
    """The index goes back; what came since is gone, and nobody is woken."""
    snapshot = scene.nomad.snapshot()
    scene.change()
    scene.truth.converge(scene.port, CONVERGE_S, SLACK_S)
    scene.nomad.raft_noise(50)
    with scene.truth.outage(ERROR_RETURN_S):
        scene.truth.do(scene.nomad.restore, snapshot)
        scene.truth.converge(scene.port, 60, SLACK_S)
    scene.change()


# ---- the stream ----

def stream_cut(scene):
    scene.nomad.cut_streams()
    scene.change()


def half_an_event(scene):
    scene.nomad.cut_streams('{"Index":99999,"Events":[{"Topic":"Service","Type":"ServiceReg')
    scene.change()


def stream_silent(is_beating):
    def row(scene):
        scene.nomad.silence_streams(is_beating)
        scene.change()
        scene.truth.converge(scene.port, CONVERGE_S, SLACK_S)
        scene.until(lambda: scene.nomad.streams() >= 1)

    return row


def stream_ended(scene):
    scene.nomad.end_streams()
    scene.change()


def odd_lines(scene):
    for line in ("[]", "null", "nonsense", '{"Index":"x","Events":{}}', '{"Index":7,"Events":[{}]}',
                 '{"Index":7,"Events":[{"Topic":"Service","Type":"ServiceRegistration","Namespace":"nowhere"}]}',
                 '{"Index":7,"Events":[1,null,"x",[],{"Payload":null}]}', "{" * 3000, '{"a":"' + "x" * 100000 + '"}'):
        scene.nomad.inject(line)
        scene.change()


def replayed(scene):
    scene.change()
    scene.nomad.replay_streams()
    scene.change()
    scene.nomad.replay_streams(10)


def unknown_namespace(scene):
    """Streams of all namespaces froze their list: this one's events are missing from them."""
    scene.nomad.add_namespace("late")
    scene.truth.register(instance("web", "10.60.0.1", Namespace="late"))
    scene.truth.converge(scene.port, CONVERGE_S, SLACK_S)
    scene.truth.register(instance("web", "10.60.0.2", Namespace="late"))


def namespace_again(scene):
    scene.truth.do(scene.nomad.drop_namespace, "prod")
    scene.truth.converge(scene.port, CONVERGE_S, SLACK_S)
    scene.nomad.add_namespace("prod")
    scene.truth.register(instance("svc1", "10.61.0.1", Namespace="prod"))


def service_moves(scene):
    for there, back in (("default", "prod"), ("prod", "default")):
        scene.truth.do(scene.nomad.move, "svc0", there, back)
        scene.truth.converge(scene.port, CONVERGE_S, SLACK_S)


def odd_types(scene):
    for number, kind in enumerate(["ServiceDeregistration", "AllocationUpdated", "PlanResult", "NodeStreamEvent", "Whatever"]):
        scene.truth.deregister(kind, ServiceName=f"svc{2 * number}", Namespace="default")
        scene.truth.deregister(kind, ServiceName=f"svc{2 * number + 1}", Namespace="prod", Port=8000)


def untold_removal(scene):
    """What the collector leaves moves the index, and no stream is told."""
    scene.truth.deregister(None, ServiceName="svc4", Namespace="default")
    scene.truth.deregister(None, ServiceName="svc5", Namespace="prod", Port=8001)


def burst(scene):
    """1,000 changes at once: a real agent drops the stream in the middle of them, and says nothing."""
    before = scene.nomad.catalogue.broker.dropped_count

    def change():
        for number in range(500):
            scene.nomad.register(instance(f"burst{number % 250}", f"10.70.{number // 250}.{number % 250 + 1}"))
        for number in range(250):
            scene.nomad.deregister(ServiceName=f"burst{number}", Address=f"10.70.0.{number + 1}")
        for number in range(0, 24, 2):
            scene.nomad.deregister(ServiceName=f"svc{number}", Namespace="default", Port=8000)
        for number in range(238):
            scene.nomad.register(instance(f"burst{number}", f"10.71.0.{number + 1}"))

    scene.truth.do(scene.nomad.call, change)
    assert scene.nomad.catalogue.broker.dropped_count > before


# ---- quantity, and what makes no sense ----

def flap(nomad, generation):
    """100 changes in a few milliseconds: of three services two get an instance (or it moves), the third loses it. No
    address comes back."""
    for number in range(100):
        who = {"Namespace": ("default", "prod")[number % 2], "ID": f"flap{number}"}
        if (number + generation) % 3:
            nomad.register(instance(f"svc{number % 24}", f"10.80.{generation}.{number + 1}", **who))
        else:
            nomad.deregister(ServiceName=f"svc{number % 24}", **who)


def flapping(scene, drop_every=None):
    """1,000 changes a second; a burst now and then makes a real agent drop the stream without a word."""
    for round_number in range(30):
        def change():
            for turn in range(3 if drop_every and round_number % drop_every == 0 else 1):
                flap(scene.nomad, 4 * round_number + turn)
                scene.truth.note()  # the first frames of a burst are still told

        begun = time.monotonic()
        scene.truth.do(scene.nomad.call, change)
        time.sleep(max(0.0, begun + 0.1 - time.monotonic()))


def flapping_and_dropped(scene):
    before = scene.nomad.catalogue.broker.dropped_count
    flapping(scene, drop_every=7)
    assert scene.nomad.catalogue.broker.dropped_count > before


def everything_goes(scene):
    for namespace in ("default", "prod"):
        scene.truth.deregister("PlanResult", Namespace=namespace)
    scene.truth.converge(scene.port, CONVERGE_S, SLACK_S)
    scene.truth.register(*services(24))


def wildcard_empty(scene):
    """`[]` with index 0 is no word about names."""
    with scene.truth.outage(ERROR_RETURN_S):
        scene.nomad.fault("wildcard-empty")
        scene.nomad.drop_connections()
        time.sleep(2)
        scene.nomad.clear_faults()


def odd_entries(scene):
    odd = [instance("svc0", address, 1 + number) for number, address in enumerate(
        ["0.0.0.0", "::", "free text", "fe80::1", "", "x" * 300, "10.0.0", "1.2.3.4.5"])]
    odd += [instance("svc0", "10.90.0.1", 70000), instance("svc0", "10.90.0.2", -1), instance("svc0", "10.90.0.3", 0)]
    with scene.truth.changing():
        register_odd(scene.nomad, odd)
    scene.change()


def register_odd(nomad, odd):
    nomad.register(*odd)
    nomad.register({"ServiceName": "no.label", "Address": "10.90.1.1"}, {"ServiceName": "x" * 64, "Address": "10.90.1.2"})
    nomad.register({"ServiceName": "svc0", "Tags": None, "Port": "x", "Address": 5, "Namespace": "default", "ID": "odd"},
                   as_is=True)
    nomad.deregister(ServiceName="svc0", Address=5)
    nomad.deregister(ServiceName="svc0", Port=70000)
    nomad.deregister(ServiceName="svc0", Port=-1)
    nomad.deregister(ServiceName="svc0", Port=0)


FAULTS = {
    "2 Nomad down later": killed,
    "3 hangs": hanging,
    "4 status 500": failing("status=500"),
    "4 status 503": failing("status=503"),
    "5 status 403": failing("status=403"),
    "6 status 404": failing("status=404"),
    "6 status 501": failing("status=501"),
    "7 status 429": failing("status=429", retry_after=1),
    "7 status 429 in plain words": failing("status=429"),
    "8 truncated": failing("truncated"),
    "8 JSON cut": failing("cut-json"),
    "8 bad chunk": failing("bad-chunk"),
    "8 closed early": failing("close"),
    "9 garbage": failing("garbage", path=CHANGED),
    "9 empty": failing("empty", path=CHANGED),
    "9 HTML": failing("html"),
    "9 no HTTP": failing("not-http"),
    "10 body of 100 MB": failing("huge", per_second=30),
    "10 gzip bomb": failing("gzip-bomb", per_second=30),
    "10 drip": failing("drip"),
    "10 header of 1 MB": failing("huge-header"),
    "11 index missing": false_index("no-index"),
    "11 index 0": false_index("index=0"),
    "11 index 1": false_index("index=1"),
    "11 index enormous": false_index("index=18446744073709551615"),
    "11 snapshot restored": restored,
    "12 polls return at once": instant_polls,
    "13 stream cut": stream_cut,
    "13 stream silent": stream_silent(is_beating=False),
    "13 stream beating, but deaf": stream_silent(is_beating=True),
    "13 stream ended by the server": stream_ended,
    "13 half an event": half_an_event,
    "13 lines that make no sense": odd_lines,
    "13 events replayed": replayed,
    "13 a namespace nobody knew": unknown_namespace,
    "14 leader lost for 10 s": leader_lost,
    "16 flapping": flapping,
    "16 flapping, the stream dropped": flapping_and_dropped,
    "17 shrinks to empty": everything_goes,
    "17 empty without an index": wildcard_empty,
    "18 odd entries": odd_entries,
    "removals of every Type": odd_types,
    "a removal no stream tells": untold_removal,
    "kill -9 and restart": restarted_quickly,
    "kill -9, nothing replayed": killed_without_a_log,
    "namespace deleted and created": namespace_again,
    "service moves": service_moves,
    "burst of 1,000": burst,
}


@pytest.mark.parametrize("fault", list(FAULTS))
def test_nothing_is_lost(open_scene, fault):
    scene = open_scene("--ttl=1s", "--negative-ttl=1s")
    # A refused token makes no denial: what is not known is a failure (and what is known is stale).
    with scene.background(fault, is_unknown_failing="403" in fault):
        FAULTS[fault](scene)
    await_tier(scene.daemon, "stream", timeout=2 * PATIENCE_S)
    scene.change()
    scene.truth.converge(scene.port, CONVERGE_S, SLACK_S)


@pytest.mark.parametrize("fault", ["11 index 1", "11 index enormous", "11 snapshot restored"])
def test_nothing_is_lost_in_the_watch_tier(open_scene, fault):
    """No stream makes up for an alarm that is held where it would sleep."""
    scene = open_scene("--mirror=watch", "--ttl=1s", "--negative-ttl=1s", tier="watch")
    with scene.background(fault):
        FAULTS[fault](scene)
    # A request with index 1 that comes back with 1 was not held: then it is tried again after a minute.
    await_tier(scene.daemon, "watch", *(["lookup"] if fault == "11 index 1" else []), timeout=2 * PATIENCE_S)
    scene.change()
    scene.truth.converge(scene.port, CONVERGE_S, SLACK_S)


# What the stream makes up for is seen without it. The rows of a scene come one after the other, but errors do not: each
# makes the next pause longer.
GONE = ["2 Nomad down later", "kill -9 and restart", "3 hangs", "17 empty without an index"]
CATALOGUE = ["13 a namespace nobody knew", "a removal no stream tells", "removals of every Type", "18 odd entries",
             "service moves", "namespace deleted and created", "16 flapping", "17 shrinks to empty"]
SCENES = [("watch", GONE), ("lookup", GONE), ("watch", CATALOGUE), ("lookup", CATALOGUE),
          ("watch", ["4 status 500"]), ("watch", ["5 status 403"]), ("watch", ["11 index 0"]), ("watch", ["14 leader lost for 10 s"]),
          ("lookup", ["5 status 403"]), ("lookup", ["7 status 429 in plain words"]), ("lookup", ["8 truncated"])]
LOOKUP_REMOVAL_S = 2.5  # a ttl of one second, and the request that ends it


@pytest.mark.parametrize("tier, rows", SCENES, ids=[f"{tier}: {rows[0]} …" for tier, rows in SCENES])
def test_nothing_is_lost_without_a_stream(open_scene, tier, rows):
    scene = open_scene(f"--mirror={tier}", "--ttl=1s", "--negative-ttl=1s", tier=tier)
    if tier == "lookup":
        scene.truth.removal_s = LOOKUP_REMOVAL_S
    for fault in rows:
        with scene.background(f"{tier}: {fault}", is_unknown_failing="403" in fault, rate=FEW):
            FAULTS[fault](scene)
        await_tier(scene.daemon, tier, timeout=3 * PATIENCE_S)
        scene.change()
        scene.truth.converge(scene.port, CONVERGE_S, SLACK_S)


@pytest.mark.parametrize("tier", ["stream", "watch", "lookup"])
def test_an_agent_that_hangs_is_left_for_the_next(start, upstream, tier):
    """It takes connections and says nothing; whoever needs a request waits a second, not until it counts as silent."""
    scene = Scene(start, upstream, listen=["http://127.0.0.1:0", "http://127.0.0.1:0"])
    try:
        scene.open(f"--mirror={tier}", "--ttl=1s", "--negative-ttl=1s", "--preload=off", tier=tier)
        if tier == "lookup":
            scene.truth.removal_s = LOOKUP_REMOVAL_S
        with scene.background("an agent hangs", rate=FEW):
            with scene.truth.outage():
                scene.nomad.freeze(listener=0)
                scene.change()
                scene.truth.converge(scene.port, 12, SLACK_S)  # while all that is asked is known, ten seconds
            await_tier(scene.daemon, tier, timeout=2 * PATIENCE_S)
            scene.nomad.clear_log()
            scene.change()
            scene.truth.converge(scene.port, CONVERGE_S, SLACK_S)
        assert scene.load.stop()["worst_ms"] < 3000, "somebody waited for the one that hangs"
        assert {entry["listener"] for entry in scene.nomad.requests()} == {1}
        assert scene.nomad.addresses[1] in scene.daemon.admin("/ready")[1]
    finally:
        scene.close()


def test_a_request_that_is_not_held_is_no_alarm(open_scene):
    """A proxy between us may answer at once; then `watch` would be a word only."""
    scene = open_scene("--mirror=watch", "--ttl=1s", "--negative-ttl=1s", tier="watch")
    scene.nomad.fault("instant", path="/v1/services")
    scene.nomad.drop_connections()
    scene.until(lambda: "answered at once" in scene.daemon.output())
    await_tier(scene.daemon, "lookup")
    scene.change()
    scene.truth.converge(scene.port, LOOKUP_REMOVAL_S, SLACK_S)
    scene.assert_patient(2, 40)


def test_nomad_down_at_start(start, upstream):
    with FakeNomad(catalogue={"Services": services(24)}) as nomad:
        nomad.kill()
        daemon = start(nomad=nomad.address, forward=upstream.address, until="listening")
        client = Client(daemon)
        reply = client.ask("svc0.default.nomad")
        assert rcode(reply) == "SERVFAIL" and 14 in extended_errors(reply)
        assert rcode(client.ask("x.example.net")) == "NOERROR"
        truth = Truth(nomad)
        nomad.revive()
        truth.converge(daemon.port, CONVERGE_S, SLACK_S)
        await_tier(daemon, "stream")


def test_a_token_revoked_and_replaced(open_scene, tmp_path):
    path = tmp_path / "token"
    path.write_text(TOKENS[0])
    scene = open_scene("--ttl=1s", f"--nomad-token-file={path}", tier=None, until="listening", nomad={"acl": True})
    scene.nomad.add_token(TOKENS[0], "client", ["*"])
    await_tier(scene.daemon, "stream", timeout=2 * PATIENCE_S)
    scene.truth.converge(scene.port, CONVERGE_S, SLACK_S)
    with scene.background("token revoked and replaced", is_unknown_failing=True):  # a refused token makes no denial
        with scene.truth.outage(ERROR_RETURN_S):
            scene.nomad.drop_token(TOKENS[0])
            scene.change()
            scene.until(lambda: scene.nomad.count(status=403) > 0)
            scene.nomad.add_token(TOKENS[1], "client", ["*"])
            path.write_text(TOKENS[1])
    await_tier(scene.daemon, "stream", timeout=2 * PATIENCE_S)


def test_a_certificate_replaced(open_scene, certificates, tmp_path):
    """The agent's and ours, both of another CA: the old connections go, new ones need the new files."""
    made = {name: tmp_path / name for name in ("ca", "cert", "key")}

    def give(ca, pair):
        for name, source in (("ca", ca), ("key", pair[0]), ("cert", pair[1])):
            with open(source, "rb") as file:
                made[name].write_bytes(file.read())

    give(certificates.ca, certificates.client)
    context = server_context(certificates.server[1], certificates.server[0], certificates.ca)
    scene = open_scene("--ttl=1s", f"--nomad-ca-cert={made['ca']}", f"--nomad-client-cert={made['cert']}",
                       f"--nomad-client-key={made['key']}",
                       nomad={"listen": ["https://127.0.0.1:0"], "tls_context": context})
    with scene.background("certificate replaced"):
        with scene.truth.outage(ERROR_RETURN_S):
            other = server_context(certificates.other_server[1], certificates.other_server[0], certificates.other_ca)
            scene.nomad.replace_tls(other)
            scene.nomad.drop_connections()
            scene.change()
            time.sleep(1)
            give(certificates.other_ca, certificates.stranger)
            scene.truth.converge(scene.port, 4, SLACK_S)
    await_tier(scene.daemon, "stream", timeout=2 * PATIENCE_S)


def test_the_next_agent_takes_over_and_the_first_one_returns(start, upstream, tmp_path):
    """Two addresses of one cluster: requests and streams move along, also twice within a second: the list is paced."""
    scene = Scene(start, upstream, listen=["http://127.0.0.1:0", "http://127.0.0.1:0"])
    try:
        scene.open("--ttl=1s")
        with scene.background("failover"):
            for listener in (0, 1, 0, 1):
                scene.nomad.fault("refuse", listener=listener)
                scene.change()
                scene.truth.converge(scene.port, CONVERGE_S, SLACK_S)
                scene.nomad.clear_faults()
                scene.change()
    finally:
        scene.close()
