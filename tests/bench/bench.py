#!/usr/bin/env python3
"""What a query costs, side by side: a bare responder that looks nothing up, nomad-dns, Debian's unbound.

    bench.py --binary build/nomad-dns      (make bench; BENCH_ROUNDS, BENCH_SECONDS, BENCH_SERVICES)

One run, one table. Each server answers the same names; rounds are interleaved, so that what else the machine does
hits all of them; a ratio is the median of the rounds' ratios. The server has core 0, dnsperf core 1. CPU is what the
scheduler charged all threads of the server; answered is what dnsperf counted. Nothing here passes or fails.
"""
import argparse
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

import load
from fake_nomad import FakeNomad
from fake_upstream import FakeUpstream

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
SECONDS = int(os.environ.get("BENCH_SECONDS", "3"))
SERVICES = int(os.environ.get("BENCH_SERVICES", "1000"))
STARTS = 20
SERVER_CORE, LOAD_CORE = (0, 1) if len(os.sched_getaffinity(0)) > 1 else (0, 0)
TYPES = {"A": load.A, "SRV": load.SRV}
CACHED_ZONE = "example"
CACHED_TTL_S = 3600  # longer than a run


def service_name(number):
    return f"service-{number:04d}"


def address_of(number):
    return f"10.{1 + number // 65536}.{number // 256 % 256}.{number % 256}"


def names(zone="nomad"):
    return [f"{service_name(number)}.default.{zone}" for number in range(SERVICES)]


# Row of the table → (names, type). "cached": the same names in a zone that an upstream knows, answered from the cache.
CASES = {"A": (names(), "A"), "SRV": (names(), "SRV"), "A, cached": (names(CACHED_ZONE), "A")}


class Server:
    """One process under test, on its core."""

    def __init__(self, label, command, port, log):
        self.label = label
        self.port = port
        self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                        preexec_fn=lambda: os.sched_setaffinity(0, {SERVER_CORE}))

    @property
    def pid(self):
        return self.process.pid

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def memory(self):
        """(private bytes, resident bytes), or None where the kernel does not let us look. Private is what the process has
        written: unwritten pages of libraries count as private too, but only while nobody else happens to map them."""
        try:
            text = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        except OSError:
            return None
        kib = {key: int(value) for key, value in re.findall(r"^(\w+):\s+(\d+) kB", text, re.M)}
        return kib["Private_Dirty"] * 1024, kib["Rss"] * 1024

    def threads(self):
        return len(os.listdir(f"/proc/{self.pid}/task"))


def start_floor(folder, log):
    program = folder / "floor"
    subprocess.run([os.environ.get("CC", "cc"), "-O2", "-D_GNU_SOURCE", "-o", program, ROOT / "tests/bench/floor.c"],
                   check=True)
    port = load.free_port()
    return Server("floor", [program, str(port)], port, log)


def nomad_dns_command(binary, nomad, port, forward="none"):
    return [binary, f"--listen=127.0.0.1:{port}", f"--nomad-address={nomad.address}", f"--forward={forward}",
            "--admin=off", "--ttl=1h", "--log-level=warn"]


def start_unbound(folder, log, upstream):
    program = shutil.which("unbound") or shutil.which("unbound", path="/usr/sbin")
    if not program:
        print("unbound is not installed, so its column is missing (apt-get install unbound; mind that Debian then "
              "starts it)", file=sys.stderr)
        return None
    port = load.free_port()
    lines = ["server:", "  num-threads: 1", "  interface: 127.0.0.1", f"  port: {port}", '  username: ""',
             '  chroot: ""', '  directory: "/"', '  pidfile: ""', "  do-daemonize: no", "  use-syslog: no",
             "  verbosity: 0", '  module-config: "iterator"', "  access-control: 127.0.0.0/8 allow",
             "  do-not-query-localhost: no", '  local-zone: "nomad." static']
    for number, name in enumerate(names()):
        target = address_of(number).replace(".", "-")
        lines.append(f"  local-data: '{name}. 10 IN A {address_of(number)}'")
        lines.append(f"  local-data: '{name}. 10 IN SRV 10 10 {20000 + number} {target}.{name}.'")
        lines.append(f"  local-data: '{target}.{name}. 10 IN A {address_of(number)}'")
    lines += ["remote-control:", "  control-enable: no"]
    lines += ["forward-zone:", f'  name: "{CACHED_ZONE}."', f"  forward-addr: {upstream.address.replace(':', '@')}"]
    config = folder / "unbound.conf"
    config.write_text("\n".join(lines) + "\n")
    return Server("unbound", [program, "-d", "-c", config], port, log)


def wait_for_all(server, cases, deadline_s=60):
    """Asks every name until every one has its record: hits come from memory then."""
    until = time.monotonic() + deadline_s
    asked = [(name, TYPES[qtype]) for asked_names, qtype in cases for name in asked_names]
    while True:
        # a hundred at a time: two thousand at once, right after the start, would be a burst's memory
        replies = [reply for at in range(0, len(asked), 100)
                   for reply in load.ask_all(server.port, asked[at:at + 100], timeout_s=2)]
        good = sum(1 for reply in replies if reply and load.rcode(reply) == 0 and load.answer_count(reply))
        if good == len(asked):
            return
        if time.monotonic() > until:
            sys.exit(f"bench: {server.label} answers {good} of {len(asked)} questions after {deadline_s} s; see "
                     f"{server.label}.log")
        time.sleep(0.05)


def run_dnsperf(server, questions, seconds):
    """(queries answered, CPU ns of the server meanwhile, queries per second)"""
    before = load.cpu_ns(server.pid)
    done = subprocess.run(["taskset", "-c", str(LOAD_CORE), "dnsperf", "-s", "127.0.0.1", "-p", str(server.port), "-d",
                           questions, "-l", str(seconds), "-c", "4", "-q", "100", "-t", "1"], capture_output=True, text=True)
    spent = load.cpu_ns(server.pid) - before
    completed = re.search(r"Queries completed:\s+(\d+)", done.stdout)
    rate = re.search(r"Queries per second:\s+([\d.]+)", done.stdout)
    if done.returncode or not completed or not int(completed[1]):
        sys.exit(f"bench: dnsperf failed against {server.label}:\n{done.stdout}{done.stderr}")
    lost = re.search(r"Queries lost:\s+(\d+)", done.stdout)
    if lost and int(lost[1]) > int(completed[1]) // 1000:
        print(f"bench: {server.label} lost {lost[1]} of {completed[1]} questions", file=sys.stderr)
    wrong = re.search(r"Response codes:\s+(.*)", done.stdout)
    if wrong and not re.fullmatch(r"NOERROR \d+ \(100\.00%\)\s*", wrong[1]):
        print(f"bench: {server.label} answered {wrong[1]}", file=sys.stderr)
    return int(completed[1]), spent, float(rate[1])


def measure(servers, folder):
    """Case → label → [(CPU ns per answered query, queries per second) per round]"""
    found = {}
    for case, (asked, qtype) in CASES.items():
        questions = folder / f"questions.{case.replace(', ', '.')}"
        questions.write_text("".join(f"{name} {qtype}\n" for name in asked))
        rows = found[case] = {server.label: [] for server in servers}
        for server in servers:
            run_dnsperf(server, questions, 1)
        for _ in range(ROUNDS):
            for server in servers:
                answered, spent, rate = run_dnsperf(server, questions, SECONDS)
                rows[server.label].append((spent / answered, rate))
    return found


def median_ratio(rows, one, other):
    return statistics.median(a[0] / b[0] for a, b in zip(rows[one], rows[other]))


def time_start(command, port, name, is_right):
    """Milliseconds from exec to the first reply that is right."""
    question = load.question(name, load.A, 1)
    with load.connect(port) as asker, open(os.devnull, "w") as nothing:
        asker.settimeout(0.0005)
        began = time.monotonic()
        os.sched_setaffinity(0, {SERVER_CORE})  # inherited by the daemon; ours is the other core again
        process = subprocess.Popen(command, stdout=nothing, stderr=nothing, stdin=subprocess.DEVNULL)
        os.sched_setaffinity(0, {LOAD_CORE})
        try:
            while time.monotonic() - began < 10:
                try:
                    asker.send(question)
                    reply = asker.recv(4096)
                except (TimeoutError, ConnectionRefusedError):
                    continue
                if is_right(reply):
                    return (time.monotonic() - began) * 1000
            return float("nan")
        finally:
            process.kill()
            process.wait()


def count_system_calls(server, questions):
    """{system call: calls per answered query} under load, as strace counts them (which slows the server)."""
    if not shutil.which("strace"):
        return None
    with tempfile.NamedTemporaryFile("r") as out:
        tracer = subprocess.Popen(["strace", "-c", "-f", "-o", out.name, "-p", str(server.pid)],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.3)
        answered, _, _ = run_dnsperf(server, questions, 2)
        tracer.send_signal(signal.SIGINT)
        tracer.wait()
        counts = {}
        for line in out.read().splitlines():
            fields = line.split()
            if len(fields) >= 5 and fields[0][0].isdigit() and fields[3].isdigit() and fields[-1] != "total":
                counts[fields[-1]] = int(fields[3]) / answered
    return dict(sorted(counts.items(), key=lambda item: -item[1])[:5])


def mib(count):
    return f"{count / 1048576:.1f} MiB"


def print_table(servers, found, memories):
    labels = [server.label for server in servers]
    print(f"\n{SERVICES} services; {ROUNDS} rounds of {SECONDS} s each, medians; server on core {SERVER_CORE}, "
          f"dnsperf on core {LOAD_CORE}\n")
    print(f"{'':34}" + "".join(f"{label:>14}" for label in labels))
    for type_name, rows in found.items():
        medians = {label: statistics.median(cost for cost, _ in rows[label]) for label in labels}
        rates = {label: statistics.median(rate for _, rate in rows[label]) for label in labels}
        print(f"{type_name + ': CPU per answered query':34}" + "".join(f"{medians[l]:>11.0f} ns" for l in labels))
        print(f"{type_name + ': answered per second':34}" + "".join(f"{rates[l]:>14.0f}" for l in labels))
        print(f"{type_name + ': CPU, floor = 1':34}" +
              "".join(f"{median_ratio(rows, l, 'floor'):>14.2f}" for l in labels))
        if "unbound" in labels:
            print(f"{type_name + ': CPU, unbound = 1':34}" +
                  "".join(f"{median_ratio(rows, l, 'unbound'):>14.2f}" for l in labels))
    later = [server.memory() for server in servers]
    print(f"{'private memory':34}" + "".join(f"{mib(m[0]) if m else '-':>14}" for m in memories))
    print(f"{'resident memory':34}" + "".join(f"{mib(m[1]) if m else '-':>14}" for m in memories))
    print(f"{'private, 1,000 cached names more':34}" + "".join(f"{mib(m[0]) if m else '-':>14}" for m in later))
    print(f"{'threads':34}" + "".join(f"{server.threads():>14}" for server in servers))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", default=str(ROOT / "build/nomad-dns"))
    parser.add_argument("--build", default=str(ROOT / "build/bench"))
    options = parser.parse_args()
    folder = Path(options.build).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    os.sched_setaffinity(0, {LOAD_CORE})

    upstream = FakeUpstream(ttl=CACHED_TTL_S)
    upstream.start()
    nomad = FakeNomad()
    nomad.start()
    nomad.register(*({"ServiceName": service_name(number), "Address": address_of(number), "Port": 20000 + number}
                     for number in range(SERVICES)))
    servers, logs = [], []

    def log_of(label):
        logs.append(open(folder / f"{label}.log", "w"))
        return logs[-1]

    try:
        servers.append(start_floor(folder, log_of("floor")))
        port = load.free_port()
        servers.append(Server("nomad-dns", nomad_dns_command(options.binary, nomad, port, upstream.address), port,
                              log_of("nomad-dns")))
        unbound = start_unbound(folder, log_of("unbound"), upstream)
        if unbound:
            servers.append(unbound)
        for server in servers:
            wait_for_all(server, [CASES["A"], CASES["SRV"]])
        memories = [server.memory() for server in servers]
        for server in servers:
            wait_for_all(server, CASES.values())
        print_table(servers, measure(servers, folder), memories)

        print(f"{'system calls per query (strace)':34}", end="")
        calls = count_system_calls(servers[1], folder / "questions.A")
        print("nomad-dns: " + (", ".join(f"{name} {count:.3f}" for name, count in calls.items())
                               if calls else "strace cannot look here"))
    finally:
        for server in servers:
            server.stop()

    for label, is_right in (("first reply", lambda reply: True),
                            ("first right answer", lambda reply: load.rcode(reply) == 0 and load.answer_count(reply))):
        times = []
        for _ in range(STARTS):
            port = load.free_port()
            times.append(time_start(nomad_dns_command(options.binary, nomad, port), port, names()[0], is_right))
        print(f"{'exec to ' + label:34}nomad-dns: {statistics.median(times):.1f} ms (median of {STARTS}, "
              f"worst {max(times):.1f} ms)")
    nomad.stop()
    upstream.stop()


if __name__ == "__main__":
    main()
