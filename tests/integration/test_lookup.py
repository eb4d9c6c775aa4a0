"""The verb `lookup`, against the daemon it is made for."""

import json
import subprocess

import harness


def lookup(daemon, *arguments):
    """(exit code, stdout, stderr) of nomad-dns lookup, asking this daemon."""
    done = subprocess.run([harness.BINARY, "lookup", *arguments, f"--listen=127.0.0.1:{daemon.port}"],
                          env=harness.environment(), capture_output=True, text=True, timeout=30)
    return done.returncode, done.stdout, done.stderr


def test_a_service_is_shown_with_addresses_and_ports(start, nomad):
    code, out, err = lookup(start(nomad=nomad.address), "redis.default.nomad")
    assert code == 0 and err == ""
    assert "192.168.29.76" in out and "192.168.29.77" in out
    assert "SRV" in out and "192-168-29-76.redis.default.nomad" in out
    assert "\033" not in out


def test_json_is_json(start, nomad):
    code, out, _ = lookup(start(nomad=nomad.address), "--json", "redis.default.nomad", "a")
    page = json.loads(out)
    assert code == page["exit_code"] == 0
    assert [q["rcode"] for q in page["questions"]] == ["NOERROR"]
    assert {r["data"] for r in page["questions"][0]["answer"]} == {"192.168.29.76", "192.168.29.77"}
    assert "aa" in page["questions"][0]["flags"]


def test_a_name_that_is_not_there_exits_with_1(start, nomad):
    code, out, _ = lookup(start(nomad=nomad.address), "nosuch.default.nomad")
    assert code == 1
    assert out.count("NXDOMAIN, there is no such name") == 3
    assert "SOA" in out


def test_an_outage_exits_with_2_and_says_why(start, nomad):
    nomad.fault("refuse")
    code, out, _ = lookup(start(nomad=nomad.address, until="listening"), "redis.default.nomad", "A")
    assert code == 2
    assert "SERVFAIL" in out and "EDE " in out


def test_no_daemon_exits_with_9(start, nomad):
    daemon = start(nomad=nomad.address)
    daemon.stop()
    code, out, err = lookup(daemon, "redis.default.nomad")
    assert code == 9
    assert "is the daemon running" in err


def test_wrong_usage_exits_with_64(start, nomad):
    daemon = start(nomad=nomad.address)
    for arguments in ([], ["a..b"], ["redis.default.nomad", "NOTYPE"], ["a", "A", "AAAA"], ["--jsn", "a"]):
        code, out, err = lookup(daemon, *arguments)
        assert code == 64 and out == "" and "usage:" in err, arguments
