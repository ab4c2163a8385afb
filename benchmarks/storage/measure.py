"""Measuring in turn: wall and processor seconds, and how busy others kept the machine meanwhile."""

from __future__ import annotations

import gc
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["QUIET", "Measured", "Watch", "interleave"]

QUIET = 0.08
"""The largest share of the machine that others may take in a round that counts."""
ENOUGH = 5
"""Quiet rounds that a figure needs."""
STRETCH = 3
"""So many times the rounds that were asked for are run in search of quiet ones; a quick look of
fewer rounds than `ENOUGH` takes what comes."""


def processor() -> float:
    """Processor seconds so far of this process and of those it has waited for."""
    some = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in some)


def busy() -> float:
    """Seconds so far in which this machine's processors did not idle, stolen ones included.

    The first line of /proc/stat (proc_stat(5)): user nice system idle iowait irq softirq steal.
    """
    numbers = [int(one) for one in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    return (sum(numbers) - numbers[3] - numbers[4]) / os.sysconf("SC_CLK_TCK")


@dataclass
class Watch:
    """Stops the time of one way: the best of the repeats of a round.

    Attributes
    ----------
    walls, processors : list of float
        Seconds, one for each repeat.
    """

    walls: list[float] = field(default_factory=list)
    processors: list[float] = field(default_factory=list)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Stop the time of what is inside."""
        used, began = processor(), time.perf_counter()
        yield
        self.walls.append(time.perf_counter() - began)
        self.processors.append(processor() - used)


@dataclass(frozen=True)
class Measured:
    """What came of it.

    Attributes
    ----------
    walls, processors : list of dict
        Seconds by way, for each round that counts.
    loads : list of float
        The share of the machine that others took in these rounds.
    rounds : int
        How many were run.
    quiet : bool
        Whether only quiet rounds count. Where there were too few of them all count.
    results : dict
        What each way gave in the round that does not count.
    failed : dict
        The ways that failed then, and how.
    """

    walls: list[dict[str, float]]
    processors: list[dict[str, float]]
    loads: list[float]
    rounds: int
    quiet: bool
    results: dict[str, Any]
    failed: dict[str, str]

    def words(self) -> str:
        """How far these figures can be trusted."""
        if self.quiet:
            return f"{len(self.walls)} quiet of {self.rounds} rounds"
        low, high = min(self.loads), max(self.loads)
        why = "NOT QUIET" if high >= QUIET else f"ONLY {len(self.walls)} ROUNDS"
        return f"{why}: others took {low:.0%}-{high:.0%} of the machine"


def interleave(
    ways: dict[str, Callable[[Watch], Any]], rounds: int, *, trial: bool = True
) -> Measured:
    """Run every way once a round, each round beginning with another.

    Parameters
    ----------
    ways : dict
        Each stops its own time with the watch it is given, and returns its result.
    rounds : int
        So many; more in search of quiet ones.
    trial : bool
        Whether a round that does not count comes first. A way that fails there is left out.
    """
    results: dict[str, Any] = {}
    failed: dict[str, str] = {}
    ways = dict(ways)
    for name in list(ways) if trial else ():
        try:
            results[name] = ways[name](Watch())
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a panic of Rust is no Exception
            failed[name] = f"{type(error).__name__}: {error}".splitlines()[0]
            print(f"  {name} failed: {failed[name]}", file=sys.stderr)
            del ways[name]
    every: list[tuple[dict[str, float], dict[str, float], float]] = []
    for number in range(rounds * STRETCH if rounds >= ENOUGH else rounds):
        every.append(one_round(ways, number))
        quiet = [one for one in every if one[2] < QUIET]
        if number + 1 >= rounds and len(quiet) >= ENOUGH:
            break
    kept = quiet if len(quiet) >= ENOUGH else every
    walls, processors, loads = (list(some) for some in zip(*kept, strict=True))
    return Measured(walls, processors, loads, len(every), kept is quiet, results, failed)


def one_round(
    ways: dict[str, Callable[[Watch], Any]], number: int
) -> tuple[dict[str, float], dict[str, float], float]:
    """Wall and processor seconds of each, and the share of the machine that others took."""
    walls, processors = {}, {}
    names = list(ways)
    turn = number % len(names)
    gc.collect()
    began, mine, all_of_us = time.perf_counter(), processor(), busy()
    for name in names[turn:] + names[:turn]:
        watch = Watch()
        ways[name](watch)
        gc.collect()
        best = min(range(len(watch.walls)), key=watch.walls.__getitem__)
        walls[name], processors[name] = watch.walls[best], watch.processors[best]
    seconds = (time.perf_counter() - began) * (os.cpu_count() or 1)
    others = (busy() - all_of_us) - (processor() - mine)
    order = list(ways)
    return (
        {name: walls[name] for name in order},
        {name: processors[name] for name in order},
        max(0.0, others / seconds),
    )
