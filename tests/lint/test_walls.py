"""Each wall stops what it is there to stop, and lets through what it should."""

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import walls


@pytest.fixture
def house(tmp_path, monkeypatch):
    """A function that writes files (path → text) into an empty house and reads them as sources."""
    monkeypatch.setattr(walls, "ROOT", tmp_path)

    def build(**files):
        sources = []
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            sources.append(path)
        return [walls.Source(path) for path in sources]

    return build


def findings(check, sources):
    return [f.split(":", 2)[:2] for f in check(sources)]


def test_a_stage_must_not_know_another(house):
    sources = house(src__cache__cache_dot_h="", src__forward__upstream_dot_c='\n#include "cache/cache.h"\n')
    assert findings(walls.check_includes, sources) == [["src/forward/upstream.c", "2"]]


def test_includes_go_downwards_only(house):
    sources = house(src__daemon_dot_h="", src__base__buf_dot_h="", src__base__log_dot_c='#include "daemon.h"\n',
                    src__daemon_dot_c='#include "daemon.h"\n#include "base/buf.h"\n')
    assert findings(walls.check_includes, sources) == [["src/base/log.c", "1"]]


def test_a_single_header_may_be_open_while_its_room_is_closed(house):
    sources = house(src__nomad__zone_dot_h="", src__nomad__mirror_dot_h="",
                    src__listen__udp_dot_c='#include "nomad/zone.h"\n#include "nomad/mirror.h"\n')
    assert findings(walls.check_includes, sources) == [["src/listen/udp.c", "2"]]


def test_a_library_has_one_door(house):
    sources = house(src__nomad__http_dot_c="#include <curl/curl.h>\n", src__nomad__mirror_dot_c="#include <curl/curl.h>\n",
                    src__nomad__json_dot_c="#include <cJSON.h>\n", src__admin__admin_dot_c="#include <cJSON.h>\n",
                    src__dns__reply_dot_c="#include <ldns/ldns.h>\n")
    assert findings(walls.check_includes, sources) == [
        ["src/nomad/mirror.c", "1"], ["src/admin/admin.c", "1"], ["src/dns/reply.c", "1"]]


def test_a_file_outside_every_room_is_found(house):
    assert findings(walls.check_includes, house(src__attic__box_dot_c="")) == [["src/attic/box.c", "1"]]


def test_a_pure_file_meets_no_loop_not_even_through_a_header(house):
    sources = house(src__nomad__mirror_dot_h="#include <uv.h>\n", src__nomad__zone_dot_h="",
                    src__nomad__catalogue_dot_c='#include "nomad/zone.h"\n#include "nomad/mirror.h"\n')
    assert findings(walls.check_pure, sources) == [["src/nomad/catalogue.c", "2"]]


def test_a_banned_function_is_found_but_not_its_name_in_words(house):
    sources = house(src__base__str_dot_c='/* atoi( */\nint x = f("strcpy(");\nint y = atoi(z);\nint q = my_atoi(z);\n')
    assert findings(walls.check_banned, sources) == [["src/base/str.c", "3"]]


def test_a_test_may_assert_but_not_copy_blindly(house):
    sources = house(tests__unit__test_str_dot_c="assert(1);\nstrcpy(a, b);\n")
    assert findings(walls.check_banned, sources) == [["tests/unit/test_str.c", "2"]]


@pytest.mark.parametrize("inner, is_found", [(98, False), (99, True)])
def test_a_function_has_at_most_a_hundred_lines(house, inner, is_found):
    sources = house(src__base__str_dot_c="int f(void)\n{\n" + "\tg();\n" * inner + "}\n")
    assert bool(findings(walls.check_lengths, sources)) == is_found


@pytest.mark.parametrize("name, limit", [("src__main_dot_c", 150), ("src__pipeline_dot_c", 250), ("src__base__str_dot_c", 600)])
def test_a_file_has_its_limit(house, name, limit):
    hard = [f for f in walls.check_lengths(house(**{name: "\n" * limit})) if not f.startswith("note:")]
    assert hard == []
    assert any(not f.startswith("note:") for f in walls.check_lengths(house(**{name: "\n" * (limit + 1)})))


def test_unfinished_business_needs_an_issue(house):
    sources = house(src__base__str_dot_c="/* TO" "DO: later */\n/* TO" "DO #12: later */\n")
    assert findings(lambda s: walls.check_words([x.path for x in s]), sources) == [["src/base/str.c", "1"]]


def test_own_header_comes_first(house):
    sources = house(src__base__str_dot_h="", src__base__str_dot_c='#include <stdio.h>\n#include "base/str.h"\n')
    assert findings(walls.check_own_header_first, sources) == [["src/base/str.c", "1"]]
