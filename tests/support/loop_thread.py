"""What the fakes share: an event loop in a thread of its own, and the little HTTP they need."""

import asyncio
import json
import threading
import urllib.parse

HEAD_MAX = 1 << 16
BODY_MAX = 1 << 24


class LoopThread:
    """An asyncio program that tests drive from outside: start(), call(), stop()."""

    def __init__(self):
        self.loop = None
        self.thread = None

    async def open(self):
        """Opens sockets. Runs on the loop."""
        raise NotImplementedError

    async def close(self):
        """Closes them again. Runs on the loop."""
        raise NotImplementedError

    def start(self):
        ready = threading.Event()

        def run():
            self.loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self.loop)
            self.loop.call_soon(ready.set)
            self.loop.run_forever()
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.close()

        self.thread = threading.Thread(target=run, name=type(self).__name__, daemon=True)
        self.thread.start()
        ready.wait()
        try:
            self.wait(self.open())
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self):
        if not self.thread:
            return
        self.wait(self.shut())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.thread = None

    async def shut(self):
        await self.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def wait(self, coroutine):
        """Runs a coroutine on the loop; its result, or its exception, comes back here."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()

    def call(self, function, *args, **kwargs):
        """Runs a plain function on the loop, or at once when already there or not started."""
        if not self.thread or threading.current_thread() is self.thread:
            return function(*args, **kwargs)

        async def run():
            return function(*args, **kwargs)

        return self.wait(run())


class Request:
    """One HTTP request: `query` keeps the order and repetition of its parameters."""

    def __init__(self, method, target, headers, body):
        self.method = method
        self.target = target
        parts = target.split("?", 1)
        self.path = parts[0]
        self.query = urllib.parse.parse_qsl(parts[1] if len(parts) > 1 else "", keep_blank_values=True)
        self.headers = headers
        self.body = body
        self.size = 0  # bytes on the wire

    def get(self, name, default=None):
        """The first value of a query parameter."""
        return next((value for key, value in self.query if key == name), default)

    def get_all(self, name):
        return [value for key, value in self.query if key == name]


async def read_request(reader):
    """The next request of a connection, or None at its end."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
        return None
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/"):
        return None
    headers = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if colon:
            headers.setdefault(name.strip().lower(), value.strip())
    length = int(headers.get("content-length") or 0)
    if not 0 <= length <= BODY_MAX:
        return None
    try:
        body = await reader.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    request = Request(words[0], words[1], headers, body)
    request.size = len(head) + len(body)
    return request


async def serve_control(host, port, handle):
    """The control channel: `handle(request) → object` answered as JSON, errors as 400."""

    async def on_connection(reader, writer):
        try:
            request = await read_request(reader)
            if request:
                status, result = "200 OK", None
                try:
                    result = handle(request)
                except LookupError as error:
                    status, result = "404 Not Found", {"error": str(error)}
                except (ValueError, TypeError) as error:
                    status, result = "400 Bad Request", {"error": str(error)}
                body = json.dumps(result, indent=1).encode() + b"\n"
                writer.write(f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\n"
                             f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    return await asyncio.start_server(on_connection, host, port, limit=HEAD_MAX)
