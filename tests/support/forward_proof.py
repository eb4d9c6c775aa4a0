"""Puts one forwarder through the table of upstream_modes.py, and says row by row what is not as it should be.

`run_cases(begin, cases)`: `begin(upstream, folder)` starts a fresh server in front of a fresh scripted upstream and
returns something with `port` and `stop()`. Used by the tests of the daemon and by the comparison with others.
"""

import concurrent.futures
import tempfile
import threading
import time

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype

from fake_upstream import FakeUpstream
from upstream_modes import LIE, MODES, OWN, VICTIM, address_of

IN_TIME_S = 5.0  # glibc's first timeout; a failure must be said before
GIVE_UP_S = 8.0
AT_ONCE = 8  # cases under way


class Wrong(Exception):
    """What a row found, in words."""


def want(condition, text):
    if not condition:
        raise Wrong(text)


class Probe:
    """One case: a server, its upstream, and a name that makes the upstream behave as the case says."""

    def __init__(self, case, server, upstream):
        self.case = case
        self.mode = MODES[case.partition("=")[0]]
        self.name = f"x.{case}.mode.test"
        self.port = server.port
        self.upstream = upstream

    def ask(self, name=None, rdtype=None, tcp=False, each=False):
        """`each`: every record is a set of its own, as it stood in the message."""
        query = dns.message.make_query(name or self.name, rdtype or self.mode.rdtype, use_edns=0, payload=1232)
        exchange = dns.query.tcp if tcp else dns.query.udp
        try:
            return exchange(query, "127.0.0.1", port=self.port, timeout=GIVE_UP_S, one_rr_per_rrset=each)
        except dns.exception.Timeout:
            raise Wrong("no reply") from None
        except (dns.exception.DNSException, OSError, EOFError) as error:
            raise Wrong(f"a bad reply: {type(error).__name__}") from None

    def whole(self, reply):
        """The reply, over TCP if it does not fit a datagram."""
        return self.ask(tcp=True) if reply.flags & dns.flags.TC else reply

    def counts(self):
        """Questions that came upstream for this name: (UDP, TCP)."""
        return tuple(self.upstream.count(self.name, protocol=protocol) for protocol in ("udp", "tcp"))


def addresses(reply, rdtype=dns.rdatatype.A):
    return [record.to_text() for rrset in reply.answer if rrset.rdtype == rdtype for record in rrset]


def rcode(reply):
    return dns.rcode.to_text(reply.rcode())


# ---- what the client should see ----

def is_right(probe, reply):
    want(LIE not in addresses(reply), "a lie was believed")
    want(rcode(reply) == "NOERROR", rcode(reply))
    want(address_of(probe.name) in addresses(reply), "not the answer")


def is_single(probe, reply):
    is_right(probe, reply)
    want(len(probe.ask(each=True).answer) == 1, "more than one record")


def is_failure(probe, reply):
    want(not reply.answer, "an answer where there is none")
    want(rcode(reply) not in ("NOERROR", "NXDOMAIN"), f"a failure became {rcode(reply)}")


def is_servfail(probe, reply):
    """What the upstream said is about itself: as our own word it would be untrue."""
    want(not reply.answer and not reply.authority, "records where there is no answer")
    want(rcode(reply) == "SERVFAIL", f"a failure between us and the upstream became {rcode(reply)}")


def is_right_or_failure(probe, reply):
    if rcode(reply) == "NOERROR":
        is_right(probe, reply)
    else:
        is_failure(probe, reply)


def is_negative(expected):
    def check(probe, reply):
        want(not reply.answer and rcode(reply) == expected, f"{rcode(reply)} with {len(reply.answer)} sets of records")
    return check


def is_aliased(probe, reply):
    aliases = addresses(reply, dns.rdatatype.CNAME)
    want(rcode(reply) == "NOERROR" and len(aliases) == 3, f"{rcode(reply)} with {len(aliases)} aliases")
    want(addresses(reply) == [address_of("hop3.example.net")], "not the address at the end")


def is_chained(probe, reply):
    aliases = addresses(reply, dns.rdatatype.CNAME)
    want(rcode(reply) == "NOERROR" and len(aliases) in (12, 30), f"{rcode(reply)} with {len(aliases)} aliases")
    want(addresses(reply) == [address_of(f"hop{len(aliases)}.test")], "not the address at the end")


def is_opaque(probe, reply):
    found = [record.to_text() for rrset in reply.answer for record in rrset]
    want(found == ["\\# 11 01026f7061717565c00cff"], f"changed data: {found}")


def has_no_options(probe, reply):
    is_right(probe, reply)
    codes = [int(option.otype) for option in reply.options if option.otype not in (10, 15)]
    want(not codes, f"the upstream's options {codes}")


def has_one_ttl(probe, reply):
    want(rcode(reply) == "NOERROR" and len(addresses(reply)) == 2, rcode(reply))
    want(max(rrset.ttl for rrset in reply.answer) <= 30, "the longer TTL")


def is_with_more(probe, reply):
    is_right(probe, reply)
    want(len(addresses(reply)) == 3, "what came with TC only")


def is_many(probe, reply):
    reply = probe.whole(reply)
    args = int(probe.case.partition("=")[2] or 0)
    expected = {"oversize": 190, "dnskey": args * 1000 // 300, "medium": 50, "large": 200, "addresses": args, "kilobytes": args * 1000 // 212}
    count = sum(len(rrset) for rrset in reply.answer)
    want(rcode(reply) == "NOERROR" and count == expected[probe.case.partition("=")[0]], f"{rcode(reply)}, {count} records")


def has_no_lie(probe, reply):
    want(LIE not in addresses(reply), "a lie was passed on")
    try:
        later = probe.ask(OWN, "A")
    except Wrong:
        return
    want(LIE not in addresses(later), "a lie was kept")


def has_no_strangers(probe, reply):
    """No section says anything of the victim, or has the forged address: who is behind us may believe it."""
    for section in (reply.answer, reply.authority, reply.additional):
        for rrset in section:
            want(rrset.name.to_text() not in (VICTIM, OWN, "example.", "ns.evil.example."), f"{rrset.name} is passed on")
            want(LIE not in [record.to_text() for record in rrset], "the forged address is passed on")


def is_clean(probe, reply):
    """The answer, none of the poison, and the victim is asked for when its turn comes."""
    is_right(probe, reply)
    has_no_strangers(probe, reply)
    later = probe.ask(VICTIM, "A")
    want(LIE not in addresses(later), "the victim is poisoned")
    want(addresses(later) == [address_of(VICTIM)], f"the victim is gone: {rcode(later)}")


def is_clean_negative(probe, reply):
    has_no_strangers(probe, reply)
    later = probe.ask(VICTIM, "A")
    want(addresses(later) == [address_of(VICTIM)], f"the victim is gone: {rcode(later)}")


def is_good_beside_junk(probe, reply):
    """Junk goes, and what is good behind it stays, in each section."""
    is_clean(probe, reply)
    want([rrset.name.to_text() for rrset in reply.authority] == ["mode.test."], "AUTHORITY lost what is good")
    want([rrset.name.to_text() for rrset in reply.additional] == ["ns.mode.test."], "ADDITIONAL lost what is good")


def is_in_our_case(probe, reply):
    """Every owner that is the question's name comes back as the client wrote it."""
    is_right(probe, reply)
    name = probe.name.upper()
    for _ in range(2):
        again = probe.ask(name, each=True)
        found = {rrset.name.to_text() for rrset in again.answer}
        want(found == {name + "."}, f"owners {found}")


def is_ede(probe, reply):
    """A failure, with the upstream's own reason."""
    is_failure(probe, reply)
    codes = [int(option.code) for option in reply.options if option.otype == 15]
    want(codes == [6], f"extended errors {codes}")


def is_glue(probe, reply):
    want(len(addresses(reply, dns.rdatatype.NS)) == 2, f"{rcode(reply)}, no name servers")
    found = sorted(rrset.name.to_text() for rrset in reply.additional)
    want(found == ["ns1.example.net.", "ns2.example.net."], f"ADDITIONAL has {found}")


def has_no_ghost(probe, reply):
    """Nothing lives longer by being asked for, and what came along is no answer to a question of its own."""
    is_right(probe, reply)
    lives = [probe.ask().answer[0].ttl for _ in range(3)]
    want(lives == sorted(lives, reverse=True) and lives[0] <= 60, f"TTLs {lives}")
    probe.ask("mode.test", "NS")
    want(probe.upstream.count("mode.test") > 0, "name servers that came along are believed")
    later = probe.ask("ns.mode.test", "A")
    want(LIE not in addresses(later), "an address that came along is believed")


def is_cross(probe, reply):
    is_right(probe, reply)


REPLIES = {
    "right": is_right, "single": is_single, "failure": is_failure, "servfail": is_servfail,
    "right-or-failure": is_right_or_failure,
    "nxdomain": is_negative("NXDOMAIN"), "nodata": is_negative("NOERROR"), "aliased": is_aliased,
    "chained": is_chained, "opaque": is_opaque,
    "no-options": has_no_options, "one-ttl": has_one_ttl, "with-more": is_with_more, "many": is_many,
    "no-lie": has_no_lie, "clean": is_clean, "clean-negative": is_clean_negative,
    "good-beside-junk": is_good_beside_junk, "our-case": is_in_our_case, "ede": is_ede, "glue": is_glue,
    "no-ghost": has_no_ghost, "cross": is_cross,
}


# ---- one case ----

def companion(probe):
    """Another question under way, for a forger to aim at; what came of it."""
    found = []
    name = "companion.slow=700.mode.test"

    def run():
        try:
            found.extend(addresses(probe.ask(name, "A")))
        except Wrong as wrong:
            found.append(str(wrong))

    thread = threading.Thread(target=run)
    thread.start()
    deadline = time.monotonic() + 5
    while not probe.upstream.count(name) and time.monotonic() < deadline:
        time.sleep(0.01)

    def result():
        thread.join()
        want(found == [address_of(name)], f"the other question got {found}")
    return result


def check_reply(probe, found):
    """Asks once. `found` gets what is wrong with the reply."""
    after = companion(probe) if probe.mode.reply == "cross" else None
    began = time.monotonic()
    reply = None
    try:
        reply = probe.ask()
        took = time.monotonic() - began
        REPLIES[probe.mode.reply](probe, reply)
        want(took < IN_TIME_S, f"after {took:.1f} s")
    except Wrong as wrong:
        found.append(f"reply: {wrong}")
    if after:
        try:
            after()
        except Wrong as wrong:
            found.append(f"reply: {wrong}")
    return reply


def check_counts(probe, found):
    for count, limit, protocol in zip(probe.counts(), (probe.mode.udp, probe.mode.tcp), ("UDP", "TCP")):
        if count > limit:
            found.append(f"packets: {count} over {protocol}, allowed {limit}")


def check_cache(probe, found):
    before = probe.counts()
    try:
        probe.whole(probe.ask())
    except Wrong:
        return  # said already, or the reply's business
    is_asked = probe.counts() != before
    if probe.mode.is_cached is not None and is_asked == probe.mode.is_cached:
        found.append("cache: asked upstream again" if is_asked else "cache: kept what must not be kept")


def check_life(probe, found):
    """Whatever one name did, another is answered."""
    try:
        reply = probe.ask("fine.example.org", "A")
        want(addresses(reply) == [address_of("fine.example.org")], rcode(reply))
    except Wrong as wrong:
        found.append(f"afterwards: another name got {wrong}")


def run_case(begin, case):
    """What is wrong with this server in this case; nothing: it passes."""
    found = []
    with FakeUpstream() as upstream, tempfile.TemporaryDirectory() as folder:
        server = begin(upstream, folder)
        try:
            probe = Probe(case, server, upstream)
            if probe.mode.before:
                getattr(upstream, probe.mode.before)()
            check_reply(probe, found)
            check_counts(probe, found)
            if probe.mode.is_cached is not None:
                check_cache(probe, found)
            if probe.mode.before != "down":
                check_life(probe, found)
        finally:
            server.stop()
    return found


def run_cases(begin, cases, at_once=AT_ONCE):
    """{case: what is wrong}; an exception of `begin` is a finding of that case."""
    def run(case):
        try:
            return run_case(begin, case)
        except (AssertionError, OSError) as error:
            return [f"did not run: {error}"]

    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        return dict(zip(cases, pool.map(run, cases)))
