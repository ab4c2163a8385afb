"""Run the test tiers one after another and say at the end which ran, with their minutes.

``make test`` runs every tier; ``make test-long`` adds what is marked long. A tier that could not
run is named with its reason; ``--require-all`` (continuous integration) makes that a failure.

The tests of the cluster wait for it most of their time. What no clock can disturb, the pure tier
and the local tests marked patient, runs beside them with the lowest priority, and its output is
shown when all are done.

The tests start real servers and schedulers beside one another, and a busy machine is late now and
then. Where a tier fails by `SECOND_TRY` tests or fewer, these are run once more by themselves: what
fails again has failed, what passes then is named at the end as unsteady, a fault to be mended.
``--once`` gives no second try.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

ROOT = Path(__file__).parents[1]
TIERS = ("pure", "patient", "local", "cluster", "browser")
"""``patient`` is a part of the local tier; ``--tier local`` by itself runs it too."""
SIDE_BY_SIDE = ("pure", "patient", "local")
"""Tiers in which two modules run at a time; all tests of the cluster share the one."""
PLACES = {
    "cluster": ("e2e", "schedulers", "security", "sites"),
    "browser": ("browser",),
}
"""Where all tests of a tier lie below ``tests``: no others are imported to find them."""
SECOND_TRY = 3
"""So many failed tests of a tier are run once more; where more fail it is no accident."""
HOST, GUESTS = "cluster", ("pure", "patient")
"""A tier that leaves the processors idle, and those that run beside it, one after another."""
NO_TESTS = 5
"""pytest's exit code where no test was selected."""


@dataclass(frozen=True)
class Result:
    """How a tier went."""

    tier: str
    minutes: float
    passed: int
    failed: int
    skipped: int
    exit: int
    reasons: tuple[str, ...]
    failures: tuple[str, ...] = ()
    unsteady: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        if self.exit not in (0, NO_TESTS):
            return "FAILED"
        return "ran" if self.passed else "NOT RUN"


def run_tiers(tiers: Sequence[str], *, long: bool, once: bool, extra: list[str]) -> list[Result]:
    """Run tiers in their order, but for those that run beside another."""

    def run(tier: str, out: BinaryIO, priority: int = 0) -> Result:
        marks = marks_of(tier, tiers, long)
        return run_tier(tier, marks, once=once, extra=extra, out=out, priority=priority)

    found: dict[str, Result] = {}
    shown = sys.stdout.buffer
    guests = [tier for tier in tiers if tier in GUESTS and HOST in tiers]
    with ThreadPoolExecutor(1) as pool:
        for tier in tiers:
            if tier in guests:
                continue
            beside = guests if tier == HOST else []
            kept = [io.BytesIO() for _ in beside]
            going = [pool.submit(run, *one, priority=19) for one in zip(beside, kept, strict=True)]
            found[tier] = run(tier, shown)
            found |= {guest: one.result() for guest, one in zip(beside, going, strict=True)}
            for text in kept:
                shown.write(text.getvalue())
            shown.flush()
    return [found[tier] for tier in tiers]


def marks_of(tier: str, tiers: Sequence[str], long: bool) -> str:
    """Which tests are a tier's, where all of `tiers` run: pytest's ``-m``."""
    marks = "local and not patient" if tier == "local" and "patient" in tiers else tier
    return marks if long else f"{marks} and not long"


def places_of(tier: str, extra: list[str]) -> list[str]:
    """Where to look for a tier's tests; nowhere else, unless `extra` says where."""
    if any((ROOT / word.partition("::")[0]).exists() for word in extra):
        return []
    return [f"tests/{place}" for place in PLACES.get(tier, ())]


def run_tier(
    tier: str, marks: str, *, once: bool, extra: list[str], out: BinaryIO, priority: int
) -> Result:
    """Run one tier, and the few tests that failed once more."""
    how = ["-n2", "--dist=loadscope"] if tier in SIDE_BY_SIDE else []
    extra = [*extra, *places_of(tier, extra)]
    # Each tier knows its own failures: two may run at a time.
    cache = ["-o", f"cache_dir=.pytest_cache/{tier}"]
    first = run_tests(tier, ["-m", marks, *cache, *how, *extra], out, priority)
    if once or first.exit != 1 or not 0 < first.failed <= SECOND_TRY:
        return first
    tell(out, f"\n=== tier {tier}: once more what failed, by itself ===")
    second = run_tests(tier, ["-m", marks, *cache, "--last-failed", *extra], out, priority)
    again = second.exit != 0 or second.passed < first.failed
    return replace(
        first,
        minutes=first.minutes + second.minutes,
        passed=first.passed + second.passed,
        failed=max(second.failed, 1) if again else 0,
        exit=(second.exit or 1) if again else 0,
        failures=second.failures if again else (),
        unsteady=tuple(one for one in first.failures if one not in second.failures),
    )


def tell(out: BinaryIO, line: str) -> None:
    """Print a line there."""
    out.write(f"{line}\n".encode())
    out.flush()


def run_tests(tier: str, arguments: list[str], out: BinaryIO, priority: int) -> Result:
    """Run pytest with its output written as it comes."""
    tell(out, f"\n=== tier {tier} ===")
    began = time.monotonic()
    pytest = [sys.executable, "-m", "pytest", "-q", "--durations=15"]
    process = subprocess.Popen(
        ["nice", f"-n{priority}", *pytest, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert isinstance(process.stdout, io.BufferedReader)
    text = bytearray()
    while chunk := process.stdout.read1():  # a dot at a time, as pytest makes them
        out.write(chunk)
        out.flush()
        text += chunk
    code = process.wait()
    whole = text.decode(errors="replace")

    def count(word: str) -> int:
        found = re.findall(rf"(\d+) {word}", whole.splitlines()[-1] if whole.strip() else "")
        return int(found[0]) if found else 0

    def named(pattern: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(re.findall(pattern, whole, re.MULTILINE)))

    return Result(
        tier,
        (time.monotonic() - began) / 60,
        count("passed"),
        count("failed") + count("error"),
        count("skipped"),
        code,
        named(r"^SKIPPED \[\d+\] \S+ (.*)$"),
        named(r"^(?:FAILED|ERROR) (\S+::.*?)(?: - .*)?$"),
    )


def main() -> int:
    """Run the tiers; 0 when all that ran passed (and, where required, all ran)."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--long", action="store_true", help="also what is marked long")
    parser.add_argument("--require-all", action="store_true", help="fail where a tier did not run")
    parser.add_argument("--once", action="store_true", help="no second try for what failed")
    parser.add_argument("--tier", action="append", choices=TIERS, help="only this tier")
    arguments, extra = parser.parse_known_args()
    require_all = arguments.require_all or os.environ.get("HPCLAUNCH_REQUIRE_ALL_TIERS") == "1"
    began = time.monotonic()
    results = run_tiers(
        arguments.tier or TIERS, long=arguments.long, once=arguments.once, extra=extra
    )
    print("\n=== tiers ===")
    for one in results:
        print(
            f"{one.tier:8}  {one.verdict:8}  {one.passed:4} passed  {one.failed:3} failed  "
            f"{one.skipped:3} skipped  {one.minutes:5.1f} min"
        )
        for reason in one.reasons:
            print(f"          skipped: {reason}")
        for name in one.failures:
            print(f"          failed: {name}")
        for name in one.unsteady:
            print(f"          UNSTEADY, passed at the second try only: {name}")
    failed = [one.tier for one in results if one.verdict == "FAILED"]
    missing = [one.tier for one in results if one.verdict == "NOT RUN" or one.skipped]
    print(f"total {(time.monotonic() - began) / 60:.1f} min")
    if missing:
        print(f"not run, or not whole: {', '.join(missing)}")
    passed, lost = sum(one.passed for one in results), sum(one.failed for one in results)
    unsteady = sum(len(one.unsteady) for one in results)
    print(f"{passed} passed, {lost} failed" + (f", {unsteady} unsteady" if unsteady else ""))
    return 1 if failed or (missing and require_all) else 0


if __name__ == "__main__":
    sys.exit(main())
