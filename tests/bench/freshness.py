#!/usr/bin/env python3
"""How fresh, how large and how dear the mirror is, measured against the fake Nomad.

    freshness.py --binary build/nomad-dns            (make freshness; a quarter of an hour)
    freshness.py --binary build/nomad-dns --short    (three minutes: fewer changes, shorter windows)
    freshness.py … --only latency,large,rate,cost,traffic --json FILE

latency  From the moment the bytes of the event (stream) or of the alarm's reply (watch) were handed to the socket until
         the changed answer was seen over UDP. The asker polls without a pause in the fake's own thread, so a figure
         includes up to one poll, and the fake's own handling of the GET in watch. p50 and p99 of all changes.
large    50,000 services of 3 instances. From the exec until every name is known (the tier is up, and an unknown name
         is denied); then each name is asked once, so that it is loaded, and the resident memory read. The data plane is
         asked by a process of its own, quiet and while a body of 10 MB is fetched again and again.
rate     1,000 changes a second: what memory does, and the time until every final state is right.
cost     CPU time of the daemon, all threads, per change (/proc schedstat), with 100 and with 50,000 names loaded.
traffic  Requests a minute and bytes per change, counted by the fake in bytes of HTTP, both ways.
"""

import argparse
import asyncio
import json
import os
import select
import socket
import struct
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))

LARGE, INSTANCES = 50000, 3
SETTLE_S = 0.1


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))]


def say(text):
    print(text, flush=True)


class Rows:
    """The table, as it grows."""

    def __init__(self):
        self.rows = []

    def add(self, what, value, unit, note=""):
        self.rows.append({"what": what, "value": value, "unit": unit, "note": note})
        text = f"{value:,.2f}" if isinstance(value, float) else f"{value:,}"
        say(f"  {what:<64} {text:>12} {unit:<10} {note}")


# ---- a process that only asks ----

def probe(port, name, seconds, rate):
    """Asks at a steady rate and prints the latencies' percentiles as JSON."""
    from background import question

    latencies, lost = [], 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.connect(("127.0.0.1", port))
        begun = time.perf_counter()
        count = int(seconds * rate)
        for number in range(count):
            due = begun + number / rate
            while time.perf_counter() < due:
                time.sleep(max(0.0, min(0.0005, due - time.perf_counter())))
            sent = time.perf_counter()
            asker.send(question(name, 1, number & 0xFFFF))
            if not select.select([asker], [], [], 1.0)[0]:
                lost += 1
                continue
            asker.recv(4096)
            latencies.append(time.perf_counter() - sent)
    print(json.dumps({"p50": percentile(latencies, 0.5), "p99": percentile(latencies, 0.99), "max": max(latencies),
                      "count": len(latencies), "lost": lost}))


def begin_probe(port, name, seconds, rate=2000):
    return subprocess.Popen([sys.executable, os.path.abspath(__file__), "--probe", str(port), name, str(seconds), str(rate)],
                            stdout=subprocess.PIPE, text=True)


def end_probe(process):
    return json.loads(process.communicate()[0])


# ---- the daemon under test ----

class Bench:
    """One daemon beside one fake, for the length of a `with`."""

    def __init__(self, folder, services, *options, tier="stream", preload="off"):
        import harness
        import scene
        from fake_nomad import FakeNomad

        self.scene = scene
        self.tier = tier
        self.nomad = FakeNomad(catalogue={"Services": services}, is_shuffled=False)
        self.daemon = harness.Daemon(folder, "--ttl=60s", f"--mirror={tier}", f"--preload={preload}",
                                     f"--settle={int(SETTLE_S * 1000)}ms", *options, forward="none")

    def __enter__(self):
        self.nomad.start()
        self.daemon.nomad = self.nomad.address
        self.daemon.start()
        self.scene.await_tier(self.daemon, self.tier, timeout=60)
        return self

    def __exit__(self, *_):
        self.daemon.stop()
        self.nomad.stop()

    def on_loop(self, coroutine):
        return self.nomad.wait(coroutine)

    def last_write(self):
        """When bytes of the stream, or of an alarm's reply, went out last."""
        kinds = {"stream": ("stream",), "watch": ("alarm", "held")}[self.tier]
        return max((entry.get("written", 0.0) for entry in self.nomad.log[-400:] if entry["kind"] in kinds), default=0.0)


async def seen(asker, name, is_right, limit_s=10.0):
    """Polls until the answer is right; the moment it was received."""
    from background import Answer, question

    loop = asyncio.get_running_loop()
    ends = time.monotonic() + limit_s
    number = 0
    while time.monotonic() < ends:
        number = (number + 1) & 0xFFFF
        await loop.sock_sendall(asker, question(name, 1, number))
        while True:
            wire = await asyncio.wait_for(loop.sock_recv(asker, 4096), 5)
            if struct.unpack_from("!H", wire)[0] == number:
                break
        received = time.monotonic()
        if is_right(Answer(wire)):
            return received
    raise AssertionError(f"{name} was not right within {limit_s} s")


async def measure_latency(bench, count, pause_s):
    """Seconds from the bytes to the answer, for changed instances and for last removals."""
    from background import NXDOMAIN

    nomad, loop = bench.nomad, asyncio.get_running_loop()
    asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    asker.connect(("127.0.0.1", bench.daemon.port))
    asker.setblocking(False)
    changed, removed, gets = [], [], []
    await loop.sock_sendall(asker, b"\0" * 11)
    for number in range(count):
        name = f"svc{2 * (number % 20)}"
        address = f"10.200.{number // 250}.{number % 250 + 1}"
        await seen(asker, f"{name}.default.nomad", lambda answer: answer.addresses)
        await asyncio.sleep(pause_s)
        told = len(nomad.log)
        before = time.monotonic()
        nomad.register(bench.scene.instance(name, address, ID="bench"))
        received = await seen(asker, f"{name}.default.nomad", lambda answer: address in answer.addresses)
        written = bench.last_write()
        changed.append(received - (written if written >= before else before))
        gets += [entry["written"] - entry["time"] for entry in nomad.log[told:] if entry["kind"] == "get" and "written" in entry]
        nomad.deregister(ServiceName=name, ID="bench")
        await seen(asker, f"{name}.default.nomad", lambda answer: answer.addresses and address not in answer.addresses)
    for number in range(max(10, count // 10)):
        nomad.register(bench.scene.instance("only", "10.201.0.1"))
        await seen(asker, "only.default.nomad", lambda answer: answer.addresses)
        await asyncio.sleep(pause_s)
        before = time.monotonic()
        nomad.deregister(ServiceName="only")
        received = await seen(asker, "only.default.nomad", lambda answer: answer.rcode == NXDOMAIN)
        written = [entry["written"] for entry in nomad.log[-400:] if entry.get("written", 0.0) >= before]
        removed.append(received - min(written, default=before))
    asker.close()
    return changed, removed, gets


def bench_latency(rows, folder, is_short):
    import scene

    for tier in ("stream", "watch"):
        count = 100 if is_short else {"stream": 1000, "watch": 400}[tier]
        with Bench(folder, scene.services(200), tier=tier) as bench:
            changed, removed, gets = bench.on_loop(measure_latency(bench, count, 0.02 if tier == "stream" else 0.15))
        rows.add(f"{tier}: change to answer, p50", percentile(changed, 0.5) * 1000, "ms", f"{len(changed)} changes")
        rows.add(f"{tier}: change to answer, p99", percentile(changed, 0.99) * 1000, "ms")
        if gets:
            rows.add(f"{tier}: of which the fake's own time for the GET, p50", percentile(gets, 0.5) * 1000, "ms")
        rows.add(f"{tier}: last removal to NXDOMAIN, p50", percentile(removed, 0.5) * 1000, "ms",
                 f"settle is {SETTLE_S * 1000:.0f} ms")
        rows.add(f"{tier}: last removal to NXDOMAIN, p99", percentile(removed, 0.99) * 1000, "ms")


# ---- 50,000 services ----

def fixed_services(count):
    return [{"ServiceName": f"svc{number}", "Address": f"10.{copy}.{number // 250}.{number % 250 + 1}", "Port": 8000 + copy,
             "Namespace": "default", "ID": f"_nomad-task-{number:08d}-{copy}-group-g-svc{number}-p",
             "AllocID": f"{number:08d}-0000-0000-0000-{copy:012d}", "JobID": f"job{number}"}
            for number in range(count) for copy in range(INSTANCES)]


def await_denial(port, begun):
    """Until an unknown name is denied."""
    from background import NXDOMAIN, ask_all

    while time.monotonic() - begun < 60:
        answers = ask_all(port, [f"nosuch{time.monotonic_ns()}.default.nomad"], 0.2)
        if any(answer.rcode == NXDOMAIN for answer in answers.values()):
            return time.monotonic() - begun
        time.sleep(0.005)
    raise AssertionError("no unknown name was denied within 60 s")


def load_all(bench, names):
    """Asks every name until it is answered. Seconds."""
    from background import ask_all

    begun = time.monotonic()
    left = list(names)
    while left:
        answers = ask_all(bench.daemon.port, left, 10, window=48)
        left = [name for name in left if name not in answers or len(answers[name].addresses) != INSTANCES]
    return time.monotonic() - begun


def bench_large(rows, folder, is_short):
    import scene
    from background import ask_all

    names = [f"svc{number}.default.nomad" for number in range(LARGE)]
    bench = Bench(folder, fixed_services(LARGE))
    with bench.nomad:
        # The list is built once before: its making is the servers' time, and Python's is not Go's.
        subprocess.run(["curl", "-s", "--compressed", "-o", "/dev/null", f"{bench.nomad.address}/v1/services?namespace=*"], check=False)
        bench.daemon.nomad = bench.nomad.address
        begun = time.monotonic()
        bench.daemon.spawn()
        try:
            denied = await_denial(bench.daemon.port, begun)
            scene.await_tier(bench.daemon, "stream", timeout=60)
            rows.add("50,000 names: start until every name is known", denied * 1000, "ms")
            rows.add("50,000 names: resident, names only", bench.daemon.resident_bytes() / 1e6, "MB")
            sample = names[::10] if is_short else names
            begun = time.monotonic()
            assert all(answer.addresses for answer in ask_all(bench.daemon.port, names[-20:]).values())
            rows.add("50,000 names: 20 cold names, each after its own GET", (time.monotonic() - begun) * 1000, "ms")
            seconds = load_all(bench, sample)
            rows.add(f"{len(sample):,} names x 3 loaded: resident", bench.daemon.resident_bytes() / 1e6, "MB",
                     f"asked one after another in {seconds:.0f} s")
            if not is_short:
                bench_cost_of(rows, bench, "50,000 names loaded")
        finally:
            bench.daemon.stop()
    bench_body(rows, folder, is_short)


def bench_body(rows, folder, is_short):
    """The data plane's latency while 10 MB are read and parsed about once a second, beside the same without."""
    import scene

    seconds = 6 if is_short else 20
    entry = {"Namespace": "default", "ServiceName": "big", "JobID": "big", "Datacenter": "dc1", "Tags": ["x" * 60], "Port": 80,
             "NodeID": "0aa4f1de-3c56-4f89-a1b2-c3d4e5f60711", "AllocID": "3f0c1f7e-9b1a-4c55-8c0d-6a2f4f7d1e01"}
    body = json.dumps([{**entry, "Address": f"10.{number // 62500}.{number // 250 % 250}.{number % 250 + 1}",
                        "ID": f"_nomad-task-3f0c1f7e-9b1a-4c55-8c0d-6a2f4f7d1e01-group-g-big-{number}",
                        "CreateIndex": 10, "ModifyIndex": 10} for number in range(26000)]).encode()
    with Bench(folder, scene.services(20), "--ttl=1s", tier="lookup") as bench:
        nomad, port = bench.nomad, bench.daemon.port
        nomad.register(scene.instance("big", "10.0.0.1"))
        nomad.fault("body", body=body, path="/v1/service/big")
        nomad.call(nomad.pack, body)
        quiet = end_probe(begin_probe(port, "svc0.default.nomad", seconds))
        nomad.clear_log()
        process = begin_probe(port, "svc0.default.nomad", seconds)
        asking = begin_probe(port, "big.default.nomad", seconds, 5)
        busy = end_probe(process)
        end_probe(asking)
        reads = nomad.count("/v1/service/big")
    rows.add("data plane, quiet: p99", quiet["p99"] * 1e6, "us", f"{quiet['count']} questions, worst {quiet['max'] * 1e3:.1f} ms")
    rows.add(f"data plane, a body of {len(body) / 1e6:.0f} MB read {reads} times: p99", busy["p99"] * 1e6, "us",
             f"{busy['p99'] / quiet['p99']:.2f} x, worst {busy['max'] * 1e3:.1f} ms")


# ---- many changes ----

async def change_at(nomad, instance, rate, seconds, count):
    """In-place changes of addresses at a steady rate, in batches of a hundredth of a second."""
    begun, done = time.monotonic(), 0
    while time.monotonic() < begun + seconds:
        due = int((time.monotonic() - begun) * rate)
        for _ in range(min(due - done, 50)):
            nomad.register(instance(f"svc{done % count}", f"10.{100 + done // 62500 % 100}.{done // 250 % 250}.{done % 250 + 1}",
                                    Namespace="default", ID=f"rate{done % count}"))
            done += 1
        await asyncio.sleep(0.01)
    return done


def bench_rate(rows, folder, is_short):
    import scene
    from background import Truth

    seconds = 10 if is_short else 60
    with Bench(folder, scene.services(100, 2, ("default",))) as bench:
        truth = Truth(bench.nomad)
        truth.converge(bench.daemon.port, 10)
        sizes = [bench.daemon.resident_bytes()]
        done = 0
        for _ in range(4):
            done += bench.on_loop(change_at(bench.nomad, scene.instance, 1000, seconds / 4, 100))
            sizes.append(bench.daemon.resident_bytes())
        truth.note()
        taken = truth.converge(bench.daemon.port, 30)
        rows.add(f"{done / seconds:,.0f} changes/s for {seconds} s: all right after", taken * 1000, "ms",
                 f"streams dropped by the fake: {bench.nomad.catalogue.broker.dropped_count}")
        rows.add(f"{done / seconds:,.0f} changes/s for {seconds} s: resident growth", (sizes[-1] - sizes[1]) / 1e6, "MB",
                 " → ".join(f"{size / 1e6:.1f}" for size in sizes))


def bench_cost_of(rows, bench, label, count=1500):
    from load import cpu_ns

    pid = bench.daemon.process.pid
    figures = []
    for _ in range(3):
        before = cpu_ns(pid)
        done = bench.on_loop(change_at(bench.nomad, bench.scene.instance, 300, count / 300, 50))
        time.sleep(0.5)
        figures.append((cpu_ns(pid) - before) / done / 1000)
    rows.add(f"CPU per change, {label}", min(figures), "us", "best of 3; " + ", ".join(f"{f:.0f}" for f in figures))
    return min(figures)


def bench_cost(rows, folder, is_short):
    for count in (100, 5000) if is_short else (100,):
        with Bench(folder, fixed_services(count)) as bench:
            load_all(bench, [f"svc{number}.default.nomad" for number in range(count)])
            bench_cost_of(rows, bench, f"{count} names loaded")


# ---- what Nomad is asked ----

def bench_traffic(rows, folder, is_short):
    import scene
    from background import ask_all

    idle_s, busy_s = (35, 15) if is_short else (180, 60)
    names = [f"svc{number}.default.nomad" for number in range(0, 40, 2)]
    for tier in ("stream", "watch", "lookup"):
        with Bench(folder, scene.services(200), *(["--ttl=10s"] if tier == "lookup" else []), tier=tier) as bench:
            ask_all(bench.daemon.port, names)
            time.sleep(3)
            bench.nomad.clear_log()
            time.sleep(idle_s)
            idle = sum(row["requests"] for row in bench.nomad.traffic().values())
            rows.add(f"{tier}: requests a minute, idle", idle * 60 / idle_s, "", f"over {idle_s} s")
            bench.nomad.clear_log()
            before = stream_bytes(bench)
            ends, changes = time.monotonic() + busy_s, 0
            while time.monotonic() < ends:
                bench.nomad.register(scene.instance(f"svc{2 * (changes % 20)}", f"10.220.0.{changes % 250 + 1}", ID=f"busy{changes % 20}"))
                changes += 1
                for _ in range(10):
                    ask_all(bench.daemon.port, names[:10])
                    time.sleep(0.1)
            traffic = bench.nomad.traffic()
            requests = sum(row["requests"] for row in traffic.values())
            sent = sum(row["sent_bytes"] + row["received_bytes"] for row in traffic.values()) + stream_bytes(bench) - before
            rows.add(f"{tier}: requests a minute, 1 change/s, 10 names asked 10 times a second", requests * 60 / busy_s, "",
                     ", ".join(f"{kind} {row['requests']}" for kind, row in sorted(traffic.items())))
            rows.add(f"{tier}: bytes per change, both ways", sent / changes, "bytes", f"{changes} changes")


def stream_bytes(bench):
    """Of streams opened before the log was cleared; the log counts the others."""
    return bench.nomad.call(lambda: sum(subscriber.exchange.entry["sent_bytes"]
                                        for subscriber in bench.nomad.catalogue.broker.subscribers
                                        if subscriber.exchange.entry not in bench.nomad.log))


SECTIONS = {"latency": bench_latency, "rate": bench_rate, "cost": bench_cost, "traffic": bench_traffic, "large": bench_large}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", help="the daemon")
    parser.add_argument("--short", action="store_true", help="three minutes instead of a quarter of an hour")
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, separated by commas")
    parser.add_argument("--json", help="also write the figures here")
    parser.add_argument("--probe", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.probe:
        probe(int(args.probe[0]), args.probe[1], float(args.probe[2]), int(args.probe[3]))
        return
    os.environ["NOMAD_DNS_BIN"] = os.path.abspath(args.binary or os.path.join(HERE, "..", "..", "build", "nomad-dns"))
    sys.setswitchinterval(0.0005)
    rows = Rows()
    with tempfile.TemporaryDirectory() as folder:
        for name in args.only.split(","):
            say(f"{name}:")
            SECTIONS[name](rows, folder, args.short)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(rows.rows, file, indent=1)


if __name__ == "__main__":
    main()
