"""A fake Nomad, a fake upstream and as many daemons as a test wants, each on ports of its own."""

import os
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import harness
from certs import Certificates
from fake_nomad import FakeNomad
from fake_upstream import FakeUpstream


def pytest_collection_modifyitems(items):
    if not os.access(harness.BINARY, os.X_OK):
        pytest.exit(f"{harness.BINARY} is not there: run make first, or set NOMAD_DNS_BIN", returncode=2)


def add_hosts(upstream):
    upstream.set_records("db.example.net", "A", "192.0.2.10")
    upstream.set_records("db.example.net", "AAAA", "2001:db8::d")
    return upstream


@pytest.fixture
def nomad():
    """The demo catalogue, for one test to change and break."""
    with FakeNomad(catalogue=harness.DEMO) as fake:
        yield fake


@pytest.fixture
def upstream():
    with FakeUpstream() as fake:
        yield add_hosts(fake)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def start(tmp_path):
    """start(*options, nomad=…, forward=…, until=…) → Daemon; all are stopped afterwards, with exit status 0."""
    daemons = []

    def begin(*options, until="ready", **args):
        daemon = harness.Daemon(tmp_path, *options, **args)
        daemons.append(daemon)
        return daemon.start(until)

    yield begin
    failures = []
    for daemon in daemons:
        try:
            daemon.stop()
        except AssertionError as failure:
            failures.append(str(failure))
    assert not failures, "\n".join(failures)


@pytest.fixture
def daemon(start, nomad, upstream):
    """The usual one: this test's Nomad and upstream."""
    return start(nomad=nomad.address, forward=upstream.address)


@pytest.fixture
def client(daemon):
    return harness.Client(daemon)


class House:
    """Nomad, upstream and daemon that the reading tests of one file share."""

    def __init__(self, folder, options, services, args):
        self.nomad = FakeNomad(catalogue=harness.DEMO).start()
        self.upstream = add_hosts(FakeUpstream().start())
        self.nomad.register(*services)
        self.daemon = harness.Daemon(folder, *options, nomad=self.nomad.address, forward=self.upstream.address, **args)
        self.client = harness.Client(self.daemon)

    def open(self):
        self.daemon.start()
        self.client.port = self.daemon.port
        return self

    def close(self):
        try:
            self.daemon.stop()
        finally:
            self.upstream.stop()
            self.nomad.stop()


@pytest.fixture(scope="module")
def open_house(tmp_path_factory):
    """open_house(*options, services=[…]) → House, shared by a whole file."""
    houses = []

    def begin(*options, services=(), **args):
        house = House(tmp_path_factory.mktemp("house"), options, services, args)
        houses.append(house)
        return house.open()

    yield begin
    for house in houses:
        house.close()
