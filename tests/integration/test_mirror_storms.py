"""Misfortunes that repeat, while questions go on: lying indexes, flapping tokens, restarts, failovers, reloads. Nothing is lost.

The dice are seeded; NOMAD_DNS_SEED takes another seed.
"""

import contextlib
import os
import random
import signal
import time

import pytest
from background import Load, Truth
from fake_nomad import FakeNomad
from harness import PATIENCE_S
from scene import CONVERGE_S, SLACK_S, await_tier, instance, services

TOKEN = "11111111-2222-3333-4444-555555555555"
SEED = int(os.environ.get("NOMAD_DNS_SEED", "1"))
RATE = 100
RETURN_S = 5.0  # after the last misfortune


@pytest.fixture
def begin(start, upstream):
    """begin(*options, tier=…, **FakeNomad's) → (daemon, nomad, truth), ready."""
    fakes = []

    def run(*options, tier="stream", **args):
        nomad = FakeNomad(catalogue={"Services": services(12)}, **args)
        nomad.add_token(TOKEN, "client", ["*"])
        fakes.append(nomad.start())
        daemon = start("--ttl=1s", "--negative-ttl=1s", *options, nomad=nomad.addresses, forward=upstream.address)
        await_tier(daemon, tier, timeout=2 * PATIENCE_S)
        truth = Truth(nomad)
        truth.converge(daemon.port, CONVERGE_S, SLACK_S)
        return daemon, nomad, truth

    yield run
    for nomad in fakes:
        nomad.stop()


@contextlib.contextmanager
def questions(daemon, truth, tier="stream"):
    """Asked all the while; afterwards everything is right, nothing was lost, and the tier is back."""
    load = Load(daemon.port, truth, rate=RATE, is_external=False)
    try:
        yield
        truth.converge(daemon.port, CONVERGE_S, SLACK_S)
    finally:
        tally = load.stop()
    assert not load.lost, (tally, load.lost[:5], daemon.output()[-2000:])
    await_tier(daemon, tier, timeout=3 * PATIENCE_S)


def change(truth, number):
    truth.register(instance(f"svc{number % 12}", f"10.33.0.{number + 1}", Namespace=("default", "prod")[number % 2]))


def test_an_agent_that_lies_about_its_index(begin):
    daemon, nomad, truth = begin()
    dice = random.Random(SEED)
    with questions(daemon, truth), truth.outage(RETURN_S):
        for number in range(50):
            nomad.clear_faults()
            nomad.fault(f"index={dice.choice([0, 1, 5, 27, 2**63, 2**64 - 1, 10**30])}",
                        path=dice.choice(["/v1/services", "/v1/service"]), times=3)
            change(truth, number)
            time.sleep(0.1)
        nomad.clear_faults()


def test_an_agent_that_restarts_every_two_seconds(begin):
    daemon, nomad, truth = begin()
    with questions(daemon, truth), truth.outage(2.0):
        for number in range(4):
            nomad.kill()
            time.sleep(0.5)
            nomad.revive(is_replaying=number % 2 == 0)
            change(truth, number)
            time.sleep(1.5)


def test_a_token_that_flaps(begin, tmp_path):
    path = tmp_path / "token"
    path.write_text(TOKEN)
    daemon, nomad, truth = begin(f"--nomad-token-file={path}", acl=True)
    dice = random.Random(SEED)

    def cut():
        path.write_text(TOKEN[:dice.randrange(1, len(TOKEN))])

    steps = [cut, lambda: nomad.drop_token(TOKEN), lambda: nomad.add_token(TOKEN, "client", ["*"]),
             lambda: nomad.add_token(TOKEN, "client", ["prod"]), lambda: nomad.add_token(TOKEN, "workload")]
    with questions(daemon, truth), truth.outage(RETURN_S):
        for number in range(20):
            dice.choice(steps)()
            change(truth, number)
            time.sleep(0.3)
            path.write_text(TOKEN)
        nomad.add_token(TOKEN, "client", ["*"])


def test_one_address_dead_one_lying_one_good(begin):
    """The good one is found, and stays."""
    nomad_listens = ["http://127.0.0.1:0"] * 3
    daemon, nomad, truth = begin(listen=nomad_listens)
    nomad.fault("html", listener=1)
    nomad.fault("refuse", listener=0)
    with questions(daemon, truth):
        with truth.outage(2.0):
            change(truth, 0)
            truth.converge(daemon.port, CONVERGE_S, SLACK_S)
        nomad.clear_log()
        for number in range(1, 10):
            change(truth, number)
            time.sleep(0.2)
        assert {entry["listener"] for entry in nomad.requests()} == {2}


def test_two_addresses_that_fail_in_turn(begin):
    daemon, nomad, truth = begin(listen=["http://127.0.0.1:0", "http://127.0.0.1:0"])
    dice = random.Random(SEED)
    with questions(daemon, truth):
        for number in range(20):
            nomad.fault("refuse", listener=number % 2)
            change(truth, number)
            truth.register(instance(f"new{number}", f"10.34.0.{number + 1}", Namespace="prod"))
            if dice.random() < 0.5:
                truth.converge(daemon.port, CONVERGE_S, SLACK_S)
            nomad.clear_faults()
            time.sleep(0.4 * dice.random())


def test_an_agent_that_says_to_wait(begin):
    """429: not before Retry-After is over, and one request then."""
    daemon, nomad, truth = begin()
    with questions(daemon, truth), truth.outage(2.0):
        nomad.fault("status=429", retry_after=3)
        nomad.clear_log()
        nomad.drop_connections()
        time.sleep(7)
        times = [entry["time"] for entry in nomad.requests(fault="status")]
        nomad.clear_faults()
        assert 2 <= len(times) <= 3, times
        assert all(later - earlier >= 3 for earlier, later in zip(times, times[1:])), times
        change(truth, 0)
        time.sleep(3.5)


@pytest.mark.parametrize("tier", ["stream", "watch"])
def test_reloads_without_end(begin, tmp_path, tier):
    path = tmp_path / "nomad-dns.conf"
    texts = ["", 'ttl = "5s"\nsettle = "0s"\n', 'filter = "\\"zz\\" not in Tags"\n', 'preload = "off"\n', "nonsense = 7\n",
             'negative-ttl = "2s"\n', 'namespace = ["default", "prod"]\n', 'max-stale = "1h"\n']
    path.write_text("")
    daemon, nomad, truth = begin(f"--config={path}", f"--mirror={tier}", tier=tier)
    dice = random.Random(SEED)
    before = daemon.descriptors()
    with questions(daemon, truth, tier):
        for number in range(60):
            path.write_text(dice.choice(texts))
            daemon.signal(signal.SIGHUP)
            change(truth, number)
            time.sleep(0.05)
        path.write_text("")
        daemon.signal(signal.SIGHUP)
    assert daemon.descriptors() <= before + 8
    said = [line for line in daemon.output().splitlines() if "following Nomad by" in line]
    assert len(said) <= 3, said
