"""`--help` is quick: it costs at most six times what starting Python costs."""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpclaunch.cli.parser import build_parser

pytestmark = [pytest.mark.local, pytest.mark.patient]

TIMES = 6
ROUNDS = 9
PROGRAM = Path(sys.executable).with_name("hpclaunch")
NOTHING = (sys.executable, "-c", "pass")


def commands(
    parser: argparse.ArgumentParser, above: tuple[str, ...] = ()
) -> Iterator[tuple[str, ...]]:
    """Every command and every group of commands, as typed."""
    yield above
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                yield from commands(inner, (*above, name))


COMMANDS = list(commands(build_parser()))


def cost(argv: tuple[str | Path, ...]) -> float:
    """CPU seconds of one run, of the kernel's too: other work on this machine adds nothing."""
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, argv
    return used.ru_utime + used.ru_stime


@pytest.fixture(scope="module")
def medians() -> dict[tuple[str, ...] | None, float]:
    """The median cost of each ``--help``, and of starting Python (None), measured in turns."""
    runs: dict[tuple[str, ...] | None, tuple[str | Path, ...]] = {None: NOTHING}
    runs |= {words: (PROGRAM, *words, "--help") for words in COMMANDS}
    found: dict[tuple[str, ...] | None, list[float]] = {key: [] for key in runs}
    for argv in runs.values():
        cost(argv)  # byte code and disk are warm from here on
    for _ in range(ROUNDS):
        for key, argv in runs.items():
            found[key].append(cost(argv))
    return {key: statistics.median(costs) for key, costs in found.items()}


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words) or "hpclaunch")
def test_help_costs_at_most_six_times_an_empty_python(medians, words):
    times = medians[words] / medians[None]
    assert times <= TIMES, (
        f"{times:.1f} times; medians in s: {medians[words]:.3f}, {medians[None]:.3f}"
    )


def test_every_command_is_measured():
    assert {("start",), ("stop",), ("list",), ("site",), ("site", "show"), ()} <= set(COMMANDS)


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words) or "hpclaunch")
def test_help_says_how_a_command_is_used(words):
    done = subprocess.run([PROGRAM, *words, "--help"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    usage = " ".join(done.stdout.split())
    assert usage.startswith(f"usage: {' '.join(('hpclaunch', *words))}")
    assert "show this help message" in usage
