"""The event stream of the fake Nomad: the broker's buffer, who listens to it, and how each version ends a stream."""

import asyncio
import collections
import json
import re
import time

EVENT_BUFFER = 100
DELIVERED_OF_A_BURST = 12  # frames of 150 that a real agent still wrote before it dropped its reader
DENIED_STREAM_OPEN_S = 30.0
ENDED_STREAM_OPEN_S = 2.0

# How a version frames its stream and refuses one.
CHUNKED_500, CHUNKED_403, HTTP_0_0, HIJACKED = "chunked-500", "chunked-403", "http-0.0", "hijacked"
EXPIRED = "ACL token expired"
RESUBSCRIBE = "subscription closed by server, client should resubscribe"


def encode_frame(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def era(version):
    """Of the releases without the Enterprise backports."""
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:3])
    if numbers < (1, 9, 6):
        return CHUNKED_500
    if numbers < (1, 11, 2):
        return CHUNKED_403
    return HTTP_0_0 if numbers == (1, 11, 2) else HIJACKED


class Broker:
    """The last batches of one server, in memory, and its subscribers. A reader too far behind is dropped."""

    def __init__(self, size=EVENT_BUFFER):
        self.batches = collections.deque(maxlen=size)
        self.subscribers = set()
        self.is_dropping = True
        self.drop_beats = True      # a dropped reader still gets heartbeats
        self.drop_close_s = None    # and its socket closes after this long; None: never
        self.dropped_count = 0
        self.lag_s = 0.0            # a follower's: how much later than the table its streams are told

    def publish(self, index, events):
        """One raft batch. Without events (another topic's) it only takes a place in the buffer."""
        self.batches.append((index, events))
        for subscriber in list(self.subscribers):
            if self.lag_s:
                subscriber.nomad.loop.call_later(self.lag_s, subscriber.push, (index, events))
            else:
                subscriber.push((index, events))

    def from_index(self, index):
        """StartAtClosest: the match itself, the next above, the oldest there is, or the tail."""
        batches = list(self.batches)
        if not batches or index <= 0:
            return batches
        return [batch for batch in batches if batch[0] >= index] or batches[-1:]

    def replay(self, count):
        """Old batches once more, on every stream, as from a restarted server's log."""
        for batch in list(self.batches)[-count:]:
            for subscriber in list(self.subscribers):
                subscriber.push(batch)

    def end_all(self, text=RESUBSCRIBE):
        for subscriber in list(self.subscribers):
            subscriber.end(text)


class Subscriber:
    """One stream, from `{}` to its end."""

    def __init__(self, exchange, broker, keys, namespaces, index):
        self.exchange = exchange
        self.nomad = exchange.nomad
        self.broker = broker
        self.keys = keys
        self.namespaces = namespaces
        self.secret = exchange.secret
        self.namespace = exchange.request.get("namespace") or "default"
        self.queue = collections.deque(broker.from_index(index))
        self.is_dropped = False
        self.is_silent = False      # nothing at all is written any more
        self.is_deaf = False        # no frames, but heartbeats: a follower that lags
        self.has_expired = False    # the token: found out when there is something to be told
        self.end_text = None
        self.closes_at = None
        self.wakeup = asyncio.Event()
        if self.queue:
            self.wakeup.set()

    def push(self, batch):
        if self.is_dropped or self.end_text is not None or self.is_deaf:
            return
        self.queue.append(batch)
        if self.broker.is_dropping and len(self.queue) > self.broker.batches.maxlen:
            self.drop()
        self.wakeup.set()

    def drop(self):
        """`event dropped from buffer`: some of the burst, then nothing, and nobody is told."""
        while len(self.queue) > DELIVERED_OF_A_BURST:
            self.queue.pop()
        self.is_dropped = True
        self.broker.dropped_count += 1
        self.is_silent = not self.broker.drop_beats
        if self.broker.drop_close_s is not None:
            self.closes_at = time.monotonic() + self.broker.drop_close_s

    def end(self, text):
        """As the server ends it: the old versions say why, the new ones fall silent and close later."""
        self.end_text = text
        if self.closes_at is None:
            self.closes_at = time.monotonic() + self.nomad.ended_stream_open_s
        self.wakeup.set()

    def wanted(self, events):
        """Once per matching key: a real agent repeats an event that two keys match."""
        return [event for event in events if event["Namespace"] in self.namespaces
                for key in self.keys if key in ("*", event["Key"], *event["FilterKeys"])]

    async def write(self, data):
        if self.exchange.is_chunked:
            data = f"{len(data):x}\r\n".encode() + data + b"\r\n"
        self.exchange.write(data)
        await self.exchange.writer.drain()

    async def run(self):
        self.broker.subscribers.add(self)
        try:
            await self.serve()
        finally:
            self.broker.subscribers.discard(self)

    async def serve(self):
        beats_at = time.monotonic() + self.nomad.heartbeat_s / self.nomad.hurry
        while not self.exchange.is_gone():
            now = time.monotonic()
            if self.exchange.listener.number in self.nomad.frozen or self.is_silent:
                await asyncio.sleep(0.05)
            elif self.end_text is not None:
                if self.exchange.is_chunked:
                    await self.write(self.end_text.encode())
                    self.exchange.write(b"0\r\n\r\n")
                    return
                self.is_silent = True
            else:
                await self.flush()
                if now >= beats_at:
                    await self.write(b"{}\n")
                    beats_at += self.nomad.heartbeat_s / self.nomad.hurry
                await self.sleep(min(0.5, max(0.0, beats_at - time.monotonic())))
            if self.closes_at is not None and time.monotonic() >= self.closes_at:
                return

    async def flush(self):
        while self.queue:
            index, events = self.queue.popleft()
            wanted = self.wanted(events)
            if wanted and self.has_expired:
                self.end(EXPIRED)
                return
            if wanted:
                await self.write(encode_frame({"Index": index, "Events": wanted}))

    async def sleep(self, seconds):
        if not self.queue:
            self.wakeup.clear()
            try:
                await asyncio.wait_for(self.wakeup.wait(), seconds)
            except asyncio.TimeoutError:
                pass
