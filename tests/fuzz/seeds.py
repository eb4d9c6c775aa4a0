#!/usr/bin/env python3
"""Writes the seeds of the fuzz harnesses: bodies from fixtures/, packets and texts made here.

    seeds.py DIRECTORY        one folder per harness: DIRECTORY/question, DIRECTORY/json …
"""
import hashlib
import struct
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
A, NS, CNAME, SOA, PTR, TXT, AAAA, SRV, OPT, RRSIG, TSIG, AXFR, ANY = \
    1, 2, 5, 6, 12, 16, 28, 33, 41, 46, 250, 252, 255
HERE = b"\xc0\x0c"


def wire(text):
    labels = [part.encode() for part in text.strip(".").split(".") if part]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def record(owner, rtype, rdata, ttl=30, rclass=1):
    return owner + struct.pack("!HHIH", rtype, rclass, ttl, len(rdata)) + rdata


def opt(*options, size=1232, flags=0x8000, version=0, extended=0):
    rdata = b"".join(struct.pack("!HH", code, len(data)) + data for code, data in options)
    return b"\0" + struct.pack("!HHBBHH", OPT, size, extended, version, flags, len(rdata)) + rdata


def message(name, qtype, answer=(), authority=(), additional=(), flags=0x0100, qclass=1, counts=None):
    counts = counts or (1, len(answer), len(authority), len(additional))
    return struct.pack("!HH4H", 0x1234, flags, *counts) + wire(name) + \
        struct.pack("!HH", qtype, qclass) + b"".join((*answer, *authority, *additional))


def questions():
    for name in ("redis.default.nomad", "_http._tcp.web.default.service.nomad", "nomad", "",
                 "MiXeD.Default.NOMAD", "4.3.2.1.in-addr.arpa", "a" * 63 + ".default.nomad",
                 ".".join(["a" * 63] * 3 + ["b" * 61]), ".".join("a" * 127)):
        for qtype in (A, AAAA, SRV, ANY):
            yield message(name, qtype)
    cookie = bytes(range(8))
    for options in ([], [(10, cookie)], [(10, cookie * 3)], [(10, cookie[:5])], [(3, b"")],
                    [(11, b"")], [(11, b"\0\1")], [(15, b"\0\3")], [(100, b"x")], [(12, bytes(64))],
                    [(8, b"\0\1\x18\0\x7f\0\0")], [(10, cookie), (3, b""), (11, b"")]):
        yield message("redis.default.nomad", A, additional=[opt(*options)])
    edns = opt()
    yield message("x.nomad", A, additional=[edns, edns])
    yield message("x.nomad", A, additional=[opt(version=1)])
    yield message("x.nomad", A, additional=[opt(size=100)])
    yield message("x.nomad", A, additional=[opt(size=65535)])
    yield message("x.nomad", A, additional=[opt(extended=1)])
    yield message("x.nomad", A, additional=[record(wire("k"), TSIG, wire("hmac-sha256") + bytes(16), rclass=255)])
    yield message("x.nomad", A, additional=[record(wire("k"), TSIG, b"")] * 2)
    yield message("version.bind", TXT, qclass=3)
    yield message("x.nomad", AXFR)
    yield message("x.nomad", A, counts=(2, 0, 0, 0))
    yield message("x.nomad", A, counts=(0, 0, 0, 1))
    yield message("x.nomad", A, counts=(65535,) * 4)
    yield message("x.nomad", A) + b"trailing"
    yield message("x.nomad", A)[:-3]
    for opcode in range(16):
        yield message("x.nomad", A, flags=opcode << 11)
    yield message("x.nomad", A, flags=0x8180)
    yield struct.pack("!HH4H", 1, 0x0100, 1, 0, 0, 0) + b"\xc0\x0c\0\1\0\1"
    yield struct.pack("!HH4H", 1, 0x0100, 0, 0, 0, 1) + opt((10, cookie))


def replies():
    soa = wire("ns.example") + wire("host.example") + struct.pack("!5I", 1, 2, 3, 4, 60)
    address = record(HERE, A, bytes([192, 0, 2, 1]))
    ok, name = 0x8180, "www.example.org"
    yield message(name, A, [address], flags=ok)
    yield message(name, A, [address] * 40, additional=[opt()], flags=ok)
    yield message(name, AAAA, [record(HERE, AAAA, bytes(16))], additional=[opt((15, b"\0\3stale"))], flags=ok)
    yield message(name, A, [record(HERE, CNAME, b"\3web\xc0\x10"), record(b"\xc0\x2d", A, bytes(4))], flags=ok)
    yield message(name, A, authority=[record(b"\xc0\x10", SOA, soa)], flags=ok | 3)
    yield message(name, A, authority=[record(b"\xc0\x10", SOA, soa)], additional=[opt()], flags=ok)
    yield message(name, A, flags=ok | 3)
    yield message(name, A, additional=[opt(extended=1)], flags=ok)
    yield message(name, A, [address], flags=ok | 0x0200)
    yield message(name, SRV, [record(HERE, SRV, struct.pack("!3H", 0, 0, 80) + b"\1a" + HERE)], flags=ok)
    yield message(name, TXT, [record(HERE, TXT, b"\5hello" * 20)], flags=ok)
    yield message(name, 15, [record(HERE, 15, b"\0\1" + b"\2mx" + HERE)], flags=ok)
    yield message(name, NS, [record(HERE, NS, b"\2ns" + HERE)], additional=[record(b"\xc0\x2d", A, bytes(4))], flags=ok)
    yield message(name, RRSIG, [record(HERE, RRSIG, bytes(18) + wire("example.org") + bytes(64))], flags=ok)
    yield message(name, 65280, [record(HERE, 65280, b"anything")], flags=ok)
    yield message(name, A, [record(HERE, A, bytes(4), ttl=0xffffffff)], flags=ok)
    yield message(name, A, [record(HERE, 39, wire("else.example"))], flags=ok)
    # RFC 9267: pointers that loop, look forward, lie; lengths and counts that are not true
    yield message(name, A, [record(b"\xc0\x21", A, bytes(4))], flags=ok)
    yield message(name, A, [record(b"\xc0\xff", A, bytes(4))], flags=ok)
    yield message(name, A, [record(b"\xc0\x00", A, bytes(4))], flags=ok)
    yield message(name, CNAME, [record(HERE, CNAME, b"\xc0\x2d")], flags=ok)
    yield message(name, A, [address[:-2]], flags=ok)
    yield message(name, A, [address], flags=ok, counts=(1, 65535, 65535, 65535))
    yield message(name, A, [record(HERE, A, bytes(4)), address[:-4] + b"\xff"], flags=ok)
    yield message(name, A, [address], additional=[opt(), opt()], flags=ok)
    yield message(name, SOA, [record(HERE, SOA, b"\0\0" + bytes(20))], flags=ok)


def json_bodies():
    """First byte: which reader (0: a service's instances, 1: the list of names, 2: a frame of the stream)."""
    for path in sorted((ROOT / "fixtures").rglob("*.json")):
        body = path.read_bytes()
        if len(body) < 64 * 1024:
            yield (b"1" if "services" in path.name else b"0") + body
    for path in sorted((ROOT / "fixtures").rglob("*.http")):
        _, _, body = path.read_bytes().replace(b"\r\n", b"\n").partition(b"\n\n")
        if body.startswith(b"[") and len(body) < 64 * 1024:
            yield (b"1" if "services" in path.name else b"0") + body
    for text in ("[]", "null", "{}", "[{}]", "[[]]", '[{"Address":"10.0.0.1","Port":80,"Tags":["a"]}]',
                 '[{"Namespace":"default","Services":[{"ServiceName":"web","Tags":["a","b"]}]}]',
                 '[{"Address":"\\u0000","Port":1e999}]', "[" * 1200, '[{"Address":"\\ud83d\\ude00"}] x',
                 '[{"Address":"::1","Port":-1,"Tags":null},]', '[{"Address": 7}]'):
        yield b"0" + text.encode()
        yield b"1" + text.encode()
    for path in sorted((ROOT / "fixtures").rglob("*stream*")):
        lines = [line for line in path.read_bytes().splitlines() if line.startswith(b"{") and len(line) < 16 * 1024]
        for line in lines[:6]:
            yield b"2" + line
    for text in ("{}", '{"Index":18446744073709551616}', '{"Events":[{"Index":1e3}]}', '{"Events":[{}],"Events":7}',
                 '{"Events":[{"Index":5,"Payload":{"Service":{"Address":"10.0.0.1"}}}],"Index":5} x'):
        yield b"2" + text.encode()


def zones():
    """A byte of type and a name on the first line, then a body."""
    asked = [(A, "web.default.nomad"), (SRV, "_web._tcp.default.nomad"), (AAAA, "six.web.default.nomad"),
             (SRV, "_web._http.default.nomad"), (A, "10-20-0-11.web.default.nomad"), (SOA, "nomad"),
             (ANY, "web.default.nomad"), (A, "default.nomad"), (TXT, "nothing.default.nomad"),
             (PTR, "11.0.20.10.in-addr.arpa"), (A, "ns.nomad")]
    for body in json_bodies():
        if body[:1] == b"0":
            for qtype, name in asked[:4]:
                yield bytes([qtype]) + name.encode() + b"\n" + body[1:]
    many = ",".join('{"Address":"10.%d.%d.1","Port":%d,"Tags":["http","six"]}' % (i // 200, i % 200, i) for i in range(80))
    for qtype, name in asked:
        yield bytes([qtype]) + name.encode() + b"\n[" + many.encode() + b"]"
        yield bytes([qtype]) + name.encode() + b'\n[{"Address":"2001:db8::1","Port":80,"Tags":["Six","10-20-0-11"]},' \
            b'{"Address":"db.example.net","Port":5432},{"Address":"10.20.0.11","Port":0,"Tags":["v1","v1"]}]'


def http_heads():
    for path in sorted((ROOT / "fixtures").rglob("*.http")):
        yield path.read_bytes().partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    yield b"HTTP/1.1 200 OK\nx-nomad-index:18446744073709551616\nX-Nomad-Index: -1\nX-Nomad-Index : 7\r\n"
    yield b"HTTP/1.1 429 \r\nRetry-After: 120\r\nRetry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\n\r\n"


def config_files():
    yield b'listen = ["127.0.0.1:1053", "[::1]:1053"]\nttl = "10s"\n# a comment\nzone = "nomad"\n'
    yield b'forward = ["192.0.2.1", "consul=127.0.0.1:8600", "none"] // x\ncache-size = "8MiB"\n'
    yield b'nomad-address = "unix:///run/nomad.sock"\nreverse = on\nworkers = 2\n'
    yield b'listen = [\n  "127.0.0.1",\n  "::1", # one\n]\nlog-level = "debug"\n'
    yield b'ttl = "unfinished\n= "x"\nttl "10s"\nttl = [["a"]]\n\xff\0\n'
    yield b"\xef\xbb\xbfttl = \"1s\"\r\nserver-id = \"a\\\"b\\u0041\"\r\n"


def resolv_confs():
    yield b"nameserver 127.0.0.53\nsearch lan\noptions edns0 trust-ad\n"
    yield b"# one\n; two\n nameserver\t192.0.2.1\nnameserver 2001:db8::1\nnameserver fe80::1%2\n"
    yield b"nameserver\nnameserver 1.2.3\nnameserver 1.2.3.4 5.6.7.8\r\nnameserver ::ffff:1.2.3.4"
    yield b"nameserver 10.0.0.1\n" * 20


def admin_requests():
    yield b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:9153\r\nUser-Agent: x\r\n\r\n"
    yield b"GET /v1/services?name=web&x=%20 HTTP/1.1\r\nhost: localhost\r\n\r\n"
    yield b"GET http://127.0.0.1:9153/health HTTP/1.1\r\nHost: x\r\n\r\n"
    yield b"GET / HTTP/1.0\n\n"
    yield b"POST /v1/flush?name=www.example%2Eorg HTTP/1.1\r\nHost: localhost\r\nOrigin: null\r\n\r\n"
    yield b"OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n"
    yield b"POST /health HTTP/1.1\r\nHost: [::1]:9153\r\nContent-Length: 5\r\n\r\nhello"
    yield b"GET /ready HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"
    yield b"GET /ready HTTP/2.0\r\nHost : a\r\n folded\r\n\r\n"


def names():
    for text in (b"redis.default.nomad", b".", b"a..b", b"a\\046b.c", b"\\", b"\\256", b"x" * 64,
                 b"_http._tcp.x.", b".".join([b"a" * 63] * 4), b"@", b"\\000.\\255", b"1.2.3.4"):
        yield text
        yield wire("redis.default.nomad") + text


def values():
    for text in ("192.0.2.1:53", "[2001:db8::1]:5353", "::1", "fe80::1%2", "::ffff:1.2.3.4", "10.0.0.0/8", "fd00::/7",
                 "1.2.3.4:0", "1.2.3.4:65536", "01.2.3.4", "10s", "250ms", "2h30m", "1h1h", "0", "18446744073709551615h",
                 "8MiB", "64KiB", "16EiB", "-1", "http://user:p%40ss@[::1]:4646/v1", "https://nomad.example:4646",
                 "unix:///run/nomad.sock", "unix:///" + "x" * 200, "http://", "HTTP://a:b:c", "lisen"):
        yield text.encode()


def frames():
    one, two = message("redis.default.nomad", A), message("x.nomad", SRV, additional=[opt()])
    framed = b"".join(struct.pack("!H", len(m)) + m for m in (one, two, one))
    yield b"\x01" + framed
    yield b"\x07" + framed
    yield b"\xff" + framed + b"\xff\xff" + one
    yield b"\x03\0\0\0\1x" + framed
    yield b"\x40" + struct.pack("!H", 12) + one[:11]


SEEDS = {
    "question": questions, "reply": replies, "json": json_bodies, "config_file": config_files,
    "resolv_conf": resolv_confs, "admin_request": admin_requests, "name": names, "tcp_frame": frames,
    "zone": zones, "lookup_reply": replies, "text": values, "http_head": http_heads,
}


def main():
    top = Path(sys.argv[1])
    for harness, make in SEEDS.items():
        folder = top / harness
        folder.mkdir(parents=True, exist_ok=True)
        for seed in make():
            (folder / hashlib.sha1(seed).hexdigest()).write_bytes(seed)


if __name__ == "__main__":
    main()
