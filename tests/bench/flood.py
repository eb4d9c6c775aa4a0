#!/usr/bin/env python3
"""A flood of random names, and what it does to the names that are asked for: the hit rate of hot ones, with and without.

    flood.py --binary build/nomad-dns      (make flood; FLOOD_NAMES: how many random names, 1,000,000)

The random names do not exist; an unbound says so, with an SOA, so that each of them would be kept. The hot ones come from a
scripted upstream that counts: what it is asked after the first round is a miss. Nothing here passes or fails.
"""
import argparse
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

import harness
import load
from fake_nomad import FakeNomad
from fake_upstream import FakeUpstream

NAMES = int(os.environ.get("FLOOD_NAMES", "1000000"))
HOT = 200
HOT_RATE = 500  # questions a second, over all hot names
TTL_S = 3600  # none expires in a run
PATH = os.environ.get("PATH", "") + os.pathsep + "/usr/sbin"


def nowhere(folder):
    """An unbound that knows that nothing exists under flood.example."""
    port = harness.free_port()
    (folder / "unbound.conf").write_text(f"""server:
  interface: 127.0.0.1@{port}
  do-ip6: no
  username: ""
  chroot: ""
  directory: "{folder}"
  pidfile: ""
  use-syslog: no
  do-daemonize: no
  num-threads: 1
  local-zone: "flood.example." static
  local-data: "flood.example. 300 IN SOA ns.flood.example. a.flood.example. 1 3600 600 86400 300"
remote-control:
  control-enable: no
""")
    process = subprocess.Popen([shutil.which("unbound", path=PATH), "-d", "-c", str(folder / "unbound.conf")],
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return process, f"127.0.0.1:{port}"


def dnsperf(port, file, *more):
    return subprocess.Popen(["dnsperf", "-s", "127.0.0.1", "-p", str(port), "-d", str(file), *more],
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def finished(process, label):
    found = re.search(label + r":\s+(\d+)", process.communicate()[0])
    return int(found.group(1)) if found else 0


def write(path, names):
    path.write_text("".join(f"{name} A\n" for name in names))
    return path


def measure(daemon, hot, hot_file, upstream, flood_file):
    """(questions for hot names, misses of them, random names answered)"""
    for _ in range(3):
        load.ask_all(daemon.port, [(name, load.A) for name in hot], timeout_s=5)
    before = upstream.count()
    if flood_file:
        flood = dnsperf(daemon.port, flood_file, "-n", "1", "-q", "200", "-t", "5")
        hot_load = dnsperf(daemon.port, hot_file, "-Q", str(HOT_RATE), "-l", "600")
        answered = finished(flood, "Queries completed")
        hot_load.send_signal(2)
    else:
        answered = 0
        hot_load = dnsperf(daemon.port, hot_file, "-Q", str(HOT_RATE), "-l", "5")
    asked = finished(hot_load, "Queries sent")
    return asked, upstream.count() - before, answered


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    harness.BINARY = str(Path(parser.parse_args().binary).resolve())
    hot = [f"hot-{number}.example.org" for number in range(HOT)]
    with tempfile.TemporaryDirectory() as folder, FakeNomad(catalogue=harness.DEMO) as nomad, FakeUpstream(ttl=TTL_S) as upstream:
        folder = Path(folder)
        hot_file = write(folder / "hot", hot)
        flood_file = write(folder / "flood", (f"{secrets.token_hex(8)}.flood.example" for _ in range(NAMES)))
        unbound, nothing = nowhere(folder)
        try:
            for label, file in (("alone", None), (f"{NAMES:,} random names", flood_file)):
                daemon = harness.Daemon(folder, "--workers=1", f"--forward=flood.example={nothing}", nomad=nomad.address,
                                        forward=upstream.address).start()
                try:
                    asked, misses, answered = measure(daemon, hot, hot_file, upstream, file)
                    metrics = daemon.metrics()
                    print(f"{label:24} {asked:7} questions for {HOT} hot names, {misses} misses: hit rate "
                          f"{100 - 100 * misses / max(asked, 1):.2f} %; {answered} random names answered, "
                          f"{metrics['nomad_dns_cache_evictions_total']:.0f} evictions, "
                          f"{daemon.resident_bytes() >> 20} MiB resident", flush=True)
                finally:
                    daemon.stop()
        finally:
            unbound.terminate()
            unbound.wait()


if __name__ == "__main__":
    main()
