"""What the mirror does over minutes, with a clock that runs faster for the daemon: idleness, silence, busy clusters."""

import time

import pytest
from background import Load, Truth
from fake_nomad import FakeNomad
from fast_clock import FastClock
from harness import PATIENCE_S, Client, assert_records, eventually, records
from scene import CONVERGE_S, SLACK_S, await_tier, instance, services

IDLE_S = 600
IDLE_REQUESTS = 20  # two a minute


@pytest.fixture
def clock(tmp_path):
    return FastClock(str(tmp_path))


@pytest.fixture
def begin(start, upstream, clock):
    """begin(tier, *options) → (daemon, its fake), in that tier, everything loaded."""
    fakes = []

    def run(tier, *options, count=12, has_stream=True, **args):
        nomad = FakeNomad(catalogue={"Services": services(count)}, **args)
        nomad.has_event_broker = has_stream
        nomad.start()
        fakes.append(nomad)
        daemon = start(*options, nomad=nomad.addresses, forward=upstream.address, env=clock.env)
        await_tier(daemon, tier, timeout=2 * PATIENCE_S)
        Truth(nomad).converge(daemon.port, CONVERGE_S, SLACK_S)
        return daemon, nomad

    yield run
    for nomad in fakes:
        nomad.stop()


def pass_time(clock, seconds):
    """Of the daemon's."""
    time.sleep(seconds / clock.factor)


def said(daemon, words):
    return sum(words in line for line in daemon.output().splitlines())


def assert_said(daemon, words, count=1):
    assert said(daemon, words) == count, daemon.output()[-3000:]


def test_ten_idle_minutes_cost_two_requests_a_minute(begin, clock):
    """In both tiers with an alarm, side by side, after the start's own requests."""
    made = {tier: begin(tier, f"--mirror={tier}") for tier in ("stream", "watch")}
    fakes = [nomad for _, nomad in made.values()]
    time.sleep(3)
    clock.set(40, *fakes)
    time.sleep(1.5)  # what is held now was to last a minute of ours
    for nomad in fakes:
        nomad.drop_connections()
    time.sleep(1)
    for nomad in fakes:
        nomad.clear_log()
    pass_time(clock, IDLE_S)
    clock.set(1, *fakes)
    for tier, (daemon, nomad) in made.items():
        asked = [(entry["path"], entry["query"]) for entry in nomad.requests()]
        print(f"{tier}: {len(asked)} requests in ten minutes")
        assert IDLE_REQUESTS / 4 <= len(asked) <= IDLE_REQUESTS, (tier, asked)
        await_tier(daemon, tier)


def test_a_stream_without_a_heartbeat_for_45_seconds_is_opened_again(begin, clock):
    daemon, nomad = begin("stream")
    nomad.clear_log()
    clock.set(15, nomad)
    nomad.cut_streams()
    eventually(lambda: assert_streams(nomad, 1))
    pass_time(clock, 150)  # heartbeats are enough
    assert_streams(nomad, 1)
    nomad.silence_streams()
    pass_time(clock, 20)
    assert_streams(nomad, 1)
    eventually(lambda: assert_streams(nomad, 2))
    clock.set(1, nomad)
    await_tier(daemon, "stream")
    assert said(daemon, "following Nomad by") == 1, "a stream that is opened again is no change of tier"


def assert_streams(nomad, count):
    assert nomad.count("/v1/event/stream") == count


def test_a_change_just_behind_the_end_of_a_wait_is_seen(begin, clock):
    """Nomad holds a request up to a sixteenth longer than it was told to; a wake is a wake then, too."""
    daemon, nomad = begin("watch", "--namespace=prod", "--namespace=default", "--mirror=watch", "--ttl=60s")
    client = Client(daemon)
    clock.set(10, nomad)
    nomad.random.uniform = lambda least, most: most  # what is added to a wait
    nomad.clear_log()
    nomad.drop_connections()
    eventually(lambda: assert_held(nomad))
    await_tier(daemon, "watch")
    before = records(client.ask("svc1.prod.nomad"))
    held = [entry for entry in nomad.requests() if entry["is_blocking"]][-1]
    time.sleep(max(0, held["time"] + 60.8 / clock.factor - time.monotonic()))
    nomad.register(instance("svc1", "10.99.0.1", Namespace="prod"))
    eventually(lambda: assert_records(client.ask("svc1.prod.nomad"), "A", "10.99.0.1", *before), 4)


def assert_held(nomad):
    assert nomad.held() == 2


def make_busy(daemon, nomad, clock, truth):
    """Changes until the daemon says that there are too many; three names are in use. The function that makes one more."""
    client = Client(daemon)
    state = {"number": 0}

    def change():
        state["number"] += 1
        number = state["number"]
        truth.register({**instance(f"svc{number % 40}", f"10.94.{number // 250}.{number % 250 + 1}", 9000,
                                   Namespace=("default", "prod")[number % 2]), "ID": f"only-{number % 40}"})

    clock.set(10, nomad)
    ends = time.monotonic() + 3 * PATIENCE_S
    while not said(daemon, "more than two changes a second"):
        assert time.monotonic() < ends, daemon.output()
        change()
        for number in IN_USE:
            records(client.ask(f"svc{number}.default.nomad"))
        time.sleep(0.03)
    await_tier(daemon, "watch")
    clock.set(1, nomad)  # from here on seconds are ours
    nomad.clear_log()  # before: what is asked at once again is what is looked for
    nomad.drop_connections()  # held for a wait of the faster clock
    for number in IN_USE:
        eventually(lambda: assert_listened(client, nomad, f"svc{number}"), 2 * PATIENCE_S)
    return change


IN_USE = (0, 2, 4)


def assert_listened(client, nomad, service):
    client.ask(f"{service}.default.nomad")
    held = [entry for entry in nomad.requests(f"/v1/service/{service}") if entry["is_blocking"] and entry["status"] is None]
    assert held, nomad.requests()[-10:]


@pytest.mark.parametrize("tier", ["stream", "watch"])
def test_a_busy_cluster_is_listened_to_only_where_it_is_asked_about(begin, clock, tier):
    """More than two changes a second over a minute; five calm minutes, and everything is listened for again."""
    daemon, nomad = begin(tier, "--ttl=60s", count=40, has_stream=tier == "stream")
    truth = Truth(nomad)
    change = make_busy(daemon, nomad, clock, truth)
    nomad.clear_log()
    load = Load(daemon.port, truth, rate=200, is_external=False)
    begun = time.monotonic()
    while time.monotonic() < begun + 6:
        change()
        time.sleep(0.1)
    tally = load.stop()
    asked = {kind: row["requests"] for kind, row in nomad.traffic().items()}
    print(f"busy: {tally}, {asked}")
    assert not load.lost, load.lost[:5]
    wakes = 6 / 0.9 + 3  # about one a second; each makes a GET for a name in use, a list for a namespace with unknown names
    assert asked["alarm"] <= wakes and asked.get("list", 0) <= 2 * wakes and asked["get"] <= 40 * wakes, asked
    truth.converge(daemon.port, CONVERGE_S, SLACK_S)

    clock.set(60, nomad)
    nomad.drop_connections()
    eventually(lambda: assert_said(daemon, "changes rarely again"), 3 * PATIENCE_S)
    clock.set(1, nomad)
    await_tier(daemon, tier, timeout=2 * PATIENCE_S)
    truth.converge(daemon.port, CONVERGE_S, SLACK_S)


@pytest.mark.parametrize("tier", ["stream", "watch"])
def test_what_others_do_in_a_busy_cluster_costs_nothing(begin, clock, tier):
    """Neither bursts, nor other topics' batches, nor changes to names that nobody asks for; and those in use stay right."""
    daemon, nomad = begin(tier, "--ttl=60s", count=40, has_stream=tier == "stream")
    client = Client(daemon)
    make_busy(daemon, nomad, clock, Truth(nomad))
    before = records(client.ask("svc0.default.nomad"))
    nomad.clear_log()
    begun = time.monotonic()
    for turn in range(50):
        nomad.raft_noise(150)
        nomad.call(lambda: [nomad.register(instance(f"svc{2 * (number % 15) + 1}", f"10.95.{turn}.{number + 1}",
                                                    Namespace="prod")) for number in range(3)])
        for number in IN_USE:
            client.ask(f"svc{number}.default.nomad")
        time.sleep(0.1)
    seconds = time.monotonic() - begun
    asked = {kind: row["requests"] for kind, row in nomad.traffic().items()}
    assert asked["alarm"] <= seconds / 0.9 + 2 and asked.get("get", 0) + asked.get("held", 0) <= seconds + 4, asked
    nomad.call(lambda: [nomad.register(instance("svc1", f"10.96.0.{number % 250}", 9000 + number, Namespace="prod"))
                        for number in range(300)])
    nomad.register(instance("svc0", "10.97.0.1"))
    eventually(lambda: assert_records(client.ask("svc0.default.nomad"), "A", "10.97.0.1", *before), 3)


def test_an_explicit_stream_stays_a_stream(begin, clock):
    daemon, nomad = begin("stream", "--mirror=stream", count=40)
    clock.set(10, nomad)
    begun = time.monotonic()
    number = 0
    while time.monotonic() < begun + 14:
        number += 1
        nomad.register(instance(f"svc{number % 40}", f"10.94.{number // 250}.{number % 250 + 1}"))
        time.sleep(0.05)
    clock.set(1, nomad)
    assert_said(daemon, "more than two changes a second", 0)
    await_tier(daemon, "stream")


@pytest.mark.parametrize("tier", ["stream", "watch"])
def test_a_hanging_agent_is_noticed_while_all_that_is_asked_is_known(begin, clock, tier):
    """Nobody needs a request then. The next agent is followed, and the first one again when it is back."""
    daemon, nomad = begin(tier, f"--mirror={tier}", "--ttl=60s", listen=["http://127.0.0.1:0"] * 2)
    client = Client(daemon)
    clock.set(5, nomad)
    nomad.freeze(listener=0)
    nomad.deregister(ServiceName="svc0", Address="10.10.0.1")
    begun = time.monotonic()
    eventually(lambda: assert_records_are(client, "svc0.default.nomad", "10.11.0.1"), PATIENCE_S + SLACK_S)
    taken_s = 5 * (time.monotonic() - begun)
    assert taken_s < 20 + 5 * SLACK_S, f"{taken_s} s of the daemon's"
    eventually(lambda: assert_followed(daemon, nomad, 1))
    nomad.thaw()
    clock.set(20, nomad)
    eventually(lambda: assert_followed(daemon, nomad, 0), PATIENCE_S + SLACK_S)
    clock.set(1, nomad)
    eventually(lambda: assert_follows_at(daemon, nomad, tier))


def assert_records_are(client, name, *addresses):
    assert records(client.ask(name)) == list(addresses)


def assert_followed(daemon, nomad, listener):
    assert nomad.addresses[listener] in daemon.admin("/ready")[1]


def assert_follows_at(daemon, nomad, tier):
    """The held request has moved too: nothing is left at the other agent."""
    await_tier(daemon, tier)
    nomad.clear_log()
    nomad.register(instance("svc2", "10.95.0.1"))
    eventually(lambda: assert_listeners(nomad, 0), 2)


def assert_listeners(nomad, listener):
    assert {entry["listener"] for entry in nomad.requests()} == {listener}


def test_an_alarm_that_does_not_ring_is_found_out(begin, clock):
    """It rests on how Nomad wakes those who watch what is not there."""
    daemon, nomad = begin("watch", "--mirror=watch", "--ttl=60s")
    client = Client(daemon)
    nomad.deafen_alarm()
    nomad.deregister(ServiceName="svc0", Address="10.10.0.1")
    clock.set(5, nomad)
    eventually(lambda: assert_records_are(client, "svc0.default.nomad", "10.11.0.1"), PATIENCE_S + SLACK_S)
    assert_said(daemon, "the held request did not tell of a change")
    assert daemon.metrics()["nomad_dns_nomad_missed_changes_total"] >= 1
    await_tier(daemon, "watch")
