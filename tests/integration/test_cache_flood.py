"""Random names that nobody asks for twice: the hot ones stay, memory too (the count to a million is a unit test)."""

import load
from harness import eventually

HOT = 50
COLD = 6000  # many times what so small a cache holds
ROUND = 600


def test_hot_names_outlive_a_flood(start, nomad, upstream):
    daemon = start("--cache-size=256KiB", nomad=nomad.address, forward=upstream.address)
    hot = [(f"hot-{number}.example.org", load.A) for number in range(HOT)]

    def ask(questions):
        assert all(load.ask_all(daemon.port, questions, timeout_s=5))

    eventually(lambda: ask(hot))
    ask(hot)
    warm = sum(upstream.count(name) for name, _ in hot)
    for first in range(0, COLD, ROUND):
        ask([(f"cold-{number}.example.net", load.A) for number in range(first, first + ROUND)])
        ask(hot)
    missed = sum(upstream.count(name) for name, _ in hot) - warm
    assert missed <= HOT * COLD / ROUND * 0.01, f"{missed} of the questions for hot names went upstream"
    metrics = daemon.metrics()
    assert metrics["nomad_dns_cache_bytes"] <= 256 * 1024
    assert metrics["nomad_dns_cache_evictions_total"] > COLD / 2
