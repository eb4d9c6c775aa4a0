"""Every way an upstream can answer, row by row of the table: the reply, what is cached, and how much went upstream."""

import harness
import pytest
from fake_nomad import FakeNomad
from forward_proof import run_cases
from upstream_modes import CASES


@pytest.fixture(scope="module")
def findings(request):
    """{case: what is wrong}, for all cases selected: they run side by side, each with a daemon and an upstream of its own."""
    cases = [item.callspec.params["case"] for item in request.session.items
             if item.path == request.path and hasattr(item, "callspec") and "case" in item.callspec.params]
    with FakeNomad(catalogue=harness.DEMO) as nomad:
        yield run_cases(lambda upstream, folder: begin(nomad, upstream, folder), cases)


def begin(nomad, upstream, folder):
    return harness.Daemon(folder, "--workers=1", nomad=nomad.address, forward=upstream.address).start()


@pytest.mark.parametrize("case", CASES)
def test_mode(findings, case):
    assert not findings[case], "; ".join(findings[case])
