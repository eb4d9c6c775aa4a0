"""The scripted resolver over TLS (RFC 7858), with what can go wrong with a connection."""

import asyncio
import ssl
import struct
import warnings

from fake_upstream import CLOSE, FakeUpstream


class FakeDot(FakeUpstream):
    """FakeUpstream whose TCP port speaks TLS with that (key, certificate); its UDP port is there to see what should
    not come. `trouble` is None or one of:

        clear       TCP without TLS
        mute        takes the connection and says nothing
        eof         takes the connection and closes it
        reverse     holds replies back until `batch` questions are there, answers the last one first
    """

    def __init__(self, certificate, trouble=None, close_after=None, batch=1, tls_max=None, **args):
        super().__init__(**args)
        self.certificate = certificate
        self.trouble = trouble
        self.close_after = close_after
        self.batch = batch
        self.tls_max = tls_max
        self.connections = []  # {"resumed", "version", "sni", "questions", "is_open", "blocks"}
        self.accepted = 0

    def context(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        key, certificate = self.certificate
        context.load_cert_chain(certificate, key)
        if self.tls_max:
            context.set_ciphers("DEFAULT@SECLEVEL=0")
            with warnings.catch_warnings():  # Python too has had enough of the old ones
                warnings.simplefilter("ignore", DeprecationWarning)
                context.minimum_version = ssl.TLSVersion.TLSv1
                context.maximum_version = self.tls_max
        context.sni_callback = self.on_sni
        return context

    @staticmethod
    def on_sni(connection, name, _):
        connection.asked_for = name

    def forward(self, name=None):
        """What to give to --forward."""
        return f"tls://{self.address}" + (f"#{name}" if name else "")

    async def listen(self):
        await super().listen()
        if self.trouble == "clear":
            return
        self.loop.set_exception_handler(lambda loop, context: None)  # clients that hang up are what is tested
        self.tcp_server.close()
        await self.tcp_server.wait_closed()
        handler, context = self.on_tls, self.context()
        if self.trouble in ("mute", "eof"):
            handler, context = self.on_nothing, None
        self.tcp_server = await asyncio.start_server(handler, self.host, self.port, ssl=context)

    async def on_nothing(self, reader, writer):
        self.accepted += 1
        if self.trouble == "mute":
            while await reader.read(4096):
                pass
        writer.close()

    async def on_tls(self, reader, writer):
        tls = writer.get_extra_info("ssl_object")
        state = {"resumed": tls.session_reused, "version": tls.version(), "questions": 0, "is_open": True,
                 "sni": getattr(tls, "asked_for", None), "blocks": set()}
        self.connections.append(state)
        peer = writer.get_extra_info("peername")
        held = []
        try:
            while True:
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                wire = await reader.readexactly(length)
                state["questions"] += 1
                state["blocks"].add(length)
                sends = self.judge(wire, "tls", peer)
                held.append(sends)
                if len(held) >= self.batch:
                    for batch in reversed(held):
                        self.loop.create_task(self.send_all(batch, writer))
                    held = []
                if self.close_after and state["questions"] >= self.close_after:
                    await asyncio.sleep(0.05)
                    return
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        finally:
            state["is_open"] = False
            writer.close()

    @staticmethod
    async def send_all(sends, writer):
        for send in sends:
            if send is CLOSE:
                writer.close()
                return
            if send.delay_s:
                await asyncio.sleep(send.delay_s)
            if writer.is_closing():
                return
            writer.write(struct.pack("!H", len(send.data)) + send.data)

    def seen(self):
        """The connections so far."""
        return self.call(lambda: [dict(state) for state in self.connections])

    def hang_up(self):
        """Closes all connections, and goes on listening."""
        async def close():
            for task in asyncio.all_tasks():
                if task is not asyncio.current_task() and "on_tls" in repr(task.get_coro()):
                    task.cancel()
        self.wait(close())
