"""What is written for operators is what there is: the manual page and README against --help and /metrics."""

import os
import re

import pytest
from harness import ROOT, run


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as file:
        return file.read()


@pytest.fixture(scope="module")
def manual():
    """The page without its markup, one blank between words."""
    text = read("man", "nomad-dns.8").replace("\\-", "-").replace("\\(dq", '"').replace("\\e", "\\")
    return " ".join(re.sub(r"^\.(TP|BR|B|I|RB|RI|SH|br)\b ?", "", text, flags=re.M).split())


@pytest.fixture(scope="module")
def options():
    """[(flag, argument, help, default)] of --help."""
    found = re.findall(r"^  (--[a-z-]+)(?:=(\S+))? +(\S.*)(?:\n +\[(.*)\])?$", run("--help").stdout, re.M)
    assert len(found) > 40
    return found


@pytest.fixture(scope="module")
def families(open_house):
    _, page = open_house().daemon.admin("/metrics")
    return re.findall(r"^# HELP (?:nomad_dns_)?(\S+) (.*)\n# TYPE \S+ (\S+)$", page, re.M)


def test_the_manual_says_of_each_option_what_help_says(manual, options):
    for flag, argument, text, default in options:
        entry = f"{flag}{' =' + argument if argument else ''} {text}.{f' Default: {default}.' if default else ''}"
        assert entry in manual, entry


def test_the_manual_says_of_each_metric_what_the_page_says(manual, families):
    for name, text, kind in families:
        assert f"{name} ({kind}) {text}" in manual, name


def test_the_manual_has_no_option_and_no_metric_that_is_gone(options, families):
    page = read("man", "nomad-dns.8")
    listed = {name.replace("\\-", "-") for name in re.findall(r"^\.TP\n\.BR? (\S+)", page, re.M)}
    assert listed == {option[0] for option in options} | {family[0] for family in families}


def test_readme_knows_only_options_metrics_and_verbs_that_there_are(options, families):
    readme = read("README.md")
    flags = {option[0] for option in options}
    for flag in re.findall(r"`(?:nomad-dns )?(--[a-z][a-z-]+)", readme):
        assert flag in flags, flag
    for name in re.findall(r"^\| `([a-z-]+)`(?:, `([a-z-]+)`)? \| ", read("README.md").split("## Configure")[1]
                           .split("### How Nomad is followed")[0], re.M):
        assert all(f"--{part}" in flags for part in name if part), name
    names = {family[0] for family in families}
    for name in re.findall(r"(?<!grep )\bnomad_dns_([a-z_]+[a-z])", readme):
        assert name in names, name
