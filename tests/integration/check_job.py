#!/usr/bin/env python3
"""Holds the job file and the ACL policy in nomad/ against what Nomad's scheduler demands and what this
daemon relies on. It reads HCL itself (blocks, attributes, expressions as text), so that it needs no
Nomad and no network. At the end every rule is tried on a file that breaks it: a rule that cannot fail
shows nothing."""
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
JOB = ROOT / "nomad" / "nomad-dns.nomad.hcl"
POLICY = ROOT / "nomad" / "nomad-dns.policy.hcl"

SOCKET_PATH_MAX = 107  # sun_path without its NUL
# The longest usual place of a task's API socket; the UUID of an allocation has 36 characters.
SOCKET_PATH = "/opt/nomad/data/alloc/" + "0" * 36 + "/{task}/secrets/api.sock"
# Blocks the scheduler refuses in a system job.
NOT_IN_SYSTEM_JOBS = {"spread", "affinity", "reschedule", "migrate"}
# Attributes of a check that only Consul's services have.
NOT_IN_NOMAD_CHECKS = {"on_update", "expose", "success_before_passing", "failures_before_critical"}

# ---- HCL, as much of it as a job file has ----

TOKEN = re.compile(r"""
    (?P<space>[ \t\r]+|\#[^\n]*|//[^\n]*|/\*.*?\*/)
  | (?P<newline>\n)
  | (?P<string>"(?:\\.|\$\{[^}\n]*\}|[^"\\\n])*")
  | (?P<number>-?\d+(?:\.\d+)?)
  | (?P<word>[A-Za-z_][\w-]*)
  | (?P<mark>==|!=|<=|>=|&&|\|\||=>|[{}\[\]()=,.:?!<>+*/%-])
""", re.X | re.S)


class BadHcl(Exception):
    pass


class Block:
    """`kind "label" { … }`: attributes by name, blocks in order."""

    def __init__(self, kind, labels, line):
        self.kind, self.labels, self.line = kind, labels, line
        self.attributes, self.blocks = {}, []

    def all(self, kind, label=None):
        return [b for b in self.blocks if b.kind == kind and (label is None or b.labels == [label])]

    def one(self, kind, label=None):
        found = self.all(kind, label)
        return found[0] if len(found) == 1 else Block(kind, [], self.line)

    def get(self, name):
        return self.attributes.get(name)

    def walk(self):
        yield self
        for block in self.blocks:
            yield from block.walk()


def tokenize(text):
    tokens, at, line = [], 0, 1
    while at < len(text):
        match = TOKEN.match(text, at)
        if not match:
            raise BadHcl(f"line {line}: cannot read {text[at:at + 20]!r}")
        if match.lastgroup != "space":
            tokens.append((match.lastgroup, match.group(), line))
        line += match.group().count("\n")
        at = match.end()
    return tokens + [("newline", "\n", line), ("end", "", line)]


class Parser:
    def __init__(self, text):
        self.tokens = tokenize(text)
        self.at = 0

    def take(self):
        token = self.tokens[self.at]
        self.at += 1
        return token

    def expression(self):
        """The text of an expression: up to the end of the line, brackets closed."""
        parts, open_brackets = [], []
        while True:
            kind, text, line = self.take()
            if kind == "end":
                raise BadHcl(f"line {line}: the file ends inside {open_brackets or 'an expression'}")
            if kind == "newline" and not open_brackets:
                break
            if text in ("{", "[", "("):
                open_brackets.append(text)
            elif text in ("}", "]", ")"):
                if not open_brackets or open_brackets.pop() + text not in ("{}", "[]", "()"):
                    raise BadHcl(f"line {line}: {text} closes nothing")
            if kind != "newline":
                parts.append(text)
        if not parts:
            raise BadHcl(f"line {line}: a value is missing")
        return " ".join(parts)

    def body(self, block, is_file):
        while True:
            kind, name, line = self.take()
            if kind == "newline":
                continue
            if kind == "end" and is_file or name == "}" and not is_file:
                return block
            if kind != "word":
                raise BadHcl(f"line {line}: {name or 'the end'!r} stands where a name should")
            if self.tokens[self.at][1] == "=":
                self.at += 1
                if name in block.attributes:
                    raise BadHcl(f"line {line}: {name} is there twice")
                block.attributes[name] = self.expression()
            else:
                block.blocks.append(self.block(name, line))

    def block(self, kind, line):
        labels = []
        while self.tokens[self.at][0] == "string":
            labels.append(self.take()[1][1:-1])
        _, text, mark_line = self.take()
        if text != "{":
            raise BadHcl(f"line {mark_line}: {kind} is neither an attribute nor a block")
        return self.body(Block(kind, labels, line), False)


def parse(text):
    return Parser(text).body(Block("file", [], 1), True)


# ---- the rules: each yields what is wrong ----

def seconds(text):
    match = re.fullmatch(r'"(\d+)(ms|s|m|h)"', text or "")
    return int(match[1]) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[match[2]] if match else None


def number(text):
    return int(text) if re.fullmatch(r"\d+", text or "") else 0


def default_of(file, name):
    """The default of a variable, as text."""
    return file.one("variable", name).get("default")


def strings(text):
    return re.findall(r'"([^"]*)"', text or "")


def rule_variables(file, text):
    declared = {b.labels[0] for b in file.all("variable")}
    used = set(re.findall(r"\bvar\.(\w+)", text))
    for name in sorted(declared ^ used):
        yield f"variable {name} is " + ("used but not declared" if name in used else "never used")


def rule_system_job(file, text):
    job = file.one("job", "nomad-dns")
    if job.get("type") != '"system"':
        yield 'the job is not type = "system"'
    if job.get("node_pool") != '"all"':
        yield 'the job is not in node_pool = "all": it would miss every pool but "default"'
    if not any(b.get("value") == '"linux"' for b in job.all("constraint")):
        yield "nothing keeps the job on Linux"
    for block in job.walk():
        if block.kind in NOT_IN_SYSTEM_JOBS:
            yield f"line {block.line}: a system job has no {block.kind}"
        if block.kind == "group" and block.get("count") not in (None, "1"):
            yield f"line {block.line}: a system job's group has a count of 1"


def rule_update(file, text):
    update = file.one("job").one("update")
    times = [seconds(update.get(name)) for name in ("min_healthy_time", "healthy_deadline")]
    if update.get("max_parallel") != "1":
        yield "update goes over more than one node at a time"
    if None in times or not times[0] < times[1] < 600:
        yield "update: min_healthy_time < healthy_deadline < progress_deadline (10m) does not hold"


def rule_restart(file, text):
    restart = file.one("job").one("group").one("restart")
    delay, interval = seconds(restart.get("delay")), seconds(restart.get("interval"))
    if restart.get("mode") != '"delay"':
        yield "a system job that gives up restarting stays down: restart wants mode = \"delay\""
    if not delay or not interval or interval < 5 or number(restart.get("attempts")) * delay > interval:
        yield "restart: the attempts do not fit into the interval (of at least 5s)"


def rule_ports(file, text):
    network = file.one("job").one("group").one("network")
    options = strings(default_of(file, "options"))
    listens = [o for o in options if o.startswith("--listen=")]
    dns = network.one("port", "dns").get("static")
    if network.get("mode") != '"host"':
        yield "the network is not the host's: its programs could not ask on 127.0.0.1"
    if not dns or not all(o.endswith(f":{dns}") for o in listens) or not listens:
        yield f"port \"dns\" ({dns}) is not what the options listen on ({listens})"
    if number(dns) < 1024:
        yield "port \"dns\" needs a capability that the job does not ask for"
    if not any(o.startswith("--admin=") for o in options) \
            and network.one("port", "admin").get("static") != "9153":
        yield "port \"admin\" is not the daemon's default, 9153"


def rule_service(file, text):
    service = file.one("job").one("group").one("service")
    checks = {b.get("path"): b for b in service.all("check")}
    if service.get("provider") != '"nomad"' or service.get("port") != '"admin"':
        yield "the service is not Nomad's own, at port admin"
    if service.get("address") != '"127.0.0.1"':
        yield "the checks would ask the host's address, and the admin server is on loopback: " \
              "the service wants address = \"127.0.0.1\""
    for path in ('"/health"', '"/ready"'):
        if path not in checks:
            yield f"there is no check on {path}"
    for path, check in checks.items():
        if check.get("type") not in ('"http"', '"tcp"'):
            yield f"check {path}: Nomad's own checks are http or tcp"
        for name in NOT_IN_NOMAD_CHECKS & set(check.attributes):
            yield f"check {path}: {name} is for Consul's services only"
        timeout, interval = seconds(check.get("timeout")), seconds(check.get("interval"))
        if not timeout or not interval or timeout > interval:
            yield f"check {path}: its timeout is longer than its interval"
        if bool(check.all("check_restart")) != (path == '"/health"'):
            yield f"check {path}: check_restart belongs to /health alone; on /ready it would " \
                  "restart every resolver when Nomad's servers are away"


def rule_shutdown(file, text):
    group = file.one("job").one("group")
    if not seconds(group.get("shutdown_delay")):
        yield "the group has a service but no shutdown_delay (Nomad 2.0 warns)"
    if group.one("task").get("kill_signal") not in ('"SIGTERM"', '"SIGINT"'):
        yield "kill_signal is none the daemon stops for"


def rule_task(file, text):
    tasks = file.one("job").one("group").all("task")
    if len(tasks) != 1:
        yield "there is not exactly one task"
        return
    path = SOCKET_PATH.format(task=tasks[0].labels[0])
    if len(path) > SOCKET_PATH_MAX:
        yield f"the task's name is too long: the Task API's socket would be {len(path)} bytes of path"
    identity = tasks[0].one("identity")
    if identity.get("env") != "true" or identity.get("file") != "true" or identity.labels:
        yield "the task wants its default identity with env = true (it brings NOMAD_UNIX_ADDR) and " \
              "file = true (it is the token)"
    if "ttl" in identity.attributes:
        yield "the default identity has no ttl"
    if tasks[0].one("config").get("command") is None:
        yield "the task has no command"
    if not 64 <= number(tasks[0].one("resources").get("memory")) <= 512:
        yield "memory is out of proportion (64 to 512 MB)"


def rule_command(file, text):
    default = default_of(file, "command")
    makefile = (ROOT / "Makefile").read_text()
    prefix = re.search(r"^PREFIX \?= (\S+)", makefile, re.M)[1]
    directory = re.search(r"^SBINDIR \?= (\S+)", makefile, re.M)[1].replace("$(PREFIX)", prefix)
    if default != f'"{directory}/nomad-dns"':
        yield f"command is {default}, but make install puts the binary into {directory}"


def rule_policy(file, text):
    namespaces = file.all("namespace")
    if [b.labels for b in namespaces] != [["*"]] or len(file.blocks) != 1:
        yield "the policy is not about namespace \"*\" alone"
    elif namespaces[0].attributes != {"capabilities": '[ "read-job" ]'}:
        yield "the policy gives something else than read-job, which is all that is needed"


JOB_RULES = [rule_variables, rule_system_job, rule_update, rule_restart, rule_ports, rule_service,
             rule_shutdown, rule_task, rule_command]
POLICY_RULES = [rule_policy]

# What is changed, and the rule that must notice.
BROKEN_JOBS = [
    ("var.driver", "var.drive", rule_variables),
    ('"system"', '"service"', rule_system_job),
    ('node_pool   = "all"', 'node_pool   = "default"', rule_system_job),
    ('group "dns" {', 'spread {\n}\ngroup "dns" {', rule_system_job),
    ('group "dns" {', 'group "dns" {\ncount = 2', rule_system_job),
    ('"linux"', '"windows"', rule_system_job),
    ("max_parallel     = 1", "max_parallel     = 5", rule_update),
    ('healthy_deadline = "2m"', 'healthy_deadline = "1s"', rule_update),
    ('mode     = "delay"', 'mode     = "fail"', rule_restart),
    ("attempts = 10", "attempts = 100", rule_restart),
    ("static = 1053", "static = 1054", rule_ports),
    ("static = 9153", "static = 9154", rule_ports),
    ("1053", "53", rule_ports),
    ('mode = "host"', 'mode = "bridge"', rule_ports),
    ('provider = "nomad"', 'provider = "consul"', rule_service),
    ('address  = "127.0.0.1"', 'address  = "10.0.0.1"', rule_service),
    ('"/health"', '"/healthz"', rule_service),
    ('path     = "/ready"', 'path     = "/ready"\ncheck_restart {\n}', rule_service),
    ('path     = "/ready"', 'path     = "/ready"\non_update = "ignore_warnings"', rule_service),
    ('type     = "http"', 'type     = "grpc"', rule_service),
    ('timeout  = "2s"', 'timeout  = "20s"', rule_service),
    ('shutdown_delay = "1s"', 'shutdown_delay = "0s"', rule_shutdown),
    ('"SIGTERM"', '"SIGUSR1"', rule_shutdown),
    ('task "dns"', 'task "dns-for-everybody-in-this-cluster"', rule_task),
    ("env  = true", "env  = false", rule_task),
    ("file = true", 'file = true\nttl = "1h"', rule_task),
    ("memory = 128", "memory = 8", rule_task),
    ('"/usr/local/sbin/nomad-dns"', '"/opt/nomad-dns"', rule_command),
]
BROKEN_POLICIES = [
    ('"read-job"', '"read-job", "submit-job"', rule_policy),
    ('namespace "*"', 'namespace "default"', rule_policy),
    ('namespace "*" {', 'operator {\n}\nnamespace "*" {', rule_policy),
]
MISSING = ["{", "}", "[", '"', "= "]


def findings(text, rules):
    try:
        file = parse(text)
    except BadHcl as error:
        return [("syntax", str(error))]
    return [(rule, words) for rule in rules for words in rule(file, text)]


def check_rules(text, rules, broken):
    """A file that breaks a rule is noticed by that rule; one that is not HCL by the reader."""
    for before, after, rule in broken:
        changed = text.replace(before, after)
        if changed == text:
            yield f"{rule.__name__} cannot be tried: {before!r} is not in the file"
        elif rule not in [r for r, _ in findings(changed, rules)]:
            yield f"{rule.__name__} does not notice {after!r}"
    body = re.sub(r"^#.*$", "", text, flags=re.M)
    for mark in MISSING:
        if "syntax" not in [r for r, _ in findings(body.replace(mark, "", 1), [])]:
            yield f"a missing {mark!r} is not noticed"


def main():
    problems = []
    for path, rules, broken in ((JOB, JOB_RULES, BROKEN_JOBS), (POLICY, POLICY_RULES, BROKEN_POLICIES)):
        text = path.read_text()
        problems += [f"{path.name}: {words}" for _, words in findings(text, rules)]
        problems += [f"{path.name}: {words}" for words in check_rules(text, rules, broken)]
    for problem in problems:
        print(f"job: {problem}", file=sys.stderr)
    if not problems:
        print(f"job: {len(JOB_RULES) + len(POLICY_RULES)} rules hold, "
              f"{len(BROKEN_JOBS) + len(BROKEN_POLICIES)} broken files were noticed")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
