"""``python -m benchmarks.storage.picture FILE.svg RESULT.json…``: all tasks in one picture.

The results are those of `python -m benchmarks storage --json`, which may be one for each task.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.plot import pyplot, save
from benchmarks.storage.peers import OURS, TUNED
from benchmarks.storage.tasks import DEFAULTS, LIMIT, TASKS

__all__ = ["draw", "rounds_of"]

SHOWN = {TUNED: "tab:blue", DEFAULTS[0]: "tab:cyan", "hidefix": "tab:orange",
         "kerchunk": "tab:green", LIMIT: "tab:red"}  # fmt: skip

Rounds = list[dict[str, float]]


def rounds_of(results: Sequence[Path]) -> dict[str, Rounds]:
    """The seconds of every round by task; where a task was measured twice, of the longer run."""
    found: dict[str, Rounds] = {}
    for path in results:
        for table in json.loads(path.read_text())["storage"]:
            told = re.match(r"storage \w+, ([^;]+); .*: seconds$", table.get("title", ""))
            if told and len(table["rounds"]) > len(found.get(told[1], [])):
                found[told[1]] = table["rounds"]
    return found


def draw(found: dict[str, Rounds], file: Path) -> None:
    """How many times as long the others took: a dot for each round, a line for the median."""
    names = [name for name in TASKS if name in found][::-1]
    figure, axis = pyplot().subplots(figsize=(8, 0.36 * len(names) + 1.2))
    shown = [one for one in SHOWN if any(one in found[name][0] for name in names)]
    for peer in shown:
        for place, name in enumerate(names):
            if peer not in found[name][0]:
                continue
            height = place + 0.14 * (shown.index(peer) - (len(shown) - 1) / 2)
            ratios = [one[peer] / one[OURS] for one in found[name]]
            axis.plot(ratios, [height] * len(ratios), ".", ms=4, alpha=0.4, color=SHOWN[peer])
            axis.plot([statistics.median(ratios)], [height], "|", ms=8, mew=2, color=SHOWN[peer])
        axis.plot([], [], "|", ms=8, mew=2, color=SHOWN[peer], label=peer)
    axis.set_yticks(range(len(names)), names)
    axis.set_xscale("log")
    ticks = [0.5, 1, 2, 5, 10, 20, 50, 100, 200]
    axis.set_xticks(ticks, [f"{one:g}" for one in ticks])
    axis.minorticks_off()
    axis.axvline(1.0, color="gray", lw=0.8)
    axis.grid(axis="x", alpha=0.3)
    axis.set_xlabel(f"times as long as {OURS}")
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(shown), fontsize=8)
    save(figure, file)


if __name__ == "__main__":
    target, *results = map(Path, sys.argv[1:])
    draw(rounds_of(results), target)
