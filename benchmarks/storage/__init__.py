"""Reading NetCDF-4 files: engine ``hpclaunch`` and its peers, and the limit, in turn.

The files are made by ``recipe`` and kept. Everything is read from a warm page cache; a task of its
own makes every read call slow. Engines open anew for every figure and forget what they read. Only
rounds in which others took less than 8 % of the machine count, where there are five.
"""

from __future__ import annotations

import getpass
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.storage import fresh, growth, writing
from benchmarks.storage.goals import START, Row, Summary, judge
from benchmarks.storage.latency import DELAY_MS, Latency
from benchmarks.storage.measure import Measured, interleave
from benchmarks.storage.peers import OURS, PEERS, TUNED, missing
from benchmarks.storage.recipe import prepare
from benchmarks.storage.run import run_task
from benchmarks.storage.tasks import TASKS
from benchmarks.table import Table

__all__ = ["ROUNDS", "run"]

ROUNDS = 9
LATENCY, WRITE, FRESH, GROWTH = f"{DELAY_MS} ms per request", "write", "fresh process", "growth"
NAMES = (*TASKS, LATENCY, WRITE, FRESH, GROWTH)


def run(
    rounds: int,
    tasks: Sequence[str] = (),
    size: str = "tenth",
    data: Path | None = None,
    plots: Path | None = None,
    leave_out: Sequence[str] = (),
) -> list[Table | Summary]:
    """All tasks, or those that are named, without the peers of `leave_out`."""
    if unknown := set(tasks) - set(NAMES):
        sys.exit(f"no task {', '.join(sorted(unknown))}; known: {', '.join(NAMES)}")
    if unknown := set(leave_out) - set(PEERS):
        sys.exit(f"no peer {', '.join(sorted(unknown))}; known: {', '.join(PEERS)}")
    names = [name for name in NAMES if not tasks or name in tasks]
    folder = data or Path(tempfile.gettempdir()) / f"hpclaunch-storage-{getpass.getuser()}"
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["HPCLAUNCH_INDEX_CACHE"] = str(folder / "index")
    os.environ["RUST_BACKTRACE"] = "0"
    without = missing() | dict.fromkeys(leave_out, "left out by --without")
    for name, why in without.items():
        print(f"{name} is not measured: {why}", file=sys.stderr)
    variants = {TASKS[name].variant if name in TASKS else "std" for name in names if name != GROWTH}
    archives = prepare(folder, size, sorted(variants))
    tables: list[Table | Summary] = []
    rows: list[Row] = []
    for name in names:
        print(f"{name} …", file=sys.stderr, flush=True)
        if name == LATENCY:
            latency = Latency(archives["std"], folder, without)
            found = interleave(latency.ways(), rounds, trial=False)
            calls = Table(f"storage {size}: read calls", [latency.calls], base(latency.calls))
            tables += [calls, Table("storage: read calls of opening", [latency.opening])]
            rows += judge("read calls", calls, "1")
        elif name == WRITE:
            found = interleave(writing.ways(archives["std"], folder, without), rounds)
        elif name == FRESH:
            found = interleave(fresh.ways(archives["std"], without), rounds)
        elif name == GROWTH:
            tables += growth.run(folder, without, plots)
            continue
        else:
            found = run_task(TASKS[name], archives[TASKS[name].variant], rounds, without)
        tables += tables_of(f"storage {size}, {name}", found)
        tell(found)
        rows += judge_fresh(found) if name == FRESH else judge(name, tables[-2], found.words())
    return [*tables, Summary(rows)] if rows else tables


def tell(found: Measured) -> None:
    """Medians of the task that is over, for who waits."""
    medians = {name: statistics.median(one[name] for one in found.walls) for name in found.walls[0]}
    told = " · ".join(f"{name} {seconds:.3g} s" for name, seconds in medians.items())
    print(f"  {told}; {found.words()}", file=sys.stderr, flush=True)


def tables_of(title: str, found: Measured) -> list[Table]:
    """Wall and processor seconds."""
    title = f"{title}; {found.words()}"
    peer = base(found.walls[0])
    return [
        Table(f"{title}: seconds", found.walls, peer),
        Table(f"{title}: processor seconds", found.processors),
    ]


def base(figures: dict[str, float]) -> str:
    """The name that the others are divided by."""
    return next((name for name in (OURS, TUNED) if name in figures), next(iter(figures)))


def judge_fresh(found: Measured) -> list[Row]:
    """Seconds beyond netCDF4's, as one row."""
    if OURS not in found.walls[0]:
        return []
    more = [one[OURS] - one[fresh.NETCDF4] for one in found.walls]
    ratios = [one[fresh.NETCDF4] / one[OURS] for one in found.walls]
    beyond = statistics.median(more)
    goal = f"{beyond:+.2f} s, < {START:g}"
    ours = statistics.median(one[OURS] for one in found.walls)
    spread = statistics.median(ratios), min(ratios), max(ratios)
    return [Row(FRESH, fresh.NETCDF4, ours, *spread, goal, beyond < START, found.words())]
