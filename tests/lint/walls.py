#!/usr/bin/env python3
"""The walls of the house: who may include whom, what stands behind which door, how long a file or
a function may be, which functions are banned, that both compilers and the formatter agree.

    walls.py -- CFLAGS...      (make lint)

Each finding is one line: file:line: what is wrong; how to mend it. Exit code 1 if there is any.
Lines that begin with "note:" only want to be talked about.
"""
import ast
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# ---- the tables ----

# Room → the rooms (or single headers) it may include. A room may always include itself.
# src/main.c, src/daemon*.c and src/pipeline*.c are rooms of their own.
STAGES = ["nomad", "cache", "forward"]
GROUND = ["query", "dns", "config", "base"]
MAY_INCLUDE = {
    "main": ["daemon", "verbs", "config", "base"],
    "daemon": ["listen", "admin", "verbs", "pipeline", *STAGES, *GROUND],
    "verbs": ["nomad/http.h", "nomad/json.h", "listen/sockets.h", "forward/upstream.h", *GROUND],
    "listen": ["pipeline", "nomad/need.h", "nomad/zone.h", "forward/upstream.h", *GROUND],
    "admin": ["dns", "config", "base"],
    "pipeline": ["nomad/nomad_stage.h", "nomad/hosts.h", "nomad/need.h", "nomad/zone.h",
                 "cache/cache_stage.h", "forward/forward_stage.h", "forward/upstream.h", *GROUND],
    "nomad": GROUND,
    "cache": GROUND,
    "forward": GROUND,
    "query": ["config", "dns", "base"],
    "config": ["dns", "base"],
    "dns": ["base"],
    "base": [],
}

# A library's header → the only file of src/ that may include it.
DOORS = {
    r"curl/.*": "src/nomad/http.c",
    r"(cjson/)?cJSON\.h": "src/nomad/json.c",
    r"ldns/.*": "src/dns/records.c",
    r"openssl/.*": "src/forward/tls.c",
}

# Files that know no loop: uv.h must not reach them, not even through another header.
PURE = [r"src/(base|dns|config|cache|query)/.*", r"src/nomad/(json|catalogue|zone|need)[a-z_]*\.[ch]",
        r"src/forward/(upstream|upstream_list|failures|loop|turns|works)\.[ch]"]

BANNED = {
    "strcpy": "str_format or memcpy with a checked length",
    "strcat": "buf_puts or str_format",
    "sprintf": "str_format",
    "vsprintf": "vsnprintf",
    "strtok": "strcspn and a length",
    "gets": "read with a length",
    "atoi": "str_parse_uint",
    "atol": "str_parse_uint",
    "rand": "hash_dice_roll, or hash_random for what must not be guessed",
    "random": "hash_dice_roll, or hash_random for what must not be guessed",
    "localtime": "clock_wall_s; localtime_r if a local time is meant",
    "assert": "a guard that returns an error",
    "sleep": "a timer of the loop",
    "usleep": "a timer of the loop",
    "alloca": "a fixed array or the heap",
    "getaddrinfo": "an address; names are resolved by the http door, off the loop",
    "gethostbyname": "an address; names are resolved by the http door, off the loop",
}
BANNED_IN_TESTS = ["strcpy", "strcat", "sprintf", "vsprintf", "strtok", "gets", "atoi", "rand"]

FILE_LINES_MAX = 600
FILE_LINES_TALK = 450
FILE_LINES_OF = {"src/main.c": 150, "src/pipeline.c": 250}
HEADER_LINES_TALK = 120
FUNCTION_LINES_MAX = 100

# Words that do not land without the number of an issue beside them.
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b(?!.*#\d)")

# ---- reading C ----

TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)


def blank(match):
    """Comments, strings and characters become spaces; lines stay where they are."""
    return re.sub(r"[^\n]", " ", match.group(0))


def line_of(text, at):
    return text.count("\n", 0, at) + 1


def room_of(name):
    """The room of "room/file.h" or, without a folder, of "room.h" and "room_part.h"."""
    return name.split("/")[0] if "/" in name else Path(name).stem.split("_")[0]


class Source:
    def __init__(self, path):
        self.path = path
        self.name = str(path.relative_to(ROOT))
        self.text = path.read_text(errors="replace")
        self.code = TOKEN.sub(blank, self.text)
        self.includes = [(line_of(self.text, m.start(2)), m.group(1), m.group(2))
                         for m in INCLUDE.finditer(self.text)]

    def room(self):
        return room_of(self.name[4:])

    def functions(self):
        """(name, first line, line count) of each function whose braces stand in column 0."""
        begin = None
        lines = self.code.split("\n")
        for number, line in enumerate(lines, 1):
            if line.rstrip() == "{":
                begin = number
            elif line.startswith("}") and begin:
                head = " ".join(lines[max(0, begin - 12):begin - 1])
                head = re.split(r"[;}]", head)[-1]
                name = re.search(r"(\w+)\s*\(", head)
                if name and not line.startswith("};"):
                    yield name.group(1), begin, number - begin + 1
                begin = None


def find(*patterns):
    return sorted(p for pattern in patterns for p in ROOT.glob(pattern) if p.is_file())


# ---- the checks; each yields findings ----

def check_includes(sources):
    for source in sources:
        allowed = MAY_INCLUDE.get(source.room())
        if allowed is None:
            yield f"{source.name}:1: the room '{source.room()}' is unknown; add its row to " \
                  f"MAY_INCLUDE in tests/lint/walls.py"
            continue
        for line, kind, header in source.includes:
            for pattern, door in DOORS.items():
                if re.fullmatch(pattern, header) and source.name != door:
                    yield f"{source.name}:{line}: <{header}> has one door, {door}; use its header " \
                          f"({door[4:-2]}.h) instead"
            if kind != '"':
                continue
            if not (ROOT / "src" / header).is_file():
                yield f"{source.name}:{line}: no such header src/{header}; write it as " \
                      f"\"room/file.h\""
                continue
            room = room_of(header)
            if room != source.room() and room not in allowed and header not in allowed:
                yield f"{source.name}:{line}: {source.room()} must not include {header}; it may " \
                      f"include: {', '.join(allowed) or 'nothing'}"


def check_own_header_first(sources):
    for source in sources:
        own = source.name[4:-2] + ".h"
        if source.name.endswith(".c") and (ROOT / "src" / own).is_file() and source.includes \
                and source.includes[0][2] != own:
            yield f"{source.name}:{source.includes[0][0]}: \"{own}\" comes first, so that it is " \
                  f"seen to compile alone"


def check_pure(sources):
    by_header = {s.name[4:]: s for s in sources}

    def way_to_loop(source, seen):
        for line, _, header in source.includes:
            if header == "uv.h":
                return [(source.name, line)]
            if header in by_header and header not in seen:
                seen.add(header)
                way = way_to_loop(by_header[header], seen)
                if way:
                    return [(source.name, line)] + way
        return []

    for source in sources:
        if any(re.fullmatch(p, source.name) for p in PURE):
            way = way_to_loop(source, set())
            if way:
                through = " → ".join(name for name, _ in way[1:])
                yield f"{source.name}:{way[0][1]}: a pure file knows no uv.h" + \
                      (f" (it comes through {through})" if through else "") + \
                      "; take time and events as arguments"


def check_banned(sources):
    for source in sources:
        in_tests = source.name.startswith("tests/")
        for name, instead in BANNED.items():
            if in_tests and name not in BANNED_IN_TESTS:
                continue
            for m in re.finditer(r"(?<![\w.>])" + name + r"\s*\(", source.code):
                yield f"{source.name}:{line_of(source.code, m.start())}: {name}() is banned; " \
                      f"use {instead}"


def check_lengths(sources):
    for source in sources:
        lines = source.text.count("\n")
        limit = FILE_LINES_OF.get(source.name, FILE_LINES_MAX)
        in_tests = source.name.startswith("tests/")
        if source.name.endswith(".c") and lines > limit and in_tests:
            yield f"note: {source.name} has {lines} lines; a test file mirrors one of src/, but past " \
                  f"{limit} it is worth a talk"
        elif source.name.endswith(".c") and lines > limit:
            yield f"{source.name}:{limit + 1}: {lines} lines, the limit is {limit}; split the file " \
                  f"by concept"
        elif source.name.endswith(".c") and lines > FILE_LINES_TALK and not in_tests:
            yield f"note: {source.name} has {lines} lines; past {FILE_LINES_TALK} it is worth a talk"
        if source.name.endswith(".h") and lines > HEADER_LINES_TALK:
            yield f"note: {source.name} has {lines} lines; a header is a contract of at most " \
                  f"{HEADER_LINES_TALK}"
        for name, begin, count in source.functions():
            if count > FUNCTION_LINES_MAX:
                yield f"{source.name}:{begin}: {name}() has {count} lines, the limit is " \
                      f"{FUNCTION_LINES_MAX}; give a part of it a name"


def check_words(texts):
    here = str(ROOT) + "/"
    for path in texts:
        name = str(path.relative_to(ROOT))
        text = path.read_text(errors="replace")
        for number, line in enumerate(text.split("\n"), 1):
            if UNFINISHED.search(line):
                yield f"{name}:{number}: unfinished business; finish it, or name the issue (#123)"
            if here in line:
                yield f"{name}:{number}: names this checkout's own path; write it relative to the " \
                      f"repository"
            if re.match(r"\s*#\s*if\s+0\b", line) and path.suffix in (".c", ".h"):
                yield f"{name}:{number}: dead code behind #if 0; delete it, git remembers"
            if line != line.rstrip() and path.suffix not in (".md", ""):
                yield f"{name}:{number}: white space at the end of the line; remove it"
        if text and not text.endswith("\n"):
            yield f"{name}:{text.count(chr(10)) + 1}: no newline at the end; add it"


def run(command, text=None):
    done = subprocess.run(command, cwd=ROOT, input=text, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def compiler_lines(output, mend):
    for line in output.split("\n"):
        m = re.match(r"(?:\./)?([^:\s]+:\d+)(?::\d+)?: (?:fatal )?(?:error|warning): (.*)", line)
        if m:
            yield f"{m.group(1)}: {m.group(2)}; {mend}"


def check_compiler(compiler, flags, source):
    extra = ["-Qunused-arguments"] if "clang" in compiler else []
    status, output = run([compiler, *flags, *extra, "-Itests", "-Werror", "-fsyntax-only", source.name])
    if status:
        found = list(compiler_lines(output, f"{compiler} -Werror wants it mended"))
        yield from found or [f"{source.name}:1: {compiler} failed: {output.strip()[:300]}"]


def check_header_alone(compiler, flags, header):
    text = f'#include "{header.name[4:]}"\nextern int nothing;\n'
    status, output = run([compiler, *flags, "-Werror", "-fsyntax-only", "-x", "c", "-"], text)
    if status:
        found = list(compiler_lines(output, "include or declare what the header itself uses"))
        yield from found or [f"{header.name}:1: does not compile alone: {output.strip()[:300]}"]


def check_format(formatter, source):
    status, output = run([formatter, "--dry-run", "-Werror", source.name])
    if status:
        first = next(compiler_lines(output, "run `make format`"), None)
        yield first or f"{source.name}:1: {formatter} failed: {output.strip()[:300]}"


def check_script(path):
    name = str(path.relative_to(ROOT))
    if path.suffix == ".py":
        try:
            ast.parse(path.read_text(), name)
        except SyntaxError as e:
            yield f"{name}:{e.lineno}: {e.msg}; python cannot read it"
        return
    status, output = run(["bash", "-n", name])
    if status:
        yield f"{name}:1: {output.strip()[:300]}; bash cannot read it"


# ---- all of it ----

def main(argv):
    flags = argv[argv.index("--") + 1:] if "--" in argv else ["-std=gnu11", "-D_GNU_SOURCE", "-Isrc"]
    gcc = os.environ.get("CC", "cc")
    clang = os.environ.get("CLANG", "clang")
    formatter = os.environ.get("CLANG_FORMAT", "clang-format")

    sources = [Source(p) for p in find("src/*.[ch]", "src/*/*.[ch]")]
    tests = [Source(p) for p in find("tests/**/*.[ch]")]
    scripts = find("tests/**/*.py", "tests/**/*.sh", ".ci/run")
    texts = [s.path for s in sources + tests] + scripts + \
        find("Makefile", "*.md", "tests/**/*.mk", "systemd/*", "nomad/*", "man/*")

    findings = []
    findings += check_includes(sources)
    findings += check_own_header_first(sources)
    findings += check_pure(sources)
    findings += check_banned(sources + tests)
    findings += check_lengths(sources + tests)
    findings += check_words(texts)
    jobs = [(check_script, p) for p in scripts]
    jobs += [(check_format, formatter, s) for s in sources + tests]
    jobs += [(check_header_alone, gcc, flags, s) for s in sources if s.name.endswith(".h")]
    jobs += [(check_compiler, compiler, flags, s) for s in sources + tests if s.name.endswith(".c")
             for compiler in (gcc, clang)]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for found in pool.map(lambda job: list(job[0](*job[1:])), jobs):
            findings += found

    unique = list(dict.fromkeys(findings))
    for finding in unique:
        print(finding)
    errors = sum(not f.startswith("note:") for f in unique)
    print(f"lint: {len(sources)} files of src, {len(tests)} of tests, {len(scripts)} scripts: "
          f"{errors} findings, {len(unique) - errors} notes")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
