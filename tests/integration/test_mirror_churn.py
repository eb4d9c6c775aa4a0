"""Random operations and random faults against a model: after each pause DNS says what Nomad has.

NOMAD_DNS_CHURN sets the operations in total (10,000), NOMAD_DNS_SEED the first of the seeds.
"""

import os
import random

import pytest
from fake_stream import encode_frame
from scene import SLACK_S, Scene, instance

OPERATIONS = int(os.environ.get("NOMAD_DNS_CHURN", "10000"))
FIRST_SEED = int(os.environ.get("NOMAD_DNS_SEED", "1"))
SEEDS = 4
NAMES = [40, 400]  # by turns: much that changes again, much that was never asked for
SPACES = ["default", "prod", "stage", "qa"]
PAUSE_EVERY = 250
RETURN_S = 8  # after faults in a row it may have to wait out its own patience


class Churn:
    """Operations on the fake, by weight; the fake's own catalogue is the model."""

    def __init__(self, scene, seed, has_cases):
        self.scene = scene
        self.has_cases = has_cases
        self.nomad = scene.nomad
        self.random = random.Random(seed)
        self.names = NAMES[seed % len(NAMES)]
        self.done = []

    def name(self):
        """Now and then the same in another case: two services of Nomad, one name in DNS. (Where nobody tells of names, a
        second one is found with the namespace's next list.)"""
        letter = "N" if self.has_cases and self.random.random() < 0.1 else "n"
        return f"{letter}{self.random.randrange(self.names)}", self.random.choice(SPACES)

    def address(self):
        return f"10.{self.random.randrange(4)}.0.{self.random.randrange(1, 30)}"

    def add(self):
        name, space = self.name()
        self.nomad.register(instance(name, self.address(), 1000 + self.random.randrange(5), Namespace=space))

    def add_many(self):
        space = self.random.choice(SPACES)
        self.nomad.register(*[instance(f"n{self.random.randrange(self.names)}", self.address(), Namespace=space)
                              for _ in range(self.random.randrange(2, 12))])

    def change(self):
        """In place: the same ID somewhere else, or with other tags."""
        name, space = self.name()
        found = self.nomad.call(lambda: [dict(entry) for entry in self.nomad.catalogue.of(space, name)])
        if found:
            entry = self.random.choice(found)
            entry.update(self.random.choice([{"Address": self.address()}, {"Tags": [f"t{self.random.randrange(4)}"]}]))
            self.nomad.register(entry)

    def remove(self):
        name, space = self.name()
        found = self.nomad.call(lambda: [entry["ID"] for entry in self.nomad.catalogue.of(space, name)])
        if found:
            kind = self.random.choice(["ServiceDeregistration"] * 5 + ["AllocationUpdated", "PlanResult", "NodeStreamEvent"])
            self.nomad.deregister(kind, ServiceName=name, Namespace=space, ID=self.random.choice(found))

    def remove_all(self):
        name, space = self.name()
        self.nomad.deregister(self.random.choice(["ServiceDeregistration", "PlanResult"]), ServiceName=name, Namespace=space)

    def restart(self):
        name, space = self.name()
        found = self.nomad.call(lambda: [dict(entry) for entry in self.nomad.catalogue.of(space, name)])
        self.nomad.deregister(ServiceName=name, Namespace=space)
        self.nomad.register(*found)

    def drop_space(self):
        self.nomad.drop_namespace(self.random.choice(SPACES[1:]))

    def operate(self):
        choices = [self.add] * 40 + [self.change] * 25 + [self.remove] * 25 + [self.add_many, self.remove_all, self.restart] * 3
        operation = self.random.choice(choices) if self.random.random() > 0.001 else self.drop_space
        self.done.append(operation.__name__)
        operation()

    # ---- faults ----

    def cut(self):
        self.nomad.cut_streams(self.random.choice(["", '{"Index":1,"Ev', "{}\n{"]))

    def silence(self):
        self.nomad.silence_streams(self.random.random() < 0.5)

    def end(self):
        self.nomad.end_streams()

    def replay(self):
        self.nomad.replay_streams(self.random.randrange(1, 100))

    def jumble(self):
        """Old frames once more, in any order, some of them twice and one cut in half."""
        def apply():
            batches = [batch for batch in self.nomad.catalogue.broker.batches if batch[1]]
            for index, events in self.random.choices(batches, k=min(40, len(batches))):
                line = encode_frame({"Index": index, "Events": events}).decode().rstrip()
                self.nomad.inject(line)
            if batches:
                self.nomad.inject(line[:len(line) // 2])

        self.nomad.call(apply)

    def restore_in_burst(self):
        """The index goes back between changes that come within a millisecond."""
        def apply():
            snapshot = self.nomad.snapshot()
            for _ in range(40):
                self.operate()
            self.nomad.restore(snapshot)
            for _ in range(40):
                self.operate()

        self.nomad.call(apply)

    def burst_without_a_stream(self):
        """Changes too many for a reader, and the connection goes in the middle of them."""
        def apply():
            for number in range(300):
                self.operate()
                if number == 150:
                    self.nomad.cut_streams('{"Index":')

        self.nomad.call(apply)

    def restart_agent(self):
        self.nomad.kill()
        for _ in range(self.random.randrange(30)):
            self.operate()
        self.nomad.revive(self.random.random() < 0.5)

    def drop_connections(self):
        self.nomad.drop_connections()

    def restore(self):
        snapshot = self.nomad.snapshot()
        for _ in range(self.random.randrange(1, 30)):
            self.operate()
        self.nomad.restore(snapshot)

    def errors(self):
        self.nomad.fault(self.random.choice(["status=500", "close", "cut-json", "truncated", "garbage", "slow=200"]),
                         path="/v1/service", times=self.random.randrange(1, 4))

    def noise(self):
        self.nomad.raft_noise(self.random.randrange(1, 300))

    def burst(self):
        def apply():
            for _ in range(self.random.randrange(50, 200)):
                self.operate()

        self.nomad.call(apply)

    def fail(self):
        fault = self.random.choice([self.cut, self.silence, self.end, self.replay, self.restart_agent, self.restore,
                                    self.drop_connections, self.errors, self.noise, self.burst, self.jumble,
                                    self.restore_in_burst, self.burst_without_a_stream])
        self.done.append(f"FAULT {fault.__name__}")
        fault()


@pytest.mark.parametrize("tier", ["stream", "watch"])
@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + SEEDS))
def test_dns_equals_the_model(start, upstream, seed, tier):
    scene = Scene(start, upstream, count=0)
    scene.nomad.ended_stream_open_s = 0.5
    for space in SPACES:
        scene.nomad.register(instance("n0", "10.0.0.1", Namespace=space))
    try:
        scene.open("--ttl=1s", "--negative-ttl=1s", f"--mirror={tier}", tier=tier)
        churn = Churn(scene, seed, tier == "stream")
        while len(churn.done) < OPERATIONS // (2 * SEEDS):
            for _ in range(PAUSE_EVERY):
                churn.operate()
                if churn.random.random() < 0.01:
                    churn.fail()
                if churn.random.random() < 0.05:
                    scene.client.ask("{}.{}.nomad".format(*churn.name()))
            scene.nomad.clear_faults()
            scene.truth.note()
            try:
                scene.truth.converge(scene.port, RETURN_S, SLACK_S)
            except AssertionError as error:
                raise AssertionError(f"seed {seed}, after {len(churn.done)} operations, the last faults "
                                     f"{[name for name in churn.done[-400:] if name.startswith('FAULT')]}: {error}") from None
        assert scene.daemon.is_alive()
    finally:
        scene.close()
