#!/usr/bin/python3
"""Puts nomad-dns and Debian's forwarders through the same table of upstream behaviour (make compare-forwarders).

    compare_forwarders.py --binary build/nomad-dns [--server unbound …] [--case timeout …] [--verbose] [--no-table] [--no-figures] [--no-cost]

Every case has a fresh process of each server, on loopback ports, with the smallest configuration that forwards all to
one upstream and keeps `nomad` at home; none runs as a service. Prints one line per case, what is wrong with -v, totals,
then loss and isolation, then what a miss costs. Nothing here passes or fails.
"""

import argparse
import concurrent.futures
import os
import select
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

import harness
import load
from fake_nomad import FakeNomad
from fake_upstream import FakeUpstream
from forward_proof import run_cases
from upstream_modes import CASES, MODES

PATH = os.environ.get("PATH", "") + os.pathsep + "/usr/sbin"
START_S = 15
LOSS_NAMES = 1000
LOSS_WINDOW = 50
BESIDE_NAMES = 40
PATIENCE_S = 5  # as glibc's
COST_NAMES = 4000
COST_ROUNDS = 15
COST_WINDOW = 64  # names under way at once


class Server:
    """A forwarder as a plain process."""

    def __init__(self, command, port, folder):
        self.port = port
        self.log = open(Path(folder) / "server.log", "wb")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, cwd=folder)
        deadline = time.monotonic() + START_S
        while load.ask(port, "localhost", timeout_s=0.3) is None:
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                text = (Path(folder) / "server.log").read_text(errors="replace")
                raise OSError(f"{command[0]} does not answer: {text[-500:]}")
            time.sleep(0.02)

    @property
    def pid(self):
        return self.process.pid

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()


def write(folder, name, text):
    path = Path(folder) / name
    path.write_text(text)
    return str(path)


OWN_ZONE = """$TTL 10
nomad. IN SOA ns.nomad. hostmaster.nomad. 1 3600 600 86400 5
nomad. IN NS ns.nomad.
ns.nomad. IN A 127.0.0.1
"""

# ---- each server's smallest configuration: its command. `upstreams` are ports of 127.0.0.1. ----


def unbound(program, folder, port, upstreams):
    forwards = "".join(f"  forward-addr: 127.0.0.1@{upstream}\n" for upstream in upstreams)
    return [program, "-d", "-c", write(folder, "unbound.conf", f"""server:
  interface: 127.0.0.1@{port}
  do-ip6: no
  username: ""
  chroot: ""
  directory: "{folder}"
  pidfile: ""
  use-syslog: no
  do-daemonize: no
  num-threads: 1
  module-config: "iterator"
  do-not-query-localhost: no
  local-zone: "nomad." static
  local-zone: "test." nodefault
  access-control: 127.0.0.0/8 allow
forward-zone:
  name: "."
{forwards}remote-control:
  control-enable: no
""")]


def dnsmasq(program, folder, port, upstreams):
    return [program, "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--no-daemon",
            f"--port={port}", "--listen-address=127.0.0.1", "--bind-interfaces", f"--pid-file={folder}/pid", "--user=",
            "--local=/nomad/", *(f"--server=127.0.0.1#{upstream}" for upstream in upstreams)]


def bind9(program, folder, port, upstreams):
    forwards = " ".join(f"127.0.0.1 port {upstream};" for upstream in upstreams)
    write(folder, "nomad.zone", OWN_ZONE)
    return [program, "-g", "-n", "1", "-c", write(folder, "named.conf", f"""options {{
  directory "{folder}";
  listen-on port {port} {{ 127.0.0.1; }};
  listen-on-v6 {{ none; }};
  pid-file none;
  session-keyfile none;
  recursion yes;
  forward only;
  forwarders {{ {forwards} }};
  dnssec-validation no;
  empty-zones-enable no;
}};
controls {{ }};
zone "nomad" {{ type primary; file "nomad.zone"; }};
""")]


def knot_resolver(program, folder, port, upstreams):
    forwards = ", ".join(f"'127.0.0.1@{upstream}'" for upstream in upstreams)
    return [program, "-n", "-q", "-c", write(folder, "kresd.conf", f"""
net.listen('127.0.0.1', {port}, {{ kind = 'dns' }})
net.ipv6 = false
trust_anchors.remove('.')
modules.unload('ta_update')
modules.unload('priming')
cache.size = 50 * MB
policy.add(policy.suffix(policy.DENY, {{todname('nomad.')}}))
policy.add(policy.all(policy.STUB({{ {forwards} }})))
"""), folder]


def pdns_recursor(program, folder, port, upstreams):
    forwards = ";".join(f"127.0.0.1:{upstream}" for upstream in upstreams)
    write(folder, "nomad.zone", OWN_ZONE)
    return [program, f"--config-dir={folder}", f"--socket-dir={folder}", "--local-address=127.0.0.1", f"--local-port={port}",
            "--daemon=no", "--write-pid=no", "--threads=1", f"--forward-zones-recurse=.={forwards}", "--dnssec=off",
            "--dont-query=", f"--auth-zones=nomad={folder}/nomad.zone", "--hint-file=/usr/share/dns/root.hints",
            "--disable-syslog=yes", "--security-poll-suffix="]


def dnsdist_lines(port, upstreams, more):
    servers = "".join(f"newServer({{address='127.0.0.1:{upstream}', healthCheckMode='up'}})\n" for upstream in upstreams)
    return f"""setLocal('127.0.0.1:{port}')
setSecurityPollSuffix('')
{servers}addAction('nomad.', RCodeAction(DNSRCode.NXDOMAIN))
{more}"""


def dnsdist(program, folder, port, upstreams, more="getPool(''):setCache(newPacketCache(10000))\n"):
    return [program, "--supervised", "--disable-syslog", "-C",
            write(folder, "dnsdist.conf", dnsdist_lines(port, upstreams, more))]


def dnsdist_without_cache(program, folder, port, upstreams):
    return dnsdist(program, folder, port, upstreams, more="")


# label: (program, how to start it)
PEERS = {
    "unbound": ("unbound", unbound), "bind9": ("named", bind9), "knot-resolver": ("kresd", knot_resolver),
    "pdns-recursor": ("pdns_recursor", pdns_recursor), "dnsmasq": ("dnsmasq", dnsmasq), "dnsdist": ("dnsdist", dnsdist),
}


def starters(binary, nomad, wanted):
    """{label: start(upstreams, folder) → Server}"""
    def ours(upstreams, folder):
        return start_ours(binary, nomad, upstreams, folder)

    def peer(program, command):
        def start(upstreams, folder):
            port = load.free_port()
            return Server(command(program, folder, port, [u.port for u in upstreams]), port, folder)
        return start

    found = {"nomad-dns": ours}
    for label, (name, command) in PEERS.items():
        program = shutil.which(name, path=PATH)
        if not program:
            print(f"{label} is not installed, so its column is missing", file=sys.stderr)
        elif not wanted or label in wanted:
            found[label] = peer(program, command)
    return found


def start_ours(binary, nomad, upstreams, folder, *options):
    port = load.free_port()
    return Server([binary, f"--listen=127.0.0.1:{port}", "--admin=off", f"--nomad-address={nomad.address}", "--workers=1",
                   "--log-level=warn", *options, *(f"--forward=127.0.0.1:{u.port}" for u in upstreams)], port, folder)


# ---- the table ----

def compare(servers, cases, at_once):
    """{label: {case: what is wrong}}"""
    found = {}
    for label, start in servers.items():
        began = time.monotonic()
        found[label] = run_cases(lambda upstream, folder, start=start: start([upstream], folder), cases, at_once)
        print(f"{label}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    return found


def print_table(found, cases, is_verbose):
    width = max(len(case) for case in cases)
    labels = list(found)
    print(f"{'upstream does this':{width}}  " + "  ".join(labels))
    for case in cases:
        marks = [("-" if not found[label][case] else "FAIL").ljust(len(label)) for label in labels]
        print(f"{case:{width}}  " + "  ".join(marks).rstrip())
        if is_verbose:
            for label in labels:
                for text in found[label][case]:
                    print(f"{'':{width}}    {label}: {text}")
    print(f"{'fails (of %d)' % len(cases):{width}}  "
          + "  ".join(str(sum(1 for case in cases if found[label][case])).ljust(len(label)) for label in labels).rstrip())
    reasons = {}
    for label in labels:
        for case in cases:
            for text in found[label][case]:
                reasons.setdefault(text.partition(":")[0], {}).setdefault(label, set()).add(case)
    for reason, by_label in reasons.items():
        print(f"{'  of these, ' + reason:{width}}  "
              + "  ".join(str(len(by_label.get(label, ()))).ljust(len(label)) for label in labels).rstrip())


# ---- loss and isolation ----

def time_names(port, names, window=LOSS_WINDOW, patience_s=PATIENCE_S):
    """Milliseconds per answered name (NOERROR with a record), asked once each."""
    def one(name):
        began = time.monotonic()
        reply = load.ask(port, name, timeout_s=patience_s)
        took = (time.monotonic() - began) * 1000
        return took if reply and load.rcode(reply) == 0 and load.answer_count(reply) else None

    with concurrent.futures.ThreadPoolExecutor(window) as pool:
        return [took for took in pool.map(one, names) if took is not None]


def told(times, count):
    if not times:
        return f"0/{count}"
    times = sorted(times)
    p99 = times[min(len(times) - 1, len(times) * 99 // 100)]
    return f"{len(times)}/{count} p50 {statistics.median(times):.0f} p99 {p99:.0f} max {times[-1]:.0f} ms"


def lossy(start, percent):
    with FakeUpstream(mode=f"loss={percent}") as upstream, tempfile.TemporaryDirectory() as folder:
        server = start([upstream], folder)
        try:
            names = [f"n{number}.example.org" for number in range(LOSS_NAMES)]
            times = time_names(server.port, names)
            return told(times, LOSS_NAMES) + f", {upstream.count() / LOSS_NAMES:.2f} questions each"
        finally:
            server.stop()


def beside(start, mode):
    """A bad upstream named first, a good one second."""
    with FakeUpstream(mode=mode) as bad, FakeUpstream() as good, tempfile.TemporaryDirectory() as folder:
        server = start([bad, good], folder)
        try:
            times = time_names(server.port, [f"n{number}.example.org" for number in range(BESIDE_NAMES)], window=1)
            slow = sum(1 for took in times if took > 100)
            return told(times, BESIDE_NAMES) + f", {slow} slow"
        finally:
            server.stop()


def isolated(start):
    """Good names while one name never gets an answer."""
    with FakeUpstream() as upstream, tempfile.TemporaryDirectory() as folder:
        server = start([upstream], folder)
        try:
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                bad = [pool.submit(load.ask, server.port, f"x{number}.timeout.mode.test", load.A, 3) for number in range(8)]
                times = []
                while any(not future.done() for future in bad):
                    times += [time_names(server.port, [f"g{len(times)}.example.org"], window=1, patience_s=1)]
                return told([took for found in times for took in found], len(times))
        finally:
            server.stop()


FIGURES = {
    "20 % of the answers lost": lambda start: lossy(start, 20),
    "50 % of the answers lost": lambda start: lossy(start, 50),
    "a silent one beside a good one": lambda start: beside(start, "timeout"),
    "a failing one beside a good one": lambda start: beside(start, "servfail"),
    "good names beside a bad name": isolated,
}


def print_figures(servers):
    for text, measure in FIGURES.items():
        print(f"\n{text}")
        for label, start in servers.items():
            try:
                print(f"  {label:14} {measure(start)}", flush=True)
            except OSError as error:
                print(f"  {label:14} did not run: {error}")


# ---- what a miss costs ----

def print_cost(servers, binary, nomad, folder):
    """CPU of the server per cold name, beside dnsdist without a cache, on the same upstream; rounds are interleaved."""
    servers = {**servers, "nomad-no-cache": lambda upstreams, folder: start_ours(binary, nomad, upstreams, folder,
                                                                                "--cache-size=0")}
    program = shutil.which("dnsdist", path=PATH)
    if program:
        servers = {**servers, "dnsdist-no-cache": lambda upstreams, folder: start_at(dnsdist_without_cache, program, upstreams,
                                                                                     folder)}
    floor = Path(folder) / "floor"
    subprocess.run([os.environ.get("CC", "cc"), "-O2", "-D_GNU_SOURCE", "-o", floor, ROOT / "tests/bench/floor.c"], check=True)
    upstream_port = load.free_port()
    upstream = subprocess.Popen([floor, str(upstream_port)])
    running = {}
    try:
        for label in ("nomad-dns", "nomad-no-cache", "dnsdist-no-cache", "unbound"):
            if label in servers:
                place = Path(folder) / label
                place.mkdir()
                running[label] = servers[label]([Port(upstream_port)], str(place))
        found = {label: [] for label in running}
        sockets, watched = [], []
        for turn in range(COST_ROUNDS):
            sockets.append(socket_cost_us(upstream_port))
            watched.append(socket_cost_us(upstream_port, is_watched=True))
            for label, server in running.items():
                asked = [(f"c{turn}-{number}.example.org", load.A) for number in range(COST_NAMES)]
                before = load.cpu_ns(server.pid)
                replies = load.ask_all(server.port, asked, window=COST_WINDOW)
                good = sum(1 for reply in replies if reply and load.rcode(reply) == 0)
                found[label].append(((load.cpu_ns(server.pid) - before) / max(good, 1) / 1000, good))
        print("\nwhat a miss costs (median µs of CPU per answered cold name; answered of all)")
        for label, rows in found.items():
            print(f"  {label:16} {statistics.median(row[0] for row in rows):6.1f}   "
                  f"{sum(row[1] for row in rows)}/{COST_ROUNDS * COST_NAMES}")
        print(f"  {'a fresh socket':16} {statistics.median(sockets):6.1f}   (bound to a port, connected, closed)")
        print(f"  {'a watched one':16} {statistics.median(watched):6.1f}   (the same, and waited for with epoll)")
        if "dnsdist-no-cache" in found:
            for what, costs in (("a fresh socket", sockets), ("a watched one", watched)):
                for label in ("nomad-dns", "nomad-no-cache"):
                    ratios = [ours[0] / (theirs[0] + fresh)
                              for ours, theirs, fresh in zip(found[label], found["dnsdist-no-cache"], costs)]
                    print(f"  {label} / (dnsdist-no-cache + {what}): {statistics.median(ratios):.2f} (median of the rounds)")
    finally:
        for server in running.values():
            server.stop()
        upstream.terminate()
        upstream.wait()


class Port:
    def __init__(self, port):
        self.port = port


def start_at(command, program, upstreams, folder):
    port = load.free_port()
    return Server(command(program, folder, port, [u.port for u in upstreams]), port, folder)


def socket_cost_us(port, is_watched=False):
    """What the kernel takes for one, with as many open at once as names are under way; Python's own part of it is small
    beside."""
    rounds = COST_NAMES // COST_WINDOW
    with select.epoll() as waiting:
        began = time.process_time_ns()
        for _ in range(rounds):
            fresh = []
            for _ in range(COST_WINDOW):
                one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                one.bind(("0.0.0.0", 0))
                one.connect(("127.0.0.1", port))
                if is_watched:
                    waiting.register(one, select.EPOLLIN)
                fresh.append(one)
            for one in fresh:
                one.close()
        return (time.process_time_ns() - began) / (rounds * COST_WINDOW) / 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=str(ROOT / "build" / "nomad-dns"))
    parser.add_argument("--server", action="append", default=[], choices=sorted(PEERS), help="only these beside nomad-dns")
    parser.add_argument("--case", action="append", default=[], help="only these, by name or mode")
    parser.add_argument("--at-once", type=int, default=6)
    parser.add_argument("--verbose", "-v", action="store_true")
    parser.add_argument("--no-table", action="store_true")
    parser.add_argument("--no-figures", action="store_true")
    parser.add_argument("--no-cost", action="store_true")
    options = parser.parse_args()
    cases = [case for case in CASES if not options.case or case in options.case or case.partition("=")[0] in options.case]
    if not cases:
        sys.exit(f"there is no such case; modes are: {', '.join(MODES)}")
    with FakeNomad(catalogue=harness.DEMO) as nomad, tempfile.TemporaryDirectory() as folder:
        servers = starters(os.path.abspath(options.binary), nomad, options.server)
        if not options.no_table:
            print_table(compare(servers, cases, options.at_once), cases, options.verbose)
        if not options.no_figures:
            print_figures(servers)
        if not options.no_cost:
            print_cost(servers, os.path.abspath(options.binary), nomad, folder)


if __name__ == "__main__":
    main()
