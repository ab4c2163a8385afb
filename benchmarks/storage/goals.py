"""What was aimed at, and whether it was met."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from benchmarks.storage.peers import OURS, TUNED
from benchmarks.storage.tasks import DECODED, LIMIT, TASKS
from benchmarks.storage.writing import PEER as WRITER
from benchmarks.table import Table

__all__ = ["GOALS", "Goal", "Row", "Summary", "judge"]


@dataclass(frozen=True)
class Goal:
    """A bound on one engine's figure, divided by ours.

    Attributes
    ----------
    task, peer : str
    bound : float
    most : bool
        Whether `bound` is the most that ours may take of the peer's figure (the limit), instead of
        the least factor that ours is to be faster by.
    """

    task: str
    peer: str
    bound: float
    most: bool = False

    def __str__(self) -> str:
        return f"≤ {self.bound:g} × {self.peer}" if self.most else f"≥ {self.bound:g}"


HIDEFIX, KERCHUNK, DEFAULT = "hidefix", "kerchunk", "netcdf4, default"
EXPLICIT = (
    Goal("read", LIMIT, 1.2, most=True),
    Goal("read", TUNED, 4.5),
    Goal("read", HIDEFIX, 1.7),
    Goal("mean", TUNED, 3.5),
    Goal("mean", DEFAULT, 8),
    Goal("mean", DECODED, 1.25, most=True),
    Goal("series", TUNED, 6),
    Goal("series small chunks", TUNED, 1.2),
    Goal("map", TUNED, 25),
    Goal("map", KERCHUNK, 1),
    Goal("open 12 files", TUNED, 25),
    Goal("open 365 files", TUNED, 50),
    Goal("open 365 files", KERCHUNK, 1),
    Goal("read packed", TUNED, 4),
    Goal("2 ms per request", TUNED, 7),
    Goal("read calls", TUNED, 30),
    Goal("write", WRITER, 3),
)
NEVER_SLOWER = 0.95
GOALS = {
    **{
        (task, peer): Goal(task, peer, NEVER_SLOWER)
        for task in (*TASKS, "2 ms per request")
        for peer in (TUNED, HIDEFIX)
    },
    **{(goal.task, goal.peer): goal for goal in EXPLICIT},
}
"""By task and peer. Never slower than tuned netcdf4 or hidefix, whatever the task."""
START = 1.0
"""Seconds that the first use in a fresh process may take beyond netCDF4's."""


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes
    ----------
    ours : float
        Median, in the unit of the task.
    ratio, low, high : float
        Median and range of the peer's figure divided by ours of the same round.
    goal : str
        "" where there is none.
    met : bool or None
    """

    task: str
    peer: str
    ours: float
    ratio: float
    low: float
    high: float
    goal: str
    met: bool | None
    rounds: str


@dataclass(frozen=True)
class Summary:
    """All comparisons."""

    rows: list[Row]
    peer: None = None

    def show(self) -> None:
        """Print the table."""
        print(f"\n{'task':22} {'peer':24} {'ours':>9} {'peer / ours':>22}  goal")
        for row in self.rows:
            verdict = {True: "met", False: "NOT MET", None: ""}[row.met]
            spread = f"{row.ratio:8.2f} ({row.low:.2f}-{row.high:.2f})"
            words = "" if row.rounds.startswith(tuple("0123456789")) else row.rounds
            goal = f"{row.goal} {verdict}"
            print(f"{row.task:22} {row.peer:24} {row.ours:9.4f} {spread:>22}  {goal:30} {words}")
        judged = [row.met for row in self.rows if row.met is not None]
        print(f"{sum(judged)} of {len(judged)} goals met", flush=True)


def judge(task: str, table: Table, words: str) -> list[Row]:
    """Hold the figures of one task against its goals; nothing where ours is not among them."""
    if OURS not in table.rounds[0]:
        return []
    ours = statistics.median(one[OURS] for one in table.rounds)
    rows = []
    for peer in table.rounds[0]:
        if peer == OURS:
            continue
        ratios = [one[peer] / one[OURS] for one in table.rounds]
        ratio = statistics.median(ratios)
        goal = GOALS.get((task, peer))
        met = None
        if goal is not None:
            met = 1 / ratio <= goal.bound if goal.most else ratio >= goal.bound
        low, high = min(ratios), max(ratios)
        rows.append(Row(task, peer, ours, ratio, low, high, str(goal or ""), met, words))
    return rows
