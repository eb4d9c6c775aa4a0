#!/usr/bin/python3
"""A Nomad agent as far as its catalogue of services goes, with scripted faults.

It serves /v1/services, /v1/service/:name, /v1/namespaces, /v1/agent/self and /v1/event/stream the way a real agent
does (the recordings in fixtures/nomad/real are the measure) over TCP, TLS and unix sockets, several at once. Tests
use the class:

    with FakeNomad(catalogue="fixtures/demo/catalogue.json") as nomad:
        nomad.address                                   # "http://127.0.0.1:PORT"
        nomad.register({"ServiceName": "web", "Address": "10.0.0.1", "Port": 80})
        nomad.fault("hang", path="/v1/service/")        # from now on
        nomad.count("/v1/service/web")                  # how often it was asked

From a shell it is a program: `fake_nomad.py --catalogue FILE --listen http://127.0.0.1:4646 --control 127.0.0.1:4600`,
driven by HTTP on the control address: POST /control/VERB with a JSON body of the method's arguments (VERBS names
them), GET /control/log, counts, traffic and state, DELETE /control/fault and log.
"""

import argparse
import asyncio
import collections
import copy
import email.utils
import fnmatch
import functools
import glob
import gzip
import hashlib
import json
import os
import random
import re
import signal
import socket
import ssl
import struct
import sys
import time
import urllib.parse
import uuid
import zlib

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import bexpr
from fake_stream import (CHUNKED_403, CHUNKED_500, DENIED_STREAM_OPEN_S, ENDED_STREAM_OPEN_S, EVENT_BUFFER, HIJACKED, HTTP_0_0,
                         Broker, Subscriber, era)
from loop_thread import HEAD_MAX, LoopThread, read_request, serve_control

CHUNK_ABOVE_BYTES = 2048  # Go's net/http buffers that much before it gives up on a Content-Length
WAIT_MAX_S = 300.0
NO_LEADER_S = 5.1
CONNECTIONS_MAX = 100  # of one client's address; all of 127.0.0.1 is one
LARGE_BODY_BYTES = 1 << 18  # above it gzip is done the quick way, once
UNUSED_NAMESPACE = "~"

TEXT = "text/plain; charset=utf-8"
TOO_MANY = "Your IP is issuing too many concurrent connections, please rate limit your calls\n"
REASONS = {
    200: "OK", 301: "Moved Permanently", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found",
    405: "Method Not Allowed", 429: "Too Many Requests", 500: "Internal Server Error", 501: "Not Implemented",
    502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout",
}
ERROR_BODIES = {
    301: "", 401: "Unauthorized", 403: "Permission denied", 404: "", 429: TOO_MANY, 500: "rpc error: EOF", 501: "",
    502: "bad gateway", 503: "no servers",
}
DURATION_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


class Refusal(Exception):
    """A request ends with this status and text."""

    def __init__(self, status, text):
        super().__init__(text)
        self.status = status
        self.text = text


class Reply:
    """What goes back, before it is framed."""

    def __init__(self, body, index=None, known_leader=True, last_contact_ms=0, next_token=None, status=200,
                 content_type="application/json", headers=()):
        self.status = status
        self.body = body if isinstance(body, bytes) else body.encode()
        self.content_type = content_type
        self.headers = dict(headers)
        if index is not None:
            self.headers["X-Nomad-Index"] = str(index)
            self.headers["X-Nomad-Knownleader"] = "true" if known_leader else "false"
            self.headers["X-Nomad-Lastcontact"] = str(last_contact_ms)
        if next_token:
            self.headers["X-Nomad-Nexttoken"] = next_token


def encode_json(value):
    """As a source build of Nomad does: keys sorted, no spaces, no ASCII escapes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def parse_duration(text):
    """Seconds of a Go duration ("60s", "1m30s", "500ms"); a bare number is none, but "0" is."""
    if text == "0":
        return 0.0
    parts = re.findall(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)", text)
    sign = -1 if text[:1] == "-" else 1
    if not parts or "".join(number + unit for number, unit in parts) != text.lstrip("+-"):
        raise Refusal(400, "Invalid wait time")
    return sign * sum(float(number) * DURATION_UNITS_S[unit] for number, unit in parts)


def parse_bool(request, name):
    text = request.get(name)
    if text is None:
        return False
    if text == "" or text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if text in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise Refusal(400, f"Expect `true` or `false` for `{name}` query string parameter")


class Fault:
    """One scripted misbehaviour: a mode, which requests it meets, and how often."""

    def __init__(self, mode, path="/", namespace=None, listener=None, times=None, **args):
        name, equals, value = mode.partition("=")
        if name not in FAULT_MODES:
            raise ValueError(f"unknown fault {name!r}; there are: {', '.join(sorted(FAULT_MODES))}")
        self.mode = name
        self.path = path
        self.namespace = namespace
        self.listener = listener
        self.left = times
        self.args = args
        if equals:
            self.args[FAULT_MODES[name][1]] = int(value) if value.lstrip("-").isdigit() else value

    def meets(self, request, listener):
        return (self.left != 0 and request.path.startswith(self.path)
                and (self.listener is None or self.listener == listener.number)
                and (self.namespace is None or self.namespace == request.get("namespace", "default")))

    def use(self):
        if self.left:
            self.left -= 1


class Listener:
    """One address the agent is served at."""

    def __init__(self, number, spec):
        self.number = number
        self.spec = spec
        self.scheme, _, self.rest = spec.partition("://")
        if self.scheme not in ("http", "https", "unix") or not self.rest:
            raise ValueError(f"an address is http://HOST:PORT, https://HOST:PORT or unix:///PATH, not {spec!r}")
        self.is_unix = self.scheme == "unix"
        self.server = None
        self.address = spec
        self.writers = set()
        self.hijacked = 0       # streams since 1.11.2 count no more as connections


class Catalogue:
    """Registrations by (namespace, ID), the index of their table, and who waits for it to move."""

    def __init__(self, index=1, buffer_size=EVENT_BUFFER):
        self.index = index      # of the table of registrations
        self.raft = index       # of the whole state: other topics move it too
        self.namespaces = {"default": 1}
        self.spaces_index = 1   # of the table of namespaces
        self.spaces_moved = set()
        self.entries = {}
        self.tree = {}          # namespace → name → ID → entry
        self.waiters = set()
        self.is_alarm_deaf = False
        self.restored_count = 0
        self.broker = Broker(buffer_size)

    def of(self, namespace, name):
        found = self.tree.get(namespace, {}).get(name, {})
        return [found[key] for key in sorted(found)]

    def names(self, namespace):
        """name → tags, for one namespace."""
        return {name: dict.fromkeys(tag for key in entries for tag in entries[key].get("Tags") or [])
                for name, entries in self.tree.get(namespace, {}).items()}

    def find(self, match):
        """(namespace, ID) of every registration whose keys have these values."""
        if "ServiceName" in match and "Namespace" in match:
            keys = [(match["Namespace"], key)
                    for key in self.tree.get(match["Namespace"], {}).get(match["ServiceName"], {})]
        else:
            keys = list(self.entries)
        return [key for key in keys if all(key[0] == value if name == "Namespace" else self.entries[key].get(name) == value
                                           for name, value in match.items())]

    def put(self, key, entry, index=None):
        """True when it changed anything (an identical registration moves no index)."""
        previous = self.entries.get(key)
        if previous is not None and self.same(previous, entry):
            return False
        if previous is not None:
            self.forget(key)
        self.move(index)
        if "ID" in entry:
            entry["CreateIndex"] = previous["CreateIndex"] if previous else self.index
            entry["ModifyIndex"] = self.index
        self.entries[key] = entry
        self.tree.setdefault(key[0], {}).setdefault(entry["ServiceName"], {})[key[1]] = entry
        return True

    def move(self, index=None):
        self.raft = max(self.raft, self.index) + 1 if index is None else index
        self.index = self.raft

    def add_namespace(self, name):
        if name not in self.namespaces:
            self.namespaces[name] = self.index
            self.move_spaces()

    def move_spaces(self):
        self.spaces_index = max(self.spaces_index, self.raft) + 1
        for future in self.spaces_moved:
            if not future.done():
                future.set_result(None)

    def forget(self, key):
        entry = self.entries.pop(key)
        names = self.tree[key[0]]
        del names[entry["ServiceName"]][key[1]]
        if not names[entry["ServiceName"]]:
            del names[entry["ServiceName"]]
        if not names:
            del self.tree[key[0]]
        return entry

    @staticmethod
    def same(one, other):
        ignored = ("CreateIndex", "ModifyIndex")
        return ({key: value for key, value in one.items() if key not in ignored}
                == {key: value for key, value in other.items() if key not in ignored})

    def wake(self, namespace, name):
        """What a change under (namespace, name) wakes: radix watches, neighbours of a missing prefix included."""
        for waiter in list(self.waiters):
            scope_namespace, scope_name, future = waiter
            if scope_namespace == "*":
                is_woken = scope_name is None
            elif scope_namespace != namespace:
                is_woken = scope_name is None and not self.tree.get(scope_namespace) and not self.is_alarm_deaf
            else:
                is_woken = scope_name is None or scope_name == name or not self.of(namespace, scope_name)
            if is_woken and not future.done():
                future.set_result(None)

    def tell(self, entries, event_type, index=None):
        """One frame of the event stream."""
        index = self.index if index is None else index
        self.broker.publish(index, [{
            "FilterKeys": [entry.get("JobID", ""), entry["ServiceName"]], "Index": index,
            "Key": entry.get("ID", ""), "Namespace": entry.get("Namespace", "default"),
            "Payload": {"Service": dict(entry)}, "Topic": "Service", "Type": event_type,
        } for entry in entries])


class FakeNomad(LoopThread):
    """The agent. Every public method may be called from any thread, before start() too."""

    def __init__(self, catalogue=None, listen=("http://127.0.0.1:0",), control=None, tls_context=None, acl=False,
                 heartbeat_s=30.0, no_leader_s=NO_LEADER_S, connections_max=CONNECTIONS_MAX, is_shuffled=True, seed=1,
                 version="2.0.6-dev", buffer_size=EVENT_BUFFER):
        super().__init__()
        self.listeners = [Listener(number, spec) for number, spec in enumerate(listen)]
        self.control_spec = control
        self.control_server = None
        self.control_address = None
        self.tls_context = tls_context
        self.is_acl = acl
        self.tokens = {}
        self.anonymous = None
        self.heartbeat_s = heartbeat_s
        self.hurry = 1.0        # for a daemon whose clock runs that much faster: holding and beating end sooner
        self.no_leader_s = no_leader_s
        self.connections_max = connections_max
        self.is_shuffled = is_shuffled
        self.random = random.Random(seed)
        self.version = version
        self.ended_stream_open_s = ENDED_STREAM_OPEN_S
        self.denied_stream_open_s = DENIED_STREAM_OPEN_S
        self.has_event_broker = True
        self.frozen = set()     # numbers of listeners
        self.large_bodies = {}
        self.catalogue = Catalogue(buffer_size=buffer_size)
        self.faults = []
        self.fault_cleared = None
        self.leader_lost_at = None
        self.log = []
        self.connection_count = 0
        self.kept_snapshot = None
        if catalogue:
            self.load(catalogue)

    # ---- the catalogue ----

    def load(self, source):
        """Takes a catalogue file (or an equal dict): its index, namespaces, services and whole bodies."""
        base = "."
        if not isinstance(source, dict):
            base = os.path.dirname(os.path.abspath(source))
            with open(source, encoding="utf-8") as file:
                source = json.load(file)

        def apply():
            for namespace in source.get("Namespaces", []):
                self.catalogue.add_namespace(namespace)
            for pattern in source.get("Bodies", []):
                for path in sorted(glob.glob(os.path.join(base, pattern))):
                    with open(path, encoding="utf-8") as file:
                        for entry in json.load(file):
                            self.put_as_is(entry)
            for entry in source.get("Services", []):
                self.put(entry)
            self.catalogue.index = max(self.catalogue.index, source.get("Index", 1))
            self.catalogue.raft = max(self.catalogue.raft, self.catalogue.index)

        self.call(apply)

    def complete(self, entry):
        """A registration as an agent would send it, from one that names only what matters."""
        entry = dict(entry)
        entry.setdefault("Namespace", "default")
        entry.setdefault("Address", "")
        entry.setdefault("Port", 0)
        entry.setdefault("Tags", [])
        entry.setdefault("Datacenter", "dc1")
        entry.setdefault("JobID", entry["ServiceName"].lower())
        which = json.dumps([entry["Namespace"], entry["ServiceName"], entry["Address"], entry["Port"]])
        digest = hashlib.md5(which.encode()).hexdigest()
        entry.setdefault("AllocID", str(uuid.UUID(digest)))
        entry.setdefault("NodeID", "0aa4f1de-3c56-4f89-a1b2-c3d4e5f60711")
        label = "p" if entry["Port"] else ""
        entry.setdefault("ID", f"_nomad-task-{entry['AllocID']}-group-g-{entry['ServiceName']}-{label}")
        entry.setdefault("CreateIndex", 0)
        entry.setdefault("ModifyIndex", 0)
        return entry

    def put(self, entry, index=None):
        entry = self.complete(entry)
        self.catalogue.add_namespace(entry["Namespace"])
        return entry if self.catalogue.put((entry["Namespace"], entry["ID"]), entry, index) else None

    def put_as_is(self, entry, index=None):
        """A body's registration, served with exactly the keys it has."""
        namespace = entry.get("Namespace", "default")
        self.catalogue.add_namespace(namespace)
        key = entry.get("ID") or json.dumps(entry, sort_keys=True)
        return entry if self.catalogue.put((namespace, key), dict(entry), index) else None

    def register(self, *entries, as_is=False):
        """Registers all of them in one raft batch; the table's index afterwards."""

        def apply():
            put = self.put_as_is if as_is else self.put
            index = self.catalogue.raft + 1
            changed = [entry for entry in (put(entry, index) for entry in entries) if entry]
            self.announce(changed, "ServiceRegistration")
            return self.catalogue.index

        return self.call(apply)

    def deregister(self, event_type="ServiceDeregistration", **match):
        """Removes every registration whose keys have these values; how many there were.

        A stopped client's come one by one, each with an index of its own; every other Type is one frame for all. With
        event_type None (the collector's leftovers) the index moves and no stream is told."""

        def apply():
            keys = self.catalogue.find(match)
            if not keys:
                return 0
            if event_type == "ServiceDeregistration":
                for key in keys:
                    entry = self.catalogue.forget(key)
                    self.catalogue.move()
                    self.announce([entry], event_type)
            else:
                entries = [self.catalogue.forget(key) for key in keys]
                self.catalogue.move()
                self.announce(entries, event_type)
            return len(keys)

        return self.call(apply)

    def move(self, name, namespace, new_namespace):
        """A service that leaves one namespace and appears in another: its instances come first, then the old ones go."""

        def apply():
            entries = [dict(entry) for entry in self.catalogue.of(namespace, name)]
            for entry in entries:
                entry.update(Namespace=new_namespace, ID=entry["ID"] + "-moved")
            self.register(*entries)
            self.deregister(ServiceName=name, Namespace=namespace)

        self.call(apply)

    def announce(self, entries, event_type):
        if entries and self.loop:
            if event_type:
                self.catalogue.tell(entries, event_type)
            for namespace, name in {(entry.get("Namespace", "default"), entry["ServiceName"]) for entry in entries}:
                self.catalogue.wake(namespace, name)

    def add_namespace(self, name):
        self.call(self.catalogue.add_namespace, name)

    def drop_namespace(self, name):
        """With all that is in it. Streams opened for it stay as they are."""

        def apply():
            self.deregister(Namespace=name)
            if self.catalogue.namespaces.pop(name, None) is not None:
                self.catalogue.move_spaces()

        self.call(apply)

    def set_index(self, index):
        """As a restored snapshot would: the index may go back; nobody is woken."""

        def apply():
            self.catalogue.index = self.catalogue.raft = index

        self.call(apply)

    def raft_noise(self, count):
        """Batches of other topics: they fill the event buffer and move the state's index, not the table's."""

        def apply():
            for _ in range(count):
                self.catalogue.raft += 1
                self.catalogue.broker.publish(self.catalogue.raft, [])

        self.call(apply)

    def snapshot(self):
        """What restore() brings back."""
        catalogue = self.catalogue
        return self.call(lambda: copy.deepcopy((catalogue.index, catalogue.raft, catalogue.namespaces, catalogue.entries)))

    def restore(self, snapshot):
        """`operator snapshot restore`: the index goes back, streams end, held requests sleep on until their wait."""

        def apply():
            catalogue = self.catalogue
            catalogue.index, catalogue.raft, catalogue.namespaces, catalogue.entries = copy.deepcopy(snapshot)
            catalogue.tree = {}
            for (namespace, key), entry in catalogue.entries.items():
                catalogue.tree.setdefault(namespace, {}).setdefault(entry["ServiceName"], {})[key] = entry
            catalogue.restored_count += 1
            catalogue.spaces_index = catalogue.raft
            catalogue.broker.batches.clear()
            catalogue.broker.end_all()

        self.call(apply)

    # ---- the process ----

    def kill(self):
        """kill -9: nobody listens, every connection is cut, the event buffer is gone."""
        self.wait(self.begin_kill())

    async def begin_kill(self):
        for listener in self.listeners:
            await self.unlisten(listener)

    def revive(self, is_replaying=True, version=None):
        """The process is back, at its old addresses. A server replays its log: old events are in the buffer again."""
        self.wait(self.end_kill(is_replaying, version))

    async def end_kill(self, is_replaying, version):
        self.version = version or self.version
        if not is_replaying:
            self.catalogue.broker.batches.clear()
        for listener in self.listeners:
            await self.listen(listener)

    def freeze(self, listener=None):
        """SIGSTOP: connections stay and new ones are accepted, but not a byte is written to any of them. With the number of
        a listener: only to those, as if it were the address of another agent."""
        self.call(self.frozen.update, {each.number for each in self.listeners if listener in (None, each.number)})
        self.fault("hang", listener=listener)

    def thaw(self):
        self.call(self.frozen.clear)
        self.clear_faults()

    # ---- streams ----

    def streams(self):
        """How many are open and still told everything."""
        return self.call(lambda: sum(1 for subscriber in self.catalogue.broker.subscribers
                                     if not subscriber.is_dropped and not subscriber.is_silent and not subscriber.is_deaf))

    def silence_streams(self, is_beating=False, times=None):
        """The open ones are told nothing more; with `is_beating` heartbeats go on. The sockets stay."""

        def apply():
            for subscriber in self.catalogue.broker.subscribers:
                subscriber.is_deaf = True
                subscriber.is_silent = not is_beating

        self.call(apply)

    def cut_streams(self, text=""):
        """Every stream ends now, after these bytes: half a line, or nothing."""

        def apply():
            for subscriber in list(self.catalogue.broker.subscribers):
                if text:
                    subscriber.exchange.write(text.encode())
                subscriber.exchange.writer.close()
                subscriber.is_deaf = True

        self.call(apply)

    def end_streams(self):
        """As a server that shuts down its broker: the old versions say so, the new ones fall silent, then close."""
        self.call(self.catalogue.broker.end_all)

    def lag_streams(self, seconds):
        """A follower that lags: every frame comes that much after the alarm, heartbeats in time."""
        self.call(setattr, self.catalogue.broker, "lag_s", seconds)

    def replay_streams(self, count=EVENT_BUFFER):
        self.call(self.catalogue.broker.replay, count)

    def inject(self, line):
        """A line of the test's own on every open stream."""

        def apply():
            for subscriber in self.catalogue.broker.subscribers:
                subscriber.exchange.write(line.encode() + b"\n")

        self.call(apply)

    def deafen_alarm(self, is_deaf=True):
        """Held lists of unknown namespaces sleep through changes, as a Nomad that works otherwise might let them."""

        def apply():
            self.catalogue.is_alarm_deaf = is_deaf

        self.call(apply)

    def replace_tls(self, context):
        """New handshakes meet new certificates; the sockets stay, live connections too."""
        self.wait(self.swap_tls(context))

    async def swap_tls(self, context):
        self.tls_context = context
        for listener in self.listeners:
            if listener.scheme == "https" and listener.server:
                old = listener.server
                listener.server = None
                await self.listen(listener, old.sockets[0]._sock.dup() if hasattr(old.sockets[0], "_sock")
                                  else old.sockets[0].dup())
                old.close()

    # ---- tokens ----

    def add_token(self, secret, kind="client", read=()):
        """`kind`: management, client (read-job in the namespaces matching `read`) or workload (a job's identity, which may read
        any service; with a policy attached, `read` too)."""
        if kind not in ("management", "client", "workload"):
            raise ValueError(f"unknown kind of token {kind!r}")

        def apply():
            self.tokens[secret] = (kind, tuple(read))
            self.check_streams()

        self.call(apply)

    def drop_token(self, secret):
        """Deleted: its requests are refused, its streams end (silently, and the socket closes seconds later)."""

        def apply():
            self.tokens.pop(secret, None)
            self.check_streams()

        self.call(apply)

    def expire_token(self, secret):
        """Its time is over: requests are refused at once, streams go on beating until there is an event to be sent."""

        def apply():
            self.tokens.pop(secret, None)
            for subscriber in self.catalogue.broker.subscribers:
                subscriber.has_expired |= subscriber.secret == secret

        self.call(apply)

    def check_streams(self):
        for subscriber in list(self.catalogue.broker.subscribers):
            if self.is_acl and not self.may_stream(self.tokens.get(subscriber.secret, ("none", ())), subscriber.namespace):
                subscriber.end("Permission denied")

    def may_stream(self, rights, namespace):
        kind, patterns = rights
        wanted = self.catalogue.namespaces if namespace == "*" else [namespace]
        return kind == "management" or (
            kind in ("client", "workload")
            and all(any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns) for name in wanted))

    def allow_anonymous(self, read):
        self.anonymous = tuple(read) if read is not None else None

    # ---- faults ----

    def fault(self, mode, **args):
        """Sets a fault: FAULT_MODES names them. `path` (a prefix), `namespace`, `listener`, `times` narrow it."""
        fault = Fault(mode, **args)
        if self.thread:
            self.wait(self.begin_fault(fault))
        else:
            self.faults.append(fault)

    def clear_faults(self):
        """Back to health; whoever hangs is dropped."""
        if self.thread:
            self.wait(self.end_faults())
        else:
            self.faults.clear()

    async def begin_fault(self, fault):
        self.faults.append(fault)
        if fault.mode == "refuse":
            for listener in self.listeners:
                if fault.listener is None or fault.listener == listener.number:
                    await self.unlisten(listener)
        elif fault.mode == "no-leader":
            self.leader_lost_at = time.monotonic()

    async def end_faults(self):
        self.faults.clear()
        self.leader_lost_at = None
        self.fault_cleared.set()
        self.fault_cleared = asyncio.Event()
        for listener in self.listeners:
            await self.listen(listener)

    def drop_connections(self):
        """Cuts every connection there is, as a restarting agent does."""

        def apply():
            for listener in self.listeners:
                for writer in list(listener.writers):
                    writer.transport.abort()

        self.call(apply)

    # ---- what was asked ----

    def requests(self, path=None, **match):
        """The log: dicts with path, namespace, query, status, token, listener, connection, time."""

        def look():
            return [dict(entry) for entry in self.log
                    if (path is None or entry["path"] == path or (path.endswith("/") and entry["path"].startswith(path)))
                    and all(entry.get(key) == value for key, value in match.items())]

        return self.call(look)

    def count(self, path=None, **match):
        return len(self.requests(path, **match))

    def clear_log(self):
        self.call(self.log.clear)

    def traffic(self):
        """What was asked since clear_log(): kind → requests, and bytes sent to and received from the clients.

        Kinds: stream, alarm (a held list of an unknown namespace), held, list, get, other."""

        def look():
            kinds = {}
            for entry in self.log:
                row = kinds.setdefault(entry["kind"], {"requests": 0, "sent_bytes": 0, "received_bytes": 0})
                row["requests"] += 1
                row["sent_bytes"] += entry["sent_bytes"]
                row["received_bytes"] += entry["received_bytes"]
            return kinds

        return self.call(look)

    def held(self):
        """How many requests are asleep now."""
        return self.call(lambda: len(self.catalogue.waiters))

    @property
    def address(self):
        return self.listeners[0].address

    @property
    def addresses(self):
        return [listener.address for listener in self.listeners]

    # ---- sockets ----

    async def open(self):
        self.fault_cleared = asyncio.Event()
        for listener in self.listeners:
            await self.listen(listener)
        faults, self.faults = self.faults, []
        for fault in faults:
            await self.begin_fault(fault)
        if self.control_spec:
            host, _, port = self.control_spec.rpartition(":")
            self.control_server = await serve_control(host.strip("[]"), int(port), self.control)
            self.control_address = "http://%s:%d" % self.control_server.sockets[0].getsockname()[:2]

    async def listen(self, listener, opened=None):
        """On a socket `opened` before, or on one of its own."""
        if listener.server:
            return

        async def on_connection(reader, writer):
            await self.serve(listener, reader, writer)

        if listener.is_unix:
            if os.path.exists(listener.rest):
                os.unlink(listener.rest)
            listener.server = await asyncio.start_unix_server(on_connection, listener.rest, limit=HEAD_MAX)
            return
        host, _, port = listener.address.partition("://")[2].rpartition(":")
        context = self.tls_context if listener.scheme == "https" else None
        if listener.scheme == "https" and not context:
            raise ValueError("an https address needs a TLS context")
        where = {"sock": opened} if opened else {"host": host.strip("[]"), "port": int(port)}
        listener.server = await asyncio.start_server(on_connection, ssl=context, limit=HEAD_MAX, backlog=1024, **where)
        port = listener.server.sockets[0].getsockname()[1]
        listener.address = f"{listener.scheme}://{host}:{port}"

    async def unlisten(self, listener):
        if not listener.server:
            return
        listener.server.close()
        listener.server = None
        if listener.is_unix and os.path.exists(listener.rest):
            os.unlink(listener.rest)
        for writer in list(listener.writers):
            writer.transport.abort()

    async def close(self):
        for listener in self.listeners:
            await self.unlisten(listener)
        if self.control_server:
            self.control_server.close()

    async def serve(self, listener, reader, writer):
        self.connection_count += 1
        connection = self.connection_count
        if self.connections_max and not listener.is_unix and len(listener.writers) - listener.hijacked >= self.connections_max:
            writer.write(f"HTTP/1.1 429 Too Many Requests\r\nContent-Type: text/plain\r\n"
                         f"Content-Length: {len(TOO_MANY)}\r\nConnection: close\r\n\r\n{TOO_MANY}".encode())
            writer.close()
            return
        listener.writers.add(writer)
        try:
            while True:
                request = await read_request(reader)
                if request is None:
                    break
                exchange = Exchange(self, listener, connection, request, reader, writer)
                if not await exchange.run():
                    break
        except (ConnectionError, asyncio.TimeoutError, ssl.SSLError):
            pass
        finally:
            listener.writers.discard(writer)
            writer.close()

    def pack(self, body):
        """gzip; a large body only once, for the sake of the test's own time."""
        if len(body) < LARGE_BODY_BYTES:
            return gzip.compress(body, mtime=0)
        digest = hashlib.md5(body).digest()
        if digest not in self.large_bodies:
            self.large_bodies = {digest: gzip.compress(body, 1, mtime=0)}
        return self.large_bodies[digest]

    # ---- the control channel ----

    def control(self, request):
        """One request on the control address. Already on the loop: methods run at once."""
        body = json.loads(request.body) if request.body else {}
        action = (request.method, request.path)
        if action == ("POST", "/control/register"):
            return {"Index": self.register(*(body if isinstance(body, list) else [body]))}
        if action == ("POST", "/control/deregister"):
            return {"Removed": self.deregister(**body)}
        if action == ("POST", "/control/fault"):
            fault = Fault(**body)
            self.loop.create_task(self.begin_fault(fault))
            return {"Fault": fault.mode}
        if action == ("DELETE", "/control/fault"):
            self.loop.create_task(self.end_faults())
            return {}
        if action == ("GET", "/control/log"):
            return self.log
        if action == ("DELETE", "/control/log"):
            self.log.clear()
            return {}
        if action == ("GET", "/control/counts"):
            return dict(collections.Counter(f"{entry['path']}?namespace={entry['namespace']}" for entry in self.log))
        if action == ("GET", "/control/traffic"):
            return self.traffic()
        if action == ("GET", "/control/state"):
            return {"Index": self.catalogue.index, "Addresses": self.addresses,
                    "Namespaces": sorted(self.catalogue.namespaces), "Streams": self.streams(), "Held": self.held(),
                    "Services": list(self.catalogue.entries.values()), "Faults": [fault.mode for fault in self.faults]}
        if action == ("POST", "/control/token"):
            self.is_acl = True
        verb = request.path[len("/control/"):]
        if request.method == "POST" and verb in VERBS:
            result = VERBS[verb](self, **{name.lower(): value for name, value in body.items()})
            if asyncio.iscoroutine(result):
                self.loop.create_task(result)
                result = None
            return {"Index": self.catalogue.index, "Result": result}
        raise LookupError(f"{request.method} {request.path} is not here")

    def take_snapshot(self):
        self.kept_snapshot = self.snapshot()

    def restore_kept(self):
        if not self.kept_snapshot:
            raise ValueError("there is no snapshot yet")
        self.restore(self.kept_snapshot)


# /control/VERB: what it does. The arguments' names are those of the methods.
VERBS = {
    "namespace": FakeNomad.add_namespace,
    "drop-namespace": FakeNomad.drop_namespace,
    "move": FakeNomad.move,
    "token": FakeNomad.add_token,
    "drop-token": FakeNomad.drop_token,
    "expire-token": FakeNomad.expire_token,
    "index": FakeNomad.set_index,
    "noise": FakeNomad.raft_noise,
    "snapshot": FakeNomad.take_snapshot,
    "restore": FakeNomad.restore_kept,
    "kill": FakeNomad.begin_kill,
    "revive": lambda nomad, is_replaying=True, version=None: nomad.end_kill(is_replaying, version),
    "silence-streams": FakeNomad.silence_streams,
    "cut-streams": FakeNomad.cut_streams,
    "end-streams": FakeNomad.end_streams,
    "replay-streams": FakeNomad.replay_streams,
    "lag-streams": FakeNomad.lag_streams,
    "inject": FakeNomad.inject,
    "deafen-alarm": FakeNomad.deafen_alarm,
    "drop-connections": FakeNomad.drop_connections,
}


class Exchange:
    """One request and its reply."""

    def __init__(self, nomad, listener, connection, request, reader, writer):
        self.nomad = nomad
        self.listener = listener
        self.request = request
        self.reader = reader
        self.writer = writer
        secret = request.headers.get("x-nomad-token", "")
        authorization = request.headers.get("authorization", "")
        if not secret and authorization.lower().startswith("bearer "):
            secret = authorization[7:].strip()
        self.secret = secret
        self.entry = {
            "number": len(nomad.log) + 1, "method": request.method, "path": request.path,
            "namespace": request.get("namespace", "default"), "query": [list(pair) for pair in request.query],
            "status": None, "token": secret, "authorization": authorization, "listener": listener.number,
            "connection": connection, "region": request.get("region"), "fault": None,
            "is_blocking": request.get("index", "0") not in ("0", ""), "is_stale": request.get("stale") is not None,
            "accept_encoding": request.headers.get("accept-encoding", ""), "time": time.monotonic(),
            "received_bytes": request.size, "sent_bytes": 0, "kind": self.kind(request),
        }
        self.is_chunked = False
        self.started = None  # index, known leader and lag when a held request fell asleep
        nomad.log.append(self.entry)

    @staticmethod
    def kind(request):
        is_held = request.get("index", "0") not in ("0", "")
        if request.path == "/v1/event/stream":
            return "stream"
        if request.path == "/v1/services":
            return "list" if not is_held else "alarm" if request.get("namespace") == UNUSED_NAMESPACE else "held"
        if request.path.startswith("/v1/service/"):
            return "held" if is_held else "get"
        return "other"

    def write(self, data):
        self.entry["sent_bytes"] += len(data)
        self.entry["written"] = time.monotonic()
        self.writer.write(data)

    async def run(self):
        """True when the connection can carry another request."""
        for fault in self.nomad.faults:
            if fault.meets(self.request, self.listener):
                fault.use()
                self.entry["fault"] = fault.mode
                handled = await FAULT_MODES[fault.mode][0](self, fault)
                if handled is not None:
                    return handled
                break
        return await self.answer()

    async def answer(self, change=None):
        """The honest reply; `change(reply)` may bend it first."""
        try:
            if self.request.method != "GET":
                raise Refusal(405, "Invalid method")
            if self.request.path == "/v1/event/stream":
                return await self.stream()
            reply = await self.route()
        except Refusal as refusal:
            reply = Reply(refusal.text, status=refusal.status, content_type=TEXT)
        if change:
            reply = change(reply) or reply
        await self.send(reply)
        return self.request.headers.get("connection", "").lower() != "close"

    # ---- framing ----

    def is_gone(self):
        return self.reader.at_eof() or self.writer.transport.is_closing()

    def head(self, reply, framing):
        lines = [f"HTTP/1.1 {reply.status} {REASONS.get(reply.status, 'Status')}"]
        headers = dict(reply.headers)
        if reply.content_type:
            headers["Content-Type"] = reply.content_type
        if not self.listener.is_unix:
            headers["Vary"] = "Accept-Encoding"
        lines += [f"{name}: {headers[name]}" for name in sorted(headers)]
        lines.append("Date: " + email.utils.formatdate(usegmt=True))
        lines.append(framing)
        return ("\r\n".join(line for line in lines if line) + "\r\n\r\n").encode("latin-1")

    def encode_body(self, reply):
        """gzip or raw deflate, whichever the client names first; never on the Task API's socket."""
        if self.listener.is_unix or not reply.body:
            return reply.body
        for coding in (part.split(";")[0].strip() for part in self.entry["accept_encoding"].split(",")):
            if coding == "gzip":
                reply.headers["Content-Encoding"] = "gzip"
                return self.nomad.pack(reply.body)
            if coding == "deflate":
                reply.headers["Content-Encoding"] = "deflate"
                packer = zlib.compressobj(wbits=-15)
                return packer.compress(reply.body) + packer.flush()
        return reply.body

    async def send(self, reply):
        body = self.encode_body(reply)
        self.entry["status"] = reply.status
        if len(body) > CHUNK_ABOVE_BYTES:
            self.write(self.head(reply, "Transfer-Encoding: chunked"))
            for at in range(0, len(body), 1 << 14):
                part = body[at:at + (1 << 14)]
                self.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
                await self.writer.drain()
            self.write(b"0\r\n\r\n")
        else:
            self.write(self.head(reply, f"Content-Length: {len(body)}") + body)
        await self.writer.drain()

    # ---- who asks ----

    def rights(self):
        """(kind, patterns of readable namespaces) of whoever asks."""
        nomad = self.nomad
        if self.listener.is_unix:
            if not self.secret:
                raise Refusal(401, "Unauthorized")
            if not nomad.is_acl:
                return "management", ()
            is_well_formed = re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[^.]+\.[^.]+\.[^.]+", self.secret)
            if self.secret not in nomad.tokens:
                if not is_well_formed:
                    raise Refusal(500, "Server error authenticating request\n")
                raise Refusal(403, "Forbidden")
            return nomad.tokens[self.secret]
        if not nomad.is_acl:
            return "management", ()
        if not self.secret:
            return ("client", nomad.anonymous) if nomad.anonymous else ("none", ())
        if self.secret not in nomad.tokens:
            raise Refusal(403, "Permission denied")
        return nomad.tokens[self.secret]

    @staticmethod
    def may_read(rights, namespace):
        kind, patterns = rights
        if kind in ("management", "workload"):
            return True
        return kind == "client" and any(fnmatch.fnmatchcase(namespace, pattern) for pattern in patterns)

    # ---- routes ----

    async def route(self):
        path = self.request.path
        if path == "/v1/services":
            return await self.services()
        if path.startswith("/v1/service/"):
            return await self.service(path[len("/v1/service/"):])
        if path == "/v1/namespaces":
            return await self.namespaces()
        if path == "/v1/agent/self":
            return self.agent_self()
        if path == "/v1/agent/health":
            return Reply(encode_json({"server": {"message": "ok", "ok": True}, "client": {"message": "ok", "ok": True}}))
        if path == "/v1/status/leader":
            return Reply(b'"127.0.0.1:4647"')
        raise Refusal(404, "")

    def options(self):
        request = self.request
        region = request.get("region", "global")
        text = request.get("index") or "0"
        if not text.isdigit():
            raise Refusal(400, "Invalid index")
        wait_s = parse_duration(request.get("wait") or "0s")
        is_stale = parse_bool(request, "stale")
        if region != "global":
            raise Refusal(500, "No path to region")
        return int(text), wait_s, is_stale

    async def block(self, scope_namespace, scope_name, index, wait_s, is_woken_by_changes=True):
        """Returns when the table passed `index` and something under the scope moved, or when `wait` is over.

        Then the reply has the index of the beginning, unless another table was restored meanwhile."""
        if index <= 0:
            return
        if wait_s <= 0 or wait_s > WAIT_MAX_S:
            wait_s = WAIT_MAX_S
        wait_s /= self.nomad.hurry
        catalogue = self.nomad.catalogue
        restored_count = catalogue.restored_count
        if scope_namespace != "*":
            self.started = (catalogue.index, self.nomad.leader_lost_at)
        ends = time.monotonic() + wait_s + self.nomad.random.uniform(0, wait_s / 16)
        while not (is_woken_by_changes and catalogue.index > index):
            left_s = ends - time.monotonic()
            if left_s <= 0:
                if catalogue.restored_count != restored_count:
                    self.started = None
                return
            future = self.nomad.loop.create_future()
            waiter = (scope_namespace, scope_name, future)
            if is_woken_by_changes:
                catalogue.waiters.add(waiter)
            try:
                while not future.done() and ends > time.monotonic():
                    await asyncio.wait([future], timeout=min(0.5, max(0.0, ends - time.monotonic())))
                    if self.is_gone():
                        raise ConnectionResetError
            finally:
                catalogue.waiters.discard(waiter)
            while self.listener.number in self.nomad.frozen and not self.is_gone():
                await asyncio.sleep(0.05)
        self.started = None

    def reply(self, value, index=None, next_token=None):
        known_index, lost_at = self.started or (self.nomad.catalogue.index, self.nomad.leader_lost_at)
        return Reply(encode_json(value), index=max(1, known_index) if index is None else index,
                     known_leader=lost_at is None,
                     last_contact_ms=int((time.monotonic() - lost_at) * 1000) if lost_at else 0, next_token=next_token)

    def listed(self, namespace):
        names = [{"ServiceName": name, "Tags": self.mix(tags)}
                 for name, tags in self.nomad.catalogue.names(namespace).items()]
        return {"Namespace": namespace, "Services": self.mix(names, key=lambda row: row["ServiceName"])}

    def mix(self, values, key=None):
        """The order Go's maps leave behind: none."""
        values = sorted(values, key=key) if key else list(values)
        if self.nomad.is_shuffled:
            self.nomad.random.shuffle(values)
        return values

    async def services(self):
        index, wait_s, _ = self.options()
        namespace = self.request.get("namespace") or "default"
        rights = self.rights()
        if namespace == "*":
            return await self.services_everywhere(rights, index, wait_s)
        if not self.may_read(rights, namespace):
            raise Refusal(403, "Permission denied")
        await self.block(namespace, None, index, wait_s)
        row = self.listed(namespace)
        return self.reply([row] if row["Services"] else [])

    async def services_everywhere(self, rights, index, wait_s):
        kind, _ = rights
        as_listed = ("client", rights[1]) if kind == "workload" else rights
        readable = [namespace for namespace in self.nomad.catalogue.namespaces if self.may_read(as_listed, namespace)]
        await self.block("*", None, index, wait_s, is_woken_by_changes=bool(readable))
        if not readable:
            return self.reply([], index=0)
        rows = [self.listed(namespace) for namespace in self.mix(readable)]
        return self.reply([row for row in rows if row["Services"]])

    async def service(self, rest):
        if not rest:
            raise Refusal(400, "missing service name")
        name = urllib.parse.unquote(rest)
        if "/" in name:
            raise Refusal(400, "invalid URI")
        index, wait_s, _ = self.options()
        namespace = self.request.get("namespace") or "default"
        rights = self.rights()
        is_allowed = rights[0] != "none" if namespace == "*" else self.may_read(rights, namespace)
        if not is_allowed:
            raise Refusal(403, "Permission denied")
        keep = self.filter()
        await self.block(namespace, name, index, wait_s)
        entries = [entry for entry in self.nomad.catalogue.of(namespace, name) if keep(entry)]
        return self.page(entries)

    def filter(self):
        text = self.request.get("filter")
        if not text:
            return lambda entry: True
        try:
            return bexpr.parse(text)
        except bexpr.BadFilter as error:
            raise Refusal(400, f"failed to create result paginator: failed to read filter expression: {error}") from error

    def page(self, entries):
        text = self.request.get("per_page") or "0"
        if not text.isdigit():
            raise Refusal(400, "Expect a number for `per_page` query string parameter")
        first = self.request.get("next_token")
        if first:
            entries = [entry for entry in entries if f"{entry['Namespace']}.{entry.get('ID', '')}" >= first]
        size = int(text)
        if not size or size >= len(entries):
            return self.reply(entries)
        following = entries[size]
        return self.reply(entries[:size], next_token=f"{following['Namespace']}.{following.get('ID', '')}")

    async def block_spaces(self, index, wait_s):
        """As block() does, on the table of namespaces."""
        catalogue = self.nomad.catalogue
        ends = time.monotonic() + min(wait_s if wait_s > 0 else WAIT_MAX_S, WAIT_MAX_S) / self.nomad.hurry
        while 0 < index and catalogue.spaces_index <= index and time.monotonic() < ends:
            future = self.nomad.loop.create_future()
            catalogue.spaces_moved.add(future)
            try:
                await asyncio.wait([future], timeout=min(0.5, max(0.0, ends - time.monotonic())))
            finally:
                catalogue.spaces_moved.discard(future)
            if self.is_gone():
                raise ConnectionResetError

    async def namespaces(self):
        index, wait_s, _ = self.options()
        kind, patterns = self.rights()
        readable = {"management": lambda name: True, "client": lambda name: self.may_read((kind, patterns), name)}.get(
            kind, lambda name: False)
        await self.block_spaces(index, wait_s)
        rows = [{"Capabilities": None, "CreateIndex": index, "Description": "", "Hash": "", "Meta": None,
                 "ModifyIndex": index, "Name": name, "Quota": ""}
                for name, index in sorted(self.nomad.catalogue.namespaces.items()) if readable(name)]
        return self.reply(rows, index=self.nomad.catalogue.spaces_index)

    def agent_self(self):
        if self.rights()[0] != "management":
            raise Refusal(403, "Permission denied")
        return Reply(encode_json({"config": {"Region": "global", "Version": {"Version": self.nomad.version}},
                                  "member": {"Name": "fake", "Tags": {"build": self.nomad.version}},
                                  "stats": {}}))

    # ---- the event stream ----

    def topics(self):
        keys = set()
        for text in self.request.get_all("topic"):
            if text.count(":") > 1:
                raise Refusal(400, "Error parsing topics: Invalid key value pair for topic: " + text)
            topic, _, key = text.partition(":")
            if topic == "Service":
                keys.add(key or "*")
        return keys if len(keys) == 1 else keys - {"*"}  # beside others `*` is a key like them

    async def stream(self):
        nomad = self.nomad
        text = self.request.get("index") or "0"
        if not re.fullmatch(r"[+-]?\d+", text):
            raise Refusal(400, "Unable to parse index: strconv.ParseInt: parsing \"" + text + "\": invalid syntax")
        keys = self.topics()
        namespace = self.request.get("namespace") or "default"
        frozen = list(nomad.catalogue.namespaces)
        rights = self.rights()
        style = era(nomad.version)
        is_allowed = (nomad.has_event_broker and self.request.get("region", "global") == "global"
                      and not (style == CHUNKED_500 and rights[0] == "workload")
                      and nomad.may_stream(rights, namespace))
        if not is_allowed and style in (CHUNKED_500, CHUNKED_403):
            raise Refusal(500 if style == CHUNKED_500 else 403, "Permission denied")
        self.entry["status"] = 200
        self.is_chunked = style in (CHUNKED_500, CHUNKED_403)
        self.write(self.stream_head(style))
        self.listener.hijacked += style == HIJACKED
        try:
            if not is_allowed:
                await self.stay_open(nomad.denied_stream_open_s)
                return False
            # Versions before 1.9.6 froze no list; a name that is not there yet matches nothing either way.
            namespaces = (nomad.catalogue.namespaces if style == CHUNKED_500 else frozen) if namespace == "*" else [namespace]
            subscriber = Subscriber(self, nomad.catalogue.broker, keys, namespaces, int(text))
            await subscriber.write(b"{}\n")
            await subscriber.run()
        finally:
            self.listener.hijacked -= style == HIJACKED
        return False

    def stream_head(self, style):
        vary = "" if self.listener.is_unix else "Vary: Accept-Encoding\r\n"
        if self.is_chunked:
            return ("HTTP/1.1 200 OK\r\nCache-Control: no-cache\r\nContent-Type: application/json\r\n"
                    f"{vary}Date: {email.utils.formatdate(usegmt=True)}\r\nTransfer-Encoding: chunked\r\n\r\n").encode()
        version = "HTTP/0.0" if style == HTTP_0_0 else "HTTP/1.1"
        return (f"{version} 200 OK\r\nConnection: close\r\nCache-Control: no-cache\r\n"
                f"Content-Type: application/json\r\n{vary}\r\n").encode()

    async def stay_open(self, seconds):
        ends = time.monotonic() + seconds
        cleared = self.nomad.fault_cleared
        while time.monotonic() < ends and not self.is_gone() and not cleared.is_set():
            await asyncio.sleep(0.1)


# ---- faults: each gets the exchange and the fault; None lets the honest reply follow ----

async def fault_refuse(exchange, _):
    exchange.writer.transport.abort()
    return False


async def fault_hang(exchange, _):
    cleared = exchange.nomad.fault_cleared
    while not cleared.is_set() and not exchange.is_gone():
        await asyncio.sleep(0.05)
    exchange.writer.transport.abort()
    return False


async def fault_slow(exchange, fault):
    await asyncio.sleep(int(fault.args.get("ms", 500)) / 1000)


async def fault_late(exchange, fault):
    """The truth of now, sent later: what changes meanwhile overtakes it."""
    try:
        reply = await exchange.route()
    except Refusal:
        return None
    await asyncio.sleep(int(fault.args.get("ms", 500)) / 1000)
    await exchange.send(reply)
    return True


async def fault_status(exchange, fault):
    status = int(fault.args.get("code", 500))
    headers = {}
    if "retry_after" in fault.args:  # an agent's own 429 has none; a proxy's may
        headers["Retry-After"] = str(fault.args["retry_after"])
    if status in (301, 302, 307, 308):
        headers["Location"] = fault.args.get("location", "http://127.0.0.1:9/v1/services")
    text = fault.args.get("body", ERROR_BODIES.get(status, "error"))
    if status == 429:
        headers["Connection"] = "close"
    await exchange.send(Reply(text, status=status, content_type=TEXT, headers=headers))
    return status != 429


async def fault_no_leader(exchange, fault):
    if exchange.entry["is_stale"] or exchange.request.path == "/v1/event/stream":
        return None  # a follower serves both from its own state
    ends = time.monotonic() + float(fault.args.get("seconds", exchange.nomad.no_leader_s))
    cleared = exchange.nomad.fault_cleared
    while time.monotonic() < ends and not cleared.is_set():
        if exchange.is_gone():
            return False
        await asyncio.sleep(0.05)
    if cleared.is_set():
        return None
    await exchange.send(Reply("No cluster leader", status=500, content_type=TEXT))
    return True


async def send_raw(exchange, data):
    exchange.entry["status"] = 200
    exchange.write(data)
    await exchange.writer.drain()
    return False


def good_head(exchange, framing, **headers):
    reply = Reply(b"", index=max(1, exchange.nomad.catalogue.index))
    reply.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    return exchange.head(reply, framing)


async def fault_truncated(exchange, _):
    try:
        body = (await exchange.route()).body
    except Refusal:
        return None
    return await send_raw(exchange, good_head(exchange, f"Content-Length: {len(body) + 40}") + body[:max(1, len(body) // 2)])


async def fault_cut_json(exchange, _):
    return await exchange.answer(lambda reply: setattr(reply, "body", reply.body[:max(1, len(reply.body) - 1)]))


async def fault_bad_chunk(exchange, _):
    return await send_raw(exchange, good_head(exchange, "Transfer-Encoding: chunked") + b"8\r\n[{\"Addre\r\nzz!\r\n[]\r\n0\r\n\r\n")


async def fault_body(exchange, fault):
    """A complete, well-framed reply whose body is `body`."""
    body = fault.args["body"]

    def change(reply):
        reply.body = body if isinstance(body, bytes) else body.encode()
        reply.content_type = fault.args.get("content_type", reply.content_type)

    return await exchange.answer(change)


async def fault_garbage(exchange, _):
    noise = bytes(exchange.nomad.random.randrange(256) for _ in range(600))
    return await exchange.answer(lambda reply: setattr(reply, "body", noise))


async def fault_not_http(exchange, _):
    return await send_raw(exchange, b"\x16\x03\x01\x00\x2eSSH-2.0-nothing like HTTP\r\n\r\n\x00\xff")


async def fault_old_http(exchange, _):
    return await send_raw(exchange, b"HTTP/0.0 200 OK\r\nContent-Type: application/json\r\n\r\n{}\n")


async def fault_html(exchange, _):
    def change(reply):
        reply.body = b"<!DOCTYPE html><html><body><h1>Nomad UI</h1></body></html>"
        reply.content_type = "text/html; charset=utf-8"

    return await exchange.answer(change)


async def fault_empty(exchange, _):
    return await exchange.answer(lambda reply: setattr(reply, "body", b""))


async def fault_shape(exchange, fault):
    """Valid JSON that is no list of registrations."""
    return await exchange.answer(lambda reply: setattr(reply, "body", str(fault.args.get("json", "{}")).encode()))


async def fault_huge(exchange, fault):
    left = int(fault.args.get("megabytes", 100)) << 20
    row = encode_json(exchange.nomad.complete({"ServiceName": "huge", "Address": "10.9.9.9", "Port": 1})) + b","
    block = row * (65536 // len(row))
    exchange.entry["status"] = 200
    exchange.write(good_head(exchange, "Transfer-Encoding: chunked") + b"1\r\n[\r\n")
    while left > 0 and not exchange.is_gone():
        exchange.write(f"{len(block):x}\r\n".encode() + block + b"\r\n")
        await exchange.writer.drain()
        left -= len(block)
    exchange.write(b"3\r\n{}]\r\n0\r\n\r\n")
    await exchange.writer.drain()
    return False


@functools.lru_cache
def gzip_bomb(megabytes):
    packer = zlib.compressobj(9, wbits=31)
    blank = b" " * (1 << 20)
    return b"".join([packer.compress(b"[")] + [packer.compress(blank) for _ in range(megabytes)]
                    + [packer.compress(b"]"), packer.flush()])


async def fault_gzip_bomb(exchange, fault):
    data = gzip_bomb(int(fault.args.get("megabytes", 200)))
    return await send_raw(exchange, good_head(exchange, f"Content-Length: {len(data)}", Content_Encoding="gzip") + data)


async def fault_drip(exchange, fault):
    exchange.entry["status"] = 200
    exchange.write(good_head(exchange, "Content-Length: 100000"))
    cleared = exchange.nomad.fault_cleared
    while not exchange.is_gone() and not cleared.is_set():
        exchange.write(b"[" if exchange.entry.setdefault("bytes", 0) == 0 else b" ")
        exchange.entry["bytes"] += 1
        await exchange.writer.drain()
        await asyncio.sleep(float(fault.args.get("seconds", 1)))
    return False


async def fault_huge_header(exchange, _):
    return await exchange.answer(lambda reply: reply.headers.__setitem__("X-Padding", "x" * (1 << 20)))


async def fault_no_index(exchange, _):
    return await exchange.answer(lambda reply: reply.headers.pop("X-Nomad-Index", None) and None)


async def fault_index(exchange, fault):
    return await exchange.answer(lambda reply: reply.headers.__setitem__("X-Nomad-Index", str(fault.args.get("value", 0))))


async def fault_wildcard_empty(exchange, _):
    if exchange.request.path == "/v1/services" and exchange.request.get("namespace") == "*":
        await exchange.send(exchange.reply([], index=0))
        return True
    return None


async def fault_instant(exchange, _):
    exchange.request.query = [pair for pair in exchange.request.query if pair[0] != "index"]


async def fault_close(exchange, _):
    return False


async def fault_reset(exchange, _):
    connection = exchange.writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    exchange.writer.transport.abort()
    return False


# mode: (what it does, the name of the value in "mode=value")
FAULT_MODES = {
    "refuse": (fault_refuse, None),                # the listener is closed, connections are cut
    "hang": (fault_hang, None),                    # accepts, reads, never answers
    "slow": (fault_slow, "ms"),                    # the honest reply, late: as true as when it is sent
    "late": (fault_late, "ms"),                    # the honest reply, late: as true as when it was asked for
    "status": (fault_status, "code"),              # 500, 403, 404, 429 (with Retry-After), 301 …
    "no-leader": (fault_no_leader, "seconds"),     # 500 after 5 s; `stale` is answered, KnownLeader false
    "truncated": (fault_truncated, None),          # half a body, then the connection ends
    "cut-json": (fault_cut_json, None),            # a complete reply whose JSON lacks its last byte
    "bad-chunk": (fault_bad_chunk, None),
    "garbage": (fault_garbage, None),              # a body of noise
    "not-http": (fault_not_http, None),
    "old-http": (fault_old_http, None),            # HTTP/0.0, as Nomad 1.11.2 answers its stream
    "html": (fault_html, None),
    "empty": (fault_empty, None),                  # 200, no body
    "shape": (fault_shape, "json"),                # JSON of the wrong shape
    "body": (fault_body, "body"),                  # a body of the test's own
    "huge": (fault_huge, "megabytes"),             # 100 MB, streamed
    "gzip-bomb": (fault_gzip_bomb, "megabytes"),
    "drip": (fault_drip, "seconds"),               # a byte each second
    "huge-header": (fault_huge_header, None),
    "no-index": (fault_no_index, None),
    "index": (fault_index, "value"),               # a false X-Nomad-Index, 0 if not told
    "wildcard-empty": (fault_wildcard_empty, None),  # `[]` and index 0 for namespace=*
    "instant": (fault_instant, None),              # held requests return at once, unchanged
    "close": (fault_close, None),                  # the connection ends without a reply
    "reset": (fault_reset, None),
}


def server_context(certificate, key, client_ca=None):
    """TLS as an agent has it; with `client_ca` it wants client certificates of that CA."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    if client_ca:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def main():
    parser = argparse.ArgumentParser(description="A fake Nomad agent with scripted faults.")
    parser.add_argument("--catalogue", help="a JSON file like fixtures/demo/catalogue.json")
    parser.add_argument("--listen", action="append", help="http://HOST:PORT, https://… or unix:///PATH; repeatable")
    parser.add_argument("--control", default="127.0.0.1:0", help="HOST:PORT of the control channel")
    parser.add_argument("--cert", help="certificate for https")
    parser.add_argument("--key", help="its key")
    parser.add_argument("--client-ca", help="demand client certificates of this CA")
    parser.add_argument("--acl", action="store_true", help="demand tokens")
    parser.add_argument("--token", action="append", default=[], metavar="SECRET=KIND[:NAMESPACE,…]",
                        help="management, workload or client:default,prod; repeatable")
    parser.add_argument("--fault", action="append", default=[], help="; ".join(sorted(FAULT_MODES)))
    args = parser.parse_args()
    context = server_context(args.cert, args.key, args.client_ca) if args.cert else None
    nomad = FakeNomad(catalogue=args.catalogue, listen=args.listen or ["http://127.0.0.1:0"], control=args.control,
                      tls_context=context, acl=args.acl)
    for text in args.token:
        secret, _, kind = text.partition("=")
        kind, _, read = kind.partition(":")
        nomad.add_token(secret, kind, [part for part in read.split(",") if part])
    for mode in args.fault:
        nomad.fault(mode)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    with nomad:
        for address in nomad.addresses:
            print(f"listening {address}", flush=True)
        print(f"control {nomad.control_address}", flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    main()
