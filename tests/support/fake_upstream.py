#!/usr/bin/python3
"""A resolver that answers as it is told: honestly, late, wrongly or not at all.

How it answers a name is a row of the table MODES (upstream_modes.py). The mode is the one set for that name, else the one a name brings
along (`anything.nxdomain.mode.test`, `anything.slow=300.mode.test`), else the default. Tests use the class:

    with FakeUpstream() as upstream:
        upstream.address                         # "127.0.0.1:PORT", UDP and TCP
        upstream.set_mode("servfail", "example.org")
        upstream.count("example.org")            # questions seen; upstream.queries() has ports, IDs and flags

From a shell: `fake_upstream.py --listen 127.0.0.1:5300 --mode answer --control 127.0.0.1:0`; the control address takes
POST /control/mode {"mode": …, "name": …}, GET and DELETE /control/log, GET /control/counts.
"""

import argparse
import asyncio
import collections
import json
import os
import signal
import struct
import sys
import time

import dns.flags
import dns.name
import dns.opcode
import dns.rdatatype

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from loop_thread import LoopThread, serve_control
from upstream_modes import CLOSE, LIES, MODE_ZONE, MODES, Asked, address6_of, address_of

__all__ = ["CLOSE", "LIES", "MODES", "FakeUpstream", "address6_of", "address_of"]

class FakeUpstream(LoopThread):
    """The resolver. `records` are texts by (name, type); every other name has a computed address."""

    def __init__(self, listen="127.0.0.1:0", mode="answer", records=None, ttl=300, control=None):
        super().__init__()
        self.host, _, port = listen.rpartition(":")
        self.host = self.host.strip("[]")
        self.port = int(port)
        self.default_mode = mode
        self.modes = {}
        self.records = {}
        self.ttl = ttl
        self.log = []
        self.loop_checks = []
        self.held = []
        self.released = asyncio.Event()
        self.control_spec = control
        self.control_address = None
        self.control_server = None
        self.tcp_server = None
        self.udp = None
        self.other_udp = None
        self.check(mode)
        for (name, rdtype), texts in (records or {}).items():
            self.set_records(name, rdtype, *texts)

    @staticmethod
    def check(mode):
        if mode.partition("=")[0] not in MODES:
            raise ValueError(f"unknown mode {mode!r}; there are: {', '.join(sorted(MODES))}")

    @property
    def address(self):
        return f"{self.host}:{self.port}"

    def set_mode(self, mode, name=None):
        """For one name, or for all that have none of their own."""
        self.check(mode)

        def apply():
            if name is None:
                self.default_mode = mode
            else:
                self.modes[dns.name.from_text(name).to_text().lower()] = mode

        self.call(apply)

    def set_records(self, name, rdtype, *texts):
        self.call(self.records.__setitem__, (dns.name.from_text(name).to_text().lower(), rdtype), texts)

    def queries(self, name=None, **match):
        """The log: dicts with name, type, protocol, port, id, has_edns, payload, do, ad, cd, rd, time."""

        def look():
            wanted = dns.name.from_text(name).to_text().lower() if name else None
            return [dict(entry) for entry in self.log if (wanted is None or entry["name"] == wanted)
                    and all(entry.get(key) == value for key, value in match.items())]

        return self.call(look)

    def count(self, name=None, **match):
        return len(self.queries(name, **match))

    def clear_log(self):
        self.call(self.log.clear)

    def down(self):
        """Closes the sockets: questions meet ICMP and refused connections."""
        self.wait(self.unlisten())

    def up(self):
        self.wait(self.listen())

    def refuse_tcp(self):
        """Closes the TCP socket only."""
        async def apply():
            self.tcp_server.close()
            await self.tcp_server.wait_closed()

        self.wait(apply())

    # ---- sockets ----

    async def open(self):
        await self.listen()
        if self.control_spec:
            host, _, port = self.control_spec.rpartition(":")
            self.control_server = await serve_control(host, int(port), self.control)
            self.control_address = "http://%s:%d" % self.control_server.sockets[0].getsockname()[:2]

    async def listen(self):
        """UDP and TCP on one port; the kernel chooses it when told 0, until both are free."""
        for _ in range(50):
            self.tcp_server = await asyncio.start_server(self.on_tcp, self.host, self.port)
            port = self.tcp_server.sockets[0].getsockname()[1]
            try:
                self.udp, _ = await self.loop.create_datagram_endpoint(lambda: Udp(self), (self.host, port))
            except OSError:
                self.tcp_server.close()
                if self.port:
                    raise
                continue
            self.port = port
            self.other_udp, _ = await self.loop.create_datagram_endpoint(asyncio.DatagramProtocol, (self.host, 0))
            return
        raise OSError("no port is free for both UDP and TCP")

    async def unlisten(self):
        if self.udp:
            self.udp.close()
            self.other_udp.close()
            self.tcp_server.close()
            await self.tcp_server.wait_closed()
            self.udp = None
            await asyncio.sleep(0)

    async def close(self):
        await self.unlisten()
        if self.control_server:
            self.control_server.close()

    async def on_tcp(self, reader, writer):
        peer = writer.get_extra_info("peername")
        sending = set()
        try:
            while True:
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                wire = await reader.readexactly(length)
                task = self.loop.create_task(self.answer_tcp(wire, peer, writer))
                sending.add(task)
                task.add_done_callback(sending.discard)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            for task in sending:
                task.cancel()
            writer.close()

    async def answer_tcp(self, wire, peer, writer):
        for send in self.judge(wire, "tcp", peer):
            if send is CLOSE:
                writer.close()
                return
            if send.delay_s is None:
                await self.released.wait()
            else:
                await asyncio.sleep(send.delay_s)
            writer.write(struct.pack("!H", len(send.data)) + send.data)

    def on_udp(self, wire, peer):
        for send in self.judge(wire, "udp", peer):
            if send is CLOSE:
                continue
            transport = self.other_udp if send.is_other_port else self.udp
            if send.delay_s is None:
                self.held.append((transport, send.data, peer))
            elif send.delay_s:
                self.loop.call_later(send.delay_s, send_unless_closed, transport, send.data, peer)
            else:
                send_unless_closed(transport, send.data, peer)

    def release(self):
        """What mode "hold" has held back goes out, all at once."""
        def apply():
            for held in self.held:
                send_unless_closed(*held)
            self.held.clear()
            self.released.set()

        self.call(apply)

    # ---- one question ----

    def judge(self, wire, protocol, peer):
        """Logs it and has its mode answer."""
        try:
            asked = Asked(self, wire, protocol, peer)
        except Exception as error:  # dnspython raises many kinds; a bad question is a finding of its own
            self.log.append({"name": None, "protocol": protocol, "error": repr(error), "wire": wire.hex()})
            return []
        message = asked.message
        if b"nomad-dns-loop-check" in asked.name.labels:  # no question of a client's: not in the log
            self.loop_checks.append(asked.key)
            return MODES["nxdomain"].send(asked)
        mode, _, asked.args = self.mode_of(asked.name).partition("=")
        self.log.append({
            "name": asked.key, "case": asked.name.to_text(), "type": dns.rdatatype.to_text(asked.type),
            "protocol": protocol, "port": peer[1], "id": message.id, "mode": mode, "time": time.monotonic(),
            "opcode": dns.opcode.to_text(message.opcode()), "has_edns": message.edns >= 0, "payload": message.payload,
            "options": [int(option.otype) for option in message.options], "do": bool(message.ednsflags & dns.flags.DO),
            "rd": bool(message.flags & dns.flags.RD), "ad": bool(message.flags & dns.flags.AD),
            "cd": bool(message.flags & dns.flags.CD),
        })
        return MODES[mode].send(asked)

    def mode_of(self, name):
        known = self.modes.get(name.to_text().lower())
        if known:
            return known
        if name.is_subdomain(MODE_ZONE) and len(name) > len(MODE_ZONE):
            label = name.labels[-len(MODE_ZONE) - 1].decode("ascii", "replace").lower()
            if label.partition("=")[0] in MODES:
                return label
        return self.default_mode

    def control(self, request):
        action = (request.method, request.path)
        if action == ("POST", "/control/mode"):
            body = json.loads(request.body)
            self.set_mode(body["mode"], body.get("name"))
            return {}
        if action == ("GET", "/control/log"):
            return self.log
        if action == ("DELETE", "/control/log"):
            self.log.clear()
            return {}
        if action == ("GET", "/control/counts"):
            return dict(collections.Counter(f"{entry['name']} {entry.get('type')}" for entry in self.log))
        raise LookupError(f"{request.method} {request.path} is not here")


def send_unless_closed(transport, data, peer):
    if not transport.is_closing():
        transport.sendto(data, peer)


class Udp(asyncio.DatagramProtocol):
    def __init__(self, upstream):
        self.upstream = upstream

    def datagram_received(self, data, addr):
        self.upstream.on_udp(data, addr)


def main():
    parser = argparse.ArgumentParser(description="A resolver that answers as it is told.")
    parser.add_argument("--listen", default="127.0.0.1:0", help="HOST:PORT, UDP and TCP")
    parser.add_argument("--mode", default="answer", help="; ".join(f"{name}: {row.text}" for name, row in MODES.items()))
    parser.add_argument("--record", action="append", default=[], metavar="NAME TYPE TEXT", help="repeatable")
    parser.add_argument("--ttl", type=int, default=300)
    parser.add_argument("--control", default="127.0.0.1:0", help="HOST:PORT of the control channel")
    args = parser.parse_args()
    upstream = FakeUpstream(listen=args.listen, mode=args.mode, ttl=args.ttl, control=args.control)
    for text in args.record:
        name, rdtype, data = text.split(" ", 2)
        upstream.set_records(name, rdtype, data)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    with upstream:
        print(f"listening {upstream.address}", flush=True)
        print(f"control {upstream.control_address}", flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    main()
