"""The table of failures says truly which of them only ``make test-long`` brings about."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.failures import FAILURES, HARMLESS
from tests.e2e.failures_page import page

ROOT = Path(__file__).parents[2]
FILES = ("tests/e2e/test_failures.py", "tests/e2e/test_failures_daemons.py")


def collected(marks: str) -> set[str]:
    """What pytest selects of the table's tests: ``FAILURE-SITE`` and ``ACCIDENT-openssh``."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", marks, *FILES],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {line.partition("[")[2].rstrip("]") for line in done.stdout.splitlines() if "::" in line}


@pytest.mark.parametrize(("marks", "long"), [("long", True), ("not long", False)])
def test_a_row_says_long_exactly_if_its_test_is_marked_so(marks: str, long: bool) -> None:
    wanted = {
        f"{one.name}-{site}" for one in FAILURES for site in one.on if one.is_long(site) is long
    }
    wanted |= {f"{one.name}-openssh" for one in HARMLESS if one.long is long}
    assert collected(marks) == wanted


def test_the_page_names_every_row_and_site_that_only_the_long_tests_do() -> None:
    long = [site for one in FAILURES for site in one.on if one.is_long(site)]
    long += [one.name for one in HARMLESS if one.long]
    assert page().count("make test-long") == len(long)
