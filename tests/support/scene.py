"""A daemon with its Nomad and upstream, what is true, and the load in the background: what the mirror's tests share."""

import contextlib
import os
import time

import harness
from background import Load, Truth
from fake_nomad import FakeNomad

REPORT = os.environ.get("NOMAD_DNS_REPORT")  # a file that collects a line per measured fault
CONVERGE_S = 2.0
SLACK_S = 8.0  # a busy machine or a sanitizer may take that much longer before a test gives up
CHANGED = "/v1/service"  # the prefix of /v1/services and of /v1/service/:name


def instance(name, address, port=8080, **more):
    return {"ServiceName": name, "Address": address, "Port": port, **more}


def services(count, instances=2, namespaces=("default", "prod")):
    """svc0 … in both namespaces in turn, with addresses of their own."""
    return [instance(f"svc{number}", f"10.{10 + copy}.{number // 250}.{number % 250 + 1}", 8000 + copy,
                     Namespace=namespaces[number % len(namespaces)])
            for number in range(count) for copy in range(instances)]


def tier_of(daemon):
    """The tier the metrics name, or None."""
    marked = [name for name, value in daemon.metrics().items() if "_nomad_tier{" in name and value == 1]
    return marked[0].split('"')[1] if len(marked) == 1 else None


def await_tier(daemon, *wanted, timeout=harness.PATIENCE_S):
    def check():
        tier = tier_of(daemon)
        assert tier in wanted, f"the tier is {tier}, not {' or '.join(wanted)}:\n{daemon.output()[-3000:]}"
        return tier

    return harness.eventually(check, timeout, 0.05)


class Scene:
    """Opened by open_scene(); everything a fault's test needs in one place."""

    def __init__(self, start, upstream, count=24, **nomad_args):
        self.start = start
        self.upstream = upstream
        self.nomad = FakeNomad(catalogue={"Services": services(count)}, **nomad_args)
        self.truth = None
        self.daemon = None
        self.client = None
        self.load = None
        self.changes = 0
        self.taken_s = None
        self.restarted_memory = None

    def open(self, *options, tier="stream", until="ready", **args):
        self.nomad.start()
        self.truth = Truth(self.nomad)
        self.daemon = self.start(*options, nomad=self.nomad.addresses, forward=self.upstream.address, until=until, **args)
        self.client = harness.Client(self.daemon)
        if tier:
            await_tier(self.daemon, tier)
            self.truth.converge(self.daemon.port, CONVERGE_S, SLACK_S)
        return self

    @property
    def port(self):
        return self.daemon.port

    @contextlib.contextmanager
    def background(self, fault, is_unknown_failing=False, **args):
        """The load, the fault inside, and then: right again, nothing lost, memory and descriptors back."""
        before = (self.daemon.resident_bytes(), self.daemon.descriptors())
        self.load = Load(self.port, self.truth, **args)
        begun = time.monotonic()
        try:
            yield self.load
            self.taken_s = self.truth.converge(self.port, CONVERGE_S, SLACK_S)
            time.sleep(0.2)
        finally:
            tally = self.load.stop()
        self.report(fault, time.monotonic() - begun, tally)
        assert not self.load.lost, f"{len(self.load.lost)} of {tally['sent']} lost: {self.described()}"
        assert is_unknown_failing or not self.load.unknown_failures, (f"{len(self.load.unknown_failures)} unknown names failed: "
                                                f"{self.load.unknown_failures[:3]}")
        harness.eventually(lambda: self.check_sizes(*before))

    def described(self):
        base = self.load.lost[0][3]
        return [f"{kind} {name} +{sent - base:.2f} s: {why}" for kind, name, why, sent in self.load.lost[:6]]

    def check_sizes(self, resident, descriptors):
        # Connections to Nomad stay open for the next short request: up to 8.
        assert self.daemon.descriptors() <= descriptors + 8, (descriptors, self.daemon.descriptors())
        assert self.daemon.resident_bytes() <= resident * 1.05 + (48 << 20)

    def report(self, fault, seconds, tally):
        if REPORT:
            with open(REPORT, "a", encoding="utf-8") as file:
                file.write(f"{fault}\t{seconds:.1f}\t{self.taken_s if self.taken_s is not None else -1:.3f}\t"
                           f"{tally['sent']}\t{tally['lost']}\t{tally['p99_ms']:.2f}\t{tally['worst_ms']:.1f}\n")

    def change(self):
        """One of each kind: an instance more, one less, a name gone, a name new, one in another place."""
        self.changes += 1
        turn = self.changes
        self.truth.register(instance("svc0", f"10.50.0.{turn}"))
        self.truth.deregister(ServiceName="svc1", Namespace="prod", Address="10.11.0.2")
        self.truth.deregister(ServiceName=f"svc{2 * turn}", Namespace="default")
        self.truth.register(instance(f"new{turn}", f"10.51.0.{turn}", Namespace="prod"))
        for entry in self.nomad.call(lambda: [dict(entry) for entry in self.nomad.catalogue.of("prod", "svc3")][:1]):
            self.truth.register({**entry, "Address": f"10.52.0.{turn}"})

    def until(self, check, timeout=harness.PATIENCE_S):
        def wrapped():
            assert check()

        harness.eventually(wrapped, timeout)

    def assert_patient(self, seconds, most):
        """No more requests than that come in a stretch of time (this one is about time itself)."""
        self.nomad.clear_log()
        time.sleep(seconds)
        kinds = {kind: row["requests"] for kind, row in self.nomad.traffic().items()}
        assert sum(kinds.values()) <= most, kinds

    def close(self):
        if self.load:
            self.load.is_over.set()
        if self.daemon:
            self.daemon.stop()
        self.nomad.stop()
