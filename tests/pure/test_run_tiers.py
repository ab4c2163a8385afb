"""Every test is run by a tier, once, and what is long by ``make test-long``."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import _is_astray
from tests.run_tiers import GUESTS, HOST, PLACES, ROOT, TIERS, marks_of, places_of


def test_the_local_tier_is_whole_whether_a_part_of_it_runs_beside_the_cluster_or_not() -> None:
    assert marks_of("local", TIERS, long=True) == "local and not patient"
    assert marks_of("patient", TIERS, long=True) == "patient"
    assert marks_of("local", ["local"], long=True) == "local"
    assert marks_of("local", ["local"], long=False) == "local and not long"
    assert set(GUESTS) < set(TIERS) and HOST in TIERS


def test_a_tier_is_looked_for_in_its_places_unless_somebody_says_where() -> None:
    assert places_of("browser", ["-k", "upload"]) == ["tests/browser"]
    assert places_of("browser", ["tests/browser/test_jupyterlab.py::test_a"]) == []
    assert places_of("pure", []) == []
    for tier in PLACES:
        assert all((ROOT / place).is_dir() for place in places_of(tier, []))


@pytest.mark.parametrize("mark", ["cluster", "browser", "patient"])
def test_a_test_that_its_tier_would_not_meet_is_noticed(
    request: pytest.FixtureRequest, mark: str
) -> None:
    assert not _is_astray(request.node)
    request.node.add_marker(mark)
    assert _is_astray(request.node)


@pytest.mark.long_with("b", 2)
@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("letter", ["a", "b"])
def test_of_these_only_the_first_is_run_by_default(letter: str, number: int) -> None:
    """For the next one."""


@pytest.mark.parametrize(
    ("marks", "wanted"), [("not long", {"a-1"}), ("long", {"a-2", "b-1", "b-2"})]
)
def test_long_with_some_parameters_is_long_with_these_alone(marks: str, wanted: set[str]) -> None:
    asked = ["-m", marks, f"{__file__}::test_of_these_only_the_first_is_run_by_default"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", *asked],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    found = {
        line.partition("[")[2].rstrip("]") for line in done.stdout.splitlines() if "::" in line
    }
    assert found == wanted, done.stdout + done.stderr
