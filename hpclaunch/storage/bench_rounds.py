"""Cases that are measured in turn, some rounds of each, until their time is up."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hpclaunch.storage.bench_result import Measure
from hpclaunch.storage.bench_room import is_full

__all__ = ["Case", "Clock", "Findings", "measure"]

ROUNDS = 5


class Clock:
    """A time that ends.

    Parameters
    ----------
    seconds : float
        From now on.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        return self.end - time.monotonic()

    @property
    def over(self) -> bool:
        return self.left <= 0

    def part(self, share: float) -> Clock:
        """A share of what is left."""
        return Clock(max(self.left, 0.0) * share)


def _warm() -> None:
    return None


@dataclass(frozen=True)
class Case:
    """Something that can be measured again and again.

    Attributes
    ----------
    key, what, unit : str
        As in `Measure`.
    run : callable
        Is timed; given a clock it stops early when that is over, and returns how much was done in
        the unit (MiB, or how many).
    prepare : callable
        Goes before, untimed; returns whether the page cache is empty of what is read.
    clean : callable
        Goes after, untimed, in every case.
    """

    key: str
    what: str
    unit: str
    run: Callable[[Clock], float]
    prepare: Callable[[], bool | None] = _warm
    clean: Callable[[], object] = _warm

    @property
    def task(self) -> str:
        return self.key.partition("/")[0]


@dataclass
class Findings:
    """What was measured so far, and why the rest was not."""

    measures: list[Measure] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


def measure(
    cases: Sequence[Case],
    clock: Clock,
    into: Findings,
    rounds: int = ROUNDS,
    *,
    directory: Path | None = None,
) -> None:
    """Measure cases in turn, each round in another order.

    What fails is left out with its reason, but for a full disk under the directory.

    Raises
    ------
    OSError, RuntimeError, StorageError
        If the disk is full.
    """
    rates: dict[str, list[float]] = {case.key: [] for case in cases}
    cold: dict[str, list[bool | None]] = {case.key: [] for case in cases}
    limit = max(clock.left, 0.0) / max(len(cases), 1) / 2
    for turn in range(rounds):
        for case in _shuffled(cases, turn):
            if case.key in into.left_out:
                continue
            if clock.over:
                break
            try:
                found, state = _once(case, Clock(min(limit, clock.left)))
            except Exception as error:
                if is_full(error, directory):
                    raise
                into.left_out[case.key] = f"it failed: {type(error).__name__}: {error}"
                continue
            if found > 0:
                rates[case.key].append(found)
                cold[case.key].append(state)
    for case in cases:
        if not rates[case.key]:
            into.left_out.setdefault(case.key, "the time was up")
        elif case.key not in into.left_out:
            state = None if None in cold[case.key] else all(cold[case.key])
            into.measures.append(
                Measure(case.key, case.what, case.unit, tuple(rates[case.key]), state)
            )


def _shuffled(cases: Sequence[Case], turn: int) -> Sequence[Case]:
    """Another order each round: what goes before a case must not always be the same."""
    order = list(cases)
    if turn:
        random.Random(turn).shuffle(order)
    return order


def _once(case: Case, clock: Clock) -> tuple[float, bool | None]:
    try:
        cold = case.prepare()
        began = time.perf_counter()
        done = case.run(clock)
        took = time.perf_counter() - began
    finally:
        case.clean()
    return done / max(took, 1e-9), cold
