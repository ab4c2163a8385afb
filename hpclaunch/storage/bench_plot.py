"""A picture of a benchmark: a panel for each task, medians as bars and ranges as lines."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpclaunch.errors import StorageError
from hpclaunch.storage.bench_result import Benchmark, Measure

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["check_plot", "plot"]

_PANELS = (
    ("sequential", "sequential read, by request"),
    ("random", "random read, by request"),
    ("write", "sequential write and fsync, by request"),
    ("files", "small files"),
    ("all", "deflated field read whole"),
    ("plain", "field not deflated, read whole"),
    ("map", "maps (one time, all places)"),
    ("series", "series (one place, all times)"),
    ("open", "file opened"),
    ("store", "field written"),
)
_UNITS = {"MiB/s": "MiB/s", "1/s": "per second"}
_OURS, _OTHERS = "#1f6f8b", "#9aa5ab"


def check_plot(path: str | os.PathLike[str]) -> Path:
    """Whether a plot can be made and be written there, before anything is measured.

    Raises
    ------
    StorageError
        If matplotlib is missing, the name ends neither in .png nor in .svg, or there is no such
        directory, or neither it nor an older plot may be written.
    """
    target = Path(path)
    if target.suffix.lower() not in (".png", ".svg"):
        raise StorageError(
            f"a plot cannot be written as {target}", hint="end its name in .png or .svg"
        )
    if not target.absolute().parent.is_dir():
        raise StorageError(
            f"{target.absolute().parent} is no directory", hint="name a plot in one that exists"
        )
    written = target if target.exists() else target.absolute().parent
    if target.is_dir() or not os.access(written, os.W_OK):
        raise StorageError(f"{target} cannot be written", hint="name a plot where you may write")
    if find_spec("matplotlib") is None:
        raise StorageError(
            "a plot is made with matplotlib, which this Python does not have",
            hint="pip install matplotlib; or leave out --plot and keep the result with --json",
        )
    return target


def plot(result: Benchmark, path: str | os.PathLike[str]) -> Path:
    """Draw a result to a .png or .svg file.

    Raises
    ------
    StorageError
        As `check_plot`, or if there is nothing to draw, or the file cannot be written.
    """
    target = check_plot(path)
    from matplotlib.figure import Figure

    panels = [
        (title, some)
        for task, title in _PANELS
        if (some := [one for one in result.measures if one.task == task])
    ]
    if not panels:
        raise StorageError("there is nothing to draw: nothing was measured", hint="--seconds 120")
    rows = -(-len(panels) // 2)
    figure = Figure(figsize=(11, 1.2 + 1.95 * rows), layout="constrained")
    axes = figure.subplots(rows, 2, squeeze=False).ravel()
    for axis, (title, some) in zip(axes, panels, strict=False):
        _draw(axis, title, some)
    for axis in axes[len(panels) :]:
        axis.remove()
    figure.suptitle(_heading(result), fontsize=11)
    try:
        figure.savefig(target, dpi=120)
    except OSError as error:
        raise StorageError(
            f"{target}: {error.strerror or error}", hint="may you write there, and is there room?"
        ) from error
    return target


def _heading(result: Benchmark) -> str:
    place, machine = result.facts.get("place") or {}, result.facts.get("machine") or {}
    where = place.get("mount") or place.get("path", "")
    by = f"{machine.get('node', '')} ({machine.get('cores', '?')} cores)"
    workers = result.facts.get("workers")
    if workers:
        by = f"{workers['count']} workers on {len(workers['nodes'])} nodes"
    return (
        f"{place.get('title', '')} at {where}, from {by}, {machine.get('time', '')}\n"
        "medians; lines: slowest and fastest round"
    )


def _draw(axis: Any, title: str, some: Sequence[Measure]) -> None:
    lengths = [one.median for one in some]
    ranges = [
        [one.median - one.low for one in some],
        [one.high - one.median for one in some],
    ]
    ours = [one.variant.startswith("hpclaunch") for one in some]
    colours = [_OURS if own else _OTHERS for own in ours]
    if not any(ours):
        colours = [_OURS] * len(some)
    places = range(len(some))
    axis.barh(places, lengths, xerr=ranges, color=colours, height=0.62,
              error_kw={"elinewidth": 1.2, "capsize": 3, "ecolor": "#333333"})  # fmt: skip
    axis.set_yticks(places, [one.variant for one in some])
    axis.invert_yaxis()
    axis.set_xlim(0, 1.22 * max(one.high for one in some))
    for at, one in zip(places, some, strict=True):
        axis.annotate(f"{one.median:,.3g}" if one.median < 1000 else f"{one.median:,.0f}",
                      (one.high, at), xytext=(6, 0), textcoords="offset points", va="center",
                      fontsize=8)  # fmt: skip
    states = {one.cold for one in some if one.cold is not None and one.variant != "page cache"}
    cache = {frozenset({True}): ", cold", frozenset({False}): ", warm"}.get(frozenset(states), "")
    axis.set_title(f"{title}{cache}", fontsize=10, loc="left")
    axis.set_xlabel(_UNITS.get(some[0].unit, some[0].unit), fontsize=8)
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
