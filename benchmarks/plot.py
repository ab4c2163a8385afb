"""Pictures of what benchmarks found: every round a dot, the median a line."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.table import Table

__all__ = ["draw", "pyplot", "save"]


def pyplot() -> Any:
    """matplotlib's pyplot, set to draw the same SVG for the same figures."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams |= {"svg.hashsalt": "hpclaunch", "svg.fonttype": "none"}
    from matplotlib import pyplot

    return pyplot


def save(figure: Any, file: Path) -> None:
    """Write a figure of `pyplot` and close it."""
    figure.tight_layout()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, metadata={"Date": None})
    pyplot().close(figure)


def draw(tables: Sequence[Table], file: Path) -> None:
    """Draw one panel for each table that has a peer, as ratios to it, round by round."""
    tables = [table for table in tables if table.peer]
    if not tables:
        return
    rows = [[name for name in table.rounds[0] if not name.startswith(" ")] for table in tables]
    sizes = [len(names) + 1.2 for names in rows]
    figure, axes = pyplot().subplots(
        len(tables), 1, figsize=(8, 0.42 * sum(sizes)), height_ratios=sizes, squeeze=False
    )
    for axis, table, names in zip(axes[:, 0], tables, rows, strict=True):
        for place, name in enumerate(reversed(names)):
            ratios = [one[name] / one[table.peer] for one in table.rounds]
            axis.plot(ratios, [place] * len(ratios), "o", alpha=0.5, color="tab:blue")
            axis.plot([statistics.median(ratios)], [place], "|", ms=18, mew=2, color="tab:red")
        axis.set_yticks(range(len(names)), list(reversed(names)))
        axis.set_ylim(-0.6, len(names) - 0.4)
        axis.axvline(1.0, color="gray", lw=0.8)
        axis.set_xlim(left=0)
        axis.set_title(f"{table.title}\nas ratios to: {table.peer}", fontsize=9, loc="left")
    save(figure, file)
